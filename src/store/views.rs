//! What a person looks at: pages of products, listings, holds, jobs, pushes and errors.
//!
//! The database builds each row's JSON itself, so that what a door shows is stated in one place. Pages go by key (`id`
//! greater than the last one seen), so that page 1,000 costs what page 1 costs. Every filter is a parameter, never text
//! pasted into a statement.

mod thing;

pub use thing::{Thing, missing};

use super::StoreError;
use super::errors::ErrorFilter;
use diesel::QueryableByName;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Jsonb, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Jsonb)]
    view: Value,
}

/// Which rows of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows behind this id; ids begin at 1.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// One product, its first watch and what counts.
const PRODUCT: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT p.id, w.id AS watch_id, w.source_platform AS source, w.source_product_id, w.source_url,
           COALESCE(NULLIF(w.title, ''), p.title) AS title, w.current_stock AS stock,
           CASE WHEN w.current_price IS NOT NULL THEN jsonb_build_object(
               'amount', trim_scale(w.current_price)::text, 'currency', w.currency) END AS price,
           w.url_status, w.cost_rule, w.monitoring_enabled AS monitoring, w.held_reason, w.ends_at, w.version,
           w.value_at_risk, w.rate_shape / w.rate_hours AS changes_per_hour, w.last_verified_at, w.updated_at
    FROM yahoo_scraped_products p JOIN inventory_management w ON w.product_id = p.id
";

const LISTING: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT l.id, l.product_id, l.platform AS destination, l.sku, l.platform_product_id, l.listing_url AS url,
           l.listing_status AS status, l.wanted_status, l.current_quantity AS quantity, l.wanted_quantity,
           CASE WHEN l.listed_price IS NOT NULL THEN jsonb_build_object(
               'amount', trim_scale(l.listed_price)::text, 'currency', l.currency) END AS price,
           CASE WHEN l.wanted_price IS NOT NULL THEN jsonb_build_object(
               'amount', trim_scale(l.wanted_price)::text, 'currency', l.currency) END AS wanted_price,
           l.auto_sync_enabled AS auto_sync, l.sync_queue_status, l.held_reason, l.wanted_version, l.synced_version,
           l.pushing_version, l.push_deadline, l.last_synced_at, l.revisions, l.revisions_day
    FROM listing_platforms l
";

/// Nothing happens to a listing by itself at a deadline, so that its hold shows none.
const HOLD: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT h.id, h.product_id, h.watch_id, h.listing_id, h.reason, h.detail, h.proposed_stock,
           CASE WHEN h.proposed_price IS NOT NULL THEN jsonb_build_object(
               'amount', trim_scale(h.proposed_price)::text, 'currency', h.currency) END AS proposed_price,
           h.meanwhile, h.status, CASE WHEN h.watch_id IS NOT NULL THEN h.default_action END AS default_action,
           CASE WHEN h.watch_id IS NOT NULL THEN h.deadline END AS deadline,
           h.decided_by, h.decided_at, h.note, h.created_at
    FROM holds h
";

/// What no float reaches or nobody nests, another hand wrote; it is shown as text, because a page is read as a whole.
const JOB: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT q.id, q.queue_name AS queue, q.destination, q.status, q.priority, q.product_id, q.listing_id,
           q.retry_count, q.max_retries, q.crash_count, q.attempt, q.worker_id, q.lease_until,
           CASE WHEN q.payload @? '$.**{64 to last}' OR q.payload @? '$.** ? (@ > 1e308 || @ < -1e308)'
               THEN to_jsonb(q.payload::text) ELSE q.payload END AS payload,
           CASE WHEN q.result @? '$.**{64 to last}' OR q.result @? '$.** ? (@ > 1e308 || @ < -1e308)'
               THEN to_jsonb(q.result::text) ELSE q.result END AS result,
           q.error_message AS error, q.scheduled_at, q.started_at, q.completed_at, q.created_at, q.unique_key,
           q.execution_id
    FROM processing_queue q
";

const PUSH: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT s.id, s.listing_id, l.product_id, s.platform AS destination, l.sku, s.kind, s.outcome, s.wanted_version,
           s.old_quantity, s.new_quantity, trim_scale(s.old_price)::text AS old_price,
           trim_scale(s.new_price)::text AS new_price, s.currency, s.cause, s.error, s.fetched_at, s.sent_at,
           s.answered_at, extract(epoch FROM s.answered_at - s.fetched_at) * 1000 AS delay_ms
    FROM sync_log s JOIN listing_platforms l ON l.id = s.listing_id
