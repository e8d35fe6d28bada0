//! Slack's incoming webhook: JSON to an address that is itself the secret; success is 200 with the body `ok`.

use super::{Channel, ChannelError, Message};
use crate::alert::inert;
use crate::alert::settings::{SecretUrl, SlackSettings};
use crate::alert::text::{self, Headings, Told};
use crate::clock::Clock;
use crate::domain::{AlertChannel, ErrorClass};
use crate::http::{self, Answer};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

/// Slack refuses longer texts in a section.
const MOST_IN_SECTION: usize = 2_900;
/// Slack refuses more than fifty blocks, and an alert has three.
const MOST_WHOLE: usize = 12;
/// Alerts told in a line each; a line has at most some hundred characters.
const LINES_IN_SECTION: usize = 8;

pub(super) struct Slack {
    client: http::Client,
    url: SecretUrl,
    clock: Clock,
}

impl Slack {
    pub(super) fn new(settings: &SlackSettings, clock: Clock) -> Result<Self, http::BadClient> {
        let client = super::webhook::client(&settings.webhook_url, None)?;
        Ok(Self {
            client,
            url: settings.webhook_url.clone(),
            clock,
        })
    }

    async fn post(&self, payload: &Value) -> Result<(), ChannelError> {
        let request = self.client.post(self.url.expose().clone()).json(payload);
        let answer = request.send().await.map_err(|e| {
            ChannelError::passing(self.url.hide_in(&crate::telemetry::ErrorChain(&e).to_string()))
        })?;
        self.judge(&answer)
    }

    fn judge(&self, answer: &Answer) -> Result<(), ChannelError> {
        let body = inert::line(&String::from_utf8_lossy(&answer.body));
        if answer.status == 200 && body == "ok" {
            return Ok(());
        }
        let said = self
            .url
            .hide_in(&format!("Slack answered {} `{body}`", answer.status));
        match answer.status_class(self.clock.now()) {
            Some(ErrorClass::RateLimited { retry_after }) => Err(ChannelError {
                retry_after,
                ..ChannelError::passing(said)
            }),
            Some(ErrorClass::Transient) => Err(ChannelError::passing(said)),
            Some(_) => Err(ChannelError::for_a_person(format!(
                "{said}: look whether the webhook and its channel are still there, and set `alerts.slack.webhook_url` anew"
            ))),
            // A page in between that says "200" and is not Slack.
            None => Err(ChannelError::passing(format!("{said}, where `ok` was expected"))),
        }
    }
}

