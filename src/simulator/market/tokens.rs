//! OAuth: refresh tokens that live on, access tokens that do not, and the consent that a refresh token comes from.

use super::Answer;
use crate::simulator::draw::mix;
use crate::simulator::faults::EbayFaults;
use crate::simulator::world::Micros;
use base64::Engine;
use serde_json::json;
use std::collections::{HashMap, HashSet};

/// The one application that this eBay knows.
pub(in crate::simulator) const CLIENT_ID: &str = "zaikoban-simulator-PRD-0000";
/// Its secret, which protects nothing.
pub(in crate::simulator) const CLIENT_SECRET: &str = "PRD-simulated-secret";
/// Its name for where a seller goes after consenting.
pub(in crate::simulator) const RU_NAME: &str = "Zaikoban-zaikoban-simula-abcde";
/// How long a code can be exchanged, in seconds.
const CODE_LIVES_S: i64 = 299;
/// How long a refresh token lives: 18 months.
const REFRESH_LIVES_S: u32 = 47_304_000;
/// The one refresh token that this eBay gave out before anybody consented.
pub(in crate::simulator) const REFRESH_TOKEN: &str = "v^1.1#i^1#r^1#simulated-refresh";

/// The access tokens that are alive.
pub(in crate::simulator) struct Tokens {
    seed: u64,
    lifetime_s: u32,
    given: u64,
    asked: u64,
    alive: HashMap<Box<str>, Micros>,
    /// Those of them that are the application's own.
    of_application: HashSet<Box<str>>,
    codes: HashMap<Box<str>, Micros>,
    refresh: HashSet<Box<str>>,
    consents: u64,
}

impl Tokens {
    pub(super) fn new(seed: u64, lifetime_s: u32) -> Self {
        Self {
            seed,
            lifetime_s,
            given: 0,
            asked: 0,
            alive: HashMap::new(),
            of_application: HashSet::new(),
            codes: HashMap::new(),
            refresh: HashSet::from([REFRESH_TOKEN.into()]),
            consents: 0,
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

    /// Whether a living token is the application's own, which opens no seller's account.
    pub(in crate::simulator) fn is_of_application(&self, authorization: Option<&str>) -> bool {
        let token = authorization.and_then(|text| text.strip_prefix("Bearer "));
        token.is_some_and(|token| self.of_application.contains(token))
    }

    /// A seller consents at `GET /oauth2/authorize`: the query of the address that they are sent back to. What is asked
    /// wrongly is told as eBay does, on its own page.
    pub(in crate::simulator) fn consent(
        &mut self,
        query: &[(String, String)],
        now: Micros,
    ) -> Result<String, &'static str> {
        let field = |name: &str| query.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        if field("client_id") != Some(CLIENT_ID) {
            return Err("unauthorized_client");
        }
        if field("redirect_uri") != Some(RU_NAME) {
            return Err("invalid_request: redirect_uri is not the RuName");
        }
        if field("response_type") != Some("code") {
            return Err("unsupported_response_type");
        }
        if !field("scope").is_some_and(|s| s.split(' ').any(|s| s.ends_with("/sell.inventory"))) {
            return Err("invalid_scope");
        }
        self.consents += 1;
        let code = format!("v^1.1#i^1#f^0#{:016x}==", mix(self.seed, 0x72, self.consents));
        let until = now.saturating_add(CODE_LIVES_S * 1_000_000);
        self.codes.insert(code.as_str().into(), until);
        let mut back = url::form_urlencoded::Serializer::new(String::new());
        if let Some(state) = field("state") {
            back.append_pair("state", state);
        }
        back.append_pair("code", &code);
        back.append_pair("expires_in", &CODE_LIVES_S.to_string());
        Ok(back.finish())
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
        let known_refresh = field("refresh_token").is_some_and(|token| self.refresh.contains(token));
        let mut consented = None;
        let kind = match field("grant_type") {
            Some("authorization_code") => {
                // A code works once, whatever else is wrong.
                let until = field("code").and_then(|code| self.codes.remove(code));
                if until.is_none_or(|until| until <= now) || field("redirect_uri") != Some(RU_NAME) {
                    return denied(
                        400,
                        "invalid_grant",
                        "the provided authorization grant code is invalid or was issued to another client",
                    );
                }
                let refresh = format!("v^1.1#i^1#r^1#{:016x}", mix(self.seed, 0x73, self.consents));
                self.refresh.insert(refresh.as_str().into());
                consented = Some(refresh);
                "User Access Token"
            }
            Some("refresh_token") if faults.revoked || !known_refresh => {
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
        self.of_application.retain(|token| self.alive.contains_key(token));
        if kind.starts_with("Application") {
            self.of_application.insert(token.as_str().into());
        }
        let mut given = json!({ "access_token": token, "expires_in": self.lifetime_s, "token_type": kind });
        if let (Some(refresh), Some(given)) = (consented, given.as_object_mut()) {
            given.insert("refresh_token".into(), refresh.into());
            given.insert("refresh_token_expires_in".into(), REFRESH_LIVES_S.into());
        }
        Answer::ok(200, given)
    }
}