";

const ERROR: &str = "
SELECT to_jsonb(v) AS view FROM (
    SELECT e.id, e.error_type, e.error_code AS code, e.error_message AS message, e.product_id, e.product_title,
           e.source_url, e.platform, e.severity, e.count, e.resolved, e.details, e.created_at, e.last_seen_at,
           e.resolved_by, e.resolved_at, e.resolution_notes AS note, e.fingerprint
    FROM inventory_errors e
";

/// Products in the order of their ids. `state` is one of the words of the command line; `search` is part of the title, or
/// the whole item id.
///
/// # Errors
/// When the database is away or refuses.
pub async fn products(
    conn: &mut AsyncPgConnection,
    window: Window,
    state: Option<&str>,
    search: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let statement = format!(
        "{PRODUCT} WHERE p.id > $1 AND ($3 IS NULL OR CASE $3
                WHEN 'in_stock' THEN w.current_stock > 0 WHEN 'out_of_stock' THEN w.current_stock = 0
                WHEN 'held' THEN w.held_reason IS NOT NULL WHEN 'paused' THEN NOT w.monitoring_enabled
                ELSE w.url_status = $3 END)
           AND ($4 IS NULL OR w.source_product_id = $4
                OR strpos(lower(COALESCE(NULLIF(w.title, ''), p.title)), lower($4)) > 0)
         ORDER BY p.id, w.id LIMIT $2) v ORDER BY v.id, v.watch_id"
    );
    let rows = sql_query(statement)
        .bind::<BigInt, _>(window.after)
        .bind::<BigInt, _>(window.limit)
        .bind::<Nullable<Text>, _>(state)
        .bind::<Nullable<Text>, _>(search)
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

/// One product with its watches, listings and latest changes; `None` when there is none.
///
/// # Errors
/// When the database is away or refuses.
pub async fn product(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Value>, StoreError> {
    let watches = by_key(conn, PRODUCT, "p.id = $1 ORDER BY w.id", id).await?;
    let Some(first) = watches.as_slice().first() else {
        return Ok(None);
    };
    let title = first.get("title").cloned().unwrap_or_default();
    let listings = by_key(conn, LISTING, "l.product_id = $1 ORDER BY l.id", id).await?;
    let history = sql_query(
        "SELECT to_jsonb(v) AS view FROM (
             SELECT watch_id, version, change_type, change_source, previous_stock, new_stock,
                    trim_scale(previous_price)::text AS previous_price, trim_scale(new_price)::text AS new_price,
                    currency, explained, fetched_at, created_at
             FROM stock_history WHERE product_id = $1 ORDER BY created_at DESC, id DESC LIMIT 20) v",
    )
    .bind::<BigInt, _>(id)
    .load::<Row>(conn)
    .await?;
    Ok(Some(serde_json::json!({
        "id": id, "title": title, "watches": watches, "listings": listings, "history": unwrap(history) })))
}

/// Listings in the order of their ids; `state` is one of the words of the command line.
///
/// # Errors
/// When the database is away or refuses.
pub async fn listings(
    conn: &mut AsyncPgConnection,
    window: Window,
    destination: Option<&str>,
    state: Option<&str>,
) -> Result<Vec<Value>, StoreError> {
    let statement = format!(
        "{LISTING} WHERE l.id > $1 AND ($3 IS NULL OR l.platform = $3) AND ($4 IS NULL OR CASE $4
                WHEN 'behind' THEN l.wanted_version > l.synced_version WHEN 'held' THEN l.held_reason IS NOT NULL
                WHEN 'paused' THEN NOT l.auto_sync_enabled ELSE l.listing_status = $4 END)
         ORDER BY l.id LIMIT $2) v ORDER BY v.id"
    );
    let rows = sql_query(statement)
        .bind::<BigInt, _>(window.after)
        .bind::<BigInt, _>(window.limit)
        .bind::<Nullable<Text>, _>(destination)
        .bind::<Nullable<Text>, _>(state)
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

