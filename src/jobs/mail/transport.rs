//! Where mails go: to a relay, or into files.

use std::io;
use std::path::PathBuf;

use lettre::Message;

use super::Settings;
use super::failure::SendFailure;
use super::files::Files;
use super::relay::RelayUrl;
use super::smtp::Smtp;

/// A mail that is out of our hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What the relay answered (`250 2.0.0 Ok: queued as …`), or the file that was written.
    pub reply: String,
}

/// Why mails cannot be sent with these settings: found at start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the mail relay's CA file {} cannot be used: {source}", file.display())]
    CaFile { file: PathBuf, source: io::Error },
    #[error("TLS for the mail relay cannot be set up: {0}")]
    Tls(lettre::transport::smtp::Error),
}

/// Where mails go.
#[derive(Debug)]
pub struct Transport(Kind);

#[derive(Debug)]
enum Kind {
    Files(Files),
    Smtp(Box<Smtp>),
}

impl Transport {
    /// A relay when there is a URL, else files under [`Settings::directory`]. Connects to nothing yet.
    ///
    /// # Errors
    /// When the CA file cannot be read or holds no certificate.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        let kind = match &settings.url {
            None => Kind::Files(Files::new(settings.directory.clone())),
            Some(relay) => Kind::Smtp(Box::new(smtp(settings, relay)?)),
        };
        Ok(Transport(kind))
    }

    /// Hands one message over, within [`Settings::timeout`]. Sending the same message again is safe: it is the same
    /// Message-ID to a relay, and the same file.
    ///
    /// # Errors
    /// The variant of [`SendFailure`] says who has to do something about it.
    pub async fn send(&self, message: &Message) -> Result<Accepted, SendFailure> {
        match &self.0 {
            Kind::Files(files) => files.send(message).await,
            Kind::Smtp(smtp) => smtp.send(message).await,
        }
    }

    /// Whether mails could be sent now, without sending one: connects and signs in, or writes to the directory.
    /// The text says what was found.
    ///
    /// # Errors
    /// As [`Transport::send`].
    pub async fn check(&self) -> Result<String, SendFailure> {
        match &self.0 {
            Kind::Files(files) => files.check().await,
            Kind::Smtp(smtp) => smtp.check().await,
        }
    }

    /// Says goodbye on idle connections. To be called when the queue is empty and before the end.
    pub async fn close_idle(&self) {
        match &self.0 {
            Kind::Files(_) => {}
            Kind::Smtp(smtp) => smtp.close_idle().await,
        }
    }
}

fn smtp(settings: &Settings, relay: &RelayUrl) -> Result<Smtp, SetupError> {
    Smtp::new(relay.clone(), &settings.message_id_domain, settings.timeout)
}
