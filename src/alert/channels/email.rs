//! Mail: text and HTML, by SMTP with TLS.

use super::{Channel, ChannelError, Letter, Message};
use crate::alert::inert;
use crate::alert::settings::{EmailSettings, SmtpSecurity};
use crate::alert::text::{self, Told};
use crate::domain::AlertChannel;
use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use lettre::message::{Mailbox, Mailboxes, MultiPart, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::ExposeSecret as _;
use std::fmt::Write as _;
use std::time::Duration;

/// One step of the conversation.
const STEP: Duration = Duration::from_secs(15);
/// The whole of it.
const LIMIT: Duration = Duration::from_secs(45);

pub(super) struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    server: String,
}

impl Email {
    pub(super) fn new(settings: &EmailSettings) -> anyhow::Result<Self> {
        let tls = || -> anyhow::Result<TlsParameters> {
            let mut tls = TlsParameters::builder(settings.host.clone());
            if let Some(path) = &settings.ca_file {
                let pem = std::fs::read(path)
                    .with_context(|| format!("alerts.email.ca_file: cannot read `{}`", path.display()))?;
                tls = tls.add_root_certificate(Certificate::from_pem(&pem).context("alerts.email.ca_file")?);
            }
            tls.build_rustls().context("alerts.email")
        };
        let security = match settings.security {
            SmtpSecurity::Tls => Tls::Wrapper(tls()?),
            SmtpSecurity::Starttls => Tls::Required(tls()?),
            SmtpSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(security)
            .timeout(Some(STEP));
        if let Some((user, password)) = &settings.login {
            builder = builder.credentials(Credentials::new(
                user.clone(),
                password.expose_secret().to_owned(),
            ));
        }
        let address = |typed: &String| {
            typed
                .parse()
                .with_context(|| format!("`{typed}` is no mail address"))
        };
        Ok(Self {
            transport: builder.build(),
            from: address(&settings.from)?,
            to: settings.to.iter().map(address).collect::<anyhow::Result<_>>()?,
            server: format!("{}:{}", settings.host, settings.port),
        })
    }

    async fn send_to(&self, letter: &Letter, to: &[Mailbox]) -> Result<(), ChannelError> {
        let mail = compose(letter, &self.from, to)
            .map_err(|e| ChannelError::for_a_person(format!("the mail cannot be written: {e:#}")))?;
        match tokio::time::timeout(LIMIT, self.transport.send(mail)).await {
            Ok(Ok(_taken)) => Ok(()),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_elapsed) => Err(ChannelError::passing(format!(
                "the mail server {} did not answer within {} s",
                self.server,
                LIMIT.as_secs()
            ))),
        }
    }

    /// To each reader alone; it has arrived when one of them has it, and the others are named in the log.
    async fn one_by_one(&self, letter: &Letter, refused: ChannelError) -> Result<(), ChannelError> {
        let mut arrived = Err(refused);
        let mut missed = Vec::new();
        for reader in &self.to {
            match self.send_to(letter, std::slice::from_ref(reader)).await {
                Ok(()) => arrived = Ok(()),
                Err(error) => missed.push((reader, error)),
            }
        }
        if arrived.is_ok() {
            for (reader, error) in missed {
                tracing::error!(
                    "A mail did not reach `{}`, one of several readers: {error}",
                    reader.email
                );
            }
        }
        arrived
    }

    async fn to_all(&self, letter: &Letter) -> Result<(), ChannelError> {
        match self.send_to(letter, &self.to).await {
            // One address that is refused must not keep it from the others.
            Err(error) if error.needs_a_person && self.to.len() > 1 => self.one_by_one(letter, error).await,
            sent => sent,
        }
    }

    fn failed(&self, error: &lettre::transport::smtp::Error) -> ChannelError {
        let said = inert::line(&crate::telemetry::ErrorChain(error).to_string());
        let message = format!("the mail server {} did not take it: {said}", self.server);
        if error.is_permanent() {
            ChannelError::for_a_person(format!(
                "{message}; look at `alerts.email` (sender, readers, user and password)"
            ))
        } else {
            ChannelError::passing(message)
        }
    }
}

