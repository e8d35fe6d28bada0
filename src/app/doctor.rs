//! Which probes there are: those of a running daemon, and those of a command line without one.
//!
//! Other rooms' probes (mail, Slack, sealed credentials) are added where their parts are built:
//! `common.probe(…)`.

use super::build::keeping;
use super::database::{self, Database};
use super::probe;
use crate::alert::Desk;
use crate::clock::Clock;
use crate::config::{PaceSettings, Service, Settings};
use crate::domain::Platform;
use crate::http;
use crate::ops::doctor::channels::ChannelsProbe;
use crate::ops::doctor::database::{AddressProbe, DatabaseProbe};
use crate::ops::doctor::judge::Account;
use crate::ops::doctor::machine::{DiskProbe, FilesProbe, MemoryProbe, ZoneProbe};
use crate::ops::doctor::service::{Ask, ServiceProbe};
use crate::ops::doctor::{Check, LIMIT, Probes, examine};
use crate::platform::yahoo::{YahooSettings, YahooSource};
use crate::platform::{PlatformError, Reached};
use crate::resilience::{Guard, Policy};
use crate::store::{Embedded, PoolSettings};
use futures_util::FutureExt as _;
use secrecy::ExposeSecret as _;
use std::path::PathBuf;
use std::sync::Arc;

/// The probes of a daemon's machine and database; those of the services follow.
pub(super) fn of_daemon(settings: &Settings, database: &Database) -> Probes {
    let private = database.embedded.is_some();
    let mut probes: Probes = vec![Arc::new(DatabaseProbe {
        db: database.db.clone(),
        private,
    })];
    let data = database.embedded.as_ref().map(|own| own.data().to_owned());
    probes.extend(of_machine(settings, data, true));
    probes
}

fn of_machine(settings: &Settings, data: Option<PathBuf>, daemon: bool) -> Probes {
    let mut probes: Probes = vec![Arc::new(DiskProbe {
        what: "disk",
        folder: settings.daemon.state_dir.clone(),
    })];
    if let Some(folder) = data {
        probes.push(Arc::new(DiskProbe {
            what: "database disk",
            folder,
        }));
    }
    probes.push(Arc::new(MemoryProbe { daemon }));
    if daemon {
        // Those of the shell that somebody types into say nothing about the daemon's.
        probes.push(Arc::new(FilesProbe));
    }
    probes.push(Arc::new(ZoneProbe));
    probes
}

/// What can be looked at without a daemon. Nothing is made or started for it, and nobody signs in: a token that is asked
/// for here would be one that the daemon does not know of.
///
/// # Errors
/// When there is no runtime to look with.
pub fn without_daemon(settings: &Settings, offline: bool) -> std::io::Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let checks = runtime.block_on(async {
        let mut told = Vec::new();
        let mut probes = Probes::new();
        let data = match database_of(settings) {
            Ok((pool, data)) => {
                let private = data.is_some();
                probes.push(Arc::new(AddressProbe {
                    settings: pool,
                    private,
                }));
                data
            }
            Err(check) => {
                told.push(check);
                None
            }
        };
        probes.extend(of_machine(settings, data, false));
        for service in services(settings) {
            match service {
                Ok(probe) => probes.push(Arc::new(probe)),
                Err(check) => told.push(check),
            }
        }
        match Desk::new(settings.alerts.clone(), Clock::system()) {
            Ok(desk) => probes.push(Arc::new(ChannelsProbe { desk })),
            Err(error) => told.push(Check::failed(
                "alerts",
                format!("{error:#}"),
                "`zaikoban config check` names every problem of the settings",
            )),
        }
        told.extend(examine(&probes, LIMIT, offline).await);
        told
    });
    // A look that hangs must not keep the person waiting.
    runtime.shutdown_background();
    Ok(checks)
}

