//! The imaginary eBay: a register of listings, the rules by which it changes, and a ledger of everything it was asked.
//!
//! Written from the published Inventory API (v1.18) and OAuth guide alone. Pure: [`Market::call`] takes a call and the
//! time and gives the answer that the door sends. What is on sale is the offer's own quantity where it has one, else
//! the inventory item's ("the availableQuantity field if set in the offer overrides the quantity field set here").
//!
//! A listing's `version` counts accepted writes, so that a test can tell "written twice" from "written once", and the
//! ledger's order of accepted values shows a stale write that came after a newer one.

mod answer;
mod asked;
mod bulk;
mod docs;
mod first;
mod items;
mod life;
mod offers;
mod tokens;
mod views;

pub(super) use answer::Answer;
pub(super) use asked::Question;
pub(super) use first::Bulk;
pub(super) use tokens::{CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN, RU_NAME};
pub use views::{CatalogueListing, LedgerEntry, RegisterEntry, SetListing};

use super::draw::{at, below, mix};
use super::faults::EbayFaults;
use super::ledger::Ring;
use super::settings::{EbaySettings, SimulatorSettings};
use super::world::{Micros, calendar};
use crate::domain::{Currency, Money};
use answer::Refusal;
use chrono::Datelike;
use rust_decimal::Decimal;
use serde_json::Value;
use std::collections::HashMap;
use tokens::Tokens;

/// A call of the Inventory API, or of those beside it.
pub(super) enum Call {
    Bulk(Value),
    First {
        bulk: Bulk,
        language: bool,
        body: Value,
    },
    Question(Question),
    GetItem(String),
    PutItem {
        sku: String,
        language: bool,
        body: Value,
    },
    GetOffers(Option<String>),
    GetOffer(String),
    CreateOffer {
        language: bool,
        body: Value,
    },
    PutOffer {
        offer_id: String,
        language: bool,
        body: Value,
    },
    Publish(String),
    Withdraw(String),
}

impl Call {
    fn operation(&self) -> &'static str {
        match self {
            Self::Bulk(_) => "bulkUpdatePriceQuantity",
            Self::First { bulk, .. } => bulk.operation(),
            Self::Question(question) => question.operation(),
            Self::GetItem(_) => "getInventoryItem",
            Self::PutItem { .. } => "createOrReplaceInventoryItem",
            Self::GetOffers(_) => "getOffers",
            Self::GetOffer(_) => "getOffer",
            Self::CreateOffer { .. } => "createOffer",
            Self::PutOffer { .. } => "updateOffer",
            Self::Publish(_) => "publishOffer",
            Self::Withdraw(_) => "withdrawOffer",
        }
    }

    /// Whether the application's own token is asked for.
    pub(super) fn is_for_application(&self) -> bool {
        matches!(self, Self::Question(question) if question.is_for_application())
    }
}

struct Listing {
    sku: Box<str>,
    offer_id: Box<str>,
    listing_id: u64,
    published: bool,
    /// The inventory item's quantity.
    inventory: u32,
    /// The offer's own quantity.
    available: Option<u32>,
    price: Option<Money>,
    version: u32,
    revised_on: i32,
    revisions: u32,
    sold: u32,
    written_at: Option<Micros>,
    /// The inventory item and the offer as the seller wrote them, for those that were written here.
    item_doc: Option<Box<Value>>,
    offer_doc: Option<Box<Value>>,
}

impl Listing {
    fn quantity(&self) -> u32 {
        self.available.unwrap_or(self.inventory)
    }

    fn currency(&self) -> Currency {
        self.price.map_or(Currency::Usd, Money::currency)
    }
}

struct Late {
    at: Micros,
    listing: usize,
    change: Change,
}

/// What one accepted entry sets.
#[derive(Clone, Copy, Default)]
struct Change {
    inventory: Option<u32>,
    available: Option<u32>,
    price: Option<Money>,
}

/// See the module's head.
pub(super) struct Market {
    seed: u64,
    settings: EbaySettings,
    sale_rate_per_s: f64,
    stopped: bool,
    next_sale: Option<Micros>,
    sales: u64,
    calls: u64,
    started: Micros,
    listings: Vec<Listing>,
    by_sku: HashMap<Box<str>, usize>,
    by_offer: HashMap<Box<str>, usize>,
    next_offer: u64,
    next_listing: u64,
    late: Vec<Late>,
    pub(super) tokens: Tokens,
    pub(super) ledger: Ring<LedgerEntry>,
}

const FIRST_OFFER: u64 = 8_200_000_000;
const FIRST_LISTING: u64 = 155_000_000_000;
const MARKETPLACE: &str = "EBAY_US";

