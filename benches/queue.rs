//! What a job costs that does nothing: enqueued, taken, done and settled, each step durable and fenced.
//!
//! A private PostgreSQL (`fsync` and `synchronous_commit` on) runs beside this process on the same cores, and the real
//! executors run in this one, under a real tree. CPU time is ours and the server's together, user and system, from
//! `/proc`. Beside it stands what `pgbench` reaches on the same server.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::as_conversions,
    reason = "a bench prints its figures, which are small enough for any number"
)]

#[path = "queue/measures.rs"]
mod measures;
#[path = "queue/redis.rs"]
mod redis;
#[path = "queue/world.rs"]
mod world;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use world::World;

/// What was asked for.
pub(crate) struct Arguments {
    json: bool,
    /// Jobs in one measurement.
    pub(crate) jobs: usize,
    /// Jobs that wait before a measurement with a backlog begins.
    pub(crate) backlog: usize,
    /// How long a snapshot is held open.
    pub(crate) held_seconds: u64,
    /// Only the measures whose name holds this.
    pub(crate) only: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = arguments()?;
    let runtime = Arc::new(
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?,
    );
    let figures = actix::System::new().block_on(measure(&arguments, &runtime))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        for (name, value) in &figures {
            println!("{name:<28} {value}");
        }
    }
    Ok(())
}

fn arguments() -> anyhow::Result<Arguments> {
    let mut parsed = Arguments {
        json: false,
        jobs: 60_000,
        backlog: 100_000,
        held_seconds: 120,
        only: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().context("a value is missing");
        match name.as_str() {
            "--json" => parsed.json = true,
            "--jobs" => parsed.jobs = value()?.parse()?,
            "--backlog" => parsed.backlog = value()?.parse()?,
            "--held-seconds" => parsed.held_seconds = value()?.parse()?,
            "--only" => parsed.only = Some(value()?),
            "--bench" => {}
            other => bail!("`{other}` is not known; see scripts/bench"),
        }
    }
    Ok(parsed)
}

async fn measure(
    arguments: &Arguments,
    runtime: &Arc<tokio::runtime::Runtime>,
) -> anyhow::Result<Map<String, Value>> {
    let mut figures = Map::new();
    let mut world = World::open(runtime).await?;
    let table = measures::all(&world, arguments).await;
    let pgbench = match &arguments.only {
        None => Some(world.pgbench().await?),
        Some(_) => None,
    };
    world.begin_redis().await?;
    eprintln!("with Redis:");
    let fast = measures::all(&world, arguments).await;
    world.close().await;
    let (table, fast) = (table?, fast?);
    // the same keys at the top, for whoever looks for them there
    figures.extend(table.clone());
    figures.insert("pgbench_tps".to_owned(), json!(pgbench));
    figures.insert("without_redis".to_owned(), Value::Object(table));
    figures.insert("with_redis".to_owned(), Value::Object(fast));
    figures.insert("load".to_owned(), json!(world::load()?));
    Ok(figures)
}
