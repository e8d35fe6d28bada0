//! Three daemons on one database and one Redis, while stock and prices change and everything that can die does: daemons
//! are killed, stopped, stand still; Redis is emptied and killed; the database's server is killed. Chance says when.

use super::house::{House, Tables};
use super::proof::Older;
use crate::support::long::long_or;
use crate::support::redis::TestRedis;
use crate::support::seed;
use nix::sys::signal::{Signal, kill};
use rand::Rng as _;
use std::time::Duration;
use tokio::time::sleep;

const NODES: usize = 3;
const CHANGES_PER_S: f64 = 10.0;
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What happens to the house.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// `kill -9`, and started again.
    Kill,
    /// SIGTERM, and started again.
    Replace,
    /// It stands still for longer than it is believed alive, and goes on.
    Suspend,
    /// Redis forgets everything.
    Empty,
    /// Redis is killed, and started again empty.
    KillRedis,
    /// The database's server is killed, and started again.
    KillServer,
}

/// The order of the blows: each at least once, dealt anew when all were.
fn blows(rng: &mut impl rand::Rng, many: usize) -> Vec<Blow> {
    let mut all = Vec::new();
    while all.len() < many {
        let mut deal = [
            Blow::Kill,
            Blow::KillServer,
            Blow::Suspend,
            Blow::Empty,
            Blow::KillRedis,
            Blow::Replace,
            Blow::Kill,
            Blow::KillServer,
        ];
        for at in (1..deal.len()).rev() {
            deal.swap(at, rng.random_range(0..=at));
        }
        all.extend(deal);
    }
    all.truncate(many);
    all
}

#[tokio::test]
async fn three_nodes_in_a_storm_lose_nothing() {
    let mut rng = seed::rng("storm times", 901);
    let mut redis = TestRedis::start().await;
    let tables = Tables::own().await;
    let url = redis.url();
    let mut house = House::on("nodes-storm", 901, NODES, tables, &[("REDIS__URL", &url)]).await;
    house.world.changes(CHANGES_PER_S);
    let all = blows(&mut rng, long_or(200, 8));
    for (nth, blow) in all.iter().enumerate() {
        sleep(Duration::from_millis(rng.random_range(100..2_500))).await;
        let n = rng.random_range(0..NODES);
        println!("storm: {} of {}: {blow:?} at node-{n}", nth + 1, all.len());
        match blow {
            Blow::Kill => {
                house.nodes[n].kill().await.unwrap();
                house.launch(n).await;
            }
            Blow::Replace => {
                let status = house.nodes[n].stop(STOP_LIMIT).await.unwrap();
                assert_eq!(status, "exit status: 0", "{}", house.nodes[n].log_tail());
                house.launch(n).await;
            }
            Blow::Suspend => {
                let still = Duration::from_millis(rng.random_range(500..long_or(30_000, 13_000)));
                kill(house.pid(n), Signal::SIGSTOP).unwrap();
                sleep(still).await;
                kill(house.pid(n), Signal::SIGCONT).unwrap();
            }
            Blow::Empty => drop(redis.cli(&["FLUSHALL"]).await),
            Blow::KillRedis => {
                redis.kill();
                sleep(Duration::from_millis(rng.random_range(0..3_000))).await;
                redis.again().await;
            }
            Blow::KillServer => house.kill_server(),
        }
        for node in &mut house.nodes {
            assert_eq!(
                node.exited().unwrap(),
                None,
                "a daemon ended by itself:\n{}",
                node.log_tail()
            );
        }
    }
    house.shared_by(&[0, 1, 2], STOP_LIMIT).await;
    house.assert_converged(0, Older::Overwritten).await;
    house.finish().await;
}
