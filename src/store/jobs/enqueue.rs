//! Putting work into the queue, in the caller's own transaction.

use super::{Lane, QueueName};
use crate::domain::{JobId, ListingId, ProductId, RegistrationId};
use crate::store::{StoreError, hot};
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use uuid::Uuid;

/// A job to be.
#[derive(Clone, Debug, PartialEq)]
pub struct NewJob {
    /// Queue and destination.
    pub lane: Lane,
    /// The product it is about.
    pub product_id: Option<ProductId>,
    /// The listing it is about.
    pub listing_id: Option<ListingId>,
    /// 1 (first) to 10 (last): high 1–3, normal 4–6, low 7–10.
    pub priority: i16,
    /// What the worker needs to know beside the ids.
    pub payload: serde_json::Value,
    /// Not before this moment; `None` is now, by the database's clock.
    pub scheduled_at: Option<DateTime<Utc>>,
    /// The intent: while a job with this key is unfinished, another one only makes it more urgent.
    pub unique_key: Option<String>,
    /// Retries after the first try.
    pub max_retries: i32,
    /// The execution it belongs to.
    pub execution_id: Option<Uuid>,
}

impl NewJob {
    /// A job of normal priority, due now, with three retries.
    #[must_use]
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            product_id: None,
            listing_id: None,
            priority: 5,
            payload: serde_json::json!({}),
            scheduled_at: None,
            unique_key: None,
            max_retries: 3,
            execution_id: None,
        }
    }

    /// "List this product for the first time": one at a time per registration, behind what keeps listings in line.
    #[must_use]
    pub fn register(lane: Lane, product: ProductId, registration: RegistrationId) -> Self {
        Self {
            product_id: Some(product),
            priority: 7,
            payload: serde_json::json!({ "registration": registration }),
            unique_key: Some(format!("{}:{registration}", QueueName::ProductRegistration)),
            ..Self::new(lane)
        }
    }

    /// "Bring this listing up to what is wanted": one at a time per listing.
    #[must_use]
    pub fn sync_listing(lane: Lane, product: ProductId, listing: ListingId, priority: i16) -> Self {
        Self {
            product_id: Some(product),
            listing_id: Some(listing),
            priority,
            unique_key: Some(format!("{}:{listing}", QueueName::PlatformSync)),
            ..Self::new(lane)
        }
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// Enqueues `jobs`, inside whatever transaction `conn` is in.
///
/// Answers the ids of the rows that now stand for them: first of those without a key, then in the order of the keys (a row
/// can stand for several). A job whose key is waiting already takes the more urgent priority and the earlier moment
/// of the two, so a waiting price job never swallows a zero.
///
/// # Errors
/// [`StoreError::Query`] when a priority is outside 1 to 10 or a listing does not exist.
pub async fn enqueue(conn: &mut AsyncPgConnection, jobs: &[NewJob]) -> Result<Vec<JobId>, StoreError> {
    let (keyed, plain): (Vec<&NewJob>, Vec<&NewJob>) = jobs.iter().partition(|job| job.unique_key.is_some());
    let mut ids = if plain.is_empty() {
        Vec::new()
    } else {
        insert(conn, PLAIN, &plain).await?
    };
    if !keyed.is_empty() {
        let mut keyed = merged(&keyed);
        // two callers with the same keys in another order would deadlock on the unique index
        keyed.sort_by(|a, b| a.unique_key.cmp(&b.unique_key));
        let keyed: Vec<&NewJob> = keyed.iter().collect();
        ids.extend(insert(conn, KEYED, &keyed).await?);
    }
    Ok(ids)
}

/// For jobs without a key: an insert that may meet a conflict writes each row twice into the log.
const PLAIN: &str = "INSERT INTO processing_queue (queue_name, destination, product_id, listing_id, priority, payload, \
     scheduled_at, unique_key, max_retries, execution_id) \
     SELECT queue_name, destination, product_id, listing_id, priority, payload, COALESCE(scheduled_at, now()), \
     unique_key, max_retries, execution_id \
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS new (queue_name, destination, product_id, listing_id, \
     priority, payload, scheduled_at, unique_key, max_retries, execution_id) RETURNING id";
const KEYED: &str = "INSERT INTO processing_queue AS q (queue_name, destination, product_id, listing_id, priority, payload, \
     scheduled_at, unique_key, max_retries, execution_id) \
     SELECT queue_name, destination, product_id, listing_id, priority, payload, COALESCE(scheduled_at, now()), \
     unique_key, max_retries, execution_id \
     FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS new (queue_name, destination, product_id, listing_id, \
     priority, payload, scheduled_at, unique_key, max_retries, execution_id) \
     ON CONFLICT (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'processing', 'failed') \
     DO UPDATE SET priority = LEAST(q.priority, excluded.priority), \
     scheduled_at = LEAST(q.scheduled_at, excluded.scheduled_at), \
     execution_id = COALESCE(q.execution_id, excluded.execution_id) \
     RETURNING q.id";

async fn insert(
    conn: &mut AsyncPgConnection,
    statement: &'static str,
    jobs: &[&NewJob],
) -> Result<Vec<JobId>, StoreError> {
    let statement = diesel::sql_query(statement)
        .bind::<Array<Text>, _>(column(jobs, |j| j.lane.queue.as_str()))
        .bind::<Array<Nullable<Text>>, _>(column(jobs, |j| j.lane.destination.map(|d| d.as_str())))
        .bind::<Array<Nullable<BigInt>>, _>(column(jobs, |j| j.product_id.map(|id| id.0)))
        .bind::<Array<Nullable<BigInt>>, _>(column(jobs, |j| j.listing_id.map(|id| id.0)))
        .bind::<Array<SmallInt>, _>(column(jobs, |j| j.priority))
        .bind::<Array<Jsonb>, _>(column(jobs, |j| &j.payload))
        .bind::<Array<Nullable<Timestamptz>>, _>(column(jobs, |j| j.scheduled_at))
        .bind::<Array<Nullable<Text>>, _>(column(jobs, |j| j.unique_key.as_deref()))
        .bind::<Array<Integer>, _>(column(jobs, |j| j.max_retries))
        .bind::<Array<Nullable<SqlUuid>>, _>(column(jobs, |j| j.execution_id));
    let rows: Vec<Id> = hot(statement).load(conn).await?;
    Ok(rows.into_iter().map(|row| JobId(row.id)).collect())
}

fn column<'a, T>(jobs: &[&'a NewJob], of: impl Fn(&'a NewJob) -> T) -> Vec<T> {
    jobs.iter().map(|job| of(job)).collect()
}

