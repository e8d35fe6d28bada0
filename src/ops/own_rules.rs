//! A listing's own pricing rules: look at them, change them.

use super::{InputProblem, Ops, OpsError};
use crate::domain::ListingId;
use crate::pricing::Problem;
use crate::store::listings;
use crate::store::views::Thing;
use crate::sync::own_rules::{RulesChange, change_rules};
use serde_json::{Value, json};

/// What is to differ from now on.
pub type RulesOrder = RulesChange;

/// The same mistakes as problems of an order.
pub(super) fn rule_problems(problems: Vec<Problem>) -> Vec<InputProblem> {
    let problems = problems.into_iter();
    problems
        .map(|p| InputProblem::new(p.key, p.expected, &p.got))
        .collect()
}

impl Ops {
    /// Every rule of a listing: what is in force, and whether that is its own or its destination's.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none; [`OpsError::Conflict`] when its own rules cannot be read.
    pub async fn rules_of(&self, id: i64) -> Result<Value, OpsError> {
        let ids = self.all_there(Thing::Listing, &[id]).await?;
        let book = self.parts()?.book.load_full();
        let mut conn = self.conn().await?;
        let basis = match ids.first() {
            Some(id) => listings::get(&mut conn, ListingId(*id)).await?.basis,
            None => return Err(OpsError::missing(Thing::Listing, &[id])),
        };
        let destination = basis.listing.destination;
        let own = basis.rules.as_ref();
        let in_force = book.rules_for(destination, own).map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
            OpsError::Conflict {
                message: format!("the listing's own rules are wrong: {}", lines.join("; ")),
                hint: Some(format!("`zaikoban listings rules {id} --clear` takes them away")),
            }
        })?;
        let theirs = book.rules(destination);
        let rows = in_force.shown().into_iter().zip(theirs.shown());
        let items: Vec<Value> = rows
            .map(|((key, value), (_, theirs))| {
                let is_own = own.is_some_and(|own| own.get(key).is_some());
                json!({ "key": key, "value": value, "destination": theirs, "own": is_own })
            })
            .collect();
        Ok(json!({ "items": items, "own": own }))
    }

    /// Changes a listing's own rules; what it should be is worked out anew.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] with every mistake, [`OpsError::NotFound`] when there is no such listing.
    pub async fn change_rules(&self, id: i64, order: RulesOrder, by: &str) -> Result<Value, OpsError> {
        if order.is_empty() {
            return Err(OpsError::invalid(
                "set, unset, clear",
                "one of them at least",
                "none",
            ));
        }
        self.all_there(Thing::Listing, &[id]).await?;
        let parts = self.parts()?;
        let book = parts.book.load_full();
        let listing = ListingId(id);
        let changed = change_rules(&parts.db, &book, &parts.holds.clock, listing, order)
            .await?
            .map_err(|problems| OpsError::all(rule_problems(problems)))?;
        if changed.changed {
            self.look_now()?;
            tracing::info!(listing.id = %listing, by, "A person changed the rules of listing `{listing}`");
        }
        Ok(json!(changed))
    }
}
