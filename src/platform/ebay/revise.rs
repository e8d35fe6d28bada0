//! `bulkUpdatePriceQuantity`: what is sent, and what its answer says about each listing.
//!
//! Both halves are functions of values. The published contract leaves three things open, and this is how they are read:
//!
//! - *How many SKUs a call may name.* The operation says one; its field, and eBay's guide to bulk updates, say up to 25.
//!   One is sent, unless the settings say more. When eBay refuses a call with more as a whole, every entry is answered with
//!   [`BATCH_REFUSED`], which the gateway takes as the order to send each alone, and a refusal that speaks of one SKU is
//!   remembered.
//! - *What a success is.* 200 and 207 both hold a list, and each listing's own entry decides: its `statusCode` is a
//!   success, and it holds no error. An entry for the SKU alone (without `offerId`) counts for all its offers.
//! - *What silence means.* A listing without an entry, with two, or with one that cannot be read may or may not have
//!   been changed: it is reported as unknown and read back.
//!
//! The offer's `availableQuantity` overrides the SKU's quantity, and should not exceed it; so both are sent together.
//! Only what a revision names is sent: a price alone leaves both quantities out.

use super::client::Reply;
use super::fault::{self, Fault, faults_in, judge, warnings_in};
use super::json::{self, At, Drift};
use crate::domain::{ErrorClass, Money};
use crate::platform::gateway::BATCH_REFUSED;
use crate::platform::lost::Lost;
use crate::platform::{EntryOutcome, Revision};
use serde::Serialize;
use serde_json::Value;

/// The most entries of one call.
pub(super) const MAX_ENTRIES: usize = 25;

#[derive(Debug, Serialize)]
struct BulkPriceQuantity<'a> {
    requests: Vec<PriceQuantity<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PriceQuantity<'a> {
    sku: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ship_to_location_availability: Option<ShipToLocation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offers: Vec<OfferPriceQuantity<'a>>,
}

#[derive(Debug, Serialize)]
struct ShipToLocation {
    quantity: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfferPriceQuantity<'a> {
    offer_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    available_quantity: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<Amount>,
}

/// Money as eBay writes it: the number as text with the currency's digits, beside the code.
#[derive(Debug, Serialize)]
pub(super) struct Amount {
    value: String,
    currency: &'static str,
}

impl From<Money> for Amount {
    fn from(money: Money) -> Self {
        let digits = usize::try_from(money.currency().minor_digits()).unwrap_or(2);
        Self {
            value: format!("{:.digits$}", money.amount()),
            currency: money.currency().code(),
        }
    }
}

/// The body of one call for `revisions`, which name different offers. Offers of one SKU share one entry.
pub(super) fn body(revisions: &[&Revision]) -> Value {
    let mut requests: Vec<PriceQuantity<'_>> = Vec::with_capacity(revisions.len());
    for revision in revisions {
        let sku = &*revision.listing.sku;
        let offer = OfferPriceQuantity {
            offer_id: &revision.listing.platform_product_id,
            available_quantity: revision.quantity.map(|q| q.get()),
            price: revision.price.map(Amount::from),
        };
        match requests.iter_mut().find(|r| r.sku == sku) {
            Some(request) => request.offers.push(offer),
            None => requests.push(PriceQuantity {
                sku,
                ship_to_location_availability: total(revisions, sku),
                offers: vec![offer],
            }),
        }
    }
    encode(&BulkPriceQuantity { requests })
}

/// The SKU alone, for an offer that is not published: the call takes no unpublished offers, but inventory items.
pub(super) fn body_of_sku(sku: &str, quantity: u32) -> Value {
    encode(&BulkPriceQuantity {
        requests: vec![PriceQuantity {
            sku,
            ship_to_location_availability: Some(ShipToLocation { quantity }),
            offers: Vec::new(),
        }],
    })
}

/// Texts, numbers and lists always have a JSON form.
fn encode(body: &BulkPriceQuantity<'_>) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

/// What the SKU holds in all when its offers hold what `revisions` say: the largest; `None` when no quantity is sent.
fn total(revisions: &[&Revision], sku: &str) -> Option<ShipToLocation> {
    let of_sku = || revisions.iter().filter(|r| *r.listing.sku == *sku);
    of_sku().find(|r| r.quantity.is_some())?;
    let quantity = of_sku().map(|r| r.quantity.unwrap_or(r.confirmed.quantity).get());
    quantity.max().map(|quantity| ShipToLocation { quantity })
}

/// One member of the answer's list.
struct Entry<'a> {
    at: At<'a>,
    sku: Option<&'a str>,
    offer_id: Option<&'a str>,
    /// Its `statusCode`, or why that or its errors cannot be read.
    status: Result<u16, Drift>,
    errors: Vec<Fault>,
}

