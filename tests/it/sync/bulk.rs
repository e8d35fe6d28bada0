//! Prices that go in one document, on a real PostgreSQL, to a destination in memory that works documents off when told to.

use super::fake::Fake;
use super::stage::{Stage, q, quick, shows, usd};
use crate::support::wait::until;
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use zaikoban::clock::Clock;
use zaikoban::domain::{ErrorClass, ListingState, Money};
use zaikoban::platform::PlatformError;
use zaikoban::platform::bulk::{BulkFeed, BulkPrice, BulkPrices, BulkReport, BulkStage, Kinds};
use zaikoban::platform::gateway::BulkGateway;
use zaikoban::platform::registrar::NotDone;
use zaikoban::resilience::{Guard, Policy, Rate};
use zaikoban::store::bulk;
use zaikoban::sync::SyncSettings;
use zaikoban::sync::radius::RadiusSettings;

/// What becomes of the next hand-in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum HandIn {
    #[default]
    Takes,
    /// It is taken, and whoever asked hears nothing, ever.
    TakesAndHangs,
    /// It is lost, and whoever asked hears nothing, ever.
    LosesAndHangs,
    /// It is taken, and the answer is lost.
    LosesAnswer,
    Refuses,
    /// Its own quota is used up, again and again.
    Limits,
}

struct Shop {
    documents: HashMap<Box<str>, Vec<BulkPrice>>,
    feeds: BTreeMap<u64, (Box<str>, BulkStage)>,
    hand_in: HandIn,
    /// The ends that are dealt out, the last one for ever.
    ends: Vec<BulkStage>,
    refuses: Vec<&'static str>,
    /// What is done and not shown yet.
    lags: Vec<&'static str>,
    /// What may not stand in a document.
    unfit: Vec<&'static str>,
    unreadable: bool,
    unknown_kinds: Vec<&'static str>,
}

/// Takes documents; works them off when it is open.
#[derive(Clone)]
struct Bulk {
    fake: Fake,
    shop: Arc<Mutex<Shop>>,
    open: Arc<Mutex<bool>>,
    kinds: Arc<Semaphore>,
}

fn error(class: ErrorClass, missing: &[&str]) -> PlatformError {
    PlatformError {
        class,
        code: "scripted".into(),
        message: format!("scripted by the test, missing {missing:?}").into(),
        missing: missing.iter().map(|path| (*path).into()).collect(),
        body: None,
        away_for: None,
    }
}

impl Bulk {
    fn new(fake: &Fake) -> Self {
        Self {
            fake: fake.clone(),
            shop: Arc::new(Mutex::new(Shop {
                documents: HashMap::new(),
                feeds: BTreeMap::new(),
                hand_in: HandIn::Takes,
                ends: vec![BulkStage::Done],
                refuses: Vec::new(),
                lags: Vec::new(),
                unfit: Vec::new(),
                unreadable: false,
                unknown_kinds: Vec::new(),
            })),
            open: Arc::new(Mutex::new(false)),
            kinds: Arc::new(Semaphore::new(1_000)),
        }
    }

    fn gateway(&self) -> BulkGateway {
        let policy = Policy {
            rate: Rate::per_second(500.0).unwrap(),
            ..Policy::default()
        };
        let guard = Guard::new("bulk", policy, Clock::system(), None).unwrap();
        BulkGateway::new(Arc::new(self.clone()), guard)
    }

    fn open(&self) {
        *self.open.lock() = true;
    }

    fn documents(&self) -> usize {
        self.shop.lock().documents.len()
    }

    fn feeds(&self) -> usize {
        self.shop.lock().feeds.len()
    }

    /// What feed `number` set, or half of it.
    fn work_off(&self, shop: &Shop, document: &str, stage: BulkStage) {
        let prices = &shop.documents[document];
        let done = match stage {
            BulkStage::Done => prices.len(),
            BulkStage::Fatal => prices.len() / 2,
            _ => 0,
        };
        for one in prices
            .iter()
            .take(done)
            .filter(|one| !shop.refuses.contains(&&*one.sku) && !shop.lags.contains(&&*one.sku))
        {
            let shown = self.fake.shown(&one.sku);
            let price = Some(one.price);
            self.fake.show(&one.sku, ListingState { price, ..shown });
        }
    }

