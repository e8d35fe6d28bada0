//! The way out through a destination's gateway.
//!
//! What is added to the gateway are **words**: its errors that say "never sent" become [`NotSent`], so that they use up
//! nothing; and **room**: what the guard knows of its line, and the adapter of its tokens, says what is worth taking from
//! the queue now.

use super::{NotRead, NotSent, Outlet, Urgency, Written};
use crate::domain::{ErrorClass, ListingRef, ListingState};
use crate::platform::gateway::{
    DestinationGateway, End, Find, Preview, Read, Relist, Revise, was_never_sent,
};
use crate::platform::registrar::Quota;
use crate::platform::{Call, Destination, EntryOutcome, FoundListing, Objection, PlatformError, Revision};
use crate::resilience::{Guard, Priority};
use crate::supervision::{Handle, SendError};
use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long to leave a destination alone that did not take a request, where nothing says for how long.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// The way out through a gateway.
#[derive(Clone)]
pub struct GatewayOutlet {
    gateway: Handle<DestinationGateway>,
    guard: Guard,
    adapter: Arc<dyn Destination>,
}

impl GatewayOutlet {
    /// Through `gateway`, which has `adapter` behind `guard`.
    #[must_use]
    pub fn new(gateway: Handle<DestinationGateway>, guard: Guard, adapter: Arc<dyn Destination>) -> Self {
        Self {
            gateway,
            guard,
            adapter,
        }
    }

    fn one<F>(&self, send: impl FnOnce(Handle<DestinationGateway>) -> F) -> BoxFuture<'static, Written>
    where
        F: Future<Output = Result<Result<(), PlatformError>, SendError>> + Send + 'static,
    {
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
        Urgency::Raise => Priority::Urgent,
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

/// `Transient` failures of a single call may have had their effect (the gateway's own word).
fn written(error: PlatformError, unknown: bool) -> Written {
    if was_never_sent(&error) {
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
            away_for: None,
        }),
    }
}

fn not_read<T>(answer: Result<Result<T, PlatformError>, SendError>) -> Result<T, NotRead> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if was_never_sent(&error) => Err(NotRead::NotSent(not_sent(&error))),
        Ok(Err(error)) => Err(NotRead::Failed(error)),
        Err(error) => Err(NotRead::NotSent(NotSent {
            why: format!("the destination's gateway: {error}"),
            retry_after: ASK_AGAIN,
        })),
    }
}

impl Outlet for GatewayOutlet {
    fn take_over(&self) -> BoxFuture<'static, ()> {
        let guard = self.guard.clone();
        async move { guard.restore().await }.boxed()
    }

    fn batch_size(&self) -> usize {
        self.adapter.batch_size()
    }

    fn permits(&self, call: Call<'_>) -> usize {
        usize::try_from(self.adapter.requests(call)).unwrap_or(usize::MAX)
    }

    fn previews(&self) -> bool {
        self.adapter.previews()
    }

    fn settles_within(&self) -> Duration {
        self.adapter.settles_within()
    }

    fn own_quotas(&self, now: DateTime<Utc>) -> Vec<Quota> {
        self.adapter.own_quotas(now)
    }

    fn objection(&self, sku: &str) -> Objection {
        self.adapter.objection(sku)
    }

    fn admits(&self, revision: &Revision) -> Result<(), PlatformError> {
        self.adapter.admits(revision)
    }

    fn shut_for(&self) -> Option<Duration> {
        // Asked again soon however long it is: a person may open it, or a probe be answered.
        let wait = self.guard.shut_for().max(self.adapter.rests_for())?;
        Some(wait.min(ASK_AGAIN))
    }

    fn room(&self, urgency: Urgency, under_way: usize, within: Duration) -> usize {
        self.guard.room(priority(urgency), under_way, within)
    }

    fn turns(&self, within: Duration) -> Option<usize> {
        self.guard.turns(within)
    }

    fn revise(
        &self,
        revisions: Vec<Revision>,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Vec<Written>> {
        let entries = revisions.len();
        let message = Revise {
            revisions,
            priority: priority(urgency),
            send_before,
        };
        let gateway = self.gateway.clone();
        async move {
            match gateway.send(message).await {
                Err(error) => (0..entries).map(|_| from_send(error)).collect(),
                Ok(outcomes) => outcomes
                    .into_iter()
                    .map(|outcome| match outcome {
                        EntryOutcome::Accepted { warnings } => Written::Accepted { warnings },
                        EntryOutcome::Failed { error, unknown } if was_never_sent(&error) => {
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
        let end = End {
            listing,
            priority: priority(urgency),
            send_before,
        };
        self.one(move |gateway| async move { gateway.send(end).await })
    }

    fn relist(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Written> {
        let relist = Relist {
            listing,
            priority: priority(urgency),
            send_before,
        };
        self.one(move |gateway| async move { gateway.send(relist).await })
    }

    fn read(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Result<ListingState, NotRead>> {
        let gateway = self.gateway.clone();
        let read = Read {
            listing,
            priority: priority(urgency),
            send_before,
        };
        let wait = send_before
            .saturating_duration_since(Instant::now())
            .saturating_add(self.guard.policy().time_limit);
        async move { not_read(gateway.send_within(wait, read).await) }.boxed()
    }

    fn preview(
        &self,
        revision: Revision,
        send_before: Instant,
    ) -> BoxFuture<'static, Result<Vec<Box<str>>, NotRead>> {
        let gateway = self.gateway.clone();
        let preview = Preview {
            revision,
            send_before,
        };
        let wait = send_before
            .saturating_duration_since(Instant::now())
            .saturating_add(self.guard.policy().time_limit);
        async move { not_read(gateway.send_within(wait, preview).await) }.boxed()
    }

    fn find(&self, sku: Box<str>) -> BoxFuture<'static, Result<Vec<FoundListing>, NotRead>> {
        let gateway = self.gateway.clone();
        async move { not_read(gateway.send(Find { sku }).await) }.boxed()
    }
}
