//! A destination in memory: a register for each listing, a log of what it was asked, and a script of what goes wrong.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use zaikoban::domain::{ErrorClass, ListingRef, ListingState, ListingStatus, Money, Quantity};
use zaikoban::platform::{Call, FoundListing, Objection, PlatformError, Revision};
use zaikoban::sync::outlet::{NotRead, NotSent, Outlet, Urgency, Written};

/// What it does with one listing of a request.
#[derive(Clone, Debug)]
pub enum Does {
    /// Says that it is away; nothing is applied.
    Away,
    /// Refuses for what it says.
    Refuse,
    /// Applies it, and the answer is lost.
    LoseAnswer,
    /// Loses the request.
    LoseRequest,
    /// Says yes and does nothing.
    Pretend,
    /// Was not asked.
    NotSend,
    /// Turns it away at the door.
    TurnAway(ErrorClass),
    /// Refuses it, and says why with a NUL.
    Garble,
}

/// One thing that it was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub sku: String,
    pub what: &'static str,
    pub quantity: Option<Quantity>,
    pub price: Option<Money>,
    pub urgency: Urgency,
    /// Counts calls: what went together has the same.
    pub call: usize,
}

#[derive(Default)]
struct State {
    shown: HashMap<Box<str>, ListingState>,
    asked: Vec<Asked>,
    script: HashMap<Box<str>, VecDeque<Does>>,
    calls: usize,
    shut: bool,
    dearest: Option<i64>,
    crowd: Option<usize>,
    writing: HashSet<Box<str>>,
    overlaps: usize,
    objections: HashMap<Box<str>, Objection>,
}

/// The destination. Cheap to clone.
#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    /// Writes wait here for a place while the door is closed.
    door: Arc<Semaphore>,
    delay: Arc<Mutex<Duration>>,
}

const PLACES: usize = 10_000;

impl Fake {
    pub fn new() -> Self {
        Self {
            state: Arc::default(),
            door: Arc::new(Semaphore::new(PLACES)),
            delay: Arc::new(Mutex::new(Duration::ZERO)),
        }
    }

    pub fn show(&self, sku: &str, state: ListingState) {
        self.state.lock().shown.insert(sku.into(), state);
    }

    pub fn shown(&self, sku: &str) -> ListingState {
        self.state.lock().shown[sku]
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().asked.clone()
    }

    pub fn writes_to(&self, sku: &str) -> Vec<(&'static str, Option<u32>)> {
        self.asked()
            .into_iter()
            .filter(|a| a.sku == sku && a.what != "read")
            .map(|a| (a.what, a.quantity.map(Quantity::get)))
            .collect()
    }

    pub fn forget(&self) {
        self.state.lock().asked.clear();
    }

    pub fn will(&self, sku: &str, does: Does) {
        self.state
            .lock()
            .script
            .entry(sku.into())
            .or_default()
            .push_back(does);
    }

    /// Says this of the listing with every look.
    pub fn objects(&self, sku: &str, objection: Objection) {
        self.state.lock().objections.insert(sku.into(), objection);
    }

    pub fn shut(&self, shut: bool) {
        self.state.lock().shut = shut;
    }

    /// Takes no price above this, and says so beforehand.
    pub fn takes_up_to(&self, dearest: i64) {
        self.state.lock().dearest = Some(dearest);
    }

    /// Takes no change for now, and this many within the minutes to come; `None` takes all again.
    pub fn crowd(&self, turns: Option<usize>) {
        self.state.lock().crowd = turns;
    }

    pub fn slow(&self, delay: Duration) {
        *self.delay.lock() = delay;
    }

    /// How often two writes to one listing were under way at a time.
    pub fn overlaps(&self) -> usize {
        self.state.lock().overlaps
    }

    /// Keeps writes from taking effect until the guard is dropped.
    pub async fn hold_writes(&self) -> tokio::sync::OwnedSemaphorePermit {
        let all = u32::try_from(PLACES).unwrap();
        Arc::clone(&self.door).acquire_many_owned(all).await.unwrap()
    }

    async fn one(&self, call: usize, ask: Asked) -> Written {
        let sku: Box<str> = ask.sku.as_str().into();
        {
            let mut state = self.state.lock();
            state.asked.push(Asked { call, ..ask.clone() });
            if !state.writing.insert(sku.clone()) {
                state.overlaps += 1;
            }
        }
        let writing = Writing(self.clone(), sku.clone());
        let place = self.door.acquire().await.unwrap();
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        drop(place);
        drop(writing);
        let mut state = self.state.lock();
        let does = state.script.get_mut(&sku).and_then(VecDeque::pop_front);
        let Some(shown) = state.shown.get_mut(&sku) else {
            return Written::Failed(error(ErrorClass::NotFound));
        };
        let applied = match ask.what {
            "end" => ListingState {
                status: ListingStatus::Ended,
                quantity: Quantity::ZERO,
                ..*shown
            },
            "relist" => ListingState {
                status: ListingStatus::Active,
                ..*shown
            },
            _ => ListingState {
                quantity: ask.quantity.unwrap_or(shown.quantity),
                price: ask.price.or(shown.price),
                ..*shown
            },
        };
        let accepted = Written::Accepted { warnings: Vec::new() };
        match does {
            None => {
                *shown = applied;
                accepted
            }
            Some(Does::LoseAnswer) => {
                *shown = applied;
                Written::Unknown(error(ErrorClass::Transient))
            }
            Some(Does::LoseRequest) => Written::Unknown(error(ErrorClass::Transient)),
            Some(Does::Pretend) => accepted,
            Some(Does::Away) => Written::Failed(error(ErrorClass::Transient)),
            Some(Does::Refuse) => Written::Failed(error(ErrorClass::Rejected)),
            Some(Does::TurnAway(class)) => Written::Failed(error(class)),
            Some(Does::Garble) => Written::Failed(PlatformError {
                message: "not\0so".into(),
                body: Some("a\0b".into()),
                ..error(ErrorClass::Rejected)
            }),
            Some(Does::NotSend) => Written::NotSent(NotSent {
                why: "scripted".into(),
                retry_after: Duration::from_millis(50),
            }),
        }
    }

