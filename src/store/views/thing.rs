//! Which of the numbers that a person named are nobody's.

use crate::store::StoreError;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use std::fmt;

/// What a number names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A product that is watched or paused.
    Product,
    /// A listing.
    Listing,
    /// A hold, decided or not.
    Hold,
    /// A job of the queue.
    Job,
    /// A recorded error, resolved or not.
    Error,
    /// An alert, over or not.
    Alert,
}

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Product => "product",
            Self::Listing => "listing",
            Self::Hold => "hold",
            Self::Job => "job",
            Self::Error => "error",
            Self::Alert => "alert",
        })
    }
}

/// Those of `ids` that are not there, in the order given.
///
/// # Errors
/// When the database is away or refuses.
pub async fn missing(
    conn: &mut AsyncPgConnection,
    thing: Thing,
    ids: &[i64],
) -> Result<Vec<i64>, StoreError> {
    #[derive(QueryableByName)]
    struct Missing {
        #[diesel(sql_type = BigInt)]
        id: i64,
    }
    let (table, key) = match thing {
        Thing::Product => ("inventory_management", "product_id"),
        Thing::Listing => ("listing_platforms", "id"),
        Thing::Hold => ("holds", "id"),
        Thing::Job => ("processing_queue", "id"),
        Thing::Error => ("inventory_errors", "id"),
        Thing::Alert => ("alerts", "id"),
    };
    let rows: Vec<Missing> = diesel::sql_query(format!(
        "SELECT n.id FROM unnest($1::bigint[]) WITH ORDINALITY AS n (id, place) \
         WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE t.{key} = n.id) ORDER BY n.place"
    ))
    .bind::<Array<BigInt>, _>(ids)
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}
