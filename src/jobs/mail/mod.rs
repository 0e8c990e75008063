//! Mail: what usherd writes to people, and how it leaves.
//!
//! ```text
//! Mail (what to say) ─ templates, words ─> Rendered ─ message ─> lettre::Message ─ transport ─> relay or file
//! ```
//!
//! - [`Mail`] is one value per kind of mail; [`Templates`] renders it to a subject, text and HTML in the reader's
//!   language. Nothing that a person chose gets into a subject, and every name passes `domain::text` first.
//! - [`Mailer::compose`] makes the RFC 5322 message. Message-ID and Date are the caller's, and nothing random is added,
//!   so that a repetition after a crash is the same message byte for byte.
//! - [`Transport`] hands it over and says by [`SendFailure`] who has to act when that fails.
//! - [`backoff`] says when to try again.
//!
//! The queue itself, claims and attempts, is the worker's business. Link and code are made while sending and are
//! stored nowhere.

pub mod backoff;
mod failure;
mod files;
mod kinds;
mod message;
mod relay;
mod smtp;
mod templates;
mod transport;

use std::path::PathBuf;
use std::time::Duration;

pub use failure::SendFailure;
pub use kinds::{Alert, AlertLine, Invitation, Mail};
pub use message::{Addressee, MessageId};
pub use relay::{InvalidRelayUrl, RelayUrl, Security};
pub use templates::{Context, Rendered, TemplateError, Templates};
pub use transport::{Accepted, SetupError, Transport};

/// The settings of this part.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The relay; none: mails are written to files.
    pub url: Option<RelayUrl>,
    /// The From of each mail, and its envelope sender, to which bounces return.
    pub from: lettre::message::Mailbox,
    /// Where the operator's own templates are: `<locale>/<name>.{txt,html}` and `<locale>/strings.toml`.
    pub templates_dir: Option<PathBuf>,
    /// The bound on one whole delivery, from connecting to the reply.
    pub timeout: Duration,
    /// Where mail files go when there is no relay.
    pub directory: PathBuf,
    /// The host of the public URL: right side of each Message-ID, and the name given in EHLO.
    pub message_id_domain: String,
}

/// Why mail cannot work with these settings.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Templates, sender and transport together.
#[derive(Debug)]
pub struct Mailer {
    templates: Templates,
    transport: Transport,
    from: lettre::message::Mailbox,
    message_id_domain: String,
}

impl Mailer {
    /// Reads and tries all templates; connects to nothing.
    ///
    /// # Errors
    /// A template of the operator that does not work, with file and line; a CA file that does not.
    pub fn new(settings: &Settings) -> Result<Self, MailError> {
        Ok(Mailer {
            templates: Templates::load(settings.templates_dir.as_deref())?,
            transport: Transport::new(settings)?,
            from: message::safe_mailbox(&settings.from),
            message_id_domain: settings.message_id_domain.clone(),
        })
    }

    /// Renders `mail` and makes the message to `addressee`.
    ///
    /// # Errors
    /// [`SendFailure::RecipientRefused`] when the address is none; [`SendFailure::Configuration`] when an operator's
    /// template fails on this mail.
    pub fn compose(
        &self,
        mail: &Mail,
        context: &Context<'_>,
        addressee: &Addressee<'_>,
    ) -> Result<lettre::Message, SendFailure> {
        let rendered = self.templates.render(mail, context).map_err(|error| SendFailure::Configuration {
            code: None,
            text: error.to_string(),
            of_mail: true,
        })?;
        let id = MessageId::new(addressee.id, &self.message_id_domain);
        message::message(&rendered, &self.from, addressee, &id)
    }

    pub const fn transport(&self) -> &Transport {
        &self.transport
    }

    pub const fn templates(&self) -> &Templates {
        &self.templates
    }
}
