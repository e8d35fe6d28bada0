//! Letters, the places they take, and the pump that hands them to the actor.

use super::mailbox::Post;
use actix::dev::{MessageResponse, OneshotSender};
use actix::{Actor, ActorFuture, AsyncContext, Context, Handler, Message};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context as TaskContext, Poll};
use tokio::time::Instant;

/// Messages an actor handles in one turn before its neighbours on the arbiter get theirs.
const TURN: usize = 64;

const WAITING: u8 = 0;
const DELIVERED: u8 = 1;

/// A place in a mailbox, shared by the letter and by the sender who waits for its answer; free again when both let go.
pub(super) struct Place<A: Actor> {
    post: Arc<Post<A>>,
    fate: AtomicU8,
}

// === impl Place ===

impl<A: Actor> Place<A> {
    /// A place that was counted as taken.
    pub(super) fn new(post: &Arc<Post<A>>) -> Self {
        Self {
            post: Arc::clone(post),
            fate: AtomicU8::new(WAITING),
        }
    }

    /// Whether the actor got to see the message.
    pub(super) fn was_delivered(&self) -> bool {
        self.fate.load(Ordering::Acquire) == DELIVERED
    }
}

impl<A: Actor> Drop for Place<A> {
    fn drop(&mut self) {
        self.post.give_back();
    }
}

/// A message of any type for an actor of type `A`.
pub(super) trait Parcel<A: Actor>: Send {
    /// When it was put into the mailbox.
    fn since(&self) -> Instant;
    fn deliver(self: Box<Self>, actor: &mut A, ctx: &mut A::Context);
}

pub(super) struct Letter<A: Actor, M: Message> {
    pub(super) msg: M,
    pub(super) answer: Option<OneshotSender<M::Result>>,
    pub(super) place: Arc<Place<A>>,
    pub(super) since: Instant,
}

impl<A, M> Parcel<A> for Letter<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send,
    M::Result: Send,
{
    fn since(&self) -> Instant {
        self.since
    }

    fn deliver(self: Box<Self>, actor: &mut A, ctx: &mut A::Context) {
        let Self {
            msg, answer, place, ..
        } = *self;
        // Nobody waits for it any more: as actix, do not do work that no one will hear of.
        if answer.as_ref().is_some_and(OneshotSender::is_closed) {
            return;
        }
        place.fate.store(DELIVERED, Ordering::Release);
        actor.handle(msg, ctx).handle(ctx, answer);
    }
}

/// The future on an actor's context that hands it its letters.
pub(super) struct Pump<A: Actor> {
    pub(super) post: Arc<Post<A>>,
    pub(super) life: u32,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut A::Context,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        for _ in 0..TURN {
            // The last message asked to wait or to stop. The context polls us again when the wait is over.
            if ctx.waiting() {
                return Poll::Pending;
            }
            // No waker to leave here: the guard left its own before this turn began.
            let Some(letter) = self.post.take(self.life) else {
                return Poll::Pending;
            };
            letter.deliver(actor, ctx);
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
