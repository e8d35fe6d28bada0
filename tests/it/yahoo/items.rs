//! Item pages in all their states: the right value, or an error that names the contradiction.

use super::pages::Page;
use super::{captures, confirm, now, read};
use serde_json::json;
use zaikoban::domain::{ItemStatus, Money, Observation, TitleHash, UrlStatus};
use zaikoban::platform::yahoo;

const ID: &str = "m1122334455";

fn yen(amount: i64) -> Money {
    Money::yen(amount).unwrap()
}

fn seen(page: &Page) -> Observation {
    let html = page.html();
    let seen = read(&html, ID).unwrap();
    confirm(&html, &seen).unwrap();
    seen
}

/// The paths that the page is refused for.
fn refused(page: &Page) -> Vec<String> {
    let error = read(page.html(), ID).unwrap_err();
    assert_eq!(&*error.code, "contract", "{error}");
    error.missing.iter().map(ToString::to_string).collect()
}

#[test]
fn an_open_auction_is_read_whole() {
    let seen = seen(&Page::open());
    assert_eq!(seen.source_product_id.as_str(), ID);
    assert_eq!(&*seen.title, "動作確認済み \u{a0}テスト用カメラ <A&B> \"C\" 2台");
    assert_eq!(
        seen.title_hash,
        TitleHash::of("動作確認済み テスト用カメラ <A&B> \"C\" 2台")
    );
    assert_eq!((seen.price, seen.buy_now_price), (yen(3200), None));
    assert_eq!(
        (seen.status, seen.stock.get(), seen.bids),
        (ItemStatus::Open, 2, 4)
    );
    assert_eq!(seen.ends_at.unwrap().to_rfc3339(), "2026-08-02T13:58:02+00:00");
    assert!(!seen.seller_is_store);
    assert_eq!(seen.seller_id.as_deref(), Some("seller1"));
    assert_eq!((seen.url_status, seen.fetched_at), (UrlStatus::Active, now()));
}

#[test]
fn buy_now_is_read_and_its_absence_needs_confirmation() {
    assert_eq!(seen(&Page::buy_now()).buy_now_price, Some(yen(12_800)));

    let mut page = Page::buy_now();
    page.item.as_object_mut().unwrap().remove("bidorbuy");
    assert_eq!(refused(&page), ["item.bidorbuy", "pageData.items.winPrice"]);
    page.item["bidorbuy"] = json!(null);
    assert_eq!(refused(&page), ["item.bidorbuy", "pageData.items.winPrice"]);
    page.item["bidorbuy"] = json!(12_801);
    assert_eq!(refused(&page), ["item.bidorbuy", "pageData.items.winPrice"]);
    page.item["bidorbuy"] = json!(0);
    assert_eq!(refused(&page), ["item.bidorbuy"]);

    let mut page = Page::open();
    page.data.as_object_mut().unwrap().remove("winPrice");
    assert_eq!(refused(&page), ["pageData.items.winPrice"]);
    page.data = json!(null);
    assert_eq!(refused(&page), ["pageData"]);
}

#[test]
fn ended_auctions_have_no_stock_with_and_without_bids() {
    for bids in [0, 17] {
        let seen = seen(&Page::ended(bids));
        assert_eq!(
            (seen.status, seen.stock.get(), seen.bids),
            (ItemStatus::Ended, 0, bids)
        );
        assert_eq!(seen.price, yen(3200));
    }
}

#[test]
fn a_stores_price_is_with_tax_rounded_down() {
    let page = Page::store();
    let read = seen(&page);
    assert_eq!((read.price, read.buy_now_price), (yen(8910), Some(yen(350_000))));
    assert!(read.seller_is_store);

    // 1,819 × 1.1 = 2,000.9
    let mut page = Page::store();
    page.item["price"] = json!(1819);
    page.data["price"] = json!("1819");
    page.prices[0].1 = "1,819円（税込 2,000 円）".into();
    for given in [json!(2000), json!(null)] {
        page.item["taxinPrice"] = given;
        assert_eq!(seen(&page).price, yen(2000));
    }
    page.item["taxinPrice"] = json!(2001);
    assert_eq!(refused(&page), ["item.price", "item.taxinPrice", "item.taxRate"]);
    page.item["taxinPrice"] = json!(2000);
    page.item["taxRate"] = json!(8);
    assert_eq!(refused(&page)[..2], ["item.price", "item.taxinPrice"]);
    page.item["taxRate"] = json!(null);
    page.item["taxinBidorbuy"] = json!(350_000);
    assert_eq!(seen(&page).price, yen(2000));
    page.item["taxinPrice"] = json!(null);
    assert_eq!(refused(&page), ["item.taxinPrice", "item.taxRate"]);

    // `pageData` may show the price with tax as well as without.
    let mut page = Page::store();
    page.data["price"] = json!("8910");
    page.data["winPrice"] = json!("350000");
    assert_eq!(seen(&page).price, yen(8910));
    page.data["isStore"] = json!("0");
    assert_eq!(refused(&page), ["item.seller.isStore", "pageData.items.isStore"]);
}

