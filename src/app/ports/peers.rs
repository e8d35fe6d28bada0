//! The other nodes' guards, by way of Redis.

use crate::queue::fast::FastLanes;
use crate::resilience::{Heard, News, Peers, Registry, Turns, TurnsAsked};
use crate::store::looping::{child, pause};
use crate::store::redis::{Link, gates, limits};
use crate::supervision::{ChildSpec, Life, OwnedTask, spawn_owned};
use futures_util::future::{BoxFuture, FutureExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it is asked what the others found out.
const HEAR_EVERY: Duration = Duration::from_secs(1);

/// This node's part of a service's rate; see [`Peers::share`].
pub type ShareOf = Arc<dyn Fn(&str) -> f64 + Send + Sync>;

/// See the module.
struct OverRedis {
    link: Link,
    share: ShareOf,
    told: mpsc::UnboundedSender<(String, News)>,
    /// Tells as long as it lives.
    _teller: OwnedTask<()>,
}

// === impl OverRedis ===

impl OverRedis {
    fn new(link: Link, share: ShareOf) -> Arc<Self> {
        // A breaker trips some times an hour: what waits here is a handful.
        let (told, hear) = mpsc::unbounded_channel();
        let teller = spawn_owned("gate news", tell(link.clone(), hear));
        Arc::new(Self {
            link,
            share,
            told,
            _teller: teller,
        })
    }
}

async fn tell(link: Link, mut hear: mpsc::UnboundedReceiver<(String, News)>) {
    while let Some((service, news)) = hear.recv().await {
        let told = match news {
            News::Shut { lasts, trips } => gates::tell(&link, &service, lasts, trips).await,
            News::Open => gates::tell(&link, &service, Duration::ZERO, 0).await,
            News::ProbeReturned => gates::return_probe(&link, &service).await,
        };
        if let Err(trouble) = told {
            // The link tells of its troubles; a gate that is shut is told again when it is back.
            tracing::debug!("The other nodes were not told of `{service}`: {trouble}");
        }
    }
}

impl Peers for OverRedis {
    fn share(&self, service: &str) -> f64 {
        (self.share)(service)
    }

    fn are_reachable(&self) -> bool {
        self.link.is_up()
    }

    fn turns(&self, service: &str, asked: TurnsAsked) -> BoxFuture<'static, Option<Turns>> {
        let (link, service) = (self.link.clone(), service.to_owned());
        async move {
            let asked = limits::TurnsAsked {
                service: &service,
                share: asked.share,
                interval: asked.interval,
                wanted: asked.wanted,
            };
            let limits::Turns { at, apart, again_at } = limits::take(&link, &asked).await.ok()?;
            Some(Turns { at, apart, again_at })
        }
        .boxed()
    }

    fn may_probe(&self, service: &str, lasts: Duration) -> BoxFuture<'static, Option<bool>> {
        let (link, service) = (self.link.clone(), service.to_owned());
        async move { gates::may_probe(&link, &service, lasts).await.ok() }.boxed()
    }

    fn tell(&self, service: &str, news: News) {
        // The receiver ends with this; nothing is left to tell then.
        drop(self.told.send((service.to_owned(), news)));
    }
}

/// Joins every guard to those of the other nodes, and passes on what these find out.
#[must_use]
pub fn children(fast: &FastLanes, guards: &Registry, share: ShareOf) -> Vec<ChildSpec> {
    let (link, guards) = (fast.link().clone(), guards.clone());
    let peers = OverRedis::new(link.clone(), share);
    for guard in guards.all() {
        guard.join(peers.clone());
    }
    vec![child("peers", move |life| {
        hear(link.clone(), guards.clone(), life)
    })]
}

async fn hear(link: Link, guards: Registry, life: Life) {
    let mut fills = link.fills();
    while pause(&life, HEAR_EVERY).await {
        if !link.is_up() {
            continue;
        }
        if fills.has_changed().unwrap_or(false) {
            fills.mark_unchanged();
            guards.all().iter().for_each(crate::resilience::Guard::tell_again);
        }
        for guard in guards.all() {
            let Ok(read) = gates::read(&link, guard.service()).await else {
                break;
            };
            if let Some(read) = read {
                guard.hear(Heard {
                    shut_for: read.shut_for,
                    trips: read.trips,
                    number: read.at_us,
                });
            }
        }
    }
}
