//! A blocking HTTP client, one connection per request.

use std::sync::LazyLock;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Far above what a healthy machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

pub struct Request {
    port: u16,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

pub struct Reply {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(port: u16, method: &str, path: &str) -> Self {
        Request { port, method: method.to_owned(), path: path.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// A SCIM body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/scim+json").body(&body.to_string())
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(&body)
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    /// The answer; a test fails that gets none.
    pub fn send(self) -> Reply {
        let what = format!("{} {}", self.method, self.path);
        RUNTIME.block_on(self.exchange()).unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// `None` when nobody listens, or when the connection breaks before the answer is complete.
    pub fn try_send(self) -> Option<Reply> {
        RUNTIME.block_on(self.exchange()).ok()
    }

    async fn exchange(self) -> Result<Reply, Box<dyn std::error::Error>> {
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let mut request = hyper::Request::builder().method(self.method.as_str()).uri(&self.path);
            if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
                request = request.header("host", format!("127.0.0.1:{}", self.port));
            }
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let response = sender.send_request(request.body(Full::new(Bytes::from(self.body)))?).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        tokio::time::timeout(PATIENCE, exchange).await?
    }
}

impl Reply {
    /// Empty when the header is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }
}
