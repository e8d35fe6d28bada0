//! What an answer of the Selling Partner API means that is no success.
//!
//! It says so twice: by the HTTP status, and by the `code` of each member of `errors`. The published models give the
//! statuses their meaning; of the codes only those count that say more than their status.

use crate::domain::ErrorClass;
use crate::platform::PlatformError;
use crate::platform::json::Drift;
use serde_json::Value;
use std::time::Duration;

/// The longest error body that is kept, in bytes.
const BODY_KEPT: usize = 16 * 1024;
/// The code of an answer that is not what the contract says.
pub const CONTRACT: &str = "contract";
/// The code of a refused access token.
pub const TOKEN_REFUSED: &str = "amazon_token_refused";
/// The code of a call that the application may not make.
pub const ACCESS_DENIED: &str = "amazon_access_denied";
/// The code of an ASIN that the marketplace does not know.
pub const NO_SUCH_ITEM: &str = "amazon_no_such_item";

/// One member of an `errors` array, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) text: String,
}

impl Fault {
    /// Reads leniently: this is talk for people, and half of it is better than none.
    fn read(value: &Value) -> Self {
        let text_of = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (message, details) = (text_of("message"), text_of("details"));
        let text = if details.is_empty() || details == message {
            message.to_owned()
        } else {
            format!("{message} ({details})")
        };
        Self {
            code: text_of("code").chars().take(40).collect(),
            text: text.chars().take(500).collect(),
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = self.text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    }

    /// Whether it speaks of the access token. A 403 is also what an application without the role for a call gets, and
    /// that no new token would change.
    pub(super) fn is_about_token(&self) -> bool {
        self.says(&[
            "access token",
            "security token",
            "token you provided",
            "token has expired",
        ])
    }

    /// Whether it says that there is no such item: "B0… is an invalid ASIN for marketplace A1…". Words of the marketplace
    /// alone, or of the question, are about our setting and no product's fault.
    fn is_about_item(&self, asin: &str) -> bool {
        self.says(&["invalid asin", "invalid 'asin'"])
            || self.says(&[&asin.to_lowercase()]) && self.says(&["invalid", "not found", "does not exist"])
    }
}

/// The members of `errors` in `value`; none when it is not there.
pub(super) fn faults_in(value: &Value) -> Vec<Fault> {
    let list = value.get("errors").and_then(Value::as_array);
    list.map(|list| list.iter().map(Fault::read).collect())
        .unwrap_or_default()
}

/// What a status and the errors beside it mean.
pub(super) fn class(status: u16, faults: &[Fault], retry_after: Option<Duration>) -> ErrorClass {
    match status {
        // Whoever stands between refuses with a bare 403; Amazon says why.
        403 if faults.is_empty() => ErrorClass::Blocked,
        401 | 403 => ErrorClass::Unauthorized,
        429 => ErrorClass::RateLimited { retry_after },
        408 | 500..=599 => ErrorClass::Transient,
        // Whoever stands between says 404, too. That something is gone is Amazon's own word only: its `errors`.
        404 | 410 if faults.is_empty() => ErrorClass::Protocol,
        404 | 410 => ErrorClass::NotFound,
        400..=499 => match faults.first().map(|fault| fault.code.as_str()) {
            Some("QuotaExceeded") => ErrorClass::RateLimited { retry_after },
            Some("NOT_FOUND" | "NotFound") => ErrorClass::NotFound,
            Some("InternalFailure" | "ServiceUnavailable") => ErrorClass::Transient,
            _ => ErrorClass::Rejected,
        },
        // A redirect, an informal status, a success without what it should hold: not in the contract.
        _ => ErrorClass::Protocol,
    }
}

fn code(status: u16, faults: &[Fault]) -> String {
    match (status, faults.first()) {
        (401, _) => TOKEN_REFUSED.to_owned(),
        (403, Some(fault)) if fault.is_about_token() => TOKEN_REFUSED.to_owned(),
        (403, Some(_)) => ACCESS_DENIED.to_owned(),
        (400..=499, Some(fault)) if !fault.code.is_empty() && status != 429 => {
            let plain = |c: char| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '_'
                }
            };
            format!("amazon_{}", fault.code.chars().map(plain).collect::<String>())
        }
        _ => format!("http_{status}"),
    }
}

/// What a person can do about it; empty when the message says it all.
fn advice(code: &str) -> &'static str {
    match code {
        ACCESS_DENIED => {
            "; the application lacks the role for this call (Pricing, Product Listing) or the seller has not \
             authorised it: see the application in Seller Central"
        }
        "http_429" => "; Amazon's quota for this call is used up for now",
        _ => "",
    }
}

/// An error for `doing` ("read the offers of 3 items") from what was answered.
pub(super) fn error(
    doing: &str,
    status: u16,
    faults: &[Fault],
    retry_after: Option<Duration>,
    body: Option<Box<str>>,
) -> PlatformError {
    let code = code(status, faults);
    let said = faults.first().map_or("", |fault| &fault.text);
    let said = if said.is_empty() { "no reason given" } else { said };
    PlatformError {
        class: class(status, faults, retry_after),
        message: format!(
            "Amazon did not {doing}: {said} ({status}, {code}){}",
            advice(&code)
        )
        .into(),
        code: code.into(),
        missing: Vec::new(),
        body,
        away_for: retry_after.filter(|_| status == 503),
    }
}

