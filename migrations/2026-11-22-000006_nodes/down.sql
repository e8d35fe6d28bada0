ALTER TABLE platform_state DROP switches, DROP resets;
DROP TABLE leases;
DROP TABLE nodes;
