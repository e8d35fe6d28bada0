//! The time-table and its runs: look at them, have one run now, stop one for a while.

use super::{InputProblem, Ops, OpsError, Page, Rows, doctor};
use crate::alert::summary;
use crate::schedule::{Done, Failure, Refused, Run, ScheduleName};
use crate::store::executions::{self, Counts, ExecutionStatus};
use crate::store::{Db, health_checks, schedules, summaries};
use chrono::NaiveDate;
use serde::Deserialize;
use serde_json::{Value, json};
use std::str::FromStr;
use uuid::Uuid;

/// Checks of a run that its row names.
const NAMED: usize = 20;

/// Which entries of the time-table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulesOrder {
    /// Their names.
    pub names: Vec<String>,
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct ExecutionFilter {
    /// Only of this entry.
    pub process: Option<String>,
    /// Only with this status.
    pub status: Option<String>,
}

impl ExecutionFilter {
    /// What of it would not be understood.
    #[must_use]
    pub fn problems(&self) -> Vec<InputProblem> {
        let process = problem::<ScheduleName>("process", self.process.as_deref());
        let status = problem::<ExecutionStatus>("status", self.status.as_deref());
        process.into_iter().chain(status).collect()
    }
}

fn problem<T: FromStr<Err = crate::domain::UnknownName>>(
    place: &str,
    word: Option<&str>,
) -> Option<InputProblem> {
    let unknown = word?.parse::<T>().err()?;
    Some(InputProblem::new(
        place,
        format!("one of {}", unknown.expected),
        &unknown.got,
    ))
}

fn name(text: &str) -> Result<ScheduleName, OpsError> {
    text.parse::<ScheduleName>()
        .map_err(|unknown| OpsError::invalid("name", format!("one of {}", unknown.expected), &unknown.got))
}

