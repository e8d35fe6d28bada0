//! Pushes: taken, begun and settled.
//!
//! A push lives in three places: the job (a hint, held by a lease), the listing's row (`pushing_version`,
//! `push_deadline`, `last_sync_log_id`: the fence) and its `sync_log` row (what was sent and what became of it). They
//! move together: [`begin`] commits all three **before** a byte is sent, [`settle`] all three after the answer.
//!
//! **The fence.** A worker may answer late: it was stopped, its lease ran out, somebody else has pushed meanwhile. It
//! still owns its push exactly while the row's `last_sync_log_id` is the push's own; otherwise its result is kept in
//! the log and the listing is read back, because the late request may have overwritten a newer value over there.
//!
//! Locks are taken in the house's order: listing rows first, then jobs. [`claim`] skips rows that are locked instead of
//! waiting, so it cannot take part in a deadlock; what it skips it finds at its next look.

use super::StoreError;
use super::hot;
use super::listings::{self, COLUMNS, Listing, Record};
use super::text;
use super::wanted::enqueue_behind;
use crate::domain::{
    DestinationPlatform, JobId, ListingId, ListingState, Money, Quantity, SyncLogId, UnknownName, Version,
    names,
};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Bool, Date, Double, Integer, Jsonb, Nullable, Numeric, SmallInt, Text, Timestamptz,
    Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use std::{fmt, str::FromStr};
use uuid::Uuid;

names!(
    /// The `kind` of a `sync_log` row.
    PushKind {
        /// Quantity, price or both were set.
        Revise = "revise",
        /// The listing was ended.
        End = "end",
        /// It was listed again.
        Relist = "relist",
        /// It was read.
        Read = "read",
    }
);
names!(
    /// The `outcome` of a `sync_log` row.
    PushOutcome {
        /// Committed before it is sent; stays when the process dies.
        Sending = "sending",
        /// The destination took it.
        Accepted = "accepted",
        /// The destination refused what it says.
        Rejected = "rejected",
        /// It surely did not take effect.
        Failed = "failed",
        /// It may have taken effect.
        Unknown = "unknown",
        /// It was not sent: a person has to act.
        Held = "held",
    }
);

/// What a worker holds of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLease {
    /// The job.
    pub job: JobId,
    /// Counts how often the job was taken.
    pub attempt: i64,
    /// Drawn anew each time.
    pub token: Uuid,
}

/// A listing that somebody should look at, with its job; the row is locked until the transaction ends.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The row.
    pub listing: Listing,
    /// The job's lease.
    pub lease: PushLease,
    /// 1 to 10.
    pub priority: i16,
    /// Failed attempts so far.
    pub retries: i32,
    /// How many may fail.
    pub max_retries: i32,
}

/// A claim, and what the database says beside it.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The database's clock: leases are counted by it.
    pub now: DateTime<Utc>,
    /// What was taken, most urgent first.
    pub claimed: Vec<Claimed>,
    /// Jobs that were taken whose listings cannot be read; see [`give_up`].
    pub unreadable: Vec<Unreadable>,
}

/// A job about a row that holds what is none of our values.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The row.
    pub listing: ListingId,
    /// The job's lease.
    pub lease: PushLease,
    /// Which column, and what is wrong with it.
    pub error: String,
}

#[derive(QueryableByName)]
struct DueRecord {
    #[diesel(embed)]
    listing: Record,
    #[diesel(sql_type = BigInt)]
    job_id: i64,
    #[diesel(sql_type = SmallInt)]
    job_priority: i16,
    #[diesel(sql_type = Timestamptz)]
    now: DateTime<Utc>,
    /// So many workers have died with this job.
    #[diesel(sql_type = Integer)]
    deaths: i32,
    /// Another such job is in somebody's hands.
    #[diesel(sql_type = Bool)]
    suspect_under_way: bool,
    /// It has waited for long.
    #[diesel(sql_type = Bool)]
    late: bool,
}

#[derive(QueryableByName)]
struct LeaseRecord {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    attempt: i64,
    #[diesel(sql_type = Integer)]
    retry_count: i32,
    #[diesel(sql_type = Integer)]
    max_retries: i32,
}

