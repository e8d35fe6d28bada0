//! Yahoo! Auctions as a source: one item page in, one [`Observation`] out, or the reason why not.
//!
//! # How a page is read
//! 1. *The JSON path.* `__NEXT_DATA__` is found by searching bytes; one pass over it keeps the needed keys of the item
//!    object, a JSON Schema runs over them, and each is compared with `pageData`, which says the same things a second
//!    time. About 60 µs for a page of 130 KB, on the thread that fetched it.
//! 2. *The document*, through `select`, where the JSON path found no item: pages of 2021 and 2022 are read through it
//!    alone, all others are named (login, captcha, search results, …). A page whose JSON contradicts itself is never
//!    read from its document instead; only what its reader is told about the end is added to the message.
//! 3. *[`confirm`]*: the document must show what the JSON says, before a reading that differs from the last confirmed one
//!    leaves the adapter, and for one page in a thousand.
//!
//! # What it promises
//! An observation is complete, checked and of the item asked for, or there is none. A missing key, an unknown status, a
//! cut page, a redesign, a login page: each is an error with a code and the paths concerned, never a stock of zero and
//! never a price. `removed`, `soft_404` and `moved` (a redirect to another item) are errors of class `NotFound`: one
//! sighting proves nothing, whoever watches looks again a minute later. A page that is about another item than the one
//! asked for, without a redirect, is an answer that went astray: `other_item`, of class `Protocol`.
//!
//! # What the numbers mean
//! `price` is what the page asks now, tax included: the current bid, the fixed price, or the last price of an ended
//! auction. `buy_now_price` is `None` only when its absence is confirmed. `stock` is the quantity on offer while open
//! and 0 after. Seller names and bidders are not read.

mod address;
mod charset;
mod check;
mod classify;
mod document;
mod locate;
mod nesting;
mod number;
mod old;
mod project;
mod refusal;
mod report;
mod source;
mod title;
mod wire;

pub use address::{AddressError, canonical_url, is_item_id, request_url, source_product_id};
pub use report::{ExtractReport, report};
pub use source::{YahooSettings, YahooSource};

use crate::domain::{ErrorClass, Observation, SourceProductId};
use crate::http::status_class;
use crate::platform::PlatformError;
use chrono::{DateTime, Utc};
use refusal::{Code, Refusal};

/// An answer as it came, and what was asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageBytes<'a> {
    /// The HTTP status; 200 for a saved page.
    pub status: u16,
    /// The `Content-Type` header, if there was one.
    pub content_type: Option<&'a str>,
    /// The address asked, for messages and to tell lists apart.
    pub url: &'a str,
    /// The item asked for; `None` takes whichever item the page shows.
    pub asked: Option<&'a SourceProductId>,
    /// The body, decompressed.
    pub body: &'a [u8],
}

/// What reading the JSON came to.
enum Fast {
    /// The page gave an observation.
    Seen(Box<Observation>),
    /// It did not, and its document has to say why.
    Unclear {
        /// What the JSON path objects to; `None` when there was no JSON.
        refusal: Option<Refusal>,
        /// Whether the item object was found, so that the page is an item's page for sure.
        item: bool,
    },
}

/// Reads an item page.
///
/// Blocks the thread for some 60 µs when the JSON path succeeds, for a few milliseconds when it does not.
///
/// # Errors
/// Why the page gives no observation; see [`PlatformError::code`] and [`PlatformError::missing`].
pub fn extract(page: &PageBytes<'_>, fetched_at: DateTime<Utc>) -> Result<Observation, PlatformError> {
    match fast(page, fetched_at) {
        Fast::Seen(seen) => Ok(*seen),
        Fast::Unclear { refusal, item } => extract_by_document(page, fetched_at, refusal, item),
    }
}

/// Checks that the document shows a reader what `seen` says: title, end, current and buy-now price, seller.
///
/// Blocks the thread for 1 to 3 ms.
///
/// # Errors
/// A contract failure that names what disagrees.
pub fn confirm(page: &PageBytes<'_>, seen: &Observation) -> Result<(), PlatformError> {
    let text = charset::decode(page.content_type, page.body);
    document::confirm(&text, seen).map_err(|refusal| refusal.told(page.url))
}

fn fast(page: &PageBytes<'_>, fetched_at: DateTime<Utc>) -> Fast {
    if charset::is_utf8(page.content_type, page.body) {
        by_json(page, page.body, fetched_at)
    } else {
        let text = charset::decode(page.content_type, page.body);
        by_json(page, text.as_bytes(), fetched_at)
    }
}

