//! Lines on their way to standard error, which may be a pipe that nobody reads.
//!
//! A write to a full pipe blocks, and with it whichever thread had something to say: in the end all of them, the one that
//! would have said so included. So a line is put into a bounded queue and a thread of its own writes it. When the queue is
//! full the line is lost and counted, and the count is written as soon as there is room.
//!
//! `tracing-appender` does the same and was looked at. Its guard prints to standard output when the queue is full at the
//! end, which is often the very pipe that is stuck, so that the process would never end; it can be asked to write out what
//! waits only by dropping it, which the watchdog cannot; and its count of lost lines has to be polled. What is needed is
//! this file.

use super::channel::Channel;
use super::execution::execution;
use super::storm::Form;
use super::structured::head;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

/// How many lines wait: a burst of a whole tree that fails at once, in one or two megabytes.
const WAITING: usize = 8_192;
/// How often a full queue is tried again by somebody who wants to see it written.
const TRY_EVERY: Duration = Duration::from_millis(5);

enum Message {
    Line(Vec<u8>),
    /// Everything before this has been written when it is answered.
    Flush(SyncSender<()>),
}

/// Where lines are put. Cheap to clone; the thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

// === impl Lines ===

impl Lines {
    /// Starts the thread that writes to `out`.
    pub(super) fn to(out: impl Write + Send + 'static, form: Form) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let lines = Self {
            queue,
            lost: Arc::clone(&lost),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(out, &waiting, &lost, form))?;
        Ok(lines)
    }

    /// Waits until everything that was put here before has been written, at most `limit`; false when it was not.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let (done, told) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match self.queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(_) => return false,
            }
            thread::sleep(TRY_EVERY);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        told.recv_timeout(left).is_ok()
    }
}

impl Write for Lines {
    /// Takes a whole line, as the log's layer hands them over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn write_out(mut out: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64, form: Form) {
    while let Ok(message) = waiting.recv() {
        match message {
            Message::Line(line) => {
                // A line that cannot be written is lost, and nothing else.
                drop(out.write_all(&line));
                let lines = lost.swap(0, Ordering::Relaxed);
                if lines > 0 {
                    drop(out.write_all(note(lines, form).as_bytes()));
                }
            }
            // Whoever asked may have stopped waiting.
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

fn note(lines: u64, form: Form) -> String {
    let mut text = String::new();
    let head = head(Channel::Errors, execution());
    let message = format_args!("… {lines} lines were lost here: whoever reads this log was too slow");
    let mut now = String::new();
    // Writing into a String cannot fail.
    let _written = SystemTime.format_time(&mut Writer::new(&mut now));
    let _written = match form {
        Form::Text => writeln!(text, "{now}  WARN zaikoban::telemetry: {message}"),
        Form::Json => writeln!(
            text,
            r#"{head}"timestamp":"{now}","level":"WARN","target":"zaikoban::telemetry","fields":{{"message":"{message}","lost":{lines}}}}}"#
        ),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    /// A pipe: stuck until its gate is opened.
    #[derive(Clone, Default)]
    struct Pipe {
        gate: Arc<Mutex<()>>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _open = self.gate.lock();
            self.read.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_time() {
        let pipe = Pipe::default();
        let mut lines = Lines::to(pipe.clone(), Form::Json).unwrap();
        let shut = pipe.gate.lock();
        let most = 3 * WAITING;
        for n in 0..most {
            lines.write_all(format!("{{\"n\":{n}}}\n").as_bytes()).unwrap();
        }
        assert!(!lines.flush(Duration::from_millis(50)), "nothing can be written");
        drop(shut);
        assert!(lines.flush(Duration::from_secs(10)));

        let text = String::from_utf8(pipe.read.lock().clone()).unwrap();
        let read: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let lost: u64 = read.iter().filter_map(|l| l["fields"]["lost"].as_u64()).sum();
        let written = read.iter().filter(|l| l["n"].is_u64()).count();
        assert!(written >= WAITING, "{written}");
        assert_eq!(
            u64::try_from(written).unwrap() + lost,
            u64::try_from(most).unwrap()
        );
        lines.write_all(b"{\"n\":\"last\"}\n").unwrap();
        assert!(lines.flush(Duration::from_secs(10)));
        assert!(pipe.read.lock().ends_with(b"{\"n\":\"last\"}\n"));
    }
}
