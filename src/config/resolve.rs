//! What it means: every setting once, with its default, turned into what the rooms take.
//!
//! `config/zaikoban.toml` explains each for a person; a test holds the two together.

use super::alerts::{alerts, word_or};
use super::amazon;
use super::checks;
use super::mercari::mercari;
use super::reader::Reader;
use super::schedules::schedules;
use super::settings::{
    CredentialsSettings, DaemonSettings, DatabaseSettings, DemoSettings, EbaySettings, ExchangeSettings,
    LogSettings, NodeSettings, PaceSettings, SentrySettings, Settings, SyncSettings, WatchSettings,
    YahooSettings,
};
use super::shown::{self, ShownValue};
use crate::domain::RateSource;
use crate::http;
use crate::pricing::{self, PriceBook};
use crate::queue::crew::Crew;
use crate::queue::{Order, Orders};
use crate::store::jobs::QueueName;
use crate::sync::{Policies, Policy, ReconcileSettings};
use crate::vault::{KeyFile, KeyFileKind};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::json;
use std::path::Path;
use url::Url;

/// Where the control socket is unless the settings say otherwise.
pub(super) const DEFAULT_SOCKET: &str = "/run/zaikoban/control.sock";

/// Reads everything; `None` only when what was typed leaves no meaning at all.
pub(super) fn resolve(r: &mut Reader) -> Option<Settings> {
    let daemon = daemon(r);
    let node = NodeSettings {
        name: checks::node_name(r, "node.name"),
    };
    let log = log(r);
    let sentry = sentry(r);
    let database = DatabaseSettings {
        url: checks::database(r, "database.url"),
        pool_size: r.whole("database.pool_size", 2..=100, 12),
        binaries: checks::binaries(r, "database.binaries"),
        user: r.text_or("database.user", "postgres"),
        accept_loss: r.flag("database.accept_loss", false),
    };
    let redis = checks::redis(r);
    let credentials = credentials(r, &daemon.state_dir);
    let yahoo = yahoo(r);
    let ebay = ebay(r);
    let mercari = mercari(r);
    let amazon = amazon::source(r);
    let amazon_seller = amazon::seller(r);
    let watch = watch(r);
    let sync = SyncSettings {
        touched_per_hour: r.whole("sync.touched_per_hour", 1..=1_000_000, 500),
        touched_per_day: r.whole("sync.touched_per_day", 1..=10_000_000, 1_000),
        touched_percent_per_hour: r.whole("sync.touched_percent_per_hour", 1..=100, 50),
        touched_percent_per_day: r.whole("sync.touched_percent_per_day", 1..=100, 100),
        reconcile: reconcile(r),
    };
    let demo = DemoSettings {
        products: r.whole("demo.products", 1..=100_000, 300),
        changes_per_s: r.share("demo.changes_per_s", 0.0..=1000.0, 3.0),
        faults: r.flag("demo.faults", true),
    };
    let schedules = schedules(r);
    let queue = queue(r);
    let alerts = alerts(r);
    let pricing = pricing(r);
    let exchange = exchange(r);
    Some(Settings {
        daemon,
        node,
        log,
        sentry,
        database,
        redis,
        credentials,
        yahoo: yahoo?,
        ebay: ebay?,
        mercari: mercari?,
        amazon: amazon?,
        amazon_seller: amazon_seller?,
        watch,
        sync,
        schedules,
        queue,
        alerts,
        pricing: pricing?,
        exchange: exchange?,
        demo,
    })
}

/// How listings are read back, and whose word counts.
fn reconcile(r: &mut Reader) -> ReconcileSettings {
    let usual = ReconcileSettings::default();
    let mut policy =
        |platform: &str| word_or(r, &format!("sync.reconcile.{platform}.policy"), Policy::Overwrite);
    let policies = Policies {
        ebay: policy("ebay"),
        mercari: policy("mercari"),
        amazon_seller: policy("amazon_seller"),
    };
    ReconcileSettings {
        policies,
        share_percent: r.whole("sync.reconcile.share_percent", 1..=100, usual.share_percent),
        per_run: r.whole("sync.reconcile.per_run", 1..=1_000_000, usual.per_run),
        window_s: r.whole("sync.reconcile.window_s", 10..=86_400, usual.window_s),
        confirm_after_s: r.whole("sync.reconcile.confirm_after_s", 1..=3_600, usual.confirm_after_s),
        alert_listings: r.whole(
            "sync.reconcile.alert_listings",
            1..=1_000_000,
            usual.alert_listings,
        ),
        alert_percent: r.whole("sync.reconcile.alert_percent", 0..=100, usual.alert_percent),
        stop_percent: r.whole("sync.reconcile.stop_percent", 0..=100, usual.stop_percent),
    }
}

