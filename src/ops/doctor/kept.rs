//! A good answer that is kept for a while: the time-table looks every five minutes, and some services count or mind each
//! question more than what they answer changes.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long a good answer is good for.
const HOLDS: Duration = Duration::from_secs(3_600);

/// The last good answer.
#[derive(Debug)]
pub struct Kept<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Kept<T> {
    /// What was answered within the last hour, or what `ask` answers now. A failure is not kept.
    pub(super) async fn or_ask<E>(&self, ask: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.while_true(|_| true, ask).await
    }

    /// The same, as long as what is kept is still true.
    pub(super) async fn while_true<E>(
        &self,
        is_true: impl Fn(&T) -> bool,
        ask: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let kept = self.0.lock().clone();
        if let Some((_, answer)) = kept.filter(|(at, answer)| at.elapsed() < HOLDS && is_true(answer)) {
            return Ok(answer);
        }
        let answer = ask.await?;
        *self.0.lock() = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_good_answer_holds_for_an_hour_and_a_failure_not_at_all() {
        let kept = Kept::default();
        assert_eq!(kept.or_ask(async { Err::<i32, _>("away") }).await, Err("away"));
        assert_eq!(kept.or_ask(async { Ok::<_, ()>(1) }).await, Ok(1));
        tokio::time::advance(Duration::from_secs(3_599)).await;
        assert_eq!(kept.or_ask(async { Ok::<_, ()>(2) }).await, Ok(1));
        let other = Kept::default();
        for (asked, answer) in [(1, 1), (2, 1), (3, 1)] {
            let seen = other.while_true(|kept| *kept != 1 || asked == 2, async move { Ok::<_, ()>(asked) });
            assert_eq!(seen.await.is_ok_and(|seen| seen == answer), asked < 3);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(kept.or_ask(async { Ok::<_, ()>(3) }).await, Ok(3));
    }
}
