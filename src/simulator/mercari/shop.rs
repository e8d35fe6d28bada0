//! The imaginary shop: a register of products, the rules by which it changes, and a ledger of everything it was asked.
//!
//! Each product has one variant. Pure: [`Shop::call`] takes a request and the time and gives the answer that the door
//! sends. As at the imaginary eBay, `version` counts accepted writes, and the ledger's order shows a stale write.

use super::answer::{Answer, Refusal};
use super::graphql::{self, Document, Field};
use super::views::MercariAsked;
use crate::simulator::draw::{at, below, count, mix, unit};
use crate::simulator::faults::{MercariFault, MercariFaults};
use crate::simulator::ledger::Ring;
use crate::simulator::settings::{MercariSettings, SimulatorSettings};
use crate::simulator::world::Micros;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// The one token that this shop gave out.
pub(in crate::simulator) const TOKEN: &str = "msp_simulated-token-0123456789";
/// The name that was assigned to the one program that may ask.
pub(in crate::simulator) const CLIENT_NAME: &str = "Zaikoban_Simulator";
const SHOP_ID: &str = "2JHg7simulatedShop";
const HOUR: Micros = 3_600 * 1_000_000;
pub(super) const PRICES: std::ops::RangeInclusive<i64> = 300..=9_999_999;
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
    pub(super) version: u32,
    pub(super) sold: u32,
    pub(super) written_at: Option<Micros>,
}

/// See the module's head.
pub(in crate::simulator) struct Shop {
    pub(super) seed: u64,
    settings: MercariSettings,
    pub(super) sale_rate_per_s: f64,
    pub(super) stopped: bool,
    pub(super) next_sale: Option<Micros>,
    pub(super) sales: u64,
    calls: u64,
    started: Micros,
    pub(super) listings: Vec<Listing>,
    pub(super) by_sku: HashMap<Box<str>, usize>,
    pub(super) by_product: HashMap<Box<str>, usize>,
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
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or("the body has no query")?;
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
