//! The European Central Bank's reference rates: one small file, written at about 16:00 in Frankfurt on working days.
//!
//! It says what one euro costs in each currency; what a dollar costs in yen is worked out through the euro. The file is
//! read strictly (`read`): every rate that it holds is above zero and named once, and all that we trade in are there, or
//! there is no quote at all. Asking is one request to one address; how often is the caller's.

mod read;

use crate::clock::Clock;
use crate::domain::{BadQuote, Classified as _, Currency, ErrorClass, Quote, RateSource};
use crate::http::{BadClient, Client, ClientSettings, Limits, Origin};
use crate::platform::PlatformError;
use read::{EuroRates, Unreadable};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Where the daily file is.
const PATH: &str = "/stats/eurofxref/eurofxref-daily.xml";
/// The file has some 2 KB.
const MOST_BYTES: usize = 64 * 1024;
/// For the whole exchange.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Digits behind the point of a rate worked out through the euro.
const DIGITS: u32 = 8;

/// How the bank, or its rehearsal, is reached.
#[derive(Clone, Debug)]
pub struct EcbSettings {
    /// Scheme and host; `https://www.ecb.europa.eu` in earnest.
    pub endpoint: Url,
    /// Certificates that alone are trusted, for a rehearsal.
    pub ca_file: Option<PathBuf>,
}

/// Asks for the daily file.
#[derive(Clone, Debug)]
pub struct Ecb {
    client: Client,
    file: Url,
    clock: Clock,
}

// === impl Ecb ===

impl Ecb {
    /// Makes the client.
    ///
    /// # Errors
    /// When the endpoint is no place that can be reached, or the certificates cannot be read.
    pub fn new(settings: &EcbSettings, clock: Clock) -> Result<Self, BadClient> {
        let client = Client::new(&ClientSettings {
            origins: vec![Origin::parse(settings.endpoint.as_str())?],
            user_agent: format!("zaikoban/{}", env!("CARGO_PKG_VERSION")),
            ca_file: settings.ca_file.clone(),
            gzip: true,
            limits: Limits {
                total: TIME_LIMIT,
                body_bytes: MOST_BYTES,
                ..Limits::default()
            },
        })?;
        let mut file = settings.endpoint.clone();
        file.set_path(PATH);
        Ok(Self { client, file, clock })
    }

    /// The newest rates.
    ///
    /// # Errors
    /// When the file cannot be had, or is not what it should be: then nothing of it is used.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection; nothing is left behind.
    pub async fn fetch(&self) -> Result<Quote, PlatformError> {
        let answer = self
            .client
            .get(self.file.clone())
            .send()
            .await
            .map_err(|error| trouble(error.class(), error.code(), &error.to_string(), Vec::new()))?;
        if answer.status != 200 {
            let class = answer
                .status_class(self.clock.now())
                .unwrap_or(ErrorClass::Protocol);
            let code = format!("http_{}", answer.status);
            let why = format!("the answer's status is {}, not 200", answer.status);
            return Err(trouble(class, &code, &why, Vec::new()));
        }
        read::read(&answer.body)
            .map_err(|Unreadable { why, missing }| trouble(ErrorClass::Protocol, "contract", &why, missing))
            .and_then(|rates| quote(&rates))
    }
}

/// Yen for one unit of each currency, through the euro.
fn quote(rates: &EuroRates) -> Result<Quote, PlatformError> {
    let per_euro = |currency| rates.per_euro.get(&currency).copied();
    let yen: BTreeMap<Currency, Decimal> = Currency::ALL
        .into_iter()
        .filter_map(|currency| {
            let yen = per_euro(Currency::Jpy)?;
            let rate = match currency {
                Currency::Eur => Decimal::ONE,
                other => per_euro(other)?,
            };
            Some((currency, yen.checked_div(rate)?.round_dp(DIGITS)))
        })
        .collect();
    let bad = |BadQuote { missing }: BadQuote| {
        // Without the yen nothing can be worked out: it alone is what is missing then.
        let missing: Vec<Box<str>> = if per_euro(Currency::Jpy).is_none() {
            vec![at(Currency::Jpy)]
        } else {
            missing.into_iter().map(at).collect()
        };
        let why = format!("the file of {} lacks {}", rates.day, missing.join(", "));
        trouble(ErrorClass::Protocol, "contract", &why, missing)
    };
    Quote::new(RateSource::Ecb, rates.day, yen).map_err(bad)
}

fn at(currency: Currency) -> Box<str> {
    format!("Cube[@currency='{currency}']/@rate").into()
}

fn trouble(class: ErrorClass, code: &str, why: &str, missing: Vec<Box<str>>) -> PlatformError {
    PlatformError {
        class,
        code: code.into(),
        message: format!("asking the European Central Bank for the exchange rates: {why}").into(),
        missing,
        body: None,
        away_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn rates(pairs: &[(Currency, &str)]) -> EuroRates {
        EuroRates {
            day: NaiveDate::from_ymd_opt(2026, 11, 20).unwrap(),
            per_euro: pairs.iter().map(|(c, r)| (*c, r.parse().unwrap())).collect(),
        }
    }

    #[test]
    fn rates_are_worked_out_through_the_euro() {
        let quote = quote(&rates(&[
            (Currency::Jpy, "165.25"),
            (Currency::Usd, "1.1000"),
            (Currency::Gbp, "0.8750"),
            (Currency::Aud, "1.7"),
            (Currency::Cad, "1.55"),
        ]))
        .unwrap();
        let yen = |c| quote.yen()[&c].to_string();
        assert_eq!(yen(Currency::Eur), "165.25");
        assert_eq!(yen(Currency::Usd), "150.22727273");
        assert_eq!(yen(Currency::Gbp), "188.85714286");
    }

    #[test]
    fn what_is_missing_is_said() {
        let lacks = quote(&rates(&[(Currency::Jpy, "165.25"), (Currency::Usd, "1.1")])).unwrap_err();
        assert_eq!(lacks.class, ErrorClass::Protocol);
        assert_eq!(lacks.missing.len(), 3, "{lacks}");
        let lacks = quote(&rates(&[(Currency::Usd, "1.1")])).unwrap_err();
        assert_eq!(&*lacks.missing[0], "Cube[@currency='JPY']/@rate");
        assert_eq!(lacks.missing.len(), 1, "{lacks}");
    }
}
