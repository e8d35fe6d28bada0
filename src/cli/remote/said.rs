//! What was done, in sentences: each says what the answer says, and names what was left out.

use super::tables::{array, gate};
use crate::cli::output::{at, plain, time};
use serde_json::Value;

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The sentences.
    pub(super) lines: Vec<String>,
    /// Whether all of it was done.
    pub(super) whole: bool,
}

impl Told {
    pub(super) fn new() -> Self {
        Self {
            lines: Vec::new(),
            whole: true,
        }
    }

    pub(super) fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// `{words}: 1, 2`, when there are any.
    pub(super) fn of(mut self, words: &str, ids: &Value) -> Self {
        if !array(ids).is_empty() {
            self.lines.push(format!("{words}: {}", plain(ids)));
        }
        self
    }

    /// There is more to do.
    pub(super) fn unfinished(mut self) -> Self {
        self.whole = false;
        self
    }

    /// The same of what was asked for and not done.
    pub(super) fn left(mut self, words: &str, ids: &Value) -> Self {
        self.whole &= array(ids).is_empty();
        self.of(words, ids)
    }

    /// A line for each thing that was not done, with its reason.
    fn each_left(mut self, what: impl Fn(&Value) -> String, things: &Value) -> Self {
        for thing in array(things) {
            self.whole = false;
            self.lines
                .push(format!("{}: {}", what(thing), plain(at(thing, "why"))));
        }
        self
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

pub(super) fn reloaded(answer: &Value) -> Told {
    let (changed, left) = (at(answer, "changed"), at(answer, "needs_restart"));
    if array(changed).is_empty() && array(left).is_empty() {
        return Told::new().line("nothing differs from the settings in force");
    }
    // A setting that waits for a restart is no failure: it was asked for, and will be.
    Told::new()
        .of("in force now", changed)
        .of("needs a restart", left)
}

pub(super) fn products_paused(answer: &Value) -> Told {
    Told::new()
        .of("paused: product", at(answer, "changed"))
        .of("paused already: product", at(answer, "unchanged"))
}

pub(super) fn products_resumed(answer: &Value) -> Told {
    Told::new()
        .of("watched again: product", at(answer, "changed"))
        .of("watched already: product", at(answer, "unchanged"))
}

pub(super) fn products_checked(answer: &Value) -> Told {
    Told::new()
        .of("looked at before all others: product", at(answer, "checked"))
        .left("paused, so not looked at: product", at(answer, "paused"))
}

pub(super) fn products_removed(answer: &Value) -> Told {
    Told::new().of(
        "removed (the offers at the destinations stay as they are): product",
        at(answer, "removed"),
    )
}

pub(super) fn imported(answer: &Value) -> Told {
    let n = |key: &str| count(at(answer, key));
    if answer.get("dry_run").is_some() {
        let line = format!(
            "{} lines: {} products would be added, {} are watched already, {} offers would be read and linked; nothing \
             was changed",
            n("rows"),
            n("added"),
            n("watched_already"),
            n("offers")
        );
        return Told::new().line(line);
    }
    let line = format!(
        "{} lines: {} products added, {} watched already, {} offers linked",
        n("rows"),
        n("added"),
        n("watched_already"),
        n("linked")
    );
    let what = |left: &Value| {
        let (line, sku) = (plain(at(left, "line")), plain(at(left, "sku")));
        format!("not linked: line {line}, SKU `{sku}`")
    };
    let mut told = Told::new().line(line);
    if let Some(why) = at(answer, "not_watched_yet").as_str() {
        told.whole = false;
        told = told.line(format!(
            "registered, but not watched until the daemon is started again: {why}"
        ));
    }
    told.each_left(what, at(answer, "not_linked"))
}

pub(super) fn listings_paused(answer: &Value) -> Told {
    none_of_many(
        Told::new()
            .of("paused: listing", at(answer, "changed"))
            .of("paused already: listing", at(answer, "unchanged")),
    )
}

pub(super) fn listings_resumed(answer: &Value) -> Told {
    none_of_many(
        Told::new()
            .of("kept in line again: listing", at(answer, "changed"))
            .of("kept in line already: listing", at(answer, "unchanged"))
            .of("goes on after its rejected hold: listing", at(answer, "released"))
            .of(
                "still held, nothing but a zero is sent (`zaikoban holds list`): listing",
                at(answer, "held"),
            ),
    )
}

/// A destination may have no listings at all.
fn none_of_many(told: Told) -> Told {
    if told.lines.is_empty() {
        told.line("there is no such listing")
    } else {
        told
    }
}

pub(super) fn rules_changed(answer: &Value) -> Told {
    if at(answer, "changed") == false {
        return Told::new().line("its rules stand so already");
    }
    let own = match at(answer, "own") {
        Value::Object(own) => {
            let own = own.iter().map(|(key, value)| format!("{key} = {}", plain(value)));
            format!("its own rules: {}", own.collect::<Vec<_>>().join(", "))
        }
        _ => "it follows its destination's rules in everything".to_owned(),
    };
    Told::new().line(own).of(
        "has another quantity, price or status from now on: listing",
        at(answer, "moved"),
    )
}

pub(super) fn pushed(answer: &Value) -> Told {
    let (asked, queued) = (count(at(answer, "asked")), count(at(answer, "queued")));
    Told::new().line(format!(
        "{queued} of {asked} listings are behind and kept in line, and wait in the queue"
    ))
}

pub(super) fn read_back(answer: &Value) -> Told {
    let (asked, queued) = (count(at(answer, "asked")), count(at(answer, "queued")));
    Told::new().line(format!(
        "{queued} of {asked} listings are kept in line, and are read and compared now: see `zaikoban listings drift`"
    ))
}

pub(super) fn holds_decided(answer: &Value) -> Told {
    let words = format!("{}: hold", plain(at(answer, "status")));
    let what = |left: &Value| format!("not decided: hold {}", plain(at(left, "id")));
    Told::new()
        .of(&words, at(answer, "decided"))
        .each_left(what, at(answer, "not_decided"))
}

pub(super) fn errors_resolved(answer: &Value) -> Told {
    Told::new()
        .of("resolved: error", at(answer, "resolved"))
        .of("resolved before: error", at(answer, "unchanged"))
}

pub(super) fn hold_edited(answer: &Value) -> Told {
    let state = at(answer, "state");
    let (id, product) = (plain(at(answer, "hold_id")), plain(at(answer, "product_id")));
    let line = format!(
        "{}: hold {id}; product {product} now counts with {} in stock at {}",
        plain(at(answer, "status")),
        plain(at(state, "stock")),
        plain(at(state, "price")),
    );
    Told::new()
        .line(line)
        .of("follows: listing", at(answer, "listings"))
}

pub(super) fn platform_switched(answer: &Value) -> Told {
    let (name, view) = (plain(at(answer, "platform")), at(answer, "gate"));
    let told = Told::new().line(format!(
        "{}: {name}; its gate is {}",
        plain(at(answer, "done")),
        gate(view)
    ));
    match at(view, "state").as_str() {
        Some("stopped") => told.line("the emergency stop holds it: `zaikoban resume-all` ends that"),
        Some("paused") if at(answer, "done") != "pause" => {
            told.line(format!("it is still paused: `zaikoban platforms resume {name}`"))
        }
        _ => told,
    }
}

pub(super) fn credentials_set(answer: &Value) -> Told {
    let name = plain(at(answer, "platform"));
    let mut told = Told::new().line(if array(at(answer, "set")).is_empty() {
        format!("noted: the end of what is kept of {name}")
    } else {
        format!("kept sealed: {} of {name}", plain(at(answer, "set")))
    });
    if !at(answer, "expires_at").is_null() {
        told = told.line(format!("they end on {}", time(at(answer, "expires_at"))));
    }
    if let Some(secret) = at(answer, "end_unknown_of").as_str() {
        told = told.line(format!(
            "the end of this {secret} is not known: give it with --ends-on, and you are warned before (`zaikoban \
             credentials set {name} --ends-on YYYY-MM-DD`)"
        ));
    }
    if !array(at(answer, "overridden")).is_empty() {
        told = told.line(format!(
            "not used while the settings give another: {} (`platforms.{name}.…`)",
            plain(at(answer, "overridden"))
        ));
    }
    if at(answer, "runs") == false {
        told = told.line(format!(
            "{name} does not run: `platforms.{name}.enabled` is not true"
        ));
    }
    match at(answer, "needs").as_str() {
        Some(needs) => told.line(format!("still: {needs}")),
        None => told,
    }
}

pub(super) fn credentials_removed(answer: &Value) -> Told {
    let name = plain(at(answer, "platform"));
    let told = Told::new().line(format!("forgotten: {} of {name}", plain(at(answer, "removed"))));
    match at(answer, "needs").as_str() {
        Some(needs) => told.line(format!("nothing is sent now: {needs}")),
        None => told,
    }
}

pub(super) fn credentials_rotated(answer: &Value) -> Told {
    let (count, key) = (count(at(answer, "resealed")), plain(at(answer, "key_id")));
    Told::new()
        .line(format!("sealed with the key `{key}`: {count} values"))
        .of(
            "still in the key file, for backups of the database: key",
            at(answer, "old_keys"),
        )
}

pub(super) fn stopped(answer: &Value) -> Told {
    let before = if at(answer, "changed") == true {
        ""
    } else {
        " (it was on already)"
    };
    Told::new().line(format!(
        "emergency stop{before}: nothing is sent to any destination until `zaikoban resume-all`; watching goes on"
    ))
}

pub(super) fn drained(answer: &Value) -> Told {
    let node = plain(at(answer, "node"));
    if at(answer, "draining") != true {
        return Told::new().line(format!("node {node} takes part in the work again"));
    }
    let (done, left) = (count(at(answer, "handed_over")), count(at(answer, "left")));
    let mut told = Told::new();
    if at(answer, "done") != true {
        told.whole = false;
        return told.line(format!(
            "node {node} has handed {done} parts of the work over, {left} are left: they go on being handed over; look \
             again with `zaikoban nodes`"
        ));
    }
    let others = match count(at(answer, "other_nodes")) {
        0 => "no other node is there: nobody does its work until one comes".to_owned(),
        1 => "another node does its work".to_owned(),
        n => format!("{n} other nodes do its work"),
    };
    told.line(format!(
        "node {node} does nothing any more, and can be stopped; {others}"
    ))
}

pub(super) fn resumed(answer: &Value) -> Told {
    let line = if at(answer, "changed") == true {
        "the emergency stop is over"
    } else {
        "there was no emergency stop"
    };
    Told::new()
        .line(line)
        .of("still paused by itself: platform", at(answer, "still_paused"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        HoldId, HoldStatus, ListingId, Money, ProductId, Quantity, SourceState, UrlStatus, Version, WatchId,
    };
    use crate::resilience::GateView;
    use crate::store::listings::Switched;
    use crate::watch::holds::Decided;
    use serde_json::json;

    fn told(lines: &[&str], whole: bool) -> Told {
        Told {
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            whole,
        }
    }

    #[test]
    fn products_are_told_by_what_became_of_each() {
        assert_eq!(
            products_paused(&json!({ "changed": [1, 2], "unchanged": [3] })),
            told(&["paused: product: 1, 2", "paused already: product: 3"], true)
        );
        assert_eq!(
            products_resumed(&json!({ "changed": [], "unchanged": [3] })),
            told(&["watched already: product: 3"], true)
        );
        assert_eq!(
            products_checked(&json!({ "checked": [1], "paused": [2] })),
            told(
                &[
                    "looked at before all others: product: 1",
                    "paused, so not looked at: product: 2"
                ],
                false
            ),
        );
        assert_eq!(
            products_removed(&json!({ "removed": [9] })),
            told(
                &["removed (the offers at the destinations stay as they are): product: 9"],
                true
            )
        );
    }

    #[test]
    fn an_import_names_each_line_that_was_not_linked_and_is_no_success_then() {
        let answer = json!({
            "rows": 3, "added": 2, "watched_already": 1, "linked": 1,
            "not_linked": [{ "line": 4, "sku": "A-9", "why": "ebay has no listing with SKU `A-9`" }],
        });
        assert_eq!(
            imported(&answer),
            told(
                &[
                    "3 lines: 2 products added, 1 watched already, 1 offers linked",
                    "not linked: line 4, SKU `A-9`: ebay has no listing with SKU `A-9`"
                ],
                false
            )
        );
    }

    #[test]
    fn listings_are_told_by_what_became_of_each() {
        let switched = Switched {
            changed: vec![ListingId(1)],
            unchanged: vec![ListingId(2), ListingId(3)],
            released: vec![ListingId(2)],
            held: vec![ListingId(3)],
        };
        assert_eq!(
            listings_resumed(&json!(switched)),
            told(
                &[
                    "kept in line again: listing: 1",
                    "kept in line already: listing: 2, 3",
                    "goes on after its rejected hold: listing: 2",
                    "still held, nothing but a zero is sent (`zaikoban holds list`): listing: 3"
                ],
                true
            )
        );
        assert_eq!(
            listings_paused(&json!(switched)),
            told(&["paused: listing: 1", "paused already: listing: 2, 3"], true)
        );
        assert_eq!(
            listings_paused(&json!(Switched::default())),
            told(&["there is no such listing"], true)
        );
        assert_eq!(
            pushed(&json!({ "asked": 3, "queued": 1 })),
            told(
                &["1 of 3 listings are behind and kept in line, and wait in the queue"],
                true
            )
        );
    }

    #[test]
    fn changed_rules_are_told_with_what_they_move() {
        let none = json!({ "changed": false, "own": { "cap": 3 }, "moved": [] });
        assert_eq!(rules_changed(&none), told(&["its rules stand so already"], true));
        let set = json!({ "changed": true, "own": { "cap": 3, "rounding": ".99" }, "moved": [ListingId(7)] });
        assert_eq!(
            rules_changed(&set),
            told(
                &[
                    "its own rules: cap = 3, rounding = .99",
                    "has another quantity, price or status from now on: listing: 7"
                ],
                true
            )
        );
        let cleared = json!({ "changed": true, "own": null, "moved": [] });
        assert_eq!(
            rules_changed(&cleared),
            told(&["it follows its destination's rules in everything"], true)
        );
    }

    #[test]
    fn a_decision_on_several_holds_names_those_that_were_not_decided() {
        let answer = json!({
            "status": "accepted", "decided": [1], "not_decided": [{ "id": 2, "why": "hold `2` is rejected already, by hana" }],
        });
        let lines = [
            "accepted: hold: 1",
            "not decided: hold 2: hold `2` is rejected already, by hana",
        ];
        assert_eq!(holds_decided(&answer), told(&lines, false));
        let decided = Decided {
            hold_id: HoldId(4),
            watch_id: WatchId(5),
            product_id: ProductId(6),
            status: HoldStatus::Edited,
            version: Version(2),
            state: Some(SourceState {
                stock: Quantity::new(3).unwrap(),
                price: Money::yen(4_980).ok(),
                url_status: UrlStatus::Active,
            }),
            listings: vec![ListingId(7)],
        };
        let lines = [
            "edited: hold 4; product 6 now counts with 3 in stock at 4980 JPY",
            "follows: listing: 7",
        ];
        assert_eq!(hold_edited(&json!(decided)), told(&lines, true));
    }

    #[test]
    fn a_platform_says_how_its_gate_is_and_what_still_keeps_it() {
        let switched = |done: &str, gate: GateView| {
            platform_switched(&json!({ "platform": "ebay", "done": done, "gate": gate })).lines
        };
        assert_eq!(
            switched("resume", GateView::Open),
            ["resume: ebay; its gate is open"]
        );
        assert_eq!(
            switched("pause", GateView::Paused),
            ["pause: ebay; its gate is paused"]
        );
        assert_eq!(
            switched("reset", GateView::Paused),
            [
                "reset: ebay; its gate is paused",
                "it is still paused: `zaikoban platforms resume ebay`"
            ]
        );
        assert_eq!(
            switched("resume", GateView::Stopped),
            [
                "resume: ebay; its gate is stopped",
                "the emergency stop holds it: `zaikoban resume-all` ends that"
            ]
        );
    }

    #[test]
    fn the_emergency_stop_says_whether_it_was_on_already_and_its_end_what_stays_paused() {
        let stop = |changed| {
            stopped(&json!({ "emergency_stop": true, "changed": changed, "still_paused": [] })).lines
        };
        assert!(!stop(true)[0].contains("already"));
        assert!(stop(false)[0].starts_with("emergency stop (it was on already): nothing is sent"));
        let over = json!({ "emergency_stop": false, "changed": true, "still_paused": ["ebay"] });
        assert_eq!(
            resumed(&over).lines,
            [
                "the emergency stop is over",
                "still paused by itself: platform: ebay"
            ]
        );
        let none = json!({ "emergency_stop": false, "changed": false, "still_paused": [] });
        assert_eq!(resumed(&none).lines, ["there was no emergency stop"]);
    }
}
