//! What to do next about one listing: wanted against confirmed, one step at a time.
//!
//! [`next`] never looks further than one request. Each answer changes the row, and the row is asked again; so a restart
//! between two steps needs no memory, and a value that moved meanwhile is simply what the next step is measured
//! against. The order of the questions is the order of importance:
//!
//! 1. a request that may still act is waited out;
//! 2. a zero goes out at once, whatever else is unclear, held or expensive (only the blast radius of what is ended and a
//!    pause stop it);
//! 3. what the destination shows is read when it is not known for sure;
//! 4. equal is finished, held is left, and both are compared with the destination when it is their turn;
//! 5. before a quantity is raised: the price first, then a look at the destination, then the quantity;
//! 6. everything else in one request, with only the fields that differ; a price that is on its way in a feed already is
//!    left to it, unless a quantity waits for it.

use crate::domain::{ListingState, ListingStatus, Money, Quantity, Wanted};
use crate::store::listings::Listing;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// Too many were ended or emptied: held for this reason, even a zero waits for a person.
pub const HELD_RADIUS: &str = "radius";
/// Too many were repriced: the price waits for a person, a smaller quantity does not.
pub const HELD_RADIUS_PRICE: &str = "radius_price";
/// Something was sold at the destination that we did not know of.
pub const HELD_SALE: &str = "remote_sale";
/// Somebody ended the listing at the destination.
pub const HELD_ENDED: &str = "remote_end";
/// The destination took a value and shows another.
pub const HELD_NOT_APPLIED: &str = "not_applied";
/// The destination shows something else than was confirmed, and a person is to say which counts. A smaller quantity
/// passes.
pub const HELD_DRIFT: &str = "drift";
/// The destination refused the values; other values end this.
pub const HELD_REFUSED: &str = "refused";

/// How often a listing is looked at that its destination keeps on hold.
pub const ON_HOLD_LOOK: Duration = Duration::from_secs(3600);

/// One request, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Nothing differs.
    Nothing,
    /// Read what the destination shows.
    Read(ReadWhy),
    /// Set what is `Some`.
    Revise {
        /// The new quantity.
        quantity: Option<Quantity>,
        /// The new price.
        price: Option<Money>,
    },
    /// End the listing.
    End,
    /// List it again.
    Relist,
    /// A request may still act until then.
    Wait {
        /// When it no longer can.
        until: DateTime<Utc>,
    },
    /// A person has to act first.
    Leave(LeaveWhy),
}

/// Why the destination is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadWhy {
    /// Whether the last request took effect is not known.
    Unsure,
    /// A quantity is about to be raised: less than was confirmed means a sale.
    BeforeRaise,
    /// The destination kept it on hold when it was read last.
    OnHold,
    /// Its turn has come to be compared with what is believed of it.
    Reconcile,
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveWhy {
    /// Auto-sync is off.
    Paused,
    /// The listing is held.
    Held,
    /// The price is on its way in a feed, and nothing else differs.
    Bulk,
}

impl Step {
    /// Whether it takes an offer away.
    #[must_use]
    pub fn is_zero(self) -> bool {
        match self {
            Self::Revise { quantity, .. } => quantity.is_some_and(Quantity::is_zero),
            Self::End => true,
            _ => false,
        }
    }

    /// Whether it changes something at the destination.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Revise { .. } | Self::End | Self::Relist)
    }

    /// What the destination shows once this step is accepted.
    #[must_use]
    pub fn applied(self, before: ListingState) -> ListingState {
        match self {
            Self::Revise { quantity, price } => ListingState {
                quantity: quantity.unwrap_or(before.quantity),
                price: price.or(before.price),
                ..before
            },
            Self::End => ListingState {
                status: ListingStatus::Ended,
                quantity: Quantity::ZERO,
                ..before
            },
            Self::Relist => ListingState {
                status: ListingStatus::Active,
                ..before
            },
            _ => before,
        }
    }
}

/// Whether `shown` is what is wanted.
#[must_use]
pub fn matches(wanted: Wanted, shown: ListingState) -> bool {
    let price = wanted.price.is_none() || wanted.price == shown.price;
    match wanted.status {
        ListingStatus::Ended => shown.status == ListingStatus::Ended,
        // An ended listing offers nothing: that is a zero, and its price can wait until it is listed again.
        _ if wanted.quantity.is_zero() && shown.status == ListingStatus::Ended => true,
        _ => shown.status == ListingStatus::Active && shown.quantity == wanted.quantity && price,
    }
}

/// Whether what is wanted takes the offer away.
#[must_use]
pub fn is_zero(wanted: Wanted) -> bool {
    wanted.quantity.is_zero() || wanted.status == ListingStatus::Ended
}

/// What the syncer remembers of a listing beside its row. Lost at a restart, and only ever a shortcut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The destination was read since the last push, moments ago.
    pub fresh: bool,
    /// A zero was refused: look before saying it again.
    pub doubted: bool,
    /// An outcome was unknown: look again after the next push, a late request may still land over there.
    pub verify: bool,
    /// The destination cannot be read for sure for a while, and fewer pieces are wanted than any that it may have: they
    /// are sent without a look.
    pub presses: bool,
}