/// How many workers each queue has, unless a person ordered something else.
fn queue(r: &mut Reader) -> Orders {
    let mut orders = Orders::default();
    for (queue, key) in [
        (QueueName::StockCheck, "queue.workers.stock_check"),
        (QueueName::PriceSync, "queue.workers.price_sync"),
        (QueueName::Validation, "queue.workers.validation"),
        (
            QueueName::ProductRegistration,
            "queue.workers.product_registration",
        ),
    ] {
        let expected = "a number from 1 to 64, or a range such as \"1..6\"";
        let crew = r.read_or(key, expected, Crew::of(queue));
        orders.set(queue, Order { crew, paused: false });
    }
    orders
}

fn daemon(r: &mut Reader) -> DaemonSettings {
    let state_dir = r.path_or("daemon.state_dir", "/var/lib/zaikoban");
    let socket = r.path_or("daemon.socket", DEFAULT_SOCKET);
    DaemonSettings {
        socket: checks::socket(r, "daemon.socket", socket),
        socket_group: checks::group(r, "daemon.socket_group"),
        drain: r.seconds("daemon.drain_s", 1..=600, 20),
        worker_threads: r.whole("daemon.worker_threads", 1..=256, 1),
        blocked: r.seconds("daemon.blocked_s", 5..=300, 20),
        state_dir,
    }
}

/// What the settings name, else what systemd handed in, else a file of the daemon's own.
fn credentials(r: &mut Reader, state_dir: &Path) -> CredentialsSettings {
    const NAME: &str = "zaikoban.key";
    let key_file = if let Some(path) = r.path("credentials.key_file") {
        KeyFile::new(path, KeyFileKind::Given)
    } else if let Some(path) = r.handed_in(NAME) {
        KeyFile::new(path, KeyFileKind::Systemd)
    } else {
        KeyFile::new(state_dir.join("keys").join(NAME), KeyFileKind::Own)
    };
    CredentialsSettings { key_file }
}

fn log(r: &mut Reader) -> LogSettings {
    let filter = r.text_or("log.filter", "info,actix_server=warn");
    LogSettings {
        json: r.flag("log.json", false),
        filter: checks::filter(r, "log.filter", filter),
        dir: checks::log_dir(r, "log.dir"),
        rotate_bytes: r
            .whole("log.rotate_mb", 1..=10_000, 50_u64)
            .saturating_mul(1 << 20),
        keep: r.whole("log.keep", 1..=1_000, 8),
    }
}

fn sentry(r: &mut Reader) -> SentrySettings {
    SentrySettings {
        dsn: checks::dsn(r, "sentry.dsn"),
        environment: r.text_or("sentry.environment", "production"),
    }
}

fn yahoo(r: &mut Reader) -> Option<YahooSettings> {
    let contact = r.text_or("platforms.yahoo_auction.contact", "");
    if contact.chars().any(|c| c.is_control() || !c.is_ascii()) || contact.len() > 200 {
        let expected = "at most 200 plain ASCII characters, such as \"ops@example.jp\"";
        r.complain("platforms.yahoo_auction.contact", "", expected, None);
    }
    Some(YahooSettings {
        enabled: r.flag("platforms.yahoo_auction.enabled", true),
        ca_file: checks::ca_file(r, "platforms.yahoo_auction.ca_file"),
        pace: pace(r, "platforms.yahoo_auction", 1.0, 4, 15),
        contact,
        // Last: everything is read before anything gives up.
        endpoint: endpoint(
            r,
            "platforms.yahoo_auction.endpoint",
            "https://auctions.yahoo.co.jp",
        )?,
    })
}

