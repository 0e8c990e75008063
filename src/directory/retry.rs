//! Patience with other writers.

use std::time::Duration;

use tokio::time::Instant;

use super::entropy;
use super::error::Error;

/// Pauses between attempts, a little longer each time and at random, so that many writers to one document do not meet
/// again; until the request's deadline.
pub(super) struct Retry {
    deadline: Instant,
    longest: Duration,
}

impl Retry {
    pub fn within(deadline: Duration) -> Self {
        Retry { deadline: Instant::now() + deadline, longest: Duration::from_millis(2) }
    }

    /// # Errors
    /// [`Error::Unavailable`] when no time is left for another attempt.
    pub async fn pause(&mut self) -> Result<(), Error> {
        let pause = self.longest.mul_f64(entropy::jitter());
        if Instant::now() + pause >= self.deadline {
            let reason = "too many writers to one document at once".to_owned();
            return Err(Error::Unavailable { reason, retry_after: Duration::from_secs(1) });
        }
        tokio::time::sleep(pause).await;
        self.longest = (self.longest * 2).min(Duration::from_millis(100));
        Ok(())
    }
}
