-- Prices that go to a destination in one document, thousands at a time. A feed is written down before anything of it is
-- sent, and each step before the next begins; whatever becomes of it, every listing of it is looked at afterwards.
CREATE TABLE bulk_feeds (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    platform     TEXT NOT NULL CHECK (platform IN ('ebay', 'mercari', 'amazon_seller')),
    state        TEXT NOT NULL DEFAULT 'gathering'
                 CHECK (state IN ('gathering', 'waiting', 'uploaded', 'submitting', 'submitted', 'ended', 'settled')),
    result       TEXT CHECK (result IN ('done', 'cancelled', 'fatal', 'refused', 'lost', 'late', 'unreadable')),
    document_id  TEXT,                          -- the destination's key of what was uploaded
    feed_id      TEXT,                          -- … of the work that was handed in …
    report_id    TEXT,                          -- … and of what it says of it
    items        INTEGER NOT NULL DEFAULT 0 CHECK (items >= 0), -- gathered
    sent         INTEGER CHECK (sent >= 0),     -- in the document
    tries        INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0), -- without getting further
    error_code   TEXT,                          -- what went wrong last
    error        TEXT,
    said         JSONB,                         -- of the document as a whole
    next_at      TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(), -- not taken further before this
    created_at   TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    submitted_at TIMESTAMPTZ,                   -- written down just before it is handed in
    ended_at     TIMESTAMPTZ,
    settled_at   TIMESTAMPTZ,                   -- every listing of it is in line to be looked at
    CHECK ((error IS NULL) = (error_code IS NULL)),
    CHECK (state NOT IN ('uploaded', 'submitting', 'submitted') OR document_id IS NOT NULL),
    CHECK (state <> 'submitted' OR feed_id IS NOT NULL),
    CHECK ((state IN ('ended', 'settled')) = (result IS NOT NULL)),
    CHECK ((state = 'settled') = (settled_at IS NOT NULL))
);
CREATE INDEX bulk_feeds_open ON bulk_feeds (platform, next_at) WHERE state <> 'settled';
CREATE TABLE bulk_feed_items (
    feed           BIGINT NOT NULL REFERENCES bulk_feeds (id) ON DELETE CASCADE,
    message        INTEGER NOT NULL CHECK (message >= 1), -- its number within the document
    listing_id     BIGINT NOT NULL REFERENCES listing_platforms (id) ON DELETE CASCADE,
    sku            VARCHAR(50) NOT NULL,
    price          NUMERIC(12,2) NOT NULL CHECK (price >= 0),
    currency       CHAR(3) NOT NULL,
    log_id         BIGINT REFERENCES sync_log (id) ON DELETE SET NULL,
    outcome        TEXT CHECK (outcome IN ('accepted', 'refused', 'unknown', 'left_out')), -- open while there is none
    error          JSONB,
    PRIMARY KEY (feed, message)
);
-- A listing is in one open feed at most.
CREATE UNIQUE INDEX bulk_feed_items_open ON bulk_feed_items (listing_id) WHERE outcome IS NULL;
CREATE INDEX bulk_feed_items_listing ON bulk_feed_items (listing_id);
CREATE INDEX bulk_feed_items_log ON bulk_feed_items (log_id);
