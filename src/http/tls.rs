//! TLS in the daemon, for those who have no proxy in front of it.
//!
//! The files are read again every [`RELOAD_EVERY`] and compared by content, so a renewed certificate is taken up
//! whichever way it came: written over, renamed into place, or through the `..data` link of a Kubernetes volume.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How often a daemon looks at the files.
pub const RELOAD_EVERY: Duration = Duration::from_secs(30);

/// Where the certificate chain and the key lie, both PEM.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// From the connection to the end of the handshake.
    pub handshake_timeout: Duration,
}

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} holds no PEM certificate")]
    NoCertificate { path: PathBuf },
    #[error("{path} holds no PEM private key")]
    NoKey { path: PathBuf },
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// An acceptor whose certificate can change while it serves.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    config: ArcSwap<ServerConfig>,
    loaded: Fingerprint,
}

/// SHA-256 of both files: enough to see a change, and nothing to leak.
type Fingerprint = [u8; 32];

/// What the files hold. It has no `Debug`, since one of them is a secret.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files once, so that a mistake shows at the start.
    pub async fn load(settings: TlsSettings) -> Result<Arc<Self>, TlsError> {
        let files = Files::read(&settings).await?;
        let config = ArcSwap::from_pointee(files.server_config(&settings)?);
        Ok(Arc::new(Tls { settings, config, loaded: files.fingerprint() }))
    }

    /// The server's side of a handshake; [`io::ErrorKind::TimedOut`] past the deadline.
    pub async fn handshake(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.config.load_full());
        tokio::time::timeout(self.settings.handshake_timeout, acceptor.accept(socket)).await?
    }

    /// Takes up changed files until `stop`, looking at them `every` so often. Files that cannot be used are reported once per change, and the old
    /// certificate stays.
    pub async fn reload_when_changed(&self, every: Duration, stop: CancellationToken, metrics: Arc<Metrics>) {
        let mut seen = Some(self.loaded);
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let found = Files::read(&self.settings).await;
            let now = found.as_ref().ok().map(Files::fingerprint);
            if now == seen {
                continue;
            }
            seen = now;
            match found.as_ref().map_err(ToString::to_string).and_then(|files| self.take_up(files)) {
                Ok(()) => tracing::info!("the TLS certificate was reloaded"),
                Err(error) => {
                    metrics.certificate_reload_failed();
                    tracing::error!(error, "the changed TLS files cannot be used; the old certificate stays");
                }
            }
        }
    }

    fn take_up(&self, files: &Files) -> Result<(), String> {
        let config = files.server_config(&self.settings).map_err(|error| error.to_string())?;
        self.config.store(Arc::new(config));
        Ok(())
    }
}

impl Files {
    async fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path).await.map_err(|source| TlsError::Read { path: path.clone(), source })
        };
        Ok(Files { certificate: read(&settings.certificate).await?, key: read(&settings.key).await? })
    }

    fn fingerprint(&self) -> Fingerprint {
        Sha256::new().chain_update(&self.certificate).chain_update(&self.key).finalize().into()
    }

    fn server_config(&self, settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.certificate).filter_map(Result::ok).collect();
        if chain.is_empty() {
            return Err(TlsError::NoCertificate { path: settings.certificate.clone() });
        }
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: settings.key.clone() })?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}
