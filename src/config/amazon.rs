//! `[platforms.amazon]` and `[platforms.amazon_seller]`.

use super::checks;
use super::reader::Reader;
use super::resolve::{endpoint, is_typed, pace};
use super::settings::{PaceSettings, Service};
use crate::domain::{Currency, Quantity};
use crate::platform::amazon::{self, AccountSettings, Condition, Filters, Fulfilment, JAPAN, ReadBy};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const SOURCE: &str = "platforms.amazon";
const SELLER: &str = "platforms.amazon_seller";
/// A request waits for its turn a little longer than the slowest operation's spacing, and no longer.
const PATIENCE: Duration = Duration::from_secs(12);

/// The account, alike on both sides.
#[derive(Clone, Debug)]
pub struct AmazonAccount {
    /// Whether it is used at all.
    pub enabled: bool,
    /// The only host that is asked, beside the one for tokens.
    pub endpoint: Url,
    /// The only host that is asked for tokens, and for nothing else.
    pub token_endpoint: Url,
    /// A certificate authority that alone is trusted, in place of the system's; for rehearsals.
    pub ca_file: Option<PathBuf>,
    /// Rate and limits. The rate is bounded by `requests_per_hour`.
    pub pace: PaceSettings,
    /// The most requests in any hour.
    pub requests_per_hour: u32,
    /// The marketplace; Amazon.co.jp unless it is typed.
    pub marketplace: String,
    /// The application's client id; what is typed stands over what is kept sealed.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<SecretString>,
    /// What the seller's authorisation gave.
    pub refresh_token: Option<SecretString>,
}

/// Amazon as a source.
#[derive(Clone, Debug)]
pub struct AmazonSettings {
    /// Where and as whom.
    pub account: AmazonAccount,
    /// By what items are read.
    pub read: ReadBy,
    /// Which offers count.
    pub filters: Filters,
    /// Pieces of an item that is offered.
    pub pieces: Quantity,
    /// After this a title is asked for again.
    pub title_age: Duration,
}

/// Amazon as a place to sell.
#[derive(Clone, Debug)]
pub struct AmazonSellerSettings {
    /// Where and as whom.
    pub account: AmazonAccount,
    /// The seller's id (merchant token); empty while not typed.
    pub seller_id: String,
    /// How long Amazon may take to show what it accepted.
    pub settles_within: Duration,
    /// More prices than go out one by one within so long go in one document; zero: never.
    pub bulk_after: Duration,
}

impl AmazonAccount {
    pub(super) fn service(&self) -> Service<'_> {
        Service {
            enabled: self.enabled,
            endpoint: &self.endpoint,
            ca_file: self.ca_file.as_ref(),
            pace: self.pace,
        }
    }

    /// What the adapter needs of it.
    #[must_use]
    pub fn adapter(&self) -> AccountSettings {
        AccountSettings {
            endpoint: self.endpoint.clone(),
            token_endpoint: self.token_endpoint.clone(),
            marketplace: self.marketplace.clone(),
            currency: Currency::Jpy,
            requests_per_hour: Some(self.requests_per_hour),
            patience: PATIENCE.min(self.pace.time_limit / 2),
        }
    }
}

impl AmazonSettings {
    /// What the source's adapter needs.
    #[must_use]
    pub fn adapter(&self) -> amazon::AmazonSettings {
        amazon::AmazonSettings {
            account: self.account.adapter(),
            read: self.read,
            filters: self.filters,
            pieces: self.pieces,
            title_age: self.title_age,
        }
    }
}

impl AmazonSellerSettings {
    /// What the seller's adapter needs.
    #[must_use]
    pub fn adapter(&self) -> amazon::AmazonSellerSettings {
        amazon::AmazonSellerSettings {
            account: self.account.adapter(),
            seller_id: self.seller_id.clone(),
            settles_within: self.settles_within,
        }
    }
}

/// `[platforms.amazon]`.
pub(super) fn source(r: &mut Reader) -> Option<AmazonSettings> {
    let one_of = |names: &[&str]| format!("one of {}", names.join(", "));
    let read = r.read_or(
        &key(SOURCE, "read"),
        &one_of(&ReadBy::ALL.iter().map(|n| n.as_str()).collect::<Vec<_>>()),
        ReadBy::Offers,
    );
    let condition = r.read_or(
        &key(SOURCE, "condition"),
        &one_of(&Condition::ALL.iter().map(|n| n.as_str()).collect::<Vec<_>>()),
        Condition::New,
    );
    let fulfilment = r.read_or(
        &key(SOURCE, "fulfilment"),
        &one_of(&Fulfilment::ALL.iter().map(|n| n.as_str()).collect::<Vec<_>>()),
        Fulfilment::Any,
    );
    let filters = Filters {
        condition,
        fulfilment,
        later: r.flag(&key(SOURCE, "later_dates"), false),
        feedback_percent: r.whole(&key(SOURCE, "min_feedback_percent"), 0..=100, 0),
        feedback_count: r.whole(&key(SOURCE, "min_feedback_count"), 0..=1_000_000, 0),
    };
    if read == ReadBy::Competitive {
        blind(r, &filters);
    }
    let pieces: u32 = r.whole(&key(SOURCE, "pieces"), 1..=1_000, 1);
    let title_age_h: u64 = r.whole(&key(SOURCE, "title_age_h"), 1..=720, 24);
    Some(AmazonSettings {
        read,
        filters,
        pieces: Quantity::new(i64::from(pieces)).unwrap_or_default(),
        title_age: Duration::from_secs(title_age_h.saturating_mul(3600)),
        account: account(r, SOURCE, (0.1, 1), 100)?,
    })
}