fn ebay(r: &mut Reader) -> Option<EbaySettings> {
    let ru_name = r.text("platforms.ebay.ru_name");
    if ru_name.as_deref().is_some_and(|name| !is_ru_name(name)) {
        let expected = "eBay's RuName, such as \"Your_Name-YourName-Shop-abcde\"";
        r.complain("platforms.ebay.ru_name", "", expected, None);
    }
    Some(EbaySettings {
        enabled: r.flag("platforms.ebay.enabled", false),
        ca_file: checks::ca_file(r, "platforms.ebay.ca_file"),
        pace: pace(r, "platforms.ebay", 5.0, 8, 20),
        // Each may be kept sealed instead: without them eBay waits, and says so.
        client_id: r.text("platforms.ebay.client_id").filter(|id| !id.is_empty()),
        client_secret: r.secret("platforms.ebay.client_secret").filter(is_typed),
        refresh_token: r.secret("platforms.ebay.refresh_token").filter(is_typed),
        ru_name,
        content_language: r.text_or("platforms.ebay.content_language", "en-US"),
        skus_per_call: r.whole("platforms.ebay.skus_per_call", 1..=25, 1),
        // Last, as above.
        endpoint: endpoint(r, "platforms.ebay.endpoint", "https://api.ebay.com")?,
    })
}

