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
UPDATE processing_queue SET crashed_at = ARRAY(SELECT at FROM unnest(crashed_at) AS at
    WHERE at >= '0001-01-01 00:00+00' AND at < '10000-01-01 00:00+00')
WHERE cardinality(crashed_at) > 0;
UPDATE processing_queue SET crash_count = cardinality(crashed_at) WHERE crash_count <> cardinality(crashed_at);
UPDATE processing_queue SET
    scheduled_at = LEAST(GREATEST(scheduled_at, '0001-01-01 00:00+00'), '9999-01-01 00:00+00'),
    created_at = LEAST(GREATEST(created_at, '0001-01-01 00:00+00'), '9999-01-01 00:00+00'),
    started_at = CASE WHEN started_at >= '0001-01-01 00:00+00' AND started_at < '10000-01-01 00:00+00' THEN started_at END,
    completed_at = CASE WHEN completed_at IS NOT NULL
        THEN LEAST(GREATEST(completed_at, '0001-01-01 00:00+00'), '9999-01-01 00:00+00') END,
    lease_until = CASE WHEN lease_until IS NOT NULL
        THEN LEAST(GREATEST(lease_until, '0001-01-01 00:00+00'), '9999-01-01 00:00+00') END
WHERE LEAST(scheduled_at, created_at, started_at, completed_at, lease_until) < '0001-01-01 00:00+00'
   OR GREATEST(scheduled_at, created_at, started_at, completed_at, lease_until) >= '10000-01-01 00:00+00';
ALTER TABLE processing_queue
    ADD CONSTRAINT processing_queue_taken CHECK (status <> 'processing' OR (attempt > 0 AND worker_id IS NOT NULL)),
    ADD CONSTRAINT processing_queue_cause CHECK (status <> 'dead' OR error_message IS NOT NULL),
    ADD CONSTRAINT processing_queue_lane
        CHECK (queue_name <> 'platform_sync' OR destination IS NOT NULL OR status IN ('completed', 'dead')),
    ADD CONSTRAINT processing_queue_attempt CHECK (attempt >= 0),
    ADD CONSTRAINT processing_queue_crashes CHECK (crash_count = cardinality(crashed_at)),
    -- What the daemon could not read would keep all the others of its lane waiting: no endless times, no years
    -- beyond those that a program knows, no empty places.
    ADD CONSTRAINT processing_queue_times CHECK (
        LEAST(scheduled_at, created_at, started_at, completed_at, lease_until) >= '0001-01-01 00:00+00'
        AND GREATEST(scheduled_at, created_at, started_at, completed_at, lease_until) < '10000-01-01 00:00+00'),
    ADD CONSTRAINT processing_queue_crash_times CHECK (
        COALESCE(array_ndims(crashed_at), 1) = 1 AND array_position(crashed_at, NULL) IS NULL
        AND '0001-01-01 00:00+00' <= ALL (crashed_at) AND '10000-01-01 00:00+00' > ALL (crashed_at));

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
