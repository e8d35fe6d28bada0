//! Bodies of the calls that make listings, and what their answers say entry by entry.

use super::super::client::Reply;
use super::super::fault::{self, judge, warnings_in};
use super::super::json::{self, At, Drift};
use super::super::offer;
use super::super::revise::Amount;
use crate::platform::gateway::BATCH_REFUSED;
use crate::platform::registrar::{Done, NewListing, NotDone, StandingOffer, Step};
use serde_json::{Map, Value, json};

/// `bulkCreateOrReplaceInventoryItem`. What a buyer reads stands in the offer, so the goods have no description of their
/// own: that one may hold 4,000 characters only.
pub(super) fn items(new: &[NewListing], locale: &str) -> Value {
    let item = |listing: &NewListing| {
        let content = &listing.content;
        let mut item = json!({
            "sku": listing.sku,
            "locale": locale,
            "availability": { "shipToLocationAvailability": { "quantity": listing.quantity.get() } },
            "condition": content.condition,
            "product": { "title": content.title, "imageUrls": content.images, "aspects": content.aspects },
        });
        if let (Some(note), Some(members)) = (&content.condition_description, item.as_object_mut()) {
            members.insert("conditionDescription".into(), json!(note));
        }
        item
    };
    json!({ "requests": new.iter().map(item).collect::<Vec<_>>() })
}

/// `bulkCreateOffer`.
pub(super) fn offers(new: &[NewListing]) -> Value {
    let offer = |listing: &NewListing| {
        let mut offer = terms(listing);
        offer.insert("sku".into(), json!(listing.sku));
        offer.insert("marketplaceId".into(), json!(listing.content.marketplace));
        offer.insert("format".into(), json!("FIXED_PRICE"));
        Value::Object(offer)
    };
    json!({ "requests": new.iter().map(offer).collect::<Vec<_>>() })
}

/// `updateOffer`: the same without what an offer keeps for life.
pub(super) fn replacement(new: &NewListing) -> Value {
    Value::Object(terms(new))
}

fn terms(listing: &NewListing) -> Map<String, Value> {
    let content = &listing.content;
    let mut terms = Map::new();
    let mut set = |name: &str, value: Value| drop(terms.insert(name.to_owned(), value));
    set("availableQuantity", listing.quantity.get().into());
    set("categoryId", json!(content.category));
    set("listingDescription", json!(content.description));
    set("listingDuration", json!("GTC"));
    set("merchantLocationKey", json!(content.location));
    set(
        "listingPolicies",
        json!({
            "fulfillmentPolicyId": content.policies.fulfillment,
            "paymentPolicyId": content.policies.payment,
            "returnPolicyId": content.policies.returns,
        }),
    );
    let price = serde_json::to_value(Amount::from(listing.price)).unwrap_or_default();
    set("pricingSummary", json!({ "price": price }));
    terms
}

/// `bulkPublishOffer`.
pub(super) fn publications(offer_ids: &[Box<str>]) -> Value {
    let offers = offer_ids.iter().map(|id| json!({ "offerId": id }));
    json!({ "requests": offers.collect::<Vec<_>>() })
}

/// How the entries of a bulk call's answer are told apart.
pub(super) struct Bulk<'a> {
    /// What the call does, in messages: `make an offer of SKU`.
    pub(super) verb: &'a str,
    /// The member that names what an entry is about.
    pub(super) key: &'a str,
    /// The member that names what was made, where something is.
    pub(super) made: Option<&'a str>,
}

