//! What a token endpoint's answer means, and when to ask it again: functions of values.

use crate::domain::ErrorClass;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// How long an access token is believed to last when the answer does not say so credibly.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// The lifetimes that are believed, in seconds; eBay says 7200.
const CREDIBLE: std::ops::RangeInclusive<u64> = 10..=86_400;
/// The lifetimes of a refresh token that are believed, in seconds; eBay says 18 months.
const CREDIBLE_REFRESH: std::ops::RangeInclusive<u64> = 3_600..=315_360_000;
/// How long nothing is asked after the grant or the client was refused: a person has to act first.
pub(super) const REFUSED_REST: Duration = Duration::from_secs(15 * 60);
/// A token this young that is refused was not refused for its age.
pub(super) const YOUNG: Duration = Duration::from_secs(60);
/// So many young tokens in a row are replaced when they are refused without ever having worked; then another would not
/// help.
pub(super) const YOUNG_REPLACED: u32 = 3;
/// The longest rest after a passing failure: short enough that nobody waits long once the endpoint is back.
const LONGEST_REST: Duration = Duration::from_secs(15);
/// The longest token that is taken, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;

/// How long a token with this `expires_in` is used: what it says when that is a whole number of seconds from ten to
/// one day, else five minutes.
pub(super) fn lifetime(expires_in: Option<&Value>) -> Duration {
    expires_in
        .and_then(Value::as_u64)
        .filter(|seconds| CREDIBLE.contains(seconds))
        .map_or(DEFAULT_LIFETIME, Duration::from_secs)
}

/// How long before its end a token of this lifetime is replaced: a tenth, at least 60 s and at most five minutes, and
/// never more than half of it.
pub(super) fn margin(lifetime: Duration) -> Duration {
    (lifetime / 10)
        .clamp(Duration::from_secs(60), Duration::from_secs(300))
        .min(lifetime / 2)
}

/// How long to rest after the `failures`-th failure in a row (1 is the first) of a call that may work next time.
pub(super) fn rest(failures: u32, class: ErrorClass) -> Duration {
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_REST);
    match class {
        ErrorClass::Unauthorized => REFUSED_REST,
        ErrorClass::RateLimited {
            retry_after: Some(wait),
        } => wait.max(doubled),
        _ => doubled,
    }
}

/// What a refresh gave.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) access: SecretString,
    pub(super) lifetime: Duration,
    /// The new refresh token, where the server rotates them.
    pub(super) rotated: Option<SecretString>,
}

/// Why it gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) class: ErrorClass,
    /// The `error` of RFC 6749 §5.2, or `http_503`, or `contract`.
    pub(super) code: Box<str>,
    /// What was said, as far as it can hold no token.
    pub(super) why: Box<str>,
}

#[derive(Deserialize)]
struct Raw {
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<Value>,
    refresh_token: Option<String>,
    #[serde(default)]
    refresh_token_expires_in: Option<Value>,
}

/// What a person's consent gave.
#[derive(Debug)]
pub struct Consented {
    /// The refresh token.
    pub refresh: SecretString,
    /// How long it lasts, where that was said credibly: an hour to ten years.
    pub lifetime: Option<Duration>,
}

/// What the endpoint's answer to a code means.
///
/// # Errors
/// As [`read`].
pub(super) fn read_consent(
    status: u16,
    body: &[u8],
    retry_after: Option<Duration>,
) -> Result<Consented, Refused> {
    let granted = read(status, body, retry_after)?;
    let refresh = granted.rotated.ok_or_else(|| {
        refused(
            ErrorClass::Protocol,
            "contract",
            "expected a `refresh_token` for the code",
        )
    })?;
    // It was read as JSON a moment ago.
    let raw: Option<Raw> = serde_json::from_slice(body).ok();
    let seconds = raw.and_then(|raw| raw.refresh_token_expires_in?.as_u64());
    let lifetime = seconds
        .filter(|s| CREDIBLE_REFRESH.contains(s))
        .map(Duration::from_secs);
    Ok(Consented { refresh, lifetime })
}

