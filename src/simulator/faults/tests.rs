use super::*;

#[test]
fn shares_are_met_and_the_same_request_meets_the_same_fault() {
    let plan = YahooFaults {
        p_503: 0.1,
        p_login: 0.2,
        ..YahooFaults::default()
    };
    let met = |kind| {
        (0..10_000_u64)
            .filter(|i| plan.decide(9, mix(9, *i, 0), 0) == Some(kind))
            .count()
    };
    assert!((900..1_100).contains(&met(PageFault::Http503)));
    assert!((1_880..2_120).contains(&met(PageFault::Login)));
    assert_eq!(met(PageFault::Captcha), 0);
    assert_eq!(plan.decide(9, 77, 5), plan.decide(9, 77, 5));
}

#[test]
fn a_storm_rages_once_in_each_span_for_as_long_as_it_lasts() {
    let plan = EbayFaults {
        storm: vec![Storm {
            fault: CallFault::Http503,
            every_s: 30.0,
            lasts_s: 3.0,
        }],
        ..EbayFaults::default()
    };
    for span in 0..20_i64 {
        let raging = (0..300_i64)
            .filter(|tenth| plan.decide(4, 0, (span * 300 + tenth) * 100_000).is_some())
            .count();
        assert!((29..=31).contains(&raging), "span {span}: {raging} tenths");
    }
}

#[test]
fn two_storms_rage_each_at_its_own_time() {
    let text = r#"{"storm":[{"fault":"http_503","every_s":60,"lasts_s":6},{"fault":"http_429","every_s":60,"lasts_s":6}]}"#;
    let plan: YahooFaults = serde_json::from_str(text).unwrap();
    let met: Vec<_> = (0..6_000_i64)
        .map(|tenth| plan.decide(4, 0, tenth * 100_000))
        .collect();
    for fault in [PageFault::Http503, PageFault::Http429] {
        let many = met.iter().filter(|m| **m == Some(fault)).count();
        assert!(
            (400..=601).contains(&many),
            "{fault:?}: {many} tenths of ten minutes"
        );
    }
    let one: YahooFaults =
        serde_json::from_str(r#"{"storm":{"fault":"busy","every_s":1,"lasts_s":1}}"#).unwrap();
    assert_eq!(one.decide(4, 0, 5), Some(PageFault::Busy));
    let none: YahooFaults = serde_json::from_str(r#"{"storm":null}"#).unwrap();
    assert_eq!(none, YahooFaults::default());
}

#[test]
fn a_plan_that_cannot_be_is_named_with_its_keys() {
    let mut plan = FaultPlan::default();
    assert!(plan.problems().is_empty());
    plan.yahoo.p_503 = 0.7;
    plan.yahoo.p_login = 0.7;
    plan.ebay.p_entry_warns = -1.0;
    plan.ebay.storm.push(Storm {
        fault: CallFault::Http503,
        every_s: 1.0,
        lasts_s: 2.0,
    });
    let text = plan.problems().join("\n");
    for key in ["faults.yahoo`", "p_entry_warns", "faults.ebay.storm"] {
        assert!(text.contains(key), "{key} in {text}");
    }
}

#[test]
fn an_unknown_key_of_a_plan_is_refused() {
    let bad = serde_json::from_str::<FaultPlan>(r#"{"yahoo":{"p_504":1}}"#).unwrap_err();
    assert!(bad.to_string().contains("p_504"), "{bad}");
}
