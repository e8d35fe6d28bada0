//! An actor whose whole work is one loop.
//!
//! Keepers, watchers and sweepers take no messages: they do something, wait, and do it again until they are asked to
//! stop. The loop runs as a future on the actor's own context, so its panic is the actor's crash, seen and counted by the
//! tree, and its silence is the actor's being stuck.

use super::error::StoreError;
use crate::supervision::{ChildSpec, Life};
use actix::{Actor, ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

struct Looping {
    work: Option<LocalBoxFuture<'static, ()>>,
}

impl Actor for Looping {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        use actix::ActorContext as _;
        if let Some(work) = self.work.take() {
            // a loop that ends has been asked to
            let work = work.into_actor(self).map(|(), _, ctx| ctx.stop());
            ctx.spawn(work);
        }
    }
}

/// A child that runs what `work` makes for each of its lives.
pub fn child<F, Fut>(name: &str, work: F) -> ChildSpec
where
    F: Fn(Life) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let (spec, _handle) = ChildSpec::actor(name, move |life: &Life| {
        // taken now, so that the tree knows that this child ends by itself when it is asked to
        let _listens = life.stopping();
        Looping {
            work: Some(work(life.clone()).boxed_local()),
        }
    });
    spec
}

/// Does `work` again and again, `period` apart, until the child is asked to stop. One turn may take `limit`.
///
/// A failure waits for the next turn. That the database is away is told elsewhere, once; anything else is logged here.
pub async fn every<F, Fut>(life: &Life, what: &str, period: Duration, limit: Duration, mut work: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<(), StoreError>>,
{
    loop {
        life.beat();
        life.waiting_until(Instant::now() + limit);
        match work().await {
            Ok(()) => {}
            Err(error) if error.is_outage() => tracing::debug!("{what} waits for the database: {error}"),
            Err(error) => tracing::error!("{what} failed, next try in {} s: {error}", period.as_secs()),
        }
        if !pause(life, period).await {
            return;
        }
    }
}

/// Waits for `pause`, which counts as beating. False when the child has been asked to stop.
pub async fn pause(life: &Life, pause: Duration) -> bool {
    let until = Instant::now() + pause;
    life.beat();
    life.waiting_until(until);
    tokio::select! {
        () = life.stopping().cancelled_owned() => false,
        () = tokio::time::sleep_until(until) => true,
    }
}
