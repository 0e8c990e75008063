//! What stands in `Authorization`, and how a service says what it wants there.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::service::Service;

/// The credential of a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A token, with or without its scheme: Okta sends what the admin typed, with or without `Bearer`.
    Bearer(String),
    /// A token as a password (RFC 7617). Old connectors want a user name, too; it says nothing.
    Basic { password: String },
}

impl Credential {
    /// `None` when there is none, or one of another scheme.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match value.split_once(' ') {
            None => filled(value).map(Credential::Bearer),
            Some((scheme, secret)) if scheme.eq_ignore_ascii_case("bearer") => {
                filled(secret.trim()).map(Credential::Bearer)
            }
            Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
                let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
                let (_, password) = pair.split_once(':')?;
                filled(password).map(|password| Credential::Basic { password })
            }
            Some(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Bearer(_) => f.write_str("Bearer(…)"),
            Credential::Basic { .. } => f.write_str("Basic(…)"),
        }
    }
}

/// Says in every 401 which schemes there are (RFC 7235 §4.1, RFC 7644 §2).
pub async fn challenge(State(service): State<Service>, request: Request, next: Next) -> Response {
    let takes_basic = service.settings.basic && request.uri().path().starts_with("/scim/");
    let mut response = next.run(request).await;
    if response.status() == StatusCode::UNAUTHORIZED {
        let schemes = ["Bearer realm=\"usherd\"", "Basic realm=\"usherd\", charset=\"UTF-8\""];
        for scheme in schemes.into_iter().take(if takes_basic { 2 } else { 1 }) {
            response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn bearer(text: &str) -> Option<Credential> {
        Some(Credential::Bearer(text.to_owned()))
    }

    fn basic(password: &str) -> Option<Credential> {
        Some(Credential::Basic { password: password.to_owned() })
    }

    #[rstest]
    #[case::as_the_standard_says("Bearer usp_x", bearer("usp_x"))]
    #[case::in_other_letters("bEARER  usp_x ", bearer("usp_x"))]
    #[case::without_a_scheme("usp_x", bearer("usp_x"))]
    // RFC 7617 §2: Aladdin, open sesame.
    #[case::a_password("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", basic("open sesame"))]
    #[case::a_password_with_a_colon("basic YTpiOmM=", basic("b:c"))]
    #[case::no_password("Basic YTo=", None)]
    #[case::no_colon("Basic YWJj", None)]
    #[case::no_base64("Basic ???", None)]
    #[case::no_text("Basic /zr/", None)]
    #[case::another_scheme("Digest x", None)]
    #[case::no_token("Bearer ", bearer("Bearer"))]
    fn a_credential_is_read(#[case] value: &'static str, #[case] expected: Option<Credential>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        assert_eq!(Credential::of(&headers), expected);
    }

    #[test]
    fn no_credential_is_printed() {
        let printed = format!("{:?} {:?}", bearer("usp_secret"), basic("usp_secret"));
        assert_eq!(printed, "Some(Bearer(…)) Some(Basic(…))");
    }
}
