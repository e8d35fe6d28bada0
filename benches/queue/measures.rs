//! The measurements.

use super::Arguments;
use super::world::{LANE, World};
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zaikoban::clock::Clock;
use zaikoban::queue::{ClaimedJob, Outcome, Turn, Work};
use zaikoban::store::jobs::{NewJob, enqueue};

/// Rows in one enqueueing statement.
const BATCH: usize = 1_000;

/// Does nothing.
struct NoOp;

impl Work for NoOp {
    fn run(&self, jobs: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        async move { jobs.iter().map(|_| Outcome::Done(Value::Null)).collect() }.boxed()
    }
}

pub(crate) async fn all(world: &World, asked: &Arguments) -> anyhow::Result<Map<String, Value>> {
    let wanted = |name: &str| {
        asked
            .only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    let mut figures = Map::new();
    let mut keep = |name: &str, value: Value| {
        eprintln!("{name} = {value}");
        figures.insert(name.to_owned(), value);
    };
    if wanted("enqueue") {
        keep("enqueue_single_per_s", single(world).await?);
        let (rate, cpu) = batches(world, asked.jobs.max(50_000)).await?;
        keep("enqueue_batch_per_s", rate);
        keep("enqueue_cpu_us_per_job", cpu);
    }
    if wanted("process_1") {
        let (rate, _) = process(world, 1, asked.jobs, 0).await?;
        keep("process_per_s_1", rate);
    }
    if wanted("process_8") {
        let (rate, cpu) = process(world, 8, asked.jobs, 0).await?;
        keep("process_per_s_8", rate);
        keep("cpu_us_per_job", cpu);
    }
    if wanted("backlog") {
        let (rate, cpu) = process(world, 8, asked.jobs, asked.backlog).await?;
        keep("backlog_process_per_s_8", rate);
        keep("backlog_cpu_us_per_job", cpu);
    }
    if wanted("wakeup") {
        keep("wakeup_ms", wakeup(world).await?);
    }
    if wanted("aging") {
        keep("aging", aging(world).await?);
    }
    if wanted("held") {
        keep("held_snapshot_per_s", held(world, asked.held_seconds).await?);
    }
    Ok(figures)
}

fn jobs(n: usize, priority: i16, scheduled_at: Option<DateTime<Utc>>) -> Vec<NewJob> {
    let job = NewJob {
        priority,
        scheduled_at,
        ..NewJob::new(LANE)
    };
    vec![job; n]
}

async fn put(world: &World, n: usize) -> anyhow::Result<()> {
    let mut conn = world.db.conn().await?;
    let batch = jobs(BATCH, 5, None);
    for _ in 0..n.div_ceil(BATCH) {
        enqueue(&mut conn, &batch).await?;
    }
    Ok(())
}

/// One after the other, each committed before the next.
async fn single(world: &World) -> anyhow::Result<Value> {
    world.clear().await?;
    let mut conn = world.db.conn().await?;
    let one = jobs(1, 5, None);
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        enqueue(&mut conn, &one).await?;
        done += 1;
    }
    Ok(per_s(done, began.elapsed()))
}

async fn batches(world: &World, n: usize) -> anyhow::Result<(Value, Value)> {
    world.clear().await?;
    let (before, began) = (world.usage()?, Instant::now());
    // two writers, as there are cores: one waits for its commit while the other writes
    let (one, other) = tokio::join!(put(world, n / 2), put(world, n / 2));
    one.and(other)?;
    let (took, after) = (began.elapsed(), world.usage()?);
    Ok((per_s(n, took), cpu(before, after, n)))
}

/// `n` jobs from the first to the last, while `backlog` others wait.
async fn process(world: &World, workers: u16, n: usize, backlog: usize) -> anyhow::Result<(Value, Value)> {
    world.clear().await?;
    put(world, n + backlog).await?;
    let (before, began) = (world.usage()?, Instant::now());
    let running = world.start(workers, NoOp).await?;
    running.until(n as u64).await?;
    let done = usize::try_from(running.figures().completed)?;
    let (took, after) = (began.elapsed(), world.usage()?);
    running.stop().await;
    Ok((per_s(done, took), cpu(before, after, done)))
}

/// Remembers when each job began.
struct Stamp(Arc<Mutex<Vec<Instant>>>);

impl Work for Stamp {
    fn run(&self, jobs: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        if let Ok(mut stamps) = self.0.lock() {
            stamps.push(Instant::now());
        }
        async move { jobs.iter().map(|_| Outcome::Done(Value::Null)).collect() }.boxed()
    }
}