/// An empty text is what the shipped file shows for "none".
pub(super) fn is_typed(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

fn is_ru_name(name: &str) -> bool {
    (1..=200).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
}

fn watch(r: &mut Reader) -> WatchSettings {
    let settings = WatchSettings {
        max_interval: r.seconds("watch.max_interval_s", 1..=2_592_000, 86_400),
        min_interval: r.millis("watch.min_interval_ms", 1..=86_400_000, 60_000),
        event_delay: r.millis("watch.event_delay_ms", 0..=3_600_000, 15_000),
        confirm_after: r.seconds("watch.confirm_after_s", 1..=3_600, 60),
        price_factor: r.share("watch.price_factor", 1.05..=100.0, 2.0),
        title_similarity: r.share("watch.title_similarity", 0.0..=1.0, 0.4),
        hold_deadline: r.seconds("watch.hold_deadline_s", 10..=2_592_000, 43_200),
        mass_change_products: r.whole("watch.mass_change_products", 1..=1_000_000, 10),
        mass_change_percent: r.share("watch.mass_change_percent", 0.01..=100.0, 5.0),
        mass_change_window: r.seconds("watch.mass_change_window_s", 10..=86_400, 600),
    };
    if settings.min_interval > settings.max_interval {
        let got = format!("{} ms", settings.min_interval.as_millis());
        r.complain(
            "watch.min_interval_ms",
            &got,
            "at most `watch.max_interval_s`",
            None,
        );
    }
    settings
}

pub(super) fn pace(r: &mut Reader, section: &str, per_s: f64, open: usize, limit_s: u64) -> PaceSettings {
    PaceSettings {
        requests_per_second: r.share(&format!("{section}.requests_per_second"), 0.001..=10_000.0, per_s),
        open_requests: r.whole(&format!("{section}.open_requests"), 1..=1_000, open),
        time_limit: r.seconds(&format!("{section}.time_limit_s"), 1..=300, limit_s),
        breaker_open: r.seconds(&format!("{section}.breaker_open_s"), 1..=900, 30),
    }
}

/// An origin: scheme, host and port, nothing behind them. Plain HTTP only to this machine, nothing to private networks.
pub(super) fn endpoint(r: &mut Reader, key: &str, default: &str) -> Option<Url> {
    let typed = r.text_or(key, default);
    // A user and a password have no place here, and are complained of without being shown.
    r.came_to(key, ShownValue::Plain(json!(checks::without_secrets(&typed))));
    let refused = Url::parse(&typed)
        .ok()
        .and_then(|u| http::check_literal(&u).err());
    if let Some(refused) = refused {
        let got = format!("`{}`", checks::without_secrets(&typed));
        let expected = format!("an origin that may be reached: {refused}");
        r.complain(key, &got, &expected, None);
        return None;
    }
    let url = Url::parse(&typed).ok().filter(|u| {
        let loopback = match u.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let scheme = u.scheme() == "https" || (u.scheme() == "http" && loopback);
        scheme && u.path() == "/" && u.query().is_none() && u.username().is_empty() && u.password().is_none()
    });
    if url.is_none() {
        let got = format!("`{}`", checks::without_secrets(&typed));
        let expected = "an origin such as \"https://auctions.yahoo.co.jp\" (http only to this machine)";
        r.complain(key, &got, expected, None);
    }
    url
}

fn exchange(r: &mut Reader) -> Option<ExchangeSettings> {
    Some(ExchangeSettings {
        source: word_or(r, "exchange.source", RateSource::Fixed),
        ca_file: checks::ca_file(r, "exchange.ca_file"),
        largest_move_percent: r.whole("exchange.largest_move_percent", 1..=50, 5),
        longest_days: r.whole("exchange.longest_days", 1..=60, 7),
        // Last, as above.
        endpoint: endpoint(r, "exchange.endpoint", "https://www.ecb.europa.eu")?,
    })
}

fn pricing(r: &mut Reader) -> Option<PriceBook> {
    let typed = r.section("pricing");
    let settings = match pricing::Settings::deserialize(typed) {
        Ok(settings) => settings,
        Err(error) => {
            r.complain(
                "pricing",
                &error.to_string(),
                "tables `exchange_rates` and `destinations`",
                None,
            );
            return None;
        }
    };
    match settings.resolve() {
        Ok(book) => {
            shown::pricing(r, &book);
            Some(book)
        }
        Err(problems) => {
            for problem in problems {
                let key = format!("pricing.{}", problem.key);
                let expected = problem.expected.trim_start_matches("expected ");
                r.complain(&key, &problem.got, expected, None);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{load, reader::Reader};
    use super::*;
    use std::io::Write;
    use std::path::{Path, PathBuf};

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("config/zaikoban.toml")
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_defaults_are_a_valid_configuration() {
        let settings = load(None, []).unwrap();
        assert!(settings.database.url.is_none());
        assert!((settings.yahoo.pace.requests_per_second - 1.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_shipped_file_explains_every_setting_and_changes_none() {
        let text = std::fs::read_to_string(shipped()).unwrap();
        let mut reader = Reader::new(Default::default(), Vec::new());
        resolve(&mut reader);
        for key in reader.known() {
            let name = key.rsplit('.').next().unwrap();
            assert!(
                text.lines()
                    .any(|l| l.trim_start_matches("# ").starts_with(&format!("{name} ="))),
                "config/zaikoban.toml does not explain `{key}`"
            );
        }
        load(Some(&shipped()), []).unwrap();
    }

    #[test]
    fn the_demo_settings_are_valid() {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/demo.toml");
        load(Some(&demo), []).unwrap();
    }

    #[test]
    fn all_problems_are_named_at_once_with_place_and_the_nearest_name() {
        let file = file(
            "[daemon]\nsocket_grop = 'x'\ndrain_s = \"long\"\n[platforms.yahoo_auction]\nrequests_per_second = 0\n\
             endpoint = 'http://example.com'\n[pricing.destinations.ebay]\nmargin_bp = -1\n",
        );
        let problems = load(
            Some(file.path()),
            [("ZAIKOBAN_DATABASE__POOL_SIZE".into(), "x".into())],
        )
        .unwrap_err()
        .problems;
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let all = told.join("\n");
        assert_eq!(problems.len(), 6, "{all}");
        assert!(all.contains(":2:1: `daemon.socket_grop`"), "{all}");
        assert!(all.contains("did you mean `daemon.socket_group`?"), "{all}");
        assert!(all.contains("$ZAIKOBAN_DATABASE__POOL_SIZE"), "{all}");
        assert!(all.contains("pricing.destinations.ebay.margin_bp"), "{all}");
        assert!(all.contains("expected a number from 0.001 to 10000"), "{all}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_problem_with_its_name() {
        for path in ["/", "/nonexistent/zaikoban.toml"] {
            let problems = load(Some(Path::new(path)), []).unwrap_err().problems;
            assert!(problems[0].to_string().starts_with(path), "{problems:?}");
        }
        let broken = file("[daemon\nx = = 1\n");
        assert!(!load(Some(broken.path()), []).unwrap_err().problems.is_empty());
    }

    #[test]
    fn ebay_may_be_enabled_before_its_keys_are_there() {
        let file = file("[platforms.ebay]\nenabled = true\nclient_id = ''\n");
        let ebay = load(Some(file.path()), []).unwrap().ebay;
        assert!(ebay.enabled && ebay.client_id.is_none());
        assert!(ebay.client_secret.is_none() && ebay.refresh_token.is_none());
    }

    #[test]
    fn the_keys_are_where_the_settings_say_else_where_systemd_put_them_else_in_the_state_folder() {
        let handed_in = tempfile::tempdir().unwrap();
        let environment = || {
            let folder = handed_in.path().display().to_string();
            [("CREDENTIALS_DIRECTORY".to_owned(), folder)]
        };
        let own = |file: Option<&Path>| load(file, environment()).unwrap().credentials.key_file;
        let expected = KeyFile::new("/var/lib/zaikoban/keys/zaikoban.key".into(), KeyFileKind::Own);
        assert_eq!(own(None), expected, "a folder without the key means none");
        let path = handed_in.path().join("zaikoban.key");
        std::fs::write(&path, "").unwrap();
        assert_eq!(own(None), KeyFile::new(path, KeyFileKind::Systemd));
        let file = file("[credentials]\nkey_file = '/etc/zaikoban/key'\n");
        let expected = KeyFile::new("/etc/zaikoban/key".into(), KeyFileKind::Given);
        assert_eq!(own(Some(file.path())), expected);
    }

    #[test]
    fn what_the_start_would_stumble_over_is_named_together() {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let file = file(&format!(
            "[daemon]\nsocket = '/run/{long}'\nsocket_group = 'no-such-group-here'\n[log]\nfilter = 'zaikoban=loud'\n\
             [database]\nurl = 'postgres://u@h:port/x'\nbinaries = '/nonexistent'\n\
             [platforms.yahoo_auction]\nca_file = '{empty}'\n[platforms.ebay]\nca_file = '/nonexistent'\n",
            long = "x".repeat(103),
            empty = empty.path().display(),
        ));
        let problems = load(Some(file.path()), []).unwrap_err().problems;
        let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "daemon.socket",
                "daemon.socket_group",
                "log.filter",
                "database.url",
                "database.binaries",
                "platforms.yahoo_auction.ca_file",
                "platforms.ebay.ca_file",
            ],
            "{problems:?}"
        );
    }

    #[test]
    fn no_problem_shows_a_secret() {
        let file = file(
            "[database]\nurl = 'host=h user=u password=a canary=b'\n[platforms.yahoo_auction]\n\
             endpoint = 'https://canary:canary@h.example/x?key=canary'\n[platforms.ebay]\nenabled = true\n\
             client_secret = 4711\nrefresh_token = ['canary']\nendpoint = 'canary@h'\n",
        );
        let environment = [("ZAIKOBAN_DATABASE__URL_FILE".into(), "/nonexistent".into())];
        for environment in [vec![], environment.to_vec()] {
            let problems = load(Some(file.path()), environment).unwrap_err().problems;
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let all = told.join("\n");
            assert!(!all.contains("canary") && !all.contains("4711"), "{all}");
            assert!(all.contains("`https://h.example/x`"), "{all}");
        }
    }

    #[test]
    fn what_is_wrong_with_redis_is_told_with_the_rest_and_shows_no_password() {
        let set = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            crate::config::load(None, pairs)
        };
        let told = |pairs: &[(&str, &str)]| {
            let bad = set(pairs).unwrap_err();
            bad.problems.iter().map(ToString::to_string).collect::<String>()
        };
        let (url, prefix) = ("ZAIKOBAN_REDIS__URL", "ZAIKOBAN_REDIS__PREFIX");
        let password = "ZAIKOBAN_REDIS__PASSWORD";
        for (pairs, names) in [
            (vec![(url, "rediss://:canary@h")], "TLS to Redis is not built in"),
            (vec![(url, "http://:canary@h")], "`redis.url`"),
            (vec![(url, "redis://h"), (prefix, "a b")], "`redis.prefix`"),
            (
                vec![(url, "redis://:x@h"), (password, "canary")],
                "`redis.password`",
            ),
            (vec![(password, "canary")], "`redis.password`"),
            (
                vec![(url, "rediss://h"), ("ZAIKOBAN_DAEMON__DRAIN_S", "0")],
                "daemon.drain_s",
            ),
        ] {
            let told = told(&pairs);
            assert!(told.contains(names), "{names}: {told}");
            assert!(!told.contains("canary"), "{told}");
        }
        assert!(set(&[]).unwrap().redis.is_none());
        let used = set(&[(url, "redis://h:1/2"), (password, "x")])
            .unwrap()
            .redis
            .unwrap();
        assert_eq!(used.shown(), "Redis at h:1 (database 2)");
    }

    #[test]
    fn a_secret_never_shows_in_debug() {
        let file = file("[database]\nurl = 'postgres://u:canary@h/d'\n");
        let settings = load(Some(file.path()), []).unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
    }
}
