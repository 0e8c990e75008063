//! One POST over one connection to one checked address.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::HeaderName;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::addresses::is_allowed;
use crate::domain::webhook::HookUrl;

/// From looking up the name to the head of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// So much of an answer's body is read; the connection ends then.
const MAX_ANSWER: usize = 4 * 1024;
/// So many addresses of one name are tried.
const MAX_ADDRESSES: usize = 3;

/// Posts webhooks.
pub struct Poster {
    allow_private: bool,
    tls: TlsConnector,
}

/// Why there was no answer, in words for people. It names no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("http is not allowed: https, or webhooks.allow_private")]
    NotHttps,
    #[error("the name has no address")]
    Unknown,
    #[error("the address is not one of the public internet; see webhooks.allow_private")]
    Refused,
    #[error("no connection")]
    NotConnected,
    #[error("TLS failed: the certificate is not valid for the name, or not of a known authority")]
    NotTrusted,
    #[error("the connection broke off")]
    BrokenOff,
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
}

/// What goes out.
pub(super) struct Message {
    pub headers: Vec<(HeaderName, String)>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    /// As much of it as was read; empty where it was too long or came too slowly.
    pub body: Bytes,
}

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableAuthority {
    #[error("{} cannot be read: {source}", .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{} holds no certificate in PEM that an authority could have", .file.display())]
    NoCertificate { file: PathBuf },
}

impl Poster {
    /// With the certificate authorities that browsers trust, and those of `authorities` besides. `allow_private` is
    /// `webhooks.allow_private`.
    ///
    /// # Errors
    /// [`UnusableAuthority`].
    pub fn new(allow_private: bool, authorities: Option<&Path>) -> Result<Self, UnusableAuthority> {
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
        Ok(Self::trusting(roots, allow_private))
    }

    fn trusting(roots: RootCertStore, allow_private: bool) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Poster { allow_private, tls: TlsConnector::from(Arc::new(config)) }
    }

    pub(super) async fn post(&self, url: &HookUrl, message: Message) -> Result<Answer, NoAnswer> {
        tokio::time::timeout(TIMEOUT, self.post_unbounded(url, message)).await.unwrap_or(Err(NoAnswer::TimedOut))
    }

    async fn post_unbounded(&self, url: &HookUrl, message: Message) -> Result<Answer, NoAnswer> {
        if !url.is_https() && !self.allow_private {
            return Err(NoAnswer::NotHttps);
        }
        let secure = url.is_https();
        let url = url.as_url();
        let stream = self.connect(url).await?;
        let request = request(url, message).ok_or(NoAnswer::Unknown)?;
        if secure {
            let name = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let name = ServerName::try_from(name).map_err(|_| NoAnswer::Unknown)?;
            let stream = self.tls.connect(name, stream).await.map_err(|_| NoAnswer::NotTrusted)?;
            exchange(stream, request).await
        } else {
            exchange(stream, request).await
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
            found.into_iter().filter(|address| is_allowed(address.ip(), self.allow_private)).collect();
        if allowed.is_empty() {
            return Err(NoAnswer::Refused);
        }
        for address in allowed.into_iter().take(MAX_ADDRESSES) {
            if let Ok(stream) = TcpStream::connect(address).await {
                return Ok(stream);
            }
        }
        Err(NoAnswer::NotConnected)
    }
}

fn request(url: &Url, message: Message) -> Option<Request<Full<Bytes>>> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str()?),
        None => url.host_str()?.to_owned(),
    };
    let request = Request::post(target)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("usherd/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    let request = message.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body(Full::from(message.body)).ok()
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer::BrokenOff)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|_| NoAnswer::BrokenOff)?;
        let status = answer.status().as_u16();
        // The status counts; a body that is too long or never ends changes nothing about it.
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect();
        let body = tokio::time::timeout(Duration::from_secs(1), body).await.ok().and_then(Result::ok);
        Ok(Answer { status, body: body.map(|body| body.to_bytes()).unwrap_or_default() })
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may be done before its last bytes are looked at.
        _ = connection => exchange.await,
    }
}
