//! A seller's listing as Amazon shows it, and the change that is asked for.
//!
//! Amazon has no "ended": a listing stays, and with a quantity of 0 nobody can buy. What has pieces and cannot be bought is
//! suppressed, or still being worked on. It is *active* all the same: Amazon takes a price then, which may be what it was
//! suppressed for, and pieces that are sold out elsewhere must be gone before it can be bought again.

use super::account::amount;
use super::fault;
use crate::domain::{Currency, ErrorClass, ListingState, ListingStatus, Money, Quantity};
use crate::platform::json::{At, Drift};
use crate::platform::{PlatformError, Revision};
use serde_json::{Value, json};

/// The code of a quantity that only Amazon's warehouse sets.
pub const FBA: &str = "amazon_fba";
/// The code of a submission that was answered with `INVALID`.
pub const INVALID: &str = "amazon_invalid";
/// The seller's own stock.
const OWN_STOCK: &str = "DEFAULT";
/// What the codes of Amazon's own warehouses begin with: `AMAZON_JP`.
const WAREHOUSE: &str = "AMAZON_";
/// The most issues of one answer that are kept.
const MOST_ISSUES: usize = 50;
/// The most issues that are told in a line.
const MOST_TOLD: usize = 3;
/// The audience of an offer that everybody sees.
const EVERYBODY: &str = "ALL";

/// What a change needs to know of a listing, and does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Amazon's kind of product, which a change must name.
    pub(super) product_type: Box<str>,
    /// Amazon ships it, and alone counts its pieces.
    pub(super) is_fba: bool,
}

/// A listing as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) kind: Kind,
    /// What it is on the shop's pages, once it is there.
    pub(super) asin: Option<Box<str>>,
    pub(super) state: ListingState,
    /// What Amazon objects to: its errors, or that it has pieces and cannot be bought.
    pub(super) objection: Option<String>,
}

/// Reads of the answer of `getListingsItem` what a change must name. Amazon need not count what lies in its own warehouses.
pub(super) fn kind(at: &At<'_>, sku: &str, marketplace: &str) -> Result<Kind, Drift> {
    let summary = summary(at, sku, marketplace)?;
    let (is_fba, _) = channel(&at.get("fulfillmentAvailability")?)?;
    Ok(Kind {
        product_type: summary.get("productType")?.text()?.into(),
        is_fba,
    })
}

/// The summary of our marketplace, of the SKU asked for.
fn summary<'a>(at: &At<'a>, sku: &str, marketplace: &str) -> Result<At<'a>, Drift> {
    let named = at.get("sku")?;
    if named.text()? != sku {
        return Err(named.drift(&format!("the SKU asked for, `{sku}`")));
    }
    let summaries = at.get("summaries")?;
    let one = same(of_marketplace(&summaries, marketplace)?)?;
    one.ok_or_else(|| summaries.drift(&format!("a summary for `{marketplace}`")))
}

/// Reads the answer of `getListingsItem`.
pub(super) fn shown(at: &At<'_>, sku: &str, marketplace: &str, currency: Currency) -> Result<Shown, Drift> {
    let kind = kind(at, sku, marketplace)?;
    let summary = summary(at, sku, marketplace)?;
    let quantity = stock(&at.get("fulfillmentAvailability")?)?;
    let words = summary.get("status")?.items()?;
    let said: Vec<&str> = words.iter().map(At::text).collect::<Result<_, _>>()?;
    // Beside the word that says "on sale" others matter nothing. In its place, one may be its new name.
    let is_buyable = said.contains(&"BUYABLE");
    let strange = words.iter().zip(&said).find(|(_, said)| **said != "DISCOVERABLE");
    if let (false, Some((word, _))) = (is_buyable, strange) {
        return Err(word.drift("`BUYABLE` or `DISCOVERABLE`"));
    }
    let price = price(at, marketplace, currency)?;
    if is_buyable && price.is_none() {
        return Err(at.drift("a price, as it can be bought"));
    }
    let objection = objection(at, !is_buyable && !quantity.is_zero());
    Ok(Shown {
        kind,
        asin: summary
            .maybe("asin")?
            .map(|a| a.text())
            .transpose()?
            .map(Into::into),
        objection,
        state: ListingState {
            // Also when it cannot be bought: Amazon takes a change then as well, and may let it be bought at any moment.
            status: ListingStatus::Active,
            quantity,
            price,
        },
    })
}

