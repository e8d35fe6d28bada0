//! What a page is that is no item page: told from its own marks, so that a login page is never taken for a sold item.
//!
//! Looked at only after no item was found. What the page's data say counts most, then the markup of lists and forms,
//! then sentences. On a page that shows a price a sentence counts only in the title or a heading, and on one that shows an
//! item's details none says "gone": a seller may write "maintenance" or "deleted" into a description or a title, and after
//! a redesign such a text must not become "the item is gone", which empties a listing. (A page that says so of an item
//! offers others, with their prices.) A page with `pageData` is an item page whatever it says.

use super::document;
use super::project::{Keep, Rest, Shape, project};
use super::refusal::{Code, Refusal};
use select::document::Document;
use serde_json::Value;

/// What is known of a page beside its text.
pub(super) struct Facts<'a> {
    pub(super) status: u16,
    pub(super) content_type: Option<&'a str>,
    pub(super) url: &'a str,
    /// `__NEXT_DATA__`, if the page has it.
    pub(super) next_data: Option<&'a [u8]>,
    /// Whether the page has `pageData`, which only item pages have.
    pub(super) has_page_data: bool,
}

static ROUTE_SHAPE: Shape = Shape(&[
    ("page", Keep::Whole),
    (
        "props",
        Keep::Object(Shape(&[
            ("initialState", Keep::Object(FLEA_STATE)),
            (
                "pageProps",
                Keep::Object(Shape(&[
                    ("statusCode", Keep::Whole),
                    ("initialState", Keep::Object(LIST_STATE)),
                ])),
            ),
        ])),
    ),
]);
const FLEA_STATE: Shape = Shape(&[
    (
        "searchState",
        Keep::Object(Shape(&[(
            "search",
            Keep::Object(Shape(&[(
                "result",
                Keep::Object(Shape(&[("items", Keep::Object(Shape(&[])))])),
            )])),
        )])),
    ),
    (
        "itemsState",
        Keep::Object(Shape(&[(
            "items",
            Keep::Object(Shape(&[("item", Keep::Object(Shape(&[("id", Keep::Whole)])))])),
        )])),
    ),
]);
const LIST_STATE: Shape = Shape(&[
    (
        "search",
        Keep::Object(Shape(&[(
            "items",
            Keep::Object(Shape(&[(
                "listing",
                Keep::Object(Shape(&[("items", Keep::Object(Shape(&[])))])),
            )])),
        )])),
    ),
    (
        "common",
        Keep::Object(Shape(&[(
            "app",
            Keep::Object(Shape(&[(
                "url",
                Keep::Object(Shape(&[("currentUrl", Keep::Whole)])),
            )])),
        )])),
    ),
]);

/// Names the page at `text`, or `None` when it bears no mark of another kind of page.
pub(super) fn kind(text: &str, facts: &Facts<'_>) -> Option<Refusal> {
    if facts.has_page_data {
        return None;
    }
    let route = facts
        .next_data
        .and_then(|json| project(json, &[], &ROUTE_SHAPE, Rest::Json).ok());
    let lower = text.to_ascii_lowercase();
    let by_marks = route
        .as_ref()
        .and_then(|route| by_data(route, facts))
        .or_else(|| by_markup(&lower, facts))
        .or_else(|| by_form(text, &lower));
    if let Some(code) = by_marks {
        return Some(Refusal::new(code, said(code)));
    }
    let words = match document::parse(text) {
        Ok(tree) => Words::of(&tree),
        Err(refused) => return Some(refused),
    };
    let code = words
        .find(&TURNED_AWAY)
        .or_else(|| words.find_gone(&GONE))
        .or_else(|| missing_page(&words, text, &lower, facts))
        .or_else(|| by_shape(text, &lower, facts))?;
    Some(Refusal::new(code, said(code)))
}

/// The sentences of a page that can be believed.
struct Words {
    text: String,
    details: bool,
}

impl Words {
    fn of(tree: &Document) -> Self {
        let all = document::text(tree);
        // A price is digits and 円; error pages show none.
        let priced = all.split('円').rev().skip(1).any(|before| {
            before
                .trim_end()
                .ends_with(|c: char| c.is_ascii_digit() || ('０'..='９').contains(&c))
        });
        let text = if priced { document::headings(tree) } else { all };
        let details = priced && document::shows_details(tree);
        Self { text, details }
    }

