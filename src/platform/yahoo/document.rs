//! The page as a document tree, through `select`: slow, and independent of the JSON.
//!
//! A tree costs 1.3 ms of a page where the JSON costs 50 µs, so it is built only where it decides something: for pages
//! that have no JSON, for a reading that is about to count as a change, and for one page in a thousand to notice early
//! that the two have drifted apart. CSS classes of today's pages are build hashes and are never looked at; labels and
//! sentences that a buyer reads are.

use super::check::seller_of_list;
use super::number;
use super::refusal::{Code, Refusal};
use super::{nesting, title};
use crate::domain::{ItemStatus, Money, Observation};
use select::document::Document;
use select::node::{Data, Node};
use select::predicate::{Name, Predicate};

/// Real pages nest about 40 deep; the parser dies in the thousands.
const DEEPEST: usize = 500;
/// Real pages have 110 to 145 KB.
const LARGEST_BYTES: usize = 4 * 1024 * 1024;
/// Stands on every ended page, and on no open one.
pub(super) const ENDED_SENTENCE: &str = "このオークションは終了しています";
/// Where the item's own prices end and its details, and then other people's items, begin.
const BEHIND_PRICES: [&str; 5] = ["商品情報", "商品説明", "その他の情報", "個数", "オークションID"];

/// Builds the tree.
///
/// # Errors
/// [`Code::TooLarge`] for a page that the parser could not survive.
pub(super) fn parse(text: &str) -> Result<Document, Refusal> {
    if text.len() > LARGEST_BYTES {
        return Err(Refusal::new(
            Code::TooLarge,
            format!(
                "the page has {} bytes, expected at most {LARGEST_BYTES}",
                text.len()
            ),
        ));
    }
    if !nesting::within(text, DEEPEST) {
        return Err(Refusal::new(
            Code::TooLarge,
            format!("the page nests deeper than {DEEPEST} elements"),
        ));
    }
    Ok(Document::from(text))
}

/// The pieces of text that a reader sees from node `from` on, in order, trimmed.
fn visible(document: &Document, from: usize) -> impl Iterator<Item = &str> {
    document.nodes.iter().skip(from).filter_map(move |node| {
        let Data::Text(text) = &node.data else {
            return None;
        };
        let hidden = node
            .parent
            .and_then(|parent| document.nth(parent))
            .and_then(|parent| parent.name())
            .is_some_and(|name| matches!(name, "script" | "style" | "template" | "noscript"));
        let text = text.trim();
        (!hidden && !text.is_empty()).then_some(text)
    })
}

/// All that a reader sees, piece by piece.
pub(super) fn text(document: &Document) -> String {
    visible(document, 0).flat_map(|text| [text, "\n"]).collect()
}

/// The page's title and headings.
pub(super) fn headings(document: &Document) -> String {
    document
        .find(Name("title").or(Name("h1")).or(Name("h2")).or(Name("strong")))
        .flat_map(|node| [node.text(), "\n".to_owned()])
        .collect()
}

/// Whether the page shows the details of one item: those stand nowhere else.
pub(super) fn shows_details(document: &Document) -> bool {
    visible(document, 0).any(|text| BEHIND_PRICES.contains(&text))
}

/// Whether the page says, as a sentence of its own, that the auction is over: above the item's details. What stands below
/// them, and in the heading, the seller wrote.
pub(super) fn says_ended(document: &Document) -> bool {
    let written: Vec<String> = document.find(Name("h1")).map(|h1| h1.text()).collect();
    let says = visible(document, 0)
        .take_while(|text| !BEHIND_PRICES.contains(text))
        .filter(|text| *text == ENDED_SENTENCE)
        .count();
    let titles = written
        .iter()
        .filter(|title| title.trim() == ENDED_SENTENCE)
        .count();
    says > titles
}

/// Checks an observation against what a buyer reads on the page: title, end, current and buy-now price, and whose list
/// it links to.
///
/// # Errors
/// A contract failure that names what disagrees; [`Code::TooLarge`] for a page that cannot be parsed safely.
pub(super) fn confirm(text: &str, seen: &Observation) -> Result<(), Refusal> {
    let document = parse(text)?;
    let disagree = |path: &str, what: String| Err(Refusal::contract(path, what));
    let ended = says_ended(&document);
    if ended != (seen.status == ItemStatus::Ended) {
        return disagree(
            "document.status",
            format!(
                "the item is {}, but a reader is told that it has ended: {ended}",
                seen.status
            ),
        );
    }
    let Some(heading) = document
        .find(Name("h1"))
        .find(|h1| title::clean(&h1.text()).is_ok_and(|shown| title::same(&shown, &seen.title)))
    else {
        return disagree("document.h1", "no heading shows the item's title".into());
    };
    let linked: Vec<&str> = linked_sellers(&document).collect();
    if let (Some(seller), Some(other)) = (seen.seller_id.as_deref(), linked.first())
        && !linked.contains(&seller)
    {
        return disagree(
            "document.seller",
            format!("sold by `{seller}` in the data, a reader is led to the list of `{other:.60}`"),
        );
    }
    let prices = Prices::behind(&document, heading);
    match (prices.current, prices.buy_now) {
        (Some(shown), _) if !shown.is(seen.price, seen.seller_is_store) => {
            return disagree(
                "document.現在",
                format!("{} in the data, {shown:?} to a reader", seen.price),
            );
        }
        (None, None) if !ended => {
            return disagree("document.現在", "a reader is shown no price".into());
        }
        _ => {}
    }
    match (seen.buy_now_price, prices.buy_now) {
        (Some(price), Some(shown)) if shown.is(price, seen.seller_is_store) => Ok(()),
        (None, None) => Ok(()),
        // A fixed price may be shown under the one label or the other; an ended page shows none to buy at.
        (Some(price), None) if price == seen.price && prices.current.is_some() => Ok(()),
        (_, None) if ended => Ok(()),
        (price, shown) => disagree(
            "document.即決",
            format!("buy-now {price:?} in the data, {shown:?} to a reader"),
        ),
    }
}