/// One statement must not meet the same key twice, so jobs of one key become one first, by the same rule as in the table.
fn merged(jobs: &[&NewJob]) -> Vec<NewJob> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut kept: Vec<NewJob> = Vec::with_capacity(jobs.len());
    for job in jobs {
        let twin = match job.unique_key.as_deref().map(|key| places.entry(key)) {
            Some(Entry::Occupied(place)) => kept.get_mut(*place.get()),
            Some(Entry::Vacant(place)) => {
                place.insert(kept.len());
                None
            }
            None => None,
        };
        match twin {
            Some(twin) => {
                twin.priority = twin.priority.min(job.priority);
                // `None` is now, the earliest there is
                twin.scheduled_at = twin.scheduled_at.min(job.scheduled_at);
            }
            None => kept.push((*job).clone()),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DestinationPlatform;

    fn job(key: Option<&str>, priority: i16, at: Option<i64>) -> NewJob {
        NewJob {
            unique_key: key.map(str::to_owned),
            priority,
            scheduled_at: at.map(|s| DateTime::from_timestamp(s, 0).unwrap()),
            ..NewJob::new(Lane::sync(DestinationPlatform::Ebay))
        }
    }

    #[test]
    fn jobs_of_one_key_become_the_most_urgent_of_them() {
        let given = [
            job(Some("a"), 5, Some(100)),
            job(None, 9, None),
            job(Some("a"), 7, None),
            job(Some("b"), 3, None),
            job(Some("a"), 1, Some(50)),
            job(None, 9, None),
        ];
        let all = merged(&given.iter().collect::<Vec<_>>());
        let seen: Vec<_> = all
            .iter()
            .map(|j| (j.unique_key.as_deref(), j.priority, j.scheduled_at))
            .collect();
        assert_eq!(
            seen,
            [
                (Some("a"), 1, None),
                (None, 9, None),
                (Some("b"), 3, None),
                (None, 9, None)
            ]
        );
    }
}
