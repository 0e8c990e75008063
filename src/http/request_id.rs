//! A name for every request: in its answer, in its log lines, in the errors that a person reports.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::metrics::{Metrics, RouteClass};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_LENGTH: usize = 64;

/// A request's name, as a request extension: the client's or proxy's own when it is sane, else a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The inbound `X-Request-Id` when it is 1 to 64 token characters (RFC 9110 §5.6.2): nothing that could break out
    /// of a log line or a JSON text.
    fn inbound(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(X_REQUEST_ID)?;
        let sane = (1..=MAX_LENGTH).contains(&value.len()) && value.as_bytes().iter().all(|&byte| is_token(byte));
        sane.then(|| RequestId(value.clone()))
    }

    #[expect(clippy::disallowed_methods, reason = "the edge where a request gets its name")]
    fn fresh() -> Self {
        let text = Uuid::now_v7().as_hyphenated().to_string();
        RequestId(HeaderValue::try_from(text).expect("a UUID is visible ASCII"))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().expect("checked or made as visible ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The layer: names the request, opens its span, counts and logs its end. The query is never logged (filters hold
/// names), nor what follows `/i/` (it is an invitation).
pub async fn name(State(metrics): State<Arc<Metrics>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::inbound(request.headers()).unwrap_or_else(RequestId::fresh);
    let route = RouteClass::of(request.uri().path());
    let span = tracing::info_span!(
        "request",
        id = %id,
        method = %request.method(),
        path = loggable_path(request.uri().path()).as_ref(),
    );
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    metrics.request(route, status, elapsed);
    span.in_scope(|| tracing::info!(status, ms = elapsed.as_millis(), "answered"));
    response.headers_mut().insert(X_REQUEST_ID, id.0);
    response
}

/// A path without secrets and without whole mail addresses (a userName often is one).
fn loggable_path(path: &str) -> Cow<'_, str> {
    for secret in ["/i/", "/confirm/", "/hooks/"] {
        if path.starts_with(secret) {
            return Cow::Owned(format!("{secret}…"));
        }
    }
    let is_address = |segment: &str| segment.contains('@') || segment.contains("%40");
    let is_token = |segment: &str| segment.starts_with("usi_") || segment.starts_with("usp_");
    if !path.split('/').any(|segment| is_address(segment) || is_token(segment)) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|segment| if is_address(segment) || is_token(segment) { "…" } else { segment });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbound(value: &str) -> Option<RequestId> {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, value.parse().unwrap());
        RequestId::inbound(&headers)
    }

    #[test]
    fn a_sane_inbound_id_is_kept() {
        let longest = "a".repeat(64);
        for sane in ["0193a5f0-0000-7000-8000-000000000001", "okta.req~42", "a", &longest] {
            assert_eq!(inbound(sane).map(|id| id.to_string()).as_deref(), Some(sane));
        }
    }

    #[test]
    fn an_id_that_could_break_a_log_line_is_replaced() {
        for odd in ["", "a b", "a\"b", "{}", "a,b", "Root=1", &"a".repeat(65)] {
            assert_eq!(inbound(odd), None, "{odd}");
        }
    }

    #[test]
    fn neither_an_invitation_nor_a_hook_s_secret_reaches_the_log() {
        assert_eq!(loggable_path("/i/c2VjcmV0"), "/i/…");
        assert_eq!(loggable_path("/hooks/mail/c2VjcmV0"), "/hooks/…");
        assert_eq!(loggable_path("/confirm/c2VjcmV0"), "/confirm/…");
        assert_eq!(loggable_path("//i/usi_c2VjcmV0"), "//i/…");
        assert_eq!(loggable_path("/scim/v2/Users"), "/scim/v2/Users");
    }

    #[test]
    fn no_whole_address_reaches_the_log() {
        assert_eq!(loggable_path("/api/v1/access/ada@example.com"), "/api/v1/access/…");
        assert_eq!(loggable_path("/scim/v2/Users/ada%40example.com/x"), "/scim/v2/Users/…/x");
    }
}
