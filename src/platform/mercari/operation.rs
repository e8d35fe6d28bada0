//! What is asked of Mercari: fixed texts, with what differs in their variables.
//!
//! A text is never put together from values: what a SKU holds stays a value. Only fields are asked for that the documents
//! or programs in production name. One shape is not published, the input of `updateProductVariants`; it is taken to be a
//! list of what the single mutation takes. Should that be refused as a query, each listing is sent alone
//! (`super::stock`).

use super::super::{ListingRef, Revision};
use crate::domain::ListingStatus;
use serde_json::{Value, json};

/// One operation of the API.
#[derive(Debug)]
pub(super) struct Operation {
    /// Its name, in the text too.
    pub(super) name: &'static str,
    /// Its one field, under which the answer stands.
    pub(super) field: &'static str,
    /// Whether it changes something over there.
    pub(super) changes: bool,
    pub(super) text: &'static str,
}

/// Something harmless, of which no listing is the subject.
pub(super) const SHOP: Operation = Operation {
    name: "Shop",
    field: "shop",
    changes: false,
    text: "query Shop { shop { id } }",
};

/// What a SKU shows.
pub(super) const VARIANT: Operation = Operation {
    name: "ProductVariant",
    field: "productVariant",
    changes: false,
    text: "query ProductVariant($by: ProductVariantBy!) { productVariant(by: $by) { \
           id skuCode stockQuantity product { id status price } } }",
};

/// The stock of one SKU.
pub(super) const SET_STOCK: Operation = Operation {
    name: "UpdateProductVariant",
    field: "updateProductVariant",
    changes: true,
    text: "mutation UpdateProductVariant($by: ProductVariantBy!, $input: UpdateProductVariantInput!) { \
           updateProductVariant(by: $by, input: $input) { productVariant { id skuCode stockQuantity } } }",
};

/// The stock of up to 20 SKUs.
pub(super) const SET_STOCKS: Operation = Operation {
    name: "UpdateProductVariants",
    field: "updateProductVariants",
    changes: true,
    text: "mutation UpdateProductVariants($inputs: [UpdateProductVariantsInput!]!) { \
           updateProductVariants(inputs: $inputs) { productVariants { id skuCode stockQuantity } } }",
};

/// Price or visibility of a product.
pub(super) const SET_PRODUCT: Operation = Operation {
    name: "UpdateProduct",
    field: "updateProduct",
    changes: true,
    text: "mutation UpdateProduct($input: UpdateProductInput!) { \
           updateProduct(input: $input) { product { id status price } } }",
};

/// On sale.
pub(super) const OPENED: &str = "OPENED";
/// Kept, not on sale.
pub(super) const UNOPENED: &str = "UNOPENED";

/// What one entry of a bulk call is reckoned to cost, in hundredths of a point: the complexity of a query is not
/// published, and too dear is the safe side.
const ENTRY_COSTS: usize = 20;

/// The cost points of a request about `entries` SKUs or products.
pub(super) fn points(entries: usize) -> u32 {
    let points = entries.saturating_mul(ENTRY_COSTS).div_ceil(100).max(1);
    u32::try_from(points).unwrap_or(u32::MAX)
}

/// The variables of [`VARIANT`].
pub(super) fn by_sku(sku: &str) -> Value {
    json!({ "by": { "skuCode": sku } })
}

/// The variables of [`SET_STOCK`].
pub(super) fn stock(sku: &str, quantity: u32) -> Value {
    json!({ "by": { "skuCode": sku }, "input": { "stockQuantity": quantity } })
}

/// The variables of [`SET_STOCKS`], for those of `revisions` that name a quantity.
pub(super) fn stocks(revisions: &[&Revision]) -> Value {
    let entries = revisions
        .iter()
        .filter_map(|r| Some(stock(&r.listing.sku, r.quantity?.get())));
    json!({ "inputs": entries.collect::<Vec<_>>() })
}

/// The variables of [`SET_PRODUCT`] for a price in whole yen.
pub(super) fn price(listing: &ListingRef, yen: u32) -> Value {
    json!({ "input": { "id": listing.platform_product_id, "price": yen } })
}

/// The variables of [`SET_PRODUCT`] for a product that should be on sale, or not.
pub(super) fn visibility(listing: &ListingRef, wanted: ListingStatus) -> Value {
    let status = if wanted == ListingStatus::Active {
        OPENED
    } else {
        UNOPENED
    };
    json!({ "input": { "id": listing.platform_product_id, "status": status } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_names_its_operation_and_field_and_nothing_is_put_into_it() {
        for op in [SHOP, VARIANT, SET_STOCK, SET_STOCKS, SET_PRODUCT] {
            let kind = if op.changes { "mutation" } else { "query" };
            assert!(op.text.starts_with(&format!("{kind} {}", op.name)), "{}", op.text);
            assert!(op.text.contains(&format!("{{ {}", op.field)), "{}", op.text);
            assert_eq!(op.text.matches('{').count(), op.text.matches('}').count());
        }
    }

    #[test]
    fn a_request_costs_a_point_at_least_and_many_entries_cost_more() {
        assert_eq!([1, 5, 6, 20].map(points), [1, 1, 2, 4]);
    }
}
