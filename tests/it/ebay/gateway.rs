//! The gateways in front of adapters that do as they are told, on paused time.

use super::{failure, is_accepted, listing, pieces, quantity};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zaikoban::clock::Clock;
use zaikoban::domain::{
    DataSource, ErrorClass, ItemStatus, ListingRef, ListingState, ListingStatus, Money, Observation,
    SourceProductId, TitleHash, UrlStatus,
};
use zaikoban::platform::gateway::{
    BATCH_REFUSED, DestinationGateway, Observe, Read, Revise, SourceGateway, codes, was_never_sent,
};
use zaikoban::platform::{Call, Destination, EntryOutcome, FoundListing, PlatformError, Revision, Source};
use zaikoban::resilience::{Guard, Policy, Priority, Rate};
use zaikoban::supervision::{ChildSpec, GiveUp, GroupSpec, Handle, Intensity, Strategy, Tree, TreeOptions};

fn guard(requests_per_second: f64) -> Guard {
    let policy = Policy {
        rate: Rate::per_second(requests_per_second).unwrap(),
        ..Policy::default()
    };
    Guard::new("test", policy, Clock::system(), None).unwrap()
}

fn error(class: ErrorClass, code: &str) -> PlatformError {
    PlatformError {
        class,
        code: code.into(),
        message: "told so".into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

fn observation(id: &SourceProductId) -> Observation {
    Observation {
        source_product_id: id.clone(),
        title: "壺".into(),
        title_hash: TitleHash::of("壺"),
        price: Money::yen(100).unwrap(),
        buy_now_price: None,
        stock: pieces(1),
        status: ItemStatus::Open,
        ends_at: None,
        bids: 0,
        seller_is_store: false,
        seller_id: None,
        url_status: UrlStatus::Active,
        data_source: DataSource::YahooPage,
        fetched_at: "2026-11-22T00:00:00Z".parse().unwrap(),
    }
}

type Look = Result<Observation, PlatformError>;
type Looks = Box<dyn Fn(usize, &SourceProductId) -> Look + Send + Sync>;
type Outcomes = Box<dyn Fn(&[Revision]) -> Vec<EntryOutcome> + Send + Sync>;

/// Answers the n-th request (from 1) as told, and notes what it was asked.
struct Told {
    answer: Looks,
    asked: Mutex<Vec<Vec<SourceProductId>>>,
}

impl Source for Told {
    fn batch_size(&self) -> usize {
        10
    }

    fn observe<'a>(&'a self, ids: &'a [SourceProductId]) -> BoxFuture<'a, Vec<Look>> {
        Box::pin(async move {
            let n = {
                let mut asked = self.asked.lock();
                asked.push(ids.to_vec());
                asked.len()
            };
            ids.iter().map(|id| (self.answer)(n, id)).collect()
        })
    }
}

/// One child in a tree, reached as everybody reaches it.
async fn start<A>(make: impl Fn() -> A + Send + Sync + 'static) -> (Tree, Handle<A>)
where
    A: actix::Actor<Context = actix::Context<A>> + Unpin,
{
    let (child, handle) = ChildSpec::actor("gateway", move |_| make());
    let group = GroupSpec {
        name: "root".into(),
        strategy: Strategy::OneForOne,
        intensity: Intensity {
            restarts: 3,
            within: Duration::from_secs(60),
        },
        give_up: GiveUp::Park,
        children: vec![child],
    };
    let tree = Tree::start(group, TreeOptions::default()).unwrap();
    tree.opened().await.unwrap();
    (tree, handle)
}

struct Watched {
    told: Arc<Told>,
    guard: Guard,
    handle: Handle<SourceGateway>,
    _tree: Tree,
}

impl Watched {
    async fn new(answer: impl Fn(usize, &SourceProductId) -> Look + Send + Sync + 'static) -> Self {
        let told = Arc::new(Told {
            answer: Box::new(answer),
            asked: Mutex::default(),
        });
        let guard = guard(100.0);
        let gateway = SourceGateway::new(told.clone(), guard.clone());
        let (tree, handle) = start(move || gateway.clone()).await;
        Self {
            told,
            guard,
            handle,
            _tree: tree,
        }
    }

    async fn observe(&self, ids: &[&str]) -> Vec<Look> {
        let ids = ids.iter().map(|id| SourceProductId::new(id).unwrap()).collect();
        let permit = self.guard.reserve(Priority::Normal).await;
        self.handle.send(Observe { ids, permit }).await.unwrap()
    }

    fn requests(&self) -> usize {
        self.told.asked.lock().len()
    }
}

#[actix::test]
async fn a_check_that_fails_for_a_passing_reason_is_made_four_times_in_at_most_seven_seconds() {
    tokio::time::pause();
    let watched = Watched::new(|_, _| Err(error(ErrorClass::Transient, "http_502"))).await;
    let began = Instant::now();
    let looks = watched.observe(&["a"]).await;
    assert_eq!(&*looks[0].as_ref().unwrap_err().code, "http_502");
    assert_eq!(watched.requests(), 4);
    assert!(began.elapsed() <= Duration::from_secs(8), "{:?}", began.elapsed());
}

#[actix::test]
async fn a_check_that_works_the_second_time_is_a_check_that_worked() {
    tokio::time::pause();
    let watched = Watched::new(|n, id| match n {
        1 => Err(error(ErrorClass::Transient, "cut")),
        _ => Ok(observation(id)),
    })
    .await;
    assert!(watched.observe(&["a"]).await[0].is_ok());
    assert_eq!(watched.requests(), 2);
}

#[actix::test]
async fn only_what_may_pass_is_repeated() {
    tokio::time::pause();
    const CLASSES: [ErrorClass; 6] = [
        ErrorClass::RateLimited { retry_after: None },
        ErrorClass::Blocked,
        ErrorClass::Unauthorized,
        ErrorClass::NotFound,
        ErrorClass::Rejected,
        ErrorClass::Protocol,
    ];
    let watched = Watched::new(|n, _| Err(error(CLASSES[n - 1], "x"))).await;
    for (done, class) in CLASSES.into_iter().enumerate() {
        assert_eq!(
            watched.observe(&["a"]).await[0].as_ref().unwrap_err().class,
            class
        );
        assert_eq!(watched.requests(), done + 1, "{class:?}");
    }
}

#[actix::test]
async fn only_the_items_that_failed_are_asked_for_again() {
    tokio::time::pause();
    let watched = Watched::new(|n, id| match (n, id.as_str()) {
        (1, "b") => Err(error(ErrorClass::Transient, "cut")),
        (_, "c") => Err(error(ErrorClass::NotFound, "gone")),
        _ => Ok(observation(id)),
    })
    .await;
    let looks = watched.observe(&["a", "b", "c"]).await;
    assert_eq!(
        looks.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, true, false]
    );
    let asked: Vec<usize> = watched.told.asked.lock().iter().map(Vec::len).collect();
    assert_eq!(asked, [3, 1]);
    assert_eq!(looks[1].as_ref().unwrap().source_product_id.as_str(), "b");
}

#[actix::test]
async fn a_gate_that_shuts_ends_the_repeats_and_says_so_to_the_next() {
    tokio::time::pause();
    let watched = Watched::new(|_, _| Err(error(ErrorClass::Transient, "http_503"))).await;
    let first = watched.observe(&["a"]).await;
    assert_eq!(&*first[0].as_ref().unwrap_err().code, "http_503");
    // The fifth failure in a row trips the breaker; the repeats of that check are not sent, its own failure stands.
    let permit = watched.guard.reserve(Priority::Normal).await;
    let second = Observe {
        ids: vec![SourceProductId::new("a").unwrap()],
        permit,
    };
    let second = watched.handle.send(second).await.unwrap();
    assert_eq!(&*second[0].as_ref().unwrap_err().code, "http_503");
    assert_eq!(watched.requests(), 5);
    let refused = watched
        .guard
        .call(Priority::Normal, || async { Ok::<(), PlatformError>(()) })
        .await;
    assert!(refused.is_err(), "the gate is shut");
}

#[actix::test]
async fn an_adapter_that_panics_is_an_error_and_the_gateway_lives_on() {
    tokio::time::pause();
    let watched = Watched::new(|n, id| match n {
        1 => panic!("a strange page"),
        _ => Ok(observation(id)),
    })
    .await;
    let looks = watched.observe(&["a", "b"]).await;
    assert_eq!(looks.len(), 2);
    for look in &looks {
        let error = look.as_ref().unwrap_err();
        assert_eq!(
            (&*error.code, error.class),
            (codes::PANICKED, ErrorClass::Transient)
        );
        assert!(error.message.contains("a strange page"), "{error}");
    }
    assert_eq!(watched.requests(), 1, "a panic is not repeated");
    assert!(watched.observe(&["a"]).await[0].is_ok());
}

#[actix::test]
async fn many_checks_are_open_at_once() {
    tokio::time::pause();
    let watched = Watched::new(|_, id| Ok(observation(id))).await;
    let looks = futures_util::future::join_all((0..50).map(|_| watched.observe(&["a"]))).await;
    assert!(looks.iter().flatten().all(Result::is_ok));
}

/// A shop that answers batches as told.
#[derive(Default)]
struct Shop {
    batch: Mutex<usize>,
    answer: Mutex<Option<Outcomes>>,
    sent: Mutex<Vec<Vec<Box<str>>>>,
    reads: Mutex<usize>,
}

impl Destination for Shop {
    fn requests(&self, call: Call<'_>) -> u32 {
        if matches!(call, Call::Read) { 2 } else { 1 }
    }

    fn batch_size(&self) -> usize {
        *self.batch.lock()
    }

    fn revise<'a>(&'a self, revisions: &'a [Revision]) -> BoxFuture<'a, Vec<EntryOutcome>> {
        let names = revisions.iter().map(|r| r.listing.sku.clone()).collect();
        self.sent.lock().push(names);
        let outcomes = self.answer.lock().as_ref().map(|answer| answer(revisions));
        match outcomes {
            Some(outcomes) => Box::pin(std::future::ready(outcomes)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn end<'a>(&'a self, _: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn relist<'a>(&'a self, _: &'a ListingRef) -> BoxFuture<'a, Result<(), PlatformError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn read<'a>(&'a self, _: &'a ListingRef) -> BoxFuture<'a, Result<ListingState, PlatformError>> {
        *self.reads.lock() += 1;
        let state = ListingState {
            status: ListingStatus::Active,
            quantity: pieces(1),
            price: None,
        };
        Box::pin(std::future::ready(Ok(state)))
    }

    fn find<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<FoundListing>, PlatformError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn accepted() -> EntryOutcome {
    EntryOutcome::Accepted { warnings: Vec::new() }
}

fn failed(code: &str) -> EntryOutcome {
    EntryOutcome::Failed {
        error: error(ErrorClass::Rejected, code),
        unknown: false,
    }
}

struct Sold {
    shop: Arc<Shop>,
    guard: Guard,
    handle: Handle<DestinationGateway>,
    _tree: Tree,
}

impl Sold {
    async fn new(batch: usize, per_second: f64, answer: Option<Outcomes>) -> Self {
        let shop = Arc::new(Shop {
            batch: Mutex::new(batch),
            answer: Mutex::new(answer),
            ..Shop::default()
        });
        let guard = guard(per_second);
        let gateway = DestinationGateway::new(shop.clone(), guard.clone());
        let (tree, handle) = start(move || gateway.clone()).await;
        Self {
            shop,
            guard,
            handle,
            _tree: tree,
        }
    }

    async fn revise(&self, skus: &[&str]) -> Vec<EntryOutcome> {
        let revisions = skus.iter().map(|sku| quantity(sku, sku, 0)).collect();
        let revise = Revise {
            revisions,
            priority: Priority::Zero,
            send_before: Instant::now() + Duration::from_secs(600),
        };
        self.handle.send(revise).await.unwrap()
    }

    fn sent(&self) -> Vec<usize> {
        self.shop.sent.lock().iter().map(Vec::len).collect()
    }
}

#[actix::test]
async fn revisions_are_cut_into_batches_and_answered_in_order() {
    tokio::time::pause();
    let answer = |revisions: &[Revision]| {
        let each = revisions.iter().map(|r| {
            if &*r.listing.sku == "d" {
                failed("x")
            } else {
                accepted()
            }
        });
        each.collect()
    };
    let sold = Sold::new(2, 100.0, Some(Box::new(answer))).await;
    let outcomes = sold.revise(&["a", "b", "c", "d", "e"]).await;
    assert_eq!(
        outcomes.iter().map(is_accepted).collect::<Vec<_>>(),
        [true, true, true, false, true]
    );
    assert_eq!(sold.sent(), [2, 2, 1]);
    assert!(sold.revise(&[]).await.is_empty());
}

#[actix::test]
async fn a_batch_refused_as_a_whole_is_sent_again_one_by_one_each_with_a_permit() {
    tokio::time::pause();
    let answer = |revisions: &[Revision]| match revisions {
        [one] if &*one.listing.sku == "bad" => vec![failed("ebay_25002")],
        [_] => vec![accepted()],
        many => many.iter().map(|_| failed(BATCH_REFUSED)).collect(),
    };
    let sold = Sold::new(25, 1.0, Some(Box::new(answer))).await;
    let began = Instant::now();
    let outcomes = sold.revise(&["a", "bad", "c"]).await;
    assert_eq!(
        outcomes.iter().map(is_accepted).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(&*failure(&outcomes[1]).0.code, "ebay_25002");
    assert_eq!(sold.sent(), [3, 1, 1, 1]);
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "four requests at one a second"
    );
}

#[actix::test]
async fn a_shop_that_learns_to_take_one_is_sent_one() {
    tokio::time::pause();
    let sold = Sold::new(25, 100.0, Some(Box::new(|_| vec![]))).await;
    let shop = sold.shop.clone();
    *sold.shop.answer.lock() = Some(Box::new(move |revisions| {
        let refused = revisions.len() > 1;
        *shop.batch.lock() = 1;
        revisions
            .iter()
            .map(|_| {
                if refused {
                    failed(BATCH_REFUSED)
                } else {
                    accepted()
                }
            })
            .collect()
    }));
    assert!(sold.revise(&["a", "b"]).await.iter().all(is_accepted));
    assert!(sold.revise(&["c", "d"]).await.iter().all(is_accepted));
    assert_eq!(sold.sent(), [2, 1, 1, 1, 1]);
    // A cycle of shared pointers ends here.
    *sold.shop.answer.lock() = None;
}

#[actix::test]
async fn a_call_that_takes_too_long_is_unknown_and_one_that_was_not_made_is_not() {
    tokio::time::pause();
    let sold = Sold::new(25, 100.0, None).await;
    let outcomes = sold.revise(&["a", "b"]).await;
    for outcome in &outcomes {
        let (error, unknown) = failure(outcome);
        assert_eq!(
            (&*error.code, error.class, unknown),
            (codes::TIMED_OUT, ErrorClass::Transient, true)
        );
        assert!(!was_never_sent(error));
    }
    assert_eq!(outcomes.len(), 2);
    sold.guard.pause();
    let outcomes = sold.revise(&["a"]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!(
        (&*error.code, unknown, was_never_sent(error)),
        (codes::PAUSED, false, true)
    );
    sold.guard.resume();
    for _ in 0..5 {
        sold.revise(&["a"]).await;
    }
    let outcomes = sold.revise(&["a"]).await;
    let (error, unknown) = failure(&outcomes[0]);
    assert_eq!(
        (&*error.code, unknown, was_never_sent(error)),
        (codes::GATE_SHUT, false, true)
    );
}

#[actix::test]
async fn an_adapter_that_says_too_little_or_panics_leaves_the_rest_unknown() {
    tokio::time::pause();
    let sold = Sold::new(25, 100.0, Some(Box::new(|_| vec![accepted()]))).await;
    let outcomes = sold.revise(&["a", "b"]).await;
    assert!(is_accepted(&outcomes[0]));
    assert!(failure(&outcomes[1]).1);
    *sold.shop.answer.lock() = Some(Box::new(|_| panic!("a strange answer")));
    let outcomes = sold.revise(&["a", "b"]).await;
    assert!(
        outcomes
            .iter()
            .all(|o| failure(o).1 && &*failure(o).0.code == codes::PANICKED)
    );
}

#[actix::test]
async fn a_request_keeps_its_own_last_moment_and_takes_no_permit_after_it() {
    tokio::time::pause();
    let sold = Sold::new(
        25,
        1.0,
        Some(Box::new(|sent| sent.iter().map(|_| accepted()).collect())),
    )
    .await;
    let began = Instant::now();
    let revise = |n: i64, within_ms: u64| Revise {
        revisions: vec![quantity("a", "1", n)],
        priority: Priority::Normal,
        send_before: began + Duration::from_millis(within_ms),
    };
    // The second would have its turn in the second second, after its moment; the third is a newer push of that listing.
    let (first, late, newer) = tokio::join!(
        sold.handle.send(revise(1, 3_000)),
        sold.handle.send(revise(2, 1_500)),
        sold.handle.send(revise(3, 3_000)),
    );
    assert!(is_accepted(&first.unwrap()[0]) && is_accepted(&newer.unwrap()[0]));
    let (error, unknown) = match &late.unwrap()[0] {
        EntryOutcome::Failed { error, unknown } => (error.clone(), *unknown),
        other => panic!("it was sent: {other:?}"),
    };
    assert_eq!((&*error.code, unknown), (codes::TOO_LATE, false));
    assert!(was_never_sent(&error));
    assert_eq!(sold.sent(), [1, 1]);
    assert_eq!(began.elapsed().as_secs(), 2, "the late one burnt no turn");
}

#[actix::test]
async fn a_call_of_two_requests_takes_two_permits() {
    tokio::time::pause();
    let sold = Sold::new(25, 1.0, None).await;
    let began = Instant::now();
    for _ in 0..10 {
        let read = Read {
            listing: listing("a", "1"),
            priority: Priority::Normal,
            send_before: Instant::now() + Duration::from_secs(600),
        };
        sold.handle.send(read).await.unwrap().unwrap();
    }
    assert!(
        began.elapsed() >= Duration::from_secs(18),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(*sold.shop.reads.lock(), 10);
    assert_eq!(
        sold.guard.status().counts.ok,
        10,
        "what is paid is no success of its own"
    );
}
