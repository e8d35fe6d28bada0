//! OAuth: a refresh token that lives on, access tokens that do not.

use super::Answer;
use crate::simulator::draw::mix;
use crate::simulator::faults::EbayFaults;
use crate::simulator::world::Micros;
use base64::Engine;
use serde_json::json;
use std::collections::HashMap;

/// The one application that this eBay knows.
pub(in crate::simulator) const CLIENT_ID: &str = "zaikoban-simulator-PRD-0000";
/// Its secret, which protects nothing.
pub(in crate::simulator) const CLIENT_SECRET: &str = "PRD-simulated-secret";
/// The one refresh token that this eBay gave out.
pub(in crate::simulator) const REFRESH_TOKEN: &str = "v^1.1#i^1#r^1#simulated-refresh";

/// The access tokens that are alive.
pub(in crate::simulator) struct Tokens {
    seed: u64,
    lifetime_s: u32,
    given: u64,
    asked: u64,
    alive: HashMap<Box<str>, Micros>,
}

impl Tokens {
    pub(super) fn new(seed: u64, lifetime_s: u32) -> Self {
        Self {
            seed,
            lifetime_s,
            given: 0,
            asked: 0,
            alive: HashMap::new(),
        }
    }

    /// How long tokens given from now on live.
    pub(in crate::simulator) fn set_lifetime(&mut self, lifetime_s: u32) {
        self.lifetime_s = lifetime_s;
    }

    /// Ends every access token.
    pub(in crate::simulator) fn expire_all(&mut self) {
        self.alive.clear();
    }

    /// How many access tokens were given out.
    pub(in crate::simulator) fn given(&self) -> u64 {
        self.given
    }

    /// Whether `authorization` is a living access token.
    pub(in crate::simulator) fn allows(&self, authorization: Option<&str>, now: Micros) -> bool {
        authorization
            .and_then(|text| text.strip_prefix("Bearer "))
            .and_then(|token| self.alive.get(token))
            .is_some_and(|until| *until > now)
    }

    /// Answers `POST /identity/v1/oauth2/token`; `form` holds the decoded pairs of the body.
    pub(in crate::simulator) fn grant(
        &mut self,
        authorization: Option<&str>,
        form: &[(String, String)],
        faults: &EbayFaults,
        now: Micros,
    ) -> Answer {
        let field = |name: &str| form.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        let denied = |status, error: &str, description: &str| {
            Answer::ok(
                status,
                json!({ "error": error, "error_description": description }),
            )
        };
        self.asked += 1;
        let word = mix(self.seed, 0x70, self.asked);
        if crate::simulator::draw::unit(word) < faults.p_token_500 {
            return denied(500, "server_error", "the token service cannot answer");
        }
        let known = base64::engine::general_purpose::STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        if authorization.and_then(|text| text.strip_prefix("Basic ")) != Some(known.as_str()) {
            return denied(401, "invalid_client", "client authentication failed");
        }
        let kind = match field("grant_type") {
            Some("refresh_token") if faults.revoked || field("refresh_token") != Some(REFRESH_TOKEN) => {
                return denied(
                    400,
                    "invalid_grant",
                    "the provided authorization refresh token is invalid or was issued to another client",
                );
            }
            Some("refresh_token") => "User Access Token",
            Some("client_credentials") => "Application Access Token",
            _ => {
                return denied(
                    400,
                    "unsupported_grant_type",
                    "grant type in request is not supported by the authorization server",
                );
            }
        };
        self.given += 1;
        let token = format!(
            "v^1.1#i^1#{:016x}{:04x}",
            mix(self.seed, 0x71, self.given),
            self.given
        );
        self.alive.retain(|_, until| *until > now);
        let until = now.saturating_add(i64::from(self.lifetime_s) * 1_000_000);
        self.alive.insert(token.as_str().into(), until);
        Answer::ok(
            200,
            json!({ "access_token": token, "expires_in": self.lifetime_s, "token_type": kind }),
        )
    }
}
