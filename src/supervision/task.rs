//! Tasks that somebody owns.

use super::panics::{Panic, guarded_future, install_hook};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// Why a task gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Its body panicked.
    #[error("task `{name}` panicked at {location}: {message}")]
    Panicked {
        /// The name it was spawned with.
        name: &'static str,
        /// The panic's text.
        message: String,
        /// The panic's place.
        location: String,
    },
    /// It was aborted, or its runtime ended.
    #[error("task `{name}` was aborted")]
    Aborted {
        /// The name it was spawned with.
        name: &'static str,
    },
}

/// A task with an owner: aborted when the owner lets it go, awaited for its value, its panic an error.
///
/// # Cancel safety
/// Polling it again after a dropped `&mut` await is fine. Dropping the task itself ends it at its next await, unless it
/// was made to [run to its end](Self::to_its_end).
#[must_use = "dropping a task aborts it"]
pub struct OwnedTask<T> {
    name: &'static str,
    handle: JoinHandle<Result<T, Panic>>,
    abort_on_drop: bool,
}

/// Spawns a task on the runtime of the caller; a panic in it is logged. The only way to spawn in this house: an unowned task outlives shutdown
/// and hides its panic.
///
/// # Panics
/// Outside of a tokio runtime.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that spawns, with an owner"
)]
pub fn spawn_owned<F>(name: &'static str, fut: F) -> OwnedTask<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    install_hook();
    OwnedTask {
        name,
        handle: tokio::spawn(async move {
            let result = guarded_future(fut).await;
            // Here, because nobody may be left to be told; the owner gets the error as a value.
            if let Err(Panic { message, location }) = &result {
                tracing::error!(
                    task.name = name, panic.location = %location,
                    "Task `{name}` panicked at {location}: {message}"
                );
            }
            result
        }),
        abort_on_drop: true,
    }
}

// === impl OwnedTask ===

impl<T> OwnedTask<T> {
    /// Lets the task run to its end although its owner may go: for work that must not be cut in two, such as a
    /// transaction. Whoever uses this bounds the work by a time limit of its own.
    pub fn to_its_end(mut self) -> Self {
        self.abort_on_drop = false;
        self
    }

    /// The name it was spawned with.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Ends it at its next await.
    pub fn abort(&self) {
        self.handle.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

impl<T> Future for OwnedTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        Pin::new(&mut self.handle).poll(cx).map(|joined| match joined {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(panic)) => Err(TaskError::Panicked {
                name,
                message: panic.message,
                location: panic.location,
            }),
            Err(_) => Err(TaskError::Aborted { name }),
        })
    }
}

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        if self.abort_on_drop {
            self.handle.abort();
        }
    }
}

impl<T> fmt::Debug for OwnedTask<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedTask")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_task_gives_its_value() {
        assert_eq!(spawn_owned("sum", async { 1 + 1 }).await, Ok(2));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_with_name_text_and_place() {
        let error = spawn_owned("sum", async { panic!("no") }).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`sum`") && text.contains("task.rs:") && text.ends_with(": no"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let (witness, seen) = (Arc::new(()), oneshot::channel::<()>());
        let held = Arc::clone(&witness);
        let task = spawn_owned("waits", async move {
            let _held = held;
            let _ = seen.1.await;
        });
        tokio::task::yield_now().await;
        drop(task);
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&witness), 1);
    }

    #[tokio::test]
    async fn a_task_that_runs_to_its_end_outlives_its_owner() {
        let (tell, told) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let task = spawn_owned("transaction", async move {
            let _ = gone.await;
            let _ = tell.send("committed");
        });
        drop(task.to_its_end());
        let _ = go.send(());
        assert_eq!(told.await, Ok("committed"));
    }
}
