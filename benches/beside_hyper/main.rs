//! usherd beside the limit: a bare hyper server that sends the same commands to the same Redis, in the same run.
//!
//! `cargo bench --bench beside_hyper` prints a table; names behind `--` choose rows (`-- get create`). What each kind of
//! request does to Redis is recorded between a real daemon and its server, so that nothing has to be kept in step. Then
//! bare server, usherd on that Redis and usherd on the embedded store take turns. Only ratios of neighbours are kept:
//! the machine and whatever else it does concern both.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are what this is run for")]

mod bare;
#[path = "../../tests/support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod daemon;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "what only the other benchmark needs")]
mod load;
mod recorder;
#[path = "../../tests/support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod redis_server;
mod script;
mod workload;

use std::collections::BTreeMap;
use std::time::Duration;

use bare::Bare;
use daemon::{Daemon, Store};
use figures::Figure;
use load::{Clients, Connection, Turn};
use recorder::Recorder;
use script::{Recording, Script};
use workload::{CONNECTIONS, Scene, Side, Workload};

/// Each server's turns for each row, and how long one is.
const ROUNDS: usize = 15;
const TURN: Duration = Duration::from_millis(500);
/// Between turns, so that what one leaves to do is not counted to the next.
const PAUSE: Duration = Duration::from_millis(200);
/// The kernel counts processor time in these.
const TICKS_PER_SECOND: f64 = 100.0;

/// No mail worker in the way, and no limit.
const SETTINGS: [(&str, &str); 2] = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_LIMITS__SCIM", "off")];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [word, redis, scripts] if word == bare::SERVE => bare::serve(redis, scripts),
        wanted => compare(wanted),
    }
}

fn compare(wanted: &[String]) {
    let unknown = wanted.iter().find(|name| Workload::ALL.iter().all(|workload| workload.name() != **name));
    assert!(unknown.is_none(), "there is no {unknown:?}: choose of get, filter, list, patch, member, create");
    let daemon = Daemon::start(Store::Redis, &SETTINGS);
    let embedded = Daemon::start(Store::Embedded, &SETTINGS);
    let (scene, embedded_scene) = (Scene::set(&daemon), Scene::set(&embedded));
    let scripts = record(&daemon, &scene);
    let bare = Bare::start(&scripts, daemon.redis().port, daemon.directory());
    let servers = [
        Server { scene: &scene, side: Side::Bare, port: bare.port, process: bare.id() },
        Server { scene: &scene, side: Side::Usherd, port: daemon.port, process: daemon.process() },
        Server { scene: &embedded_scene, side: Side::Usherd, port: embedded.port, process: embedded.process() },
    ];
    println!("| request | Redis commands, by trip | requests | processor time | embedded beside Redis |");
    println!("|---|---|---|---|---|");
    for workload in Workload::ALL.into_iter().filter(|it| wanted.is_empty() || wanted.iter().any(|n| n == it.name())) {
        let [bare, redis, embedded] = measure(workload, &servers);
        println!(
            "| {} | {} | {} | {} | {} |",
            workload.title(),
            scripts[workload.scripts()[0]].trips(),
            Figure::of_ratios(&redis.rates, &bare.rates),
            Figure::of_ratios(&redis.costs, &bare.costs),
            Figure::of_ratios(&embedded.rates, &redis.rates),
        );
    }
}

/// Sends each kind of request twice through a recorder.
fn record(daemon: &Daemon, scene: &Scene) -> BTreeMap<String, Script> {
    let recorder = Recorder::before(daemon.redis().port);
    let url = format!("redis://127.0.0.1:{}", recorder.port);
    let replica = daemon.replica("recorded", &[("USHERD_STORE__URL", &url)]);
    let mut connection = Connection::open(replica.port);
    // A new connection sends the scripts of its first commits in full, and a token's first use is noted.
    let mut send = |workload: Workload, number: usize| {
        let ask = workload.ask(scene, Side::Recorded, Turn { connection: 0, number });
        let wire = scene.wire(replica.port, &ask);
        let (answer, trips) = recorder.during(|| connection.ask(&wire));
        (ask.script, Recording { subject: ask.subject, trips }, answer)
    };
    send(Workload::Create, 0);
    let mut scripts = BTreeMap::new();
    for workload in Workload::ALL {
        // Even, since a member joins at even numbers and leaves at odd ones.
        let mut number = 2;
        while workload.scripts().iter().any(|name| !scripts.contains_key(*name)) {
            assert!(number < 40, "no two recordings of {} agree", workload.title());
            let count = workload.scripts().len();
            let firsts: Vec<_> = (0..count).map(|more| send(workload, number + more)).collect();
            for (more, (name, first, _)) in firsts.into_iter().enumerate() {
                let (_, second, answer) = send(workload, number + count + more);
                let script = Script::of(&first, &second, answer.status, answer.body);
                scripts.extend(script.map(|script| (name.to_owned(), script)));
            }
            number += 2 * count;
        }
    }
    scripts
}

struct Server<'a> {
    scene: &'a Scene,
    side: Side,
    port: u16,
    process: u32,
}

/// Of one server, a value for each turn.
#[derive(Default)]
struct Measured {
    /// Requests in a second.
    rates: Vec<f64>,
    /// Processor time of the server process for each request.
    costs: Vec<f64>,
}

fn measure(workload: Workload, servers: &[Server<'_>; 3]) -> [Measured; 3] {
    let mut clients = servers.each_ref().map(|server| Clients::connect(server.port, CONNECTIONS));
    let mut measured: [Measured; 3] = Default::default();
    for round in 0..=ROUNDS {
        for ((server, clients), measured) in servers.iter().zip(&mut clients).zip(&mut measured) {
            let request = |turn| server.scene.wire(server.port, &workload.ask(server.scene, server.side, turn));
            let before = processor_time(server.process);
            let rate = clients.ask_for(TURN, &request);
            let spent = processor_time(server.process) - before;
            std::thread::sleep(PAUSE);
            // The first turn fills caches.
            if round > 0 {
                measured.rates.push(rate);
                measured.costs.push(spent / (rate * TURN.as_secs_f64()));
            }
        }
    }
    measured
}

/// Seconds that a process has had of all processors (proc(5), `utime` and `stime`).
fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field is a name in brackets.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..=12].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    ticks as f64 / TICKS_PER_SECOND
}
