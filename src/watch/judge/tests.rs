use super::*;
use crate::domain::{Currency, DataSource, HoldStatus, Meanwhile, Proposal, SourceProductId};
use crate::watch::anomaly::judge_price;
use crate::watch::similarity::similarity;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rust_decimal::Decimal;

const TITLE: &str = "ニコン Nikon F3 アイレベル フィルムカメラ ボディ";
const OTHER_TITLE: &str = "ポケモンカード リザードン SAR PSA10";

fn at(s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + s, 0).unwrap()
}

fn yen(amount: i64) -> Money {
    Money::yen(amount).unwrap()
}

fn stock(count: i64) -> Quantity {
    Quantity::new(count).unwrap()
}

/// An open page with a buy-now price, read at second 100.
fn page(pieces: i64, price: i64) -> Observation {
    Observation {
        source_product_id: SourceProductId::new("x1").unwrap(),
        title: TITLE.into(),
        title_hash: TitleHash::of(TITLE),
        price: yen(price),
        buy_now_price: Some(yen(price)),
        stock: stock(pieces),
        status: ItemStatus::Open,
        ends_at: Some(at(10_000)),
        bids: 0,
        seller_is_store: false,
        seller_id: Some("seller".into()),
        url_status: UrlStatus::Active,
        data_source: DataSource::YahooPage,
        fetched_at: at(100),
    }
}

fn ended(mut page: Observation) -> Observation {
    page.status = ItemStatus::Ended;
    page.stock = Quantity::ZERO;
    page
}

fn state(pieces: i64, price: i64) -> SourceState {
    SourceState {
        stock: stock(pieces),
        price: Some(yen(price)),
        url_status: UrlStatus::Active,
    }
}

/// What counts since second 0.
fn accepted(pieces: i64, price: i64) -> Accepted {
    Accepted {
        version: Version(3),
        state: Some(state(pieces, price)),
        title_hash: Some(TitleHash::of(TITLE)),
        seller: Some(SellerMark::of("seller")),
        ends_at: Some(at(10_000)),
        gone_since: None,
        moved_since: None,
        fetched_at: Some(at(0)),
        hold: None,
    }
}

fn held(mut accepted: Accepted, reason: HoldReason, pieces: i64, price: i64, deadline: i64) -> Accepted {
    accepted.hold = Some(Box::new(KnownHold {
        id: HoldId(7),
        reason,
        status: HoldStatus::Open,
        proposed: Proposal {
            stock: stock(pieces),
            price: Some(yen(price)),
        },
        default_action: HoldRules::default().of(reason).1,
        deadline: at(deadline),
        url_status: None,
    }));
    accepted
}

/// An emptying held by the blast radius when the address was `url_status`, and turned down.
fn turned_down(accepted: Accepted, url_status: UrlStatus) -> Accepted {
    let mut held = held(accepted, HoldReason::MassChange, 0, 1_000, 5_000);
    let hold = held.hold.as_mut().unwrap();
    (hold.status, hold.url_status) = (HoldStatus::Rejected, Some(url_status));
    held
}

fn past(prices: &[i64]) -> Background {
    Background {
        title: TITLE.into(),
        prices: prices.iter().copied().map(yen).collect(),
    }
}

fn judged(accepted: &Accepted, page: &Observation, past: &Background) -> Judgement {
    judge(
        accepted,
        Seen::Page(page),
        CostRule::BuyNow,
        Some(past),
        &Rules::default(),
    )
}

fn step(accepted: &Accepted, page: &Observation) -> Step {
    match judged(accepted, page, &past(&[1_000])) {
        Judgement::Step(step) => *step,
        other => panic!("expected a step, got {other:?}"),
    }
}

fn gone_step(accepted: &Accepted, s: i64) -> Step {
    match judge(
        accepted,
        Seen::Gone { at: at(s) },
        CostRule::BuyNow,
        None,
        &Rules::default(),
    ) {
        Judgement::Step(step) => *step,
        other => panic!("expected a step, got {other:?}"),
    }
}

