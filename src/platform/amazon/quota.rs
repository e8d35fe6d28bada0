//! Amazon's quotas, kept before Amazon has to: a token bucket for each operation, and an upper bound an hour over all.
//!
//! A bucket holds up to its *burst* and is filled by its *rate* (Amazon's usage plans work so). The published figures are
//! where it starts; what `x-amzn-RateLimit-Limit` says of this account is followed, down at once and up by a tenth an
//! answer. `governor` cannot change its rate, so the bucket is our own: two numbers and an instant.
//!
//! Who comes when a bucket is empty waits for his turn, if that is not longer than the *patience*; else nothing is sent and
//! the error says when to come back.

use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use tokio::time::Instant;

/// The code of a call that was not made because a quota of ours is used up.
pub const OWN_QUOTA: &str = "amazon_own_quota";
/// The header in which Amazon says how many requests a second an operation may take.
pub(super) const RATE_HEADER: &str = "x-amzn-RateLimit-Limit";
const HOUR: Duration = Duration::from_secs(3600);
/// Rates outside of this are no rates, in requests a second.
const CREDIBLE: std::ops::RangeInclusive<f64> = 0.0001..=1000.0;
/// No answer slows an operation to less than this share of its published rate: what stood in one header would have to be
/// unlearned by a tenth an answer, for days.
const SLOWEST: f64 = 0.01;
/// How much faster it goes after an answer that allows it.
const STEP_UP: f64 = 1.1;

/// What is asked, as far as quotas go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    GetItemOffersBatch,
    GetCompetitivePricing,
    SearchCatalogItems,
    GetListingsItem,
    PatchListingsItem,
    SearchListingsItems,
    CreateFeedDocument,
    CreateFeed,
    GetFeed,
    GetFeeds,
    GetFeedDocument,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetItemOffersBatch => "getItemOffersBatch",
            Self::GetCompetitivePricing => "getCompetitivePricing",
            Self::SearchCatalogItems => "searchCatalogItems",
            Self::GetListingsItem => "getListingsItem",
            Self::PatchListingsItem => "patchListingsItem",
            Self::SearchListingsItems => "searchListingsItems",
            Self::CreateFeedDocument => "createFeedDocument",
            Self::CreateFeed => "createFeed",
            Self::GetFeed => "getFeed",
            Self::GetFeeds => "getFeeds",
            Self::GetFeedDocument => "getFeedDocument",
        }
    }

    /// The published rate (requests a second) and burst.
    fn published(self) -> (f64, f64) {
        match self {
            Self::GetItemOffersBatch => (0.1, 1.0),
            Self::GetCompetitivePricing => (0.5, 1.0),
            Self::SearchCatalogItems => (2.0, 2.0),
            Self::GetListingsItem => (5.0, 10.0),
            Self::PatchListingsItem | Self::SearchListingsItems => (5.0, 5.0),
            Self::CreateFeedDocument => (0.5, 15.0),
            Self::CreateFeed => (0.0083, 15.0),
            Self::GetFeed => (2.0, 15.0),
            Self::GetFeeds | Self::GetFeedDocument => (0.0222, 10.0),
        }
    }
}

/// The rate to go on with after an answer said `told`: down at once, up slowly.
fn follow(rate: f64, told: f64) -> f64 {
    if CREDIBLE.contains(&told) {
        told.min(rate * STEP_UP)
    } else {
        rate
    }
}

/// Tokens, and how they come back.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    /// Below zero when turns are given away ahead of time.
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: f64, burst: f64, at: Instant) -> Self {
        Self {
            rate,
            burst,
            tokens: burst,
            at,
        }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = self.at.max(now);
    }

    /// How long until one more could be sent.
    fn wait(&mut self, now: Instant) -> Duration {
        self.refill(now);
        seconds((1.0 - self.tokens) / self.rate)
    }

    fn take(&mut self) {
        self.tokens -= 1.0;
    }

    /// Amazon says that it is empty, whatever we counted.
    fn empty(&mut self, now: Instant) {
        self.refill(now);
        self.tokens = self.tokens.min(0.0);
    }
}

/// Rounded up to milliseconds, which is as fine as the timer; an hour at most.
fn seconds(s: f64) -> Duration {
    let ms = Duration::try_from_secs_f64(s.clamp(0.0, 3600.0)).unwrap_or(HOUR);
    Duration::from_millis(u64::try_from(ms.as_micros().div_ceil(1000)).unwrap_or(3_600_000))
}