    fn view(&self, number: u64) -> BulkFeed {
        let mut shop = self.shop.lock();
        let (document, stage) = shop.feeds[&number].clone();
        let stage = if stage == BulkStage::UnderWay && *self.open.lock() {
            let end = if shop.ends.len() > 1 {
                shop.ends.remove(0)
            } else {
                shop.ends[0]
            };
            self.work_off(&shop, &document, end);
            shop.feeds.get_mut(&number).unwrap().1 = end;
            end
        } else {
            stage
        };
        BulkFeed {
            id: number.to_string().into(),
            stage,
            report: (stage == BulkStage::Done).then(|| document.clone()),
            created_at: Clock::system().now(),
        }
    }

    fn take(&self, document: &str) -> Box<str> {
        let mut shop = self.shop.lock();
        let number = 1 + u64::try_from(shop.feeds.len()).unwrap();
        shop.feeds.insert(number, (document.into(), BulkStage::UnderWay));
        number.to_string().into()
    }
}

impl BulkPrices for Bulk {
    fn most(&self) -> usize {
        300
    }

    fn takes(&self, sku: &str, _: Money) -> bool {
        !self.shop.lock().unfit.contains(&sku)
    }

    fn kinds_at_once(&self) -> usize {
        20
    }

    fn kinds<'a>(&'a self, skus: &'a [Box<str>]) -> BoxFuture<'a, Result<Kinds, PlatformError>> {
        async move {
            assert!(skus.len() <= 20);
            self.kinds.acquire().await.unwrap().forget();
            let unknown = self.shop.lock().unknown_kinds.clone();
            let known = skus.iter().filter(|sku| !unknown.contains(&&***sku));
            Ok(known.map(|sku| (sku.clone(), "CAMERA".into())).collect())
        }
        .boxed()
    }

    fn upload<'a>(&'a self, prices: &'a [BulkPrice]) -> BoxFuture<'a, Result<Box<str>, PlatformError>> {
        let mut shop = self.shop.lock();
        let id: Box<str> = format!("document-{}", shop.documents.len() + 1).into();
        shop.documents.insert(id.clone(), prices.to_vec());
        future::ready(Ok(id)).boxed()
    }

    fn submit<'a>(&'a self, document: &'a str) -> BoxFuture<'a, Result<Box<str>, NotDone>> {
        let does = {
            let mut shop = self.shop.lock();
            match shop.hand_in {
                HandIn::Limits => HandIn::Limits,
                _ => std::mem::take(&mut shop.hand_in),
            }
        };
        match does {
            HandIn::Limits => {
                let class = ErrorClass::RateLimited { retry_after: None };
                let (error, unknown) = (error(class, &[]), false);
                future::ready(Err(NotDone { error, unknown })).boxed()
            }
            HandIn::Takes => future::ready(Ok(self.take(document))).boxed(),
            HandIn::TakesAndHangs => {
                self.take(document);
                future::pending().boxed()
            }
            HandIn::LosesAndHangs => future::pending().boxed(),
            HandIn::LosesAnswer => {
                self.take(document);
                let (error, unknown) = (error(ErrorClass::Transient, &[]), true);
                future::ready(Err(NotDone { error, unknown })).boxed()
            }
            HandIn::Refuses => {
                let (error, unknown) = (error(ErrorClass::Rejected, &[]), false);
                future::ready(Err(NotDone { error, unknown })).boxed()
            }
        }
    }

