//! A real SMTP server as a child process, for tests. It records what it takes and misbehaves on request; `server.py`
//! says how.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running server. It ends with this value, and with the test process in any case.
pub struct SmtpServer {
    child: Child,
    directory: tempfile::TempDir,
    pub port: u16,
}

impl SmtpServer {
    /// Starts a server and waits until it listens. `options` are those of `server.py`.
    pub fn start(options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut child = Command::new(python())
            .arg(support("server.py"))
            .arg("--directory")
            .arg(directory.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the SMTP server starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("its first line");
        let port =
            first.trim().parse().unwrap_or_else(|_| panic!("the SMTP server said {first:?} instead of its port"));
        SmtpServer { child, directory, port }
    }

    /// `scheme://[user:password@]127.0.0.1:port`, trusting the server's certificate where there is one.
    pub fn url(&self, scheme: &str, credentials: &str) -> String {
        let at = if credentials.is_empty() { "" } else { "@" };
        let plain = format!("{scheme}://{credentials}{at}127.0.0.1:{}", self.port);
        match scheme {
            "smtp" => plain,
            _ => format!("{plain}?tls_ca_file={}", self.directory.path().join("ca.pem").display()),
        }
    }

    /// All messages that came whole, in their order.
    pub fn messages(&self) -> Vec<Value> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the directory");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
        files.sort();
        let read = |file: &PathBuf| std::fs::read_to_string(file).expect("a record");
        files.iter().map(|file| serde_json::from_str(&read(file)).expect("JSON")).collect()
    }

    /// The one message that came.
    pub fn message(&self) -> Value {
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1, "messages");
        messages.remove(0)
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // Either may fail only because the server is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What Python's parser makes of a mail file.
pub fn parse(file: &Path) -> Value {
    let output = Command::new(python()).arg(support("parse.py")).arg(file).output().expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The values of a header, of a parsed message.
pub fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = message["headers"].as_array().expect("headers");
    let named = headers.iter().filter(|pair| pair[0].as_str().is_some_and(|n| n.eq_ignore_ascii_case(name)));
    named.filter_map(|pair| pair[1].as_str()).collect()
}

fn support(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp").join(file)
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/venv/bin/python");
    assert!(
        python.exists(),
        "{} is missing: run tests/run once, which makes it from tests/requirements.txt",
        python.display()
    );
    python
}
