//! The handlers of the time-table, its runs, and the day's figures.

use super::body::{Given, Shape};
use super::envelope::Answer;
use super::query::Query;
use super::state::{Caller, State};
use crate::ops;
use actix_web::web::{Data, Path};

impl Shape for ops::SchedulesOrder {
    const EXAMPLE: &'static str = r#"{"names": ["stock_sweep", "backup"]}"#;
}

pub(super) async fn list(state: Data<State>, query: Query) -> Answer {
    query.end()?;
    state.answer(|ops| async move { ops.schedules().await }).await
}

pub(super) async fn run(state: Data<State>, caller: Caller, name: Path<String>) -> Answer {
    state
        .answer(move |ops| async move { ops.run_schedule(&name, &caller.0).await })
        .await
}

pub(super) async fn switch(
    state: Data<State>,
    caller: Caller,
    verb: Path<String>,
    body: Given<ops::SchedulesOrder>,
) -> Answer {
    let order = body.0;
    state
        .answer(move |ops| async move { ops.switch_schedules(&verb, order, &caller.0).await })
        .await
}

pub(super) async fn executions(state: Data<State>, mut query: Query) -> Answer {
    let page = query.page();
    let filter = ops::ExecutionFilter {
        process: query.text("process"),
        status: query.text("status"),
    };
    query.also(filter.problems());
    query.end()?;
    state
        .answer(move |ops| async move { ops.executions(page, filter).await })
        .await
}

pub(super) async fn execution(state: Data<State>, which: Path<String>) -> Answer {
    state
        .answer(move |ops| async move { ops.execution(&which).await })
        .await
}

pub(super) async fn health(state: Data<State>, mut query: Query) -> Answer {
    let limit = query.number("limit", 1, 1_000).unwrap_or(20);
    query.end()?;
    state
        .answer(move |ops| async move { ops.health_checks(limit).await })
        .await
}

pub(super) async fn summary(state: Data<State>, mut query: Query) -> Answer {
    let day = query.text("day");
    query.end()?;
    state
        .answer(move |ops| async move { ops.daily_summary(day.as_deref()).await })
        .await
}
