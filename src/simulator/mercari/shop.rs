//! The imaginary shop: a register of products, the rules by which it changes, and a ledger of everything it was asked.
//!
//! Each product has one variant. Pure: [`Shop::call`] takes a request and the time and gives the answer that the door
//! sends. As at the imaginary eBay, `version` counts accepted writes, and the ledger's order shows a stale write.

use super::answer::{Answer, Refusal};
use super::graphql::{self, Document, Field};
use super::views::{MercariAsked, MercariEntry, MercariListing, SetMercari};
use crate::simulator::draw::{at, below, count, mix, unit, waiting};
use crate::simulator::faults::{MercariFault, MercariFaults};
use crate::simulator::ledger::Ring;
use crate::simulator::settings::{MercariSettings, SimulatorSettings};
use crate::simulator::world::{Micros, calendar};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// The one token that this shop gave out.
pub(in crate::simulator) const TOKEN: &str = "msp_simulated-token-0123456789";
/// The name that was assigned to the one program that may ask.
pub(in crate::simulator) const CLIENT_NAME: &str = "Zaikoban_Simulator";
const SHOP_ID: &str = "2JHg7simulatedShop";
const HOUR: Micros = 3_600 * 1_000_000;
const PRICES: std::ops::RangeInclusive<i64> = 300..=9_999_999;
const MOST_ENTRIES: usize = 20;

/// A request as it came to the door.
pub(in crate::simulator) struct Asked<'a> {
    pub(in crate::simulator) authorization: Option<&'a str>,
    pub(in crate::simulator) user_agent: Option<&'a str>,
    pub(in crate::simulator) content_type: Option<&'a str>,
    pub(in crate::simulator) body: &'a [u8],
}

pub(super) struct Listing {
    pub(super) sku: Box<str>,
    pub(super) product_id: Box<str>,
    pub(super) variant_id: Box<str>,
    pub(super) opened: bool,
    pub(super) quantity: u32,
    pub(super) price: u32,
    version: u32,
    sold: u32,
    written_at: Option<Micros>,
}

/// See the module's head.
pub(in crate::simulator) struct Shop {
    seed: u64,
    settings: MercariSettings,
    sale_rate_per_s: f64,
    stopped: bool,
    next_sale: Option<Micros>,
    sales: u64,
    calls: u64,
    started: Micros,
    pub(super) listings: Vec<Listing>,
    by_sku: HashMap<Box<str>, usize>,
    by_product: HashMap<Box<str>, usize>,
    spent: VecDeque<(Micros, u64)>,
    pub(in crate::simulator) ledger: Ring<MercariAsked>,
}

impl Shop {
    pub(in crate::simulator) fn new(settings: &SimulatorSettings, now: Micros) -> Self {
        let mut shop = Self {
            seed: settings.seed,
            settings: settings.mercari.clone(),
            sale_rate_per_s: settings.sale_rate_per_s,
            stopped: false,
            next_sale: None,
            sales: 0,
            calls: 0,
            started: now,
            listings: Vec::with_capacity(at(settings.mercari_listings)),
            by_sku: HashMap::new(),
            by_product: HashMap::new(),
            spent: VecDeque::new(),
            ledger: Ring::new(settings.ledger_capacity),
        };
        for number in 0..settings.mercari_listings {
            let word = mix(settings.seed, 0x3e2c, u64::from(number));
            let place = shop.listings.len();
            let listing = Listing {
                sku: format!("MS-{:06}", number + 1).into(),
                product_id: format!("2JPr{word:016x}").into(),
                variant_id: format!("2JVa{word:016x}").into(),
                opened: true,
                quantity: 1,
                // What it was listed for once, from 3,000 to 60,000 yen.
                price: 3_000 + u32::try_from(below(word, 57_000)).unwrap_or(0),
                version: 0,
                sold: 0,
                written_at: None,
            };
            shop.by_sku.insert(listing.sku.clone(), place);
            shop.by_product.insert(listing.product_id.clone(), place);
            shop.listings.push(listing);
        }
        shop.appoint(now);
        shop
    }

    /// The listings, in order.
    pub(in crate::simulator) fn catalogue(&self) -> Vec<MercariListing> {
        let keys = |l: &Listing| MercariListing {
            sku: l.sku.clone(),
            product_id: l.product_id.clone(),
        };
        self.listings.iter().map(keys).collect()
    }

