//! The gateway of a source.

use super::verdict::{Batch, judge};
use super::{codes, from_guard, owned, unanswered, was_never_sent};
use crate::backoff::Jitter;
use crate::domain::{ErrorClass, Observation, SourceProductId};
use crate::platform::{PlatformError, Source};
use crate::resilience::{CallError, Guard, Permit, Priority};
use crate::supervision::spawn_owned;
use actix::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// One look at one item, or why there is none.
type Look = Result<Observation, PlatformError>;

/// How often a check is repeated.
const REPEATS: u32 = 3;
/// The longest wait before the first repeat; it doubles.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// A source behind its guard.
#[derive(Clone)]
pub struct SourceGateway {
    adapter: Arc<dyn Source>,
    guard: Guard,
}

impl SourceGateway {
    /// The gateway to `adapter` behind `guard`.
    #[must_use]
    pub fn new(adapter: Arc<dyn Source>, guard: Guard) -> Self {
        Self { adapter, guard }
    }

    /// The guard, for whoever reserves permits before it knows what to ask.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }
}

impl Actor for SourceGateway {
    type Context = Context<Self>;
}

/// Looks at items, at most as many as the adapter takes in one request; one answer for each, in order.
#[derive(Message)]
#[rtype(result = "Vec<Result<Observation, PlatformError>>")]
pub struct Observe {
    /// The items.
    pub ids: Vec<SourceProductId>,
    /// The right to ask, reserved before the items were chosen.
    pub permit: Permit,
}

impl Handler<Observe> for SourceGateway {
    type Result = ResponseFuture<Vec<Look>>;

    fn handle(&mut self, Observe { ids, permit }: Observe, _: &mut Context<Self>) -> Self::Result {
        let this = self.clone();
        Box::pin(async move {
            let (service, asked) = (this.guard.service().to_owned(), ids.len());
            let task = spawn_owned("observe", async move { this.observe(ids, permit).await });
            match owned(&service, "look at the items", task).await {
                Ok(looks) => looks,
                Err(crash) => vec![Err(crash); asked],
            }
        })
    }
}

impl SourceGateway {
    async fn observe(&self, ids: Vec<SourceProductId>, permit: Permit) -> Vec<Look> {
        let look = || async { judge(self.adapter.observe(&ids).await) };
        let mut looks = self.settle(&ids, self.guard.call_with(permit, look).await);
        for repeat in 0..REPEATS {
            let again: Vec<usize> = places(&looks, is_worth_repeating);
            let Some(asked) = pick(&ids, &again) else { break };
            tokio::time::sleep(wait(repeat)).await;
            let look = || async { judge(self.adapter.observe(&asked).await) };
            let news = self.settle(&asked, self.guard.call(Priority::Normal, look).await);
            for (place, new) in again.into_iter().zip(news) {
                // What was not sent says less than the failure that is already known.
                if !new.as_ref().is_err_and(was_never_sent)
                    && let Some(look) = looks.get_mut(place)
                {
                    *look = new;
                }
            }
        }
        looks
    }

    /// One look for each of `ids`, whatever the call gave.
    fn settle(
        &self,
        ids: &[SourceProductId],
        result: Result<Vec<Look>, CallError<Batch<Look>>>,
    ) -> Vec<Look> {
        let service = self.guard.service();
        let mut looks = match result {
            Ok(looks) | Err(CallError::Failed(Batch { entries: looks, .. })) => looks,
            Err(error) => vec![Err(from_guard(service, "look at the items", &error)); ids.len()],
        };
        let missing = looks.len()..ids.len();
        looks.extend(missing.map(|_| Err(unanswered(service))));
        looks.truncate(ids.len());
        looks
    }
}

/// Failed for a passing reason after it was really asked. A panic is a fault of ours that the same page brings again.
fn is_worth_repeating(look: &Look) -> bool {
    matches!(look, Err(error) if error.class == ErrorClass::Transient
        && !was_never_sent(error)
        && *error.code != *codes::PANICKED)
}

/// Where in `looks` the predicate holds.
fn places(looks: &[Look], holds: fn(&Look) -> bool) -> Vec<usize> {
    let each = looks.iter().enumerate();
    each.filter(|(_, look)| holds(look))
        .map(|(place, _)| place)
        .collect()
}

/// The ids at `places`; `None` when there are none.
fn pick(ids: &[SourceProductId], places: &[usize]) -> Option<Vec<SourceProductId>> {
    let picked: Vec<_> = places
        .iter()
        .filter_map(|place| ids.get(*place).cloned())
        .collect();
    (!picked.is_empty()).then_some(picked)
}

/// How long to wait before a repeat: any time up to 1, 2, 4 s.
fn wait(repeat: u32) -> Duration {
    let ceiling = FIRST_WAIT * 2_u32.saturating_pow(repeat);
    Jitter::FULL.draw(ceiling, &mut rand::rng())
}
