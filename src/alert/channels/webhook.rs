//! A program of the operator's: signed JSON.
//!
//! `X-Zaikoban-Signature: v1=<hex>` is HMAC-SHA256 over `<X-Zaikoban-Timestamp>.<body>`. A receiver compares it, and refuses
//! timestamps more than five minutes off. `X-Zaikoban-Delivery` is the same for every try of the same message. Any 2xx is taken for an
//! arrival.

use super::{Channel, ChannelError, Message};
use crate::alert::inert;
use crate::alert::settings::{SecretUrl, WebhookSettings};
use crate::alert::text;
use crate::clock::Clock;
use crate::domain::{AlertChannel, ErrorClass};
use crate::http;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::Sha256;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

/// The whole exchange.
const LIMIT: Duration = Duration::from_secs(15);
/// No answer is longer that is worth reading.
const MOST_BYTES: usize = 64 * 1024;

pub(super) struct Webhook {
    client: http::Client,
    url: SecretUrl,
    secret: SecretString,
    clock: Clock,
}

/// A client that reaches the place of `url` and no other.
pub(in crate::alert) fn client(
    url: &SecretUrl,
    ca_file: Option<&Path>,
) -> Result<http::Client, http::BadClient> {
    http::Client::new(&http::ClientSettings {
        origins: vec![http::Origin::parse(&url.origin())?],
        user_agent: format!("zaikoban/{}", env!("CARGO_PKG_VERSION")),
        ca_file: ca_file.map(Path::to_path_buf),
        gzip: false,
        limits: http::Limits {
            total: LIMIT,
            body_bytes: MOST_BYTES,
            ..http::Limits::default()
        },
    })
}

impl Webhook {
    pub(super) fn new(settings: &WebhookSettings, clock: Clock) -> Result<Self, http::BadClient> {
        Ok(Self {
            client: client(&settings.url, settings.ca_file.as_deref())?,
            url: settings.url.clone(),
            secret: settings.secret.clone(),
            clock,
        })
    }

    async fn post(&self, id: &str, body: &Value) -> Result<(), ChannelError> {
        let body = body.to_string();
        let now = self.clock.now();
        let timestamp = now.timestamp().to_string();
        let signature = format!("v1={}", sign(&self.secret, &timestamp, &body));
        let sent = self
            .client
            .post(self.url.expose().clone())
            .header("x-zaikoban-timestamp", &timestamp)
            .header("x-zaikoban-signature", &signature)
            .header("x-zaikoban-delivery", id)
            .raw("application/json", body.into_bytes())
            .send()
            .await;
        let answer = sent.map_err(|e| {
            ChannelError::passing(self.url.hide_in(&crate::telemetry::ErrorChain(&e).to_string()))
        })?;
        if answer.is_success() {
            return Ok(());
        }
        // Some servers say in the body what they were asked for.
        let said = self.url.hide_in(&format!(
            "the webhook answered {} `{}`",
            answer.status,
            inert::line(&String::from_utf8_lossy(&answer.body))
        ));
        Err(match answer.status_class(now) {
            Some(ErrorClass::RateLimited { retry_after }) => ChannelError {
                retry_after,
                ..ChannelError::passing(said)
            },
            Some(ErrorClass::Transient) => ChannelError::passing(said),
            _ => ChannelError::for_a_person(format!("{said}: look at `alerts.webhook`")),
        })
    }
}

/// HMAC-SHA256 over timestamp and body, in hexadecimal.
fn sign(secret: &SecretString, timestamp: &str, body: &str) -> String {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        // HMAC takes keys of any length.
        return String::new();
    };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body.as_bytes());
    let mut hex = String::with_capacity(64);
    for byte in mac.finalize().into_bytes() {
        // Writing into a String cannot fail.
        let _written = write!(hex, "{byte:02x}");
    }
    hex
}

impl Channel for Webhook {
    fn name(&self) -> AlertChannel {
        AlertChannel::Webhook
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<(), ChannelError>> {
        async move { self.post(&message.id, &body(message)).await }.boxed()
    }

    fn probe(&self) -> BoxFuture<'_, Result<String, ChannelError>> {
        async move {
            let ping = json!({ "version": 1, "type": "ping", "sent_at": self.clock.now() });
            self.post("ping", &ping).await?;
            Ok(format!("{} took a ping", self.url.origin()))
        }
        .boxed()
    }
}

fn body(message: &Message) -> Value {
    let alerts: Vec<Value> = message
        .told
        .iter()
        .map(|told| {
            json!({
                "id": told.alert,
                "level": told.level,
                "event": told.event,
                "mark": text::mark(told, message.language),
                "headline": told.said.headline,
                "lines": told.said.lines,
                "next": told.said.next,
                "to_do": told.said.to_do.iter().map(|(c, d)| json!({ "command": c, "does": d })).collect::<Vec<_>>(),
                "products": told.said.products,
                "more_products": told.said.more,
            })
        })
        .collect();
    json!({
        "version": 1,
        "type": "alerts",
        "id": message.id,
        "host": message.host,
        "language": message.language,
        "sent_at": message.at,
        "delayed_since": message.delayed_since,
        "subject": message.subject(),
        "alerts": alerts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_rfc_4231() {
        // Test case 2 signs "what do ya want for nothing?"; ours has a dot between timestamp and body.
        let key = SecretString::from("Jefe");
        let body = "what do ya want for nothing?";
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(format!("1700000000.{body}").as_bytes());
        let expected: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(sign(&key, "1700000000", body), expected);
        assert_ne!(sign(&key, "1700000001", body), expected);
    }
}