/// One listing with its latest pushes.
///
/// # Errors
/// When the database is away or refuses.
pub async fn listing(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Value>, StoreError> {
    let Some(mut listing) = by_key(conn, LISTING, "l.id = $1", id).await?.into_iter().next() else {
        return Ok(None);
    };
    let pushes = by_key(conn, PUSH, "s.listing_id = $1 ORDER BY s.id DESC LIMIT 20", id).await?;
    if let Some(fields) = listing.as_object_mut() {
        fields.insert("pushes".to_owned(), Value::from(pushes));
    }
    Ok(Some(listing))
}

/// Open holds, the oldest first.
///
/// # Errors
/// When the database is away or refuses.
pub async fn holds(conn: &mut AsyncPgConnection, window: Window) -> Result<Vec<Value>, StoreError> {
    paged(
        conn,
        HOLD,
        "h.id > $1 AND h.status = 'open' ORDER BY h.id LIMIT $2",
        window,
    )
    .await
}

/// Which jobs are wanted. An empty one means all.
#[derive(Clone, Copy, Debug, Default)]
pub struct JobsWanted<'a> {
    /// Only this status.
    pub status: Option<&'a str>,
    /// Only this queue.
    pub queue: Option<&'a str>,
    /// Only this destination.
    pub destination: Option<&'a str>,
    /// Only about this product.
    pub product: Option<i64>,
    /// Only with an error that holds this text, in any case.
    pub error: Option<&'a str>,
}

/// Jobs in the order of their ids.
///
/// # Errors
/// When the database is away or refuses.
pub async fn jobs(
    conn: &mut AsyncPgConnection,
    window: Window,
    wanted: JobsWanted<'_>,
) -> Result<Vec<Value>, StoreError> {
    let statement = format!(
        "{JOB} WHERE q.id > $1 AND ($3 IS NULL OR q.status = $3) AND ($4 IS NULL OR q.queue_name = $4)
           AND ($5 IS NULL OR q.destination = $5) AND ($6 IS NULL OR q.product_id = $6)
           AND ($7 IS NULL OR strpos(lower(q.error_message), lower($7)) > 0)
         ORDER BY q.id LIMIT $2) v ORDER BY v.id"
    );
    let rows = sql_query(statement)
        .bind::<BigInt, _>(window.after)
        .bind::<BigInt, _>(window.limit)
        .bind::<Nullable<Text>, _>(wanted.status)
        .bind::<Nullable<Text>, _>(wanted.queue)
        .bind::<Nullable<Text>, _>(wanted.destination)
        .bind::<Nullable<BigInt>, _>(wanted.product)
        .bind::<Nullable<Text>, _>(wanted.error)
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

