//! The work that waits, and who does it.

use super::{InputProblem, Ops, OpsError, Page, Rows};
use crate::domain::{DestinationPlatform, JobId, ProductId};
use crate::queue::crew::Crew;
use crate::store::jobs::{self, JobStatus, Meant, QueueName, Repeated};
use crate::store::views::{self, JobsWanted, Thing};
use crate::store::{Db, StoreError};
use futures_util::FutureExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;

/// More jobs than this are changed by a filter only when that is confirmed.
const MANY: u64 = 20;
/// A filter changes so many jobs at once; what is left is told.
const AT_ONCE: u64 = 10_000;

/// Which jobs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobFilter {
    /// Only this status.
    pub status: Option<String>,
    /// Only this queue.
    pub queue: Option<String>,
    /// Only this destination.
    pub destination: Option<String>,
    /// Only about this product.
    pub product: Option<i64>,
    /// Only with an error that holds this text.
    pub error: Option<String>,
}

/// What is to be done with which jobs: those that are named, or those that a filter means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobsOrder {
    /// These.
    #[serde(default)]
    pub ids: Vec<i64>,
    /// All that are meant by this.
    pub filter: Option<JobFilter>,
    /// Only say how many there are.
    #[serde(default)]
    pub dry_run: bool,
    /// Yes, that many.
    #[serde(default)]
    pub confirm: bool,
    /// For `priority`: 1 (first) to 10 (last).
    pub priority: Option<i16>,
}

/// A new payload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEdit {
    /// Which job.
    pub id: i64,
    /// What its worker is to know.
    pub payload: Value,
}

/// How many workers a queue is to have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersOrder {
    /// `3`, or `1..6`.
    pub workers: String,
}

impl JobFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let status = named::<JobStatus>("status", self.status.as_deref());
        let queue = named::<QueueName>("queue", self.queue.as_deref());
        let destination = named::<DestinationPlatform>("destination", self.destination.as_deref());
        status.into_iter().chain(queue).chain(destination).collect()
    }

    fn is_empty(&self) -> bool {
        self.status.is_none()
            && self.queue.is_none()
            && self.destination.is_none()
            && self.product.is_none()
            && self.error.is_none()
    }

    fn understood(&self) -> jobs::JobFilter {
        fn read<T: FromStr>(word: Option<&String>) -> Option<T> {
            word.and_then(|word| word.parse().ok())
        }
        jobs::JobFilter {
            ids: Vec::new(),
            status: read(self.status.as_ref()),
            queue: read(self.queue.as_ref()),
            destination: read(self.destination.as_ref()),
            product_id: self.product.map(ProductId),
            error_contains: self.error.clone(),
        }
    }
}

fn named<T>(place: &str, word: Option<&str>) -> Option<InputProblem>
where
    T: FromStr<Err = crate::domain::UnknownName>,
{
    let word = word?;
    let unknown = word.parse::<T>().err()?;
    Some(InputProblem::new(
        place,
        format!("one of {}", unknown.expected),
        word,
    ))
}

/// Jobs that a verb can be done to.
fn may(verb: &str) -> &'static [JobStatus] {
    match verb {
        "priority" => &[JobStatus::Pending, JobStatus::Failed],
        _ => &[JobStatus::Pending, JobStatus::Failed, JobStatus::Dead],
    }
}

impl JobsOrder {
    fn problems(&self, verb: &str) -> Vec<InputProblem> {
        let mut problems = self.filter.as_ref().map(JobFilter::problems).unwrap_or_default();
        let by_filter = self.filter.as_ref().is_some_and(|f| !f.is_empty());
        if by_filter != self.ids.is_empty() {
            let got = if by_filter { "both" } else { "neither" };
            problems.push(InputProblem::new(
                "ids, filter",
                "numbers of jobs, or a filter",
                got,
            ));
        }
        let is_priority = verb == "priority";
        if is_priority && !self.priority.is_some_and(|p| (1..=10).contains(&p)) {
            let got = self.priority.map(|p| p.to_string()).unwrap_or_default();
            problems.push(InputProblem::new("priority", "1 (first) to 10 (last)", &got));
        }
        problems
    }
}

