//! Waiting for a level, with a limit, never for a while.

use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// Asks `look` again and again until it answers `Some`, at most 30 s.
///
/// # Panics
/// When the limit has passed, naming `what`.
pub async fn until<T, F, Fut>(what: &str, mut look: F) -> T
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(Instant::now() < deadline, "gave up waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
