//! What is done when a destination shows something else than we believe: somebody changed a listing by hand, it was sold
//! and nobody told us, or it is gone. Pure.
//!
//! | what is shown | `overwrite` | `adopt` | `ask` |
//! |---|---|---|---|
//! | more than can be bought | pushed down, at once | pushed down, at once | pushed down, at once |
//! | fewer | believed, never raised again until another quantity is wanted | the same | a person is asked |
//! | more than we showed, and no more than can be bought | pushed down | left | a person is asked; down passes |
//! | another price | ours is pushed | left until something else is wanted | a person is asked |
//! | ended or gone | a person is asked | left until another quantity is wanted | a person is asked |
//! | listed again | as by its quantity and price | left | a person is asked |
//!
//! **No policy raises a quantity or lists again.** What was taken away over there was sold, or somebody meant it; only what
//! a source says anew, or a person, offers more. A quantity that is believed to be smaller is kept beside the row
//! ([`Adopted`]), so that a new price or a restart does not bring the old one back.

use super::plan::{HELD_DRIFT, HELD_ENDED, matches};
use crate::domain::{
    DestinationPlatform, ListingState, ListingStatus, Quantity, UnknownName, Version, Wanted, names,
};
use crate::store::reads::{Adopted, RunCounts};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use std::{fmt, str::FromStr};

names!(
    /// Whose word counts when a destination shows something else.
    Policy {
        /// Ours: what differs is pushed as wanted, but nothing is raised.
        Overwrite = "overwrite",
        /// That of whoever changed it: what is shown is left, but for more than can be bought.
        Adopt = "adopt",
        /// A person's, who is asked each time.
        Ask = "ask",
    }
);
names!(
    /// In what a destination differs.
    DriftKind {
        /// It offers fewer pieces.
        Fewer = "fewer",
        /// It offers more.
        More = "more",
        /// It asks another price.
        Price = "price",
        /// The listing was ended.
        Ended = "ended",
        /// It was listed again.
        Relisted = "relisted",
        /// The destination does not know it any more.
        Gone = "gone",
        /// The destination keeps it on hold.
        Paused = "paused",
    }
);
names!(
    /// What is done about it.
    Done {
        /// What is wanted is pushed.
        Pushed = "pushed",
        /// What is shown is left.
        Adopted = "adopted",
        /// A person is asked.
        Asked = "asked",
        /// It is looked at until the destination lets it go.
        Waits = "waits",
        /// Nothing: so many differ that a person has to look first.
        Stopped = "stopped",
    }
);

/// How reading back goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReconcileSettings {
    /// Whose word counts, at each destination.
    pub policies: Policies,
    /// This share of a destination's requests may be looks, in percent.
    pub share_percent: u32,
    /// So many listings are read in one run at most.
    pub per_run: u32,
    /// For so long a run begins looks, in seconds; what it has not read then is the next one's.
    pub window_s: u64,
    /// A difference is believed when it is seen again after so long, in seconds, and nothing is judged so shortly after a
    /// push: destinations show new values with a delay.
    pub confirm_after_s: u64,
    /// So many listings of a run, …
    pub alert_listings: u32,
    /// … and this share of those that were read, in percent: people are told …
    pub alert_percent: u32,
    /// … and from this share on nothing is repaired any more.
    pub stop_percent: u32,
}

impl Default for ReconcileSettings {
    fn default() -> Self {
        Self {
            policies: Policies::default(),
            share_percent: 20,
            per_run: 20_000,
            window_s: 4 * 3_600,
            confirm_after_s: 90,
            alert_listings: 5,
            alert_percent: 2,
            stop_percent: 20,
        }
    }
}

/// A policy for each destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policies {
    /// eBay's.
    pub ebay: Policy,
    /// That of Mercari Shops.
    pub mercari: Policy,
    /// That of Amazon.
    pub amazon_seller: Policy,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            ebay: Policy::Overwrite,
            mercari: Policy::Overwrite,
            amazon_seller: Policy::Overwrite,
        }
    }
}

impl ReconcileSettings {
    /// Whose word counts at a destination.
    #[must_use]
    pub fn policy(&self, destination: DestinationPlatform) -> Policy {
        match destination {
            DestinationPlatform::Ebay => self.policies.ebay,
            DestinationPlatform::Mercari => self.policies.mercari,
            DestinationPlatform::AmazonSeller => self.policies.amazon_seller,
        }
    }

    /// After how long a difference is believed when it is seen again.
    #[must_use]
    pub fn confirm_after(&self) -> Duration {
        Duration::from_secs(self.confirm_after_s)
    }

    /// The same where a destination shows the old values for so long after it took new ones.
    #[must_use]
    pub fn confirmed_after(self, settles: Duration) -> Self {
        Self {
            confirm_after_s: self.confirm_after_s.max(settles.as_secs()),
            ..self
        }
    }

    /// Whether so many listings of a run differ that people are told.
    #[must_use]
    pub fn tells(&self, counts: RunCounts) -> bool {
        self.passes(counts.drifted, counts.looked, self.alert_percent)
    }

    /// Whether so many differ, seen once or believed, that it is rather a wrong account or a lying answer: then nothing is
    /// repaired.
    #[must_use]
    pub fn stops(&self, counts: RunCounts) -> bool {
        counts.stopped || self.passes(counts.differed, counts.looked, self.stop_percent)
    }

    fn passes(&self, part: i32, whole: i32, percent: u32) -> bool {
        let (part, whole) = (i64::from(part), i64::from(whole));
        part >= i64::from(self.alert_listings)
            && part.saturating_mul(100) > whole.saturating_mul(i64::from(percent))
    }
}

