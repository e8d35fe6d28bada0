//! Item pages of 2021 and 2022, which have no `__NEXT_DATA__`: read through the document alone.
//!
//! Their CSS classes were names that people gave (`Price--buynow`), not build hashes, and the markup is long frozen:
//! no release can rename anything any more, so here the absence of the buy-now block does mean that there is none. Where
//! such a page carries `pageData`, it must agree as it must on today's pages.

use super::check::in_japan;
use super::refusal::{Code, Refusal};
use super::wire::PageData;
use super::{document, number, title};
use crate::domain::{
    DataSource, ItemStatus, Money, Observation, Quantity, SourceProductId, TitleHash, UrlStatus,
};
use chrono::{DateTime, NaiveDate, Utc};
use select::document::Document;
use select::node::Node;
use select::predicate::{Class, Predicate};

/// Stands on every such page, in every state.
pub(super) const MARK: &str = "ProductTitle__text";

/// Reads the page.
///
/// # Errors
/// A contract failure that names the classes or details that are missing or contradict.
pub(super) fn observation(
    document: &Document,
    data: Option<&PageData<'_>>,
    asked: Option<&SourceProductId>,
    fetched_at: DateTime<Utc>,
) -> Result<Observation, Refusal> {
    let id = detail(document, "オークションID")?;
    let id = SourceProductId::new(&id)
        .map_err(|error| Refusal::contract("document.オークションID", error.to_string()))?;
    if let Some(asked) = asked
        && *asked != id
    {
        return Err(Refusal::naming(
            Code::OtherItem,
            "document.オークションID",
            format!("asked for `{asked}`, the page shows `{id}`"),
        ));
    }
    let heading = one(document, MARK)?.text();
    let title =
        title::clean(&heading).map_err(|why| Refusal::contract("document.ProductTitle__text", why))?;
    let ended = ended(document)?;
    let current = Price::read(document, "Price--current")?
        .ok_or_else(|| Refusal::contract("document.Price--current", "the page shows no price"))?;
    let buy_now = Price::read(document, "Price--buynow")?;
    let seller_is_store = match current.tax {
        Tax::None => false,
        Tax::Included(_) => true,
        Tax::Unsaid => data.map(|data| data.is_store == "1").ok_or_else(|| {
            Refusal::contract("document.Price__tax", "nothing says whether the price has tax")
        })?,
    };
    let quantity = detail(document, "個数")?;
    let quantity = number::count(quantity.trim_end_matches('個').trim())
        .and_then(|count| Quantity::new(count).ok())
        .filter(|count| ended || !count.is_zero())
        .ok_or_else(|| Refusal::contract("document.個数", format!("`{quantity}` is no number of pieces")))?;
    let end = detail(document, "終了日時")?;
    let ends_at =
        time(&end).ok_or_else(|| Refusal::contract("document.終了日時", format!("`{end}` is no time")))?;
    let bids = bids(document)?;
    let seen = Observation {
        title_hash: TitleHash::of(&title),
        title,
        price: current.paid("document.Price--current")?,
        buy_now_price: buy_now
            .map(|price| price.paid("document.Price--buynow"))
            .transpose()?,
        stock: if ended { Quantity::ZERO } else { quantity },
        status: if ended {
            ItemStatus::Ended
        } else {
            ItemStatus::Open
        },
        ends_at: Some(ends_at),
        bids,
        seller_is_store,
        seller_id: None,
        url_status: UrlStatus::Active,
        data_source: DataSource::YahooPage,
        fetched_at,
        source_product_id: id,
    };
    if let Some(data) = data {
        agree(&seen, &current, buy_now.as_ref(), data)?;
    }
    Ok(seen)
}

/// What `pageData` says of the same page must not contradict.
fn agree(
    seen: &Observation,
    current: &Price,
    buy_now: Option<&Price>,
    data: &PageData<'_>,
) -> Result<(), Refusal> {
    let shows = |price: &Price, text: &str| {
        let said = number::count(text);
        said == Some(price.yen) || matches!(price.tax, Tax::Included(gross) if said == Some(gross))
    };
    let buy_now_agrees = match buy_now {
        Some(price) => shows(price, data.win_price),
        // An ended page no longer shows what nobody can pay any more.
        None => seen.status == ItemStatus::Ended || number::count(data.win_price) == Some(0),
    };
    for (agrees, ours, theirs) in [
        (
            data.product_id == seen.source_product_id.as_str(),
            "document.オークションID",
            "productID",
        ),
        (
            (data.is_closed == "1") == (seen.status == ItemStatus::Ended),
            "document.ClosedHeader__tag",
            "isClosed",
        ),
        (shows(current, data.price), "document.Price--current", "price"),
        (buy_now_agrees, "document.Price--buynow", "winPrice"),
        (
            (data.is_store == "1") == seen.seller_is_store,
            "document.Price__tax",
            "isStore",
        ),
    ] {
        if !agrees {
            let theirs = format!("pageData.items.{theirs}");
            return Err(Refusal {
                code: Code::Contract,
                what: format!("`{ours}` and `{theirs}` contradict each other"),
                missing: vec![ours.into(), theirs.into()],
            });
        }
    }
    Ok(())
}

/// Whether the auction is over. A page that says neither is no page of this kind.
fn ended(document: &Document) -> Result<bool, Refusal> {
    let tagged = document.find(Class("ClosedHeader__tag")).next().is_some();
    if tagged != document::says_ended(document) {
        return Err(Refusal::contract(
            "document.ClosedHeader__tag",
            format!(
                "the header of an ended auction and the sentence `{}` do not go together",
                document::ENDED_SENTENCE
            ),
        ));
    }
    let running = document
        .find(Class("Count__title"))
        .any(|count| count.text().contains("残り時間"));
    if !tagged && !running {
        return Err(Refusal::contract(
            "document.Count__title",
            "neither ended nor with time left",
        ));
    }
    Ok(tagged)
}

