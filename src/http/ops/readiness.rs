//! Whether this replica should get traffic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Failures in a row that a replica which was ready is forgiven: at this one it is not.
const FAILURES_TO_UNREADY: u32 = 3;
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// Before the first success, so that a start is noticed soon.
const CHECK_EVERY_AT_START: Duration = Duration::from_millis(200);

/// The answer of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Ready,
    /// Ready, though the last check failed for this reason.
    ReadyDespite(String),
    NotReady(String),
}

impl Verdict {
    pub fn is_ready(&self) -> bool {
        match self {
            Verdict::Ready | Verdict::ReadyDespite(_) => true,
            Verdict::NotReady(_) => false,
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Verdict::Ready => None,
            Verdict::ReadyDespite(reason) | Verdict::NotReady(reason) => Some(reason),
        }
    }
}

/// The latches behind the verdict.
#[derive(Debug)]
pub struct Readiness {
    state: Mutex<State>,
    shutdown: CancellationToken,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    was_ready: bool,
    failures: u32,
    last_failure: Option<String>,
}

impl Readiness {
    /// From the moment `shutdown` is cancelled, the verdict is "draining".
    pub fn new(shutdown: CancellationToken, metrics: Arc<Metrics>) -> Self {
        Readiness { state: Mutex::default(), shutdown, metrics }
    }

    /// Bootstrap and migrations are done; before this nothing is ready.
    pub fn started(&self) {
        self.state().started = true;
    }

    pub fn has_started(&self) -> bool {
        self.state().started
    }

    /// One result of the store's check; `Err` says what to do about it.
    pub fn observe(&self, result: Result<(), String>) {
        let mut state = self.state();
        match result {
            Ok(()) => {
                if state.failures >= FAILURES_TO_UNREADY {
                    tracing::info!("the store answers again");
                }
                state.was_ready = true;
                state.failures = 0;
                state.last_failure = None;
            }
            Err(reason) => {
                if state.last_failure.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "the store's check failed");
                }
                state.failures = state.failures.saturating_add(1);
                state.last_failure = Some(reason);
            }
        }
        drop(state);
        self.metrics.ready(self.verdict().is_ready());
    }

    pub fn verdict(&self) -> Verdict {
        if self.shutdown.is_cancelled() {
            return Verdict::NotReady("draining: this replica is shutting down".to_owned());
        }
        let state = self.state();
        let forgiven = state.was_ready && state.failures < FAILURES_TO_UNREADY;
        match &state.last_failure {
            Some(reason) if !(forgiven && state.started) => Verdict::NotReady(reason.clone()),
            Some(reason) => Verdict::ReadyDespite(reason.clone()),
            None if !state.started => Verdict::NotReady("starting".to_owned()),
            None if !state.was_ready => Verdict::NotReady("the store has not been checked yet".to_owned()),
            None => Verdict::Ready,
        }
    }

    /// Asks `check` for ever, until `stop`. It should end by itself within a few seconds.
    pub async fn keep_checking<C, R>(&self, check: C, stop: CancellationToken)
    where
        C: Fn() -> R,
        R: Future<Output = Result<(), String>>,
    {
        while let Some(result) = stop.run_until_cancelled(check()).await {
            self.observe(result);
            let pause = if self.state().was_ready { CHECK_EVERY } else { CHECK_EVERY_AT_START };
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
    }

    /// Each change leaves the latches whole, so a panic elsewhere does not spoil them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readiness() -> (Readiness, CancellationToken) {
        let shutdown = CancellationToken::new();
        (Readiness::new(shutdown.clone(), Arc::new(Metrics::new())), shutdown)
    }

    fn away() -> Result<(), String> {
        Err("the store is away".to_owned())
    }

    #[test]
    fn nothing_is_ready_before_the_start_is_done_and_the_store_has_answered() {
        let (readiness, _) = readiness();
        assert_eq!(readiness.verdict(), Verdict::NotReady("starting".to_owned()));
        readiness.observe(Ok(()));
        assert_eq!(readiness.verdict(), Verdict::NotReady("starting".to_owned()));
        readiness.started();
        assert_eq!(readiness.verdict(), Verdict::Ready);
    }

    #[test]
    fn before_it_was_ever_ready_one_failure_is_enough() {
        let (readiness, _) = readiness();
        readiness.started();
        readiness.observe(away());
        assert_eq!(readiness.verdict(), Verdict::NotReady("the store is away".to_owned()));
    }

    #[test]
    fn a_ready_replica_is_forgiven_two_failures_and_one_success_makes_it_ready_again() {
        let (readiness, _) = readiness();
        readiness.started();
        readiness.observe(Ok(()));
        readiness.observe(away());
        readiness.observe(away());
        assert_eq!(readiness.verdict(), Verdict::ReadyDespite("the store is away".to_owned()));
        readiness.observe(away());
        assert_eq!(readiness.verdict(), Verdict::NotReady("the store is away".to_owned()));
        readiness.observe(Ok(()));
        assert_eq!(readiness.verdict(), Verdict::Ready);
    }

    #[test]
    fn a_draining_replica_is_not_ready_at_once() {
        let (readiness, shutdown) = readiness();
        readiness.started();
        readiness.observe(Ok(()));
        shutdown.cancel();
        assert_eq!(readiness.verdict().reason(), Some("draining: this replica is shutting down"));
        assert!(!readiness.verdict().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_check_is_repeated_soon_at_the_start_and_calmly_afterwards() {
        let (readiness, _) = readiness();
        readiness.started();
        let stop = CancellationToken::new();
        let answers = Mutex::new(vec![Ok(()), Ok(()), away(), away()]);
        let started = tokio::time::Instant::now();
        let asked_at = Mutex::new(Vec::new());
        let check = async || {
            asked_at.lock().unwrap().push(started.elapsed().as_millis());
            let mut answers = answers.lock().unwrap();
            let answer = answers.pop().unwrap();
            if answers.is_empty() {
                stop.cancel();
            }
            answer
        };
        readiness.keep_checking(check, stop.clone()).await;
        assert_eq!(*asked_at.lock().unwrap(), [0, 200, 400, 2400]);
    }
}
