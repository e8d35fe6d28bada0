//! One rate and one gate for three nodes, on a real Redis.

use super::shop::{link, seed, system};
use crate::support::pg::TestDb;
use crate::support::redis::TestRedis;
use crate::support::wait::until;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use zaikoban::app::peers;
use zaikoban::backoff::Jitter;
use zaikoban::clock::Clock;
use zaikoban::domain::{Classified, ErrorClass};
use zaikoban::queue::fast::FastLanes;
use zaikoban::resilience::{Guard, Opening, Policy, Priority, Rate, Registry};
use zaikoban::store::redis::limits::{self, TurnsAsked};
use zaikoban::store::redis::{self, Link};
use zaikoban::supervision::{
    GiveUp, GroupSpec, Intensity, OwnedTask, Strategy, Tree, TreeOptions, spawn_owned,
};

const PER_SECOND: usize = 50;
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("away")]
struct Away;

impl Classified for Away {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }
}

struct Node {
    guard: Guard,
    link: Link,
    tree: Tree,
}

impl Node {
    async fn new(t: &TestDb, url: &str, share: f64) -> Self {
        let link = link(t, url).await;
        let policy = Policy {
            rate: Rate::per_second(50.0).unwrap(),
            spacing_jitter: Jitter::NONE,
            concurrency: 100,
            opening: Opening {
                first: Duration::from_secs(3),
                jitter: Jitter::NONE,
                ..Opening::default()
            },
            ..Policy::default()
        };
        let guard = Guard::new("ebay", policy, Clock::system(), None).unwrap();
        let guards = Registry::new();
        guards.add(guard.clone());
        let mut children = vec![redis::child("redis", link.clone())];
        children.extend(peers(
            &FastLanes::new(link.clone()),
            &guards,
            Arc::new(move |_| share),
        ));
        let spec = GroupSpec {
            name: "node".into(),
            strategy: Strategy::OneForOne,
            intensity: Intensity {
                restarts: 5,
                within: Duration::from_secs(60),
            },
            give_up: GiveUp::Escalate,
            children,
        };
        let tree = Tree::start(spec, TreeOptions::default()).unwrap();
        tree.opened().await.unwrap();
        Self { guard, link, tree }
    }

    /// Calls as fast as it may until `end`.
    fn hammer(&self, sent: &Arc<Mutex<Vec<Instant>>>, end: Instant) -> OwnedTask<()> {
        let (guard, sent) = (self.guard.clone(), Arc::clone(sent));
        spawn_owned("node", async move {
            while Instant::now() < end {
                let Ok(permit) = timeout_at(end, guard.reserve(Priority::Normal)).await else {
                    return;
                };
                let told = Arc::clone(&sent);
                let call = guard.call_with(permit, || async move {
                    told.lock().push(Instant::now());
                    Ok::<_, Away>(())
                });
                drop(call.await);
            }
        })
    }
}

async fn three(t: &TestDb, url: &str) -> Vec<Node> {
    let mut nodes = Vec::new();
    for share in [0.5, 0.3, 0.2] {
        nodes.push(Node::new(t, url, share).await);
    }
    nodes
}

async fn hammered(nodes: &[Node], end: Instant) -> Vec<Instant> {
    let sent = Arc::default();
    let tasks: Vec<_> = nodes.iter().map(|node| node.hammer(&sent, end)).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut sent = sent.lock().clone();
    sent.sort_unstable();
    sent
}

fn busiest(sent: &[Instant]) -> usize {
    let in_a_second = |from: &Instant| {
        sent.iter()
            .filter(|at| *at >= from && **at < *from + SECOND)
            .count()
    };
    sent.iter().map(in_a_second).max().unwrap_or(0)
}

async fn stop(nodes: Vec<Node>) {
    for node in nodes {
        node.tree.stop(Duration::from_secs(10)).await;
    }
}

