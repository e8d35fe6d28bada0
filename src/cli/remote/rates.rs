//! `zaikoban rates`: what it asks, and how its answers are shown.

use super::orders::{paged, post};
use super::said::Told;
use super::{Ask, Show};
use crate::cli::args::Rates;
use crate::cli::output::{Column, at, column, plain, shown_as, times};
use serde_json::{Value, json};

const RATES: &[Column] = &[
    column("id", "ID"),
    column("source", "SOURCE"),
    column("day", "DAY"),
    column("status", "STATUS"),
    shown_as("newest", "NEWEST", yes_or_nothing),
    column("rates.USD", "USD"),
    column("rates.EUR", "EUR"),
    column("rates.GBP", "GBP"),
    column("rates.AUD", "AUD"),
    column("rates.CAD", "CAD"),
    column("largest_move_percent", "MOVED %"),
    times("fetched_at", "READ"),
    column("decided_by", "BY"),
];

fn yes_or_nothing(value: &Value) -> String {
    if value == true { "yes" } else { "" }.to_owned()
}

pub(super) fn rates(order: Rates) -> (Ask, Show) {
    let decide = |verb: &str, id: i64, note: Option<String>| {
        let body = json!({ "id": id, "note": note });
        (post(&format!("/v1/rates/{verb}"), body), Show::Said(decided))
    };
    match order {
        Rates::List { page } => (paged("/v1/rates", &page, &[]), Show::Table(RATES)),
        Rates::Accept { id, note } => decide("accept", id, note),
        Rates::Refuse { id, note } => decide("refuse", id, note),
    }
}

fn decided(answer: &Value) -> Told {
    let id = plain(at(answer, "id"));
    Told::new().line(match at(answer, "status").as_str() {
        Some("accepted") => {
            format!("quote {id} is accepted: every listing is priced by it within half a minute")
        }
        _ => format!("quote {id} is refused: the rates in use stay until another one comes"),
    })
}
