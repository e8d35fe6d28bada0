//! Reports that are one look at the tables: the validation's, and the day's.

use super::action::{Done, Failure, Run};
use crate::store::executions::Counts;
use crate::store::{Db, summaries, validation};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};
use std::time::Duration;

/// Judges all products and listings. A product counts as unverified when its page was not read for `unverified_after`.
/// What is found is the run's details, not its failure.
///
/// # Errors
/// When the database is away or refuses.
pub async fn validate(db: &Db, unverified_after: Duration, run: &Run) -> Result<Done, Failure> {
    let report = validation::report(&mut *db.conn().await?, unverified_after).await?;
    let number = |key: &str| {
        let n = report.get(key).and_then(Value::as_i64).unwrap_or(0);
        i32::try_from(n).unwrap_or(i32::MAX)
    };
    let products = number("products");
    run.progress.set(Counts {
        total: products,
        processed: products,
        ..Counts::default()
    });
    let found = number("products_with_findings");
    if found > 0 {
        tracing::warn!(
            found,
            products,
            "{found} of {products} products have something to be looked at"
        );
    }
    Ok(Done {
        details: Some(report),
    })
}

/// The day that a run speaks of, and the 24 hours that belong to it: those before the moment that it serves.
#[must_use]
pub fn day_of(run: &Run) -> (NaiveDate, DateTime<Utc>, DateTime<Utc>) {
    day(run.due.unwrap_or(run.began), run.zone)
}

fn day(until: DateTime<Utc>, zone: Tz) -> (NaiveDate, DateTime<Utc>, DateTime<Utc>) {
    let day = until.with_timezone(&zone).date_naive();
    let from = until.checked_sub_signed(TimeDelta::hours(24)).unwrap_or(until);
    (day, from, until)
}

/// Writes the day's figures, to be mailed.
///
/// # Errors
/// When the database is away or refuses.
pub async fn summarise(db: &Db, run: &Run) -> Result<Done, Failure> {
    let (day, from, until) = day_of(run);
    let mut conn = db.conn().await?;
    let figures = summaries::figures(&mut conn, from, until).await?;
    summaries::keep(&mut conn, day, figures, run.id).await?;
    Ok(Done {
        details: Some(json!({ "day": day })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_at_eleven_in_the_evening_speaks_of_that_day_in_its_zone() {
        let until = "2026-11-22T14:00:00Z".parse().unwrap();
        let (day, from, to) = day(until, Tz::Asia__Tokyo);
        assert_eq!(day.to_string(), "2026-11-22");
        assert_eq!((to - from, to), (TimeDelta::hours(24), until));
    }
}
