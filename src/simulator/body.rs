//! Bodies that end as they should, too early, or slowly.

use super::shared::Shared;
use super::world::ItemState;
use actix_web::body::{BodySize, MessageBody};
use actix_web::rt::time::{Sleep, sleep};
use bytes::Bytes;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

/// How long a cut body waits before it ends, so that what was written leaves the machine first.
const BEFORE_CUT: Duration = Duration::from_millis(15);
/// How often drops fall.
const DROP_EVERY: Duration = Duration::from_millis(20);

/// What is to be noted when a good page has been handed out whole.
pub(super) struct Served {
    pub shared: Arc<Shared>,
    pub index: u32,
    pub state: ItemState,
    pub ask: u64,
}

impl Served {
    fn note(self) {
        let now = self.shared.now();
        self.shared
            .world
            .lock()
            .served(self.index, self.state, self.ask, now);
        self.shared.counters.served.fetch_add(1, Ordering::Relaxed);
    }
}

/// A body of known length.
pub(super) struct PageBody {
    rest: Bytes,
    /// What `Content-Length` says.
    length: u64,
    pace: Pace,
    served: Option<Served>,
}

enum Pace {
    AtOnce,
    /// So many bytes each time.
    Drops {
        bytes: usize,
        wait: Pin<Box<Sleep>>,
    },
    /// Ends before `length` is reached, after a moment.
    Cut(Option<Pin<Box<Sleep>>>),
}

impl PageBody {
    /// A body as it should be.
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self {
            length: super::draw::count(bytes.len()),
            rest: bytes,
            pace: Pace::AtOnce,
            served: None,
        }
    }

    /// Notes `served` when the last byte has been handed out.
    pub(super) fn noting(mut self, served: Served) -> Self {
        self.served = Some(served);
        self
    }

    /// The same body, dripping.
    pub(super) fn dripping(mut self, bytes_per_s: u32) -> Self {
        let per_drop = bytes_per_s / 50;
        self.pace = Pace::Drops {
            bytes: super::draw::at(per_drop).max(1),
            wait: Box::pin(sleep(Duration::ZERO)),
        };
        self
    }

    /// The same body, ending after `bytes` though more was promised.
    pub(super) fn cut_after(mut self, bytes: usize) -> Self {
        self.rest.truncate(bytes);
        self.pace = Pace::Cut(None);
        self
    }
}

impl MessageBody for PageBody {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        match &mut this.pace {
            Pace::AtOnce => {}
            Pace::Drops { bytes, wait } => {
                if wait.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if !this.rest.is_empty() {
                    *wait = Box::pin(sleep(DROP_EVERY));
                    let drop = this.rest.split_to((*bytes).min(this.rest.len()));
                    return Poll::Ready(Some(Ok(drop)));
                }
            }
            Pace::Cut(wait) => {
                if this.rest.is_empty() {
                    let wait = wait.get_or_insert_with(|| Box::pin(sleep(BEFORE_CUT)));
                    // The server notices that bytes are missing and drops the connection.
                    return wait.as_mut().poll(cx).map(|()| None);
                }
            }
        }
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut this.rest))));
        }
        if let Some(served) = this.served.take() {
            served.note();
        }
        Poll::Ready(None)
    }
}
