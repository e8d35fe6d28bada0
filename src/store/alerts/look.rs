//! What there is to tell, read from the tables: troubles as they stand, not messages that could be missed.
//!
//! A look after a crash finds what a look before it would have found.

use super::word;
use crate::domain::{Affected, AlertKind, NAMED_PRODUCTS};
use crate::store::error::StoreError;
use crate::store::errors::Severity;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;

/// A moment that was; what no calendar holds, or is days ahead, is long ago. A hand may write `infinity` into any of these
/// columns: a result of which one value cannot be read is none, and what is yet to come is not told.
macro_rules! moment {
    ($column:literal) => {
        concat!(
            "CASE WHEN ",
            $column,
            " BETWEEN '1970-01-01 UTC' AND clock_timestamp() + interval '1 day' THEN ",
            $column,
            " ELSE '1970-01-01 UTC' END"
        )
    };
}

/// Things of one cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The reason of the holds, the code of the errors, the queue of the dead letters.
    pub code: String,
    /// The service concerned.
    pub platform: Option<String>,
    /// How bad the worst is, of errors.
    pub severity: Option<Severity>,
    /// How many.
    pub count: i64,
    /// How often they were met in all, of errors.
    pub times: i64,
    /// When the first came.
    pub since: DateTime<Utc>,
    /// When the last came.
    pub newest: DateTime<Utc>,
    /// What the last one said.
    pub message: Option<String>,
    /// When something happens by itself, of holds.
    pub at: Option<DateTime<Utc>>,
    /// What happens then.
    pub then: Option<String>,
    /// The first products concerned.
    pub products: Vec<Affected>,
}

#[derive(QueryableByName)]
struct Record {
    #[diesel(sql_type = Text)]
    code: String,
    #[diesel(sql_type = Nullable<Text>)]
    platform: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    severity: Option<String>,
    #[diesel(sql_type = BigInt)]
    count: i64,
    #[diesel(sql_type = BigInt)]
    times: i64,
    #[diesel(sql_type = Timestamptz)]
    since: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    newest: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Text>)]
    message: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    then: Option<String>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    products: Option<Value>,
}

impl Record {
    fn read(self) -> Result<Group, StoreError> {
        Ok(Group {
            severity: self.severity.as_deref().map(word).transpose()?,
            products: self.products.map_or_else(Vec::new, affected),
            code: self.code,
            platform: self.platform,
            count: self.count,
            times: self.times,
            since: self.since,
            newest: self.newest,
            message: self.message,
            at: self.at,
            then: self.then,
        })
    }
}

fn affected(products: Value) -> Vec<Affected> {
    serde_json::from_value(products).unwrap_or_default()
}

fn named() -> i64 {
    i64::try_from(NAMED_PRODUCTS).unwrap_or(i64::MAX)
}

