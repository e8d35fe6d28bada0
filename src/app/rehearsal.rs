//! The daemon as a child process, driven by its socket: what the demo, the benches and the durability tests share.
//!
//! It is the same program with the same settings file that production uses; only the endpoints point at a simulator.

pub mod compare;
mod goods;

pub use goods::{Markets, Registered, csv, registered};

use crate::control::client::{Client, ControlError};
use crate::simulator::Running;
use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How often a level is looked at while it is awaited.
const LOOK: Duration = Duration::from_millis(50);

/// What a rehearsed daemon needs to know.
#[derive(Clone, Debug)]
pub struct RehearsalSettings {
    /// The program.
    pub program: PathBuf,
    /// Where everything of it lives; kept, so that a second run finds its database.
    pub state_dir: PathBuf,
    /// A settings file whose values hold where the rehearsal sets none.
    pub base: Option<PathBuf>,
    /// The simulated Yahoo! Auctions.
    pub yahoo: String,
    /// The simulated eBay.
    pub ebay: String,
    /// The keys to the simulated eBay: client id, secret, refresh token.
    pub keys: [String; 3],
    /// The other marketplaces, where they are rehearsed.
    pub others: Option<Others>,
    /// The simulator's certificate authority, when it speaks TLS.
    pub ca_file: Option<PathBuf>,
    /// A database to use instead of a private one.
    pub database_url: Option<String>,
    /// More environment for the child (failpoints).
    pub environment: Vec<(String, String)>,
}

/// The marketplaces beside Yahoo! Auctions and eBay.
#[derive(Clone, Debug)]
pub struct Others {
    /// The simulated Mercari Shops.
    pub mercari: String,
    /// Its client name and token.
    pub mercari_keys: [String; 2],
    /// The simulated Amazon, source and destination.
    pub amazon: String,
    /// Client id, secret, refresh token and seller id.
    pub amazon_keys: [String; 4],
}

impl Others {
    /// Those of a simulator.
    #[must_use]
    pub fn of(simulator: &Running) -> Self {
        let catalogue = simulator.catalogue();
        let (keys, amazon) = (catalogue.credentials, catalogue.amazon);
        Self {
            mercari: simulator.urls.mercari.clone(),
            mercari_keys: [keys.mercari_client_name.into(), keys.mercari_token.into()],
            amazon: simulator.urls.amazon.clone(),
            amazon_keys: [
                amazon.client_id.into(),
                amazon.client_secret.into(),
                amazon.refresh_token.into(),
                amazon.seller_id.into(),
            ],
        }
    }

    /// What the daemon is told of them.
    fn variables(&self) -> Vec<(String, String)> {
        let [name, token] = &self.mercari_keys;
        let [id, secret, refresh, seller] = &self.amazon_keys;
        let mut set = vec![
            ("MERCARI__ENABLED", "true"),
            ("MERCARI__ENDPOINT", &self.mercari),
            ("MERCARI__CLIENT_NAME", name),
            ("MERCARI__TOKEN", token),
            // The lighter question: all of a demo's items come around within its last half minute.
            ("AMAZON__READ", "competitive"),
            ("AMAZON_SELLER__SELLER_ID", seller),
        ];
        let mut text: Vec<(String, String)> = Vec::new();
        for side in ["AMAZON", "AMAZON_SELLER"] {
            for (key, value) in [
                ("ENABLED", "true"),
                ("ENDPOINT", self.amazon.as_str()),
                ("TOKEN_ENDPOINT", &self.amazon),
                ("CLIENT_ID", id),
                ("CLIENT_SECRET", secret),
                ("REFRESH_TOKEN", refresh),
                ("REQUESTS_PER_HOUR", "100000"),
                // Within the quotas that the account has by itself.
                ("REQUESTS_PER_SECOND", if side == "AMAZON" { "0.5" } else { "4" }),
                ("OPEN_REQUESTS", "4"),
            ] {
                text.push((format!("{side}__{key}"), value.to_owned()));
            }
        }
        text.extend(
            set.drain(..)
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        text.into_iter()
            .map(|(key, value)| (format!("PLATFORMS__{key}"), value))
            .collect()
    }
}

/// A daemon under rehearsal.
#[derive(Debug)]
pub struct Rehearsal {
    settings: RehearsalSettings,
    child: Option<Child>,
}

impl Rehearsal {
    /// Prepares the folder; nothing runs yet.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(settings: RehearsalSettings) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.state_dir)
            .with_context(|| format!("cannot make `{}`", settings.state_dir.display()))?;
        Ok(Self {
            settings,
            child: None,
        })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.settings.state_dir.join("control.sock")
    }

