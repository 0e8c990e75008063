//! Headers that every answer carries, whatever made it.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;

/// Everything a page may load comes from this service, nothing may frame it, and no script stands in the page itself;
/// but for profile pictures from the hosts that the operator names.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; img-src 'self' data:";

/// The layer's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityHeaders {
    /// Whether the public URL is https, so that browsers may be told never to come without it.
    https: bool,
    content_security_policy: HeaderValue,
}

impl SecurityHeaders {
    /// `photo_hosts` are host names with or without a port, as `console.photo_hosts` has them.
    pub fn new(https: bool, photo_hosts: &[String]) -> Self {
        let policy =
            photo_hosts.iter().fold(CONTENT_SECURITY_POLICY.to_owned(), |policy, host| policy + " https://" + host);
        let fallback = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
        SecurityHeaders { https, content_security_policy: HeaderValue::try_from(policy).unwrap_or(fallback) }
    }
}

/// The layer.
pub async fn secure(State(settings): State<SecurityHeaders>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    add(response.headers_mut(), &settings);
    response
}

/// A handler's own `Cache-Control` stays: assets are immutable.
fn add(headers: &mut HeaderMap, settings: &SecurityHeaders) {
    headers.insert(header::CONTENT_SECURITY_POLICY, settings.content_security_policy.clone());
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
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
        add(&mut headers, &SecurityHeaders::new(false, &[]));
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
        add(&mut headers, &SecurityHeaders::new(true, &[]));
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    }
}
