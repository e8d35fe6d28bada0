//! The steps of one feed. Each reads the row, asks the destination at most for one thing, and writes down what came of it.

use super::super::shared::Shared;
use super::decide::{
    self, After, CLOCKS_APART, Looked, after, is_enough, is_given_up, is_lost, is_too_old, looked,
};
use super::settle::{leave_out, settle};
use super::write;
use crate::domain::Epoch;
use crate::platform::PlatformError;
use crate::platform::bulk::{BulkPrice, Kinds};
use crate::platform::gateway::BulkGateway;
use crate::store::StoreError;
use crate::store::bulk::{self, Feed, FeedResult, FeedState, Item};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// How soon the destination's list is asked again for a feed of which nobody knows whether it was handed in.
const LIST_AGAIN: Duration = Duration::from_secs(45);

/// Takes a feed one step further.
///
/// # Errors
/// When the database is away or refuses; the step is taken again then.
pub(super) async fn step(shared: &Arc<Shared>, epoch: Epoch, feed: Feed) -> Result<(), StoreError> {
    let Some(gateway) = shared.bulk.clone() else {
        return Ok(());
    };
    let drive = Drive {
        shared,
        epoch,
        gateway,
    };
    match feed.state {
        FeedState::Gathering | FeedState::Settled => Ok(()),
        FeedState::Waiting if is_too_old(feed.created_at, feed.now) => {
            drive.over(feed, FeedResult::Late).await
        }
        FeedState::Uploaded if is_too_old(feed.created_at, feed.now) => {
            drive.over(feed, FeedResult::Late).await
        }
        FeedState::Submitting | FeedState::Submitted if is_given_up(feed.submitted_at, feed.now) => {
            drive.over(feed, FeedResult::Late).await
        }
        FeedState::Ended
            if feed.result == Some(FeedResult::Done) && is_given_up(feed.submitted_at, feed.now) =>
        {
            drive.over(feed, FeedResult::Unreadable).await
        }
        FeedState::Waiting => drive.upload(feed).await,
        FeedState::Uploaded => drive.submit(feed).await,
        FeedState::Submitting => drive.find(feed).await,
        FeedState::Submitted => drive.look(feed).await,
        FeedState::Ended => drive.end(feed).await,
    }
}

struct Drive<'a> {
    shared: &'a Arc<Shared>,
    epoch: Epoch,
    gateway: BulkGateway,
}

