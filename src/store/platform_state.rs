//! Switches and states that outlive the process, one row per platform; the row `*` is the whole daemon.
//!
//! A pause is looked at by [`super::pushes::claim`] in the very transaction that would lease a push, so an emergency stop
//! works even when nobody hears of it.

use super::{StoreError, hot};
use crate::domain::Platform;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Date, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Serialize;
use serde_json::Value;

/// What a switch stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole daemon: the emergency stop.
    Everything,
    /// One platform.
    One(Platform),
}

impl Scope {
    fn key(self) -> &'static str {
        match self {
            Self::Everything => "*",
            Self::One(platform) => platform.as_str(),
        }
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize, QueryableByName)]
pub struct PlatformState {
    /// The platform's name, or `*`.
    #[diesel(sql_type = Text)]
    pub platform: String,
    /// Whether nothing is sent to it.
    #[diesel(sql_type = Bool)]
    pub paused: bool,
    /// Who paused or resumed it last.
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_by: Option<String>,
    /// Since when it is paused.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub paused_at: Option<DateTime<Utc>>,
    /// The breaker's kept state.
    #[diesel(sql_type = Nullable<Jsonb>)]
    pub gate: Option<Value>,
    /// The day that `budget_used` counts.
    #[diesel(sql_type = Nullable<Date>)]
    pub budget_day: Option<NaiveDate>,
    /// Calls made on that day.
    #[diesel(sql_type = BigInt)]
    pub budget_used: i64,
    /// How often a person has paused or resumed it.
    #[diesel(sql_type = BigInt)]
    pub switches: i64,
    /// How often a person has reset its breaker.
    #[diesel(sql_type = BigInt)]
    pub resets: i64,
}

impl PlatformState {
    /// Whether this row is the emergency stop.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.platform == Scope::Everything.key()
    }
}

/// Every row.
///
/// # Errors
/// When the database is away or refuses.
pub async fn list(conn: &mut AsyncPgConnection) -> Result<Vec<PlatformState>, StoreError> {
    let rows = diesel::sql_query(
        "SELECT platform, paused, paused_by, paused_at, gate, budget_day, budget_used, switches, resets \
         FROM platform_state ORDER BY platform",
    )
    .get_results(conn)
    .await?;
    Ok(rows)
}

/// Pauses or resumes, and counts it; answers whether that changed anything.
///
/// # Errors
/// When the database is away or refuses.
pub async fn set_paused(
    conn: &mut AsyncPgConnection,
    scope: Scope,
    paused: bool,
    by: &str,
) -> Result<bool, StoreError> {
    let changed = diesel::sql_query(
        "INSERT INTO platform_state (platform, paused, paused_by, paused_at, switches) \
         VALUES ($1, $2, $3, CASE WHEN $2 THEN now() END, 1) \
         ON CONFLICT (platform) DO UPDATE SET paused = EXCLUDED.paused, paused_by = EXCLUDED.paused_by, \
             paused_at = EXCLUDED.paused_at, switches = platform_state.switches + 1, updated_at = now() \
         WHERE platform_state.paused <> EXCLUDED.paused",
    )
    .bind::<Text, _>(scope.key())
    .bind::<Bool, _>(paused)
    .bind::<Text, _>(by)
    .execute(conn)
    .await?;
    Ok(changed > 0)
}

/// Whether this is paused, by itself or with everything.
///
/// # Errors
/// When the database is away or refuses.
pub async fn is_paused(conn: &mut AsyncPgConnection, scope: Scope) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Bool)]
        paused: bool,
    }
    let row: Row = hot(diesel::sql_query(
        "SELECT EXISTS (SELECT 1 FROM platform_state WHERE platform IN ('*', $1) AND paused) AS paused",
    )
    .bind::<Text, _>(scope.key()))
    .get_result(conn)
    .await?;
    Ok(row.paused)
}

/// Keeps a breaker's state over a restart.
///
/// # Errors
/// When the database is away or refuses.
pub async fn save_gate(
    conn: &mut AsyncPgConnection,
    platform: Platform,
    gate: &Value,
) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO platform_state (platform, gate) VALUES ($1, $2) \
         ON CONFLICT (platform) DO UPDATE SET gate = EXCLUDED.gate, updated_at = now()",
    )
    .bind::<Text, _>(platform.as_str())
    .bind::<Jsonb, _>(gate)
    .execute(conn)
    .await?;
    Ok(())
}

/// The breaker's kept state of a platform.
///
/// # Errors
/// When the database is away or refuses.
pub async fn gate(conn: &mut AsyncPgConnection, platform: Platform) -> Result<Option<Value>, StoreError> {
    Ok(list(conn)
        .await?
        .into_iter()
        .find(|row| row.platform == platform.as_str())
        .and_then(|row| row.gate))
}

/// Counts a person's reset of a breaker, which other nodes follow; answers which one it is.
///
/// # Errors
/// When the database is away or refuses.
pub async fn count_reset(conn: &mut AsyncPgConnection, platform: Platform) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        resets: i64,
    }
    let row: Row = diesel::sql_query(
        "INSERT INTO platform_state (platform, resets) VALUES ($1, 1) \
         ON CONFLICT (platform) DO UPDATE SET resets = platform_state.resets + 1, updated_at = now() \
         RETURNING resets",
    )
    .bind::<Text, _>(platform.as_str())
    .get_result(conn)
    .await?;
    Ok(row.resets)
}

/// Counts `calls` against a platform's day unless more than `limit` would be used; answers whether they may be made.
///
/// # Errors
/// When the database is away or refuses.
pub async fn spend_budget(
    conn: &mut AsyncPgConnection,
    platform: Platform,
    day: NaiveDate,
    calls: u32,
    limit: u64,
) -> Result<bool, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    if i64::from(calls) > limit {
        return Ok(false);
    }
    let spent = diesel::sql_query(
        "INSERT INTO platform_state AS s (platform, budget_day, budget_used) VALUES ($1, $2, $3) \
         ON CONFLICT (platform) DO UPDATE SET budget_day = $2, updated_at = now(), \
             budget_used = CASE WHEN s.budget_day >= $2 THEN s.budget_used ELSE 0 END + $3 \
         WHERE CASE WHEN s.budget_day >= $2 THEN s.budget_used ELSE 0 END + $3 <= $4",
    )
    .bind::<Text, _>(platform.as_str())
    .bind::<Date, _>(day)
    .bind::<BigInt, _>(i64::from(calls))
    .bind::<BigInt, _>(limit)
    .execute(conn)
    .await?;
    Ok(spent > 0)
}