#[test]
fn a_private_sellers_item_has_no_tax() {
    let mut page = Page::open();
    page.item["taxinPrice"] = json!(3520);
    assert_eq!(refused(&page), ["item.taxinPrice", "item.seller.isStore"]);
}

#[test]
fn a_flea_market_item_has_one_fixed_price() {
    let mut page = Page::open();
    page.item["isFleaMarket"] = json!(true);
    page.data["bids"] = json!("1");
    page.item["bids"] = json!(0);
    page.prices = vec![("価格", "3,200円（税0円）".into())];
    page.data["winPrice"] = json!("3200");
    assert_eq!(seen(&page).buy_now_price, Some(yen(3200)));
    for other in ["0", "4000"] {
        page.data["winPrice"] = json!(other);
        assert_eq!(
            refused(&page),
            ["item.isFleaMarket", "item.bidorbuy", "pageData.items.winPrice"]
        );
    }
}

#[test]
fn ids_of_digits_only_are_items_too() {
    let mut page = Page::open();
    page.item["auctionId"] = json!("1219987808");
    page.data["productID"] = json!("1219987808");
    let seen = read(page.html(), "1219987808").unwrap();
    assert_eq!(seen.source_product_id.as_str(), "1219987808");
}

#[test]
fn d15_every_pair_that_disagrees_is_refused_by_both_names() {
    for (key, value, path) in [
        ("productID", "m1122334456", "item.auctionId"),
        ("price", "3201", "item.price"),
        ("winPrice", "1", "item.bidorbuy"),
        ("quantity", "1", "item.quantity"),
        ("bids", "5", "item.bids"),
        ("isStore", "1", "item.seller.isStore"),
        ("isClosed", "1", "item.status"),
        ("endtime", "2026-08-02 22:58:03", "item.endTime"),
    ] {
        let mut page = Page::open();
        page.data[key] = json!(value);
        assert_eq!(refused(&page), [path.to_owned(), format!("pageData.items.{key}")]);
    }
    let mut page = Page::open();
    page.item["seller"]["aucUserId"] = json!("seller2");
    assert_eq!(refused(&page), ["item.seller.aucUserId", "item.seller.listUrl"]);
    page.item["seller"]["aucUserId"] = json!(null);
    assert_eq!(refused(&page), ["item.seller.aucUserId", "item.seller.listUrl"]);
    page.item["seller"]["listUrl"] = json!(null);
    assert_eq!(read(page.html(), ID).unwrap().seller_id, None, "nobody is named");
    let mut page = Page::open();
    page.item["timeForUlt"]["endTime"] = json!(1_785_679_083);
    assert_eq!(refused(&page), ["item.endTime", "item.timeForUlt.endTime"]);
}

#[test]
fn e3_values_that_cannot_be_are_refused() {
    for (key, value) in [
        ("status", json!("cancelled")),
        ("status", json!("sold")),
        ("price", json!(0)),
        ("price", json!(-1)),
        ("price", json!(3200.5)),
        ("price", json!(3200.0)),
        ("price", json!(10_000_000_000_i64)),
        ("price", json!(u64::MAX)),
        ("price", json!("3200")),
        ("quantity", json!(0)),
        ("quantity", json!(-1)),
        ("quantity", json!(1_000_000_000)),
        ("quantity", json!("残りわずか")),
        ("bids", json!(-1)),
        ("title", json!("")),
        ("title", json!(" \u{0}\u{7} ")),
        ("title", json!("長".repeat(501))),
        ("endTime", json!("2026-08-02T22:58:02")),
        ("endTime", json!("8月2日（日）22時58分")),
        ("isFleaMarket", json!(0)),
        ("seller", json!([])),
        ("auctionId", json!("../../etc/passwd")),
    ] {
        let mut page = Page::open();
        page.item[key] = value.clone();
        if key == "quantity" {
            page.data[key] = json!(value.to_string());
        }
        if key == "auctionId" {
            page.data["productID"] = value.clone();
        }
        let missing = refused(&page);
        assert!(
            missing
                .iter()
                .any(|path| path.starts_with(&format!("item.{key}"))),
            "{key} {value}: {missing:?}"
        );
    }
}

