//! The lists, by column.

use crate::cli::output::{Column, at, column, plain, shown_as, times};
use serde_json::Value;

pub(super) const PRODUCTS: &[Column] = &[
    column("id", "ID"),
    column("source_product_id", "ITEM"),
    column("stock", "STOCK"),
    column("price", "PRICE"),
    column("url_status", "URL"),
    column("monitoring", "WATCHED"),
    column("held_reason", "HELD"),
    times("last_verified_at", "VERIFIED"),
    column("title", "TITLE"),
];
pub(super) const LISTINGS: &[Column] = &[
    column("id", "ID"),
    column("product_id", "PRODUCT"),
    column("destination", "AT"),
    column("sku", "SKU"),
    column("status", "STATUS"),
    column("quantity", "QTY"),
    column("wanted_quantity", "WANTED"),
    column("price", "PRICE"),
    column("wanted_price", "WANTED PRICE"),
    column("auto_sync", "SYNC"),
    column("held_reason", "HELD"),
];
pub(super) const DRIFT: &[Column] = &[
    column("id", "ID"),
    column("listing_id", "LISTING"),
    column("destination", "AT"),
    column("sku", "SKU"),
    column("kind", "KIND"),
    column("believed.quantity", "QTY"),
    column("shown.quantity", "SHOWN"),
    column("believed.price", "PRICE"),
    column("shown.price", "SHOWN PRICE"),
    column("done", "DONE"),
    times("seen_at", "SEEN"),
    times("resolved_at", "OVER"),
];
pub(super) const BULK: &[Column] = &[
    column("id", "ID"),
    column("platform", "AT"),
    column("state", "STATE"),
    column("result", "RESULT"),
    column("items", "PRICES"),
    column("open", "OPEN"),
    column("accepted", "TAKEN"),
    column("refused", "REFUSED"),
    column("unknown", "UNKNOWN"),
    column("left_out", "LEFT OUT"),
    times("created_at", "BEGUN"),
    times("settled_at", "SETTLED"),
    column("error", "ERROR"),
];
pub(super) const PLAN: &[Column] = &[
    column("listing_id", "LISTING"),
    column("sku", "SKU"),
    column("confirmed.quantity", "QTY"),
    column("confirmed.price", "PRICE"),
    column("wanted.quantity", "WANTED"),
    column("wanted.price", "WANTED PRICE"),
    shown_as("steps", "WOULD", steps),
    shown_as("kept_back", "KEPT BACK BY", kept_back),
    shown_as("cause", "WHY", why),
];
pub(super) const PREVIEW: &[Column] = &[
    column("listing_id", "LISTING"),
    column("sku", "SKU"),
    shown_as("steps", "WOULD", steps),
    shown_as("kept_back", "KEPT BACK BY", kept_back),
    shown_as("preview", "THE DESTINATION", preview),
];
pub(super) const RULES: &[Column] = &[
    column("key", "RULE"),
    column("value", "IN FORCE"),
    column("destination", "THE DESTINATION'S"),
    shown_as("own", "OWN", yes_or_nothing),
];
pub(super) const HOLDS: &[Column] = &[
    column("id", "ID"),
    column("product_id", "PRODUCT"),
    column("listing_id", "LISTING"),
    column("reason", "REASON"),
    column("proposed_stock", "STOCK"),
    column("proposed_price", "PRICE"),
    column("meanwhile", "MEANWHILE"),
    column("default_action", "AT DEADLINE"),
    times("deadline", "DEADLINE"),
];
pub(super) const PLATFORMS: &[Column] = &[
    column("name", "PLATFORM"),
    shown_as("gate", "GATE", gate),
    column("rate_per_second", "PER SECOND"),
    column("in_flight", "OPEN"),
    column("waiting", "WAITING"),
    column("counts.ok", "OK"),
    column("counts.answered", "REJECTED"),
    column("counts.failed", "FAILED"),
    column("counts.rate_limited", "LIMITED"),
    column("counts.timed_out", "TIMED OUT"),
    column("counts.trips", "TRIPS"),
    column("simulator", "SIMULATOR"),
    shown_as("last_error", "LAST ERROR", last_error),
];
pub(super) const QUEUE: &[Column] = &[
    column("id", "ID"),
    column("queue", "QUEUE"),
    column("destination", "AT"),
    column("status", "STATUS"),
    column("priority", "PRIO"),
    column("listing_id", "LISTING"),
    column("retry_count", "RETRIES"),
    times("scheduled_at", "DUE"),
    column("error", "ERROR"),
];
pub(super) const QUEUES: &[Column] = &[
    column("queue", "QUEUE"),
    column("destination", "AT"),
    column("workers", "WORKERS"),
    shown_as("paused", "PAUSED", yes_or_nothing),
    column("waiting.high", "HIGH"),
    column("waiting.normal", "NORMAL"),
    column("waiting.low", "LOW"),
    shown_as("oldest_due_s", "OLDEST S", whole),
    column("processing", "IN WORK"),
    column("dead", "DEAD"),
    column("here.busy", "BUSY HERE"),
    column("here.batch_size", "BATCH"),
    column("here.per_s", "PER S"),
    column("here.completed", "DONE HERE"),
];
pub(super) const DELAYS: &[Column] = &[
    column("destination", "AT"),
    column("count", "PUSHES"),
    column("p50", "P50 MS"),
    column("p95", "P95 MS"),
    column("p99", "P99 MS"),
    column("max", "LONGEST MS"),
];
pub(super) const NODES: &[Column] = &[
    column("name", "NODE"),
    column("state", "STATE"),
    shown_as("this", "THIS", here),
    shown_as("heartbeat_age_ms", "HEARD", heard),
    times("started_at", "SINCE"),
    column("shards", "SHARDS"),
    column("roles", "ROLES"),
    column("host", "HOST"),
    column("pid", "PID"),
    column("version", "VERSION"),
];

