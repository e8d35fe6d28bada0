//! The mailbox: a queue that belongs to the child's *handle*, not to one life of its actor.
//!
//! actix's own mailbox dies with its context, counts its capacity per sender clone (so it bounds nothing) and hands a
//! message over without a trace. Here the queue is ours: letters wait in the [`Post`], and a [pump](super::letter::Pump) that lives as a
//! future on the actor's context takes them out one by one. So they survive a panic, a replacement and a lost arbiter;
//! a refusal is seen by the sender; and how long the oldest one waits can be read from outside at any time.
//!
//! A letter takes a place from when it is accepted until it was handled *and* its answer has arrived (or the sender has
//! gone): a `ResponseFuture` that runs for a minute holds its place for a minute, otherwise nothing would bound how
//! many of them run.
//!
//! One lock per post, held for a few instructions; wakers are called outside of it.

use super::handle::SendError;
use super::heartbeat;
use super::letter::{Letter, Parcel, Place};
use actix::dev::OneshotSender;
use actix::{Actor, Context, Handler, Message};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// How long a sender waits for an answer when the spec says nothing: longer than any call through a guard takes, short
/// enough that a forgotten answer does not hold a place for an hour.
pub(super) const DEFAULT_ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// A queue that was longer than this gives its memory back once it is empty.
const KEPT_LETTERS: usize = 16;
/// A mailbox of no more places than this belongs to one of very many, and keeps no memory for letters at all.
const SMALL: u32 = 8;

/// What the guard of the present life is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Stop in an orderly way.
    Stop,
    /// End now.
    Kill,
    /// End now, and count it as a crash: nothing has moved for so long.
    Replace {
        /// How long, in milliseconds.
        silent_ms: u32,
    },
}

/// What a guard finds when it looks at its orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Go on, perhaps with an order.
    Go(Option<Order>),
    /// Another life has begun: this one is forgotten.
    Superseded,
}

/// The mailbox of one child, through all its lives.
pub(super) struct Post<A: Actor> {
    state: Mutex<State<A>>,
}

struct State<A: Actor> {
    letters: VecDeque<Box<dyn Parcel<A>>>,
    /// Wakes the guard of the present life.
    waker: Option<Waker>,
    last_taken: Instant,
    /// Times in milliseconds here are small because there is a state per product; `u32::MAX` is never.
    answer_within_ms: u32,
    /// For dynamic children, which no group watches: senders judge (see `State::is_stuck`).
    stuck_after_ms: u32,
    life: u32,
    capacity: u32,
    used: u32,
    order: Option<Order>,
    open: bool,
    #[cfg(feature = "failpoints")]
    fault: Option<super::fault::Fault>,
}

// === impl Post ===

impl<A: Actor<Context = Context<A>>> Post<A> {
    /// A mailbox that is shut until its child is started.
    pub(super) fn new(capacity: usize) -> Self {
        let state = State {
            letters: VecDeque::new(),
            waker: None,
            last_taken: Instant::now(),
            answer_within_ms: millis(DEFAULT_ANSWER_WITHIN),
            stuck_after_ms: NEVER,
            life: 0,
            capacity: 0,
            used: 0,
            order: None,
            open: false,
            #[cfg(feature = "failpoints")]
            fault: None,
        };
        let post = Self {
            state: Mutex::new(state),
        };
        post.set_capacity(capacity);
        post
    }

    pub(super) fn set_capacity(&self, capacity: usize) {
        self.state.lock().capacity = u32::try_from(capacity).unwrap_or(u32::MAX);
    }

    pub(super) fn set_answer_within(&self, limit: Duration) {
        self.state.lock().answer_within_ms = millis(limit);
    }

    pub(super) fn answer_within(&self) -> Duration {
        Duration::from_millis(self.state.lock().answer_within_ms.into())
    }

    /// Lets senders see to a stuck child themselves: no group watches a dynamic one.
    pub(super) fn judged_by_senders(&self, stuck_after: Duration) {
        let mut state = self.state.lock();
        state.stuck_after_ms = millis(stuck_after);
        state.answer_within_ms = state.stuck_after_ms;
    }

    // --- the sender's side ---

    /// Puts a message into the queue, or says at once why not. The place in the answer is the sender's share of it.
    pub(super) fn put<M>(
        self: &Arc<Self>,
        msg: M,
        answer: Option<OneshotSender<M::Result>>,
    ) -> Result<Arc<Place<A>>, SendError>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let mut state = self.state.lock();
        if !state.open {
            return Err(SendError::Down);
        }
        if state.used >= state.capacity {
            let stuck = state.is_stuck();
            drop(state);
            self.replace_if(stuck);
            return Err(SendError::Busy);
        }
        state.used += 1;
        let place = Arc::new(Place::new(self));
        let letter = Letter {
            msg,
            answer,
            place: Arc::clone(&place),
            since: Instant::now(),
        };
        let stuck = state.is_stuck();
        state.letters.push_back(Box::new(letter));
        // Only the first letter wakes: as long as the queue is not empty the pump comes back by itself.
        let waker = if state.letters.len() == 1 {
            state.waker.clone()
        } else {
            None
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.replace_if(stuck);
        Ok(place)
    }

