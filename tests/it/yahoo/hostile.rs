//! Input made to hurt: an error or the right value, in little time and memory, never a panic.

use super::pages::Page;
use super::{confirm, id, now, read};
use proptest::prelude::*;
use serde_json::json;
use zaikoban::platform::yahoo::{self, PageBytes};

const ID: &str = "m1122334455";

/// The page with `json` in place of the value under a key of the item.
fn with(key: &str, json: &str) -> String {
    let mut page = Page::open();
    page.item[key] = json!("@@@");
    page.html().replace("\"@@@\"", json)
}

fn missing(html: &str) -> Vec<String> {
    let error = read(html, ID).unwrap_err();
    error.missing.iter().map(ToString::to_string).collect()
}

#[test]
fn d16_values_no_json_should_hold() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (key, value) in [
        ("price", "NaN"),
        ("price", "1e400"),
        ("price", "Infinity"),
        ("price", "99999999999999999999999999"),
        ("price", "-0"),
        ("price", "3200,\"price\":1"),
        ("price", deep.as_str()),
        ("price", "0x10"),
        ("price", "03200"),
        ("title", "\"\\ud800\""),
        ("title", "\"\\udc00 x\""),
        ("title", "\"\u{1}\""),
        ("status", "\"open\",\"status\":\"closed\""),
        ("seller", "{\"isStore\":false,\"isStore\":true}"),
    ] {
        let missing = missing(&with(key, value));
        assert!(
            missing
                .iter()
                .any(|path| path.starts_with(&format!("item.{key}"))
                    || (path == "item" && value.starts_with('0'))),
            "{key} {value:.40}: {missing:?}"
        );
    }
}

#[test]
fn what_is_not_needed_may_be_anything() {
    let whole = read(Page::open().html(), ID).unwrap();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for value in [
        deep.as_str(),
        "\"\\ud800\"",
        "1e400",
        "[{\"price\":1}]",
        "{\"auctionId\":\"x\",\"auctionId\":2}",
    ] {
        assert_eq!(read(with("img", value), ID).unwrap(), whole, "{value:.40}");
    }
}

#[test]
fn ten_megabytes_and_a_hundred_thousand_levels_are_survived() {
    let filler = "<p>x</p>".repeat(1_300_000);
    let large = Page::open().html().replace("<h1>", &format!("{filler}<h1>"));
    assert!(large.len() > 10_000_000);
    let seen = read(&large, ID).unwrap();
    let page = PageBytes {
        status: 200,
        content_type: None,
        url: "u",
        asked: None,
        body: large.as_bytes(),
    };
    assert_eq!(&*yahoo::confirm(&page, &seen).unwrap_err().code, "too_large");
    for tag in ["<div>", "<div></x>", "<b a='</b>'>", "<div/>"] {
        let deep = format!("<html><body>{}</body></html>", tag.repeat(100_000));
        assert_eq!(&*read(&deep, ID).unwrap_err().code, "too_large");
    }
    assert!(read("{".repeat(1_000_000), ID).is_err());
    assert!(read(vec![0; 1_000_000], ID).is_err());
}

#[test]
fn a_seller_who_writes_our_marks_changes_nothing() {
    let whole = read(Page::open().html(), ID).unwrap();
    for text in [
        "var pageData = {\"items\":{\"winPrice\":\"1\"}};",
        "; var pageData = {\"items\":{\"winPrice\":\"1\"}};",
        "}var pageData={",
        "<script id=\"__NEXT_DATA__\">{}</script>",
        "</script><script id=\"__NEXT_DATA__\">{}</script>",
        "このオークションは終了しています ログイン captcha アクセスが集中 ページが見つかりません",
    ] {
        let mut page = Page::open();
        page.item["description"] = json!([text]);
        page.data["productName"] = json!(text);
        assert_eq!(read(page.html(), ID).unwrap(), whole, "{text}");
        page.item["price"] = json!(null);
        assert_eq!(missing(&page.html()), ["item.price"], "{text}");
    }
}

/// What a seller writes stands in the description below the item's details, and in what search engines are told.
#[test]
fn a_seller_who_writes_our_marks_where_they_are_shown_changes_nothing() {
    for page in [Page::buy_now(), Page::ended(3)] {
        let whole = read(page.html(), ID).unwrap();
        confirm(&page.html(), &whole).unwrap();
        for text in [
            "; var pageData = {&quot;items&quot;:{}};",
            "; var pageData = {\"items\":{}};",
            "このオークションは終了しています",
            "商品情報",
        ] {
            let engines = format!(
                "<script type=\"application/ld+json\">{{\"name\":{}}}</script>",
                json!(text)
            );
            let html = page
                .html()
                .replace("<script>var", &format!("{engines}<script>var"))
                .replace(
                    "<h2>この商品も",
                    &format!(
                        "<h2>商品説明</h2><div><p>{text}</p><strong>{text}</strong></div><h2>この商品も"
                    ),
                );
            assert_eq!(read(&html, ID).unwrap(), whole, "{text}");
            confirm(&html, &whole).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}

#[test]
fn a_seller_who_calls_the_item_ended_does_not_end_it() {
    for mut page in [Page::open(), Page::ended(3)] {
        page.item["title"] = json!("このオークションは終了しています");
        let seen = read(page.html(), ID).unwrap();
        confirm(&page.html(), &seen).unwrap();
    }
}

#[test]
fn no_words_of_a_page_that_shows_an_items_details_make_it_gone() {
    for text in [
        "商品は削除されました",
        "オークションは取り消されました",
        "お探しの商品 ページが見つかりません",
    ] {
        let mut page = Page::open();
        page.item["title"] = json!(text);
        // After a redesign nothing is found where it was.
        let html = page
            .html()
            .replace("__NEXT_DATA__", "__DATA__")
            .replace("var pageData", "var data");
        let bold = html.replace("<h2>商品情報", &format!("<strong>{text}</strong><h2>商品情報"));
        for html in [html, bold] {
            let error = read(&html, ID).unwrap_err();
            assert_eq!(&*error.code, "contract", "{text}: {error}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..400), status in 100_u16..600) {
        let asked = id(ID);
        let page = PageBytes { status, content_type: Some("text/html"), url: "u", asked: Some(&asked), body: &body };
        prop_assert!(yahoo::extract(&page, now()).is_err());
    }

    #[test]
    fn bytes_changed_anywhere_never_give_another_number(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), store: bool
    ) {
        let page = if store { Page::store() } else { Page::buy_now() };
        let mut html = page.html().into_bytes();
        let whole = read(&html, ID).unwrap();
        let at = at.index(html.len());
        html[at] = byte;
        if let Ok(seen) = read(&html, ID) {
            prop_assert_eq!(
                (seen.price, seen.buy_now_price, seen.stock, seen.status, seen.bids, seen.ends_at),
                (whole.price, whole.buy_now_price, whole.stock, whole.status, whole.bids, whole.ends_at)
            );
        }
    }
}
