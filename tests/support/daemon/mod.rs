//! The real `usherd` as a child process in a directory of its own, on either store, as a user would run it.
//!
//! Everything blocks, so tests are plain `#[test]` functions; nothing sleeps for longer than it takes until something
//! is there. The parent module has to bring `redis_server`.

pub mod browser;
pub mod client;
pub mod mails;

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::browser::Browser;
use self::client::{Reply, Request};
use self::mails::Mail;
use crate::redis_server::{PATIENCE, RedisServer, eventually, eventually_within};

/// Which store the daemon keeps everything in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Embedded,
    /// A redis-server of the test's own.
    Redis,
}

/// A schedule for what a test does not want: it rings on leap days.
pub const NEVER: &str = "0 0 0 29 2 *";

/// What every daemon of a test has unless it says otherwise: deadlines that no stall of a busy machine exceeds, and
/// nothing that happens at some hour of the night.
const CALM: [(&str, &str); 5] = [
    ("USHERD_STORE__DEADLINE", "20s"),
    ("USHERD_HTTP__REQUEST_DEADLINE", "20s"),
    ("USHERD_JOBS__RECONCILE", NEVER),
    ("USHERD_JOBS__RETENTION", NEVER),
    ("USHERD_JOBS__DIGEST", NEVER),
];

/// A daemon, killed by its id when it is dropped. It may be between two runs.
pub struct Daemon {
    directory: Arc<TempDir>,
    redis: Option<Arc<RedisServer>>,
    /// Where the output of this replica goes, apart from that of others in the directory.
    name: String,
    overrides: Vec<(String, String)>,
    pub port: u16,
    pub ops_port: u16,
    child: Option<Child>,
    runs: u32,
    /// Of the first start.
    token: String,
}

