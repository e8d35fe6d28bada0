//! Pages that are no item's page are named as what they are; pages of 2021 and 2022 are read through their document.

use super::pages::Page;
use super::{id, now, read};
use serde_json::json;
use zaikoban::domain::{ErrorClass, ItemStatus, Money, UrlStatus};
use zaikoban::platform::PlatformError;
use zaikoban::platform::yahoo::{self, PageBytes};

const ITEM_URL: &str = "https://auctions.yahoo.co.jp/jp/auction/m1122334455";

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!(
        "{}/tests/fixtures/yahoo/{name}.html",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn error(name: &str, status: u16) -> PlatformError {
    let html = fixture(name);
    let asked = id("m1122334455");
    let page = PageBytes {
        status,
        content_type: Some("text/html; charset=UTF-8"),
        url: ITEM_URL,
        asked: Some(&asked),
        body: html.as_bytes(),
    };
    yahoo::extract(&page, now()).unwrap_err()
}

#[test]
fn d12_each_kind_of_page_has_its_code_and_class() {
    for (name, status, code, class) in [
        ("search", 200, "search_page", ErrorClass::Protocol),
        ("search_empty", 200, "search_page", ErrorClass::Protocol),
        ("search_empty", 404, "search_page", ErrorClass::Protocol),
        ("closedsearch", 200, "closed_search_page", ErrorClass::Protocol),
        (
            "closedsearch_empty",
            404,
            "closed_search_page",
            ErrorClass::Protocol,
        ),
        ("seller", 200, "seller_page", ErrorClass::Protocol),
        ("flea_market_list", 200, "flea_market_list", ErrorClass::Protocol),
        ("flea_market_list", 404, "flea_market_list", ErrorClass::Protocol),
        ("flea_market_item", 200, "flea_market_item", ErrorClass::Protocol),
        ("login", 200, "login_page", ErrorClass::Blocked),
        ("captcha", 200, "captcha", ErrorClass::Blocked),
        (
            "access_concentrated",
            200,
            "access_concentrated",
            ErrorClass::Blocked,
        ),
        ("access_concentrated", 503, "http_503", ErrorClass::Transient),
        ("access_denied", 200, "access_denied", ErrorClass::Blocked),
        ("access_denied", 403, "access_denied", ErrorClass::Blocked),
        ("maintenance", 200, "maintenance", ErrorClass::Blocked),
        ("age_gate", 200, "age_gate", ErrorClass::Blocked),
        ("soft_404", 200, "soft_404", ErrorClass::NotFound),
        ("soft_404", 404, "removed", ErrorClass::NotFound),
        ("soft_404", 410, "removed", ErrorClass::NotFound),
        ("next_404", 200, "soft_404", ErrorClass::NotFound),
        ("next_404", 404, "removed", ErrorClass::NotFound),
        ("removed", 200, "removed", ErrorClass::NotFound),
        ("soft_404", 503, "http_503", ErrorClass::Transient),
        (
            "soft_404",
            429,
            "http_429",
            ErrorClass::RateLimited { retry_after: None },
        ),
        ("soft_404", 403, "http_403", ErrorClass::Blocked),
        ("soft_404", 302, "http_302", ErrorClass::Protocol),
    ] {
        let error = error(name, status);
        assert_eq!(
            (&*error.code, error.class),
            (code, class),
            "{name} {status}: {error}"
        );
        assert!(error.message.contains(ITEM_URL), "{error}");
    }
}

#[test]
fn what_is_no_page_is_said_so() {
    for (body, content_type, code) in [
        ("", "text/html", "truncated"),
        ("  \n", "text/html", "truncated"),
        ("<!doc", "text/html", "truncated"),
        ("<!DOCTYPE html><html><head><title>x", "text/html", "truncated"),
        ("{\"a\":1}", "text/html", "not_html"),
        ("<html></html>", "application/json", "not_html"),
        ("\u{89}PNG", "image/png", "not_html"),
        (
            "<html><body>something else</body></html>",
            "text/html",
            "contract",
        ),
    ] {
        let page = PageBytes {
            status: 200,
            content_type: Some(content_type),
            url: "u",
            asked: None,
            body: body.as_bytes(),
        };
        assert_eq!(&*yahoo::extract(&page, now()).unwrap_err().code, code, "{body}");
    }
}

#[test]
fn a_404_of_somebody_else_is_no_word_on_the_item() {
    let title =
        |words: &str| format!("<!DOCTYPE html><html><head><title>{words}</title></head><body></body></html>");
    for (body, code) in [
        (String::new(), "truncated"),
        ("404 page not found".into(), "not_html"),
        ("{\"message\":\"no Route matched\"}".into(), "not_html"),
        (title("404 Not Found"), "contract"),
        (title("404 Not Found - Yahoo!"), "removed"),
        (fixture("soft_404").replace("</html>", ""), "truncated"),
    ] {
        for status in [404, 410] {
            let page = PageBytes {
                status,
                content_type: Some("text/html"),
                url: ITEM_URL,
                asked: None,
                body: body.as_bytes(),
            };
            let error = yahoo::extract(&page, now()).unwrap_err();
            assert_eq!(&*error.code, code, "{status} {body}");
        }
    }
}

#[test]
fn an_item_page_with_another_status_is_no_item_page() {
    let html = Page::open().html();
    let page = PageBytes {
        status: 404,
        content_type: None,
        url: "u",
        asked: None,
        body: html.as_bytes(),
    };
    assert_eq!(&*yahoo::extract(&page, now()).unwrap_err().missing[0], "status");
}

#[test]
fn words_of_a_seller_do_not_name_a_drifted_page() {
    let mut page = Page::open();
    page.item["title"] = json!(
        "メンテナンス中の車 18歳以上 アクセスが集中 オークションは削除されました ページが見つかりません"
    );
    let html = page
        .html()
        .replace("auctionId", "id")
        .replace("__NEXT_DATA__", "__DATA__");
    for drifted in [html.clone(), html.replace("var pageData", "var data")] {
        let error = read(&drifted, "m1122334455").unwrap_err();
        assert!(error.class != ErrorClass::NotFound, "{error}");
    }
    assert_eq!(&*read(&html, "m1122334455").unwrap_err().code, "contract");
    // Without a heading of the seller's making, a description is no sentence of Yahoo!'s.
    let html = Page::open()
        .html()
        .replace("__NEXT_DATA__", "x")
        .replace("var pageData", "var x");
    let html = html.replace(
        "<h2>商品情報",
        "<p>このオークションは削除されました アクセスが集中</p><h2>商品情報",
    );
    assert_eq!(&*read(&html, "m1122334455").unwrap_err().code, "contract");
}

#[test]
fn a_report_names_pages_and_reads_removed_ones() {
    let list = "https://auctions.yahoo.co.jp/search/search?p=x";
    for (name, url, code) in [
        ("search", list, "search_page"),
        (
            "seller",
            "https://auctions.yahoo.co.jp/seller/seller1",
            "seller_page",
        ),
        (
            "flea_market_list",
            "https://paypayfleamarket.yahoo.co.jp/search/x",
            "flea_market_list",
        ),
        ("login", ITEM_URL, "login_page"),
        ("removed", list, "removed"),
        ("soft_404", ITEM_URL, "soft_404"),
    ] {
        let error = yahoo::report(None, url, fixture(name).as_bytes(), now()).unwrap_err();
        assert_eq!(&*error.code, code, "{name}");
    }
    let removed = yahoo::report(None, ITEM_URL, fixture("removed").as_bytes(), now()).unwrap();
    assert_eq!(
        (removed.status, removed.url_status, removed.stock),
        (ItemStatus::Removed, UrlStatus::Dead, 0)
    );
    assert_eq!(removed.source_product_id.as_str(), "m1122334455");
    let error = yahoo::report(None, list, Page::open().html().as_bytes(), now()).unwrap_err();
    assert_eq!(
        (&*error.code, error.class),
        ("not_an_item_url", ErrorClass::Rejected)
    );
}

#[test]
fn pages_of_2021_are_read_through_their_document() {
    let yen = |amount| Money::yen(amount).unwrap();
    let open = read(fixture("old_open"), "x805284563").unwrap();
    assert_eq!(
        (&*open.title, open.price, open.buy_now_price),
        ("【美品】見本の時計", yen(10_000), Some(yen(15_000)))
    );
    assert_eq!(
        (open.status, open.stock.get(), open.bids),
        (ItemStatus::Open, 2, 3)
    );
    assert_eq!(open.ends_at.unwrap().to_rfc3339(), "2021-10-18T13:54:00+00:00");
    assert!(!open.seller_is_store);

    let closed = read(fixture("old_closed"), "w805284564").unwrap();
    assert_eq!(
        (closed.status, closed.stock.get(), closed.bids),
        (ItemStatus::Ended, 0, 0)
    );
    assert_eq!((closed.price, closed.buy_now_price), (yen(1200), None));

    let store = read(fixture("old_store"), "v805284565").unwrap();
    assert_eq!(
        (store.price, store.buy_now_price, store.seller_is_store),
        (yen(2000), Some(yen(2200)), true)
    );

    assert_eq!(
        &*read(fixture("old_open"), "x805284564").unwrap_err().code,
        "other_item"
    );
}

#[test]
fn an_old_page_that_lacks_or_contradicts_is_refused() {
    for (name, from, to, path) in [
        (
            "old_open",
            "ProductTitle__text",
            "ProductTitle__textual",
            "document.ProductTitle__text",
        ),
        ("old_open", "10,000円", "円", "document.Price--current"),
        ("old_open", "10,000円", "10,001円", "document.Price--current"),
        (
            "old_open",
            "Price--buynow",
            "Price--now",
            "document.Price--buynow",
        ),
        (
            "old_open",
            "Price--current",
            "Price--cur",
            "document.Price--current",
        ),
        ("old_open", "個数", "数", "document.個数"),
        ("old_open", "残り時間", "時間", "document.Count__title"),
        ("old_open", "入札件数", "件数", "document.Count__number"),
        ("old_open", "終了日時", "日時", "document.終了日時"),
        (
            "old_open",
            "\"isClosed\": \"0\"",
            "\"isClosed\": \"1\"",
            "document.ClosedHeader__tag",
        ),
        (
            "old_closed",
            "ClosedHeader__tag",
            "ClosedHeader__tab",
            "document.ClosedHeader__tag",
        ),
        ("old_closed", "（税 0 円）", "", "document.Price__tax"),
        ("old_store", "2,000 円", "2,200 円", "document.Price--current"),
    ] {
        let html = fixture(name);
        assert!(html.contains(from), "{from}");
        let asked = html
            .split("ProductDetail__bullet\">：</span>")
            .last()
            .unwrap()
            .split('<')
            .next()
            .unwrap()
            .to_owned();
        let error = read(html.replace(from, to), &asked).unwrap_err();
        assert_eq!(
            (&*error.code, &*error.missing[0]),
            ("contract", path),
            "{name}: {from} → {to}: {error}"
        );
    }
}

#[test]
fn an_old_page_cut_anywhere_gives_the_right_value_or_none() {
    for (name, asked) in [
        ("old_open", "x805284563"),
        ("old_closed", "w805284564"),
        ("old_store", "v805284565"),
    ] {
        let html = fixture(name);
        let whole = read(&html, asked).unwrap();
        for place in 0..400 {
            let cut = &html.as_bytes()[..html.len() * place / 400];
            if let Ok(seen) = read(cut, asked) {
                assert_eq!(seen, whole);
            }
        }
    }
}

#[test]
fn d11_pages_in_older_encodings_are_read() {
    let html = fixture("old_open");
    for (encoding, label) in [
        (encoding_rs::EUC_JP, "EUC-JP"),
        (encoding_rs::SHIFT_JIS, "Shift_JIS"),
        (encoding_rs::ISO_2022_JP, "ISO-2022-JP"),
    ] {
        let tagged = html.replace("charset=\"utf-8\"", &format!("charset=\"{label}\""));
        let wide = tagged.replace("10,000円", "１０，０００円");
        for text in [tagged, wide] {
            let (bytes, _, lost) = encoding.encode(&text);
            assert!(!lost);
            for content_type in [None, Some(format!("text/html; charset={label}"))] {
                let asked = id("x805284563");
                let page = PageBytes {
                    status: 200,
                    content_type: content_type.as_deref(),
                    url: "u",
                    asked: Some(&asked),
                    body: &bytes,
                };
                let seen = yahoo::extract(&page, now()).unwrap_or_else(|error| panic!("{label}: {error}"));
                assert_eq!(
                    (&*seen.title, seen.price),
                    ("【美品】見本の時計", Money::yen(10_000).unwrap()),
                    "{label}"
                );
            }
        }
    }
    // A page of today that is sent in another encoding than it says.
    let html = Page::buy_now().html().replace('\u{a0}', " ");
    let (bytes, _, lost) = encoding_rs::EUC_JP.encode(&html);
    assert!(!lost);
    let seen = read(bytes, "m1122334455").unwrap();
    assert!(seen.title.starts_with("動作確認済み"), "{}", seen.title);
}
