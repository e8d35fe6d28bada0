-- Every quote of exchange rates that was read, and what became of it. The one in use is the accepted row with the highest
-- id: whatever is accepted puts older ones that wait aside, so that nothing older is accepted behind it.
CREATE TABLE exchange_rates (
    id                   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source               TEXT NOT NULL CHECK (source IN ('ecb')),
    day                  DATE NOT NULL,                  -- the quote's own
    rates                JSONB NOT NULL CHECK (jsonb_typeof(rates) = 'object'), -- yen for one unit, by currency, as text
    status               TEXT NOT NULL CHECK (status IN ('accepted', 'waiting', 'refused', 'superseded')),
    largest_move_percent NUMERIC(12, 4) NOT NULL CHECK (largest_move_percent >= 0), -- from the rates in use before it
    fetched_at           TIMESTAMPTZ NOT NULL,
    decided_at           TIMESTAMPTZ,
    decided_by           TEXT,
    note                 TEXT,
    CHECK ((status = 'waiting') = (decided_at IS NULL)),
    CHECK ((decided_at IS NULL) = (decided_by IS NULL))
);
CREATE INDEX exchange_rates_accepted ON exchange_rates (source, id DESC) WHERE status = 'accepted';
CREATE UNIQUE INDEX exchange_rates_waiting ON exchange_rates (source) WHERE status = 'waiting';
