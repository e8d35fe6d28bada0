//! The durable queue on a real PostgreSQL.

mod claim;
mod executor;
mod hands;
mod outage;

use crate::support::pg::{TestDb, alone};
use crate::support::wait::until;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use zaikoban::backoff::{Backoff, Jitter};
use zaikoban::domain::{DestinationPlatform, JobId, ProductId};
use zaikoban::queue::rescuer::{self, Rescued, Whose};
use zaikoban::queue::{
    Finished, JobError, Notice, Notices, Outcome, Policy, finish_in, finish_many_in, notifier, pruner,
};
use zaikoban::store::jobs::{
    self, ClaimedJob, JobFilter, JobStatus, Lane, NewJob, QueueName, WorkerId, claim, enqueue,
};

const MINUTE: Duration = Duration::from_secs(60);

fn ebay() -> Lane {
    Lane::sync(DestinationPlatform::Ebay)
}

fn job(key: &str, priority: i16) -> NewJob {
    NewJob {
        unique_key: Some(key.to_owned()),
        priority,
        product_id: Some(ProductId(1)),
        ..NewJob::new(ebay())
    }
}

fn worker() -> WorkerId {
    WorkerId::new("node")
}

async fn take(t: &TestDb, limit: usize) -> Vec<ClaimedJob> {
    let mut conn = t.db().conn().await.unwrap();
    claim(&mut conn, ebay(), &worker(), MINUTE, limit).await.unwrap()
}

async fn put(t: &TestDb, new: &[NewJob]) -> Vec<JobId> {
    let mut conn = t.db().conn().await.unwrap();
    enqueue(&mut conn, new).await.unwrap()
}

async fn end(t: &TestDb, claimed: &ClaimedJob, outcome: Outcome) -> Finished {
    let mut conn = t.db().conn().await.unwrap();
    finish_in(&mut conn, claimed, outcome, &Policy::default())
        .await
        .unwrap()
}

fn keys(t: &[ClaimedJob]) -> Vec<i16> {
    t.iter().map(|j| j.priority).collect()
}

/// Must be told; no poll comes first.
async fn is_told(notice: &mut Notice) {
    let told = tokio::time::timeout(Duration::from_secs(30), notice.wait(60 * MINUTE)).await;
    told.expect("nothing was told");
}

fn trouble() -> JobError {
    JobError::new("http_503", "pushing listing `7`: 503")
}

// === enqueueing ===

#[tokio::test]
async fn a_waiting_job_takes_the_more_urgent_priority_and_moment_of_two() {
    let t = TestDb::new().await;
    let later = chrono::DateTime::from_timestamp(4_000_000_000, 0);
    let first = put(
        &t,
        &[
            NewJob {
                scheduled_at: later,
                ..job("a", 5)
            },
            job("b", 5),
        ],
    )
    .await;
    let again = put(&t, &[job("a", 1), job("b", 9), job("a", 3)]).await;
    assert_eq!(again, first);
    assert_eq!(keys(&take(&t, 10).await), [1, 5]);
}

#[tokio::test]
async fn a_job_exists_only_when_its_transaction_commits() {
    let t = TestDb::new().await;
    let rolled_back = t
        .db()
        .transaction(|conn| {
            Box::pin(async move {
                enqueue(conn, &[job("a", 1)]).await?;
                Err::<(), _>(zaikoban::store::StoreError::conflict("not this time"))
            })
        })
        .await;
    assert!(rolled_back.is_err());
    assert_eq!(take(&t, 10).await, []);
}

#[tokio::test]
async fn a_finished_intent_can_be_enqueued_again() {
    let t = TestDb::new().await;
    let first = put(&t, &[job("a", 5)]).await;
    let claimed = take(&t, 1).await;
    assert_eq!(put(&t, &[job("a", 2)]).await, first, "in work: the same job");
    end(&t, &claimed[0], Outcome::Done(json!({"pushed": 1}))).await;
    assert_ne!(put(&t, &[job("a", 5)]).await, first);
}

