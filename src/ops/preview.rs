//! What the destinations would say to what is planned, without having it carried out.
//!
//! Each question costs a request of the destination's quota, the same that pushes live on: so there are few, the least
//! urgent of all, and all of them within a short time. What was not asked for that reason is told as such.

use super::{Ops, OpsError};
use crate::domain::{ErrorClass, ListingId, Money, Quantity};
use crate::platform::Revision;
use crate::sync::dry_run::Planned;
use crate::sync::outlet::NotRead;
use crate::sync::plan::Step;
use futures_util::StreamExt as _;
use serde::Serialize;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// So many questions belong to one answer.
const MOST: usize = 20;
/// So many are under way at once.
const AT_ONCE: usize = 4;
/// All of them have to be asked by then.
const WITHIN: Duration = Duration::from_secs(20);

/// What a destination would say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(super) enum Preview {
    /// It would take it.
    Taken {
        /// What it would add.
        warnings: Vec<Box<str>>,
    },
    /// It would refuse it.
    Refused {
        /// Why.
        why: String,
    },
    /// Nobody knows: it could not be asked, or its answer could not be read.
    Unknown {
        /// Why.
        why: String,
    },
    /// The destination knows no such question.
    None,
    /// There were too many on the page.
    NotAsked,
}

impl Preview {
    fn of(answer: Result<Vec<Box<str>>, NotRead>) -> Self {
        match answer {
            Ok(warnings) => Self::Taken { warnings },
            Err(NotRead::Failed(error)) if error.class == ErrorClass::Rejected => Self::Refused {
                why: error.message.to_string(),
            },
            Err(NotRead::Failed(error)) => Self::Unknown {
                why: error.message.to_string(),
            },
            Err(NotRead::NotSent(not_sent)) => Self::Unknown { why: not_sent.why },
        }
    }
}

/// All that a plan would set, in one; `None` when it sets nothing.
fn whole(steps: &[Step]) -> Option<(Option<Quantity>, Option<Money>)> {
    let set = steps.iter().filter_map(|step| match step {
        Step::Revise { quantity, price } => Some((*quantity, *price)),
        _ => None,
    });
    set.reduce(|(q, p), (quantity, price)| (quantity.or(q), price.or(p)))
}

impl Ops {
    /// What the destinations would say to the plans that set something; by listing.
    pub(super) async fn preview(&self, planned: &[Planned]) -> Result<HashMap<ListingId, Preview>, OpsError> {
        let parts = self.parts()?;
        let changes: Vec<_> = planned
            .iter()
            .filter_map(|plan| Some((plan, whole(&plan.steps)?)))
            .collect();
        let send_before = Instant::now() + WITHIN;
        let mut asked = 0_usize;
        let mut questions = Vec::new();
        let mut previews = HashMap::new();
        for (plan, (quantity, price)) in changes {
            let Some(selling) = parts.destinations.get(&plan.destination) else {
                let why = format!("{} is not enabled in the settings", plan.destination);
                previews.insert(plan.listing_id, Preview::Unknown { why });
                continue;
            };
            if !selling.outlet.previews() {
                previews.insert(plan.listing_id, Preview::None);
                continue;
            }
            if asked >= MOST {
                previews.insert(plan.listing_id, Preview::NotAsked);
                continue;
            }
            asked = asked.saturating_add(1);
            let revision = Revision {
                listing: plan.listing.clone(),
                quantity,
                price,
                confirmed: plan.confirmed,
            };
            let answer = selling.outlet.preview(revision, send_before);
            let id = plan.listing_id;
            questions.push(async move { (id, Preview::of(answer.await)) });
        }
        let answers: Vec<_> = futures_util::stream::iter(questions)
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        previews.extend(answers);
        Ok(previews)
    }
}
