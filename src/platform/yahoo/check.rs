//! From the two JSON objects to an observation: every fact that stands on the page twice must agree.
//!
//! Why so strict: a listing follows what is read here. A wrong "sold out" empties a shop, a wrong price sells at a
//! loss, and a page that changed its shape looks exactly like a page that changed its content to whoever reads only
//! one place. So a contradiction is a contract failure that names both places, and nothing is read from such a page.
//!
//! - *Buy-now*: `item.bidorbuy` is simply not there when there is none, so its absence counts only when
//!   `pageData.items.winPrice` (which is the buy-now price, whatever it is called) says "0".
//! - *Store tax*: a store's `price` is without tax. What a buyer pays is `taxinPrice`, believed when it equals the price
//!   and its tax rounded down; where it is not given, it is computed so from `taxRate`. `pageData` may show either.
//! - *Flea-market items* on an auction page have one fixed price: it is the buy-now price, if both places say so.
//! - *Seller*: another one is another item, and empties a listing; the id must agree with the address of the seller's
//!   list, where that is given.
//! - *End*: `endTime` must agree with the two other places where the same instant stands, where they are given.

use super::refusal::{Code, Refusal};
use super::wire::{Item, PageData};
use super::{number, title};
use crate::domain::{
    DataSource, ItemStatus, Money, Observation, Quantity, SourceProductId, TitleHash, UrlStatus,
};
use chrono::{DateTime, FixedOffset, NaiveDateTime, Utc};

/// Consumption tax in per cent: the general rate and the one for food, tried where a store's page names none.
const TAX_RATES_PERCENT: [i64; 2] = [10, 8];

/// Collects what contradicts, so that a refusal names all of it at once.
#[derive(Default)]
struct Contradictions {
    paths: Vec<Box<str>>,
    reasons: Vec<String>,
}

impl Contradictions {
    fn note(&mut self, paths: &[&str], reason: impl Into<String>) {
        for path in paths {
            if !self.paths.iter().any(|known| **known == **path) {
                self.paths.push((*path).into());
            }
        }
        self.reasons.push(reason.into());
    }

    fn ok<T>(&mut self, value: Result<T, String>, path: &str) -> Option<T> {
        value.map_err(|reason| self.note(&[path], reason)).ok()
    }
}

/// The observation that both objects agree on.
pub(super) fn observation(
    item: &Item<'_>,
    data: &PageData<'_>,
    asked: Option<&SourceProductId>,
    fetched_at: DateTime<Utc>,
) -> Result<Observation, Refusal> {
    let mut wrong = Contradictions::default();
    let id = wrong.ok(
        SourceProductId::new(item.auction_id).map_err(|error| error.to_string()),
        "item.auctionId",
    );
    if data.product_id != item.auction_id {
        wrong.note(
            &["item.auctionId", "pageData.items.productID"],
            format!(
                "`{}` and `{}` are two items",
                cut(item.auction_id),
                cut(data.product_id)
            ),
        );
    } else if let (Some(asked), Some(id)) = (asked, &id)
        && asked != id
    {
        return Err(Refusal::naming(
            Code::OtherItem,
            "item.auctionId",
            format!("asked for `{asked}`, the page shows `{id}`"),
        ));
    }
    let title = wrong.ok(title::clean(item.title), "item.title");
    let open = status(item, data, &mut wrong);
    let is_store = item.seller.is_store;
    if is_store != (data.is_store == "1") {
        wrong.note(
            &["item.seller.isStore", "pageData.items.isStore"],
            format!("the seller is a store: {is_store} and `{}`", data.is_store),
        );
    }
    let seller_id = seller(item, &mut wrong);
    let price = price(item, data, &mut wrong);
    let buy_now = buy_now(item, data, price, &mut wrong);
    if number::count(data.quantity) != Some(item.quantity) {
        wrong.note(
            &["item.quantity", "pageData.items.quantity"],
            format!("{} pieces and `{}`", item.quantity, cut(data.quantity)),
        );
    }
    if open && item.quantity == 0 {
        wrong.note(&["item.quantity"], "open with nothing on offer");
    }
    // The flea market has no bids; its lists show a placeholder of 1, so the two places need not agree there.
    if !item.is_flea_market && number::count(data.bids) != Some(i64::from(item.bids)) {
        wrong.note(
            &["item.bids", "pageData.items.bids"],
            format!("{} bids and `{}`", item.bids, cut(data.bids)),
        );
    }
    let ends_at = ends_at(item, data, &mut wrong);
    let stock = wrong.ok(
        Quantity::new(if open { item.quantity } else { 0 }).map_err(|error| error.to_string()),
        "item.quantity",
    );
    let money = |yen: i64| Money::yen(yen).map_err(|error| error.to_string());
    let shown = price.and_then(|yen| wrong.ok(money(yen), "item.price"));
    let buy_now = match buy_now {
        Some(yen) => wrong.ok(money(yen), "item.bidorbuy").map(Some),
        None => Some(None),
    };
    if wrong.reasons.is_empty()
        && let (Some(id), Some(title), Some(price), Some(buy_now_price), Some(stock), Some(ends_at)) =
            (id, title, shown, buy_now, stock, ends_at)
    {
        return Ok(Observation {
            source_product_id: id,
            title_hash: TitleHash::of(&title),
            title,
            price,
            buy_now_price,
            stock,
            status: if open { ItemStatus::Open } else { ItemStatus::Ended },
            ends_at: Some(ends_at),
            bids: item.bids,
            seller_is_store: is_store,
            seller_id: seller_id.map(Into::into),
            url_status: UrlStatus::Active,
            data_source: DataSource::YahooPage,
            fetched_at,
        });
    }
    Err(Refusal {
        code: Code::Contract,
        what: wrong.reasons.join("; "),
        missing: wrong.paths,
    })
}

