//! The client and what it is made from.

use super::address::{Guarded, RefusedAddress, check_literal};
use super::error::HttpError;
use super::request::Request;
use reqwest::Method;
use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// How long an idle connection is kept: below the shortest that servers are known to keep theirs (60 s), so that it is
/// usually we who close it.
const KEEP_IDLE: Duration = Duration::from_secs(30);

/// Idle connections per origin; more calls at once than this simply connect anew.
const KEEP_AT_MOST: usize = 64;

/// A scheme, a host and a port: the place a client may reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: u16,
    /// Not the host itself, but every name below it.
    below: bool,
}

/// What a client is made from.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The only places it may reach.
    pub origins: Vec<Origin>,
    /// Who we say we are, with a way to reach the operator.
    pub user_agent: String,
    /// PEM certificates that alone are trusted, in place of the system's; for a rehearsal.
    pub ca_file: Option<PathBuf>,
    /// Whether to ask for gzip.
    pub gzip: bool,
    /// Time and size.
    pub limits: Limits,
}

/// How long and how much, for one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Name, connection and TLS. Default 5 s.
    pub connect: Duration,
    /// The whole exchange, a repetition included. Default 15 s.
    pub total: Duration,
    /// Silence within a body. Default 5 s.
    pub idle: Duration,
    /// Bytes of a body, on the wire and after unpacking. Default 8 MiB.
    pub body_bytes: usize,
    /// How many times larger a body may become by unpacking. Default 100; pages of markup reach 20.
    pub unpack_ratio: usize,
}

/// Settings from which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum BadClient {
    /// Not an address of the web.
    #[error(
        "`{got}` is no place to send requests to; expected scheme, host and port, such as https://api.ebay.com"
    )]
    Origin {
        /// What was given, without query, cut to 200 characters.
        got: String,
    },
    /// An address that nothing is sent to.
    #[error("no client is made for a place that may not be reached: {0}")]
    Address(#[from] RefusedAddress),
    /// A client that may go nowhere.
    #[error("a client needs at least one place that it may reach")]
    NoOrigin,
    /// The file is not there, or cannot be read.
    #[error("failed to read the certificates in `{}`", .path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds no certificate.
    #[error("`{}` holds no certificate; expected PEM with -----BEGIN CERTIFICATE-----", .path.display())]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The client could not be made: no system certificates (install `ca-certificates`), a user agent that is no header.
    #[error(
        "failed to make an HTTP client (are the system's certificates installed: package `ca-certificates`?): {why}"
    )]
    Build {
        /// What the library said.
        why: String,
    },
}

/// Sends requests to the origins of its settings. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Client {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) http: reqwest::Client,
    pub(super) origins: Vec<Origin>,
    pub(super) limits: Limits,
    pub(super) gzip: bool,
    born: Instant,
    /// Milliseconds from `born` to the end of the last whole answer, plus one; 0 for none.
    last_answer_ms: AtomicU64,
}

// === impl Origin ===

impl Origin {
    /// The origin of an address, if it is http or https and has no user or password in it.
    #[must_use]
    pub fn of(url: &Url) -> Option<Self> {
        let plain = url.username().is_empty() && url.password().is_none();
        if !plain || !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Self {
            scheme: url.scheme().into(),
            host: url.host_str()?.into(),
            port: url.port_or_known_default()?,
            below: false,
        })
    }

    /// Every host below `domain`, over TLS on its usual port: for a service that says where to go in its answers. The
    /// domain must be one whose names belong to one owner.
    #[must_use]
    pub fn below(domain: &str) -> Self {
        Self {
            scheme: "https".into(),
            host: domain.to_ascii_lowercase().into(),
            port: 443,
            below: true,
        }
    }

    /// The origin of an address given as text.
    ///
    /// # Errors
    /// When the text is no address with http or https and a host.
    pub fn parse(text: &str) -> Result<Self, BadClient> {
        let origin = Url::parse(text).ok().and_then(|url| Self::of(&url));
        origin.ok_or_else(|| BadClient::Origin {
            got: text
                .split(['?', '#'])
                .next()
                .unwrap_or_default()
                .chars()
                .take(200)
                .collect(),
        })
    }

    /// Whether this is the origin of `url`, without making one.
    fn is_of(&self, url: &Url) -> bool {
        url.scheme() == &*self.scheme
            && url.host_str().is_some_and(|host| self.holds(host))
            && url.port_or_known_default() == Some(self.port)
            && url.username().is_empty()
            && url.password().is_none()
    }

    /// A name below the domain ends with it at the boundary of a label; the names of an [`Url`] are in small letters.
    fn holds(&self, host: &str) -> bool {
        if !self.below {
            return host == &*self.host;
        }
        let label = host
            .strip_suffix(&*self.host)
            .and_then(|rest| rest.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty())
    }

    fn url(&self) -> Option<Url> {
        if self.below {
            return None;
        }
        Url::parse(&self.to_string()).ok()
    }

    fn is_tls(&self) -> bool {
        &*self.scheme == "https"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = if self.below { "*." } else { "" };
        write!(f, "{}://{any}{}:{}", self.scheme, self.host, self.port)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(15),
            idle: Duration::from_secs(5),
            body_bytes: 8 * 1024 * 1024,
            unpack_ratio: 100,
        }
    }
}

