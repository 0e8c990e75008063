//! Headers that every answer carries, whatever made it.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

/// Everything a page may load comes from this service, nothing may frame it, and no script stands in the page itself.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The layer's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Whether the public URL is https, so that browsers may be told never to come without it.
    pub https: bool,
}

/// The layer.
pub async fn secure(State(settings): State<SecurityHeaders>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    add(response.headers_mut(), settings);
    response
}

/// A handler's own `Cache-Control` and `Content-Security-Policy` stay (assets are immutable, the console may allow
/// photo hosts).
fn add(headers: &mut HeaderMap, settings: SecurityHeaders) {
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    default(header::CACHE_CONTROL, "no-store");
    let mut always = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    always(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    always(header::REFERRER_POLICY, "no-referrer");
    always(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    if settings.https {
        always(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_nothing_of_caching_is_not_stored() {
        let mut headers = HeaderMap::new();
        add(&mut headers, SecurityHeaders { https: false });
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cross-origin-opener-policy"], "same-origin");
        assert!(headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none';"));
        assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert!(!headers.contains_key("strict-transport-security"), "a promise http cannot keep");
    }

    #[test]
    fn an_asset_keeps_its_caching_and_https_is_promised_where_it_is_spoken() {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", HeaderValue::from_static("public, max-age=31536000, immutable"));
        add(&mut headers, SecurityHeaders { https: true });
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    }
}