/// What the page says of the tax in a price.
#[derive(Clone, Copy, Debug)]
enum Tax {
    /// `（税 0 円）`: a private seller.
    None,
    /// `（税込 2,000 円）`: a store; the amount with tax.
    Included(i64),
    /// Nothing.
    Unsaid,
}

#[derive(Clone, Copy, Debug)]
struct Price {
    yen: i64,
    tax: Tax,
}

impl Price {
    /// The price in the block of class `block`; `None` when there is no such block.
    fn read(document: &Document, block: &'static str) -> Result<Option<Self>, Refusal> {
        let path = format!("document.{block}");
        let mut blocks = document.find(Class(block));
        let Some(found) = blocks.next() else {
            return Ok(None);
        };
        if blocks.next().is_some() {
            return Err(Refusal::contract(path, "the page shows it twice"));
        }
        let text = found
            .find(Class("Price__value"))
            .next()
            .map(|value| value.text())
            .unwrap_or_default();
        let read = text.trim().split_once('円').and_then(|(digits, rest)| {
            let yen = number::yen(digits).filter(|yen| *yen > 0)?;
            let rest = rest.trim();
            let tax = match document::tax_note(rest) {
                // Rounded down at 8 or 10 per cent, so never below the price nor above it by more than a tenth.
                Some(gross) if (yen..=yen.saturating_add(yen / 10)).contains(&gross) => Tax::Included(gross),
                Some(_) => return None,
                None if rest.is_empty() => Tax::Unsaid,
                None => {
                    let note: String = rest.chars().filter(|c| !c.is_whitespace()).collect();
                    if !note.starts_with("（税0円") {
                        return None;
                    }
                    Tax::None
                }
            };
            Some(Self { yen, tax })
        });
        match read {
            Some(price) => Ok(Some(price)),
            None => {
                let text: String = text.chars().take(60).collect();
                Err(Refusal::contract(path, format!("`{text}` is no price")))
            }
        }
    }

    /// What a buyer pays.
    fn paid(self, path: &'static str) -> Result<Money, Refusal> {
        let yen = match self.tax {
            Tax::Included(gross) => gross,
            Tax::None | Tax::Unsaid => self.yen,
        };
        Money::yen(yen).map_err(|error| Refusal::contract(path, error.to_string()))
    }
}

fn bids(document: &Document) -> Result<u32, Refusal> {
    let number = document
        .find(Class("Count__title"))
        .find(|count| count.text().contains("入札"))
        .and_then(|count| sibling(count, "Count__number"))
        .map(|count| count.text())
        .unwrap_or_default();
    let number = number.split('件').next().unwrap_or_default().trim();
    number::count(number)
        .and_then(|count| u32::try_from(count).ok())
        .ok_or_else(|| {
            Refusal::contract(
                "document.Count__number",
                format!("`{number}` is no number of bids"),
            )
        })
}

/// The text beside a title in the list of details.
fn detail(document: &Document, name: &str) -> Result<String, Refusal> {
    document
        .find(Class("ProductDetail__title"))
        .find(|found| found.text().trim() == name)
        .and_then(|found| sibling(found, "ProductDetail__description"))
        .map(|found| {
            found
                .text()
                .trim()
                .trim_start_matches(['：', ':'])
                .trim()
                .to_owned()
        })
        .filter(|text| !text.is_empty())
        .ok_or_else(|| Refusal::contract(format!("document.{name}"), "is not among the item's details"))
}

/// The element of `class` that follows `node` within the same parent.
fn sibling<'a>(node: Node<'a>, class: &str) -> Option<Node<'a>> {
    let mut next = node.next();
    while let Some(found) = next {
        if found.is(Class(class)) {
            return Some(found);
        }
        next = found.next();
    }
    None
}

fn one<'a>(document: &'a Document, class: &'static str) -> Result<Node<'a>, Refusal> {
    let mut found = document.find(Class(class).and(select::predicate::Element));
    match (found.next(), found.next()) {
        (Some(node), None) => Ok(node),
        (None, _) => Err(Refusal::contract(format!("document.{class}"), "is not there")),
        _ => Err(Refusal::contract(
            format!("document.{class}"),
            "stands there twice",
        )),
    }
}

/// A time such as `2021.10.12（火）19:54`, in Japan.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let (date, rest) = text.split_once(['（', '('])?;
    let (_, clock) = rest.split_once(['）', ')'])?;
    let mut date = date.trim().splitn(3, '.').map(number::count);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (hour, minute) = clock.trim().split_once(':')?;
    let date = NaiveDate::from_ymd_opt(
        i32::try_from(year).ok()?,
        u32::try_from(month).ok()?,
        u32::try_from(day).ok()?,
    )?;
    let local = date.and_hms_opt(
        u32::try_from(number::count(hour)?).ok()?,
        u32::try_from(number::count(minute)?).ok()?,
        0,
    )?;
    in_japan(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_weekday() {
        assert_eq!(
            time("2021.10.12（火）19:54").unwrap().to_rfc3339(),
            "2021-10-12T10:54:00+00:00"
        );
        for bad in [
            "",
            "2021.10.12",
            "2021.13.12（火）19:54",
            "10.12（火）19:54",
            "2021.10.12（火）25:00",
        ] {
            assert!(time(bad).is_none(), "{bad}");
        }
    }
}
