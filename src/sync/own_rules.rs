//! A listing's own rules: what differs from those of its destination, and changing it.
//!
//! The same values are understood as in the settings, and refused with all their mistakes at once. The listing's row is
//! locked while the new rules are made of the old ones, and what it should be is worked out anew before the lock ends:
//! nobody ever sees the new rules beside the old price.

use super::reprice::rework;
use crate::clock::Clock;
use crate::domain::{ListingId, ProductId};
use crate::pricing::{PriceBook, Problem, RULE_KEYS};
use crate::store::wanted::lock_listings_of;
use crate::store::{Connection as AsyncPgConnection, Db, StoreError, listings};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What is to differ from now on. Taken away first, then set.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesChange {
    /// Nothing of what differs now stays.
    #[serde(default)]
    pub clear: bool,
    /// These follow the destination again.
    #[serde(default)]
    pub unset: Vec<String>,
    /// These differ.
    #[serde(default)]
    pub set: Map<String, Value>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulesChanged {
    /// Whether anything differs from before.
    pub changed: bool,
    /// What differs from the destination's rules now.
    pub own: Option<Value>,
    /// The listings whose quantity, price or status is to be another one now.
    pub moved: Vec<ListingId>,
}

impl RulesChange {
    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.clear && self.unset.is_empty() && self.set.is_empty()
    }

    /// What differs after this change, when `own` did before; `None` when nothing does.
    ///
    /// # Errors
    /// Keys that no rule has, and rules that are no table.
    fn over(&self, own: Option<&Value>) -> Result<Option<Value>, Vec<Problem>> {
        let mut fields = match own.filter(|own| !self.clear && !own.is_null()) {
            None => Map::new(),
            Some(Value::Object(fields)) => fields.clone(),
            Some(other) => return Err(vec![no_table(other)]),
        };
        let unknown: Vec<Problem> = self
            .unset
            .iter()
            .filter(|key| !RULE_KEYS.contains(&key.as_str()) && !fields.contains_key(*key))
            .map(|key| unknown(key))
            .collect();
        if !unknown.is_empty() {
            return Err(unknown);
        }
        fields.retain(|key, _| !self.unset.contains(key));
        fields.extend(self.set.clone());
        Ok((!fields.is_empty()).then_some(Value::Object(fields)))
    }
}

fn unknown(key: &str) -> Problem {
    Problem {
        key: format!("unset.{}", key.chars().take(60).collect::<String>()),
        expected: format!("one of {}", RULE_KEYS.join(", ")),
        got: "an unknown key".to_owned(),
    }
}

fn no_table(got: &Value) -> Problem {
    Problem {
        key: "rules".to_owned(),
        expected: "a table of rules, or `clear` to begin with none".to_owned(),
        got: got.to_string().chars().take(60).collect(),
    }
}

/// Changes a listing's own rules and works out what it should be by them. What stands so already changes nothing.
///
/// # Errors
/// The inner ones are mistakes in the rules, all of them, and nothing was changed. [`StoreError::NotFound`] without such
/// a listing; when the database is away or refuses.
pub async fn change_rules(
    db: &Db,
    book: &Arc<PriceBook>,
    clock: &Clock,
    id: ListingId,
    change: RulesChange,
) -> Result<Result<RulesChanged, Vec<Problem>>, StoreError> {
    let mut conn = db.conn().await?;
    let product = listings::get(&mut conn, id).await?.basis.product_id;
    drop(conn);
    let (book, now) = (Arc::clone(book), clock.now());
    db.transaction_retried(3, move |conn| {
        let (book, change) = (Arc::clone(&book), change.clone());
        Box::pin(async move { changed(conn, &book, (product, id), &change, now).await })
    })
    .await
}

async fn changed(
    conn: &mut AsyncPgConnection,
    book: &PriceBook,
    (product, id): (ProductId, ListingId),
    change: &RulesChange,
    now: DateTime<Utc>,
) -> Result<Result<RulesChanged, Vec<Problem>>, StoreError> {
    // All of the product's, in the order in which everybody locks them: they are worked out together below.
    let rows = lock_listings_of(conn, &[product]).await?;
    let row = rows.into_iter().find(|row| row.listing.id() == id);
    let basis = row
        .map(|row| row.listing.basis)
        .ok_or_else(|| StoreError::not_found(format!("listing `{id}`")))?;
    let own = match change.over(basis.rules.as_ref()) {
        Ok(own) => own,
        Err(problems) => return Ok(Err(problems)),
    };
    if own == basis.rules {
        let (changed, moved) = (false, Vec::new());
        return Ok(Ok(RulesChanged { changed, own, moved }));
    }
    let destination = basis.listing.destination;
    let problems = own
        .as_ref()
        .map(|own| book.problems_of(destination, own, Some(basis.currency)));
    if let Some(problems) = problems.filter(|problems| !problems.is_empty()) {
        return Ok(Err(problems));
    }
    listings::set_rules(conn, id, own.as_ref()).await?;
    let moved = rework(conn, &[product], book, "rules", now).await?;
    let changed = true;
    Ok(Ok(RulesChanged { changed, own, moved }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn change(value: Value) -> RulesChange {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_is_set_is_laid_over_what_stays() {
        let own = json!({ "floor": 10, "cap": 2 });
        for (asked, after) in [
            (json!({ "set": { "cap": 3 } }), json!({ "floor": 10, "cap": 3 })),
            (json!({ "unset": ["cap", "buffer"] }), json!({ "floor": 10 })),
            (
                json!({ "clear": true, "set": { "margin_bp": 500 } }),
                json!({ "margin_bp": 500 }),
            ),
            (json!({ "set": { "floor": 10 } }), own.clone()),
        ] {
            assert_eq!(change(asked.clone()).over(Some(&own)), Ok(Some(after)), "{asked}");
        }
        assert_eq!(change(json!({ "clear": true })).over(Some(&own)), Ok(None));
        assert_eq!(change(json!({ "unset": ["cap"] })).over(None), Ok(None));
    }

    #[test]
    fn a_key_that_no_rule_has_can_be_taken_away_only_where_it_stands() {
        let own = json!({ "flor": 10 });
        assert_eq!(change(json!({ "unset": ["flor"] })).over(Some(&own)), Ok(None));
        let problems = change(json!({ "unset": ["flor", "kap"] }))
            .over(None)
            .unwrap_err();
        assert_eq!(problems.len(), 2);
    }

    #[test]
    fn rules_that_are_no_table_are_cleared_before_others_are_set() {
        let broken = json!(["floor"]);
        assert!(
            change(json!({ "set": { "cap": 3 } }))
                .over(Some(&broken))
                .is_err()
        );
        let cleared = change(json!({ "clear": true, "set": { "cap": 3 } })).over(Some(&broken));
        assert_eq!(cleared, Ok(Some(json!({ "cap": 3 }))));
    }
}
