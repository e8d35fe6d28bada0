//! `inventory_errors`: what went wrong, kept for people. One trouble is one row with a count.
//!
//! The fingerprint says what counts as the same trouble ("yahoo contract item.bidorbuy"); a resolved row is history, and
//! the same trouble afterwards is a new row.

use super::error::StoreError;
use super::hot;
use super::schema::inventory_errors as e;
use super::text;
use crate::domain::{Platform, ProductId, UnknownName, names};
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text};
use diesel::{ExpressionMethods as _, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

names!(
    /// The kinds of trouble that the tables know.
    ErrorType {
        /// The source page is gone or is another item's.
        UrlDead = "url_dead",
        /// A price moved in a way that needs a person.
        PriceChanged = "price_changed",
        /// The stock could not be told, or ran out against a listing.
        StockUnavailable = "stock_unavailable",
        /// A platform, or our reading of it, failed.
        ApiError = "api_error",
    }
);
names!(
    /// How bad a trouble is, mildest first.
    Severity {
        /// Seen and kept.
        Low = "low",
        /// Should be looked at.
        Medium = "medium",
        /// Costs money or trust.
        High = "high",
        /// At once.
        Critical = "critical",
    }
);

/// A trouble to be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorRecord {
    /// Its kind.
    pub error_type: ErrorType,
    /// Short and stable: `contract`, `ebay_25002`.
    pub code: Option<String>,
    /// What was being done, with identifiers, and what happened. Never holds a secret.
    pub message: String,
    /// The product, whose title and page are kept as they are now.
    pub product_id: Option<ProductId>,
    /// The platform.
    pub platform: Option<Platform>,
    /// How bad it is.
    pub severity: Severity,
    /// What makes two troubles the same one.
    pub fingerprint: String,
    /// Everything else: what was missing, the answer's body.
    pub details: Option<serde_json::Value>,
}

/// Where a trouble was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The row.
    pub id: i64,
    /// How often it was seen, this time included: 1 is new.
    pub count: i64,
}

/// Keeps a trouble: as a new row, or as one more of an open one, which then takes the later words and the worse severity.
///
/// # Errors
/// Those of the database.
pub async fn record(conn: &mut AsyncPgConnection, error: &ErrorRecord) -> Result<Kept, StoreError> {
    record_times(conn, error, 1).await
}

/// As [`record`], for a trouble that was met `times` times since it was last kept: who meets one thousands of times a
/// minute counts by itself and writes now and then.
///
/// # Errors
/// Those of the database.
pub async fn record_times(
    conn: &mut AsyncPgConnection,
    error: &ErrorRecord,
    times: u64,
) -> Result<Kept, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let statement = diesel::sql_query(
        "INSERT INTO inventory_errors AS e (error_type, error_code, error_message, product_id, product_title, \
           source_url, platform, severity, fingerprint, details, count) \
         SELECT $1, $2, $3, $4, p.title, p.source_url, $5, $6, $7, $8, $9 \
         FROM (SELECT $4::bigint AS id) AS of LEFT JOIN yahoo_scraped_products AS p ON p.id = of.id \
         ON CONFLICT (fingerprint) WHERE NOT resolved DO UPDATE SET count = e.count + excluded.count, \
           last_seen_at = clock_timestamp(), error_code = excluded.error_code, \
           error_message = excluded.error_message, details = COALESCE(excluded.details, e.details), \
           severity = CASE WHEN array_position(ARRAY['low', 'medium', 'high', 'critical'], excluded.severity) \
             > array_position(ARRAY['low', 'medium', 'high', 'critical'], e.severity) \
             THEN excluded.severity ELSE e.severity END \
         RETURNING e.id, e.count",
    )
    .bind::<Text, _>(error.error_type.as_str())
    .bind::<Nullable<Text>, _>(error.code.as_deref().map(text::text))
    .bind::<Text, _>(text::text(&error.message))
    .bind::<Nullable<BigInt>, _>(error.product_id.map(|id| id.0))
    .bind::<Nullable<Text>, _>(error.platform.map(Platform::as_str))
    .bind::<Text, _>(error.severity.as_str())
    .bind::<Text, _>(text::text(&error.fingerprint))
    .bind::<Nullable<Jsonb>, _>(error.details.clone().map(text::json))
    .bind::<BigInt, _>(i64::try_from(times).unwrap_or(i64::MAX));
    let row: Row = hot(statement).get_result(conn).await?;
    Ok(Kept {
        id: row.id,
        count: row.count,
    })
}

