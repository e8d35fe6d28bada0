//! What Twilio's answers say.

use crate::alert::channels::ChannelError;
use crate::alert::inert;
use crate::domain::ErrorClass;
use crate::http::Answer;
use chrono::{DateTime, Utc};
use serde::Deserialize;

/// What became of one text.
#[derive(Debug)]
pub(super) enum Fate {
    /// Twilio has it.
    Taken,
    /// It cannot go to this number, whoever asks how often.
    Refused(String),
    /// It was refused, for a reason that may be this number's or the account's.
    Unclear(ChannelError),
}

/// Error codes that are about the number and not about the account: no number, none that Twilio may or can reach, none that
/// a trial account was allowed, no mobile, and somebody who answered STOP.
const OF_THE_NUMBER: &[i64] = &[
    21211, 21214, 21217, 21265, 21266, 21408, 21608, 21610, 21612, 21614, 21635,
];
/// States in which a text does not arrive.
const LOST: &[&str] = &["failed", "undelivered", "canceled"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    sid: Option<String>,
    status: Option<serde_json::Value>,
    code: Option<i64>,
    message: Option<String>,
    error_code: Option<i64>,
    error_message: Option<String>,
}

/// What the answer to a text says. `hide` takes out what must not stand in a log.
pub(super) fn taken(
    answer: &Answer,
    now: DateTime<Utc>,
    hide: impl Fn(&str) -> String,
) -> Result<Fate, ChannelError> {
    let read = serde_json::from_slice::<Body>(&answer.body);
    if answer.status == 201 {
        let body = read.unwrap_or_default();
        let state = body.status.as_ref().and_then(|s| s.as_str()).unwrap_or_default();
        if body.sid.is_none_or(|sid| sid.is_empty()) {
            return Err(ChannelError::passing(
                "Twilio answered 201 without the `sid` of a message".to_owned(),
            ));
        }
        if LOST.contains(&state) {
            let why = body.error_message.unwrap_or_default();
            let code = body.error_code.map(|c| format!(" ({c})")).unwrap_or_default();
            return Ok(Fate::Refused(hide(&inert::line(&format!(
                "{state}: {why}{code}"
            )))));
        }
        return Ok(Fate::Taken);
    }
    let body = read.unwrap_or_default();
    if answer.status == 400 && body.code.is_some_and(|code| OF_THE_NUMBER.contains(&code)) {
        return Ok(Fate::Refused(hide(&said(answer, &body))));
    }
    let refusal = refusal(answer, &body, now, hide);
    if answer.status == 400 {
        return Ok(Fate::Unclear(refusal));
    }
    Err(refusal)
}

/// What the answer to the question for the account says.
pub(super) fn active(
    answer: &Answer,
    now: DateTime<Utc>,
    hide: impl Fn(&str) -> String,
) -> Result<(), ChannelError> {
    let body = serde_json::from_slice::<Body>(&answer.body).unwrap_or_default();
    if answer.status != 200 {
        return Err(refusal(answer, &body, now, hide));
    }
    match body.status.as_ref().and_then(|s| s.as_str()) {
        Some("active") => Ok(()),
        Some(other) => Err(ChannelError::for_a_person(format!(
            "the account at Twilio is {}, not active: look at its console",
            inert::line(other)
        ))),
        None => Err(ChannelError::passing(
            "Twilio answered 200 without the account's `status`".to_owned(),
        )),
    }
}

fn refusal(answer: &Answer, body: &Body, now: DateTime<Utc>, hide: impl Fn(&str) -> String) -> ChannelError {
    let said = hide(&said(answer, body));
    match (answer.status, answer.status_class(now)) {
        (_, Some(ErrorClass::RateLimited { retry_after })) => ChannelError {
            retry_after,
            ..ChannelError::passing(said)
        },
        (_, Some(ErrorClass::Transient)) => ChannelError::passing(said),
        (401 | 403, _) => ChannelError::for_a_person(format!(
            "{said}: set `alerts.sms.account_sid` and `alerts.sms.auth_token` anew, as Twilio's console shows them"
        )),
        (404, _) => {
            ChannelError::for_a_person(format!("{said}: is `alerts.sms.account_sid` this account's?"))
        }
        (400..=499, _) => ChannelError::for_a_person(format!(
            "{said}: look at `alerts.sms` (the sender's number or the service) and at Twilio's console"
        )),
        // A page in between that says "200" and is not Twilio.
        _ => ChannelError::passing(format!("{said}, where 201 was expected")),
    }
}

fn said(answer: &Answer, body: &Body) -> String {
    let code = body.code.map(|c| format!(" ({c})")).unwrap_or_default();
    let words = match &body.message {
        Some(message) => inert::line(message),
        None => inert::line(&String::from_utf8_lossy(&answer.body)),
    };
    format!("Twilio answered {} `{words}`{code}", answer.status)
}
