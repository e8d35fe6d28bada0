//! The holes of a page and what goes into them.

use crate::simulator::goods::{Genre, Seller};
use crate::simulator::world::{ItemState, Micros, Status, calendar};
use chrono::{DateTime, Datelike, FixedOffset, Timelike};
use std::io::Write;

/// Writes into a vector, which cannot fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        drop(write!($out, $($arg)*))
    };
}

macro_rules! holes {
    ($($variant:ident = $name:literal,)+) => {
        /// A place in a template that each page fills for itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Hole { $($variant,)+ }

        impl Hole {
            /// The hole called `name`.
            pub(super) fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

holes!(
    Id = "id",
    TitleHtml = "title_html",
    TitleJson = "title_json",
    Price = "price",
    PriceCommas = "price_commas",
    PriceTax = "price_tax",
    PriceShown = "price_shown",
    InitPrice = "init_price",
    InitCommas = "init_commas",
    InitTax = "init_tax",
    BuyNowKey = "buy_now_key",
    BuyNowRow = "buy_now_row",
    BuyNowText = "win_price",
    StoreKeys = "store_keys",
    IsStore = "is_store",
    IsStoreDigit = "is_store_digit",
    ShopType = "shop_type",
    Quantity = "quantity",
    Bids = "bids",
    Bidders = "bidders",
    Watchers = "watchers",
    HighestBidders = "highest_bidders",
    Status = "status",
    EndStatusKey = "end_status_key",
    IsClosedDigit = "is_closed_digit",
    ClosedBanner = "closed_banner",
    BidButtons = "bid_buttons",
    LdAvailability = "ld_availability",
    StartIso = "start_iso",
    EndIso = "end_iso",
    StartPlain = "start_plain",
    EndPlain = "end_plain",
    StartUnix = "start_unix",
    EndUnix = "end_unix",
    EndFormatted = "end_formatted",
    StartLong = "start_long",
    EndLong = "end_long",
    CampaignEnd = "campaign_end",
    LeftTime = "left_time",
    SinceStart = "since_start",
    LeftShown = "left_shown",
    IsExtended = "is_extended",
    SellerId = "seller_id",
    SellerRatings = "seller_ratings",
    SellerGood = "seller_good",
    SellerGoodPoints = "seller_good_points",
    SellerBadPoints = "seller_bad_points",
);

/// One page's values, the dear ones worked out once.
pub(super) struct Shown<'a> {
    id: &'a str,
    state: &'a ItemState,
    title_html: String,
    title_json: String,
    seller: &'a Seller,
    starts: DateTime<FixedOffset>,
    ends: DateTime<FixedOffset>,
    /// Microseconds until the end; negative after it.
    left: Micros,
    since_start: Micros,
    used: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(
        id: &'a str,
        state: &'a ItemState,
        title: &str,
        seller: &'a Seller,
        genre: &Genre,
        now: Micros,
    ) -> Self {
        Self {
            id,
            state,
            title_html: html(title),
            title_json: script_json(title),
            seller,
            starts: japan(state.starts_at),
            ends: japan(state.ends_at),
            left: state.ends_at - now,
            since_start: now - state.starts_at,
            used: genre.condition != "未使用",
        }
    }

    fn open(&self) -> bool {
        self.state.status == Status::Open
    }
}

impl Hole {
    /// Writes what `page` says here.
    pub(super) fn fill(self, page: &Shown<'_>, out: &mut Vec<u8>) {
        let item = page.state;
        match self {
            Self::Id => out.extend_from_slice(page.id.as_bytes()),
            Self::TitleHtml => out.extend_from_slice(page.title_html.as_bytes()),
            Self::TitleJson => out.extend_from_slice(page.title_json.as_bytes()),
            Self::Price => put!(out, "{}", item.price),
            Self::PriceCommas => commas(out, item.price),
            Self::PriceTax => tax_note(out, item, item.price),
            Self::PriceShown => put!(out, "{}", item.with_tax(item.price)),
            Self::InitPrice => put!(out, "{}", item.init_price),
            Self::InitCommas => commas(out, item.init_price),
            Self::InitTax => tax_note(out, item, item.init_price),
            Self::BuyNowKey => {
                if let Some(price) = item.buy_now {
                    put!(out, "\"bidorbuy\":{price},");
                }
            }
            Self::BuyNowRow => buy_now_row(out, item),
            Self::BuyNowText => put!(out, "{}", item.buy_now.unwrap_or(0)),
            Self::StoreKeys => store_keys(out, item),
            Self::IsStore => put!(out, "{}", item.store),
            Self::IsStoreDigit => put!(out, "{}", u8::from(item.store)),
            Self::ShopType => out.extend_from_slice(if item.store { b"store" } else { b"" }),
            Self::Quantity => put!(out, "{}", item.quantity),
            Self::Bids => put!(out, "{}", item.bids),
            Self::Bidders => put!(out, "{}", item.bids.div_ceil(2)),
            Self::Watchers => put!(out, "{}", 3 + (item.price ^ item.bids) % 60),
            Self::HighestBidders => highest_bidders(out, item),
            Self::Status => out.extend_from_slice(if page.open() { b"open" } else { b"closed" }),
            Self::EndStatusKey => {
                if page.open() {
                    let word = if page.left < 86_400_000_000 {
                        "today"
                    } else {
                        "later"
                    };
                    put!(out, "\"endStatus\":\"{word}\",");
                }
            }
            Self::IsClosedDigit => put!(out, "{}", u8::from(!page.open())),
            Self::ClosedBanner => closed_banner(out, page),
            Self::BidButtons => bid_buttons(out, page),
            Self::LdAvailability => {
                if page.open() {
                    put!(out, "\"availability\":\"https://schema.org/InStock\",");
                }
                let condition = if page.used { "Used" } else { "New" };
                put!(
                    out,
                    "\"itemCondition\":\"https://schema.org/{condition}Condition\","
                );
            }
            Self::StartIso => iso(out, &page.starts),
            Self::EndIso => iso(out, &page.ends),
            Self::StartPlain => plain(out, &page.starts),
            Self::EndPlain => plain(out, &page.ends),
            Self::StartUnix => put!(out, "{}", page.starts.timestamp()),
            Self::EndUnix => put!(out, "{}", page.ends.timestamp()),
            Self::EndFormatted => {
                let t = &page.ends;
                let (day, hour) = (weekday(t), t.hour());
                put!(
                    out,
                    "{}月{}日（{day}）{hour}時{:02}分",
                    t.month(),
                    t.day(),
                    t.minute()
                );
            }
            Self::StartLong => long(out, &page.starts),
            Self::EndLong => long(out, &page.ends),
            Self::CampaignEnd => {
                let t = &page.starts;
                let day = t.day();
                put!(
                    out,
                    "{}/{day}({}){:02}:{:02}",
                    t.month(),
                    weekday(t),
                    t.hour(),
                    t.minute()
                );
            }
            Self::LeftTime => seconds(out, page.left),
            Self::SinceStart => seconds(out, page.since_start),
            Self::LeftShown => left_shown(out, page),
            Self::IsExtended => put!(out, "{}", item.extended),
            Self::SellerId => out.extend_from_slice(page.seller.id.as_bytes()),
            Self::SellerRatings => put!(out, "{}", page.seller.ratings),
            Self::SellerGood => {
                let share = page.seller.good_permille;
                put!(out, "{}.{}", share / 10, share % 10);
            }
            Self::SellerGoodPoints => put!(out, "{}", page.seller.ratings),
            Self::SellerBadPoints => {
                put!(
                    out,
                    "{}",
                    page.seller.ratings * (1_000 - page.seller.good_permille) / 1_000
                );
            }
        }
    }
}

fn buy_now_row(out: &mut Vec<u8>, item: &ItemState) {
    let Some(price) = item.buy_now else { return };
    put!(
        out,
        "<dt class=\"zk-price__label\">即決</dt><dd class=\"zk-price__body\"><span class=\"zk-price__sum zk-price__sum--now\">"
    );
    commas(out, price);
    put!(out, "<!-- -->円</span><span class=\"zk-price__tax\">");
    tax_note(out, item, price);
    put!(out, "</span></dd>");
}

fn store_keys(out: &mut Vec<u8>, item: &ItemState) {
    if !item.store {
        return;
    }
    put!(
        out,
        "\"taxRate\":10,\"taxinPrice\":{},\"taxinStartPrice\":{},",
        item.with_tax(item.price),
        item.with_tax(item.init_price)
    );
    if let Some(price) = item.buy_now {
        put!(out, "\"taxinBidorbuy\":{},", item.with_tax(price));
    }
}

fn highest_bidders(out: &mut Vec<u8>, item: &ItemState) {
    if item.bids == 0 {
        put!(
            out,
            "{{\"totalHighestBidders\":0,\"isMore\":false,\"bidder\":[]}}"
        );
    } else {
        let ratings = item.price % 700;
        put!(
            out,
            "{{\"totalHighestBidders\":1,\"isMore\":false,\"bidder\":[{{\"displayName\":\"zk***\",\"ratingSummary\":{ratings}}}]}}"
        );
    }
}

fn closed_banner(out: &mut Vec<u8>, page: &Shown<'_>) {
    if !page.open() {
        put!(
            out,
            "<section class=\"zk-over\"><p class=\"zk-over__word\">このオークションは終了しています</p><p>{}</p><p>落札者と出品者の方は<a href=\"/login\">こちら</a>から取引を続けられます。</p></section>",
            page.title_html
        );
    }
}

fn bid_buttons(out: &mut Vec<u8>, page: &Shown<'_>) {
    if !page.open() {
        return;
    }
    if page.state.auction {
        put!(
            out,
            "<button type=\"button\" class=\"zk-button zk-button--bid\">入札する</button>"
        );
    }
    if page.state.buy_now.is_some() {
        put!(
            out,
            "<button type=\"button\" class=\"zk-button zk-button--buy\">今すぐ落札</button>"
        );
    }
}

fn left_shown(out: &mut Vec<u8>, page: &Shown<'_>) {
    let seconds = page.left / 1_000_000;
    match seconds {
        _ if !page.open() => put!(out, "終了"),
        86_400.. => put!(out, "{}日", seconds / 86_400),
        3_600.. => put!(out, "{}時間", seconds / 3_600),
        60.. => put!(out, "{}分", seconds / 60),
        _ => put!(out, "{}秒", seconds.max(0)),
    }
}

fn tax_note(out: &mut Vec<u8>, item: &ItemState, price: u32) {
    if item.store {
        put!(out, "（税込");
        commas(out, item.with_tax(price));
        put!(out, "円）");
    } else {
        put!(out, "（税0円）");
    }
}

/// A number with a comma between each three digits.
fn commas(out: &mut Vec<u8>, number: u32) {
    let digits = number.to_string();
    for (i, digit) in digits.bytes().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(b',');
        }
        out.push(digit);
    }
}

