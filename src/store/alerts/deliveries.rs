//! `alert_deliveries`: telling, as durable work. What a channel does not take waits; it is never dropped for that.
//!
//! A channel's one sender claims all that is due for it under a lease, and settles by comparing the lease. A sender that
//! dies in between leaves a lease that runs out: then it is told again, under the same identity, so that a receiver can
//! see that it is the same.

use super::word;
use crate::domain::{AlertChannel, AlertEvent};
use crate::store::error::StoreError;
use crate::store::text;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;
use uuid::Uuid;

/// What is to be told over one channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The row.
    pub id: i64,
    /// What it is about.
    pub alert_id: i64,
    /// Why it was to be told at first.
    pub first_event: AlertEvent,
    /// Why it is told now.
    pub event: AlertEvent,
    /// How often it was tried, this time included.
    pub attempt: i32,
    /// Since when it waits.
    pub created_at: DateTime<Utc>,
}

/// Deliveries that are held under one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// What holds them.
    pub token: Uuid,
    /// Oldest first.
    pub items: Vec<Delivery>,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    alert_id: i64,
    #[diesel(sql_type = Text)]
    first_event: String,
    #[diesel(sql_type = Text)]
    event: String,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
}

/// Puts an alert to be told over `channels`, in place of what still waits for them.
///
/// # Errors
/// When the database is away or refuses.
pub async fn enqueue(
    conn: &mut AsyncPgConnection,
    alert_id: i64,
    channels: &[AlertChannel],
    event: AlertEvent,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let channels: Vec<&str> = channels.iter().map(|c| c.as_str()).collect();
    diesel::sql_query(
        "INSERT INTO alert_deliveries (alert_id, channel, first_event, event, next_at, created_at) \
         SELECT $1, c, $3, $3, $4, $4 FROM unnest($2) AS c \
         ON CONFLICT (alert_id, channel) WHERE status = 'pending' DO UPDATE SET event = excluded.event",
    )
    .bind::<BigInt, _>(alert_id)
    .bind::<Array<Text>, _>(channels)
    .bind::<Text, _>(event.as_str())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// The channels over which an alert was told, or is to be.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn channels_of(
    conn: &mut AsyncPgConnection,
    alert_id: i64,
) -> Result<Vec<AlertChannel>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        channel: String,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT DISTINCT channel FROM alert_deliveries WHERE alert_id = $1 AND status <> 'expired' ORDER BY channel",
    )
    .bind::<BigInt, _>(alert_id)
    .load(conn)
    .await?;
    rows.iter().map(|row| word(&row.channel)).collect()
}

/// Takes all that is due for a channel at `now`, oldest first, at most `limit`, until `until`.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    channel: AlertChannel,
    limit: i64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Claimed, StoreError> {
    let token = Uuid::new_v4();
    let mut records: Vec<Record> = diesel::sql_query(
        "UPDATE alert_deliveries d SET status = 'sending', attempt = attempt + 1, lease_token = $3, lease_until = $4 \
         FROM (SELECT id FROM alert_deliveries WHERE channel = $1 \
               AND (status = 'pending' AND next_at <= $5 OR status = 'sending' AND lease_until <= $5) \
               ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) due WHERE d.id = due.id \
         RETURNING d.id, d.alert_id, d.first_event, d.event, d.attempt, d.created_at",
    )
    .bind::<Text, _>(channel.as_str())
    .bind::<BigInt, _>(limit)
    .bind::<SqlUuid, _>(token)
    .bind::<Timestamptz, _>(until)
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    records.sort_by_key(|record| record.id);
    let read = |r: Record| {
        Ok::<_, StoreError>(Delivery {
            id: r.id,
            alert_id: r.alert_id,
            first_event: word(&r.first_event)?,
            event: word(&r.event)?,
            attempt: r.attempt,
            created_at: r.created_at,
        })
    };
    let items = records.into_iter().map(read).collect::<Result<_, _>>()?;
    Ok(Claimed { token, items })
}

