//! What an answer that is no success means.
//!
//! Mercari says it twice: by the HTTP status, and by `errors[]` in an answer with status 200, each with a code
//! (`extensions.code`) of gRPC's vocabulary. Two statuses do not mean what they usually do: **404 never says that something
//! is gone** (an address that is not registered gets a bare one on every path), and 400 says that the query is bad or that
//! the token is of the other environment.

use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use crate::platform::json::Drift;
use serde_json::Value;
use std::time::Duration;

/// The code of an answer that is not what the contract says.
pub const CONTRACT: &str = "contract";
/// The code of a request from an address that Mercari does not know.
pub const ADDRESS_NOT_REGISTERED: &str = "mercari_address_not_registered";
/// The code of a refused token.
pub const TOKEN_REFUSED: &str = "mercari_token_refused";
/// The code of a call that was not sent because the hour's cost points are spent.
pub const POINTS_SPENT: &str = "mercari_points_spent";
/// The code of a query that Mercari does not understand.
pub(super) const BAD_QUERY: &str = "mercari_bad_query";

/// One member of `errors`, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// `extensions.code`, or `code`; empty where there is none.
    pub(super) code: String,
    text: String,
    /// It is about the query's text: it names a place in it, or says so.
    is_of_query: bool,
    /// It names the field of the answer that failed: the query was understood, and let in.
    was_executed: bool,
}

impl Fault {
    /// Reads leniently: this is talk for people, and half of it is better than none.
    fn read(value: &Value) -> Self {
        let text_of = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let inner = value.get("extensions").and_then(|e| e.get("code"));
        let code: String = text_of(inner.or_else(|| value.get("code")))
            .chars()
            .take(60)
            .collect();
        let executed = value.get("path").is_some_and(|path| !path.is_null());
        let placed = value
            .get("locations")
            .is_some_and(|l| l.as_array().is_some_and(|l| !l.is_empty()));
        Self {
            is_of_query: code.starts_with("GRAPHQL_") || (placed && !executed && class_of(&code).is_none()),
            was_executed: executed,
            text: text_of(value.get("message")).chars().take(500).collect(),
            code,
        }
    }

    /// Whether it says that something is not there.
    pub(super) fn is_not_found(&self) -> bool {
        class_of(&self.code) == Some(ErrorClass::NotFound)
    }

    /// Whether it says for certain that nothing was done.
    fn is_sure(&self) -> bool {
        self.is_of_query || class_of(&self.code).is_some_and(|class| !matches!(class, ErrorClass::Transient))
    }
}

/// The members of `errors`; none when there is no such list.
pub(super) fn faults_in(body: &Value) -> Vec<Fault> {
    let list = body.get("errors").and_then(Value::as_array);
    list.map(|list| list.iter().map(Fault::read).collect())
        .unwrap_or_default()
}

/// Whether all of `faults` say for certain that nothing was done; without any, nothing is certain.
pub(super) fn nothing_was_done(faults: &[Fault]) -> bool {
    !faults.is_empty() && faults.iter().all(Fault::is_sure)
}

/// What one code means; `None` for a code that nobody wrote down.
fn class_of(code: &str) -> Option<ErrorClass> {
    Some(match code {
        "NOT_FOUND" => ErrorClass::NotFound,
        "FAILED_PRECONDITION" | "INVALID_ARGUMENT" | "OUT_OF_RANGE" | "ALREADY_EXISTS" => {
            ErrorClass::Rejected
        }
        // Time ran out over there, or it was interrupted: whether it was done is not said.
        "DEADLINE_EXCEEDED" | "UNAVAILABLE" | "ABORTED" | "INTERNAL" | "INTERNAL_SERVER_ERROR" => {
            ErrorClass::Transient
        }
        "RESOURCE_EXHAUSTED" => ErrorClass::RateLimited { retry_after: None },
        "UNAUTHENTICATED" | "PERMISSION_DENIED" => ErrorClass::Unauthorized,
        _ => return None,
    })
}