/// Which troubles are meant.
#[derive(Clone, Debug, Default)]
pub struct ErrorFilter {
    /// Resolved ones, too.
    pub with_resolved: bool,
    /// Only this bad.
    pub severity: Option<Severity>,
    /// Only of this product.
    pub product_id: Option<ProductId>,
}

/// Marks open troubles as dealt with; answers those that were open.
///
/// # Errors
/// Those of the database.
pub async fn resolve(
    conn: &mut AsyncPgConnection,
    ids: &[i64],
    by: &str,
    note: Option<&str>,
) -> Result<Vec<i64>, StoreError> {
    let resolved = diesel::update(e::table)
        .filter(e::id.eq_any(ids))
        .filter(e::resolved.eq(false))
        .set((
            e::resolved.eq(true),
            e::resolved_by.eq(by),
            e::resolved_at.eq(diesel::dsl::now),
            e::resolution_notes.eq(note),
        ))
        .returning(e::id)
        .get_results(conn)
        .await?;
    Ok(resolved)
}

/// Who resolved what was over by itself.
const RECOVERED: &str = "recovered";

/// Ends mild troubles that were not met since `before`: the moment's fault was over.
///
/// # Errors
/// Those of the database.
pub async fn end_passing(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::update(e::table)
        .filter(e::severity.eq(Severity::Low.as_str()))
        .filter(e::resolved.eq(false))
        .filter(e::last_seen_at.lt(before))
        .set((
            e::resolved.eq(true),
            e::resolved_by.eq(RECOVERED),
            e::resolved_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends one trouble that is over by itself.
///
/// # Errors
/// Those of the database.
pub async fn end_recovered(conn: &mut AsyncPgConnection, fingerprint: &str) -> Result<(), StoreError> {
    diesel::update(e::table)
        .filter(e::fingerprint.eq(fingerprint))
        .filter(e::resolved.eq(false))
        .set((
            e::resolved.eq(true),
            e::resolved_by.eq(RECOVERED),
            e::resolved_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends what a platform's sign-in was recorded for: somebody has signed in again, and what is still wrong comes again.
///
/// # Errors
/// Those of the database.
pub async fn end_sign_in(
    conn: &mut AsyncPgConnection,
    platform: Platform,
    by: &str,
) -> Result<(), StoreError> {
    diesel::update(e::table)
        .filter(e::platform.eq(platform.as_str()))
        .filter(e::error_code.eq_any(["needs_reauth", "needs_credentials"]))
        .filter(e::resolved.eq(false))
        .set((
            e::resolved.eq(true),
            e::resolved_by.eq(by),
            e::resolved_at.eq(diesel::dsl::now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the quarantines of products that somebody resumed.
///
/// # Errors
/// Those of the database.
pub async fn end_quarantines(
    conn: &mut AsyncPgConnection,
    products: &[i64],
    by: &str,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE inventory_errors SET resolved = true, resolved_by = $2, resolved_at = now() \
         WHERE NOT resolved AND error_code = 'quarantined' AND (details->>'watch_id')::bigint IN \
           (SELECT id FROM inventory_management WHERE product_id = ANY($1))",
    )
    .bind::<diesel::sql_types::Array<BigInt>, _>(products)
    .bind::<Text, _>(by)
    .execute(conn)
    .await?;
    Ok(())
}
