//! What a Redis may say instead of an answer, and what may stand there instead of ours.

use super::shop::{LANE, Shop, assert_once, put, put_at, system, until_done};
use crate::support::pg::TestDb;
use crate::support::redis::{Relay, TestRedis};
use crate::support::wait::until;
use std::sync::atomic::Ordering;
use std::time::Duration;
use zaikoban::store::redis::TroubleKind;
use zaikoban::store::redis::bounded;
use zaikoban::store::redis::lane;

#[test]
fn c7_each_refusal_is_known_by_its_name_and_the_queue_goes_on() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let relay = Relay::before(&redis);
        let shop = Shop::open(&t, &relay.url()).await;
        let mut all = 0;
        for (says, kind) in [
            (
                "-READONLY You can't write against a read only replica.",
                TroubleKind::ReadOnly,
            ),
            (
                "-LOADING Redis is loading the dataset in memory",
                TroubleKind::Starting,
            ),
            ("-MASTERDOWN Link with MASTER is down", TroubleKind::Starting),
            ("-NOAUTH Authentication required.", TroubleKind::Denied),
            ("-WRONGPASS invalid username-password pair", TroubleKind::Denied),
            ("-NOPERM this user has no permissions", TroubleKind::Denied),
            (
                "-MISCONF Redis is configured to save RDB snapshots",
                TroubleKind::CannotSave,
            ),
            (
                "-OOM command not allowed when used memory > 'maxmemory'.",
                TroubleKind::Full,
            ),
            ("-ERR something that nobody has heard of", TroubleKind::Refuses),
        ] {
            shop.until_up().await;
            relay.instead(format!("{says}\r\n").as_bytes());
            shop.until_away(kind).await;
            put(&t, 20).await;
            all += 20;
            until_done(&t, all).await;
            relay.real();
        }
        shop.until_up().await;
        assert_once(&shop.effects, all);
        shop.close().await;
    });
}

#[test]
fn c7_a_password_that_is_wrong_or_lacking_is_told_as_such() {
    system(async {
        let t = TestDb::new().await;
        let mut redis = TestRedis::absent(&[]);
        redis.again().await;
        redis.cli(&["CONFIG", "SET", "requirepass", "secret"]).await;
        let url = redis.url();
        for (url, right) in [
            (url.clone(), false),
            (format!("{url}?pass=wrong"), false),
            (format!("{url}?pass=secret"), true),
        ] {
            let shop = Shop::open(&t, &url).await;
            if right {
                shop.until_up().await;
            } else {
                shop.until_away(TroubleKind::Denied).await;
            }
            shop.close().await;
        }
    });
}

#[test]
fn c9_foreign_data_under_our_names_is_removed_or_ignored() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let shop = Shop::open(&t, &redis.url()).await;
        shop.until_up().await;
        let key = |priority| lane::key(&shop.link, LANE, priority);
        let huge = "x".repeat(100_000);
        for member in [
            "",
            "nonsense",
            "-5",
            "1.5",
            "99999999999999999999",
            "4242424242",
            "\u{1F4A5}",
            &huge,
        ] {
            redis.cli(&["ZADD", &key(1), "1", member]).await;
        }
        redis.cli(&["ZADD", &key(2), "inf", "7"]).await;
        redis.cli(&["ZADD", &key(3), "-inf", "8"]).await;
        put_at(&t, 100, Duration::from_millis(2_500)).await;
        until_done(&t, 100).await;
        let foreign = || shop.link.counted().foreign.load(Ordering::Relaxed);
        until("what is foreign is met", || async {
            (foreign() == 7).then_some(())
        })
        .await;

        redis.cli(&["SET", &key(4), "not a set"]).await;
        redis.cli(&["SET", &shop.link.key("strange"), "x"]).await;
        put_at(&t, 100, Duration::from_millis(2_500)).await;
        until_done(&t, 200).await;
        until("what is in the way is met", || async {
            (foreign() > 7).then_some(())
        })
        .await;
        assert_ne!(
            redis.cli(&["TYPE", &key(4)]).await,
            "string",
            "what was in the way is gone"
        );
        assert!(shop.link.is_up());
        // The mark, too, may be anything.
        let mark = shop.link.key("mark");
        for foreign in [
            "redis.call('LPUSH', KEYS[1], 'x')",
            r"redis.call('SET', KEYS[1], '\255\254')",
            "redis.call('SET', KEYS[1], string.rep('x', 5000000))",
        ] {
            redis.cli(&["DEL", &mark]).await;
            redis.cli(&["EVAL", foreign, "1", &mark]).await;
            until("the mark is ours again", || async {
                (redis.cli(&["STRLEN", &mark]).await == "36" && shop.link.is_up()).then_some(())
            })
            .await;
        }
        assert_once(&shop.effects, 200);
        shop.close().await;
    });
}

#[test]
fn c9_garbage_instead_of_answers_is_an_error_and_a_new_connection() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let relay = Relay::before(&redis);
        let shop = Shop::open(&t, &relay.url()).await;
        let deep = "*1\r\n".repeat(5_000);
        let mut all = 0;
        for says in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"\x00\xff\xfe\x80\r\n",
            b":12x\r\n",
            b"+OK\r\n",
            b"*2\r\n+only\r\n+words\r\n",
            deep.as_bytes(),
        ] {
            shop.until_up().await;
            relay.instead(says);
            shop.until_away(TroubleKind::Garbage).await;
            put(&t, 20).await;
            all += 20;
            until_done(&t, all).await;
            relay.real();
        }
        // Announced, and never sent: that is slow.
        for says in [
            &b"*999999999\r\n"[..],
            b"$9223372036854775807\r\n",
            b"$-2\r\n*-7\r\n|3\r\n",
            b"$536870912\r\n",
        ] {
            shop.until_up().await;
            relay.instead(says);
            until("it is away", || async { (!shop.link.is_up()).then_some(()) }).await;
            relay.real();
        }
        shop.until_up().await;
        assert_once(&shop.effects, all);
        shop.close().await;
    });
}

#[test]
fn c9_half_a_gigabyte_instead_of_an_answer_is_not_read() {
    system(async {
        let (t, redis) = (TestDb::new().await, TestRedis::start().await);
        let relay = Relay::before(&redis);
        let shop = Shop::open(&t, &relay.url()).await;
        shop.until_up().await;
        relay.endless(b"$536870912\r\n");
        until("it is away", || async { (!shop.link.is_up()).then_some(()) }).await;
        relay.real();
        shop.until_up().await;
        let poured = relay.poured.load(Ordering::SeqCst);
        // each connection that was tried took the bound and what stands in the socket's buffers
        let lost = usize::try_from(shop.link.counted().lost.load(Ordering::Relaxed)).unwrap();
        assert!(lost >= 1 && poured > 0);
        assert!(
            poured <= 4 * (bounded::MOST + (1 << 20)),
            "{poured} bytes were taken"
        );
        put(&t, 20).await;
        until_done(&t, 20).await;
        shop.close().await;
    });
}
