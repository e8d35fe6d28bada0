//! What Mercari shows: a variant of a product, and the product.
//!
//! An answer about another SKU or product than the one asked for is no answer, and a value that is missing is an error:
//! never a zero.

use super::fault::{self};
use super::operation::{OPENED, UNOPENED};
use crate::domain::{ErrorClass, ListingRef, ListingState, ListingStatus, Money, Quantity};
use crate::platform::PlatformError;
use crate::platform::json::{At, Drift};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;
use std::ops::RangeInclusive;

/// The prices that Mercari takes, in yen.
pub const PRICES: RangeInclusive<u32> = 300..=9_999_999;
/// The code of a price that Mercari would not take.
pub const BAD_PRICE: &str = "mercari_bad_price";

/// One variant with its product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) product_id: Box<str>,
    pub(super) state: ListingState,
}

impl Variant {
    /// Reads what stands under `productVariant` about `sku`.
    pub(super) fn read(at: &At<'_>, sku: &str) -> Result<Self, Drift> {
        let quantity = stock_of(at, sku)?;
        let product = at.get("product")?;
        Ok(Self {
            product_id: product.get("id")?.text()?.into(),
            state: ListingState {
                status: status(&product.get("status")?)?,
                quantity,
                price: Some(price(&product.get("price")?)?),
            },
        })
    }

    /// Whether it belongs to the product of `listing`.
    pub(super) fn check(&self, at: &At<'_>, listing: &ListingRef) -> Result<(), Drift> {
        if self.product_id == listing.platform_product_id {
            return Ok(());
        }
        let expected = format!("the listing's product, `{}`", listing.platform_product_id);
        Err(at.get("product")?.get("id")?.drift(&expected))
    }
}

/// What the variant `at` of `sku` holds.
pub(super) fn stock_of(at: &At<'_>, sku: &str) -> Result<Quantity, Drift> {
    let named = at.get("skuCode")?;
    if named.text()? != sku {
        return Err(named.drift(&format!("the SKU asked for, `{sku}`")));
    }
    let stock = at.get("stockQuantity")?;
    Quantity::new(stock.int()?).map_err(|bad| stock.drift(&format!("a quantity from 0 to 1000000 ({bad})")))
}

/// Checks that the variant `at` of `sku` holds what was set.
pub(super) fn holds(at: &At<'_>, sku: &str, wanted: Quantity) -> Result<(), Drift> {
    if stock_of(at, sku)? == wanted {
        return Ok(());
    }
    Err(at.get("stockQuantity")?.drift(&format!("what was set, {wanted}")))
}

/// What a product should show after a change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shows {
    /// This price, in yen.
    Price(u32),
    /// On sale, or not.
    Status(ListingStatus),
}

/// Checks that the answer of `updateProduct` is about the product of `listing` and shows what was set.
pub(super) fn shows(at: &At<'_>, listing: &ListingRef, wanted: Shows) -> Result<(), Drift> {
    let product = at.get("product")?;
    let id = product.get("id")?;
    if id.text()? != &*listing.platform_product_id {
        return Err(id.drift(&format!(
            "the product asked for, `{}`",
            listing.platform_product_id
        )));
    }
    match wanted {
        Shows::Price(yen) => {
            let shown = product.get("price")?;
            match shown.int()? == i64::from(yen) {
                true => Ok(()),
                false => Err(shown.drift(&format!("what was set, {yen}"))),
            }
        }
        Shows::Status(wanted) => {
            let shown = product.get("status")?;
            match status(&shown)? == wanted {
                true => Ok(()),
                false => Err(shown.drift(&format!("the status that was set ({wanted})"))),
            }
        }
    }
}

/// A third status, whatever it means, is no guess of ours.
fn status(at: &At<'_>) -> Result<ListingStatus, Drift> {
    match at.text()? {
        OPENED => Ok(ListingStatus::Active),
        UNOPENED => Ok(ListingStatus::Ended),
        _ => Err(at.drift("OPENED or UNOPENED")),
    }
}