/// One job.
///
/// # Errors
/// When the database is away or refuses.
pub async fn job(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Value>, StoreError> {
    Ok(by_key(conn, JOB, "q.id = $1", id).await?.into_iter().next())
}

/// Pushes in the order in which they were sent.
///
/// # Errors
/// When the database is away or refuses.
pub async fn pushes(conn: &mut AsyncPgConnection, window: Window) -> Result<Vec<Value>, StoreError> {
    paged(conn, PUSH, "s.id > $1 ORDER BY s.id LIMIT $2", window).await
}

/// Errors in the order of their ids, one trouble a row.
///
/// # Errors
/// When the database is away or refuses.
pub async fn errors(
    conn: &mut AsyncPgConnection,
    window: Window,
    filter: &ErrorFilter,
) -> Result<Vec<Value>, StoreError> {
    let statement = format!(
        "{ERROR} WHERE e.id > $1 AND ($3 OR NOT e.resolved) AND ($4 IS NULL OR e.severity = $4)
           AND ($5 IS NULL OR e.product_id = $5) ORDER BY e.id LIMIT $2) v ORDER BY v.id"
    );
    let rows = sql_query(statement)
        .bind::<BigInt, _>(window.after)
        .bind::<BigInt, _>(window.limit)
        .bind::<Bool, _>(filter.with_resolved)
        .bind::<Nullable<Text>, _>(filter.severity.map(|s| s.as_str()))
        .bind::<Nullable<BigInt>, _>(filter.product_id.map(|id| id.0))
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

/// One error.
///
/// # Errors
/// When the database is away or refuses.
pub async fn error(conn: &mut AsyncPgConnection, id: i64) -> Result<Option<Value>, StoreError> {
    Ok(by_key(conn, ERROR, "e.id = $1", id).await?.into_iter().next())
}

/// The counts of `status`: products, listings behind, holds, jobs by status, errors by severity.
///
/// # Errors
/// When the database is away or refuses.
pub async fn counts(conn: &mut AsyncPgConnection) -> Result<Value, StoreError> {
    let rows = sql_query(
        "SELECT jsonb_build_object(
            'products', (SELECT count(*) FROM inventory_management),
            'products_watched', (SELECT count(*) FROM inventory_management WHERE monitoring_enabled),
            'products_in_stock', (SELECT count(*) FROM inventory_management WHERE current_stock > 0),
            'products_held', (SELECT count(*) FROM inventory_management WHERE held_reason IS NOT NULL),
            'listings', (SELECT count(*) FROM listing_platforms),
            'listings_syncing', (SELECT count(*) FROM listing_platforms WHERE auto_sync_enabled),
            'listings_behind', (SELECT count(*) FROM listing_platforms
                                WHERE wanted_version > synced_version AND auto_sync_enabled),
            'listings_held', (SELECT count(*) FROM listing_platforms WHERE held_reason IS NOT NULL),
            'holds_open', (SELECT count(*) FROM holds WHERE status = 'open'),
            'jobs', (SELECT COALESCE(jsonb_object_agg(status, n), '{}') FROM
                     (SELECT status, count(*) AS n FROM processing_queue GROUP BY status) j),
            'errors_open', (SELECT COALESCE(jsonb_object_agg(severity, n), '{}') FROM
                     (SELECT severity, count(*) AS n FROM inventory_errors WHERE NOT resolved GROUP BY severity) e)
         ) AS view",
    )
    .load::<Row>(conn)
    .await?;
    Ok(unwrap(rows).into_iter().next().unwrap_or_default())
}

/// The delay from page read to the destination's answer, in milliseconds: count, p50, p95, p99, largest.
///
/// Over accepted pushes sent in the last `window_s` seconds; one row for `all`, first, and one for each destination that
/// had any.
///
/// # Errors
/// When the database is away or refuses.
pub async fn delays(conn: &mut AsyncPgConnection, window_s: i64) -> Result<Vec<Value>, StoreError> {
    let rows = sql_query(
        "SELECT jsonb_build_object('destination', COALESCE(platform, 'all'), 'count', count(*),
                'p50', round(percentile_cont(0.5) WITHIN GROUP (ORDER BY d)::numeric, 1),
                'p95', round(percentile_cont(0.95) WITHIN GROUP (ORDER BY d)::numeric, 1),
                'p99', round(percentile_cont(0.99) WITHIN GROUP (ORDER BY d)::numeric, 1), 'max', round(max(d)::numeric, 1)) AS view
         FROM (SELECT platform, (extract(epoch FROM answered_at - fetched_at) * 1000)::float8 AS d FROM sync_log
               WHERE outcome = 'accepted' AND kind <> 'read' AND fetched_at IS NOT NULL
                 AND sent_at > now() - make_interval(secs => $1)) s
         GROUP BY GROUPING SETS ((), (platform)) ORDER BY GROUPING(platform) DESC, platform",
    )
    .bind::<BigInt, _>(window_s)
    .load::<Row>(conn)
    .await?;
    Ok(unwrap(rows))
}

async fn paged(
    conn: &mut AsyncPgConnection,
    select: &str,
    tail: &str,
    window: Window,
) -> Result<Vec<Value>, StoreError> {
    let rows = sql_query(format!("{select} WHERE {tail}) v"))
        .bind::<BigInt, _>(window.after)
        .bind::<BigInt, _>(window.limit)
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

async fn by_key(
    conn: &mut AsyncPgConnection,
    select: &str,
    tail: &str,
    key: i64,
) -> Result<Vec<Value>, StoreError> {
    let rows = sql_query(format!("{select} WHERE {tail}) v"))
        .bind::<BigInt, _>(key)
        .load::<Row>(conn)
        .await?;
    Ok(unwrap(rows))
}

fn unwrap(rows: Vec<Row>) -> Vec<Value> {
    rows.into_iter().map(|r| r.view).collect()
}
