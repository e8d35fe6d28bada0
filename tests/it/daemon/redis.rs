//! The whole daemon beside a Redis that is emptied, killed and restored while stock and prices change.

use super::world::{READY, SETTLE, World};
use crate::support::redis::TestRedis;
use std::time::Duration;

const CHANGES_PER_S: f64 = 15.0;

#[tokio::test]
async fn a_redis_that_dies_and_is_emptied_while_changes_flow_changes_nothing() {
    let mut redis = TestRedis::start().await;
    let mut world = World::new("redis", 131, 80).await;
    world.set(&[("REDIS__URL", &redis.url()), ("ALERTS__LANGUAGE", "en")]);
    world.launch().await;
    world.register().await;
    let state = |status: &serde_json::Value, wanted: &str| {
        (status["redis"]["state"] == wanted).then(|| status["redis"].clone())
    };
    world
        .until("Redis is used", READY, "/v1/status", |s| state(s, "up"))
        .await;
    world.settle(SETTLE).await;

    world.changes(CHANGES_PER_S);
    for _ in 0..5 {
        redis.cli(&["FLUSHALL"]).await;
        world.run_for(Duration::from_millis(300)).await;
    }
    redis.cli(&["SAVE"]).await;
    redis.kill();
    let told = world
        .until("it is away", READY, "/v1/status", |s| state(s, "away"))
        .await;
    assert!(
        told["to_do"]
            .as_str()
            .is_some_and(|to_do| to_do.contains("redis.url")),
        "{told}"
    );
    world.run_for(Duration::from_secs(1)).await;
    redis.again().await;
    world
        .until("it is used again", READY, "/v1/status", |s| state(s, "up"))
        .await;
    world.run_for(Duration::from_secs(1)).await;
    world.assert_converged(SETTLE).await;
    world.finish().await;
}
