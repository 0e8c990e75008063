//! A server on a free port, with handlers that the test holds in its hands, and a client that writes plain bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Extension;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use usherd::http::client_address::ClientAddress;
use usherd::http::edge::{EdgeSettings, dress};
use usherd::http::guard::Bounds;
use usherd::http::headers::SecurityHeaders;
use usherd::http::hosts::Hosts;
use usherd::http::refusal::{Refusal, Refused};
use usherd::http::serve::{Drained, ServeSettings, serve};
use usherd::metrics::Metrics;

/// Far above what a healthy machine needs, far below what a person waits for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for `what`, and fails the test with its name when it does not come.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("in vain: {what}"),
    }
}

/// A handler that reports its arrival and waits for its release.
#[derive(Debug)]
pub struct Gate {
    arrivals: Semaphore,
    pub release: Notify,
    /// Told when an endless answer has ended after all.
    pub ended: Notify,
}

/// A body that always has more, as a stream of events under load.
struct Endless(Arc<Gate>);

impl HttpBody for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 16 * 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.ended.notify_one();
    }
}

impl Gate {
    pub async fn arrival(&self) {
        soon("a request at the gate", self.arrivals.acquire()).await.unwrap().forget();
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub gate: Arc<Gate>,
    pub metrics: Arc<Metrics>,
    pub shutdown: CancellationToken,
    pub abort: CancellationToken,
    serving: JoinHandle<Drained>,
}

pub const BOUNDS: Bounds =
    Bounds { deadline: Duration::from_secs(300), body_deadline: Duration::from_secs(300), body_bytes: 1000 };

fn bounds(uri: &Uri) -> Bounds {
    match uri.path() {
        "/scim/slow-body" => Bounds { body_deadline: Duration::from_millis(50), ..BOUNDS },
        "/scim/late" => Bounds { deadline: Duration::from_millis(50), ..BOUNDS },
        _ => BOUNDS,
    }
}

/// Names the refusal, so that a test sees that the renderer was asked, and with what.
fn render(refused: &Refused<'_>, refusal: Refusal) -> Response {
    let language = if refused.wants_html { "page" } else { "scim" };
    (refusal.status(), format!("{language} {refusal:?} {}", refused.uri.path())).into_response()
}

impl Server {
    pub async fn start(settings: ServeSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Gate { arrivals: Semaphore::new(0), release: Notify::new(), ended: Notify::new() });
        let metrics = Arc::new(Metrics::new());
        let edge = EdgeSettings {
            hosts: Arc::new(Hosts::new("people.example.com", true, &[], address).unwrap()),
            trusted_proxies: Arc::from(["127.0.0.1/32".parse().unwrap()]),
            security_headers: SecurityHeaders::new(true, &[]),
            bounds: Arc::new(|_, uri| bounds(uri)),
            render,
        };
        let app = dress(routes(Arc::clone(&gate)), edge, Arc::clone(&metrics));
        let (shutdown, abort) = (CancellationToken::new(), CancellationToken::new());
        let serving = tokio::spawn({
            let (shutdown, abort, metrics) = (shutdown.clone(), abort.clone(), Arc::clone(&metrics));
            async move { serve(listener, app, &settings, shutdown, abort, TaskTracker::new(), metrics).await }
        });
        Server { address, gate, metrics, shutdown, abort, serving }
    }

    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap() }
    }

    /// One request on a connection of its own.
    pub async fn ask(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.answer().await
    }

    pub async fn ended(self) -> Drained {
        soon("the end of serving", self.serving).await.unwrap()
    }

    pub fn has_ended(&self) -> bool {
        self.serving.is_finished()
    }
}

fn routes(gate: Arc<Gate>) -> Router {
    let endless = Arc::clone(&gate);
    let at_the_gate = async move || {
        gate.arrivals.add_permits(1);
        gate.release.notified().await;
        "released"
    };
    Router::new()
        .route("/hello", get(async || "hello"))
        .route("/gate", get(at_the_gate))
        .route("/endless", get(async move || Body::new(Endless(Arc::clone(&endless)))))
        .route("/scim/late", get(std::future::pending::<()>))
        .route("/scim/slow-body", post(async |body: Bytes| format!("{} bytes", body.len())))
        .route("/scim/body", post(async |body: Bytes| format!("{} bytes", body.len())))
        .route("/panic", get(async || -> StatusCode { panic!("planted") }))
        .route("/who", get(async |Extension(ClientAddress(who)): Extension<ClientAddress>| who.to_string()))
}

pub struct Client {
    pub stream: TcpStream,
}

impl Client {
    pub async fn send(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    /// One whole answer, by its `content-length`; what was read when the connection ended before.
    pub async fn answer(&mut self) -> String {
        soon("an answer", async {
            let mut read = Vec::new();
            loop {
                let text = String::from_utf8_lossy(&read).into_owned();
                if is_whole(&text) {
                    return text;
                }
                let mut buffer = [0; 4096];
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => return text,
                    Ok(count) => read.extend_from_slice(&buffer[..count]),
                }
            }
        })
        .await
    }

    /// Waits for the server to close; the bytes it still sent.
    pub async fn closed(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let _how = soon("the end of the connection", self.stream.read_to_end(&mut rest)).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

fn is_whole(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.parse().unwrap())
}

pub fn get_request(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

/// A request under the public name.
pub fn get_path(path: &str) -> String {
    get_request(path, "people.example.com")
}