    /// What Mercari shows for every SKU.
    pub(in crate::simulator) fn register(&mut self, now: Micros) -> Vec<MercariEntry> {
        self.advance(now);
        let entry = |l: &Listing| MercariEntry {
            sku: l.sku.clone(),
            product_id: l.product_id.clone(),
            status: status(l.opened).into(),
            quantity: l.quantity,
            price: l.price,
            version: l.version,
            sold: l.sold,
            written_at: l.written_at.map(calendar),
        };
        self.listings.iter().map(entry).collect()
    }

    /// Answers one request.
    pub(in crate::simulator) fn call(
        &mut self,
        asked: &Asked<'_>,
        faults: &MercariFaults,
        now: Micros,
    ) -> Answer {
        self.advance(now);
        let turned_away = |shop: &mut Self, answer: Answer, why: &str| {
            shop.note(why, now, None, Err("turned_away"), answer.status, None);
            answer
        };
        if faults.unregistered {
            return turned_away(self, Answer::unregistered(), "unregistered address");
        }
        if faults.wrong_environment {
            let answer = Answer::plainly(400, "the access token is not valid in this environment");
            return turned_away(self, answer, "token of another environment");
        }
        let token = asked.authorization.and_then(|text| text.strip_prefix("Bearer "));
        if faults.revoked || token != Some(TOKEN) {
            return turned_away(self, Answer::plainly(401, "unauthorized"), "unauthorized");
        }
        let named = asked.user_agent.and_then(|agent| agent.split_once('/'));
        if !named.is_some_and(|(name, version)| name == CLIENT_NAME && !version.is_empty()) {
            let answer = Answer::plainly(403, "the API client name is not known");
            return turned_away(self, answer, "unknown client");
        }
        match read(asked) {
            Ok((document, variables)) => self.operate(&document, &variables, faults, now),
            Err(message) => turned_away(self, Answer::bad_query(&message), "unreadable"),
        }
    }

    /// Answers one operation that could be read.
    fn operate(
        &mut self,
        document: &Document,
        variables: &Value,
        faults: &MercariFaults,
        now: Micros,
    ) -> Answer {
        let [field] = document.fields.as_slice() else {
            return Answer::bad_query("one operation with one field is taken at a time");
        };
        let arguments = match super::schema::check(document, field, variables, &self.settings) {
            Ok(arguments) => arguments,
            Err(message) => {
                let answer = Answer::bad_query(&message);
                self.note(
                    &field.name,
                    now,
                    None,
                    Err("GRAPHQL_VALIDATION_FAILED"),
                    answer.status,
                    None,
                );
                return answer;
            }
        };
        if !self.pay(super::schema::points(field, &arguments), now) {
            let answer = Answer::plainly(429, "too many requests");
            self.note(&field.name, now, None, Err("rate_limited"), 429, None);
            return answer;
        }
        self.calls += 1;
        let word = mix(self.seed, 0x3e2d, self.calls);
        let fault = faults.decide(self.seed, word, now.saturating_sub(self.started));
        if let Some(mut answer) = fault.and_then(|fault| before(fault, field)) {
            answer.fault = fault;
            self.note(&field.name, now, None, Err("fault"), answer.status, fault);
            return answer;
        }
        let (data, mut refused) = self.perform(field, &arguments, faults, word, now, fault);
        let value = match fault {
            Some(MercariFault::DeadlineAfter) => {
                refused = vec![
                    Refusal::new("DEADLINE_EXCEEDED", "context deadline exceeded")
                        .at(vec![json!(field.name)]),
                ];
                Value::Null
            }
            Some(MercariFault::Complaint) => {
                let refusal = Refusal::new("FAILED_PRECONDITION", "something beside it failed");
                refused = vec![refusal.at(vec![json!(field.name)])];
                data
            }
            Some(MercariFault::Nothing) => Value::Null,
            _ => data,
        };
        let mut answer = Answer::data(json!({ (field.name.as_str()): value }), &refused);
        if faults.odd_fields
            && let Ok(Value::Object(body)) = &mut answer.body
        {
            body.insert(
                "extensions".into(),
                json!({ "cost": { "actual": 3 }, "traceId": "在庫" }),
            );
            body.insert("later".into(), json!([{ "more": true }]));
        }
        answer.fault = fault;
        answer
    }

