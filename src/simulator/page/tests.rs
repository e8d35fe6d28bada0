use super::*;
use crate::simulator::faults::Drift;
use crate::simulator::settings::{AuctionSettings, SimulatorSettings};
use crate::simulator::world::{Status, World};
use serde_json::Value;
use std::io::Read;

const NOW: Micros = 1_790_000_000_000_000;

fn world(count: u32) -> World {
    let settings = SimulatorSettings {
        products: count,
        auctions: AuctionSettings {
            share: 0.5,
            ..AuctionSettings::default()
        },
        ..SimulatorSettings::default()
    };
    World::new(&settings, NOW)
}

fn page_of(pages: &Pages, world: &World, index: u32) -> String {
    let state = world.items[usize::try_from(index).unwrap()].now;
    let bytes = pages.render(index, &state, &world.title(index), NOW, false);
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, behind) = text.split_once(from).unwrap_or_else(|| panic!("no {from}"));
    behind
        .split_once(to)
        .unwrap_or_else(|| panic!("no {to} after {from}"))
        .0
}

fn next_data(text: &str) -> Value {
    let json = between(
        text,
        "<script id=\"__NEXT_DATA__\" type=\"application/json\">",
        "</script>",
    );
    serde_json::from_str(json).unwrap()
}

fn page_data(text: &str) -> Value {
    serde_json::from_str(between(text, "var pageData = ", ";</script>")).unwrap()
}

/// The keys that contracts/yahoo.md and all captures have in common.
const KEYS: &[&str] = &[
    "answeredQAndANum",
    "auctionId",
    "auctionItemUrl",
    "biddersNum",
    "bids",
    "brand",
    "category",
    "chargeForShipping",
    "conditionName",
    "coupon",
    "crumb",
    "description",
    "descriptionHtml",
    "descriptionUlt",
    "endTime",
    "featuredPrice",
    "formattedCampaignEndTime",
    "formattedEndTime",
    "highestBidders",
    "img",
    "initPrice",
    "inquiryUrl",
    "isAutomaticExtension",
    "isBidCreditRestrictions",
    "isBidderRatioRestrictions",
    "isBidderRestrictions",
    "isDSK",
    "isEarlyClosing",
    "isExtendedAuction",
    "isFleaMarket",
    "isIdentityDocsBidRestriction",
    "isListingExternalFleaMarket",
    "isNeedAgreementDelivery",
    "isOffer",
    "isPrivacyDeliveryAvailable",
    "isShowQA",
    "isWorldwideDelivery",
    "itemReturnable",
    "keyword",
    "leftTime",
    "option",
    "payment",
    "price",
    "quantity",
    "seller",
    "shipScheduleName",
    "shippingUlt",
    "shopType",
    "startTime",
    "status",
    "timeForBrightTag",
    "timeForUlt",
    "timeFromStart",
    "title",
    "unAnsweredQAndANum",
    "watchListNum",
];