    /// A sender waited in vain: when that is because nothing moves here, the child is replaced.
    pub(super) fn waited_in_vain(&self) {
        let stuck = self.state.lock().is_stuck();
        self.replace_if(stuck);
    }

    fn replace_if(&self, stuck: Option<u32>) {
        if let Some(silent_ms) = stuck {
            self.order(Order::Replace { silent_ms });
        }
    }

    // --- the group's side ---

    /// Begins a new life: opens the door and forgets old orders. Gives the life's number.
    pub(super) fn begin(&self) -> u32 {
        let mut state = self.state.lock();
        state.life = state.life.wrapping_add(1);
        state.order = None;
        state.open = true;
        state.last_taken = Instant::now();
        // An old guard that is still there is woken to see that its time is over.
        let old = state.waker.take();
        let life = state.life;
        drop(state);
        if let Some(old) = old {
            old.wake();
        }
        life
    }

    /// Gives the guard an order. A weaker one never replaces a stronger one.
    pub(super) fn order(&self, order: Order) {
        let mut state = self.state.lock();
        match (order, state.order) {
            (Order::Stop, Some(Order::Kill | Order::Replace { .. }))
            | (Order::Replace { .. }, Some(Order::Kill)) => {}
            _ => state.order = Some(order),
        }
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Refuses new letters; those that wait may still be handled.
    pub(super) fn shut(&self) {
        self.state.lock().open = false;
    }

    /// Refuses new letters and answers those that wait with `Down`.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.open = false;
        let letters = std::mem::take(&mut state.letters);
        drop(state);
        // Outside of the lock: each drop gives a place back, and a message's own `Drop` is foreign code.
        let _ = super::panics::guarded(|| drop(letters));
    }

    /// Waiting letters, places taken, places.
    pub(super) fn load(&self) -> (usize, u32, u32) {
        let state = self.state.lock();
        (state.letters.len(), state.used, state.capacity)
    }

    pub(super) fn shows(&self) -> heartbeat::Mailbox {
        let state = self.state.lock();
        heartbeat::Mailbox {
            last_taken: state.last_taken,
            oldest: state.letters.front().map(|letter| letter.since()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.lock().open
    }

    // --- the guard's side ---

    /// Takes the order there is, and leaves a waker for the next one and for letters.
    pub(super) fn look(&self, life: u32, waker: &Waker) -> Look {
        let mut state = self.state.lock();
        if state.life != life {
            return Look::Superseded;
        }
        if !state.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            state.waker = Some(waker.clone());
        }
        Look::Go(state.order.take())
    }

    /// Whether this is still the present life.
    pub(super) fn is_life(&self, life: u32) -> bool {
        self.state.lock().life == life
    }

    /// A dynamic child begins its next life in place.
    pub(super) fn again(&self) {
        let mut state = self.state.lock();
        state.order = None;
        state.last_taken = Instant::now();
    }

    pub(super) fn take(&self, life: u32) -> Option<Box<dyn Parcel<A>>> {
        let mut state = self.state.lock();
        if state.life != life {
            return None;
        }
        let letter = state.letters.pop_front()?;
        state.last_taken = Instant::now();
        if state.letters.is_empty() && (state.letters.capacity() > KEPT_LETTERS || state.capacity <= SMALL) {
            state.letters = VecDeque::new();
        }
        Some(letter)
    }

    #[cfg(feature = "failpoints")]
    pub(super) fn set_fault(&self, fault: super::fault::Fault) {
        let mut state = self.state.lock();
        state.fault = Some(fault);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    #[cfg(feature = "failpoints")]
    pub(super) fn take_fault(&self, life: u32) -> Option<super::fault::Fault> {
        let mut state = self.state.lock();
        if state.life == life {
            state.fault.take()
        } else {
            None
        }
    }

    /// Takes all places that are left, as a flood would.
    #[cfg(feature = "failpoints")]
    pub(super) fn fill(self: &Arc<Self>) -> Vec<Place<A>> {
        let mut state = self.state.lock();
        let free = state.capacity.saturating_sub(state.used);
        state.used = state.capacity;
        (0..free).map(|_| Place::new(self)).collect()
    }
}

impl<A: Actor> Post<A> {
    /// A place is free again.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock();
        state.used = state.used.saturating_sub(1);
    }
}

impl<A: Actor> State<A> {
    /// For how long (in milliseconds) a dynamic child's mailbox stands still, once that is longer than its limit: its
    /// oldest letter waits and none was taken.
    fn is_stuck(&self) -> Option<u32> {
        let letter = self.letters.front().filter(|_| self.stuck_after_ms != NEVER)?;
        let silent = Instant::now().saturating_duration_since(letter.since().max(self.last_taken));
        Some(millis(silent)).filter(|silent_ms| *silent_ms >= self.stuck_after_ms)
    }
}

const NEVER: u32 = u32::MAX;

/// Whole milliseconds, at most some 49 days.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(NEVER)
}
