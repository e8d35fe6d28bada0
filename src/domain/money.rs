//! Money: a decimal beside its currency, checked arithmetic, never a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The currencies the program trades in. Another code on a page is an error, not a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Currency {
    /// Japanese yen: no minor unit.
    Jpy,
    /// United States dollar.
    Usd,
    /// Euro.
    Eur,
    /// Pound sterling.
    Gbp,
    /// Australian dollar.
    Aud,
    /// Canadian dollar.
    Cad,
}

impl Currency {
    /// Every currency known.
    pub const ALL: [Self; 6] = [Self::Jpy, Self::Usd, Self::Eur, Self::Gbp, Self::Aud, Self::Cad];

    /// The ISO 4217 code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Jpy => "JPY",
            Self::Usd => "USD",
            Self::Eur => "EUR",
            Self::Gbp => "GBP",
            Self::Aud => "AUD",
            Self::Cad => "CAD",
        }
    }

    /// How many digits stand behind the point (ISO 4217).
    #[must_use]
    pub fn minor_digits(self) -> u32 {
        match self {
            Self::Jpy => 0,
            _ => 2,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Why a text or number is no [`Currency`] or [`Money`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MoneyError {
    /// The currency code is not one of [`Currency::ALL`].
    #[error("expected one of JPY, USD, EUR, GBP, AUD, CAD, got `{0}`")]
    UnknownCurrency(String),
    /// Below zero, or more than `NUMERIC(12,2)` holds.
    #[error("expected an amount from 0 to 9999999999.99, got {0}")]
    OutOfRange(Decimal),
    /// More digits behind the point than the currency has.
    #[error("{currency} has {digits} digits behind the point, got {amount}", digits = currency.minor_digits())]
    TooFine {
        /// The currency.
        currency: Currency,
        /// What was given.
        amount: Decimal,
    },
    /// Two currencies met in one operation.
    #[error("cannot combine {0} with {1}")]
    Mixed(Currency, Currency),
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(code: &str) -> Result<Self, MoneyError> {
        Self::ALL
            .into_iter()
            .find(|c| c.code() == code)
            .ok_or_else(|| MoneyError::UnknownCurrency(code.chars().take(16).collect()))
    }
}

/// An amount of money: not negative, within `NUMERIC(12,2)`, no finer than its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    amount: Decimal,
    currency: Currency,
}

impl Money {
    /// The largest amount that the tables hold.
    pub const MAX: Decimal = Decimal::from_parts(3_567_587_327, 232, 0, false, 2);

    /// An amount as it stands.
    ///
    /// # Errors
    /// When it is negative, larger than [`Money::MAX`] or finer than the currency's minor unit.
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        if amount.is_sign_negative() && !amount.is_zero() || amount > Self::MAX {
            return Err(MoneyError::OutOfRange(amount));
        }
        let amount = amount.normalize();
        if amount.scale() > currency.minor_digits() {
            return Err(MoneyError::TooFine { currency, amount });
        }
        Ok(Self { amount, currency })
    }

    /// Whole yen.
    ///
    /// # Errors
    /// When negative or too large.
    pub fn yen(amount: i64) -> Result<Self, MoneyError> {
        Self::new(Decimal::from(amount), Currency::Jpy)
    }

    /// The number.
    #[must_use]
    pub fn amount(self) -> Decimal {
        self.amount
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// Whether nothing is to be paid.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.amount.is_zero()
    }

    /// Orders two amounts of one currency.
    ///
    /// # Errors
    /// [`MoneyError::Mixed`] for two currencies.
    pub fn compare(self, other: Self) -> Result<std::cmp::Ordering, MoneyError> {
        if self.currency == other.currency {
            Ok(self.amount.cmp(&other.amount))
        } else {
            Err(MoneyError::Mixed(self.currency, other.currency))
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::try_from(self.currency.minor_digits()).unwrap_or(2);
        write!(f, "{:.digits$} {}", self.amount, self.currency)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            amount: Decimal,
            currency: Currency,
        }
        let raw = Raw::deserialize(deserializer)?;
        Self::new(raw.amount, raw.currency).map_err(serde::de::Error::custom)
    }
}

/// A share in basis points (1/10 000), so that policies are `Eq` and NaN cannot arise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct BasisPoints(pub u32);

impl BasisPoints {
    /// The share as a factor: 250 is 0.025.
    #[must_use]
    pub fn factor(self) -> Decimal {
        Decimal::new(i64::from(self.0), 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_amount_is_what_numeric_12_2_holds() {
        assert_eq!(Money::MAX, "9999999999.99".parse().unwrap());
    }

    #[test]
    fn money_refuses_negative_huge_and_too_fine_amounts() {
        assert!(Money::yen(-1).is_err());
        assert!(Money::new("10000000000".parse().unwrap(), Currency::Usd).is_err());
        assert!(Money::new("1.5".parse().unwrap(), Currency::Jpy).is_err());
        assert!(Money::new("1.50".parse().unwrap(), Currency::Usd).is_ok());
    }

    #[test]
    fn money_is_shown_with_the_digits_of_its_currency() {
        assert_eq!(Money::yen(1280).unwrap().to_string(), "1280 JPY");
        let dollars = Money::new("12.5".parse().unwrap(), Currency::Usd).unwrap();
        assert_eq!(dollars.to_string(), "12.50 USD");
    }

    #[test]
    fn two_currencies_do_not_compare() {
        let yen = Money::yen(1).unwrap();
        let dollar = Money::new(Decimal::ONE, Currency::Usd).unwrap();
        assert!(yen.compare(dollar).is_err());
    }
}
