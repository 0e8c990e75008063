//! The nightly reconciliation of a large account, while requests come in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use usherd::directory::keys;
use usherd::directory::ticks::LastRun;
use usherd::domain::time::Timestamp;
use usherd::store::{Settings, Space, Store};

use crate::daemon::Daemon;
use crate::load::{Answer, ask, percentile};
use crate::redis_server::RedisServer;
use crate::{fill, process};

/// So many connections ask all the time.
const CONNECTIONS: usize = 2;
/// So many runs are looked at.
const RUNS: usize = 3;
const LOOK: Duration = Duration::from_millis(20);

pub fn run(runtime: &Runtime, users: usize) {
    println!("# reconcile: {users} users in one account, {CONNECTIONS} connections with 100 requests/s each");
    let redis = Arc::new(RedisServer::with(&["--appendonly", "no"]));
    let overrides = [("USHERD_JOBS__RECONCILE", "0 * * * * *"), ("USHERD_INVITATIONS__REMIND_AFTER", "off")];
    let mut daemon = Daemon::start_on(Some(redis.clone()), &overrides);
    let model = fill::model(&daemon);
    assert_eq!(daemon.stop(), 0);
    let (store, space, people) = runtime.block_on(async {
        let settings = Settings { deadline: Duration::from_secs(30), ..redis.settings() };
        let store = Store::open(&settings).await.unwrap();
        let space = Space::Account("default".parse().unwrap());
        // On a tick of the schedule, so that reconciliation finds nothing to repair.
        let later = Timestamp::from_millis(store.now().as_millis() / 5_000 * 5_000) + Duration::from_secs(6 * 86_400);
        let people = fill::people(&store, &space, model, 1..users + 1, |_| later).await;
        (store, space, people)
    });
    daemon.restart();
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let asking: Vec<_> = people
            .chunks(users.div_ceil(CONNECTIONS))
            .map(|some| tokio::spawn(ask(daemon.port, daemon.token().to_owned(), some.to_vec(), stop.clone())))
            .collect();
        let watched = watch(&daemon, &store, &space).await;
        stop.cancel();
        let mut answers = Vec::new();
        for asking in asking {
            answers.extend(asking.await.unwrap());
        }
        watched.print(&answers);
    });
}

struct Watched {
    runs: Vec<(Instant, Instant)>,
    /// What the last run said.
    result: String,
    /// Resident memory in MB before the first run, and the most during one.
    rest: f64,
    most: f64,
    /// Processor time of the daemon during the runs.
    cpu: Duration,
}

/// Waits for some runs.
async fn watch(daemon: &Daemon, store: &Store, space: &Space) -> Watched {
    let id = daemon.process();
    let mut watched = Watched { runs: Vec::new(), result: String::new(), rest: 0.0, most: 0.0, cpu: Duration::ZERO };
    let mut busy: Option<(Instant, Duration)> = None;
    while watched.runs.len() < RUNS {
        tokio::time::sleep(LOOK).await;
        let resident = process::resident(id);
        let run = last_run(store, space).await;
        match (run.filter(|run| run.busy_until.is_some()), busy) {
            (Some(_), None) => busy = Some((Instant::now(), process::cpu(id))),
            (None, Some((began, cpu))) => {
                watched.runs.push((began, Instant::now()));
                watched.cpu += process::cpu(id) - cpu;
                watched.result = last_run(store, space).await.and_then(|run| run.result).unwrap_or_default();
                busy = None;
            }
            (Some(_), Some(_)) => watched.most = watched.most.max(resident),
            (None, None) if watched.runs.is_empty() => watched.rest = resident,
            (None, None) => {}
        }
    }
    watched
}

async fn last_run(store: &Store, space: &Space) -> Option<LastRun> {
    let document = store.get(space, &[keys::job("reconcile")]).await.unwrap().pop().flatten()?;
    serde_json::from_slice(&document.body).ok()
}

impl Watched {
    fn print(&self, answers: &[Answer]) {
        let (during, beside): (Vec<Answer>, Vec<Answer>) = answers
            .iter()
            .partition(|answer| self.runs.iter().any(|(began, ended)| answer.began >= *began && answer.began < *ended));
        println!("{}", self.result);
        assert!(!self.result.contains("repaired"), "the store that was filled does not agree with itself");
        let took: Vec<String> =
            self.runs.iter().map(|(began, ended)| format!("{:.1} s", (*ended - *began).as_secs_f64())).collect();
        println!("{} runs took {}, {:.1} s of CPU in all", took.len(), took.join(", "), self.cpu.as_secs_f64());
        println!(
            "memory {:.0} MB at rest, {:.0} MB at the most: {:.0} MB extra (target below 100)",
            self.rest,
            self.most,
            self.most - self.rest
        );
        let (rest, busy) = (percentile(&beside, 99.0), percentile(&during, 99.0));
        for (name, answers) in [("beside", &beside), ("during", &during)] {
            let at = |share| percentile(answers, share);
            println!("{} requests {name}: p50 {:.2} ms, p99 {:.2} ms", answers.len(), at(50.0), at(99.0));
        }
        println!("p99 during to beside: {:.2} (target at most 2)", busy / rest);
    }
}
