//! Cookies of ours: one rule for their names, attributes and reading.

use axum::http::{HeaderMap, HeaderValue, header};

/// A cookie that this service sets. HttpOnly and SameSite=Lax, so that a link in a mail still finds its reader signed in
/// while a form of another site does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookie {
    /// With and without the prefix `__Host-`, which needs Secure, which a laptop on http does not have.
    names: [&'static str; 2],
    /// Seconds; `None`: until the browser is closed.
    max_age: Option<u32>,
}

impl Cookie {
    /// The token of an opened invitation link, between the link and the form.
    pub const INVITATION: Cookie =
        Cookie { names: ["__Host-usherd-invitation", "usherd-invitation"], max_age: Some(3_600) };
    /// The token of an opened confirmation link, likewise.
    pub const CONFIRMATION: Cookie =
        Cookie { names: ["__Host-usherd-confirmation", "usherd-confirmation"], max_age: Some(3_600) };
    /// The session of the console.
    pub const SESSION: Cookie = Cookie { names: ["__Host-usherd-session", "usherd-session"], max_age: None };
    /// What a browser that is signing in keeps: its form's secret, and which code it asked for.
    pub const SIGN_IN: Cookie = Cookie { names: ["__Host-usherd-sign-in", "usherd-sign-in"], max_age: Some(1_200) };
    /// What a browser that is at the issuer has to bring back.
    pub const OPENID: Cookie = Cookie { names: ["__Host-usherd-openid", "usherd-openid"], max_age: Some(600) };
    /// What the next page of the console is to say.
    pub const NOTE: Cookie = Cookie { names: ["__Host-usherd-note", "usherd-note"], max_age: Some(60) };

    fn name(self, secure: bool) -> &'static str {
        let [secured, plain] = self.names;
        if secure { secured } else { plain }
    }

    /// The header that sets it. `value` is made of what a cookie may hold: base64url, dots and hyphens.
    pub fn set(self, value: &str, secure: bool) -> HeaderValue {
        self.header(value, self.max_age, secure)
    }

    /// The header that makes the browser forget it.
    pub fn clear(self, secure: bool) -> HeaderValue {
        self.header("", Some(0), secure)
    }

    fn header(self, value: &str, max_age: Option<u32>, secure: bool) -> HeaderValue {
        let name = self.name(secure);
        let age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        let flag = if secure { "; Secure" } else { "" };
        let text = format!("{name}={value}; Path=/{age}; HttpOnly; SameSite=Lax{flag}");
        HeaderValue::from_str(&text).expect("cookies hold base64url, dots and hyphens")
    }

    /// Its value in a request; `None` when it is absent or empty.
    pub fn read(self, headers: &HeaderMap, secure: bool) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let name = self.name(secure);
        let value = pairs.find(|(found, _)| *found == name).map(|(_, value)| value.to_owned());
        value.filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_https_a_cookie_is_bound_to_the_host_and_on_http_it_has_a_plain_name() {
        let secure = Cookie::SESSION.set("v", true);
        assert_eq!(secure, "__Host-usherd-session=v; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(Cookie::SESSION.set("v", false), "usherd-session=v; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(Cookie::NOTE.clear(false), "usherd-note=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", HeaderValue::from_static("a=1; usherd-session=x.y"));
        headers.append("cookie", HeaderValue::from_static("usherd-note="));
        assert_eq!(Cookie::SESSION.read(&headers, false).as_deref(), Some("x.y"));
        assert_eq!(Cookie::SESSION.read(&headers, true), None);
        assert_eq!(Cookie::NOTE.read(&headers, false), None);
    }
}