#[tokio::test]
async fn two_crowds_that_enqueue_the_same_keys_in_opposite_order_do_not_deadlock() {
    let t = TestDb::new().await;
    let crowd: Vec<NewJob> = (0..50).map(|n| job(&format!("k{n:02}"), 5)).collect();
    let reverse: Vec<NewJob> = crowd.iter().rev().cloned().collect();
    for _ in 0..10 {
        tokio::join!(put(&t, &crowd), put(&t, &reverse));
    }
    assert_eq!(t.text("SELECT count(*) FROM processing_queue").await, "50");
}

// === claiming ===

#[tokio::test]
async fn the_most_urgent_job_that_is_due_is_taken_first() {
    let t = TestDb::new().await;
    let future = chrono::DateTime::from_timestamp(4_000_000_000, 0);
    put(&t, &[job("low", 9), job("zero", 1), job("mid", 5)]).await;
    put(
        &t,
        &[NewJob {
            scheduled_at: future,
            ..job("not yet", 1)
        }],
    )
    .await;
    assert_eq!(keys(&take(&t, 2).await), [1, 5]);
    assert_eq!(keys(&take(&t, 2).await), [9]);
    assert_eq!(take(&t, 2).await, []);
}

#[tokio::test]
async fn a_lane_holds_only_its_own_queue_and_destination() {
    let t = TestDb::new().await;
    put(
        &t,
        &[job("a", 5), NewJob::new(Lane::sync(DestinationPlatform::Mercari))],
    )
    .await;
    let check = Lane {
        queue: QueueName::StockCheck,
        destination: None,
    };
    put(&t, &[NewJob::new(check)]).await;
    assert_eq!(take(&t, 10).await.len(), 1);
    let mut conn = t.db().conn().await.unwrap();
    assert_eq!(
        claim(&mut conn, check, &worker(), MINUTE, 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn no_job_is_taken_twice_by_a_crowd_of_workers() {
    let t = TestDb::new().await;
    let jobs: Vec<NewJob> = (0..300).map(|n| job(&format!("k{n}"), 5)).collect();
    put(&t, &jobs).await;
    let crowd = (0..6).map(|_| async {
        let mut mine = Vec::new();
        loop {
            let batch = take(&t, 7).await;
            if batch.is_empty() {
                return mine;
            }
            mine.extend(batch.into_iter().map(|j| j.lease.job));
        }
    });
    let all: Vec<JobId> = futures_util::future::join_all(crowd).await.concat();
    assert_eq!(all.len(), 300);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 300);
}

// === finishing ===

#[tokio::test]
async fn three_retries_and_then_the_dead_letter() {
    let t = TestDb::new().await;
    // a wait that is surely longer than the test
    let hour = Duration::from_secs(3_600);
    let policy = Policy {
        backoff: Backoff::new(hour, hour, Jitter::NONE).unwrap(),
        ..Policy::default()
    };
    let id = put(&t, &[job("a", 5)]).await[0];
    for n in 0..4 {
        t.run("UPDATE processing_queue SET scheduled_at = now() WHERE status = 'failed'")
            .await;
        let claimed = take(&t, 1).await;
        assert_eq!(
            (claimed[0].retry_count, claimed[0].lease.attempt),
            (n, i64::from(n) + 1)
        );
        let want = if n < 3 { JobStatus::Failed } else { JobStatus::Dead };
        let mut conn = t.db().conn().await.unwrap();
        let ended = finish_in(&mut conn, &claimed[0], Outcome::Retry(trouble()), &policy).await;
        assert_eq!(ended.unwrap(), Finished::Settled(want));
        drop(conn);
        assert_eq!(take(&t, 1).await, [], "it waits for its backoff");
    }
    let row = jobs::get(&mut t.db().conn().await.unwrap(), id).await.unwrap();
    assert_eq!((row.status, row.retry_count), (JobStatus::Dead, 3));
    assert_eq!(row.error.as_deref(), Some("http_503: pushing listing `7`: 503"));
}

#[tokio::test]
async fn a_batch_is_finished_job_by_job() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 1), job("b", 2), job("c", 3), job("d", 4)]).await;
    let claimed = take(&t, 4).await;
    t.run("UPDATE processing_queue SET lease_token = gen_random_uuid() WHERE unique_key = 'c'")
        .await;
    let outcomes = [
        Outcome::Done(json!(1)),
        Outcome::Retry(trouble()),
        Outcome::Done(json!(1)),
        Outcome::Discard(trouble()),
    ];
    let mut conn = t.db().conn().await.unwrap();
    let finished = finish_many_in(
        &mut conn,
        claimed.iter().zip(outcomes).collect(),
        &Policy::default(),
    )
    .await
    .unwrap();
    assert_eq!(
        finished,
        [
            Finished::Settled(JobStatus::Completed),
            Finished::Settled(JobStatus::Failed),
            Finished::LostLease,
            Finished::Settled(JobStatus::Dead),
        ]
    );
}

