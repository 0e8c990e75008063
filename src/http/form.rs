//! Forms of our own pages: where they may come from, and what they carry.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Uri, header};
use multer::Multipart;
use url::form_urlencoded;

use crate::directory::{Directory, entropy};
use crate::domain::token::keyring::Label;

/// The name of the hidden field that proves that the form is ours.
pub const CSRF: &str = "csrf";

/// What a form sent, in its order; a name may come several times.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a body of `application/x-www-form-urlencoded`; nothing when it does not arrive.
    pub async fn of(body: Body) -> Self {
        // The guard of the edge bounds the body.
        let bytes = to_bytes(body, usize::MAX).await.unwrap_or_default();
        Fields(form_urlencoded::parse(&bytes).into_owned().collect())
    }

    /// Reads a form as its head says that it is: also one with files (`multipart/form-data`, RFC 7578), of which each is
    /// a text. What is no UTF-8 gets replacement characters. A form that is not whole is none: nothing is done by the half
    /// of what somebody asked for.
    pub async fn read(headers: &HeaderMap, body: Body) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let Ok(boundary) = multer::parse_boundary(kind) else { return Self::of(body).await };
        let mut parts = Multipart::new(body.into_data_stream(), boundary);
        let mut fields = Vec::new();
        loop {
            let part = match parts.next_field().await {
                Ok(Some(part)) => part,
                Ok(None) => return Fields(fields),
                Err(_) => return Fields::default(),
            };
            let name = part.name().map(str::to_owned);
            let Ok(octets) = part.bytes().await else { return Fields::default() };
            fields.extend(name.map(|name| (name, String::from_utf8_lossy(&octets).into_owned())));
        }
    }

    /// Of a query string.
    pub fn of_query(uri: &Uri) -> Self {
        Fields(form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of this name, without surrounding white space; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value.trim())
    }

    /// As a query string, without what proves that a form is ours.
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.0.iter().filter(|(name, _)| name != CSRF));
        query.finish()
    }

    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(found, _)| found == name).map(|(_, value)| value.trim().to_owned()).collect()
    }
}

/// The hidden field's value for a page that was shown to the holder of `secret`, which a cookie carries. Another one
/// each time, so that the length of compressed pages tells nothing of it.
pub fn token(directory: &Directory, secret: &str) -> String {
    directory.keys().seal(Label::CSRF, &[secret.as_bytes()], &entropy::secret())
}

/// Whether a form is one that was shown to the holder of `secret`.
pub fn is_genuine(directory: &Directory, secret: &str, fields: &Fields) -> bool {
    let now = directory.store().now();
    directory.keys().open(Label::CSRF, &[secret.as_bytes()], fields.get(CSRF), now).is_some()
}

/// Whether the browser says that the request comes from a page of this service. A browser says so in
/// `Sec-Fetch-Site`, an old one in `Origin`; `null` is what our own `Referrer-Policy` makes of the latter (Fetch §4.1).
pub fn comes_from_here(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(header::ORIGIN) {
        None | Some("null") => true,
        Some(origin) => {
            let host = origin.split_once("://").map_or("", |(_, host)| host);
            text(header::HOST).is_some_and(|own| own.eq_ignore_ascii_case(host))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::the_browser_says_so(&[("sec-fetch-site", "same-origin")], true)]
    #[case::another_site(&[("sec-fetch-site", "cross-site")], false)]
    #[case::a_neighbour(&[("sec-fetch-site", "same-site"), ("origin", "https://a.example")], false)]
    #[case::typed_or_from_a_mail(&[("sec-fetch-site", "none")], false)]
    #[case::an_old_browser(&[("host", "a.example"), ("origin", "https://a.example")], true)]
    #[case::an_old_browser_elsewhere(&[("host", "a.example"), ("origin", "https://b.example")], false)]
    #[case::without_a_referrer(&[("host", "a.example"), ("origin", "null")], true)]
    #[case::no_browser(&[("host", "a.example")], true)]
    fn only_our_own_pages_may_post(#[case] given: &[(&'static str, &'static str)], #[case] expected: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        assert_eq!(comes_from_here(&headers), expected);
    }

    const PARTS: &str = "--X\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc\r\n--X\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"people.csv\"\r\nContent-Type: text/csv\r\n\r\n\
        email\r\n\"a\r\n--b\"\r\n\r\n--X\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n\
        --X\r\nContent-Disposition: form-data; name=\"list\"\r\n\r\n\r\n--X--\r\n";

    const READ: &[(&str, &str)] = &[("csrf", "abc"), ("file", "email\r\n\"a\r\n--b\"\r\n"), ("list", "")];

    #[rstest]
    #[case::whole("multipart/form-data; boundary=X", PARTS, READ)]
    #[case::in_other_letters("Multipart/Form-Data; charset=utf-8; Boundary=\"X\"", PARTS, READ)]
    #[case::cut_off_in_a_file("multipart/form-data; boundary=X", &PARTS[..140], &[])]
    #[case::cut_off_before_the_end("multipart/form-data; boundary=X", &PARTS[..PARTS.len() - 6], &[])]
    #[case::cut_off_in_a_head("multipart/form-data; boundary=X", &PARTS[..20], &[])]
    #[case::without_a_head("multipart/form-data; boundary=X", "--X\r\nb\r\n--X--\r\n", &[])]
    #[case::empty("multipart/form-data; boundary=X", "", &[])]
    #[case::another_boundary("multipart/form-data; boundary=Y", PARTS, &[])]
    #[case::of_another_kind("application/x-www-form-urlencoded", "csrf=abc&list=", &[("csrf", "abc"), ("list", "")])]
    #[tokio::test]
    async fn a_form_with_a_file_is_read_when_it_is_whole(
        #[case] kind: &'static str,
        #[case] body: &'static str,
        #[case] expected: &[(&str, &str)],
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let fields = Fields::read(&headers, Body::from(body)).await;
        let expected = expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(fields, Fields(expected.collect()));
    }

    #[tokio::test]
    async fn a_name_may_come_several_times_and_an_absent_one_is_empty() {
        let fields = Fields::of(Body::from("license=a&license=b&q=+two+words+")).await;
        assert_eq!(fields.all("license"), ["a", "b"]);
        assert_eq!((fields.get("q"), fields.get("none")), ("two words", ""));
    }
}