/// Competitive prices do not say what these filters ask.
fn blind(r: &mut Reader, filters: &Filters) {
    let hint = Some(
        "a competitive price does not say who ships, nor how the seller is rated: set `read = \"offers\"`",
    );
    for (name, is_asked, expected) in [
        ("fulfilment", filters.fulfilment != Fulfilment::Any, "any"),
        ("min_feedback_percent", filters.feedback_percent > 0, "0"),
        ("min_feedback_count", filters.feedback_count > 0, "0"),
    ] {
        if is_asked {
            let expected = format!("{expected} beside `read = \"competitive\"`");
            r.complain(&key(SOURCE, name), "a filter", &expected, hint);
        }
    }
}

/// `[platforms.amazon_seller]`.
pub(super) fn seller(r: &mut Reader) -> Option<AmazonSellerSettings> {
    let name = key(SELLER, "seller_id");
    let seller_id = r.text_or(&name, "");
    let account = account(r, SELLER, (2.0, 4), 5_000);
    let bulk_after_s: u64 = r.whole(&key(SELLER, "bulk_after_s"), 0..=86_400, 600);
    let plain = seller_id.len() <= 32 && seller_id.bytes().all(|b| b.is_ascii_alphanumeric());
    let missing = seller_id.is_empty() && r.flag(&key(SELLER, "enabled"), false);
    if !plain || missing {
        let expected = "the seller's id (merchant token), such as \"A2EXAMPLE1234\"";
        let hint = Some("Seller Central shows it: Settings, Account Info, Merchant Token");
        r.complain(
            &name,
            if missing { "nothing" } else { "something else" },
            expected,
            hint,
        );
    }
    let settles_within = r.seconds(&key(SELLER, "settles_within_s"), 1..=7_200, 900);
    Some(AmazonSellerSettings {
        seller_id,
        settles_within,
        bulk_after: Duration::from_secs(bulk_after_s),
        account: account?,
    })
}

fn account(r: &mut Reader, at: &str, (per_s, open): (f64, usize), per_hour: u32) -> Option<AmazonAccount> {
    let mut pace = pace(r, at, per_s, open, 60);
    let requests_per_hour = r.whole(&key(at, "requests_per_hour"), 1..=100_000, per_hour);
    pace.requests_per_second = pace
        .requests_per_second
        .min(f64::from(requests_per_hour) / 3600.0);
    let marketplace = r.text_or(&key(at, "marketplace"), JAPAN);
    if marketplace != JAPAN {
        // Money is in yen throughout this side; another shop's would be refused one by one.
        let expected = format!("\"{JAPAN}\", which is Amazon.co.jp");
        r.complain(&key(at, "marketplace"), "another marketplace", &expected, None);
    }
    let enabled = r.flag(&key(at, "enabled"), false);
    let ca_file = checks::ca_file(r, &key(at, "ca_file"));
    // Each may be kept sealed instead.
    let client_id = r.text(&key(at, "client_id")).filter(|id| !id.is_empty());
    let client_secret = r.secret(&key(at, "client_secret")).filter(is_typed);
    let refresh_token = r.secret(&key(at, "refresh_token")).filter(is_typed);
    let here = endpoint(r, &key(at, "endpoint"), "https://sellingpartnerapi-fe.amazon.com");
    let tokens = endpoint(r, &key(at, "token_endpoint"), "https://api.amazon.com");
    Some(AmazonAccount {
        enabled,
        // Last: everything is read before anything gives up.
        endpoint: here?,
        token_endpoint: tokens?,
        ca_file,
        pace,
        requests_per_hour,
        marketplace,
        client_id,
        client_secret,
        refresh_token,
    })
}

fn key(section: &str, name: &str) -> String {
    format!("{section}.{name}")
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<super::super::Settings, String> {
        let name = |key: &str| format!("ZAIKOBAN_PLATFORMS__{}", key.to_uppercase().replace('.', "__"));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (name(k), (*v).to_owned())).collect();
        load(None, pairs).map_err(|bad| bad.problems.iter().map(|p| format!("{p}\n")).collect())
    }

    #[test]
    fn without_a_word_amazon_is_off_and_its_rate_keeps_to_the_hour() {
        let settings = set(&[]).unwrap();
        let (source, seller) = (settings.amazon, settings.amazon_seller);
        assert!(!source.account.enabled && !seller.account.enabled);
        assert!((source.account.pace.requests_per_second - 100.0 / 3600.0).abs() < 1e-9);
        assert_eq!(source.adapter().account.patience, PATIENCE);
        assert_eq!(seller.adapter().account.marketplace, JAPAN);
        let own = set(&[
            ("amazon.requests_per_hour", "7200"),
            ("amazon.requests_per_second", "1"),
        ])
        .unwrap();
        assert!((own.amazon.account.pace.requests_per_second - 1.0).abs() < 1e-9);
    }

    #[test]
    fn all_problems_are_named_at_once_and_no_secret_is_shown() {
        let told = set(&[
            ("amazon.read", "competitive"),
            ("amazon.fulfilment", "amazon"),
            ("amazon.min_feedback_percent", "90"),
            ("amazon.condition", "mint"),
            ("amazon.marketplace", "ATVPDKIKX0DER"),
            ("amazon.client_secret", "canary"),
            ("amazon.endpoint", "http://example.com"),
            ("amazon_seller.enabled", "true"),
            ("amazon_seller.token_endpoint", "https://10.0.0.1"),
        ])
        .unwrap_err();
        for name in [
            "amazon.fulfilment`",
            "amazon.min_feedback_percent`",
            "amazon.condition`",
            "amazon.marketplace`",
            "amazon.endpoint`",
            "amazon_seller.seller_id`",
            "amazon_seller.token_endpoint`",
        ] {
            assert!(told.contains(name), "{name}: {told}");
        }
        assert!(!told.contains("canary"), "{told}");
    }
}
