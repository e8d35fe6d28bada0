//! What goes wrong, and when: shares per request, and storms that the seed spreads over time.
//!
//! A decision is a function of the seed, of the thing asked for, of how often it was asked before and of the time since
//! the start. A storm outranks the shares: while it lasts, every request that it covers fails in its way.

mod days;

use super::draw::{micros, mix, unit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

macro_rules! faults {
    (
        $(#[$kind_doc:meta])* enum $kind:ident;
        $(#[$struct_doc:meta])* struct $plan:ident;
        shares { $($(#[$doc:meta])* $field:ident => $variant:ident = $name:literal,)+ }
        rest { $($(#[$rest_doc:meta])* $rest:ident: $type:ty = $default:expr,)* }
    ) => {
        $(#[$kind_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $kind { $($(#[$doc])* #[serde(rename = $name)] $variant,)+ }

        impl $kind {
            /// Every member, in the order of its declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in scripts and ledgers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        $(#[$struct_doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $plan {
            $(/// Share of requests (0 to 1) that meet this:
            $(#[$doc])* pub $field: f64,)+
            /// Every request fails alike for a while, again and again; one storm or a list of them.
            #[serde(deserialize_with = "one_or_many")]
            pub storm: Vec<Storm<$kind>>,
            $($(#[$rest_doc])* pub $rest: $type,)*
        }

        impl Default for $plan {
            fn default() -> Self {
                Self { $($field: 0.0,)+ storm: Vec::new(), $($rest: $default,)* }
            }
        }

        impl $plan {
            fn shares(&self) -> impl Iterator<Item = ($kind, &'static str, f64)> {
                [$(($kind::$variant, stringify!($field), self.$field)),+].into_iter()
            }

            /// The fault of a request, if it meets one. `word` is the request's own draw.
            pub(super) fn decide(&self, seed: u64, word: u64, offset_us: i64) -> Option<$kind> {
                let mut storms = (0_u64..).zip(&self.storm);
                if let Some((_, storm)) = storms.find(|(number, s)| s.rages(mix(seed, 0x5701, *number), offset_us)) {
                    return Some(storm.fault);
                }
                let mut left = unit(word);
                for (kind, _, share) in self.shares() {
                    if left < share {
                        return Some(kind);
                    }
                    left -= share;
                }
                None
            }

            fn problems(&self, place: &str) -> Vec<String> {
                let mut problems: Vec<String> = self
                    .shares()
                    .filter(|(_, _, share)| !(0.0..=1.0).contains(share))
                    .map(|(_, key, share)| format!("`{place}.{key}`: expected a share from 0 to 1, got {share}"))
                    .collect();
                let sum: f64 = self.shares().map(|(_, _, share)| share).sum();
                if problems.is_empty() && sum > 1.0 + 1e-9 {
                    problems.push(format!("`{place}`: expected shares that add up to at most 1, got {sum}"));
                }
                let bad = self.storm.iter().filter(|s| !(s.lasts_s > 0.0 && s.lasts_s <= s.every_s && s.every_s <= 1e9));
                problems.extend(bad.map(|storm| {
                    format!(
                        "`{place}.storm`: expected 0 < `lasts_s` <= `every_s` <= 1e9, got {} and {}",
                        storm.lasts_s, storm.every_s
                    )
                }));
                problems
            }
        }
    };
}

/// Reads nothing, one thing, or a list of them.
pub(super) fn one_or_many<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let list = match Value::deserialize(from)? {
        Value::Null => Vec::new(),
        Value::Array(list) => list,
        one => vec![one],
    };
    let read = list.into_iter().map(serde_json::from_value);
    read.collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

/// A fault that holds for everybody for a while, again and again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storm<F> {
    /// What everybody meets.
    pub fault: F,
    /// One storm in each span of this many seconds, at a moment that the seed chooses.
    pub every_s: f64,
    /// How long it lasts, in seconds.
    pub lasts_s: f64,
}

impl<F> Storm<F> {
    /// Whether it rages at `offset_us` after the start.
    fn rages(&self, seed: u64, offset_us: i64) -> bool {
        let (every, lasts) = (micros(self.every_s), micros(self.lasts_s));
        if every <= 0 || offset_us < 0 {
            return false;
        }
        // The seed is this storm's own.
        let slot = offset_us / every;
        let room = every.saturating_sub(lasts).max(0);
        let word = mix(seed, 0x5702, u64::try_from(slot).unwrap_or(0));
        let begins = i64::try_from(word >> 1).unwrap_or(0) % (room + 1);
        (begins..begins + lasts).contains(&(offset_us % every))
    }
}

/// How a page's markup differs from the documented one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drift {
    /// One of the others, by chance.
    Any,
    /// `bidorbuy` has another name in the item object.
    RenameBidorbuy,
    /// `quantity` is gone from the item object.
    DropQuantity,
    /// `price` is a text.
    RetypePrice,
    /// `endTime` is null.
    NullEndTime,
    /// `status` says a word that nobody has seen.
    UnknownStatus,
    /// `isStore` is gone from the seller.
    DropIsStore,
    /// The item object stands at another path.
    MoveItem,
    /// The script element has another id.
    RenameScript,
    /// `pageData` is gone.
    DropPageData,
    /// `pageData` has another price than the item object.
    Disagree,
}

impl Drift {
    /// Every drift that is one.
    pub const ALL: [Self; 10] = [
        Self::RenameBidorbuy,
        Self::DropQuantity,
        Self::RetypePrice,
        Self::NullEndTime,
        Self::UnknownStatus,
        Self::DropIsStore,
        Self::MoveItem,
        Self::RenameScript,
        Self::DropPageData,
        Self::Disagree,
    ];
}

faults!(
    /// What can be wrong with the answer to one request for a page.
    enum PageFault;
    /// What is wrong with Yahoo!.
    struct YahooFaults;
    shares {
        /// 503 with `Retry-After`.
        p_503 => Http503 = "http_503",
        /// 429 with `Retry-After`.
        p_429 => Http429 = "http_429",
        /// 500.
        p_500 => Http500 = "http_500",
        /// A login page, 200.
        p_login => Login = "login",
        /// 302 to a login page on another host.
        p_login_redirect => LoginRedirect = "login_redirect",
        /// A captcha, 200.
        p_captcha => Captcha = "captcha",
        /// "Access is concentrated", 200.
        p_busy => Busy = "busy",
        /// A maintenance page, 200.
        p_maintenance => Maintenance = "maintenance",
        /// "Not found" that comes as 200.
        p_soft_404 => Soft404 = "soft_404",
        /// 404 with a full page.
        p_removed => Removed = "removed",
        /// The page of another item.
        p_other_item => OtherItem = "other_item",
        /// Cut before its `Content-Length`.
        p_truncated => Truncated = "truncated",
        /// The connection ends before the body begins.
        p_reset => Reset = "reset",
        /// A good page that comes in drops.
        p_drip => Drip = "drip",
        /// A good page that comes late.
        p_delay => Delay = "delay",
        /// A page whose markup has drifted.
        p_drift => Drift = "drift",
        /// A good page as it was before the last change.
        p_stale => Stale = "stale",
        /// 200 without a byte.
        p_empty => Empty = "empty",
        /// A small gzip body that inflates to 64 MiB.
        p_bomb => Bomb = "bomb",
    }
    rest {
        /// The `Retry-After` of 503 and 429, as it stands; empty sends none.
        retry_after: String = "2".into(),
        /// How fast a dripping page comes.
        drip_bytes_per_s: u32 = 40_000,
        /// How late a late page is, in milliseconds.
        delay_ms: u32 = 800,
        /// Which drift drifted pages have.
        drift: Drift = Drift::Any,
    }
);

faults!(
    /// What can be wrong with the answer to one API call.
    enum CallFault;
    /// What is wrong with eBay.
    struct EbayFaults;
    shares {
        /// 500 with error 25001; nothing is applied.
        p_500 => Http500 = "http_500",
        /// 503 with `Retry-After`; nothing is applied.
        p_503 => Http503 = "http_503",
        /// 429 with `Retry-After`; nothing is applied.
        p_429 => Http429 = "http_429",
        /// 500 with error 25025 (concurrent access); nothing is applied.
        p_concurrent => Concurrent = "concurrent",
        /// 401 as if the access token had been withdrawn; nothing is applied.
        p_401 => Unauthorized = "unauthorized",
        /// The call is applied, the answer is cut.
        p_cut => Cut = "cut",
        /// The answer comes late.
        p_delay => Delay = "delay",
    }
    rest {
        /// The `Retry-After` of 503 and 429, as it stands; empty sends none.
        retry_after: String = "2".into(),
        /// How late a late answer is, in milliseconds.
        delay_ms: u32 = 800,
        /// Share of bulk entries that fail with error 25001.
        p_entry_fails: f64 = 0.0,
        /// Share of bulk entries that are accepted with a warning.
        p_entry_warns: f64 = 0.0,
        /// Share of bulk entries that are accepted and never applied.
        p_entry_ignored: f64 = 0.0,
        /// Share of bulk entries that are accepted and applied only after `late_ms`.
        p_entry_late: f64 = 0.0,
        /// How late a late entry is applied, in milliseconds.
        late_ms: u32 = 5_000,
        /// Whether a bulk call with failed entries answers 200 instead of 207.
        failures_as_200: bool = false,
        /// Share of token calls that answer 500.
        p_token_500: f64 = 0.0,
        /// Whether the refresh token is refused (`invalid_grant`).
        revoked: bool = false,
    }
);

faults!(
    /// What can be wrong with the answer to one call of Mercari's interface.
    enum MercariFault;
    /// What is wrong with Mercari Shops.
    struct MercariFaults;
    shares {
        /// 500; nothing is applied.
        p_500 => Http500 = "http_500",
        /// 503 with `Retry-After`; nothing is applied.
        p_503 => Http503 = "http_503",
        /// 429 with `Retry-After`; nothing is applied.
        p_429 => Http429 = "http_429",
        /// 401; nothing is applied.
        p_401 => Http401 = "http_401",
        /// `DEADLINE_EXCEEDED` in an answer with 200; nothing is applied.
        p_deadline => Deadline = "deadline",
        /// The same, and the call is applied.
        p_deadline_after => DeadlineAfter = "deadline_after",
        /// A code that nobody has seen; nothing is applied.
        p_odd_code => OddCode = "odd_code",
        /// `FAILED_PRECONDITION`; nothing is applied.
        p_refused => Refused = "refused",
        /// The call is applied and shown, and an error stands beside it.
        p_complaint => Complaint = "complaint",
        /// The call is applied, and neither shown nor complained of.
        p_nothing => Nothing = "nothing",
        /// The call is applied, the answer is cut.
        p_cut => Cut = "cut",
        /// The call is applied, the answer comes late.
        p_delay => Delay = "delay",
        /// Nothing is applied, and the answer comes late.
        p_hang => Hang = "hang",
    }
    rest {
        /// The `Retry-After` of 503 and 429, as it stands; empty sends none.
        retry_after: String = "2".into(),
        /// How late a late answer is, in milliseconds.
        delay_ms: u32 = 800,
        /// Share of bulk entries that fail with `FAILED_PRECONDITION`.
        p_entry_fails: f64 = 0.0,
        /// Share of bulk entries that are applied and not in the answer.
        p_entry_missing: f64 = 0.0,
        /// Whether the address that asks is not registered: everything is answered with a bare 404.
        unregistered: bool = false,
        /// Whether the token is refused.
        revoked: bool = false,
        /// Whether the token is of the other environment: 400.
        wrong_environment: bool = false,
        /// Whether answers hold members that nobody has seen.
        odd_fields: bool = false,
        /// Whether products show a status that nobody has seen.
        odd_status: bool = false,
    }
);

faults!(
    /// What can be wrong with the answer to one call of the Selling Partner API.
    enum AmazonFault;
    /// What is wrong with Amazon.
    struct AmazonFaults;
    shares {
        /// 500; nothing is applied.
        p_500 => Http500 = "http_500",
        /// 503; nothing is applied.
        p_503 => Http503 = "http_503",
        /// 429, whatever the quota; nothing is applied.
        p_429 => Http429 = "http_429",
        /// 403 as if the access token had been revoked; nothing is applied.
        p_withdrawn => Withdrawn = "withdrawn",
        /// Nothing is applied, and for `hang_ms` nothing is answered.
        p_hang_before => HangBefore = "hang_before",
        /// The call is applied, and for `hang_ms` nothing is answered.
        p_hang_after => HangAfter = "hang_after",
        /// The call is applied, the answer is cut.
        p_cut => Cut = "cut",
        /// The answer comes late.
        p_delay => Delay = "delay",
    }
    rest {
        /// The `Retry-After` of 503 and 429, as it stands; empty, as Amazon has it, sends none.
        retry_after: String = String::new(),
        /// How late a late answer is, in milliseconds.
        delay_ms: u32 = 800,
        /// How long nothing is answered, in milliseconds.
        hang_ms: u32 = 60_000,
        /// Share of a batch's members that answer 500.
        p_entry_500: f64 = 0.0,
        /// Share of a batch's members that answer 429.
        p_entry_429: f64 = 0.0,
        /// Share of submissions that are answered with `INVALID`.
        p_invalid: f64 = 0.0,
        /// Share of submissions that are accepted and never applied.
        p_never: f64 = 0.0,
        /// Share of feeds that are given up halfway.
        p_feed_fatal: f64 = 0.0,
        /// Share of feeds that are cancelled.
        p_feed_cancelled: f64 = 0.0,
        /// Share of feeds whose report is none.
        p_feed_garbled: f64 = 0.0,
        /// Whether answers lead to documents at somebody else's.
        feeds_elsewhere: bool = false,
        /// Whether answers hold members that no document knows.
        unknown_fields: bool = false,
        /// Share of token calls that answer 500.
        p_token_500: f64 = 0.0,
        /// Whether the refresh token is refused (`invalid_grant`).
        revoked: bool = false,
    }
);

/// What goes wrong at the marketplaces. The default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultPlan {
    /// Yahoo! Auctions.
    pub yahoo: YahooFaults,
    /// The eBay Sell APIs.
    pub ebay: EbayFaults,
    /// Mercari Shops.
    pub mercari: MercariFaults,
    /// The Selling Partner API.
    pub amazon: AmazonFaults,
}

impl FaultPlan {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = self.yahoo.problems("faults.yahoo");
        problems.extend(self.ebay.problems("faults.ebay"));
        problems.extend(self.mercari.problems("faults.mercari"));
        for (key, share) in [
            ("p_entry_fails", self.mercari.p_entry_fails),
            ("p_entry_missing", self.mercari.p_entry_missing),
        ] {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!(
                    "`faults.mercari.{key}`: expected a share from 0 to 1, got {share}"
                ));
            }
        }
        problems.extend(self.amazon.problems("faults.amazon"));
        let entries = [
            ("p_entry_fails", self.ebay.p_entry_fails),
            ("p_entry_warns", self.ebay.p_entry_warns),
            ("p_entry_ignored", self.ebay.p_entry_ignored),
            ("p_entry_late", self.ebay.p_entry_late),
            ("p_token_500", self.ebay.p_token_500),
        ];
        for (key, share) in entries {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!(
                    "`faults.ebay.{key}`: expected a share from 0 to 1, got {share}"
                ));
            }
        }
        let parts = [
            ("p_entry_500", self.amazon.p_entry_500),
            ("p_entry_429", self.amazon.p_entry_429),
            ("p_invalid", self.amazon.p_invalid),
            ("p_never", self.amazon.p_never),
            ("p_token_500", self.amazon.p_token_500),
        ];
        for (key, share) in parts {
            if !(0.0..=1.0).contains(&share) {
                problems.push(format!(
                    "`faults.amazon.{key}`: expected a share from 0 to 1, got {share}"
                ));
            }
        }
        if self.yahoo.drip_bytes_per_s == 0 {
            problems.push("`faults.yahoo.drip_bytes_per_s`: expected at least 1, got 0".into());
        }
        for (key, text) in [
            ("yahoo", &self.yahoo.retry_after),
            ("ebay", &self.ebay.retry_after),
            ("mercari", &self.mercari.retry_after),
            ("amazon", &self.amazon.retry_after),
        ] {
            if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                problems.push(format!(
                    "`faults.{key}.retry_after`: expected printable ASCII, got {text:?}"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests;