fn here(value: &Value) -> String {
    if value == true {
        "*".to_owned()
    } else {
        String::new()
    }
}

/// How long ago a node was heard of.
fn heard(value: &Value) -> String {
    let shown = |ms: u64| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100);
    value.as_u64().map(shown).unwrap_or_default()
}

pub(super) const ERRORS: &[Column] = &[
    column("id", "ID"),
    column("severity", "SEVERITY"),
    column("count", "COUNT"),
    column("code", "CODE"),
    column("platform", "PLATFORM"),
    column("product_id", "PRODUCT"),
    times("last_seen_at", "LAST"),
    column("resolved", "RESOLVED"),
    column("message", "MESSAGE"),
];
/// What was sent, in the card of a listing.
pub(super) const PUSHES: &[Column] = &[
    times("sent_at", "SENT"),
    column("kind", "KIND"),
    column("wanted_version", "VERSION"),
    column("old_quantity", "QTY"),
    column("new_quantity", "TO"),
    column("old_price", "PRICE"),
    column("new_price", "TO"),
    column("currency", "IN"),
    column("outcome", "OUTCOME"),
    shown_as("delay_ms", "MS", whole),
];
/// What was seen, in the card of a product.
pub(super) const HISTORY: &[Column] = &[
    times("created_at", "WHEN"),
    column("version", "VERSION"),
    column("previous_stock", "STOCK"),
    column("new_stock", "TO"),
    column("previous_price", "PRICE"),
    column("new_price", "TO"),
    column("currency", "IN"),
    column("change_source", "BY"),
];

/// The lists that are shown as tables: where each is asked for, and the keys that its columns show. For whoever wants to
/// know whether the answers still have them.
#[must_use]
pub fn listed() -> Vec<(&'static str, Vec<&'static str>)> {
    [
        ("/v1/products", PRODUCTS),
        ("/v1/listings", LISTINGS),
        ("/v1/listings/drift", DRIFT),
        ("/v1/listings/bulk", BULK),
        ("/v1/plan", PLAN),
        ("/v1/holds", HOLDS),
        ("/v1/platforms", PLATFORMS),
        ("/v1/credentials", super::credentials::CREDENTIALS),
        ("/v1/queue", QUEUE),
        ("/v1/queues", QUEUES),
        ("/v1/errors", ERRORS),
        ("/v1/schedules", super::schedule::SCHEDULES),
        ("/v1/executions", super::schedule::EXECUTIONS),
        ("/v1/delay", DELAYS),
        ("/v1/syncs", PUSHES),
        ("/v1/products/{id} history", HISTORY),
    ]
    .into_iter()
    .map(|(path, columns)| (path, columns.iter().map(|c| c.key).collect()))
    .collect()
}