/// The sellers whose lists the page links to: its own, where it links to any.
fn linked_sellers(document: &Document) -> impl Iterator<Item = &str> {
    document
        .find(Name("a"))
        .filter_map(|link| seller_of_list(link.attr("href")?))
}

/// An amount as a reader is shown it.
#[derive(Clone, Copy, Debug)]
struct Shown {
    yen: i64,
    /// The amount behind 税込, for stores.
    with_tax: Option<i64>,
}

impl Shown {
    /// Whether this is how `price` would be shown.
    fn is(self, price: Money, store: bool) -> bool {
        let equal = |yen: i64| Money::yen(yen).is_ok_and(|shown| shown == price);
        let taxed = |percent: i64| {
            self.yen
                .checked_mul(percent)
                .is_some_and(|hundredfold| equal(hundredfold / 100))
        };
        match self.with_tax {
            Some(gross) => equal(gross),
            None => equal(self.yen) || (store && (taxed(110) || taxed(108))),
        }
    }
}

#[derive(Default)]
struct Prices {
    current: Option<Shown>,
    buy_now: Option<Shown>,
}

impl Prices {
    /// The prices between the item's heading and its details. Never the first price of the body: others' items have
    /// prices too, in rows above and below.
    fn behind(document: &Document, heading: Node<'_>) -> Self {
        let mut prices = Self::default();
        let texts: Vec<&str> = visible(document, heading.index().saturating_add(1))
            .take_while(|text| !BEHIND_PRICES.contains(text))
            .collect();
        for (i, label) in texts.iter().enumerate() {
            let slot = match *label {
                "現在" | "現在価格" | "落札価格" | "価格" => &mut prices.current,
                "即決" | "即決価格" => &mut prices.buy_now,
                _ => continue,
            };
            if slot.is_none() {
                *slot = amount(texts.get(i.saturating_add(1)..).unwrap_or_default());
            }
        }
        prices
    }
}

/// The amount that the pieces of text begin with: digits up to 円, then perhaps a tax note.
fn amount(texts: &[&str]) -> Option<Shown> {
    // React separates a number, its unit and its tax note into pieces; eight are more than any of them.
    let joined: String = texts.iter().take(8).copied().collect();
    let (digits, rest) = joined.split_once('円')?;
    Some(Shown {
        yen: number::yen(digits)?,
        with_tax: tax_note(rest),
    })
}

/// The amount in a tax note `（税込 2,000 円）` at the beginning of `text`; `None` for `（税 0 円）` or no note.
pub(super) fn tax_note(text: &str) -> Option<i64> {
    let note = text.trim_start().strip_prefix(['（', '('])?;
    let inner = note.trim_start().strip_prefix("税込")?;
    number::yen(inner.split(['）', ')', '円']).next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_stand_in_pieces_and_carry_their_tax() {
        for (texts, yen, with_tax) in [
            (&["3,440", "円", "（税0円）", "即決"][..], 3440, None),
            (&["1,819円", "（税込 2,000 円）"], 1819, Some(2000)),
            (
                &["318,182", "円", "（税込", "350,000円）"],
                318_182,
                Some(350_000),
            ),
            (&["１，２８０円"], 1280, None),
        ] {
            let shown = amount(texts).unwrap();
            assert_eq!((shown.yen, shown.with_tax), (yen, with_tax), "{texts:?}");
        }
        assert!(amount(&["送料", "無料"]).is_none());
        assert!(amount(&[]).is_none());
    }

    #[test]
    fn pages_that_the_parser_would_not_survive_are_refused() {
        assert_eq!(parse(&"<div>".repeat(100_000)).unwrap_err().code, Code::TooLarge);
        assert_eq!(
            parse(&"x".repeat(LARGEST_BYTES + 1)).unwrap_err().code,
            Code::TooLarge
        );
        assert!(parse("").is_ok());
    }
}