/// A price as Mercari shows it: whole yen. Nothing is sold for nothing: a zero is a misreading.
fn price(at: &At<'_>) -> Result<Money, Drift> {
    let expected = "a price in whole yen";
    let yen = at.int()?;
    Money::yen(yen)
        .ok()
        .filter(|money| !money.is_zero())
        .ok_or_else(|| at.drift(expected))
}

/// `price` as Mercari takes it.
///
/// # Errors
/// When it is not whole yen from 300 to 9,999,999: class `Rejected`, code [`BAD_PRICE`].
pub(super) fn yen_of(price: Money) -> Result<u32, PlatformError> {
    let yen = (price.currency() == crate::domain::Currency::Jpy && price.amount().fract() == Decimal::ZERO)
        .then(|| price.amount().to_u32())
        .flatten();
    yen.filter(|yen| PRICES.contains(yen)).ok_or_else(|| {
        let message = format!(
            "Mercari takes prices in whole yen from {} to {}, not {price}; give the product another price (a floor or a \
             ceiling under `pricing.destinations.mercari` keeps it within)",
            PRICES.start(),
            PRICES.end()
        );
        fault::error(ErrorClass::Rejected, BAD_PRICE, message, None)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Currency;
    use serde_json::{Value, json};

    fn shown(patch: &Value) -> Result<Variant, Drift> {
        let mut whole = json!({
            "id": "v", "skuCode": "a", "stockQuantity": 3, "later": {"more": true},
            "product": {"id": "p", "status": "OPENED", "price": 1200, "name": "在"},
        });
        for (key, value) in patch.as_object().unwrap() {
            whole[key] = value.clone();
        }
        Variant::read(&At::root("productVariant", &whole), "a")
    }

    #[test]
    fn a_variant_is_read_with_its_product_and_what_is_unknown_beside_it_does_not_matter() {
        let variant = shown(&json!({})).unwrap();
        assert_eq!(&*variant.product_id, "p");
        assert_eq!(variant.state.price, Money::yen(1_200).ok());
        assert_eq!(
            (variant.state.status, variant.state.quantity.get()),
            (ListingStatus::Active, 3)
        );
    }

    #[test]
    fn what_is_missing_odd_or_about_something_else_is_an_error_and_never_a_zero() {
        let product =
            |status: Value, price: Value| json!({"product": {"id": "p", "status": status, "price": price}});
        for (patch, path) in [
            (json!({"stockQuantity": null}), "productVariant.stockQuantity"),
            (json!({"stockQuantity": "3"}), "productVariant.stockQuantity"),
            (json!({"stockQuantity": -1}), "productVariant.stockQuantity"),
            (json!({"stockQuantity": 1.5}), "productVariant.stockQuantity"),
            (json!({"skuCode": "b"}), "productVariant.skuCode"),
            (json!({"product": null}), "productVariant.product"),
            (
                product(json!("DRAFT"), json!(300)),
                "productVariant.product.status",
            ),
            (
                product(json!("opened"), json!(300)),
                "productVariant.product.status",
            ),
            (
                product(json!("OPENED"), json!(null)),
                "productVariant.product.price",
            ),
            (
                product(json!("OPENED"), json!("300")),
                "productVariant.product.price",
            ),
            (
                product(json!("OPENED"), json!(300.5)),
                "productVariant.product.price",
            ),
            (product(json!("OPENED"), json!(0)), "productVariant.product.price"),
            (
                product(json!("OPENED"), json!(-300)),
                "productVariant.product.price",
            ),
        ] {
            assert_eq!(shown(&patch).unwrap_err().path, path, "{patch}");
        }
    }

    #[test]
    fn only_whole_yen_within_bounds_are_a_price() {
        for (yen, fits) in [(299, false), (300, true), (9_999_999, true), (10_000_000, false)] {
            assert_eq!(yen_of(Money::yen(yen).unwrap()).is_ok(), fits, "{yen}");
        }
        let dollars = Money::new(Decimal::from(500), Currency::Usd).unwrap();
        let error = yen_of(dollars).unwrap_err();
        assert_eq!((error.class, &*error.code), (ErrorClass::Rejected, BAD_PRICE));
    }
}