/// The error for `doing` from the `errors` of an answer; a lasting refusal outweighs a passing one. A code that nobody
/// wrote down is `Protocol`: it promises neither that the call will work next time nor that it never will.
pub(super) fn from_faults(doing: &str, faults: &[Fault], body: Option<Box<str>>) -> PlatformError {
    let class = |fault: &Fault| class_of(&fault.code).unwrap_or(ErrorClass::Protocol);
    let chief = faults
        .iter()
        .find(|fault| !class(fault).is_retryable())
        .or_else(|| faults.first());
    let (class, code, text) = match chief {
        Some(fault) if fault.is_of_query => (ErrorClass::Protocol, BAD_QUERY.to_owned(), fault.text.as_str()),
        Some(fault) => (class(fault), code_of(fault), fault.text.as_str()),
        None => (ErrorClass::Protocol, "mercari_error".to_owned(), ""),
    };
    let advice = match (code.as_str(), class) {
        ("mercari_not_found", _) => "; the product is gone: link the listing again, or remove it",
        (BAD_QUERY, _) => "; a newer zaikoban may be needed",
        (_, ErrorClass::Unauthorized) => "; give the token again: `zaikoban credentials set mercari`",
        _ => "",
    };
    error(
        class,
        &code,
        format!("Mercari did not {doing}: {} ({code}){advice}", said(text)),
        body,
    )
}

/// Our name for a fault's code.
fn code_of(fault: &Fault) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let code: String = fault.code.chars().filter(|c| plain(*c)).take(40).collect();
    if code.is_empty() {
        "mercari_error".to_owned()
    } else {
        format!("mercari_{}", code.to_ascii_lowercase())
    }
}

fn said(text: &str) -> &str {
    if text.is_empty() { "no reason given" } else { text }
}

/// What an answer with another status than 200 was.
pub(super) struct Refused<'a> {
    pub(super) status: u16,
    /// Its `Content-Type`, if it had one.
    pub(super) content_type: Option<&'a str>,
    pub(super) faults: &'a [Fault],
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Option<Box<str>>,
}

impl Refused<'_> {
    /// Whether something may have been done although the answer is no success.
    pub(super) fn maybe_done(&self) -> bool {
        let unsure = |fault: &Fault| class_of(&fault.code) == Some(ErrorClass::Transient);
        !(400..500).contains(&self.status) || self.status == 408 || self.faults.iter().any(unsure)
    }

    /// Whether a 400 may be about the token: it says so, or nothing at all. A page for people is somebody else's.
    fn speaks_of_the_token(&self) -> bool {
        let html = self
            .content_type
            .is_some_and(|t| t.to_ascii_lowercase().contains("html"));
        let says = |fault: &Fault| {
            let text = fault.text.to_lowercase();
            ["token", "environment", "authenti", "authoriz"]
                .iter()
                .any(|word| text.contains(word))
        };
        self.faults.is_empty() && !html || self.faults.iter().any(says)
    }

    /// The error for `doing`.
    pub(super) fn error(self, doing: &str) -> PlatformError {
        let status = self.status;
        let plain = self
            .content_type
            .is_some_and(|t| t.to_ascii_lowercase().starts_with("text/plain"));
        let of_query = self.faults.iter().any(|fault| fault.is_of_query);
        let text = self
            .faults
            .first()
            .map(|fault| fault.text.as_str())
            .unwrap_or_default();
        let plainly = |why: &str| format!("Mercari did not {doing}: {} ({status}){why}", said(text));
        // What it says of the values is no word about the token, whatever the status.
        let of_values = matches!(status, 400 | 405..=407 | 409..=428 | 430..=499)
            && !of_query
            && self
                .faults
                .iter()
                .any(|fault| class_of(&fault.code).is_some_and(|class| class != ErrorClass::Unauthorized));
        // What it did and did not like, in a code that is not known here, is no word about the token either.
        let of_something = |fault: &Fault| !fault.code.is_empty() || fault.was_executed;
        let unknown = status == 400 && !of_query && self.faults.iter().any(of_something);
        let of_token = |fault: &Fault| class_of(&fault.code) == Some(ErrorClass::Unauthorized);
        if of_values || unknown && !self.faults.iter().any(of_token) {
            return from_faults(doing, self.faults, self.body);
        }
        let (class, code, message) = match status {
            400 | 405..=407 | 409..=428 | 430..=499 if of_query => {
                let why = "; it does not understand the question: a newer zaikoban may be needed";
                (ErrorClass::Protocol, BAD_QUERY.to_owned(), plainly(why))
            }
            400 if self.faults.iter().any(of_token) || self.speaks_of_the_token() => {
                let why = "; most likely the token is of the other environment: that of the sandbox does not work for the \
                           shop, nor the other way round. Compare `platforms.mercari.endpoint`, and give the token again: \
                           `zaikoban credentials set mercari`";
                (ErrorClass::Unauthorized, TOKEN_REFUSED.to_owned(), plainly(why))
            }
            401 | 403 => {
                let why = "; give a token that is valid: `zaikoban credentials set mercari`. The name in \
                           `platforms.mercari.client_name` must be the one that Mercari assigned";
                (ErrorClass::Unauthorized, TOKEN_REFUSED.to_owned(), plainly(why))
            }
            404 if plain => (
                ErrorClass::Blocked,
                ADDRESS_NOT_REGISTERED.to_owned(),
                format!(
                    "Mercari did not {doing}: it answers every question of this machine with a bare 404, as it does to an \
                     address that is not registered; register the address from which this machine reaches the internet \
                     with Mercari (each address by itself, in Japan, apart for sandbox and shop)"
                ),
            ),
            429 => {
                let class = ErrorClass::RateLimited {
                    retry_after: self.retry_after,
                };
                (
                    class,
                    "http_429".to_owned(),
                    plainly("; the hour's cost points are spent"),
                )
            }
            408 | 500..=599 => (ErrorClass::Transient, format!("http_{status}"), plainly("")),
            _ => (ErrorClass::Protocol, format!("http_{status}"), plainly("")),
        };
        let away_for = self.retry_after.filter(|_| status == 503);
        PlatformError {
            away_for,
            ..error(class, &code, message, self.body)
        }
    }
}

