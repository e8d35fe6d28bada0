//! The queue over a Redis that dies, is emptied, goes back in time or is slow: nothing is lost, nothing is done twice.

use super::shop::{Effects, LANE, Shop, assert_once, link, put, put_at, seed, system, until_done};
use crate::support::pg::TestDb;
use crate::support::redis::{Relay, TestRedis};
use crate::support::wait::until;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::store::redis::lane::{self, Due, PRIORITIES};
use zaikoban::store::redis::{RedisStatus, TroubleKind};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn c1_redis_absent_at_the_start_and_dying_under_load_changes_nothing_visible() {
    system(async {
        let (t, mut redis) = (TestDb::new().await, TestRedis::absent(&[]));
        let shop = Shop::open(&t, &redis.url()).await;
        put(&t, 100).await;
        until_done(&t, 100).await;
        shop.until_away(TroubleKind::Refused).await;
        assert_eq!(shop.figures().popped, 0);

        let mut all = 100;
        for round in 0..3 {
            redis.again().await;
            shop.until_up().await;
            let popped = shop.figures().popped;
            // Due in a moment, so that it is Redis that says so.
            put_at(&t, 50, Duration::from_millis(2_500)).await;
            all += 50;
            until("jobs are popped", || async {
                (shop.figures().popped > popped).then_some(())
            })
            .await;
            put(&t, 300).await;
            all += 300;
            if round % 2 == 0 {
                until_done(&t, all).await;
            }
            redis.kill();
            put(&t, 100).await;
            all += 100;
            until_done(&t, all).await;
        }
        assert_once(&shop.effects, all);
        shop.close().await;
    });
}

#[test]
fn c2_flushall_at_random_times_loses_nothing_and_is_filled_again_within_30_s() {
    system(async {
        let mut rng = StdRng::seed_from_u64(seed(2));
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let shop = Shop::open(&t, &redis.url()).await;
        shop.until_up().await;
        let mut all = 0;
        for _ in 0..50 {
            let n = rng.random_range(1..40);
            put_at(&t, n, Duration::from_millis(rng.random_range(0..200))).await;
            all += n;
            sleep(Duration::from_millis(rng.random_range(0..60))).await;
            redis.cli(&["FLUSHALL"]).await;
        }
        until_done(&t, all).await;
        assert_once(&shop.effects, all);

        put_at(&t, 200, SOON).await;
        until("all are there", || async {
            (redis.entries(":lane:").await == 200).then_some(())
        })
        .await;
        redis.cli(&["FLUSHALL"]).await;
        let emptied = Instant::now();
        until("all are there again", || async {
            (redis.entries(":lane:").await == 200).then_some(())
        })
        .await;
        let took = emptied.elapsed();
        assert!(
            took < Duration::from_secs(10),
            "{took:?}, before they were due and far below 30 s"
        );
        assert!(
            shop.link
                .counted()
                .emptied
                .load(std::sync::atomic::Ordering::Relaxed)
                > 0
        );
        shop.close().await;
    });
}

#[test]
fn c3_an_old_copy_of_redis_brings_back_no_job() {
    system(async {
        let (t, mut redis) = (TestDb::new().await, TestRedis::start().await);
        let shop = Shop::open(&t, &redis.url()).await;
        shop.until_up().await;
        put_at(&t, 300, Duration::from_secs(3)).await;
        until("all are there", || async {
            (redis.entries(":lane:").await == 300).then_some(())
        })
        .await;
        redis.cli(&["SAVE"]).await;
        until_done(&t, 300).await;
        redis.kill();
        put(&t, 50).await;
        redis.again().await;
        shop.until_up().await;
        until("old entries are popped", || async {
            (shop.figures().stale >= 300).then_some(())
        })
        .await;
        until_done(&t, 350).await;
        assert_once(&shop.effects, 350);
        shop.close().await;
    });
}

#[test]
fn c4_a_failover_to_an_older_copy_and_back_does_nothing_twice() {
    system(async {
        let (t, first, second) = (
            TestDb::new().await,
            TestRedis::start().await,
            TestRedis::start().await,
        );
        let relay = Relay::before(&first);
        let shop = Shop::open(&t, &relay.url()).await;
        shop.until_up().await;
        let mut all = 0;
        for round in 0..6 {
            put_at(&t, 60, Duration::from_millis(150 * (round % 3))).await;
            put(&t, 60).await;
            all += 120;
            // What the one has acknowledged, the other has never heard of; both go on answering.
            relay.lead_to(if round % 2 == 0 { &second } else { &first });
            sleep(Duration::from_millis(300)).await;
        }
        until_done(&t, all).await;
        shop.until_up().await;
        assert_once(&shop.effects, all);
        shop.close().await;
    });
}

#[test]
fn c5_a_slow_redis_is_passed_by_within_its_limit() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let relay = Relay::before(&redis);
        let shop = Shop::open(&t, &relay.url()).await;
        shop.until_up().await;

        relay.late(Duration::from_secs(2));
        shop.until_away(TroubleKind::Slow).await;
        put(&t, 100).await;
        until_done(&t, 100).await;
        relay.real();
        shop.until_up().await;

        let asleep = Instant::now();
        let (_slept, ()) = tokio::join!(redis.cli(&["DEBUG", "SLEEP", "5"]), async {
            put(&t, 100).await;
            until_done(&t, 200).await;
            assert!(
                asleep.elapsed() < Duration::from_secs(4),
                "nobody waited for it: {:?}",
                asleep.elapsed()
            );
        });
        shop.until_up().await;
        assert_once(&shop.effects, 200);
        shop.close().await;
    });
}

