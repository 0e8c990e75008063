//! TLS with real handshakes. The keys beside this file guard nothing: they are self-signed and for `localhost` only.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use usherd::http::serve::ServeSettings;
use usherd::http::tls::{Tls, TlsError, TlsSettings};
use usherd::metrics::Metrics;

use crate::support::{PATIENCE, Server, get_path, soon};

const FIRST: (&str, &str) = (include_str!("tls/first.pem"), include_str!("tls/first.key"));
const SECOND: (&str, &str) = (include_str!("tls/second.pem"), include_str!("tls/second.key"));

fn put(directory: &Path, (certificate, key): (&str, &str)) -> TlsSettings {
    let settings = TlsSettings {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        handshake_timeout: Duration::from_secs(5),
    };
    std::fs::write(&settings.certificate, certificate).unwrap();
    std::fs::write(&settings.key, key).unwrap();
    settings
}

/// A client that trusts nothing but `certificate`.
async fn connect(server: &Server, certificate: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let socket = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

#[tokio::test]
async fn a_request_over_tls_is_answered_and_plain_text_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls::load(put(directory.path(), FIRST)).await.unwrap();
    let server = Server::start(ServeSettings { tls: Some(tls), ..ServeSettings::default() }).await;
    let mut stream = connect(&server, FIRST.0).await.unwrap();
    let request = get_path("/hello").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    let plain = server.ask(&get_path("/hello")).await;
    assert!(!plain.contains("hello"), "{plain}");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let settings = TlsSettings { handshake_timeout: Duration::from_millis(50), ..put(directory.path(), FIRST) };
    let tls = Tls::load(settings).await.unwrap();
    let server = Server::start(ServeSettings { tls: Some(tls), ..ServeSettings::default() }).await;
    let mut silent = server.connect().await;
    assert_eq!(silent.closed().await, "");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Tls::load(put(directory.path(), FIRST)).await.unwrap();
    let server = Server::start(ServeSettings { tls: Some(Arc::clone(&tls)), ..ServeSettings::default() }).await;
    let metrics = Arc::new(Metrics::new());
    let stop = CancellationToken::new();
    let reloading = tokio::spawn({
        let (tls, stop, metrics) = (Arc::clone(&tls), stop.clone(), Arc::clone(&metrics));
        async move { tls.reload_when_changed(Duration::from_millis(10), stop, metrics).await }
    });

    put(directory.path(), ("no certificate", FIRST.1));
    until("the broken file is noticed", async || !metrics.encode().contains("\nusherd_tls_reload_failures_total 0\n"))
        .await;
    connect(&server, FIRST.0).await.unwrap();

    put(directory.path(), SECOND);
    until("the second certificate is served", async || connect(&server, SECOND.0).await.is_ok()).await;
    assert!(connect(&server, FIRST.0).await.is_err());
    stop.cancel();
    reloading.await.unwrap();
}

/// Asks until it is so, within the patience of a test.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn a_mistake_in_the_files_names_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let settings = put(directory.path(), (FIRST.0, "no key"));
    let error = Tls::load(settings.clone()).await.unwrap_err();
    assert!(matches!(error, TlsError::NoKey { path } if path == settings.key));
    let mismatch = Tls::load(put(directory.path(), (FIRST.0, SECOND.1))).await.unwrap_err();
    assert!(matches!(mismatch, TlsError::Unusable(_)), "{mismatch}");
    std::fs::remove_file(&settings.certificate).unwrap();
    let missing = Tls::load(settings).await.unwrap_err();
    assert!(missing.to_string().contains("tls.crt cannot be read"), "{missing}");
}