fn status(item: &Item<'_>, data: &PageData<'_>, wrong: &mut Contradictions) -> bool {
    let open = item.status == "open";
    // The schema lets only these two values through; it is said again here because everything hangs on it.
    if !open && item.status != "closed" {
        wrong.note(&["item.status"], format!("unknown status `{}`", cut(item.status)));
    }
    if open == (data.is_closed == "1") {
        wrong.note(
            &["item.status", "pageData.items.isClosed"],
            format!("status `{}` and isClosed `{}`", cut(item.status), data.is_closed),
        );
    }
    open
}

/// Who sells it, if the page says so; the two places that do must name the same.
fn seller<'a>(item: &Item<'a>, wrong: &mut Contradictions) -> Option<&'a str> {
    let id = item.seller.auc_user_id.filter(|id| !id.is_empty());
    if let Some(list) = item.seller.list_url.filter(|list| !list.is_empty())
        && id.is_none_or(|id| seller_of_list(list) != Some(id))
    {
        wrong.note(
            &["item.seller.aucUserId", "item.seller.listUrl"],
            format!(
                "sold by `{}`, whose list is `{}`",
                cut(id.unwrap_or_default()),
                cut(list)
            ),
        );
    }
    id
}

/// The seller that an address such as `https://auctions.yahoo.co.jp/seller/<id>?user_type=c` names.
pub(super) fn seller_of_list(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("/seller/")?;
    rest.split(['?', '#', '/']).next().filter(|id| !id.is_empty())
}

/// What a buyer pays: the current price, tax included.
fn price(item: &Item<'_>, data: &PageData<'_>, wrong: &mut Contradictions) -> Option<i64> {
    let paid = with_tax(
        item,
        item.price,
        item.taxin_price,
        ["item.price", "item.taxinPrice"],
        wrong,
    )?;
    let shown = number::count(data.price);
    if shown != Some(item.price) && shown != Some(paid) {
        wrong.note(
            &["item.price", "pageData.items.price"],
            format!("{} yen and `{}`", item.price, cut(data.price)),
        );
        return None;
    }
    Some(paid)
}