#[test]
fn three_nodes_together_keep_to_one_rate_whatever_happens_to_redis() {
    system(async {
        let mut rng = StdRng::seed_from_u64(seed(3));
        let (t, mut redis) = (TestDb::new().await, TestRedis::start().await);
        let nodes = three(&t, &redis.url()).await;
        for node in &nodes {
            until("Redis is used", || async { node.link.is_up().then_some(()) }).await;
        }
        let began = Instant::now();
        let trouble = async {
            sleep(Duration::from_millis(2_500)).await;
            for _ in 0..3 {
                redis.cli(&["FLUSHALL"]).await;
                sleep(Duration::from_millis(rng.random_range(0..500))).await;
            }
            redis.kill();
            sleep(Duration::from_millis(rng.random_range(3_500..4_500))).await;
            redis.again().await;
            sleep_until(began + Duration::from_millis(11_500)).await;
        };
        let (sent, ()) = tokio::join!(hammered(&nodes, began + Duration::from_secs(12)), trouble);
        let first = sent
            .iter()
            .filter(|at| **at < began + Duration::from_millis(2_500))
            .count();
        assert!(
            first >= PER_SECOND,
            "all of the rate is used while all is well: {first} in 2.5 s"
        );
        let last = sent
            .iter()
            .filter(|at| **at > began + Duration::from_secs(10))
            .count();
        assert!(last >= PER_SECOND, "and again afterwards: {last} in 2 s");
        // A turn may be used 20 ms late, one spacing; while Redis is away the seconds of three may meet at their edges.
        let busiest = busiest(&sent);
        assert!(busiest <= PER_SECOND + 3, "{busiest} in a second");
        stop(nodes).await;
    });
}

#[test]
fn turns_are_a_spacing_apart_and_an_order_that_lay_about_is_none() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let nodes = three(&t, &redis.url()).await;
        until("Redis is used", || async { nodes[0].link.is_up().then_some(()) }).await;
        let link = &nodes[0].link;
        let asked = TurnsAsked {
            service: "slow",
            share: 0.25,
            interval: Duration::from_millis(100),
            wanted: 5,
        };
        let turns = limits::take(link, &asked).await.unwrap();
        let now = Instant::now();
        assert_eq!(
            turns.apart,
            Duration::from_millis(400),
            "a quarter of the rate while the others are not there"
        );
        assert!(
            turns.at.is_empty(),
            "a limit that nobody remembers begins later than any turn of before"
        );
        assert!(turns.again_at.is_some_and(|at| at > now && at < now + SECOND));
        sleep_until(turns.again_at.unwrap()).await;
        let turns = limits::take(link, &asked).await.unwrap();
        assert!(!turns.at.is_empty());
        for pair in turns.at.windows(2) {
            let apart = pair[1] - pair[0];
            assert!(apart >= Duration::from_millis(399), "{apart:?}");
        }
        // What others wrote there is no limit for ever.
        redis
            .cli(&[
                "HSET",
                &link.key("limit:slow"),
                "turn",
                "9e15",
                "stranger",
                "1000000 9e99",
                "x",
                "",
            ])
            .await;
        let turns = limits::take(link, &asked).await.unwrap();
        assert_eq!(turns.apart, Duration::from_millis(400));
        assert!(turns.again_at.is_some_and(|at| at < Instant::now() + 2 * SECOND));
        stop(nodes).await;
    });
}

#[test]
fn a_breaker_that_one_node_opens_is_open_on_all_and_one_probe_closes_it() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let nodes = three(&t, &redis.url()).await;
        for node in &nodes {
            until("Redis is used", || async { node.link.is_up().then_some(()) }).await;
        }
        let fails = async || {
            nodes[0]
                .guard
                .call(Priority::Normal, || async { Err::<(), _>(Away) })
                .await
        };
        until("it trips", || async {
            drop(fails().await);
            (nodes[0].guard.status().counts.trips > 0).then_some(())
        })
        .await;
        for node in &nodes {
            until("it is shut on all", || async { node.guard.shut_for() }).await;
        }
        // An emptied Redis is told again what holds.
        redis.cli(&["FLUSHALL"]).await;
        let (probes, end) = (Arc::new(Mutex::new(0)), Instant::now() + Duration::from_secs(20));
        let calls = nodes.iter().map(|node| {
            let (guard, probes) = (node.guard.clone(), Arc::clone(&probes));
            spawn_owned("caller", async move {
                while Instant::now() < end {
                    let told = Arc::clone(&probes);
                    let called = guard.call(Priority::Normal, || async move {
                        *told.lock() += 1;
                        // longer than all the others take to ask whether they may
                        sleep(Duration::from_millis(2_500)).await;
                        Ok::<_, Away>(())
                    });
                    if called.await.is_ok() {
                        return;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        until("somebody tries it again", || async {
            (*probes.lock() > 0).then_some(())
        })
        .await;
        sleep(Duration::from_millis(1_500)).await;
        assert_eq!(*probes.lock(), 1, "one of all nodes");
        for call in calls {
            call.await.unwrap();
        }
        for node in &nodes {
            until("open on all", || async {
                node.guard.shut_for().is_none().then_some(())
            })
            .await;
        }
        assert!(Instant::now() < end);
        stop(nodes).await;
    });
}
