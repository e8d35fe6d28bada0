-- What a person is told. An alert is one trouble with a count, open until it is over or a person says so; a delivery is
-- the durable work of telling it over one channel.
CREATE TABLE alerts (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint     TEXT NOT NULL,
    kind            TEXT NOT NULL,
    level           TEXT NOT NULL CHECK (level IN ('info', 'warning', 'error', 'critical')),
    status          TEXT NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'acknowledged', 'resolved')),
    platform        TEXT,
    count           BIGINT NOT NULL DEFAULT 1 CHECK (count >= 0),
    facts           JSONB NOT NULL DEFAULT '{}',
    since           TIMESTAMPTZ NOT NULL,          -- when the trouble began
    last_seen_at    TIMESTAMPTZ NOT NULL,          -- when it was met last
    gone_since      TIMESTAMPTZ,                   -- not met since; over when that has lasted
    told_at         TIMESTAMPTZ,
    told_level      TEXT,
    told_count      BIGINT NOT NULL DEFAULT 0,
    times_told      INTEGER NOT NULL DEFAULT 0,
    acknowledged_by TEXT,
    acknowledged_at TIMESTAMPTZ,
    resolved_by     TEXT,                          -- 'recovered' when it was over by itself
    resolved_at     TIMESTAMPTZ,
    note            TEXT,
    created_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CHECK ((told_at IS NULL) = (times_told = 0))
);
CREATE UNIQUE INDEX alerts_open ON alerts (fingerprint) WHERE status <> 'resolved';
CREATE INDEX alerts_fingerprint ON alerts (fingerprint);
CREATE INDEX alerts_resolved ON alerts (resolved_at DESC) WHERE status = 'resolved';

CREATE TABLE alert_deliveries (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id     BIGINT NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    channel      TEXT NOT NULL,
    first_event  TEXT NOT NULL CHECK (first_event IN ('opened', 'grew', 'reminder', 'recovered')),
    event        TEXT NOT NULL CHECK (event IN ('opened', 'grew', 'reminder', 'recovered')),
    status       TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sending', 'delivered', 'expired')),
    attempt      INTEGER NOT NULL DEFAULT 0,
    next_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    lease_token  UUID,
    lease_until  TIMESTAMPTZ,
    error        TEXT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    delivered_at TIMESTAMPTZ,
    told_with    INTEGER NOT NULL DEFAULT 0,       -- how many others went in the same message
    CHECK ((status = 'sending') = (lease_token IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL))
);
-- What waits is told once, in its newest form: a trouble that is over before its first word got out is one message.
CREATE UNIQUE INDEX alert_deliveries_waiting ON alert_deliveries (alert_id, channel) WHERE status = 'pending';
CREATE INDEX alert_deliveries_due ON alert_deliveries (channel, next_at) WHERE status IN ('pending', 'sending');
CREATE INDEX alert_deliveries_alert ON alert_deliveries (alert_id);
CREATE INDEX alert_deliveries_over ON alert_deliveries (created_at) WHERE status IN ('delivered', 'expired');

CREATE TABLE alert_silences (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind       TEXT,
    platform   TEXT,
    alert_id   BIGINT REFERENCES alerts (id) ON DELETE CASCADE,
    until      TIMESTAMPTZ NOT NULL,
    set_by     TEXT NOT NULL,
    note       TEXT,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CHECK (kind IS NOT NULL OR platform IS NOT NULL OR alert_id IS NOT NULL)
);
CREATE INDEX alert_silences_until ON alert_silences (until);
