-- Who works on this database, and who of them does which part of the work (src/nodes.rs).

-- One row for each life of a daemon. Its lease on everything it owns is one time stamp, `until`: renewing it is one row,
-- however much is owned. `dead_at` is set by another node that has seen `until` pass; the row is locked for both, so a
-- node is renewed or declared dead, never both.
CREATE TABLE nodes (
    boot         UUID PRIMARY KEY,
    name         TEXT NOT NULL CHECK (name <> ''),
    version      TEXT NOT NULL,
    host         TEXT NOT NULL,
    place        TEXT NOT NULL,             -- the machine's boot and the process namespace: where `pid` means something
    pid          INTEGER NOT NULL,
    can          TEXT[] NOT NULL,           -- the kinds of work it is set up for
    started_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    heartbeat_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    until        TIMESTAMPTZ NOT NULL,
    clock_ahead_ms BIGINT NOT NULL DEFAULT 0, -- its clock less the database's
    draining     BOOLEAN NOT NULL DEFAULT FALSE,
    left_at      TIMESTAMPTZ,               -- it has ended in order
    dead_at      TIMESTAMPTZ,               -- it was not heard of in time
    -- Every node reads every row at every look: one that cannot be read, or reckoned with, would stop them all.
    CHECK (array_position(can, NULL) IS NULL AND COALESCE(array_ndims(can), 1) = 1),
    CHECK (started_at BETWEEN '2000-01-01 00:00Z' AND '9999-01-01 00:00Z'),
    CHECK (heartbeat_at BETWEEN '2000-01-01 00:00Z' AND '9999-01-01 00:00Z'),
    CHECK (until BETWEEN '2000-01-01 00:00Z' AND '9999-01-01 00:00Z'),
    CHECK (left_at BETWEEN '2000-01-01 00:00Z' AND '9999-01-01 00:00Z'),
    CHECK (dead_at BETWEEN '2000-01-01 00:00Z' AND '9999-01-01 00:00Z')
) WITH (fillfactor = 50);
CREATE INDEX nodes_name ON nodes (name, started_at DESC);

-- One row for each part of the work that one node does at a time. `epoch` grows with every change of hands.
CREATE TABLE leases (
    name  TEXT PRIMARY KEY,
    shard SMALLINT UNIQUE CHECK (shard BETWEEN 0 AND 255),
    owner UUID,
    epoch BIGINT NOT NULL DEFAULT 0 CHECK (epoch BETWEEN 0 AND 4611686018427387904), -- there is always a next one
    since TIMESTAMPTZ
) WITH (fillfactor = 50);
INSERT INTO leases (name, shard) SELECT 'watch/' || lpad(n::text, 3, '0'), n FROM generate_series(0, 255) AS n;

-- Counts how often a person has paused or resumed, and reset a breaker: every node follows, also what was turned back
-- between two of its looks.
ALTER TABLE platform_state ADD switches BIGINT NOT NULL DEFAULT 0, ADD resets BIGINT NOT NULL DEFAULT 0;