impl Market {
    pub(super) fn new(settings: &SimulatorSettings, now: Micros) -> Self {
        let many = at(settings.listings);
        let mut market = Self {
            seed: settings.seed,
            settings: settings.ebay.clone(),
            sale_rate_per_s: settings.sale_rate_per_s,
            stopped: false,
            next_sale: None,
            sales: 0,
            calls: 0,
            started: now,
            listings: Vec::with_capacity(many),
            by_sku: HashMap::with_capacity(many),
            by_offer: HashMap::with_capacity(many),
            next_offer: FIRST_OFFER,
            next_listing: FIRST_LISTING,
            late: Vec::new(),
            tokens: Tokens::new(settings.seed, settings.ebay.token_lifetime_s),
            ledger: Ring::new(settings.ledger_capacity),
        };
        for number in 0..settings.listings {
            let word = mix(settings.seed, 0xeba1, u64::from(number));
            // Between 20 and 420 dollars: what it was listed for once; the daemon will say what it costs now.
            let cents = 2_000 + i64::try_from(below(word, 40_000)).unwrap_or(0);
            let price = Money::new(Decimal::new(cents, 2), Currency::Usd).ok();
            let sku = format!("ZK-{:06}", number + 1);
            let at = market.add(sku.into(), true, 1);
            if let Some(listing) = market.listings.get_mut(at) {
                listing.price = price;
            }
        }
        market.appoint(now);
        market
    }

    /// Adds a listing under a new offer and says where it stands.
    fn add(&mut self, sku: Box<str>, published: bool, quantity: u32) -> usize {
        let at = self.listings.len();
        self.next_offer += 1;
        let offer_id: Box<str> = self.next_offer.to_string().into();
        self.by_sku.insert(sku.clone(), at);
        self.by_offer.insert(offer_id.clone(), at);
        let listing_id = if published { self.new_listing_id() } else { 0 };
        self.listings.push(Listing {
            sku,
            offer_id,
            listing_id,
            published,
            inventory: quantity,
            available: Some(quantity),
            price: None,
            version: 0,
            revised_on: 0,
            revisions: 0,
            sold: 0,
            written_at: None,
            item_doc: None,
            offer_doc: None,
        });
        at
    }

    fn new_listing_id(&mut self) -> u64 {
        self.next_listing += 1;
        self.next_listing
    }

    /// The listings that exist from the start, in order.
    pub(super) fn catalogue(&self) -> Vec<CatalogueListing> {
        let listed = self.listings.iter().filter(|l| !l.offer_id.is_empty());
        listed
            .map(|l| CatalogueListing {
                sku: l.sku.clone(),
                offer_id: l.offer_id.clone(),
                listing_id: listing_name(l),
                marketplace: MARKETPLACE.into(),
                currency: l.currency(),
            })
            .collect()
    }

    /// What eBay shows for every SKU.
    pub(super) fn register(&mut self, now: Micros) -> Vec<RegisterEntry> {
        self.advance(now);
        let today = pacific_day(now);
        let entries = self.listings.iter();
        entries
            .map(|l| RegisterEntry {
                sku: l.sku.clone(),
                offer_id: l.offer_id.clone(),
                listing_id: listing_name(l),
                status: if l.published { "PUBLISHED" } else { "UNPUBLISHED" }.into(),
                quantity: l.quantity(),
                price: l.price,
                version: l.version,
                revisions_today: if l.revised_on == today { l.revisions } else { 0 },
                sold: l.sold,
                written_at: l.written_at.map(calendar),
            })
            .collect()
    }

    /// Answers one call of the Inventory API.
    pub(super) fn call(&mut self, call: &Call, faults: &EbayFaults, now: Micros) -> Answer {
        self.advance(now);
        self.calls += 1;
        let word = mix(self.seed, 0xca11, self.calls);
        let fault = faults.decide(self.seed, word, now.saturating_sub(self.started));
        if let Some(answer) = fault.and_then(|f| Answer::of_fault(f, faults)) {
            self.note(call.operation(), now, |entry| {
                entry.fault = fault;
                entry.status = answer.status;
            });
            return answer;
        }
        let mut answer = match call {
            Call::Bulk(body) => self.bulk(body, faults, word, now),
            Call::First { bulk, language, body } => {
                self.bulk_first(*bulk, *language, body, (faults, word), now)
            }
            Call::Question(question) => self.question(question, now),
            Call::GetItem(sku) => self.get_item(sku, now),
            Call::PutItem { sku, language, body } => self.put_item(sku, *language, body, now),
            Call::GetOffers(sku) => self.get_offers(sku.as_deref(), now),
            Call::GetOffer(id) => self.get_offer(id, now),
            Call::CreateOffer { language, body } => self.create_offer(*language, body, now),
            Call::PutOffer {
                offer_id,
                language,
                body,
            } => self.put_offer(offer_id, *language, body, now),
            Call::Publish(id) => self.publish(id, now),
            Call::Withdraw(id) => self.withdraw(id, now),
        };
        answer.fault = fault;
        answer
    }

