-- Products on their way to a destination. Each step is written down before the next begins, so that a death between two
-- steps neither lists twice nor forgets; the row stays, as what a product was listed with and by whom.
CREATE TABLE registrations (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    product_id   BIGINT NOT NULL REFERENCES yahoo_scraped_products (id) ON DELETE CASCADE,
    platform     TEXT NOT NULL CHECK (platform IN ('ebay', 'mercari', 'amazon_seller')),
    sku          VARCHAR(50) NOT NULL,
    content      JSONB NOT NULL,                 -- what a buyer will read; without price and quantity, which are worked out
    auto_sync    BOOLEAN NOT NULL DEFAULT FALSE, -- whether the listing is kept in line once it is there
    state        TEXT NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'item_made', 'offer_made', 'published', 'failed')),
    offer_sent   BOOLEAN NOT NULL DEFAULT FALSE, -- an offer of this SKU may be ours; set before the first one is sent
    offer_id     VARCHAR(100),
    quantity     INTEGER CHECK (quantity BETWEEN 0 AND 1000000), -- what was sent last …
    price        NUMERIC(12,2) CHECK (price >= 0),               -- … and at which price
    currency     CHAR(3),
    listing_id   BIGINT REFERENCES listing_platforms (id) ON DELETE SET NULL,
    error_code   TEXT,                           -- what went wrong last
    error        TEXT,
    tries        INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0), -- without getting further
    worker       UUID,                           -- the lease that works on it; an older one's word no longer counts
    requested_by TEXT NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    published_at TIMESTAMPTZ,
    UNIQUE (product_id, platform),
    UNIQUE (platform, sku),
    CHECK (state NOT IN ('offer_made', 'published') OR offer_id IS NOT NULL),
    CHECK ((price IS NULL) = (currency IS NULL)),
    CHECK ((error IS NULL) = (error_code IS NULL)),
    CHECK (state <> 'failed' OR error IS NOT NULL)
);
CREATE INDEX registrations_state ON registrations (platform, state);