/// Which jobs to take, and as whom.
#[derive(Clone, Debug)]
pub struct ClaimRequest<'a> {
    /// The lane.
    pub destination: DestinationPlatform,
    /// The least urgent priority to take.
    pub up_to_priority: i16,
    /// How many to look at.
    pub limit: u32,
    /// How long the jobs are held.
    pub lease: Duration,
    /// Who holds them.
    pub worker: &'a str,
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// Takes due jobs of one destination together with their listings, and locks the listings' rows.
///
/// Of those that are due, most urgent first, the ones that do not `fit` (asked with the listing, the job's priority and
/// the database's clock) stay as they are.
///
/// Nothing is taken while the destination or the whole daemon is paused (`platform_state`): looked at here, in the
/// transaction that leases, so that an emergency stop needs nobody's ear.
///
/// # Errors
/// When the database is away or refuses.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    request: &ClaimRequest<'_>,
    mut fits: impl FnMut(&Listing, i16, DateTime<Utc>) -> bool + Send,
) -> Result<Claim, StoreError> {
    let due: Vec<DueRecord> = hot(diesel::sql_query(format!(
        "SELECT {COLUMNS}, j.id AS job_id, j.priority AS job_priority, clock_timestamp() AS now, \
             cardinality(j.crashed_at) AS deaths, \
             EXISTS (SELECT 1 FROM processing_queue p WHERE p.queue_name = 'platform_sync' AND p.status = 'processing' \
                     AND COALESCE(p.destination, '') = $1 AND cardinality(p.crashed_at) > 0) AS suspect_under_way, \
             j.scheduled_at < clock_timestamp() - interval '10 seconds' AS late \
         FROM processing_queue j JOIN listing_platforms l ON l.id = j.listing_id \
         WHERE j.queue_name = 'platform_sync' AND COALESCE(j.destination, '') = $1 \
           AND j.status IN ('pending', 'failed') AND j.scheduled_at <= clock_timestamp() AND j.priority <= $2 \
           AND NOT EXISTS (SELECT 1 FROM platform_state s WHERE s.platform IN ('*', $1) AND s.paused) \
         ORDER BY j.priority, j.scheduled_at, j.id LIMIT $3 FOR NO KEY UPDATE OF l SKIP LOCKED"
    ))
    .bind::<Text, _>(request.destination.as_str())
    .bind::<SmallInt, _>(request.up_to_priority)
    .bind::<BigInt, _>(i64::from(request.limit)))
    .get_results(conn)
    .await?;
    let Some(now) = due.iter().map(|record| record.now).max() else {
        return Ok(Claim {
            now: DateTime::UNIX_EPOCH,
            claimed: Vec::new(),
            unreadable: Vec::new(),
        });
    };
    let mut chosen = Vec::with_capacity(due.len());
    for record in apart(due) {
        let (id, job, priority) = (record.listing.id(), record.job_id, record.job_priority);
        // One row that cannot be read must not keep the others waiting.
        let listing = Listing::try_from(record.listing).map_err(|error| (id, error.to_string()));
        if listing
            .as_ref()
            .map_or(true, |listing| fits(listing, priority, now))
        {
            chosen.push((job, priority, listing));
        }
    }
    let token = Uuid::now_v7();
    let leases: Vec<LeaseRecord> = hot(diesel::sql_query(
        // A number at its end begins anew: the token tells the attempts apart as well, and an overflow would fail for all.
        "UPDATE processing_queue SET status = 'processing', lease_token = $2, \
             attempt = CASE WHEN attempt < 9223372036854775807 THEN attempt + 1 ELSE 1 END, \
             lease_until = clock_timestamp() + make_interval(secs => $3), worker_id = $4, \
             started_at = clock_timestamp() \
         WHERE id = ANY($1) AND status IN ('pending', 'failed') \
         RETURNING id, attempt, retry_count, max_retries",
    )
    .bind::<Array<BigInt>, _>(chosen.iter().map(|(job, _, _)| *job).collect::<Vec<_>>())
    .bind::<SqlUuid, _>(token)
    .bind::<Double, _>(seconds(request.lease))
    .bind::<Text, _>(request.worker))
    .get_results(conn)
    .await?;
    let mut claim = Claim {
        now,
        claimed: Vec::with_capacity(leases.len()),
        unreadable: Vec::new(),
    };
    for (job, priority, listing) in chosen {
        let Some(row) = leases.iter().find(|l| l.id == job) else {
            continue;
        };
        let lease = PushLease {
            job: JobId(row.id),
            attempt: row.attempt,
            token,
        };
        match listing {
            Ok(listing) => claim.claimed.push(Claimed {
                listing,
                lease,
                priority,
                retries: row.retry_count,
                max_retries: row.max_retries,
            }),
            Err((listing, error)) => claim.unreadable.push(Unreadable {
                listing,
                lease,
                error,
            }),
        }
    }
    Ok(claim)
}

