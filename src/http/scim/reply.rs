//! SCIM replies: resources, lists, and the one mapping of errors.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::directory::Error;
use crate::domain::lifecycle::Refusal;
use crate::http::issuers::ASK_EVERY;
use crate::http::limits::Throttled;
use crate::http::service::{ISSUER_AWAY, Turned};
use crate::scim::{ScimError, ScimType};

const SCIM_JSON: HeaderValue = HeaderValue::from_static("application/scim+json");

/// An error answer in the making, with the headers that belong to it.
#[derive(Debug)]
pub struct Failure {
    error: ScimError,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The class of the error, for the story.
    cause: &'static str,
}

impl Failure {
    /// 405, with the methods that are allowed (RFC 9110 §15.5.6).
    pub fn method(allowed: &[Method]) -> Self {
        let allowed = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let error = ScimError::plain(405, format!("this method is not allowed here; allowed: {allowed}"));
        Failure::from(error).with(header::ALLOW, &allowed)
    }

    pub fn error(&self) -> &ScimError {
        &self.error
    }

    pub fn cause(&self) -> &'static str {
        self.cause
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// What the client reads. The request id in the detail is what an identity provider's log shows its admin.
    fn told(&self, request_id: Option<&str>) -> ScimError {
        let mut error = self.error.clone();
        if let Some(id) = request_id {
            error.detail = format!("{} (request {id})", error.detail);
        }
        error
    }

    /// The error of an operation of a bulk request. There is no header to say when to come again, so its text does.
    pub fn of_operation(mut self, request_id: Option<&str>) -> ScimError {
        let mut headers = self.headers.iter();
        let retry_after =
            headers.find(|(name, _)| name == header::RETRY_AFTER).and_then(|(_, value)| value.to_str().ok());
        if let Some(seconds) = retry_after {
            self.error.detail = format!("{} (Retry-After: {seconds} s)", self.error.detail);
        }
        self.told(request_id)
    }

    /// The answer.
    pub fn respond(self, request_id: Option<&str>) -> Response {
        let mut response = error(&self.told(request_id));
        response.headers_mut().extend(self.headers);
        response
    }
}

impl From<ScimError> for Failure {
    fn from(error: ScimError) -> Self {
        let cause = error.scim_type.map_or("", ScimType::as_str);
        Failure { error, headers: Vec::new(), cause }
    }
}

impl From<Turned> for Failure {
    fn from(turned: Turned) -> Self {
        match turned {
            Turned::Away(error) => error.into(),
            Turned::Throttled(throttled) => throttled.into(),
            Turned::IssuerAway => {
                let failure = Failure { cause: "issuer_away", ..Failure::from(ScimError::plain(503, ISSUER_AWAY)) };
                failure.with(header::RETRY_AFTER, &ASK_EVERY.as_secs().to_string())
            }
        }
    }
}

impl From<Throttled> for Failure {
    fn from(throttled: Throttled) -> Self {
        let seconds = throttled.retry_after();
        let error = ScimError::plain(429, format!("too many requests; try again in {seconds} s"));
        let failure = Failure { cause: "throttled", ..Failure::from(error) };
        failure.with(header::RETRY_AFTER, &seconds.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let cause = super::story::cause(&error);
        Failure { cause, ..said(error) }
    }
}

/// What a client reads of an error.
fn said(error: Error) -> Failure {
    match error {
        Error::Protocol(error) => error.into(),
        Error::Unauthorized => {
            let detail = "a valid bearer token is needed: check the token that this client is configured with, and \
                              whether it was revoked or has expired";
            ScimError::plain(401, detail).into()
        }
        error @ Error::NotAccountAdmin => ScimError::plain(403, error.to_string()).into(),
        Error::MissingScope(scope) => {
            ScimError::plain(403, format!("the token lacks the scope {scope}; make one that has it")).into()
        }
        Error::NotFound(detail) => ScimError::plain(404, detail).into(),
        Error::Taken { attribute } => {
            ScimError::of(ScimType::Uniqueness, format!("{attribute}: another resource has this value already")).into()
        }
        Error::PreconditionFailed { current } => {
            let detail = format!("the resource is at version {current}; read it again and repeat the change");
            Failure::from(ScimError::plain(412, detail)).with(header::ETAG, &current)
        }
        Error::TooMany(detail) => ScimError::plain(409, detail).into(),
        Error::Invalid(detail) => ScimError::invalid_value(detail).into(),
        Error::Paused { retry_after, .. } => Failure::from(ScimError::plain(503, error.to_string()))
            .with(header::RETRY_AFTER, &retry_after.as_secs().max(1).to_string()),
        Error::Unavailable { reason, retry_after } => {
            tracing::warn!(%reason, "the store is not available");
            let detail = "the store is not available at the moment; repeating the request is safe";
            Failure::from(ScimError::plain(503, detail))
                .with(header::RETRY_AFTER, &retry_after.as_secs().max(1).to_string())
        }
        Error::Internal(detail) => {
            tracing::error!(%detail, "a request failed");
            ScimError::plain(500, "the request failed because of a fault in this service").into()
        }
        Error::Refused(refusal) => refused(&refusal),
    }
}

fn refused(refusal: &Refusal) -> Failure {
    let detail = refusal.to_string();
    match refusal {
        Refusal::AlreadyExists | Refusal::DeactivatedByAdmin => ScimError::of(ScimType::Uniqueness, detail).into(),
        Refusal::NotFound => ScimError::plain(404, detail).into(),
        Refusal::ManagedByOther { .. } => ScimError::plain(403, detail).into(),
        Refusal::Braked { retry_after } | Refusal::TooSoon { retry_after } => {
            Failure::from(ScimError::plain(503, detail))
                .with(header::RETRY_AFTER, &retry_after.as_secs().max(1).to_string())
        }
        _ => ScimError::plain(409, detail).into(),
    }
}

/// A SCIM error message (RFC 7644 §3.12).
pub fn error(error: &ScimError) -> Response {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, &error.to_json())
}

/// `body` has only string keys.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    bytes(status, serde_json::to_vec(body).expect("its keys are strings"))
}

pub fn bytes(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, SCIM_JSON);
    response
}

pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
