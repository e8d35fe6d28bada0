//! The guard on paused time: order, outage, recovery, restart.
#![expect(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]

mod change;
mod peers;
mod turns;

use super::*;
use crate::{
    backoff::Jitter,
    resilience::{GateRecord, Rate, policy::Trip},
};
use chrono::{TimeDelta, TimeZone};
use futures_util::future::{BoxFuture, join_all};
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};
use tokio::task::JoinSet;

/// An error of any class.
#[derive(Clone, Debug)]
struct Failure(ErrorClass);

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it failed: {}", self.0.as_str())
    }
}
impl std::error::Error for Failure {}
impl Classified for Failure {
    fn class(&self) -> ErrorClass {
        self.0
    }
    fn unavailable(&self) -> bool {
        self.0 == ErrorClass::Transient
    }
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A fast, exact policy: a hundred a second, no lots.
fn policy() -> Policy {
    let mut policy = Policy {
        rate: Rate::per_second(100.0).unwrap(),
        spacing_jitter: Jitter::NONE,
        concurrency: 1000,
        ..Policy::default()
    };
    policy.opening.jitter = Jitter::NONE;
    policy
}

fn clock() -> Clock {
    Clock::manual(Utc.with_ymd_and_hms(2026, 11, 22, 10, 0, 0).unwrap())
}

fn guard(policy: Policy) -> Guard {
    Guard::new("ebay", policy, clock(), None).unwrap()
}

async fn ok(guard: &Guard) -> Result<(), CallError<Failure>> {
    guard
        .call(Priority::Normal, || async { Ok::<_, Failure>(()) })
        .await
}

async fn fail(guard: &Guard, class: ErrorClass) -> CallError<Failure> {
    guard
        .call(Priority::Normal, || async move { Err::<(), _>(Failure(class)) })
        .await
        .unwrap_err()
}

/// Trips it by five failures and says until when it is shut.
async fn tripped(guard: &Guard) -> Instant {
    for _ in 0..5 {
        assert!(matches!(
            fail(guard, ErrorClass::Transient).await,
            CallError::Failed(_)
        ));
    }
    match ok(guard).await {
        Err(CallError::Shut { until }) => until,
        other => panic!("expected a shut gate, got {other:?}"),
    }
}

fn is_open(guard: &Guard) -> bool {
    guard.status().gate == GateView::Open
}

// === permits ===

#[tokio::test(start_paused = true)]
async fn six_hundred_permits_take_six_hundred_seconds() {
    let guard = guard(Policy {
        rate: Rate::per_second(1.0).unwrap(),
        ..policy()
    });
    let start = Instant::now();
    for n in 1..=600_u64 {
        let permit = guard.reserve(Priority::Normal).await;
        assert_eq!(start.elapsed(), secs(n));
        guard
            .call_with(permit, || async { Ok::<_, Failure>(()) })
            .await
            .unwrap();
    }
    assert_eq!(guard.status().counts.ok, 600);
}

#[tokio::test(start_paused = true)]
async fn the_urgent_go_first_and_within_a_priority_the_first() {
    let guard = guard(Policy {
        rate: Rate::per_second(1.0).unwrap(),
        ..policy()
    });
    let order = Arc::new(Mutex::new(Vec::new()));
    let asked = [
        (Priority::Low, 1),
        (Priority::Normal, 2),
        (Priority::Zero, 3),
        (Priority::Normal, 4),
        (Priority::Urgent, 5),
        (Priority::Zero, 6),
    ];
    let mut all = JoinSet::new();
    for (priority, name) in asked {
        let (guard, order) = (guard.clone(), order.clone());
        all.spawn(async move {
            let call = guard.call(priority, || async {
                order.lock().push(name);
                Ok::<_, Failure>(())
            });
            call.await.unwrap();
        });
        // Each stands in line before the next one comes.
        tokio::task::yield_now().await;
    }
    all.join_all().await;
    assert_eq!(*order.lock(), [3, 6, 5, 2, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_permit_dropped_unused_goes_to_the_next_in_line_at_once() {
    let guard = guard(Policy {
        rate: Rate::per_hour(1).unwrap(),
        concurrency: 1,
        ..policy()
    });
    let permit = guard.reserve(Priority::Normal).await;
    let next = tokio::spawn({
        let guard = guard.clone();
        async move { guard.reserve(Priority::Normal).await }
    });
    tokio::time::advance(secs(5)).await;
    let given_back = Instant::now();
    drop(permit);
    let next = next.await.unwrap();
    assert_eq!(
        (given_back.elapsed(), guard.status().in_flight),
        (Duration::ZERO, 1)
    );
    drop(next);
    assert_eq!(guard.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_open_than_allowed() {
    let guard = guard(Policy {
        concurrency: 3,
        ..policy()
    });
    let (open, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let calls = (0..50).map(|_| {
        guard.call(Priority::Normal, || async {
            most.fetch_max(open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(secs(1)).await;
            open.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, Failure>(())
        })
    });
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded_and_the_least_urgent_gives_way() {
    let guard = guard(Policy {
        rate: Rate::per_second(0.05).unwrap(),
        waiting: 2,
        ..policy()
    });
    let ask = |priority| {
        let guard = guard.clone();
        tokio::spawn(async move { guard.call(priority, || async { Ok::<_, Failure>(()) }).await })
    };
    let (first, low) = (ask(Priority::Normal), ask(Priority::Low));
    tokio::task::yield_now().await;
    assert!(
        matches!(ask(Priority::Low).await.unwrap(), Err(CallError::Busy)),
        "no less urgent one to oust"
    );
    let zero = ask(Priority::Zero);
    assert!(
        matches!(low.await.unwrap(), Err(CallError::Busy)),
        "the least urgent is told"
    );
    let (zero, first) = (zero.await.unwrap(), first.await.unwrap());
    assert!(zero.is_ok() && first.is_ok(), "{zero:?} {first:?}");
    assert_eq!(guard.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn who_reserves_waits_for_a_place_in_a_full_line() {
    let guard = guard(Policy {
        rate: Rate::per_second(1.0).unwrap(),
        waiting: 1,
        ..policy()
    });
    let all = (0..10).map(|_| guard.reserve(Priority::Normal));
    assert_eq!(join_all(all).await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_not_kept_in_line_for_ever() {
    let guard = guard(Policy {
        rate: Rate::per_second(0.5).unwrap(),
        ..policy()
    });
    let start = Instant::now();
    let calls = (0..40).map(|_| ok(&guard));
    let answers = join_all(calls).await;
    assert_eq!(start.elapsed(), secs(60));
    assert_eq!(
        answers
            .iter()
            .filter(|a| matches!(a, Err(CallError::Busy)))
            .count(),
        10
    );
    assert_eq!(guard.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_line_does_not_block_it() {
    let guard = guard(Policy {
        rate: Rate::per_second(1.0).unwrap(),
        ..policy()
    });
    let head = tokio::spawn({
        let guard = guard.clone();
        async move { guard.reserve(Priority::Zero).await }
    });
    tokio::task::yield_now().await;
    let behind = tokio::spawn({
        let guard = guard.clone();
        async move { guard.reserve(Priority::Normal).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(guard.status().waiting, 2);
    head.abort();
    drop(behind.await.unwrap());
    assert_eq!(guard.status().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_lay_about_is_exchanged_so_that_requests_do_not_come_together() {
    let guard = guard(Policy {
        rate: Rate::per_second(1.0).unwrap(),
        ..policy()
    });
    let old = guard.reserve(Priority::Normal).await;
    tokio::time::advance(Duration::from_millis(2500)).await;
    let fresh = guard.reserve(Priority::Normal).await;
    guard
        .call_with(fresh, || async { Ok::<_, Failure>(()) })
        .await
        .unwrap();
    let sent = Instant::now();
    guard
        .call_with(old, || async { Ok::<_, Failure>(()) })
        .await
        .unwrap();
    assert_eq!(sent.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_permit_of_another_guard_is_exchanged_for_one_of_this() {
    let (mine, other) = (guard(policy()), guard(policy()));
    let foreign = other.reserve(Priority::Normal).await;
    mine.call_with(foreign, || async { Ok::<_, Failure>(()) })
        .await
        .unwrap();
    assert_eq!((mine.status().counts.ok, other.status().in_flight), (1, 0));
}

// === the gate ===

#[tokio::test(start_paused = true)]
async fn d4_exactly_one_of_sixty_four_passes_a_half_open_gate() {
    let guard = guard(policy());
    tokio::time::sleep_until(tripped(&guard).await).await;
    let sent = AtomicU32::new(0);
    let calls = (0..64).map(|_| {
        guard.call(Priority::Normal, || async {
            sent.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(secs(1)).await;
            Ok::<_, Failure>(())
        })
    });
    let answers = join_all(calls).await;
    assert_eq!(sent.load(Ordering::Relaxed), 1);
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1);
    assert!(
        answers
            .iter()
            .filter(|a| a.is_err())
            .all(|a| matches!(a, Err(CallError::Shut { .. })))
    );
    assert!(is_open(&guard));
}

#[tokio::test]
async fn exactly_one_of_sixty_four_passes_on_real_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let sent = Arc::new(AtomicU32::new(0));
    let mut policy = policy();
    policy.opening.first = Duration::from_millis(20);
    policy.opening.longest = Duration::from_millis(20);
    let handle = runtime.handle().clone();
    let inner = sent.clone();
    let passed = handle
        .spawn(async move {
            let guard = guard(policy);
            tokio::time::sleep_until(tripped(&guard).await).await;
            let barrier = Arc::new(tokio::sync::Barrier::new(64));
            let mut all = JoinSet::new();
            for _ in 0..64 {
                let (guard, barrier, sent) = (guard.clone(), barrier.clone(), inner.clone());
                all.spawn(async move {
                    barrier.wait().await;
                    let call = guard.call(Priority::Normal, || async {
                        sent.fetch_add(1, Ordering::Relaxed);
                        // The probe stays out until everyone has asked.
                        barrier.wait().await;
                        Ok::<_, Failure>(())
                    });
                    let answer = call.await.is_ok();
                    if !answer {
                        barrier.wait().await;
                    }
                    answer
                });
            }
            all.join_all().await.into_iter().filter(|passed| *passed).count()
        })
        .await
        .unwrap();
    assert_eq!((passed, sent.load(Ordering::Relaxed)), (1, 1));
    runtime.shutdown_background();
}

#[tokio::test(start_paused = true)]
async fn those_who_reserve_wait_out_the_outage_and_go_one_by_one() {
    let guard = guard(policy());
    let shut_until = tripped(&guard).await;
    let start = Instant::now();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            let guard = guard.clone();
            tokio::spawn(async move {
                let permit = guard.reserve(Priority::Normal).await;
                let at = Instant::now();
                guard
                    .call_with(permit, || async {
                        tokio::time::sleep(secs(2)).await;
                        Ok::<_, Failure>(())
                    })
                    .await
                    .unwrap();
                at
            })
        })
        .collect();
    let mut at: Vec<_> = join_all(waiting).await.into_iter().map(Result::unwrap).collect();
    at.sort();
    assert_eq!(at[0], shut_until);
    assert!(
        at[1] >= shut_until + secs(2),
        "nobody goes before the probe is back"
    );
    assert!(at[7] - start < secs(40));
}

#[tokio::test(start_paused = true)]
async fn d3_ten_minutes_of_503_cost_no_more_than_the_probes() {
    let guard = guard(Policy::default());
    let (start, sent) = (Instant::now(), AtomicU32::new(0));
    while start.elapsed() < secs(600) {
        let call = guard.call(Priority::Normal, || async {
            sent.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Failure(ErrorClass::Transient))
        });
        if let Err(CallError::Shut { until }) = call.await {
            tokio::time::sleep_until(until).await;
        }
    }
    // Five that trip it; then one after 30, 60, 120, 240 s; the next falls due at 750 s.
    let sent = sent.load(Ordering::Relaxed);
    assert!((8..=9).contains(&sent), "{sent} requests");
}

#[tokio::test(start_paused = true)]
async fn a_503_opens_it_at_once_where_configured() {
    let trip = Trip {
        at_once_when_unavailable: true,
        ..Trip::default()
    };
    let strict = guard(Policy { trip, ..policy() });
    fail(&strict, ErrorClass::Transient).await;
    assert!(matches!(ok(&strict).await, Err(CallError::Shut { .. })));
    let patient = guard(policy());
    fail(&patient, ErrorClass::Transient).await;
    assert!(ok(&patient).await.is_ok());
}

/// A 503 with `Retry-After`.
#[derive(Debug)]
struct Away(Duration);

impl Display for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is away")
    }
}
impl Classified for Away {
    fn class(&self) -> ErrorClass {
        ErrorClass::Transient
    }
    fn away_for(&self) -> Option<Duration> {
        Some(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_before_a_503_said_and_no_word_counts_for_more_than_the_longest_wait() {
    let guard = guard(policy());
    let away = |told| guard.call(Priority::Normal, move || async move { Err::<(), _>(Away(told)) });
    let begun = Instant::now();
    away(secs(7)).await.unwrap_err();
    assert!(ok(&guard).await.is_ok());
    assert!(
        (secs(7)..secs(8)).contains(&begun.elapsed()),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(guard.status().rate_per_second, 100.0, "the rate stands");

    let until = loop {
        match away(secs(100)).await.unwrap_err() {
            CallError::Shut { until } => break until,
            _ => assert!(guard.status().trips <= 1),
        }
    };
    assert!(
        until - Instant::now() > secs(90),
        "the fifth trips it for as long as it said"
    );

    let clock = clock();
    let patient = Guard::new("ebay", policy(), clock.clone(), None).unwrap();
    let endless = || async { Err::<(), _>(Away(secs(1_000_000))) };
    patient.call(Priority::Normal, endless).await.unwrap_err();
    let longest = clock.now() + policy().slow_down.wait_max;
    assert_eq!(patient.status().told_to_wait_until, Some(longest));
}

#[tokio::test(start_paused = true)]
async fn a_straggler_of_the_outage_neither_opens_the_gate_nor_doubles_the_wait() {
    let guard = guard(policy());
    let (release, released) = tokio::sync::watch::channel(false);
    let stragglers: Vec<_> = (0..20)
        .map(|n| {
            let (guard, mut released) = (guard.clone(), released.clone());
            tokio::spawn(async move {
                let call = guard.call(Priority::Normal, || async move {
                    released.wait_for(|go| *go).await.unwrap();
                    if n % 2 == 0 {
                        Ok(())
                    } else {
                        Err(Failure(ErrorClass::Transient))
                    }
                });
                call.await
            })
        })
        .collect();
    tokio::time::sleep(secs(1)).await;
    assert_eq!(guard.status().in_flight, 20);
    let until = tripped(&guard).await;
    release.send(true).unwrap();
    join_all(stragglers).await;
    let status = guard.status();
    assert_eq!((status.trips, status.counts.trips, status.in_flight), (1, 1, 0));
    assert!(matches!(ok(&guard).await, Err(CallError::Shut { until: again }) if again == until));
}

#[tokio::test(start_paused = true)]
async fn a_straggler_from_before_does_not_decide_the_probation() {
    let guard = guard(policy());
    let old = tokio::spawn({
        let guard = guard.clone();
        async move {
            let slow = || async {
                tokio::time::sleep(secs(19)).await;
                Ok::<_, Failure>(())
            };
            guard.call(Priority::Normal, slow).await
        }
    });
    tokio::time::sleep(secs(1)).await;
    let until = tripped(&guard).await;
    assert!(old.await.unwrap().is_ok());
    assert!(
        !is_open(&guard),
        "its success came in time for the caller, too old for the gate"
    );
    tokio::time::sleep_until(until).await;
    assert_eq!(guard.status().gate, GateView::Limited);
}

#[tokio::test(start_paused = true)]
async fn stragglers_do_not_shut_a_gate_that_has_opened_meanwhile() {
    let guard = guard(Policy {
        time_limit: secs(300),
        ..policy()
    });
    let stragglers: Vec<_> = (0..20)
        .map(|_| {
            let guard = guard.clone();
            tokio::spawn(async move {
                let slow = || async {
                    tokio::time::sleep(secs(60)).await;
                    Err::<(), _>(Failure(ErrorClass::Transient))
                };
                guard.call(Priority::Normal, slow).await
            })
        })
        .collect();
    tokio::time::sleep(secs(1)).await;
    tokio::time::sleep_until(tripped(&guard).await).await;
    ok(&guard).await.unwrap();
    join_all(stragglers).await;
    assert!(is_open(&guard), "what failed had been sent before the outage");
    assert_eq!(guard.status().counts.failed, 25);
}

#[tokio::test(start_paused = true)]
async fn who_asks_hears_at_once_that_another_became_the_probe() {
    let guard = guard(Policy {
        rate: Rate::per_second(0.02).unwrap(),
        ..policy()
    });
    tokio::time::sleep(secs(1)).await;
    ok(&guard).await.unwrap();
    let sent = Instant::now();
    guard.core.trip(&mut guard.core.state.lock(), sent, None);
    // The gate would let one through at 30 s, the rate at 50 s; between them a line forms.
    tokio::time::sleep(secs(35)).await;
    let reserve = || {
        let guard = guard.clone();
        tokio::spawn(async move { guard.reserve(Priority::Urgent).await })
    };
    let (probe, _waits) = (reserve(), reserve());
    tokio::task::yield_now().await;
    let answer = ok(&guard).await;
    assert!(matches!(answer, Err(CallError::Shut { .. })), "{answer:?}");
    assert_eq!(sent.elapsed(), secs(50));
    drop(probe.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn simultaneous_failures_are_one_trip() {
    let guard = guard(policy());
    let calls = (0..64).map(|_| {
        guard.call(Priority::Normal, || async {
            tokio::time::sleep(secs(2)).await;
            Err::<(), _>(Failure(ErrorClass::Transient))
        })
    });
    join_all(calls).await;
    assert_eq!((guard.status().trips, guard.status().counts.trips), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_each_outcome_means_for_a_probe() {
    let rate_limited = ErrorClass::RateLimited {
        retry_after: Some(secs(400)),
    };
    let table = [
        (None, GateView::Open),
        (Some(ErrorClass::NotFound), GateView::Open),
        (Some(ErrorClass::Rejected), GateView::Open),
        (Some(ErrorClass::Unauthorized), GateView::Open),
        (Some(ErrorClass::Transient), shut_for(60)),
        (Some(ErrorClass::Blocked), shut_for(60)),
        (Some(ErrorClass::Protocol), shut_for(60)),
        (Some(rate_limited), shut_for(400)),
    ];
    for (class, expected) in table {
        let guard = guard(policy());
        tokio::time::sleep_until(tripped(&guard).await).await;
        let probe = guard.call(Priority::Normal, || async move {
            class.map_or(Ok(()), |class| Err(Failure(class)))
        });
        let _outcome = probe.await;
        assert_eq!(guard.status().gate, expected, "{class:?}");
    }
}

fn shut_for(seconds: u64) -> GateView {
    GateView::Shut {
        until: clock().now() + secs(seconds),
    }
}

#[tokio::test(start_paused = true)]
async fn drift_and_refusals_do_not_trip() {
    let guard = guard(policy());
    for class in [
        ErrorClass::Protocol,
        ErrorClass::NotFound,
        ErrorClass::Rejected,
        ErrorClass::Unauthorized,
    ] {
        for _ in 0..50 {
            fail(&guard, class).await;
        }
    }
    assert!(is_open(&guard));
}

#[tokio::test(start_paused = true)]
async fn d3_half_of_the_calls_failing_trips() {
    let guard = guard(policy());
    let mut calls = 0;
    while is_open(&guard) {
        calls += 1;
        let _ = if calls % 2 == 0 {
            fail(&guard, ErrorClass::Blocked).await
        } else {
            ok(&guard).await.err().unwrap_or(CallError::Busy)
        };
    }
    assert_eq!(calls, 20);
}

#[tokio::test(start_paused = true)]
async fn d5_a_flapping_service_is_asked_less_and_less() {
    let guard = guard(Policy {
        rate: Rate::per_second(10.0).unwrap(),
        ..policy()
    });
    let (start, mut sent_in) = (Instant::now(), VecDeque::from([0_u32]));
    for minute in 0..20_u64 {
        sent_in.push_back(0);
        while start.elapsed() < secs((minute + 1) * 60) {
            // Half a minute well, half a minute ill.
            let ill = start.elapsed().as_secs() % 60 >= 30;
            let call = guard.call(Priority::Normal, || async move {
                if ill {
                    Err(Failure(ErrorClass::Transient))
                } else {
                    Ok(())
                }
            });
            match call.await {
                Err(CallError::Shut { until }) => tokio::time::sleep_until(until).await,
                _ => *sent_in.back_mut().unwrap() += 1,
            }
        }
    }
    let (early, late): (u32, u32) = (sent_in.range(1..6).sum(), sent_in.range(16..21).sum());
    assert!(late * 2 < early, "{sent_in:?}");
}

// === 429 ===

#[tokio::test(start_paused = true)]
async fn a_429_slows_down_and_trips_only_when_it_persists_at_the_floor() {
    let guard = guard(policy());
    let rate_limited = ErrorClass::RateLimited { retry_after: None };
    let mut shares = Vec::new();
    for _ in 0..6 {
        assert!(matches!(fail(&guard, rate_limited).await, CallError::Failed(_)));
        shares.push(guard.status().rate_per_second / 100.0);
    }
    assert!(is_open(&guard));
    assert_eq!(shares, [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625]);
    fail(&guard, rate_limited).await;
    assert!(matches!(guard.status().gate, GateView::Shut { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_long_word_of_the_server_refuses_those_who_ask_and_holds_those_who_wait() {
    let guard = guard(policy());
    fail(
        &guard,
        ErrorClass::RateLimited {
            retry_after: Some(secs(600)),
        },
    )
    .await;
    let told = Instant::now() + secs(600);
    assert!(matches!(ok(&guard).await, Err(CallError::Shut { until }) if until == told));
    let permit = guard.reserve(Priority::Zero).await;
    assert!(
        Instant::now() >= told
            && guard
                .call_with(permit, || async { Ok::<_, Failure>(()) })
                .await
                .is_ok()
    );
}

// === ends of a call ===

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_dropped_and_counts_as_a_failure() {
    let guard = guard(policy());
    for _ in 0..5 {
        let started = Instant::now();
        let never = guard.call(Priority::Normal, std::future::pending::<Result<(), Failure>>);
        assert!(matches!(never.await, Err(CallError::TimedOut)));
        assert!(started.elapsed() >= secs(20) && started.elapsed() < secs(21));
    }
    assert_eq!(guard.status().counts.timed_out, 5);
    assert!(matches!(guard.status().gate, GateView::Shut { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_caught_counted_and_told() {
    async fn broken() -> Result<(), Failure> {
        panic!("index out of bounds: the len is 0")
    }
    fn broken_at_once() -> std::future::Ready<Result<(), Failure>> {
        panic!("before the first await")
    }
    let guard = guard(policy());
    let outcome = guard.call(Priority::Normal, broken).await;
    assert!(matches!(outcome, Err(CallError::Panicked { message }) if message.contains("out of bounds")));
    let outcome = guard.call(Priority::Normal, broken_at_once).await;
    assert!(matches!(outcome, Err(CallError::Panicked { .. })));
    let status = guard.status();
    assert_eq!((status.counts.panicked, status.in_flight), (2, 0));
    assert!(
        status
            .last_error
            .unwrap()
            .message
            .contains("before the first await")
    );
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_is_recorded_as_cancelled_and_the_next_caller_probes() {
    let guard = guard(policy());
    tokio::time::sleep_until(tripped(&guard).await).await;
    let probe = guard.call(Priority::Normal, std::future::pending::<Result<(), Failure>>);
    assert!(
        tokio::time::timeout(secs(1), probe).await.is_err(),
        "dropped while under way"
    );
    assert_eq!(
        (guard.status().counts.cancelled, guard.status().in_flight),
        (1, 0)
    );
    assert!(ok(&guard).await.is_ok());
    assert!(is_open(&guard));
}

#[tokio::test(start_paused = true)]
async fn a_probe_reserved_and_not_used_is_given_back() {
    let guard = guard(policy());
    tokio::time::sleep_until(tripped(&guard).await).await;
    let permit = guard.reserve(Priority::Normal).await;
    assert!(
        matches!(ok(&guard).await, Err(CallError::Shut { .. })),
        "the probe is reserved"
    );
    drop(permit);
    assert!(ok(&guard).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_permit_reserved_before_the_trip_does_not_pass_after_it() {
    let guard = guard(policy());
    let permit = guard.reserve(Priority::Normal).await;
    tripped(&guard).await;
    let sent = guard.call_with(permit, || async { Ok::<_, Failure>(()) }).await;
    assert!(matches!(sent, Err(CallError::Shut { .. })));
    assert_eq!(guard.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn those_in_line_hear_of_the_trip_at_once() {
    let mut policy = policy();
    policy.rate = Rate::per_second(0.1).unwrap();
    let guard = guard(policy);
    let permit = guard.reserve(Priority::Normal).await;
    let waiting = tokio::spawn({
        let guard = guard.clone();
        async move { (ok(&guard).await, Instant::now()) }
    });
    tokio::task::yield_now().await;
    {
        let mut state = guard.core.state.lock();
        guard.core.trip(&mut state, Instant::now(), None);
    }
    let tripped_at = Instant::now();
    let (answer, at) = waiting.await.unwrap();
    assert!(matches!(answer, Err(CallError::Shut { .. })));
    assert_eq!(at, tripped_at);
    drop(permit);
}

// === the operator ===

#[tokio::test(start_paused = true)]
async fn paused_refuses_those_who_ask_and_holds_those_who_reserve() {
    let guard = guard(policy());
    guard.pause();
    assert!(matches!(ok(&guard).await, Err(CallError::Paused)));
    assert_eq!(guard.status().gate, GateView::Paused);
    let waiting = tokio::spawn({
        let guard = guard.clone();
        async move { guard.reserve(Priority::Zero).await }
    });
    tokio::time::sleep(secs(3600)).await;
    assert!(!waiting.is_finished());
    guard.resume();
    let permit = waiting.await.unwrap();
    guard.pause();
    let sent = guard.call_with(permit, || async { Ok::<_, Failure>(()) }).await;
    assert!(
        matches!(sent, Err(CallError::Paused)),
        "a permit reserved before does not pass"
    );
    assert_eq!(guard.status().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_emergency_stop_leaves_a_pause_as_it_was() {
    let guard = guard(policy());
    let permit = guard.reserve(Priority::Zero).await;
    guard.set_stopped(true);
    assert!(matches!(ok(&guard).await, Err(CallError::Paused)));
    let sent = guard.call_with(permit, || async { Ok::<_, Failure>(()) }).await;
    assert!(
        matches!(sent, Err(CallError::Paused)),
        "a permit reserved before does not pass"
    );
    assert_eq!(guard.status().gate, GateView::Stopped);
    guard.resume();
    assert_eq!(
        guard.status().gate,
        GateView::Stopped,
        "one service cannot be taken out of the stop"
    );
    guard.pause();
    guard.set_stopped(false);
    assert_eq!(guard.status().gate, GateView::Paused);
    guard.resume();
    assert!(ok(&guard).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn reset_opens_the_gate_and_restores_the_rate_but_does_not_resume() {
    let guard = guard(policy());
    fail(
        &guard,
        ErrorClass::RateLimited {
            retry_after: Some(secs(60)),
        },
    )
    .await;
    tokio::time::sleep(secs(61)).await;
    tripped(&guard).await;
    guard.reset();
    assert!(ok(&guard).await.is_ok());
    assert_eq!((guard.status().trips, guard.status().rate_per_second), (0, 100.0));
    guard.pause();
    guard.reset();
    assert!(matches!(ok(&guard).await, Err(CallError::Paused)));
}

#[tokio::test(start_paused = true)]
async fn d4_after_the_gate_opened_the_rate_grows_in_steps() {
    let guard = guard(policy());
    tokio::time::sleep_until(tripped(&guard).await).await;
    ok(&guard).await.unwrap();
    let mut rates = Vec::new();
    for _ in 0..3 {
        rates.push(guard.status().rate_per_second);
        tokio::time::sleep(secs(30)).await;
    }
    assert_eq!(rates, [25.0, 50.0, 100.0]);
}

// === over a restart ===

#[derive(Default)]
struct Kept(Mutex<Option<GateRecord>>);

impl GateStore for Kept {
    fn load<'a>(&'a self, _service: &'a str) -> BoxFuture<'a, Option<GateRecord>> {
        // Through text, as the table keeps it.
        let kept = self
            .0
            .lock()
            .as_ref()
            .map(|record| serde_json::to_string(record).unwrap());
        Box::pin(async move { kept.map(|text| serde_json::from_str(&text).unwrap()) })
    }
    fn save(&self, service: &str, record: GateRecord) {
        assert_eq!(service, "ebay");
        *self.0.lock() = Some(record);
    }
}

fn kept_guard(store: &Arc<Kept>, clock: &Clock) -> Guard {
    Guard::new("ebay", policy(), clock.clone(), Some(store.clone())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_stays_open_over_a_restart_for_the_rest_of_its_time() {
    let (store, clock) = (Arc::new(Kept::default()), clock());
    tripped(&kept_guard(&store, &clock)).await;

    clock.advance(TimeDelta::seconds(10));
    let again = kept_guard(&store, &clock);
    again.restore().await;
    let expected = Instant::now() + secs(20);
    let Err(CallError::Shut { until }) = ok(&again).await else {
        panic!("a restart closed an open breaker")
    };
    assert!(until.duration_since(expected) < secs(1), "{:?}", until - expected);

    clock.advance(TimeDelta::seconds(60));
    let later = kept_guard(&store, &clock);
    later.restore().await;
    assert_eq!(
        later.status().gate,
        GateView::Limited,
        "its time is over: a probe is due, not the full rate"
    );
    assert_eq!(later.status().trips, 1);
    tokio::time::sleep(secs(1)).await;
    fail(&later, ErrorClass::Transient).await;
    assert_eq!(
        later.status().trips,
        2,
        "one failure is enough, and the wait is the doubled one"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_rate_and_the_servers_word_are_kept() {
    let (store, clock) = (Arc::new(Kept::default()), clock());
    let first = kept_guard(&store, &clock);
    fail(
        &first,
        ErrorClass::RateLimited {
            retry_after: Some(secs(600)),
        },
    )
    .await;
    clock.advance(TimeDelta::seconds(60));
    let again = kept_guard(&store, &clock);
    again.restore().await;
    let status = again.status();
    assert_eq!(status.told_to_wait_until, Some(clock.now() + secs(540)));
    assert!(
        (status.rate_per_second - 60.0).abs() < 1e-6,
        "half, and two steps back: {}",
        status.rate_per_second
    );
}

#[tokio::test(start_paused = true)]
async fn once_the_gate_is_open_a_restart_finds_it_open() {
    let (store, clock) = (Arc::new(Kept::default()), clock());
    let first = kept_guard(&store, &clock);
    tokio::time::sleep_until(tripped(&first).await).await;
    ok(&first).await.unwrap();
    let again = kept_guard(&store, &clock);
    again.restore().await;
    assert!(is_open(&again));
}

#[tokio::test(start_paused = true)]
async fn nonsense_in_the_table_does_no_harm() {
    let clock = clock();
    let far = Utc.with_ymd_and_hms(9999, 1, 1, 0, 0, 0).unwrap();
    for rate_share in [f64::NAN, -1.0, 0.0, 7.0, 1e-300] {
        let record = GateRecord {
            shut_until: Some(far),
            trips: u32::MAX,
            rate_share,
            told_to_wait_until: Some(far),
            saved_at: far,
        };
        let store = Arc::new(Kept::default());
        let guard = Guard::new("ebay", policy(), clock.clone(), Some(store)).unwrap();
        // Not through JSON, which has no NaN.
        struct Fixed(GateRecord);
        impl GateStore for Fixed {
            fn load<'a>(&'a self, _service: &'a str) -> BoxFuture<'a, Option<GateRecord>> {
                Box::pin(async { Some(self.0.clone()) })
            }
            fn save(&self, _service: &str, _record: GateRecord) {}
        }
        let guard2 = Guard::new("ebay", policy(), clock.clone(), Some(Arc::new(Fixed(record)))).unwrap();
        guard2.restore().await;
        guard.restore().await;
        let Err(CallError::Shut { until }) = ok(&guard2).await else {
            panic!("expected shut")
        };
        assert!(
            until - Instant::now() <= secs(1500),
            "a year 9999 in the table must not silence a shop"
        );
        assert!(ok(&guard).await.is_ok(), "nothing kept, nothing shut");
        tokio::time::sleep_until(until).await;
        let permit = guard2.reserve(Priority::Normal).await;
        assert!(
            guard2
                .call_with(permit, || async { Ok::<_, Failure>(()) })
                .await
                .is_ok()
        );
    }
}

#[test]
fn a_policy_that_cannot_be_followed_makes_no_guard() {
    let bad = Guard::new(
        "ebay",
        Policy {
            concurrency: 0,
            ..Policy::default()
        },
        clock(),
        None,
    );
    assert!(bad.is_err_and(|error| error.to_string().contains("`concurrency` is 0")));
}