#[tokio::test]
async fn a_worker_that_was_late_cannot_finish_a_job_that_was_taken_again() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 5)]).await;
    let late = take(&t, 1).await;
    t.run("UPDATE processing_queue SET lease_until = now() - interval '1 s'")
        .await;
    let sweep = rescuer::sweep(t.db(), &Whose::Expired, &Policy::default())
        .await
        .unwrap();
    assert_eq!(sweep, Rescued { again: 1, dead: 0 });
    assert_eq!(
        end(&t, &late[0], Outcome::Done(json!("old"))).await,
        Finished::LostLease
    );
    let second = take(&t, 1).await;
    assert_eq!(
        end(&t, &late[0], Outcome::Done(json!("old"))).await,
        Finished::LostLease
    );
    let done = end(&t, &second[0], Outcome::Done(json!("new"))).await;
    assert_eq!(done, Finished::Settled(JobStatus::Completed));
    assert_eq!(t.text("SELECT result FROM processing_queue").await, "\"new\"");
}

#[tokio::test]
async fn a_worker_that_finishes_before_the_rescuer_writes_wins() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 5)]).await;
    let claimed = take(&t, 1).await;
    t.run("UPDATE processing_queue SET lease_until = now() - interval '1 s'")
        .await;
    assert_eq!(
        end(&t, &claimed[0], Outcome::Done(json!(null))).await,
        Finished::Settled(JobStatus::Completed)
    );
    let sweep = rescuer::sweep(t.db(), &Whose::Expired, &Policy::default())
        .await
        .unwrap();
    assert_eq!(sweep, Rescued::default());
}