/// The rows of an answer.
pub(super) fn items(answer: &Value) -> &[Value] {
    array(at(answer, "items"))
}

pub(super) fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The requests of a dry run, in their order.
fn yes_or_nothing(value: &Value) -> String {
    if value == true { "yes" } else { "" }.to_owned()
}

fn steps(value: &Value) -> String {
    let steps: Vec<String> = array(value).iter().map(step).collect();
    if steps.is_empty() {
        "nothing".to_owned()
    } else {
        steps.join(", then ")
    }
}

/// What a destination would say; nothing where nothing would be set.
fn preview(value: &Value) -> String {
    let why = || plain(at(value, "why"));
    let warnings: Vec<String> = array(at(value, "warnings")).iter().map(plain).collect();
    match at(value, "outcome").as_str() {
        Some("taken") if warnings.is_empty() => "would take it".to_owned(),
        Some("taken") => format!("would take it: {}", warnings.join("; ")),
        Some("refused") => format!("would refuse it: {}", why()),
        Some("unknown") => format!("not known: {}", why()),
        Some("none") => "cannot be asked".to_owned(),
        Some("not_asked") => "not asked: more than 20 on this page".to_owned(),
        _ => "-".to_owned(),
    }
}

fn step(value: &Value) -> String {
    let revise = at(value, "revise");
    if revise.is_object() {
        let quantity = at(revise, "quantity");
        let price = at(revise, "price");
        let parts = [("quantity", quantity), ("price", price)];
        let set: Vec<String> = parts
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect();
        return format!("set {}", set.join(" and "));
    }
    match at(value, "read").as_str() {
        Some("before_raise") => "look for a sale".to_owned(),
        Some("reconcile") => "compare it with what is believed".to_owned(),
        Some(_) => "look what it shows".to_owned(),
        None => plain(value),
    }
}

