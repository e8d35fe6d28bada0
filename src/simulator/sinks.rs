//! Where messages to people end up in a rehearsal: a mail server, Slack's webhook, Twilio, and a webhook of the operator's.
//!
//! They keep what arrives and show it; each can be told to be away, slow or strange. Written from RFC 5321 and from Slack's
//! and Twilio's documents, apart from what `alert` believes.

mod smtp;
mod texts;

pub use texts::Texted;

use super::SimulatorError;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// The path of the simulated Slack webhook; as the real one it is the secret.
const SLACK_PATH: &str = "/services/T0SINK/B0SINK/sesame";

/// What a sink does with what comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkMood {
    /// It takes it.
    #[default]
    Well,
    /// It is there and says that it cannot (SMTP 451, HTTP 503).
    Unavailable,
    /// It hangs up at once.
    HangsUp,
    /// It says nothing for half a minute.
    Silent,
    /// It asks to come back in so many seconds (HTTP 429; SMTP 421).
    Busy(u32),
    /// It refuses for good (SMTP 550, HTTP 404 `no_service`).
    Gone,
    /// It answers 200 with something else than it should.
    Strange,
}

/// A request that the operator's webhook took.
#[derive(Clone, Debug)]
pub struct Hooked {
    /// Its headers, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Kept {
    pub(super) mails: Vec<String>,
    slack: Vec<Value>,
    hooks: Vec<Hooked>,
    texts: Vec<Texted>,
    pings: usize,
    pub(super) mail_mood: SinkMood,
    text_mood: SinkMood,
    slack_mood: SinkMood,
    hook_mood: SinkMood,
}

pub(super) type Shelf = Arc<Mutex<Kept>>;

/// Sinks that serve. Dropping them ends them.
pub struct Sinks {
    smtp: SocketAddr,
    http: SocketAddr,
    shelf: Shelf,
    handle: Option<ServerHandle>,
    thread: Option<JoinHandle<()>>,
}

impl Sinks {
    /// The account at Twilio.
    pub const TWILIO_SID: &str = texts::SID;
    /// What lets it in.
    pub const TWILIO_TOKEN: &str = texts::TOKEN;

    /// Starts them on free ports of this machine.
    ///
    /// # Errors
    /// When no port or thread is left.
    pub fn start() -> Result<Self, SimulatorError> {
        let failed = |source| SimulatorError::Serve {
            what: "the sinks".to_owned(),
            source,
        };
        let shelf = Shelf::default();
        let mail = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let hooks = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        mail.set_nonblocking(true).map_err(failed)?;
        let (smtp, http) = (
            mail.local_addr().map_err(failed)?,
            hooks.local_addr().map_err(failed)?,
        );
        let (report, reported) = mpsc::channel();
        let kept = Arc::clone(&shelf);
        let body = move || {
            actix_web::rt::System::new().block_on(async move {
                let made = open(hooks, mail, &kept);
                match made {
                    Ok((server, mail)) => {
                        if report.send(Ok(server.handle())).is_ok() {
                            tokio::select! {
                                _ended = server => {}
                                () = smtp::serve(mail, kept) => {}
                            }
                        }
                    }
                    Err(error) => drop(report.send(Err(error))),
                }
            });
        };
        let thread = std::thread::Builder::new()
            .name("sinks".into())
            .spawn(body)
            .map_err(failed)?;
        let gone = |_| failed(io::Error::other("their thread ended before they listened"));
        let handle = reported.recv().map_err(gone)?.map_err(failed)?;
        Ok(Self {
            smtp,
            http,
            shelf,
            handle: Some(handle),
            thread: Some(thread),
        })
    }

    /// Where mail is taken.
    #[must_use]
    pub fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    /// Slack's webhook.
    #[must_use]
    pub fn slack_url(&self) -> String {
        format!("http://{}{SLACK_PATH}", self.http)
    }

    /// The operator's webhook.
    #[must_use]
    pub fn webhook_url(&self) -> String {
        format!("http://{}/hook", self.http)
    }

    /// Where Twilio's interface is: the account is [`TWILIO_SID`](Self::TWILIO_SID), its token
    /// [`TWILIO_TOKEN`](Self::TWILIO_TOKEN).
    #[must_use]
    pub fn twilio_url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where a heartbeat is counted.
    #[must_use]
    pub fn ping_url(&self) -> String {
        format!("http://{}/ping/sesame", self.http)
    }