/// P3 of the reliability page: whatever the order of claims, ends, lost leases and rescues, exactly the holder of the
/// latest claim can finish a job, and no job is lost.
#[tokio::test]
async fn no_interleaving_of_workers_and_rescuers_lets_a_stale_result_stand() {
    let t = TestDb::new().await;
    let policy = Policy {
        poison_deaths: usize::MAX,
        ..Policy::default()
    };
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let ids = put(&t, &(0..3).map(|n| job(&format!("k{n}"), 5)).collect::<Vec<_>>()).await;
    // every claim ever made, and the one that counts
    let mut claims: Vec<ClaimedJob> = Vec::new();
    let mut holder: HashMap<JobId, i64> = HashMap::new();
    let mut finished = 0;
    for step in 0..1_500 {
        match rng.random_range(0..4) {
            0 => {
                for claimed in take(&t, rng.random_range(1..3)).await {
                    let attempt = claimed.lease.attempt;
                    assert_eq!(
                        holder.insert(claimed.lease.job, attempt),
                        None,
                        "seed {seed} step {step}"
                    );
                    claims.push(claimed);
                }
            }
            1 => {
                let id = ids[rng.random_range(0..ids.len())];
                t.run(&format!("UPDATE processing_queue SET lease_until = now() - interval '1 s' WHERE id = {id} AND lease_until IS NOT NULL")).await;
            }
            2 => {
                let expired = t
                    .text("SELECT string_agg(id::text, ',') FROM processing_queue WHERE lease_until < now()")
                    .await;
                rescuer::sweep(t.db(), &Whose::Expired, &policy).await.unwrap();
                for id in expired.split(',').filter(|id| !id.is_empty()) {
                    holder.remove(&JobId(id.parse().unwrap()));
                }
            }
            _ if claims.is_empty() => {}
            _ => {
                let recent = claims.len().saturating_sub(6);
                let claimed = claims[rng.random_range(recent..claims.len())].clone();
                let job = claimed.lease.job;
                let is_holder = holder.get(&job) == Some(&claimed.lease.attempt);
                let outcome = end(&t, &claimed, Outcome::Snooze(Duration::ZERO)).await;
                assert_eq!(
                    outcome != Finished::LostLease,
                    is_holder,
                    "seed {seed} step {step}"
                );
                if is_holder {
                    holder.remove(&job);
                    finished += 1;
                }
            }
        }
    }
    assert!(finished > 50, "the walk must finish jobs, too: {finished}");
    assert_eq!(
        t.text("SELECT count(*) FROM processing_queue WHERE status IN ('pending', 'processing')")
            .await,
        "3"
    );
}

// === rescue ===

#[tokio::test]
async fn a_job_whose_worker_dies_three_times_is_a_dead_letter() {
    let t = TestDb::new().await;
    put(&t, &[job("poison", 5)]).await;
    for death in 1..=3 {
        assert_eq!(take(&t, 1).await.len(), 1);
        t.run("UPDATE processing_queue SET lease_until = now() - interval '1 s'")
            .await;
        let sweep = rescuer::sweep(t.db(), &Whose::Expired, &Policy::default())
            .await
            .unwrap();
        assert_eq!(sweep.dead, usize::from(death == 3), "death {death}");
    }
    assert!(
        t.text("SELECT error_message FROM processing_queue")
            .await
            .starts_with("poison: 3 workers died")
    );
    assert_eq!(t.text("SELECT crash_count FROM processing_queue").await, "3");
}

#[tokio::test]
async fn a_new_life_takes_back_what_an_earlier_one_held_and_nothing_else() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 1), job("b", 2), job("c", 3)]).await;
    let mut conn = t.db().conn().await.unwrap();
    let (earlier, now, other) = (
        WorkerId::new("node"),
        WorkerId::new("node"),
        WorkerId::new("node2"),
    );
    for (who, n) in [(&earlier, 1), (&now, 1), (&other, 1)] {
        assert_eq!(claim(&mut conn, ebay(), who, MINUTE, n).await.unwrap().len(), n);
    }
    let sweep = rescuer::sweep(t.db(), &Whose::EarlierLivesOf(now), &Policy::default())
        .await
        .unwrap();
    assert_eq!(sweep, Rescued { again: 1, dead: 0 });
    assert_eq!(keys(&take(&t, 9).await), [1]);
}

#[tokio::test]
async fn a_new_life_leaves_the_jobs_of_its_own_actors_alone() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 1), job("b", 2)]).await;
    let mut conn = t.db().conn().await.unwrap();
    let (earlier, now) = (WorkerId::new("node"), WorkerId::new("node"));
    for who in [&earlier, &now] {
        assert_eq!(claim(&mut conn, ebay(), who, MINUTE, 1).await.unwrap().len(), 1);
    }
    // A syncer is a worker of its own within its daemon's life.
    t.run("UPDATE processing_queue SET worker_id = worker_id || '/0198'")
        .await;
    let sweep = rescuer::sweep(t.db(), &Whose::EarlierLivesOf(now), &Policy::default())
        .await
        .unwrap();
    assert_eq!(sweep, Rescued { again: 1, dead: 0 });
    assert_eq!(keys(&take(&t, 9).await), [1]);
}

