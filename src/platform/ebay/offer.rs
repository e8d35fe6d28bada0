//! The inventory item and the offer: what they say together about one listing, and the body that replaces an offer.
//!
//! What the offer holds overrides what the SKU holds, says the contract; eBay's guide to bulk updates says that the smaller
//! of both is on sale. So the offer's own quantity counts, which is never less than what a buyer can have: where the two
//! differ, something that should be off sale is not believed to be. An answer about another offer or SKU than the one asked
//! for is no answer, and a value that is missing is an error: never a zero.

use super::json::{self, At, Drift};
use super::revise::Amount;
use crate::domain::{Currency, ListingState, ListingStatus, Money, Quantity};
use crate::platform::Revision;
use serde_json::{Map, Value};

/// The members that `updateOffer` takes (`EbayOfferDetailsWithId` of the contract); it replaces the whole offer.
const REPLACED: [&str; 18] = [
    "availableQuantity",
    "categoryId",
    "charity",
    "extendedProducerResponsibility",
    "hideBuyerDetails",
    "includeCatalogProductDetails",
    "listingDescription",
    "listingDuration",
    "listingPolicies",
    "listingStartDate",
    "lotSize",
    "merchantLocationKey",
    "pricingSummary",
    "quantityLimitPerBuyer",
    "regulatory",
    "secondaryCategoryId",
    "storeCategoryNames",
    "tax",
];

/// One offer as eBay shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) offer_id: Box<str>,
    pub(super) sku: Box<str>,
    pub(super) status: ListingStatus,
    /// The marketplace's key of the live listing; offers that are not published have none.
    pub(super) listing_id: Option<Box<str>>,
    pub(super) is_auction: bool,
    quantity: Option<Quantity>,
    price: Option<Money>,
}

impl Offer {
    /// Reads an `EbayOfferDetailsWithAll`.
    pub(super) fn read(at: &At<'_>) -> Result<Self, Drift> {
        let (status, listing_id) = status(at)?;
        let price = match at.maybe("pricingSummary")? {
            Some(summary) => summary.maybe("price")?.map(|p| money(&p)).transpose()?,
            None => None,
        };
        let format = at.maybe("format")?.map(|f| f.text()).transpose()?;
        let is_auction = format == Some("AUCTION");
        if price.is_none() && status == ListingStatus::Active && !is_auction {
            // Published offers always have one, says the contract.
            at.get("pricingSummary")?.get("price")?;
        }
        if status == ListingStatus::Active && price.is_some_and(Money::is_zero) && !is_auction {
            // Nothing is sold for nothing: a zero is a misreading.
            let price = at.get("pricingSummary")?.get("price")?;
            return Err(price.drift("a price above zero"));
        }
        Ok(Self {
            offer_id: at.get("offerId")?.text()?.into(),
            sku: at.get("sku")?.text()?.into(),
            status,
            listing_id,
            is_auction,
            quantity: at.maybe("availableQuantity")?.map(|q| quantity(&q)).transpose()?,
            price,
        })
    }

    /// What a buyer sees at most, given what the SKU holds in all: see the module's text.
    pub(super) fn state(&self, at: &At<'_>, total: Option<Quantity>) -> Result<ListingState, Drift> {
        let quantity = match (self.quantity, total) {
            (Some(one), _) | (None, Some(one)) => one,
            (None, None) => quantity(&at.get("availableQuantity")?)?,
        };
        Ok(ListingState {
            status: self.status,
            quantity,
            price: self.price,
        })
    }
}

/// The members of `offers` in the answer of `getOffers`, which must be all that there are. Without the list there are none
/// only when the answer counts none.
pub(super) fn on_one_page<'a>(at: &At<'a>) -> Result<Vec<At<'a>>, Drift> {
    if let Some(next) = at.maybe("next")? {
        return Err(next.drift("all offers of one SKU on one page"));
    }
    let total = at.maybe("total")?;
    let counted = total.as_ref().map(At::int).transpose()?;
    let items = match (at.maybe("offers")?, counted) {
        (None, Some(0)) => Vec::new(),
        (None, _) => at.get("offers")?.items()?,
        (Some(list), _) => list.items()?,
    };
    match total.filter(|_| counted != i64::try_from(items.len()).ok()) {
        Some(total) => Err(total.drift("as many offers as are listed")),
        None => Ok(items),
    }
}

/// The fixed-price offers of `sku` in the answer of `getOffers`. Auctions take no quantity and are left out.
pub(super) fn list<'a>(at: &At<'a>, sku: &str) -> Result<Vec<(Offer, At<'a>)>, Drift> {
    let items = on_one_page(at)?;
    let mut offers = Vec::with_capacity(items.len());
    for item in items {
        let offer = Offer::read(&item)?;
        if *offer.sku != *sku {
            return Err(item.get("sku")?.drift(&format!("the SKU asked for, `{sku}`")));
        }
        if !offer.is_auction {
            offers.push((offer, item));
        }
    }
    Ok(offers)
}