    /// Where the daemon's log goes.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.settings.state_dir.join("daemon.log")
    }

    /// Changes the environment of the next start.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.settings.environment = environment;
    }

    /// A client of the socket.
    ///
    /// # Errors
    /// When no client can be built.
    pub fn client(&self) -> Result<Client, ControlError> {
        Client::new(&self.socket())
    }

    /// Starts the daemon; it is not ready yet.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.settings.program);
        command
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for whoever rehearses; it then stops the daemon itself.
            .process_group(0)
            .kill_on_drop(true);
        if let Some(base) = &self.settings.base {
            command.arg("--config").arg(base);
        }
        for (name, value) in self.variables() {
            command.env(name, value);
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.settings.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// The settings that the rehearsal stands on, as environment over the file.
    fn variables(&self) -> Vec<(String, String)> {
        let s = &self.settings;
        let mut set = s.environment.clone();
        let mut put = |name: &str, value: String| set.push((format!("ZAIKOBAN_{name}"), value));
        put("DAEMON__STATE_DIR", s.state_dir.display().to_string());
        put("DAEMON__SOCKET", self.socket().display().to_string());
        put("PLATFORMS__YAHOO_AUCTION__ENDPOINT", s.yahoo.clone());
        put("PLATFORMS__EBAY__ENDPOINT", s.ebay.clone());
        put("PLATFORMS__EBAY__ENABLED", "true".to_owned());
        let [client_id, client_secret, refresh_token] = s.keys.clone();
        put("PLATFORMS__EBAY__CLIENT_ID", client_id);
        put("PLATFORMS__EBAY__CLIENT_SECRET", client_secret);
        put("PLATFORMS__EBAY__REFRESH_TOKEN", refresh_token);
        for (name, value) in s.others.iter().flat_map(Others::variables) {
            put(&name, value);
        }
        if let Some(ca) = &s.ca_file {
            put("PLATFORMS__YAHOO_AUCTION__CA_FILE", ca.display().to_string());
            put("PLATFORMS__EBAY__CA_FILE", ca.display().to_string());
        }
        if let Some(url) = &s.database_url {
            put("DATABASE__URL", url.clone());
        }
        set
    }

    /// Waits until the daemon watches, telling `progress` what it waits for.
    ///
    /// # Errors
    /// When it ends instead, or is not ready within `limit`.
    pub async fn ready(&mut self, limit: Duration, mut progress: impl FnMut(&str)) -> anyhow::Result<Value> {
        let client = self.client()?;
        let deadline = deadline(limit);
        let mut last = String::new();
        loop {
            if let Some(status) = self.exited()? {
                bail!("the daemon ended with {status}:\n{}", self.log_tail());
            }
            if let Ok(status) = client.get("/v1/status").await {
                let state = status
                    .get("state")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned();
                if state == "running" {
                    return Ok(status);
                }
                if state != last {
                    progress(&state);
                    last = state;
                }
            }
            if Instant::now() > deadline {
                bail!(
                    "the daemon was not ready within {limit:?} (last: {last}):\n{}",
                    self.log_tail()
                );
            }
            sleep(LOOK).await;
        }
    }

    /// The exit status, once it has ended.
    ///
    /// # Errors
    /// When the child cannot be asked.
    pub fn exited(&mut self) -> anyhow::Result<Option<String>> {
        let Some(child) = &mut self.child else {
            return Ok(Some("no start".to_owned()));
        };
        Ok(child.try_wait()?.map(|status| status.to_string()))
    }

    /// The daemon's process number while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Kills it as a power cut would, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Asks it to end and waits; gives its exit status.
    ///
    /// # Errors
    /// When it has not ended within `limit`; it is killed then.
    pub async fn stop(&mut self, limit: Duration) -> anyhow::Result<String> {
        let Some(mut child) = self.child.take() else {
            return Ok("not running".to_owned());
        };
        if let Some(pid) = child.id().and_then(|p| i32::try_from(p).ok()) {
            kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        }
        match tokio::time::timeout(limit, child.wait()).await {
            Ok(status) => Ok(status?.to_string()),
            Err(_elapsed) => {
                child.kill().await?;
                bail!("the daemon did not end within {limit:?}:\n{}", self.log_tail())
            }
        }
    }

    /// The last lines of the daemon's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let from = lines.len().saturating_sub(20);
        lines.get(from..).unwrap_or_default().join("\n")
    }

    /// CPU time used and memory held by the daemon's own process (not its database).
    ///
    /// # Errors
    /// When the process is gone.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.pid().context("the daemon does not run")?;
        Usage::of(pid)
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// User and system time.
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
}

impl Usage {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|t| t.parse::<u64>().ok())
            .sum();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let kib = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .and_then(|l| l.split_whitespace().next())
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0);
        // Linux counts in hundredths of a second on every machine of today.
        Ok(Self {
            cpu: Duration::from_millis(ticks.saturating_mul(10)),
            rss_bytes: kib.saturating_mul(1024),
        })
    }
}

fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}

/// The keys to a simulator's eBay.
#[must_use]
pub fn keys(simulator: &Running) -> [String; 3] {
    let keys = simulator.catalogue().credentials;
    [
        keys.client_id.into(),
        keys.client_secret.into(),
        keys.refresh_token.into(),
    ]
}

/// The running program, or the one that stands beside a test binary.
///
/// # Errors
/// When it cannot be found.
pub fn program() -> anyhow::Result<PathBuf> {
    let me = std::env::current_exe()?;
    if me.file_stem().is_some_and(|n| n == "zaikoban") {
        return Ok(me);
    }
    let beside = me
        .parent()
        .and_then(Path::parent)
        .map(|d| d.join("zaikoban"))
        .filter(|p| p.exists());
    beside.context("the program `zaikoban` is not beside this one; build it first")
}