/// What the rules want of a listing, and since which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// The newest version.
    pub version: Version,
    /// What it says.
    pub wanted: Wanted,
    /// What was left as it was found before.
    pub adopted: Option<Adopted>,
}

impl Wants {
    /// What the destination is to show.
    #[must_use]
    pub fn target(&self) -> Wanted {
        self.adopted
            .map_or(self.wanted, |adopted| adopted.over(self.wanted, self.version))
    }
}

/// How a difference is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What is believed from now on: what is shown.
    pub confirmed: ListingState,
    /// What is left as it was found from now on.
    pub adopted: Option<Adopted>,
    /// The listing waits for a person, for this reason.
    pub hold: Option<&'static str>,
    /// What that is.
    pub done: Done,
}

/// Pieces that a buyer can take.
#[must_use]
pub fn offered(state: ListingState) -> Quantity {
    match state.status {
        ListingStatus::Active => state.quantity,
        ListingStatus::Paused | ListingStatus::Ended => Quantity::ZERO,
    }
}

/// In what `shown` differs from what is believed; nothing when they agree. `None` is not known to the destination.
#[must_use]
pub fn differences(believed: ListingState, shown: Option<ListingState>) -> Vec<DriftKind> {
    use ListingStatus::{Active, Ended, Paused};
    let Some(shown) = shown else {
        // An ended listing that is gone is no news.
        return if believed.status == Ended {
            Vec::new()
        } else {
            vec![DriftKind::Gone]
        };
    };
    match (believed.status, shown.status) {
        (Ended, Ended) | (Paused, Paused) => return Vec::new(),
        (_, Ended) => return vec![DriftKind::Ended],
        (_, Paused) => return vec![DriftKind::Paused],
        (_, Active) => {}
    }
    let mut kinds = Vec::new();
    if believed.status == Ended {
        kinds.push(DriftKind::Relisted);
    }
    // On hold it was not to be seen what would be on sale: the values are compared as they are.
    let before = if believed.status == Ended {
        Quantity::ZERO
    } else {
        believed.quantity
    };
    match shown.quantity.cmp(&before) {
        std::cmp::Ordering::Less => kinds.push(DriftKind::Fewer),
        std::cmp::Ordering::Greater => kinds.push(DriftKind::More),
        std::cmp::Ordering::Equal => {}
    }
    if believed.price != shown.price {
        kinds.push(DriftKind::Price);
    }
    if believed.status == Paused && kinds.is_empty() {
        kinds.push(DriftKind::Relisted);
    }
    kinds
}

/// Whether more is offered than can be bought: that is not waited with.
#[must_use]
pub fn is_too_much(wants: Option<Wants>, shown: Option<ListingState>) -> bool {
    let (Some(wants), Some(shown)) = (wants, shown) else {
        return false;
    };
    let most = match wants.wanted.status {
        ListingStatus::Active => wants.wanted.quantity,
        ListingStatus::Paused | ListingStatus::Ended => Quantity::ZERO,
    };
    offered(shown) > most
}

/// What is done about a listing that shows `shown` for sure, which differs from what is believed.
#[must_use]
pub fn reconcile(
    policy: Policy,
    believed: ListingState,
    wants: Option<Wants>,
    shown: Option<ListingState>,
) -> Repair {
    let gone = ListingState {
        status: ListingStatus::Ended,
        quantity: Quantity::ZERO,
        price: believed.price,
    };
    let confirmed = shown.unwrap_or(gone);
    let before = wants.and_then(|wants| wants.adopted);
    let is = |done, hold, adopted| Repair {
        confirmed,
        adopted,
        hold,
        done,
    };
    let Some(wants) = wants else {
        // Nothing is wanted yet: there is nothing to push, and no more to decide.
        return is(Done::Adopted, None, before);
    };
    if confirmed.status == ListingStatus::Paused {
        return is(Done::Waits, None, before);
    }
    if matches(wants.target(), confirmed) {
        return is(Done::Adopted, None, before);
    }
    if confirmed.status == ListingStatus::Ended {
        return match policy {
            Policy::Adopt => is(Done::Adopted, None, Some(left(&wants, confirmed))),
            Policy::Overwrite | Policy::Ask => is(Done::Asked, Some(HELD_ENDED), before),
        };
    }
    let adopted = match policy {
        Policy::Ask => return ask(confirmed, before),
        // Beyond what was left before, nothing but the number of pieces is.
        Policy::Overwrite => Adopted {
            price: None,
            most: confirmed.quantity.min(wants.target().quantity),
            ..left(&wants, confirmed)
        },
        Policy::Adopt => left(&wants, confirmed),
    };
    let target = adopted.over(wants.wanted, wants.version);
    let done = if matches(target, confirmed) {
        Done::Adopted
    } else {
        Done::Pushed
    };
    let leaves_nothing = target == wants.wanted;
    is(done, None, (!leaves_nothing).then_some(adopted))
}

/// A person is asked, whatever differs; a smaller quantity goes out meanwhile.
#[must_use]
pub fn ask(confirmed: ListingState, before: Option<Adopted>) -> Repair {
    Repair {
        confirmed,
        adopted: before,
        hold: Some(HELD_DRIFT),
        done: Done::Asked,
    }
}

/// What is shown, to be left as it is as far as that is no more than what is wanted.
fn left(wants: &Wants, shown: ListingState) -> Adopted {
    let ended = shown.status == ListingStatus::Ended;
    Adopted {
        version: wants.version,
        wanted_quantity: wants.wanted.quantity,
        // What is ended shows what it would offer, were it listed again.
        most: if ended {
            wants.wanted.quantity
        } else {
            shown.quantity.min(wants.wanted.quantity)
        },
        price: shown.price,
        ended,
    }
}

#[cfg(test)]
mod tests;
