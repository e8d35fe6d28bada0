//! What a registration does next: functions of its row, of what the destination shows, and of what went wrong.

use crate::domain::{
    Currency, DestinationPlatform, ErrorClass, ListingBasis, ListingId, ListingRef, ListingState,
    ListingStatus, Money, ProductId, Quantity, WatchState,
};
use crate::platform::PlatformError;
use crate::platform::gateway::was_never_sent;
use crate::platform::registrar::StandingOffer;
use crate::pricing::{self, PriceBook};
use crate::store::registrations::{Registration, RegistrationState};
use crate::sync::outlet::is_outage;
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The longest wait between two tries while the destination is away.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the destination shows of a SKU on the marketplace that a registration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// No offer: it may be made.
    None,
    /// Ours, not on sale.
    Standing(String),
    /// Ours, on sale.
    Published(String),
    /// Somebody else made one under this SKU; it is not touched.
    Foreign(String),
    /// There are several, and which is ours cannot be told.
    Several(usize),
}

/// Reads what is shown. An offer is ours only when one may have been sent: that is written down before it is sent.
pub(super) fn looked(row: &Registration, marketplace: &str, offers: &[StandingOffer]) -> Looked {
    let here: Vec<&StandingOffer> = offers.iter().filter(|o| *o.marketplace == *marketplace).collect();
    match here.as_slice() {
        [] => Looked::None,
        [one] if !row.offer_sent => Looked::Foreign(one.offer_id.to_string()),
        [one] if one.is_published => Looked::Published(one.offer_id.to_string()),
        [one] => Looked::Standing(one.offer_id.to_string()),
        more => Looked::Several(more.len()),
    }
}

/// Where a row stands after a look, if it may go on.
///
/// # Errors
/// Code and sentence of why it may not.
pub(super) fn after_look(row: &mut Registration, looked: Looked) -> Result<(), (String, String)> {
    let (sku, at) = (&row.sku, row.destination);
    match looked {
        Looked::None if row.state == RegistrationState::OfferMade => {
            // Taken away by hand meanwhile.
            row.state = RegistrationState::ItemMade;
            row.offer_id = None;
        }
        Looked::None => row.offer_id = None,
        Looked::Standing(id) => row.offer_id = Some(id),
        Looked::Published(id) => {
            row.offer_id = Some(id);
            row.state = RegistrationState::Published;
        }
        Looked::Foreign(id) => {
            return Err((
                "sku_taken".to_owned(),
                format!(
                    "{at} has offer `{id}` of SKU `{sku}` already, and it was not made here: link it with `zaikoban listings \
                     link {} --sku {sku}`, or choose another SKU",
                    row.product
                ),
            ));
        }
        Looked::Several(count) => {
            return Err((
                "several_offers".to_owned(),
                format!(
                    "{at} has {count} offers of SKU `{sku}` on this marketplace: end all but one and create it again"
                ),
            ));
        }
    }
    Ok(())
}

/// Pieces and price of a first listing, as the rules make them.
///
/// # Errors
/// Code and sentence of why it cannot be sold now.
pub(crate) fn terms(
    destination: DestinationPlatform,
    product: ProductId,
    watches: &[WatchState],
    book: &PriceBook,
    sold_in: Option<Currency>,
    now: DateTime<Utc>,
) -> Result<(Quantity, Money), (String, String)> {
    let because = |code: &str, why: String| Err((code.to_owned(), why));
    let currency = book.rules(destination).currency;
    if let Some(sold_in) = sold_in.filter(|sold_in| *sold_in != currency) {
        let why = format!(
            "the marketplace sells in {sold_in}, the rules of {destination} count in {currency}: set `pricing.destinations.{destination}.currency`"
        );
        return because("currency", why);
    }
    let Some(decision) = pricing::wanted(watches, &basis(destination, product, currency), book, now) else {
        return because(
            "not_read",
            format!("no page of product `{product}` has been read yet"),
        );
    };
    if let Some(held) = &decision.held {
        return because("no_price", format!("product `{product}` has no price: {held}"));
    }
    match decision.price {
        Some(price) if !decision.quantity.is_zero() && !price.is_zero() => Ok((decision.quantity, price)),
        _ => because(
            "out_of_stock",
            format!("product `{product}` cannot be bought now"),
        ),
    }
}

/// A listing that is not there yet: nothing stands that a step could be measured from.
fn basis(destination: DestinationPlatform, product: ProductId, currency: Currency) -> ListingBasis {
    ListingBasis {
        listing: ListingRef {
            listing_id: ListingId(0),
            destination,
            sku: "".into(),
            platform_product_id: "".into(),
        },
        product_id: product,
        currency,
        confirmed: ListingState {
            status: ListingStatus::Ended,
            quantity: Quantity::ZERO,
            price: None,
        },
        wanted: None,
        in_flight: false,
        day_price: None,
        day_price_on: None,
        rules: None,
    }
}

