//! Login with Amazon, from its documents: access tokens for a refresh token, the client named in the form.

use super::super::draw::{mix, unit};
use super::super::faults::AmazonFaults;
use super::super::world::Micros;
use super::answer::Answer;
use super::pricing::value;
use serde_json::json;
use std::collections::HashMap;

/// The one application that this Amazon knows.
pub(in crate::simulator) const CLIENT_ID: &str = "amzn1.application-oa2-client.zaikoban-simulator";
/// Its secret, which protects nothing.
pub(in crate::simulator) const CLIENT_SECRET: &str = "amzn1.oa2-cs.v1.simulated-secret";
/// The one seller's authorisation.
pub(in crate::simulator) const REFRESH_TOKEN: &str = "Atzr|simulated-refresh";

/// The access tokens that are alive.
pub(super) struct Tokens {
    seed: u64,
    lifetime_s: u32,
    asked: u64,
    given: u64,
    alive: HashMap<Box<str>, Micros>,
}

impl Tokens {
    pub(super) fn new(seed: u64, lifetime_s: u32) -> Self {
        Self {
            seed,
            lifetime_s,
            asked: 0,
            given: 0,
            alive: HashMap::new(),
        }
    }

    pub(super) fn set_lifetime(&mut self, lifetime_s: u32) {
        self.lifetime_s = lifetime_s;
    }

    pub(super) fn expire_all(&mut self) {
        self.alive.clear();
    }

    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// Why a call with this token is turned away.
    pub(super) fn refusal(&self, token: Option<&str>, now: Micros) -> Option<Answer> {
        let Some(token) = token else {
            return Some(Answer::denied("Access token is missing in the request header."));
        };
        match self.alive.get(token) {
            Some(until) if *until > now => None,
            _ => Some(Answer::denied("The access token you provided has expired.")),
        }
    }

    /// Answers `POST /auth/o2/token`.
    pub(super) fn grant(&mut self, form: &[(String, String)], faults: &AmazonFaults, now: Micros) -> Answer {
        let denied = |status, error: &str, why: &str| {
            Answer::new(
                status,
                json!({"error": error, "error_description": why, "request_id": "simulated"}),
            )
        };
        self.asked += 1;
        if unit(mix(self.seed, 0xa7, self.asked)) < faults.p_token_500 {
            return denied(
                500,
                "server_error",
                "The authorization server encountered an unexpected error",
            );
        }
        if value(form, "client_id") != Some(CLIENT_ID) || value(form, "client_secret") != Some(CLIENT_SECRET)
        {
            return denied(401, "invalid_client", "Client authentication failed");
        }
        if value(form, "grant_type") != Some("refresh_token") {
            return denied(
                400,
                "unsupported_grant_type",
                "The authorization grant type is not supported by the authorization server",
            );
        }
        if faults.revoked || value(form, "refresh_token") != Some(REFRESH_TOKEN) {
            return denied(
                400,
                "invalid_grant",
                "The request has an invalid grant parameter : refresh_token",
            );
        }
        self.given += 1;
        let token = format!("Atza|{:016x}{:04x}", mix(self.seed, 0xa8, self.given), self.given);
        self.alive.retain(|_, until| *until > now);
        let until = now.saturating_add(i64::from(self.lifetime_s) * 1_000_000);
        self.alive.insert(token.as_str().into(), until);
        Answer::ok(json!({
            "access_token": token, "refresh_token": REFRESH_TOKEN, "token_type": "bearer",
            "expires_in": self.lifetime_s}))
    }
}
