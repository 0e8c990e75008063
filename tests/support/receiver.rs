//! An application that takes webhooks: a real HTTP server in this process.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;

/// Far above what a healthy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// With this body, in JSON.
    Json(u16, &'static str),
    /// With this `Location`: the receiver's own address.
    Redirect,
    /// Not at all, and the connection stays open.
    Silence,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Hook {
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct State {
    hooks: Vec<Hook>,
    /// For the requests to come; 204 when none is left.
    answers: VecDeque<Answer>,
    then: Option<Answer>,
    held: Vec<Box<dyn Send>>,
}

pub struct Receiver {
    pub port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
    is_https: bool,
}

/// A certificate authority of nobody else.
pub struct Authority(TempDir);

impl Authority {
    pub fn new() -> Self {
        let authority = Authority(tempfile::tempdir().unwrap());
        authority.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=usherd-tests -keyout ca.key -out ca.pem");
        authority
    }

    /// The file with its certificate.
    pub fn file(&self) -> String {
        self.0.path().join("ca.pem").display().to_string()
    }

    /// What a server at this address shows.
    pub fn certificate_for(&self, address: &str) -> Arc<ServerConfig> {
        self.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=receiver -keyout leaf.key -out leaf.csr");
        std::fs::write(self.0.path().join("names"), format!("subjectAltName=IP:{address}\n")).unwrap();
        self.openssl(
            "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out leaf.pem",
        );
        let read = |file: &str| std::fs::read(self.0.path().join(file)).unwrap();
        let chain = CertificateDer::pem_slice_iter(&read("leaf.pem")).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(&read("leaf.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Receiver {
    pub fn start() -> Self {
        Self::listen(None)
    }

    /// Over HTTPS.
    pub fn start_with(tls: Arc<ServerConfig>) -> Self {
        Self::listen(Some(tls))
    }

    fn listen(tls: Option<Arc<ServerConfig>>) -> Self {
        let is_https = tls.is_some();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, port, &shared),
                    Some(tls) => serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), port, &shared),
                });
            }
        });
        Receiver { port, state, is_https }
    }

    pub fn url(&self) -> String {
        let scheme = if self.is_https { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/hooks?tenant=7", self.port)
    }

    /// What the next requests are answered.
    pub fn answers(&self, answers: &[Answer]) {
        self.state.0.lock().unwrap().answers.extend(answers);
    }

    /// What all further requests are answered.
    pub fn answers_all(&self, answer: Answer) {
        self.state.0.lock().unwrap().then = Some(answer);
    }

    /// What has come so far.
    pub fn hooks(&self) -> Vec<Hook> {
        self.state.0.lock().unwrap().hooks.clone()
    }

    /// Waits until so many have come.
    pub fn wait_for(&self, count: usize) -> Vec<Hook> {
        let (state, came) = &*self.state;
        let few = |state: &mut State| state.hooks.len() < count;
        let (state, timeout) = came.wait_timeout_while(state.lock().unwrap(), PATIENCE, few).unwrap();
        assert!(!timeout.timed_out(), "{count} webhooks were expected: {:?}", state.hooks);
        state.hooks.clone()
    }
}

impl Hook {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `user.invited Pending 1`.
    pub fn told(&self) -> String {
        let body = self.json();
        let data = &body["data"];
        let status = data["status"].as_str().unwrap_or("null");
        format!("{} {status}", body["type"].as_str().unwrap())
    }

    pub fn revision(&self) -> u64 {
        self.json()["data"]["revision"].as_u64().unwrap()
    }

    /// As docs/INTEGRATION.md says.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.", self.id(), self.headers["webhook-timestamp"]).as_bytes());
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
    }
}

fn serve<S: Read + Write + Send + 'static>(stream: S, port: u16, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    let Some(hook) = read(&mut reader) else { return };
    let mut stream = reader.into_inner();
    let (state, came) = shared;
    let mut state = state.lock().unwrap();
    let next = state.answers.pop_front().or(state.then).unwrap_or(Answer::Status(204));
    state.hooks.push(hook);
    came.notify_all();
    let answer = match next {
        Answer::Silence => return state.held.push(Box::new(stream)),
        Answer::Status(status) => format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"),
        Answer::Json(status, body) => {
            let length = body.len();
            format!(
                "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        }
        Answer::Redirect => {
            let location = format!("http://127.0.0.1:{port}/elsewhere");
            format!("HTTP/1.1 307 Said\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
        }
    };
    drop(state);
    stream.write_all(answer.as_bytes()).ok();
}

/// `None` for somebody who hung up, or spoke TLS or did not where it was not expected.
fn read<S: Read>(reader: &mut BufReader<S>) -> Option<Hook> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let target = lines.first()?.strip_prefix("POST ")?.split(' ').next()?.to_owned();
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Hook { target, headers, body })
}