// === impl Client ===

impl Client {
    /// Makes a client. Costs some milliseconds (the system's certificates are read): make it once.
    ///
    /// # Errors
    /// When there is no origin, the certificates cannot be read, or the user agent is no header.
    pub fn new(settings: &ClientSettings) -> Result<Self, BadClient> {
        Self::looking_up(settings, Guarded::system())
    }

    /// The same with another way to look names up.
    pub(super) fn looking_up(settings: &ClientSettings, names: Guarded) -> Result<Self, BadClient> {
        if settings.origins.is_empty() {
            return Err(BadClient::NoOrigin);
        }
        // Addresses are not looked up, so the resolver does not see them.
        for url in settings.origins.iter().filter_map(Origin::url) {
            check_literal(&url)?;
        }
        // reqwest is built without a provider; the second of two installs loses, and both are ring.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(settings.user_agent.as_str())
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .no_gzip()
            .referer(false)
            .http1_only()
            .dns_resolver(names)
            .connect_timeout(settings.limits.connect)
            .pool_idle_timeout(KEEP_IDLE)
            .pool_max_idle_per_host(KEEP_AT_MOST)
            .tcp_keepalive(KEEP_IDLE)
            .min_tls_version(reqwest::tls::Version::TLS_1_2);
        if let Some(path) = &settings.ca_file {
            builder = builder.tls_certs_only(certificates(path)?);
        } else if !settings.origins.iter().any(Origin::is_tls) {
            // No TLS, no roots: a rehearsal over plain HTTP works on a machine without `ca-certificates`.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| BadClient::Build {
            why: super::error::chain(&error),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                origins: settings.origins.clone(),
                limits: settings.limits,
                gzip: settings.gzip,
                born: Instant::now(),
                last_answer_ms: AtomicU64::new(0),
            }),
        })
    }

    /// Whether an address is one of a place that it may reach.
    #[must_use]
    pub fn reaches(&self, url: &Url) -> bool {
        self.inner.may_reach(url)
    }

    /// Unpacks what an answer holds as a gzip stream of its own, within the bounds of the client's limits. `place` is for
    /// complaints.
    ///
    /// # Errors
    /// When it is cut, damaged or too large.
    pub fn gunzip(&self, place: &str, body: bytes::Bytes) -> Result<bytes::Bytes, HttpError> {
        super::unpack::gunzip(place, body, &self.inner.limits)
    }

    /// Begins a GET.
    pub fn get(&self, url: Url) -> Request {
        Request::new(self.clone(), Method::GET, url)
    }

    /// Begins a POST.
    pub fn post(&self, url: Url) -> Request {
        Request::new(self.clone(), Method::POST, url)
    }

    /// Begins a PUT.
    pub fn put(&self, url: Url) -> Request {
        Request::new(self.clone(), Method::PUT, url)
    }

    /// Begins a PATCH.
    pub fn patch(&self, url: Url) -> Request {
        Request::new(self.clone(), Method::PATCH, url)
    }

    /// Begins a DELETE.
    pub fn delete(&self, url: Url) -> Request {
        Request::new(self.clone(), Method::DELETE, url)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("origins", &self.inner.origins)
            .finish_non_exhaustive()
    }
}

// === impl Inner ===

impl Inner {
    pub(super) fn may_reach(&self, url: &Url) -> bool {
        self.origins.iter().any(|origin| origin.is_of(url))
    }

    /// A whole answer came: its connection is kept from now on.
    pub(super) fn answered(&self) {
        let ms = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_answer_ms.store(ms + 1, Ordering::Relaxed);
    }

    /// Whether a connection may have been a kept one.
    pub(super) fn keeps_connections(&self) -> bool {
        let Some(last_ms) = self.last_answer_ms.load(Ordering::Relaxed).checked_sub(1) else {
            return false;
        };
        self.born.elapsed().saturating_sub(Duration::from_millis(last_ms)) <= KEEP_IDLE
    }
}

/// A plain client for a library that sends reports by itself: time limits, no redirects, no proxies. The house's own
/// requests go through [`Client`].
///
/// # Errors
/// When the system's certificates cannot be read.
pub fn for_reports(user_agent: &str, tls: bool) -> Result<reqwest::Client, BadClient> {
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    let limits = Limits::default();
    let mut builder = reqwest::Client::builder()
        .user_agent(user_agent)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .no_gzip()
        .referer(false)
        .connect_timeout(limits.connect)
        .timeout(limits.total)
        .min_tls_version(reqwest::tls::Version::TLS_1_2);
    if !tls {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| BadClient::Build {
        why: super::error::chain(&error),
    })
}

/// Whether the file can stand for [`ClientSettings::ca_file`].
///
/// # Errors
/// When it cannot be read or holds no certificate.
pub fn check_ca_file(path: &Path) -> Result<(), BadClient> {
    certificates(path).map(drop)
}

fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, BadClient> {
    let pem = std::fs::read(path).map_err(|source| BadClient::CaFile {
        path: path.to_owned(),
        source,
    })?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        // What reqwest says of bad PEM names neither file nor line; our own words do.
        Ok(_) | Err(_) => Err(BadClient::NoCertificate {
            path: path.to_owned(),
        }),
    }
}
