//! The probe of where exchange rates come from: whether it answers, and how old what prices are made by is.

use super::kept::Kept;
use super::{Check, Found, Probe};
use crate::domain::{Quote, QuoteInUse};
use crate::platform::PlatformError;
use chrono::NaiveDate;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;

/// Asks the source for its newest rates.
pub type AskRates = Arc<dyn Fn() -> BoxFuture<'static, Result<Quote, PlatformError>> + Send + Sync>;

/// Looks at a configured source of exchange rates.
pub struct RatesProbe {
    /// The source.
    pub ask: AskRates,
    /// The day of what it had last.
    pub kept: Arc<Kept<NaiveDate>>,
    /// What prices are made by at the moment; `None`: the rates of the settings.
    pub in_use: Arc<dyn Fn() -> Option<QuoteInUse> + Send + Sync>,
}

impl Probe for RatesProbe {
    fn name(&self) -> &'static str {
        "exchange rates"
    }

    fn asks_outside(&self) -> bool {
        true
    }

    fn look(&self) -> BoxFuture<'static, Found> {
        let (asked, in_use) = ((self.ask)(), (self.in_use)());
        let kept = Arc::clone(&self.kept);
        async move {
            let newest = asked.map(|asked| asked.map(|quote| quote.day()));
            let asked = kept.or_ask(newest).await;
            Found::from(judge(asked, in_use.map(|own| (own.quote.day(), own.too_old))))
        }
        .boxed()
    }
}

/// `asked`: the day of the newest rates that the source has; `in_use`: of those in use, and whether they are too old.
fn judge(asked: Result<NaiveDate, PlatformError>, in_use: Option<(NaiveDate, bool)>) -> Check {
    let name = "exchange rates";
    let own = match in_use {
        Some((day, _)) => format!("prices are made by the rates of {day}"),
        None => "prices are made by the rates of the settings".to_owned(),
    };
    let stands_still = in_use.is_some_and(|(_, too_old)| too_old);
    match asked {
        Err(error) => {
            let said = format!("{own}; {}", error.message);
            let to_do = "look at `exchange.endpoint` and the way there; `zaikoban schedule run exchange_rates --wait` asks again";
            if stands_still {
                Check::failed(name, said, to_do)
            } else {
                Check::warning(name, said, to_do)
            }
        }
        Ok(newest) if stands_still => Check::failed(
            name,
            format!("{own}, which are too old: no price changes. The source has those of {newest}"),
            "`zaikoban schedule run exchange_rates --wait`; `zaikoban rates list` shows whether new ones wait for a person",
        ),
        Ok(newest) if in_use.is_none_or(|(day, _)| day < newest) => Check::warning(
            name,
            format!("{own}; the source has those of {newest}"),
            "`zaikoban rates list` shows whether they wait for a person; `zaikoban schedule run exchange_rates --wait` takes \
             them now",
        ),
        Ok(_) => Check::ok(name, format!("{own}, the newest that the source has")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ErrorClass;
    use crate::ops::doctor::CheckState::{Failed, Ok as Well, Warning};

    #[test]
    fn what_is_in_use_and_what_there_is_are_told() {
        let day = |d| NaiveDate::from_ymd_opt(2026, 11, d).unwrap();
        let away = || {
            Err(PlatformError {
                class: ErrorClass::Transient,
                code: "x".into(),
                message: "the bank is away".into(),
                missing: Vec::new(),
                body: None,
                away_for: None,
            })
        };
        for (asked, in_use, state, part) in [
            (Ok(day(20)), Some((day(20), false)), Well, "newest"),
            (Ok(day(20)), Some((day(19), false)), Warning, "2026-11-20"),
            (Ok(day(20)), None, Warning, "of the settings"),
            (Ok(day(20)), Some((day(2), true)), Failed, "too old"),
            (away(), Some((day(20), false)), Warning, "the bank is away"),
            (away(), Some((day(2), true)), Failed, "2026-11-02"),
        ] {
            let check = judge(asked, in_use);
            assert_eq!(check.state, state, "{check:?}");
            assert!(check.said.contains(part), "{check:?}");
            assert_eq!(check.to_do.is_none(), state == Well, "{check:?}");
        }
    }
}