/// An error for one item of a batch, from its own status and errors. What was asked is an ASIN of the right shape: that it
/// is "invalid" says that the marketplace has no such item. What else is invalid says nothing of it.
pub(super) fn of_item(
    doing: &str,
    asin: &str,
    status: u16,
    faults: &[Fault],
    body: Option<Box<str>>,
) -> PlatformError {
    let mut told = error(doing, status, faults, None, body);
    let invalid = |fault: &Fault| matches!(fault.code.as_str(), "InvalidInput" | "InvalidParameterValue");
    let about_item = |fault: &Fault| invalid(fault) && fault.is_about_item(asin);
    if told.class == ErrorClass::Rejected && status == 400 && faults.first().is_some_and(about_item) {
        told.class = ErrorClass::NotFound;
    }
    if told.class == ErrorClass::NotFound {
        told.code = NO_SUCH_ITEM.into();
    }
    told
}

/// An error for an answer that is not what the contract says.
pub(super) fn contract(doing: &str, drift: &Drift, body: Option<Box<str>>) -> PlatformError {
    PlatformError {
        class: ErrorClass::Protocol,
        code: CONTRACT.into(),
        message: format!("Amazon's answer does not {doing}: {drift}; nothing is taken from it").into(),
        missing: vec![drift.path.as_str().into()],
        body,
        away_for: None,
    }
}

/// Something that is refused here and never sent.
pub(super) fn refused(code: &'static str, message: String) -> PlatformError {
    PlatformError {
        class: ErrorClass::Rejected,
        code: code.into(),
        message: message.into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

/// A body as it is kept beside an error: whole up to 16 KiB, as text.
pub(super) fn kept(body: &[u8]) -> Option<Box<str>> {
    let head = body.get(..BODY_KEPT.min(body.len())).unwrap_or_default();
    let text = String::from_utf8_lossy(head);
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(code: &str, message: &str) -> Fault {
        Fault::read(&json!({"code": code, "message": message}))
    }

    #[test]
    fn statuses_and_codes_are_judged_by_the_table() {
        use ErrorClass::{NotFound, Protocol, Rejected, Transient, Unauthorized};
        let wait = Some(Duration::from_secs(7));
        let limited = ErrorClass::RateLimited { retry_after: wait };
        let one = |code| vec![fault(code, "no")];
        for (status, faults, class, code) in [
            (400, one("InvalidInput"), Rejected, "amazon_invalidinput"),
            (400, one("BAD_REQUEST"), Rejected, "amazon_bad_request"),
            (400, one("400"), Rejected, "amazon_400"),
            (400, one("QuotaExceeded"), limited, "amazon_quotaexceeded"),
            (404, one("NOT_FOUND"), NotFound, "amazon_not_found"),
            (404, vec![], Protocol, "http_404"),
            (410, vec![], Protocol, "http_410"),
            (413, vec![], Rejected, "http_413"),
            (401, one("Unauthorized"), Unauthorized, TOKEN_REFUSED),
            (403, one("Unauthorized"), Unauthorized, ACCESS_DENIED),
            (403, vec![], ErrorClass::Blocked, "http_403"),
            (
                403,
                vec![fault(
                    "Unauthorized",
                    "The access token you provided has expired.",
                )],
                Unauthorized,
                TOKEN_REFUSED,
            ),
            (429, one("QuotaExceeded"), limited, "http_429"),
            (500, one("InternalFailure"), Transient, "http_500"),
            (503, vec![], Transient, "http_503"),
            (302, vec![], Protocol, "http_302"),
            (200, vec![], Protocol, "http_200"),
        ] {
            let told = error("x", status, &faults, wait, None);
            assert_eq!((told.class, &*told.code), (class, code), "{status} {faults:?}");
        }
    }

    #[test]
    fn an_invalid_item_is_gone_and_whatever_else_is_invalid_says_nothing_of_it() {
        const ASIN: &str = "B08VY6GW8Q";
        let judged = |status, faults: &[Fault]| of_item("x", ASIN, status, faults, None);
        for text in [
            "B08VY6GW8Q is an invalid ASIN for marketplace A1VC38T7YXB528",
            "Invalid ASIN",
            "Invalid 'asin' provided.",
            "The ItemId B08VY6GW8Q provided in the request is invalid.",
        ] {
            let gone = judged(400, &[fault("InvalidInput", text)]);
            assert_eq!(
                (gone.class, &*gone.code),
                (ErrorClass::NotFound, NO_SUCH_ITEM),
                "{text}"
            );
        }
        assert_eq!(
            judged(404, &[fault("NOT_FOUND", "no")]).class,
            ErrorClass::NotFound
        );
        assert_eq!(judged(404, &[]).class, ErrorClass::Protocol);
        for text in [
            "Invalid MarketplaceId",
            "Requested MarketplaceId is invalid, unsupported, or does not exist.",
            "Invalid Input",
            "Duplicate requests submitted.",
            "",
        ] {
            let ours = judged(400, &[fault("InvalidInput", text)]);
            assert_eq!(ours.class, ErrorClass::Rejected, "{text}");
        }
        assert_eq!(
            judged(400, &[fault("Unknown", "Invalid ASIN")]).class,
            ErrorClass::Rejected
        );
    }
}
