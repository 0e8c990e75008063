//! The accept loop: connections within a limit, hyper with timers, and a drain that ends.
//!
//! The order of a shutdown (readiness has already turned false):
//!
//! 1. For the lead time everything is served as before, because load balancers learn of the end asynchronously; each
//!    answer says `Connection: close`, so that clients move on without meeting a closed socket.
//! 2. The listener is closed. Idle connections are closed, requests in flight are finished.
//! 3. At the drain deadline, or when `abort` is cancelled at any time, what is left is dropped.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use super::tls::Tls;
use super::transport::{Activity, Watched};
use crate::metrics::Metrics;

/// Header and request line together; beyond it hyper answers 431 by itself. An invitation link, a session cookie and
/// the headers of a proxy fit many times.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// What hyper may buffer of one connection.
const MAX_BUFFER_BYTES: usize = 64 * 1024;

/// How often connections are asked to make room while there is none.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// How a listener serves.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// From the first byte of a header (or the start of the connection) to its end.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a client may read nothing of its answer.
    pub write_timeout: Duration,
    /// Connections served at once. At the limit the longest-lived one is asked to finish, new ones wait.
    pub max_connections: u32,
    /// From the soft shutdown to the closing of the listener.
    pub drain_lead: Duration,
    /// From the closing of the listener to the dropping of what is left.
    pub drain_deadline: Duration,
    pub tls: Option<Arc<Tls>>,
    /// Whether its connections are those of the gauge: the ones of the public listener are.
    pub counted: bool,
}

impl Default for ServeSettings {
    fn default() -> Self {
        ServeSettings {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            max_connections: 10_000,
            drain_lead: Duration::ZERO,
            drain_deadline: Duration::from_secs(15),
            tls: None,
            counted: true,
        }
    }
}

/// The socket's other end: a client, or a proxy in front of it ([`super::client_address`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// An extension of each request: cancelled when its connection is to end soon, because the daemon stops or there is no
/// room. Whoever answers without an end ends then.
#[derive(Debug, Clone, Default)]
pub struct Finishing(pub CancellationToken);

/// How serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every connection finished by itself.
    Clean,
    /// So many connections were dropped at the deadline or by `abort`.
    Aborted(usize),
}

/// Serves `app` on `listener` until `shutdown` is cancelled and drained, or `abort` is cancelled. Connections run as
/// tasks of `tracker`; this future ends after the last of them.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    settings: &ServeSettings,
    shutdown: CancellationToken,
    abort: CancellationToken,
    tracker: TaskTracker,
    metrics: Arc<Metrics>,
) -> Drained {
    let server = Arc::new(Server {
        app,
        settings: settings.clone(),
        shutdown: shutdown.clone(),
        finish: CancellationToken::new(),
        abort: abort.child_token(),
        crowded: Notify::new(),
        metrics,
    });
    let permits = Arc::new(Semaphore::new(settings.max_connections as usize));
    let closing = async {
        shutdown.cancelled().await;
        tokio::time::sleep(settings.drain_lead).await;
    };
    tokio::select! {
        biased;
        () = abort.cancelled() => {}
        () = closing => {}
        never = accept_all(&listener, &server, &permits, &tracker) => match never {},
    }
    drop(listener);
    server.finish.cancel();
    drain(&server, &permits).await
}

async fn drain(server: &Server, permits: &Semaphore) -> Drained {
    let max = server.settings.max_connections;
    let all_closed = async { permits.acquire_many(max).await.is_ok() };
    tokio::select! {
        biased;
        _ = all_closed => return Drained::Clean,
        () = server.abort.cancelled() => {}
        () = tokio::time::sleep(server.settings.drain_deadline) => {}
    }
    let left = max as usize - permits.available_permits();
    server.abort.cancel();
    // The semaphore is never closed; with every permit back, every connection task has dropped its socket.
    let _all = permits.acquire_many(max).await;
    Drained::Aborted(left)
}

