//! The one mapping of errors to JSON answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::directory::Error;
use crate::domain::lifecycle::Refusal;
use crate::http::issuers::ASK_EVERY;
use crate::http::service::{Asked, ISSUER_AWAY, Turned};
use crate::metrics::LimitKind;

/// An error of the API: a code for programs, a sentence for people, and the request id.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: FailureBody,
    retry_after: Option<u64>,
}

/// The body of every refusal.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Failure")]
pub struct FailureBody {
    error: FailureDetail,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FailureDetail {
    /// A stable word for programs, such as `not_found`, `missing_scope`, `no_license`.
    code: String,
    /// A sentence for people: what is wrong, and what to do.
    message: String,
    /// By which the request is found in logs and in the audit.
    request_id: Option<String>,
}

impl Failure {
    pub fn plain(status: StatusCode, code: &str, message: impl Into<String>, asked: &Asked) -> Self {
        let error =
            FailureDetail { code: code.to_owned(), message: message.into(), request_id: asked.request_id.clone() };
        Failure { status, body: FailureBody { error }, retry_after: None }
    }

    pub fn of(turned: Turned, asked: &Asked) -> Self {
        let error = match turned {
            Turned::Throttled(throttled) => {
                let seconds = throttled.retry_after();
                let (code, what) = match throttled.limit {
                    LimitKind::Streams => ("too_many_streams", "too many streams of events are open: close one, or"),
                    LimitKind::Token | LimitKind::Address | LimitKind::SignIn => ("rate_limited", "too many requests;"),
                };
                let message = format!("{what} try again in {seconds} s");
                let failure = Failure::plain(StatusCode::TOO_MANY_REQUESTS, code, message, asked);
                return Failure { retry_after: Some(seconds), ..failure };
            }
            Turned::IssuerAway => {
                let failure = Failure::plain(StatusCode::SERVICE_UNAVAILABLE, "issuer_away", ISSUER_AWAY, asked);
                return Failure { retry_after: Some(ASK_EVERY.as_secs()), ..failure };
            }
            Turned::Away(error) => error,
        };
        let message = error.to_string();
        let (status, code, message, retry_after) = match error {
            Error::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", message, None),
            Error::NotAccountAdmin => (StatusCode::FORBIDDEN, "role_needed", message, None),
            Error::MissingScope(_) => (StatusCode::FORBIDDEN, "missing_scope", message, None),
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", message, None),
            Error::Protocol(error) => {
                let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
                (status, "invalid", error.detail, None)
            }
            Error::Taken { attribute } => (StatusCode::CONFLICT, "taken", format!("{attribute} is taken"), None),
            Error::PreconditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, "changed", message, None),
            Error::TooMany(_) => (StatusCode::CONFLICT, "too_many", message, None),
            Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid", message, None),
            Error::Refused(refusal) => {
                let (status, wait) = match &refusal {
                    Refusal::NotFound => (StatusCode::NOT_FOUND, None),
                    Refusal::ManagedByOther { .. } | Refusal::AboveOwnRole | Refusal::Yourself => {
                        (StatusCode::FORBIDDEN, None)
                    }
                    Refusal::TooSoon { retry_after } => {
                        (StatusCode::TOO_MANY_REQUESTS, Some(retry_after.as_secs().max(1)))
                    }
                    Refusal::Braked { retry_after } => {
                        (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after.as_secs().max(1)))
                    }
                    _ => (StatusCode::CONFLICT, None),
                };
                (status, refusal.code(), message, wait)
            }
            Error::Paused { retry_after, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "client_paused", message, Some(retry_after.as_secs().max(1)))
            }
            Error::Unavailable { reason, retry_after } => {
                tracing::warn!(%reason, "the store is not available");
                let message = "the store is not available at the moment; repeating the request is safe".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, Some(retry_after.as_secs().max(1)))
            }
            Error::Internal(detail) => {
                tracing::error!(%detail, "a request failed");
                let message = "the request failed because of a fault in this service".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", message, None)
            }
        };
        Failure { retry_after, ..Failure::plain(status, code, message, asked) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