/// From before a job is enqueued to its start, on an idle lane.
async fn wakeup(world: &World) -> anyhow::Result<Value> {
    world.clear().await?;
    let stamps = Arc::new(Mutex::new(Vec::new()));
    let running = world.start(1, Stamp(Arc::clone(&stamps))).await?;
    sleep(Duration::from_secs(2)).await;
    let mut conn = world.db.conn().await?;
    let one = jobs(1, 5, None);
    let mut waits = Vec::new();
    for n in 1..=300_u64 {
        let began = Instant::now();
        enqueue(&mut conn, &one).await?;
        running.until(n).await?;
        let started = stamps.lock().ok().and_then(|s| s.last().copied());
        waits.push(started.context("not started")?.saturating_duration_since(began));
        sleep(Duration::from_millis(20 + n % 30)).await;
    }
    running.stop().await;
    waits.sort_unstable();
    let at = |percent: usize| {
        let wait = waits
            .get(waits.len() * percent / 100)
            .copied()
            .unwrap_or_default();
        round(wait.as_secs_f64() * 1e3)
    };
    Ok(json!({ "p50": at(50), "p99": at(99), "count": waits.len() }))
}

/// Counts low jobs among the first so many.
struct Lows(Arc<Mutex<(usize, usize)>>);

impl Work for Lows {
    fn run(&self, jobs: Vec<ClaimedJob>, _: Turn) -> BoxFuture<'static, Vec<Outcome>> {
        if let Ok(mut seen) = self.0.lock() {
            seen.0 += jobs.len();
            seen.1 += jobs.iter().filter(|j| j.priority == 9).count();
        }
        async move { jobs.iter().map(|_| Outcome::Done(Value::Null)).collect() }.boxed()
    }
}

/// A flood of urgent jobs, and low ones that have waited for two minutes: which share of what is done are these?
async fn aging(world: &World) -> anyhow::Result<Value> {
    world.clear().await?;
    put_flood(world).await?;
    let seen = Arc::new(Mutex::new((0, 0)));
    let running = world.start(8, Lows(Arc::clone(&seen))).await?;
    running.until(20_000).await?;
    let (all, low) = seen.lock().map(|s| *s).unwrap_or_default();
    running.stop().await;
    let share = low as f64 * 100.0 / all as f64;
    Ok(json!({ "low_percent": round(share), "of": all }))
}

async fn put_flood(world: &World) -> anyhow::Result<()> {
    let mut conn = world.db.conn().await?;
    let aged = Clock::system().now() - TimeDelta::seconds(120);
    for _ in 0..10 {
        enqueue(&mut conn, &jobs(BATCH, 9, Some(aged))).await?;
    }
    for _ in 0..40 {
        enqueue(&mut conn, &jobs(BATCH, 1, None)).await?;
    }
    Ok(())
}

/// A snapshot is held open all the while: nothing that is done can be vacuumed. The rate of the last third counts.
async fn held(world: &World, seconds: u64) -> anyhow::Result<Value> {
    world.clear().await?;
    put(world, 1_000).await?;
    let holder = world.session().await?;
    holder
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM processing_queue")
        .await?;
    let running = world.start(8, NoOp).await?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let last = end - Duration::from_secs(seconds / 3);
    let mut put_so_far = 1_000_u64;
    let mut from: Option<(Instant, u64)> = None;
    let mut conn = world.db.conn().await?;
    let batch = jobs(BATCH, 5, None);
    while Instant::now() < end {
        let completed = running.figures().completed;
        if from.is_none() && Instant::now() >= last {
            from = Some((Instant::now(), completed));
        }
        if put_so_far.saturating_sub(completed) < 20_000 {
            enqueue(&mut conn, &batch).await?;
            put_so_far += BATCH as u64;
        } else {
            sleep(Duration::from_millis(2)).await;
        }
    }
    let (since, completed) = from.context("too short")?;
    let done = running.figures().completed - completed;
    let rate = per_s(usize::try_from(done)?, since.elapsed());
    eprintln!(
        "held for {seconds} s, {} jobs in all",
        running.figures().completed
    );
    running.stop().await;
    drop(holder);
    Ok(rate)
}

fn per_s(n: usize, took: Duration) -> Value {
    json!((n as f64 / took.as_secs_f64()).round())
}

fn cpu(before: super::world::Usage, after: super::world::Usage, n: usize) -> Value {
    let (ours, servers) = (
        after.ours_us - before.ours_us,
        after.servers_us - before.servers_us,
    );
    let each = |us: f64| round(us / n as f64);
    json!({ "ours": each(ours), "server": each(servers), "both": each(ours + servers) })
}

fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}