    /// How many heartbeats came.
    #[must_use]
    pub fn pings(&self) -> usize {
        self.shelf.lock().pings
    }

    /// What the mail server does from now on.
    pub fn mail(&self, mood: SinkMood) {
        self.shelf.lock().mail_mood = mood;
    }

    /// What Slack does from now on.
    pub fn slack(&self, mood: SinkMood) {
        self.shelf.lock().slack_mood = mood;
    }

    /// What the webhook does from now on.
    pub fn hook(&self, mood: SinkMood) {
        self.shelf.lock().hook_mood = mood;
    }

    /// What Twilio does from now on.
    pub fn text(&self, mood: SinkMood) {
        self.shelf.lock().text_mood = mood;
    }

    /// Every text message that was taken.
    #[must_use]
    pub fn texted(&self) -> Vec<Texted> {
        self.shelf.lock().texts.clone()
    }

    /// Every mail that was taken, as it came.
    #[must_use]
    pub fn mails(&self) -> Vec<String> {
        self.shelf.lock().mails.clone()
    }

    /// Every message that Slack took.
    #[must_use]
    pub fn slacked(&self) -> Vec<Value> {
        self.shelf.lock().slack.clone()
    }

    /// Every request that the webhook took.
    #[must_use]
    pub fn hooked(&self) -> Vec<Hooked> {
        self.shelf.lock().hooks.clone()
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            drop(handle.stop(false));
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("The sinks' thread ended with a panic");
        }
    }
}

type Opened = (actix_web::dev::Server, tokio::net::TcpListener);

fn open(hooks: TcpListener, mail: TcpListener, shelf: &Shelf) -> io::Result<Opened> {
    let shelf = Data::new(Arc::clone(shelf));
    let make = move || {
        App::new()
            .app_data(shelf.clone())
            .route(SLACK_PATH, web::post().to(slack))
            .route("/hook", web::post().to(hook))
            .configure(texts::routes)
            .route("/ping/sesame", web::get().to(ping))
    };
    let server = HttpServer::new(make)
        .workers(1)
        .disable_signals()
        .shutdown_timeout(1)
        .listen(hooks)?
        .run();
    Ok((server, tokio::net::TcpListener::from_std(mail)?))
}

async fn slack(shelf: Data<Shelf>, body: Bytes) -> HttpResponse {
    let mood = shelf.lock().slack_mood;
    if let Some(refusal) = refusal(mood).await {
        return refusal;
    }
    let Ok(payload) = serde_json::from_slice::<Value>(&body) else {
        return HttpResponse::BadRequest().body("invalid_payload");
    };
    let said = |key: &str| payload.get(key).is_some_and(|v| !v.is_null() && v != "");
    if !said("text") && !said("blocks") && !said("attachments") {
        return HttpResponse::BadRequest().body("no_text");
    }
    shelf.lock().slack.push(payload);
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

async fn hook(shelf: Data<Shelf>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let mood = shelf.lock().hook_mood;
    if let Some(refusal) = refusal(mood).await {
        return refusal;
    }
    let headers = request
        .headers()
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    shelf.lock().hooks.push(Hooked {
        headers,
        body: body.to_vec(),
    });
    HttpResponse::NoContent().finish()
}

async fn ping(shelf: Data<Shelf>) -> HttpResponse {
    shelf.lock().pings += 1;
    HttpResponse::Ok().body("OK")
}

/// What a sink that is not well answers.
async fn refusal(mood: SinkMood) -> Option<HttpResponse> {
    Some(match mood {
        SinkMood::Well => return None,
        SinkMood::Unavailable => HttpResponse::ServiceUnavailable().body("upstream connect error"),
        // HTTP cannot hang up without an answer here; a gateway's word is as good.
        SinkMood::HangsUp => HttpResponse::BadGateway().finish(),
        SinkMood::Silent => {
            actix_web::rt::time::sleep(Duration::from_secs(30)).await;
            HttpResponse::GatewayTimeout().finish()
        }
        SinkMood::Busy(seconds) => HttpResponse::build(StatusCode::TOO_MANY_REQUESTS)
            .insert_header(("retry-after", seconds.to_string()))
            .body("rate_limited"),
        SinkMood::Gone => HttpResponse::NotFound().body("no_service"),
        SinkMood::Strange => HttpResponse::Ok().body("<html>Sign in to the hotel's network</html>"),
    })
}
