//! The way to a destination that takes many prices at once.
//!
//! No actor stands here, as with the registrar: whoever asks has a task of its own. Every call waits for a permit behind
//! all that keeps listings in line. A quota that is used up, and a right that is missing, are told to whoever asked and not
//! to the guard: these calls have quotas and rights of their own, and the guard would keep a zero waiting for them.

use super::{codes, flatten};
use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use crate::platform::bulk::{BulkFeed, BulkPrice, BulkPrices, BulkReport, Kinds};
use crate::platform::registrar::NotDone;
use crate::resilience::{CallError, Guard, Priority};
use chrono::{DateTime, Utc};
use std::fmt;
use std::sync::Arc;

/// Such a destination behind its guard. Cheap to clone.
#[derive(Clone)]
pub struct BulkGateway {
    adapter: Arc<dyn BulkPrices>,
    guard: Guard,
}

impl fmt::Debug for BulkGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BulkGateway")
            .field("service", &self.guard.service())
            .finish_non_exhaustive()
    }
}

impl BulkGateway {
    /// The way to `adapter` behind `guard`.
    #[must_use]
    pub fn new(adapter: Arc<dyn BulkPrices>, guard: Guard) -> Self {
        Self { adapter, guard }
    }

    /// What can be told without asking.
    #[must_use]
    pub fn adapter(&self) -> &dyn BulkPrices {
        &*self.adapter
    }

    /// See [`BulkPrices::kinds`].
    ///
    /// # Errors
    /// The adapter's, and the guard's with the codes of [`codes`].
    pub async fn kinds(&self, skus: &[Box<str>]) -> Result<Kinds, PlatformError> {
        self.call("ask for kinds of product", || self.adapter.kinds(skus))
            .await
    }

    /// See [`BulkPrices::upload`].
    ///
    /// # Errors
    /// As [`kinds`](Self::kinds).
    pub async fn upload(&self, prices: &[BulkPrice]) -> Result<Box<str>, PlatformError> {
        self.call("upload a document of prices", || self.adapter.upload(prices))
            .await
    }

    /// See [`BulkPrices::submit`].
    ///
    /// # Errors
    /// The adapter's, and the guard's. Of those, what may have had its effect is `unknown`.
    pub async fn submit(&self, document: &str) -> Result<Box<str>, NotDone> {
        let call = || async move {
            match self.adapter.submit(document).await {
                Ok(feed) => Ok(Ok(feed)),
                Err(not_done) if is_own(&not_done.error) => Ok(Err(not_done)),
                Err(not_done) => Err(Failed(not_done)),
            }
        };
        match self.guard.call(Priority::Low, call).await {
            Ok(answer) => answer,
            Err(CallError::Failed(Failed(not_done))) => Err(not_done),
            Err(error) => {
                let error = super::from_guard(self.guard.service(), "hand in a document of prices", &error);
                Err(NotDone {
                    unknown: matches!(&*error.code, codes::TIMED_OUT | codes::PANICKED),
                    error,
                })
            }
        }
    }

    /// See [`BulkPrices::submitted_since`].
    ///
    /// # Errors
    /// As [`kinds`](Self::kinds).
    pub async fn submitted_since(&self, since: DateTime<Utc>) -> Result<Vec<BulkFeed>, PlatformError> {
        self.call("look for documents handed in", || {
            self.adapter.submitted_since(since)
        })
        .await
    }

    /// See [`BulkPrices::look`].
    ///
    /// # Errors
    /// As [`kinds`](Self::kinds).
    pub async fn look(&self, feed: &str) -> Result<BulkFeed, PlatformError> {
        self.call("look at a document handed in", || self.adapter.look(feed))
            .await
    }

    /// See [`BulkPrices::report`].
    ///
    /// # Errors
    /// As [`kinds`](Self::kinds).
    pub async fn report(
        &self,
        feed: &str,
        report: &str,
        prices: u32,
        last: u32,
    ) -> Result<BulkReport, PlatformError> {
        self.call("read a report", || {
            self.adapter.report(feed, report, prices, last)
        })
        .await
    }

    async fn call<T, Fut>(&self, doing: &str, ask: impl FnOnce() -> Fut) -> Result<T, PlatformError>
    where
        Fut: Future<Output = Result<T, PlatformError>>,
    {
        let call = || async {
            match ask().await {
                Err(error) if is_own(&error) => Ok(Err(error)),
                other => other.map(Ok),
            }
        };
        let result = self.guard.call(Priority::Low, call).await;
        flatten(self.guard.service(), doing, result)?
    }
}

/// Whether it says nothing of any other call: a quota is used up, ours or theirs, or the application may not do this.
fn is_own(error: &PlatformError) -> bool {
    matches!(
        error.class,
        ErrorClass::RateLimited { .. } | ErrorClass::Unauthorized
    )
}

/// A step that was not done, as the guard hears of it.
#[derive(Debug)]
struct Failed(NotDone);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl crate::domain::Classified for Failed {
    fn class(&self) -> ErrorClass {
        self.0.error.class()
    }

    fn unavailable(&self) -> bool {
        self.0.error.unavailable()
    }

    fn away_for(&self) -> Option<std::time::Duration> {
        self.0.error.away_for()
    }
}
