-- A product's newest hold is read with its row, at every start for every product.
CREATE INDEX holds_watch ON holds (watch_id, id DESC) WHERE watch_id IS NOT NULL;