/// What was sent within the last hour.
#[derive(Clone, Debug)]
struct Budget {
    per_hour: usize,
    sent: VecDeque<Instant>,
}

impl Budget {
    fn wait(&mut self, now: Instant) -> Duration {
        while self
            .sent
            .front()
            .is_some_and(|first| now.saturating_duration_since(*first) >= HOUR)
        {
            self.sent.pop_front();
        }
        let over = (self.sent.len() + 1).saturating_sub(self.per_hour);
        let frees = over.checked_sub(1).and_then(|nth| self.sent.get(nth));
        frees.map_or(Duration::ZERO, |at| (*at + HOUR).saturating_duration_since(now))
    }
}

/// The quotas of one account.
#[derive(Debug)]
pub(super) struct Quotas {
    inner: Mutex<Inner>,
    patience: Duration,
}

#[derive(Debug)]
struct Inner {
    buckets: HashMap<Operation, Bucket>,
    budget: Option<Budget>,
}

impl Quotas {
    /// With at most so many requests an hour over all operations, and this patience.
    pub(super) fn new(per_hour: Option<u32>, patience: Duration) -> Self {
        let budget = per_hour.map(|per_hour| Budget {
            per_hour: usize::try_from(per_hour).unwrap_or(usize::MAX).max(1),
            sent: VecDeque::new(),
        });
        Self {
            inner: Mutex::new(Inner {
                buckets: HashMap::new(),
                budget,
            }),
            patience,
        }
    }

