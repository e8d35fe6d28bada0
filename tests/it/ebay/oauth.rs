//! Tokens: one refresh for many, early, kept, and never shown.

use super::memory::Memory;
use super::server::{CANARY_REFRESH, CANARY_SECRET, Said, Server, say, token};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all, ready};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use zaikoban::clock::Clock;
use zaikoban::domain::{ErrorClass, Platform};
use zaikoban::platform::oauth::{
    ClientAuth, Grant, Grants, NEEDS_CREDENTIALS, NEEDS_REAUTH, NoGrant, OAuth, OAuthSettings,
};

struct Bench {
    server: Server,
    store: Arc<Memory>,
    clock: Clock,
}

impl Bench {
    /// Answers the n-th refresh (from 1) with what `handler` says.
    async fn new(handler: impl Fn(usize, &str) -> Said + Send + Sync + 'static) -> Self {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |seen| {
            let form = String::from_utf8(seen.body.clone()).unwrap();
            handler(count.fetch_add(1, Ordering::SeqCst) + 1, &form)
        });
        Self {
            server: server.await,
            store: Arc::default(),
            clock: Clock::manual("2026-11-22T00:00:00Z".parse().unwrap()),
        }
    }

    fn oauth(&self) -> OAuth {
        self.oauth_of(CANARY_REFRESH)
    }

    fn oauth_of(&self, refresh: &str) -> OAuth {
        self.oauth_by(Arc::new(grant(refresh)))
    }

    fn oauth_by(&self, grants: Arc<dyn Grants>) -> OAuth {
        let settings = OAuthSettings {
            platform: Platform::Ebay,
            token_url: self.server.url.join(super::server::TOKEN_PATH).unwrap(),
            scopes: vec!["a".into(), "b".into()],
            client_auth: ClientAuth::Basic,
        };
        OAuth::new(
            settings,
            grants,
            self.server.client(),
            self.store.clone(),
            self.clock.clone(),
        )
    }
}

fn grant(refresh: &str) -> Grant {
    Grant {
        client_id: "client".into(),
        client_secret: CANARY_SECRET.into(),
        refresh_token: refresh.into(),
    }
}

/// What a person sets while the daemon runs.
#[derive(Default)]
struct Desk(Mutex<Option<Grant>>);

impl Grants for Desk {
    fn grant(&self) -> BoxFuture<'_, Result<Grant, NoGrant>> {
        let set = self.0.lock().clone();
        ready(set.ok_or_else(|| NoGrant::Lacking(vec!["refresh_token"]))).boxed()
    }

    fn lacking(&self) -> Vec<&'static str> {
        match &*self.0.lock() {
            Some(_) => Vec::new(),
            None => vec!["refresh_token"],
        }
    }
}

fn refused(error: &str) -> Said {
    say(400, &json!({"error": error, "error_description": CANARY_REFRESH}))
}

/// A future of the paused clock: real sockets, virtual timers.
async fn pass(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn the_grant_is_rfc_6749s() {
    let bench = Bench::new(|_, _| token("t1", 7200)).await;
    let bearer = bench.oauth().access().await.unwrap();
    assert_eq!(bearer.token().expose_secret(), "t1");
    let seen = &bench.server.seen()[0];
    assert_eq!(seen.method, "POST");
    assert_eq!(
        seen.header("authorization").unwrap(),
        "Basic Y2xpZW50OmNhbmFyeS1zZWNyZXQtN2YzYQ=="
    );
    assert_eq!(
        seen.header("content-type").unwrap(),
        "application/x-www-form-urlencoded"
    );
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&seen.body).into_owned().collect();
    let expected = [
        ("grant_type", "refresh_token"),
        ("refresh_token", CANARY_REFRESH),
        ("scope", "a b"),
    ];
    assert_eq!(form, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[tokio::test]
async fn sixty_four_callers_without_a_token_make_one_request() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    let oauth = bench.oauth();
    let bearers = join_all((0..64).map(|_| oauth.access())).await;
    assert!(
        bearers
            .iter()
            .all(|b| b.as_ref().unwrap().token().expose_secret() == "t1")
    );
    assert_eq!(bench.server.refreshes(), 1);
}

#[tokio::test]
async fn sixty_four_refused_callers_make_one_request() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    let oauth = bench.oauth();
    let bearers = join_all((0..64).map(|_| oauth.access())).await;
    let renewed = join_all(bearers.iter().map(|b| oauth.renew(b.as_ref().unwrap()))).await;
    assert!(
        renewed
            .iter()
            .all(|b| b.as_ref().unwrap().token().expose_secret() == "t2")
    );
    assert_eq!(bench.server.refreshes(), 2);
}

