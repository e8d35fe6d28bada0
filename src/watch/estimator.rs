//! How often a product changes, learnt from its checks: a Gamma posterior of a Poisson rate, two numbers a product.
//!
//! A check after τ hours that shows no change is exact evidence: `b += τ`. A check that shows a change says only that at
//! least one happened within τ; the posterior is then matched by its first two moments. Nothing is ever estimated as "never":
//! naive counting starves products that have not changed yet, and costs thirteen times the optimum. Known ends of auctions,
//! failed checks and blocked pages are no evidence and never come here. Units are hours and changes per hour.

/// What is known of a product's rate of change: Gamma with this shape and this many hours of evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// The shape `a`.
    pub shape: f32,
    /// The rate parameter `b`, in hours.
    pub hours: f32,
}

/// The rate is believed to lie within these bounds, in changes per hour: from once in a thousand years to once a minute.
const BOUNDS_PER_HOUR: (f64, f64) = (1e-7, 60.0);
/// What was learnt fades toward the prior with this time constant, in hours (30 days): free insurance against a source
/// that changes its habits.
const FORGET_HOURS: f64 = 720.0;
/// A longer pause than this (30 days) says more about the clock or an outage than about the product.
const LONGEST_HOURS: f64 = 720.0;
/// The variance is never taken as less than this share of the squared mean, so that rounding cannot make it zero.
const LEAST_VARIANCE: f64 = 1e-14;

impl Rate {
    /// The prior of a product nobody has looked at: log-normal with median 0.2 a day and a wide spread (sd 1.75), matched
    /// by log-moments.
    pub const PRIOR: Self = Self {
        shape: 0.667,
        hours: 32.1,
    };

    /// Changes per hour, as expected now.
    #[must_use]
    pub fn per_hour(self) -> f64 {
        let (low, high) = BOUNDS_PER_HOUR;
        (f64::from(self.shape) / f64::from(self.hours)).clamp(low, high)
    }

    /// What is known after a check `hours` after the last one that did, or did not, show a change.
    ///
    /// A time that is not positive, or no number, teaches nothing; one longer than 30 days counts as 30 days.
    #[must_use]
    pub fn learnt(self, hours: f64, changed: bool) -> Self {
        if hours.is_nan() || hours <= 0.0 {
            return self;
        }
        let hours = hours.min(LONGEST_HOURS);
        let (a, b) = self.faded(hours);
        let (a, b) = update(a, b, hours, changed);
        Self::checked(a, b).unwrap_or(self)
    }

    fn faded(self, hours: f64) -> (f64, f64) {
        let keep = (-hours / FORGET_HOURS).exp();
        let toward = |x: f32, prior: f32| f64::from(prior) + keep * (f64::from(x) - f64::from(prior));
        (
            toward(self.shape, Self::PRIOR.shape),
            toward(self.hours, Self::PRIOR.hours),
        )
    }

    fn checked(a: f64, b: f64) -> Option<Self> {
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "checked to be finite right below"
        )]
        let (shape, hours) = (a as f32, b as f32);
        let sound = |x: f32| x.is_finite() && x > 0.0;
        (sound(shape) && sound(hours)).then_some(Self { shape, hours })
    }
}

/// The posterior Gamma(a, b) after an interval of `hours`: exact without a change, matched by two moments with one.
fn update(a: f64, b: f64, hours: f64, changed: bool) -> (f64, f64) {
    if !changed {
        return (a, b + hours);
    }
    let u = (hours / b).ln_1p();
    let share = |shape: f64| -(-shape * u).exp_m1();
    let seen = share(a);
    let mean = a / b * share(a + 1.0) / seen;
    let square = a * (a + 1.0) / (b * b) * share(a + 2.0) / seen;
    let variance = (square - mean * mean).max(LEAST_VARIANCE * mean * mean);
    (mean * mean / variance, mean / variance)
}