/// What a command of the command line left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Daemon {
    /// Starts a daemon on an empty store and waits until it is ready. `overrides` are environment variables, such as
    /// `("USHERD_INVITATIONS__TTL", "2s")`; the environment is empty otherwise.
    pub fn start(store: Store, overrides: &[(&str, &str)]) -> Self {
        let redis = (store == Store::Redis).then(|| Arc::new(RedisServer::start()));
        Self::start_on(redis, overrides)
    }

    /// As [`Self::start`], on a redis-server that the test has made; `None` is the embedded store.
    pub fn start_on(redis: Option<Arc<RedisServer>>, overrides: &[(&str, &str)]) -> Self {
        let mut daemon = Self::prepare(redis, overrides);
        daemon.start_somewhere();
        daemon.token = daemon.token_in_banner().unwrap_or_default();
        daemon
    }

    /// A daemon with a directory and ports that has not been started: for its command line, or [`Self::run`].
    pub fn prepare(redis: Option<Arc<RedisServer>>, overrides: &[(&str, &str)]) -> Self {
        Daemon {
            directory: Arc::new(tempfile::tempdir().unwrap()),
            redis,
            name: "daemon".to_owned(),
            overrides: owned(overrides),
            port: free_port(),
            ops_port: free_port(),
            child: None,
            runs: 0,
            token: String::new(),
        }
    }

    /// One more daemon on the same Redis with the same keys and the same `overrides` and these, and waits until it is
    /// ready. Its links and locations lead to itself.
    pub fn replica(&self, name: &str, overrides: &[(&str, &str)]) -> Self {
        let mut overrides = owned(overrides);
        overrides.splice(0..0, self.overrides.iter().cloned());
        let mut replica = Daemon {
            directory: Arc::clone(&self.directory),
            redis: self.redis.clone(),
            name: name.to_owned(),
            overrides,
            port: free_port(),
            ops_port: free_port(),
            child: None,
            runs: 0,
            token: self.token.clone(),
        };
        replica.start_somewhere();
        replica
    }

    /// A port that is free now may be taken a moment later.
    fn start_somewhere(&mut self) {
        for _ in 0..10 {
            self.run();
            match self.wait_until_ready() {
                Ok(()) => return,
                Err(_) if self.stderr().contains("cannot listen on") => {
                    (self.port, self.ops_port) = (free_port(), free_port());
                }
                Err(ended) => panic!("usherd ended with {ended} instead of being ready:\n{}", self.stderr()),
            }
        }
        panic!("no free ports");
    }

    /// Starts the process and waits for nothing.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        self.runs += 1;
        let child = self.command(&[]).stdout(self.output("stdout")).stderr(self.output("stderr")).spawn().unwrap();
        self.child = Some(child);
    }

    /// Waits for `/readyz`.
    ///
    /// # Errors
    /// How the process ended instead.
    pub fn wait_until_ready(&mut self) -> Result<(), ExitStatus> {
        eventually(|| {
            if let Some(ended) = self.child.as_mut().expect("it was started").try_wait().unwrap() {
                self.child = None;
                return Some(Err(ended));
            }
            self.try_ops("/readyz").filter(|reply| reply.status == 200).map(|_| Ok(()))
        })
    }

    /// Starts it again on the same data and the same ports, and waits until it is ready.
    pub fn restart(&mut self) {
        self.run();
        if let Err(ended) = self.wait_until_ready() {
            panic!("usherd ended with {ended} after a restart:\n{}", self.stderr());
        }
    }

    /// Changes the environment of the next start and of commands.
    pub fn set(&mut self, name: &str, value: &str) {
        self.overrides.push((name.to_owned(), value.to_owned()));
    }

    /// SIGKILL, as a power cut is for the process.
    pub fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end; its exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal("-TERM");
        self.ended()
    }

    /// The id of the process.
    pub fn process(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.process().to_string()]).status().unwrap().success());
    }

    /// Waits until the process ends by itself; its exit code, 128 more than the signal that ended it.
    pub fn ended(&mut self) -> i32 {
        let mut child = self.child.take().expect("it runs");
        let status = eventually(|| child.try_wait().unwrap());
        code(status)
    }

    /// Carries out `usherd ARGUMENTS` with the daemon's configuration.
    pub fn cli(&self, arguments: &[&str]) -> Finished {
        self.cli_with(arguments, &[])
    }

    /// As [`Self::cli`], with more environment variables.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        self.cli_within(PATIENCE, arguments, environment)
    }

    /// As [`Self::cli_with`], for what takes longer: some commands walk over a whole account, and rest in between so that
    /// requests get their turn.
    pub fn cli_within(&self, patience: Duration, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap());
        let mut child = command.spawn().unwrap();
        let status = eventually_within(patience, || child.try_wait().unwrap());
        let read = |file: &tempfile::NamedTempFile| std::fs::read_to_string(file.path()).unwrap();
        Finished { code: code(status), stdout: read(&out), stderr: read(&err) }
    }

    /// The program in its directory, with only the environment that the test gives it, and [`CALM`].
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usherd"));
        // What the environment cannot say stands in a file that the test has written.
        let file = self.directory.path().join("usherd.toml");
        if file.exists() {
            command.arg("--config").arg(file);
        }
        command.args(arguments).current_dir(self.directory.path()).env_clear();
        command.env("USHERD_HTTP__LISTEN", format!("127.0.0.1:{}", self.port));
        command.env("USHERD_OPS__LISTEN", format!("127.0.0.1:{}", self.ops_port));
        if let Some(redis) = &self.redis {
            command.env("USHERD_STORE__URL", format!("redis://127.0.0.1:{}", redis.port));
        }
        command.envs(CALM);
        command.envs(self.overrides.iter().map(|(name, value)| (name, value)));
        command
    }

    fn output(&self, stream: &str) -> File {
        File::create(self.output_file(stream, self.runs)).unwrap()
    }

    fn output_file(&self, stream: &str, run: u32) -> PathBuf {
        self.directory.path().join(format!("{}.{run}.{stream}", self.name))
    }

    /// Standard output of the last start.
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.output_file("stdout", self.runs)).unwrap()
    }

    /// Standard error of the last start.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.output_file("stderr", self.runs)).unwrap()
    }

    /// Standard error of all starts.
    pub fn logs(&self) -> String {
        (1..=self.runs).map(|run| std::fs::read_to_string(self.output_file("stderr", run)).unwrap()).collect()
    }

    pub fn redis(&self) -> &RedisServer {
        self.redis.as_deref().expect("a daemon on Redis")
    }

    /// The redis-server, to be killed and started again. No replica may share it at this moment.
    pub fn redis_mut(&mut self) -> &mut RedisServer {
        let redis = self.redis.as_mut().expect("a daemon on Redis");
        Arc::get_mut(redis).expect("no replica shares it")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The directory in which the daemon runs, with [`Self::data`] in it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// All bytes that the store keeps.
    pub fn stored(&self) -> Vec<u8> {
        let Some(redis) = &self.redis else { return std::fs::read(self.data().join("usherd.redb")).unwrap() };
        // The server writes uncompressed commands into its append-only file.
        let answer = redis.ask("CONFIG GET dir");
        let directory = answer.lines().map(str::trim).find(|line| line.starts_with('/')).unwrap().to_owned();
        let files = std::fs::read_dir(format!("{directory}/appendonlydir")).unwrap();
        let files = files.map(|entry| entry.unwrap().path()).filter(|file| file.to_string_lossy().contains("incr"));
        files.flat_map(|file| std::fs::read(file).unwrap()).collect()
    }

    /// The SCIM token of the first start.
    pub fn token(&self) -> &str {
        assert!(!self.token.is_empty(), "the first start printed no token:\n{}", self.stdout());
        &self.token
    }

    fn token_in_banner(&self) -> Option<String> {
        self.stdout()
            .split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c)))
            .find_map(|word| word.starts_with("usp_").then(|| word.to_owned()))
    }

    /// The first admin's link, as the last start printed it.
    pub fn admin_link(&self) -> String {
        mails::link_in(&self.stdout()).expect("an admin's link in the banner")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub fn scim_base(&self) -> String {
        self.url("/scim/v2")
    }

    /// A request without credentials to the public listener.
    pub fn request(&self, method: &str, path: &str) -> Request {
        Request::new(self.port, method, path)
    }

    /// A request with the token of the first start; `path` stands below `/scim/v2`.
    pub fn scim(&self, method: &str, path: &str) -> Request {
        self.request(method, &format!("/scim/v2{path}")).bearer(self.token())
    }

    pub fn get(&self, path: &str) -> Reply {
        self.scim("GET", path).send()
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.scim("POST", path).json(body).send()
    }

    pub fn put(&self, path: &str, body: &Value) -> Reply {
        self.scim("PUT", path).json(body).send()
    }

    pub fn patch(&self, path: &str, body: &Value) -> Reply {
        self.scim("PATCH", path).json(body).send()
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.scim("DELETE", path).send()
    }

    /// A request to `/api/v1` with the token of the first start.
    pub fn api(&self, method: &str, path: &str) -> Request {
        self.request(method, &format!("/api/v1{path}")).bearer(self.token())
    }

    /// A GET to the ops listener.
    pub fn ops(&self, path: &str) -> Reply {
        self.try_ops(path).expect("the ops listener answers")
    }

    /// As [`Self::ops`]; `None` when nobody answers.
    pub fn try_ops(&self, path: &str) -> Option<Reply> {
        Request::new(self.ops_port, "GET", path).try_send()
    }

    pub fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }

    /// Creates a user whose userName is this address, and returns the id.
    pub fn create_user(&self, address: &str) -> String {
        let reply = self.post("/Users", &user(address));
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// The user's status and its reason, `Pending` or `Pending expired`.
    pub fn status(&self, id: &str) -> String {
        let reply = self.get(&format!("/Users/{id}"));
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        let extension = &body[USHERD];
        match extension["statusReason"].as_str() {
            Some(reason) => format!("{} {reason}", extension["status"].as_str().unwrap()),
            None => extension["status"].as_str().unwrap().to_owned(),
        }
    }

    /// Waits until every invitation is mailed and noted as such, after which nobody's version changes by itself.
    pub fn settle(&self) {
        let is_out = |user: &Value| {
            let invitation = &user[USHERD]["invitation"];
            // An invitation of which only the link is known has nothing to send.
            invitation["state"] != "live" || invitation["sends"] == 0 || invitation["sentAt"].is_string()
        };
        eventually(|| self.get("/Users").json()["Resources"].as_array().unwrap().iter().all(is_out).then_some(()));
    }

    /// Reconciliation finds nothing to repair in the account, whether the daemon runs or not. That an account has no
    /// Active admin yet is no fault of the store.
    #[track_caller]
    pub fn assert_consistent(&self, account: &str) {
        self.assert_consistent_within(PATIENCE, account);
    }

    /// As [`Self::assert_consistent`], for accounts that take longer to look through.
    pub fn assert_consistent_within(&self, patience: Duration, account: &str) {
        let done = self.cli_within(patience, &["reconcile", "--account", account, "--dry-run"], &[]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        let wrong: Vec<&str> = done.stdout.lines().filter(|line| !line.starts_with("V10\t")).collect();
        assert!(wrong.is_empty(), "the store does not agree with itself: {wrong:#?}");
    }

    /// All mail files, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        mails::read_all(&self.data().join("mail"))
    }

    /// Those to one address, oldest first.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.mails().into_iter().filter(|mail| mail.to == address).collect()
    }

    /// The `count`th mail (from 1) to this address, which may be about to come.
    pub fn mail(&self, address: &str, count: usize) -> Mail {
        eventually(|| self.mails_to(address).into_iter().nth(count - 1))
    }

    /// The `count`th one-time code (from 1) that is mailed to this address. Other mails may come before and between.
    pub fn code(&self, address: &str, count: usize) -> String {
        eventually(|| self.mails_to(address).iter().filter_map(Mail::code).nth(count - 1))
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stdout, reason = "the log of a failed test")]
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either may fail only because it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            println!("--- standard error of {}\n{}", self.name, self.logs());
        }
    }
}

/// The usherd extension of users.
pub const USHERD: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";
pub const CORE_USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A user as identity providers create them, with an address as userName.
pub fn user(address: &str) -> Value {
    json!({
        "schemas": [CORE_USER],
        "userName": address,
        "name": { "givenName": "Ada", "familyName": "Lovelace" },
        "emails": [{ "value": address, "type": "work", "primary": true }],
        "active": true,
    })
}

/// A PATCH message with these operations.
pub fn patch(operations: Value) -> Value {
    json!({ "schemas": [PATCH_OP], "Operations": operations })
}

/// The PATCH by which most providers switch a user on and off.
pub fn set_active(active: bool) -> Value {
    patch(json!([{ "op": "replace", "path": "active", "value": active }]))
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Below the range from which the system takes ports for connections, so that a daemon can come back to its own.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 97).unwrap() * 100;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
