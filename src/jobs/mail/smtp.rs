//! The conversation with a mail relay.
//!
//! lettre's pooled transport hides which command a refusal answered, and whether a broken connection had already taken
//! the message. Both decide what becomes of a mail, so usherd speaks the commands itself, over lettre's connection,
//! and keeps its own few idle connections.

use std::error::Error as _;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lettre::Message;
use lettre::address::{Address, Envelope};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Noop, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::time::{Instant, timeout};
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::failure::{self, Refusal, SendFailure};
use super::relay::{RelayUrl, Security};
use super::transport::{Accepted, SetupError};
use crate::domain::text::safe_line;

/// How far a conversation has come: the command that is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// TCP, implicit TLS, greeting, EHLO.
    Connect,
    StartTls,
    Authentication,
    /// MAIL FROM.
    Sender,
    /// RCPT TO.
    Recipient,
    /// The DATA command, before any content.
    Data,
    /// The content and the reply to it. From here on a silence proves nothing.
    Content,
}

/// A relay, with a few open connections to it.
pub(super) struct Smtp {
    relay: RelayUrl,
    tls: Option<TlsParameters>,
    hello: ClientId,
    /// The bound on one whole delivery; lettre's own covers only the TCP connect.
    limit: Duration,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

/// Only where it sends: the rest holds a password, or is lettre's.
impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("relay", &self.relay).finish_non_exhaustive()
    }
}

/// One delivery in progress. It lives outside the timeout, so that the phase can be read when time ran out.
struct Session {
    phase: Phase,
    connection: Option<AsyncSmtpConnection>,
}

impl Smtp {
    /// Relays drop idle connections after some time, a few of them silently.
    const IDLE_LIMIT: Duration = Duration::from_secs(10);
    const MAX_IDLE: usize = 4;
    /// How long a goodbye may take.
    const QUIT_LIMIT: Duration = Duration::from_secs(1);

    /// `hello` is the name that EHLO gives: the host of the public URL.
    pub fn new(relay: RelayUrl, hello: &str, limit: Duration) -> Result<Self, SetupError> {
        let tls = match relay.security {
            Security::Plain => None,
            Security::StartTls | Security::Tls => Some(tls_parameters(&relay)?),
        };
        Ok(Smtp { relay, tls, hello: client_id(hello), limit, idle: Mutex::default() })
    }

    pub async fn send(&self, message: &Message) -> Result<Accepted, SendFailure> {
        self.within_limit(async |session| self.deliver(session, message).await).await
    }

    /// Connects, signs in and asks for a sign of life (NOOP).
    pub async fn check(&self) -> Result<String, SendFailure> {
        self.within_limit(async |session| {
            let connection = self.connect(&mut session.phase).await?;
            let connection = session.connection.insert(connection);
            command(connection, session.phase, Noop).await?;
            let name = safe_line(connection.server_info().name(), 200);
            let encrypted = if connection.is_encrypted() { "encrypted" } else { "not encrypted" };
            let signed_in = if self.relay.credentials.is_some() { "signed in" } else { "without signing in" };
            Ok(format!("{} answers as {name}, {encrypted}, {signed_in}", self.relay))
        })
        .await
    }