    fn find(&self, marks: &[(&str, Code)]) -> Option<Code> {
        marks
            .iter()
            .find(|(mark, _)| self.text.contains(mark))
            .map(|(_, code)| *code)
    }

    /// The same for marks that say "gone".
    fn find_gone(&self, marks: &[(&str, Code)]) -> Option<Code> {
        if self.details { None } else { self.find(marks) }
    }
}

fn said(code: Code) -> &'static str {
    match code {
        Code::LoginPage => "Yahoo! asks to log in",
        Code::Captcha => "Yahoo! asks to prove that a human is reading",
        Code::AccessConcentrated => "Yahoo! says that access is concentrated",
        Code::AccessDenied => "Yahoo! does not serve this client or country",
        Code::Maintenance => "Yahoo! is under maintenance",
        Code::AgeGate => "Yahoo! asks for the reader's age",
        Code::SearchPage => "this is a list of search results, not an item page",
        Code::ClosedSearchPage => "this is a list of ended auctions, not an item page",
        Code::SellerPage => "this is a seller's list, not an item page",
        Code::FleaMarketList => "this is a list of the flea market, not an item page",
        Code::FleaMarketItem => "this is an item of Yahoo!フリマ, which has another contract",
        Code::Soft404 => "the page says that it was not found",
        Code::Removed => "the item's page is gone",
        Code::NotHtml => "the answer is not an HTML page",
        Code::Truncated => "the page breaks off before its end",
        Code::Contract | Code::OtherItem | Code::Moved | Code::TooLarge => {
            "the page is not what the contract says"
        }
    }
}

/// By what stands in `__NEXT_DATA__`.
fn by_data(data: &Value, facts: &Facts<'_>) -> Option<Code> {
    let flea = |path: &str| data.pointer(path).is_some_and(|found| !found.is_null());
    if flea("/props/initialState/itemsState/items/item/id") {
        return Some(Code::FleaMarketItem);
    }
    if flea("/props/initialState/searchState/search/result") {
        return Some(Code::FleaMarketList);
    }
    let page = data.get("page").and_then(Value::as_str).unwrap_or_default();
    let url = data
        .pointer("/props/pageProps/initialState/common/app/url/currentUrl")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let list = data
        .pointer("/props/pageProps/initialState/search/items/listing/items")
        .is_some_and(|items| !items.is_null());
    if let Some(code) = list_of(page) {
        return Some(code);
    }
    if list {
        return list_of(url)
            .or_else(|| list_of(facts.url))
            .or(Some(Code::SearchPage));
    }
    let status = data
        .pointer("/props/pageProps/statusCode")
        .and_then(Value::as_u64);
    if status == Some(404) || page == "/404" {
        return Some(if matches!(facts.status, 404 | 410) {
            Code::Removed
        } else {
            Code::Soft404
        });
    }
    None
}

/// Which list a route or an address names.
fn list_of(address: &str) -> Option<Code> {
    if address.contains("paypayfleamarket") {
        Some(Code::FleaMarketList)
    } else if address.contains("closedsearch") {
        Some(Code::ClosedSearchPage)
    } else if address.contains("/seller") {
        Some(Code::SellerPage)
    } else if address.contains("/search") {
        Some(Code::SearchPage)
    } else {
        None
    }
}

/// By the markup of result lists, which are not Next.js pages. A list without hits is a whole page with status 404.
fn by_markup(lower: &str, facts: &Facts<'_>) -> Option<Code> {
    let rows = lower.contains("data-auction-id=");
    let empty = lower.contains("empty__title");
    if !rows && !empty {
        return None;
    }
    let own = [canonical(lower), facts.url];
    own.into_iter()
        .find_map(list_of)
        .or_else(|| title(lower).contains("落札").then_some(Code::ClosedSearchPage))
        .or(Some(Code::SearchPage))
}

/// The page's own address, as its head names it.
fn canonical(lower: &str) -> &str {
    ["rel=\"canonical\" href=\"", "property=\"og:url\" content=\""]
        .into_iter()
        .find_map(|mark| lower.split_once(mark)?.1.split('"').next())
        .unwrap_or_default()
}

fn title(text: &str) -> &str {
    text.split_once("<title")
        .and_then(|(_, rest)| rest.split_once('>')?.1.split('<').next())
        .unwrap_or_default()
}

