//! The gateway of a destination.

use super::verdict::{Batch, judge};
use super::{BATCH_REFUSED, flatten, from_guard, owned, unanswered, was_never_sent};
use crate::domain::{ListingRef, ListingState};
use crate::platform::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Revision};
use crate::resilience::{CallError, Guard, Priority};
use crate::supervision::spawn_owned;
use actix::prelude::*;
use futures_util::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// A destination behind its guard.
#[derive(Clone)]
pub struct DestinationGateway {
    adapter: Arc<dyn Destination>,
    guard: Guard,
}

impl DestinationGateway {
    /// The gateway to `adapter` behind `guard`.
    #[must_use]
    pub fn new(adapter: Arc<dyn Destination>, guard: Guard) -> Self {
        Self { adapter, guard }
    }

    /// The guard, for status, pause and reset.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }
}

/// When a call may be made.
#[derive(Clone, Copy)]
struct Turn {
    priority: Priority,
    /// `None`: whenever its turn comes.
    before: Option<Instant>,
}

impl Turn {
    fn of(priority: Priority, before: Instant) -> Self {
        Self {
            priority,
            before: Some(before),
        }
    }
}

impl Actor for DestinationGateway {
    type Context = Context<Self>;
}

/// Sets quantities and prices; one outcome for each revision, in order. Any number: it is cut into batches.
#[derive(Message)]
#[rtype(result = "Vec<EntryOutcome>")]
pub struct Revise {
    /// What should become of which listing.
    pub revisions: Vec<Revision>,
    /// How urgent.
    pub priority: Priority,
    /// Not sent from this moment on.
    pub send_before: Instant,
}

/// Ends a listing. After a failure of class `Transient` it may have ended: read it.
#[derive(Message)]
#[rtype(result = "Result<(), PlatformError>")]
pub struct End {
    /// Which.
    pub listing: ListingRef,
    /// How urgent.
    pub priority: Priority,
    /// Not sent from this moment on.
    pub send_before: Instant,
}

/// Lists an ended listing again. After a failure of class `Transient` it may be listed: read it.
#[derive(Message)]
#[rtype(result = "Result<(), PlatformError>")]
pub struct Relist {
    /// Which.
    pub listing: ListingRef,
    /// How urgent.
    pub priority: Priority,
    /// Not sent from this moment on.
    pub send_before: Instant,
}

/// Reads what the destination shows now.
#[derive(Message)]
#[rtype(result = "Result<ListingState, PlatformError>")]
pub struct Read {
    /// Which.
    pub listing: ListingRef,
    /// How urgent.
    pub priority: Priority,
    /// Not sent from this moment on.
    pub send_before: Instant,
}

/// Asks what the destination would say to a revision, without having it carried out: its warnings.
#[derive(Message)]
#[rtype(result = "Result<Vec<Box<str>>, PlatformError>")]
pub struct Preview {
    /// What should become of which listing.
    pub revision: Revision,
    /// Not asked from this moment on.
    pub send_before: Instant,
}

/// Finds the listings of a seller's own key.
#[derive(Message)]
#[rtype(result = "Result<Vec<FoundListing>, PlatformError>")]
pub struct Find {
    /// The key.
    pub sku: Box<str>,
}

impl Handler<Revise> for DestinationGateway {
    type Result = ResponseFuture<Vec<EntryOutcome>>;

    fn handle(&mut self, message: Revise, _: &mut Context<Self>) -> Self::Result {
        let Revise {
            revisions,
            priority,
            send_before,
        } = message;
        let this = self.clone();
        Box::pin(async move {
            let (service, sent) = (this.guard.service().to_owned(), revisions.len());
            let revise = async move { this.revise(&revisions, priority, send_before).await };
            let task = spawn_owned("revise", revise);
            match owned(&service, "revise listings", task).await {
                Ok(outcomes) => outcomes,
                Err(crash) => (0..sent).map(|_| failed(&crash, true)).collect(),
            }
        })
    }
}

impl Handler<End> for DestinationGateway {
    type Result = ResponseFuture<Result<(), PlatformError>>;

    fn handle(&mut self, message: End, _: &mut Context<Self>) -> Self::Result {
        let (listing, turn) = (message.listing, Turn::of(message.priority, message.send_before));
        let doing = format!("end `{}`", listing.platform_product_id);
        self.one(Call::End, turn, doing, move |adapter| {
            Box::pin(async move { adapter.end(&listing).await })
        })
    }
}

impl Handler<Relist> for DestinationGateway {
    type Result = ResponseFuture<Result<(), PlatformError>>;

    fn handle(&mut self, message: Relist, _: &mut Context<Self>) -> Self::Result {
        let (listing, turn) = (message.listing, Turn::of(message.priority, message.send_before));
        let doing = format!("list `{}` again", listing.platform_product_id);
        self.one(Call::Relist, turn, doing, move |adapter| {
            Box::pin(async move { adapter.relist(&listing).await })
        })
    }
}

impl Handler<Read> for DestinationGateway {
    type Result = ResponseFuture<Result<ListingState, PlatformError>>;

    fn handle(&mut self, message: Read, _: &mut Context<Self>) -> Self::Result {
        let (listing, turn) = (message.listing, Turn::of(message.priority, message.send_before));
        let doing = format!("read `{}`", listing.platform_product_id);
        self.one(Call::Read, turn, doing, move |adapter| {
            Box::pin(async move { adapter.read(&listing).await })
        })
    }
}

