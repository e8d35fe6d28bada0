DROP TABLE reconcile_runs;
DROP TABLE drift;
DROP TABLE listing_reads;
