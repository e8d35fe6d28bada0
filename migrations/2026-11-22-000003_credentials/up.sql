-- What lets the daemon in at the platforms, sealed by `vault`: a dump of these tables opens nothing without the key file.
-- A sealed value is bound to its table and platform, so that one which is copied to another row is refused.
CREATE TABLE encrypted_credentials (
    platform      TEXT PRIMARY KEY CHECK (platform IN ('yahoo_auction', 'amazon', 'ebay', 'mercari', 'amazon_seller')),
    encrypted_key TEXT NOT NULL,                    -- one JSON object of all the platform's secrets, sealed as a whole
    created_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    -- added: what may be told of it without opening it
    key_id        TEXT NOT NULL,                    -- the key that sealed it, for rotation
    fields        TEXT[] NOT NULL CHECK (cardinality(fields) > 0),
    set_by        TEXT NOT NULL,
    expires_at    TIMESTAMPTZ                       -- of the refresh token, where its platform said
);

-- The tokens that the platform gave since: saved before they are used.
CREATE TABLE oauth_tokens (
    platform         TEXT PRIMARY KEY CHECK (platform IN ('yahoo_auction', 'amazon', 'ebay', 'mercari', 'amazon_seller')),
    encrypted_tokens TEXT NOT NULL,
    key_id           TEXT NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL DEFAULT now()
);