    fn call(&self) -> usize {
        let mut state = self.state.lock();
        state.calls += 1;
        state.calls
    }
}

/// A write under way; a caller that dies hangs up.
struct Writing(Fake, Box<str>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.state.lock().writing.remove(&self.1);
    }
}

fn error(class: ErrorClass) -> PlatformError {
    PlatformError {
        class,
        code: "scripted".into(),
        message: "scripted by the test".into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

fn ask(listing: &ListingRef, what: &'static str, urgency: Urgency) -> Asked {
    Asked {
        sku: listing.sku.to_string(),
        what,
        quantity: None,
        price: None,
        urgency,
        call: 0,
    }
}

impl Outlet for Fake {
    fn objection(&self, sku: &str) -> Objection {
        let told = self.state.lock().objections.get(sku).cloned();
        told.unwrap_or(Objection::Untold)
    }

    fn batch_size(&self) -> usize {
        25
    }

    fn permits(&self, _: Call<'_>) -> usize {
        1
    }

    fn admits(&self, revision: &Revision) -> Result<(), PlatformError> {
        match (revision.price, self.state.lock().dearest) {
            (Some(price), Some(dearest)) if price.amount() > dearest.into() => {
                Err(error(ErrorClass::Rejected))
            }
            _ => Ok(()),
        }
    }

    fn turns(&self, _: Duration) -> Option<usize> {
        let state = self.state.lock();
        (!state.shut).then(|| state.crowd.unwrap_or(PLACES))
    }

    fn room(&self, urgency: Urgency, _: usize, _: Duration) -> usize {
        match self.state.lock().crowd {
            Some(_) if urgency == Urgency::Change => 0,
            _ => PLACES,
        }
    }

    fn shut_for(&self) -> Option<Duration> {
        self.state.lock().shut.then_some(Duration::from_millis(20))
    }

    fn revise(
        &self,
        revisions: Vec<Revision>,
        urgency: Urgency,
        send_before: Instant,
    ) -> BoxFuture<'static, Vec<Written>> {
        assert!(Instant::now() < send_before);
        let this = self.clone();
        async move {
            let call = this.call();
            let all = revisions.into_iter().map(|r| {
                let asked = Asked {
                    quantity: r.quantity,
                    price: r.price,
                    ..ask(&r.listing, "revise", urgency)
                };
                let this = this.clone();
                async move { this.one(call, asked).await }
            });
            futures_util::future::join_all(all).await
        }
        .boxed()
    }

    fn end(&self, listing: ListingRef, urgency: Urgency, _: Instant) -> BoxFuture<'static, Written> {
        let this = self.clone();
        async move { this.one(this.call(), ask(&listing, "end", urgency)).await }.boxed()
    }

    fn relist(&self, listing: ListingRef, urgency: Urgency, _: Instant) -> BoxFuture<'static, Written> {
        let this = self.clone();
        async move { this.one(this.call(), ask(&listing, "relist", urgency)).await }.boxed()
    }

    fn read(
        &self,
        listing: ListingRef,
        urgency: Urgency,
        _: Instant,
    ) -> BoxFuture<'static, Result<ListingState, NotRead>> {
        let call = self.call();
        let mut state = self.state.lock();
        state.asked.push(Asked {
            call,
            ..ask(&listing, "read", urgency)
        });
        let shown = state.shown.get(&listing.sku).copied();
        let answer = shown.ok_or_else(|| NotRead::Failed(error(ErrorClass::NotFound)));
        futures_util::future::ready(answer).boxed()
    }

    fn preview(&self, _: Revision, _: Instant) -> BoxFuture<'static, Result<Vec<Box<str>>, NotRead>> {
        std::future::ready(Ok(Vec::new())).boxed()
    }

    fn find(&self, sku: Box<str>) -> BoxFuture<'static, Result<Vec<FoundListing>, NotRead>> {
        let state = self.state.lock();
        let found = state.shown.get(&sku).map(|shown| FoundListing {
            platform_product_id: format!("offer-{sku}").into(),
            url: Some(format!("https://www.ebay.com/itm/{sku}").into()),
            state: *shown,
            sku,
        });
        futures_util::future::ready(Ok(found.into_iter().collect())).boxed()
    }
}
