//! `inventory_errors`: what went wrong, one row for one trouble.
//!
//! A trouble has a *fingerprint*; while its row is unresolved, meeting it again makes the count larger and the words
//! newer, and never a second row. So an outage that fails ten thousand checks is one line on a person's screen.

use super::{StoreError, hot};
use crate::domain::UnknownName;
use crate::domain::{Platform, ProductId, names};
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::{fmt, str::FromStr};

names!(
    /// The `error_type` of `inventory_errors`: the old system's four kinds.
    ErrorType {
        /// A watched page is gone or shows something else.
        UrlDead = "url_dead",
        /// A price moved oddly.
        PriceChanged = "price_changed",
        /// Stock that cannot be had, or cannot be believed.
        StockUnavailable = "stock_unavailable",
        /// A call or its answer was wrong, and everything else.
        ApiError = "api_error",
    }
);
names!(
    /// How much it matters.
    Severity {
        /// For the record.
        Low = "low",
        /// To be looked at some day.
        Medium = "medium",
        /// To be looked at today.
        High = "high",
        /// To be looked at now.
        Critical = "critical",
    }
);

/// One trouble, met [`times`](Self::times) times.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRecord {
    /// Its kind.
    pub error_type: ErrorType,
    /// A stable, short code.
    pub code: String,
    /// What happened, with identifiers.
    pub message: String,
    /// The product, where it is about one.
    pub product_id: Option<ProductId>,
    /// The outside service, where it is about one.
    pub platform: Option<Platform>,
    /// How much it matters.
    pub severity: Severity,
    /// The same for the same trouble.
    pub fingerprint: String,
    /// More, for whoever looks into it.
    pub details: serde_json::Value,
    /// How often it was met.
    pub times: u64,
}

/// Records troubles: one that is open already is counted on, with the words of the latest.
///
/// # Errors
/// When the database is away or refuses.
pub async fn record(conn: &mut AsyncPgConnection, errors: &[ErrorRecord]) -> Result<(), StoreError> {
    // One statement must not meet a fingerprint twice.
    let mut by_print: HashMap<&str, ErrorRecord> = HashMap::new();
    for error in errors {
        let times = by_print.get(error.fingerprint.as_str()).map_or(0, |e| e.times);
        let mut latest = error.clone();
        latest.times = latest.times.saturating_add(times);
        by_print.insert(&error.fingerprint, latest);
    }
    let mut errors: Vec<ErrorRecord> = by_print.into_values().collect();
    if errors.is_empty() {
        return Ok(());
    }
    // Two callers with the same fingerprints in another order would deadlock on the unique index.
    errors.sort_by(|a, b| a.fingerprint.cmp(&b.fingerprint));
    let query = diesel::sql_query(
        "INSERT INTO inventory_errors AS e (error_type, error_code, error_message, product_id, platform, severity, \
             fingerprint, details, count) \
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], \
             $8::jsonb[], $9::bigint[]) \
         ON CONFLICT (fingerprint) WHERE NOT resolved DO UPDATE SET count = e.count + excluded.count, \
             last_seen_at = now(), error_message = excluded.error_message, details = excluded.details, \
             product_id = excluded.product_id",
    )
    .bind::<Array<Text>, _>(column(&errors, |e| e.error_type.as_str()))
    .bind::<Array<Text>, _>(column(&errors, |e| e.code.clone()))
    .bind::<Array<Text>, _>(column(&errors, |e| e.message.clone()))
    .bind::<Array<Nullable<BigInt>>, _>(column(&errors, |e| e.product_id.map(|p| p.0)))
    .bind::<Array<Nullable<Text>>, _>(column(&errors, |e| e.platform.map(Platform::as_str)))
    .bind::<Array<Text>, _>(column(&errors, |e| e.severity.as_str()))
    .bind::<Array<Text>, _>(column(&errors, |e| e.fingerprint.clone()))
    .bind::<Array<Jsonb>, _>(column(&errors, |e| e.details.clone()))
    .bind::<Array<BigInt>, _>(column(&errors, |e| i64::try_from(e.times).unwrap_or(i64::MAX)));
    hot(query).execute(conn).await?;
    Ok(())
}

fn column<T>(errors: &[ErrorRecord], of: impl Fn(&ErrorRecord) -> T) -> Vec<T> {
    errors.iter().map(of).collect()
}
