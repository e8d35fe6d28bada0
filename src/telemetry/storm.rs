//! A log that stays readable when everything fails at once.
//!
//! Counted by the place in the code, not by the text: ten thousand products that fail alike are one trouble with ten
//! thousand texts. The first [`BURST`] lines of a place are written, then none until [`WINDOW`] is over, and then one line
//! says how many there were. The count is told with the next `warn` or `error` from anywhere, so that a storm that ended
//! is told too. Nothing is allocated for a line that is held back.

use super::{channel::Channel, execution::execution, structured::head};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, time::Duration};
use tokio::time::Instant;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// How many lines of one place go through in a window: enough to see a pattern.
const BURST: u64 = 20;

/// How long a place is held back.
const WINDOW: Duration = Duration::from_secs(10);

/// How the count is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// A format that writes events as `inner` does, but not too many alike.
pub(super) struct Calm<F> {
    inner: F,
    form: Form,
    places: Mutex<HashMap<Identifier, Place>>,
}

/// What was seen of one place in the code.
#[derive(Debug)]
struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    seen: u64,
}

/// Lines held back, to be told.
#[derive(Debug)]
struct HeldBack {
    metadata: &'static Metadata<'static>,
    lines: u64,
}

impl<F> Calm<F> {
    pub(super) fn new(inner: F, form: Form) -> Self {
        Self {
            inner,
            form,
            places: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this line is written, and which counts are due.
    fn look(&self, metadata: &'static Metadata<'static>, now: Instant) -> (bool, Vec<HeldBack>) {
        let mut places = self.places.lock();
        let mut due = Vec::new();
        places.retain(|_, place| {
            let over = now.saturating_duration_since(place.since) >= WINDOW;
            if over && place.seen > BURST {
                due.push(HeldBack {
                    metadata: place.metadata,
                    lines: place.seen - BURST,
                });
            }
            !over
        });
        let place = places.entry(metadata.callsite()).or_insert_with(|| Place {
            metadata,
            since: now,
            seen: 0,
        });
        place.seen += 1;
        (place.seen <= BURST, due)
    }

    fn tell(&self, writer: &mut Writer<'_>, held: &HeldBack) -> fmt::Result {
        let (level, target, lines) = (held.metadata.level(), held.metadata.target(), held.lines);
        let place = format_args!(
            "{}:{}",
            held.metadata.file().unwrap_or("?"),
            held.metadata.line().unwrap_or(0)
        );
        match self.form {
            Form::Text => {
                SystemTime.format_time(writer)?;
                writeln!(
                    writer,
                    " {level:>5} {target}: … {lines} more like those from {place}"
                )
            }
            // Level, target and place hold no character that JSON would escape: they are names of our own code.
            Form::Json => {
                writer.write_str(&head(Channel::of_place(held.metadata), execution()))?;
                write!(writer, r#""timestamp":""#)?;
                SystemTime.format_time(writer)?;
                writeln!(
                    writer,
                    r#"","level":"{level}","target":"{target}","fields":{{"message":"… {lines} more like those from {place}","held_back":{lines}}}}}"#
                )
            }
        }
    }
}

impl<S, N, F> FormatEvent<S, N> for Calm<F>
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
        let metadata = event.metadata();
        if *metadata.level() <= Level::WARN {
            let (written, due) = self.look(metadata, Instant::now());
            for held in &due {
                self.tell(&mut writer, held)?;
            }
            if !written {
                return Ok(());
            }
        }
        self.inner.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex as StdMutex},
    };
    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    #[derive(Clone, Default)]
    struct Sink(Arc<StdMutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn fail(n: u32) {
        tracing::warn!(n, "call {n} failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_a_few_lines_and_a_count() {
        let sink = Sink::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(sink.clone())
            .fmt_fields(tracing_subscriber::fmt::format::JsonFields::new())
            .event_format(Calm::new(tracing_subscriber::fmt::format().json(), Form::Json));
        let _set = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));

        (0..5_000).for_each(fail);
        tracing::info!("work goes on");
        tokio::time::advance(WINDOW).await;
        tracing::error!("another trouble");
        fail(5_000);

        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 20 + 1 + 1 + 1 + 1, "{text}");
        assert_eq!(lines[21]["fields"]["held_back"], 4_980);
        assert_eq!(lines[21]["level"], "WARN");
        assert!(lines[21]["timestamp"].as_str().unwrap().contains('T'));
        assert_eq!(lines[22]["fields"]["message"], "another trouble");
        assert_eq!(lines[23]["fields"]["n"], 5_000);
    }
}
