//! Exchange rates of a source: read by the time-table, followed by every node.
//!
//! One run reads and judges ([`crate::pricing::judge_rates`]) under the table's lock; what it accepts, or a person does, is a row. Each
//! node looks at the newest accepted row every 20 s, prices by it from then on, and has every listing worked out anew. When
//! that row is too old, nothing new is priced: a listing keeps its price, and its quantity only goes down.

use super::live::Live;
use crate::clock::Clock;
use crate::config::{ExchangeSettings, Settings};
use crate::domain::{Classified as _, Quote, QuoteInUse, RateSource, RateStatus, day_in_frankfurt};
use crate::ops::RATES_JUMPED;
use crate::ops::doctor::rates::RatesProbe;
use crate::platform::PlatformError;
use crate::platform::ecb::{Ecb, EcbSettings};
use crate::pricing::{Before, RateGuards, RateMove, RateVerdict, is_too_old, judge_rates};
use crate::schedule::{Action, Done, Failure, Run, action};
use crate::store::errors::{self, ErrorRecord, ErrorType, Severity};
use crate::store::executions::Counts;
use crate::store::looping::{child, every};
use crate::store::rates::{self, KeptQuote, NewQuote};
use crate::store::{Connection, Db, StoreError};
use crate::supervision::ChildSpec;
use anyhow::Context as _;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How soon every node follows a rate that was accepted.
const EVERY: Duration = Duration::from_secs(20);
/// One look.
const LIMIT: Duration = Duration::from_secs(30);
/// How often the file is asked for in one run, and how long after one another.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(20);
/// What makes two old rates the same trouble.
const TOO_OLD: &str = "exchange_rate_old";
/// Who accepts what moved no further than it may.
const BY_RULE: &str = "exchange.largest_move_percent";

/// A configured source of rates. Cheap to clone.
#[derive(Clone)]
pub(super) struct Exchange {
    source: Ecb,
    guards: RateGuards,
    db: Db,
    live: Live,
    clock: Clock,
    /// Whether it was told that the rate in use is too old; nothing before the first look.
    told: Arc<Mutex<Option<bool>>>,
}

/// What is taken from the settings.
fn guards(own: &ExchangeSettings) -> RateGuards {
    RateGuards {
        largest_move_percent: Decimal::from(own.largest_move_percent),
        longest_days: own.longest_days,
    }
}

// === impl Exchange ===

impl Exchange {
    /// The source of the settings, `None` for fixed rates; prices by `kept` from now on.
    ///
    /// # Errors
    /// When the endpoint or the certificates cannot be used.
    pub(super) fn new(
        settings: &Settings,
        db: &Db,
        live: &Live,
        clock: &Clock,
        kept: Option<&KeptQuote>,
    ) -> anyhow::Result<Option<Self>> {
        let own = &settings.exchange;
        if own.source == RateSource::Fixed {
            return Ok(None);
        }
        let source = EcbSettings {
            endpoint: own.endpoint.clone(),
            ca_file: own.ca_file.clone(),
        };
        let own = Self {
            source: Ecb::new(&source, clock.clone()).context("exchange")?,
            guards: guards(own),
            db: db.clone(),
            live: live.clone(),
            clock: clock.clone(),
            told: Arc::default(),
        };
        own.price_by(kept);
        Ok(Some(own))
    }

    /// The child that follows.
    pub(super) fn follow(&self) -> ChildSpec {
        let own = self.clone();
        child("rates", move |life| {
            let own = own.clone();
            async move { every(&life, "Following the exchange rates", EVERY, LIMIT, || own.look()).await }
        })
    }

    /// What `doctor` looks at.
    pub(super) fn probe(&self) -> RatesProbe {
        let (source, live) = (self.source.clone(), self.live.clone());
        RatesProbe {
            ask: Arc::new(move || {
                let source = source.clone();
                async move { source.fetch().await }.boxed()
            }),
            kept: Arc::default(),
            in_use: Arc::new(move || live.quote()),
        }
    }

    /// What the time-table does.
    pub(super) fn action(&self) -> Arc<dyn Action> {
        let own = self.clone();
        action(move |run| {
            let own = own.clone();
            async move { own.read(&run).await }
        })
    }

    /// Makes this the quote in use; answers whether it is too old.
    fn price_by(&self, kept: Option<&KeptQuote>) -> bool {
        let today = day_in_frankfurt(self.clock.now());
        let in_use = kept.map(|kept| QuoteInUse {
            quote: kept.quote.clone(),
            too_old: is_too_old(kept.quote.day(), today, self.guards),
        });
        let too_old = in_use.as_ref().is_some_and(|own| own.too_old);
        self.live.set_quote(in_use);
        too_old
    }

