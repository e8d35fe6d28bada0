//! A change that waits for a person, or for its deadline.

use super::platform::UnknownName;
use super::{HoldId, Meanwhile, Money, Quantity, UrlStatus, names};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// Why a change waits.
    HoldReason {
        /// The price moved further from its own recent history than is believed.
        PriceStep = "price_step",
        /// The page asks nothing.
        PriceZero = "price_zero",
        /// The page asks in another currency than before.
        CurrencyChanged = "currency_changed",
        /// The title is that of another item.
        TitleChanged = "title_changed",
        /// Another seller offers under the same address.
        SellerChanged = "seller_changed",
        /// The address leads to another item.
        OtherItem = "other_item",
        /// Too many of the source's products would go out of stock at once.
        MassChange = "mass_change",
        /// The destination holds less than was confirmed there: something was sold.
        RemoteSale = "remote_sale",
        /// Too many listings would be ended or repriced in the hour or the day.
        Radius = "radius",
    }
);
names!(
    /// What happens at the deadline when nobody has decided.
    HoldDefault {
        /// The proposed values take effect.
        Accept = "accept",
        /// They do not, and the same proposal is not made again.
        Reject = "reject",
        /// The page is read again: what is still so takes effect.
        Recheck = "recheck",
    }
);
names!(
    /// What became of a hold.
    HoldStatus {
        /// It waits.
        Open = "open",
        /// The proposed values took effect.
        Accepted = "accepted",
        /// They did not.
        Rejected = "rejected",
        /// Other values did, given by a person.
        Edited = "edited",
        /// A newer observation made it void.
        Superseded = "superseded",
    }
);

/// Who decided where nobody did: the deadline, by its default or by a reading after it. A listing that follows from it
/// was approved by no person.
pub const BY_DEADLINE: &str = "deadline";

/// What a hold would make of its watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// Pieces that could be bought.
    pub stock: Quantity,
    /// What one would cost.
    pub price: Option<Money>,
}

/// A change that is to wait.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NewHold {
    /// Why.
    pub reason: HoldReason,
    /// What was seen and what it was measured against, for the person who decides.
    pub detail: serde_json::Value,
    /// What would take effect.
    pub proposed: Proposal,
    /// What the listings do meanwhile.
    pub meanwhile: Meanwhile,
    /// What happens at the deadline.
    pub default_action: HoldDefault,
    /// When nobody needs to be waited for any more.
    pub deadline: DateTime<Utc>,
    /// When the page behind it was read.
    pub fetched_at: DateTime<Utc>,
}

/// What a watcher knows of the hold of its watch: the open one, or one that a person turned down while the page still
/// shows what it proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KnownHold {
    /// The row.
    pub id: HoldId,
    /// Why.
    pub reason: HoldReason,
    /// Open, or decided against.
    pub status: HoldStatus,
    /// What would take effect.
    pub proposed: Proposal,
    /// What happens at the deadline.
    pub default_action: HoldDefault,
    /// When nobody needs to be waited for any more.
    pub deadline: DateTime<Utc>,
    /// What the address was, of an emptying that the blast radius held.
    pub url_status: Option<UrlStatus>,
}

impl KnownHold {
    /// Whether it still waits.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.status == HoldStatus::Open
    }

    /// Whether, at `at`, reading the same once more is enough.
    #[must_use]
    pub fn released_by_reading(&self, at: DateTime<Utc>) -> bool {
        self.is_open() && self.default_action == HoldDefault::Recheck && self.deadline <= at
    }
}
