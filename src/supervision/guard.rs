//! The guard: the future around one actor's context that catches its panics and carries out orders.
//!
//! actix polls an actor's context as a bare task: a panic in it kills the actor unseen, and one in `stopping`, or in
//! `Drop` while another unwinds, aborts the process. The guard polls the context inside `catch_unwind` instead, and
//! *terminates* a broken context before it drops it, so that no hook ever runs on a broken actor; the drop itself is
//! caught too. What follows from an end is not the guard's to decide: it asks its [`Keeper`].

use super::decide::Exit;
use super::heartbeat::Life;
use super::letter::Pump;
use super::mailbox::{Look, Order, Post};
use super::panics::{Panic, guarded};
use actix::dev::ContextFut;
use actix::{Actor, ActorContext, AsyncContext, Context};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Who has put a child under guard: a group, or a roster.
pub(super) trait Keeper<A: Actor>: 'static {
    /// The child's mailbox.
    fn post(&self) -> &Arc<Post<A>>;
    /// Makes the actor of a new life. May panic.
    fn make(&mut self) -> A;
    /// The actor is made and has run `started`.
    fn started(&mut self);
    /// The life of a child that listens to being asked (roster children have none).
    fn life(&self) -> Option<&Life>;
    /// The life ended.
    fn ended(&mut self, exit: Exit) -> Next;
    /// The guard was dropped, or could not be put in place: the arbiter is gone.
    fn lost(&mut self, life: u32);
}

/// A guard on its way to its arbiter. Dropped on the way, it is lost.
pub(super) struct Seed<A: Actor, K: Keeper<A>> {
    keeper: Option<K>,
    life: u32,
    actor: PhantomData<fn() -> A>,
}

/// What the guard does after a life.
pub(super) enum Next {
    /// It ends, too.
    End,
    /// It begins another life in place, after this time.
    Again(Duration),
}

/// See the module.
pub(super) struct Guard<A: Actor<Context = Context<A>>, K: Keeper<A>> {
    keeper: K,
    body: Option<ContextFut<A, Context<A>>>,
    pause: Option<Pin<Box<Sleep>>>,
    life: u32,
    announced: bool,
    stopping: bool,
    done: bool,
}

impl<A: Actor<Context = Context<A>>, K: Keeper<A>> Unpin for Guard<A, K> {}

// === impl Seed ===

impl<A: Actor<Context = Context<A>>, K: Keeper<A>> Seed<A, K> {
    /// A guard for the life of this number.
    pub(super) fn new(keeper: K, life: u32) -> Self {
        Self {
            keeper: Some(keeper),
            life,
            actor: PhantomData,
        }
    }

    /// Puts the child under guard on this thread's arbiter.
    #[expect(
        clippy::disallowed_methods,
        reason = "the guard is owned by its post: every life has a number and an end"
    )]
    pub(super) fn plant(mut self) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        actix::spawn(Guard {
            keeper,
            body: None,
            pause: None,
            life: self.life,
            announced: false,
            stopping: false,
            done: false,
        });
    }
}

impl<A: Actor, K: Keeper<A>> Drop for Seed<A, K> {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.lost(self.life);
        }
    }
}

// === impl Guard ===

impl<A: Actor<Context = Context<A>>, K: Keeper<A>> Guard<A, K> {
    fn make(&mut self) -> Result<(), Panic> {
        let (keeper, life) = (&mut self.keeper, self.life);
        let body = guarded(|| {
            let actor = keeper.make();
            let mut ctx = Context::new();
            // Spawned before the actor runs, polled after `started`.
            ctx.spawn(Pump {
                post: Arc::clone(keeper.post()),
                life,
            });
            ctx.into_future(actor)
        })?;
        self.body = Some(body);
        (self.announced, self.stopping) = (false, false);
        Ok(())
    }

