//! The number of a run, on every line that belongs to it.
//!
//! A daemon's life is a run. So is what takes a while within it, such as an import: it opens a span with a field
//! `execution`, and its lines bear that number in place of the daemon's.

use std::fmt;
use std::sync::OnceLock;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;
use uuid::Uuid;

/// The number of this process's life.
#[must_use]
pub fn execution() -> &'static str {
    static LIFE: OnceLock<String> = OnceLock::new();
    LIFE.get_or_init(|| Uuid::now_v7().to_string())
}

/// A run's number, kept with its span.
pub(super) struct Execution(pub(super) String);

/// Notes the numbers of spans that have one.
pub(super) struct Executions;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Executions {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut found = Found(None);
        attributes.record(&mut found);
        if let (Some(number), Some(span)) = (found.0, context.span(id)) {
            span.extensions_mut().insert(Execution(number));
        }
    }
}

struct Found(Option<String>);

impl Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "execution" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "execution" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}
