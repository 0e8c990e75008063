//! `/Me` (RFC 7644 §3.11): the user who is signed in. A provisioning token belongs to a client, which is nobody; a
//! session of the console belongs to a person, who reads here what the service has about them.

use axum::http::HeaderMap;
use axum::response::Response;

use super::reply::Failure;
use super::resources::Call;
use super::route::Action;
use crate::directory::sessions::SessionToken;
use crate::directory::{Door, Request};
use crate::http::cookie::Cookie;
use crate::http::service::{Asked, Service, Turned};
use crate::scim::ScimError;

/// Who asks: by a bearer token if there is one, else by the session of the console. Reading needs no further proof that
/// a person meant it, since no other site can see the answer.
pub async fn caller(service: &Service, asked: &Asked, headers: &HeaderMap) -> Result<Request, Turned> {
    let session = Cookie::SESSION.read(headers, service.settings.secure_cookies);
    match session.and_then(|value| SessionToken::parse(&value)).filter(|_| asked.credential.is_none()) {
        Some(session) => Ok(session.request(asked.request_id.clone())),
        None => service.identified(asked, Door::Scim).await,
    }
}

/// The resource of whoever asks, under its permanent location.
pub async fn answer(call: Call<'_>) -> Result<Response, Failure> {
    match call.caller.signed_in() {
        Some(user) => call.answer(Action::Read(user.to_string()), None).await,
        None => {
            // That is told to living tokens only.
            call.service.directory.open(call.caller, &[]).await?;
            let detail = "/Me is the person who is signed in, and this token belongs to a provisioning client, which is \
                          nobody here; address the user by id, or look it up by userName";
            Err(ScimError::plain(501, detail).into())
        }
    }
}
