//! What an application may ask about no seller: the Taxonomy API's suggestions, and the Analytics API's quotas.

use super::answer::Refusal;
use super::{Answer, MARKETPLACE, Market};
use crate::simulator::world::{Micros, calendar};
use chrono::{Days, NaiveTime, SecondsFormat, TimeZone, Utc};
use serde_json::{Value, json};

/// The tree of the one marketplace.
const TREE: &str = "0";
const TREE_VERSION: &str = "132";
/// Requests of the Inventory API in a day.
const QUOTA: u64 = 2_000_000;

/// A leaf: its id, its name, and the names above it from the root.
struct Leaf {
    id: &'static str,
    name: &'static str,
    above: &'static [(&'static str, &'static str)],
    words: &'static [&'static str],
}

const LEAVES: [Leaf; 5] = [
    Leaf {
        id: "15230",
        name: "Film Cameras",
        above: &[("625", "Cameras & Photo"), ("69323", "Film Photography")],
        words: &["camera", "film", "lens", "カメラ"],
    },
    Leaf {
        id: "180250",
        name: "N Scale",
        above: &[("220", "Toys & Hobbies"), ("180249", "Model Railroads & Trains")],
        words: &["train", "model", "scale", "模型"],
    },
    Leaf {
        id: "31387",
        name: "Wristwatches",
        above: &[("281", "Jewelry & Watches"), ("260324", "Watches")],
        words: &["watch", "clock", "時計"],
    },
    Leaf {
        id: "33034",
        name: "Electric Guitars",
        above: &[
            ("619", "Musical Instruments & Gear"),
            ("3858", "Guitars & Basses"),
        ],
        words: &["guitar", "ギター"],
    },
    Leaf {
        id: "30120",
        name: "Other",
        above: &[("99", "Everything Else")],
        words: &["thing", "other"],
    },
];

/// Whether a thing can be listed under this id.
pub(super) fn is_category(id: &str) -> bool {
    LEAVES.iter().any(|leaf| leaf.id == id)
}

/// A question that is about no listing.
pub(in crate::simulator) enum Question {
    Tree {
        marketplace: Option<String>,
    },
    Suggest {
        tree: String,
        words: Option<String>,
    },
    /// Of the application, or of the seller.
    Quotas {
        seller: bool,
    },
}

impl Question {
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Tree { .. } => "getDefaultCategoryTreeId",
            Self::Suggest { .. } => "getCategorySuggestions",
            Self::Quotas { seller: false } => "getRateLimits",
            Self::Quotas { seller: true } => "getUserRateLimits",
        }
    }

    /// Whether the application's own token is asked for, rather than the seller's.
    pub(super) fn is_for_application(&self) -> bool {
        !matches!(self, Self::Quotas { seller: true })
    }
}

impl Market {
    pub(super) fn question(&mut self, question: &Question, now: Micros) -> Answer {
        let answer = match question {
            Question::Tree { marketplace } => tree(marketplace.as_deref()),
            Question::Suggest { tree, words } => suggest(tree, words.as_deref()),
            Question::Quotas { .. } => self.quotas(now),
        };
        self.note(question.operation(), now, |entry| {
            entry.status = answer.status;
            entry.accepted = answer.status < 300;
        });
        answer
    }

    fn quotas(&self, now: Micros) -> Answer {
        let zone = chrono_tz::America::Los_Angeles;
        let today = calendar(now).with_timezone(&zone).date_naive();
        let midnight = today
            .checked_add_days(Days::new(1))
            .map(|day| day.and_time(NaiveTime::MIN));
        let reset = midnight.and_then(|at| zone.from_local_datetime(&at).earliest());
        let reset = reset.map_or_else(|| calendar(now), |at| at.with_timezone(&Utc));
        Answer::ok(
            200,
            json!({ "rateLimits": [{
                "apiContext": "sell", "apiName": "Inventory", "apiVersion": "v1",
                "resources": [{ "name": "sell.inventory", "rates": [{
                    "limit": QUOTA,
                    "remaining": QUOTA.saturating_sub(self.calls),
                    "reset": reset.to_rfc3339_opts(SecondsFormat::Millis, true),
                    "timeWindow": 86_400,
                }] }],
            }] }),
        )
    }
}

fn tree(marketplace: Option<&str>) -> Answer {
    match marketplace {
        Some(MARKETPLACE) => Answer::ok(
            200,
            json!({ "categoryTreeId": TREE, "categoryTreeVersion": TREE_VERSION }),
        ),
        Some(_) => Answer::refused(&Refusal::taxonomy(
            400,
            62_000,
            "The marketplace ID was not found.",
        )),
        None => Answer::refused(&Refusal::taxonomy(400, 62_001, "marketplace_id is required.")),
    }
}

fn suggest(tree: &str, words: Option<&str>) -> Answer {
    if tree != TREE {
        return Answer::refused(&Refusal::taxonomy(
            404,
            62_004,
            "The category tree was not found.",
        ));
    }
    let Some(words) = words.filter(|words| !words.trim().is_empty()) else {
        return Answer::refused(&Refusal::taxonomy(400, 62_006, "q is required."));
    };
    let low = words.to_lowercase();
    let fitting = LEAVES
        .iter()
        .filter(|leaf| leaf.words.iter().any(|word| low.contains(word)));
    let suggestions: Vec<Value> = fitting.map(Leaf::json).collect();
    if suggestions.is_empty() {
        return Answer::no_content();
    }
    Answer::ok(
        200,
        json!({ "categorySuggestions": suggestions, "categoryTreeId": TREE, "categoryTreeVersion": TREE_VERSION }),
    )
}

impl Leaf {
    /// As a suggestion; those above from the leaf to the root.
    fn json(&self) -> Value {
        let above = self.above.iter().enumerate();
        let above: Vec<Value> = above
            .map(|(before, (id, name))| {
                json!({ "categoryId": id, "categoryName": name, "categoryTreeNodeLevel": before + 1,
                        "categorySubtreeNodeHref": format!("https://api.ebay.com/commerce/taxonomy/v1/category_tree/{TREE}/get_category_subtree?category_id={id}") })
            })
            .rev()
            .collect();
        json!({
            "category": { "categoryId": self.id, "categoryName": self.name },
            "categoryTreeNodeAncestors": above,
            "categoryTreeNodeLevel": self.above.len() + 1,
        })
    }
}
