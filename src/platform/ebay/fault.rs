//! What an answer that is no success means.
//!
//! eBay says it three times: by the HTTP status, by the `errorId` of each error, and by the error's `category`. The
//! published contract lists the ids per operation; the table in [`class_of`] holds those that mean something else
//! than "refused for what it says". An id that nobody wrote down is judged by its category: `REQUEST` is our fault and
//! stays refused, `APPLICATION` and `SYSTEM` are theirs and may pass.

use super::json::{At, Drift};
use crate::domain::ErrorClass;
use crate::platform::PlatformError;
pub(super) use crate::platform::body::{cut, kept};
use serde_json::Value;
use std::time::Duration;

/// The most warnings of one answer that are kept.
const MOST_WARNINGS: usize = 50;
/// The code of an answer that says the listing was revised too often today.
pub const REVISION_LIMIT: &str = "ebay_revision_limit";
/// The code of an answer that is not what the contract says.
pub const CONTRACT: &str = "contract";
/// The code of a refused access token.
pub(super) const TOKEN_REFUSED: &str = "ebay_token_refused";

/// One member of an `errors` or `warnings` array, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) id: Option<i64>,
    category: String,
    pub(super) text: String,
}

impl Fault {
    /// Reads leniently: this is talk for people, and half of it is better than none.
    fn read(value: &Value) -> Self {
        let text_of = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let (short, long) = (text_of("message"), text_of("longMessage"));
        let text = if long.len() > short.len() { long } else { short };
        Self {
            id: value.get("errorId").and_then(Value::as_i64),
            category: text_of("category").into(),
            text: text.chars().take(500).collect(),
        }
    }

    /// Whether it says that the listing was revised too often today. eBay gives this no id of its own.
    fn is_revision_limit(&self) -> bool {
        let text = self.text.to_lowercase();
        let about = text.contains("revision") || text.contains("revised");
        let too_many = ["limit", "exceed", "too many", "maximum", "calendar day"];
        about && too_many.iter().any(|word| text.contains(word))
    }

    /// Whether it says that a call may name one SKU only (the contract contradicts itself about that).
    pub(super) fn is_one_sku_only(&self) -> bool {
        let text = self.text.to_lowercase();
        let one = ["one sku", "single sku", "multiple sku", "1 sku"];
        one.iter().any(|words| text.contains(words))
    }
}

/// The members of the array `key` of `value`; none when it is not there.
pub(super) fn faults_in(value: &Value, key: &str) -> Vec<Fault> {
    let list = value.get(key).and_then(Value::as_array);
    list.map(|list| list.iter().map(Fault::read).collect())
        .unwrap_or_default()
}

/// The members of `errors` in what may be a success; none when it is not there.
///
/// # Errors
/// When something else stands there: then nobody knows what it complains of.
pub(super) fn errors_in(at: &At<'_>) -> Result<Vec<Fault>, Drift> {
    let list = at.maybe("errors")?.map(|list| list.items()).transpose()?;
    Ok(list
        .unwrap_or_default()
        .iter()
        .map(|one| Fault::read(one.value()))
        .collect())
}

/// The first warnings of an answer or entry, each whole.
pub(super) fn warnings_in(at: &At<'_>) -> Vec<Box<str>> {
    let list = at.value().get("warnings").and_then(Value::as_array);
    let few = list.map(|list| list.iter().take(MOST_WARNINGS));
    few.map(|few| few.map(|w| cut(&w.to_string()).into()).collect())
        .unwrap_or_default()
}

/// What an answer means, before it is said in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: ErrorClass,
    pub(super) code: String,
    pub(super) text: String,
}

/// What one error id means; `None` when only its category tells.
fn class_of(id: i64) -> Option<ErrorClass> {
    Some(match id {
        // 1001 to 1003: the access token is invalid, missing or expired; 1100: its scopes do not suffice.
        1001..=1003 | 1100 => ErrorClass::Unauthorized,
        // The request limit of the application or the seller.
        2001 => ErrorClass::RateLimited { retry_after: None },
        // A system error; two calls on one inventory item at a time.
        25001 | 25025 => ErrorClass::Transient,
        // SKU, entity or offer not there.
        25701 | 25702 | 25710 | 25713 | 25725 => ErrorClass::NotFound,
        _ => return None,
    })
}

fn judge_fault(fault: &Fault) -> ErrorClass {
    if fault.is_revision_limit() {
        return ErrorClass::Rejected;
    }
    let known = fault.id.and_then(class_of);
    known.unwrap_or(match fault.category.as_str() {
        "APPLICATION" | "SYSTEM" => ErrorClass::Transient,
        _ => ErrorClass::Rejected,
    })
}

/// What `status` and the errors beside it mean. A lasting refusal outweighs a passing one.
pub(super) fn judge(status: u16, faults: &[Fault], retry_after: Option<Duration>) -> Verdict {
    let lasting = |f: &&Fault| !judge_fault(f).is_retryable();
    let chief = faults.iter().find(lasting).or_else(|| faults.first());
    let by_status = match status {
        // Whoever stands between refuses with a bare 403; eBay says why.
        403 if faults.is_empty() => Some(ErrorClass::Blocked),
        401 | 403 => Some(ErrorClass::Unauthorized),
        429 => Some(ErrorClass::RateLimited { retry_after }),
        408 | 500..=599 => Some(ErrorClass::Transient),
        _ => None,
    };
    let class = by_status.unwrap_or_else(|| match (chief, status) {
        (Some(fault), 200..=299 | 400..=499) => match judge_fault(fault) {
            ErrorClass::RateLimited { .. } => ErrorClass::RateLimited { retry_after },
            class => class,
        },
        // Whoever stands between says 404, too. That something is gone is eBay's own word only: an error with its id.
        (None, 404 | 410) => ErrorClass::Protocol,
        (None, 400..=499) => ErrorClass::Rejected,
        // A redirect, an informal status, a success without what it should hold: not in the contract.
        _ => ErrorClass::Protocol,
    });
    let code = match chief {
        Some(fault) if fault.is_revision_limit() => REVISION_LIMIT.to_owned(),
        _ if status == 401 => TOKEN_REFUSED.to_owned(),
        Some(Fault { id: Some(id), .. }) => format!("ebay_{id}"),
        _ => format!("http_{status}"),
    };
    let text = chief.map(|f| f.text.clone()).unwrap_or_default();
    Verdict { class, code, text }
}

