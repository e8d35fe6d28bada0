ALTER TABLE platform_state DROP resets;
DROP TABLE leases;
DROP TABLE nodes;