fn opened(step: &Step) -> &NewHold {
    match &step.hold {
        HoldStep::Open(hold) => hold,
        other => panic!("expected a hold, got {other:?}"),
    }
}

#[test]
fn the_same_page_is_no_change_and_asks_for_nothing() {
    let same = judge(
        &accepted(1, 1_000),
        Seen::Page(&page(1, 1_000)),
        CostRule::BuyNow,
        None,
        &Rules::default(),
    );
    let Judgement::Step(step) = same else {
        panic!("{same:?}");
    };
    assert_eq!((step.change, &step.hold), (None, &HoldStep::Keep));
    assert!(!step.is_material());
}

#[test]
fn the_first_page_counts_as_it_stands() {
    let mut fresh = accepted(0, 0);
    (fresh.state, fresh.title_hash, fresh.seller, fresh.fetched_at) = (None, None, None, None);
    let step = step(&fresh, &page(2, 1_000));
    let change = step.change.unwrap();
    assert_eq!((change.before, change.after), (None, state(2, 1_000)));
    assert!(step.adopt_title);
}

#[test]
fn an_older_page_is_refused() {
    let mut old = page(0, 1_000);
    for s in [0, -5] {
        old.fetched_at = at(s);
        assert_eq!(judged(&accepted(1, 1_000), &old, &past(&[])), Judgement::Older);
    }
}

#[test]
fn a_clock_that_was_set_back_stops_nothing() {
    let mut sold = page(0, 1_000);
    sold.fetched_at = at(-60);
    assert_eq!(judged(&accepted(1, 1_000), &sold, &past(&[])), Judgement::Older);
    for back in [61, 3_600, 400_000_000] {
        sold.fetched_at = at(-back);
        assert!(
            step(&accepted(1, 1_000), &sold).change.unwrap().empties(),
            "{back}"
        );
    }
    // A page that was first seen gone by the wrong clock is given its minute from now on.
    let mut once = accepted(1, 1_000);
    once.gone_since = Some(at(-10));
    let again = gone_step(&once, -3_600);
    assert_eq!((again.change, again.gone_since), (None, Some(at(-3_600))));
    assert_eq!(again.recheck_at, Some(at(-3_538)));
}

#[test]
fn quantity_down_and_price_up_take_effect_at_once() {
    let step = step(&accepted(3, 1_000), &page(1, 1_500));
    assert_eq!(step.change.unwrap().after, state(1, 1_500));
    assert_eq!(step.hold, HoldStep::Keep);
}

#[test]
fn a_rise_beyond_belief_takes_effect_and_is_noted() {
    let step = step(&accepted(1, 1_000), &page(1, 100_000));
    assert_eq!(step.change.unwrap().after, state(1, 100_000));
    assert_eq!(step.notice.unwrap().code, "price_rise");
}

#[test]
fn a_fall_back_from_a_rise_is_measured_against_the_history_and_passes() {
    let up = accepted(1, 100_000);
    let Judgement::Step(step) = judged(&up, &page(1, 1_000), &past(&[100_000, 1_000, 1_050])) else {
        panic!();
    };
    assert_eq!(step.change.unwrap().after, state(1, 1_000));
}

#[test]
fn a_price_drop_asks_for_the_past_first() {
    let asked = judge(
        &accepted(1, 1_000),
        Seen::Page(&page(1, 900)),
        CostRule::BuyNow,
        None,
        &Rules::default(),
    );
    assert_eq!(asked, Judgement::NeedsBackground);
    assert_eq!(
        step(&accepted(1, 1_000), &page(1, 900)).change.unwrap().after,
        state(1, 900)
    );
}

#[test]
fn a_drop_beyond_belief_waits_and_holds_back_more_pieces_with_it() {
    let step = step(&accepted(1, 1_000), &page(5, 100));
    assert_eq!(step.change, None);
    let hold = opened(&step);
    assert_eq!(hold.reason, HoldReason::PriceStep);
    assert_eq!(
        hold.proposed,
        Proposal {
            stock: stock(5),
            price: Some(yen(100))
        }
    );
    assert_eq!(
        (hold.meanwhile, hold.deadline),
        (Meanwhile::Keep, at(100) + TimeDelta::hours(6))
    );
}

