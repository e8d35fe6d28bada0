//! What a source showed at an instant.

use super::{Money, Quantity, SourceProductId, names};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::{fmt, str::FromStr};

use super::platform::UnknownName;

names!(
    /// Whether the item can still be had.
    ItemStatus {
        /// On offer.
        Open = "open",
        /// Over: sold, ended or withdrawn.
        Ended = "ended",
        /// The page is gone.
        Removed = "removed",
    }
);
names!(
    /// Whether the watched address still shows the watched item (requirement A3).
    UrlStatus {
        /// It does.
        Active = "active",
        /// Gone for good, seen twice.
        Dead = "dead",
        /// It shows another item.
        Changed = "changed",
    }
);
names!(
    /// By what an observation was read (requirement A2).
    DataSource {
        /// The item page of Yahoo! Auctions.
        YahooPage = "yahoo_page",
        /// The Selling Partner API's offers of an item.
        AmazonOffers = "amazon_offers",
        /// The Selling Partner API's competitive price of an item.
        AmazonCompetitive = "amazon_competitive_price",
    }
);
names!(
    /// What an item costs the seller: a rule of the product.
    CostRule {
        /// The buy-now price; without one the item cannot be bought.
        BuyNow = "buy_now",
        /// The current bid.
        CurrentBid = "current_bid",
    }
);

/// SHA-256 of a title: 64 hexadecimal digits in the tables.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TitleHash(pub [u8; 32]);

impl TitleHash {
    /// The hash of `title` with runs of white space folded to one blank and both ends trimmed.
    #[must_use]
    pub fn of(title: &str) -> Self {
        let mut hasher = Sha256::new();
        for (i, word) in title.split_whitespace().enumerate() {
            if i > 0 {
                hasher.update(b" ");
            }
            hasher.update(word.as_bytes());
        }
        Self(hasher.finalize().into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0_u8; 32];
        for (byte, i) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(i..i + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for TitleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for TitleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TitleHash({self})")
    }
}

impl Serialize for TitleHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A seller's id as a number: enough to see that it is another one, without keeping the text a hundred thousand times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SellerMark(u64);

impl SellerMark {
    /// The mark of `seller_id`; the same for as long as the process lives.
    #[must_use]
    pub fn of(seller_id: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        seller_id.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Everything needed that one look at a source gave, checked against the contract.
///
/// An `Observation` exists only when every needed field was read and every cross-check agreed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Observation {
    /// The id that the answer itself names; equal to the one asked for.
    pub source_product_id: SourceProductId,
    /// The title, never empty, at most 500 characters.
    pub title: Box<str>,
    /// Its hash.
    pub title_hash: TitleHash,
    /// What the page asks now, tax included: the current bid of an auction.
    pub price: Money,
    /// The buy-now price, tax included; `None` only when its absence is confirmed.
    pub buy_now_price: Option<Money>,
    /// Pieces on offer: the listed quantity while open, 0 after.
    pub stock: Quantity,
    /// Open, ended or removed.
    pub status: ItemStatus,
    /// When the auction ends or ended.
    pub ends_at: Option<DateTime<Utc>>,
    /// Number of bids.
    pub bids: u32,
    /// Whether the seller is a store.
    pub seller_is_store: bool,
    /// The seller's id at the source, if the page names it.
    pub seller_id: Option<Box<str>>,
    /// Whether the address still shows the item.
    pub url_status: UrlStatus,
    /// By what it was read.
    pub data_source: DataSource,
    /// When the answer's last byte was read.
    pub fetched_at: DateTime<Utc>,
}

/// What an observation means for the seller under the product's [`CostRule`]: what can be bought, for how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Pieces that can be bought now.
    pub stock: Quantity,
    /// What one costs. `None` when it cannot be bought and no price is shown for it.
    pub price: Option<Money>,
    /// Whether the address still shows the item.
    pub url_status: UrlStatus,
}

impl Observation {
    /// What this observation means under `rule` at `now`.
    ///
    /// With [`CostRule::BuyNow`] an item without a buy-now price cannot be bought: its stock is 0. An auction whose
    /// end has passed has no stock either, whatever the page still says.
    #[must_use]
    pub fn state(&self, rule: CostRule, now: DateTime<Utc>) -> SourceState {
        let price = match rule {
            CostRule::BuyNow => self.buy_now_price,
            CostRule::CurrentBid => Some(self.price),
        };
        let open = self.status == ItemStatus::Open
            && self.url_status == UrlStatus::Active
            && self.ends_at.is_none_or(|end| end > now);
        let stock = if open && price.is_some() {
            self.stock
        } else {
            Quantity::ZERO
        };
        SourceState {
            stock,
            price,
            url_status: self.url_status,
        }
    }
}
