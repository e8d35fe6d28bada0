DROP TABLE daily_summaries;
DROP TABLE health_check_results;
ALTER TABLE inventory_execution_logs DROP COLUMN due_at;
ALTER TABLE inventory_execution_logs DROP COLUMN started_by;
DROP TABLE schedules;