/// What to do next about `listing` at `now` (the database's clock).
#[must_use]
pub fn next(listing: &Listing, known: Known, now: DateTime<Utc>) -> Step {
    let shown = listing.basis.confirmed;
    if let Some(pushing) = listing.pushing
        && pushing.deadline > now
    {
        return Step::Wait {
            until: pushing.deadline,
        };
    }
    if !listing.auto_sync {
        return Step::Leave(LeaveWhy::Paused);
    }
    let unsure = listing.pushing.is_some() || listing.needs_read_back;
    if shown.status == ListingStatus::Paused {
        let look_at = listing.last_synced_at.map(|at| at + ON_HOLD_LOOK);
        return match look_at {
            Some(until) if until > now && !unsure => Step::Wait { until },
            _ => Step::Read(ReadWhy::OnHold),
        };
    }
    let held = listing.held_reason.as_deref();
    let Some(wanted) = listing.target() else {
        return if unsure {
            Step::Read(ReadWhy::Unsure)
        } else {
            compare(listing, now).unwrap_or(Step::Nothing)
        };
    };
    let doubted = known.doubted && unsure;
    if is_zero(wanted) && held != Some(HELD_RADIUS) && shown.status == ListingStatus::Active && !doubted {
        // After an unknown outcome the last request may have raised what we believe to be zero: say it again.
        let maybe_offered = !shown.quantity.is_zero() || listing.pushing.is_some();
        if wanted.status == ListingStatus::Ended {
            return Step::End;
        }
        if maybe_offered {
            return Step::Revise {
                quantity: Some(Quantity::ZERO),
                price: None,
            };
        }
    }
    if unsure && !(known.presses && falls(listing, wanted)) {
        return Step::Read(ReadWhy::Unsure);
    }
    if matches(wanted, shown) {
        if held.is_none() && is_overtaking(listing, wanted) {
            return Step::Revise {
                quantity: None,
                price: wanted.price,
            };
        }
        return compare(listing, now).unwrap_or(Step::Nothing);
    }
    match held {
        None => {}
        Some(HELD_RADIUS_PRICE | HELD_DRIFT)
            if shown.status == ListingStatus::Active && wanted.quantity < shown.quantity =>
        {
            return Step::Revise {
                quantity: Some(wanted.quantity),
                price: None,
            };
        }
        Some(_) => return compare(listing, now).unwrap_or(Step::Leave(LeaveWhy::Held)),
    }
    beside_feed(towards(wanted, shown, known.fresh), listing, wanted)
}

/// Whether fewer pieces are wanted than were confirmed, and no hold keeps them back.
fn falls(listing: &Listing, wanted: Wanted) -> bool {
    let shown = listing.basis.confirmed;
    let passes = matches!(
        listing.held_reason.as_deref(),
        None | Some(HELD_RADIUS_PRICE | HELD_DRIFT)
    );
    passes
        && (wanted.status, shown.status) == (ListingStatus::Active, ListingStatus::Active)
        && wanted.quantity < shown.quantity
}

/// The feed's price is not wanted any more, and what is wanted is what was confirmed before it. The feed may have put its
/// price there by now, so what is wanted is said again, once.
fn is_overtaking(listing: &Listing, wanted: Wanted) -> bool {
    let other = listing.bulk_price.is_some() && listing.bulk_price != wanted.price;
    other
        && wanted.price.is_some()
        && listing.basis.confirmed.status == ListingStatus::Active
        && listing.synced_version < listing.wanted_version
}

/// Leaves a price to the feed that it is on its way in. Not when the quantity is to be raised after it, nor when the feed
/// takes long: that must not wait. Said twice, a price does no harm.
fn beside_feed(step: Step, listing: &Listing, wanted: Wanted) -> Step {
    let shown = listing.basis.confirmed;
    match step {
        Step::Revise {
            quantity,
            price: Some(price),
        } if listing.bulk_price == Some(price)
            && listing.bulk_waits
            && shown.status == ListingStatus::Active
            && wanted.quantity <= shown.quantity =>
        {
            match quantity {
                Some(_) => Step::Revise {
                    quantity,
                    price: None,
                },
                None => Step::Leave(LeaveWhy::Bulk),
            }
        }
        step => step,
    }
}

/// The look of a listing whose turn it is to be compared. Asked for when nothing else is to be done, so that no push waits
/// for it.
fn compare(listing: &Listing, now: DateTime<Utc>) -> Option<Step> {
    // What is shown may be the feed's by now. When that has ended, the listing is read anyway.
    if listing.bulk_price.is_some() {
        return None;
    }
    let back = listing.read_back.as_ref().filter(|back| back.asked)?;
    match back.look_at {
        Some(until) if until > now => Some(Step::Wait { until }),
        _ => Some(Step::Read(ReadWhy::Reconcile)),
    }
}

/// The step from a listing that shows `shown` for sure towards `wanted`, which differs and is no zero to come.
fn towards(wanted: Wanted, shown: ListingState, fresh: bool) -> Step {
    let quantity = (wanted.quantity != shown.quantity).then_some(wanted.quantity);
    let price = wanted.price.filter(|_| wanted.price != shown.price);
    match (wanted.status, shown.status) {
        (ListingStatus::Ended, _) => Step::End,
        // Nobody can buy from an ended listing: both values first, then on sale.
        (_, ListingStatus::Ended) if quantity.is_some() || price.is_some() => {
            Step::Revise { quantity, price }
        }
        (_, ListingStatus::Ended) => Step::Relist,
        _ if wanted.quantity > shown.quantity => match price {
            Some(_) => Step::Revise {
                quantity: None,
                price,
            },
            None if fresh => Step::Revise { quantity, price },
            None => Step::Read(ReadWhy::BeforeRaise),
        },
        _ => Step::Revise { quantity, price },
    }
}

/// Whether everything that version `version` wants is at the destination once `step` is accepted.
#[must_use]
pub fn completes(listing: &Listing, step: Step) -> bool {
    listing
        .target()
        .is_some_and(|wanted| matches(wanted, step.applied(listing.basis.confirmed)))
}
