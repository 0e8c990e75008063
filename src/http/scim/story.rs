//! Hands every request over to the story once it was answered, and also when it never was.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::response::Response;
use tokio::sync::mpsc::Sender;

use super::reply::Failure;
use crate::directory::story::{Heard, Refused, body};
use crate::directory::{Access, Error, Request};
use crate::http::service::Service;
use crate::metrics::Metrics;

/// A detail that echoes what came is cut to so many characters.
const MAX_DETAIL: usize = 1_000;

/// Where requests are handed over. A full channel is never waited for.
#[derive(Clone)]
pub struct Teller {
    sender: Sender<Heard>,
    metrics: Arc<Metrics>,
}

impl Teller {
    pub fn new(sender: Sender<Heard>, metrics: Arc<Metrics>) -> Self {
        Teller { sender, metrics }
    }

    fn tell(&self, heard: Heard) {
        if self.sender.try_send(heard).is_err() {
            self.metrics.story_dropped(1);
        }
    }
}

/// What is seen of one request. Dropped without an answer, it tells that there was none.
pub struct Witness<'s> {
    service: &'s Service,
    method: Method,
    target: String,
    request_id: Option<String>,
    /// Who asks; a request of nobody belongs to no account and is not told.
    caller: Option<Request>,
    body: Option<Bytes>,
    body_bytes: usize,
    by_id: bool,
}

impl<'s> Witness<'s> {
    pub fn of(service: &'s Service, request: &axum::extract::Request, request_id: Option<String>) -> Self {
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        Witness::of_operation(service, request.method().clone(), target, request_id)
    }

    /// Of an operation of a bulk request, which is told like a request of its own.
    pub fn of_operation(service: &'s Service, method: Method, target: String, request_id: Option<String>) -> Self {
        Witness { service, method, target, request_id, caller: None, body: None, body_bytes: 0, by_id: false }
    }

    pub fn called_by(&mut self, caller: &Request) {
        self.caller = Some(caller.clone());
    }

    /// The request reads one resource by its id.
    pub fn reads_one(&mut self) {
        self.by_id = true;
    }

    pub fn body_came(&mut self, bytes: &Bytes) {
        self.body_bytes = bytes.len();
        self.body = (bytes.len() <= body::MAX_READ).then(|| bytes.clone());
    }

    pub fn answered(mut self, response: &Response) {
        let made = (response.status() == StatusCode::CREATED).then(|| response.headers().get(header::LOCATION));
        let made = made.flatten().and_then(|location| location.to_str().ok()?.rsplit('/').next().map(str::to_owned));
        self.tell(response.status().as_u16(), None, made);
    }

    pub fn refused(mut self, failure: &Failure) {
        let error = failure.error();
        let refused = Refused {
            scim_type: error.scim_type.map(|kind| kind.as_str().to_owned()),
            detail: crate::domain::text::safe_line(&error.detail, MAX_DETAIL),
            cause: failure.cause().to_owned(),
        };
        self.tell(error.status, Some(refused), None);
    }

    fn tell(&mut self, status: u16, refused: Option<Refused>, made: Option<String>) {
        let Some(Request { account, access: Access::Token { id: token, .. }, notes, .. }) = self.caller.take() else {
            return;
        };
        // A read by id that found its resource tells nobody anything.
        if self.by_id && status < 400 {
            return;
        }
        self.service.story.tell(Heard {
            account,
            token,
            at: self.service.directory.store().now(),
            method: self.method.to_string(),
            target: std::mem::take(&mut self.target),
            status,
            refused,
            request_id: self.request_id.take(),
            body: self.body.take(),
            body_bytes: self.body_bytes,
            made,
            noted: notes.take(),
        });
    }
}

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        let detail = "no answer was sent: the client hung up, or the request took longer than it may".to_owned();
        self.tell(503, Some(Refused { scim_type: None, detail, cause: "unanswered".to_owned() }), None);
    }
}

/// The class of an error, by which the story finds what to do about it.
pub fn cause(error: &Error) -> &'static str {
    match error {
        Error::Unauthorized => "token_not_alive",
        Error::NotAccountAdmin | Error::MissingScope(_) => "missing_scope",
        Error::NotFound(_) => "not_found",
        Error::Protocol(error) => error.scim_type.map_or("", crate::scim::ScimType::as_str),
        Error::Refused(refusal) => refusal.code(),
        Error::Taken { .. } => "taken",
        Error::PreconditionFailed { .. } => "version_mismatch",
        Error::TooMany(_) => "too_many",
        Error::Invalid(_) => "invalidValue",
        Error::Paused { .. } => "client_paused",
        Error::Unavailable { .. } => "unavailable",
        Error::Internal(_) => "internal",
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use uuid::Uuid;

    use super::*;
    use crate::directory::notes::Noted;
    use crate::domain::ids::TokenId;
    use crate::domain::time::Timestamp;

    #[test]
    fn what_finds_the_channel_full_is_counted_and_waits_for_nobody() {
        let (sender, mut heard) = mpsc::channel(1);
        let metrics = Arc::new(Metrics::new());
        let teller = Teller::new(sender, Arc::clone(&metrics));
        let request = |status| Heard {
            account: "default".parse().unwrap(),
            token: TokenId::from_uuid(Uuid::nil()),
            at: Timestamp::EPOCH,
            method: "GET".to_owned(),
            target: "/scim/v2/Users".to_owned(),
            status,
            refused: None,
            request_id: None,
            body: None,
            body_bytes: 0,
            made: None,
            noted: Noted::default(),
        };
        for status in [200, 201, 202] {
            teller.tell(request(status));
        }
        assert_eq!(heard.try_recv().map(|heard| heard.status).ok(), Some(200));
        assert!(metrics.encode().lines().any(|line| line == "usherd_story_dropped_total 2"), "{}", metrics.encode());
    }
}
