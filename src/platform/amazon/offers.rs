//! What the offers of an item say: the price of the cheapest that a buyer would take, or that there is none.
//!
//! Nothing is concluded from what is missing. "None" is said only when the answer says so itself: no offers counted, no
//! buyable offer, none of the asked condition, or a complete list of which each offer was read and turned down by the
//! settings. The list ends at twenty offers; when all twenty are turned down there may be a twenty-first, and that is an
//! error, not a zero.

use super::account::amount;
use super::{Condition, Filters, Fulfilment, Want, is_condition};
use crate::domain::Money;
use crate::platform::json::{At, Drift};
use rust_decimal::Decimal;

/// Longer lists are cut by Amazon.
const MOST_LISTED: usize = 20;

/// The subconditions of the model but "New", and the one that sellers name "like new".
const WORSE: [&str; 13] = [
    "Mint",
    "Like New",
    "Very Good",
    "Good",
    "Acceptable",
    "Poor",
    "Club",
    "OEM",
    "Warranty",
    "Refurbished Warranty",
    "Refurbished",
    "Open Box",
    "Other",
];

/// What one offer is to the buyer.
enum Offer {
    /// It can be had for this, shipping included.
    Taken(Decimal),
    /// The settings turn it down.
    TurnedDown,
    /// It costs this, and whether it is one of ours or can be had now is not said in words that are known.
    Unclear(Decimal, Drift),
}

/// The price of the cheapest offer of `asin` in the payload `at` of `getItemOffers`; `None` when there is none.
///
/// # Errors
/// When the payload is about something else, lacks what the contract promises or contradicts itself.
pub(super) fn cheapest(at: &At<'_>, asin: &str, want: &Want) -> Result<Option<Money>, Drift> {
    is_same(at, asin, want)?;
    let offers = at.get("Offers")?;
    let items = offers.items()?;
    let summary = at.get("Summary")?;
    let total = summary.get("TotalOfferCount")?;
    let status = at.get("status")?;
    match status.text()? {
        "Success" | "NoBuyableOffers" if total.int()? < 0 => Err(total.drift("a count")),
        "NoBuyableOffers" if items.is_empty() => Ok(None),
        "NoBuyableOffers" => Err(offers.drift("no offers beside `NoBuyableOffers`")),
        "Success" if total.int()? == 0 && !items.is_empty() => Err(total.drift("as many as are listed")),
        "Success" if items.is_empty() => {
            let counted = counted(&summary, want.filters.condition)?;
            match counted.unwrap_or(total.int()?) {
                0 => all_are_counted(&summary, &total).map(|()| None),
                _ => Err(offers.drift("the offers that are counted to be listed")),
            }
        }
        "Success" => {
            let counted = counted(&summary, want.filters.condition)?;
            let most = usize::try_from(counted.unwrap_or(total.int()?)).unwrap_or(usize::MAX);
            let best = cheapest_of(&offers, &items, most.min(MOST_LISTED), want)?;
            if best.is_none() {
                all_are_counted(&summary, &total)?;
            }
            Ok(best)
        }
        _ => Err(status.drift("`Success` or `NoBuyableOffers`")),
    }
}

/// Before "there is none" is believed: the counts of all conditions make up the total, which is what the total is. Where
/// one is left out, nothing can be said.
fn all_are_counted(summary: &At<'_>, total: &At<'_>) -> Result<(), Drift> {
    let Some(counts) = summary.maybe("NumberOfOffers")? else {
        return Ok(());
    };
    let mut sum = 0_i64;
    for count in counts.items()? {
        let Some(number) = count.maybe("OfferCount")? else {
            return Ok(());
        };
        sum = sum.saturating_add(number.int()?);
    }
    if sum == total.int()? {
        return Ok(());
    }
    Err(total.drift(&format!("the sum of the counts in `NumberOfOffers`, {sum}")))
}

fn is_same(at: &At<'_>, asin: &str, want: &Want) -> Result<(), Drift> {
    let named = at.get("ASIN")?;
    if named.text()? != asin {
        return Err(named.drift(&format!("the item asked for, `{asin}`")));
    }
    let market = at.get("marketplaceId")?;
    if market.text()? != &*want.marketplace {
        return Err(market.drift(&format!("the marketplace asked for, `{}`", want.marketplace)));
    }
    let condition = at.get("ItemCondition")?;
    if !want.filters.condition.is(condition.text()?) {
        let expected = format!("the condition asked for, `{}`", want.filters.condition.name());
        return Err(condition.drift(&expected));
    }
    Ok(())
}

/// How many offers of the condition are counted, where that is told of each; some of the published examples leave it out.
fn counted(summary: &At<'_>, condition: Condition) -> Result<Option<i64>, Drift> {
    let Some(counts) = summary.maybe("NumberOfOffers")? else {
        return Ok(None);
    };
    let mut sum = Some(0_i64);
    for count in counts.items()? {
        let named = count.get("condition")?;
        if !is_condition(named.text()?) {
            return Err(named.drift("a condition"));
        }
        if !condition.is(named.text()?) {
            continue;
        }
        let Some(number) = count.maybe("OfferCount")? else {
            sum = None;
            continue;
        };
        let one = number.int()?;
        if one < 0 {
            return Err(number.drift("a count"));
        }
        sum = sum.map(|sum| sum.saturating_add(one));
    }
    Ok(sum)
}

