//! Working out anew what listings should be, when it is not a source that moved: rules, rates, a limit that opened.
//!
//! The same road as for a change: rows locked, [`pricing::wanted`], the one writing function. Rows whose values do not
//! move are left alone, so it may be repeated and interrupted at will; what it covers is told by product, in batches
//! small enough to hold no lock for long.

use crate::clock::Clock;
use crate::domain::{ListingId, ProductId};
use crate::pricing::{self, PriceBook};
use crate::store::Connection as AsyncPgConnection;
use crate::store::wanted::{self, ListingRow, WantedUpdate};
use crate::store::{Db, StoreError};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// Products in one transaction.
const BATCH: u32 = 200;

/// What a reworking did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repriced {
    /// Products looked at.
    pub products: u64,
    /// Listings whose wanted state moved.
    pub moved: u64,
}

/// Which products to rework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every product that has a listing: rules or rates have changed.
    All,
    /// Those whose price was cut short by a step limit that has opened again.
    OpenedAgain,
}

/// What the listings of these products should be now, in the caller's transaction; answers those that moved.
/// `writer` stands in the cause: `rules`, `link`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn rework(
    conn: &mut AsyncPgConnection,
    products: &[ProductId],
    book: &PriceBook,
    writer: &str,
    now: DateTime<Utc>,
) -> Result<Vec<ListingId>, StoreError> {
    let rows = wanted::lock_listings_of(conn, products).await?;
    let updates: Vec<WantedUpdate> = rows
        .iter()
        .filter_map(|row| update(row, book, writer, now))
        .collect();
    let moved = wanted::write_wanted(conn, &updates).await?;
    // What stays as it is keeps its first reason, and must not be worked out again before its time.
    let put_off: Vec<_> = rows
        .iter()
        .filter(|row| !moved.contains(&row.listing.id()))
        .filter(|row| again_at(row.listing.wanted_cause.as_ref()).is_some())
        .map(|row| {
            let id = row.listing.id();
            let update = updates.iter().find(|u| u.listing_id == id);
            (id, update.and_then(|u| again_at(Some(&u.cause))).cloned())
        })
        .collect();
    wanted::put_off(conn, &put_off).await?;
    Ok(moved)
}

fn again_at(cause: Option<&Value>) -> Option<&Value> {
    cause?.get("again_at").filter(|at| !at.is_null())
}

fn update(row: &ListingRow, book: &PriceBook, writer: &str, now: DateTime<Utc>) -> Option<WantedUpdate> {
    let basis = &row.listing.basis;
    let decision = pricing::wanted(&row.watches, basis, book, now)?;
    let (wanted, priority) = (decision.wanted(), decision.priority());
    let mut cause = decision.cause;
    if let Some(cause) = cause.as_object_mut() {
        cause.insert("writer".to_owned(), json!(writer));
    }
    Some(WantedUpdate {
        listing_id: basis.id(),
        quantity: wanted.quantity,
        price: wanted.price,
        status: wanted.status,
        cause,
        priority,
        at: now,
    })
}

/// Reworks every product of `scope`, batch by batch.
///
/// # Errors
/// When the database is away or refuses; what was done before stands, and repeating it is harmless.
pub async fn reprice(
    db: &Db,
    book: &Arc<PriceBook>,
    clock: &Clock,
    scope: Scope,
) -> Result<Repriced, StoreError> {
    let mut done = Repriced::default();
    let mut after = None;
    loop {
        let mut conn = db.conn().await?;
        let products = match scope {
            Scope::All => wanted::find_listed_products(&mut conn, after, BATCH).await?,
            Scope::OpenedAgain => wanted::find_again(&mut conn, clock.now(), after, BATCH).await?,
        };
        drop(conn);
        let Some(last) = products.last().copied() else {
            return Ok(done);
        };
        after = Some(last);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        done.products = done.products.saturating_add(count(products.len()));
        done.moved = done
            .moved
            .saturating_add(count(batch(db, book, clock, products).await?));
    }
}

/// Reworks these products together; one by one when one of them cannot be, which the log names then.
async fn batch(
    db: &Db,
    book: &Arc<PriceBook>,
    clock: &Clock,
    products: Vec<ProductId>,
) -> Result<usize, StoreError> {
    match together(db, book, clock, products.clone()).await {
        Err(error) if !error.is_outage() && products.len() > 1 => {}
        outcome => return outcome,
    }
    let mut moved = 0_usize;
    for product in products {
        match together(db, book, clock, vec![product]).await {
            Ok(listings) => moved = moved.saturating_add(listings),
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => tracing::error!(
                product.id = %product,
                error = %error,
                "What the listings of product `{product}` should be cannot be worked out; they stay as they are"
            ),
        }
    }
    Ok(moved)
}

async fn together(
    db: &Db,
    book: &Arc<PriceBook>,
    clock: &Clock,
    products: Vec<ProductId>,
) -> Result<usize, StoreError> {
    let (book, now) = (Arc::clone(book), clock.now());
    db.transaction_retried(3, move |conn| {
        let (book, products) = (Arc::clone(&book), products.clone());
        Box::pin(async move { Ok(rework(conn, &products, &book, "rules", now).await?.len()) })
    })
    .await
}

/// Reworks one product; how many of its listings moved.
///
/// # Errors
/// When the database is away or refuses.
pub(super) async fn of_product(
    db: &Db,
    book: &Arc<PriceBook>,
    clock: &Clock,
    product: ProductId,
) -> Result<usize, StoreError> {
    together(db, book, clock, vec![product]).await
}