/// The JSON path over a body that is UTF-8 where it matters.
fn by_json(page: &PageBytes<'_>, body: &[u8], fetched_at: DateTime<Utc>) -> Fast {
    let mut item_found = false;
    let mut read = || -> Result<Option<Observation>, Refusal> {
        let Some(json) = locate::next_data(body)? else {
            return Ok(None);
        };
        let item = wire::item(json).inspect_err(|refusal| {
            item_found = refusal.missing.iter().any(|path| path.starts_with("item."));
        })?;
        item_found = true;
        if page.status != 200 {
            return Err(Refusal::contract(
                "status",
                format!("an item page with HTTP status {}", page.status),
            ));
        }
        let item = wire::typed(&item, "item")?;
        // Without `pageData` nothing confirms that a buy-now price is absent, nor anything else.
        let Some(json) = locate::page_data(body)? else {
            return Err(Refusal::contract("pageData", "`pageData` is not there"));
        };
        let data = wire::page_data(json)?;
        let data = wire::typed(&data, "pageData.items")?;
        check::observation(&item, &data, page.asked, fetched_at).map(Some)
    };
    match read() {
        Ok(Some(seen)) => Fast::Seen(Box::new(seen)),
        Ok(None) => Fast::Unclear {
            refusal: None,
            item: false,
        },
        Err(refusal) => Fast::Unclear {
            refusal: Some(refusal),
            item: item_found,
        },
    }
}

/// What the document says where the JSON path came to nothing.
fn extract_by_document(
    page: &PageBytes<'_>,
    fetched_at: DateTime<Utc>,
    refusal: Option<Refusal>,
    item: bool,
) -> Result<Observation, PlatformError> {
    let by_status = by_status(page);
    let text = charset::decode(page.content_type, page.body);
    if let std::borrow::Cow::Owned(decoded) = &text
        && charset::is_utf8(page.content_type, page.body)
        && let Fast::Seen(seen) = by_json(page, decoded.as_bytes(), fetched_at)
    {
        return Ok(*seen);
    }
    let told = |refusal: Refusal| refusal.told(page.url);
    if let Some(refusal) = &refusal
        && item
        && by_status.is_none()
    {
        return Err(told(with_readers_word(refusal.clone(), &text)));
    }
    let next_data = locate::next_data(text.as_bytes()).ok().flatten();
    let page_data = locate::page_data(text.as_bytes()).map_err(told)?;
    if page.status == 200 && next_data.is_none() && refusal.is_none() && text.contains(old::MARK) {
        return old_page(&text, page_data, page.asked, fetched_at).map_err(told);
    }
    let facts = classify::Facts {
        status: page.status,
        content_type: page.content_type,
        url: page.url,
        next_data,
        has_page_data: page_data.is_some(),
    };
    let named = classify::kind(&text, &facts);
    if let Some(error) = by_status {
        // How one is turned away says more than a 403; a 503 says what it is whatever its text.
        let blocked = named.filter(|named| named.code.class() == error.class);
        return Err(blocked.map_or(error, told));
    }
    Err(told(named.or(refusal).unwrap_or_else(|| {
        let cut = !text.trim_end().to_ascii_lowercase().ends_with("</html>");
        let code = if cut { Code::Truncated } else { Code::Contract };
        Refusal::naming(code, "__NEXT_DATA__", "the page holds no `__NEXT_DATA__`")
    })))
}

/// Adds what a reader is told, where it is the item's status that is in doubt: an operator then knows at once whether the
/// auction is over. It is not acted on.
fn with_readers_word(mut refusal: Refusal, text: &str) -> Refusal {
    let doubtful = refusal
        .missing
        .iter()
        .any(|path| matches!(&**path, "item.status" | "pageData.items.isClosed"));
    if doubtful && let Ok(tree) = document::parse(text) {
        refusal.what.push_str(if document::says_ended(&tree) {
            "; a reader is told that the auction has ended"
        } else {
            "; a reader is not told that the auction has ended"
        });
    }
    refusal
}

/// Reads a page of 2021 or 2022.
fn old_page(
    text: &str,
    page_data: Option<&[u8]>,
    asked: Option<&SourceProductId>,
    fetched_at: DateTime<Utc>,
) -> Result<Observation, Refusal> {
    let tree = document::parse(text)?;
    let data = page_data.map(wire::page_data).transpose()?;
    let data = data
        .as_ref()
        .map(|data| wire::typed(data, "pageData.items"))
        .transpose()?;
    old::observation(&tree, data.as_ref(), asked, fetched_at)
}

/// What an HTTP status says by itself. 404 and 410 are left to the text: a list without hits is served with 404.
fn by_status(page: &PageBytes<'_>) -> Option<PlatformError> {
    let class = match page.status {
        200 | 404 | 410 => return None,
        // Item pages need no credentials: who is asked for them, or refused by law, is turned away.
        401 | 451 => ErrorClass::Blocked,
        status => status_class(status, None).unwrap_or(ErrorClass::Protocol),
    };
    let address: String = page.url.chars().take(200).collect();
    Some(PlatformError {
        class,
        code: format!("http_{}", page.status).into(),
        message: format!(
            "reading the Yahoo! Auctions page {address}: HTTP status {}",
            page.status
        )
        .into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    })
}