impl Ops {
    /// Every entry: when it fires, when it did, what came of it.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn schedules(&self) -> Result<Value, OpsError> {
        let table = self.parts()?.scheduler.table();
        let mut conn = self.conn().await?;
        let rows = schedules::list(&mut conn).await?;
        let ids: Vec<Uuid> = rows.iter().filter_map(|row| row.last_execution_id).collect();
        let runs = executions::of(&mut conn, &ids).await?;
        let items = table.entries.iter().map(|(name, entry)| {
            let row = rows.iter().find(|row| row.name == name.as_str());
            let last = row.and_then(|row| row.last_execution_id).map(|id| id.to_string());
            let last = runs.iter().find(|run| {
                let number = run.get("execution_id").and_then(Value::as_str);
                last.is_some() && number == last.as_deref()
            });
            let paused = row.is_some_and(|row| row.paused);
            let fires = entry.enabled && !paused;
            let state = match (entry.enabled, paused) {
                (false, _) => "off",
                (true, true) => "paused",
                (true, false) => "on",
            };
            json!({
                "name": name, "cron": entry.cron.to_string(), "time_zone": table.zone.name(), "state": state,
                "missed": entry.missed, "limit_s": entry.limit.as_secs(),
                "next_fire_at": row.filter(|_| fires).and_then(|row| row.next_fire_at),
                "last_fired_at": row.and_then(|row| row.last_fired_at),
                "last": last.cloned().unwrap_or_else(|| json!({ "status": null, "took_ms": null, "error": null })),
                "last_skipped_at": row.and_then(|row| row.last_skipped_at),
                "last_skipped_why": row.and_then(|row| row.last_skipped_why.clone()),
                "paused_by": row.and_then(|row| row.paused_by.clone()),
                "paused_at": row.and_then(|row| row.paused_at),
            })
        });
        Ok(json!({ "items": items.collect::<Vec<Value>>() }))
    }

    /// Has an entry run now, whatever the time-table says.
    ///
    /// # Errors
    /// [`OpsError::Conflict`] while one of its kind runs.
    pub async fn run_schedule(&self, which: &str, by: &str) -> Result<Value, OpsError> {
        let name = name(which)?;
        let begun = self.parts()?.scheduler.run_now(name, by).await;
        let id = begun.map_err(|refused| match refused {
            Refused::Store(error) => error.into(),
            Refused::Away => OpsError::NotReady {
                what: "the scheduler",
                why: refused.to_string(),
            },
            Refused::Running(_) => OpsError::Conflict {
                message: format!("{refused}; nothing was begun"),
                hint: Some(format!(
                    "`zaikoban executions list --process {name} --status running` shows how far it is"
                )),
            },
            Refused::Nothing(_) => OpsError::Conflict {
                message: refused.to_string(),
                hint: Some("the platform that it is about is not enabled in the settings".to_owned()),
            },
        })?;
        Ok(json!({ "name": name, "execution_id": id }))
    }

    /// `pause` or `resume` entries; by hand they can be run all the same.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a name that the time-table does not have; nothing is changed then.
    pub async fn switch_schedules(
        &self,
        verb: &str,
        order: SchedulesOrder,
        by: &str,
    ) -> Result<Value, OpsError> {
        let mut problems: Vec<InputProblem> = order
            .names
            .iter()
            .filter_map(|given| problem::<ScheduleName>("names", Some(given)))
            .collect();
        if order.names.is_empty() {
            problems.push(InputProblem::new("names", "at least one", ""));
        }
        OpsError::unless_none(problems)?;
        let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
        for given in order.names {
            let paused_by = (verb == "pause").then_some(by);
            match schedules::set_paused(&mut *self.conn().await?, &given, paused_by).await? {
                Some(true) => changed.push(given),
                Some(false) => unchanged.push(given),
                None => {
                    return Err(OpsError::NotReady {
                        what: "the time-table",
                        why: format!("`{given}` is not planned yet; ask again in a few seconds"),
                    });
                }
            }
        }
        tracing::info!(
            by,
            verb,
            "A person switched {} of the time-table",
            changed.join(", ")
        );
        self.parts()?.scheduler.look_now();
        Ok(json!({ "done": verb, "changed": changed, "unchanged": unchanged }))
    }

    /// A page of runs, the newest first.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] for a filter that names nothing.
    pub async fn executions(&self, page: Page, filter: ExecutionFilter) -> Result<Rows, OpsError> {
        OpsError::unless_none(filter.problems())?;
        let window = page.window();
        let (process, status) = (filter.process.as_deref(), filter.status.as_deref());
        let mut conn = self.conn().await?;
        Ok(page.rows(executions::list(&mut conn, window.after, window.limit, process, status).await?))
    }

    /// One run with all that it found, by its id or its number.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when there is none.
    pub async fn execution(&self, which: &str) -> Result<Value, OpsError> {
        let found = executions::find(&mut *self.conn().await?, which).await?;
        found.ok_or_else(|| OpsError::NotFound {
            things: vec![format!("execution `{}`", which.escape_debug())],
            hint: Some("`zaikoban executions list` shows what there is"),
        })
    }

    /// The latest looks at everything the daemon stands on.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn health_checks(&self, limit: i64) -> Result<Value, OpsError> {
        let items = health_checks::latest(&mut *self.conn().await?, limit).await?;
        Ok(json!({ "items": items }))
    }

    /// One day in figures and as it is told; the newest without a day.
    ///
    /// # Errors
    /// [`OpsError::NotFound`] when nothing was written for it.
    pub async fn daily_summary(&self, day: Option<&str>) -> Result<Value, OpsError> {
        let read = |text: &str| {
            text.parse::<NaiveDate>()
                .map_err(|_unreadable| OpsError::invalid("day", "a day such as 2026-11-22", text))
        };
        let day = day.map(read).transpose()?;
        let found = summaries::find(&mut *self.conn().await?, day).await?;
        let Some(mut found) = found else {
            let day = day.map_or_else(|| "of any day".to_owned(), |day| format!("of `{day}`"));
            return Err(OpsError::NotFound {
                things: vec![format!("daily summary {day}")],
                hint: Some("`zaikoban schedule run daily_summary` writes that of the last 24 hours"),
            });
        };
        let settings = self.parts()?.alerts.settings();
        let day = found.get("day").and_then(Value::as_str).unwrap_or_default();
        let day = day.parse().unwrap_or_default();
        let figures = found.get("figures").cloned().unwrap_or_default();
        let told = summary::told(day, &figures, &settings.host, settings.language);
        if let Some(fields) = found.as_object_mut() {
            fields.insert("subject".to_owned(), told.subject.into());
            fields.insert("text".to_owned(), told.text.into());
            fields.insert("html".to_owned(), told.html.into());
        }
        Ok(found)
    }
}

/// Looks at everything the daemon stands on, and keeps what was seen. What failed is told by the alerts of its own kind;
/// here it is written down.
///
/// # Errors
/// When the database is away: then there is nowhere to write it.
pub async fn check_health(probes: &doctor::Probes, db: &Db, run: &Run) -> Result<Done, Failure> {
    let checks = doctor::examine(probes, doctor::LIMIT, false).await;
    let of = |state| checks.iter().filter(move |check| check.state == state);
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let failed = of(doctor::CheckState::Failed).count();
    let slowest = checks.iter().max_by_key(|check| check.took_ms);
    let details = json!({
        "state": doctor::worst(&checks),
        "failed": of(doctor::CheckState::Failed).take(NAMED).collect::<Vec<_>>(),
        "warnings": of(doctor::CheckState::Warning).take(NAMED).collect::<Vec<_>>(),
        "slowest": slowest.map(|check| json!({ "name": check.name, "took_ms": check.took_ms })),
    });
    run.progress.set(Counts {
        total: number(checks.len()),
        processed: number(checks.len()),
        ..Counts::default()
    });
    health_checks::record(
        &mut *db.conn().await?,
        json!(checks),
        number(failed),
        Some(run.id),
    )
    .await?;
    Ok(Done {
        details: Some(details),
    })
}
