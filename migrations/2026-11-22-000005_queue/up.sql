-- Two indexes of the old design that no statement reads: each claim and each end of a job wrote them for nothing.
DROP INDEX processing_queue_claim;
DROP INDEX processing_queue_retry;

-- Which execution a job belongs to, so that an execution can count its jobs.
ALTER TABLE processing_queue ADD COLUMN execution_id UUID;
CREATE INDEX processing_queue_execution ON processing_queue (execution_id) WHERE execution_id IS NOT NULL;

-- What a worker has died with, and is taken one at a time: almost nothing.
CREATE INDEX processing_queue_suspects ON processing_queue (queue_name, scheduled_at, id)
    WHERE crash_count > 0 AND status IN ('pending', 'failed');

-- What the states' chart says. Rows that are there already are brought to it first.
UPDATE processing_queue AS q SET destination = l.platform FROM listing_platforms AS l
WHERE q.queue_name = 'platform_sync' AND q.destination IS NULL AND q.listing_id = l.id;
UPDATE processing_queue SET status = 'dead', completed_at = now(), lease_token = NULL, lease_until = NULL,
    error_message = 'no_destination: nobody takes a job of platform_sync without a destination'
WHERE queue_name = 'platform_sync' AND destination IS NULL AND status NOT IN ('completed', 'dead');
UPDATE processing_queue SET error_message = 'unknown: no cause was kept' WHERE status = 'dead' AND error_message IS NULL;
UPDATE processing_queue SET attempt = GREATEST(attempt, 1), worker_id = COALESCE(worker_id, 'unknown')
WHERE status = 'processing' AND (attempt < 1 OR worker_id IS NULL);
UPDATE processing_queue SET crash_count = cardinality(crashed_at) WHERE crash_count <> cardinality(crashed_at);
ALTER TABLE processing_queue
    ADD CONSTRAINT processing_queue_taken CHECK (status <> 'processing' OR (attempt > 0 AND worker_id IS NOT NULL)),
    ADD CONSTRAINT processing_queue_cause CHECK (status <> 'dead' OR error_message IS NOT NULL),
    ADD CONSTRAINT processing_queue_lane
        CHECK (queue_name <> 'platform_sync' OR destination IS NOT NULL OR status IN ('completed', 'dead')),
    ADD CONSTRAINT processing_queue_attempt CHECK (attempt >= 0),
    ADD CONSTRAINT processing_queue_crashes CHECK (crash_count = cardinality(crashed_at));

-- What persons ordered of a queue; a queue without a row has what the settings say.
CREATE TABLE queue_orders (
    queue_name  TEXT PRIMARY KEY CHECK (queue_name IN
                ('stock_check', 'price_sync', 'validation', 'platform_sync', 'product_registration')),
    workers_min SMALLINT,
    workers_max SMALLINT,
    paused      BOOLEAN NOT NULL DEFAULT false,
    changed_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_by  TEXT NOT NULL,
    CHECK ((workers_min IS NULL) = (workers_max IS NULL)),
    CHECK (workers_min BETWEEN 1 AND workers_max AND workers_max <= 64)
);
