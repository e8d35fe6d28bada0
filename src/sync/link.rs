//! Linking a listing that is on sale already to the product it offers (requirement B9).
//!
//! The destination is read first, and what it shows is what is confirmed: the first sync must not reprice a shop. What
//! should be is worked out at once, so that the dry run can show it, but nothing is sent until auto-sync is on.

use super::outlet::{NotRead, Outlet};
use super::reprice::rework;
use crate::clock::Clock;
use crate::domain::{DestinationPlatform, ListingId, Money, ProductId};
use crate::platform::FoundListing;
use crate::pricing::{PriceBook, Problem};
use crate::store::listings::{self, Listing, NewListing};
use crate::store::wanted::lock_watches_of;
use crate::store::{Db, StoreError};
use serde_json::Value;
use std::sync::Arc;

/// The longest key that eBay takes, and our tables hold.
const SKU_CHARACTERS: usize = 50;

/// What to link.
#[derive(Clone, Debug)]
pub struct LinkRequest {
    /// The product.
    pub product: ProductId,
    /// Where the listing is.
    pub destination: DestinationPlatform,
    /// The seller's own key there.
    pub sku: String,
    /// Which of several offers of that key.
    pub platform_product_id: Option<String>,
    /// The listing's own rules.
    pub rules: Option<Value>,
    /// Whether to keep it in line from now on.
    pub auto_sync: bool,
}

/// Why a listing was not linked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The key cannot be one.
    #[error("expected a SKU of 1 to 50 characters, got `{0}`")]
    BadSku(String),
    /// The listing's own rules are wrong: every mistake.
    #[error("the listing's rules are wrong: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BadRules(Vec<Problem>),
    /// The destination has no such listing.
    #[error("{destination} has no listing with SKU `{sku}`{offer}")]
    Nothing {
        /// Where was looked.
        destination: DestinationPlatform,
        /// For what.
        sku: String,
        /// And which offer, in words.
        offer: String,
    },
    /// It has several.
    #[error(
        "{destination} has {count} offers with SKU `{sku}`: name one of {offers} with `listings link --offer`"
    )]
    Several {
        /// Where was looked.
        destination: DestinationPlatform,
        /// For what.
        sku: String,
        /// How many.
        count: usize,
        /// Their keys.
        offers: String,
    },
    /// The destination could not be asked.
    #[error("{destination} could not be asked: {why}")]
    NotRead {
        /// Which.
        destination: DestinationPlatform,
        /// What happened.
        why: String,
    },
    /// The tables refused: the offer is linked already, there is no such product, the database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds the listing at its destination, keeps what it shows as confirmed, and works out what it should be.
///
/// # Errors
/// See [`LinkError`].
pub async fn link(
    db: &Db,
    outlet: &dyn Outlet,
    book: &Arc<PriceBook>,
    clock: &Clock,
    request: LinkRequest,
) -> Result<Listing, LinkError> {
    let characters = request.sku.chars().count();
    if characters == 0 || characters > SKU_CHARACTERS || request.sku.contains('\0') {
        return Err(LinkError::BadSku(request.sku.chars().take(80).collect()));
    }
    let rules = book
        .rules_for(request.destination, request.rules.as_ref())
        .map_err(LinkError::BadRules)?;
    let currency = rules.currency;
    let found = find(outlet, &request).await?;
    if let Some(own) = &request.rules {
        // What it is sold in is known only now.
        let sold_in = found.state.price.map(Money::currency);
        let problems = book.problems_of(request.destination, own, sold_in);
        if !problems.is_empty() {
            return Err(LinkError::BadRules(problems));
        }
    }
    let now = clock.now();
    let book = Arc::clone(book);
    let id = db
        .transaction(move |conn| {
            Box::pin(async move {
                let new = NewListing {
                    product: request.product,
                    destination: request.destination,
                    sku: &request.sku,
                    platform_product_id: &found.platform_product_id,
                    url: found.url.as_deref(),
                    currency: found.state.price.map_or(currency, Money::currency),
                    state: found.state,
                    rules: request.rules.as_ref(),
                    auto_sync: request.auto_sync,
                };
                lock_watches_of(conn, request.product).await?;
                let id: ListingId = listings::insert(conn, &new, now).await?;
                rework(conn, &[request.product], &book, "link", now).await?;
                Ok(id)
            })
        })
        .await?;
    let mut conn = db.conn().await?;
    Ok(listings::get(&mut conn, id).await?)
}

async fn find(outlet: &dyn Outlet, request: &LinkRequest) -> Result<FoundListing, LinkError> {
    let LinkRequest { destination, sku, .. } = request;
    let not_read = |error: NotRead| LinkError::NotRead {
        destination: *destination,
        why: match error {
            NotRead::Failed(error) => error.message.to_string(),
            NotRead::NotSent(why) => why.why,
        },
    };
    let offers = outlet.find(sku.as_str().into()).await.map_err(not_read)?;
    let named = request.platform_product_id.as_deref();
    let mut fitting: Vec<FoundListing> = offers
        .into_iter()
        .filter(|f| named.is_none_or(|id| *f.platform_product_id == *id))
        .collect();
    if fitting.len() > 1 {
        let keys: Vec<String> = fitting
            .iter()
            .map(|f| format!("`{}`", f.platform_product_id))
            .collect();
        return Err(LinkError::Several {
            destination: *destination,
            sku: sku.clone(),
            count: fitting.len(),
            offers: keys.join(", "),
        });
    }
    fitting.pop().ok_or_else(|| LinkError::Nothing {
        destination: *destination,
        sku: sku.clone(),
        offer: named.map(|id| format!(" and offer `{id}`")).unwrap_or_default(),
    })
}