/// The index of a product: what one look at it is worth, in yen.
///
/// It is `w/λ · (1 − (1 + λτ)·e^(−λτ))`, with `weight` yen lost per hour while its listing is wrong, `per_hour` changes
/// and `age_hours` since the last good look: the Whittle index of the checking problem for a Poisson rate, the price of a
/// request at which looking now is just worth it.
#[must_use]
pub fn index(weight: f64, per_hour: f64, age_hours: f64) -> f64 {
    let x = per_hour * age_hours;
    if x < 1e-2 {
        // The same as `w/λ · g(x)`, without dividing by a λ near 0.
        return weight * per_hour * age_hours * age_hours * series(x);
    }
    weight / per_hour * g(x)
}

/// `1 − (1 + x)·e^(−x)`, the chance-weighted part of an interval; the plain formula is 2 % wrong at 1e-7.
fn g(x: f64) -> f64 {
    if x < 1e-2 {
        x * x * series(x)
    } else {
        -(-x).exp_m1() - x * (-x).exp()
    }
}

/// `g(x) / x²` for small x.
fn series(x: f64) -> f64 {
    0.5 - x * (1.0 / 3.0 - x * (1.0 / 8.0 - x * (1.0 / 30.0 - x * (1.0 / 144.0 - x / 840.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64, relative: f64) -> bool {
        (a - b).abs() <= relative * b.abs()
    }

    /// Reference values worked out with 60 digits.
    #[expect(
        clippy::excessive_precision,
        reason = "the reference has more digits than a float holds"
    )]
    #[test]
    fn g_agrees_with_the_reference() {
        let table = [
            (1e-9, 4.999_999_996_666_666_7e-19),
            (1e-6, 4.999_996_666_667_916_7e-13),
            (1e-3, 4.996_667_916_333_402_8e-7),
            (0.01, 4.966_791_334_026_589e-5),
            (0.1, 0.004_678_840_160_444_469_5),
            (0.5, 0.090_204_010_431_049_87),
            (1.0, 0.264_241_117_657_115_36),
            (2.0, 0.593_994_150_290_161_9),
            (5.0, 0.959_572_318_005_487_2),
            (20.0, 0.999_999_956_715_773_9),
        ];
        for (x, expected) in table {
            assert!(close(g(x), expected, 1e-13), "g({x}) = {}", g(x));
        }
    }

    #[test]
    fn the_posterior_agrees_with_the_reference() {
        let table = [
            (0.63, 75.6, 2.8, 1.629_527_709_256_36, 76.955_379_986_848_8),
            (2.0, 10.0, 24.0, 2.315_213_123_336_78, 10.850_748_222_154_4),
            (30.0, 15.0, 0.2, 30.985_625_313_221_7, 15.085_957_072_664_5),
        ];
        for (a, b, hours, a1, b1) in table {
            let (a2, b2) = update(a, b, hours, true);
            assert!(close(a2, a1, 1e-9) && close(b2, b1, 1e-9), "{a2} {b2}");
        }
        let (a, b) = update(0.63, 75.6, 2.8, false);
        assert!(close(a, 0.63, 1e-12) && close(b, 78.4, 1e-12), "{a} {b}");
    }

    #[test]
    fn a_time_that_says_nothing_teaches_nothing() {
        for hours in [0.0, -3.0, f64::NAN] {
            assert_eq!(Rate::PRIOR.learnt(hours, true), Rate::PRIOR);
        }
    }

    proptest! {
        #[test]
        fn changes_raise_the_rate_and_quiet_lowers_it(
            shape in 0.01_f32..100.0, hours in 0.1_f32..1000.0, age in 0.001_f64..100.0,
        ) {
            let before = Rate { shape, hours };
            let quiet = before.learnt(age, false);
            let moved = before.learnt(age, true);
            prop_assert!(moved.per_hour() >= quiet.per_hour());
            prop_assert!(quiet.shape > 0.0 && quiet.hours > 0.0 && quiet.hours.is_finite());
        }

        #[test]
        fn the_index_grows_with_age_and_weight(
            weight in 0.01_f64..1e6, rate in 1e-7_f64..60.0, age in 0.0_f64..1000.0, more in 0.0_f64..1000.0,
        ) {
            let now = index(weight, rate, age);
            prop_assert!(now >= 0.0 && now.is_finite());
            prop_assert!(index(weight, rate, age + more) >= now * (1.0 - 1e-9));
            prop_assert!(index(weight * 2.0, rate, age) >= now);
            prop_assert!(now <= weight / rate * (1.0 + 1e-9));
        }
    }
}