#[test]
fn quantity_down_takes_effect_while_the_price_waits() {
    let step = step(&accepted(5, 1_000), &page(2, 100));
    assert_eq!(step.change.unwrap().after, state(2, 1_000));
    assert_eq!(opened(&step).proposed.price, Some(yen(100)));
}

#[test]
fn while_it_waits_the_same_page_asks_nothing_again() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 5_000);
    let step = step(&waiting, &page(1, 100));
    assert_eq!((step.change, step.hold), (None, HoldStep::Keep));
}

#[test]
fn while_it_waits_another_odd_value_takes_its_place_with_the_same_deadline() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 5_000);
    let step = step(&waiting, &page(1, 120));
    let hold = opened(&step);
    assert_eq!((hold.proposed.price, hold.deadline), (Some(yen(120)), at(5_000)));
}

#[test]
fn while_it_waits_a_still_lower_price_has_its_own_time_to_wait() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 110);
    let cheaper = step(&waiting, &page(1, 99));
    let hold = opened(&cheaper);
    assert_eq!(
        (hold.proposed.price, hold.deadline),
        (Some(yen(99)), at(100) + TimeDelta::hours(6))
    );
    let more = step(&waiting, &page(3, 100));
    assert_eq!(opened(&more).deadline, at(110), "of the same price, more pieces");
}

#[test]
fn a_page_that_is_normal_again_makes_the_hold_void() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 5_000);
    let step = step(&waiting, &page(1, 1_000));
    assert_eq!((step.change, step.hold), (None, HoldStep::Clear));
}

#[test]
fn stock_to_none_passes_a_hold_of_the_price() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 5_000);
    let step = step(&waiting, &ended(page(0, 100)));
    let change = step.change.unwrap();
    assert!(change.empties());
    assert_eq!(step.hold, HoldStep::Clear);
}

#[test]
fn after_the_deadline_the_same_reading_releases_what_waited() {
    let waiting = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 50);
    let step = step(&waiting, &page(1, 100));
    assert_eq!(step.change.unwrap().after, state(1, 100));
    assert_eq!(step.hold, HoldStep::Release(HoldId(7)));
}

#[test]
fn what_a_person_turned_down_is_not_asked_again_while_the_page_shows_it() {
    let mut turned_down = held(accepted(1, 1_000), HoldReason::PriceStep, 1, 100, 5_000);
    turned_down.hold.as_mut().unwrap().status = HoldStatus::Rejected;
    let same = step(&turned_down, &page(1, 100));
    assert_eq!((same.change, same.hold), (None, HoldStep::Keep));
    let other = step(&turned_down, &page(1, 90));
    assert!(matches!(other.hold, HoldStep::Open(_)));
    let normal = step(&turned_down, &page(1, 1_000));
    assert_eq!(
        normal.hold,
        HoldStep::Clear,
        "it is forgotten, so that it would be asked the next time"
    );
}

#[test]
fn a_price_of_zero_is_never_believed() {
    let step = step(&accepted(1, 1_000), &page(1, 0));
    assert_eq!(step.change, None);
    assert_eq!(opened(&step).reason, HoldReason::PriceZero);
}

#[test]
fn a_first_page_that_is_odd_counts_for_nothing_yet() {
    let mut fresh = accepted(0, 0);
    (fresh.state, fresh.fetched_at) = (None, None);
    let step = step(&fresh, &page(1, 0));
    assert_eq!(step.change, None);
    assert_eq!(opened(&step).reason, HoldReason::PriceZero);
}

#[test]
fn e4_another_currency_waits_with_nothing_on_sale() {
    let mut dollars = page(1, 1_000);
    dollars.buy_now_price = Some(Money::new(Decimal::from(1_000), Currency::Usd).unwrap());
    let step = step(&accepted(1, 1_000), &dollars);
    assert_eq!(step.change, None);
    let hold = opened(&step);
    assert_eq!(
        (hold.reason, hold.meanwhile),
        (HoldReason::CurrencyChanged, Meanwhile::Zero)
    );
}

