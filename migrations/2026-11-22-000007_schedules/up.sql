-- When each of the time-table's entries fires next. A firing is a compare-and-set on next_fire_at by the database's clock,
-- so that of any number of schedulers exactly one wins it.
CREATE TABLE schedules (
    name              TEXT PRIMARY KEY,
    expression        TEXT NOT NULL,               -- with its zone, as it stood when next_fire_at was worked out
    next_fire_at      TIMESTAMPTZ,                 -- NULL: it will never fire
    last_due_at       TIMESTAMPTZ,                 -- which moment of the time-table was served last
    last_fired_at     TIMESTAMPTZ,                 -- when that was done
    last_execution_id UUID,
    last_skipped_at   TIMESTAMPTZ,                 -- a firing that was left out
    last_skipped_why  TEXT,
    paused            BOOLEAN NOT NULL DEFAULT FALSE,
    paused_by         TEXT,
    paused_at         TIMESTAMPTZ,
    updated_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((last_skipped_at IS NULL) = (last_skipped_why IS NULL)),
    CHECK (paused = (paused_at IS NOT NULL))
);

-- Who asked for a run, and which moment of the time-table it serves.
ALTER TABLE inventory_execution_logs ADD COLUMN started_by TEXT NOT NULL DEFAULT 'schedule';
ALTER TABLE inventory_execution_logs ADD COLUMN due_at TIMESTAMPTZ;

CREATE TABLE health_check_results (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    check_timestamp TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    overall_status  TEXT NOT NULL CHECK (overall_status IN ('healthy', 'unhealthy')),
    test_results    JSONB NOT NULL,                -- each check with its state, its words and its milliseconds
    failed_tests    INTEGER NOT NULL DEFAULT 0 CHECK (failed_tests >= 0),
    execution_id    UUID,
    CHECK ((overall_status = 'unhealthy') = (failed_tests > 0))
);
CREATE INDEX health_check_results_at ON health_check_results (check_timestamp DESC);

-- One day in figures, and whether it was mailed. The mail is durable work like an alert's delivery.
CREATE TABLE daily_summaries (
    day          DATE PRIMARY KEY,                 -- of the schedules' zone
    figures      JSONB NOT NULL,
    execution_id UUID,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    mail         TEXT NOT NULL DEFAULT 'pending' CHECK (mail IN ('pending', 'sending', 'delivered', 'expired')),
    attempt      INTEGER NOT NULL DEFAULT 0,
    next_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    lease_token  UUID,
    lease_until  TIMESTAMPTZ,
    error        TEXT,
    delivered_at TIMESTAMPTZ,
    CHECK ((mail = 'sending') = (lease_token IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CHECK ((mail = 'delivered') = (delivered_at IS NOT NULL))
);
CREATE INDEX daily_summaries_unsent ON daily_summaries (next_at) WHERE mail IN ('pending', 'sending');
