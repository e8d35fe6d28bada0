//! `zaikoban queue`: what it asks, and how its answers are shown.

use super::orders::{get, paged, post};
use super::said::Told;
use super::tables::{QUEUE, QUEUES};
use super::{Ask, Show};
use crate::cli::args::{JobFilterArgs, JobsArgs, Queue};
use crate::cli::output::{self, at, plain};
use serde_json::{Value, json};

pub(super) fn queue(order: Option<Queue>) -> (Ask, Show) {
    let Some(order) = order else {
        return (get("/v1/queues"), Show::Table(QUEUES));
    };
    match order {
        Queue::List { page, filter } => {
            let product = filter.product.map(|id| id.to_string());
            let filters = [
                ("status", filter.status.as_deref()),
                ("queue", filter.queue.as_deref()),
                ("destination", filter.destination.as_deref()),
                ("product", product.as_deref()),
                ("error", filter.error.as_deref()),
            ];
            (paged("/v1/queue", &page, &filters), Show::Table(QUEUE))
        }
        Queue::Show { id } => (get(&format!("/v1/queue/{id}")), Show::Text(output::card)),
        Queue::Retry(jobs) => (
            post("/v1/queue/retry", meant(&jobs, None)),
            Show::Said(jobs_retried),
        ),
        Queue::Discard(jobs) => (
            post("/v1/queue/discard", meant(&jobs, None)),
            Show::Said(jobs_discarded),
        ),
        Queue::Priority { priority, jobs } => (
            post("/v1/queue/priority", meant(&jobs, Some(priority))),
            Show::Said(jobs_moved),
        ),
        Queue::Edit { id, payload } => {
            // what is no JSON is sent as the text it is: the daemon says what it expected
            let payload: Value = serde_json::from_str(&payload).unwrap_or(Value::String(payload));
            (
                post("/v1/queue/edit", json!({ "id": id, "payload": payload })),
                Show::Said(job_edited),
            )
        }
        Queue::Workers { queue, workers } => (
            post(&path(&queue, "workers"), json!({ "workers": workers })),
            Show::Said(workers_ordered),
        ),
        Queue::Pause { queue } => (post(&path(&queue, "pause"), json!({})), Show::Said(switched)),
        Queue::Resume { queue } => (post(&path(&queue, "resume"), json!({})), Show::Said(switched)),
    }
}

/// What was typed is one part of the path, whatever stands in it.
fn path(queue: &str, verb: &str) -> String {
    let queue: String = url::form_urlencoded::byte_serialize(queue.as_bytes()).collect();
    format!("/v1/queues/{queue}/{verb}")
}

fn meant(jobs: &JobsArgs, priority: Option<i16>) -> Value {
    let JobFilterArgs {
        status,
        queue,
        destination,
        product,
        error,
    } = &jobs.filter;
    let filter = jobs.ids.is_empty().then(|| {
        json!({ "status": status, "queue": queue, "destination": destination, "product": product, "error": error })
    });
    json!({
        "ids": jobs.ids, "filter": filter, "dry_run": jobs.dry_run, "confirm": jobs.yes, "priority": priority,
    })
}

/// A count alone, when only that was asked for.
fn counted(answer: &Value) -> Option<Told> {
    let verb = at(answer, "would").as_str()?;
    let line = format!(
        "{} job(s) are meant by `{verb}`; nothing was changed",
        plain(at(answer, "count"))
    );
    Some(Told::new().line(line))
}

/// What is left of a filter that meant more than is done at once.
fn more(told: Told, answer: &Value) -> Told {
    match at(answer, "more").as_u64() {
        Some(n) if n > 0 => told
            .line(format!("{n} more are meant: give the order again"))
            .unfinished(),
        _ => told,
    }
}

fn jobs_retried(answer: &Value) -> Told {
    counted(answer).unwrap_or_else(|| {
        let told = Told::new().of("waits again: job", at(answer, "repeated")).left(
            "left, being in work or done, or because another job stands for the same: job",
            at(answer, "left"),
        );
        more(told, answer)
    })
}

fn jobs_discarded(answer: &Value) -> Told {
    counted(answer).unwrap_or_else(|| {
        let told = Told::new()
            .of("discarded: job", at(answer, "discarded"))
            .left("left, being in work or done: job", at(answer, "left"));
        more(told, answer)
    })
}

fn jobs_moved(answer: &Value) -> Told {
    counted(answer).unwrap_or_else(|| {
        let words = format!("priority {} now: job", plain(at(answer, "priority")));
        let told = Told::new()
            .of(&words, at(answer, "changed"))
            .left("left, being in work, done or dead: job", at(answer, "left"));
        more(told, answer)
    })
}

fn job_edited(answer: &Value) -> Told {
    Told::new().of("edited: job", at(answer, "edited"))
}

fn workers_ordered(answer: &Value) -> Told {
    Told::new().line(format!(
        "{} has {} worker(s) from now on, in every daemon on this database",
        plain(at(answer, "queue")),
        plain(at(answer, "workers"))
    ))
}

fn switched(answer: &Value) -> Told {
    let queue = plain(at(answer, "queue"));
    let line = match (at(answer, "done") == "pause", at(answer, "changed") == true) {
        (true, true) => format!("{queue} is paused: nothing more is taken, what runs is finished"),
        (true, false) => format!("{queue} was paused already"),
        (false, true) => format!("{queue} goes on"),
        (false, false) => format!("{queue} was not paused"),
    };
    Told::new().line(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::JobId;
    use crate::store::jobs::Repeated;

    fn told(told: &Told) -> (Vec<&str>, bool) {
        (told.lines.iter().map(String::as_str).collect(), told.whole)
    }

    #[test]
    fn jobs_that_were_left_are_named_and_make_it_no_success() {
        let repeated = json!(Repeated {
            repeated: vec![JobId(1)],
            left: vec![JobId(2)],
        });
        let lines = vec![
            "waits again: job: 1",
            "left, being in work or done, or because another job stands for the same: job: 2",
        ];
        assert_eq!(told(&jobs_retried(&repeated)), (lines, false));
        let discarded = json!({ "discarded": [1, 2], "left": [], "more": 0 });
        assert_eq!(
            told(&jobs_discarded(&discarded)),
            (vec!["discarded: job: 1, 2"], true)
        );
        let moved = json!({ "changed": [3], "left": [], "priority": 1, "more": 7 });
        let lines = vec!["priority 1 now: job: 3", "7 more are meant: give the order again"];
        assert_eq!(told(&jobs_moved(&moved)), (lines, false));
        let counted = json!({ "would": "discard", "count": 431 });
        let line = "431 job(s) are meant by `discard`; nothing was changed";
        assert_eq!(told(&jobs_discarded(&counted)), (vec![line], true));
    }

    #[test]
    fn a_queues_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(path("a/../b?c", "pause"), "/v1/queues/a%2F..%2Fb%3Fc/pause");
    }
}
