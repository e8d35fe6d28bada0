//! The handle: what the rest of the house holds instead of an actor's address.

use super::mailbox::Post;
use actix::{Actor, Context, Handler, Message};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Why a message was not handled, or its answer not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// All places of the mailbox are taken. Nothing was sent; slow down and try again.
    #[error("its mailbox is full; try again later")]
    Busy,
    /// The child is not there: not started yet, parked, quarantined or stopped. The message was not handled.
    #[error("it is not running")]
    Down,
    /// The message was in the actor's hands when that panicked, was replaced or was stopped. Whether it took effect is
    /// unknown.
    #[error("it ended while it handled the message; whether that took effect is unknown")]
    Crashed,
    /// No answer came in time. The message may still be handled, unless its turn comes after the sender has gone.
    #[error("it did not answer in time")]
    TimedOut,
}

/// Reaches one child through all its lives.
///
/// # What happens to messages
/// - The mailbox holds as many as the child's capacity; a message takes its place until it was handled and its answer
///   has arrived. Beyond that, `Busy` at once: nothing ever waits to be *accepted*.
/// - When the child's life ends, however it ends, the message in hand is answered `Crashed`; those that wait are handled by
///   its successor, in order. This includes a lost arbiter.
/// - When it is parked, stopped or quarantined, those that wait are answered `Down`.
/// - A message whose sender stopped waiting before its turn is not handled.
pub struct Handle<A: Actor> {
    post: Arc<Post<A>>,
}

// === impl Handle ===

impl<A: Actor<Context = Context<A>>> Handle<A> {
    pub(super) fn new(post: Arc<Post<A>>) -> Self {
        Self { post }
    }

    /// Sends a message and waits for its answer, at most as long as the child's spec allows (120 s by default).
    ///
    /// # Errors
    /// See [`SendError`].
    ///
    /// # Cancel safety
    /// Dropped before the message's turn, the message is not handled; later, it is, and its answer is thrown away.
    pub async fn send<M>(&self, msg: M) -> Result<M::Result, SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let limit = self.post.answer_within();
        self.send_within(limit, msg).await
    }

    /// As [`send`](Self::send), with a time limit for this message.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_within<M>(&self, limit: Duration, msg: M) -> Result<M::Result, SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (tell, told) = oneshot::channel();
        let place = self.post.put(msg, Some(tell))?;
        match tokio::time::timeout(limit, told).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) if place.was_delivered() => Err(SendError::Crashed),
            Ok(Err(_)) => Err(SendError::Down),
            Err(_) => {
                self.post.waited_in_vain();
                Err(SendError::TimedOut)
            }
        }
    }

    /// Sends a message without wanting an answer.
    ///
    /// # Errors
    /// `Busy` and `Down`, at once. `Ok` means accepted, not handled.
    pub fn tell<M>(&self, msg: M) -> Result<(), SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.post.put(msg, None).map(drop)
    }

    /// Whether a message sent now would be accepted if there is room. It may be down a moment later.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.post.is_open()
    }
}

impl<A: Actor> Clone for Handle<A> {
    fn clone(&self) -> Self {
        Self {
            post: Arc::clone(&self.post),
        }
    }
}

impl<A: Actor> fmt::Debug for Handle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("actor", &std::any::type_name::<A>())
            .finish_non_exhaustive()
    }
}
