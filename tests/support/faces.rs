//! Requests to the public listener's routes, without the listener: the router that the daemon serves, on a store whose
//! clock can be moved.
//!
//! The parent module has to bring `house`.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use axum::response::Response;
use serde_json::Value;
use tower::Service as _;
use usherd::http::serve::PeerAddress;

use crate::house::PUBLIC_HOST;

#[derive(Clone)]
pub struct Faces(pub Router);

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The code of a refusal of the API.
    pub fn code(&self) -> Option<String> {
        self.json()["error"]["code"].as_str().map(str::to_owned)
    }

    /// Empty when the header is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// What an invitee sees, in the words of the matrix.
    pub fn page(&self) -> &'static str {
        let pages = [
            ("A newer invitation was sent", "superseded"),
            ("This invitation has expired", "expired"),
            ("You have already accepted", "already_accepted"),
            ("This link does not work", "generic"),
            ("Check your mail", "new_link"),
            ("action=\"/accept\"", "invitation"),
        ];
        pages.iter().find(|(words, _)| self.text.contains(words)).map_or("another page", |(_, page)| page)
    }

    /// The cookie of this name that it sets.
    pub fn cookie(&self, name: &str) -> Option<String> {
        let set = self.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let value = set.filter_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('=')?.split(';').next());
        value.filter(|value| !value.is_empty()).map(str::to_owned).next()
    }
}

impl Faces {
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Reply {
        let (head, body) = self.answer(method, path, headers, body).await.into_parts();
        let text = String::from_utf8_lossy(&to_bytes(body, usize::MAX).await.unwrap()).into_owned();
        Reply { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// The body of an answer that goes on.
    pub async fn stream(&self, token: &str, path: &str) -> Body {
        let response = self.answer("GET", path, &[("authorization", &format!("Bearer {token}"))], String::new()).await;
        assert_eq!(response.status(), 200);
        response.into_body()
    }

    async fn answer(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Response {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, PUBLIC_HOST);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        request.extensions_mut().insert(PeerAddress("192.0.2.1:4711".parse().unwrap()));
        self.0.clone().call(request).await.unwrap()
    }

    /// SCIM and the API; `Null` sends no body.
    pub async fn json(&self, token: &str, method: &str, path: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", &*bearer)];
        let text = match body {
            Value::Null => String::new(),
            body => {
                headers.push(("content-type", "application/json"));
                body.to_string()
            }
        };
        self.send(method, path, &headers, text).await
    }

    /// Follows a link as a browser that comes from a mail.
    pub async fn open(&self, path: &str) -> Reply {
        let reply = self.send("GET", path, &[("accept", "text/html")], String::new()).await;
        let Some(cookie) = reply.cookie("__Host-usherd-invitation") else { return reply };
        let cookie = format!("__Host-usherd-invitation={cookie}");
        self.send("GET", "/accept", &[("accept", "text/html"), ("cookie", &cookie)], String::new()).await
    }

    /// Opens a page as a browser with these cookies.
    pub async fn visit(&self, path: &str, cookies: &str) -> Reply {
        self.send("GET", path, &[("accept", "text/html"), ("cookie", cookies)], String::new()).await
    }

    /// Sends a form of one of our pages.
    pub async fn submit(&self, path: &str, cookie: &str, fields: &[(&str, &str)]) -> Reply {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [
            ("accept", "text/html"),
            ("cookie", cookie),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        self.send("POST", path, &headers, body).await
    }
}