#[tokio::test]
async fn more_abandoned_jobs_than_one_batch_are_all_put_back() {
    let t = TestDb::new().await;
    put(
        &t,
        &(0..1_100).map(|n| job(&format!("k{n}"), 5)).collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(take(&t, 2_000).await.len(), 1_100);
    t.run("UPDATE processing_queue SET lease_until = now() - interval '1 s'")
        .await;
    let sweep = rescuer::sweep(t.db(), &Whose::Expired, &Policy::default())
        .await
        .unwrap();
    assert_eq!(sweep.again, 1_100);
}

#[tokio::test]
async fn f1_what_waits_by_a_clock_that_was_ahead_is_due_when_it_is_set_back() {
    let t = TestDb::new().await;
    let ids = put(
        &t,
        &[
            job("a enqueued then", 1),
            job("b retried then", 2),
            job("c for later", 3),
        ],
    )
    .await;
    for (id, then) in [
        (ids[0], "created_at = now() + interval '9 h'"),
        (ids[1], "started_at = now() + interval '9 h'"),
        (ids[2], "created_at = now()"),
    ] {
        t.run(&format!(
            "UPDATE processing_queue SET scheduled_at = now() + interval '9 h', {then} WHERE id = {id}"
        ))
        .await;
    }
    let mut conn = t.db().conn().await.unwrap();
    assert_eq!(jobs::due_by_a_clock_that_was_ahead(&mut conn).await.unwrap(), 2);
    assert_eq!(
        keys(&take(&t, 9).await),
        [1, 2],
        "what was meant for later still is"
    );
}

// === a person's hands ===

#[tokio::test]
async fn dead_letters_are_listed_repeated_and_discarded() {
    let t = TestDb::new().await;
    let ids = put(&t, &[job("a", 1), job("b", 2), job("c", 3)]).await;
    for claimed in take(&t, 3).await {
        end(
            &t,
            &claimed,
            Outcome::Discard(JobError::new("ebay_25002", "sku 100%_x is unknown")),
        )
        .await;
    }
    let mut conn = t.db().conn().await.unwrap();
    let dead = JobFilter {
        status: Some(JobStatus::Dead),
        error_contains: Some("100%_x".into()),
        ..Default::default()
    };
    assert_eq!(jobs::list(&mut conn, &dead, None, 10).await.unwrap().len(), 3);
    let none = JobFilter {
        error_contains: Some("100x".into()),
        ..dead.clone()
    };
    assert_eq!(jobs::list(&mut conn, &none, None, 10).await.unwrap(), []);
    let page = jobs::list(&mut conn, &dead, Some(ids[2]), 1).await.unwrap();
    assert_eq!(page[0].id, ids[1]);

    put(&t, &[job("b", 2)]).await;
    let repeated = jobs::repeat(&mut conn, &ids[..2]).await.unwrap();
    assert_eq!(
        (repeated.repeated, repeated.left),
        (vec![ids[0]], vec![ids[1]]),
        "b waits already"
    );
    assert_eq!(
        jobs::discard(&mut conn, &ids[1..], "akira").await.unwrap(),
        ids[1..]
    );
    let row = jobs::get(&mut conn, ids[2]).await.unwrap();
    assert_eq!(
        (row.status, row.result),
        (JobStatus::Completed, Some(json!({"discarded_by": "akira"})))
    );
    let again = take(&t, 9).await;
    assert_eq!(
        (again.len(), again[0].lease.job, again[0].retry_count),
        (2, ids[0], 0)
    );
}

#[tokio::test]
async fn of_two_dead_letters_with_one_intent_only_the_newer_is_repeated() {
    let t = TestDb::new().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.extend(put(&t, &[job("a", 5)]).await);
        let claimed = take(&t, 1).await;
        end(&t, &claimed[0], Outcome::Discard(trouble())).await;
    }
    let mut conn = t.db().conn().await.unwrap();
    let repeated = jobs::repeat(&mut conn, &ids).await.unwrap();
    assert_eq!((repeated.repeated, repeated.left), (vec![ids[1]], vec![ids[0]]));
}

