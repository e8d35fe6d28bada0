//! `zaikoban extract`: what zaikoban reads from a saved page, when a page has changed.

use super::args::ExtractArgs;
use super::output::{self, Exit};
use crate::clock::Clock;
use crate::platform::yahoo;
use serde_json::json;

/// A saved page larger than this is not one.
const MAX_PAGE_BYTES: u64 = 16 << 20;

pub(super) fn run(arguments: &ExtractArgs, as_json: bool) -> Exit {
    let path = &arguments.page;
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    if size > MAX_PAGE_BYTES {
        output::talk(&format!(
            "error: `{}` has {size} bytes; a page has at most 16 MiB",
            path.display()
        ));
        return Exit::Failed;
    }
    let body = match std::fs::read(path) {
        Ok(body) => body,
        Err(error) => {
            output::talk(&format!("error: cannot read `{}`: {error}", path.display()));
            return Exit::Failed;
        }
    };
    match yahoo::report(None, &arguments.url, &body, Clock::system().now()) {
        Ok(report) => {
            let value = serde_json::to_value(&report).unwrap_or_default();
            if as_json {
                output::json(&value);
            } else {
                output::data(&output::card(&value));
            }
            Exit::Done
        }
        Err(error) => {
            if as_json {
                output::json(&json!({ "error": {
                    "code": error.code, "class": error.class.as_str(), "message": error.message,
                    "missing": error.missing } }));
            }
            output::talk(&format!("error: {error}"));
            for missing in &error.missing {
                output::talk(&format!("  missing: {missing}"));
            }
            Exit::Unreadable
        }
    }
}