#[test]
fn a_title_with_an_addition_is_recorded_and_no_more() {
    let mut renamed = page(1, 1_000);
    renamed.title = format!("【値下げ】{TITLE}").into();
    renamed.title_hash = TitleHash::of(&renamed.title);
    let step = step(&accepted(1, 1_000), &renamed);
    assert_eq!(
        (step.change, step.hold, step.adopt_title),
        (None, HoldStep::Keep, true)
    );
}

#[test]
fn another_title_is_another_item_empty_at_once_and_for_a_person() {
    let mut other = page(1, 1_000);
    other.title = OTHER_TITLE.into();
    other.title_hash = TitleHash::of(OTHER_TITLE);
    let step = step(&accepted(1, 1_000), &other);
    let change = step.change.unwrap();
    assert!(change.empties() && !change.explained);
    assert_eq!(change.after.url_status, UrlStatus::Changed);
    assert!(!step.adopt_title);
    let hold = opened(&step);
    assert_eq!(
        (hold.reason, hold.meanwhile),
        (HoldReason::TitleChanged, Meanwhile::Zero)
    );
    assert_eq!(
        hold.proposed,
        Proposal {
            stock: stock(1),
            price: Some(yen(1_000))
        }
    );
}

#[test]
fn another_seller_is_another_item() {
    let mut other = page(1, 1_000);
    other.seller_id = Some("somebody else".into());
    let step = step(&accepted(1, 1_000), &other);
    assert_eq!(opened(&step).reason, HoldReason::SellerChanged);
}

#[test]
fn from_changed_nothing_leads_back_by_itself() {
    let mut changed = accepted(0, 1_000);
    changed.state = Some(SourceState {
        url_status: UrlStatus::Changed,
        ..state(0, 1_000)
    });
    let back = step(&changed, &page(1, 1_000));
    assert_eq!(back.change, None);
    let asked = opened(&back);
    assert_eq!(
        (asked.reason, asked.proposed.price),
        (HoldReason::OtherItem, Some(yen(1_000))),
        "where nothing waits a person is asked"
    );
    let waiting = held(changed.clone(), HoldReason::TitleChanged, 1, 1_000, 5_000);
    assert_eq!(step(&waiting, &page(1, 1_000)).hold, HoldStep::Keep);
    let mut no = waiting.clone();
    no.hold.as_mut().unwrap().status = HoldStatus::Rejected;
    assert_eq!(
        step(&no, &page(1, 900)).hold,
        HoldStep::Keep,
        "who said no is not asked again"
    );
    let mut gap = waiting;
    gap.gone_since = Some(at(-100));
    let gone = gone_step(&gap, 100);
    assert_eq!(
        (gone.change, gone.hold),
        (None, HoldStep::Keep),
        "nor does a gap in between, and it takes nothing away"
    );
}

#[test]
fn a_gone_page_is_dead_when_it_is_still_gone_a_minute_later() {
    let first = gone_step(&accepted(1, 1_000), 100);
    assert_eq!(first.change, None);
    assert_eq!(
        (first.gone_since, first.recheck_at),
        (Some(at(100)), Some(at(162)))
    );
    let mut once = accepted(1, 1_000);
    (once.gone_since, once.fetched_at) = (Some(at(100)), Some(at(100)));
    let too_soon = gone_step(&once, 130);
    assert_eq!((too_soon.change, too_soon.recheck_at), (None, Some(at(162))));
    let dead = gone_step(&once, 162).change.unwrap();
    assert_eq!(dead.after.url_status, UrlStatus::Dead);
    assert!(dead.empties() && !dead.explained);
}