/// What Amazon objects to, in a line: its errors; where it `hides` a listing that has pieces, whatever it says beside.
fn objection(at: &At<'_>, hides: bool) -> Option<String> {
    let list = at.value().get("issues").and_then(Value::as_array);
    let is_error = |issue: &&Value| issue.get("severity").and_then(Value::as_str) == Some("ERROR");
    let errors = list.map_or(0, |list| list.iter().filter(is_error).count());
    let counted = if hides { MOST_TOLD } else { errors.min(MOST_TOLD) };
    let said: Vec<String> = issues(at)
        .into_iter()
        .take(counted)
        .map(|(_, line)| line)
        .collect();
    match (said.is_empty(), hides) {
        (true, false) => None,
        (true, true) => Some("it cannot be bought, and no issue is named".to_owned()),
        (false, false) => Some(said.join("; ")),
        (false, true) => Some(format!("it cannot be bought: {}", said.join("; "))),
    }
}

/// The entries of our marketplace. One alone was asked about: a list of others' only is no answer.
pub(super) fn of_marketplace<'a>(list: &At<'a>, marketplace: &str) -> Result<Vec<At<'a>>, Drift> {
    let mut ours = Vec::new();
    let all = list.items()?;
    let said = !all.is_empty();
    for each in all {
        if each.get("marketplaceId")?.text()? == marketplace {
            ours.push(each);
        }
    }
    if said && ours.is_empty() {
        return Err(list.drift(&format!("an entry of the marketplace {marketplace}")));
    }
    Ok(ours)
}

/// The one that is there; of several they must all say the same, for nothing tells which of them counts.
fn same(all: Vec<At<'_>>) -> Result<Option<At<'_>>, Drift> {
    let mut all = all.into_iter();
    let first = all.next();
    let other = first
        .as_ref()
        .and_then(|first| all.find(|other| other.value() != first.value()));
    match other {
        Some(other) => Err(other.drift("the same as the one before it")),
        None => Ok(first),
    }
}

/// Whether Amazon ships it, and the entry that counts.
fn channel<'a>(list: &At<'a>) -> Result<(bool, At<'a>), Drift> {
    let items = list.items()?;
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    for each in items {
        let channel = each.get("fulfillmentChannelCode")?;
        match channel.text()? {
            OWN_STOCK => own.push(each),
            theirs_of if theirs_of.starts_with(WAREHOUSE) => theirs.push(each),
            _ => return Err(channel.drift("DEFAULT or AMAZON_…")),
        }
    }
    match (same(own)?, theirs.as_slice()) {
        (Some(own), []) => Ok((false, own)),
        (None, [only]) => Ok((true, only.clone())),
        (Some(own), both) => {
            // What lies in a warehouse of Amazon can be bought whatever we say of our own.
            for warehouse in both {
                if !pieces(warehouse)?.is_zero() {
                    return Err(list.drift("pieces in our stock or in a warehouse of Amazon, not in both"));
                }
            }
            Ok((false, own))
        }
        (None, _) => Err(list.drift("the availability of `DEFAULT`, or of one warehouse of Amazon")),
    }
}

/// How many pieces are for sale.
fn stock(list: &At<'_>) -> Result<Quantity, Drift> {
    let (_, counts) = channel(list)?;
    pieces(&counts)
}

fn pieces(at: &At<'_>) -> Result<Quantity, Drift> {
    let count = at.get("quantity")?;
    Quantity::new(count.int()?).map_err(|bad| count.drift(&bad.to_string()))
}

/// What everybody pays; prices for companies, or for a part of the buyers (`audience`), are other offers.
fn price(at: &At<'_>, marketplace: &str, currency: Currency) -> Result<Option<Money>, Drift> {
    let Some(offers) = at.maybe("offers")? else {
        return Ok(None);
    };
    let mut ours = Vec::new();
    for offer in of_marketplace(&offers, marketplace)? {
        let kind = offer.get("offerType")?;
        match kind.text()? {
            "B2C" => {}
            "B2B" => continue,
            _ => return Err(kind.drift("`B2C` or `B2B`")),
        }
        let audience = offer.maybe("audience")?.map(|audience| audience.get("value"));
        if audience
            .transpose()?
            .map(|value| value.text())
            .transpose()?
            .is_none_or(|who| who == EVERYBODY)
        {
            ours.push(offer.get("price")?);
        }
    }
    let Some(price) = same(ours)? else {
        return Ok(None);
    };
    let digits = amount(&price, ("currencyCode", "amount"), currency)?;
    let money = Money::new(digits, currency).map_err(|bad| price.drift(&bad.to_string()))?;
    // Nothing is sold for nothing: a zero is a misreading.
    (!money.is_zero())
        .then_some(Some(money))
        .ok_or_else(|| price.drift("a price above zero"))
}

