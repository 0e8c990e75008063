//! Everybody's invitation is due in the same minute.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use usherd::domain::time::Timestamp;
use usherd::store::{Settings, Space};

use crate::daemon::Daemon;
use crate::redis_server::RedisServer;
use crate::{bare, fill, process};

const MINUTE: Duration = Duration::from_secs(60);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// So many commits are measured without the daemon, before and behind the drain.
const BARE: usize = 20_000;
const TIMERS: &str = "usherd:{default}:timers";

/// They expire without a mail: the drain itself.
pub fn expiries(runtime: &Runtime, users: usize) {
    println!("# drain: {users} invitations due in one minute expire, on one redis-server without persistence");
    let mut stage = Stage::build(&[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]);
    let model = fill::model(&stage.daemon);
    let (sample, bare_people) = runtime.block_on(async {
        let (store, space) = (stage.store().await, stage.space());
        let now = store.now();
        let overheard = tokio::spawn(bare::overhear(stage.redis.port, fill::named(1)));
        fill::people(&store, &space, model, 1..2, |_| now - Duration::from_secs(600)).await;
        let sample = overheard.await.unwrap();
        let bare_people = fill::people(&store, &space, model, 2..2 + 2 * BARE, |_| now + WEEK).await;
        (sample, bare_people)
    });
    assert_eq!(stage.daemon.stop(), 0);
    let before = runtime.block_on(async {
        let (store, began) = (stage.store().await, Instant::now());
        let first = 2 + 2 * BARE;
        fill::people(&store, &stage.space(), model, first..first + users, spread(store.now(), first, users)).await;
        println!("filled in {:.0} s; Redis holds {}", began.elapsed().as_secs_f64(), stage.memory());
        sample.rate(stage.redis.port, &bare_people[..BARE]).await
    });
    let drained = stage.drain(runtime);
    let after = runtime.block_on(sample.rate(stage.redis.port, &bare_people[BARE..]));
    drained.print();
    let bare = before.max(after);
    println!("bare client, {} bytes a batch: {before:.0}/s before, {after:.0}/s after", sample.bytes());
    println!("ratio to the faster of them: {:.2} (target 0.25)", drained.rate / bare);
    println!("peak RSS {:.0} MB (target below 200)", drained.peak);
}

/// They are renewed, each with a mail into a file.
pub fn mails(runtime: &Runtime, users: usize) {
    println!("# mails: {users} invitations due in one minute are renewed, with a mail each");
    let mut stage = Stage::build(&[("USHERD_MAIL__RATE", "off")]);
    let model = fill::model(&stage.daemon);
    assert_eq!(stage.daemon.stop(), 0);
    runtime.block_on(async {
        let store = stage.store().await;
        fill::people(&store, &stage.space(), model, 1..users + 1, spread(store.now(), 1, users)).await;
    });
    let drained = stage.drain(runtime);
    drained.print();
    assert_eq!(stage.daemon.mails().len(), users + 1, "one each, and that of the model");
    println!("peak RSS {:.0} MB", drained.peak);
}

/// A daemon that is not running yet, and its Redis.
struct Stage {
    daemon: Daemon,
    redis: Arc<RedisServer>,
}

struct Drained {
    timers: usize,
    rate: f64,
    daemon_cpu: Duration,
    redis_cpu: Duration,
    peak: f64,
}

impl Stage {
    fn build(overrides: &[(&str, &str)]) -> Self {
        let redis = Arc::new(RedisServer::with(&["--appendonly", "no"]));
        Stage { daemon: Daemon::start_on(Some(redis.clone()), overrides), redis }
    }

    async fn store(&self) -> usherd::store::Store {
        let settings = Settings { deadline: Duration::from_secs(30), ..self.redis.settings() };
        usherd::store::Store::open(&settings).await.unwrap()
    }

    fn space(&self) -> Space {
        Space::Account("default".parse().unwrap())
    }

    fn memory(&self) -> String {
        let info = self.redis.ask("INFO memory");
        info.lines().find_map(|line| line.strip_prefix("used_memory_human:")).unwrap().to_owned()
    }

    /// Starts the daemon and waits until nothing is due any more.
    fn drain(&mut self, runtime: &Runtime) -> Drained {
        let mut connection = runtime.block_on(bare::connect(self.redis.port));
        let mut due = || runtime.block_on(due(&mut connection));
        let timers = due();
        let redis_before = process::cpu(process::of_redis(&self.redis));
        self.daemon.run();
        let began = Instant::now();
        while due() == timers {
            std::thread::sleep(Duration::from_millis(1));
        }
        let starting = began.elapsed();
        let (mut left, mut progress) = (timers, Instant::now());
        while left > 0 {
            std::thread::sleep(Duration::from_millis(50));
            let now = due();
            if now < left {
                progress = Instant::now();
            }
            left = now;
            assert!(progress.elapsed() < MINUTE * 2, "nothing happens any more: {}", self.daemon.stderr());
        }
        let took = (began.elapsed() - starting).as_secs_f64();
        println!("the first was settled {:.1} s after the start, the last {took:.1} s later", starting.as_secs_f64());
        let id = self.daemon.process();
        Drained {
            timers,
            rate: timers as f64 / took,
            daemon_cpu: process::cpu(id),
            redis_cpu: process::cpu(process::of_redis(&self.redis)) - redis_before,
            peak: process::peak(id),
        }
    }
}

impl Drained {
    fn print(&self) {
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.timers as f64;
        println!(
            "{} timers, {:.0}/s; CPU of the daemon {:.1} s ({:.0} µs each), of Redis {:.1} s ({:.0} µs each)",
            self.timers,
            self.rate,
            self.daemon_cpu.as_secs_f64(),
            each(self.daemon_cpu),
            self.redis_cpu.as_secs_f64(),
            each(self.redis_cpu),
        );
    }
}

/// When each of so many is due, over the minute that ended a minute ago.
fn spread(now: Timestamp, first: usize, users: usize) -> impl Fn(usize) -> Timestamp {
    move |number| now - 2 * MINUTE + MINUTE.mul_f64((number - first) as f64 / users as f64)
}

/// How many timers are due or claimed; the claims of the bare client belong to nobody's.
async fn due(connection: &mut MultiplexedConnection) -> usize {
    // A claimed timer stands at the end of its lease, some minutes ahead; all others are days ahead.
    let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 3_600_000;
    redis::cmd("ZCOUNT").arg(TIMERS).arg("-inf").arg(soon as u64).query_async(connection).await.unwrap()
}
