//! What must hold of a [`World`] once it is quiet: nothing lost, nothing doubled, nothing overtaken.

use super::world::{LOOK, World};
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::app::rehearsal::compare::{Comparison, compare};
use zaikoban::control::client::Client;
use zaikoban::domain::Money;
use zaikoban::simulator::{LedgerEntry, Order};

/// The calls that change something at eBay, by their published names.
const WRITES: [&str; 6] = [
    "bulkUpdatePriceQuantity",
    "createOrReplaceInventoryItem",
    "createOffer",
    "updateOffer",
    "publishOffer",
    "withdrawOffer",
];

/// The last accepted quantity and price of a SKU, and its register's version.
type Written = (Option<u32>, Option<Money>, Option<u32>);

impl World {
    /// Ends changes and faults, and waits until there is nothing left to do and every listing is what it should be.
    pub async fn settle(&mut self, limit: Duration) -> Comparison {
        let quiet = Order {
            stop_faults: true,
            stop_changes: Some(true),
            ..Order::default()
        };
        self.simulator.order(&quiet).unwrap();
        let client = self.client();
        let deadline = Instant::now() + limit;
        loop {
            self.assert_alive();
            // First whether something is under way, then how it stands: the other way round a late write would be missed.
            let busy = busy(&client).await;
            let comparison = compare(&self.book, &self.simulator, &client).await;
            if let (None, Ok(settled)) = (&busy, &comparison)
                && settled.is_settled()
                // Nobody buys in these worlds.
                && settled.sold == 0
            {
                return settled.clone();
            }
            assert!(
                Instant::now() < deadline,
                "not settled after {limit:?}: busy: {busy:?}, {comparison:#?}\n{}",
                self.daemon.log_tail()
            );
            sleep(LOOK * 5).await;
        }
    }

    /// Settles, then looks for anything that was lost, doubled or overtaken.
    pub async fn assert_nothing_lost(&mut self, limit: Duration) {
        let comparison = self.settle(limit).await;
        let listings = self.simulator.register().len();
        assert!(
            comparison.held * 20 <= listings,
            "{} of {listings} listings wait for a person: too many to conclude from the rest",
            comparison.held
        );
        self.assert_history_is_whole().await;
        self.assert_no_stale_write_stands();
    }

    /// `stock_history` has each version at most once, each row goes on where the one before ended, and the last one says
    /// what counts. (A version of which only the address' status moved has no row.)
    async fn assert_history_is_whole(&self) {
        let doubled = "SELECT string_agg(watch_id || ' v' || version, ', ') FROM (SELECT watch_id, version FROM \
                       stock_history GROUP BY watch_id, version HAVING count(*) > 1) d";
        assert_eq!(
            self.text(doubled).await,
            "",
            "versions that stand in history twice"
        );
        let torn = "SELECT string_agg(watch_id || ' v' || version, ', ') FROM (SELECT watch_id, version, \
                    previous_stock, previous_price, lag(version) OVER w AS v, lag(new_stock) OVER w AS s, \
                    lag(new_price) OVER w AS p FROM stock_history WINDOW w AS (PARTITION BY watch_id ORDER BY version)) h \
                    WHERE v IS NOT NULL AND (previous_stock, previous_price) IS DISTINCT FROM (s, p)";
        assert_eq!(
            self.text(torn).await,
            "",
            "rows of history that do not follow from the one before"
        );
        let unlike = "SELECT string_agg(m.id::text, ', ') FROM inventory_management m LEFT JOIN LATERAL (SELECT \
                      new_stock, new_price FROM stock_history h WHERE h.watch_id = m.id ORDER BY version DESC LIMIT 1) h \
                      ON true WHERE m.version > 0 AND (h.new_stock, h.new_price) IS DISTINCT FROM \
                      (m.current_stock, m.current_price)";
        assert_eq!(
            self.text(unlike).await,
            "",
            "watches whose history ends with something else"
        );
    }

    /// Every SKU shows what its last accepted write said.
    fn assert_no_stale_write_stands(&self) {
        let mut last: HashMap<Box<str>, Written> = HashMap::new();
        for write in self.writes(0) {
            let Some(sku) = write.sku else { continue };
            let (quantity, price, version) = last.entry(sku).or_default();
            *quantity = write.quantity.or(*quantity);
            *price = write.price.or(*price);
            *version = write.version;
        }
        for entry in self.simulator.register() {
            let Some((quantity, price, version)) = last.get(&entry.sku) else {
                continue;
            };
            assert_eq!(*version, Some(entry.version), "{entry:?}");
            assert!(
                quantity.is_none_or(|q| q == entry.quantity),
                "{quantity:?}: {entry:?}"
            );
            assert!(
                price.is_none_or(|p| Some(p) == entry.price),
                "{price:?}: {entry:?}"
            );
        }
    }

    /// How much eBay has been asked so far.
    pub fn asked(&self) -> u64 {
        self.simulator.ledger(0, 0).total
    }

    /// Waits until eBay has accepted a write behind number `after`.
    pub async fn until_written(&mut self, after: u64, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.writes(after).is_empty() {
            self.assert_alive();
            assert!(
                Instant::now() < deadline,
                "nothing was written within {limit:?}:\n{}",
                self.daemon.log_tail()
            );
            sleep(LOOK).await;
        }
    }

    /// The writes that eBay accepted behind number `after`, in their order.
    pub fn writes(&self, mut after: u64) -> Vec<LedgerEntry> {
        let mut found = Vec::new();
        loop {
            let page = self.simulator.ledger(after, 10_000);
            assert_eq!(
                page.dropped, 0,
                "the simulator's ledger is too small for this test"
            );
            if page.entries.is_empty() {
                return found;
            }
            after = page.next;
            let writes = page.entries.into_iter();
            found.extend(writes.filter(|e| e.accepted && WRITES.contains(&&*e.operation)));
        }
    }
}

/// What is under way, if anything is, or why that is not known.
async fn busy(client: &Client) -> Option<String> {
    let status = match client.get("/v1/status").await {
        Ok(status) => status,
        Err(error) => return Some(error.to_string()),
    };
    let counts = &status["database"]["counts"];
    let open = ["pending", "processing", "failed"];
    let idle = counts.is_object()
        && open
            .iter()
            .all(|word| counts["jobs"][word].as_u64().unwrap_or(0) == 0);
    (!idle).then(|| status["database"].to_string())
}