impl Bulk<'_> {
    fn doing(&self, key: &str) -> String {
        format!("{} `{key}`", self.verb)
    }

    /// What `reply` says about each of `sent`, in order. 200 and 207 both hold a list, and each entry decides for itself;
    /// one that is missing, doubled or cannot be read may or may not have been done.
    pub(super) fn read(&self, sent: &[&str], reply: &Reply) -> Vec<Step> {
        let body = json::parse(&reply.body).unwrap_or_default();
        let list = body.get("responses").filter(|list| list.is_array());
        match (reply.status, list) {
            (200..=299 | 400, Some(list)) => {
                let items = At::root("responses", list).items().unwrap_or_default();
                sent.iter().map(|key| self.entry(key, &items, list)).collect()
            }
            _ => sent
                .iter()
                .map(|key| self.whole(key, sent.len(), reply, &body))
                .collect(),
        }
    }

    fn entry(&self, key: &str, items: &[At<'_>], list: &Value) -> Step {
        let doing = self.doing(key);
        let named = |at: &&At<'_>| at.value().get(self.key).and_then(Value::as_str) == Some(key);
        let mut own = items.iter().filter(named);
        let (Some(at), None) = (own.next(), own.next()) else {
            let what = "expected one entry, got none or more".to_owned();
            let path = format!("responses[{}={key}]", self.key);
            return Err(unknown(&doing, &Drift { path, what }, list));
        };
        self.judged(at, &doing)
            .unwrap_or_else(|drift| Err(unknown(&doing, &drift, at.value())))
    }

    fn judged(&self, at: &At<'_>, doing: &str) -> Result<Step, Drift> {
        let code = at.get("statusCode")?;
        let status = u16::try_from(code.int()?).map_err(|_out_of_range| code.drift("an HTTP status"))?;
        let errors = fault::errors_in(at)?;
        if !(200..300).contains(&status) || !errors.is_empty() {
            let verdict = judge(status, &errors, None);
            let body = fault::kept(at.value().to_string().as_bytes());
            return Ok(Err(NotDone {
                error: fault::error(doing, status, &verdict, body),
                unknown: !(400..500).contains(&status) || status == 408,
            }));
        }
        let id = match self.made {
            None => Box::default(),
            Some(name) => key_in(&at.get(name)?)?,
        };
        Ok(Ok(Done {
            id,
            warnings: warnings_in(at),
        }))
    }

    /// An answer without a list stands for every entry.
    fn whole(&self, key: &str, sent: usize, reply: &Reply, body: &Value) -> Step {
        let doing = self.doing(key);
        if reply.is_success() {
            let (path, what) = ("responses".into(), "expected a list, got none".into());
            return Err(unknown(&doing, &Drift { path, what }, body));
        }
        let lost = reply.refused(&doing);
        let mut error = lost.error;
        let refused = (400..500).contains(&reply.status) && !error.class.is_retryable();
        if refused && sent > 1 {
            error.code = BATCH_REFUSED.into();
        }
        Err(NotDone {
            error,
            unknown: lost.maybe_applied,
        })
    }
}

/// A key that can stand in a path and in our tables.
fn key_in(at: &At<'_>) -> Result<Box<str>, Drift> {
    let key = at.text()?;
    let fits = (1..=100).contains(&key.chars().count()) && !key.chars().any(char::is_control);
    if fits && key != "." && key != ".." {
        Ok(key.into())
    } else {
        Err(at.drift("a key of 1 to 100 characters"))
    }
}

/// The fixed-price offers of `sku` in the answer of `getOffers`, on whatever marketplace.
pub(super) fn standing(at: &At<'_>, sku: &str) -> Result<Vec<StandingOffer>, Drift> {
    let mut offers = Vec::new();
    for offer in offer::on_one_page(at)? {
        let named = offer.get("sku")?;
        if named.text()? != sku {
            return Err(named.drift(&format!("the SKU asked for, `{sku}`")));
        }
        if offer.get("format")?.text()? == "AUCTION" {
            continue;
        }
        let status = offer.get("status")?;
        offers.push(StandingOffer {
            offer_id: key_in(&offer.get("offerId")?)?,
            marketplace: offer.get("marketplaceId")?.text()?.into(),
            is_published: match status.text()? {
                "PUBLISHED" => true,
                "UNPUBLISHED" => false,
                _ => return Err(status.drift("PUBLISHED or UNPUBLISHED")),
            },
        });
    }
    Ok(offers)
}

/// A step of which the answer does not say what became.
fn unknown(doing: &str, drift: &Drift, body: &Value) -> NotDone {
    let body = fault::kept(body.to_string().as_bytes());
    NotDone {
        error: fault::contract(&format!("tell whether it did {doing}"), drift, body),
        unknown: true,
    }
}