#[test]
fn another_items_page_is_refused() {
    let error = read(Page::open().html(), "m1122334456").unwrap_err();
    assert_eq!(
        (&*error.code, &*error.missing[0]),
        ("other_item", "item.auctionId")
    );
}

#[test]
fn control_characters_do_not_reach_the_title() {
    let mut page = Page::open();
    page.item["title"] = json!("a\u{0}b\u{1b}[31m\r\nc\u{202e}");
    assert_eq!(&*read(page.html(), ID).unwrap().title, "ab[31m  c\u{202e}");
}

#[test]
fn a_document_that_shows_something_else_is_not_confirmed() {
    let page = Page::buy_now();
    let html = page.html();
    let read = seen(&page);
    for (from, to, path) in [
        ("<h1>動作", "<h1>別の", "document.h1"),
        ("3,200", "3,201", "document.現在"),
        ("12,800", "13,800", "document.即決"),
        (
            "<dt class=\"x1\">即決</dt>",
            "<dt class=\"x1\">いますぐ</dt>",
            "document.即決",
        ),
        (
            "<h1>",
            "<p>このオークションは終了しています</p><h1>",
            "document.status",
        ),
    ] {
        assert!(html.contains(from), "{from}");
        let error = confirm(&html.replace(from, to), &read).unwrap_err();
        assert_eq!((&*error.code, &*error.missing[0]), ("contract", path));
    }
    // A buy-now price that only the reader sees.
    let error = confirm(&html, &seen_without_buy_now()).unwrap_err();
    assert_eq!(&*error.missing[0], "document.即決");
}

fn seen_without_buy_now() -> Observation {
    read(Page::open().html(), ID).unwrap()
}

#[test]
fn captured_pages_are_read_and_confirmed() {
    for (asked, html) in captures() {
        let seen = read(&html, &asked).unwrap();
        confirm(&html, &seen).unwrap();
        let report = yahoo::report(
            None,
            &format!("https://page.auctions.yahoo.co.jp/jp/auction/{asked}"),
            html.as_bytes(),
            now(),
        );
        let json = serde_json::to_value(report.unwrap()).unwrap();
        match &*asked {
            "s1238539612" => assert_eq!(
                json,
                json!({
                    "source_product_id": "s1238539612", "title": "ARS10 遊戯王 はにわ 初期 Vol.1 PSA10相当",
                    "title_hash": seen.title_hash.to_string(), "price": 3440, "currency": "JPY", "stock": 1,
                    "status": "open", "buy_now_price": 30000, "ends_at": "2026-08-02T13:58:02Z", "bids": 11,
                    "seller_is_store": false, "url_status": "active",
                })
            ),
            "n1235105710" => {
                assert_eq!(
                    (&json["status"], &json["stock"], &json["price"]),
                    (&json!("ended"), &json!(0), &json!(6350))
                );
                assert_eq!(
                    (&json["buy_now_price"], &json["bids"]),
                    (&json!(null), &json!(15))
                );
            }
            _ => {}
        }
    }
}

/// Prints what reading and confirming cost: `cargo test --release --test it yahoo_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn yahoo_speed() {
    for (asked, html) in captures() {
        let seen = read(&html, &asked).unwrap();
        let rounds = 2000;
        let start = tokio::time::Instant::now();
        for _ in 0..rounds {
            std::hint::black_box(read(std::hint::black_box(&html), &asked).unwrap());
        }
        let read_us = start.elapsed().as_micros() / rounds;
        let start = tokio::time::Instant::now();
        for _ in 0..100 {
            confirm(std::hint::black_box(&html), &seen).unwrap();
        }
        let confirm_us = start.elapsed().as_micros() / 100;
        println!(
            "{asked}: {} bytes, read {read_us} µs, confirm {confirm_us} µs",
            html.len()
        );
    }
}
