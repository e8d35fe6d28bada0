//! `exchange_rates`: every quote that was read, and what became of it.
//!
//! Whoever decides about quotes holds [`lock`] for its transaction, so that there is one order among them.

use super::StoreError;
use super::text;
use crate::domain::{Currency, Quote, RateSource, RateStatus};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::OptionalExtension as _;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Date, Jsonb, Nullable, Numeric, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::str::FromStr as _;

/// Any number: who decides about exchange rates.
const TURN: i64 = 0x007a_6b72_6174_6573;

/// A quote to be kept.
#[derive(Clone, Debug)]
pub struct NewQuote {
    /// Its rates.
    pub quote: Quote,
    /// The furthest move from what was in use, in percent.
    pub largest_move_percent: Decimal,
    /// When it was read.
    pub fetched_at: DateTime<Utc>,
    /// Who takes it into use; nobody yet, when it waits for a person.
    pub accepted_by: Option<String>,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    source: String,
    #[diesel(sql_type = Date)]
    day: NaiveDate,
    #[diesel(sql_type = Jsonb)]
    rates: Value,
    #[diesel(sql_type = Text)]
    status: String,
}

/// A quote that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptQuote {
    /// Its row.
    pub id: i64,
    /// Its rates.
    pub quote: Quote,
    /// What became of it.
    pub status: RateStatus,
}

impl KeptQuote {
    fn of(record: Record) -> Result<Self, StoreError> {
        let id = record.id;
        let bad = |why: String| StoreError::bad_row(format!("exchange_rates `{id}`: {why}"));
        let source: RateSource = record.source.parse().map_err(|e| bad(format!("{e}")))?;
        let status: RateStatus = record.status.parse().map_err(|e| bad(format!("{e}")))?;
        let members = record
            .rates
            .as_object()
            .ok_or_else(|| bad("no rates".to_owned()))?;
        let mut yen = BTreeMap::new();
        for (code, rate) in members {
            let currency = Currency::from_str(code).map_err(|e| bad(e.to_string()))?;
            let rate = rate.as_str().and_then(|text| Decimal::from_str(text).ok());
            yen.insert(currency, rate.ok_or_else(|| bad(format!("no rate of {code}")))?);
        }
        let quote = Quote::new(source, record.day, yen).map_err(|e| bad(e.to_string()))?;
        Ok(Self { id, quote, status })
    }
}

const KEPT: &str = "SELECT id, source, day, rates, status FROM exchange_rates";

/// Waits for its turn to decide, until the transaction ends.
///
/// # Errors
/// When the database is away or refuses.
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<(), StoreError> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(TURN)
        .execute(conn)
        .await?;
    Ok(())
}

/// The quote of `source` that is in use.
///
/// # Errors
/// When the database is away or refuses, or the row cannot be understood.
pub async fn in_use(
    conn: &mut AsyncPgConnection,
    source: RateSource,
) -> Result<Option<KeptQuote>, StoreError> {
    let record: Option<Record> = diesel::sql_query(format!(
        "{KEPT} WHERE source = $1 AND status = 'accepted' ORDER BY id DESC LIMIT 1"
    ))
    .bind::<Text, _>(source.as_str())
    .get_result(conn)
    .await
    .optional()?;
    record.map(KeptQuote::of).transpose()
}

/// The newest row with the very same rates of the same day.
///
/// # Errors
/// When the database is away or refuses, or the row cannot be understood.
pub async fn known(conn: &mut AsyncPgConnection, quote: &Quote) -> Result<Option<KeptQuote>, StoreError> {
    let record: Option<Record> = diesel::sql_query(format!(
        "{KEPT} WHERE source = $1 AND day = $2 AND rates = $3 ORDER BY id DESC LIMIT 1"
    ))
    .bind::<Text, _>(quote.source().as_str())
    .bind::<Date, _>(quote.day())
    .bind::<Jsonb, _>(rates(quote))
    .get_result(conn)
    .await
    .optional()?;
    record.map(KeptQuote::of).transpose()
}

