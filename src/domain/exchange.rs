//! What a unit of a foreign currency costs, as a source quotes it for a day.

use super::platform::UnknownName;
use super::{Currency, names};
use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::{fmt, str::FromStr};

names!(
    /// Where exchange rates come from.
    RateSource {
        /// The settings.
        Fixed = "fixed",
        /// The European Central Bank's reference rates, one file each working day.
        Ecb = "ecb",
    }
);
names!(
    /// What became of a quote.
    RateStatus {
        /// It was taken into use.
        Accepted = "accepted",
        /// It moved too far, and a person has to say whether it is right.
        Waiting = "waiting",
        /// A person said that it is not.
        Refused = "refused",
        /// A newer one took its place before anybody decided.
        Superseded = "superseded",
    }
);

/// All rates of one day. Every known currency but the yen has one, and each is above zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    source: RateSource,
    day: NaiveDate,
    yen: BTreeMap<Currency, Decimal>,
}

/// Rates that make no [`Quote`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no rate above zero for {}", .missing.iter().map(|c| c.code()).collect::<Vec<_>>().join(", "))]
pub struct BadQuote {
    /// The currencies without one.
    pub missing: Vec<Currency>,
}

/// A quote that was taken, and what it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuoteInUse {
    /// The rates.
    pub quote: Quote,
    /// It is so old that nothing new is priced by it.
    pub too_old: bool,
}

// === impl Quote ===

impl Quote {
    /// A quote from yen for one unit of each currency. The yen itself is left out, and so is nothing else.
    ///
    /// # Errors
    /// Every currency that has no rate above zero.
    pub fn new(
        source: RateSource,
        day: NaiveDate,
        mut yen: BTreeMap<Currency, Decimal>,
    ) -> Result<Self, BadQuote> {
        yen.remove(&Currency::Jpy);
        let fits = |currency: &Currency| yen.get(currency).is_some_and(|rate| *rate > Decimal::ZERO);
        let missing: Vec<Currency> = Currency::ALL
            .into_iter()
            .filter(|currency| *currency != Currency::Jpy && !fits(currency))
            .collect();
        if missing.is_empty() {
            Ok(Self { source, day, yen })
        } else {
            Err(BadQuote { missing })
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn source(&self) -> RateSource {
        self.source
    }

    /// The day that it is of, by its source's calendar.
    #[must_use]
    pub fn day(&self) -> NaiveDate {
        self.day
    }

    /// Yen for one unit of each currency.
    #[must_use]
    pub fn yen(&self) -> &BTreeMap<Currency, Decimal> {
        &self.yen
    }
}

/// The day at the European Central Bank in Frankfurt.
#[must_use]
pub fn day_in_frankfurt(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&chrono_tz::Europe::Berlin).date_naive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_whole_or_none() {
        let day = NaiveDate::from_ymd_opt(2026, 11, 20).unwrap();
        let mut yen: BTreeMap<Currency, Decimal> = Currency::ALL
            .into_iter()
            .map(|c| (c, Decimal::from(150)))
            .collect();
        let quote = Quote::new(RateSource::Ecb, day, yen.clone()).unwrap();
        assert!(
            !quote.yen().contains_key(&Currency::Jpy),
            "counted in, not quoted"
        );
        yen.insert(Currency::Usd, Decimal::ZERO);
        yen.remove(&Currency::Cad);
        let bad = Quote::new(RateSource::Ecb, day, yen).unwrap_err();
        assert_eq!(bad.missing, [Currency::Usd, Currency::Cad]);
        assert_eq!(bad.to_string(), "no rate above zero for USD, CAD");
    }
}