/// Keeps jobs that a worker has died with away from the others: should one of them be what kills, it must not take those
/// beside it along, whose deaths would be counted too.
///
/// Those of one death go together, in their turn: all that was in hand when a process ended must not wait for each other,
/// or whoever pulls the plug makes a shop late. Should one of them kill again, each goes alone, when no other is due or
/// when it has waited for long, and only the guilty one is there at the third. While any are in hand, the others wait.
fn apart(mut due: Vec<DueRecord>) -> Vec<DueRecord> {
    if due.iter().any(|record| record.suspect_under_way) {
        due.retain(|record| record.deaths == 0);
        return due;
    }
    let alone = due.iter().position(|record| record.deaths > 1 && record.late);
    let alone = alone.or_else(|| due.iter().all(|record| record.deaths > 1).then_some(0));
    if let Some(at) = alone.filter(|at| *at < due.len()) {
        return vec![due.swap_remove(at)];
    }
    let first = due.iter().map(|record| record.deaths).find(|deaths| *deaths < 2);
    due.retain(|record| Some(record.deaths) == first);
    due
}

/// Makes dead letters of jobs whose listings cannot be read. No other job is made for them until a person has mended the
/// row: the sweep cannot read it either.
///
/// # Errors
/// When the database is away or refuses.
pub async fn give_up(conn: &mut AsyncPgConnection, unreadable: &[Unreadable]) -> Result<(), StoreError> {
    let jobs: Vec<(PushLease, JobEnd)> = unreadable
        .iter()
        .map(|job| {
            let error = job.error.clone();
            (job.lease, JobEnd::Dead { error })
        })
        .collect();
    if !jobs.is_empty() {
        end_jobs(conn, &jobs.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// How long until the next job of a destination is due; `None` when there is none. Not more than `at_most`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn next_due(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    at_most: Duration,
) -> Result<Duration, StoreError> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Nullable<Double>)]
        seconds: Option<f64>,
    }
    let row: Row = hot(diesel::sql_query(
        "SELECT extract(epoch FROM min(scheduled_at) - clock_timestamp())::float8 AS seconds FROM processing_queue \
         WHERE isfinite(scheduled_at) AND queue_name = 'platform_sync' AND COALESCE(destination, '') = $1 AND status IN ('pending', 'failed')",
    )
    .bind::<Text, _>(destination.as_str()))
    .get_result(conn)
    .await?;
    let due = row
        .seconds
        .map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::ZERO));
    Ok(due.unwrap_or(at_most).min(at_most))
}

/// Puts back every job of a destination's lane that somebody else than `worker` holds.
///
/// Called by its only consumer, when it starts and from time to time. Whoever held them is gone; a transaction that he had begun may have been committed
/// after his end. What his requests may still do is guarded by `push_deadline`.
///
/// # Errors
/// When the database is away or refuses.
pub async fn take_over(
    conn: &mut AsyncPgConnection,
    destination: DestinationPlatform,
    worker: &str,
) -> Result<usize, StoreError> {
    let back = hot(diesel::sql_query(
        "UPDATE processing_queue SET status = 'pending', lease_token = NULL, lease_until = NULL \
         WHERE queue_name = 'platform_sync' AND destination = $1 AND status = 'processing' AND worker_id <> $2",
    )
    .bind::<Text, _>(destination.as_str())
    .bind::<Text, _>(worker))
    .execute(conn)
    .await?;
    Ok(back)
}