    fn perform(
        &mut self,
        field: &Field,
        arguments: &Value,
        faults: &MercariFaults,
        word: u64,
        now: Micros,
        fault: Option<MercariFault>,
    ) -> (Value, Vec<Refusal>) {
        let here = vec![json!(field.name)];
        let inner = field.fields.first();
        let sees = |shop: &mut Self, result: Result<usize, Refusal>| {
            let outcome = result.as_ref().map(|_| ()).map_err(|refusal| refusal.code);
            shop.note(
                &field.name,
                now,
                result.as_ref().ok().copied(),
                outcome,
                200,
                fault,
            );
            result.map_err(|refusal| vec![refusal.at(here.clone())])
        };
        let result = match field.name.as_str() {
            "shop" => {
                self.note(&field.name, now, None, Ok(()), 200, fault);
                return (super::schema::shop(&field.fields, SHOP_ID), Vec::new());
            }
            "productVariant" => {
                let found = self.variant_at(&arguments["by"]);
                sees(self, found).map(|place| self.variant(place, &field.fields, faults))
            }
            "product" => {
                let found = self.product_at(&arguments["id"]);
                sees(self, found).map(|place| self.product(place, &field.fields, faults))
            }
            "updateProductVariant" => {
                let done = self.set_stock(&arguments["by"], &arguments["input"], now);
                let shown = inner.map(|f| f.fields.as_slice()).unwrap_or_default();
                sees(self, done).map(|place| json!({ "productVariant": self.variant(place, shown, faults) }))
            }
            "updateProduct" => {
                let done = self.set_product(&arguments["input"], now);
                let shown = inner.map(|f| f.fields.as_slice()).unwrap_or_default();
                sees(self, done).map(|place| json!({ "product": self.product(place, shown, faults) }))
            }
            _ => return self.bulk(field, arguments, faults, word, now, fault),
        };
        match result {
            Ok(value) => (value, Vec::new()),
            Err(refused) => (Value::Null, refused),
        }
    }

    /// `updateProductVariants`: each entry by itself; those that failed are not in the list.
    fn bulk(
        &mut self,
        field: &Field,
        arguments: &Value,
        faults: &MercariFaults,
        word: u64,
        now: Micros,
        fault: Option<MercariFault>,
    ) -> (Value, Vec<Refusal>) {
        let empty = Vec::new();
        let inputs = arguments["inputs"].as_array().unwrap_or(&empty);
        let shown = field
            .fields
            .first()
            .map(|f| f.fields.as_slice())
            .unwrap_or_default();
        let (mut values, mut refused) = (Vec::new(), Vec::new());
        if inputs.len() > MOST_ENTRIES {
            let refusal = Refusal::new(
                "FAILED_PRECONDITION",
                "at most 20 variants can be updated at once",
            );
            self.note(&field.name, now, None, Err(refusal.code), 200, fault);
            return (Value::Null, vec![refusal.at(vec![json!(field.name)])]);
        }
        for (nth, entry) in inputs.iter().enumerate() {
            let draw = unit(mix(word, 0x3e2e, count(nth)));
            let failing = draw < faults.p_entry_fails;
            let result = if failing {
                Err(Refusal::new(
                    "FAILED_PRECONDITION",
                    "the product is being changed by somebody else",
                ))
            } else {
                self.set_stock(&entry["by"], &entry["input"], now)
            };
            let outcome = result.as_ref().map(|_| ()).map_err(|refusal| refusal.code);
            self.note(
                &field.name,
                now,
                result.as_ref().ok().copied(),
                outcome,
                200,
                fault,
            );
            match result {
                Ok(_) if draw < faults.p_entry_fails + faults.p_entry_missing => {}
                Ok(place) => values.push(self.variant(place, shown, faults)),
                Err(refusal) => refused.push(refusal.at(vec![json!(field.name), json!(nth)])),
            }
        }
        if values.is_empty() && !refused.is_empty() {
            return (Value::Null, refused);
        }
        (json!({ "productVariants": values }), refused)
    }

