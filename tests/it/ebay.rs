//! The eBay adapter, its tokens and the gateways against a server that misbehaves on order. All that the adapter sends is
//! held against the published contract on the way, where that is at hand.

mod contract;
mod first;
mod gateway;
mod listing;
pub mod memory;
mod oauth;
mod revise;
pub mod server;

use zaikoban::domain::{
    Currency, DestinationPlatform, ListingId, ListingRef, ListingState, ListingStatus, Money, Quantity,
};
use zaikoban::platform::{EntryOutcome, PlatformError, Revision};

fn listing(sku: &str, offer: &str) -> ListingRef {
    ListingRef {
        listing_id: ListingId(1),
        destination: DestinationPlatform::Ebay,
        sku: sku.into(),
        platform_product_id: offer.into(),
    }
}

fn usd(text: &str) -> Money {
    Money::new(text.parse().unwrap(), Currency::Usd).unwrap()
}

fn pieces(count: i64) -> Quantity {
    Quantity::new(count).unwrap()
}

/// Sets the quantity of a listing that is on sale.
fn quantity(sku: &str, offer: &str, count: i64) -> Revision {
    Revision {
        listing: listing(sku, offer),
        quantity: Some(pieces(count)),
        price: None,
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: pieces(1),
            price: Some(usd("20")),
        },
    }
}

fn failure(outcome: &EntryOutcome) -> (&PlatformError, bool) {
    match outcome {
        EntryOutcome::Failed { error, unknown } => (error, *unknown),
        EntryOutcome::Accepted { .. } => panic!("expected a failure, got {outcome:?}"),
    }
}

fn is_accepted(outcome: &EntryOutcome) -> bool {
    matches!(outcome, EntryOutcome::Accepted { .. })
}