    /// Waits until `operation` may be sent. A turn that was waited for and then not used is lost.
    ///
    /// # Errors
    /// Class `RateLimited` and code [`OWN_QUOTA`] when the wait would be too long; nothing is sent then.
    pub(super) async fn turn(&self, doing: &str, operation: Operation) -> Result<(), PlatformError> {
        let wait = self.reserve(operation, Instant::now());
        if wait > self.patience {
            return Err(used_up(doing, operation, wait));
        }
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// Takes a turn, unless it would be too far ahead; how far it is.
    fn reserve(&self, operation: Operation, now: Instant) -> Duration {
        let mut inner = self.inner.lock();
        let Inner { buckets, budget } = &mut *inner;
        let bucket = bucket(buckets, operation, now);
        let in_bucket = bucket.wait(now);
        let in_budget = budget.as_mut().map_or(Duration::ZERO, |b| b.wait(now));
        let wait = in_bucket.max(in_budget);
        if wait <= self.patience {
            bucket.take();
            if let Some(budget) = budget {
                budget.sent.push_back(now + wait);
            }
        }
        wait
    }

    /// What an answer said of the quota of `operation`.
    pub(super) fn hear(&self, operation: Operation, status: u16, header: Option<&str>) {
        let now = Instant::now();
        let mut inner = self.inner.lock();
        let bucket = bucket(&mut inner.buckets, operation, now);
        bucket.refill(now);
        let told = header.and_then(|text| text.trim().parse::<f64>().ok());
        if let Some(told) = told {
            let (published, _) = operation.published();
            bucket.rate = follow(bucket.rate, told).max(published * SLOWEST);
        }
        if status == 429 {
            bucket.empty(now);
        }
    }

    /// The rate in force, in requests a second.
    #[cfg(test)]
    fn rate(&self, operation: Operation) -> f64 {
        bucket(&mut self.inner.lock().buckets, operation, Instant::now()).rate
    }
}

fn bucket(buckets: &mut HashMap<Operation, Bucket>, operation: Operation, now: Instant) -> &mut Bucket {
    let (rate, burst) = operation.published();
    buckets
        .entry(operation)
        .or_insert_with(|| Bucket::full(rate, burst, now))
}

fn used_up(doing: &str, operation: Operation, wait: Duration) -> PlatformError {
    PlatformError {
        class: ErrorClass::RateLimited {
            retry_after: Some(wait),
        },
        code: OWN_QUOTA.into(),
        message: format!(
            "did not {doing}: the quota of `{}` is used up for {} s; nothing was sent",
            operation.name(),
            wait.as_secs().max(1)
        )
        .into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BATCH: Operation = Operation::GetItemOffersBatch;

    #[tokio::test(start_paused = true)]
    async fn a_batch_goes_at_once_and_the_next_after_ten_seconds() {
        let quotas = Quotas::new(None, Duration::from_secs(15));
        let began = Instant::now();
        for expected in [0, 10] {
            quotas.turn("x", BATCH).await.unwrap();
            assert_eq!(began.elapsed().as_secs(), expected);
        }
        // Two at once: the second would wait for twenty seconds, which is more than the patience.
        let (one, two) = (quotas.turn("x", BATCH), quotas.turn("x", BATCH));
        let (one, two) = tokio::join!(one, two);
        assert!(one.is_ok());
        let error = two.unwrap_err();
        assert_eq!(&*error.code, OWN_QUOTA);
        let wait = Duration::from_secs(20);
        assert_eq!(
            error.class,
            ErrorClass::RateLimited {
                retry_after: Some(wait)
            }
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_hour_has_more_requests_than_the_budget() {
        let quotas = Quotas::new(Some(3), Duration::from_secs(1));
        let catalog = Operation::SearchCatalogItems;
        for _ in 0..3 {
            quotas.turn("x", catalog).await.unwrap();
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        let error = quotas
            .turn("x", Operation::GetCompetitivePricing)
            .await
            .unwrap_err();
        let ErrorClass::RateLimited {
            retry_after: Some(wait),
        } = error.class
        else {
            panic!("{error:?}")
        };
        assert_eq!(wait.as_secs(), 3600 - 180);
        tokio::time::advance(wait).await;
        quotas.turn("x", catalog).await.unwrap();
        assert!(quotas.turn("x", catalog).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn d2_what_amazon_says_is_followed_and_429_empties() {
        let quotas = Quotas::new(None, Duration::from_secs(60));
        let listing = Operation::GetListingsItem;
        quotas.hear(listing, 200, Some("0.5"));
        assert!((quotas.rate(listing) - 0.5).abs() < 1e-9);
        quotas.hear(listing, 200, Some("5.0"));
        assert!((quotas.rate(listing) - 0.55).abs() < 1e-9);
        for nonsense in ["", "NaN", "-1", "0", "inf", "1e9", "fast"] {
            quotas.hear(listing, 200, Some(nonsense));
            assert!((quotas.rate(listing) - 0.55).abs() < 1e-9, "{nonsense}");
        }
        assert_eq!(quotas.reserve(listing, Instant::now()), Duration::ZERO);
        quotas.hear(listing, 200, Some("0.0001"));
        assert!((quotas.rate(listing) - 0.05).abs() < 1e-9, "a hundredth at least");
        quotas.hear(listing, 429, None);
        assert!(quotas.reserve(listing, Instant::now()) > Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn d2_the_rate_goes_down_at_once_and_up_by_a_tenth_at_most(rate in 0.001..100.0_f64, told in 0.0001..1000.0_f64) {
            let next = follow(rate, told);
            prop_assert!(next <= told);
            prop_assert!(next <= rate * STEP_UP * (1.0 + 1e-12));
            prop_assert!(next >= rate.min(told) * (1.0 - 1e-12));
            if told <= rate {
                prop_assert!((next - told).abs() < 1e-12);
            }
            let settled = (0..500).fold(rate, |rate, _| follow(rate, told));
            prop_assert!((settled - told).abs() < told * 1e-6);
        }

        #[test]
        fn no_span_has_more_than_burst_and_rate_allow(
            rate in 0.05..5.0_f64,
            burst in 1_u32..10,
            gaps in proptest::collection::vec(0_u64..3000, 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::full(rate, f64::from(burst), start);
            let mut now = start;
            let mut sent: Vec<Duration> = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                let wait = bucket.wait(now);
                bucket.take();
                sent.push(now + wait - start);
            }
            for (i, first) in sent.iter().enumerate() {
                for (j, last) in sent.iter().enumerate().skip(i) {
                    let span = last.saturating_sub(*first).as_secs_f64();
                    let most = f64::from(burst) + span * rate + 1e-3;
                    let had = f64::from(u32::try_from(j - i + 1).unwrap());
                    prop_assert!(had <= most + 1.0, "{had} in {span} s at {rate}/{burst}");
                }
            }
        }
    }
}
