DROP TABLE queue_orders;
ALTER TABLE processing_queue
    DROP CONSTRAINT processing_queue_taken,
    DROP CONSTRAINT processing_queue_cause,
    DROP CONSTRAINT processing_queue_lane,
    DROP CONSTRAINT processing_queue_attempt,
    DROP CONSTRAINT processing_queue_crashes,
    DROP CONSTRAINT processing_queue_times,
    DROP CONSTRAINT processing_queue_crash_times;
DROP INDEX processing_queue_suspects;
DROP INDEX processing_queue_execution;
ALTER TABLE processing_queue DROP COLUMN execution_id;
CREATE INDEX processing_queue_retry ON processing_queue (status, retry_count, max_retries);
CREATE INDEX processing_queue_claim ON processing_queue (queue_name, status, priority, scheduled_at);