/// Settles what was told in one message; false when the lease is not ours any more.
///
/// # Errors
/// When the database is away or refuses.
pub async fn delivered(
    conn: &mut AsyncPgConnection,
    token: Uuid,
    ids: &[i64],
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let with = i32::try_from(ids.len().saturating_sub(1)).unwrap_or(i32::MAX);
    let settled = diesel::sql_query(
        "UPDATE alert_deliveries SET status = 'delivered', delivered_at = $3, lease_token = NULL, \
         lease_until = NULL, error = NULL, told_with = $4 \
         WHERE id = ANY($2) AND status = 'sending' AND lease_token = $1",
    )
    .bind::<SqlUuid, _>(token)
    .bind::<Array<BigInt>, _>(ids)
    .bind::<Timestamptz, _>(now)
    .bind::<Integer, _>(with)
    .execute(conn)
    .await?;
    Ok(settled == ids.len())
}

/// Puts back what was not taken, to be tried again at `next_at`.
///
/// Of several of one alert, the newest stays, with the beginning of the oldest: what was never told is told as new. To be
/// called in a transaction.
///
/// # Errors
/// When the database is away or refuses.
pub async fn put_back(
    conn: &mut AsyncPgConnection,
    token: Uuid,
    error: &str,
    next_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    // Whatever of these alerts waits or is held under this lease, the newest of each, with what it begins with.
    let merge = "WITH mine AS (SELECT DISTINCT alert_id, channel FROM alert_deliveries WHERE lease_token = $1), \
         these AS (SELECT d.id, d.alert_id, d.channel, d.first_event, d.created_at, d.attempt FROM alert_deliveries d \
           JOIN mine m ON m.alert_id = d.alert_id AND m.channel = d.channel \
           WHERE d.lease_token = $1 OR d.status = 'pending'), \
         oldest AS (SELECT DISTINCT ON (alert_id, channel) alert_id, channel, first_event, created_at FROM these \
           ORDER BY alert_id, channel, id), \
         newest AS (SELECT max(id) AS id, alert_id, channel, max(attempt) AS attempt FROM these \
           GROUP BY alert_id, channel) \
         SELECT n.id, n.attempt, o.first_event, o.created_at FROM newest n \
         JOIN oldest o ON o.alert_id = n.alert_id AND o.channel = n.channel ORDER BY n.id";
    let kept: Vec<Newest> = diesel::sql_query(merge)
        .bind::<SqlUuid, _>(token)
        .load(conn)
        .await?;
    let ids: Vec<i64> = kept.iter().map(|k| k.id).collect();
    diesel::sql_query(
        "DELETE FROM alert_deliveries d USING alert_deliveries k WHERE k.id = ANY($2) AND d.alert_id = k.alert_id \
         AND d.channel = k.channel AND d.id <> k.id AND (d.lease_token = $1 OR d.status = 'pending')",
    )
    .bind::<SqlUuid, _>(token)
    .bind::<Array<BigInt>, _>(&ids)
    .execute(conn)
    .await?;
    for one in kept {
        diesel::sql_query(
            "UPDATE alert_deliveries SET status = 'pending', lease_token = NULL, lease_until = NULL, error = $2, \
             next_at = $3, first_event = $4, created_at = $5, attempt = $6 WHERE id = $1",
        )
        .bind::<BigInt, _>(one.id)
        .bind::<Text, _>(text::text(error))
        .bind::<Timestamptz, _>(next_at)
        .bind::<Text, _>(one.first_event)
        .bind::<Timestamptz, _>(one.created_at)
        .bind::<Integer, _>(one.attempt)
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// The delivery of an alert that stays, and what it takes over.
#[derive(QueryableByName)]
struct Newest {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Integer)]
    attempt: i32,
    #[diesel(sql_type = Text)]
    first_event: String,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
}

