//! Which writes and which end states are admissible, worked out from the truths of the source over time. Plain values.
//!
//! The source's pages say what counts, one version after the other; each page that was handed out calls for a quantity
//! and a price. A destination may be told only what some page called for (I4) and never what an older one did after a
//! newer one (I3); a zero is always safe. What it shows in the end must be what the last page calls for (I7), which
//! `app::rehearsal::compare` works out from the same rules. Requests keep the platform's distance (I5).

use zaikoban::domain::Money;

/// One version of an item, as far as it concerns one SKU.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The item's version.
    pub version: u32,
    /// Whether a page that said so was handed out.
    pub served: bool,
    /// Pieces that it calls for.
    pub quantity: u32,
    /// The price that it calls for; `None` leaves the price alone.
    pub price: Option<Money>,
}

/// A SKU, what its pages called for in order, and how it began.
#[derive(Clone, Debug)]
pub struct Line {
    /// The seller's own key.
    pub sku: Box<str>,
    /// What was shown before anybody wrote.
    pub first: (u32, Option<Money>),
    /// By version, ascending.
    pub truths: Vec<Truth>,
}

/// An accepted write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Write {
    /// Its place in the destination's book.
    pub seq: u64,
    /// The quantity that it set, if any.
    pub quantity: Option<u32>,
    /// The price that it set, if any.
    pub price: Option<Money>,
}

/// Everything that `writes` tell against I3 and I4.
pub fn judge(line: &Line, writes: &[Write]) -> Vec<String> {
    let told: Vec<&Truth> = line.truths.iter().filter(|t| t.served).collect();
    let mut from = 0;
    let mut wrong = Vec::new();
    for write in writes {
        let fits = |truth: &&Truth| {
            let quantity = write.quantity.is_none_or(|q| q == 0 || q == truth.quantity);
            quantity && write.price.is_none_or(|p| truth.price == Some(p))
        };
        if write.quantity.is_none_or(|q| q == 0) && write.price.is_none() {
            continue;
        }
        match told.iter().position(fits) {
            None if write.price.is_none_or(|p| line.first.1 == Some(p)) && write.quantity.is_none() => {}
            None => wrong.push(format!("I4: {}: nothing calls for {write:?}", line.sku)),
            Some(_) => match told.get(from..).unwrap_or_default().iter().position(fits) {
                Some(further) => from += further,
                None => wrong.push(format!(
                    "I3: {}: {write:?} is older than version {} that was written before",
                    line.sku, told[from].version
                )),
            },
        }
    }
    wrong
}

/// The most requests that any `window_us` holds, of times in ascending order.
pub fn most_within(times_us: &[i64], window_us: i64) -> usize {
    let (mut most, mut first) = (0, 0);
    for (last, at) in times_us.iter().enumerate() {
        while at - times_us[first] >= window_us {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_decimal::Decimal;
    use zaikoban::domain::Currency;

    fn usd(units: i64) -> Option<Money> {
        Money::new(Decimal::from(units), Currency::Usd).ok()
    }

    fn line(states: &[(u32, i64, bool)]) -> Line {
        let truths = states.iter().enumerate();
        let truths = truths.map(|(version, (quantity, price, served))| Truth {
            version: u32::try_from(version).unwrap(),
            served: *served,
            quantity: *quantity,
            price: usd(*price),
        });
        Line {
            sku: "a".into(),
            first: (1, usd(9)),
            truths: truths.collect(),
        }
    }

    fn write(quantity: Option<u32>, price: Option<i64>) -> Write {
        Write {
            seq: 0,
            quantity,
            price: price.and_then(usd),
        }
    }

    #[test]
    fn what_pages_called_for_in_their_order_is_admissible() {
        let line = line(&[(1, 10, true), (3, 12, true), (0, 12, true), (1, 10, true)]);
        let writes = [
            write(None, Some(10)),
            write(Some(3), Some(12)),
            write(Some(3), Some(12)),
            write(Some(0), None),
            write(Some(1), Some(10)),
        ];
        assert_eq!(judge(&line, &writes), Vec::<String>::new());
    }

    #[test]
    fn a_value_that_no_page_called_for_is_found() {
        let line = line(&[(1, 10, true), (3, 12, false)]);
        for one in [
            write(Some(2), None),
            write(Some(1), Some(11)),
            write(Some(3), None),
            write(None, Some(12)),
        ] {
            let wrong = judge(&line, &[one]);
            assert!(
                wrong.len() == 1 && wrong[0].starts_with("I4"),
                "{one:?}: {wrong:?}"
            );
        }
    }

    #[test]
    fn an_older_value_after_a_newer_one_is_found_and_a_zero_is_not() {
        let line = line(&[(1, 10, true), (3, 12, true)]);
        let writes = [
            write(Some(3), Some(12)),
            write(Some(1), None),
            write(Some(0), None),
        ];
        let wrong = judge(&line, &writes);
        assert!(wrong.len() == 1 && wrong[0].starts_with("I3"), "{wrong:?}");
    }

    #[test]
    fn the_fullest_window_is_counted() {
        assert_eq!(most_within(&[0, 10, 20, 25, 29, 100], 10), 3);
        assert_eq!(most_within(&[], 10), 0);
    }
}