/// Open holds by reason and platform.
///
/// # Errors
/// When the database is away or refuses.
pub async fn holds(conn: &mut AsyncPgConnection) -> Result<Vec<Group>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(
        "WITH open AS (SELECT h.id, h.product_id, h.reason, h.default_action, ",
        "LEAST(GREATEST(h.deadline, '1970-01-01 UTC'), '9999-12-31 UTC') AS deadline, ",
        moment!("h.created_at"),
        " AS created_at, \
             COALESCE(CASE m.source_platform WHEN 'yahoo' THEN 'yahoo_auction' ELSE m.source_platform END, l.platform) \
               AS platform \
           FROM holds h LEFT JOIN inventory_management m ON m.id = h.watch_id \
           LEFT JOIN listing_platforms l ON l.id = h.listing_id WHERE h.status = 'open'), \
         groups AS (SELECT reason AS code, platform, count(*) AS count, min(created_at) AS since, \
             max(created_at) AS newest, min(deadline) AS at, min(default_action) AS then FROM open \
           GROUP BY reason, platform) \
         SELECT g.code, g.platform, NULL::text AS severity, g.count, g.count AS times, g.since, g.newest, \
           NULL::text AS message, g.at, g.then, s.products FROM groups g, LATERAL ( \
             SELECT jsonb_agg(jsonb_build_object('id', f.product_id, 'title', COALESCE(p.title, '')) ORDER BY f.id) \
               AS products \
             FROM (SELECT o.id, o.product_id FROM open o WHERE o.reason = g.code \
                   AND o.platform IS NOT DISTINCT FROM g.platform ORDER BY o.id LIMIT $1) f \
             LEFT JOIN yahoo_scraped_products p ON p.id = f.product_id) s ORDER BY g.code, g.platform"
    ))
    .bind::<BigInt, _>(named())
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// Troubles that nobody has resolved, by code and platform.
///
/// # Errors
/// When the database is away or refuses.
pub async fn errors(conn: &mut AsyncPgConnection) -> Result<Vec<Group>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(
        "WITH open AS (SELECT id, COALESCE(error_code, error_type) AS code, platform, severity, count, ",
        moment!("created_at"),
        " AS created_at, ",
        moment!("last_seen_at"),
        " AS last_seen_at, error_message, product_id, product_title FROM inventory_errors WHERE NOT resolved), \
         groups AS (SELECT code, platform, count(*) AS count, LEAST(sum(count), 9e18)::bigint AS times, min(created_at) AS since, \
             max(last_seen_at) AS newest, \
             (ARRAY['low', 'medium', 'high', 'critical'])[max(array_position( \
               ARRAY['low', 'medium', 'high', 'critical'], severity))] AS severity FROM open \
           GROUP BY code, platform) \
         SELECT g.code, g.platform, g.severity, g.count, g.times, g.since, g.newest, m.message, \
           NULL::timestamptz AS at, NULL::text AS then, s.products FROM groups g, LATERAL ( \
             SELECT o.error_message AS message FROM open o WHERE o.code = g.code \
               AND o.platform IS NOT DISTINCT FROM g.platform ORDER BY o.last_seen_at DESC LIMIT 1) m, LATERAL ( \
             SELECT jsonb_agg(jsonb_build_object('id', f.product_id, 'title', COALESCE(f.product_title, '')) \
               ORDER BY f.id) AS products \
             FROM (SELECT o.id, o.product_id, o.product_title FROM open o WHERE o.code = g.code \
                   AND o.platform IS NOT DISTINCT FROM g.platform AND o.product_id IS NOT NULL \
                   ORDER BY o.id LIMIT $1) f) s ORDER BY g.code, g.platform"
    ))
    .bind::<BigInt, _>(named())
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// Dead letters by queue and destination.
///
/// # Errors
/// When the database is away or refuses.
pub async fn dead_letters(conn: &mut AsyncPgConnection) -> Result<Vec<Group>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(concat!(
        "WITH dead AS (SELECT id, queue_name, destination, product_id, error_message, ",
        moment!("completed_at"),
        " AS completed_at \
             FROM processing_queue WHERE status = 'dead'), \
         groups AS (SELECT queue_name AS code, destination AS platform, count(*) AS count, \
             min(completed_at) AS since, max(completed_at) AS newest FROM dead GROUP BY queue_name, destination) \
         SELECT g.code, g.platform, NULL::text AS severity, g.count, g.count AS times, g.since, g.newest, \
           m.message, NULL::timestamptz AS at, NULL::text AS then, s.products FROM groups g, LATERAL ( \
             SELECT d.error_message AS message FROM dead d WHERE d.queue_name = g.code \
               AND d.destination IS NOT DISTINCT FROM g.platform ORDER BY d.completed_at DESC LIMIT 1) m, LATERAL ( \
             SELECT jsonb_agg(jsonb_build_object('id', f.product_id, 'title', COALESCE(p.title, '')) ORDER BY f.id) \
               AS products \
             FROM (SELECT d.id, d.product_id FROM dead d WHERE d.queue_name = g.code \
                   AND d.destination IS NOT DISTINCT FROM g.platform AND d.product_id IS NOT NULL \
                   ORDER BY d.id LIMIT $1) f \
             LEFT JOIN yahoo_scraped_products p ON p.id = f.product_id) s ORDER BY g.code, g.platform"
    ))
    .bind::<BigInt, _>(named())
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// Products that went out of stock since `since` and are still out of it, by source.
///
/// # Errors
/// When the database is away or refuses.
pub async fn out_of_stock(
    conn: &mut AsyncPgConnection,
    since: DateTime<Utc>,
) -> Result<Vec<Group>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(
        "WITH gone AS (SELECT h.product_id, min(h.created_at) AS at, min(m.source_platform) AS source \
             FROM stock_history h JOIN inventory_management m ON m.id = h.watch_id \
             WHERE h.created_at > $1 AND h.new_stock = 0 AND h.previous_stock > 0 AND m.current_stock = 0 \
             GROUP BY h.product_id), \
         groups AS (SELECT CASE source WHEN 'yahoo' THEN 'yahoo_auction' ELSE source END AS platform, source, \
             count(*) AS count, min(at) AS since, max(at) AS newest FROM gone GROUP BY source) \
         SELECT 'out_of_stock' AS code, g.platform, NULL::text AS severity, g.count, g.count AS times, g.since, \
           g.newest, NULL::text AS message, NULL::timestamptz AS at, NULL::text AS then, s.products \
         FROM groups g, LATERAL ( \
             SELECT jsonb_agg(jsonb_build_object('id', f.product_id, 'title', COALESCE(p.title, '')) \
               ORDER BY f.at) AS products \
             FROM (SELECT product_id, at FROM gone WHERE gone.source = g.source ORDER BY at LIMIT $2) f \
             LEFT JOIN yahoo_scraped_products p ON p.id = f.product_id) s ORDER BY g.platform",
    )
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(named())
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// Changes of these products since `since`, each its own group: what a person asked to hear of.
///
/// # Errors
/// When the database is away or refuses.
pub async fn changes(
    conn: &mut AsyncPgConnection,
    products: &[i64],
    since: DateTime<Utc>,
) -> Result<Vec<Group>, StoreError> {
    let records: Vec<Record> = diesel::sql_query(
        "SELECT h.watch_id || ':' || h.version AS code, h.change_source AS platform, NULL::text AS severity, \
           1::bigint AS count, 1::bigint AS times, h.created_at AS since, h.created_at AS newest, \
           format('%s → %s, %s → %s %s', COALESCE(h.previous_stock::text, '-'), h.new_stock, \
             COALESCE(h.previous_price::text, '-'), COALESCE(h.new_price::text, '-'), h.currency) AS message, \
           NULL::timestamptz AS at, h.change_type AS then, \
           jsonb_build_array(jsonb_build_object('id', h.product_id, 'title', COALESCE(p.title, ''))) AS products \
         FROM stock_history h LEFT JOIN yahoo_scraped_products p ON p.id = h.product_id \
         WHERE h.product_id = ANY($1) AND h.created_at > $2 AND h.previous_stock IS NOT NULL ORDER BY h.created_at",
    )
    .bind::<Array<BigInt>, _>(products)
    .bind::<Timestamptz, _>(since)
    .load(conn)
    .await?;
    records.into_iter().map(Record::read).collect()
}

