//! Stores to test: an embedded one in a directory of its own, or a redis-server process of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use usherd::domain::ids::CommitId;
use usherd::domain::time::Timestamp;
use usherd::store::{
    Batch, Check, Committed, DocumentKey, Entry, Index, Settings, Space, Store, StoreError, StoreUrl, Write as W,
};
use uuid::Uuid;

/// A redis-server in a directory of its own, killed by its id when it is dropped.
pub struct RedisServer {
    child: Child,
    pub port: u16,
    options: Vec<String>,
    directory: TempDir,
}

impl RedisServer {
    /// A server that loses nothing it has acknowledged.
    pub fn start() -> Self {
        Self::with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A sentinel that watches the primary on this port as `main`, and takes a second to think it dead.
    pub fn sentinel(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        let lines = [
            format!("sentinel monitor main 127.0.0.1 {port} 2"),
            "sentinel down-after-milliseconds main 1000".to_owned(),
            "sentinel failover-timeout main 5000".to_owned(),
        ];
        std::fs::write(&file, lines.join("\n")).unwrap();
        Self::in_directory(directory, &[file.to_str().unwrap(), "--sentinel"])
    }

    pub fn with(options: &[&str]) -> Self {
        Self::in_directory(tempfile::tempdir().unwrap(), options)
    }

    fn in_directory(mut directory: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // A port that is free now may be taken a moment later; then the server ends at once.
        for _ in 0..20 {
            let port = free_port();
            let child = spawn(port, directory.path(), &options);
            let mut server = RedisServer { child, port, options: options.clone(), directory };
            if server.wait_until_it_answers() {
                return server;
            }
            directory = std::mem::replace(&mut server.directory, tempfile::tempdir().unwrap());
            drop(server);
        }
        panic!("redis-server does not start: {}", std::fs::read_to_string(directory.path().join("log")).unwrap());
    }

    /// Whether the server answers; `false` when it has ended.
    fn wait_until_it_answers(&mut self) -> bool {
        eventually(|| match self.child.try_wait().unwrap() {
            Some(_) => Some(false),
            None => self.try_ask("PING").filter(|reply| reply.starts_with("+PONG")).map(|_| true),
        })
    }

    pub fn url(&self) -> StoreUrl {
        format!("redis://127.0.0.1:{}", self.port).parse().unwrap()
    }

    pub fn settings(&self) -> Settings {
        Settings::redis(self.url(), self.directory.path())
    }

    pub async fn store(&self) -> Store {
        Store::open(&self.settings()).await.unwrap()
    }

    /// One inline command on a connection of its own; the first bytes of the reply.
    pub fn ask(&self, command: &str) -> String {
        self.try_ask(command).unwrap_or_else(|| panic!("redis-server answers nothing to {command}"))
    }

    fn try_ask(&self, command: &str) -> Option<String> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        connection.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut reply = [0; 4096];
        let length = connection.read(&mut reply).ok()?;
        Some(String::from_utf8_lossy(&reply[..length]).into_owned())
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port and files.
    pub fn restart(&mut self) {
        self.restart_with(&[]);
        assert!(self.wait_until_it_answers());
    }

    /// As [`Self::restart`], with more options and without waiting.
    pub fn restart_with(&mut self, more: &[&str]) {
        let options: Vec<String> =
            self.options.iter().map(String::as_str).chain(more.iter().copied()).map(str::to_owned).collect();
        self.child = spawn(self.port, self.directory.path(), &options);
    }

    /// Throws its files away, as a lost volume does.
    pub fn lose_volume(&mut self) {
        self.directory = tempfile::tempdir().unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Already gone when a test has killed it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Child {
    let log = File::options().create(true).append(true).open(directory.join("log")).unwrap();
    // A configuration file, which only a sentinel has, comes first.
    let (file, options) = options.split_at(options.iter().take_while(|option| !option.starts_with("--")).count());
    Command::new("redis-server")
        .args(file)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(directory)
        .args(if file.is_empty() { &["--save", ""][..] } else { &[] })
        .args(options)
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("these tests need a redis-server: apt-get install redis-server")
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until there is an answer, for some twenty seconds.
pub fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..2_000 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it did not happen within twenty seconds");
}

/// As [`eventually`], for what is asked asynchronously and may take its time to answer.
pub async fn eventually_async<T, F: Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking).await.expect("it did not happen within thirty seconds")
}

/// A store and what it lives in.
pub struct Fixture {
    pub store: Store,
    home: Home,
}

enum Home {
    Embedded(TempDir),
    Redis(RedisServer),
}

impl Fixture {
    pub async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&Settings::embedded(directory.path())).await.unwrap();
        Fixture { store, home: Home::Embedded(directory) }
    }

    pub async fn redis() -> Self {
        let server = RedisServer::start();
        Fixture { store: server.store().await, home: Home::Redis(server) }
    }

    pub fn settings(&self) -> Settings {
        match &self.home {
            Home::Embedded(directory) => Settings::embedded(directory.path()),
            Home::Redis(server) => server.settings(),
        }
    }

    /// Closes the store and opens it again.
    pub async fn reopen(self, settings: &Settings) -> Self {
        let Fixture { store, home } = self;
        drop(store);
        Fixture { store: Store::open(settings).await.unwrap(), home }
    }
}

/// Runs each of these tests on both backends.
macro_rules! on_both_backends {
    ($($test:ident),* $(,)?) => {
        mod on_embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::fixture::Fixture::embedded().await).await;
            })*
        }
        mod on_redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(crate::fixture::Fixture::redis().await).await;
            })*
        }
    };
}
pub(crate) use on_both_backends;

pub fn acme() -> Space {
    Space::Account("acme".parse().unwrap())
}

/// A commit id that no other batch of this process has.
pub fn commit_id() -> CommitId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let process = u128::from(std::process::id()) << 64;
    CommitId::from_uuid(Uuid::from_u128(process | u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}

pub fn user(id: &str) -> DocumentKey {
    DocumentKey::new("user", id)
}

pub fn entry(key: &str, id: &str) -> Entry {
    Entry { key: key.to_owned(), id: id.to_owned() }
}

pub fn index() -> Index {
    Index::new("names")
}

pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

pub fn put(id: &str, revision: u64, body: &str) -> W {
    W::Put {
        key: user(id),
        revision,
        created: at(1),
        modified: at(2),
        body: Bytes::copy_from_slice(body.as_bytes()),
        state: Bytes::from_static(b"state"),
    }
}

pub fn batch(checks: impl Into<Vec<Check>>, writes: impl Into<Vec<W>>) -> Batch {
    Batch { commit: commit_id(), checks: checks.into(), writes: writes.into() }
}

/// Commits to the account `acme` what cannot conflict.
pub async fn write(store: &Store, writes: impl Into<Vec<W>>) {
    assert_eq!(store.commit(&acme(), &batch([], writes)).await.unwrap(), Committed::Applied);
}

/// The check that a commit failed on.
pub async fn violated(store: &Store, batch: &Batch) -> Check {
    match store.commit(&acme(), batch).await {
        Err(StoreError::Conflict(violation)) => violation.check,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

/// The reason of an `Unavailable`.
pub fn reason<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Unavailable { reason }) => reason,
        other => panic!("unavailability was expected, not {other:?}"),
    }
}