/// Keeps a quote; what waited before it is put aside. Answers its row.
///
/// # Errors
/// When the database is away or refuses.
pub async fn keep(conn: &mut AsyncPgConnection, new: &NewQuote) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let by = new.accepted_by.as_deref();
    diesel::sql_query(
        "UPDATE exchange_rates SET status = 'superseded', decided_at = clock_timestamp(), decided_by = 'a newer quote' \
         WHERE source = $1 AND status = 'waiting'",
    )
    .bind::<Text, _>(new.quote.source().as_str())
    .execute(conn)
    .await?;
    let row: Row = diesel::sql_query(
        "INSERT INTO exchange_rates (source, day, rates, status, largest_move_percent, fetched_at, decided_at, decided_by) \
         VALUES ($1, $2, $3, CASE WHEN $6 THEN 'accepted' ELSE 'waiting' END, $4, $5, \
           CASE WHEN $6 THEN clock_timestamp() END, $7) RETURNING id",
    )
    .bind::<Text, _>(new.quote.source().as_str())
    .bind::<Date, _>(new.quote.day())
    .bind::<Jsonb, _>(rates(&new.quote))
    .bind::<Numeric, _>(new.largest_move_percent)
    .bind::<Timestamptz, _>(new.fetched_at)
    .bind::<Bool, _>(by.is_some())
    .bind::<Nullable<Text>, _>(by)
    .get_result(conn)
    .await?;
    Ok(row.id)
}

fn rates(quote: &Quote) -> Value {
    let text = |(currency, rate): (&Currency, &Decimal)| {
        (currency.code().to_owned(), json!(rate.normalize().to_string()))
    };
    Value::Object(quote.yen().iter().map(text).collect())
}

/// Decides about a quote that waits.
///
/// # Errors
/// [`StoreError::NotFound`] without such a row; [`StoreError::Conflict`] when it does not wait any more.
pub async fn decide(
    conn: &mut AsyncPgConnection,
    id: i64,
    status: RateStatus,
    by: &str,
    note: Option<&str>,
) -> Result<(), StoreError> {
    let record: Option<Record> = diesel::sql_query(format!("{KEPT} WHERE id = $1"))
        .bind::<BigInt, _>(id)
        .get_result(conn)
        .await
        .optional()?;
    let record = record.ok_or_else(|| StoreError::not_found(format!("quote `{id}`")))?;
    if record.status != RateStatus::Waiting.as_str() {
        return Err(StoreError::conflict(format!(
            "quote `{id}` is {} already",
            record.status
        )));
    }
    diesel::sql_query(
        "UPDATE exchange_rates SET status = $2, decided_at = clock_timestamp(), decided_by = $3, note = $4 \
         WHERE id = $1 AND status = 'waiting'",
    )
    .bind::<BigInt, _>(id)
    .bind::<Text, _>(status.as_str())
    .bind::<Text, _>(text::text(by))
    .bind::<Nullable<Text>, _>(note.map(text::text))
    .execute(conn)
    .await?;
    Ok(())
}

/// Quotes, the newest first, before the row `before` (0 is all); at most `limit`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn page(conn: &mut AsyncPgConnection, before: i64, limit: i64) -> Result<Vec<Value>, StoreError> {
    #[derive(QueryableByName)]
    struct View {
        #[diesel(sql_type = Jsonb)]
        view: Value,
    }
    let rows: Vec<View> = diesel::sql_query(
        "SELECT to_jsonb(v) AS view FROM (SELECT id, source, day, rates, status, \
           largest_move_percent::float8 AS largest_move_percent, fetched_at, decided_at, decided_by, note, \
           status = 'accepted' AND id = (SELECT max(n.id) FROM exchange_rates n \
             WHERE n.source = e.source AND n.status = 'accepted') AS newest \
         FROM exchange_rates e WHERE $1 = 0 OR id < $1 ORDER BY id DESC LIMIT $2) v",
    )
    .bind::<BigInt, _>(before)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.view).collect())
}
