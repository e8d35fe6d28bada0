//! Lines for machines: each begins with its channel and its run.

use super::channel::Channel;
use super::execution::{Execution, execution};
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Puts channel and run before what `inner` writes, which is one JSON object.
pub(super) struct Structured<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Structured<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        let run = context.event_scope().and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<Execution>().map(|run| run.0.clone()))
        });
        let run = run.as_deref().unwrap_or_else(|| execution());
        writer.write_str(&head(Channel::of(event), run))?;
        writer.write_str(line.strip_prefix('{').unwrap_or(&line))
    }
}

/// The beginning of a line, to be followed by its other fields. Neither word holds anything that JSON would escape: a run
/// whose number does is not named.
pub(super) fn head(channel: Channel, run: &str) -> String {
    let plain = run.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let run = if plain { run } else { "?" };
    format!(r#"{{"channel":"{}","execution":"{run}","#, channel.as_str())
}
