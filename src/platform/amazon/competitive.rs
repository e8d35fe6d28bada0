//! What the competitive pricing of an item says: the price that leads the page, or that nobody offers it.
//!
//! It is asked for twenty items five times as often as offers may be, and says less: neither when the thing is shipped nor
//! by whom. So the settings take it only without filters on those.

use super::account::amount;
use super::{Want, is_condition};
use crate::domain::Money;
use crate::platform::json::{At, Drift};
use rust_decimal::Decimal;

/// The competitive price of `asin` in one member of the payload; `None` when nobody offers the item in the condition.
///
/// # Errors
/// When it lacks what the contract promises, contradicts itself, or says that there are offers and no price.
pub(super) fn price(at: &At<'_>, asin: &str, want: &Want) -> Result<Option<Money>, Drift> {
    let product = at.get("Product")?;
    let named = product.get("Identifiers")?.get("MarketplaceASIN")?;
    let (of, market) = (named.get("ASIN")?, named.get("MarketplaceId")?);
    if of.text()? != asin {
        return Err(of.drift(&format!("the item asked for, `{asin}`")));
    }
    if market.text()? != &*want.marketplace {
        return Err(market.drift(&format!("the marketplace asked for, `{}`", want.marketplace)));
    }
    let pricing = product.get("CompetitivePricing")?;
    let (prices, counts) = (
        pricing.get("CompetitivePrices")?,
        pricing.get("NumberOfOfferListings")?,
    );
    let mut least = None;
    for each in prices.items()? {
        if let Some(price) = one(&each, want)? {
            least = Some(least.map_or(price, |least: Decimal| least.min(price)));
        }
    }
    // A condition that is not counted has no offers: the list holds one count for each that has.
    let mut offered = 0;
    for count in counts.items()? {
        let named = count.get("condition")?;
        if !is_condition(named.text()?) {
            return Err(named.drift("a condition"));
        }
        if want.filters.condition.is(named.text()?) {
            offered = count.get("Count")?.int()?.max(offered);
        }
    }
    match least {
        Some(price) if offered > 0 => {
            let price = Money::new(price, want.currency);
            price.map(Some).map_err(|bad| prices.drift(&bad.to_string()))
        }
        None if offered == 0 => Ok(None),
        Some(_) => Err(counts.drift("a count of the offers that have a price")),
        None => Err(prices.drift("a price of what is offered; `read = \"offers\"` looks at each offer")),
    }
}

/// What one competitive price says, if it is one of ours.
fn one(at: &At<'_>, want: &Want) -> Result<Option<Decimal>, Drift> {
    let ours = match at.maybe("condition")? {
        Some(condition) if !is_condition(condition.text()?) => return Err(condition.drift("a condition")),
        Some(condition) => want.filters.condition.is(condition.text()?),
        None => {
            return Err(at
                .get("condition")
                .err()
                .unwrap_or_else(|| at.drift("a condition")));
        }
    };
    let own = at
        .maybe("belongsToRequester")?
        .map(|own| own.flag())
        .transpose()?
        == Some(true);
    let for_companies = match at.maybe("offerType")? {
        None => false,
        Some(kind) => match kind.text()? {
            "B2C" => false,
            "B2B" => true,
            _ => return Err(kind.drift("B2C or B2B")),
        },
    };
    let for_many = match at.maybe("quantityTier")? {
        None => false,
        Some(tier) if tier.int()? < 1 => return Err(tier.drift("one piece or more")),
        Some(tier) => tier.int()? > 1,
    };
    if !ours || own || for_companies || for_many {
        return Ok(None);
    }
    paid(&at.get("Price")?, want).map(Some)
}

/// What a buyer pays: the landed price, or the listing's and shipping. Amazon takes points off the landed one, and they are
/// given for the next purchase: where both are named, the dearer counts.
fn paid(price: &At<'_>, want: &Want) -> Result<Decimal, Drift> {
    let read = |at: &At<'_>| amount(at, ("CurrencyCode", "Amount"), want.currency);
    let landed = price.maybe("LandedPrice")?;
    let before_points = match (&landed, price.maybe("ListingPrice")?, price.maybe("Shipping")?) {
        (_, Some(own), Some(shipping)) => {
            let sum = read(&own)?.checked_add(read(&shipping)?);
            Some(sum.ok_or_else(|| price.drift("a sum of two prices"))?)
        }
        (Some(_), ..) => None,
        // One of the two is missing, and says so.
        (None, ..) => {
            price.get("ListingPrice")?;
            price.get("Shipping")?;
            None
        }
    };
    let landed_price = landed.as_ref().map(read).transpose()?;
    let place = || landed.as_ref().unwrap_or(price);
    if landed_price.is_some_and(|landed| landed.is_zero()) {
        return Err(place().drift("a price above zero"));
    }
    let dearer = landed_price.into_iter().chain(before_points).max();
    dearer
        .filter(|paid| !paid.is_zero())
        .ok_or_else(|| price.drift("a price above zero"))
}

#[cfg(test)]
mod tests {
    use super::super::Filters;
    use super::*;
    use crate::domain::Currency;
    use serde_json::{Value, json};

    fn entry(prices: Value, counts: Value) -> Value {
        json!({"status": "Success", "ASIN": "B07FZ8S74R", "Product": {
            "Identifiers": {"MarketplaceASIN": {"MarketplaceId": "A1VC38T7YXB528", "ASIN": "B07FZ8S74R"}},
            "CompetitivePricing": {"CompetitivePrices": prices, "NumberOfOfferListings": counts},
        }})
    }