    async fn look(&self) -> Result<(), StoreError> {
        let mut conn = self.db.conn().await?;
        let kept = rates::in_use(&mut conn, RateSource::Ecb).await?;
        let too_old = self.price_by(kept.as_ref());
        if *self.told.lock() == Some(too_old) {
            return Ok(());
        }
        match kept.filter(|_| too_old) {
            Some(kept) => {
                let day = kept.quote.day();
                let message = format!(
                    "the exchange rates in use are of {day}, older than {} days (`exchange.longest_days`): prices stay as \
                     they are, and quantities only go down. To do: `zaikoban rates list` shows what came since, \
                     `zaikoban schedule run exchange_rates --wait` asks again",
                    self.guards.longest_days
                );
                errors::record(&mut conn, &trouble(TOO_OLD, message, json!({ "day": day }))).await?;
            }
            None => errors::end_recovered(&mut conn, TOO_OLD).await?,
        }
        *self.told.lock() = Some(too_old);
        Ok(())
    }

    async fn read(&self, run: &Run) -> Result<Done, Failure> {
        let mut counts = Counts {
            total: 1,
            ..Counts::default()
        };
        run.progress.set(counts);
        let quote = self
            .ask()
            .await
            .map_err(|error| Failure::new(error.to_string()))?;
        let now = self.clock.now();
        let (before, guards) = (self.live.typed_rates(), self.guards);
        let told = self.db.transaction(move |conn| {
            async move {
                let typed = Before {
                    day: None,
                    yen: before,
                };
                rates::lock(conn).await?;
                take(conn, quote, typed, (guards, now)).await
            }
            .boxed()
        });
        let Taken { what, quote, refused } = told.await?;
        if let Some(why) = refused {
            return Err(Failure::new(why));
        }
        self.look().await?;
        counts.processed = 1;
        counts.updated = i32::from(what == "accepted");
        run.progress.set(counts);
        Ok(Done {
            details: Some(json!({
                "outcome": what, "day": quote.day(), "source": quote.source(), "yen": quote.yen(),
            })),
        })
    }

    /// Asks, and again when that may help.
    async fn ask(&self) -> Result<Quote, PlatformError> {
        let mut tried = 1;
        loop {
            match self.source.fetch().await {
                Err(error) if error.class().is_retryable() && tried < TRIES => {
                    tracing::debug!(%error, "The exchange rates are asked for again");
                    tried += 1;
                    tokio::time::sleep(AGAIN).await;
                }
                asked => return asked,
            }
        }
    }
}

/// What became of a quote.
struct Taken {
    what: &'static str,
    quote: Quote,
    /// Why it cannot be right.
    refused: Option<String>,
}

/// Judges a quote and keeps it, in the caller's transaction and turn.
async fn take(
    conn: &mut Connection,
    quote: Quote,
    typed: Before,
    (guards, now): (RateGuards, chrono::DateTime<chrono::Utc>),
) -> Result<Taken, StoreError> {
    let in_use = rates::in_use(conn, quote.source()).await?;
    let before = in_use.map_or(typed, |kept| Before {
        day: Some(kept.quote.day()),
        yen: kept.quote.yen().clone(),
    });
    let keep = |far: Option<RateMove>, accepted: bool| NewQuote {
        quote: quote.clone(),
        largest_move_percent: far.map_or(Decimal::ZERO, |far| far.percent),
        fetched_at: now,
        accepted_by: accepted.then(|| BY_RULE.to_owned()),
    };
    let mut refused = None;
    let what = match judge_rates(&quote, &before, guards, day_in_frankfurt(now)) {
        RateVerdict::Same => "same",
        RateVerdict::Older => "older",
        RateVerdict::Implausible(why) => {
            refused = Some(format!(
                "the exchange rates cannot be right: {why}; the old ones stay in use"
            ));
            "implausible"
        }
        RateVerdict::Taken(far) => {
            rates::keep(conn, &keep(far, true)).await?;
            errors::end_recovered(conn, RATES_JUMPED).await?;
            "accepted"
        }
        RateVerdict::Jumped(far) => match rates::known(conn, &quote).await?.map(|kept| kept.status) {
            Some(RateStatus::Waiting) => "waiting",
            Some(RateStatus::Refused) => "refused",
            _ => {
                let id = rates::keep(conn, &keep(Some(far), false)).await?;
                errors::record(conn, &jumped(id, &quote, far, guards)).await?;
                "waiting"
            }
        },
    };
    Ok(Taken { what, quote, refused })
}

fn jumped(id: i64, quote: &Quote, far: RateMove, guards: RateGuards) -> ErrorRecord {
    let message = format!(
        "the exchange rates of {} moved by {} % ({} from {} to {} yen), more than {} % \
         (`exchange.largest_move_percent`): the old ones stay in use until `zaikoban rates accept {id}` or \
         `zaikoban rates refuse {id}`",
        quote.day(),
        far.percent.normalize(),
        far.currency,
        far.from,
        far.to,
        guards.largest_move_percent
    );
    trouble(RATES_JUMPED, message, json!({ "rates_id": id, "move": far }))
}

/// One trouble of each kind is open at a time.
fn trouble(code: &str, message: String, details: Value) -> ErrorRecord {
    ErrorRecord {
        error_type: ErrorType::PriceChanged,
        code: Some(code.to_owned()),
        message,
        product_id: None,
        platform: None,
        severity: Severity::High,
        fingerprint: code.to_owned(),
        details: Some(details),
    }
}
