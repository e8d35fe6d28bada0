//! Another policy while calls are made.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lower_rate_holds_from_the_next_token_and_nothing_in_line_is_lost() {
    let guard = guard(Policy {
        rate: Rate::per_second(10.0).unwrap(),
        concurrency: 1,
        ..policy()
    });
    let mut all = JoinSet::new();
    for _ in 0..6 {
        let guard = guard.clone();
        all.spawn(async move {
            let call = || async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Failure>(Instant::now())
            };
            guard.call(Priority::Normal, call).await.unwrap()
        });
    }
    tokio::time::sleep(Duration::from_millis(120)).await;
    let changed = Instant::now();
    guard
        .change(Policy {
            rate: Rate::per_second(1.0).unwrap(),
            concurrency: 4,
            ..policy()
        })
        .unwrap();
    let mut ended = Vec::new();
    while let Some(one) = all.join_next().await {
        ended.push(one.unwrap());
    }
    ended.sort();
    let after: Vec<_> = ended
        .iter()
        .filter(|at| **at > changed + Duration::from_millis(100))
        .collect();
    assert_eq!(ended.len(), 6);
    assert_eq!(after.len(), 5, "one was under way");
    assert!(
        after.windows(2).all(|pair| *pair[1] - *pair[0] >= secs(1)),
        "{after:?}"
    );
    assert!((guard.status().full_rate_per_second - 1.0).abs() < 1e-9);
    assert_eq!(guard.policy().concurrency, 4);
}

#[tokio::test(start_paused = true)]
async fn a_higher_rate_admits_nothing_by_itself_and_a_tripped_breaker_stays_shut() {
    let guard = guard(policy());
    let until = tripped(&guard).await;
    let mut shorter = policy();
    shorter.opening.first = secs(1);
    shorter.rate = Rate::per_second(1_000.0).unwrap();
    guard.change(shorter).unwrap();
    assert!(matches!(ok(&guard).await, Err(CallError::Shut { until: still }) if still == until));
    tokio::time::sleep_until(until).await;
    let failed = fail(&guard, ErrorClass::Transient).await;
    assert!(matches!(failed, CallError::Failed(_)), "the probe");
    let next = guard.shut_for().unwrap();
    assert_eq!(next, secs(2), "one second, doubled once");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_cannot_be_followed_changes_nothing() {
    let guard = guard(policy());
    let bad = Policy {
        concurrency: 0,
        ..policy()
    };
    assert!(guard.change(bad).unwrap_err().to_string().contains("concurrency"));
    assert_eq!(*guard.policy(), policy());
}