#[test]
fn an_address_that_leads_elsewhere_is_changed_when_it_still_does_a_minute_later() {
    let led = |accepted: &Accepted, s| {
        let seen = Seen::Moved {
            at: at(s),
            how: "to x2",
        };
        judge(accepted, seen, CostRule::BuyNow, None, &Rules::default())
    };
    let mut known = accepted(1, 1_000);
    assert_eq!(led(&known, 100), Judgement::Unclear { reread_at: at(162) });
    // One that was gone a minute ago has not led anywhere yet.
    known.gone_since = Some(at(-100));
    assert_eq!(led(&known, 100), Judgement::Unclear { reread_at: at(162) });
    known.moved_since = Some(at(100));
    assert_eq!(led(&known, 130), Judgement::Unclear { reread_at: at(162) });
    let Judgement::Step(step) = led(&known, 162) else {
        panic!();
    };
    let change = step.change.unwrap();
    assert!(change.empties() && !change.explained && !step.passes_radius);
    assert_eq!(change.after.url_status, UrlStatus::Changed);
    let hold = opened(&step);
    assert_eq!(
        (hold.reason, hold.meanwhile, hold.detail["redirect"].as_str()),
        (HoldReason::OtherItem, Meanwhile::Zero, Some("to x2"))
    );
    assert_eq!(
        gone_step(&known, 162).gone_since,
        Some(at(-100)),
        "the two are told apart"
    );
}

#[test]
fn a_page_that_is_back_forgets_that_it_was_gone() {
    let mut once = accepted(1, 1_000);
    once.gone_since = Some(at(50));
    let step = step(&once, &page(1, 1_000));
    assert_eq!((step.change, step.gone_since), (None, None));
}

#[test]
fn an_auction_that_ends_at_its_appointment_is_explained_and_takes_effect_at_once() {
    let mut due = accepted(1, 1_000);
    due.ends_at = Some(at(90));
    let mut over = ended(page(1, 1_300));
    over.ends_at = Some(at(90));
    let step = step(&due, &over);
    let change = step.change.unwrap();
    assert!(change.empties() && change.explained && step.passes_radius);
    assert!(!step.is_material(), "what was announced teaches no rate");
    assert_eq!(
        change.after.price,
        Some(yen(1_000)),
        "what is out of stock keeps its last price"
    );
    assert_eq!(step.recheck_at, None);
    assert!(!step.is_open);
}

#[test]
fn an_auction_that_ends_early_takes_effect_and_is_not_explained() {
    let mut over = ended(page(1, 1_300));
    over.ends_at = Some(at(95));
    let step = step(&accepted(1, 1_000), &over);
    let change = step.change.unwrap();
    assert!(change.empties() && !change.explained && !step.passes_radius);
    assert!(step.is_material());
    assert_eq!(change.after.url_status, UrlStatus::Active);
    assert_eq!(step.recheck_at, Some(at(162)));
}

#[test]
fn an_ended_page_seen_again_a_minute_later_is_dead() {
    let mut over = accepted(0, 1_000);
    over.gone_since = Some(at(30));
    let step = step(&over, &ended(page(0, 1_000)));
    assert_eq!(step.change.unwrap().after.url_status, UrlStatus::Dead);
    assert!(!step.is_material(), "neither stock nor price moved");
}

#[test]
fn an_open_page_past_its_end_is_read_again_before_it_means_anything() {
    let mut late = page(1, 1_000);
    late.ends_at = Some(at(95));
    let unclear = judged(&accepted(1, 1_000), &late, &past(&[]));
    assert_eq!(unclear, Judgement::Unclear { reread_at: at(115) });
    late.ends_at = Some(at(40));
    let change = step(&accepted(1, 1_000), &late).change.unwrap();
    assert!(
        change.empties() && !change.explained,
        "after the grace it is out of stock, and nobody said why"
    );
}

#[test]
fn an_extended_auction_moves_its_appointment() {
    let mut longer = page(1, 1_000);
    longer.ends_at = Some(at(10_300));
    let step = step(&accepted(1, 1_000), &longer);
    assert_eq!(
        (step.change, step.ends_at, step.is_open),
        (None, Some(at(10_300)), true)
    );
}

