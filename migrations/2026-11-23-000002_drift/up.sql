-- What is remembered of a listing for reading it back, beside its row: `listing_platforms` has as many columns as diesel
-- counts. Written under the lock of the listing's row, as that is.
CREATE TABLE listing_reads (
    listing_id   BIGINT PRIMARY KEY REFERENCES listing_platforms (id) ON DELETE CASCADE,
    asked_at     TIMESTAMPTZ,                  -- it is to be read, since then; NULL: it is not
    look_at      TIMESTAMPTZ,                  -- not before this: a difference is believed when it is seen twice
    execution_id UUID,                         -- the run that asked last; NULL: a person
    read_at      TIMESTAMPTZ,                  -- when it was compared last
    suspect      JSONB,                        -- a difference that was seen once: when, and what was shown
    repairs      INTEGER NOT NULL DEFAULT 0 CHECK (repairs >= 0),  -- pushes of this round that did not take
    adopted      JSONB,                        -- what is left as it was found, and while what is wanted
    CHECK (asked_at IS NOT NULL OR look_at IS NULL)
);
CREATE INDEX listing_reads_oldest ON listing_reads (read_at NULLS FIRST, listing_id);
CREATE INDEX listing_reads_asked ON listing_reads (execution_id) WHERE asked_at IS NOT NULL;

-- A difference between what we believed and what the destination showed, and what was done about it.
CREATE TABLE drift (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    listing_id   BIGINT NOT NULL REFERENCES listing_platforms (id) ON DELETE CASCADE,
    execution_id UUID,
    kind         TEXT NOT NULL CHECK (kind IN ('fewer', 'more', 'price', 'ended', 'relisted', 'gone', 'paused')),
    believed     JSONB NOT NULL,
    shown        JSONB,                        -- NULL: the destination does not know it any more
    wanted       JSONB,
    policy       TEXT NOT NULL CHECK (policy IN ('overwrite', 'adopt', 'ask')),
    done         TEXT NOT NULL CHECK (done IN ('pushed', 'adopted', 'asked', 'waits', 'stopped')),
    seen_at      TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    resolved_at  TIMESTAMPTZ                   -- both agree again
);
CREATE INDEX drift_open ON drift (listing_id) WHERE resolved_at IS NULL;
CREATE INDEX drift_of_run ON drift (execution_id);

-- A run's counts at one destination. The share of what differs is taken from here while the run goes on.
CREATE TABLE reconcile_runs (
    execution_id UUID NOT NULL,
    platform     TEXT NOT NULL,
    began_at     TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    marked       INTEGER NOT NULL DEFAULT 0,   -- listings that were to be read
    looked       INTEGER NOT NULL DEFAULT 0,   -- of them, those that were
    differed     INTEGER NOT NULL DEFAULT 0,   -- of them, those that showed something else, seen once or believed
    drifted      INTEGER NOT NULL DEFAULT 0,   -- of them, those that are believed
    failed       INTEGER NOT NULL DEFAULT 0,   -- could not be read
    stopped      BOOLEAN NOT NULL DEFAULT FALSE, -- so many differ that nothing was repaired any more
    PRIMARY KEY (execution_id, platform)
);
CREATE INDEX reconcile_runs_at ON reconcile_runs (began_at);
