//! HTTP requests that usherd makes itself: webhooks, and questions to issuers of tokens.
//!
//! Where they go is written by people, so an address must not become a way into the network that usherd stands in.
//! [`Client`] resolves a name once, checks every address (`addresses`) and connects to one that it has checked, so
//! that a name which changes its mind in between (DNS rebinding) gains nothing. Redirects are not followed. One request
//! is one connection; it is bounded in time, and so is what is read of the answer.

mod addresses;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, header, http};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use addresses::is_allowed;

/// So many addresses of one name are tried.
const MAX_ADDRESSES: usize = 3;
/// How long the body of an answer may take after its head.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// How far requests of one kind reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Whether they may go to addresses of an intranet and of this host, and over http.
    pub allow_private: bool,
    /// The key of the configuration that says so.
    pub key: &'static str,
    /// From looking up the name to the head of the answer.
    pub timeout: Duration,
    /// Octets of an answer's body at the most.
    pub max_answer: usize,
}

/// Sends requests.
pub struct Client {
    reach: Reach,
    tls: TlsConnector,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// `None` when it was too long, or did not end.
    pub body: Option<Bytes>,
}

/// Why there was no answer, in words for people. It names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("http is not allowed: https, or {key}")]
    NotHttps { key: &'static str },
    #[error("the name has no address")]
    Unknown,
    #[error("the address is not one of the public internet; see {key}")]
    Refused { key: &'static str },
    #[error("no connection")]
    NotConnected,
    #[error("TLS failed: the certificate is not valid for the name, or not of a known authority")]
    NotTrusted,
    #[error("the connection broke off")]
    BrokenOff,
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAuthority {
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate in PEM that an authority could have", .file.display())]
    NoCertificate { file: PathBuf },
}

/// The head of a request to `url`: method, target, Host, and that the connection ends with it.
pub fn request(method: Method, url: &Url) -> http::request::Builder {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let name = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    };
    Request::builder()
        .method(method)
        .uri(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("usherd/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
}

impl Client {
    /// With the certificate authorities that browsers trust, and those of `authorities` besides.
    ///
    /// # Errors
    /// [`UnusableAuthority`].
    pub fn new(reach: Reach, authorities: Option<&Path>) -> Result<Self, UnusableAuthority> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(file) = authorities {
            let unreadable = |source| UnusableAuthority::Unreadable { file: file.to_owned(), source };
            let pem = std::fs::read(file).map_err(unreadable)?;
            let (added, _) =
                roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
            if added == 0 {
                return Err(UnusableAuthority::NoCertificate { file: file.to_owned() });
            }
        }
        Ok(Self::trusting(roots, reach))
    }

    fn trusting(roots: RootCertStore, reach: Reach) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Client { reach, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// Sends a request that [`request`] began to the host of `url`.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn send(&self, url: &Url, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let timeout = self.reach.timeout;
        tokio::time::timeout(timeout, self.unbounded(url, request)).await.unwrap_or(Err(NoAnswer::TimedOut(timeout)))
    }

    async fn unbounded(&self, url: &Url, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let secure = url.scheme() == "https";
        if !secure && !self.reach.allow_private {
            return Err(NoAnswer::NotHttps { key: self.reach.key });
        }
        let stream = self.connect(url).await?;
        if secure {
            let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| NoAnswer::Unknown)?;
            let stream = self.tls.connect(name, stream).await.map_err(|_| NoAnswer::NotTrusted)?;
            self.exchange(stream, request).await
        } else {
            self.exchange(stream, request).await
        }
    }

    /// Resolves the name once and connects to an address that was checked.
    async fn connect(&self, url: &Url) -> Result<TcpStream, NoAnswer> {
        let port = url.port_or_known_default().ok_or(NoAnswer::Unknown)?;
        let found: Vec<SocketAddr> = match url.host().ok_or(NoAnswer::Unknown)? {
            Host::Ipv4(address) => vec![(IpAddr::V4(address), port).into()],
            Host::Ipv6(address) => vec![(IpAddr::V6(address), port).into()],
            Host::Domain(name) => lookup_host((name, port)).await.map_err(|_| NoAnswer::Unknown)?.collect(),
        };
        if found.is_empty() {
            return Err(NoAnswer::Unknown);
        }
        let allowed: Vec<_> =
            found.into_iter().filter(|address| is_allowed(address.ip(), self.reach.allow_private)).collect();
        if allowed.is_empty() {
            return Err(NoAnswer::Refused { key: self.reach.key });
        }
        for address in allowed.into_iter().take(MAX_ADDRESSES) {
            if let Ok(stream) = TcpStream::connect(address).await {
                return Ok(stream);
            }
        }
        Err(NoAnswer::NotConnected)
    }

    async fn exchange<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer::BrokenOff)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|_| NoAnswer::BrokenOff)?;
            let status = answer.status().as_u16();
            // The status counts; a body that is too long or never ends changes nothing about it.
            let body = Limited::new(answer.into_body(), self.reach.max_answer).collect();
            let body = tokio::time::timeout(BODY_PATIENCE, body).await.ok().and_then(Result::ok);
            Ok(Answer { status, body: body.map(http_body_util::Collected::to_bytes) })
        };
        tokio::pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // The connection may be done before its last bytes are looked at.
            _ = connection => exchange.await,
        }
    }
}