impl Handler<Preview> for DestinationGateway {
    type Result = ResponseFuture<Result<Vec<Box<str>>, PlatformError>>;

    /// It changes nothing: whatever does comes first.
    fn handle(&mut self, message: Preview, _: &mut Context<Self>) -> Self::Result {
        let Preview {
            revision,
            send_before,
        } = message;
        let doing = format!("have a change of `{}` looked at", revision.listing.sku);
        let turn = Turn::of(Priority::Low, send_before);
        self.one(Call::Preview, turn, doing, move |adapter| {
            Box::pin(async move { adapter.preview(&revision).await })
        })
    }
}

impl Handler<Find> for DestinationGateway {
    type Result = ResponseFuture<Result<Vec<FoundListing>, PlatformError>>;

    /// A person waits for it.
    fn handle(&mut self, Find { sku }: Find, _: &mut Context<Self>) -> Self::Result {
        let doing = format!("find `{sku}`");
        let turn = Turn {
            priority: Priority::Urgent,
            before: None,
        };
        self.one(Call::Find, turn, doing, move |adapter| {
            Box::pin(async move { adapter.find(&sku).await })
        })
    }
}

impl DestinationGateway {
    /// One call of the adapter, as an answer to a message.
    fn one<T: Send + 'static>(
        &self,
        kind: Call<'static>,
        turn: Turn,
        doing: String,
        call: impl FnOnce(Arc<dyn Destination>) -> BoxFuture<'static, Result<T, PlatformError>> + Send + 'static,
    ) -> ResponseFuture<Result<T, PlatformError>> {
        let this = self.clone();
        Box::pin(async move {
            let service = this.guard.service().to_owned();
            let task = spawn_owned("call", async move {
                let requests = this.adapter.requests(kind);
                let call = || call(this.adapter.clone());
                let result = match turn.before {
                    Some(before) => this.guard.call_before(turn.priority, before, call).await,
                    None => this.guard.call(turn.priority, call).await,
                };
                this.pay(requests, result.is_ok(), turn.priority);
                result
            });
            let result = owned(&service, &doing, task).await?;
            flatten(&service, &doing, result)
        })
    }

    /// Takes the permits of a call's further requests, so that the rate counts requests and not calls. They are taken
    /// after it, so that its answer does not wait, and only when it went well: what failed may not have made them.
    fn pay(&self, requests: u32, well: bool, priority: Priority) {
        let further = requests.saturating_sub(1);
        if !well || further == 0 {
            return;
        }
        let guard = self.guard.clone();
        let paying = spawn_owned("permits of further requests", async move {
            for _ in 0..further {
                if !guard.pay(priority).await {
                    return;
                }
            }
        });
        // Its owner is the guard: it ends when the permits are had, or at once when the gate shuts.
        drop(paying.to_its_end());
    }

    /// Sends all revisions, batch by batch; those whose batch was refused as a whole, alone.
    async fn revise(&self, revisions: &[Revision], priority: Priority, before: Instant) -> Vec<EntryOutcome> {
        let mut outcomes: Vec<Option<EntryOutcome>> = revisions.iter().map(|_| None).collect();
        let mut open: VecDeque<usize> = (0..revisions.len()).collect();
        let mut alone: VecDeque<usize> = VecDeque::new();
        loop {
            let batch: Vec<usize> = if open.is_empty() {
                alone.pop_front().into_iter().collect()
            } else {
                let size = self.adapter.batch_size().clamp(1, open.len());
                open.drain(..size).collect()
            };
            if batch.is_empty() {
                break;
            }
            let sent: Vec<Revision> = batch.iter().filter_map(|i| revisions.get(*i).cloned()).collect();
            for (place, outcome) in batch.iter().zip(self.send(&sent, priority, before).await) {
                if batch.len() > 1 && is_refused_with_others(&outcome) {
                    alone.push_back(*place);
                } else if let Some(slot) = outcomes.get_mut(*place) {
                    *slot = Some(outcome);
                }
            }
        }
        let unanswered = || failed(&unanswered(self.guard.service()), true);
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap_or_else(unanswered))
            .collect()
    }

    /// One batch through the guard; one outcome for each entry.
    async fn send(&self, sent: &[Revision], priority: Priority, before: Instant) -> Vec<EntryOutcome> {
        let requests = self.adapter.requests(Call::Revise(sent));
        let call = || async { judge(self.adapter.revise(sent).await) };
        let result = self.guard.call_before(priority, before, call).await;
        self.pay(requests, result.is_ok(), priority);
        let mut outcomes = match result {
            Ok(outcomes)
            | Err(CallError::Failed(Batch {
                entries: outcomes, ..
            })) => outcomes,
            Err(error) => {
                let error = from_guard(self.guard.service(), "revise listings", &error);
                return sent
                    .iter()
                    .map(|_| failed(&error, !was_never_sent(&error)))
                    .collect();
            }
        };
        let missing = outcomes.len()..sent.len();
        outcomes.extend(missing.map(|_| failed(&unanswered(self.guard.service()), true)));
        outcomes
    }
}

fn failed(error: &PlatformError, unknown: bool) -> EntryOutcome {
    EntryOutcome::Failed {
        error: error.clone(),
        unknown,
    }
}

fn is_refused_with_others(outcome: &EntryOutcome) -> bool {
    matches!(outcome, EntryOutcome::Failed { error, unknown: false } if *error.code == *BATCH_REFUSED)
}
