//! Which part of the work is whose: one row for each part, its owner, and how often it has changed hands.
//!
//! An owner counts while its row in `nodes` is not declared dead. A write that belongs to a part of the work compares
//! owner and epoch in its own statement ([`stands`], [`standing`], and [`super::ledger`]'s): without a lock on these rows,
//! which every group commit would write to. That is enough, because what was compared before a burial and is not
//! committed yet is undone by it ([`super::nodes::end_sessions`]), and what is compared after it is refused.

use super::StoreError;
use super::nodes::{CHANNEL, MEMBERS};
use crate::domain::{Epoch, Shard};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, SmallInt, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

/// A part of the work, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Which.
    pub name: String,
    /// The node that does it.
    pub owner: Option<Uuid>,
    /// How often it has changed hands.
    pub epoch: Epoch,
}

#[derive(QueryableByName)]
struct LeaseRecord {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    owner: Option<Uuid>,
    #[diesel(sql_type = BigInt)]
    epoch: i64,
}

impl From<LeaseRecord> for Lease {
    fn from(record: LeaseRecord) -> Self {
        Self {
            name: record.name,
            owner: record.owner,
            epoch: Epoch(record.epoch),
        }
    }
}

/// Every part of the work, by name.
///
/// # Errors
/// When the database is away or refuses.
pub async fn leases(conn: &mut AsyncPgConnection) -> Result<Vec<Lease>, StoreError> {
    let rows: Vec<LeaseRecord> = diesel::sql_query("SELECT name, owner, epoch FROM leases ORDER BY name")
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Lease::from).collect())
}

/// Makes rows for parts of the work that have none yet.
///
/// # Errors
/// When the database is away or refuses.
pub async fn ensure(conn: &mut AsyncPgConnection, names: &[String]) -> Result<(), StoreError> {
    diesel::sql_query("INSERT INTO leases (name) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING")
        .bind::<Array<Text>, _>(names)
        .execute(conn)
        .await?;
    Ok(())
}

/// Frees what a node owned that was declared dead, unless it has come back meanwhile.
///
/// # Errors
/// When the database is away or refuses.
pub async fn free(conn: &mut AsyncPgConnection, boot: Uuid) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH dead AS MATERIALIZED (SELECT boot FROM nodes WHERE boot = $1 AND dead_at IS NOT NULL FOR UPDATE), \
         freed AS (UPDATE leases SET owner = NULL, epoch = epoch + 1, since = NULL FROM dead \
             WHERE owner = dead.boot RETURNING 1) \
         SELECT pg_notify($2, $3) FROM (SELECT DISTINCT 1 FROM freed) AS any_of_them",
    )
    .bind::<SqlUuid, _>(boot)
    .bind::<Text, _>(CHANNEL)
    .bind::<Text, _>(MEMBERS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes what of `names` is free; answers what was taken, and the epoch it has from now on.
///
/// # Errors
/// When the database is away or refuses.
pub async fn take(
    conn: &mut AsyncPgConnection,
    boot: Uuid,
    names: &[String],
) -> Result<Vec<(String, Epoch)>, StoreError> {
    // Its own row is locked against its burial: who frees what a dead node owns must see all of it.
    let rows: Vec<LeaseRecord> = diesel::sql_query(
        "WITH me AS MATERIALIZED (SELECT boot FROM nodes WHERE boot = $1 AND dead_at IS NULL AND left_at IS NULL \
             FOR SHARE), \
         free AS MATERIALIZED (SELECT name FROM leases WHERE name = ANY($2) AND owner IS NULL ORDER BY name \
             FOR UPDATE SKIP LOCKED) \
         UPDATE leases l SET owner = me.boot, epoch = l.epoch + 1, since = clock_timestamp() FROM me, free \
         WHERE l.name = free.name AND l.owner IS NULL RETURNING l.name, l.owner, l.epoch",
    )
    .bind::<SqlUuid, _>(boot)
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|r| (r.name, Epoch(r.epoch))).collect())
}

/// Gives parts away, as far as they are this node's under these very epochs, and says so: an order that arrives late, when
/// the node has them again, does nothing.
///
/// # Errors
/// When the database is away or refuses.
pub async fn release(
    conn: &mut AsyncPgConnection,
    boot: Uuid,
    parts: &[(String, Epoch)],
) -> Result<(), StoreError> {
    diesel::sql_query(
        "WITH given AS (UPDATE leases l SET owner = NULL, epoch = l.epoch + 1, since = NULL \
             FROM unnest($2::text[], $3::bigint[]) AS g (name, epoch) \
             WHERE l.name = g.name AND l.epoch = g.epoch AND l.owner = $1 RETURNING 1) \
         SELECT pg_notify($4, $5) FROM (SELECT DISTINCT 1 FROM given) AS any_of_them",
    )
    .bind::<SqlUuid, _>(boot)
    .bind::<Array<Text>, _>(parts.iter().map(|(name, _)| name).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(parts.iter().map(|(_, epoch)| epoch.0).collect::<Vec<_>>())
    .bind::<Text, _>(CHANNEL)
    .bind::<Text, _>(MEMBERS)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a part of the work is still this node's, and under this epoch.
///
/// # Errors
/// When the database is away or refuses.
pub async fn stands(
    conn: &mut AsyncPgConnection,
    boot: Uuid,
    name: &str,
    epoch: Epoch,
) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        stands: bool,
    }
    let row: Row = super::hot(
        diesel::sql_query(
            "SELECT EXISTS (SELECT 1 FROM leases l JOIN nodes n ON n.boot = l.owner AND n.dead_at IS NULL \
             WHERE l.name = $2 AND l.owner = $1 AND l.epoch = $3) AS stands",
        )
        .bind::<SqlUuid, _>(boot)
        .bind::<Text, _>(name)
        .bind::<BigInt, _>(epoch.0),
    )
    .get_result(conn)
    .await?;
    Ok(row.stands)
}

/// Which of these shards are still this node's, and under these epochs.
///
/// # Errors
/// When the database is away or refuses.
pub async fn standing(
    conn: &mut AsyncPgConnection,
    boot: Uuid,
    shards: &[(Shard, Epoch)],
) -> Result<Vec<(Shard, Epoch)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = SmallInt)]
        shard: i16,
        #[diesel(sql_type = BigInt)]
        epoch: i64,
    }
    let rows: Vec<Row> = super::hot(
        diesel::sql_query(
            "SELECT l.shard, l.epoch FROM leases l JOIN nodes n ON n.boot = l.owner AND n.dead_at IS NULL \
             JOIN unnest($2::smallint[], $3::bigint[]) AS f (shard, epoch) ON f.shard = l.shard AND f.epoch = l.epoch \
             WHERE l.owner = $1",
        )
        .bind::<SqlUuid, _>(boot)
        .bind::<Array<SmallInt>, _>(shards.iter().map(|(s, _)| s.number()).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(shards.iter().map(|(_, e)| e.0).collect::<Vec<_>>()),
    )
    .load(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| Some((Shard::new(r.shard)?, Epoch(r.epoch))))
        .collect())
}