#[tokio::test]
async fn a_job_in_work_is_left_alone_by_hands() {
    let t = TestDb::new().await;
    let ids = put(&t, &[job("a", 5)]).await;
    take(&t, 1).await;
    let mut conn = t.db().conn().await.unwrap();
    assert_eq!(jobs::repeat(&mut conn, &ids).await.unwrap().left, ids);
    assert_eq!(jobs::discard(&mut conn, &ids, "akira").await.unwrap(), []);
    assert_eq!(jobs::set_priority(&mut conn, &ids, 1).await.unwrap(), []);
}

#[tokio::test]
async fn the_priority_of_a_waiting_job_can_be_changed_within_bounds() {
    let t = TestDb::new().await;
    let ids = put(&t, &[job("a", 5), job("b", 6)]).await;
    let mut conn = t.db().conn().await.unwrap();
    assert_eq!(
        jobs::set_priority(&mut conn, &ids[1..], 1).await.unwrap(),
        ids[1..]
    );
    let refused = jobs::set_priority(&mut conn, &ids, 11).await.unwrap_err();
    assert!(refused.is_bad_data(), "{refused}");
    assert_eq!(keys(&take(&t, 9).await), [1, 5]);
}

#[tokio::test]
async fn the_queue_is_counted_by_lane_and_state() {
    let t = TestDb::new().await;
    put(&t, &[job("a", 5), job("b", 6)]).await;
    take(&t, 1).await;
    let counts = jobs::counts(&mut t.db().conn().await.unwrap()).await.unwrap();
    let seen: Vec<_> = counts
        .iter()
        .map(|c| (c.destination.as_deref(), c.status.as_str(), c.count))
        .collect();
    assert_eq!(
        seen,
        [(Some("ebay"), "pending", 1), (Some("ebay"), "processing", 1)]
    );
}

// === old rows, notices ===

#[tokio::test]
async fn completed_jobs_older_than_a_week_are_pruned_and_dead_ones_kept() {
    let t = TestDb::new().await;
    put(&t, &[job("old", 1), job("new", 2), job("dead", 3)]).await;
    let claimed = take(&t, 3).await;
    end(&t, &claimed[0], Outcome::Done(json!(null))).await;
    end(&t, &claimed[1], Outcome::Done(json!(null))).await;
    end(&t, &claimed[2], Outcome::Discard(trouble())).await;
    t.run("UPDATE processing_queue SET completed_at = now() - interval '8 days' WHERE unique_key <> 'new'")
        .await;
    assert_eq!(pruner::sweep(t.db(), pruner::KEEP).await.unwrap(), 1);
    assert_eq!(
        t.text("SELECT string_agg(unique_key, ' ' ORDER BY id) FROM processing_queue")
            .await,
        "dead new"
    );
}

#[tokio::test]
async fn a_consumer_is_told_of_work_and_not_of_idle_claims() {
    let t = TestDb::new().await;
    let notices = Notices::default();
    let mut notice = notices.subscribe(ebay());
    let mut other = notices.subscribe(Lane::sync(DestinationPlatform::Mercari));
    let (up, mut is_up) = tokio::sync::mpsc::channel(1);
    let listening = notifier::listen(t.db(), &notices, move || up.try_send(()).unwrap());
    let consumer = async {
        is_up.recv().await.unwrap();
        is_told(&mut notice).await;
        // an idle claim, and a finished job, tell nobody
        notice.arm();
        other.arm();
        take(&t, 1).await;
        put(
            &t,
            &[NewJob {
                scheduled_at: chrono::DateTime::from_timestamp(4_000_000_000, 0),
                ..job("later", 5)
            }],
        )
        .await;
        put(&t, &[job("a", 5)]).await;
        is_told(&mut notice).await;
        notice.arm();
        let claimed = take(&t, 1).await;
        end(&t, &claimed[0], Outcome::Done(json!(null))).await;
        put(&t, &[NewJob::new(Lane::sync(DestinationPlatform::Mercari))]).await;
        is_told(&mut other).await;
        let began = tokio::time::Instant::now();
        notice.wait(Duration::from_millis(1)).await;
        assert!(
            began.elapsed() >= Duration::from_millis(1),
            "a claim or an end told the lane itself"
        );
    };
    tokio::select! {
        ended = listening => panic!("the link ended: {ended:?}"),
        () = consumer => {}
    }
}

