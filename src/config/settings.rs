//! What the daemon is told, as [`load`](super::load) gives it to the rooms.

use super::amazon::{AmazonSellerSettings, AmazonSettings};
use super::mercari::MercariSettings;
use crate::alert::AlertSettings;
use crate::domain::{DestinationPlatform, Platform, RateSource, SourcePlatform};
use crate::pricing::PriceBook;
use crate::queue::Orders;
use crate::schedule::{Keep, Timetable};
use crate::store::redis::RedisSettings;
use crate::sync::ReconcileSettings;
use crate::vault::KeyFile;
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Everything the daemon is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[daemon]`
    pub daemon: DaemonSettings,
    /// `[node]`
    pub node: NodeSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[sentry]`
    pub sentry: SentrySettings,
    /// `[database]`
    pub database: DatabaseSettings,
    /// `[redis]`; none uses none.
    pub redis: Option<RedisSettings>,
    /// `[credentials]`
    pub credentials: CredentialsSettings,
    /// `[platforms.yahoo_auction]`
    pub yahoo: YahooSettings,
    /// `[platforms.ebay]`
    pub ebay: EbaySettings,
    /// `[platforms.mercari]`
    pub mercari: MercariSettings,
    /// `[platforms.amazon]`
    pub amazon: AmazonSettings,
    /// `[platforms.amazon_seller]`
    pub amazon_seller: AmazonSellerSettings,
    /// `[watch]`
    pub watch: WatchSettings,
    /// `[sync]`
    pub sync: SyncSettings,
    /// `[schedules]`
    pub schedules: SchedulesSettings,
    /// `[queue]`
    pub queue: Orders,
    /// `[alerts]`
    pub alerts: AlertSettings,
    /// `[pricing]`
    pub pricing: PriceBook,
    /// `[exchange]`
    pub exchange: ExchangeSettings,
    /// `[demo]`
    pub demo: DemoSettings,
}

fn service<'a>(
    enabled: bool,
    endpoint: &'a Url,
    ca_file: Option<&'a PathBuf>,
    pace: PaceSettings,
) -> Service<'a> {
    Service {
        enabled,
        endpoint,
        ca_file,
        pace,
    }
}

/// What every external service has in its settings.
#[derive(Clone, Copy, Debug)]
pub struct Service<'a> {
    /// Whether it is used at all.
    pub enabled: bool,
    /// The host it is asked at.
    pub endpoint: &'a Url,
    /// A certificate authority that alone is trusted, in place of the system's; for rehearsals.
    pub ca_file: Option<&'a PathBuf>,
    /// Rate and limits.
    pub pace: PaceSettings,
}

impl Settings {
    /// What a service has in common with the others.
    #[must_use]
    pub fn service(&self, platform: Platform) -> Service<'_> {
        match platform {
            Platform::YahooAuction => {
                let own = &self.yahoo;
                service(own.enabled, &own.endpoint, own.ca_file.as_ref(), own.pace)
            }
            Platform::Ebay => {
                let own = &self.ebay;
                service(own.enabled, &own.endpoint, own.ca_file.as_ref(), own.pace)
            }
            Platform::Mercari => {
                let own = &self.mercari;
                service(own.enabled, &own.endpoint, own.ca_file.as_ref(), own.pace)
            }
            Platform::Amazon => self.amazon.account.service(),
            Platform::AmazonSeller => self.amazon_seller.account.service(),
        }
    }

    /// The sources that are watched.
    pub fn sources(&self) -> impl Iterator<Item = (SourcePlatform, Service<'_>)> {
        let all = SourcePlatform::ALL.iter().copied();
        let named = all.map(|source| (source, self.service(source.into())));
        named.filter(|(_, service)| service.enabled)
    }

    /// The destinations that are kept in line.
    pub fn destinations(&self) -> impl Iterator<Item = (DestinationPlatform, Service<'_>)> {
        let all = DestinationPlatform::ALL.iter().copied();
        let named = all.map(|at| (at, self.service(at.into())));
        named.filter(|(_, service)| service.enabled)
    }
}

/// Where exchange rates come from, and when they are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeSettings {
    /// Whose they are.
    pub source: RateSource,
    /// Scheme and host of the European Central Bank, or of its rehearsal.
    pub endpoint: Url,
    /// Certificates that alone are trusted, for a rehearsal.
    pub ca_file: Option<PathBuf>,
    /// The furthest that a rate moves without a person, in percent.
    pub largest_move_percent: u16,
    /// After so many days nothing new is priced by a rate.
    pub longest_days: u16,
}

/// Where the daemon lives.
#[derive(Clone, Debug)]
pub struct DaemonSettings {
    /// Where the private database and the key of stored credentials are kept.
    pub state_dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Members of this group may use it too.
    pub socket_group: Option<String>,
    /// How long a stop waits for work in flight.
    pub drain: Duration,
    /// Threads of the shared runtime.
    pub worker_threads: usize,
    /// How long an arbiter may be silent before the process ends.
    pub blocked: Duration,
}

