//! Panics as values: what was said and where, although the unwinding payload knows only the text.
//!
//! A panic hook notes text and place in a thread-local while a guard polls; the guard that catches the panic takes the
//! note, and its group logs it once. Panics outside of any guard (a detached `ResponseFuture`, a door's worker) keep
//! the hook that was there before (the default one, or sentry's), and are logged here when a subscriber listens.

use futures_util::FutureExt;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<u32> = const { Cell::new(0) };
    static NOTE: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// A caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Panic {
    pub(super) message: String,
    pub(super) location: String,
}

/// A panic's text is cut here: it may hold a whole page.
const MAX_MESSAGE_CHARS: usize = 500;

/// Puts the hook in place; the first call counts.
pub(super) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if GUARDED.try_with(|depth| depth.get() > 0).unwrap_or(false) {
                // Failing to note must not panic in a panic: that would abort.
                let _ = NOTE.try_with(|note| {
                    if let Ok(mut note) = note.try_borrow_mut() {
                        *note = Some(Panic::read(info));
                    }
                });
                return;
            }
            if cfg!(test) || !tracing::dispatcher::has_been_set() {
                before(info);
                return;
            }
            let Panic { message, location } = Panic::read(info);
            let thread = std::thread::current();
            let thread = thread.name().unwrap_or("unnamed");
            tracing::error!(
                panic.location = %location, panic.thread = %thread,
                "A task outside of any supervised child panicked at {location} on thread `{thread}`: {message}"
            );
        }));
    });
}

/// Runs `f`, and gives its panic back as a value.
pub(super) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, Panic> {
    GUARDED.with(|depth| depth.set(depth.get() + 1));
    // Unwind safety: what `f` touches is an actor that is thrown away after a panic, or state behind parking_lot
    // mutexes whose critical sections do not panic.
    let result = catch_unwind(AssertUnwindSafe(f));
    GUARDED.with(|depth| depth.set(depth.get() - 1));
    result.map_err(|payload| Panic::taken(&*payload))
}

/// Awaits `fut`, and gives its panic back as a value.
pub(super) async fn guarded_future<F: Future>(fut: F) -> Result<F::Output, Panic> {
    let mut fut = std::pin::pin!(AssertUnwindSafe(fut).catch_unwind());
    std::future::poll_fn(move |cx| {
        GUARDED.with(|depth| depth.set(depth.get() + 1));
        let poll = fut.as_mut().poll(cx);
        GUARDED.with(|depth| depth.set(depth.get() - 1));
        poll
    })
    .await
    .map_err(|payload| Panic::taken(&*payload))
}

// === impl Panic ===

impl Panic {
    fn read(info: &PanicHookInfo<'_>) -> Self {
        let location = info
            .location()
            .map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        Self {
            message: text(info.payload()),
            location,
        }
    }

    /// The note of the hook; without one (`resume_unwind` runs no hook) the payload's text.
    fn taken(payload: &(dyn Any + Send)) -> Self {
        NOTE.with(|note| note.borrow_mut().take())
            .unwrap_or_else(|| Self {
                message: text(payload),
                location: "an unknown place".to_owned(),
            })
    }
}

fn text(payload: &dyn Any) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a value that is no text)");
    text.chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caught_panic_tells_text_and_place() {
        install_hook();
        let line = line!() + 1;
        let caught = guarded(|| panic!("price of {} is {}", "x", -1)).unwrap_err();
        assert_eq!(caught.message, "price of x is -1");
        assert!(
            caught.location.contains(&format!("panics.rs:{line}:")),
            "{}",
            caught.location
        );
    }

    #[test]
    fn a_second_panic_does_not_show_the_firsts_text() {
        install_hook();
        let _ = guarded(|| panic!("first"));
        let caught = guarded(|| std::panic::resume_unwind(Box::new("second"))).unwrap_err();
        assert_eq!(caught.message, "second");
    }

    #[tokio::test]
    async fn a_futures_panic_becomes_a_value() {
        install_hook();
        let caught = guarded_future(async {
            tokio::task::yield_now().await;
            panic!("late");
        });
        assert_eq!(caught.await.unwrap_err().message, "late");
    }
}
