//! Whether the process still makes progress: long-lived tasks say so, and silence is noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the runtime's own pulse beats.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A runtime that does not run a one-line task for so long is stuck.
const RUNTIME_SILENCE: Duration = Duration::from_secs(30);

/// The tasks that must make progress for the process to count as alive.
#[derive(Debug)]
pub struct Watchdog {
    epoch: Instant,
    watched: Mutex<Vec<Watched>>,
}

#[derive(Debug)]
struct Watched {
    task: &'static str,
    max_silence: Duration,
    last_beat_millis: Arc<AtomicU64>,
}

/// One task's sign of life. Dropping it ends the watch: a task that ended is somebody else's worry.
#[derive(Debug)]
pub struct Pulse {
    epoch: Instant,
    last_beat_millis: Arc<AtomicU64>,
}

impl Pulse {
    pub fn beat(&self) {
        self.last_beat_millis.store(millis(self.epoch.elapsed()), Ordering::Relaxed);
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}

impl Watchdog {
    pub fn new() -> Self {
        Watchdog { epoch: Instant::now(), watched: Mutex::default() }
    }

    /// Watches `task` from now on; it must beat at least every `max_silence`.
    pub fn watch(&self, task: &'static str, max_silence: Duration) -> Pulse {
        let last_beat_millis = Arc::new(AtomicU64::new(millis(self.epoch.elapsed())));
        let watched = Watched { task, max_silence, last_beat_millis: Arc::clone(&last_beat_millis) };
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).push(watched);
        Pulse { epoch: self.epoch, last_beat_millis }
    }

    /// The tasks that have been silent for too long.
    pub fn silent(&self) -> Vec<&'static str> {
        let now = millis(self.epoch.elapsed());
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|watched| Arc::strong_count(&watched.last_beat_millis) > 1);
        watched
            .iter()
            .filter(|watched| {
                let silence = now.saturating_sub(watched.last_beat_millis.load(Ordering::Relaxed));
                silence > millis(watched.max_silence)
            })
            .map(|watched| watched.task)
            .collect()
    }

    /// The runtime's own pulse, until `stop`.
    pub async fn beat_until(&self, stop: CancellationToken) {
        let pulse = self.watch("runtime", RUNTIME_SILENCE);
        while stop.run_until_cancelled(tokio::time::sleep(BEAT_EVERY)).await.is_some() {
            pulse.beat();
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_is_silent_only_past_its_own_span_and_until_its_next_beat() {
        let watchdog = Watchdog::new();
        let mails = watchdog.watch("mails", Duration::from_secs(60));
        let timers = watchdog.watch("timers", Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(watchdog.silent(), ["timers"]);
        timers.beat();
        assert_eq!(watchdog.silent(), Vec::<&str>::new());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(watchdog.silent(), ["mails", "timers"]);
        drop((mails, timers));
        assert_eq!(watchdog.silent(), Vec::<&str>::new(), "ended tasks are not watched");
    }
}
