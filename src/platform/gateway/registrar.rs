//! The way to a registrar: every call waits for a permit behind what keeps listings in line.
//!
//! No actor stands here. Whoever registers is a job of the queue, which has its own task, time limit and panics; what is
//! added to the adapter is the guard, and that a batch refused as a whole is sent again entry by entry, once.

use super::verdict::{Batch, judge};
use super::{BATCH_REFUSED, flatten, from_guard, unanswered, was_never_sent};
use crate::platform::PlatformError;
use crate::platform::registrar::{NewListing, NotDone, Quota, Registrar, StandingOffer, Step, Suggestion};
use crate::resilience::{CallError, Guard, Priority};
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;

/// A registrar behind its guard. Cheap to clone.
#[derive(Clone)]
pub struct RegistrarGateway {
    adapter: Arc<dyn Registrar>,
    guard: Guard,
}

/// One step of the adapter for a batch.
type Send<T> = for<'a> fn(&'a dyn Registrar, &'a [T]) -> BoxFuture<'a, Vec<Step>>;

impl RegistrarGateway {
    /// The way to `adapter` behind `guard`.
    #[must_use]
    pub fn new(adapter: Arc<dyn Registrar>, guard: Guard) -> Self {
        Self { adapter, guard }
    }

    /// What can be told without asking.
    #[must_use]
    pub fn adapter(&self) -> &dyn Registrar {
        &*self.adapter
    }

    /// See [`Registrar::offers`].
    ///
    /// # Errors
    /// The adapter's, and the guard's with the codes of [`super::codes`].
    pub async fn offers(&self, sku: &str) -> Result<Vec<StandingOffer>, PlatformError> {
        let call = || self.adapter.offers(sku);
        let result = self.guard.call(Priority::Low, call).await;
        flatten(self.guard.service(), "look for offers", result)
    }

    /// See [`Registrar::put_items`].
    pub async fn put_items(&self, new: &[NewListing]) -> Vec<Step> {
        self.batches("describe goods", new, |to, new| to.put_items(new))
            .await
    }

    /// See [`Registrar::make_offers`].
    pub async fn make_offers(&self, new: &[NewListing]) -> Vec<Step> {
        self.batches("make offers", new, |to, new| to.make_offers(new))
            .await
    }

    /// See [`Registrar::publish`].
    pub async fn publish(&self, offer_ids: &[Box<str>]) -> Vec<Step> {
        self.batches("publish offers", offer_ids, |to, ids| to.publish(ids))
            .await
    }

    /// See [`Registrar::replace_offer`].
    pub async fn replace_offer(&self, offer_id: &str, new: &NewListing) -> Step {
        let call = || async { judge(vec![self.adapter.replace_offer(offer_id, new).await]) };
        let result = self.guard.call(Priority::Low, call).await;
        let mut steps = self.read("replace an offer", 1, result);
        steps.pop().unwrap_or_else(|| Err(self.unanswered()))
    }

    /// See [`Registrar::suggest`]. A person waits for it.
    ///
    /// # Errors
    /// As [`offers`](Self::offers).
    pub async fn suggest(&self, marketplace: &str, words: &str) -> Result<Vec<Suggestion>, PlatformError> {
        let call = || self.adapter.suggest(marketplace, words);
        let result = self.guard.call(Priority::Urgent, call).await;
        flatten(self.guard.service(), "suggest a category", result)
    }

    /// See [`Registrar::quotas`].
    ///
    /// # Errors
    /// As [`offers`](Self::offers).
    pub async fn quotas(&self) -> Result<Vec<Quota>, PlatformError> {
        let result = self.guard.call(Priority::Low, || self.adapter.quotas()).await;
        flatten(self.guard.service(), "read the quotas", result)
    }

    /// Sends all, batch by batch; those whose batch was refused as a whole, alone.
    async fn batches<T: Clone>(&self, doing: &str, all: &[T], send: Send<T>) -> Vec<Step> {
        let mut steps: Vec<Option<Step>> = all.iter().map(|_| None).collect();
        let mut open: VecDeque<usize> = (0..all.len()).collect();
        let mut alone: VecDeque<usize> = VecDeque::new();
        loop {
            let places: Vec<usize> = if open.is_empty() {
                alone.pop_front().into_iter().collect()
            } else {
                let size = self.adapter.batch_size().clamp(1, open.len());
                open.drain(..size).collect()
            };
            if places.is_empty() {
                break;
            }
            let sent: Vec<T> = places.iter().filter_map(|i| all.get(*i).cloned()).collect();
            let call = || async { judge(send(&*self.adapter, &sent).await) };
            let result = self.guard.call(Priority::Low, call).await;
            for (place, step) in places.iter().zip(self.read(doing, sent.len(), result)) {
                if sent.len() > 1 && is_refused_with_others(&step) {
                    alone.push_back(*place);
                } else if let Some(slot) = steps.get_mut(*place) {
                    *slot = Some(step);
                }
            }
        }
        let answered = steps.into_iter();
        answered
            .map(|step| step.unwrap_or_else(|| Err(self.unanswered())))
            .collect()
    }

    /// One answer for each of `sent` entries, whatever the call gave.
    fn read(&self, doing: &str, sent: usize, result: Result<Vec<Step>, CallError<Batch<Step>>>) -> Vec<Step> {
        let mut steps = match result {
            Ok(steps) | Err(CallError::Failed(Batch { entries: steps, .. })) => steps,
            Err(error) => {
                let error = from_guard(self.guard.service(), doing, &error);
                let unknown = !was_never_sent(&error);
                let step = || {
                    Err(NotDone {
                        error: error.clone(),
                        unknown,
                    })
                };
                return (0..sent).map(|_| step()).collect();
            }
        };
        let missing = steps.len()..sent;
        steps.extend(missing.map(|_| Err(self.unanswered())));
        steps
    }

    fn unanswered(&self) -> NotDone {
        NotDone {
            error: unanswered(self.guard.service()),
            unknown: true,
        }
    }
}

fn is_refused_with_others(step: &Step) -> bool {
    matches!(step, Err(NotDone { error, unknown: false }) if *error.code == *BATCH_REFUSED)
}