/// What the endpoint's answer means.
///
/// # Errors
/// [`Refused`], whose texts never hold a part of the body but RFC 6749's error code: a body that should hold a token
/// may hold one wherever it is broken.
pub(super) fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Result<Granted, Refused> {
    match status {
        200..=299 => granted(body),
        429 => Err(refused(
            ErrorClass::RateLimited { retry_after },
            "http_429",
            "too many requests",
        )),
        400..=499 => Err(match rfc_error(body) {
            Some(code) => Refused {
                class: class_of(&code),
                why: "the token endpoint said so".into(),
                code,
            },
            None if status == 408 => refused(ErrorClass::Transient, "http_408", "time-out over there"),
            // Without its word, this may be whoever stands between, and nobody has to sign in again for that. 401 is the
            // one status that means the client by itself.
            None => refused(
                if status == 401 {
                    ErrorClass::Unauthorized
                } else {
                    ErrorClass::Protocol
                },
                &format!("http_{status}"),
                "refused without an RFC 6749 error code",
            ),
        }),
        500..=599 => Err(refused(
            ErrorClass::Transient,
            &format!("http_{status}"),
            "trouble over there",
        )),
        _ => Err(refused(
            ErrorClass::Protocol,
            &format!("http_{status}"),
            "not a status a token endpoint answers with",
        )),
    }
}

fn refused(class: ErrorClass, code: &str, why: &str) -> Refused {
    Refused {
        class,
        code: code.into(),
        why: why.into(),
    }
}

fn granted(body: &[u8]) -> Result<Granted, Refused> {
    let drift = |why| refused(ErrorClass::Protocol, "contract", why);
    let raw: Raw = serde_json::from_slice(body)
        .map_err(|_may_quote_a_token| drift("expected a JSON object with an access token"))?;
    let access = raw
        .access_token
        .filter(|token| is_token(token))
        .ok_or_else(|| drift("expected `access_token` to be 1 to 16384 visible ASCII characters"))?;
    if raw.refresh_token.as_ref().is_some_and(|token| !is_token(token)) {
        return Err(drift(
            "expected `refresh_token` to be 1 to 16384 visible ASCII characters",
        ));
    }
    Ok(Granted {
        access: access.into(),
        lifetime: lifetime(raw.expires_in.as_ref()),
        rotated: raw.refresh_token.map(SecretString::from),
    })
}

/// Whether a text can stand in a header as a token.
fn is_token(token: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

/// The `error` code of an error answer, if it is one that RFC 6749 or 6750 could hold.
fn rfc_error(body: &[u8]) -> Option<Box<str>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let code = body.get("error")?.as_str()?;
    let fits = (1..=40).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    fits.then(|| code.into())
}