#[test]
fn without_a_buy_now_price_it_cannot_be_bought_and_keeps_its_last_price() {
    let mut bids_only = page(1, 1_000);
    bids_only.buy_now_price = None;
    let change = step(&accepted(1, 1_000), &bids_only).change.unwrap();
    assert!(change.empties());
    assert_eq!(change.after.price, Some(yen(1_000)));
}

#[test]
fn what_the_blast_radius_holds_waits_for_its_deadline_and_is_then_confirmed() {
    let over = ended(page(0, 1_000));
    let mut early = over.clone();
    early.ends_at = Some(at(95));
    let waiting = held(accepted(1, 1_000), HoldReason::MassChange, 0, 1_000, 5_000);
    let still = step(&waiting, &early);
    assert_eq!((still.change, still.hold), (None, HoldStep::Keep));
    let due = held(accepted(1, 1_000), HoldReason::MassChange, 0, 1_000, 60);
    let released = step(&due, &early);
    assert!(released.change.unwrap().empties() && released.passes_radius);
    assert_eq!(released.hold, HoldStep::Release(HoldId(7)));
    let back = step(&waiting, &page(1, 1_000));
    assert_eq!((back.change, back.hold), (None, HoldStep::Clear));
}

#[test]
fn who_turned_down_sold_out_has_not_turned_down_gone_nor_another_item() {
    let mut other = page(1, 1_000);
    other.seller_id = Some("somebody else".into());
    let over = ended(page(0, 1_000));
    // (what was turned down, is the ended page, the missing page, the other item kept back?)
    for (was, expected) in [
        (UrlStatus::Active, [true, false, false]),
        (UrlStatus::Dead, [true, true, false]),
        (UrlStatus::Changed, [false, false, true]),
    ] {
        let mut known = turned_down(accepted(1, 1_000), was);
        known.gone_since = Some(at(-200));
        let steps = [step(&known, &over), gone_step(&known, 100), step(&known, &other)];
        for (step, is_kept) in steps.iter().zip(expected) {
            let kept = step.change.is_none() && step.hold == HoldStep::Keep;
            let empties = step.change.is_some_and(|c| c.empties()) && step.hold != HoldStep::Keep;
            assert!(if is_kept { kept } else { empties }, "{was:?}: {step:?}");
            assert!(!step.passes_radius, "too many of them are held again");
        }
    }
    let back = step(
        &turned_down(accepted(1, 1_000), UrlStatus::Active),
        &page(1, 1_000),
    );
    assert_eq!(back.hold, HoldStep::Clear, "and when it is back all is forgotten");
}

#[test]
fn a_title_change_held_by_the_blast_radius_is_released_by_the_reading_after_the_deadline() {
    let mut other = page(1, 1_000);
    other.title = OTHER_TITLE.into();
    other.title_hash = TitleHash::of(OTHER_TITLE);
    let waiting = held(accepted(1, 1_000), HoldReason::MassChange, 0, 1_000, 5_000);
    assert_eq!(step(&waiting, &other).change, None);
    let due = held(accepted(1, 1_000), HoldReason::MassChange, 0, 1_000, 60);
    let released = step(&due, &other);
    assert!(released.passes_radius && released.change.unwrap().empties());
    assert_eq!(opened(&released).reason, HoldReason::TitleChanged);
}