    fn variant_at(&self, by: &Value) -> Result<usize, Refusal> {
        let found = match (by["skuCode"].as_str(), by["id"].as_str()) {
            (Some(sku), _) => self.by_sku.get(sku).copied(),
            (None, Some(id)) => self.listings.iter().position(|l| *l.variant_id == *id),
            (None, None) => None,
        };
        found.ok_or_else(|| Refusal::new("NOT_FOUND", "product variant not found"))
    }

    fn product_at(&self, id: &Value) -> Result<usize, Refusal> {
        let found = id.as_str().and_then(|id| self.by_product.get(id)).copied();
        found.ok_or_else(|| Refusal::new("NOT_FOUND", "product not found"))
    }

    fn set_stock(&mut self, by: &Value, input: &Value, now: Micros) -> Result<usize, Refusal> {
        let place = self.variant_at(by)?;
        let refused = || Refusal::new("FAILED_PRECONDITION", "stockQuantity must be 0 or more");
        let stock = input["stockQuantity"]
            .as_i64()
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(refused)?;
        self.write(place, now, |listing| listing.quantity = stock);
        Ok(place)
    }

    fn set_product(&mut self, input: &Value, now: Micros) -> Result<usize, Refusal> {
        let place = self.product_at(&input["id"])?;
        let price = input["price"].as_i64();
        if price.is_some_and(|yen| !PRICES.contains(&yen)) {
            return Err(Refusal::new(
                "FAILED_PRECONDITION",
                "price must be between 300 and 9999999",
            ));
        }
        let opened = input["status"].as_str().map(|status| status == "OPENED");
        self.write(place, now, |listing| {
            listing.price = price
                .and_then(|yen| u32::try_from(yen).ok())
                .unwrap_or(listing.price);
            listing.opened = opened.unwrap_or(listing.opened);
        });
        Ok(place)
    }

    fn write(&mut self, place: usize, now: Micros, change: impl FnOnce(&mut Listing)) {
        if let Some(listing) = self.listings.get_mut(place) {
            change(listing);
            listing.version += 1;
            listing.written_at = Some(now);
        }
    }

    fn variant(&self, place: usize, fields: &[Field], faults: &MercariFaults) -> Value {
        self.listings
            .get(place)
            .map(|l| super::schema::variant(l, fields, faults))
            .unwrap_or_default()
    }

    fn product(&self, place: usize, fields: &[Field], faults: &MercariFaults) -> Value {
        self.listings
            .get(place)
            .map(|l| super::schema::product(l, fields, faults))
            .unwrap_or_default()
    }

    /// Whether the hour has so many points left; takes them.
    fn pay(&mut self, points: u64, now: Micros) -> bool {
        while self
            .spent
            .front()
            .is_some_and(|(when, _)| now.saturating_sub(*when) >= HOUR)
        {
            self.spent.pop_front();
        }
        let spent: u64 = self.spent.iter().map(|(_, points)| points).sum();
        if spent + points > u64::from(self.settings.points_per_hour) {
            return false;
        }
        self.spent.push_back((now, points));
        true
    }

    /// Writes a line of the ledger.
    fn note(
        &mut self,
        operation: &str,
        now: Micros,
        place: Option<usize>,
        outcome: Result<(), &str>,
        http_status: u16,
        fault: Option<MercariFault>,
    ) {
        let listing = place.and_then(|place| self.listings.get(place));
        let entry = MercariAsked {
            seq: self.ledger.total() + 1,
            at_us: now,
            operation: operation.chars().take(60).collect::<String>().into(),
            sku: listing.map(|l| l.sku.clone()),
            product_id: listing.map(|l| l.product_id.clone()),
            quantity: listing.map(|l| l.quantity),
            price: listing.map(|l| l.price),
            status: listing.map(|l| status(l.opened).into()),
            accepted: outcome.is_ok(),
            http_status,
            code: outcome.err().map(Into::into),
            version: listing.map(|l| l.version),
            fault,
        };
        self.ledger.push(entry);
    }

    /// Plays what buyers do until `now`.
    pub(in crate::simulator) fn advance(&mut self, now: Micros) {
        for _ in 0..100_000 {
            let Some(t) = self.next_sale.filter(|t| *t <= now) else {
                break;
            };
            let word = mix(self.seed, 0x3e2f, self.sales);
            let place = usize::try_from(below(word, count(self.listings.len()))).unwrap_or(0);
            self.sell(place, 1);
            self.sales += 1;
            self.appoint(t);
        }
    }

