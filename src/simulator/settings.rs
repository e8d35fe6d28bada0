//! What a simulator is told when it is made.

use super::faults::FaultPlan;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Everything that can be chosen. The default is a quiet, healthy pair of marketplaces with 200 products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorSettings {
    /// The address to listen on; a loopback address.
    pub bind: IpAddr,
    /// Port of the plain Yahoo! door; 0 takes a free one.
    pub yahoo_port: u16,
    /// Port of the plain eBay door; 0 takes a free one.
    pub ebay_port: u16,
    /// Port of the plain Mercari door; 0 takes a free one.
    pub mercari_port: u16,
    /// Port of the plain Amazon door; 0 takes a free one.
    pub amazon_port: u16,
    /// Whether all doors are served over TLS too, on ports of their own.
    pub tls: bool,
    /// Port of the Yahoo! door over TLS; 0 takes a free one.
    pub yahoo_tls_port: u16,
    /// Port of the eBay door over TLS; 0 takes a free one.
    pub ebay_tls_port: u16,
    /// Port of the Mercari door over TLS; 0 takes a free one.
    pub mercari_tls_port: u16,
    /// Port of the Amazon door over TLS; 0 takes a free one.
    pub amazon_tls_port: u16,
    /// Where `ca.pem` is written; needed with `tls`.
    pub directory: Option<PathBuf>,
    /// Threads per door.
    pub workers: usize,
    /// Everything random comes from this number.
    pub seed: u64,
    /// How many items Yahoo! shows.
    pub products: u32,
    /// How many eBay listings exist; listing `i` sells product `i % products`.
    pub listings: u32,
    /// How many listings of Mercari Shops exist, none by default; listing `i` sells product `i % products`.
    pub mercari_listings: u32,
    /// How many items Amazon has.
    pub amazon_products: u32,
    /// How many listings the seller has on Amazon; listing `i` sells item `i % amazon_products`.
    pub amazon_listings: u32,
    /// How many changes of stock or price happen per second, over all products.
    pub change_rate_per_s: f64,
    /// How many pieces are sold per second at each destination, over all its listings.
    pub sale_rate_per_s: f64,
    /// Share of changes that are wild: a price ten times too high or too low (0 to 1).
    pub wild_share: f64,
    /// Mean time until a sold-out item is offered again, in seconds.
    pub relist_after_s: f64,
    /// The auctions among the products.
    pub auctions: AuctionSettings,
    /// How eBay behaves when nothing is wrong.
    pub ebay: EbaySettings,
    /// How Mercari behaves when nothing is wrong.
    pub mercari: MercariSettings,
    /// How Amazon behaves when nothing is wrong.
    pub amazon: AmazonSettings,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// How many entries each ledger keeps; older ones are dropped and counted.
    pub ledger_capacity: usize,
}

/// How auctions run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuctionSettings {
    /// Share of the products that are auctions (0 to 1).
    pub share: f64,
    /// The first auction ends this long after the start, in seconds.
    pub ends_after_s: f64,
    /// The last one ends this long after the start, in seconds.
    pub ends_within_s: f64,
    /// Share of auctions with bids that are extended when their end comes (0 to 1).
    pub extended_share: f64,
    /// How long an extension is, in seconds.
    pub extension_s: f64,
}

/// How eBay behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EbaySettings {
    /// Life of an access token in seconds.
    pub token_lifetime_s: u32,
    /// Revisions of one listing that a Pacific day allows.
    pub revisions_per_day: u32,
    /// Whether a bulk call may name only one SKU: the published text contradicts itself.
    pub one_sku_per_call: bool,
    /// Whether a published offer may have the quantity 0 (the seller's out-of-stock control).
    pub allow_zero: bool,
}

/// How Mercari Shops behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MercariSettings {
    /// The cost points that an hour has.
    pub points_per_hour: u32,
    /// Whether there is a call for several SKUs at once: its shape is not published.
    pub takes_bulk: bool,
}

impl Default for MercariSettings {
    fn default() -> Self {
        Self {
            points_per_hour: 10_000,
            takes_bulk: true,
        }
    }
}

/// How Amazon behaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmazonSettings {
    /// Life of an access token in seconds.
    pub token_lifetime_s: u32,
    /// How many changes of stock or price happen per second, over all items.
    pub change_rate_per_s: f64,
    /// How long after it was accepted a change of a listing is applied and shown, in milliseconds.
    pub settle_ms: u32,
    /// How long a feed is worked on, in milliseconds.
    pub feed_ms: u32,
    /// The published quotas times this; 0 has none.
    pub quota_factor: f64,
}

