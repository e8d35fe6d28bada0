//! A group's actor child: how a life of it is begun and how its end is reported.

use super::decide::Exit;
use super::guard::{Keeper, Next, Seed};
use super::heartbeat::{Life, Silence};
use super::mailbox::{Order, Post};
use actix::{Actor, ArbiterHandle, Context};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a child tells its group.
#[derive(Debug)]
pub(super) struct ChildEvent {
    pub(super) child: usize,
    /// Which life of it; what an earlier one says is of no interest.
    pub(super) life: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Started,
    Ended(Exit),
}

/// The line from one life of a child to its group. Hung up without a word, it reports the life as lost.
#[derive(Debug)]
pub(super) struct Reporter {
    child: usize,
    life: u64,
    line: mpsc::UnboundedSender<ChildEvent>,
    said: bool,
}

// === impl Reporter ===

impl Reporter {
    pub(super) fn new(child: usize, life: u64, line: mpsc::UnboundedSender<ChildEvent>) -> Self {
        Self {
            child,
            life,
            line,
            said: false,
        }
    }

    pub(super) fn started(&self) {
        self.say(What::Started);
    }

    pub(super) fn ended(&mut self, exit: Exit) {
        if !std::mem::replace(&mut self.said, true) {
            self.say(What::Ended(exit));
        }
    }

    fn say(&self, what: What) {
        let event = ChildEvent {
            child: self.child,
            life: self.life,
            what,
        };
        // A group that is gone has forgotten its children.
        let _ = self.line.send(event);
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.ended(Exit::Lost);
    }
}

/// An actor of any type, as its group sees it.
pub(super) trait Launch: Send + Sync {
    /// Begins a life on this arbiter. Whatever goes wrong is told through the reporter.
    fn start(&self, arbiter: &ArbiterHandle, life: Life, reporter: Reporter);
    /// Asks it to stop; `finally` shuts its door.
    fn ask_stop(&self, finally: bool);
    fn kill(&self);
    /// Answers everything that waits with `Down`.
    fn close(&self);
    fn silence(&self, stuck_after: Duration) -> Option<Silence>;
    /// Waiting messages, places taken, places.
    fn load(&self) -> (usize, u32, u32);
    fn set_capacity(&self, messages: usize);
    fn set_answer_within(&self, limit: Duration);
    #[cfg(feature = "failpoints")]
    fn fault(&self, fault: super::fault::Fault);
}

type Make<A> = Arc<dyn Fn(&Life) -> A + Send + Sync>;

pub(super) struct ActorLaunch<A: Actor<Context = Context<A>>> {
    post: Arc<Post<A>>,
    make: Make<A>,
    /// The present one.
    life: Mutex<Option<Life>>,
}

// === impl ActorLaunch ===

impl<A: Actor<Context = Context<A>>> ActorLaunch<A> {
    pub(super) fn new(post: Arc<Post<A>>, make: Make<A>) -> Self {
        Self {
            post,
            make,
            life: Mutex::new(None),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Launch for ActorLaunch<A> {
    fn start(&self, arbiter: &ArbiterHandle, life: Life, reporter: Reporter) {
        *self.life.lock() = Some(life.clone());
        let number = self.post.begin();
        let post = Arc::clone(&self.post);
        let seed = Seed::new(
            GroupKeeper {
                post,
                make: Arc::clone(&self.make),
                life,
                reporter,
            },
            number,
        );
        // When the arbiter is gone, the closure is dropped, and the seed with it says so.
        arbiter.spawn_fn(move || seed.plant());
    }

    fn ask_stop(&self, finally: bool) {
        if finally {
            self.post.shut();
        }
        self.post.order(Order::Stop);
    }

    fn kill(&self) {
        self.post.order(Order::Kill);
    }

    fn close(&self) {
        self.post.close();
    }

    fn silence(&self, stuck_after: Duration) -> Option<Silence> {
        let mailbox = self.post.shows();
        self.life.lock().as_ref()?.verdict(mailbox, stuck_after)
    }

    fn load(&self) -> (usize, u32, u32) {
        self.post.load()
    }

    fn set_capacity(&self, messages: usize) {
        self.post.set_capacity(messages);
    }

    fn set_answer_within(&self, limit: Duration) {
        self.post.set_answer_within(limit);
    }

    #[cfg(feature = "failpoints")]
    fn fault(&self, fault: super::fault::Fault) {
        self.post.set_fault(fault);
    }
}

impl<A: Actor<Context = Context<A>>> Drop for ActorLaunch<A> {
    fn drop(&mut self) {
        // Letters hold places and places hold the post: nobody would free that circle.
        self.post.close();
    }
}

struct GroupKeeper<A: Actor> {
    post: Arc<Post<A>>,
    make: Make<A>,
    life: Life,
    reporter: Reporter,
}

impl<A: Actor<Context = Context<A>>> Keeper<A> for GroupKeeper<A> {
    fn post(&self) -> &Arc<Post<A>> {
        &self.post
    }

    fn make(&mut self) -> A {
        (self.make)(&self.life)
    }

    fn started(&mut self) {
        self.reporter.started();
    }

    fn life(&self) -> Option<&Life> {
        Some(&self.life)
    }

    fn ended(&mut self, exit: Exit) -> Next {
        self.reporter.ended(exit);
        Next::End
    }

    fn lost(&mut self, _: u32) {
        self.reporter.ended(Exit::Lost);
    }
}