#[tokio::test]
async fn a_broken_link_is_seen_and_every_lane_is_told_when_it_is_back() {
    let t = TestDb::new().await;
    let notices = Notices::default();
    let mut notice = notices.subscribe(ebay());
    let first = async {
        until("the listener's session", || async {
            let pid = t.text("SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()").await;
            (!pid.is_empty()).then_some(pid)
        })
        .await;
        t.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()").await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = notifier::listen(t.db(), &notices, || ()) => assert!(ended.unwrap_err().is_outage()),
        () = first => {}
    }
    notice.arm();
    put(&t, &[job("told to nobody", 5)]).await;
    tokio::select! {
        ended = notifier::listen(t.db(), &notices, || ()) => panic!("{ended:?}"),
        () = is_told(&mut notice) => {}
    }
    assert_eq!(take(&t, 1).await.len(), 1);
}

// === in the tree ===

/// The queue's children under a real tree: a killed daemon's work is back at once, and a cut link comes back by itself.
#[test]
fn the_queues_children_put_back_a_killed_daemons_work_and_keep_their_link() {
    use zaikoban::queue::{Orders, OrdersBoard, QueueParts, Registry, Tallies, children};
    use zaikoban::supervision::{GiveUp, GroupSpec, Intensity, Strategy, Tree, TreeOptions};
    actix::System::new().block_on(async {
        let t = TestDb::new().await;
        put(&t, &[job("a", 5)]).await;
        let killed = WorkerId::new("node");
        let mut conn = t.db().conn().await.unwrap();
        assert_eq!(
            claim(&mut conn, ebay(), &killed, 60 * MINUTE, 1)
                .await
                .unwrap()
                .len(),
            1
        );
        drop(conn);

        let notices = Notices::default();
        let mut notice = notices.subscribe(ebay());
        let spec = GroupSpec {
            name: "queue".into(),
            strategy: Strategy::RestForOne,
            intensity: Intensity {
                restarts: 5,
                within: MINUTE,
            },
            give_up: GiveUp::Escalate,
            children: children(&QueueParts {
                fast: None,
                db: t.db().clone(),
                ownership: alone(&t).await,
                notices: notices.clone(),
                worker: WorkerId::new("node"),
                policy: Policy::default(),
                registry: Registry::default(),
                orders: OrdersBoard::new(Orders::default()),
                tallies: Tallies::default(),
                grace: MINUTE,
            }),
        };
        let tree = Tree::start(spec, TreeOptions::default()).unwrap();
        tree.opened().await.unwrap();
        until("the rescued job", || async {
            (take(&t, 1).await.len() == 1).then_some(())
        })
        .await;

        let session =
            "SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()";
        let mut before = String::new();
        for round in ["first", "second"] {
            until("a new link", || async {
                let pid = t.text(session).await;
                (!pid.is_empty() && pid != before).then_some(())
            })
            .await;
            before = t.text(session).await;
            notice.arm();
            put(&t, &[job(round, 5)]).await;
            is_told(&mut notice).await;
            assert_eq!(take(&t, 1).await.len(), 1, "{round}");
            t.run(&format!("SELECT pg_terminate_backend({before})")).await;
        }
        let report = tree.report();
        assert!(
            !format!("{report:?}").contains("Crashed"),
            "an outage is no crash: {report:?}"
        );
        let stopped = tree.stop(Duration::from_secs(10)).await;
        assert!(stopped.leftovers.is_empty(), "{stopped:?}");
    });
}