/// What a person can do about a code; empty when the message says it all.
fn advice(code: &str) -> &'static str {
    match code {
        "ebay_25713" | "ebay_25725" => "; the offer is gone: link the listing again, or remove it",
        "ebay_25702" | "ebay_25701" => "; no inventory item has this SKU: link the listing again",
        "ebay_25026" => "; the account's selling limit is reached: ask eBay to raise it",
        "ebay_25096" | "ebay_25097" | "ebay_25098" => {
            "; the listing is on hold: read eBay's message to the seller"
        }
        "ebay_1100" => "; sign in again and grant `sell.inventory`",
        REVISION_LIMIT => "; the listing may be revised again after midnight in California",
        _ => "",
    }
}

/// An error for `doing` ("revise offer `9` of SKU `a`") from what was judged.
pub(super) fn error(doing: &str, status: u16, verdict: &Verdict, body: Option<Box<str>>) -> PlatformError {
    let Verdict { class, code, text } = verdict;
    let said = if text.is_empty() { "no reason given" } else { text };
    let advice = advice(code);
    PlatformError {
        class: *class,
        code: code.as_str().into(),
        message: format!("eBay did not {doing}: {said} ({status}, {code}){advice}").into(),
        missing: Vec::new(),
        body,
        away_for: None,
    }
}

/// An error for an answer that is not what the contract says.
pub(super) fn contract(doing: &str, drift: &Drift, body: Option<Box<str>>) -> PlatformError {
    PlatformError {
        class: ErrorClass::Protocol,
        code: CONTRACT.into(),
        message: format!("eBay's answer does not {doing}: {drift}; nothing is taken from it").into(),
        missing: vec![drift.path.as_str().into()],
        body,
        away_for: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fault(id: i64, category: &str, message: &str) -> Fault {
        Fault::read(&json!({"errorId": id, "category": category, "message": message}))
    }

    #[test]
    fn statuses_and_ids_are_judged_by_the_table() {
        use ErrorClass::{NotFound, Protocol, Rejected, Transient, Unauthorized};
        let wait = Some(Duration::from_secs(7));
        let limited = ErrorClass::RateLimited { retry_after: wait };
        let request = |id| vec![fault(id, "REQUEST", "no")];
        for (status, faults, class, code) in [
            (400, request(25002), Rejected, "ebay_25002"),
            (400, request(25709), Rejected, "ebay_25709"),
            (400, request(25759), Rejected, "ebay_25759"),
            (400, request(25026), Rejected, "ebay_25026"),
            (400, request(25713), NotFound, "ebay_25713"),
            (404, request(25702), NotFound, "ebay_25702"),
            (404, vec![], Protocol, "http_404"),
            (410, vec![], Protocol, "http_410"),
            (400, request(25025), Transient, "ebay_25025"),
            (
                500,
                vec![fault(25001, "APPLICATION", "x")],
                Transient,
                "ebay_25001",
            ),
            (500, request(25002), Transient, "ebay_25002"),
            (503, vec![], Transient, "http_503"),
            (408, vec![], Transient, "http_408"),
            (400, vec![fault(4711, "SYSTEM", "x")], Transient, "ebay_4711"),
            (400, vec![fault(4711, "REQUEST", "x")], Rejected, "ebay_4711"),
            (429, vec![], limited, "http_429"),
            (429, request(2001), limited, "ebay_2001"),
            (400, request(2001), limited, "ebay_2001"),
            (401, request(1001), Unauthorized, TOKEN_REFUSED),
            (403, request(1100), Unauthorized, "ebay_1100"),
            (403, vec![], ErrorClass::Blocked, "http_403"),
            (302, vec![], Protocol, "http_302"),
            (200, vec![], Protocol, "http_200"),
            (200, request(25002), Rejected, "ebay_25002"),
        ] {
            let verdict = judge(status, &faults, wait);
            assert_eq!(
                (verdict.class, verdict.code.as_str()),
                (class, code),
                "{status} {faults:?}"
            );
        }
    }

    #[test]
    fn a_lasting_refusal_outweighs_a_passing_one_whatever_the_order() {
        let (system, user) = (fault(25001, "APPLICATION", "a"), fault(25003, "REQUEST", "b"));
        for faults in [[system.clone(), user.clone()], [user, system]] {
            assert_eq!(judge(400, &faults, None).code, "ebay_25003");
        }
    }

    #[test]
    fn the_revision_limit_is_told_apart_from_other_words_about_revising() {
        let limit = fault(
            25019,
            "REQUEST",
            "The number of revisions exceeded the limit for today.",
        );
        assert_eq!(judge(400, &[limit], None).code, REVISION_LIMIT);
        let bid = fault(25038, "REQUEST", "Item cannot be revised if it has a bid");
        assert_eq!(judge(400, &[bid], None).code, "ebay_25038");
    }
}