impl Ops {
    /// A page of jobs.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a filter that names nothing.
    pub async fn jobs(&self, page: Page, filter: JobFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let mut conn = self.conn().await?;
        let wanted = JobsWanted {
            status: filter.status.as_deref(),
            queue: filter.queue.as_deref(),
            destination: filter.destination.as_deref(),
            product: filter.product,
            error: filter.error.as_deref(),
        };
        let jobs = views::jobs(&mut conn, page.window(), wanted).await?;
        Ok(page.rows(jobs))
    }

    /// `retry`, `discard` or change the `priority` of jobs. Those in work, or done, are left and named.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when one that is named is not there; [`OpsError::Conflict`] when a filter means many and
    /// that was not confirmed.
    pub async fn mend_jobs(&self, verb: &str, order: JobsOrder, by: &str) -> Result<Value, OpsError> {
        OpsError::unless_none(order.problems(verb))?;
        let mut conn = self.conn().await?;
        let meant = if let Some(filter) = order.filter.as_ref().filter(|f| !f.is_empty()) {
            let most = i64::try_from(AT_ONCE).unwrap_or(i64::MAX);
            jobs::meant(&mut conn, &filter.understood(), may(verb), most).await?
        } else {
            let ids = self.all_there(Thing::Job, &order.ids).await?;
            Meant {
                count: u64::try_from(ids.len()).unwrap_or(u64::MAX),
                ids: ids.into_iter().map(JobId).collect(),
            }
        };
        if order.dry_run {
            return Ok(json!({ "would": verb, "count": meant.count }));
        }
        if order.ids.is_empty() && meant.count > MANY && !order.confirm {
            return Err(OpsError::Conflict {
                message: format!("{} jobs are meant; nothing was changed", meant.count),
                hint: Some("say so: `--yes` (\"confirm\": true); `--dry-run` only counts".to_owned()),
            });
        }
        let mut answer = match verb {
            "retry" => {
                // a transaction has a connection of its own
                drop(conn);
                json!(repeated(&self.parts()?.db, &meant.ids).await?)
            }
            "discard" => {
                let done = jobs::discard(&mut conn, &meant.ids, by).await?;
                drop(conn);
                json!({ "discarded": done, "left": left(&meant.ids, &done) })
            }
            _ => {
                let priority = order.priority.unwrap_or(5);
                let done = jobs::set_priority(&mut conn, &meant.ids, priority).await?;
                drop(conn);
                json!({ "changed": done, "left": left(&meant.ids, &done), "priority": priority })
            }
        };
        let more = meant
            .count
            .saturating_sub(u64::try_from(meant.ids.len()).unwrap_or(0));
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("more".to_owned(), json!(more));
        }
        self.look_now()?;
        tracing::info!(
            by, verb, filter = ?order.filter, priority = ?order.priority,
            "A person mended {} job(s)", meant.ids.len()
        );
        Ok(answer)
    }

    /// Replaces what a waiting or dead job tells its worker.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is no such job, [`OpsError::Conflict`] when it is in work or done.
    pub async fn edit_job(&self, edit: JobEdit, by: &str) -> Result<Value, OpsError> {
        if !edit.payload.is_object() {
            let got = edit.payload.to_string();
            return Err(OpsError::invalid("payload", "a JSON object", &got));
        }
        self.all_there(Thing::Job, &[edit.id]).await?;
        let mut conn = self.conn().await?;
        if !jobs::edit_payload(&mut conn, JobId(edit.id), &edit.payload).await? {
            return Err(OpsError::Conflict {
                message: format!("job `{}` is in work or done; nothing was changed", edit.id),
                hint: Some("`zaikoban queue show` says where it stands".to_owned()),
            });
        }
        tracing::info!(by, job.id = edit.id, "A person edited job `{}`", edit.id);
        Ok(json!({ "edited": [edit.id] }))
    }

    /// One job.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn job(&self, id: i64) -> Result<Value, OpsError> {
        let mut conn = self.conn().await?;
        OpsError::found(Thing::Job, id, views::job(&mut conn, id).await?)
    }

    /// The queues: what is ordered of each, what waits in its lanes, and what this daemon does of it.
    ///
    /// # Errors
    /// When the database is away or refuses.
    pub async fn queues(&self) -> Result<Value, OpsError> {
        let parts = self.parts()?;
        let mut conn = self.conn().await?;
        let levels = jobs::waiting(&mut conn).await?;
        let counts = jobs::counts(&mut conn).await?;
        let ordered = jobs::orders(&mut conn).await?;
        drop(conn);
        let in_force = parts.queues.orders.subscribe();
        let in_force = in_force.borrow().clone();
        let figures = parts.queues.tallies.all();
        let mut lanes: Vec<(String, Option<String>)> = counts
            .iter()
            .map(|c| (c.queue.clone(), c.destination.clone()))
            .collect();
        lanes.extend(figures.keys().filter_map(|lane| {
            let (queue, destination) = lane.split_once('/')?;
            let destination = Some(destination.to_owned()).filter(|d| !d.is_empty());
            Some((queue.to_owned(), destination))
        }));
        lanes.sort();
        lanes.dedup();
        let items = lanes.iter().map(|(queue, destination)| {
            let is_here = |q: &String, d: &Option<String>| q == queue && d == destination;
            let of_lane: Vec<_> = levels
                .iter()
                .filter(|l| is_here(&l.queue, &l.destination))
                .collect();
            let of_state = |state: &str| -> i64 {
                let here = counts.iter().filter(|c| is_here(&c.queue, &c.destination));
                here.filter(|c| c.status == state).map(|c| c.count).sum()
            };
            let between = |low: i16, high: i16| -> i64 {
                let within = of_lane.iter().filter(|l| (low..=high).contains(&l.priority));
                within.map(|l| l.waiting).sum()
            };
            let name = queue.parse::<QueueName>().ok();
            let order = name.map(|name| in_force.of(name));
            let by = ordered.iter().find(|o| Some(o.queue) == name);
            let key = format!("{queue}/{}", destination.as_deref().unwrap_or_default());
            json!({
                "queue": queue, "destination": destination,
                "waiting": { "high": between(1, 3), "normal": between(4, 6), "low": between(7, 10) },
                "oldest_due_s": of_lane.iter().map(|l| l.oldest_due_s).fold(0.0, f64::max),
                "processing": of_state("processing"), "dead": of_state("dead"),
                "workers": order.map(|o| o.crew.to_string()), "paused": order.map(|o| o.paused),
                "ordered_by": by.map(|o| &o.changed_by), "ordered_at": by.map(|o| o.changed_at),
                "here": figures.get(&key),
            })
        });
        Ok(json!({ "items": items.collect::<Vec<_>>(), "next": null }))
    }

    /// Orders how many workers a queue has, in every daemon on this database.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for another queue or number.
    pub async fn order_workers(&self, queue: &str, order: WorkersOrder, by: &str) -> Result<Value, OpsError> {
        let crew = order.workers.parse::<Crew>();
        let problem = crew.as_ref().err().map(|_bad| {
            let expected = "a number such as 3, or a range such as 1..6 (at most 64)";
            InputProblem::new("workers", expected, &order.workers)
        });
        let name = executed(queue);
        let problems = problem.into_iter().chain(name.as_ref().err().cloned());
        OpsError::unless_none(problems.collect())?;
        if let (Ok(crew), Ok(name)) = (crew, name) {
            let mut conn = self.conn().await?;
            jobs::order_workers(&mut conn, name, (crew.min(), crew.max()), by).await?;
            drop(conn);
            self.read_orders().await?;
            tracing::info!(queue, by, workers = %crew, "A person ordered workers");
        }
        Ok(json!({ "queue": queue, "workers": order.workers }))
    }

    /// `pause` or `resume` a queue, in every daemon on this database.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for another queue.
    pub async fn switch_queue(&self, queue: &str, verb: &str, by: &str) -> Result<Value, OpsError> {
        let name = executed(queue).map_err(|problem| OpsError::Invalid {
            problems: vec![problem],
            more: 0,
        })?;
        let mut conn = self.conn().await?;
        let changed = jobs::order_pause(&mut conn, name, verb == "pause", by).await?;
        drop(conn);
        self.read_orders().await?;
        tracing::info!(queue, by, verb, "A person switched a queue");
        Ok(json!({ "queue": queue, "done": verb, "changed": changed }))
    }

    async fn read_orders(&self) -> Result<(), OpsError> {
        let parts = self.parts()?;
        Ok(parts.queues.orders.read(&parts.db).await?)
    }
}

