//! From something rendered to an RFC 5322 message.

use std::fmt;
use std::time::{Duration, SystemTime};

use lettre::address::Address;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Message, message};

use super::failure::SendFailure;
use super::templates::Rendered;
use crate::domain::text::safe_name;
use crate::domain::time::Timestamp;

/// The longest line that a mail may have (RFC 5322 §2.1.1), without its end.
const MAX_LINE: usize = 998;

/// The longest address that fits SMTP (RFC 5321 §4.5.3.1, with erratum 1690).
const MAX_ADDRESS: usize = 254;

/// Whom one mail goes to, and what makes it this mail and no other.
#[derive(Debug, Clone, Copy)]
pub struct Addressee<'a> {
    pub address: &'a str,
    /// The person's name, as it is stored; it is made safe here.
    pub name: Option<&'a str>,
    /// The left side of the Message-ID. The same for all attempts.
    pub id: &'a str,
    /// When the mail was queued. The same for all attempts.
    pub date: Timestamp,
}

/// The identity of a mail over all attempts (RFC 5322 §3.6.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    pub fn new(id: &str, domain: &str) -> Self {
        MessageId(format!("<{id}@{domain}>"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Delimits the parts. Derived, where lettre would draw one at random.
    fn boundary(&self) -> String {
        let plain: String = self.0.chars().filter(|c| c.is_ascii_alphanumeric()).take(40).collect();
        format!("=_{plain}")
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The whole message. The envelope sender is the From address, so bounces come back to it; Return-Path is for the last
/// hop to write (RFC 5321 §4.4).
pub(super) fn message(
    rendered: &Rendered,
    from: &Mailbox,
    addressee: &Addressee<'_>,
    id: &MessageId,
) -> Result<Message, SendFailure> {
    let address = address(addressee.address)
        .ok_or_else(|| SendFailure::RecipientRefused { code: None, text: "not an e-mail address".to_owned() })?;
    let to = Mailbox::new(display_name(addressee.name), address);
    let mut builder = Message::builder()
        .from(from.clone())
        .to(to)
        .subject(&rendered.subject)
        .date(system_time(addressee.date))
        .message_id(Some(id.as_str().to_owned()))
        // Keeps vacation replies away (RFC 3834 §5; Exchange reads only its own header).
        .raw_header(raw("Auto-Submitted", "auto-generated"))
        .raw_header(raw("X-Auto-Response-Suppress", "All"))
        .raw_header(raw("Content-Language", &rendered.language));
    if let Some(url) = &rendered.unsubscribe {
        builder = unsubscribe_headers(builder, url);
    }
    let parts = MultiPart::alternative()
        .boundary(id.boundary())
        .singlepart(part(ContentType::TEXT_PLAIN, &rendered.text))
        .singlepart(part(ContentType::TEXT_HTML, &rendered.html));
    builder.multipart(parts).map_err(|error| SendFailure::Configuration {
        code: None,
        text: error.to_string(),
        of_mail: true,
    })
}

/// One click in the mail program ends the reminders (RFC 8058).
fn unsubscribe_headers(builder: message::MessageBuilder, url: &str) -> message::MessageBuilder {
    builder
        .raw_header(raw("List-Unsubscribe", &format!("<{url}>")))
        .raw_header(raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
}

/// A header whose value we made ourselves: ASCII without line breaks.
fn raw(name: &'static str, value: &str) -> HeaderValue {
    let value: String = value.chars().filter(|&c| c.is_ascii_graphic() || c == ' ').collect();
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str(name), value.clone(), value)
}

/// ASCII goes as it is, in lines of any allowed length, so that a link stays whole for whoever reads the source; lettre
/// would break lines above 76 characters. All else is encoded as lettre sees fit, and passes relays without 8BITMIME.
fn part(kind: ContentType, text: &str) -> SinglePart {
    let plain = text.is_ascii() && text.lines().all(|line| line.len() <= MAX_LINE) && !text.contains(['\0', '\r']);
    let body = if plain {
        Body::dangerous_pre_encoded(text.replace('\n', "\r\n").into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text.to_owned())
    };
    SinglePart::builder().header(kind).body(body)
}

/// An address that SMTP commands and headers can carry. The domain is written in ASCII (IDNA), which every relay
/// understands; a user outside ASCII stays and needs a relay with SMTPUTF8.
fn address(text: &str) -> Option<Address> {
    let (user, domain) = text.rsplit_once('@')?;
    let clean = text.len() <= MAX_ADDRESS && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    let domain = match url::Host::parse(domain) {
        Ok(url::Host::Domain(ascii)) if !domain.is_ascii() => ascii,
        _ => domain.to_owned(),
    };
    Address::new(user, domain).ok().filter(|_| clean)
}

/// lettre panics on a name with NUL, CR or LF; [`safe_name`] leaves none.
fn display_name(name: Option<&str>) -> Option<String> {
    name.map(safe_name).filter(|name| !name.is_empty())
}

/// The same mailbox with a name that can be written into a header.
pub(super) fn safe_mailbox(mailbox: &Mailbox) -> Mailbox {
    Mailbox::new(display_name(mailbox.name.as_deref()), mailbox.email.clone())
}

fn system_time(instant: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(instant.as_millis()).unwrap_or(0))
}