#[test]
fn c6_a_full_redis_is_left_alone_and_a_wrong_eviction_policy_is_seen() {
    system(async {
        let t = TestDb::new().await;
        let mut redis = TestRedis::absent(&["--maxmemory-policy", "allkeys-lru"]);
        redis.again().await;
        let shop = Shop::open(&t, &redis.url()).await;
        shop.until_up().await;
        let seen = shop.link.watch().borrow().clone();
        assert!(
            matches!(&seen, RedisStatus::Up { facts, .. } if facts.evicts()),
            "{seen:?}"
        );

        redis
            .cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
            .await;
        redis.cli(&["CONFIG", "SET", "maxmemory", "1"]).await;
        shop.until_away(TroubleKind::Full).await;
        put(&t, 100).await;
        until_done(&t, 100).await;
        redis.cli(&["CONFIG", "SET", "maxmemory", "0"]).await;
        shop.until_up().await;
        let seen = shop.link.watch().borrow().clone();
        assert!(
            matches!(&seen, RedisStatus::Up { facts, .. } if !facts.evicts()),
            "{seen:?}"
        );
        assert_once(&shop.effects, 100);
        shop.close().await;
    });
}

#[test]
fn c8_one_id_pushed_a_hundred_times_to_two_processes_is_done_once() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let effects = Effects::default();
        let one = Shop::with(&t, &redis.url(), "one", effects.clone()).await;
        let other = Shop::with(&t, &redis.url(), "other", effects.clone()).await;
        one.until_up().await;
        other.until_up().await;
        put_at(&t, 20, Duration::from_millis(2_500)).await;
        let ids = t
            .text("SELECT string_agg(id::text, ',') FROM processing_queue")
            .await;
        let ids: Vec<i64> = ids.split(',').map(|id| id.parse().unwrap()).collect();
        let own = link(&t, &redis.url()).await;
        assert_eq!(own.key("x"), one.link.key("x"), "one database, one name");
        let everywhere: Vec<Due> = ids
            .iter()
            .flat_map(|id| {
                PRIORITIES.map(|priority| Due {
                    job: zaikoban::domain::JobId(*id),
                    priority,
                    at_ms: 1,
                })
            })
            .collect();
        for _ in 0..100 {
            lane::put(&one.link, LANE, &everywhere).await.unwrap();
            sleep(Duration::from_millis(30)).await;
        }
        until_done(&t, 20).await;
        assert!(
            one.figures().stale + other.figures().stale > 100,
            "they were popped in vain"
        );
        assert_once(&effects, 20);
        one.close().await;
        other.close().await;
    });
}

#[test]
fn c10_two_databases_on_one_redis_never_meet() {
    system(async {
        let (a, b, redis) = (TestDb::new().await, TestDb::new().await, TestRedis::start().await);
        let (one, other) = (
            Shop::open(&a, &redis.url()).await,
            Shop::open(&b, &redis.url()).await,
        );
        one.until_up().await;
        other.until_up().await;
        assert_ne!(one.link.key("x"), other.link.key("x"));
        // The same ids in both.
        put_at(&a, 200, Duration::from_millis(2_500)).await;
        put_at(&b, 100, Duration::from_millis(2_500)).await;
        until_done(&a, 200).await;
        until_done(&b, 100).await;
        assert_once(&one.effects, 200);
        assert_once(&other.effects, 100);
        assert!(one.figures().popped > 0 && other.figures().popped > 0);
        one.close().await;
        other.close().await;
    });
}

#[test]
fn a_pop_follows_the_shares_and_gives_no_more_than_is_asked_or_due() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let shop = Shop::open(&t, &redis.url()).await;
        shop.until_up().await;
        // Of another lane, which nobody serves here.
        let lane = zaikoban::store::jobs::Lane {
            queue: zaikoban::store::jobs::QueueName::Validation,
            destination: None,
        };
        let due = |id: i64, priority, at_ms| Due {
            job: zaikoban::domain::JobId(id),
            priority,
            at_ms,
        };
        let mut all: Vec<Due> = (1..=600).map(|id| due(id, 1, id)).collect();
        all.extend((601..=1_200).map(|id| due(id, 9, id)));
        all.push(due(5_000, 2, 999_999));
        lane::put(&shop.link, lane, &all).await.unwrap();
        let first = lane::pop(&shop.link, lane, &[(9, 10), (1, 100)], 100, 5_000)
            .await
            .unwrap();
        let level = |id: i64| if id <= 600 { 1 } else { 9 };
        let of_nine = first.jobs.iter().filter(|job| level(job.0) == 9).count();
        assert_eq!(
            (first.jobs.len(), of_nine),
            (100, 10),
            "its share first, however urgent the others are"
        );
        assert_eq!(first.heads, [(1, 91), (2, 999_999), (9, 611)]);
        let rest = lane::pop(&shop.link, lane, &[], 5_000, 5_000).await.unwrap();
        assert_eq!(rest.jobs.len(), lane::MOST, "bounded");
        let last = lane::pop(&shop.link, lane, &[], 5_000, 5_000).await.unwrap();
        assert_eq!(
            (last.jobs.len(), last.heads),
            (100, vec![(2, 999_999)]),
            "what is not due stays"
        );
        shop.close().await;
    });
}
