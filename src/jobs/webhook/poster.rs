//! One POST of a webhook.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header};

use crate::domain::webhook::HookUrl;
use crate::outgoing::{self, Client, NoAnswer, Reach, UnusableAuthority};

/// From looking up the name to the head of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// So much of an answer's body is read, and thrown away; the connection ends then.
const MAX_ANSWER: usize = 4 * 1024;

/// Posts webhooks.
pub struct Poster(Client);

/// What goes out.
pub(super) struct Message {
    pub id: String,
    /// Seconds.
    pub timestamp: i64,
    pub signature: String,
    pub body: Vec<u8>,
}

impl Poster {
    /// With the certificate authorities that browsers trust, and those of `authorities` besides. `allow_private` is
    /// `webhooks.allow_private`.
    ///
    /// # Errors
    /// [`UnusableAuthority`].
    pub fn new(allow_private: bool, authorities: Option<&Path>) -> Result<Self, UnusableAuthority> {
        let key = "webhooks.allow_private";
        Client::new(Reach { allow_private, key, timeout: TIMEOUT, max_answer: MAX_ANSWER }, authorities).map(Poster)
    }

    /// The status of the answer.
    pub(super) async fn post(&self, url: &HookUrl, message: Message) -> Result<u16, NoAnswer> {
        let request = request(url, message).ok_or(NoAnswer::Unknown)?;
        self.0.send(url.as_url(), request).await.map(|answer| answer.status)
    }
}

fn request(url: &HookUrl, message: Message) -> Option<Request<Full<Bytes>>> {
    outgoing::request(Method::POST, url.as_url())
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", message.id)
        .header("webhook-timestamp", message.timestamp)
        .header("webhook-signature", message.signature)
        .body(Full::from(message.body))
        .ok()
}
