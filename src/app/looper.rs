//! A child of the tree whose whole work is one loop.

use crate::supervision::{ChildSpec, Life};
use actix::prelude::*;
use futures_util::future::BoxFuture;
use std::sync::Arc;

type Work = dyn Fn(Life) -> BoxFuture<'static, ()> + Send + Sync;

/// Runs its work on its own context, so that a panic in it is this actor's and the tree sees it. The work ends when the
/// child is asked to stop; when it ends by itself, that is a normal exit.
struct Looper {
    life: Life,
    work: Arc<Work>,
}

impl Actor for Looper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Asked for at once: from now on this actor stops itself.
        let stopping = self.life.stopping();
        let work = (self.work)(self.life.clone());
        let done = work.into_actor(self).map(|(), _, context| context.stop());
        context.spawn(done);
        drop(stopping);
    }
}

impl Supervised for Looper {
    fn restarting(&mut self, _: &mut Self::Context) {}
}

/// A child that runs `work` anew after each restart.
pub(super) fn looper<F>(name: &str, work: F) -> ChildSpec
where
    F: Fn(Life) -> BoxFuture<'static, ()> + Send + Sync + 'static,
{
    let work: Arc<Work> = Arc::new(work);
    let make = move |life: &Life| Looper { life: life.clone(), work: Arc::clone(&work) };
    ChildSpec::actor(name, make).0
}
