//! Registering watches, one or many.

use super::{Id, StoreError};
use crate::domain::{CostRule, ProductId, SourcePlatform, SourceProductId, WatchId};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Float, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::collections::{HashMap, HashSet};

/// A watch to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewWatch {
    /// The product that it watches; `None` makes a new one.
    pub product_id: Option<ProductId>,
    /// The new product's title, until a page tells it.
    pub title: String,
    /// Where to look.
    pub source: SourcePlatform,
    /// The canonical address, for people.
    pub source_url: String,
    /// What to look at.
    pub source_product_id: SourceProductId,
    /// What an item costs.
    pub cost_rule: CostRule,
    /// Yen lost per hour while the listing is wrong.
    pub value_at_risk_jpy_per_hour: f32,
}

/// What became of a [`NewWatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there now.
    New {
        /// Its row.
        watch_id: WatchId,
        /// Its product.
        product_id: ProductId,
    },
    /// The item was being watched already, or stands twice in the list; nothing was changed.
    Duplicate {
        /// The row that watches it.
        watch_id: WatchId,
        /// Its product.
        product_id: ProductId,
    },
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    product_id: i64,
    #[diesel(sql_type = Text)]
    source_platform: String,
    #[diesel(sql_type = Text)]
    source_product_id: String,
}

/// How many of these are watched already.
///
/// # Errors
/// When the database is away or refuses.
pub async fn known(conn: &mut AsyncPgConnection, watches: &[NewWatch]) -> Result<usize, StoreError> {
    Ok(find(conn, watches).await?.len())
}

/// Adds watches and, where they name none, their products; one answer for each, in order.
///
/// Call it inside a transaction, with some thousands at a time.
///
/// # Errors
/// When the database is away or refuses: a `product_id` that is not there, a title of more than 500 characters.
pub async fn add(conn: &mut AsyncPgConnection, watches: &[NewWatch]) -> Result<Vec<Added>, StoreError> {
    let known = find(conn, watches).await?;
    let mut fresh: Vec<&NewWatch> = Vec::new();
    let mut keys: HashSet<(SourcePlatform, &str)> = HashSet::new();
    for watch in watches {
        let key = key(watch);
        if !known.contains_key(&(key.0.as_str().to_owned(), key.1.to_owned())) && keys.insert(key) {
            fresh.push(watch);
        }
    }
    let products = make_products(conn, &fresh).await?;
    let inserted = insert(conn, &fresh, &products).await?;
    // Another transaction may have been first since we looked: its rows stand, our products without a watch go.
    let lost: Vec<i64> = fresh
        .iter()
        .zip(&products)
        .filter(|(w, _)| w.product_id.is_none() && !inserted.contains_key(&owned_key(w)))
        .map(|(_, product)| *product)
        .collect();
    let mut all = known;
    if !lost.is_empty() {
        diesel::sql_query("DELETE FROM yahoo_scraped_products WHERE id = ANY($1)")
            .bind::<Array<BigInt>, _>(&lost)
            .execute(conn)
            .await?;
        all = find(conn, watches).await?;
    }
    let mut first: HashSet<i64> = HashSet::new();
    let mut answers = Vec::with_capacity(watches.len());
    for watch in watches {
        let new = inserted.get(&owned_key(watch)).copied();
        let (id, product) = new
            .or_else(|| all.get(&owned_key(watch)).copied())
            .ok_or_else(|| {
                StoreError::conflict(format!(
                    "`{}` came and went while it was added",
                    watch.source_product_id
                ))
            })?;
        let (watch_id, product_id) = (WatchId(id), ProductId(product));
        answers.push(if new.is_some() && first.insert(id) {
            Added::New { watch_id, product_id }
        } else {
            Added::Duplicate { watch_id, product_id }
        });
    }
    Ok(answers)
}

type Key = (String, String);
type Rows = HashMap<Key, (i64, i64)>;