impl<'a> Entry<'a> {
    fn read(at: &At<'a>) -> Result<Self, Drift> {
        let text = |key| at.maybe(key)?.map(|v| v.text()).transpose();
        let status = at.get("statusCode").and_then(|at| {
            let status = at.int()?;
            u16::try_from(status).map_err(|_out_of_range| at.drift("an HTTP status"))
        });
        let errors = fault::errors_in(at);
        let status = match &errors {
            Err(drift) => Err(drift.clone()),
            Ok(_) => status,
        };
        Ok(Self {
            sku: text("sku")?,
            offer_id: text("offerId")?,
            status,
            errors: errors.unwrap_or_default(),
            at: at.clone(),
        })
    }

    fn is_success(&self) -> bool {
        matches!(self.status, Ok(200..=299)) && self.errors.is_empty()
    }

    /// What this entry says about `doing`. `beside` tells that another entry of the SKU says that something was applied.
    fn outcome(&self, doing: &str, beside: bool) -> EntryOutcome {
        let status = match &self.status {
            Ok(status) => *status,
            Err(drift) => return unknown(doing, drift, self.at.value()),
        };
        if self.is_success() {
            return EntryOutcome::Accepted {
                warnings: warnings_in(&self.at),
            };
        }
        let verdict = judge(status, &self.errors, None);
        let body = fault::kept(self.at.value().to_string().as_bytes());
        EntryOutcome::Failed {
            error: fault::error(doing, status, &verdict, body),
            unknown: !(400..500).contains(&status) || status == 408 || beside,
        }
    }
}

/// What a call said.
pub(super) struct Read {
    /// One outcome for each revision sent, in order.
    pub(super) outcomes: Vec<EntryOutcome>,
    /// The call was refused because it named more than one SKU.
    pub(super) one_sku_only: bool,
    /// Entries about offers or SKUs that nobody asked about, or that could not be read.
    pub(super) strangers: usize,
}

/// What `doing` means for one revision, in messages.
pub(super) fn doing(revision: &Revision) -> String {
    let listing = &revision.listing;
    format!(
        "revise offer `{}` of SKU `{}`",
        listing.platform_product_id, listing.sku
    )
}

/// What `reply` says about each of the revisions `sent`.
pub(super) fn read(sent: &[&Revision], reply: &Reply) -> Read {
    let body = json::parse(&reply.body).unwrap_or_default();
    let list = body.get("responses").filter(|list| list.is_array());
    match (reply.status, list) {
        (200..=299 | 400, Some(list)) => by_entry(sent, &At::root("responses", list)),
        _ => as_a_whole(sent, reply, &body),
    }
}

/// What `reply` says about the quantity of `sku` alone.
pub(super) fn read_of_sku(sku: &str, doing: &str, reply: &Reply) -> Result<(), Lost> {
    let body = json::parse(&reply.body).unwrap_or_default();
    let list = body.get("responses").unwrap_or(&Value::Null);
    let items = At::root("responses", list).items().unwrap_or_default();
    let entries: Vec<Entry<'_>> = items.iter().filter_map(|at| Entry::read(at).ok()).collect();
    let own = || entries.iter().filter(|e| e.sku == Some(sku));
    // Of several the one that is no success counts.
    let entry = own().find(|e| !e.is_success()).or_else(|| own().next());
    let outcome = match entry {
        Some(entry) if matches!(reply.status, 200..=299 | 400) => entry.outcome(doing, false),
        _ if reply.is_success() => {
            let (path, what) = (
                format!("responses[sku={sku}]"),
                "expected an entry, got none".into(),
            );
            unknown(doing, &Drift { path, what }, &body)
        }
        _ => return Err(reply.refused(doing)),
    };
    match outcome {
        EntryOutcome::Accepted { .. } => Ok(()),
        EntryOutcome::Failed { error, unknown } => Err(Lost {
            error,
            maybe_applied: unknown,
        }),
    }
}