async fn accept_all(
    listener: &TcpListener,
    server: &Arc<Server>,
    permits: &Arc<Semaphore>,
    tracker: &TaskTracker,
) -> Infallible {
    let mut backoff = Backoff::default();
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => {
                backoff = Backoff::default();
                let permit = server.room(permits).await;
                tracker.spawn(Arc::clone(server).connection(socket, PeerAddress(peer), permit));
            }
            // That client is gone already; the next one may be fine.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                let pause = backoff.next();
                tracing::warn!(%error, pause_ms = pause.as_millis(), "cannot accept connections");
                server.crowded.notify_one();
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Errors of `accept` that say something of the connection, not of this process (accept(2), "Error handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

/// Pauses after a failed accept. Out of file descriptors, accept fails at once and for ever; without a pause the loop
/// would take a whole processor from the requests whose end would help.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = Duration::from_millis(50) * 2_u32.pow(self.failures.min(5));
        self.failures += 1;
        pause.min(Duration::from_secs(1))
    }
}

/// What every connection shares.
#[derive(Debug)]
struct Server {
    app: Router,
    settings: ServeSettings,
    /// The end is announced; answers say so.
    shutdown: CancellationToken,
    /// The listener is closed; connections finish what they have.
    finish: CancellationToken,
    abort: CancellationToken,
    /// Wakes the connection that has waited longest, so that it makes room.
    crowded: Notify,
    metrics: Arc<Metrics>,
}

impl Server {
    /// Room for one more connection. While there is none, connections that have been served are asked to finish, the
    /// longest-lived first; one that is still sending its first request is left alone, as its header has a deadline.
    async fn room(&self, permits: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return permit;
        }
        let mut permit = pin!(Arc::clone(permits).acquire_owned());
        loop {
            self.crowded.notify_one();
            if let Ok(permit) = tokio::time::timeout(ASK_AGAIN, permit.as_mut()).await {
                return permit.expect("the semaphore is never closed");
            }
        }
    }

    async fn connection(self: Arc<Self>, socket: TcpStream, peer: PeerAddress, permit: OwnedSemaphorePermit) {
        let _permit = permit;
        let _counted = self.settings.counted.then(|| Counted::new(&self.metrics));
        tokio::select! {
            biased;
            () = self.abort.cancelled() => {}
            () = self.speak(socket, peer) => {}
        }
    }

    async fn speak(&self, socket: TcpStream, peer: PeerAddress) {
        // Answers are written whole; waiting for more to send only delays them.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        match &self.settings.tls {
            None => self.speak_http(socket, peer).await,
            Some(tls) => match tls.handshake(socket).await {
                Ok(stream) => self.speak_http(stream, peer).await,
                Err(error) => tracing::debug!(%error, "TLS handshake failed"),
            },
        }
    }

    async fn speak_http<S>(&self, stream: S, peer: PeerAddress)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let settings = &self.settings;
        let activity = Arc::new(Activity::default());
        let stream = Watched::new(stream, Arc::clone(&activity), settings.header_timeout, settings.write_timeout);
        let ending = Finishing::default();
        let service = service_fn(|request| self.answer(request, peer, &activity, &ending));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.idle_timeout)
            .max_header_size(MAX_HEADER_BYTES)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut finishing = false;
        let result = loop {
            tokio::select! {
                result = connection.as_mut() => break result,
                () = self.finish.cancelled(), if !finishing => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                    ending.0.cancel();
                }
                () = self.crowded.notified(), if !finishing => if activity.has_served() {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                    ending.0.cancel();
                }
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "connection ended");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: PeerAddress,
        activity: &Activity,
        ending: &Finishing,
    ) -> Result<Response<Body>, Infallible> {
        activity.head_arrived();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(ending.clone());
        // A router is always ready (axum: `Router::poll_ready`).
        let mut response = self.app.clone().call(request).await?;
        activity.answered();
        if self.shutdown.is_cancelled() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// One connection in the gauge, also when its task panics.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connection_opened();
        Counted(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_file_descriptors_is_not_an_error_of_one_connection() {
        const ECONNABORTED: i32 = 103;
        const EMFILE: i32 = 24;
        const ENFILE: i32 = 23;
        assert!(is_of_one_connection(&io::Error::from_raw_os_error(ECONNABORTED)));
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(EMFILE)));
        assert!(!is_of_one_connection(&io::Error::from_raw_os_error(ENFILE)));
    }

    #[test]
    fn failing_accepts_are_tried_at_growing_intervals_up_to_a_second() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..7).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
    }
}