/// `whole` is how many a complete list holds.
fn cheapest_of(list: &At<'_>, items: &[At<'_>], whole: usize, want: &Want) -> Result<Option<Money>, Drift> {
    let (mut best, mut unclear) = (None::<Decimal>, None);
    for item in items {
        match judge(item, want)? {
            Offer::Taken(price) => best = Some(best.map_or(price, |best| best.min(price))),
            Offer::TurnedDown => {}
            Offer::Unclear(price, why) => {
                if unclear.as_ref().is_none_or(|(least, _)| price < *least) {
                    unclear = Some((price, why));
                }
            }
        }
    }
    // What is dearer than one that is clear does not matter.
    let unclear = unclear.filter(|(price, _)| best.is_none_or(|best| *price < best));
    match (best, unclear) {
        (_, Some((_, why))) => Err(why),
        (Some(price), None) => {
            let price = Money::new(price, want.currency);
            price.map(Some).map_err(|bad| Drift {
                path: "Offers".into(),
                what: bad.to_string(),
            })
        }
        (None, None) if items.len() >= MOST_LISTED => Err(Drift {
            path: "Offers".into(),
            what: "expected one of the 20 cheapest offers to pass the settings' filters; whether a dearer one does is not \
                   told. Loosen them in `[platforms.amazon]`"
                .into(),
        }),
        (None, None) if items.len() < whole => Err(list.drift(&format!("the {whole} offers that are counted"))),
        // A list that was read whole.
        (None, None) => Ok(None),
    }
}

/// Reads an offer. Its price is read whatever else it says: what cannot be read might be the cheapest.
fn judge(at: &At<'_>, want: &Want) -> Result<Offer, Drift> {
    let names = ("CurrencyCode", "Amount");
    let price = amount(&at.get("ListingPrice")?, names, want.currency)?
        .checked_add(amount(&at.get("Shipping")?, names, want.currency)?)
        .filter(|price| !price.is_zero())
        .ok_or_else(|| {
            at.get("ListingPrice")
                .map_or_else(|none| none, |price| price.drift("a price above zero"))
        })?;
    let by_amazon = at.get("IsFulfilledByAmazon")?.flag()?;
    if is_turned_down(at, by_amazon, &want.filters)? {
        return Ok(Offer::TurnedDown);
    }
    Ok(match is_on_hand(at, &want.filters) {
        Ok(true) => Offer::Taken(price),
        Ok(false) => Offer::TurnedDown,
        Err(why) => Offer::Unclear(price, why),
    })
}

/// Whether one that is not turned down can be had; every word that says so must be known.
fn is_on_hand(at: &At<'_>, filters: &Filters) -> Result<bool, Drift> {
    if let Some(kind) = at.maybe("offerType")?
        && kind.text()? != "B2C"
    {
        return Err(kind.drift("B2C or B2B"));
    }
    let grade = at.get("SubCondition")?;
    if filters.condition == Condition::New && !grade.text()?.eq_ignore_ascii_case("new") {
        return Err(grade.drift("a subcondition of the model"));
    }
    let when = at.get("ShippingTime")?.get("availabilityType")?;
    match when.text()? {
        "NOW" => Ok(true),
        "FUTURE_WITHOUT_DATE" | "FUTURE_WITH_DATE" => Ok(filters.later),
        _ => Err(when.drift("NOW, FUTURE_WITHOUT_DATE or FUTURE_WITH_DATE")),
    }
}

fn is_turned_down(at: &At<'_>, by_amazon: bool, filters: &Filters) -> Result<bool, Drift> {
    // What we sell ourselves is no source, and a price for companies is not ours.
    let own = at.maybe("MyOffer")?.map(|own| own.flag()).transpose()? == Some(true);
    let for_companies = at
        .maybe("offerType")?
        .is_some_and(|kind| kind.text() == Ok("B2B"));
    let grade = at.maybe("SubCondition")?;
    let worse =
        filters.condition == Condition::New && grade.is_some_and(|grade| grade.text().is_ok_and(is_worse));
    let elsewhere = match filters.fulfilment {
        Fulfilment::Any => false,
        Fulfilment::Amazon => !by_amazon,
        Fulfilment::Merchant => by_amazon,
    };
    Ok(own || for_companies || worse || elsewhere || !is_trusted(at, filters)?)
}

/// Whether a subcondition is one of the model's below new; answers write them with blanks and with underscores.
fn is_worse(word: &str) -> bool {
    let word = word.replace('_', " ");
    WORSE.iter().any(|known| known.eq_ignore_ascii_case(&word))
}

/// Whether the seller's feedback suffices; a seller without any has none to show.
fn is_trusted(at: &At<'_>, filters: &Filters) -> Result<bool, Drift> {
    if filters.feedback_percent == 0 && filters.feedback_count == 0 {
        return Ok(true);
    }
    let Some(rating) = at.maybe("SellerFeedbackRating")? else {
        return Ok(false);
    };
    let enough = rating.get("FeedbackCount")?.int()? >= i64::from(filters.feedback_count);
    if filters.feedback_percent == 0 {
        return Ok(enough);
    }
    let good = rating.maybe("SellerPositiveFeedbackRating")?;
    let good = good.map(|good| good.decimal()).transpose()?;
    Ok(enough && good.is_some_and(|good| good >= Decimal::from(filters.feedback_percent)))
}

#[cfg(test)]
mod tests;