fn by_entry(sent: &[&Revision], list: &At<'_>) -> Read {
    let items = list.items().unwrap_or_default();
    let entries: Vec<Entry<'_>> = items.iter().filter_map(|at| Entry::read(at).ok()).collect();
    let asked = |entry: &&Entry<'_>| match (entry.offer_id, entry.sku) {
        (Some(offer), _) => sent.iter().any(|r| *r.listing.platform_product_id == *offer),
        (None, Some(sku)) => sent.iter().any(|r| *r.listing.sku == *sku),
        (None, None) => false,
    };
    let known = entries.iter().filter(asked).count();
    let outcome = |r: &&Revision| advised(r, outcome_of(r, &entries, list));
    Read {
        outcomes: sent.iter().map(outcome).collect(),
        one_sku_only: entries.iter().flat_map(|e| &e.errors).any(Fault::is_one_sku_only),
        strangers: items.len().saturating_sub(known),
    }
}

fn outcome_of(revision: &Revision, entries: &[Entry<'_>], list: &At<'_>) -> EntryOutcome {
    let (sku, offer) = (&*revision.listing.sku, &*revision.listing.platform_product_id);
    let doing = doing(revision);
    let contract = |what: &str| {
        let path = format!("responses[offerId={offer}]");
        let what = what.to_owned();
        unknown(&doing, &Drift { path, what }, list.value())
    };
    let of_sku = || {
        entries
            .iter()
            .filter(|e| e.offer_id.is_none() && e.sku == Some(sku))
    };
    let mut own = entries.iter().filter(|e| e.offer_id == Some(offer));
    match (own.next(), own.next()) {
        (Some(_), Some(_)) => contract("expected one entry, got more"),
        (Some(entry), None) if entry.sku.is_some_and(|named| named != sku) => {
            contract("the entry names another SKU")
        }
        (Some(entry), None) if entry.is_success() => match of_sku().find(|e| !e.is_success()) {
            Some(total) => total.outcome(&doing, true),
            None => entry.outcome(&doing, false),
        },
        (Some(entry), None) => entry.outcome(&doing, of_sku().any(Entry::is_success)),
        (None, _) => match of_sku().find(|e| !e.is_success()) {
            Some(total) => total.outcome(&doing, true),
            None => contract("expected an entry, got none"),
        },
    }
}

/// An answer without a list stands for every revision sent.
fn as_a_whole(sent: &[&Revision], reply: &Reply, body: &Value) -> Read {
    let status = reply.status;
    let errors = faults_in(body, "errors");
    let verdict = judge(status, &errors, reply.retry_after);
    let refused = (400..500).contains(&status) && !verdict.class.is_retryable();
    let one_sku_only = refused && errors.iter().any(Fault::is_one_sku_only);
    let outcome = |revision: &&Revision| {
        let doing = doing(revision);
        if (200..300).contains(&status) && errors.is_empty() {
            let (path, what) = ("responses".into(), "expected a list, got none".into());
            return unknown(&doing, &Drift { path, what }, body);
        }
        let mut error = fault::error(&doing, status, &verdict, fault::kept(&reply.body));
        error.away_for = reply.away_for();
        if refused && sent.len() > 1 {
            error.code = BATCH_REFUSED.into();
        }
        let outcome = EntryOutcome::Failed {
            error,
            unknown: !(400..500).contains(&status) || status == 408,
        };
        advised(revision, outcome)
    };
    Read {
        outcomes: sent.iter().map(outcome).collect(),
        one_sku_only,
        strangers: 0,
    }
}

/// A zero that is refused for its quantity: most likely the seller has not switched on that listings may stay without
/// stock, and the offer goes on selling.
fn advised(revision: &Revision, outcome: EntryOutcome) -> EntryOutcome {
    let zero = revision.quantity.is_some_and(|quantity| quantity.is_zero());
    match outcome {
        EntryOutcome::Failed { mut error, unknown }
            if zero
                && error.class == ErrorClass::Rejected
                && error.message.to_lowercase().contains("quantity") =>
        {
            error.message = format!(
                "{}. Does the account lack eBay's out-of-stock control? Switch it on at eBay (Site Preferences), or set \
                 `out_of_stock = \"end\"` in `[pricing.destinations.ebay]`; until then end the listing by hand",
                error.message
            )
            .into();
            EntryOutcome::Failed { error, unknown }
        }
        outcome => outcome,
    }
}

/// The outcome of a call whose answer does not say what became of the revision.
fn unknown(doing: &str, drift: &Drift, body: &Value) -> EntryOutcome {
    let body = fault::kept(body.to_string().as_bytes());
    EntryOutcome::Failed {
        error: fault::contract(&format!("tell whether it did {doing}"), drift, body),
        unknown: true,
    }
}

#[cfg(test)]
mod tests;
