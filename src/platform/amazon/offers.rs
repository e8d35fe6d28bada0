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
                0 => Ok(None),
                _ => Err(offers.drift("the offers that are counted to be listed")),
            }
        }
        "Success" => {
            let counted = counted(&summary, want.filters.condition)?;
            let most = usize::try_from(counted.unwrap_or(total.int()?)).unwrap_or(usize::MAX);
            cheapest_of(&offers, &items, most.min(MOST_LISTED), want)
        }
        _ => Err(status.drift("`Success` or `NoBuyableOffers`")),
    }
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
mod tests {
    use super::*;
    use crate::domain::Currency;
    use serde_json::{Value, json};

    fn want() -> Want {
        Want {
            marketplace: "A1VC38T7YXB528".into(),
            currency: Currency::Jpy,
            filters: Filters::default(),
        }
    }

    fn offer(price: i64, shipping: i64) -> Value {
        json!({
            "SubCondition": "new", "IsFulfilledByAmazon": false, "SellerId": "A1",
            "ListingPrice": {"CurrencyCode": "JPY", "Amount": price},
            "Shipping": {"CurrencyCode": "JPY", "Amount": shipping},
            "ShippingTime": {"minimumHours": 24, "maximumHours": 48, "availabilityType": "NOW"},
            "SellerFeedbackRating": {"FeedbackCount": 100, "SellerPositiveFeedbackRating": 96.0},
        })
    }

    fn payload(total: i64, offers: Vec<Value>) -> Value {
        json!({
            "ASIN": "B07FZ8S74R", "status": "Success", "ItemCondition": "New", "marketplaceId": "A1VC38T7YXB528",
            "Identifier": {"MarketplaceId": "A1VC38T7YXB528", "ItemCondition": "New", "ASIN": "B07FZ8S74R"},
            "Summary": {"TotalOfferCount": total, "NumberOfOffers": [
                {"condition": "new", "fulfillmentChannel": "Merchant", "OfferCount": total}]},
            "Offers": offers,
        })
    }

    fn read(payload: &Value, want: &Want) -> Result<Option<i64>, String> {
        use rust_decimal::prelude::ToPrimitive as _;
        let read = cheapest(&At::root("payload", payload), "B07FZ8S74R", want);
        read.map(|price| price.map(|p| p.amount().to_i64().unwrap()))
            .map_err(|drift| drift.path)
    }

    #[test]
    fn the_cheapest_with_shipping_counts() {
        let seen = payload(3, vec![offer(1000, 500), offer(1200, 0), offer(1199, 2)]);
        assert_eq!(read(&seen, &want()), Ok(Some(1200)));
    }

    #[test]
    fn the_settings_turn_offers_down() {
        let mut by_amazon = offer(900, 0);
        by_amazon["IsFulfilledByAmazon"] = true.into();
        let mut mine = offer(1, 0);
        mine["MyOffer"] = true.into();
        let mut company = offer(2, 0);
        company["offerType"] = "B2B".into();
        let mut later = offer(3, 0);
        later["ShippingTime"]["availabilityType"] = "FUTURE_WITH_DATE".into();
        let mut open_box = offer(4, 0);
        open_box["SubCondition"] = "Open Box".into();
        let mut poor = offer(800, 0);
        poor["SellerFeedbackRating"]["SellerPositiveFeedbackRating"] = 70.into();
        let mut unknown = offer(700, 0);
        unknown.as_object_mut().unwrap().remove("SellerFeedbackRating");
        let seen = payload(
            8,
            vec![
                mine,
                company,
                later,
                open_box,
                unknown,
                poor,
                by_amazon,
                offer(1000, 0),
            ],
        );
        let by = |change: fn(&mut Filters)| {
            let mut want = want();
            change(&mut want.filters);
            read(&seen, &want)
        };
        assert_eq!(by(|_| ()), Ok(Some(700)));
        assert_eq!(by(|f| f.later = true), Ok(Some(3)));
        assert_eq!(by(|f| f.fulfilment = Fulfilment::Amazon), Ok(Some(900)));
        assert_eq!(by(|f| f.feedback_percent = 95), Ok(Some(900)));
        assert_eq!(by(|f| f.feedback_count = 1), Ok(Some(800)));
        assert_eq!(by(|f| f.feedback_count = 101), Ok(None));
        let trusted_merchant = |f: &mut Filters| {
            f.fulfilment = Fulfilment::Merchant;
            f.feedback_percent = 95;
        };
        assert_eq!(by(trusted_merchant), Ok(Some(1000)));
    }

