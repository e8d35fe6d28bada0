//! What a supply takes: in which order, from where, and that it loses nothing.

use super::executor::{checks, numbered, states};
use crate::support::pg::TestDb;
use diesel_async::SimpleAsyncConnection as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use std::collections::HashSet;
use std::time::Duration;
use uuid::Uuid;
use zaikoban::domain::JobId;
use zaikoban::queue::Policy;
use zaikoban::queue::rescuer::{self, Whose};
use zaikoban::queue::supply::{Ask, FromTable, Supply as _, Taken};
use zaikoban::store::jobs::{
    self, Claim, JobStatus, Lane, Lease, NewJob, QueueName, Settlement, WorkerId, claim_these, enqueue,
    settle,
};
use zaikoban::store::views::{self, JobsWanted, Window};

fn ask(limit: usize, told: bool) -> Ask {
    Ask {
        limit,
        lease: Duration::from_secs(60),
        token: Uuid::new_v4(),
        told,
    }
}

fn supply(t: &TestDb) -> FromTable {
    FromTable::new(t.db().clone(), checks(), WorkerId::new("node"))
}

async fn take(supply: &FromTable, limit: usize, told: bool) -> Taken {
    supply.take(ask(limit, told)).await.unwrap()
}

fn priorities(taken: &Taken) -> Vec<i16> {
    taken.jobs.iter().map(|j| j.priority).collect()
}

async fn put(t: &TestDb, jobs: &[NewJob]) -> Vec<JobId> {
    enqueue(&mut t.db().conn().await.unwrap(), jobs).await.unwrap()
}

fn of(priority: i16, n: usize) -> Vec<NewJob> {
    let job = NewJob {
        priority,
        ..NewJob::new(checks())
    };
    vec![job; n]
}

#[tokio::test]
async fn a_flood_of_urgent_jobs_leaves_a_tenth_to_those_that_have_waited() {
    let t = TestDb::new().await;
    put(&t, &of(9, 300)).await;
    t.run("UPDATE processing_queue SET scheduled_at = now() - interval '2 minutes'")
        .await;
    put(&t, &of(1, 1_000)).await;
    let supply = supply(&t);
    for turn in 0..5 {
        let taken = take(&supply, 100, false).await;
        assert_eq!(taken.jobs.len(), 100, "turn {turn}");
        let low = priorities(&taken).iter().filter(|p| **p == 9).count();
        assert_eq!(low, 10, "turn {turn}");
        if turn == 0 {
            assert!(taken.oldest_wait.unwrap() >= Duration::from_secs(120));
        }
    }
}

#[tokio::test]
async fn a_share_that_nobody_else_needs_fills_the_batch() {
    let t = TestDb::new().await;
    put(&t, &of(9, 300)).await;
    t.run("UPDATE processing_queue SET scheduled_at = now() - interval '2 minutes'")
        .await;
    put(&t, &of(1, 5)).await;
    let taken = take(&supply(&t), 100, false).await;
    assert_eq!(taken.jobs.len(), 100);
    assert_eq!(priorities(&taken)[..6], [1, 1, 1, 1, 1, 9]);
}

#[tokio::test]
async fn low_jobs_that_have_not_waited_come_after_all_urgent_ones() {
    let t = TestDb::new().await;
    put(&t, &of(9, 5)).await;
    put(&t, &of(1, 20)).await;
    put(&t, &of(4, 5)).await;
    let supply = supply(&t);
    assert_eq!(priorities(&take(&supply, 20, false).await), [1; 20]);
    let rest = take(&supply, 20, false).await;
    assert_eq!(priorities(&rest), [4, 4, 4, 4, 4, 9, 9, 9, 9, 9]);
    assert_eq!(rest.again, None, "all is taken");
}