    /// Ends the actor without asking it.
    fn bury(&mut self) -> Result<(), Panic> {
        match self.body.take() {
            Some(mut body) => guarded(move || {
                // Or the drop would poll it once more, hooks and all.
                body.ctx().terminate();
                drop(body);
            }),
            None => Ok(()),
        }
    }

    /// The life is over; true when the guard is, too.
    fn finish(&mut self, exit: Exit) -> bool {
        let buried = self.bury();
        // A panic in `Drop` counts unless something worse is known already.
        let exit = match buried {
            Err(panic) if !exit.is_crash() => panic.into(),
            _ => exit,
        };
        match self.keeper.ended(exit) {
            Next::End => true,
            Next::Again(pause) => {
                self.keeper.post().again();
                self.pause = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
                false
            }
        }
    }

    fn ask_stop(&mut self) {
        self.stopping = true;
        let listens = self.keeper.life().is_some_and(Life::ask_stop);
        if !listens && let Some(body) = &mut self.body {
            body.ctx().stop();
        }
    }

    /// One turn; `Some` when the guard has ended or must wait.
    fn turn(&mut self, task: &mut TaskContext<'_>) -> Option<Poll<()>> {
        let order = match self.keeper.post().look(self.life, task.waker()) {
            Look::Go(order) => order,
            Look::Superseded => {
                // Whoever began the next life has counted this one already.
                let _ = self.bury();
                return Some(Poll::Ready(()));
            }
        };
        match order {
            Some(Order::Kill) => return self.over(Exit::Killed),
            Some(Order::Replace { silent_ms }) if self.body.is_some() => {
                let silent_ms = silent_ms.into();
                return self.over(Exit::Stuck { silent_ms });
            }
            Some(Order::Stop) if self.body.is_some() => self.ask_stop(),
            Some(Order::Stop) => return self.over(Exit::Stopped),
            // A stuck child that has ended meanwhile, and begins anew already.
            Some(Order::Replace { .. }) | None => {}
        }
        if let Some(pause) = &mut self.pause {
            if pause.as_mut().poll(task).is_pending() {
                return Some(Poll::Pending);
            }
            self.pause = None;
        }
        if self.body.is_none()
            && let Err(panic) = self.make()
        {
            return self.over(panic.into());
        }
        #[cfg(feature = "failpoints")]
        self.inject();
        self.run(task)
    }

    fn run(&mut self, task: &mut TaskContext<'_>) -> Option<Poll<()>> {
        let body = self.body.as_mut()?;
        match guarded(|| Pin::new(body).poll(task)) {
            Ok(Poll::Pending) => {
                if !self.announced {
                    self.announced = true;
                    self.keeper.started();
                }
                Some(Poll::Pending)
            }
            Ok(Poll::Ready(())) => self.over(if self.stopping {
                Exit::Stopped
            } else {
                Exit::Normal
            }),
            Err(panic) => self.over(panic.into()),
        }
    }

    fn over(&mut self, exit: Exit) -> Option<Poll<()>> {
        self.finish(exit).then_some(Poll::Ready(()))
    }

    #[cfg(feature = "failpoints")]
    fn inject(&mut self) {
        if let (Some(fault), Some(body)) = (self.keeper.post().take_fault(self.life), &mut self.body) {
            fault.inject(body.ctx(), self.keeper.post());
        }
    }
}

impl<A: Actor<Context = Context<A>>, K: Keeper<A>> Future for Guard<A, K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if let Some(poll) = self.turn(task) {
                self.done = poll.is_ready();
                return poll;
            }
        }
    }
}

impl<A: Actor<Context = Context<A>>, K: Keeper<A>> Drop for Guard<A, K> {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The arbiter has ended with the actor on it.
        if let Some(mut body) = self.body.take() {
            let _ = guarded(move || {
                body.ctx().terminate();
                drop(body);
            });
        }
        self.keeper.lost(self.life);
    }
}

impl From<Panic> for Exit {
    fn from(panic: Panic) -> Self {
        Self::Panic {
            message: panic.message,
            location: panic.location,
        }
    }
}