/// Microseconds as JSON seconds with three decimals.
fn seconds(out: &mut Vec<u8>, micros: Micros) {
    let sign = if micros < 0 { "-" } else { "" };
    let millis = micros.unsigned_abs() / 1_000;
    put!(out, "{sign}{}.{:03}", millis / 1_000, millis % 1_000);
}

fn iso(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    date(out, t);
    out.push(b'T');
    time(out, t);
    out.extend_from_slice(b"+09:00");
}

fn plain(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    date(out, t);
    out.push(b' ');
    time(out, t);
}

fn date(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    put!(out, "{:04}-{:02}-{:02}", t.year(), t.month(), t.day());
}

fn time(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    put!(out, "{:02}:{:02}:{:02}", t.hour(), t.minute(), t.second());
}

fn long(out: &mut Vec<u8>, t: &DateTime<FixedOffset>) {
    let (day, hour) = (weekday(t), t.hour());
    put!(
        out,
        "{}年{}月{}日（{day}）{hour}時{:02}分",
        t.year(),
        t.month(),
        t.day(),
        t.minute()
    );
}

fn weekday(t: &DateTime<FixedOffset>) -> char {
    match t.weekday() {
        chrono::Weekday::Mon => '月',
        chrono::Weekday::Tue => '火',
        chrono::Weekday::Wed => '水',
        chrono::Weekday::Thu => '木',
        chrono::Weekday::Fri => '金',
        chrono::Weekday::Sat => '土',
        chrono::Weekday::Sun => '日',
    }
}

/// Japan keeps one offset all year.
fn japan(at: Micros) -> DateTime<FixedOffset> {
    let offset = FixedOffset::east_opt(9 * 3_600);
    let at = calendar(at);
    offset.map_or_else(|| at.fixed_offset(), |o| at.with_timezone(&o))
}

/// `text` as it may stand between tags and in attributes.
pub(super) fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// `text` as the inside of a JSON string that may stand in a script element.
pub(super) fn script_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = quoted
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .unwrap_or("");
    inner
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
