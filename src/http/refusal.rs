//! Why a layer turns a request away before, or instead of, its handler.

use std::borrow::Cow;

use axum::http::{StatusCode, Uri};
use axum::response::Response;

use super::request_id::RequestId;

/// A request that a layer of the edge refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The `Host` is not one of ours (RFC 9110 §15.5.20).
    Misdirected,
    /// The body did not arrive within its deadline (RFC 9110 §15.5.9).
    BodyTooSlow,
    /// The body is larger than this many bytes (RFC 9110 §15.5.14).
    BodyTooLarge { limit: u64 },
    /// The handler did not answer within the request's deadline. What it was doing may have been done.
    DeadlinePassed,
    /// The handler panicked.
    Panicked,
}

impl Refusal {
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Refusal::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::DeadlinePassed => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Panicked => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One sentence for the person or program that asked; it gives away nothing of the inside.
    pub fn detail(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Refusal::Misdirected => "This service is not served under the host name of the request.",
            Refusal::BodyTooSlow => "The request body did not arrive in time.",
            // RFC 7644 §3.7.4: a bulk request that is too large is told how large it may be.
            Refusal::BodyTooLarge { limit } => {
                let text =
                    format!("The request body is larger than {limit} bytes, which is the most that is taken here.");
                return Cow::Owned(text);
            }
            Refusal::DeadlinePassed => "The request could not be finished in time. Repeating it is safe.",
            Refusal::Panicked => "The request failed because of a fault in this service.",
        })
    }

    /// Seconds for a `Retry-After` header, where waiting helps.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Refusal::DeadlinePassed => Some(2),
            Refusal::Misdirected | Refusal::BodyTooSlow | Refusal::BodyTooLarge { .. } | Refusal::Panicked => None,
        }
    }

    /// Whether the rest of the request is still on the wire, so that the connection cannot be used again.
    pub fn closes_connection(self) -> bool {
        match self {
            Refusal::BodyTooSlow | Refusal::BodyTooLarge { .. } => true,
            Refusal::Misdirected | Refusal::DeadlinePassed | Refusal::Panicked => false,
        }
    }
}

/// What a renderer may know of the request that is refused.
#[derive(Debug)]
pub struct Refused<'a> {
    pub uri: &'a Uri,
    pub request_id: Option<&'a RequestId>,
    /// Whether the client names `text/html` in `Accept`, that is, a person with a browser asks.
    pub wants_html: bool,
}

/// Writes a refusal in the language of the path: a SCIM error, a JSON error, or a page. `Retry-After` and
/// `Connection` are set by the layer afterwards.
pub type RenderRefusal = fn(&Refused<'_>, Refusal) -> Response;
