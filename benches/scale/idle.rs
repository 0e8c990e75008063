//! Many accounts and nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use usherd::store::Settings;

use crate::daemon::Daemon;
use crate::redis_server::RedisServer;
use crate::{fill, process};

/// After a start, jobs and timers are looked at for the first time.
const SETTLE: Duration = Duration::from_secs(45);

pub fn run(runtime: &Runtime, accounts: usize, seconds: usize) {
    println!("# idle: {accounts} accounts with an admin and a pending invitation each");
    let redis = Arc::new(RedisServer::with(&["--appendonly", "no"]));
    let mut daemon = Daemon::start_on(Some(redis.clone()), &[]);
    fill::model(&daemon);
    assert_eq!(daemon.stop(), 0);
    runtime.block_on(async {
        let settings = Settings { deadline: Duration::from_secs(30), ..redis.settings() };
        let store = usherd::store::Store::open(&settings).await.unwrap();
        fill::accounts(&store, accounts).await;
    });
    daemon.restart();
    let id = daemon.process();
    std::thread::sleep(SETTLE);
    println!("the first {} s after the start took {:.2} s of CPU", SETTLE.as_secs(), process::cpu(id).as_secs_f64());
    let (began, before, redis_before) = (Instant::now(), process::cpu(id), process::cpu(process::of_redis(&redis)));
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let took = began.elapsed().as_secs_f64();
    let share = |cpu: Duration| cpu.as_secs_f64() * 100.0 / took;
    println!("CPU of the daemon {:.2} % of a core (target below 1)", share(process::cpu(id) - before));
    println!(
        "CPU of Redis {:.2} %; RSS of the daemon {:.0} MB",
        share(process::cpu(process::of_redis(&redis)) - redis_before),
        process::resident(id)
    );
}