fn key(watch: &NewWatch) -> (SourcePlatform, &str) {
    (watch.source, watch.source_product_id.as_str())
}

fn owned_key(watch: &NewWatch) -> Key {
    (
        watch.source.as_str().to_owned(),
        watch.source_product_id.as_str().to_owned(),
    )
}

fn sources(watches: &[&NewWatch]) -> Vec<&'static str> {
    watches.iter().map(|w| w.source.as_str()).collect()
}

fn texts(watches: &[&NewWatch], of: impl Fn(&NewWatch) -> &str) -> Vec<String> {
    watches.iter().map(|w| of(w).to_owned()).collect()
}

fn by_key(rows: Vec<Row>) -> Rows {
    rows.into_iter()
        .map(|r| ((r.source_platform, r.source_product_id), (r.id, r.product_id)))
        .collect()
}

async fn find(conn: &mut AsyncPgConnection, watches: &[NewWatch]) -> Result<Rows, StoreError> {
    let watches: Vec<&NewWatch> = watches.iter().collect();
    let rows = diesel::sql_query(
        "SELECT m.id, m.product_id, m.source_platform, m.source_product_id FROM inventory_management m \
         JOIN unnest($1::text[], $2::text[]) AS n (source, item) \
         ON m.source_platform = n.source AND m.source_product_id = n.item",
    )
    .bind::<Array<Text>, _>(sources(&watches))
    .bind::<Array<Text>, _>(texts(&watches, |w| w.source_product_id.as_str()))
    .load(conn)
    .await?;
    Ok(by_key(rows))
}

/// The product of each watch, made where it names none.
async fn make_products(conn: &mut AsyncPgConnection, watches: &[&NewWatch]) -> Result<Vec<i64>, StoreError> {
    let without: Vec<&NewWatch> = watches
        .iter()
        .copied()
        .filter(|w| w.product_id.is_none())
        .collect();
    let made: Vec<Id> = diesel::sql_query(
        "INSERT INTO yahoo_scraped_products (title, source_url) \
         SELECT title, url FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n (title, url, place) ORDER BY place \
         RETURNING id",
    )
    .bind::<Array<Text>, _>(texts(&without, |w| &w.title))
    .bind::<Array<Text>, _>(texts(&without, |w| &w.source_url))
    .load(conn)
    .await?;
    let mut made = made.into_iter().map(|row| row.id);
    Ok(watches
        .iter()
        .filter_map(|w| w.product_id.map(|p| p.0).or_else(|| made.next()))
        .collect())
}

async fn insert(
    conn: &mut AsyncPgConnection,
    watches: &[&NewWatch],
    products: &[i64],
) -> Result<Rows, StoreError> {
    let rows = diesel::sql_query(
        "INSERT INTO inventory_management (product_id, source_platform, source_url, source_product_id, cost_rule, \
             value_at_risk, title) \
         SELECT n.product, n.source, n.url, n.item, n.cost, n.risk, n.title \
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::real[], $7::text[]) \
             AS n (product, source, url, item, cost, risk, title) \
         ON CONFLICT (source_platform, source_product_id) WHERE source_product_id IS NOT NULL DO NOTHING \
         RETURNING id, product_id, source_platform, source_product_id",
    )
    .bind::<Array<BigInt>, _>(products)
    .bind::<Array<Text>, _>(sources(watches))
    .bind::<Array<Text>, _>(texts(watches, |w| &w.source_url))
    .bind::<Array<Text>, _>(texts(watches, |w| w.source_product_id.as_str()))
    .bind::<Array<Text>, _>(watches.iter().map(|w| w.cost_rule.as_str()).collect::<Vec<_>>())
    .bind::<Array<Float>, _>(watches.iter().map(|w| w.value_at_risk_jpy_per_hour).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(watches.iter().map(|w| Some(w.title.clone())).collect::<Vec<_>>())
    .load(conn)
    .await?;
    Ok(by_key(rows))
}
