//! `alerts`: what a person is told, one trouble a row.
//!
//! What is to be told is decided in `alert` from what [`look`] finds; here it is written down. [`deliveries`] is the durable
//! work of telling it, [`silences`] what a person does not want to hear.

pub mod deliveries;
pub mod look;
pub mod silences;

use super::error::StoreError;
use super::text;
use crate::domain::{AlertFacts, AlertKind, AlertLevel, AlertStatus, UnknownName};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Jsonb, Nullable, Text, Timestamptz};
use diesel::{OptionalExtension as _, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use serde_json::Value;
use std::str::FromStr;

/// Who resolved an alert that was over by itself.
pub const RECOVERED: &str = "recovered";

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    /// The row.
    pub id: i64,
    /// What makes two troubles the same one.
    pub fingerprint: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub level: AlertLevel,
    /// What became of it.
    pub status: AlertStatus,
    /// The service concerned.
    pub platform: Option<String>,
    /// How many things are concerned.
    pub count: i64,
    /// What else is known.
    pub facts: AlertFacts,
    /// When the trouble began.
    pub since: DateTime<Utc>,
    /// When it was met last.
    pub last_seen_at: DateTime<Utc>,
    /// Not met since.
    pub gone_since: Option<DateTime<Utc>>,
    /// When a person was told last.
    pub told_at: Option<DateTime<Utc>>,
    /// How bad it was then.
    pub told_level: Option<AlertLevel>,
    /// How many there were then.
    pub told_count: i64,
    /// How often a person was told.
    pub times_told: i32,
    /// Who said that he knows.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who said that it is over, or [`RECOVERED`].
    pub resolved_by: Option<String>,
    /// When.
    pub resolved_at: Option<DateTime<Utc>>,
    /// What was said about it.
    pub note: Option<String>,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    fingerprint: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    level: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    platform: Option<String>,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = Jsonb)]
    facts: Value,
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    last_seen_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    gone_since: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    told_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    told_level: Option<String>,
    #[diesel(sql_type = BigInt)]
    told_count: i64,
    #[diesel(sql_type = Integer)]
    times_told: i32,
    #[diesel(sql_type = Nullable<Text>)]
    acknowledged_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    acknowledged_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    resolved_by: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    resolved_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    note: Option<String>,
}

impl Record {
    fn read(self) -> Result<Alert, StoreError> {
        Ok(Alert {
            id: self.id,
            fingerprint: self.fingerprint,
            kind: word(&self.kind)?,
            level: word(&self.level)?,
            status: word(&self.status)?,
            platform: self.platform,
            count: self.count,
            // Facts of a later or earlier program: what is not understood is left out, the alert stays.
            facts: serde_json::from_value(self.facts).unwrap_or_default(),
            since: self.since,
            last_seen_at: self.last_seen_at,
            gone_since: self.gone_since,
            told_at: self.told_at,
            told_level: self.told_level.as_deref().map(word).transpose()?,
            told_count: self.told_count,
            times_told: self.times_told,
            acknowledged_by: self.acknowledged_by,
            acknowledged_at: self.acknowledged_at,
            resolved_by: self.resolved_by,
            resolved_at: self.resolved_at,
            note: self.note,
        })
    }
}

/// A word of ours, as a column has it.
fn word<T: FromStr<Err = UnknownName>>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(StoreError::bad_row)
}

macro_rules! alert_sql {
    ($tail:literal) => {
        concat!(
            "SELECT id, fingerprint, kind, level, status, platform, count, facts, since, last_seen_at, gone_since, \
             told_at, told_level, told_count, times_told, acknowledged_by, acknowledged_at, resolved_by, resolved_at, \
             note FROM alerts ",
            $tail
        )
    };
}

fn read(records: Vec<Record>) -> Result<Vec<Alert>, StoreError> {
    let read = |record: Record| {
        let id = record.id;
        let alert = record.read();
        if let Err(error) = &alert {
            // Of another version of this program; the others are told all the same.
            tracing::warn!(alert = id, %error, "Alert {id} cannot be understood and is left out");
        }
        alert.ok()
    };
    Ok(records.into_iter().filter_map(read).collect())
}

/// Those that are not over, those that ended after `since`, and those that ended by a person's word.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn standing(conn: &mut AsyncPgConnection, since: DateTime<Utc>) -> Result<Vec<Alert>, StoreError> {
    let records = diesel::sql_query(alert_sql!(
        "WHERE status <> 'resolved' OR resolved_at > $1 OR resolved_by <> 'recovered' ORDER BY id"
    ))
    .bind::<Timestamptz, _>(since)
    .load(conn)
    .await?;
    read(records)
}

/// One alert.
///
/// # Errors
/// When the database is away or refuses, or the row cannot be understood.
pub async fn get(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Alert>, StoreError> {
    let record: Option<Record> = diesel::sql_query(alert_sql!("WHERE id = $1"))
        .bind::<BigInt, _>(id)
        .get_result(conn)
        .await
        .optional()?;
    record.map(Record::read).transpose()
}

/// A page of alerts in the order of their ids.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn page(
    conn: &mut AsyncPgConnection,
    after: i64,
    limit: i64,
    all: bool,
) -> Result<Vec<Alert>, StoreError> {
    let records = diesel::sql_query(alert_sql!(
        "WHERE id > $1 AND ($3 OR status <> 'resolved') ORDER BY id LIMIT $2"
    ))
    .bind::<BigInt, _>(after)
    .bind::<BigInt, _>(limit)
    .bind::<Bool, _>(all)
    .load(conn)
    .await?;
    read(records)
}