/// Makes all that waits for a channel due now: it was mended.
///
/// # Errors
/// When the database is away or refuses.
pub async fn hasten(
    conn: &mut AsyncPgConnection,
    channel: AlertChannel,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "UPDATE alert_deliveries SET next_at = $2 WHERE channel = $1 AND status = 'pending' AND next_at > $2",
    )
    .bind::<Text, _>(channel.as_str())
    .bind::<Timestamptz, _>(now)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back the word that an alert is over, where it was not told yet: it goes on.
///
/// # Errors
/// When the database is away or refuses.
pub async fn withdraw_end(conn: &mut AsyncPgConnection, alert_id: i64) -> Result<(), StoreError> {
    diesel::sql_query(
        "DELETE FROM alert_deliveries WHERE alert_id = $1 AND status = 'pending' AND event = 'recovered'",
    )
    .bind::<BigInt, _>(alert_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// When the next one is due for a channel.
///
/// # Errors
/// When the database is away or refuses.
pub async fn next_due(
    conn: &mut AsyncPgConnection,
    channel: AlertChannel,
) -> Result<Option<DateTime<Utc>>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Timestamptz>)]
        at: Option<DateTime<Utc>>,
    }
    let row: Row = diesel::sql_query(
        "SELECT min(CASE status WHEN 'pending' THEN next_at ELSE lease_until END) AS at FROM alert_deliveries \
         WHERE channel = $1 AND status IN ('pending', 'sending')",
    )
    .bind::<Text, _>(channel.as_str())
    .get_result(conn)
    .await?;
    Ok(row.at)
}

/// How telling stands on each channel.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counts(conn: &mut AsyncPgConnection) -> Result<serde_json::Value, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Jsonb)]
        view: serde_json::Value,
    }
    let row: Row = diesel::sql_query(
        "SELECT COALESCE(jsonb_object_agg(channel, v), '{}') AS view FROM (SELECT channel, jsonb_build_object( \
           'waiting', count(*) FILTER (WHERE status IN ('pending', 'sending')), \
           'waiting_since', min(created_at) FILTER (WHERE status IN ('pending', 'sending')), \
           'told', count(*) FILTER (WHERE status = 'delivered'), \
           'messages', count(*) FILTER (WHERE status = 'delivered') - \
             COALESCE(sum(told_with::float8 / (told_with + 1)) FILTER (WHERE status = 'delivered'), 0), \
           'delayed', count(*) FILTER (WHERE status = 'delivered' AND attempt > 1)) AS v \
         FROM alert_deliveries GROUP BY channel) c",
    )
    .get_result(conn)
    .await?;
    Ok(row.view)
}

/// The deliveries of one alert, for people.
///
/// # Errors
/// When the database is away or refuses.
pub async fn of_alert(conn: &mut AsyncPgConnection, alert_id: i64) -> Result<serde_json::Value, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Jsonb)]
        view: serde_json::Value,
    }
    let row: Row = diesel::sql_query(
        "SELECT COALESCE(jsonb_agg(jsonb_build_object('channel', channel, 'event', event, 'status', status, \
           'attempt', attempt, 'created_at', created_at, 'next_at', CASE status WHEN 'pending' THEN next_at END, \
           'delivered_at', delivered_at, 'error', error) ORDER BY id), '[]') AS view \
         FROM (SELECT * FROM alert_deliveries WHERE alert_id = $1 ORDER BY id DESC LIMIT 50) d",
    )
    .bind::<BigInt, _>(alert_id)
    .get_result(conn)
    .await?;
    Ok(row.view)
}

/// Gives up what has waited since before `before` and is over: that word helps nobody; answers how many.
///
/// # Errors
/// When the database is away or refuses.
pub async fn expire(conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> Result<usize, StoreError> {
    let expired = diesel::sql_query(
        "UPDATE alert_deliveries d SET status = 'expired' FROM alerts a WHERE a.id = d.alert_id \
         AND a.status = 'resolved' AND d.status = 'pending' AND d.created_at < $1",
    )
    .bind::<Timestamptz, _>(before)
    .execute(conn)
    .await?;
    Ok(expired)
}