    #[test]
    fn none_is_said_only_when_the_answer_says_it() {
        assert_eq!(read(&payload(0, vec![]), &want()), Ok(None));
        let mut none = payload(0, vec![]);
        none["status"] = "NoBuyableOffers".into();
        assert_eq!(read(&none, &want()), Ok(None));
        let mut used = payload(2, vec![]);
        used["Summary"]["NumberOfOffers"][0]["condition"] = "used".into();
        assert_eq!(read(&used, &want()), Ok(None));
        let mut later = offer(3, 0);
        later["ShippingTime"]["availabilityType"] = "FUTURE_WITHOUT_DATE".into();
        assert_eq!(read(&payload(1, vec![later.clone()]), &want()), Ok(None));
        // One of four, and the others are not shown.
        let mut short = payload(4, vec![later.clone()]);
        assert_eq!(read(&short, &want()), Err("payload.Offers".into()));
        short["Summary"]["NumberOfOffers"][0]
            .as_object_mut()
            .unwrap()
            .remove("OfferCount");
        assert_eq!(read(&short, &want()), Err("payload.Offers".into()));
        short["Summary"]["NumberOfOffers"] = json!([
            {"condition": "used", "fulfillmentChannel": "Merchant", "OfferCount": 3},
            {"condition": "new", "fulfillmentChannel": "Merchant", "OfferCount": 1}]);
        assert_eq!(read(&short, &want()), Ok(None));
        // None in all, and yet three.
        let mut torn = payload(0, vec![]);
        torn["Summary"]["NumberOfOffers"][0]["OfferCount"] = 3.into();
        assert_eq!(read(&torn, &want()), Err("payload.Offers".into()));
        // Twenty of who knows how many.
        let full = payload(4000, vec![later; 20]);
        assert_eq!(read(&full, &want()), Err("Offers".into()));
    }

    #[test]
    fn what_is_unclear_matters_when_it_is_the_cheapest() {
        for (pointer, odd) in [
            ("/ShippingTime/availabilityType", json!("SOON")),
            ("/ShippingTime/availabilityType", json!(null)),
            ("/ShippingTime", json!({})),
            ("/SubCondition", json!("Pristine")),
            ("/SubCondition", json!("")),
            ("/SubCondition", json!(null)),
            ("/offerType", json!("B2G")),
        ] {
            let mut unclear = offer(1000, 0);
            unclear["offerType"] = "B2C".into();
            *unclear.pointer_mut(pointer).unwrap() = odd;
            let seen = payload(2, vec![offer(1200, 0), unclear.clone()]);
            assert!(read(&seen, &want()).is_err(), "{unclear}");
            let seen = payload(2, vec![unclear.clone(), offer(999, 0)]);
            assert_eq!(read(&seen, &want()), Ok(Some(999)), "{unclear}");
        }
        for worse in ["Open Box", "open_box", "VERY_GOOD", "Like New", "mint"] {
            let mut second = offer(1000, 0);
            second["SubCondition"] = worse.into();
            let seen = payload(2, vec![second, offer(1200, 0)]);
            assert_eq!(read(&seen, &want()), Ok(Some(1200)), "{worse}");
        }
        let mut strange = payload(1, vec![]);
        strange["Summary"]["NumberOfOffers"][0]["condition"] = "Novel".into();
        assert!(read(&strange, &want()).is_err(), "it may be the word for ours");
    }

    #[test]
    fn what_is_missing_or_contradicts_is_an_error() {
        let whole = payload(1, vec![offer(1000, 0)]);
        for (pointer, value, path) in [
            ("/ASIN", json!("B000000000"), "payload.ASIN"),
            ("/marketplaceId", json!("ATVPDKIKX0DER"), "payload.marketplaceId"),
            ("/ItemCondition", json!("Used"), "payload.ItemCondition"),
            (
                "/status",
                json!("ActiveButTooSoonForProcessing"),
                "payload.status",
            ),
            ("/status", json!("NoBuyableOffers"), "payload.Offers"),
            ("/Offers", json!(null), "payload.Offers"),
            ("/Offers", json!([]), "payload.Offers"),
            (
                "/Summary/NumberOfOffers/0/OfferCount",
                json!(-1),
                "payload.Summary.NumberOfOffers[0].OfferCount",
            ),
            (
                "/Summary/TotalOfferCount",
                json!(0),
                "payload.Summary.TotalOfferCount",
            ),
            (
                "/Summary/TotalOfferCount",
                json!(-1),
                "payload.Summary.TotalOfferCount",
            ),
            (
                "/Summary/TotalOfferCount",
                json!("1"),
                "payload.Summary.TotalOfferCount",
            ),
            (
                "/Offers/0/ListingPrice/CurrencyCode",
                json!("USD"),
                "payload.Offers[0].ListingPrice.CurrencyCode",
            ),
            (
                "/Offers/0/ListingPrice/Amount",
                json!(null),
                "payload.Offers[0].ListingPrice.Amount",
            ),
            (
                "/Offers/0/ListingPrice/Amount",
                json!(-5),
                "payload.Offers[0].ListingPrice.Amount",
            ),
            ("/Offers/0/ListingPrice/Amount", json!(10.5), "Offers"),
            (
                "/Offers/0/ListingPrice/Amount",
                json!(0),
                "payload.Offers[0].ListingPrice",
            ),
            ("/Offers/0/Shipping", json!(null), "payload.Offers[0].Shipping"),
            (
                "/Offers/0/ShippingTime/availabilityType",
                json!("SOON"),
                "payload.Offers[0].ShippingTime.availabilityType",
            ),
            (
                "/Offers/0/ShippingTime/availabilityType",
                json!(null),
                "payload.Offers[0].ShippingTime.availabilityType",
            ),
            (
                "/Offers/0/IsFulfilledByAmazon",
                json!(null),
                "payload.Offers[0].IsFulfilledByAmazon",
            ),
        ] {
            let mut broken = whole.clone();
            *broken.pointer_mut(pointer).unwrap() = value;
            assert_eq!(read(&broken, &want()), Err(path.into()), "{pointer}");
        }
        assert_eq!(read(&whole, &want()), Ok(Some(1000)));
    }
}