#[test]
fn every_page_has_the_documented_object_twice_and_page_data_that_agrees() {
    let (pages, world) = (Pages::new(1).unwrap(), world(80));
    assert_eq!(KEYS.len(), 56);
    for index in 0..80_u32 {
        let text = page_of(&pages, &world, index);
        let state = world.items[usize::try_from(index).unwrap()].now;
        assert!(!text.contains("{{"), "a hole is left");
        let data = next_data(&text);
        let item = &data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"];
        for key in KEYS {
            assert!(item.get(key).is_some(), "{key}");
        }
        assert_eq!(item, &data["props"]["initialState"]["item"]["detail"]["item"]);
        let raw = text
            .split("\"item\":{\"auctionId\"")
            .skip(1)
            .map(|t| t.split("\"descriptionUlt\"").next());
        let raw: Vec<_> = raw.collect();
        assert!(raw.len() == 2 && raw[0] == raw[1], "not byte-equal");
        assert_eq!(data["query"]["aid"], item["auctionId"]);
        let items = &page_data(&text)["items"];
        for (ours, theirs) in [("productID", "auctionId"), ("productName", "title")] {
            assert_eq!(items[ours], item[theirs]);
        }
        for (ours, theirs) in [("price", "price"), ("quantity", "quantity"), ("bids", "bids")] {
            assert_eq!(items[ours].as_str().unwrap(), item[theirs].to_string());
        }
        assert_eq!(
            items["winPrice"].as_str().unwrap(),
            state.buy_now.unwrap_or(0).to_string()
        );
        assert_eq!(
            item.get("bidorbuy").and_then(Value::as_u64),
            state.buy_now.map(u64::from)
        );
        assert_eq!(item["seller"]["isStore"], state.store);
        assert_eq!(items["isStore"], if state.store { "1" } else { "0" });
        assert_eq!(item.get("taxinPrice").is_some(), state.store);
        if state.store {
            let taxed = u64::from(state.price) * 11 / 10;
            assert_eq!(item["taxinPrice"].as_u64(), Some(taxed));
        }
        let ends = chrono::DateTime::parse_from_rfc3339(item["endTime"].as_str().unwrap()).unwrap();
        assert_eq!(ends.timestamp_micros(), state.ends_at);
        assert_eq!(item["timeForUlt"]["endTime"].as_i64(), Some(ends.timestamp()));
        assert!(item["leftTime"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn pages_are_as_long_and_as_compressible_as_real_ones() {
    let (pages, world) = (Pages::new(1).unwrap(), world(8));
    for index in 0..8_u32 {
        let plain = page_of(&pages, &world, index).len();
        assert!((110_000..=143_000).contains(&plain), "{plain}");
        let state = world.items[usize::try_from(index).unwrap()].now;
        let packed = pages.render(index, &state, &world.title(index), NOW, true).len();
        println!("{plain} bytes, {packed} as gzip");
        assert!((18..=32).contains(&(packed * 100 / plain)), "{packed} of {plain}");
    }
}

#[test]
fn a_compressed_page_is_given_out_again_until_the_item_changes_or_it_is_old() {
    let (pages, world) = (Pages::new(1).unwrap(), world(1));
    let title = world.title(0);
    let mut state = world.items[0].now;
    let first = pages.render(0, &state, &title, NOW, true);
    assert_eq!(pages.render(0, &state, &title, NOW + 299_000_000, true), first);
    assert_ne!(pages.render(0, &state, &title, NOW + 300_000_000, true), first);
    assert_ne!(pages.render(0, &state, "another", NOW, true), first);
    let second = pages.render(0, &state, &title, NOW, true);
    state.price += 1;
    assert_ne!(pages.render(0, &state, &title, NOW, true), second);
}

#[test]
fn the_compressed_page_is_the_plain_page() {
    let (pages, world) = (Pages::new(3).unwrap(), world(8));
    for index in 0..8_u32 {
        let state = world.items[usize::try_from(index).unwrap()].now;
        let packed = pages.render(index, &state, &world.title(index), NOW, true);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, page_of(&pages, &world, index));
    }
}

#[test]
fn a_closed_page_says_so_everywhere() {
    let (pages, world) = (Pages::new(1).unwrap(), world(4));
    for index in 0..4_u32 {
        let mut state = world.items[usize::try_from(index).unwrap()].now;
        let open = page_of(&pages, &world, index);
        assert!(!open.contains("このオークションは終了しています"));
        assert!(open.contains("schema.org/InStock"));
        state.status = Status::Ended;
        state.ends_at = NOW - 83_900_000;
        let text = String::from_utf8(pages.render(index, &state, "x", NOW, false).to_vec()).unwrap();
        assert!(text.contains("このオークションは終了しています"));
        assert!(!text.contains("schema.org/InStock") && !text.contains("endStatus"));
        let data = next_data(&text);
        let item = &data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"];
        assert_eq!(item["status"], "closed");
        assert_eq!(item["leftTime"].as_f64(), Some(-83.9));
        assert_eq!(page_data(&text)["items"]["isClosed"], "1");
    }
}

#[test]
fn a_hostile_title_stays_a_title() {
    let (pages, world) = (Pages::new(1).unwrap(), world(1));
    let title = "</script><script>alert(1)</script> \"引用\" & <b> \\ \u{2028} {{id}}";
    let state = world.items[0].now;
    let text = String::from_utf8(pages.render(0, &state, title, NOW, false).to_vec()).unwrap();
    let data = next_data(&text);
    assert_eq!(
        data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"]["title"],
        title
    );
    assert!(!text.contains("<script>alert"));
}

/// Cutting the templates is the dear part.
static PAGES: std::sync::LazyLock<Pages> = std::sync::LazyLock::new(|| Pages::new(7).unwrap());

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_an_item_is_its_page_is_well_formed_and_compresses_to_itself(
        index in 0..10_000_u32, price in 1..900_000_000_u32, buy_now in proptest::option::of(1..900_000_000_u32),
        quantity in 1..1_000_000_u32, bids in 0..5_000_u32, store: bool, open: bool,
        ends_in_s in -40_000_000..40_000_000_i64, title in "\\PC{1,60}",
    ) {
        let pages = &*PAGES;
        let mut state = world(1).items[0].now;
        let ends_at = NOW + ends_in_s * 1_000_000;
        let status = if open { Status::Open } else { Status::Ended };
        state = ItemState { price, buy_now, quantity, bids, store, status, ends_at, ..state };
        let text = String::from_utf8(pages.render(index, &state, &title, NOW, false).to_vec()).unwrap();
        let data = next_data(&text);
        let item = &data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"];
        assert_eq!(item["title"], title);
        assert_eq!((item["price"].as_u64(), item["quantity"].as_u64()), (Some(price.into()), Some(quantity.into())));
        assert_eq!(item["status"], if open { "open" } else { "closed" });
        assert_eq!(page_data(&text)["items"]["productName"], title);
        assert_eq!(item.get("taxinBidorbuy").is_some(), store && buy_now.is_some());
        for json in text.split("<script type=\"application/ld+json\">").skip(1) {
            serde_json::from_str::<Value>(json.split("</script>").next().unwrap()).unwrap();
        }
        let packed = pages.render(index, &state, &title, NOW, true);
        let mut inflated = String::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_string(&mut inflated).unwrap();
        assert!(inflated == text);
    }
}

#[test]
fn the_first_price_of_the_text_is_another_items() {
    let (pages, world) = (Pages::new(1).unwrap(), world(1));
    let text = page_of(&pages, &world, 0);
    let first = text.find("現在").unwrap();
    let own = text.find("<dt class=\"zk-price__label\">現在").unwrap();
    assert!(
        first < own && text[own + 60..].contains("現在"),
        "no price of others around the item's own"
    );
}

#[test]
fn every_drift_changes_what_its_name_says_and_leaves_json() {
    let pages = Pages::new(1).unwrap();
    let world = world(4);
    let index = (0..4_u32)
        .find(|i| world.items[usize::try_from(*i).unwrap()].now.buy_now.is_some())
        .unwrap();
    let page = page_of(&pages, &world, index);
    for drift in Drift::ALL {
        let text = String::from_utf8(drifted(page.as_bytes(), drift, 0)).unwrap();
        assert_ne!(text, page, "{drift:?}");
        if drift == Drift::RenameScript {
            continue;
        }
        let data = next_data(&text);
        let item = &data["props"]["pageProps"]["initialState"]["item"]["detail"]["item"];
        let kept = |key: &str| item.get(key).is_some();
        match drift {
            Drift::RenameBidorbuy => {
                assert!(!kept("bidorbuy") && page_data(&text)["items"]["winPrice"] != "0")
            }
            Drift::DropQuantity => assert!(!kept("quantity") && kept("price")),
            Drift::RetypePrice => assert!(item["price"].is_string()),
            Drift::NullEndTime => {
                assert!(item["endTime"].is_null() && item["timeForUlt"]["endTime"].is_i64())
            }
            Drift::UnknownStatus => assert_eq!(item["status"], "suspend"),
            Drift::DropIsStore => {
                assert!(item["seller"].get("isStore").is_none() && item["seller"].is_object())
            }
            Drift::MoveItem => assert!(item.is_null()),
            Drift::DropPageData => assert!(!text.contains("var pageData")),
            Drift::Disagree => {
                assert_ne!(
                    page_data(&text)["items"]["price"].as_str().unwrap(),
                    item["price"].to_string()
                );
            }
            Drift::RenameScript | Drift::Any => {}
        }
    }
}

#[test]
fn a_template_with_a_wrong_hole_is_refused_by_name() {
    for (text, word) in [("a{{nobody}}b", "nobody"), ("a{{id", "id")] {
        let Err(bad) = template::Template::cut(text) else {
            panic!("{text}")
        };
        assert!(bad.to_string().contains(word), "{bad}");
    }
}