/// The body of `patchListingsItem`: only what differs, and nothing else of the attributes is touched (`merge`).
pub(super) fn patch(kind: &Kind, marketplace: &str, revision: &Revision) -> Value {
    let mut patches = Vec::new();
    if let Some(price) = revision.price {
        patches.push(price_patch(marketplace, price));
    }
    if let Some(quantity) = revision.quantity {
        patches.push(json!({
            "op": "merge",
            "path": "/attributes/fulfillment_availability",
            "value": [{"fulfillment_channel_code": OWN_STOCK, "quantity": quantity.get()}],
        }));
    }
    json!({"productType": kind.product_type, "patches": patches})
}

/// The part of a change that sets the price.
pub(super) fn price_patch(marketplace: &str, price: Money) -> Value {
    json!({
        "op": "merge",
        "path": "/attributes/purchasable_offer",
        "value": [{
            "marketplace_id": marketplace,
            "currency": price.currency().code(),
            "our_price": [{"schedule": [{"value_with_tax": number(price)}]}],
        }],
    })
}

/// An amount as a JSON number with all its digits.
fn number(price: Money) -> Value {
    let digits = price.amount().normalize().to_string();
    serde_json::from_str(&digits).unwrap_or(Value::String(digits))
}

/// What the answer of `patchListingsItem` says. `is_preview`: nothing was asked to change.
///
/// # Errors
/// `INVALID` is a refusal with the issues kept; whether something was done is not known when the answer says neither.
pub(super) fn submitted(
    doing: &str,
    at: &At<'_>,
    sku: &str,
    is_preview: bool,
) -> Result<Vec<Box<str>>, PlatformError> {
    let issues = issues(at);
    let body = || fault::kept(at.value().to_string().as_bytes());
    let read = || -> Result<&str, Drift> {
        let named = at.get("sku")?;
        if named.text()? != sku {
            return Err(named.drift(&format!("the SKU sent, `{sku}`")));
        }
        at.get("submissionId")?.text()?;
        let status = at.get("status")?;
        match status.text()? {
            word @ "INVALID" => Ok(word),
            word @ "ACCEPTED" if !is_preview => Ok(word),
            word @ "VALID" if is_preview => Ok(word),
            _ => Err(status.drift(if is_preview {
                "VALID or INVALID"
            } else {
                "ACCEPTED or INVALID"
            })),
        }
    };
    match read() {
        Ok("INVALID") => {
            let said = issues.first().map_or("no reason given", |(_, text)| text);
            Err(PlatformError {
                class: ErrorClass::Rejected,
                code: INVALID.into(),
                message: format!(
                    "Amazon did not {doing}: {said} ({} issues, INVALID)",
                    issues.len()
                )
                .into(),
                missing: Vec::new(),
                body: body(),
                away_for: None,
            })
        }
        Ok(_) => Ok(issues.into_iter().map(|(whole, _)| whole).collect()),
        Err(drift) => Err(fault::contract(
            &format!("tell whether it did {doing}"),
            &drift,
            body(),
        )),
    }
}

/// The issues of an answer, each whole and as a line for people; errors before warnings.
fn issues(at: &At<'_>) -> Vec<(Box<str>, String)> {
    let list = at.value().get("issues").and_then(Value::as_array);
    let mut issues: Vec<&Value> = list.map(|list| list.iter().collect()).unwrap_or_default();
    issues.sort_by_key(|issue| issue.get("severity").and_then(Value::as_str) != Some("ERROR"));
    let line = |issue: &Value| {
        let text = |key: &str| issue.get(key).and_then(Value::as_str).unwrap_or_default();
        let line = format!("{} ({})", text("message"), text("code"));
        line.chars().take(500).collect()
    };
    let whole = |issue: &Value| issue.to_string().chars().take(4_000).collect::<String>();
    issues
        .iter()
        .take(MOST_ISSUES)
        .map(|issue| (whole(issue).into(), line(issue)))
        .collect()
}

#[cfg(test)]
mod tests;
