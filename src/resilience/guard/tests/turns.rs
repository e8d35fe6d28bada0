//! Turns: who has one in time, how many there will be, and what is paid afterwards.

use super::*;

fn slow(per_second: f64) -> Policy {
    Policy {
        rate: Rate::per_second(per_second).unwrap(),
        ..policy()
    }
}

async fn before(guard: &Guard, last: Instant) -> Result<Instant, CallError<Failure>> {
    guard
        .call_before(Priority::Normal, last, || async {
            Ok::<_, Failure>(Instant::now())
        })
        .await
}

#[tokio::test(start_paused = true)]
async fn who_is_late_leaves_the_line_without_taking_a_turn() {
    let guard = guard(slow(1.0));
    let start = Instant::now();
    let calls = [10_000, 1_500, 1_500, 10_000].map(|ms| before(&guard, start + Duration::from_millis(ms)));
    let ends = join_all(calls).await;
    let seconds: Vec<_> = ends
        .iter()
        .map(|end| end.as_ref().map(|at| (*at - start).as_secs()))
        .collect();
    assert!(
        matches!(
            seconds[..],
            [Ok(1), Err(CallError::Late), Err(CallError::Late), Ok(2)]
        ),
        "{seconds:?}"
    );
    let counts = guard.status().counts;
    assert_eq!((counts.ok, counts.refused), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_past_a_servers_word_hears_it_at_once() {
    let guard = guard(slow(1.0));
    let told = ErrorClass::RateLimited {
        retry_after: Some(secs(30)),
    };
    fail(&guard, told).await;
    let now = Instant::now();
    let late = before(&guard, now + secs(3)).await;
    assert!(matches!(late, Err(CallError::Late)), "{late:?}");
    assert_eq!(Instant::now(), now);
}

#[tokio::test(start_paused = true)]
async fn what_makes_asking_useless_is_said_with_how_long() {
    let guard = guard(policy());
    assert_eq!(guard.shut_for(), None);
    let told = ErrorClass::RateLimited {
        retry_after: Some(secs(300)),
    };
    fail(&guard, told).await;
    assert_eq!(guard.shut_for(), Some(secs(300)));
    assert_eq!(guard.room(Priority::Zero, 0, secs(3)), 0);
    guard.reset();
    assert_eq!(guard.shut_for(), None);
    let until = tripped(&guard).await;
    assert_eq!(guard.shut_for(), Some(until - Instant::now()));
    tokio::time::sleep_until(until).await;
    assert_eq!(guard.shut_for(), None, "the next one may try");
    assert_eq!(guard.room(Priority::Zero, 0, secs(3)), 1, "and only that one");
    let probe = guard.reserve(Priority::Normal).await;
    assert!(
        guard.shut_for().is_some_and(|wait| !wait.is_zero()),
        "while it is out nobody may"
    );
    drop(probe);
    assert_eq!(guard.shut_for(), None);
    guard.pause();
    assert!(guard.shut_for().is_some());
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_as_many_as_have_their_turn_in_time() {
    let guard = guard(slow(5.0));
    tokio::time::advance(secs(1)).await;
    assert_eq!(guard.room(Priority::Normal, 0, secs(3)), 16);
    assert_eq!(
        guard.room(Priority::Normal, 6, secs(3)),
        10,
        "some are on their way into the line"
    );
    let mut waiting = JoinSet::new();
    for priority in [Priority::Zero, Priority::Normal, Priority::Normal, Priority::Low] {
        let guard = guard.clone();
        waiting.spawn(async move {
            let call = guard.call(priority, || async {
                tokio::time::sleep(secs(60)).await;
                Ok::<_, Failure>(())
            });
            drop(call.await);
        });
    }
    // The zero has its turn at once and is open; 15 more within three seconds, two and one of them taken.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(guard.room(Priority::Zero, 1, secs(3)), 15);
    assert_eq!(guard.room(Priority::Normal, 3, secs(3)), 13);
    assert_eq!(guard.room(Priority::Low, 4, secs(3)), 12);
}

#[tokio::test(start_paused = true)]
async fn a_rate_slower_than_the_wait_leaves_room_only_shortly_before_its_turn() {
    let guard = guard(slow(0.25));
    ok(&guard).await.unwrap();
    assert_eq!(guard.room(Priority::Normal, 0, secs(3)), 0);
    tokio::time::advance(secs(1)).await;
    assert_eq!(guard.room(Priority::Normal, 0, secs(3)), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_paid_takes_a_turn_and_is_no_success() {
    let guard = guard(slow(1.0));
    let start = Instant::now();
    for _ in 0..4 {
        fail(&guard, ErrorClass::Transient).await;
    }
    assert!(guard.pay(Priority::Normal).await);
    assert_eq!((Instant::now() - start).as_secs(), 5);
    assert_eq!(guard.status().counts.ok, 0);
    assert_eq!(guard.status().in_flight, 0);
    fail(&guard, ErrorClass::Transient).await;
    assert!(
        !is_open(&guard),
        "it did not interrupt the five failures in a row"
    );
    assert!(!guard.pay(Priority::Normal).await);
    tokio::time::sleep(secs(60)).await;
    assert!(
        !guard.pay(Priority::Normal).await,
        "a probe is for who asks something"
    );
    ok(&guard).await.unwrap();
}
