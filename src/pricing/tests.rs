//! The rules by examples that a seller would check by hand, and by properties.

use super::*;
use crate::domain::{
    BasisPoints, DestinationPlatform, ListingId, ListingRef, ListingState, ProductId, SourceState,
};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn now() -> DateTime<Utc> {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn usd(text: &str) -> Money {
    Money::new(d(text), Currency::Usd).unwrap()
}

fn q(n: u32) -> Quantity {
    Quantity::new(i64::from(n)).unwrap()
}

fn watch(id: i64, stock: u32, yen: Option<i64>) -> WatchState {
    WatchState {
        watch_id: WatchId(id),
        product_id: ProductId(1),
        source: SourcePlatform::Yahoo,
        version: Version(4),
        state: Some(SourceState {
            stock: q(stock),
            price: yen.map(|yen| Money::yen(yen).unwrap()),
            url_status: UrlStatus::Active,
        }),
        enabled: true,
        held: None,
        fetched_at: Some(now()),
    }
}

fn listing(price: Option<&str>) -> ListingBasis {
    ListingBasis {
        listing: ListingRef {
            listing_id: ListingId(7),
            destination: DestinationPlatform::Ebay,
            sku: "sku-7".into(),
            platform_product_id: "9007".into(),
        },
        product_id: ProductId(1),
        currency: Currency::Usd,
        confirmed: ListingState {
            status: ListingStatus::Active,
            quantity: q(1),
            price: price.map(usd),
        },
        wanted: None,
        in_flight: false,
        day_price: None,
        day_price_on: None,
        rules: None,
    }
}

/// No fees, no margin, no limits, 100 JPY a dollar: what is tested is changed from here.
fn plain() -> Rules {
    Rules {
        fee: BasisPoints(0),
        fee_fixed: Decimal::ZERO,
        fee_above: None,
        fee_minimum: Decimal::ZERO,
        margin: BasisPoints(0),
        rounding: Rounding::Unit,
        step_per_change: None,
        step_per_day: None,
        ..Rules::default_for(DestinationPlatform::Ebay)
    }
}

fn book(rules: Rules) -> PriceBook {
    let mut rates = Rates::default();
    rates.set(Currency::Usd, d("100"));
    PriceBook::new(rates, BTreeMap::from([(DestinationPlatform::Ebay, rules)]))
}

fn decide(watches: &[WatchState], listing: &ListingBasis, rules: Rules) -> WantedDecision {
    wanted(watches, listing, &book(rules), now()).unwrap()
}

#[test]
fn a_price_covers_cost_shipping_fees_and_margin() {
    let rules = Rules {
        fee: BasisPoints(1_000),
        fee_fixed: d("0.40"),
        shipping_jpy: d("500"),
        margin: BasisPoints(2_000),
        rounding: Rounding::Ends99,
        ..plain()
    };
    // (1,000 + 500) / 100 = 15.00; with the margin 18.00; (18.00 + 0.40) / 0.9 = 20.44…
    let decision = decide(&[watch(1, 3, Some(1_000))], &listing(None), rules);
    assert_eq!(decision.price, Some(usd("20.99")));
    assert_eq!(decision.quantity, q(3));
    assert_eq!(decision.held, None);
    assert_eq!(decision.cause["landed"], json!("15"));
    assert_eq!(decision.cause["version"], json!(4));
}

#[test]
fn e6_the_cheapest_in_stock_counts_and_the_older_of_two_equals() {
    let mut paused = watch(1, 9, Some(10));
    paused.enabled = false;
    let mut held = watch(2, 9, Some(20));
    held.held = Some(Meanwhile::Zero);
    let mut other = watch(3, 9, Some(30));
    other.state = other.state.map(|s| SourceState {
        url_status: UrlStatus::Changed,
        ..s
    });
    let sold_out = watch(4, 0, Some(40));
    let unseen = WatchState {
        state: None,
        ..watch(5, 9, Some(50))
    };
    let watches = [
        paused,
        held,
        other,
        sold_out,
        unseen,
        watch(8, 2, Some(700)),
        watch(6, 5, Some(900)),
        watch(7, 4, Some(700)),
    ];
    let decision = decide(&watches, &listing(None), plain());
    assert_eq!(decision.cause["watch_id"], json!(7));
    assert_eq!((decision.quantity, decision.price), (q(4), Some(usd("7"))));
}

#[test]
fn nothing_known_wants_nothing() {
    let mut paused = watch(1, 9, Some(10));
    paused.enabled = false;
    let unseen = WatchState {
        state: None,
        ..watch(2, 9, Some(50))
    };
    assert_eq!(
        wanted(&[paused, unseen], &listing(None), &book(plain()), now()),
        None
    );
    assert_eq!(wanted(&[], &listing(None), &book(plain()), now()), None);
}

#[test]
fn out_of_stock_is_zero_or_an_end_and_leaves_the_price() {
    for (rule, status) in [
        (OutOfStock::Zero, ListingStatus::Active),
        (OutOfStock::End, ListingStatus::Ended),
    ] {
        let rules = Rules {
            out_of_stock: rule,
            ..plain()
        };
        let decision = decide(&[watch(1, 0, None)], &listing(Some("20")), rules);
        assert_eq!(
            (decision.quantity, decision.price, decision.status),
            (q(0), None, status)
        );
        assert_eq!(decision.priority(), 1);
    }
}

/// An account without out-of-stock control cannot keep a listing without pieces, whatever the reason is.
#[test]
fn a_zero_for_its_price_ends_too_where_zeros_end() {
    for (rule, status) in [
        (OutOfStock::Zero, ListingStatus::Active),
        (OutOfStock::End, ListingStatus::Ended),
    ] {
        let rules = Rules {
            out_of_stock: rule,
            ceiling: Some(d("5")),
            ..plain()
        };
        let decision = decide(&[watch(1, 3, Some(100_000))], &listing(Some("5")), rules);
        assert_eq!(
            (decision.quantity, decision.status),
            (q(0), status),
            "{:?}",
            decision.held
        );
    }
}

#[test]
fn a_step_is_measured_from_what_stands_what_is_under_way_and_the_start_of_the_day() {
    let rules = Rules {
        step_per_change: Some(BasisPoints(1_000)),
        step_per_day: Some(BasisPoints(2_000)),
        ..plain()
    };
    let cheap = [watch(1, 3, Some(100))];
    let decision = decide(&cheap, &listing(Some("20")), rules.clone());
    assert_eq!(decision.price, Some(usd("18")));
    assert_eq!(decision.again_at, Some("2026-11-22T15:00:00Z".parse().unwrap()));
    let mut moved = listing(Some("20"));
    moved.day_price = Some(usd("24"));
    moved.day_price_on = Some(day_of(now()));
    assert_eq!(decide(&cheap, &moved, rules.clone()).price, Some(usd("19.20")));
    moved.day_price_on = Some("2026-11-21".parse().unwrap());
    assert_eq!(decide(&cheap, &moved, rules.clone()).price, Some(usd("18")));
    let mut under_way = listing(Some("20"));
    under_way.in_flight = true;
    under_way.wanted = Some(Wanted {
        quantity: q(3),
        price: Some(usd("21")),
        status: ListingStatus::Active,
    });
    assert_eq!(decide(&cheap, &under_way, rules).price, Some(usd("18.90")));
}

#[test]
fn a_cost_that_the_step_does_not_reach_is_no_sale_but_a_move() {
    let rules = Rules {
        step_per_change: Some(BasisPoints(1_000)),
        ..plain()
    };
    let decision = decide(&[watch(1, 3, Some(3_000))], &listing(Some("20")), rules.clone());
    assert_eq!((decision.quantity, decision.price), (q(0), Some(usd("22"))));
    assert_eq!(
        decision.held.unwrap().to_string(),
        "at 22 USD one sale loses 8 USD: the limits allow no higher price"
    );
    let at_loss = Rules {
        sell_at_loss: true,
        ..rules
    };
    let decision = decide(&[watch(1, 3, Some(3_000))], &listing(Some("20")), at_loss);
    assert_eq!(
        (decision.quantity, decision.price, decision.held),
        (q(3), Some(usd("22")), None)
    );
}

#[test]
fn a_floor_out_of_reach_is_for_a_person() {
    let rules = Rules {
        step_per_change: Some(BasisPoints(1_000)),
        floor: Some(d("30")),
        ..plain()
    };
    let decision = decide(&[watch(1, 3, Some(100))], &listing(Some("20")), rules);
    assert_eq!((decision.quantity, decision.price), (q(0), None));
    assert_eq!(decision.held, Some(HeldReason::OutOfReach));
}

#[test]
fn a_price_above_the_ceiling_comes_down_by_steps_and_sells_on() {
    let rules = Rules {
        step_per_change: Some(BasisPoints(1_000)),
        ceiling: Some(d("15")),
        ..plain()
    };
    let decision = decide(&[watch(1, 3, Some(100))], &listing(Some("20")), rules);
    assert_eq!((decision.quantity, decision.price), (q(3), Some(usd("18"))));
}

#[test]
fn one_way_prices_do_not_turn() {
    let up = Rules {
        one_way: OneWay::Up,
        ..plain()
    };
    assert_eq!(
        decide(&[watch(1, 3, Some(100))], &listing(Some("20")), up).price,
        Some(usd("20"))
    );
    let down = Rules {
        one_way: OneWay::Down,
        ..plain()
    };
    let decision = decide(&[watch(1, 3, Some(3_000))], &listing(Some("20")), down);
    assert_eq!((decision.quantity, decision.price), (q(0), Some(usd("20"))));
}

#[test]
fn an_ending_beyond_the_ceiling_is_given_up_before_the_margin() {
    let rules = Rules {
        rounding: Rounding::Ends99,
        ceiling: Some(d("20.50")),
        ..plain()
    };
    let decision = decide(&[watch(1, 3, Some(2_010))], &listing(None), rules);
    assert_eq!(decision.price, Some(usd("20.10")));
}

#[test]
fn ignorance_sets_no_price_and_sells_no_more_than_now() {
    let mut foreign = watch(1, 5, None);
    foreign.state = foreign.state.map(|s| SourceState {
        price: Some(Money::new(d("10"), Currency::Eur).unwrap()),
        ..s
    });
    let decision = decide(&[foreign], &listing(Some("20")), plain());
    assert_eq!((decision.quantity, decision.price), (q(1), None));
    assert_eq!(
        decision.held,
        Some(HeldReason::NoExchangeRate {
            currency: Currency::Eur
        })
    );
    let mut odd = listing(Some("20"));
    odd.rules = Some(json!({ "fee_bp": "much" }));
    let decision = decide(&[watch(1, 5, Some(100))], &odd, plain());
    assert_eq!((decision.quantity, decision.price), (q(1), None));
    assert!(decision.held.unwrap().to_string().contains("rules.fee_bp"));
    let decision = decide(&[watch(1, 0, None)], &odd, plain());
    assert_eq!(decision.quantity, q(0), "a zero needs no rules");
}

#[test]
fn ignorance_raises_nothing_that_is_only_on_its_way() {
    let mut foreign = watch(1, 5, None);
    foreign.state = foreign.state.map(|s| SourceState {
        price: Some(Money::new(d("10"), Currency::Eur).unwrap()),
        ..s
    });
    let foreign = [foreign];
    let mut on_its_way = listing(Some("20"));
    on_its_way.wanted = Some(Wanted {
        quantity: q(4),
        price: Some(usd("30")),
        status: ListingStatus::Active,
    });
    let decision = decide(&foreign, &on_its_way, plain());
    assert_eq!(
        (decision.quantity, decision.price),
        (q(1), None),
        "the new price may not be there yet"
    );
    on_its_way.confirmed.status = ListingStatus::Ended;
    assert_eq!(decide(&foreign, &on_its_way, plain()).quantity, q(0));
    on_its_way.confirmed.status = ListingStatus::Active;
    on_its_way.confirmed.quantity = q(9);
    assert_eq!(decide(&foreign, &on_its_way, plain()).quantity, q(4));
}

#[test]
fn a_listing_of_its_own_differs_only_in_what_it_says() {
    let mut own = listing(None);
    own.rules = Some(json!({ "cap": 2, "floor": "50" }));
    let decision = decide(&[watch(1, 9, Some(1_000))], &own, plain());
    assert_eq!((decision.quantity, decision.price), (q(2), Some(usd("50"))));
}

#[test]
fn an_equal_listing_is_wanted_as_it_is() {
    let decision = decide(&[watch(1, 1, Some(2_000))], &listing(Some("20")), plain());
    assert_eq!(
        decision.wanted(),
        Wanted {
            quantity: q(1),
            price: Some(usd("20")),
            status: ListingStatus::Active
        }
    );
}

prop_compose! {
    fn any_rules()(
        fee in 0_u32..9_000, fee_fixed in 0_i64..500, shipping in 0_i64..5_000, margin in 0_u32..10_000,
        floor in proptest::option::of(1_i64..20_000), ceiling in proptest::option::of(1_i64..40_000),
        rounding in 0_usize..4, change in proptest::option::of(1_u32..8_000),
        day in proptest::option::of(1_u32..8_000), one_way in 0_usize..3, sell_at_loss in any::<bool>(),
    ) -> Rules {
        let floor = floor.map(|c| Decimal::new(c, 2));
        Rules {
            fee: BasisPoints(fee),
            fee_fixed: Decimal::new(fee_fixed, 2),
            shipping_jpy: Decimal::from(shipping),
            margin: BasisPoints(margin),
            floor,
            ceiling: ceiling.map(|c| Decimal::new(c, 2)).filter(|c| floor.is_none_or(|f| f <= *c)),
            rounding: Rounding::ALL[rounding],
            step_per_change: change.map(BasisPoints),
            step_per_day: day.map(BasisPoints),
            one_way: OneWay::ALL[one_way],
            sell_at_loss,
            ..plain()
        }
    }
}

prop_compose! {
    fn any_listing()(
        current in proptest::option::of(1_i64..50_000), day in proptest::option::of(1_i64..50_000),
        coming in proptest::option::of(1_i64..50_000),
    ) -> ListingBasis {
        let cents = |c: i64| Money::new(Decimal::new(c, 2), Currency::Usd).unwrap();
        let mut basis = listing(None);
        basis.confirmed.price = current.map(cents);
        basis.day_price = day.map(cents);
        basis.day_price_on = Some(day_of(now()));
        basis.in_flight = coming.is_some();
        basis.wanted = Some(Wanted { quantity: q(1), price: coming.map(cents), status: ListingStatus::Active });
        basis
    }
}

/// Whether `to` lies within `step` of `from`.
fn within(from: Option<Money>, to: Decimal, step: Option<BasisPoints>) -> bool {
    let (Some(from), Some(step)) = (from, step) else {
        return true;
    };
    (to - from.amount()).abs() <= from.amount() * step.factor()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn e7_never_below_the_floor_never_at_a_loss_unless_told_never_a_step_too_far(
        rules in any_rules(), basis in any_listing(), yen in 1_i64..100_000, stock in 0_u32..20,
    ) {
        let decision = decide(&[watch(1, stock, Some(yen))], &basis, rules.clone());
        if let Some(price) = decision.price {
            let price = price.amount();
            prop_assert!(rules.floor.is_none_or(|floor| price >= floor), "below the floor");
            prop_assert!(within(basis.confirmed.price, price, rules.step_per_change), "a step too far");
            prop_assert!(within(basis.wanted.and_then(|w| w.price), price, rules.step_per_change));
            let day = basis.day_price.or(basis.confirmed.price);
            prop_assert!(within(day, price, rules.step_per_day), "a day's step too far");
            for base in [basis.confirmed.price, basis.wanted.and_then(|w| w.price)].into_iter().flatten() {
                match rules.one_way {
                    OneWay::Both => {}
                    OneWay::Up => prop_assert!(price >= base.amount()),
                    OneWay::Down => prop_assert!(price <= base.amount()),
                }
            }
        }
        if decision.quantity.is_zero() {
            prop_assert!(stock == 0 || decision.held.is_some(), "a zero without a reason");
        } else {
            let asked = decision.price.or(basis.confirmed.price).unwrap().amount();
            prop_assert!(rules.floor.is_none_or(|floor| asked >= floor));
            let landed = (Decimal::from(yen) + rules.shipping_jpy) / d("100");
            let kept = asked - rules.fee_of(asked).unwrap();
            prop_assert!(rules.sell_at_loss || kept >= landed, "sold at a loss: {kept} of {landed}");
        }
    }

    #[test]
    fn with_room_the_margin_is_earned(rules in any_rules(), yen in 1_i64..100_000) {
        let free = Rules { ceiling: None, step_per_change: None, step_per_day: None, one_way: OneWay::Both, ..rules };
        let decision = decide(&[watch(1, 1, Some(yen))], &listing(Some("20")), free.clone());
        let landed = (Decimal::from(yen) + free.shipping_jpy) / d("100");
        let asked = decision.price.unwrap().amount();
        let kept = asked - free.fee_of(asked).unwrap();
        prop_assert!(kept >= landed * (Decimal::ONE + free.margin.factor()) - d("0.000001"));
        prop_assert_eq!(decision.quantity, q(1));
    }

    #[test]
    fn a_decision_is_stable_once_it_stands(rules in any_rules(), basis in any_listing(), yen in 1_i64..100_000) {
        let rules = Rules { step_per_change: None, step_per_day: None, ..rules };
        let watches = [watch(1, 2, Some(yen))];
        let mut standing = basis;
        standing.in_flight = false;
        let first = decide(&watches, &standing, rules.clone());
        standing.confirmed.price = first.price.or(standing.confirmed.price);
        let second = decide(&watches, &standing, rules);
        prop_assert_eq!(first.price.is_some(), second.price.is_some());
        prop_assert_eq!(second.price.or(first.price), first.price);
    }
}

/// The value of `key`, read as a person would.
fn kept(value: &Value, key: &str) -> Option<Decimal> {
    value.get(key).map(|v| d(v.as_str().unwrap()))
}

fn share(reckoning: &Value, key: &str) -> Option<Decimal> {
    let points = reckoning.get(key)?.as_i64().unwrap();
    Some(Decimal::new(points, 4))
}

/// Upwards at the sixth digit.
fn sixth(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(6, rust_decimal::RoundingStrategy::AwayFromZero)
}

/// The destination's fee for `price`, by what was kept.
fn fee_by_hand(r: &Value, price: Decimal) -> Decimal {
    let rate = share(r, "fee_bp").unwrap();
    let share = match kept(r, "fee_above").filter(|above| price > *above) {
        Some(above) => above * rate + (price - above) * share(r, "fee_above_bp").unwrap(),
        None => price * rate,
    };
    let minimum = kept(r, "fee_minimum").unwrap_or_default();
    share.max(minimum) + kept(r, "fee_fixed").unwrap_or_default()
}

/// The price of which `net` is left after fees, by what was kept.
fn leaving_by_hand(r: &Value, net: Decimal) -> Decimal {
    let net = net + kept(r, "fee_fixed").unwrap_or_default();
    let rate = share(r, "fee_bp").unwrap();
    let first = net / (Decimal::ONE - rate);
    let by_share = match kept(r, "fee_above").filter(|above| first > *above) {
        Some(above) => {
            let beyond = share(r, "fee_above_bp").unwrap();
            (net + above * (rate - beyond)) / (Decimal::ONE - beyond)
        }
        None => first,
    };
    sixth(by_share.max(net + kept(r, "fee_minimum").unwrap_or_default()))
}

/// The lowest and the highest price that the limits leave, by what was kept.
fn limits_by_hand(r: &Value) -> (Decimal, Decimal) {
    let (mut low, mut high) = (d("0.01"), Money::MAX);
    let mut from = |base: Option<Decimal>, step: Option<Decimal>| {
        if let (Some(base), Some(step)) = (base, step) {
            low = low.max(base - base * step);
            high = high.min(base + base * step);
        }
    };
    let bases = [kept(r, "shown"), kept(r, "on_its_way")];
    for base in bases {
        from(base, share(r, "step_per_change_bp"));
    }
    from(kept(r, "day_began_at"), share(r, "step_per_day_bp"));
    for base in bases.into_iter().flatten() {
        match r["one_way"].as_str().unwrap() {
            "up" => low = low.max(base),
            "down" => high = high.min(base),
            _ => {}
        }
    }
    if let Some(ceiling) = kept(r, "ceiling") {
        high = high.min(ceiling.max(low));
    }
    low = low.max(kept(r, "floor").unwrap_or_default());
    let cent = d("0.01");
    ((low / cent).ceil() * cent, (high / cent).floor() * cent)
}

/// The price in dollars that follows from what was kept, with nothing else at hand.
fn price_by_hand(cause: &Value) -> Option<Decimal> {
    let r = &cause["reckoning"];
    let cost = kept(&cause["cost"], "amount").unwrap();
    let yen = cost * kept(r, "cost_yen_per_unit").unwrap_or(Decimal::ONE)
        + kept(r, "shipping_jpy").unwrap_or_default();
    let landed = sixth(yen / kept(cause, "yen_per_unit").unwrap());
    let margin = landed * share(r, "margin_bp").unwrap();
    assert_eq!(kept(r, "landed_jpy"), Some(yen));
    assert_eq!(kept(cause, "landed"), Some(landed));
    assert_eq!(kept(r, "margin"), Some(margin));
    assert_eq!(kept(r, "break_even"), Some(leaving_by_hand(r, landed)));
    let needed = leaving_by_hand(r, landed + margin);
    assert_eq!(kept(cause, "needed"), Some(needed));
    let (low, high) = limits_by_hand(r);
    assert!(kept(r, "lowest").is_none_or(|at| at == low), "{low}: {r}");
    assert!(kept(r, "highest").is_none_or(|at| at == high), "{high}: {r}");
    let ending: Rounding = r["rounding"].as_str().unwrap().parse().unwrap();
    let up = |to: Rounding| to.up(needed.max(low), Currency::Usd);
    match r.get("rounded")?.as_str().unwrap() {
        "up" => up(ending),
        "up_to_unit" => up(Rounding::Unit),
        "down_from_highest" => ending.down(high, Currency::Usd),
        _ => Some(high),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn l7_a_price_follows_from_what_was_kept_beside_it_alone(
        rules in any_rules(), basis in any_listing(), yen in 1_i64..100_000,
        tier in proptest::option::of((1_i64..50_000, 0_u32..9_000)), minimum in 0_i64..2_000,
        foreign in any::<bool>(),
    ) {
        let rules = Rules {
            fee_above: tier.map(|(above, _)| Decimal::new(above, 2)),
            fee_above_rate: BasisPoints(tier.map_or(0, |(_, rate)| rate)),
            fee_minimum: Decimal::new(minimum, 2),
            ..rules
        };
        let mut source = watch(1, 3, Some(yen));
        if foreign {
            let dollars = Money::new(Decimal::new(yen, 2), Currency::Usd).unwrap();
            source.state = source.state.map(|s| SourceState { price: Some(dollars), ..s });
        }
        let decision = decide(&[source], &basis, rules);
        let cause = &decision.cause;
        prop_assert_eq!(price_by_hand(cause), decision.price.map(Money::amount));
        let r = &cause["reckoning"];
        let asked = decision.price.or(basis.confirmed.price).map(Money::amount);
        prop_assert_eq!(kept(r, "price"), asked);
        if let Some(asked) = asked {
            let fee = fee_by_hand(r, asked);
            prop_assert_eq!(kept(r, "fee"), Some(fee));
            prop_assert_eq!(kept(r, "gain"), Some(asked - fee - kept(cause, "landed").unwrap()));
        }
        let steps = derivation(cause).unwrap();
        let says = |amount: Decimal| steps.iter().any(|step| step.contains(&format!("{amount:.2} USD")));
        prop_assert!(asked.is_none_or(says), "{asked:?} is not in {steps:#?}");
    }
}

/// The steps of one decision.
fn steps_of(rules: Rules, basis: &ListingBasis, yen: i64) -> Vec<String> {
    derivation(&decide(&[watch(1, 3, Some(yen))], basis, rules).cause).unwrap()
}

#[test]
fn a_derivation_is_reckoned_by_hand_line_by_line() {
    let rules = Rules {
        fee: BasisPoints(1_325),
        fee_fixed: d("0.40"),
        shipping_jpy: d("750"),
        margin: BasisPoints(1_500),
        rounding: Rounding::Ends99,
        step_per_change: Some(BasisPoints(3_000)),
        floor: Some(d("9.99")),
        ..plain()
    };
    assert_eq!(
        steps_of(rules, &listing(Some("20")), 1_001),
        [
            "cost 1001 JPY + shipping 750 JPY = 1751 JPY",
            "1751 JPY ÷ 100 JPY for 1 USD (fixed in the settings) = landed 17.51 USD, rounded up at the sixth digit",
            "landed 17.51 USD + margin 15 % of it, 2.6265 USD = 20.1365 USD to be left after fees",
            "fees are 13.25 % and 0.40 USD a sale: needed (20.1365 + 0.4) ÷ (1 − 13.25 %) = 23.673199 USD",
            "without margin, by the same steps, 20.645534 USD: below it a sale loses money",
            "limits: floor 9.99 USD; at most 30 % a change from 20.00 USD shown: lowest 14.00 USD (step), highest 26.00 USD (step)",
            "23.673199 USD rounded up to the ending .99 = 23.99 USD",
            "at 23.99 USD: fee 3.578675 USD; 23.99 USD − 3.578675 USD − landed 17.51 USD: 2.901325 USD earned",
        ]
    );
}

#[test]
fn a_derivation_names_the_part_of_the_fees_that_decides() {
    let fees = |rules: Rules, yen| steps_of(rules, &listing(None), yen).remove(3);
    let two = Rules {
        fee: BasisPoints(1_000),
        fee_above: Some(d("100")),
        fee_above_rate: BasisPoints(200),
        ..plain()
    };
    assert_eq!(
        fees(two.clone(), 9_000),
        "fees are 10 % up to 100.00 USD and 2 % of the rest: needed (90 + 0) ÷ (1 − 10 %) = 100.00 USD"
    );
    assert_eq!(
        fees(two, 18_800),
        "fees are 10 % up to 100.00 USD and 2 % of the rest: needed (188 + 0 + 100 × (10 % − 2 %)) ÷ (1 − 2 %) = 200.00 USD"
    );
    let least = Rules {
        fee: BasisPoints(1_000),
        fee_minimum: d("0.30"),
        ..plain()
    };
    assert_eq!(
        fees(least, 100),
        "fees are 10 % but at least 0.30 USD: needed 1 + 0 + 0.3 = 1.30 USD"
    );
}

#[test]
fn a_derivation_says_what_a_limit_did_and_what_a_sale_loses() {
    let rules = Rules {
        step_per_change: Some(BasisPoints(1_000)),
        ..plain()
    };
    let steps = steps_of(rules.clone(), &listing(Some("20")), 3_000);
    assert_eq!(
        steps[steps.len() - 2..],
        [
            "30.00 USD is above the highest, which is rounded down to the smallest unit = 22.00 USD",
            "at 22.00 USD: fee 0.00 USD; 22.00 USD − 0.00 USD − landed 30.00 USD: 8.00 USD lost",
        ]
    );
    let rules = Rules {
        floor: Some(d("30")),
        ..rules
    };
    let steps = steps_of(rules, &listing(Some("20")), 100);
    assert!(
        steps.contains(&"no price lies within the limits; 20.00 USD stands".to_owned()),
        "{steps:#?}"
    );
}

#[test]
fn a_cause_of_a_time_before_reckonings_were_kept_has_no_derivation() {
    let old = json!({
        "rule": "in_stock", "stock": 3, "cost": { "amount": "1000", "currency": "JPY" }, "landed": "10",
        "needed": "12", "yen_per_unit": "100",
    });
    for cause in [old, json!(null), json!({ "reckoning": 7 }), json!("by hand")] {
        assert_eq!(derivation(&cause), None, "{cause}");
    }
}
