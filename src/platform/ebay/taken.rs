//! What an answer with a success says: eBay's own, and nothing that stands in its way, is believed to have done something.

use super::client::Reply;
use super::json::{self, At, Drift};
use super::{contract, fault};
use crate::platform::PlatformError;
use crate::platform::lost::Lost;
use serde_json::Value;

/// A success's body.
pub(super) fn whole(doing: &str, reply: &Reply) -> Result<Value, PlatformError> {
    if !reply.is_success() {
        return Err(reply.refusal(doing));
    }
    json::parse(&reply.body).map_err(|broken| {
        let drift = Drift {
            path: "body".into(),
            what: format!("expected JSON: {broken}"),
        };
        fault::contract(doing, &drift, fault::kept(&reply.body))
    })
}

/// Whether the answer of a withdrawal says that a listing was ended.
pub(super) fn names_listing(reply: &Reply) -> bool {
    let body = json::parse(&reply.body).unwrap_or_default();
    let id = body.get("listingId").and_then(Value::as_str);
    id.is_some_and(|id| !id.is_empty())
        && fault::errors_in(&At::root("answer", &body)).is_ok_and(|e| e.is_empty())
}

/// The warnings of a success of `updateOffer`, which is a 204, or an object without errors: a page of somebody else's is
/// none.
pub(super) fn replaced(doing: &str, reply: &Reply) -> Result<Vec<Box<str>>, Lost> {
    if reply.status == 204 && reply.body.is_empty() {
        return Ok(Vec::new());
    }
    let maybe = |error| Lost {
        error,
        maybe_applied: true,
    };
    let body = whole(doing, reply).map_err(maybe)?;
    let at = At::root("answer", &body);
    let drifted = |drift: Drift| maybe(contract(&format!("tell whether it did {doing}"), &drift, &body));
    at.maybe("warnings").map_err(drifted)?;
    let errors = fault::errors_in(&at).map_err(drifted)?;
    if errors.is_empty() {
        return Ok(fault::warnings_in(&at));
    }
    let verdict = fault::judge(reply.status, &errors, None);
    Err(maybe(fault::error(
        doing,
        reply.status,
        &verdict,
        fault::kept(&reply.body),
    )))
}