/// How the database is reached, and where its files are when it is the daemon's own.
fn database_of(settings: &Settings) -> Result<(PoolSettings, Option<PathBuf>), Check> {
    if let Some(url) = &settings.database.url {
        return Ok((PoolSettings::new(url.expose_secret()), None));
    }
    match Embedded::found(&database::private(settings)) {
        Ok(Some((data, pool))) if data.with_file_name("run").join(".s.PGSQL.5432").exists() => {
            Ok((pool, Some(data)))
        }
        Ok(Some((data, _))) => Err(Check::skipped(
            "database",
            format!(
                "the private one in `{}` runs only with the daemon",
                data.display()
            ),
        )),
        Ok(None) => Err(Check::skipped(
            "database",
            "the private one is made when the daemon is started for the first time",
        )),
        Err(error) => Err(Check::failed(
            "database",
            format!("the private one cannot be found: {error}"),
            "see that the state folder can be entered: `sudo zaikoban doctor`",
        )),
    }
}

fn services(settings: &Settings) -> Vec<Result<ServiceProbe, Check>> {
    let all = Platform::ALL.iter().copied();
    let named = all.map(|platform| (platform, settings.service(platform)));
    let enabled = named.filter(|(_, service)| service.enabled);
    enabled
        .map(|(platform, service)| match platform {
            Platform::YahooAuction => yahoo(settings, &service),
            _ => somebody(platform, &service),
        })
        .collect()
}

fn bad(platform: Platform, error: &dyn std::fmt::Display) -> Check {
    let to_do = "`zaikoban config check` names every problem of the settings";
    Check::failed(platform.as_str(), error.to_string(), to_do)
}

fn guard(platform: Platform, pace: PaceSettings) -> Result<Guard, Check> {
    let policy = Policy {
        time_limit: pace.time_limit,
        ..Policy::default()
    };
    let guard = Guard::new(platform.as_str(), policy, Clock::system(), None);
    guard.map_err(|error| bad(platform, &error))
}

fn yahoo(settings: &Settings, service: &Service<'_>) -> Result<ServiceProbe, Check> {
    let (own, platform) = (&settings.yahoo, Platform::YahooAuction);
    let source = YahooSource::new(
        &YahooSettings {
            endpoint: own.endpoint.clone(),
            contact: own.contact.clone(),
            ca_file: own.ca_file.clone(),
            gzip: own.endpoint.scheme() == "https",
            time_limit: own.pace.time_limit,
        },
        Clock::system(),
    );
    let source = Arc::new(source.map_err(|error| bad(platform, &error))?);
    let guard = guard(platform, own.pace)?;
    Ok(probe::of_source(platform, service, &guard, source))
}

/// Whether there is somebody at its address. The daemon alone signs in.
fn somebody(platform: Platform, service: &Service<'_>) -> Result<ServiceProbe, Check> {
    let ca_file = service.ca_file.cloned();
    let client = keeping::client(&[service.endpoint], ca_file, service.pace.time_limit);
    let client = client.map_err(|error| bad(platform, &error))?;
    let url = service.endpoint.clone();
    let ask: Ask = Arc::new(move || {
        let request = client.get(url.clone()).send();
        async move { anybody(request.await) }.boxed()
    });
    let guard = guard(platform, service.pace)?;
    Ok(probe::probe(platform, service, &guard, (ask, Account::NotTried)))
}

/// Any answer but "I am away" shows that somebody is there.
fn anybody(answer: Result<http::Answer, http::HttpError>) -> Result<Reached, PlatformError> {
    use crate::domain::{Classified as _, ErrorClass};
    let trouble = |class, code: String, message: String| PlatformError {
        class,
        code: code.into(),
        message: message.into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    };
    match answer {
        Err(error) => Err(trouble(error.class(), error.code().to_owned(), error.to_string())),
        Ok(answer) if answer.status >= 500 => Err(trouble(
            ErrorClass::Transient,
            format!("http_{}", answer.status),
            format!("answers with HTTP status {}", answer.status),
        )),
        Ok(answer) => Ok(Reached { date: answer.date() }),
    }
}