    fn submitted_since(
        &self,
        _: chrono::DateTime<chrono::Utc>,
    ) -> BoxFuture<'_, Result<Vec<BulkFeed>, PlatformError>> {
        let numbers: Vec<u64> = self.shop.lock().feeds.keys().copied().collect();
        let feeds = numbers.into_iter().map(|number| self.view(number)).collect();
        future::ready(Ok(feeds)).boxed()
    }

    fn look<'a>(&'a self, feed: &'a str) -> BoxFuture<'a, Result<BulkFeed, PlatformError>> {
        future::ready(Ok(self.view(feed.parse().unwrap()))).boxed()
    }

    fn report<'a>(
        &'a self,
        _: &'a str,
        report: &'a str,
        prices: u32,
        last: u32,
    ) -> BoxFuture<'a, Result<BulkReport, PlatformError>> {
        let shop = self.shop.lock();
        let sent = &shop.documents[report];
        assert_eq!(prices, u32::try_from(sent.len()).unwrap());
        assert!(sent.iter().all(|one| one.message <= last));
        if shop.unreadable {
            return future::ready(Err(error(ErrorClass::Protocol, &["report.summary"]))).boxed();
        }
        let refused = sent.iter().filter(|one| shop.refuses.contains(&&*one.sku));
        let report = BulkReport {
            refused: refused
                .map(|one| (one.message, vec![r#"{"code": "90220"}"#.into()]))
                .collect(),
            others_taken: true,
            said: Vec::new(),
        };
        future::ready(Ok(report)).boxed()
    }
}

fn settings() -> SyncSettings {
    SyncSettings {
        bulk_poll_ms: 20,
        ..quick()
    }
}

/// `n` listings that want another price, at a destination that takes five changes in ten minutes.
async fn crowded(n: i64) -> (Stage, Bulk) {
    let mut s = Stage::with(n, settings()).await;
    let bulk = Bulk::new(&s.fake);
    s.parts.bulk = Some(bulk.gateway());
    s.fake.crowd(Some(5));
    for id in 1..=n {
        s.want(id, 1, usd(25)).await;
    }
    (s, bulk)
}

async fn feed(s: &Stage, column: &str) -> String {
    let sql = format!("SELECT string_agg(COALESCE({column}::text, '-'), ' ' ORDER BY id) FROM bulk_feeds");
    s.t.text(&sql).await
}

/// Waits until all feeds are in these states; then single changes are taken again.
async fn reaches(s: &Stage, states: &str) {
    let what = format!("feeds to be {states}");
    let reached = until(&what, || async {
        (feed(s, "state").await == states).then_some(())
    });
    if tokio::time::timeout(Duration::from_secs(25), reached)
        .await
        .is_err()
    {
        let all = "SELECT string_agg(b::text, chr(10)) FROM bulk_feeds b";
        panic!("feeds are not {states}:\n{}", s.t.text(all).await);
    }
}

async fn view(s: &Stage) -> Value {
    let mut conn = s.t.db().conn().await.unwrap();
    let all = bulk::list(&mut conn, (None, 10), None).await.unwrap();
    all.first().unwrap().clone()
}

#[actix::test]
async fn a_backlog_goes_in_one_document_and_all_else_at_once() {
    let (mut s, bulk) = crowded(40).await;
    s.start();
    reaches(&s, "submitted").await;
    s.fake.crowd(None);
    assert_eq!(s.fake.asked(), [], "nothing was sent by itself");
    assert_eq!(bulk.documents(), 1);
    // A zero and fewer pieces do not wait, a price that is not the feed's does not either.
    s.want(3, 0, usd(25)).await;
    s.want(4, 1, usd(30)).await;
    s.want(5, 1, usd(20)).await;
    s.writes(3, 1).await;
    s.writes(4, 1).await;
    s.writes(5, 1).await;
    assert_eq!(s.fake.shown("sku-3"), shows(0, 20));
    assert_eq!(s.fake.shown("sku-4"), shows(1, 30));
    // Long after, what is in the feed is still left to it: no sweep takes it for forgotten.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert!(s.fake.writes_to("sku-1").is_empty());
    let row = s.row(1).await;
    assert_eq!(
        (row.bulk_price, row.pushing, row.is_behind()),
        (usd(25), None, true)
    );

    bulk.open();
    for id in 1..=40 {
        s.in_line(id).await;
    }
    // The feed has overwritten what was newer, and the look has mended it.
    for (id, shown) in [
        (1, shows(1, 25)),
        (4, shows(1, 30)),
        (5, shows(1, 20)),
        (40, shows(1, 25)),
    ] {
        assert_eq!(s.fake.shown(&format!("sku-{id}")), shown, "listing {id}");
    }
    assert_eq!(s.fake.shown("sku-3").quantity, q(0));
    assert!(s.fake.writes_to("sku-1").is_empty() && s.fake.overlaps() == 0);
    reaches(&s, "settled").await;
    let view = view(&s).await;
    assert_eq!(
        (&view["result"], &view["accepted"], &view["open"]),
        (&"done".into(), &40.into(), &0.into())
    );
    let log = "SELECT outcome || ' ' || new_price FROM sync_log WHERE listing_id = 1 AND kind = 'revise'";
    assert_eq!(s.t.text(log).await, "accepted 25.00");
}

/// The destination worked the document off after a newer price had come by itself, and does not show that yet.
#[actix::test]
async fn a_newer_price_is_said_once_more_when_the_document_ends() {
    let (mut s, bulk) = crowded(12).await;
    bulk.shop.lock().lags = vec!["sku-4"];
    s.start();
    reaches(&s, "submitted").await;
    s.fake.crowd(None);
    s.want(4, 1, usd(30)).await;
    s.writes(4, 1).await;
    bulk.open();
    s.writes(4, 2).await;
    for id in 1..=12 {
        s.in_line(id).await;
    }
    assert_eq!(s.fake.writes_to("sku-4").len(), 2);
    assert!(s.fake.writes_to("sku-1").is_empty());
}

#[actix::test]
async fn what_is_unfit_for_a_document_does_not_cut_it_short() {
    let (mut s, bulk) = crowded(280).await;
    bulk.shop.lock().unfit = vec!["sku-280", "sku-17"];
    s.start();
    reaches(&s, "submitted").await;
    assert_eq!(feed(&s, "sent").await, "278");
    assert_eq!(bulk.documents(), 1);
}

/// What waits for its turn to be handed in is made anew when a person has mended the prices meanwhile.
#[actix::test]
async fn a_document_that_is_out_of_date_is_not_handed_in() {
    let (mut s, bulk) = crowded(12).await;
    bulk.shop.lock().hand_in = HandIn::Limits;
    s.start();
    reaches(&s, "uploaded").await;
    s.want(4, 1, usd(20)).await;
    s.want(5, 1, usd(30)).await;
    bulk.shop.lock().hand_in = HandIn::Takes;
    later(&s, 0).await;
    reaches(&s, "submitted").await;
    let skus: Vec<String> = {
        let shop = bulk.shop.lock();
        let sent = &shop.documents[&*shop.feeds[&1].0];
        sent.iter().map(|one| one.sku.to_string()).collect()
    };
    assert_eq!(skus.len(), 10, "{skus:?}");
    assert!(
        !skus.iter().any(|sku| sku == "sku-4" || sku == "sku-5"),
        "{skus:?}"
    );
    assert_eq!(bulk.documents(), 2);
}

#[actix::test]
async fn no_document_is_begun_while_the_destination_is_away() {
    let (mut s, bulk) = crowded(12).await;
    s.fake.shut(true);
    s.start();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!((feed(&s, "state").await, bulk.documents()), (String::new(), 0));
    s.fake.shut(false);
    reaches(&s, "submitted").await;
}

#[actix::test]
async fn a_few_prices_go_one_by_one() {
    let mut s = Stage::with(5, settings()).await;
    let bulk = Bulk::new(&s.fake);
    s.parts.bulk = Some(bulk.gateway());
    s.fake.crowd(Some(5));
    for id in 1..=5 {
        s.want(id, 1, usd(25)).await;
    }
    s.start();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    s.fake.crowd(None);
    s.look().await;
    for id in 1..=5 {
        s.in_line(id).await;
    }
    assert_eq!(feed(&s, "id").await, "");
    assert_eq!(bulk.documents(), 0);
}

#[actix::test]
async fn what_is_held_paused_unsure_or_waits_with_a_quantity_goes_into_no_document() {
    let (mut s, bulk) = crowded(20).await;
    s.want(1, 0, usd(25)).await;
    s.want(2, 3, usd(25)).await;
    s.t.run(
        "UPDATE listing_platforms SET auto_sync_enabled = FALSE WHERE id = 3; \
         UPDATE listing_platforms SET held_reason = 'drift' WHERE id = 4; \
         UPDATE listing_platforms SET needs_read_back = TRUE WHERE id = 5; \
         UPDATE listing_platforms SET listing_status = 'paused' WHERE id = 6",
    )
    .await;
    s.start();
    reaches(&s, "submitted").await;
    let inside = "SELECT count(*) || ' ' || min(listing_id) FROM bulk_feed_items";
    assert_eq!(s.t.text(inside).await, "14 7");
    drop(bulk);
}

#[actix::test]
async fn no_more_are_repriced_by_a_document_than_by_themselves() {
    let (mut s, bulk) = crowded(40).await;
    let mut settings = settings();
    settings.radius = RadiusSettings {
        per_hour: 10,
        per_day: 10,
        share_per_hour_bp: 0,
        share_per_day_bp: 0,
    };
    s.parts.settings.store(Arc::new(settings));
    s.start();
    reaches(&s, "submitted").await;
    assert_eq!(feed(&s, "items").await, "10");
    bulk.open();
    s.fake.crowd(None);
    let held = "SELECT count(*) FROM listing_platforms WHERE held_reason = 'radius_price'";
    until("the others to be held", || async {
        (s.t.text(held).await == "30").then_some(())
    })
    .await;
}

#[actix::test]
async fn a_refused_price_goes_on_by_itself_and_its_issue_is_kept() {
    let (mut s, bulk) = crowded(12).await;
    bulk.shop.lock().refuses = vec!["sku-7"];
    bulk.open();
    s.start();
    reaches(&s, "settled").await;
    s.fake.crowd(None);
    for id in 1..=12 {
        s.in_line(id).await;
    }
    assert_eq!(s.fake.shown("sku-7"), shows(1, 25));
    assert_eq!(s.fake.writes_to("sku-7").len(), 1, "and only that one");
    assert!(s.fake.writes_to("sku-8").is_empty());
    let view = view(&s).await;
    assert_eq!((&view["accepted"], &view["refused"]), (&11.into(), &1.into()));
    assert_eq!(view["refusals"][0]["sku"], "sku-7");
    assert_eq!(view["refusals"][0]["error"]["issues"][0]["code"], "90220");
    let told = "SELECT error_message FROM inventory_errors WHERE error_code = 'bulk_done'";
    assert!(s.t.text(told).await.contains("refused 1 of the 12 prices"));
}

#[actix::test]
async fn however_a_document_ends_its_listings_come_in_line() {
    for (end, unreadable, result) in [
        (BulkStage::Fatal, false, "fatal"),
        (BulkStage::Cancelled, false, "cancelled"),
        (BulkStage::Done, true, "unreadable"),
    ] {
        let (mut s, bulk) = crowded(12).await;
        // A second document would end so as well.
        {
            let mut shop = bulk.shop.lock();
            shop.ends = vec![end];
            shop.unreadable = unreadable;
        }
        bulk.open();
        s.start();
        reaches(&s, "settled").await;
        s.fake.crowd(None);
        s.look().await;
        for id in 1..=12 {
            s.in_line(id).await;
            assert_eq!(s.fake.shown(&format!("sku-{id}")), shows(1, 25), "{result}");
        }
        let view = view(&s).await;
        assert_eq!((&view["result"], &view["unknown"]), (&result.into(), &12.into()));
        let told = format!("SELECT error_message FROM inventory_errors WHERE error_code = 'bulk_{result}'");
        let told = s.t.text(&told).await;
        assert!(!unreadable || told.contains("report.summary"), "{told}");
    }
}

#[actix::test]
async fn a_document_that_is_refused_lets_its_prices_go_one_by_one() {
    let (mut s, bulk) = crowded(12).await;
    bulk.shop.lock().hand_in = HandIn::Refuses;
    s.start();
    reaches(&s, "settled").await;
    s.fake.crowd(None);
    for id in 1..=12 {
        s.in_line(id).await;
    }
    let view = view(&s).await;
    assert_eq!(
        (&view["result"], &view["left_out"]),
        (&"refused".into(), &12.into())
    );
    assert_eq!(bulk.feeds(), 0);
}

/// A feed that waits for its time is due now, and was handed in so many minutes ago.
async fn later(s: &Stage, minutes: u32) {
    s.t.run(&format!(
        "UPDATE bulk_feeds SET next_at = now(), submitted_at = submitted_at - interval '{minutes} minutes'"
    ))
    .await;
}

#[actix::test]
async fn who_dies_while_handing_in_hands_in_once() {
    for (does, result) in [
        (HandIn::TakesAndHangs, "done"),
        (HandIn::LosesAnswer, "done"),
        (HandIn::LosesAndHangs, "lost"),
    ] {
        let (mut s, bulk) = crowded(12).await;
        bulk.shop.lock().hand_in = does;
        s.start();
        reaches(&s, "submitting").await;
        until("the hand-in to be under way", || async {
            (bulk.shop.lock().hand_in == HandIn::Takes).then_some(())
        })
        .await;
        if does != HandIn::LosesAnswer {
            s.replace();
        }
        bulk.open();
        later(&s, if result == "lost" { 10 } else { 0 }).await;
        reaches(&s, "settled").await;
        s.fake.crowd(None);
        s.look().await;
        for id in 1..=12 {
            s.in_line(id).await;
            assert_eq!(s.fake.shown(&format!("sku-{id}")), shows(1, 25), "{does:?}");
        }
        assert_eq!(feed(&s, "result").await, result, "{does:?}");
        assert_eq!(bulk.feeds(), usize::from(result == "done"), "{does:?}");
    }
}

#[actix::test]
async fn who_dies_before_the_upload_is_followed_and_what_came_up_is_left_out() {
    let (mut s, bulk) = crowded(30).await;
    bulk.shop.lock().unknown_kinds = vec!["sku-9"];
    let kinds = bulk.kinds.available_permits();
    bulk.kinds.forget_permits(kinds);
    s.start();
    reaches(&s, "waiting").await;
    s.replace();
    s.t.run(
        "UPDATE listing_platforms SET auto_sync_enabled = FALSE WHERE id = 1; \
             UPDATE listing_platforms SET held_reason = 'drift' WHERE id = 2",
    )
    .await;
    s.want(3, 1, usd(40)).await;
    bulk.kinds.add_permits(1_000);
    reaches(&s, "submitted").await;
    let skus: Vec<Box<str>> = {
        let shop = bulk.shop.lock();
        assert_eq!(shop.documents.len(), 1);
        shop.documents["document-1"]
            .iter()
            .map(|one| one.sku.clone())
            .collect()
    };
    assert_eq!(skus.len(), 26);
    for gone in ["sku-1", "sku-2", "sku-3", "sku-9"] {
        assert!(!skus.contains(&gone.into()), "{gone}");
    }
    bulk.open();
    s.fake.crowd(None);
    s.look().await;
    for id in 3..=30 {
        s.in_line(id).await;
    }
    assert_eq!(s.fake.shown("sku-3"), shows(1, 40));
    assert_eq!(s.fake.shown("sku-9"), shows(1, 25));
    assert_eq!(s.fake.shown("sku-1"), shows(1, 20));
    assert_eq!(s.fake.shown("sku-2"), shows(1, 20));
    let view = view(&s).await;
    assert_eq!(
        (&view["sent"], &view["accepted"], &view["left_out"]),
        (&26.into(), &26.into(), &4.into())
    );
}

#[actix::test]
async fn who_dies_at_the_end_settles_the_rest_and_more_documents_follow() {
    let (mut s, bulk) = crowded(700).await;
    let mut settings = settings();
    settings.radius.per_hour = 1_000;
    s.parts.settings.store(Arc::new(settings));
    bulk.open();
    s.start();
    until("half a feed to be settled", || async {
        let open = "SELECT count(*) FROM bulk_feed_items WHERE outcome IS NOT NULL";
        (s.t.text(open).await != "0").then_some(())
    })
    .await;
    s.replace();
    reaches(&s, "settled settled settled").await;
    assert_eq!(feed(&s, "items").await, "300 300 100");
    let open = "SELECT count(*) FROM bulk_feed_items WHERE outcome IS NULL";
    assert_eq!(s.t.text(open).await, "0");
    s.fake.crowd(None);
    s.look().await;
    for id in [1, 350, 700] {
        s.in_line(id).await;
        assert!(s.fake.writes_to(&format!("sku-{id}")).is_empty());
    }
}

#[actix::test]
async fn switched_off_nothing_is_gathered() {
    let (mut s, bulk) = crowded(12).await;
    s.parts.settings.store(Arc::new(SyncSettings {
        bulk_after_s: 0,
        ..settings()
    }));
    s.start();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    s.fake.crowd(None);
    s.look().await;
    for id in 1..=12 {
        s.in_line(id).await;
    }
    assert_eq!((feed(&s, "id").await, bulk.documents()), (String::new(), 0));
}

#[actix::test]
async fn after_a_document_that_did_not_go_well_none_is_begun_for_an_hour() {
    let (mut s, bulk) = crowded(24).await;
    s.t.run("UPDATE listing_platforms SET auto_sync_enabled = FALSE WHERE id > 12")
        .await;
    bulk.shop.lock().hand_in = HandIn::Refuses;
    s.start();
    reaches(&s, "settled").await;
    s.t.run("UPDATE listing_platforms SET auto_sync_enabled = TRUE WHERE id > 12")
        .await;
    for id in 13..=24 {
        s.want(id, 1, usd(26)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(feed(&s, "items").await, "12");
    s.t.run("UPDATE bulk_feeds SET ended_at = ended_at - interval '61 minutes'")
        .await;
    // Those of the first one go by themselves; its price was tried.
    reaches(&s, "settled submitted").await;
    let second = "SELECT count(*) || ' ' || min(listing_id) FROM bulk_feed_items WHERE outcome IS NULL";
    assert_eq!(s.t.text(second).await, "12 13");
}
