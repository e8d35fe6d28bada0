//! Which of four channels a line belongs to, so that each can be kept and read for itself.
//!
//! An event may say so with a field `channel`; otherwise what is a trouble goes to `errors` and the rest to `execution`.

use std::fmt;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// A channel of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Channel {
    /// What was done.
    Execution,
    /// What went wrong: `warn` and `error`.
    Errors,
    /// Who asked for what, and who was turned away.
    Security,
    /// How much, how fast.
    Performance,
}

impl Channel {
    pub(super) const ALL: [Self; 4] = [Self::Execution, Self::Errors, Self::Security, Self::Performance];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Execution => "execution",
            Self::Errors => "errors",
            Self::Security => "security",
            Self::Performance => "performance",
        }
    }

    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut said = Said(None);
        event.record(&mut said);
        said.0.unwrap_or_else(|| Self::of_place(event.metadata()))
    }

    /// What the place in the code alone says.
    pub(super) fn of_place(metadata: &Metadata<'_>) -> Self {
        if *metadata.level() <= Level::WARN {
            Self::Errors
        } else {
            Self::Execution
        }
    }

    /// The channel of a line that was written as JSON here.
    pub(super) fn of_line(line: &[u8]) -> Self {
        let named = line.strip_prefix(br#"{"channel":""#).unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|channel| named.starts_with(channel.as_str().as_bytes()))
            .unwrap_or(Self::Execution)
    }
}

/// What the event itself says.
struct Said(Option<Channel>);

impl Said {
    fn take(&mut self, field: &Field, word: &str) {
        if field.name() == "channel" {
            self.0 = Channel::ALL.into_iter().find(|channel| channel.as_str() == word);
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn fmt::Debug) {}
}
