//! What Twilio's answers say.

use crate::alert::channels::ChannelError;
use crate::alert::inert;
use crate::domain::ErrorClass;
use crate::http::Answer;
use chrono::{DateTime, Utc};
use serde_json::Value;

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

/// What of an answer counts, each part read by itself: one that is odd does not make the others unread.
#[derive(Default)]
struct Body {
    sid: Option<String>,
    status: Option<String>,
    code: Option<i64>,
    message: Option<String>,
    error_code: Option<i64>,
    error_message: Option<String>,
}

impl Body {
    fn read(body: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| {
            let number = value.get(key)?;
            number.as_i64().or_else(|| number.as_str()?.parse().ok())
        };
        Self {
            sid: text("sid"),
            status: text("status"),
            code: number("code"),
            message: text("message"),
            error_code: number("error_code"),
            error_message: text("error_message"),
        }
    }
}

/// What the answer to a text says. `hide` takes out what must not stand in a log.
pub(super) fn taken(
    answer: &Answer,
    now: DateTime<Utc>,
    hide: impl Fn(&str) -> String,
) -> Result<Fate, ChannelError> {
    let body = Body::read(&answer.body);
    if answer.status == 201 {
        let state = body.status.as_deref().unwrap_or_default();
        if body.sid.is_none_or(|sid| sid.is_empty()) {
            return Err(ChannelError::passing(
                "Twilio answered 201 without the `sid` of a message".to_owned(),
            ));
        }
        if LOST.contains(&state) {
            let why = body.error_message.as_deref().unwrap_or_default();
            let code = body.error_code.map(|c| format!(" ({c})")).unwrap_or_default();
            return Ok(Fate::Refused(hide(&inert::line(&format!(
                "{state}: {why}{code}"
            )))));
        }
        return Ok(Fate::Taken);
    }
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
    let body = Body::read(&answer.body);
    if answer.status != 200 {
        return Err(refusal(answer, &body, now, hide));
    }
    match body.status.as_deref() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_part_of_an_answer_makes_no_other_unread() {
        let body =
            Body::read(br#"{"sid":"SM1","status":"queued","error_code":"30007","message":7,"code":"21211"}"#);
        assert_eq!(body.sid.as_deref(), Some("SM1"));
        assert_eq!(body.status.as_deref(), Some("queued"));
        assert_eq!((body.error_code, body.code), (Some(30_007), Some(21_211)));
        assert_eq!(body.message, None);
        assert!(Body::read(b"<html>").sid.is_none());
        assert!(Body::read(br#"{"sid":7}"#).sid.is_none());
    }
}