/// What this daemon is among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// What it is called; none takes the machine's name.
    pub name: Option<String>,
}

/// How the log is written.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// One JSON object a line.
    pub json: bool,
    /// What is written, in the syntax of `tracing`'s filters.
    pub filter: String,
    /// A folder with one file for each channel, in place of standard error.
    pub dir: Option<PathBuf>,
    /// A file that would grow over this is put aside, and a new one begun.
    pub rotate_bytes: u64,
    /// How many that were put aside are kept of each channel.
    pub keep: u32,
}

/// Where panics and errors are reported, beside the log.
#[derive(Clone, Debug)]
pub struct SentrySettings {
    /// The project's address; none reports nothing.
    pub dsn: Option<SecretString>,
    /// Which installation this is.
    pub environment: String,
}

/// Which database.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    /// Its address; none makes a private cluster.
    pub url: Option<SecretString>,
    /// Connections at most.
    pub pool_size: usize,
    /// Where `initdb` and `postgres` are, when not on PATH or in Debian's folder.
    pub binaries: Option<PathBuf>,
    /// Who runs the private cluster when the daemon is root.
    pub user: String,
    /// Use a server that may lose what it has acknowledged.
    pub accept_loss: bool,
}

/// What stored credentials are sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsSettings {
    /// Where the keys are, and who looks after them.
    pub key_file: KeyFile,
}

/// How often and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceSettings {
    /// Requests a second.
    pub requests_per_second: f64,
    /// Requests open at once.
    pub open_requests: usize,
    /// One request's time limit.
    pub time_limit: Duration,
    /// How long a tripped breaker leaves the service alone at first; it doubles up to ten times that.
    pub breaker_open: Duration,
}

/// Yahoo! Auctions.
#[derive(Clone, Debug)]
pub struct YahooSettings {
    /// Whether it is watched at all.
    pub enabled: bool,
    /// The only host the client may reach.
    pub endpoint: Url,
    /// A certificate authority that alone is trusted, in place of the system's; for rehearsals.
    pub ca_file: Option<PathBuf>,
    /// Rate and limits.
    pub pace: PaceSettings,
    /// How the site can reach the operator; part of the user agent.
    pub contact: String,
}

/// eBay.
#[derive(Clone, Debug)]
pub struct EbaySettings {
    /// Whether listings are kept in line there.
    pub enabled: bool,
    /// The only host the client may reach.
    pub endpoint: Url,
    /// A certificate authority that alone is trusted, in place of the system's; for rehearsals.
    pub ca_file: Option<PathBuf>,
    /// Rate and limits.
    pub pace: PaceSettings,
    /// The application's client id; what is typed stands over what `zaikoban credentials set` keeps.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<SecretString>,
    /// What the seller's consent gave.
    pub refresh_token: Option<SecretString>,
    /// eBay's name for where a seller is sent back to after consenting.
    pub ru_name: Option<String>,
    /// The language of the offers, such as `en-US`.
    pub content_language: String,
    /// How many SKUs one call that changes listings may name.
    pub skus_per_call: usize,
}

/// Watching.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchSettings {
    /// Every product is looked at at least this often.
    pub max_interval: Duration,
    /// And no product more often than this.
    pub min_interval: Duration,
    /// How long after an auction's end its page is read.
    pub event_delay: Duration,
    /// A gone page is confirmed by a second look after this time.
    pub confirm_after: Duration,
    /// A price below the usual one divided by this waits for a person.
    pub price_factor: f64,
    /// A title less alike than this shows another product.
    pub title_similarity: f64,
    /// How long a hold waits for a person.
    pub hold_deadline: Duration,
    /// The blast radius: at least so many products …
    pub mass_change_products: u32,
    /// … and at least this share of the source's products, in percent …
    pub mass_change_percent: f64,
    /// … out of stock without explanation within this time.
    pub mass_change_window: Duration,
}

/// Selling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncSettings {
    /// The blast radius: so many listings may be ended or emptied, and as many repriced, in an hour …
    pub touched_per_hour: u32,
    /// … and in a day without a person's word; …
    pub touched_per_day: u32,
    /// … or this share of the destination's listings in an hour, if that is more, …
    pub touched_percent_per_hour: u32,
    /// … and in a day.
    pub touched_percent_per_day: u32,
    /// How listings are read back.
    pub reconcile: ReconcileSettings,
}

/// What is done at which time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulesSettings {
    /// When what is done.
    pub table: Timetable,
    /// How long what it leaves behind is kept.
    pub keep: Keep,
}

/// What `zaikoban demo` sets up.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    /// Products offered by the simulator.
    pub products: usize,
    /// Changes a second over all of them.
    pub changes_per_s: f64,
    /// Whether outages, slow, cut and drifted pages happen.
    pub faults: bool,
}