impl Drive<'_> {
    async fn save(&self, feed: Feed, after: Duration) -> Result<(), StoreError> {
        write(self.shared, self.epoch, move |_, conn| {
            Box::pin(async move { bulk::save(conn, &feed, after).await })
        })
        .await
        .map(drop)
    }

    /// A step went well.
    async fn reached(&self, feed: Feed, state: FeedState, after: Duration) -> Result<(), StoreError> {
        let feed = Feed {
            state,
            tries: 0,
            error: None,
            ..feed
        };
        self.save(feed, after).await
    }

    /// The destination is done with it, or we are with the destination.
    async fn over(&self, feed: Feed, result: FeedResult) -> Result<(), StoreError> {
        let feed = Feed {
            state: FeedState::Ended,
            result: Some(result),
            tries: 0,
            ..feed
        };
        self.save(feed, Duration::ZERO).await
    }

    /// A step went wrong: the same again, or the feed ends so.
    async fn failed(&self, feed: Feed, error: &PlatformError, or: FeedResult) -> Result<(), StoreError> {
        let feed = told(feed, error);
        match after(error, feed.tries) {
            After::Again(_, true) if is_enough(feed.tries) => self.over(feed, or).await,
            After::Again(wait, counts) => {
                let tries = feed.tries.saturating_add(i32::from(counts));
                self.save(Feed { tries, ..feed }, wait).await
            }
            After::Over => self.over(feed, or).await,
        }
    }

    async fn items(&self, feed: &Feed) -> Result<Vec<Item>, StoreError> {
        let mut conn = self.shared.db.conn().await?;
        bulk::open_items(&mut conn, feed.id, self.gateway.adapter().most()).await
    }

    /// Learns the kinds of product, leaves out what is not to be sent any more, and uploads the rest.
    async fn upload(&self, feed: Feed) -> Result<(), StoreError> {
        let items = self.items(&feed).await?;
        let kinds = match self.kinds(&items).await {
            Ok(kinds) => kinds,
            Err(error) => return self.failed(feed, &error, FeedResult::Late).await,
        };
        // Read again: asking for thousands of kinds takes minutes.
        let items = self.items(&feed).await?;
        let mut left = {
            let mut conn = self.shared.db.conn().await?;
            bulk::open_messages(&mut conn, feed.id, usize::MAX).await?
        };
        let mut prices = Vec::with_capacity(items.len());
        for item in items {
            let kind = kinds.get(&item.listing.basis.listing.sku);
            if let (Some(kind), Ok(message)) = (kind, u32::try_from(item.message))
                && decide::still_goes(&item.listing, item.price)
            {
                prices.push(BulkPrice {
                    message,
                    sku: item.listing.basis.listing.sku.clone(),
                    kind: kind.clone(),
                    price: item.price,
                });
            }
        }
        // All that is not in the document, also where its row cannot be read.
        let goes: HashSet<i64> = prices.iter().map(|price| i64::from(price.message)).collect();
        left.retain(|(message, _)| !goes.contains(&i64::from(*message)));
        if !leave_out(self.shared, self.epoch, feed.id, left).await? {
            return Ok(());
        }
        let feed = Feed {
            sent: i32::try_from(prices.len()).ok(),
            ..feed
        };
        if prices.is_empty() {
            return self.over(feed, FeedResult::Done).await;
        }
        match self.gateway.upload(&prices).await {
            Ok(document) => {
                let feed = Feed {
                    document: Some(document.into()),
                    ..feed
                };
                self.reached(feed, FeedState::Uploaded, Duration::ZERO).await
            }
            Err(error) => self.failed(feed, &error, FeedResult::Refused).await,
        }
    }

    async fn kinds(&self, items: &[Item]) -> Result<Kinds, PlatformError> {
        let mut kinds = Kinds::with_capacity(items.len());
        let adapter = self.gateway.adapter();
        let mut asked = Vec::new();
        for item in items {
            let sku = &item.listing.basis.listing.sku;
            match adapter.known_kind(sku) {
                Some(kind) => drop(kinds.insert(sku.clone(), kind)),
                None => asked.push(sku.clone()),
            }
        }
        for some in asked.chunks(adapter.kinds_at_once().max(1)) {
            kinds.extend(self.gateway.kinds(some).await?);
        }
        Ok(kinds)
    }

    /// Hands it in: the one step that is not repeated. That it begins is written down first.
    async fn submit(&self, feed: Feed) -> Result<(), StoreError> {
        let Some(document) = feed.document.clone() else {
            return self.over(feed, FeedResult::Late).await;
        };
        // It may have waited long for its turn, and a person may have mended what was wrong with it meanwhile.
        let items = self.items(&feed).await?;
        let is_as_sent = usize::try_from(feed.sent.unwrap_or(0)) == Ok(items.len())
            && items
                .iter()
                .all(|item| decide::still_goes(&item.listing, item.price));
        if !is_as_sent {
            let anew = Feed {
                document: None,
                ..feed
            };
            return self.reached(anew, FeedState::Waiting, Duration::ZERO).await;
        }
        let begun = Feed {
            state: FeedState::Submitting,
            submitted_at: Some(feed.now),
            ..feed.clone()
        };
        // Not to be looked for while this very request may be under way.
        self.save(begun.clone(), LIST_AGAIN).await?;
        fail::fail_point!("bulk_submitting");
        if !self.shared.may_send(self.epoch) {
            return Ok(());
        }
        match self.gateway.submit(&document).await {
            Ok(id) => {
                fail::fail_point!("bulk_submitted");
                let feed = Feed {
                    feed: Some(id.into()),
                    ..begun
                };
                let poll = self.shared.settings.bulk_poll();
                self.reached(feed, FeedState::Submitted, poll).await
            }
            Err(not_done) if not_done.unknown => self.save(told(begun, &not_done.error), LIST_AGAIN).await,
            // It surely was not.
            Err(not_done) => {
                let feed = Feed {
                    submitted_at: None,
                    ..feed
                };
                self.failed(feed, &not_done.error, FeedResult::Refused).await
            }
        }
    }

    /// Looks in the destination's list for what may have been handed in: what is nobody's there is ours.
    async fn find(&self, feed: Feed) -> Result<(), StoreError> {
        let since = feed.submitted_at.unwrap_or(feed.created_at);
        let listed = match self.gateway.submitted_since(since - CLOCKS_APART).await {
            Ok(listed) => listed,
            Err(error) => return self.failed(feed, &error, FeedResult::Lost).await,
        };
        let mut unclaimed = Vec::with_capacity(listed.len());
        {
            let mut conn = self.shared.db.conn().await?;
            for found in listed
                .into_iter()
                .filter(|f| f.created_at >= since - CLOCKS_APART)
            {
                if !bulk::is_known(&mut conn, self.shared.destination, &found.id).await? {
                    unclaimed.push(found);
                }
            }
        }
        unclaimed.sort_by_key(|found| found.created_at);
        match unclaimed.into_iter().next() {
            Some(found) => {
                let feed = Feed {
                    feed: Some(found.id.into()),
                    ..feed
                };
                self.reached(feed, FeedState::Submitted, Duration::ZERO).await
            }
            None if is_lost(since, feed.now) => self.over(feed, FeedResult::Lost).await,
            None => self.save(feed, LIST_AGAIN).await,
        }
    }

    async fn look(&self, feed: Feed) -> Result<(), StoreError> {
        let Some(id) = feed.feed.clone() else {
            return self.over(feed, FeedResult::Lost).await;
        };
        let found = match self.gateway.look(&id).await {
            Ok(found) => found,
            Err(error) => return self.failed(feed, &error, FeedResult::Lost).await,
        };
        let since = feed.submitted_at.unwrap_or(feed.created_at);
        match looked(&found, since, feed.now, self.shared.settings.bulk_poll()) {
            Looked::Wait(wait) => self.reached(feed, FeedState::Submitted, wait).await,
            Looked::Over(result) => {
                let feed = Feed {
                    report: found.report.map(Into::into),
                    error: None,
                    ..feed
                };
                self.over(feed, result).await
            }
        }
    }

    /// Reads the report where there is one, and lets every listing go on.
    async fn end(&self, feed: Feed) -> Result<(), StoreError> {
        let result = feed.result.unwrap_or(FeedResult::Lost);
        let mut report = None;
        if result == FeedResult::Done && feed.sent.is_some_and(|sent| sent > 0) {
            let number = |n: i32| u32::try_from(n).unwrap_or(0);
            let (id, sent) = (
                feed.feed.clone().unwrap_or_default(),
                number(feed.sent.unwrap_or(0)),
            );
            let Some(document) = feed.report.clone() else {
                let why = "the feed was worked off, and there is no report of it: `feed.resultFeedDocumentId` is missing";
                let error = Some(("no_report".to_owned(), why.to_owned()));
                return self.over(Feed { error, ..feed }, FeedResult::Unreadable).await;
            };
            match self
                .gateway
                .report(&id, &document, sent, number(feed.items))
                .await
            {
                Ok(read) => report = Some(read),
                Err(error) => return self.failed(feed, &error, FeedResult::Unreadable).await,
            }
        }
        settle(self.shared, self.epoch, feed, result, report).await
    }
}

fn told(feed: Feed, error: &PlatformError) -> Feed {
    tracing::warn!(
        feed.id = %feed.id, error = %error,
        "Feed `{}` of prices does not get further: {}", feed.id, error.message
    );
    Feed {
        error: Some((error.code.to_string(), error.message.to_string())),
        ..feed
    }
}
