//! What must hold of a [`World`] once it is quiet: nothing lost, nothing doubled, nothing overtaken, nothing made up.

use super::world::{LOOK, World};
use crate::support::model::{Line, Truth, Write, judge, most_within};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::app::rehearsal::compare::{Comparison, calls_for, compare};
use zaikoban::app::rehearsal::{Markets, registered};
use zaikoban::control::client::Client;
use zaikoban::domain::Money;
use zaikoban::simulator::{ItemView, LedgerEntry, Order, PageFault, RegisterEntry};

/// The rates of `config/demo.toml`, and the settings that change them.
const RATES: [(&str, &str, usize); 2] = [
    (
        "Yahoo!",
        "ZAIKOBAN_PLATFORMS__YAHOO_AUCTION__REQUESTS_PER_SECOND",
        150,
    ),
    ("eBay", "ZAIKOBAN_PLATFORMS__EBAY__REQUESTS_PER_SECOND", 400),
];

/// Whether something older may stand for a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Older {
    /// Nothing older is written after something newer.
    Never,
    /// A process that stood still for long in the middle of a request may write once more what it knew; it is overwritten.
    Overwritten,
}

/// The calls that change something at eBay, by their published names.
const WRITES: [&str; 6] = [
    "bulkUpdatePriceQuantity",
    "createOrReplaceInventoryItem",
    "createOffer",
    "updateOffer",
    "publishOffer",
    "withdrawOffer",
];

