//! The end of a feed: every listing of it goes on by itself.

use super::super::shared::Shared;
use super::decide::{issue, outcome, outcome_of_all};
use super::write;
use crate::domain::{BulkFeedId, Epoch, ListingId, Platform};
use crate::platform::bulk::BulkReport;
use crate::store::StoreError;
use crate::store::bulk::{self, Feed, FeedResult, FeedState, ItemOutcome, Settled};
use crate::store::errors::{self, ErrorRecord, ErrorType, Severity};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Listings that one transaction locks.
const TOGETHER: usize = 250;

/// Takes prices out of a feed that has not been sent: their listings go on at once. `false` when the destination is
/// somebody else's by now.
///
/// # Errors
/// When the database is away or refuses.
pub(super) async fn leave_out(
    shared: &Arc<Shared>,
    epoch: Epoch,
    feed: BulkFeedId,
    left: Vec<(i32, ListingId)>,
) -> Result<bool, StoreError> {
    for some in left.chunks(TOGETHER) {
        let settled = some.iter().map(|(message, listing)| Settled {
            message: *message,
            listing: *listing,
            outcome: ItemOutcome::LeftOut,
            error: None,
        });
        let settled: Vec<Settled> = settled.collect();
        let written = write(shared, epoch, move |_, conn| {
            Box::pin(async move { bulk::settle(conn, feed, &settled, Duration::ZERO).await })
        });
        if written.await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives every open price its outcome, some at a time, and closes the feed.
///
/// # Errors
/// When the database is away or refuses: what is open then is settled with the next try.
pub(super) async fn settle(
    shared: &Arc<Shared>,
    epoch: Epoch,
    feed: Feed,
    result: FeedResult,
    report: Option<BulkReport>,
) -> Result<(), StoreError> {
    let (id, handed_in) = (feed.id, feed.submitted_at.is_some());
    let of_all = outcome_of_all(result, handed_in);
    let report = Arc::new(report);
    loop {
        let report = Arc::clone(&report);
        let written = write(shared, epoch, move |shared, conn| {
            let wait = shared.outlet.settles_within();
            Box::pin(async move {
                let open = bulk::open_messages(conn, id, TOGETHER).await?;
                let settled = open.iter().map(|(message, listing)| {
                    let (outcome, error) = match &*report {
                        Some(report) => outcome(report, *message),
                        None => (of_all, None),
                    };
                    Settled {
                        message: *message,
                        listing: *listing,
                        outcome,
                        error,
                    }
                });
                let settled: Vec<Settled> = settled.collect();
                bulk::settle(conn, id, &settled, wait).await?;
                Ok(open.len() < TOGETHER)
            })
        });
        fail::fail_point!("bulk_settling");
        match written.await? {
            None => return Ok(()),
            Some(true) => break,
            Some(false) => {}
        }
    }
    let said = report.as_ref().as_ref().filter(|read| !read.said.is_empty());
    let said = said.map(|read| Value::Array(read.said.iter().map(|text| issue(text)).collect()));
    let refused = report.as_ref().as_ref().map_or(0, |read| read.refused.len());
    let closed = Feed {
        state: FeedState::Settled,
        said,
        ..feed
    };
    write(shared, epoch, move |shared, conn| {
        let shared = Arc::clone(shared);
        Box::pin(async move {
            bulk::save(conn, &closed, Duration::ZERO).await?;
            match trouble(&shared, &closed, result, refused) {
                Some(record) => errors::record(conn, &record).await.map(drop),
                None => Ok(()),
            }
        })
    })
    .await
    .map(drop)
}

/// What a person should find among the errors: a feed that did not go well.
fn trouble(shared: &Shared, feed: &Feed, result: FeedResult, refused: usize) -> Option<ErrorRecord> {
    if result == FeedResult::Done && refused == 0 {
        return None;
    }
    let (platform, id) = (Platform::from(shared.destination), feed.id);
    let why = feed
        .error
        .as_ref()
        .map_or(String::new(), |(_, why)| format!(": {why}"));
    let message = match result {
        FeedResult::Done => format!(
            "{platform} refused {refused} of the {} prices of feed `{id}`; they are sent one by one, and held where they \
             are refused again: see `zaikoban listings bulk`",
            feed.sent.unwrap_or(0)
        ),
        other => format!(
            "Feed `{id}` of {} prices to {platform} ended as `{other}`{why}; each of its listings goes on by what is shown \
             of it: see `zaikoban listings bulk`",
            feed.items
        ),
    };
    Some(ErrorRecord {
        error_type: ErrorType::ApiError,
        code: Some(format!("bulk_{result}")),
        message,
        product_id: None,
        platform: Some(platform),
        severity: Severity::Medium,
        fingerprint: format!("sync {platform} bulk_{result}"),
        details: Some(json!({ "feed": id, "feed_id": feed.feed, "error": feed.error, "refused": refused })),
    })
}