fn class_of(code: &str) -> ErrorClass {
    match code {
        "temporarily_unavailable" | "server_error" | "slow_down" => ErrorClass::Transient,
        "invalid_grant"
        | "invalid_client"
        | "unauthorized_client"
        | "invalid_scope"
        | "access_denied"
        | "invalid_token"
        | "expired_token"
        | "insufficient_scope" => ErrorClass::Unauthorized,
        // `invalid_request`, and what nobody wrote down: about the question, or nothing that is known.
        _ => ErrorClass::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const CANARY: &str = "v^1.1#canary-7f3a";

    #[test]
    fn only_a_credible_expires_in_is_believed() {
        for (given, seconds) in [
            (json!({"expires_in": 7200}), 7200),
            (json!({"expires_in": 10}), 10),
            (json!({"expires_in": 0}), 300),
            (json!({"expires_in": -1}), 300),
            (json!({"expires_in": 9}), 300),
            (json!({"expires_in": "7200"}), 300),
            (json!({"expires_in": 1e300}), 300),
            (json!({"expires_in": u64::MAX}), 300),
            (json!({"expires_in": null}), 300),
            (json!({"expires_in": [7200]}), 300),
            (json!({}), 300),
        ] {
            let mut body = given.clone();
            body["access_token"] = "t".into();
            let granted = read(200, body.to_string().as_bytes(), None).unwrap();
            assert_eq!(granted.lifetime.as_secs(), seconds, "{given}");
        }
    }

    #[test]
    fn a_broken_answer_gives_an_error_that_holds_nothing_of_it() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(20_000));
        for body in [
            format!(r#"{{"access_token":"{CANARY}"#),
            format!(r#"{{"access_token":["{CANARY}"]}}"#),
            format!(r#"{{"access_token":"{CANARY}\r\nX-Evil: 1"}}"#),
            format!(r#"{{"access_token":"a","refresh_token":"{CANARY} "}}"#),
            format!(r#"{{"token":"{CANARY}"}}"#),
            format!(r#"<html>{CANARY}</html>"#),
            r#"{"access_token":""}"#.into(),
            r#"{"access_token":7}"#.into(),
            "[]".into(),
            String::new(),
            long,
        ] {
            let refused = read(200, body.as_bytes(), None).unwrap_err();
            assert_eq!(refused.class, ErrorClass::Protocol, "{body:.60}");
            assert!(!format!("{refused:?}").contains("canary"), "{refused:?}");
        }
    }

    #[test]
    fn statuses_and_error_codes_are_told_apart() {
        use ErrorClass::{Protocol, Transient, Unauthorized};
        let wait = Some(Duration::from_secs(9));
        for (status, body, class, code) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"x"}"#,
                Unauthorized,
                "invalid_grant",
            ),
            (
                401,
                r#"{"error":"invalid_client"}"#,
                Unauthorized,
                "invalid_client",
            ),
            (
                400,
                r#"{"error":"temporarily_unavailable"}"#,
                Transient,
                "temporarily_unavailable",
            ),
            (400, r#"{"error":"invalid_request"}"#, Protocol, "invalid_request"),
            (400, r#"{"error":"<script>"}"#, Protocol, "http_400"),
            (400, r#"{"error":"invalid_gr"#, Protocol, "http_400"),
            (401, "", Unauthorized, "http_401"),
            (403, "<html>", Protocol, "http_403"),
            (404, "", Protocol, "http_404"),
            (408, "", Transient, "http_408"),
            (500, "oops", Transient, "http_500"),
            (302, "", Protocol, "http_302"),
        ] {
            let refused = read(status, body.as_bytes(), wait).unwrap_err();
            assert_eq!((refused.class, &*refused.code), (class, code));
        }
        let limited = read(429, b"", wait).unwrap_err();
        assert_eq!(limited.class, ErrorClass::RateLimited { retry_after: wait });
    }

    #[test]
    fn a_consent_gives_a_refresh_token_and_its_credible_lifetime() {
        for (given, seconds) in [
            (json!(47_304_000), Some(47_304_000)),
            (json!(0), None),
            (json!(-1), None),
            (json!("47304000"), None),
            (json!(u64::MAX), None),
            (json!(null), None),
        ] {
            let body =
                json!({"access_token": "a", "refresh_token": CANARY, "refresh_token_expires_in": given});
            let consented = read_consent(200, body.to_string().as_bytes(), None).unwrap();
            assert_eq!(consented.lifetime.map(|l| l.as_secs()), seconds, "{given}");
            assert!(!format!("{consented:?}").contains("canary"));
        }
        let refused = read_consent(200, br#"{"access_token": "canary"}"#, None).unwrap_err();
        assert_eq!(refused.class, ErrorClass::Protocol);
        assert!(!format!("{refused:?}").contains("canary"));
    }

    #[test]
    fn a_granted_token_is_not_shown() {
        let body = format!(r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}"}}"#);
        let granted = read(200, body.as_bytes(), None).unwrap();
        assert!(!format!("{granted:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn a_token_is_replaced_early_but_not_at_once(seconds in CREDIBLE) {
            let lifetime = Duration::from_secs(seconds);
            let margin = margin(lifetime);
            prop_assert!(margin >= Duration::from_secs(60).min(lifetime / 2));
            prop_assert!(margin <= lifetime / 2);
        }

        #[test]
        fn a_rest_is_bounded_and_never_short(failures in 1_u32..1000) {
            let rest = rest(failures, ErrorClass::Transient);
            prop_assert!((Duration::from_secs(1)..=LONGEST_REST).contains(&rest));
            prop_assert_eq!(super::rest(failures, ErrorClass::Unauthorized), REFUSED_REST);
        }
    }
}