#[tokio::test]
async fn sixty_four_callers_share_one_failure() {
    let bench = Bench::new(|_, _| say(503, &json!({}))).await;
    let oauth = bench.oauth();
    let answers = join_all((0..64).map(|_| oauth.access())).await;
    assert!(
        answers
            .iter()
            .all(|a| a.as_ref().unwrap_err().class == ErrorClass::Transient)
    );
    assert_eq!(bench.server.refreshes(), 1);
}

#[tokio::test]
async fn f8_a_token_is_replaced_before_its_end_and_the_old_one_serves_meanwhile() {
    let bench = Bench::new(|n, _| {
        if n == 2 {
            say(500, &json!({}))
        } else {
            token(&format!("t{n}"), 1000)
        }
    })
    .await;
    let oauth = bench.oauth();
    let name = async || oauth.access().await.unwrap().token().expose_secret().to_owned();
    assert_eq!(name().await, "t1");
    pass(895).await;
    assert_eq!((name().await.as_str(), bench.server.refreshes()), ("t1", 1));
    // A tenth before its end it is tried, in vain; the old one is still good.
    pass(10).await;
    assert_eq!((name().await.as_str(), bench.server.refreshes()), ("t1", 2));
    assert_eq!(
        (name().await.as_str(), bench.server.refreshes()),
        ("t1", 2),
        "rests"
    );
    pass(2).await;
    assert_eq!((name().await.as_str(), bench.server.refreshes()), ("t3", 3));
}

#[tokio::test]
async fn an_ended_token_is_never_handed_out() {
    let bench = Bench::new(|n, _| {
        if n == 1 {
            token("t1", 100)
        } else {
            say(500, &json!({}))
        }
    })
    .await;
    let oauth = bench.oauth();
    oauth.access().await.unwrap();
    pass(96).await;
    assert!(oauth.access().await.is_err());
}

#[tokio::test]
async fn a_revoked_grant_is_tried_once_in_fifteen_minutes_and_says_what_to_do() {
    let bench = Bench::new(|_, _| refused("invalid_grant")).await;
    let oauth = bench.oauth();
    for _ in 0..100 {
        let error = oauth.access().await.unwrap_err();
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Unauthorized, NEEDS_REAUTH)
        );
        assert_eq!(
            &*error.message,
            "no access token for `ebay`: the token endpoint said so (invalid_grant); nothing is sent to `ebay` and \
             the grant is tried again in 15 minutes. Sign in again with `zaikoban credentials authorize ebay`; keys that \
             were typed into the settings must be replaced there. `zaikoban platforms reset ebay` tries at once"
        );
    }
    pass(14 * 60).await;
    assert!(oauth.access().await.is_err());
    assert_eq!(bench.server.refreshes(), 1);
    pass(61).await;
    assert!(oauth.access().await.is_err());
    assert_eq!(bench.server.refreshes(), 2);
    oauth.retry_now().await;
    assert!(oauth.access().await.is_err());
    assert_eq!(bench.server.refreshes(), 3);
}

#[tokio::test]
async fn a_refused_token_is_not_handed_out_again() {
    let bench = Bench::new(|n, _| {
        if n == 1 {
            token("t1", 7200)
        } else {
            refused("invalid_grant")
        }
    })
    .await;
    let oauth = bench.oauth();
    assert_eq!(oauth.rests_for(), None, "nobody has asked yet");
    let first = oauth.access().await.unwrap();
    assert_eq!(oauth.rests_for(), None);
    assert_eq!(&*oauth.renew(&first).await.unwrap_err().code, NEEDS_REAUTH);
    assert!(
        oauth
            .rests_for()
            .is_some_and(|rest| rest > Duration::from_secs(890))
    );
    assert_eq!(&*oauth.access().await.unwrap_err().code, NEEDS_REAUTH);
    assert_eq!(bench.server.refreshes(), 2);
}

#[tokio::test]
async fn a_platform_that_refuses_every_token_is_not_asked_for_ever_more() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    let oauth = bench.oauth();
    for _ in 0..50 {
        if let Ok(bearer) = oauth.access().await {
            let _ = oauth.renew(&bearer).await;
        }
    }
    assert_eq!(bench.server.refreshes(), 4, "one, and three for young ones");
    let error = oauth.access().await.unwrap_err();
    assert_eq!(
        (error.class, &*error.code),
        (ErrorClass::Unauthorized, "new_token_refused")
    );
    assert!(
        oauth
            .rests_for()
            .is_some_and(|rest| rest <= Duration::from_secs(60))
    );
    pass(61).await;
    assert_eq!(oauth.rests_for(), None);
    assert_eq!(oauth.access().await.unwrap().token().expose_secret(), "t5");
}