impl Channel for Email {
    fn name(&self) -> AlertChannel {
        AlertChannel::Email
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), ChannelError>> {
        async move { self.to_all(&letter(message)).await }.boxed()
    }

    fn post<'a>(&'a self, letter: &'a Letter) -> BoxFuture<'a, Result<(), ChannelError>> {
        self.to_all(letter).boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, ChannelError>> {
        async move {
            match tokio::time::timeout(LIMIT, self.transport.test_connection()).await {
                Ok(Ok(true)) => Ok(format!("{} answers and lets us in", self.server)),
                Ok(Ok(false)) => Err(ChannelError::passing(format!("{} hangs up", self.server))),
                Ok(Err(error)) => Err(self.failed(&error)),
                Err(_elapsed) => Err(ChannelError::passing(format!("{} does not answer", self.server))),
            }
        }
        .boxed()
    }
}

/// Whether mail could be sent to or from it: an address, or a name with one.
#[must_use]
pub fn is_mail_address(text: &str) -> bool {
    !text.chars().any(char::is_control) && text.parse::<Mailbox>().is_ok()
}

/// A message as a letter.
fn letter(message: &Message) -> Letter {
    Letter {
        id: message.id.clone(),
        subject: message.subject(),
        text: plain(message),
        html: page(message),
        at: message.at,
    }
}

/// The mail as it is sent.
fn compose(letter: &Letter, from: &Mailbox, to: &[Mailbox]) -> anyhow::Result<lettre::Message> {
    let domain = from.email.domain().to_owned();
    let mut readers = Mailboxes::new();
    readers.extend(to.iter().cloned());
    let mail = lettre::Message::builder()
        .from(from.clone())
        .mailbox(header::To::from(readers))
        .subject(letter.subject.clone())
        .message_id(Some(format!("<zaikoban-{}@{domain}>", letter.id)))
        .date(letter.at.into())
        // No holiday answers to a machine.
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(
            letter.text.clone(),
            letter.html.clone(),
        ))?;
    Ok(mail)
}

/// `Auto-Submitted: auto-generated` (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// For readers without HTML.
fn plain(message: &Message) -> String {
    let headings = message.headings();
    let mut text = String::new();
    let mut put = |line: &str| {
        text.push_str(line);
        text.push_str("\r\n");
    };
    if let Some(late) = message.delay() {
        put(&late);
        put("");
    }
    for Told { said, .. } in &message.told {
        put(&format!("■ {}", said.headline));
        for line in &said.lines {
            put(line);
        }
        put("");
        put(&format!("{}: {}", headings.next, said.next));
        if !said.to_do.is_empty() {
            put(&format!("{}:", headings.to_do));
        }
        for (command, does) in &said.to_do {
            put(&format!("  {command}"));
            put(&format!("      {does}"));
        }
        if !said.products.is_empty() {
            put("");
            put(&format!("{}:", headings.products));
        }
        for product in &said.products {
            put(&format!("  {product}"));
        }
        if said.more > 0 {
            put(&format!("  {}", (headings.more)(said.more)));
        }
        put("");
    }
    put("-- ");
    put(&text::time(message.at));
    put(&(headings.footer)(&inert::line(&message.host)));
    text
}

/// For everybody else. No pictures, no links, no scripts: a mail that asks nobody for anything.
fn page(message: &Message) -> String {
    let headings = message.headings();
    let mut page = String::from(
        "<!DOCTYPE html><html><body style=\"font-family:sans-serif;line-height:1.5;color:#222\">",
    );
    if let Some(late) = message.delay() {
        let _written = write!(page, "<p><em>{}</em></p>", inert::html(&late));
    }
    for told in &message.told {
        section(&mut page, told, message);
    }
    let _written = write!(
        page,
        "<p style=\"color:#777;font-size:small\">{}<br>{}</p></body></html>",
        text::time(message.at),
        inert::html(&(headings.footer)(&inert::line(&message.host)))
    );
    page
}