/// The quantity that the inventory item `at` of `sku` holds for shipping, if it is set.
pub(super) fn total(at: &At<'_>, sku: &str) -> Result<Option<Quantity>, Drift> {
    let named = at.get("sku")?;
    if named.text()? != sku {
        return Err(named.drift(&format!("the SKU asked for, `{sku}`")));
    }
    let Some(availability) = at.maybe("availability")? else {
        return Ok(None);
    };
    let Some(ship) = availability.maybe("shipToLocationAvailability")? else {
        return Ok(None);
    };
    ship.maybe("quantity")?.map(|q| quantity(&q)).transpose()
}

fn quantity(at: &At<'_>) -> Result<Quantity, Drift> {
    Quantity::new(at.int()?).map_err(|bad| at.drift(&format!("a quantity from 0 to 1000000 ({bad})")))
}

fn money(at: &At<'_>) -> Result<Money, Drift> {
    let (value, code) = (at.get("value")?, at.get("currency")?);
    let currency: Currency = code.text()?.parse().map_err(|_unknown| {
        let known = Currency::ALL.map(Currency::code).join(", ");
        code.drift(&format!("one of {known}"))
    })?;
    let amount = json::digits(value.text()?).ok_or_else(|| value.drift("a decimal number as text"))?;
    Money::new(amount, currency).map_err(|bad| value.drift(&format!("an amount of {currency} ({bad})")))
}

/// Whether the offer is on sale, and its listing's key.
fn status(at: &At<'_>) -> Result<(ListingStatus, Option<Box<str>>), Drift> {
    let offer = at.get("status")?;
    match offer.text()? {
        "UNPUBLISHED" => Ok((ListingStatus::Ended, None)),
        "PUBLISHED" => {
            // "For published offers, this container is always returned".
            let listing = at.get("listing")?;
            let id = listing.maybe("listingId")?.map(|id| id.text()).transpose()?;
            let on_hold = listing.maybe("listingOnHold")?.map(|f| f.flag()).transpose()?;
            let shown = listing.get("listingStatus")?;
            let status = match shown.text()? {
                "ACTIVE" | "OUT_OF_STOCK" if on_hold == Some(true) => ListingStatus::Paused,
                "ACTIVE" | "OUT_OF_STOCK" => ListingStatus::Active,
                "ENDED" | "EBAY_ENDED" | "INACTIVE" | "NOT_LISTED" => ListingStatus::Ended,
                _ => return Err(shown.drift("a listing status of the contract")),
            };
            Ok((status, id.map(Into::into)))
        }
        _ => Err(offer.drift("PUBLISHED or UNPUBLISHED")),
    }
}

/// The body of `updateOffer` that makes `offer`, as eBay showed it, what `revision` says and changes nothing else.
pub(super) fn replacement(offer: &At<'_>, revision: &Revision) -> Result<Value, Drift> {
    let mut body = Map::new();
    for key in REPLACED {
        if let Some(member) = offer.maybe(key)? {
            body.insert(key.to_owned(), member.value().clone());
        }
    }
    if let Some(quantity) = revision.quantity {
        body.insert("availableQuantity".into(), quantity.get().into());
    }
    if let Some(price) = revision.price {
        let price = serde_json::to_value(Amount::from(price)).unwrap_or_default();
        let summary = body
            .entry("pricingSummary")
            .or_insert_with(|| Value::Object(Map::new()));
        match summary.as_object_mut() {
            Some(summary) => summary.insert("price".into(), price),
            None => return Err(offer.get("pricingSummary")?.drift("an object")),
        };
    }
    Ok(Value::Object(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Whichever of eBay's two documents is right, a buyer cannot have more than the offer holds, and what it holds is not
    /// gone because the SKU's own count is.
    #[test]
    fn what_the_offer_holds_counts_and_the_sku_only_where_it_holds_nothing_of_its_own() {
        let shown = |own: Option<i64>, total: Option<i64>| {
            let mut body = json!({
                "offerId": "9", "sku": "A", "status": "PUBLISHED", "format": "FIXED_PRICE",
                "listing": {"listingId": "1", "listingStatus": "ACTIVE"},
                "pricingSummary": {"price": {"value": "20.00", "currency": "USD"}},
            });
            if let Some(own) = own {
                body["availableQuantity"] = own.into();
            }
            let at = At::root("offer", &body);
            let total = total.map(|n| Quantity::new(n).unwrap());
            let state = Offer::read(&at).unwrap().state(&at, total);
            state.map(|s| s.quantity.get()).map_err(|drift| drift.path)
        };
        assert_eq!(shown(Some(5), Some(0)), Ok(5));
        assert_eq!(shown(Some(0), Some(5)), Ok(0));
        assert_eq!(shown(Some(2), None), Ok(2));
        assert_eq!(shown(None, Some(3)), Ok(3));
        assert_eq!(shown(None, None), Err("offer.availableQuantity".into()));
    }
}
