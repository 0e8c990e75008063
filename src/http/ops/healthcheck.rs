//! `usherd healthcheck`: what a container without curl asks its own daemon.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(3);
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Why the daemon does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    #[error("no daemon answers on the ops address {address}: {reason}")]
    NoAnswer { address: SocketAddr, reason: String },
    #[error("no answer from {0} within {secs} s", secs = DEADLINE.as_secs())]
    TooSlow(SocketAddr),
    #[error("not ready ({status}): {answer}")]
    NotReady { status: StatusCode, answer: String },
}

/// Asks `/readyz` of the daemon whose ops listener is `address`.
pub async fn healthcheck(address: SocketAddr) -> Result<(), HealthcheckError> {
    let address = reachable(address);
    let (status, answer) = tokio::time::timeout(DEADLINE, ask(address))
        .await
        .map_err(|_| HealthcheckError::TooSlow(address))?
        .map_err(|reason| HealthcheckError::NoAnswer { address, reason })?;
    if status.is_success() { Ok(()) } else { Err(HealthcheckError::NotReady { status, answer }) }
}

/// A daemon that listens on every address is asked on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn ask(address: SocketAddr) -> Result<(StatusCode, String), String> {
    let socket = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|error| error.to_string())?;
    let request = Request::get("/readyz")
        .header(header::HOST, address.to_string())
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    // The connection only moves bytes; the exchange ends with the answer.
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}