/// A request that is about to be sent.
#[derive(Clone, Debug)]
pub struct Begin {
    /// The listing; its row is locked.
    pub listing: Listing,
    /// What is asked of the destination.
    pub kind: PushKind,
    /// The quantity that is sent.
    pub quantity: Option<Quantity>,
    /// The price that is sent.
    pub price: Option<Money>,
    /// The destination must be read once this is answered.
    pub read_back: bool,
    /// The revisions counted with this one: day and count. `None` for a read.
    pub revisions: Option<(NaiveDate, u32)>,
}

#[derive(QueryableByName)]
struct LogRecord {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    listing_id: i64,
}

/// Writes down what is about to be sent: a `sync_log` row, the version under way and the moment after which the request
/// can no longer be sent. Answers each listing's log id, the push's fence.
///
/// # Errors
/// When the database is away or refuses.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    pushes: &[Begin],
    limit: Duration,
) -> Result<Vec<(ListingId, SyncLogId)>, StoreError> {
    if pushes.is_empty() {
        return Ok(Vec::new());
    }
    let price = |money: Option<Money>| money.map(Money::amount);
    let cause = |p: &Begin| p.listing.wanted_cause.clone().unwrap_or(Value::Null);
    // Cut out of the cause, so that the delay from page to answer is one subtraction. Here and not by a cast: what cannot
    // be read would fail the whole statement.
    let fetched_at = |p: &Begin| -> Option<DateTime<Utc>> {
        p.listing
            .wanted_cause
            .as_ref()?
            .get("fetched_at")?
            .as_str()?
            .parse()
            .ok()
    };
    let logs: Vec<LogRecord> = hot(diesel::sql_query(
        "INSERT INTO sync_log (listing_id, platform, wanted_version, old_quantity, new_quantity, old_price, new_price, \
             currency, kind, cause, outcome, fetched_at) \
         SELECT l.id, l.platform, l.wanted_version, l.current_quantity, i.quantity, l.listed_price, i.price, \
             l.currency, i.kind, i.cause, 'sending', i.fetched_at \
         FROM unnest($1::bigint[], $2::int[], $3::numeric[], $4::text[], $5::jsonb[], $6::timestamptz[]) \
              AS i (id, quantity, price, kind, cause, fetched_at) JOIN listing_platforms l ON l.id = i.id \
         RETURNING id, listing_id",
    )
    .bind::<Array<BigInt>, _>(pushes.iter().map(|p| p.listing.id().0).collect::<Vec<_>>())
    .bind::<Array<Nullable<Integer>>, _>(
        pushes
            .iter()
            .map(|p| p.quantity.map(Quantity::as_i32))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Numeric>>, _>(pushes.iter().map(|p| price(p.price)).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(pushes.iter().map(|p| p.kind.as_str()).collect::<Vec<_>>())
    .bind::<Array<Jsonb>, _>(pushes.iter().map(cause).collect::<Vec<_>>())
    .bind::<Array<Nullable<Timestamptz>>, _>(pushes.iter().map(fetched_at).collect::<Vec<_>>()))
    .get_results(conn)
    .await?;
    let log_of = |id: ListingId| logs.iter().find(|l| l.listing_id == id.0).map(|l| l.id);
    hot(diesel::sql_query(
        "UPDATE listing_platforms l \
         SET last_sync_log_id = i.log, needs_read_back = l.needs_read_back OR i.read_back, sync_queue_status = 'processing', \
             pushing_version = CASE WHEN i.write THEN l.wanted_version ELSE l.pushing_version END, \
             push_deadline = CASE WHEN i.write THEN clock_timestamp() + make_interval(secs => $7) \
                                  ELSE l.push_deadline END, \
             revisions_day = COALESCE(i.day, l.revisions_day), revisions = COALESCE(i.revisions, l.revisions) \
         FROM unnest($1::bigint[], $2::bigint[], $3::bool[], $4::bool[], $5::date[], $6::int[]) \
              AS i (id, log, write, read_back, day, revisions) \
         WHERE l.id = i.id",
    )
    .bind::<Array<BigInt>, _>(pushes.iter().map(|p| p.listing.id().0).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(
        pushes
            .iter()
            .map(|p| log_of(p.listing.id()))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Bool>, _>(
        pushes
            .iter()
            .map(|p| p.kind != PushKind::Read)
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Bool>, _>(pushes.iter().map(|p| p.read_back).collect::<Vec<_>>())
    .bind::<Array<Nullable<Date>>, _>(
        pushes
            .iter()
            .map(|p| p.revisions.map(|(day, _)| day))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Integer>>, _>(
        pushes
            .iter()
            .map(|p| p.revisions.map(|(_, n)| i32::try_from(n).unwrap_or(i32::MAX)))
            .collect::<Vec<_>>(),
    )
    .bind::<Double, _>(seconds(limit)))
    .execute(conn)
    .await?;
    Ok(logs
        .iter()
        .map(|l| (ListingId(l.listing_id), SyncLogId(l.id)))
        .collect())
}

/// What becomes of the job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEnd {
    /// Nothing is left to do.
    Done,
    /// Look again after so long, at this priority; uses up no attempt.
    Again {
        /// How long to wait.
        after: Duration,
        /// 1 to 10.
        priority: i16,
    },
    /// This attempt failed; another one after so long, at this priority.
    Retry {
        /// How long to wait.
        after: Duration,
        /// 1 to 10.
        priority: i16,
        /// What happened.
        error: String,
    },
    /// A person has to look: the dead letters.
    Dead {
        /// What happened.
        error: String,
    },
}

impl JobEnd {
    fn status(&self) -> &'static str {
        match self {
            Self::Done => "completed",
            Self::Again { .. } => "pending",
            Self::Retry { .. } => "failed",
            Self::Dead { .. } => "dead",
        }
    }

    fn after(&self) -> f64 {
        match self {
            Self::Again { after, .. } | Self::Retry { after, .. } => seconds(*after),
            Self::Done | Self::Dead { .. } => 0.0,
        }
    }

    fn priority(&self) -> Option<i16> {
        match self {
            Self::Again { priority, .. } | Self::Retry { priority, .. } => Some(*priority),
            _ => None,
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Retry { error, .. } | Self::Dead { error } => Some(error),
            _ => None,
        }
    }
}

/// A listing set aside for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct ListingHold {
    /// The reason's name, for the row and the hold.
    pub reason: &'static str,
    /// What was seen and what it is measured against.
    pub detail: Value,
}

/// What one answer changes, written by [`settle`].
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The listing; its row is locked.
    pub listing: ListingId,
    /// What the destination confirmed; `None` changes nothing.
    pub confirmed: Option<ListingState>,
    /// The newest wanted version that is confirmed whole; `None` changes nothing.
    pub synced: Option<Version>,
    /// Whether the push is over (its request can no longer act).
    pub over: bool,
    /// Whether the destination must be read.
    pub needs_read_back: bool,
    /// Sets the listing aside.
    pub hold: Option<ListingHold>,
    /// Whatever is under way is not to be trusted any more: this late push may have been applied in between, so every
    /// push begun before now counts as overtaken.
    pub breaks_fence: bool,
    /// Nothing may be revised any more on this Pacific day, the destination says.
    pub exhausted: Option<(NaiveDate, u32)>,
    /// The Pacific day that gets the push's revision back, unless another day has begun. Given back once, however often
    /// the same answer is settled.
    pub refund: Option<NaiveDate>,
    /// The `sync_log` row and its end: outcome and error.
    pub log: Option<(SyncLogId, PushOutcome, Option<Value>)>,
    /// The job and its end.
    pub job: (PushLease, JobEnd),
}

/// Writes what answers changed. The listings' rows must be locked; jobs are finished only where the lease is still held.
///
/// # Errors
/// When the database is away or refuses.
pub async fn settle(
    conn: &mut AsyncPgConnection,
    settlements: &[Settlement],
    today: NaiveDate,
) -> Result<(), StoreError> {
    if settlements.is_empty() {
        return Ok(());
    }
    settle_listings(conn, settlements, today).await?;
    settle_logs(conn, settlements).await?;
    settle_jobs(conn, settlements).await?;
    for settlement in settlements {
        if let Some(hold) = &settlement.hold {
            listings::hold(conn, settlement.listing, hold).await?;
        }
    }
    Ok(())
}

async fn settle_listings(
    conn: &mut AsyncPgConnection,
    settlements: &[Settlement],
    today: NaiveDate,
) -> Result<(), StoreError> {
    let confirmed = |s: &Settlement| s.confirmed;
    hot(diesel::sql_query(
        "UPDATE listing_platforms l \
         SET listing_status = COALESCE(i.status, l.listing_status), \
             current_quantity = COALESCE(i.quantity, l.current_quantity), \
             day_price = CASE WHEN i.status IS NULL OR l.day_price_on = $10 THEN l.day_price \
                              ELSE COALESCE(l.listed_price, i.price) END, \
             day_price_on = CASE WHEN i.status IS NULL THEN l.day_price_on ELSE $10 END, \
             listed_price = CASE WHEN i.status IS NULL THEN l.listed_price ELSE i.price END, \
             last_synced_at = CASE WHEN i.status IS NULL THEN l.last_synced_at ELSE clock_timestamp() END, \
             synced_version = LEAST(COALESCE(i.synced, l.synced_version), l.wanted_version), \
             pushing_version = CASE WHEN i.over THEN NULL ELSE l.pushing_version END, \
             push_deadline = CASE WHEN i.over THEN NULL ELSE l.push_deadline END, \
             needs_read_back = i.read_back, \
             revisions_day = COALESCE(i.day, l.revisions_day), \
             revisions = CASE WHEN i.revisions IS NOT NULL THEN i.revisions \
                              WHEN i.refund = l.revisions_day AND EXISTS (SELECT 1 FROM sync_log s \
                                   WHERE s.id = i.log AND s.outcome = 'sending') THEN GREATEST(l.revisions - 1, 0) \
                              ELSE l.revisions END, \
             last_sync_log_id = COALESCE(i.fence, l.last_sync_log_id), \
             sync_queue_status = i.queue, updated_at = now() \
         FROM unnest($1::bigint[], $2::text[], $3::int[], $4::numeric[], $5::bigint[], $6::bool[], $7::bool[], \
                     $8::date[], $9::int[], $11::text[], $12::bigint[], $13::date[], $14::bigint[]) \
              AS i (id, status, quantity, price, synced, over, read_back, day, revisions, queue, fence, refund, log) \
         WHERE l.id = i.id",
    )
    .bind::<Array<BigInt>, _>(settlements.iter().map(|s| s.listing.0).collect::<Vec<_>>())
    .bind::<Array<Nullable<Text>>, _>(
        settlements
            .iter()
            .map(|s| confirmed(s).map(|c| c.status.as_str()))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Integer>>, _>(
        settlements
            .iter()
            .map(|s| confirmed(s).map(|c| c.quantity.as_i32()))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Numeric>>, _>(
        settlements
            .iter()
            .map(|s| confirmed(s).and_then(|c| c.price).map(Money::amount))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<BigInt>>, _>(
        settlements
            .iter()
            .map(|s| s.synced.map(|v| v.0))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Bool>, _>(settlements.iter().map(|s| s.over).collect::<Vec<_>>())
    .bind::<Array<Bool>, _>(
        settlements
            .iter()
            .map(|s| s.needs_read_back)
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Date>>, _>(
        settlements
            .iter()
            .map(|s| s.exhausted.map(|(day, _)| day))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Integer>>, _>(
        settlements
            .iter()
            .map(|s| s.exhausted.map(|(_, n)| i32::try_from(n).unwrap_or(i32::MAX)))
            .collect::<Vec<_>>(),
    )
    .bind::<Date, _>(today)
    .bind::<Array<Text>, _>(
        settlements
            .iter()
            .map(|s| match s.job.1 {
                JobEnd::Done | JobEnd::Dead { .. } => "idle",
                JobEnd::Again { .. } | JobEnd::Retry { .. } => "queued",
            })
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<BigInt>>, _>(
        settlements
            .iter()
            .map(|s| s.log.as_ref().filter(|_| s.breaks_fence).map(|(id, _, _)| id.0))
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Date>>, _>(settlements.iter().map(|s| s.refund).collect::<Vec<_>>())
    .bind::<Array<Nullable<BigInt>>, _>(
        settlements
            .iter()
            .map(|s| s.log.as_ref().map(|(id, _, _)| id.0))
            .collect::<Vec<_>>(),
    ))
    .execute(conn)
    .await?;
    Ok(())
}

async fn settle_logs(conn: &mut AsyncPgConnection, settlements: &[Settlement]) -> Result<(), StoreError> {
    let logs: Vec<_> = settlements.iter().filter_map(|s| s.log.as_ref()).collect();
    if logs.is_empty() {
        return Ok(());
    }
    hot(diesel::sql_query(
        "UPDATE sync_log s SET outcome = i.outcome, error = i.error, answered_at = clock_timestamp() \
         FROM unnest($1::bigint[], $2::text[], $3::jsonb[]) AS i (id, outcome, error) WHERE s.id = i.id",
    )
    .bind::<Array<BigInt>, _>(logs.iter().map(|(id, _, _)| id.0).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(
        logs.iter()
            .map(|(_, outcome, _)| outcome.as_str())
            .collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Jsonb>>, _>(
        logs.iter()
            .map(|(_, _, error)| error.clone().map(text::json))
            .collect::<Vec<_>>(),
    ))
    .execute(conn)
    .await?;
    Ok(())
}

async fn settle_jobs(conn: &mut AsyncPgConnection, settlements: &[Settlement]) -> Result<(), StoreError> {
    let jobs: Vec<&(PushLease, JobEnd)> = settlements.iter().map(|s| &s.job).collect();
    let ended = end_jobs(conn, &jobs).await?;
    // A lease that was lost: whoever holds the job now has read the row before this result; make sure somebody looks.
    let lost: Vec<ListingId> = settlements
        .iter()
        .map(|s| s.listing)
        .filter(|listing| !ended.contains(listing))
        .collect();
    enqueue_behind(conn, &lost).await?;
    Ok(())
}

/// Ends jobs whose leases are still held; answers whose they are.
async fn end_jobs(
    conn: &mut AsyncPgConnection,
    jobs: &[&(PushLease, JobEnd)],
) -> Result<Vec<ListingId>, StoreError> {
    let ended: Vec<listings::Id> = hot(diesel::sql_query(
        "UPDATE processing_queue j \
         SET status = i.status, lease_token = NULL, lease_until = NULL, \
             completed_at = CASE WHEN i.status IN ('completed', 'dead') THEN clock_timestamp() END, \
             scheduled_at = clock_timestamp() + make_interval(secs => i.after), \
             priority = COALESCE(i.priority, j.priority), \
             retry_count = CASE i.status WHEN 'failed' THEN j.retry_count + 1 WHEN 'completed' THEN j.retry_count \
                                         ELSE j.retry_count END, \
             error_message = COALESCE(i.error, CASE WHEN i.status = 'completed' THEN NULL ELSE j.error_message END) \
         FROM unnest($1::bigint[], $2::bigint[], $3::uuid[], $4::text[], $5::float8[], $6::smallint[], $7::text[]) \
              AS i (id, attempt, token, status, after, priority, error) \
         WHERE j.id = i.id AND j.attempt = i.attempt AND j.lease_token = i.token RETURNING j.listing_id AS id",
    )
    .bind::<Array<BigInt>, _>(jobs.iter().map(|(l, _)| l.job.0).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(jobs.iter().map(|(l, _)| l.attempt).collect::<Vec<_>>())
    .bind::<Array<SqlUuid>, _>(jobs.iter().map(|(l, _)| l.token).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(jobs.iter().map(|(_, e)| e.status()).collect::<Vec<_>>())
    .bind::<Array<Double>, _>(jobs.iter().map(|(_, e)| e.after()).collect::<Vec<_>>())
    .bind::<Array<Nullable<SmallInt>>, _>(
        jobs.iter().map(|(_, e)| e.priority()).collect::<Vec<_>>(),
    )
    .bind::<Array<Nullable<Text>>, _>(
        jobs.iter()
            .map(|(_, e)| e.error().map(text::text))
            .collect::<Vec<_>>(),
    ))
    .get_results(conn)
    .await?;
    Ok(ended.into_iter().map(|row| ListingId(row.id)).collect())
}