    /// Writes a line of the ledger.
    fn note(&mut self, operation: &str, now: Micros, fill: impl FnOnce(&mut LedgerEntry)) {
        let mut entry = LedgerEntry {
            seq: self.ledger.total() + 1,
            at_us: now,
            operation: operation.into(),
            sku: None,
            offer_id: None,
            quantity: None,
            price: None,
            accepted: false,
            status: 0,
            error_id: None,
            version: None,
            fault: None,
        };
        fill(&mut entry);
        self.ledger.push(entry);
    }

    /// Writes a line about the listing at `at` and the call's outcome.
    fn note_listing(
        &mut self,
        operation: &str,
        now: Micros,
        at: Option<usize>,
        outcome: Result<u16, &Refusal>,
    ) {
        let known = at.and_then(|at| self.listings.get(at));
        let keys = known.map(|l| {
            (
                l.sku.clone(),
                l.offer_id.clone(),
                l.quantity(),
                l.price,
                l.version,
            )
        });
        self.note(operation, now, |entry| {
            if let Some((sku, offer_id, quantity, price, version)) = keys {
                entry.sku = Some(sku);
                entry.offer_id = Some(offer_id);
                entry.quantity = Some(quantity);
                entry.price = price;
                entry.version = Some(version);
            }
            match outcome {
                Ok(status) => {
                    entry.accepted = true;
                    entry.status = status;
                }
                Err(refusal) => {
                    entry.status = refusal.status;
                    entry.error_id = Some(refusal.id);
                }
            }
        });
    }

    /// Whether the listing at `at` may be revised once more today; counts the revision.
    fn count_revision(&mut self, at: usize, now: Micros) -> Result<(), Refusal> {
        let today = pacific_day(now);
        let most = self.settings.revisions_per_day;
        let Some(listing) = self.listings.get_mut(at).filter(|l| l.published) else {
            return Ok(());
        };
        if listing.revised_on != today {
            listing.revised_on = today;
            listing.revisions = 0;
        }
        if listing.revisions >= most {
            return Err(Refusal::too_many_revisions(most, &listing.sku));
        }
        listing.revisions += 1;
        Ok(())
    }

    fn apply(&mut self, at: usize, change: Change) {
        if let Some(listing) = self.listings.get_mut(at) {
            listing.inventory = change.inventory.unwrap_or(listing.inventory);
            listing.available = change.available.or(listing.available);
            listing.price = change.price.or(listing.price);
        }
    }

    /// Counts an accepted write.
    fn written(&mut self, at: usize, now: Micros) {
        if let Some(listing) = self.listings.get_mut(at) {
            listing.version += 1;
            listing.written_at = Some(now);
        }
    }

    /// Makes a new listing of an offer.
    fn put_up(&mut self, at: usize) {
        let listing_id = self.new_listing_id();
        if let Some(listing) = self.listings.get_mut(at) {
            // A new listing begins with a fresh allowance of revisions.
            listing.published = true;
            listing.listing_id = listing_id;
            listing.revisions = 0;
            listing.sold = 0;
        }
    }

    /// Answers a call without a living access token.
    pub(super) fn turned_away(&mut self, now: Micros) -> Answer {
        let answer = Answer::unauthorized();
        self.note("unauthorized", now, |entry| entry.status = answer.status);
        answer
    }

    /// Answers the token endpoint.
    pub(super) fn grant(
        &mut self,
        authorization: Option<&str>,
        form: &[(String, String)],
        faults: &EbayFaults,
        now: Micros,
    ) -> Answer {
        let answer = self.tokens.grant(authorization, form, faults, now);
        self.note("token", now, |entry| {
            entry.status = answer.status;
            entry.accepted = answer.status == 200;
        });
        answer
    }
}

/// The number that buyers see, empty while nothing is published.
fn listing_name(listing: &Listing) -> Box<str> {
    if listing.published {
        listing.listing_id.to_string().into()
    } else {
        "".into()
    }
}

/// The calendar day on the Pacific coast, where eBay's days begin.
fn pacific_day(now: Micros) -> i32 {
    calendar(now)
        .with_timezone(&chrono_tz::America::Los_Angeles)
        .num_days_from_ce()
}

#[cfg(test)]
mod tests;