#[tokio::test]
async fn a_token_that_worked_once_is_replaced_as_often_as_it_takes() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    let oauth = bench.oauth();
    for n in 1..20 {
        let bearer = oauth.access().await.unwrap();
        assert_eq!(bearer.token().expose_secret(), format!("t{n}"));
        oauth.worked(&bearer);
        oauth.renew(&bearer).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_takes_the_kept_token_while_it_lasts() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    bench.oauth().access().await.unwrap();
    let again = bench.oauth().access().await.unwrap();
    assert_eq!(
        (again.token().expose_secret(), bench.server.refreshes()),
        ("t1", 1)
    );
    // A kept token that is refused is replaced at once: its age is not known.
    let oauth = bench.oauth();
    let old = oauth.access().await.unwrap();
    assert_eq!(oauth.renew(&old).await.unwrap().token().expose_secret(), "t2");
    bench.clock.advance(chrono::TimeDelta::hours(3));
    assert_eq!(
        bench.oauth().access().await.unwrap().token().expose_secret(),
        "t3"
    );
}

#[tokio::test]
async fn a_new_refresh_token_in_the_settings_takes_effect() {
    let bench = Bench::new(|n, form| {
        assert!(n == 1 || form.contains("another"), "{form}");
        token(&format!("t{n}"), 7200)
    })
    .await;
    bench.oauth().access().await.unwrap();
    let bearer = bench.oauth_of("another").access().await.unwrap();
    assert_eq!(bearer.token().expose_secret(), "t2");
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_and_those_that_a_person_sets_count_at_once() {
    let bench = Bench::new(|n, form| {
        assert!(form.contains(["first", "second"][n - 1]), "{form}");
        token(&format!("t{n}"), 7200)
    })
    .await;
    let desk = Arc::new(Desk::default());
    let oauth = bench.oauth_by(desk.clone());
    let never = oauth.rests_for();
    assert!(never.is_some(), "what waits is not even taken from the queue");
    for _ in 0..3 {
        let error = oauth.access().await.unwrap_err();
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Unauthorized, NEEDS_CREDENTIALS)
        );
        assert!(
            error.message.contains("`zaikoban credentials authorize ebay`"),
            "{error}"
        );
    }
    assert_eq!(bench.server.refreshes(), 0);
    for (n, refresh) in [(1, "first"), (2, "second")] {
        *desk.0.lock() = Some(grant(refresh));
        oauth.credentials_changed().await;
        assert_eq!(oauth.rests_for(), None);
        let bearer = oauth.access().await.unwrap();
        assert_eq!(bearer.token().expose_secret(), format!("t{n}"));
        assert_eq!(
            bench.store.kept.lock().clone().unwrap().refresh.expose_secret(),
            refresh
        );
    }
    assert_eq!(bench.server.refreshes(), 2);
}

#[tokio::test]
async fn an_answer_for_the_old_account_is_not_used_for_the_new_one() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    let desk = Arc::new(Desk::default());
    *desk.0.lock() = Some(grant("first"));
    let oauth = bench.oauth_by(desk.clone());
    {
        let access = std::pin::pin!(oauth.access());
        // Polled once, so that the request is under way, then dropped.
        assert!(futures_util::poll!(access).is_pending());
    }
    oauth.credentials_changed().await;
    *desk.0.lock() = Some(grant("second"));
    assert_eq!(oauth.access().await.unwrap().token().expose_secret(), "t2");
}

fn rotating(n: usize) -> Said {
    let body = json!({"access_token": format!("t{n}"), "expires_in": 7200, "refresh_token": format!("r{n}")});
    say(200, &body)
}

#[tokio::test]
async fn a_rotated_refresh_token_is_saved_before_its_access_token_is_used() {
    let bench = Bench::new(|n, _| rotating(n)).await;
    bench.store.failures.store(2, Ordering::SeqCst);
    let oauth = bench.oauth();
    for _ in 0..2 {
        let error = oauth.access().await.unwrap_err();
        assert_eq!(
            (error.class, &*error.code),
            (ErrorClass::Transient, "token_store")
        );
        assert!(bench.store.kept.lock().is_none());
        pass(60).await;
    }
    // The third save works; nothing was asked for again, and nothing was thrown away.
    assert_eq!(oauth.access().await.unwrap().token().expose_secret(), "t1");
    assert_eq!(
        (bench.server.refreshes(), bench.store.saves.load(Ordering::SeqCst)),
        (1, 3)
    );
    let kept = bench.store.kept.lock().clone().unwrap();
    assert_eq!(kept.refresh.expose_secret(), "r1");
    assert_eq!(kept.previous.unwrap().expose_secret(), CANARY_REFRESH);
}