/// The buy-now price, tax included; `None` when it is confirmed that there is none, or when something is wrong.
fn buy_now(
    item: &Item<'_>,
    data: &PageData<'_>,
    price: Option<i64>,
    wrong: &mut Contradictions,
) -> Option<i64> {
    const BOTH: [&str; 2] = ["item.bidorbuy", "pageData.items.winPrice"];
    let Some(shown) = number::count(data.win_price) else {
        wrong.note(
            &["pageData.items.winPrice"],
            format!("`{}` is no number", cut(data.win_price)),
        );
        return None;
    };
    match item.bidorbuy {
        Some(asked) => {
            let paid = with_tax(
                item,
                asked,
                item.taxin_bidorbuy,
                ["item.bidorbuy", "item.taxinBidorbuy"],
                wrong,
            )?;
            if shown != asked && shown != paid {
                wrong.note(&BOTH, format!("buy-now {asked} yen and `{shown}`"));
                return None;
            }
            Some(paid)
        }
        None if item.is_flea_market => {
            // No such page was ever captured, so both places must say that the price is a fixed one.
            if shown != item.price && Some(shown) != price {
                wrong.note(
                    &["item.isFleaMarket", BOTH[0], BOTH[1]],
                    format!("a fixed price of {} yen and `{shown}`", item.price),
                );
            }
            price
        }
        None => {
            if shown != 0 {
                wrong.note(&BOTH, format!("no buy-now price, yet `{shown}`"));
            } else if item.taxin_bidorbuy.is_some() {
                wrong.note(
                    &["item.bidorbuy", "item.taxinBidorbuy"],
                    "no buy-now price, yet one with tax",
                );
            }
            None
        }
    }
}

/// `net` with the seller's tax; `path` and `gross_path` name the two prices.
fn with_tax(
    item: &Item<'_>,
    net: i64,
    given: Option<i64>,
    [path, gross_path]: [&str; 2],
    wrong: &mut Contradictions,
) -> Option<i64> {
    if !item.seller.is_store {
        // Private sellers charge no tax, and their items carry no such keys.
        if given.is_some_and(|given| given != net) {
            wrong.note(
                &[gross_path, "item.seller.isStore"],
                "tax on a private seller's item",
            );
            return None;
        }
        return Some(net);
    }
    // Measured on store rows of search pages: the tax is rounded down.
    let taxed = |rate: i64| {
        net.checked_mul(rate.checked_add(100)?)
            .map(|hundredfold| hundredfold / 100)
    };
    let computed = item.tax_rate.map(taxed);
    match (given, computed) {
        (Some(given), Some(Some(computed))) if given == computed => Some(given),
        (Some(given), None)
            if TAX_RATES_PERCENT
                .into_iter()
                .any(|rate| taxed(rate) == Some(given)) =>
        {
            Some(given)
        }
        (None, Some(Some(computed))) => Some(computed),
        (None, None) => {
            wrong.note(
                &[gross_path, "item.taxRate"],
                "a store's price with neither tax nor tax rate",
            );
            None
        }
        _ => {
            wrong.note(
                &[path, gross_path, "item.taxRate"],
                format!("{net} yen do not become {given:?} at {:?} % tax", item.tax_rate),
            );
            None
        }
    }
}

fn ends_at(item: &Item<'_>, data: &PageData<'_>, wrong: &mut Contradictions) -> Option<DateTime<Utc>> {
    let Ok(end) = DateTime::parse_from_rfc3339(item.end_time) else {
        wrong.note(
            &["item.endTime"],
            format!(
                "expected a time such as 2026-08-02T22:58:02+09:00, got `{}`",
                cut(item.end_time)
            ),
        );
        return None;
    };
    let end = end.with_timezone(&Utc);
    if let Some(seconds) = item.time_for_ult.as_ref().and_then(|t| t.end_time)
        && seconds != end.timestamp()
    {
        wrong.note(
            &["item.endTime", "item.timeForUlt.endTime"],
            format!("ends at {} s and at {seconds} s", end.timestamp()),
        );
    }
    if let Some(text) = data.endtime {
        let said = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S")
            .ok()
            .and_then(in_japan);
        if said.map(|t| t.timestamp()) != Some(end.timestamp()) {
            wrong.note(
                &["item.endTime", "pageData.items.endtime"],
                format!("ends at {end} and at `{}`", cut(text)),
            );
        }
    }
    Some(end)
}

/// A time of day in Japan, where no clock is ever put forward or back.
pub(super) fn in_japan(local: NaiveDateTime) -> Option<DateTime<Utc>> {
    const JST_SECONDS: i32 = 9 * 3600;
    let zone = FixedOffset::east_opt(JST_SECONDS)?;
    Some(local.and_local_timezone(zone).single()?.with_timezone(&Utc))
}

/// Enough of a text from outside to recognise it.
fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}