/// Promise P10: from a hundred thousand random pages over random histories, a quantity goes up or a price down only when
/// the page is in every respect usual.
#[test]
fn no_page_raises_a_quantity_or_lowers_a_price_unless_everything_about_it_is_usual() {
    let mut rng = StdRng::seed_from_u64(22);
    let rules = Rules::default();
    let (mut raised, mut lowered, mut held_back) = (0_u32, 0_u32, 0_u32);
    for _ in 0..100_000 {
        let before = accepted(rng.random_range(0..4), rng.random_range(0..3_000));
        let before = mutate_accepted(before, &mut rng);
        let shown = mutate_page(page(rng.random_range(0..4), rng.random_range(0..3_000)), &mut rng);
        let history: Vec<i64> = (0..rng.random_range(0..8))
            .map(|_| rng.random_range(500..2_000))
            .collect();
        let past = past(&history);
        let Judgement::Step(step) = judged(&before, &shown, &past) else {
            continue;
        };
        let (Some(was), Some(change)) = (before.state, step.change) else {
            held_back += u32::from(matches!(step.hold, HoldStep::Open(_)));
            continue;
        };
        let up = change.after.stock > was.stock;
        let down = match (was.price, change.after.price) {
            (Some(b), Some(a)) => b.currency() != a.currency() || a.amount() < b.amount(),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if !up && !down {
            continue;
        }
        raised += u32::from(up);
        lowered += u32::from(down);
        let why = format!("{before:?}\n{shown:?}\n{past:?}\n{step:?}");
        assert!(
            shown.status == ItemStatus::Open && shown.url_status == UrlStatus::Active,
            "{why}"
        );
        assert!(was.url_status != UrlStatus::Changed, "{why}");
        assert!(
            similarity(TITLE, &shown.title) >= rules.anomaly.title_similarity,
            "{why}"
        );
        assert!(shown.seller_id.as_deref().is_none_or(|s| s == "seller"), "{why}");
        assert!(shown.ends_at.is_none_or(|end| end > shown.fetched_at), "{why}");
        let newer = shown.fetched_at.signed_duration_since(before.fetched_at.unwrap());
        assert!(newer > TimeDelta::zero() || newer < -CLOCK_SLACK, "{why}");
        let price = shown.buy_now_price.unwrap();
        if matches!(step.hold, HoldStep::Release(_)) {
            continue;
        }
        assert!(!price.is_zero(), "{why}");
        assert!(
            was.price.is_none_or(|b| b.currency() == price.currency()),
            "{why}"
        );
        let history = if history.is_empty() {
            was.price.into_iter().collect()
        } else {
            past.prices.clone()
        };
        let usual = !matches!(judge_price(price, &history, &rules.anomaly), PriceVerdict::Low(_));
        let not_cheaper = was.price.is_some_and(|b| price.amount() >= b.amount());
        assert!(usual || not_cheaper, "{why}");
    }
    assert!(
        raised > 1_000 && lowered > 1_000 && held_back > 1_000,
        "{raised} {lowered} {held_back}"
    );
}

fn mutate_accepted(mut accepted: Accepted, rng: &mut StdRng) -> Accepted {
    let state = accepted.state.as_mut().unwrap();
    match rng.random_range(0..12) {
        0 => state.url_status = UrlStatus::Changed,
        1 => state.url_status = UrlStatus::Dead,
        2 => state.price = None,
        3 => accepted.gone_since = Some(at(rng.random_range(-200..100))),
        4 => {
            accepted = held(
                accepted,
                HoldReason::PriceStep,
                1,
                rng.random_range(0..3_000),
                5_000,
            )
        }
        5 => {
            accepted = held(
                accepted,
                HoldReason::MassChange,
                0,
                1_000,
                rng.random_range(0..200),
            )
        }
        _ => {}
    }
    accepted
}

fn mutate_page(mut page: Observation, rng: &mut StdRng) -> Observation {
    for _ in 0..rng.random_range(0..3) {
        match rng.random_range(0..10) {
            0 => page.title = OTHER_TITLE.into(),
            1 => page.title = format!("【値下げ】{TITLE}").into(),
            2 => page.seller_id = Some("other".into()),
            3 => page.seller_id = None,
            4 => page.buy_now_price = None,
            5 => page.buy_now_price = Some(Money::new(Decimal::from(900), Currency::Usd).unwrap()),
            6 => page.status = ItemStatus::Ended,
            7 => page.ends_at = Some(at(rng.random_range(0..200))),
            8 => page.url_status = UrlStatus::Changed,
            _ => page.fetched_at = at(rng.random_range(-50..50)),
        }
    }
    page.title_hash = TitleHash::of(&page.title);
    page
}