fn section(page: &mut String, told: &Told, message: &Message) {
    let (said, headings) = (&told.said, message.headings());
    let html = inert::html;
    // Writing into a String cannot fail.
    let mut put = |text: String| page.push_str(&text);
    put(format!(
        "<div style=\"border-left:6px solid {};padding-left:12px;margin-bottom:24px\"><h2 style=\"margin:0;font-size:large\">[{}] {}</h2>",
        message.colour(),
        html(&text::mark(told, message.language)),
        html(&said.headline)
    ));
    for line in &said.lines {
        put(format!("<p style=\"margin:4px 0\">{}</p>", html(line)));
    }
    put(format!("<p><b>{}</b> {}</p>", headings.next, html(&said.next)));
    if !said.to_do.is_empty() {
        put(format!(
            "<p style=\"margin-bottom:0\"><b>{}</b></p><ul>",
            headings.to_do
        ));
        for (command, does) in &said.to_do {
            put(format!("<li><code>{}</code> {}</li>", html(command), html(does)));
        }
        put("</ul>".to_owned());
    }
    if !said.products.is_empty() {
        put(format!(
            "<p style=\"margin-bottom:0\"><b>{}</b></p><ul>",
            headings.products
        ));
        for product in &said.products {
            put(format!("<li>{}</li>", html(product)));
        }
        if said.more > 0 {
            put(format!("<li>{}</li>", html(&(headings.more)(said.more))));
        }
        put("</ul>".to_owned());
    }
    put("</div>".to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::inert::hostile::HOSTILE;
    use crate::alert::settings::Language;
    use crate::alert::text::Said;
    use crate::domain::{AlertEvent, AlertLevel};

    fn message(title: &str) -> Message {
        Message {
            id: "d-1".to_owned(),
            language: Language::Ja,
            host: title.to_owned(),
            told: vec![Told {
                alert: 1,
                level: AlertLevel::Error,
                event: AlertEvent::Opened,
                over_untold: false,
                said: Said {
                    headline: inert::line(title),
                    lines: vec![inert::line(title)],
                    next: inert::line(title),
                    to_do: vec![("zaikoban status".to_owned(), inert::line(title))],
                    products: vec![inert::line(title)],
                    more: 1,
                },
            }],
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
            delayed_since: None,
        }
    }

    #[test]
    fn a_hostile_title_adds_no_header_and_no_markup() {
        let (from, to) = (
            "在庫番 <z@example.jp>".parse().unwrap(),
            ["a@example.jp".parse().unwrap()],
        );
        for title in HOSTILE {
            let mail = String::from_utf8(compose(&letter(&message(title)), &from, &to).unwrap().formatted())
                .unwrap();
            let (head, _) = mail.split_once("\r\n\r\n").unwrap();
            let names: Vec<&str> = head
                .split("\r\n")
                .filter(|line| !line.starts_with([' ', '\t']))
                .map(|line| line.split(':').next().unwrap())
                .collect();
            let known = [
                "From",
                "To",
                "Subject",
                "Message-ID",
                "Date",
                "Auto-Submitted",
                "MIME-Version",
                "Content-Type",
            ];
            assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
            assert!(mail.lines().all(|line| line.len() <= 998), "RFC 5322");
            let page = page(&message(title));
            let tags: Vec<&str> = page.match_indices('<').map(|(at, _)| &page[at..]).collect();
            assert!(
                tags.iter().all(|tag| [
                    "<!DOCTYPE",
                    "<html",
                    "</",
                    "<body",
                    "<p",
                    "<div",
                    "<h2",
                    "<b>",
                    "<ul>",
                    "<li>",
                    "<code>",
                    "<br>",
                    "<em>"
                ]
                .iter()
                .any(|known| tag.starts_with(known))),
                "{page}"
            );
            assert!(
                !page.contains("<!channel") && !page.contains("onerror=alert(1)>"),
                "{page}"
            );
        }
    }
}
