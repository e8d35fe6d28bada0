//! What listings should be after the state of a watch has moved: the road from a watch to `wanted_*`.

use crate::domain::{HoldId, ListingId, ProductId};
use crate::pricing::{self, PriceBook};
use crate::store::Connection as AsyncPgConnection;
use crate::store::StoreError;
use crate::store::wanted::{WantedUpdate, lock_listings_of, write_wanted};
use chrono::{DateTime, Utc};
use std::collections::HashMap;

/// What a writer adds to the cause of a wanted state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// A zero is expected: it does not count against the listings' blast radius.
    pub explained: bool,
    /// The person, or the deadline, who let it through.
    pub approved_by: Option<Box<str>>,
    /// The hold that was decided.
    pub hold_id: Option<HoldId>,
}

/// Works out what the listings of these products should be now, and writes it, in the caller's transaction; answers the
/// listings that moved, by product.
///
/// # Errors
/// Those of the store.
pub async fn follow(
    conn: &mut AsyncPgConnection,
    origins: &HashMap<ProductId, Origin>,
    book: &PriceBook,
    now: DateTime<Utc>,
) -> Result<HashMap<ProductId, Vec<ListingId>>, StoreError> {
    let products: Vec<ProductId> = origins.keys().copied().collect();
    let rows = lock_listings_of(conn, &products).await?;
    let mut of: HashMap<ListingId, ProductId> = HashMap::new();
    let mut updates = Vec::new();
    for row in &rows {
        let basis = &row.listing.basis;
        let Some(decision) = pricing::wanted(&row.watches, basis, book, now) else {
            continue;
        };
        let priority = decision.priority();
        let wanted = decision.wanted();
        let mut cause = decision.cause;
        if let (Some(origin), Some(cause)) = (origins.get(&basis.product_id), cause.as_object_mut()) {
            origin.note(cause);
        }
        of.insert(basis.id(), basis.product_id);
        updates.push(WantedUpdate {
            listing_id: basis.id(),
            quantity: wanted.quantity,
            price: wanted.price,
            status: wanted.status,
            cause,
            priority,
            at: now,
        });
    }
    let mut moved: HashMap<ProductId, Vec<ListingId>> = HashMap::new();
    for listing in write_wanted(conn, &updates).await? {
        if let Some(product) = of.get(&listing) {
            moved.entry(*product).or_default().push(listing);
        }
    }
    Ok(moved)
}

impl Origin {
    fn note(&self, cause: &mut serde_json::Map<String, serde_json::Value>) {
        if self.explained {
            cause.insert("explained".to_owned(), true.into());
        }
        if let Some(by) = &self.approved_by {
            cause.insert("approved_by".to_owned(), by.to_string().into());
        }
        if let Some(hold) = self.hold_id {
            cause.insert("hold_id".to_owned(), hold.0.into());
        }
    }
}
