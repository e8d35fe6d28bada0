//! What is wrong with products and listings, all of it in one look: counts, and the first of each.

use super::StoreError;
use diesel::QueryableByName;
use diesel::sql_types::{Double, Jsonb};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use serde_json::Value;
use std::time::Duration;

/// Each finding's condition on watches `w` of products that are watched, and on listings `l`.
///
/// One statement, so that all numbers are of one moment. `named` keeps the first twenty of each.
const REPORT: &str = "
WITH w AS (
    SELECT m.id, m.product_id, m.url_status, m.last_verified_at, m.held_reason, m.gone_since, m.created_at,
           m.source_url, left(COALESCE(NULLIF(m.title, ''), p.title), 120) AS title
    FROM inventory_management m JOIN yahoo_scraped_products p ON p.id = m.product_id WHERE m.monitoring_enabled
), l AS (
    SELECT l.id, l.product_id, l.platform, l.sku, l.current_quantity, l.wanted_quantity, l.listed_price, l.wanted_price,
           l.wanted_version, l.synced_version, l.wanted_at, l.held_reason
    FROM listing_platforms l WHERE l.auto_sync_enabled AND l.listing_status <> 'paused'
), findings AS (
    SELECT 'gone' AS kind, id AS at, product_id, jsonb_build_object('product_id', product_id, 'title', title,
               'source_url', source_url) AS what FROM w WHERE url_status = 'dead'
    UNION ALL SELECT 'changed', id, product_id, jsonb_build_object('product_id', product_id, 'title', title,
               'source_url', source_url) FROM w WHERE url_status = 'changed'
    UNION ALL SELECT 'quarantined', id, product_id, jsonb_build_object('product_id', product_id, 'title', title)
        FROM w WHERE held_reason = 'quarantined'
    UNION ALL SELECT 'unverified', id, product_id, jsonb_build_object('product_id', product_id, 'title', title,
               'last_verified_at', last_verified_at)
        FROM w WHERE COALESCE(last_verified_at, created_at) < clock_timestamp() - make_interval(secs => $1)
    UNION ALL SELECT 'unreadable', e.id, e.product_id, jsonb_build_object('error_id', e.id, 'product_id', e.product_id,
               'platform', e.platform, 'count', e.count, 'message', left(e.error_message, 300),
               'last_seen_at', e.last_seen_at)
        FROM inventory_errors e WHERE NOT e.resolved AND e.error_code = 'contract'
    UNION ALL SELECT 'held', h.id, h.product_id, jsonb_build_object('hold_id', h.id, 'product_id', h.product_id,
               'listing_id', h.listing_id, 'reason', h.reason, 'deadline', h.deadline)
        FROM holds h WHERE h.status = 'open'
    UNION ALL SELECT 'differs', id, product_id, jsonb_build_object('listing_id', id, 'product_id', product_id,
               'destination', platform, 'sku', sku, 'quantity', current_quantity, 'wanted_quantity', wanted_quantity,
               'price', trim_scale(listed_price)::text, 'wanted_price', trim_scale(wanted_price)::text,
               'held', held_reason)
        FROM l WHERE wanted_version > 0 AND wanted_at < clock_timestamp() - interval '10 minutes'
            AND (wanted_version > synced_version OR current_quantity IS DISTINCT FROM wanted_quantity
                 OR wanted_quantity > 0 AND listed_price IS DISTINCT FROM wanted_price)
), numbered AS (
    SELECT kind, product_id, what, row_number() OVER (PARTITION BY kind ORDER BY at) AS n FROM findings
)
SELECT jsonb_build_object(
    'products', (SELECT count(DISTINCT product_id) FROM w),
    'listings', (SELECT count(*) FROM l),
    'url_status', jsonb_build_object('active', (SELECT count(*) FROM w WHERE url_status = 'active'),
        'dead', (SELECT count(*) FROM w WHERE url_status = 'dead'),
        'changed', (SELECT count(*) FROM w WHERE url_status = 'changed')),
    'holds', COALESCE((SELECT jsonb_object_agg(reason, n) FROM
        (SELECT reason, count(*) AS n FROM holds WHERE status = 'open' GROUP BY reason) r), '{}'),
    'products_with_findings', (SELECT count(DISTINCT product_id) FROM findings WHERE product_id IS NOT NULL),
    'findings', jsonb_build_object('gone', 0, 'changed', 0, 'quarantined', 0, 'unverified', 0, 'unreadable', 0,
        'held', 0, 'differs', 0) || COALESCE((SELECT jsonb_object_agg(kind, n) FROM
        (SELECT kind, count(*) AS n FROM findings GROUP BY kind) f), '{}'),
    'first', COALESCE((SELECT jsonb_object_agg(kind, list) FROM
        (SELECT kind, jsonb_agg(what ORDER BY n) AS list FROM numbered WHERE n <= 20 GROUP BY kind) f), '{}')
) AS report";

/// The report. A product counts as unverified when its page was not read for `unverified_after`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn report(conn: &mut AsyncPgConnection, unverified_after: Duration) -> Result<Value, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Jsonb)]
        report: Value,
    }
    let row: Row = diesel::sql_query(REPORT)
        .bind::<Double, _>(unverified_after.as_secs_f64())
        .get_result(conn)
        .await?;
    Ok(row.report)
}
