//! What the offers of an item say, and what they do not.

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

/// The total is what the counts make up: where they do not, some of the offers are not told of.
#[test]
fn none_is_believed_only_where_the_counts_make_up_the_total() {
    let counts = |counts: Value, total: i64, offers: Vec<Value>| {
        let mut seen = payload(total, offers);
        seen["Summary"]["NumberOfOffers"] = counts;
        seen
    };
    let used = |n: i64| json!([{"condition": "used", "fulfillmentChannel": "Merchant", "OfferCount": n}]);
    assert_eq!(read(&counts(used(14), 14, vec![]), &want()), Ok(None));
    assert_eq!(read(&counts(json!([]), 0, vec![]), &want()), Ok(None));
    let mut mine = offer(1, 0);
    mine["MyOffer"] = true.into();
    for seen in [
        counts(json!([]), 14, vec![]),
        counts(used(2), 14, vec![]),
        counts(json!([]), 5, vec![mine]),
    ] {
        assert_eq!(
            read(&seen, &want()),
            Err("payload.Summary.TotalOfferCount".into())
        );
    }
    // What is there is there.
    assert_eq!(
        read(&counts(json!([]), 5, vec![offer(900, 0)]), &want()),
        Ok(Some(900))
    );
}
