//! One POST of a webhook or a security event token.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::HeaderName;
use hyper::{Method, Request};

use crate::domain::webhook::HookUrl;
use crate::outgoing::{self, Answer, Client, NoAnswer, Reach, UnusableAuthority};

/// From looking up the name to the head of the answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// So much of an answer's body is read; the connection ends then.
const MAX_ANSWER: usize = 4 * 1024;

/// Posts webhooks and tokens.
pub struct Poster(Client);

/// What goes out.
pub(super) struct Message {
    pub headers: Vec<(HeaderName, String)>,
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

    pub(super) async fn post(&self, url: &HookUrl, message: Message) -> Result<Answer, NoAnswer> {
        let request = request(url, message).ok_or(NoAnswer::Unknown)?;
        self.0.send(url.as_url(), request).await
    }
}

fn request(url: &HookUrl, message: Message) -> Option<Request<Full<Bytes>>> {
    let request = outgoing::request(Method::POST, url.as_url());
    let request = message.headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body(Full::from(message.body)).ok()
}