impl Default for AmazonSettings {
    fn default() -> Self {
        Self {
            token_lifetime_s: 3_600,
            change_rate_per_s: 0.0,
            settle_ms: 0,
            feed_ms: 5_000,
            quota_factor: 1.0,
        }
    }
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            yahoo_port: 0,
            ebay_port: 0,
            mercari_port: 0,
            amazon_port: 0,
            tls: false,
            yahoo_tls_port: 0,
            ebay_tls_port: 0,
            mercari_tls_port: 0,
            amazon_tls_port: 0,
            directory: None,
            workers: 1,
            seed: 1,
            products: 200,
            listings: 200,
            mercari_listings: 0,
            amazon_products: 50,
            amazon_listings: 50,
            change_rate_per_s: 0.0,
            sale_rate_per_s: 0.0,
            wild_share: 0.0,
            relist_after_s: 20.0,
            auctions: AuctionSettings::default(),
            ebay: EbaySettings::default(),
            mercari: MercariSettings::default(),
            amazon: AmazonSettings::default(),
            faults: FaultPlan::default(),
            ledger_capacity: 200_000,
        }
    }
}

impl Default for AuctionSettings {
    fn default() -> Self {
        Self {
            share: 0.2,
            ends_after_s: 3_600.0,
            ends_within_s: 7.0 * 86_400.0,
            extended_share: 0.4,
            extension_s: 300.0,
        }
    }
}

impl Default for EbaySettings {
    fn default() -> Self {
        Self {
            token_lifetime_s: 7_200,
            revisions_per_day: 250,
            one_sku_per_call: false,
            allow_zero: true,
        }
    }
}

/// Everything that is wrong with some settings, one line each.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the simulator's settings cannot be used: {}", .0.join("; "))]
pub struct BadSettings(pub Vec<String>);

/// The most products that one simulator holds.
const MAX_PRODUCTS: u32 = 1_000_000;

impl SimulatorSettings {
    /// Whether these settings can be used.
    ///
    /// # Errors
    /// Every problem at once, each with the key, what was expected and what was given.
    pub fn check(&self) -> Result<(), BadSettings> {
        let mut problems = self.faults.problems();
        let mut expect = |good: bool, key: &str, expected: &str, got: String| {
            if !good {
                problems.push(format!("`{key}`: expected {expected}, got {got}"));
            }
        };
        expect(
            self.bind.is_loopback(),
            "bind",
            "a loopback address such as 127.0.0.1",
            self.bind.to_string(),
        );
        expect(
            !self.tls || self.directory.is_some(),
            "directory",
            "a directory for ca.pem when `tls` is on",
            "nothing".into(),
        );
        expect(
            (1..=64).contains(&self.workers),
            "workers",
            "1 to 64",
            self.workers.to_string(),
        );
        for (key, count) in [
            ("products", self.products),
            ("listings", self.listings),
            ("amazon_products", self.amazon_products),
            ("amazon_listings", self.amazon_listings),
        ] {
            expect(
                (1..=MAX_PRODUCTS).contains(&count),
                key,
                "1 to 1000000",
                count.to_string(),
            );
        }
        expect(
            self.mercari_listings <= MAX_PRODUCTS,
            "mercari_listings",
            "0 to 1000000",
            self.mercari_listings.to_string(),
        );
        let rates = [
            ("change_rate_per_s", self.change_rate_per_s),
            ("sale_rate_per_s", self.sale_rate_per_s),
            ("amazon.change_rate_per_s", self.amazon.change_rate_per_s),
            ("amazon.quota_factor", self.amazon.quota_factor),
        ];
        for (key, rate) in rates {
            expect(
                (0.0..=100_000.0).contains(&rate),
                key,
                "0 to 100000",
                rate.to_string(),
            );
        }
        let shares = [
            ("wild_share", self.wild_share),
            ("auctions.share", self.auctions.share),
            ("auctions.extended_share", self.auctions.extended_share),
        ];
        for (key, share) in shares {
            expect(
                (0.0..=1.0).contains(&share),
                key,
                "a share from 0 to 1",
                share.to_string(),
            );
        }
        let spans = [
            ("relist_after_s", self.relist_after_s),
            ("auctions.ends_after_s", self.auctions.ends_after_s),
            ("auctions.ends_within_s", self.auctions.ends_within_s),
            ("auctions.extension_s", self.auctions.extension_s),
        ];
        for (key, span) in spans {
            expect(
                (0.001..=1.0e9).contains(&span),
                key,
                "seconds from 0.001 to 1e9",
                span.to_string(),
            );
        }
        expect(
            self.auctions.ends_after_s <= self.auctions.ends_within_s,
            "auctions.ends_within_s",
            "not less than `auctions.ends_after_s`",
            self.auctions.ends_within_s.to_string(),
        );
        expect(
            self.ledger_capacity > 0,
            "ledger_capacity",
            "at least 1",
            "0".into(),
        );
        if problems.is_empty() {
            Ok(())
        } else {
            Err(BadSettings(problems))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_can_be_used() {
        assert_eq!(SimulatorSettings::default().check(), Ok(()));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let settings = SimulatorSettings {
            bind: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            tls: true,
            products: 0,
            change_rate_per_s: f64::NAN,
            wild_share: 2.0,
            ..SimulatorSettings::default()
        };
        let BadSettings(problems) = settings.check().unwrap_err();
        for key in ["bind", "directory", "products", "change_rate_per_s", "wild_share"] {
            assert!(problems.iter().any(|p| p.contains(key)), "{key}: {problems:?}");
        }
    }
}