/// A queue whose work is done by workers.
fn executed(queue: &str) -> Result<QueueName, InputProblem> {
    let problem = |hint| {
        let others = QueueName::ALL.iter().filter(|q| **q != QueueName::PlatformSync);
        let names: Vec<&str> = others.map(|q| q.as_str()).collect();
        let problem = InputProblem::new("queue", format!("one of {}", names.join(", ")), queue);
        match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    };
    match queue.parse::<QueueName>() {
        Ok(QueueName::PlatformSync) => Err(problem(Some(
            "each destination has one syncer of its own: `zaikoban platforms pause` and its rate",
        ))),
        Ok(queue) => Ok(queue),
        Err(_) => Err(problem(None)),
    }
}

fn left(asked: &[JobId], done: &[JobId]) -> Vec<JobId> {
    let done: std::collections::HashSet<&JobId> = done.iter().collect();
    asked.iter().filter(|job| !done.contains(job)).copied().collect()
}

/// What is ordered of the queues, and what is done of them here.
#[derive(Clone)]
pub struct Queues {
    /// The orders in force.
    pub orders: crate::queue::OrdersBoard,
    /// What the executors have done.
    pub tallies: crate::queue::Tallies,
}

/// Repeats jobs with their listings' holds, as a whole or not at all. Somebody may enqueue one of the same intents
/// meanwhile; that job is then seen and the dead one left.
pub(super) async fn repeated(db: &Db, ids: &[JobId]) -> Result<Repeated, StoreError> {
    let once = || {
        let ids = ids.to_vec();
        db.transaction(move |conn| async move { jobs::repeat(conn, &ids).await }.boxed())
    };
    match once().await {
        Err(error) if error.constraint() == Some("processing_queue_unique") => once().await,
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(verb: &str, order: Value) -> String {
        let order: JobsOrder = serde_json::from_value(order).unwrap();
        let all: Vec<String> = order.problems(verb).iter().map(ToString::to_string).collect();
        all.join("; ")
    }

    #[test]
    fn an_order_names_jobs_or_a_filter_and_all_its_problems_are_told() {
        assert_eq!(problems("retry", json!({ "ids": [1] })), "");
        assert_eq!(problems("discard", json!({ "filter": { "status": "dead" } })), "");
        for (order, got) in [
            (json!({}), "neither"),
            (json!({ "filter": {} }), "neither"),
            (json!({ "ids": [1], "filter": { "status": "dead" } }), "both"),
        ] {
            assert!(problems("retry", order).ends_with(&format!("got {got}")));
        }
        let all = problems(
            "priority",
            json!({ "filter": { "queue": "x", "status": "y" }, "priority": 11 }),
        );
        for place in [
            "status: ",
            "queue: ",
            "priority: expected 1 (first) to 10 (last), got 11",
        ] {
            assert!(all.contains(place), "{all}");
        }
    }

    #[test]
    fn the_syncers_queue_is_not_ordered_here_and_says_where() {
        assert_eq!(executed("price_sync"), Ok(QueueName::PriceSync));
        let refused = executed("platform_sync").unwrap_err().to_string();
        assert!(refused.contains("zaikoban platforms pause"), "{refused}");
        assert!(
            executed("nonsense")
                .unwrap_err()
                .to_string()
                .contains("stock_check")
        );
    }
}