impl Channel for Slack {
    fn name(&self) -> AlertChannel {
        AlertChannel::Slack
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), ChannelError>> {
        async move { self.post(&payload(message)).await }.boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, ChannelError>> {
        // An empty body is refused without a message being posted; that it is refused shows that Slack is there.
        async move {
            let sent = self
                .client
                .post(self.url.expose().clone())
                .json(&json!({}))
                .send()
                .await;
            let answer = sent.map_err(|e| {
                ChannelError::passing(self.url.hide_in(&crate::telemetry::ErrorChain(&e).to_string()))
            })?;
            match answer.status {
                200 | 400 => Ok(format!("{} answers", self.url.origin())),
                _ => self.judge(&answer).map(|()| String::new()),
            }
        }
        .boxed()
    }
}

/// What is posted: a text for notifications, and blocks with a bar in the level's colour.
fn payload(message: &Message) -> Value {
    let mut blocks: Vec<Value> = message
        .delay()
        .map(|late| section(&inert::slack(&late)))
        .into_iter()
        .collect();
    let headings = message.headings();
    // The worst first; what does not fit whole is a line.
    let mut all: Vec<&Told> = message.told.iter().collect();
    all.sort_by_key(|told| std::cmp::Reverse(told.level));
    for told in all.iter().take(MOST_WHOLE) {
        blocks.extend(sections(told, &headings, message));
    }
    let lines: Vec<String> = all
        .iter()
        .skip(MOST_WHOLE)
        .map(|told| line(told, message))
        .collect();
    blocks.extend(
        lines
            .chunks(LINES_IN_SECTION)
            .map(|lines| section(&lines.join("\n"))),
    );
    let footer = inert::slack(&(headings.footer)(&inert::line(&message.host)));
    let at = text::time(message.at);
    blocks.push(
        json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": format!("{at} · {footer}") }] }),
    );
    json!({
        "text": inert::slack(&message.subject()),
        "attachments": [{ "color": message.colour(), "blocks": blocks }],
        "unfurl_links": false,
        "unfurl_media": false,
        "link_names": false,
    })
}

/// One alert in a line.
fn line(told: &Told, message: &Message) -> String {
    let mark = text::mark(told, message.language);
    let number = told.alert;
    format!(
        "• *[{}]* {} (`zaikoban alerts show {number}`)",
        inert::slack(&mark),
        inert::slack(&told.said.headline)
    )
}

fn sections(told: &Told, headings: &Headings, message: &Message) -> Vec<Value> {
    let said = &told.said;
    let mark = text::mark(told, message.language);
    let mut head = format!("*[{}] {}*", inert::slack(&mark), inert::slack(&said.headline));
    for line in &said.lines {
        head.push('\n');
        head.push_str(&inert::slack(line));
    }
    let mut then = format!("*{}* {}", headings.next, inert::slack(&said.next));
    if !said.to_do.is_empty() {
        then.push_str(&format!("\n*{}*", headings.to_do));
    }
    for (command, does) in &said.to_do {
        then.push_str(&format!("\n• `{}` {}", inert::slack(command), inert::slack(does)));
    }
    let mut all = vec![section(&head), section(&then)];
    if !said.products.is_empty() {
        let mut list = format!("*{}*", headings.products);
        for product in &said.products {
            list.push_str(&format!("\n• {}", inert::slack(product)));
        }
        if said.more > 0 {
            list.push_str(&format!("\n{}", (headings.more)(said.more)));
        }
        all.push(section(&list));
    }
    all
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(text), "verbatim": true } })
}

/// Cut at the end of a line, so that no escaped character is cut in two.
fn cut(text: &str) -> String {
    if text.chars().count() <= MOST_IN_SECTION {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut count = 0_usize;
    for line in text.lines() {
        count = count.saturating_add(line.chars().count()).saturating_add(1);
        if count > MOST_IN_SECTION {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::inert::hostile::HOSTILE;
    use crate::alert::settings::Language;
    use crate::alert::text::Said;
    use crate::domain::{AlertEvent, AlertLevel};

    fn message(title: &str, count: usize) -> Message {
        let one = Told {
            alert: 1,
            level: AlertLevel::Critical,
            event: AlertEvent::Opened,
            over_untold: false,
            said: Said {
                headline: inert::line(title),
                lines: vec![inert::line(title)],
                next: inert::line(title),
                to_do: vec![("zaikoban status".to_owned(), inert::line(title))],
                products: vec![inert::line(title); 20],
                more: 3,
            },
        };
        Message {
            id: "1".to_owned(),
            language: Language::En,
            host: title.to_owned(),
            told: vec![one; count],
            at: "2026-11-22T00:00:00Z".parse().unwrap(),
            delayed_since: None,
        }
    }

    #[test]
    fn a_hostile_title_wakes_nobody_and_makes_no_link() {
        for title in HOSTILE {
            let text = payload(&message(title, 1)).to_string();
            assert!(!text.contains('<') && !text.contains('>'), "{text}");
        }
    }

    #[test]
    fn a_payload_keeps_to_slacks_limits() {
        let long = "長い題名&<>".repeat(60);
        let payload = payload(&message(&long, 50));
        let blocks = payload["attachments"][0]["blocks"].as_array().unwrap();
        assert!(blocks.len() <= 50, "{}", blocks.len());
        for block in blocks {
            let text = block["text"]["text"].as_str().unwrap_or_default();
            assert!(text.chars().count() <= 3_000);
            assert!(!text.ends_with("&l") && !text.ends_with("&am"), "{text}");
        }
        assert_eq!(payload["attachments"][0]["color"], "#b71c1c");
    }
}