/// Since when the emergency stop is on, and who pressed it.
///
/// # Errors
/// When the database is away or refuses.
pub async fn emergency_stop(
    conn: &mut AsyncPgConnection,
) -> Result<Option<(DateTime<Utc>, Option<String>)>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Timestamptz)]
        at: DateTime<Utc>,
        #[diesel(sql_type = Nullable<Text>)]
        paused_by: Option<String>,
    }
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT COALESCE(paused_at, updated_at) AS at, paused_by FROM platform_state WHERE platform = '*' AND paused",
    )
    .load(conn)
    .await?;
    Ok(rows.into_iter().next().map(|row| (row.at, row.paused_by)))
}

/// What stays of a product's change once it is told: nothing is told twice.
///
/// # Errors
/// When the database is away or refuses.
pub async fn known(
    conn: &mut AsyncPgConnection,
    kind: AlertKind,
    fingerprints: &[String],
) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        fingerprint: String,
    }
    let rows: Vec<Row> =
        diesel::sql_query("SELECT fingerprint FROM alerts WHERE kind = $1 AND fingerprint = ANY($2)")
            .bind::<Text, _>(kind.as_str())
            .bind::<Array<Text>, _>(fingerprints)
            .load(conn)
            .await?;
    Ok(rows.into_iter().map(|row| row.fingerprint).collect())
}
