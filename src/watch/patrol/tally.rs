//! Failed looks, counted by cause until they are written: a trouble is one row, however many products it hits.

use crate::domain::{ErrorClass, Platform, WatchId};
use crate::platform::PlatformError;
use std::collections::HashMap;

/// One cause, and how often it was met since the last time it was written.
#[derive(Clone, Debug)]
pub(crate) struct Tallied {
    pub(crate) platform: Platform,
    /// The same for the same trouble: platform, code, and what was missing.
    pub(crate) fingerprint: String,
    pub(crate) count: u64,
    /// The latest of them, and the watch it was about.
    pub(crate) error: PlatformError,
    pub(crate) watch_id: WatchId,
}

/// How many causes are kept apart; what comes beyond is counted in the numbers alone. A page that is different every
/// time must not fill the memory.
const MOST_CAUSES: usize = 256;

/// The failed looks of one patrol.
#[derive(Debug)]
pub(super) struct Tally {
    platform: Platform,
    causes: HashMap<String, Tallied>,
}

impl Tally {
    pub(super) fn new(platform: Platform) -> Self {
        Self {
            platform,
            causes: HashMap::new(),
        }
    }

    /// Counts one.
    pub(super) fn add(&mut self, watch_id: WatchId, error: PlatformError) {
        let fingerprint = fingerprint(self.platform, &error);
        if self.causes.len() >= MOST_CAUSES && !self.causes.contains_key(&fingerprint) {
            return;
        }
        let platform = self.platform;
        let cause = self.causes.entry(fingerprint.clone()).or_insert_with(|| Tallied {
            platform,
            fingerprint,
            count: 0,
            error: error.clone(),
            watch_id,
        });
        cause.count = cause.count.saturating_add(1);
        cause.error = error;
        cause.watch_id = watch_id;
    }

    /// What was counted, to be written; the tally begins anew.
    pub(super) fn take(&mut self) -> Vec<Tallied> {
        self.causes.drain().map(|(_, cause)| cause).collect()
    }

    /// Puts back what could not be written.
    pub(super) fn put_back(&mut self, causes: Vec<Tallied>) {
        for old in causes {
            match self.causes.get_mut(&old.fingerprint) {
                Some(new) => new.count = new.count.saturating_add(old.count),
                None => {
                    self.causes.insert(old.fingerprint.clone(), old);
                }
            }
        }
    }
}

fn fingerprint(platform: Platform, error: &PlatformError) -> String {
    let mut missing: Vec<&str> = error.missing.iter().map(AsRef::as_ref).collect();
    missing.sort_unstable();
    missing.dedup();
    let mut text = format!("check:{platform}:{}", error.code);
    if error.class == ErrorClass::Protocol && !missing.is_empty() {
        text.push(':');
        // A page that lacks everything names the same first few.
        text.push_str(&missing.get(..8).unwrap_or(&missing).join(","));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(missing: &[&str]) -> PlatformError {
        PlatformError {
            class: ErrorClass::Protocol,
            code: "contract".into(),
            message: "the page lacks what is needed".into(),
            missing: missing.iter().map(|m| Box::from(*m)).collect(),
            body: None,
            away_for: None,
        }
    }

    #[test]
    fn five_thousand_pages_that_lack_the_same_are_one_cause() {
        let mut tally = Tally::new(Platform::YahooAuction);
        for id in 0..5_000 {
            tally.add(WatchId(id), drift(&["item.quantity", "item.bidorbuy"]));
        }
        let causes = tally.take();
        assert_eq!(causes.len(), 1);
        assert_eq!(causes[0].count, 5_000);
        assert!(tally.take().is_empty());
    }

    #[test]
    fn the_order_of_what_is_missing_makes_no_other_cause() {
        let mut tally = Tally::new(Platform::YahooAuction);
        tally.add(WatchId(1), drift(&["a", "b"]));
        tally.add(WatchId(2), drift(&["b", "a", "a"]));
        tally.add(WatchId(3), drift(&["b"]));
        assert_eq!(tally.take().len(), 2);
    }

    #[test]
    fn what_could_not_be_written_is_counted_on() {
        let mut tally = Tally::new(Platform::YahooAuction);
        tally.add(WatchId(1), drift(&["a"]));
        let causes = tally.take();
        tally.add(WatchId(1), drift(&["a"]));
        tally.put_back(causes);
        assert_eq!(tally.take()[0].count, 2);
    }

    #[test]
    fn causes_beyond_the_most_do_not_fill_the_memory() {
        let mut tally = Tally::new(Platform::YahooAuction);
        for id in 0..10_000 {
            tally.add(WatchId(id), drift(&[&id.to_string()]));
        }
        assert_eq!(tally.take().len(), MOST_CAUSES);
    }
}
