//! Amazon.co.jp, through the Selling Partner API: as a source ([`Amazon`]) and as a place to sell ([`AmazonSeller`]).
//!
//! | ours | Amazon's | requests |
//! |---|---|---|
//! | observe, `read = "offers"` | `getItemOffersBatch`, up to 20 ASINs (0.1 a second) | 1 |
//! | observe, `read = "competitive"` | `getCompetitivePricing`, up to 20 ASINs (0.5 a second) | 1 |
//! | a title not known, or old | `searchCatalogItems`, up to 20 ASINs | 1 |
//! | revise | `patchListingsItem` (`merge` of price and quantity); before it a read, when the SKU is not known yet | 1 or 2 |
//! | end | the same with a quantity of 0: the listing stays, and nobody can buy | 1 or 2 |
//! | relist | `getListingsItem` must find it; the quantity that follows puts it on sale | 1 |
//! | read, find | `getListingsItem` by SKU | 1 |
//! | many prices | a feed: `searchListingsItems`, `createFeedDocument`, an upload, `createFeed`, `getFeed`, `getFeedDocument` | a few |
//!
//! # What can be relied on
//! - **Nothing is guessed.** A stock of 0 needs an answer that says so; a missing, strange or contradicting value is an
//!   error of class `Protocol` for that item, and no other item of the batch suffers by it.
//! - **What a buyer pays counts**: the cheapest offer with shipping, among those that the settings let through: condition,
//!   who ships, whether now, the seller's feedback. Our own offers and those for companies are none.
//! - **Gone** is an item that the marketplace does not know, told by its own entry. When every item of a batch is "unknown",
//!   nothing is believed.
//! - **Quotas** are kept on our side (`quota`): the published ones of each operation, what Amazon says of this account, and
//!   an upper bound of requests an hour.
//! - **A change is asynchronous.** `ACCEPTED` means that Amazon will work it off; until then
//!   ([`settles_within`](super::Destination::settles_within)) a reading may show the old values. A 200 with `INVALID` is a
//!   refusal, its issues kept. What ships from Amazon's own warehouse (FBA) takes no quantity from us, and that is said.
//! - Money in another currency than the marketplace's is an error.

mod account;
mod asin;
mod catalog;
mod competitive;
mod entries;
mod fault;
mod feeds;
mod listing;
mod offers;
mod quota;
mod seller;
mod source;

pub use account::{AccountSettings, SECRETS};
pub use asin::{Asin, AsinError};
pub use fault::{ACCESS_DENIED, CONTRACT, NO_SUCH_ITEM, TOKEN_REFUSED};
pub use feeds::{AmazonFeeds, BAD_ADDRESS, FILES};
pub use listing::{FBA, INVALID};
pub use quota::OWN_QUOTA;
pub use seller::{AmazonSeller, AmazonSellerSettings};
pub use source::Amazon;

use crate::domain::{Currency, Quantity, UnknownName, names};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Amazon.co.jp's key.
pub const JAPAN: &str = "A1VC38T7YXB528";

/// What the source needs to know.
#[derive(Clone, Debug)]
pub struct AmazonSettings {
    /// Where, and how fast.
    pub account: AccountSettings,
    /// By what items are read.
    pub read: ReadBy,
    /// Which offers count.
    pub filters: Filters,
    /// How many pieces an offered item is taken to have; one is what an offer proves.
    pub pieces: Quantity,
    /// After this a title is asked for again.
    pub title_age: Duration,
}

names!(
    /// By what the source reads.
    ReadBy {
        /// Each offer of an item: knows who ships, when, and how the seller is rated.
        Offers = "offers",
        /// The price that leads the page: five times as many items a minute, and no more than that.
        Competitive = "competitive",
    }
);
names!(
    /// The condition of what is bought.
    Condition {
        /// New.
        New = "new",
        /// Used, of any grade.
        Used = "used",
        /// Collectible.
        Collectible = "collectible",
        /// Refurbished.
        Refurbished = "refurbished",
    }
);
names!(
    /// Who ships.
    Fulfilment {
        /// Whoever.
        Any = "any",
        /// Amazon's warehouses.
        Amazon = "amazon",
        /// The merchant.
        Merchant = "merchant",
    }
);

impl Condition {
    /// As the API writes it in questions.
    fn name(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::Used => "Used",
            Self::Collectible => "Collectible",
            Self::Refurbished => "Refurbished",
        }
    }

    /// Whether a word of an answer means it; those are written in capitals and small letters.
    fn is(self, word: &str) -> bool {
        self.name().eq_ignore_ascii_case(word)
    }
}

/// What else the published models count offers by.
const OTHER_CONDITIONS: [&str; 2] = ["Any", "Club"];

/// Whether a word of an answer is a condition of the published models. What a new word would mean nobody knows.
fn is_condition(word: &str) -> bool {
    let others = || {
        OTHER_CONDITIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word))
    };
    Condition::ALL.iter().any(|known| known.is(word)) || others()
}

/// Which offers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Of this condition.
    pub condition: Condition,
    /// Shipped by.
    pub fulfilment: Fulfilment,
    /// Also those that are shipped at a later date.
    pub later: bool,
    /// Of sellers with at least this share of good feedback, in percent; 0 asks for none.
    pub feedback_percent: u32,
    /// Of sellers with at least so many feedbacks; 0 asks for none.
    pub feedback_count: u32,
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            condition: Condition::New,
            fulfilment: Fulfilment::Any,
            later: false,
            feedback_percent: 0,
            feedback_count: 0,
        }
    }
}

/// What an answer is held against.
#[derive(Clone, Debug)]
struct Want {
    marketplace: Box<str>,
    currency: Currency,
    filters: Filters,
}
