//! The way out through a destination's gateway.
//!
//! Two things are added to the gateway. **Words**: its errors that say "never sent" become [`NotSent`], so that they use
//! up nothing. **Punctuality**: a request that waited in the guard's line until after its last moment is not sent any
//! more, even when nobody waits for its answer, because by then somebody else may be pushing a newer value. The line is
//! inside the gateway, so the last look at the watch has to be behind it: [`Punctual`] wraps the adapter itself.

use super::{NotRead, NotSent, Outlet, Urgency, Written};
use crate::clock::Clock;
use crate::domain::{ErrorClass, ListingId, ListingRef, ListingState};
use crate::platform::gateway::{DestinationGateway, End, Find, Read, Relist, Revise, was_never_sent};
use crate::platform::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Revision};
use crate::resilience::{GateView, Guard, Priority};
use crate::supervision::{Handle, SendError};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The code of a request whose last moment had passed when its turn came.
const TOO_LATE: &str = "too_late";
/// How long to leave a destination alone that did not take a request, where nothing says for how long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The last moments of the requests under way. At most one write is under way for a listing.
type Moments = Arc<Mutex<HashMap<ListingId, Instant>>>;

/// An adapter that sends nothing whose last moment has passed.
pub struct Punctual {
    adapter: Arc<dyn Destination>,
    moments: Moments,
}

/// What [`GatewayOutlet`] tells its [`Punctual`] adapter.
#[derive(Clone, Default)]
pub struct LastMoments(Moments);

impl Punctual {
    /// Wraps `adapter`; the other half goes to [`GatewayOutlet::new`].
    #[must_use]
    pub fn new(adapter: Arc<dyn Destination>) -> (Self, LastMoments) {
        let moments = Moments::default();
        let told = LastMoments(Arc::clone(&moments));
        (Self { adapter, moments }, told)
    }

    fn is_late(&self, listing: &ListingRef) -> bool {
        let moments = self.moments.lock();
        moments
            .get(&listing.listing_id)
            .is_some_and(|moment| Instant::now() >= *moment)
    }
}

/// Says nothing about the service: class `Protocol` moves no breaker.
fn too_late(listing: &ListingRef) -> PlatformError {
    PlatformError {
        class: ErrorClass::Protocol,
        code: TOO_LATE.into(),
        message: format!(
            "not sent: the turn of listing `{}` came after its last moment; it is looked at again",
            listing.listing_id
        )
        .into(),
        missing: Vec::new(),
        body: None,
    }
}

impl Destination for Punctual {
    fn requests(&self, call: Call<'_>) -> u32 {
        self.adapter.requests(call)
    }

    fn batch_size(&self) -> usize {
        self.adapter.batch_size()
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        async move {
            let late: Vec<bool> = revisions.iter().map(|r| self.is_late(&r.listing)).collect();
            if !late.contains(&true) {
                return self.adapter.revise(revisions).await;
            }
            let in_time: Vec<Revision> = revisions
                .iter()
                .zip(&late)
                .filter(|(_, late)| !**late)
                .map(|(revision, _)| revision.clone())
                .collect();
            let mut outcomes = if in_time.is_empty() {
                Vec::new()
            } else {
                self.adapter.revise(&in_time).await
            }
            .into_iter();
            let mut all = Vec::with_capacity(revisions.len());
            for (revision, late) in revisions.iter().zip(late) {
                let outcome = if late {
                    Some(EntryOutcome::Failed {
                        error: too_late(&revision.listing),
                        unknown: false,
                    })
                } else {
                    outcomes.next()
                };
                // An answer that is short is short for the gateway too, which knows what that means.
                let Some(outcome) = outcome else { break };
                all.push(outcome);
            }
            all
        }
        .boxed()
    }

    fn end<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        if self.is_late(listing) {
            return futures_util::future::ready(Err(too_late(listing))).boxed();
        }
        self.adapter.end(listing)
    }

    fn relist<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        if self.is_late(listing) {
            return futures_util::future::ready(Err(too_late(listing))).boxed();
        }
        self.adapter.relist(listing)
    }

    fn read<'a>(&'a self, listing: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        self.adapter.read(listing)
    }

    fn find<'a>(&'a self, sku: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        self.adapter.find(sku)
    }
}

/// The way out through a gateway.
#[derive(Clone)]
pub struct GatewayOutlet {
    gateway: Handle<DestinationGateway>,
    guard: Guard,
    batch_size: usize,
    moments: LastMoments,
    clock: Clock,
}

impl GatewayOutlet {
    /// Through `gateway`, whose adapter is the [`Punctual`] one that `moments` came with, behind `guard`.
    #[must_use]
    pub fn new(
        gateway: Handle<DestinationGateway>,
        guard: Guard,
        batch_size: usize,
        moments: LastMoments,
        clock: Clock,
    ) -> Self {
        Self {
            gateway,
            guard,
            batch_size,
            moments,
            clock,
        }
    }

    fn note(&self, listings: impl Iterator<Item = ListingId>, send_before: Instant) {
        let mut moments = self.moments.0.lock();
        // Long past ones are nobody's.
        if moments.len() > 10_000 {
            let now = Instant::now();
            moments.retain(|_, moment| *moment + Duration::from_secs(600) > now);
        }
        moments.extend(listings.map(|id| (id, send_before)));
    }