    /// Says goodbye on all idle connections: the queue is empty, or the daemon ends.
    pub async fn close_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for Idle { connection, .. } in idle {
            close(connection).await;
        }
    }

    async fn within_limit<T>(
        &self,
        conversation: impl AsyncFnOnce(&mut Session) -> Result<T, SendFailure>,
    ) -> Result<T, SendFailure> {
        let mut session = Session { phase: Phase::Connect, connection: None };
        // lettre traces each line it writes: the password, the link, the whole mail. None of it may reach a log.
        let unlogged = conversation(&mut session).with_subscriber(Dispatch::none());
        let outcome = timeout(self.limit, unlogged).await;
        let outcome =
            outcome.unwrap_or_else(|_| Err(failure::broken(session.phase, format!("no answer in {:?}", self.limit))));
        match (session.connection, &outcome) {
            (Some(connection), Ok(_)) => self.park(connection).await,
            // A refused transaction would need RSET, and what was broken or late needs no goodbye.
            (Some(connection), Err(failure)) if failure.code().is_some() => close(connection).await,
            (_, _) => {}
        }
        outcome
    }

    async fn deliver(&self, session: &mut Session, message: &Message) -> Result<Accepted, SendFailure> {
        let content = message.formatted();
        if let Some(mut connection) = self.reuse() {
            session.phase = Phase::Sender;
            match mail_from(&mut connection, message.envelope(), &content).await {
                Ok(()) => return hand_over(session, connection, message.envelope(), &content).await,
                // The relay had dropped the connection while it lay idle. Nothing was sent: begin afresh, once.
                Err(Trouble::Smtp(error)) if gone(&error) => {}
                Err(trouble) => {
                    session.connection = Some(connection);
                    return Err(trouble.at(Phase::Sender));
                }
            }
        }
        session.phase = Phase::Connect;
        let mut connection = self.connect(&mut session.phase).await?;
        session.phase = Phase::Sender;
        let begun = mail_from(&mut connection, message.envelope(), &content).await;
        if let Err(trouble) = begun {
            session.connection = Some(connection);
            return Err(trouble.at(Phase::Sender));
        }
        hand_over(session, connection, message.envelope(), &content).await
    }

    /// A connection that is greeted, encrypted and signed in, as the URL asks.
    async fn connect(&self, phase: &mut Phase) -> Result<AsyncSmtpConnection, SendFailure> {
        let wrapper = self.tls.clone().filter(|_| self.relay.security == Security::Tls);
        let server = (self.relay.host.as_str(), self.relay.port);
        let connecting =
            AsyncSmtpConnection::connect_tokio1(server, Some(self.limit), &self.hello, wrapper, None).await;
        let mut connection = connecting.map_err(|error| classify(Phase::Connect, &error))?;
        if let (Security::StartTls, Some(tls)) = (self.relay.security, &self.tls) {
            *phase = Phase::StartTls;
            let upgraded = connection.starttls(tls.clone(), &self.hello).await;
            upgraded.map_err(|error| classify(Phase::StartTls, &error))?;
        }
        if let Some(credentials) = &self.relay.credentials {
            *phase = Phase::Authentication;
            let credentials = Credentials::new(credentials.user.clone(), credentials.password.clone());
            let signed_in = connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await;
            signed_in.map_err(|error| classify(Phase::Authentication, &error))?;
        }
        Ok(connection)
    }

    /// The connection that was used last, if it has not lain idle for long.
    fn reuse(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        idle.retain(|idle| now.duration_since(idle.since) < Self::IDLE_LIMIT);
        idle.pop().map(|idle| idle.connection)
    }

    async fn park(&self, connection: AsyncSmtpConnection) {
        let surplus = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < Self::MAX_IDLE {
                idle.push(Idle { connection, since: Instant::now() });
                None
            } else {
                Some(connection)
            }
        };
        if let Some(connection) = surplus {
            close(connection).await;
        }
    }
}

/// QUIT, without waiting long for the answer.
async fn close(mut connection: AsyncSmtpConnection) {
    let goodbye = connection.abort().with_subscriber(Dispatch::none());
    if timeout(Smtp::QUIT_LIMIT, goodbye).await.is_err() {
        tracing::debug!("the mail relay did not answer QUIT");
    }
}

/// What went wrong at MAIL FROM.
enum Trouble {
    Smtp(Error),
    /// The address needs SMTPUTF8 (RFC 6531), which the relay does not offer.
    Utf8Address,
}

impl Trouble {
    fn at(self, phase: Phase) -> SendFailure {
        match self {
            Trouble::Smtp(error) => classify(phase, &error),
            Trouble::Utf8Address => SendFailure::RecipientRefused {
                code: None,
                text: "the mail relay takes no addresses outside ASCII (no SMTPUTF8)".to_owned(),
            },
        }
    }
}