/// What a failed step is for its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It passes by itself: again after this, and no try is used up.
    Wait(Duration),
    /// It may pass: again by the queue's rule.
    Again,
    /// It will not.
    Over,
}

/// Judges a failure. What is unknown is looked at before anything is repeated, so it may be tried again at once.
pub(super) fn next(error: &PlatformError, unknown: bool, tries: i32) -> Next {
    if was_never_sent(error) || is_outage(error.class) {
        let doubled = Duration::from_secs(1 << tries.clamp(0, 6)).min(LONGEST_WAIT);
        let asked = match error.class {
            ErrorClass::RateLimited { retry_after } => retry_after,
            _ => error.away_for,
        };
        return Next::Wait(asked.map_or(doubled, |wait| wait.max(doubled)));
    }
    if unknown || error.class == ErrorClass::Protocol {
        Next::Again
    } else {
        Next::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RegistrationId;

    fn row(state: RegistrationState, offer_sent: bool) -> Registration {
        Registration {
            id: RegistrationId(1),
            product: ProductId(7),
            destination: DestinationPlatform::Ebay,
            sku: "A-1".into(),
            content: serde_json::Value::Null,
            auto_sync: false,
            state,
            offer_sent,
            offer_id: (state == RegistrationState::OfferMade).then(|| "9".to_owned()),
            sent: None,
            listing: None,
            error: None,
            tries: 0,
        }
    }

    fn offer(id: &str, marketplace: &str, is_published: bool) -> StandingOffer {
        StandingOffer {
            offer_id: id.into(),
            marketplace: marketplace.into(),
            is_published,
        }
    }

    #[test]
    fn an_offer_is_ours_only_when_one_was_sent() {
        use RegistrationState::{ItemMade, Waiting};
        let look = |row: &Registration, offers: &[StandingOffer]| looked(row, "EBAY_US", offers);
        let one = [offer("9", "EBAY_US", false)];
        assert_eq!(look(&row(Waiting, false), &one), Looked::Foreign("9".into()));
        assert_eq!(look(&row(ItemMade, true), &one), Looked::Standing("9".into()));
        let sold = [offer("9", "EBAY_US", true)];
        assert_eq!(look(&row(ItemMade, true), &sold), Looked::Published("9".into()));
        assert_eq!(look(&row(Waiting, false), &sold), Looked::Foreign("9".into()));
        assert_eq!(
            look(&row(Waiting, false), &[offer("9", "EBAY_GB", true)]),
            Looked::None
        );
        let two = [offer("9", "EBAY_US", false), offer("8", "EBAY_US", true)];
        assert_eq!(look(&row(ItemMade, true), &two), Looked::Several(2));
    }

    #[test]
    fn a_look_moves_the_row_to_what_is_there() {
        use RegistrationState::{ItemMade, OfferMade, Published, Waiting};
        let after = |state, looked| {
            let mut row = row(state, true);
            after_look(&mut row, looked).map(|()| (row.state, row.offer_id))
        };
        assert_eq!(after(OfferMade, Looked::None), Ok((ItemMade, None)));
        assert_eq!(
            after(Waiting, Looked::Standing("9".into())),
            Ok((Waiting, Some("9".into())))
        );
        assert_eq!(
            after(ItemMade, Looked::Published("9".into())),
            Ok((Published, Some("9".into())))
        );
        assert_eq!(
            after(Waiting, Looked::Foreign("9".into())).unwrap_err().0,
            "sku_taken"
        );
    }

    #[test]
    fn an_outage_waits_ever_longer_and_a_refusal_is_over() {
        let error = |class| PlatformError {
            class,
            code: "x".into(),
            message: "x".into(),
            missing: Vec::new(),
            body: None,
            away_for: None,
        };
        let waits: Vec<Next> = [0, 1, 5, 60]
            .map(|tries| next(&error(ErrorClass::Transient), true, tries))
            .into();
        let of = |s| Next::Wait(Duration::from_secs(s));
        assert_eq!(waits, [of(1), of(2), of(32), of(60)]);
        assert_eq!(next(&error(ErrorClass::Rejected), false, 0), Next::Over);
        assert_eq!(next(&error(ErrorClass::NotFound), false, 0), Next::Over);
        assert_eq!(next(&error(ErrorClass::Protocol), true, 0), Next::Again);
        let limited = ErrorClass::RateLimited {
            retry_after: Some(Duration::from_secs(90)),
        };
        assert_eq!(next(&error(limited), false, 0), of(90));
    }
}