    fn one<F>(
        &self,
        listing: ListingId,
        send_before: Instant,
        send: impl FnOnce(Handle<DestinationGateway>) -> F,
    ) -> BoxFuture<'static, Written>
    where
        F: Future<Output = Result<Result<(), PlatformError>, SendError>> + Send + 'static,
    {
        self.note(std::iter::once(listing), send_before);
        let sent = send(self.gateway.clone());
        async move {
            match sent.await {
                Err(error) => from_send(error),
                Ok(Ok(())) => Written::Accepted { warnings: Vec::new() },
                Ok(Err(error)) => written(error, false),
            }
        }
        .boxed()
    }
}

fn priority(urgency: Urgency) -> Priority {
    match urgency {
        Urgency::Zero => Priority::Zero,
        Urgency::Change => Priority::Normal,
        Urgency::Check => Priority::Low,
    }
}

fn not_sent(why: &PlatformError) -> NotSent {
    NotSent {
        why: why.message.to_string(),
        retry_after: ASK_AGAIN,
    }
}

fn is_unsent(error: &PlatformError) -> bool {
    was_never_sent(error) || &*error.code == TOO_LATE
}

/// `Transient` failures of a single call may have had their effect (the gateway's own word).
fn written(error: PlatformError, unknown: bool) -> Written {
    if is_unsent(&error) {
        Written::NotSent(not_sent(&error))
    } else if unknown || error.class == ErrorClass::Transient {
        Written::Unknown(error)
    } else {
        Written::Failed(error)
    }
}

fn from_send(error: SendError) -> Written {
    match error {
        SendError::Busy | SendError::Down => Written::NotSent(NotSent {
            why: format!("the destination's gateway: {error}"),
            retry_after: ASK_AGAIN,
        }),
        SendError::Crashed | SendError::TimedOut => Written::Unknown(PlatformError {
            class: ErrorClass::Transient,
            code: "gateway".into(),
            message: format!("the destination's gateway: {error}").into(),
            missing: Vec::new(),
            body: None,
        }),
    }
}

fn not_read<T>(answer: Result<Result<T, PlatformError>, SendError>) -> Result<T, NotRead> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if is_unsent(&error) => Err(NotRead::NotSent(not_sent(&error))),
        Ok(Err(error)) => Err(NotRead::Failed(error)),
        Err(error) => Err(NotRead::NotSent(NotSent {
            why: format!("the destination's gateway: {error}"),
            retry_after: ASK_AGAIN,
        })),
    }
}

impl Outlet for GatewayOutlet {
    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn shut_for(&self) -> Option<Duration> {
        match self.guard.status().gate {
            GateView::Open | GateView::Limited => None,
            GateView::Paused | GateView::Stopped => Some(ASK_AGAIN),
            GateView::Shut { until } => {
                let left = until - self.clock.now();
                Some(left.to_std().unwrap_or(Duration::ZERO).min(ASK_AGAIN))
            }
        }
        .filter(|wait| !wait.is_zero())
    }

    fn revise(
        &self,
        revisions: Vec<Revision>,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Vec<Written>> {
        self.note(revisions.iter().map(|r| r.listing.listing_id), send_before);
        let entries = revisions.len();
        let message = Revise {
            revisions,
            priority: priority(urgency),
        };
        let gateway = self.gateway.clone();
        async move {
            match gateway.send(message).await {
                Err(error) => (0..entries).map(|_| from_send(error)).collect(),
                Ok(outcomes) => outcomes
                    .into_iter()
                    .map(|outcome| match outcome {
                        EntryOutcome::Accepted { warnings } => Written::Accepted { warnings },
                        EntryOutcome::Failed { error, unknown } if is_unsent(&error) => {
                            debug_assert!(!unknown, "never sent is known");
                            Written::NotSent(not_sent(&error))
                        }
                        EntryOutcome::Failed { error, unknown: true } => Written::Unknown(error),
                        EntryOutcome::Failed { error, .. } => Written::Failed(error),
                    })
                    .collect(),
            }
        }
        .boxed()
    }

    fn end(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Written> {
        let (id, priority) = (listing.listing_id, priority(urgency));
        self.one(id, send_before, move |gateway| async move {
            gateway.send(End { listing, priority }).await
        })
    }

    fn relist(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Written> {
        let (id, priority) = (listing.listing_id, priority(urgency));
        self.one(id, send_before, move |gateway| async move {
            gateway.send(Relist { listing, priority }).await
        })
    }

    fn read(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Result<ListingState, NotRead>> {
        let priority = priority(urgency);
        let gateway = self.gateway.clone();
        let wait = send_before
            .saturating_duration_since(Instant::now())
            .saturating_add(self.guard.policy().time_limit);
        async move { not_read(gateway.send_within(wait, Read { listing, priority }).await) }.boxed()
    }

    fn find(&self, sku: Box<str>) -> BoxFuture<'static, Result<Vec<FoundListing>, NotRead>> {
        let gateway = self.gateway.clone();
        async move { not_read(gateway.send(Find { sku }).await) }.boxed()
    }
}