/// An error for an answer that is not what the contract says.
pub(super) fn contract(doing: &str, drift: &Drift, body: Option<Box<str>>) -> PlatformError {
    let message = format!("Mercari's answer does not {doing}: {drift}; nothing is taken from it");
    PlatformError {
        missing: vec![drift.path.as_str().into()],
        ..error(ErrorClass::Protocol, CONTRACT, message, body)
    }
}

/// An error in these words.
pub(super) fn error(class: ErrorClass, code: &str, message: String, body: Option<Box<str>>) -> PlatformError {
    PlatformError {
        class,
        code: code.into(),
        message: message.into(),
        missing: Vec::new(),
        body,
        away_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(code: &str) -> Fault {
        Fault::read(&json!({ "message": "no", "path": ["x"], "extensions": { "code": code } }))
    }

    #[test]
    fn codes_are_judged_by_the_table_and_unknown_ones_promise_nothing() {
        use ErrorClass::{NotFound, Protocol, Rejected, Transient, Unauthorized};
        for (code, class, sure) in [
            ("NOT_FOUND", NotFound, true),
            ("FAILED_PRECONDITION", Rejected, true),
            ("INVALID_ARGUMENT", Rejected, true),
            ("DEADLINE_EXCEEDED", Transient, false),
            ("INTERNAL", Transient, false),
            ("UNAUTHENTICATED", Unauthorized, true),
            (
                "RESOURCE_EXHAUSTED",
                ErrorClass::RateLimited { retry_after: None },
                true,
            ),
            ("NEVER_SEEN", Protocol, false),
            ("", Protocol, false),
        ] {
            let error = from_faults("do it", &[fault(code)], None);
            assert_eq!(
                (error.class, nothing_was_done(&[fault(code)])),
                (class, sure),
                "{code}"
            );
        }
        assert_eq!(
            &*from_faults("do it", &[fault("NOT_FOUND")], None).code,
            "mercari_not_found"
        );
        assert_eq!(
            &*from_faults("do it", &[fault("在庫")], None).code,
            "mercari_error"
        );
        assert!(!nothing_was_done(&[]));
    }

    #[test]
    fn a_lasting_refusal_outweighs_a_passing_one_and_makes_it_no_surer() {
        let both = [fault("DEADLINE_EXCEEDED"), fault("FAILED_PRECONDITION")];
        assert_eq!(from_faults("do it", &both, None).class, ErrorClass::Rejected);
        assert!(!nothing_was_done(&both));
    }

    #[test]
    fn statuses_are_judged_by_the_table_and_404_never_says_gone() {
        let judged = |status, content_type, faults: &[Fault]| {
            let body = None;
            let retry_after = Some(Duration::from_secs(7));
            let refused = Refused {
                status,
                content_type,
                faults,
                retry_after,
                body,
            };
            let maybe = refused.maybe_done();
            let error = refused.error("do it");
            (error.class, error.code.to_string(), maybe)
        };
        let of_query = [Fault::read(
            &json!({ "message": "Cannot query", "locations": [{ "line": 1 }] }),
        )];
        let says = |text: &str| [Fault::read(&json!({ "message": text }))];
        let undecoded = says("json body could not be decoded");
        let elsewhere = says("the access token is not valid in this environment");
        let limited = ErrorClass::RateLimited {
            retry_after: Some(Duration::from_secs(7)),
        };
        let plain = Some("text/plain; charset=utf-8");
        for (status, content_type, faults, class, code, maybe) in [
            (
                404,
                plain,
                &[][..],
                ErrorClass::Blocked,
                ADDRESS_NOT_REGISTERED,
                false,
            ),
            (
                404,
                Some("text/html"),
                &[][..],
                ErrorClass::Protocol,
                "http_404",
                false,
            ),
            (404, None, &[][..], ErrorClass::Protocol, "http_404", false),
            (400, None, &[][..], ErrorClass::Unauthorized, TOKEN_REFUSED, false),
            (400, None, &of_query[..], ErrorClass::Protocol, BAD_QUERY, false),
            (
                400,
                Some("text/html"),
                &[][..],
                ErrorClass::Protocol,
                "http_400",
                false,
            ),
            (400, None, &undecoded[..], ErrorClass::Protocol, "http_400", false),
            (
                400,
                None,
                &elsewhere[..],
                ErrorClass::Unauthorized,
                TOKEN_REFUSED,
                false,
            ),
            // One listing's value must not shut the shop.
            (
                400,
                None,
                &[fault("BAD_USER_INPUT")][..],
                ErrorClass::Protocol,
                "mercari_bad_user_input",
                false,
            ),
            // Servers of GraphQL answer so where they do not understand.
            (422, None, &of_query[..], ErrorClass::Protocol, BAD_QUERY, false),
            (422, None, &[][..], ErrorClass::Protocol, "http_422", false),
            (
                400,
                None,
                &[fault("INVALID_ARGUMENT")][..],
                ErrorClass::Rejected,
                "mercari_invalid_argument",
                false,
            ),
            (
                400,
                None,
                &[fault("DEADLINE_EXCEEDED")][..],
                ErrorClass::Transient,
                "mercari_deadline_exceeded",
                true,
            ),
            (
                400,
                None,
                &[fault("UNAUTHENTICATED")][..],
                ErrorClass::Unauthorized,
                TOKEN_REFUSED,
                false,
            ),
            (401, None, &[][..], ErrorClass::Unauthorized, TOKEN_REFUSED, false),
            (403, None, &[][..], ErrorClass::Unauthorized, TOKEN_REFUSED, false),
            (408, None, &[][..], ErrorClass::Transient, "http_408", true),
            (429, None, &[][..], limited, "http_429", false),
            (502, plain, &[][..], ErrorClass::Transient, "http_502", true),
            (302, None, &[][..], ErrorClass::Protocol, "http_302", true),
            (204, None, &[][..], ErrorClass::Protocol, "http_204", true),
        ] {
            assert_eq!(
                judged(status, content_type, faults),
                (class, code.to_owned(), maybe),
                "{status}"
            );
        }
    }
}
