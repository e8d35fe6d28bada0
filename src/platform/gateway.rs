//! One actor per platform, with one adapter behind its [`Guard`](crate::resilience::Guard).
//!
//! A gateway has no state of its own. It takes a message, makes the calls under the guard and answers; many messages
//! are under way at once, as many as the guard lets through and the capacity of the gateway's child spec admits. What it
//! adds to the adapter:
//!
//! - The guard's own refusals become [`PlatformError`]s with the codes of [`codes`], so that whoever asked sees one kind
//!   of error. Of those, [`codes::TIMED_OUT`] and [`codes::PANICKED`] may have had their effect; the others were never
//!   sent ([`was_never_sent`]).
//! - Each call runs in a task of its own. A panic in it is answered with an error and logged; it takes neither the actor
//!   nor other calls along.
//! - A check that failed for a passing reason is repeated up to three times, after up to 1, 2 and 4 s (full jitter), each
//!   with a permit of its own: reading is harmless. What changes a listing is never repeated here: that is the queue's.
//! - What changes or shows a listing is asked with a last moment, and is not sent after it: by then somebody else may be
//!   pushing a newer value. The moment travels with the request, so that a newer one never speaks for an older.
//! - A batch is cut to what the adapter takes. One that was refused as a whole ([`BATCH_REFUSED`]) is sent again entry by
//!   entry, once, each with a permit of its own: one bad listing must not keep back 24 good ones.
//! - The guard hears of a batch as of one call: it went well when one entry did; else its gravest failure counts.
//!
//! A gateway is a pair of shared things and cheap to clone: its child spec makes each life from a clone
//! (`ChildSpec::actor("ebay", move |_| gateway.clone())`), so that tokens, rate and breaker survive a restart.

mod bulk;
mod destination;
mod registrar;
mod source;
mod verdict;

pub use bulk::BulkGateway;
pub use destination::{DestinationGateway, End, Find, Preview, Read, Relist, Revise};
pub use registrar::RegistrarGateway;
pub use source::{Observe, SourceGateway};

use super::PlatformError;
use crate::domain::ErrorClass;
use crate::resilience::CallError;
use crate::supervision::{OwnedTask, TaskError};

/// The code of an entry whose batch was refused as a whole for what one of them says; nothing of it was applied.
pub const BATCH_REFUSED: &str = "batch_refused";

/// Codes of errors that come from the gateway, not from the platform.
pub mod codes {
    /// Not sent: the breaker's gate is shut.
    pub const GATE_SHUT: &str = "gate_shut";
    /// Not sent: an operator paused the platform.
    pub const PAUSED: &str = "paused";
    /// Not sent: too many calls wait already.
    pub const BUSY: &str = "busy";
    /// Not sent: its last moment came before its turn.
    pub const TOO_LATE: &str = "too_late";
    /// The call took longer than its time limit; it may have had its effect.
    pub const TIMED_OUT: &str = "timed_out";
    /// The call panicked; it may have had its effect.
    pub const PANICKED: &str = "panicked";
}

/// Whether an error says that the platform was not asked at all, so that the work is as it was.
#[must_use]
pub fn was_never_sent(error: &PlatformError) -> bool {
    [codes::GATE_SHUT, codes::PAUSED, codes::BUSY, codes::TOO_LATE].contains(&&*error.code)
}

/// What an error of the guard is as the platform's. `doing` completes "could not …".
fn from_guard<E>(service: &str, doing: &str, error: &CallError<E>) -> PlatformError {
    let (code, class) = match error {
        CallError::Shut { .. } => (codes::GATE_SHUT, ErrorClass::Transient),
        CallError::Paused => (codes::PAUSED, ErrorClass::Transient),
        CallError::Busy => (codes::BUSY, ErrorClass::Transient),
        CallError::Late => (codes::TOO_LATE, ErrorClass::Transient),
        CallError::TimedOut => (codes::TIMED_OUT, ErrorClass::Transient),
        CallError::Panicked { .. } | CallError::Failed(_) => (codes::PANICKED, ErrorClass::Transient),
    };
    PlatformError {
        class,
        code: code.into(),
        message: format!("could not {doing} at `{service}`: {error}").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}

/// What a call gave, its own failure and the guard's folded into one.
fn flatten<T>(
    service: &str,
    doing: &str,
    result: Result<T, CallError<PlatformError>>,
) -> Result<T, PlatformError> {
    result.map_err(|error| match error {
        CallError::Failed(error) => error,
        other => from_guard(service, doing, &other),
    })
}

/// What a call's task gave; its panic as an error.
async fn owned<T>(service: &str, doing: &str, task: OwnedTask<T>) -> Result<T, PlatformError> {
    task.await.map_err(|crash: TaskError| {
        tracing::error!(
            platform = service,
            error = %crash,
            "A call to `{service}` crashed while it should {doing}; it is answered with an error"
        );
        let message = crash.to_string();
        from_guard(service, doing, &CallError::<PlatformError>::Panicked { message })
    })
}

/// An adapter's answer that is shorter than the question: a fault of ours.
fn unanswered(service: &str) -> PlatformError {
    PlatformError {
        class: ErrorClass::Protocol,
        code: "unanswered".into(),
        message: format!("the adapter of `{service}` gave fewer answers than it was asked").into(),
        missing: Vec::new(),
        body: None,
        away_for: None,
    }
}