/// The cursor stands behind what was taken; what comes to stand before it is found at once when it is told of.
#[tokio::test]
async fn what_sorts_before_the_cursor_is_found() {
    let t = TestDb::new().await;
    put(&t, &of(5, 10)).await;
    let supply = supply(&t);
    assert_eq!(take(&supply, 4, false).await.jobs.len(), 4);
    // a transaction that began long ago commits now, with an older moment
    put(&t, &of(5, 1)).await;
    t.run("UPDATE processing_queue SET scheduled_at = now() - interval '1 hour' WHERE id = (SELECT max(id) FROM processing_queue)").await;
    let behind = take(&supply, 50, true).await;
    assert_eq!(behind.jobs.len(), 6, "behind the cursor");
    let again = behind.again.expect("it was told of something");
    assert!(again <= Duration::from_secs(1), "{again:?}");
    tokio::time::sleep(again).await;
    assert_eq!(take(&supply, 50, false).await.jobs.len(), 1, "before it");
}

fn completed() -> Settlement {
    Settlement {
        status: JobStatus::Completed,
        delay: Duration::ZERO,
        retry_count: 0,
        error: None,
        result: None,
        crashed_at: None,
    }
}

/// Whatever is enqueued late, moved, put back, locked or retried: within a full look everything that is due is taken.
#[tokio::test]
async fn no_job_is_lost_behind_a_cursor() {
    let t = TestDb::new().await;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let supply = supply(&t);
    let mut held: Vec<Lease> = Vec::new();
    let mut done: HashSet<JobId> = HashSet::new();
    let mut all = 0;
    for _ in 0..120 {
        match rng.random_range(0..6) {
            0 | 1 => {
                let n = rng.random_range(1..20);
                put(&t, &of(rng.random_range(1..=10), n)).await;
                all += n;
            }
            2 => {
                // as a transaction that began long ago would leave it
                let age = rng.random_range(1..100);
                t.run(&format!("UPDATE processing_queue SET scheduled_at = now() - interval '{age} s' WHERE status = 'pending' AND random() < 0.3")).await;
            }
            3 => {
                let p = rng.random_range(1..=10);
                t.run(&format!(
                    "UPDATE processing_queue SET priority = {p} WHERE status = 'pending' AND random() < 0.3"
                ))
                .await;
            }
            4 => {
                let back: Vec<(Lease, Settlement)> = held
                    .drain(..)
                    .map(|lease| {
                        let is_done = rng.random_bool(0.5);
                        if is_done {
                            done.insert(lease.job);
                        }
                        let status = if is_done {
                            JobStatus::Completed
                        } else {
                            JobStatus::Pending
                        };
                        let next = Settlement {
                            status,
                            ..completed()
                        };
                        (lease, next)
                    })
                    .collect();
                let n = back.len();
                let settled = settle(&mut t.db().conn().await.unwrap(), &back).await.unwrap();
                assert_eq!(settled.len(), n, "seed {seed}");
            }
            _ => {
                let taken = take(&supply, rng.random_range(1..30), rng.random_bool(0.5)).await;
                held.extend(taken.jobs.iter().map(|j| j.lease));
            }
        }
    }
    // a full look comes within a second
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while done.len() + held.len() < all && tokio::time::Instant::now() < deadline {
        let taken = take(&supply, 50, true).await;
        held.extend(taken.jobs.iter().map(|j| j.lease));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(done.len() + held.len(), all, "seed {seed}");
    assert_eq!(
        t.text("SELECT count(*) FROM processing_queue WHERE status = 'pending'")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_claim_locks_no_more_than_it_takes() {
    let t = TestDb::new().await;
    for priority in 1..=10 {
        put(&t, &of(priority, 20)).await;
    }
    let mut conn = t.db().conn().await.unwrap();
    conn.batch_execute("BEGIN").await.unwrap();
    let taken = jobs::claim(
        &mut conn,
        checks(),
        &WorkerId::new("node"),
        Duration::from_secs(60),
        30,
    )
    .await
    .unwrap();
    assert_eq!(taken.len(), 30);
    let free = "SELECT count(*) FROM (SELECT 1 FROM processing_queue FOR UPDATE SKIP LOCKED) AS free";
    assert_eq!(t.text(free).await, "170");
    conn.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn jobs_are_claimed_by_their_ids_only_when_they_wait_and_are_due() {
    let t = TestDb::new().await;
    let ids = put(&t, &numbered(4)).await;
    let later = NewJob {
        scheduled_at: chrono::DateTime::from_timestamp(4_000_000_000, 0),
        ..NewJob::new(checks())
    };
    let other = NewJob::new(Lane {
        queue: QueueName::Validation,
        destination: None,
    });
    let not_yet = put(&t, &[later]).await;
    let elsewhere = put(&t, &[other]).await;
    let mut conn = t.db().conn().await.unwrap();
    let worker = WorkerId::new("node");
    let claim = Claim {
        lane: checks(),
        worker: &worker,
        lease: Duration::from_secs(60),
        token: Uuid::new_v4(),
    };
    assert_eq!(claim_these(&mut conn, &claim, &ids[..1]).await.unwrap().len(), 1);
    jobs::discard(&mut conn, &ids[1..2], "akira").await.unwrap();
    let wanted: Vec<JobId> = [ids.clone(), not_yet, elsewhere, vec![JobId(999)]].concat();
    let got = claim_these(&mut conn, &claim, &wanted).await.unwrap();
    let got: Vec<JobId> = got.iter().map(|j| j.lease.job).collect();
    assert_eq!(
        got,
        ids[2..],
        "one is held, one is done, one is early, one is elsewhere, one is nothing"
    );
}

#[tokio::test]
async fn jobs_of_an_execution_are_told_to_whoever_claims_them() {
    let t = TestDb::new().await;
    let execution_id = Some(uuid::Uuid::from_u128(7));
    let job = NewJob {
        execution_id,
        ..NewJob::new(checks())
    };
    put(&t, &[job]).await;
    assert_eq!(
        take(&supply(&t), 1, false).await.jobs[0].execution_id,
        execution_id
    );
}

/// What is enqueued here was in a worker's hands when it died.
async fn put_suspects(t: &TestDb, jobs: &[NewJob]) -> Vec<JobId> {
    let ids = put(t, jobs).await;
    t.run("UPDATE processing_queue SET crash_count = 1, crashed_at = ARRAY[now()]")
        .await;
    ids
}

/// Whoever holds jobs dies with all of them; only the guilty one may be there each time.
#[tokio::test]
async fn of_jobs_that_die_together_only_the_one_that_kills_becomes_a_dead_letter() {
    let t = TestDb::new().await;
    let ids = put(&t, &numbered(20)).await;
    let poison = ids[7];
    for _ in 0..60 {
        // a new life each time
        let taken = take(&supply(&t), 50, true).await;
        if taken.jobs.iter().any(|j| j.lease.job == poison) {
            t.run("UPDATE processing_queue SET lease_until = now() - interval '1 s' WHERE status = 'processing'")
                .await;
            rescuer::sweep(t.db(), &Whose::Expired, &Policy::default())
                .await
                .unwrap();
        } else {
            let done = taken
                .jobs
                .iter()
                .map(|job| (job.lease, completed()))
                .collect::<Vec<_>>();
            settle(&mut t.db().conn().await.unwrap(), &done).await.unwrap();
        }
    }
    assert_eq!(states(&t).await, "completed 19, dead 1");
    let dead = t
        .text("SELECT id FROM processing_queue WHERE status = 'dead'")
        .await;
    assert_eq!(dead, poison.to_string());
}

#[tokio::test]
async fn of_the_jobs_that_a_worker_died_with_one_is_in_hand_at_a_time_and_the_others_go_on() {
    let t = TestDb::new().await;
    let elsewhere = Lane {
        queue: QueueName::Validation,
        destination: None,
    };
    let suspects = put_suspects(&t, &[numbered(3), vec![NewJob::new(elsewhere)]].concat()).await;
    let sound = put(&t, &numbered(2)).await;
    let taken = take(&supply(&t), 50, true).await;
    let got: HashSet<JobId> = taken.jobs.iter().map(|j| j.lease.job).collect();
    assert_eq!(got, HashSet::from([suspects[0], sound[0], sound[1]]));
    assert!(take(&supply(&t), 50, true).await.jobs.is_empty(), "another node");
    let mut conn = t.db().conn().await.unwrap();
    let worker = WorkerId::new("node");
    let claim = Claim {
        lane: elsewhere,
        worker: &worker,
        lease: Duration::from_secs(60),
        token: Uuid::new_v4(),
    };
    assert_eq!(
        jobs::claim_suspect(&mut conn, &claim).await.unwrap(),
        None,
        "another lane"
    );
    let here = Claim {
        lane: checks(),
        ..claim
    };
    let by_id = claim_these(&mut conn, &here, &suspects).await.unwrap();
    assert!(by_id.is_empty(), "whatever Redis says: {by_id:?}");
    // The first is done: it is the next one's turn.
    let done = taken
        .jobs
        .iter()
        .map(|job| (job.lease, completed()))
        .collect::<Vec<_>>();
    settle(&mut conn, &done).await.unwrap();
    let next = take(&supply(&t), 50, true).await.jobs;
    assert_eq!(next.len(), 1);
    assert_eq!(next[0].lease.job, suspects[1]);
}

#[tokio::test]
async fn what_was_taken_without_an_answer_is_put_back_by_its_token_and_costs_no_death() {
    let t = TestDb::new().await;
    put(&t, &numbered(5)).await;
    let (worker, lost) = (WorkerId::new("node"), ask(3, true));
    let supply = FromTable::new(t.db().clone(), checks(), worker.clone());
    assert_eq!(supply.take(lost).await.unwrap().jobs.len(), 3);
    let held = supply.take(ask(1, true)).await.unwrap().jobs;
    let mut conn = t.db().conn().await.unwrap();
    let tokens = [lost.token];
    let stranger = jobs::release_unsure(&mut conn, &WorkerId::new("node"), &tokens).await;
    assert!(stranger.unwrap().is_empty(), "another life's");
    let back = jobs::release_unsure(&mut conn, &worker, &tokens).await.unwrap();
    assert_eq!(back.len(), 3);
    assert_eq!(states(&t).await, "pending 4, processing 1");
    assert_eq!(t.text("SELECT sum(crash_count) FROM processing_queue").await, "0");
    assert!(!back.contains(&held[0].lease.job));
}

/// What the constraints let in, a hand may write.
#[tokio::test]
async fn b14_a_row_that_a_hand_has_spoilt_is_taken_and_listed_with_its_neighbours() {
    let t = TestDb::new().await;
    let ids = put(&t, &numbered(5)).await;
    for (id, spoilt) in [
        (ids[0], "attempt = 9223372036854775807"),
        (ids[1], r#"payload = '{"a": 1e400}'"#),
        (ids[2], "payload = (repeat('[', 200) || repeat(']', 200))::jsonb"),
        (
            ids[3],
            "scheduled_at = '0001-01-01 00:00+00', result = '[-1e400]'",
        ),
    ] {
        t.run(&format!("UPDATE processing_queue SET {spoilt} WHERE id = {id}"))
            .await;
    }
    let mut conn = t.db().conn().await.unwrap();
    let listed = jobs::list(&mut conn, &jobs::JobFilter::default(), None, 10).await;
    assert_eq!(listed.unwrap().len(), 5);
    let window = Window { after: 0, limit: 10 };
    let shown = views::jobs(&mut conn, window, JobsWanted::default())
        .await
        .unwrap();
    assert_eq!(shown.len(), 5);
    drop(conn);
    let taken = take(&supply(&t), 50, true).await.jobs;
    assert_eq!(taken.len(), 5);
    let nested = taken.iter().find(|job| job.lease.job == ids[2]).unwrap();
    assert!(nested.payload.get("unreadable").is_some(), "{:?}", nested.payload);
}
