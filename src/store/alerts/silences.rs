//! `alert_silences`: what a person does not want to hear for a while.

use super::word;
use crate::domain::AlertKind;
use crate::store::error::StoreError;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde::Serialize;

/// What a person does not want to hear for a while.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Silence {
    /// The row.
    pub id: i64,
    /// Alerts of this kind; `None` is any.
    pub kind: Option<AlertKind>,
    /// Alerts of this service; `None` is any.
    pub platform: Option<String>,
    /// This alert; `None` is any.
    pub alert_id: Option<i64>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Who said so.
    pub set_by: String,
    /// What was said about it.
    pub note: Option<String>,
}

#[derive(QueryableByName)]
struct SilenceRecord {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<Text>)]
    kind: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    platform: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    alert_id: Option<i64>,
    #[diesel(sql_type = Timestamptz)]
    until: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    set_by: String,
    #[diesel(sql_type = Nullable<Text>)]
    note: Option<String>,
}

/// The silences that have not ended at `now`.
///
/// # Errors
/// When the database is away or refuses, or a row cannot be understood.
pub async fn silences(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<Silence>, StoreError> {
    let records: Vec<SilenceRecord> = diesel::sql_query(
        "SELECT id, kind, platform, alert_id, until, set_by, note FROM alert_silences WHERE until > $1 ORDER BY id",
    )
    .bind::<Timestamptz, _>(now)
    .load(conn)
    .await?;
    let silence = |r: SilenceRecord| {
        Ok(Silence {
            id: r.id,
            kind: r.kind.as_deref().map(word).transpose()?,
            platform: r.platform,
            alert_id: r.alert_id,
            until: r.until,
            set_by: r.set_by,
            note: r.note,
        })
    };
    records.into_iter().map(silence).collect()
}

/// Writes a silence down; answers its id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn silence(conn: &mut AsyncPgConnection, new: &Silence) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Id {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let row: Id = diesel::sql_query(
        "INSERT INTO alert_silences (kind, platform, alert_id, until, set_by, note) \
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id",
    )
    .bind::<Nullable<Text>, _>(new.kind.map(AlertKind::as_str))
    .bind::<Nullable<Text>, _>(new.platform.as_deref())
    .bind::<Nullable<BigInt>, _>(new.alert_id)
    .bind::<Timestamptz, _>(new.until)
    .bind::<Text, _>(&new.set_by)
    .bind::<Nullable<Text>, _>(new.note.as_deref())
    .get_result(conn)
    .await?;
    Ok(row.id)
}

/// Ends silences; answers how many there were.
///
/// # Errors
/// When the database is away or refuses.
pub async fn unsilence(
    conn: &mut AsyncPgConnection,
    ids: &[i64],
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    let ended = diesel::sql_query("UPDATE alert_silences SET until = $2 WHERE id = ANY($1) AND until > $2")
        .bind::<Array<BigInt>, _>(ids)
        .bind::<Timestamptz, _>(now)
        .execute(conn)
        .await?;
    Ok(ended)
}