fn kept_back(value: &Value) -> String {
    let words = array(value).iter().map(|kept| match at(kept, "held").as_str() {
        Some(reason) => format!("held for {reason}"),
        None => plain(kept).replace('_', " "),
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

/// What decided, and from which cost at which rate; how a price came of it tells `listings explain`.
fn why(cause: &Value) -> String {
    let rule = plain(at(cause, "rule"));
    let cost = match at(cause, "cost") {
        Value::Null => return rule,
        cost => plain(cost),
    };
    match plain(at(cause, "yen_per_unit")).as_str() {
        // A price in yen is counted with no rate.
        "-" | "1" => format!("{rule}, cost {cost}"),
        rate => format!("{rule}, cost {cost}, {rate} yen for one unit"),
    }
}

/// Whether calls go through, and from when.
pub(super) fn gate(value: &Value) -> String {
    let state = plain(at(value, "state"));
    match at(value, "until") {
        Value::Null => state,
        until => format!("{state} until {}", crate::cli::output::time(until)),
    }
}

fn last_error(value: &Value) -> String {
    plain(at(value, "message"))
}

/// A number without what is behind its point.
pub(super) fn whole(value: &Value) -> String {
    value
        .as_f64()
        .map_or_else(|| plain(value), |number| format!("{number:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::{find, table};
    use crate::domain::{
        Currency, DestinationPlatform, ErrorClass, ListingId, ListingRef, ListingState, ListingStatus, Money,
        ProductId, Quantity, Wanted,
    };
    use crate::resilience::{Counts, GateView, GuardStatus, LastError};
    use crate::sync::dry_run::{KeptBack, Planned};
    use crate::sync::plan::{ReadWhy, Step};
    use chrono::DateTime;
    use serde_json::json;

    fn usd(units: i64) -> Option<Money> {
        Money::new(units.into(), Currency::Usd).ok()
    }

    fn planned() -> Planned {
        Planned {
            listing_id: ListingId(7),
            product_id: ProductId(3),
            listing: ListingRef {
                listing_id: ListingId(7),
                destination: DestinationPlatform::Ebay,
                platform_product_id: "8200000007".into(),
                sku: "A-1".into(),
            },
            destination: DestinationPlatform::Ebay,
            sku: "A-1".into(),
            confirmed: ListingState {
                status: ListingStatus::Active,
                quantity: Quantity::ZERO,
                price: usd(50),
            },
            wanted: Some(Wanted {
                quantity: Quantity::new(2).unwrap(),
                price: usd(55),
                status: ListingStatus::Active,
            }),
            steps: vec![
                Step::Revise {
                    quantity: None,
                    price: usd(55),
                },
                Step::Read(ReadWhy::BeforeRaise),
                Step::Revise {
                    quantity: Quantity::new(2).ok(),
                    price: None,
                },
            ],
            kept_back: vec![KeptBack::AutoSyncOff, KeptBack::Held("radius".into())],
            cause: Some(json!({
                "rule": "in_stock", "cost": { "amount": "2500", "currency": "JPY" }, "yen_per_unit": "150.5",
            })),
        }
    }

    fn guard() -> GuardStatus {
        GuardStatus {
            service: "ebay".to_owned(),
            gate: GateView::Shut {
                until: DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
            },
            told_to_wait_until: None,
            rate_per_second: 2.5,
            full_rate_per_second: 5.0,
            in_flight: 1,
            waiting: 4,
            trips: 1,
            counts: Counts {
                ok: 10,
                answered: 2,
                failed: 5,
                trips: 1,
                ..Counts::default()
            },
            last_ok: None,
            last_error: Some(LastError {
                at: DateTime::from_timestamp(1_795_000_000, 0).unwrap(),
                class: Some(ErrorClass::Transient),
                message: "connection refused".to_owned(),
            }),
        }
    }

    /// What `ops` makes of a guard's status.
    fn platform() -> Value {
        let mut row = json!(guard());
        row["name"] = json!("ebay");
        row["simulator"] = json!(false);
        row
    }

    #[test]
    fn every_key_of_a_typed_row_is_there() {
        for (columns, row) in [(PLAN, json!(planned())), (PLATFORMS, platform())] {
            for column in columns {
                assert!(find(&row, column.key).is_some(), "`{}` in {row}", column.key);
            }
        }
    }

    #[test]
    fn a_plan_says_what_would_be_sent_in_which_order_and_what_keeps_it_back() {
        let idle = Planned {
            steps: Vec::new(),
            kept_back: Vec::new(),
            wanted: None,
            cause: None,
            ..planned()
        };
        let expected = [
            " LISTING  SKU  QTY  PRICE   WANTED  WANTED PRICE  WOULD                                                        KEPT BACK BY                    WHY",
            " 7        A-1  0    50 USD  2       55 USD        set price 55 USD, then look for a sale, then set quantity 2  auto sync off, held for radius  in_stock, cost 2500 JPY, 150.5 yen for one unit",
            " 7        A-1  0    50 USD  -       -             nothing                                                      -                               -",
        ];
        assert_eq!(
            table(&[json!(planned()), json!(idle)], PLAN)
                .lines()
                .collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn a_reason_names_the_rate_only_where_one_was_used() {
        let cost = json!({ "amount": "2500", "currency": "JPY" });
        assert_eq!(why(&json!({ "rule": "out_of_stock" })), "out_of_stock");
        assert_eq!(
            why(&json!({ "rule": "in_stock", "cost": cost, "yen_per_unit": "1" })),
            "in_stock, cost 2500 JPY"
        );
    }

    #[test]
    fn every_step_and_every_hindrance_has_its_words() {
        let steps_of = |all: &[Step]| steps(&json!(all));
        assert_eq!(steps_of(&[Step::End]), "end");
        assert_eq!(
            steps_of(&[Step::Relist, Step::Read(ReadWhy::Unsure)]),
            "relist, then look what it shows"
        );
        let kept = [KeptBack::Paused, KeptBack::InFlight];
        assert_eq!(kept_back(&json!(kept)), "paused, in flight");
    }

    #[test]
    fn a_platform_says_until_when_its_gate_is_shut_and_what_went_wrong_last() {
        let expected = [
            " PLATFORM  GATE                                PER SECOND  OPEN  WAITING  OK  REJECTED  FAILED  LIMITED  TIMED OUT  TRIPS  SIMULATOR  LAST ERROR",
            " ebay      shut until 2026-11-18 20:06:40 JST  2.5         1     4        10  2         5       0        0          1      no         connection refused",
        ];
        assert_eq!(
            table(&[platform()], PLATFORMS).lines().collect::<Vec<_>>(),
            expected
        );
    }

    #[test]
    fn rows_of_the_tables_are_shown_as_a_person_reads_them() {
        let product = json!({
            "id": 1, "source_product_id": "x1", "stock": 1, "price": { "amount": "4980", "currency": "JPY" },
            "url_status": "active", "monitoring": true, "held_reason": null,
            "last_verified_at": "2026-11-22T04:14:07+00:00", "title": "lamp",
        });
        assert_eq!(
            table(&[product], PRODUCTS).lines().collect::<Vec<_>>(),
            [
                " ID  ITEM  STOCK  PRICE     URL     WATCHED  HELD  VERIFIED                 TITLE",
                " 1   x1    1      4980 JPY  active  yes      -     2026-11-22 13:14:07 JST  lamp",
            ]
        );
        let listing = json!({
            "id": 7, "product_id": 1, "destination": "ebay", "sku": "A-1", "status": "active", "quantity": 1,
            "wanted_quantity": 0, "price": { "amount": "50", "currency": "USD" }, "wanted_price": null, "auto_sync": false,
            "held_reason": "radius",
        });
        assert_eq!(
            table(&[listing], LISTINGS).lines().collect::<Vec<_>>(),
            [
                " ID  PRODUCT  AT    SKU  STATUS  QTY  WANTED  PRICE   WANTED PRICE  SYNC  HELD",
                " 7   1        ebay  A-1  active  1    0       50 USD  -             no    radius",
            ]
        );
        let hold = json!({
            "id": 5, "product_id": 1, "listing_id": null, "reason": "price_step", "proposed_stock": 1,
            "proposed_price": { "amount": "9", "currency": "JPY" }, "meanwhile": "keep", "default_action": "reject",
            "deadline": "2026-11-22T05:14:07+00:00",
        });
        assert_eq!(
            table(&[hold], HOLDS).lines().collect::<Vec<_>>(),
            [
                " ID  PRODUCT  LISTING  REASON      STOCK  PRICE  MEANWHILE  AT DEADLINE  DEADLINE",
                " 5   1        -        price_step  1      9 JPY  keep       reject       2026-11-22 14:14:07 JST",
            ]
        );
        let job = json!({
            "id": 9, "queue": "platform_sync", "destination": "ebay", "status": "dead", "priority": 1, "listing_id": 7,
            "retry_count": 3, "scheduled_at": "2026-11-22T04:14:07+00:00", "error": "refused",
        });
        assert_eq!(
            table(&[job], QUEUE).lines().collect::<Vec<_>>(),
            [
                " ID  QUEUE          AT    STATUS  PRIO  LISTING  RETRIES  DUE                      ERROR",
                " 9   platform_sync  ebay  dead    1     7        3        2026-11-22 13:14:07 JST  refused",
            ]
        );
        let error = json!({
            "id": 2, "severity": "critical", "count": 12, "code": "contract", "platform": "yahoo_auction",
            "product_id": null, "last_seen_at": "2026-11-22T04:14:07+00:00", "resolved": false, "message": "no price",
        });
        assert_eq!(
            table(&[error], ERRORS).lines().collect::<Vec<_>>(),
            [
                " ID  SEVERITY  COUNT  CODE      PLATFORM       PRODUCT  LAST                     RESOLVED  MESSAGE",
                " 2   critical  12     contract  yahoo_auction  -        2026-11-22 13:14:07 JST  no        no price",
            ]
        );
    }
}