const TURNED_AWAY: [(&str, Code); 22] = [
    ("アクセスが集中", Code::AccessConcentrated),
    ("アクセスが大変集中", Code::AccessConcentrated),
    ("大変混み合って", Code::AccessConcentrated),
    ("大変込み合って", Code::AccessConcentrated),
    ("しばらく時間をおいて", Code::AccessConcentrated),
    ("画像認証", Code::Captcha),
    ("文字認証", Code::Captcha),
    ("ロボットではありません", Code::Captcha),
    ("ロボットではないことを", Code::Captcha),
    ("人間であることを", Code::Captcha),
    ("不正なアクセス", Code::AccessDenied),
    ("アクセスが制限", Code::AccessDenied),
    ("アクセスが拒否", Code::AccessDenied),
    ("EEAおよびイギリス", Code::AccessDenied),
    ("no longer available in the EEA", Code::AccessDenied),
    ("Access Denied", Code::AccessDenied),
    ("メンテナンスのため", Code::Maintenance),
    ("メンテナンス中", Code::Maintenance),
    ("システムメンテナンス", Code::Maintenance),
    ("サービスを一時停止", Code::Maintenance),
    ("年齢確認", Code::AgeGate),
    ("18歳以上", Code::AgeGate),
];
/// Said of this one item, as a fact. "Deleted, or never there" is a page that was not found.
const GONE: [(&str, Code); 10] = [
    ("オークションは取り消されました", Code::Removed),
    ("オークションは取り消されています", Code::Removed),
    ("オークションは削除されました", Code::Removed),
    ("オークションは削除されています", Code::Removed),
    ("商品は削除されました", Code::Removed),
    ("商品は削除されています", Code::Removed),
    ("出品は取り消されました", Code::Removed),
    ("出品が取り消されました", Code::Removed),
    ("オークションは存在しません", Code::Removed),
    ("商品は存在しません", Code::Removed),
];
const NOT_FOUND: [(&str, Code); 10] = [
    ("ページが見つかりません", Code::Soft404),
    ("ページは見つかりません", Code::Soft404),
    ("ページが存在しません", Code::Soft404),
    ("ページは存在しません", Code::Soft404),
    ("ページを表示できません", Code::Soft404),
    ("ページは表示できません", Code::Soft404),
    ("ページが表示できません", Code::Soft404),
    ("お探しのページ", Code::Soft404),
    ("お探しの商品", Code::Soft404),
    ("ドキュメントは存在しません", Code::Soft404),
];

/// By the forms that turn a reader away: a login, a proof of being human.
fn by_form(text: &str, lower: &str) -> Option<Code> {
    const HUMAN: [&str; 4] = ["g-recaptcha", "h-captcha", "recaptcha/api", "captcha"];
    let to_login = lower.split("<form").skip(1).any(|form| {
        form.split('>')
            .next()
            .is_some_and(|tag| tag.contains("login.yahoo.co.jp") || tag.contains("login_form"))
    });
    if title(text).contains("ログイン") || to_login || canonical(lower).contains("//login.yahoo.co.jp") {
        Some(Code::LoginPage)
    } else if HUMAN.iter().any(|mark| lower.contains(mark)) {
        Some(Code::Captcha)
    } else {
        None
    }
}

/// By a 404 in status or words. The status alone is no word of Yahoo!'s: whoever stands between says it, too, and of every
/// item at once. So it counts on a whole page that names Yahoo!, in its text or in the addresses of what it is made of.
fn missing_page(words: &Words, text: &str, lower: &str, facts: &Facts<'_>) -> Option<Code> {
    if !matches!(facts.status, 404 | 410) {
        return words.find_gone(&NOT_FOUND);
    }
    let theirs = ["yahoo", "yimg"].iter().any(|name| lower.contains(name));
    by_shape(text, lower, facts).or(theirs.then_some(Code::Removed))
}

/// By the shape of the answer: nothing, no HTML, an end that is missing.
fn by_shape(text: &str, lower: &str, facts: &Facts<'_>) -> Option<Code> {
    let said_html = facts
        .content_type
        .is_none_or(|kind| kind.to_ascii_lowercase().contains("html"));
    if text.trim().is_empty() {
        return Some(Code::Truncated);
    }
    let looks_html = ["<html", "<!doctype html", "<body", "<head"]
        .iter()
        .any(|mark| lower.contains(mark));
    if !said_html || !looks_html {
        // A page cut within its first bytes is still a beginning of one.
        let begins = "<!doctype html".starts_with(lower.trim()) && said_html;
        return Some(if begins { Code::Truncated } else { Code::NotHtml });
    }
    (!lower.trim_end().ends_with("</html>")).then_some(Code::Truncated)
}