#[tokio::test]
async fn an_access_token_that_cannot_be_kept_is_used_all_the_same() {
    let bench = Bench::new(|n, _| token(&format!("t{n}"), 7200)).await;
    bench.store.failures.store(1, Ordering::SeqCst);
    assert_eq!(
        bench.oauth().access().await.unwrap().token().expose_secret(),
        "t1"
    );
}

#[tokio::test]
async fn the_previous_refresh_token_is_tried_when_the_new_one_never_worked() {
    let bench = Bench::new(|n, form| match n {
        1 => rotating(1),
        _ if form.contains("refresh_token=r1") => refused("invalid_grant"),
        n => rotating(n),
    })
    .await;
    let oauth = bench.oauth();
    let first = oauth.access().await.unwrap();
    assert_eq!(oauth.renew(&first).await.unwrap().token().expose_secret(), "t3");
    assert_eq!(bench.server.refreshes(), 3);
    assert_eq!(
        bench.store.kept.lock().clone().unwrap().refresh.expose_secret(),
        "r3"
    );
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_throw_the_answer_away() {
    let bench = Bench::new(|n, _| rotating(n)).await;
    let oauth = bench.oauth();
    {
        let access = std::pin::pin!(oauth.access());
        // Polled once, so that the request is under way, then dropped.
        assert!(futures_util::poll!(access).is_pending());
    }
    assert_eq!(oauth.access().await.unwrap().token().expose_secret(), "t1");
    assert_eq!(bench.server.refreshes(), 1);
}

#[tokio::test]
async fn whatever_the_endpoint_does_is_an_error_of_the_right_class_without_a_secret() {
    use ErrorClass::{Protocol, Transient, Unauthorized};
    let whole = || Box::new(token("canary-access-t1", 7200));
    for (said, class, code) in [
        (
            say(500, &json!({"access_token": "canary-access-t1"})),
            Transient,
            "http_500",
        ),
        (
            say(200, &json!({"access_token": ["canary-access-t1"]})),
            Protocol,
            "contract",
        ),
        (say(200, &json!("canary-access-t1")), Protocol, "contract"),
        (Said::Silence, Transient, "timed_out"),
        (Said::Close, Transient, "no_answer"),
        (Said::CutAfter(120, whole()), Transient, "cut"),
        (Said::CutAfter(20, whole()), Transient, "no_answer"),
        (
            say(401, &json!({"error": "invalid_client"})),
            Unauthorized,
            NEEDS_REAUTH,
        ),
        (
            say(400, &json!({"error": "invalid_scope"})),
            Unauthorized,
            NEEDS_REAUTH,
        ),
        (refused("invalid_grant"), Unauthorized, NEEDS_REAUTH),
        (
            Said::Answer(302, vec![("location", "https://evil.example/".into())], vec![]),
            Protocol,
            "http_302",
        ),
    ] {
        let shown = format!("{said:?}");
        let bench = Bench::new(move |_, _| said.clone()).await;
        let error = bench.oauth().access().await.unwrap_err();
        assert_eq!((error.class, &*error.code), (class, code), "{shown}");
        let told = format!("{error} {error:?} {}", serde_json::to_string(&error).unwrap());
        assert!(!told.contains("canary"), "{told}");
    }
}

#[tokio::test]
async fn a_429_is_waited_out_as_asked() {
    let bench = Bench::new(|n, _| match n {
        1 => Said::Answer(429, vec![("retry-after", "100".into())], vec![]),
        n => token(&format!("t{n}"), 7200),
    })
    .await;
    let oauth = bench.oauth();
    let wait = Some(Duration::from_secs(100));
    assert_eq!(
        oauth.access().await.unwrap_err().class,
        ErrorClass::RateLimited { retry_after: wait }
    );
    pass(95).await;
    assert!(oauth.access().await.is_err());
    assert_eq!(bench.server.refreshes(), 1);
    pass(6).await;
    assert_eq!(oauth.access().await.unwrap().token().expose_secret(), "t2");
}

#[tokio::test]
async fn nothing_that_can_be_printed_shows_a_secret() {
    let bench = Bench::new(|_, _| token("canary-access-t1", 7200)).await;
    let oauth = bench.oauth();
    let bearer = oauth.access().await.unwrap();
    let kept = bench.store.kept.lock().clone().unwrap();
    let told = format!(
        "{bearer:?} {kept:?} {:?}",
        bench.server.ebay().oauth().access().await
    );
    assert!(!told.contains("canary"), "{told}");
}