    fn sell(&mut self, place: usize, pieces: u32) {
        if let Some(listing) = self.listings.get_mut(place).filter(|l| l.opened) {
            let sold = pieces.min(listing.quantity);
            listing.quantity -= sold;
            listing.sold += sold;
        }
    }

    fn appoint(&mut self, after: Micros) {
        let share = unit(mix(self.seed, 0x3e30, self.sales));
        let rate = if self.stopped || self.listings.is_empty() {
            0.0
        } else {
            self.sale_rate_per_s
        };
        self.next_sale = waiting(share, rate).map(|gap| after.saturating_add(gap));
    }

    /// Whether buyers buy.
    pub(in crate::simulator) fn stop(&mut self, stopped: bool, now: Micros) {
        self.stopped = stopped;
        self.appoint(now);
    }

    /// How many pieces are sold per second from `now` on.
    pub(in crate::simulator) fn set_rate(&mut self, sale_rate_per_s: f64, now: Micros) {
        self.sale_rate_per_s = sale_rate_per_s;
        self.appoint(now);
    }

    /// Why `order` cannot be carried out, if it cannot.
    pub(in crate::simulator) fn cannot_set(&self, order: &SetMercari) -> Option<String> {
        if !self.by_sku.contains_key(order.sku.as_str()) {
            return Some(format!("`set_mercari.sku`: expected a SKU, got {:?}", order.sku));
        }
        let bad = order.price.filter(|yen| !PRICES.contains(&i64::from(*yen)))?;
        Some(format!("`set_mercari.price`: expected 300 to 9999999, got {bad}"))
    }

    /// Does what someone ordered for one listing, past the API: no write is counted.
    pub(in crate::simulator) fn set(&mut self, order: &SetMercari, now: Micros) {
        let Some(place) = self.by_sku.get(order.sku.as_str()).copied() else {
            return;
        };
        if let Some(listing) = self.listings.get_mut(place) {
            listing.quantity = order.quantity.unwrap_or(listing.quantity);
            listing.price = order.price.unwrap_or(listing.price);
            listing.opened = order.opened.unwrap_or(listing.opened);
        }
        if let Some(pieces) = order.sell {
            self.sell(place, pieces);
        }
        self.note("by hand", now, Some(place), Ok(()), 200, None);
    }
}

/// The word for whether buyers see it.
pub(super) fn status(opened: bool) -> &'static str {
    if opened { "OPENED" } else { "UNOPENED" }
}

/// The operation and the variables of a request.
fn read(asked: &Asked<'_>) -> Result<(Document, Value), String> {
    if !asked
        .content_type
        .is_some_and(|t| t.starts_with("application/json"))
    {
        return Err("the header Content-Type must be application/json".to_owned());
    }
    let body: Value =
        serde_json::from_slice(asked.body).map_err(|bad| format!("the body is not JSON: {bad}"))?;
    let text = body["query"].as_str().ok_or("the body has no query")?;
    let document = graphql::parse(text)?;
    let variables = body.get("variables").cloned().unwrap_or_default();
    document.check(&variables)?;
    Ok((document, variables))
}

/// The answer of a call that never reaches the register; `None` for faults that come after it.
fn before(fault: MercariFault, field: &Field) -> Option<Answer> {
    let refused = |code, message: &str| {
        let refusal = Refusal::new(code, message).at(vec![json!(field.name)]);
        Some(Answer::data(json!({ (field.name.as_str()): null }), &[refusal]))
    };
    match fault {
        MercariFault::Http500 => Some(Answer::plainly(500, "internal server error")),
        MercariFault::Http503 | MercariFault::Hang => Some(Answer::plainly(503, "service unavailable")),
        MercariFault::Http429 => Some(Answer::plainly(429, "too many requests")),
        MercariFault::Http401 => Some(Answer::plainly(401, "unauthorized")),
        MercariFault::Deadline => refused("DEADLINE_EXCEEDED", "context deadline exceeded"),
        MercariFault::OddCode => refused("NEVER_SEEN_BEFORE", "something new"),
        MercariFault::Refused => refused("FAILED_PRECONDITION", "the product cannot be changed now"),
        MercariFault::Cut
        | MercariFault::Delay
        | MercariFault::DeadlineAfter
        | MercariFault::Complaint
        | MercariFault::Nothing => None,
    }
}