fn is_ascii(address: &Address) -> bool {
    AsRef::<str>::as_ref(address).is_ascii()
}

async fn mail_from(connection: &mut AsyncSmtpConnection, envelope: &Envelope, content: &[u8]) -> Result<(), Trouble> {
    let mut parameters = Vec::new();
    if !envelope.to().iter().chain(envelope.from()).all(is_ascii) {
        if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
            return Err(Trouble::Utf8Address);
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    // Only the headers of a mail to such an address hold anything but ASCII; the parts are encoded.
    if !content.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(Mail::new(envelope.from().cloned(), parameters)).await.map(drop).map_err(Trouble::Smtp)
}

/// RCPT TO, DATA and the content, after MAIL FROM was taken.
async fn hand_over(
    session: &mut Session,
    connection: AsyncSmtpConnection,
    envelope: &Envelope,
    content: &[u8],
) -> Result<Accepted, SendFailure> {
    let connection = session.connection.insert(connection);
    session.phase = Phase::Recipient;
    for recipient in envelope.to() {
        command(connection, Phase::Recipient, Rcpt::new(recipient.clone(), Vec::new())).await?;
    }
    session.phase = Phase::Data;
    command(connection, Phase::Data, Data).await?;
    session.phase = Phase::Content;
    let reply = connection.message(content).await.map_err(|error| classify(Phase::Content, &error))?;
    let lines: Vec<&str> = reply.message().collect();
    Ok(Accepted { reply: safe_line(&format!("{} {}", reply.code(), lines.join(" ")), 500) })
}

async fn command(
    connection: &mut AsyncSmtpConnection,
    phase: Phase,
    command: impl std::fmt::Display,
) -> Result<Response, SendFailure> {
    connection.command(command).await.map_err(|error| classify(phase, &error))
}

/// Whether a connection that lay idle proves to be closed: no reply at all, or 421 (RFC 5321 §3.8).
fn gone(error: &Error) -> bool {
    error.status().is_none_or(|code| u16::from(code) == 421)
}

/// What an error of lettre means. It keeps the reply's text as the error's source.
fn classify(phase: Phase, error: &Error) -> SendFailure {
    let detail = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let text = safe_line(&detail, 500);
    if let Some(code) = error.status() {
        return failure::refused(phase, Refusal { code: code.into(), text });
    }
    // lettre's client errors are promises that the relay does not keep: no STARTTLS, no common way to sign in.
    if phase < Phase::Content && (error.is_client() || certificate_trouble(error)) {
        return SendFailure::Configuration { code: None, text, of_mail: false };
    }
    failure::broken(phase, text)
}

/// Whether TLS failed for good (an unknown issuer, another name, no TLS at all) rather than for want of a connection.
/// lettre reports either as a connection error; rustls's own error is inside the I/O error.
fn certificate_trouble(error: &Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        let tls = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if tls.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        source = inner.source();
    }
    false
}

fn client_id(host: &str) -> ClientId {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(std::net::IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(std::net::IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Domain(host.to_owned()),
    }
}

/// With a CA file, only what it signed is trusted; otherwise Mozilla's roots.
fn tls_parameters(relay: &RelayUrl) -> Result<TlsParameters, SetupError> {
    let mut parameters = TlsParameters::builder(relay.host.clone());
    if let Some(file) = &relay.tls_ca_file {
        let unreadable = |source| SetupError::CaFile { file: file.clone(), source };
        let pem = std::fs::read(file).map_err(unreadable)?;
        let certificates = CertificateDer::pem_slice_iter(&pem).filter(Result::is_ok).count();
        if certificates == 0 {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "no PEM certificate in it")));
        }
        let authority = Certificate::from_pem(&pem).map_err(SetupError::Tls)?;
        parameters = parameters.certificate_store(CertificateStore::None).add_root_certificate(authority);
    }
    parameters.build().map_err(SetupError::Tls)
}
