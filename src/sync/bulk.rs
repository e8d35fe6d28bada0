//! Prices that go to a destination in one document, when there are more than its rate clears one by one.
//!
//! # Why no listing is forgotten, and no zero waits
//! - Only *prices* go by feed. A listing in a feed is not being pushed: its quantity goes at once, as ever, and so does a
//!   price that is not the feed's. [`super::plan`] leaves alone nothing but the very price that is on its way.
//! - A feed is a row, and each of its prices too ([`crate::store::bulk`]), written down before anything is sent; so is each
//!   step before the next one. Who dies between two steps is followed by somebody who reads the row.
//! - However a feed ends, each of its listings is read back and goes on by what is shown then. The report only says
//!   whether to look at once or when the destination has settled, and what to tell the operator.
//! - Handing in is the one step that must not be repeated. That it begins is written down; afterwards the destination is
//!   asked what was handed in since, and a feed that is nobody's there is ours.
//! - A listing goes into a feed by the decision that would have sent its price alone: never when it is held, paused or
//!   unsure, and it counts against the blast radius.
//!
//! ```text
//!  gathering ──close──▶ waiting ──upload──▶ uploaded ──begin──▶ submitting ──hand in──▶ submitted ──look──▶ ended ──▶ settled
//! ```
//!
//! The steps are taken beside the pushes, in a task of their own, and every request of theirs waits behind all that keeps
//! listings in line.

pub(super) mod decide;
mod drive;
mod gather;
mod settle;

use super::shared::Shared;
use crate::domain::Epoch;
use crate::store::{Connection as AsyncPgConnection, StoreError, bulk};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Takes the destination's feeds one step further; how long until that is worth while again.
///
/// # Errors
/// When the database is away or refuses: then the step is taken again.
pub(super) async fn turn(shared: Arc<Shared>, epoch: Epoch) -> Result<Duration, StoreError> {
    gather::gather(&shared, epoch).await?;
    let (feed, next) = {
        let mut conn = shared.db.conn().await?;
        bulk::due(&mut conn, shared.destination, shared.settings.sweep()).await?
    };
    let Some(feed) = feed else { return Ok(next) };
    drive::step(&shared, epoch, feed).await?;
    Ok(Duration::ZERO)
}

/// One transaction of the destination's owner; `None` when it is somebody else's by now, and nothing was written.
async fn write<T: Send + 'static>(
    shared: &Arc<Shared>,
    epoch: Epoch,
    work: impl for<'a> FnOnce(&'a Arc<Shared>, &'a mut AsyncPgConnection) -> BoxFuture<'a, Result<T, StoreError>>
    + Send
    + 'static,
) -> Result<Option<T>, StoreError> {
    let mine = Arc::clone(shared);
    shared
        .db
        .transaction(move |conn| {
            Box::pin(async move {
                if !mine.owns(conn, epoch).await? {
                    return Ok(None);
                }
                work(&mine, conn).await.map(Some)
            })
        })
        .await
}
