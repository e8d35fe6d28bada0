//! What `zaikoban extract` prints of a saved page.

use super::{PageBytes, extract, source_product_id};
use crate::domain::{Currency, ItemStatus, Money, Observation, SourceProductId, TitleHash, UrlStatus};
use crate::platform::PlatformError;
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// A reading, field by field, as an operator or a script sees it. Amounts are numbers in `currency`.
///
/// Of a page that says clearly that the item was removed only `source_product_id`, `stock`, `status` and `url_status`
/// are known; the rest is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExtractReport {
    /// The item's id, as the page names it; of a removed page, as the address does.
    pub source_product_id: SourceProductId,
    /// The title.
    pub title: Option<Box<str>>,
    /// SHA-256 of the title, 64 hexadecimal digits.
    pub title_hash: Option<TitleHash>,
    /// What the page asks now, tax included.
    #[serde(serialize_with = "amount")]
    pub price: Option<Money>,
    /// The currency of both prices.
    pub currency: Currency,
    /// Pieces on offer.
    pub stock: u32,
    /// Open, ended or removed.
    pub status: ItemStatus,
    /// The buy-now price, tax included; null when there is none.
    #[serde(serialize_with = "amount")]
    pub buy_now_price: Option<Money>,
    /// When the auction ends or ended.
    pub ends_at: Option<DateTime<Utc>>,
    /// Number of bids.
    pub bids: Option<u32>,
    /// Whether the seller is a store.
    pub seller_is_store: Option<bool>,
    /// Whether the address still shows the item.
    pub url_status: UrlStatus,
}

impl From<Observation> for ExtractReport {
    fn from(seen: Observation) -> Self {
        Self {
            source_product_id: seen.source_product_id,
            title: Some(seen.title),
            title_hash: Some(seen.title_hash),
            currency: seen.price.currency(),
            price: Some(seen.price),
            stock: seen.stock.get(),
            status: seen.status,
            buy_now_price: seen.buy_now_price,
            ends_at: seen.ends_at,
            bids: Some(seen.bids),
            seller_is_store: Some(seen.seller_is_store),
            url_status: seen.url_status,
        }
    }
}

/// Reads a saved page that came from `url`.
///
/// # Errors
/// As [`extract`]; a page that is no item page is named whatever `url` is, and an item page needs an item's address
/// (code `not_an_item_url`).
pub fn report(
    content_type: Option<&str>,
    url: &str,
    body: &[u8],
    fetched_at: DateTime<Utc>,
) -> Result<ExtractReport, PlatformError> {
    let asked = source_product_id(url);
    let page = PageBytes {
        status: 200,
        content_type,
        url,
        asked: asked.as_ref().ok(),
        body,
    };
    match (extract(&page, fetched_at), asked) {
        (Ok(seen), Ok(_)) => Ok(seen.into()),
        (Ok(_), Err(error)) => Err(PlatformError {
            class: crate::domain::ErrorClass::Rejected,
            code: "not_an_item_url".into(),
            message: error.to_string().into(),
            missing: vec!["url".into()],
            body: None,
            away_for: None,
        }),
        (Err(error), Ok(id)) if &*error.code == "removed" => Ok(ExtractReport {
            source_product_id: id,
            title: None,
            title_hash: None,
            price: None,
            currency: Currency::Jpy,
            stock: 0,
            status: ItemStatus::Removed,
            buy_now_price: None,
            ends_at: None,
            bids: None,
            seller_is_store: None,
            url_status: UrlStatus::Dead,
        }),
        (Err(error), _) => Err(error),
    }
}

/// Writes an amount as a JSON number.
#[expect(clippy::ref_option, reason = "serde hands the field over by reference")]
fn amount<S: Serializer>(money: &Option<Money>, to: S) -> Result<S::Ok, S::Error> {
    use rust_decimal::prelude::ToPrimitive;
    match money.map(Money::amount) {
        None => to.serialize_none(),
        Some(amount) if amount.fract() == Decimal::ZERO => match amount.to_i64() {
            Some(whole) => to.serialize_i64(whole),
            None => to.collect_str(&amount),
        },
        Some(amount) => to.collect_str(&amount),
    }
}
