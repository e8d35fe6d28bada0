//! The doors themselves, on threads of their own.

use super::shared::Shared;
use super::{SimulatorError, SimulatorSettings, Urls, admin, amazon, ebay, mercari, tls, yahoo};
use actix_web::dev::{Server as ActixServer, ServerHandle, Service as _};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{App, HttpServer, web};
use futures_util::TryFutureExt as _;
use rustls::ServerConfig;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the script is played when nobody asks.
const TICK: Duration = Duration::from_millis(50);
/// The largest body that is taken.
const MOST_BYTES: usize = 16 << 20;

/// The threads that serve.
pub(super) struct Server {
    handles: Vec<ServerHandle>,
    thread: Option<JoinHandle<()>>,
}

/// What the serving thread reports once it listens.
type Report = Result<(Vec<ServerHandle>, Urls), SimulatorError>;

impl Server {
    /// Opens the doors and serves them until [`stop`](Self::stop).
    pub(super) fn start(
        settings: &SimulatorSettings,
        shared: &Arc<Shared>,
    ) -> Result<(Self, Urls), SimulatorError> {
        let certificates = match &settings.directory {
            Some(directory) if settings.tls => Some(tls::make(directory)?),
            _ => None,
        };
        let (report, reported) = mpsc::channel::<Report>();
        let (settings, shared) = (settings.clone(), Arc::clone(shared));
        let body = move || {
            actix_web::rt::System::new().block_on(async move {
                match open(&settings, &shared, certificates) {
                    Ok((servers, urls)) => {
                        let handles = servers.iter().map(ActixServer::handle).collect();
                        // Nobody listens any more when `start` has given up; then there is nobody to serve either.
                        if report.send(Ok((handles, urls))).is_ok() {
                            serve(servers, &shared).await;
                        }
                    }
                    Err(bad) => drop(report.send(Err(bad))),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("simulator".into())
            .spawn(body)
            .map_err(|source| cannot("on a thread", source))?;
        let gone = |_| cannot("at all", io::Error::other("its thread ended before it listened"));
        let (handles, urls) = reported.recv().map_err(gone)??;
        let thread = Some(thread);
        Ok((Self { handles, thread }, urls))
    }

    /// Shuts the doors and waits for the threads. A second call does nothing.
    pub(super) fn stop(&mut self) {
        for handle in self.handles.drain(..) {
            // The order is given by the call; the future only waits, which joining the thread does better.
            drop(handle.stop(false));
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The simulator's thread ended with a panic");
        }
    }
}

fn cannot(what: &str, source: io::Error) -> SimulatorError {
    SimulatorError::Serve {
        what: what.into(),
        source,
    }
}

/// Serves until all doors are shut, playing the script meanwhile.
async fn serve(servers: Vec<ActixServer>, shared: &Shared) {
    let doors = futures_util::future::join_all(servers);
    let mut ticks = actix_web::rt::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let script = async {
        loop {
            ticks.tick().await;
            shared.tick();
        }
    };
    tokio::select! {
        outcomes = doors => {
            for outcome in outcomes {
                if let Err(bad) = outcome {
                    tracing::error!(error = %bad, "A door of the simulator ended: {bad}");
                }
            }
        }
        () = script => {}
    }
}

type Opened = (Vec<ActixServer>, Urls);

fn open(
    settings: &SimulatorSettings,
    shared: &Arc<Shared>,
    certificates: Option<(ServerConfig, std::path::PathBuf)>,
) -> Result<Opened, SimulatorError> {
    let config = certificates.as_ref().map(|(config, _)| config);
    let (yahoo_server, yahoo_urls) = door(
        settings,
        shared,
        "Yahoo!",
        (settings.yahoo_port, settings.yahoo_tls_port),
        config,
        |paths| {
            paths.route("/jp/auction/{id}", web::get().to(yahoo::item_page));
        },
    )?;
    let (ebay_server, ebay_urls) = door(
        settings,
        shared,
        "eBay",
        (settings.ebay_port, settings.ebay_tls_port),
        config,
        ebay::routes,
    )?;
    let (mercari_server, mercari_urls) = door(
        settings,
        shared,
        "Mercari",
        (settings.mercari_port, settings.mercari_tls_port),
        config,
        mercari::routes,
    )?;
    let (amazon_server, amazon_urls) = door(
        settings,
        shared,
        "Amazon",
        (settings.amazon_port, settings.amazon_tls_port),
        config,
        amazon::routes,
    )?;
    let urls = Urls {
        amazon: amazon_urls.0,
        amazon_tls: amazon_urls.1,
        yahoo: yahoo_urls.0,
        ebay: ebay_urls.0,
        mercari: mercari_urls.0,
        mercari_tls: mercari_urls.1,
        yahoo_tls: yahoo_urls.1,
        ebay_tls: ebay_urls.1,
        ca_pem: certificates.map(|(_, file)| file),
    };
    Ok((
        vec![yahoo_server, ebay_server, mercari_server, amazon_server],
        urls,
    ))
}

/// One door, plain and over TLS.
fn door(
    settings: &SimulatorSettings,
    shared: &Arc<Shared>,
    name: &str,
    ports: (u16, u16),
    certificates: Option<&ServerConfig>,
    paths: fn(&mut web::ServiceConfig),
) -> Result<(ActixServer, (String, Option<String>)), SimulatorError> {
    let shared = web::Data::from(Arc::clone(shared));
    let make = move || {
        App::new()
            .app_data(shared.clone())
            .app_data(web::PayloadConfig::new(MOST_BYTES))
            .wrap_fn(|request, service| {
                let lie = request
                    .app_data::<web::Data<Shared>>()
                    .and_then(|shared| shared.lied_date());
                service.call(request).map_ok(move |mut answer| {
                    if let Some(date) = lie.and_then(|date| HeaderValue::from_str(&date).ok()) {
                        answer.headers_mut().insert(header::DATE, date);
                    }
                    answer
                })
            })
            .configure(paths)
            .configure(admin::routes)
    };
    let mut server = HttpServer::new(make)
        .workers(settings.workers)
        .disable_signals()
        .shutdown_timeout(1)
        .keep_alive(Duration::from_secs(75));
    let failed =
        |how: &str, port, source| cannot(&format!("{name} {how} on {}:{port}", settings.bind), source);
    server = server
        .bind((settings.bind, ports.0))
        .map_err(|source| failed("plain", ports.0, source))?;
    let plain = newest(&server.addrs_with_scheme(), "http");
    if let Some(certificates) = certificates {
        server = server
            .bind_rustls_0_23((settings.bind, ports.1), certificates.clone())
            .map_err(|source| failed("over TLS", ports.1, source))?;
    }
    let secure = newest(&server.addrs_with_scheme(), "https");
    let none = || cannot(name, io::Error::other("no address was bound"));
    Ok((server.run(), (plain.ok_or_else(none)?, secure)))
}

fn newest(addresses: &[(SocketAddr, &str)], scheme: &str) -> Option<String> {
    let (address, _) = addresses.iter().rev().find(|(_, s)| *s == scheme)?;
    Some(match address.ip() {
        IpAddr::V4(ip) => format!("{scheme}://{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("{scheme}://[{ip}]:{}", address.port()),
    })
}