/// What must find nothing in any history, and what it means when it does.
const BROKEN_HISTORY: [(&str, &str); 3] = [
    (
        "versions that stand in history twice",
        "SELECT string_agg(watch_id || ' v' || version, ', ') FROM (SELECT watch_id, version FROM \
         stock_history GROUP BY watch_id, version HAVING count(*) > 1) d",
    ),
    (
        "rows of history that do not follow from the one before",
        "SELECT string_agg(watch_id || ' v' || version, ', ') FROM (SELECT watch_id, version, \
         previous_stock, previous_price, lag(version) OVER w AS v, lag(new_stock) OVER w AS s, \
         lag(new_price) OVER w AS p FROM stock_history WINDOW w AS (PARTITION BY watch_id ORDER BY version)) h \
         WHERE v IS NOT NULL AND (previous_stock, previous_price) IS DISTINCT FROM (s, p)",
    ),
    (
        "watches whose history ends with something else",
        "SELECT string_agg(m.id::text, ', ') FROM inventory_management m LEFT JOIN LATERAL (SELECT \
         new_stock, new_price FROM stock_history h WHERE h.watch_id = m.id ORDER BY version DESC LIMIT 1) h \
         ON true WHERE m.version > 0 AND (h.new_stock, h.new_price) IS DISTINCT FROM \
         (m.current_stock, m.current_price)",
    ),
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
            let all = registered(&self.simulator.catalogue(), Markets::Two);
            let comparison = compare(&self.book, &self.simulator, &all, &client).await;
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

    /// Settles, then looks for anything that was lost, doubled, overtaken, made up, hurried or left lying about.
    ///
    /// I7 and I1 are what [`Self::settle`] waits for, I3, I4 and I5 are the model's, I8 is the tables'.
    pub async fn assert_converged(&mut self, limit: Duration) {
        let comparison = self.settle(limit).await;
        let listings = self.simulator.register().len();
        assert!(
            comparison.held * 20 <= listings,
            "{} of {listings} listings wait for a person: too many to conclude from the rest",
            comparison.held
        );
        self.assert_sound(Older::Never).await;
    }

    /// What must hold of a world that has settled.
    pub async fn assert_sound(&self, older: Older) {
        self.assert_history_is_whole().await;
        self.assert_no_stale_write_stands();
        self.assert_every_write_was_called_for(older);
        self.assert_requests_keep_their_distance();
        self.assert_no_work_is_invisible().await;
    }

    /// I3 and I4: nothing was written that no page called for, and nothing older after something newer.
    fn assert_every_write_was_called_for(&self, older: Older) {
        let mut writes: HashMap<Box<str>, Vec<Write>> = HashMap::new();
        for entry in self.writes(0) {
            let Some(sku) = entry.sku else { continue };
            writes.entry(sku).or_default().push(Write {
                seq: entry.seq,
                quantity: entry.quantity,
                price: entry.price,
            });
        }
        let lines = self.lines();
        let wrong: Vec<String> = lines
            .iter()
            .flat_map(|line| judge(line, writes.get(&line.sku).map_or(&[], Vec::as_slice)))
            .filter(|wrong| older == Older::Never || !wrong.starts_with("I3"))
            .collect();
        assert!(
            wrong.is_empty(),
            "{} writes: {:#?}",
            wrong.len(),
            &wrong[..wrong.len().min(10)]
        );
    }

    /// What the pages of each SKU called for, in their order.
    fn lines(&self) -> Vec<Line> {
        let mut versions: HashMap<Box<str>, Vec<ItemView>> = HashMap::new();
        for view in &self.first {
            versions.entry(view.id.clone()).or_default().push(view.clone());
        }
        let changes = self.simulator.changes(0, usize::MAX);
        let asks = self.simulator.page_ledger(0, usize::MAX);
        assert_eq!(
            (changes.dropped, asks.dropped),
            (0, 0),
            "the simulator's books are too small for this test"
        );
        for change in changes.entries {
            versions
                .entry(change.item.id.clone())
                .or_default()
                .push(change.item);
        }
        let good = [
            None,
            Some(PageFault::Delay),
            Some(PageFault::Drip),
            Some(PageFault::Stale),
        ];
        let told: HashSet<(Box<str>, u32)> = asks
            .entries
            .into_iter()
            .filter(|ask| good.contains(&ask.fault))
            .filter_map(|ask| Some((ask.id?, ask.version)))
            .collect();
        let register: HashMap<Box<str>, RegisterEntry> = self
            .simulator
            .register()
            .into_iter()
            .map(|entry| (entry.sku.clone(), entry))
            .collect();
        let mut lines = Vec::new();
        for product in self.simulator.catalogue().products {
            let views = versions.remove(&product.item_id).unwrap_or_default();
            for listing in &product.listings {
                let entry = &register[&listing.sku];
                let truths = views.iter().filter_map(|view| {
                    let wants = calls_for(&self.book, product.cost_rule, view, entry).unwrap()?;
                    Some(Truth {
                        version: view.version,
                        served: told.contains(&(view.id.clone(), view.version)),
                        quantity: wants.quantity.get(),
                        price: wants.price,
                    })
                });
                lines.push(Line {
                    sku: listing.sku.clone(),
                    first: (entry.quantity, entry.price),
                    truths: truths.collect(),
                });
            }
        }
        lines
    }

    /// I5: in no five seconds was a marketplace asked more often than its rate allows. Half a second is given to a machine
    /// that stood still meanwhile: what it held up arrives together.
    fn assert_requests_keep_their_distance(&self) {
        let (pages, calls) = (
            self.simulator.page_ledger(0, usize::MAX).entries,
            self.simulator.ledger(0, usize::MAX).entries,
        );
        let pages: Vec<i64> = pages.iter().map(|ask| ask.at_us).collect();
        let mut calls: Vec<i64> = calls.iter().map(|call| call.at_us).collect();
        // The entries of one call are written down together.
        calls.dedup();
        for ((platform, setting, usual), times) in RATES.into_iter().zip([pages, calls]) {
            let set = self.settings.environment.iter().find(|(name, _)| name == setting);
            let per_s = set.map_or(usual, |(_, text)| text.parse().unwrap());
            let most = most_within(&times, 5_000_000);
            assert!(
                most <= per_s * 11 / 2,
                "I5: {platform} was asked {most} times in five seconds at {per_s}/s"
            );
        }
    }

    /// I8: every job is done, waiting for a time that comes, or a dead letter; and what is not in line has one or is held.
    async fn assert_no_work_is_invisible(&self) {
        let lost = "SELECT string_agg(id || ' ' || status, ', ') FROM processing_queue WHERE NOT ( \
                    status IN ('completed', 'dead') \
                    OR (status IN ('pending', 'failed') AND scheduled_at < now() + interval '1 day') \
                    OR (status = 'processing' AND lease_until < now() + interval '10 minutes'))";
        assert_eq!(self.text(lost).await, "", "I8: jobs that nobody will ever see");
        let forgotten = "SELECT string_agg(l.id::text, ', ') FROM listing_platforms l WHERE auto_sync_enabled \
                         AND (wanted_version > synced_version OR pushing_version IS NOT NULL) AND held_reason IS NULL \
                         AND NOT EXISTS (SELECT FROM processing_queue q WHERE q.listing_id = l.id AND q.status <> 'completed')";
        assert_eq!(
            self.text(forgotten).await,
            "",
            "I8: listings behind without a job"
        );
        let untold = "SELECT string_agg(q.id::text, ', ') FROM processing_queue q WHERE status = 'dead' \
                      AND COALESCE(error_message, '') = ''";
        assert_eq!(self.text(untold).await, "", "I8: dead letters without a cause");
    }

    /// `stock_history` has each version at most once, each row goes on where the one before ended, and the last one says
    /// what counts. (A version of which only the address' status moved has no row.)
    async fn assert_history_is_whole(&self) {
        for (what, sql) in BROKEN_HISTORY {
            assert_eq!(self.text(sql).await, "", "{what}");
        }
    }

    /// Every SKU shows what its last accepted write said.
    pub fn assert_no_stale_write_stands(&self) {
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
pub async fn busy(client: &Client) -> Option<String> {
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