/// A trouble as it is now, to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct NewAlert {
    /// What makes two troubles the same one.
    pub fingerprint: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub level: AlertLevel,
    /// The service concerned.
    pub platform: Option<String>,
    /// How many things are concerned.
    pub count: i64,
    /// What else is known.
    pub facts: AlertFacts,
    /// When it began.
    pub since: DateTime<Utc>,
    /// When it was met last.
    pub newest: DateTime<Utc>,
}

/// Writes a new one down, or brings the open one of the same fingerprint up to date; answers its id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put(conn: &mut AsyncPgConnection, new: &NewAlert) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let facts = text::json(serde_json::to_value(&new.facts).unwrap_or_default());
    let row: Id = diesel::sql_query(
        "INSERT INTO alerts (fingerprint, kind, level, platform, count, facts, since, last_seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
         ON CONFLICT (fingerprint) WHERE status <> 'resolved' DO UPDATE SET level = excluded.level, \
           count = excluded.count, facts = excluded.facts, last_seen_at = excluded.last_seen_at, gone_since = NULL, \
           told_count = LEAST(alerts.told_count, excluded.count) \
         RETURNING id",
    )
    .bind::<Text, _>(text::text(&new.fingerprint))
    .bind::<Text, _>(new.kind.as_str())
    .bind::<Text, _>(new.level.as_str())
    .bind::<Nullable<Text>, _>(new.platform.as_deref())
    .bind::<BigInt, _>(new.count)
    .bind::<Jsonb, _>(facts)
    .bind::<Timestamptz, _>(new.since)
    .bind::<Timestamptz, _>(new.newest)
    .get_result(conn)
    .await?;
    Ok(row.id)
}

/// Takes up one that was over a moment ago: it is the same trouble.
///
/// # Errors
/// When the database is away or refuses.
pub async fn reopen(conn: &mut AsyncPgConnection, id: i64) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE alerts SET status = CASE WHEN acknowledged_at IS NULL THEN 'open' ELSE 'acknowledged' END, \
         resolved_at = NULL, resolved_by = NULL, gone_since = NULL, told_level = NULL, told_count = 0 WHERE id = $1",
    )
    .bind::<BigInt, _>(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that one is not met any more.
///
/// # Errors
/// When the database is away or refuses.
pub async fn gone(conn: &mut AsyncPgConnection, id: i64, since: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::sql_query("UPDATE alerts SET gone_since = $2 WHERE id = $1 AND gone_since IS NULL")
        .bind::<BigInt, _>(id)
        .bind::<Timestamptz, _>(since)
        .execute(conn)
        .await?;
    Ok(())
}

/// Notes that a person is being told of it as it stands.
///
/// # Errors
/// When the database is away or refuses.
pub async fn told(conn: &mut AsyncPgConnection, id: i64, at: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE alerts SET told_at = $2, told_level = level, told_count = count, times_told = times_told + 1 \
         WHERE id = $1",
    )
    .bind::<BigInt, _>(id)
    .bind::<Timestamptz, _>(at)
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends those of `ids` that are not over; answers which.
///
/// # Errors
/// When the database is away or refuses.
pub async fn resolve(
    conn: &mut AsyncPgConnection,
    ids: &[i64],
    by: &str,
    note: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let rows: Vec<Id> = diesel::sql_query(
        "UPDATE alerts SET status = 'resolved', resolved_at = $4, resolved_by = $2, note = COALESCE($3, note) \
         WHERE id = ANY($1) AND status <> 'resolved' RETURNING id",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Text, _>(by)
    .bind::<Nullable<Text>, _>(note)
    .bind::<Timestamptz, _>(at)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Notes that a person knows of those of `ids` that are open; answers which.
///
/// # Errors
/// When the database is away or refuses.
pub async fn acknowledge(
    conn: &mut AsyncPgConnection,
    ids: &[i64],
    by: &str,
    note: Option<&str>,
    at: DateTime<Utc>,
) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let rows: Vec<Id> = diesel::sql_query(
        "UPDATE alerts SET status = 'acknowledged', acknowledged_at = $4, acknowledged_by = $2, \
         note = COALESCE($3, note) WHERE id = ANY($1) AND status = 'open' RETURNING id",
    )
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Text, _>(by)
    .bind::<Nullable<Text>, _>(note)
    .bind::<Timestamptz, _>(at)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Removes what has been over for long: alerts with their deliveries, and silences.
///
/// # Errors
/// When the database is away or refuses.
pub async fn prune(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> Result<(), StoreError> {
    diesel::sql_query("DELETE FROM alert_silences WHERE until < $1")
        .bind::<Timestamptz, _>(before)
        .execute(conn)
        .await?;
    diesel::sql_query("DELETE FROM alerts WHERE status = 'resolved' AND resolved_at < $1")
        .bind::<Timestamptz, _>(before)
        .execute(conn)
        .await?;
    Ok(())
}