    fn yen(amount: i64) -> Value {
        json!({"CurrencyCode": "JPY", "Amount": amount})
    }

    fn read(entry: &Value) -> Result<Option<Money>, String> {
        let want = Want {
            marketplace: "A1VC38T7YXB528".into(),
            currency: Currency::Jpy,
            filters: Filters::default(),
        };
        price(&At::root("entry", entry), "B07FZ8S74R", &want).map_err(|drift| drift.path)
    }

    #[test]
    fn the_landed_price_counts_and_what_is_ours_or_for_companies_does_not() {
        let new = |price: Value| json!({"CompetitivePriceId": "1", "condition": "New", "Price": price});
        let mut mine = new(json!({"LandedPrice": yen(1)}));
        mine["belongsToRequester"] = true.into();
        let mut company = new(json!({"LandedPrice": yen(2)}));
        company["offerType"] = "B2B".into();
        let prices = json!([
            mine,
            company,
            new(json!({"ListingPrice": yen(900), "Shipping": yen(200)})),
            new(json!({"LandedPrice": yen(1200), "ListingPrice": yen(1)}))
        ]);
        let seen = entry(
            prices,
            json!([{"condition": "New", "Count": 4}, {"condition": "Any", "Count": 9}]),
        );
        assert_eq!(read(&seen), Ok(Some(Money::yen(1100).unwrap())));
    }

    #[test]
    fn points_are_no_discount() {
        let price = json!({
            "LandedPrice": yen(950), "ListingPrice": yen(1000), "Shipping": yen(0), "Points": {"PointsNumber": 50},
        });
        let seen = entry(
            json!([{"CompetitivePriceId": "1", "condition": "New", "Price": price}]),
            json!([{"condition": "New", "Count": 1}]),
        );
        assert_eq!(read(&seen), Ok(Some(Money::yen(1000).unwrap())));
    }

    #[test]
    fn what_is_about_another_item_or_marketplace_is_no_answer() {
        let whole = entry(json!([]), json!([]));
        let path = "/Product/Identifiers/MarketplaceASIN";
        for (key, other) in [("ASIN", "B000000000"), ("MarketplaceId", "ATVPDKIKX0DER")] {
            let mut strange = whole.clone();
            strange.pointer_mut(path).unwrap()[key] = other.into();
            assert_eq!(
                read(&strange),
                Err(format!("entry{}.{key}", path.replace('/', ".")))
            );
        }
        let mut used = json!({"condition": "Used", "Price": {"LandedPrice": yen(5)}});
        let counts = json!([{"condition": "New", "Count": 1}, {"condition": "Used", "Count": 1}]);
        for (key, odd) in [("offerType", json!("XYZ")), ("quantityTier", json!(0))] {
            let mut strange = json!({"condition": "New", "Price": {"LandedPrice": yen(5)}});
            strange[key] = odd;
            let seen = entry(json!([strange]), json!([{"condition": "New", "Count": 1}]));
            let at = read(&seen).unwrap_err();
            assert!(at.ends_with(&format!("CompetitivePrices[0].{key}")), "{at}");
        }
        let offered = entry(json!([used.clone()]), counts.clone());
        assert!(read(&offered).is_err(), "the price of another condition is none");
        used["condition"] = "New".into();
        used["quantityTier"] = 10.into();
        assert!(
            read(&entry(json!([used]), counts)).is_err(),
            "nor is that of ten at once"
        );
    }

    #[test]
    fn none_needs_a_count_that_says_so() {
        assert_eq!(
            read(&entry(json!([]), json!([{"condition": "New", "Count": 0}]))),
            Ok(None)
        );
        assert_eq!(
            read(&entry(json!([]), json!([{"condition": "Used", "Count": 3}]))),
            Ok(None)
        );
        assert_eq!(read(&entry(json!([]), json!([]))), Ok(None));
        let novel = json!([{"condition": "Novel", "Count": 3}]);
        assert!(
            read(&entry(json!([]), novel)).is_err(),
            "it may be the word for ours"
        );
        let novel = json!([{"condition": "Novel", "Price": {"LandedPrice": yen(5)}}]);
        assert!(read(&entry(novel, json!([]))).is_err());
        let path = "entry.Product.CompetitivePricing.";
        let offered = entry(json!([]), json!([{"condition": "New", "Count": 3}]));
        assert_eq!(read(&offered), Err(format!("{path}CompetitivePrices")));
        let counts = json!([{"condition": "New", "Count": 3}]);
        for (nothing, at) in [
            (json!({"LandedPrice": yen(0)}), ".LandedPrice"),
            (json!({"ListingPrice": yen(0), "Shipping": yen(0)}), ""),
        ] {
            let free = entry(json!([{"condition": "New", "Price": nothing}]), counts.clone());
            assert_eq!(read(&free), Err(format!("{path}CompetitivePrices[0].Price{at}")));
        }
        let uncounted = entry(
            json!([{"condition": "New", "Price": {"LandedPrice": yen(5)}}]),
            json!([]),
        );
        assert_eq!(read(&uncounted), Err(format!("{path}NumberOfOfferListings")));
        assert_eq!(
            read(&entry(json!([]), json!(null))),
            Err(format!("{path}NumberOfOfferListings"))
        );
        assert_eq!(
            read(&entry(json!(null), json!([]))),
            Err(format!("{path}CompetitivePrices"))
        );
    }
}
