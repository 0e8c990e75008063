//! A real redis-server as a child process, for tests, and waiting that is bounded.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use usherd::store::{Settings, Store, StoreUrl};

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

    /// A sentinel that watches the primary on this port as `main`, and takes five seconds to think it dead.
    pub fn sentinel(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        let lines = [
            format!("sentinel monitor main 127.0.0.1 {port} 2"),
            "sentinel down-after-milliseconds main 5000".to_owned(),
            "sentinel failover-timeout main 15000".to_owned(),
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

    /// With a deadline that no stall of a busy machine exceeds.
    pub fn settings(&self) -> Settings {
        Settings { deadline: Duration::from_secs(20), ..Settings::redis(self.url(), self.directory.path()) }
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
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
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

/// So long a test waits for what is well to happen, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, for a minute.
pub fn eventually<T>(ask: impl FnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, ask)
}

/// As [`eventually`], for what takes longer when it is well.
pub fn eventually_within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..patience.div_duration_f64(PAUSE).ceil() as u32 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(PAUSE);
    }
    panic!("it did not happen within {} seconds", patience.as_secs());
}
