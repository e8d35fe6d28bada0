//! How observations are judged, and how long what is odd waits: from the settings.

use crate::domain::{HoldDefault, HoldReason};
use crate::watch::anomaly::AnomalyRules;
use chrono::TimeDelta;

/// How observations are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// Which prices and titles are odd.
    pub anomaly: AnomalyRules,
    /// How long each kind of hold waits, and what then.
    pub holds: HoldRules,
    /// A gone page must be gone for this long to be dead.
    pub confirm_after: TimeDelta,
    /// How long an open page whose end has passed is given to say that it ended.
    pub terminal_grace: TimeDelta,
    /// How soon such a page is read again.
    pub reread_after: TimeDelta,
}

impl Default for Rules {
    /// A minute to confirm and for a terminal marker, 15 s between readings.
    fn default() -> Self {
        Self {
            anomaly: AnomalyRules::default(),
            holds: HoldRules::default(),
            confirm_after: TimeDelta::seconds(60),
            terminal_grace: TimeDelta::seconds(60),
            reread_after: TimeDelta::seconds(15),
        }
    }
}

/// How long holds wait for a person, and what happens then.
#[derive(Clone, Debug, PartialEq)]
pub struct HoldRules {
    /// A price out of its band: by default six hours, then what is still so is believed.
    pub price_step: (TimeDelta, HoldDefault),
    /// A price of zero: by default a day, then turned down.
    pub price_zero: (TimeDelta, HoldDefault),
    /// A price in another currency, nothing on sale meanwhile: by default a day, then what is still so is believed.
    pub currency_changed: (TimeDelta, HoldDefault),
    /// Another item: by default three days, then turned down; the listing stays empty.
    pub other_item: (TimeDelta, HoldDefault),
    /// Many products gone at once: by default half an hour, then each is read again and what is confirmed released.
    pub mass_change: (TimeDelta, HoldDefault),
}

impl Default for HoldRules {
    fn default() -> Self {
        Self {
            price_step: (TimeDelta::hours(6), HoldDefault::Recheck),
            price_zero: (TimeDelta::hours(24), HoldDefault::Reject),
            currency_changed: (TimeDelta::hours(24), HoldDefault::Recheck),
            other_item: (TimeDelta::hours(72), HoldDefault::Reject),
            mass_change: (TimeDelta::minutes(30), HoldDefault::Recheck),
        }
    }
}

impl HoldRules {
    /// The wait and the default of one reason.
    #[must_use]
    pub fn of(&self, reason: HoldReason) -> (TimeDelta, HoldDefault) {
        match reason {
            HoldReason::PriceStep => self.price_step,
            HoldReason::PriceZero => self.price_zero,
            HoldReason::CurrencyChanged => self.currency_changed,
            HoldReason::TitleChanged | HoldReason::SellerChanged | HoldReason::OtherItem => self.other_item,
            HoldReason::MassChange | HoldReason::RemoteSale | HoldReason::Radius => self.mass_change,
        }
    }
}
