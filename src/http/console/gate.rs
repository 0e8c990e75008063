//! Who gets into the console, and what a handler then works with.

use axum::extract::Request as HttpRequest;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::frame::Frame;
use super::sign_in;
use crate::directory::request::SignedIn;
use crate::directory::sessions::SessionToken;
use crate::directory::{Context, Error, Request};
use crate::domain::lifecycle::Refusal;
use crate::domain::token::keyring::Label;
use crate::domain::words::Words;
use crate::http::cookie::Cookie;
use crate::http::form::{self, Fields};
use crate::http::pages::{self, Notice, Page};
use crate::http::service::{Asked, Service};

/// An answer that ends a handler early. Boxed, since a response is large.
#[derive(Debug)]
pub(super) struct Away(Box<Response>);

impl<R: IntoResponse> From<R> for Away {
    fn from(response: R) -> Self {
        Away(Box::new(response.into_response()))
    }
}

/// What a handler answers.
pub(super) fn answer(outcome: Result<Response, Away>) -> Response {
    outcome.unwrap_or_else(|away| *away.0)
}

/// An Account Admin at work in the console.
pub(super) struct Desk {
    pub service: Service,
    pub request: Request,
    pub context: Context,
    pub admin: SignedIn,
    pub token: SessionToken,
    pub asked: Asked,
    pub query: Fields,
    /// Whether the console's script asks for a dialog to show on the page at hand.
    pub partial: bool,
    note: Option<String>,
}

impl Desk {
    /// Lets an Account Admin of `account` in.
    pub async fn enter(service: &Service, account: &str, head: &Parts) -> Result<Self, Away> {
        let asked = Asked::of_head(&head.headers, &head.extensions);
        let secure = service.settings.secure_cookies;
        let token = Cookie::SESSION.read(&head.headers, secure).and_then(|value| SessionToken::parse(&value));
        let token = token.filter(|token| token.account.as_str() == account);
        let Some(token) = token else { return Err(to_sign_in(account, &head.headers).into()) };
        let by_session = token.request(asked.request_id.clone());
        let (context, admin) = match service.directory.enter(&by_session).await {
            Ok(entered) => entered,
            Err(Error::Unauthorized | Error::NotFound(_)) => {
                let mut response = to_sign_in(account, &head.headers);
                response.headers_mut().append(header::SET_COOKIE, Cookie::SESSION.clear(secure));
                return Err(response.into());
            }
            Err(Error::NotAccountAdmin) => return Err(role_needed(service, &token).await.into()),
            Err(error) => return Err(failed(&asked, &error).into()),
        };
        if let Err(error) = service.directory.touch_session(&token, admin.seen).await {
            tracing::warn!(%error, "the use of a session was not recorded");
        }
        let note = Cookie::NOTE.read(&head.headers, secure);
        let keys = service.directory.keys();
        let note = note.and_then(|text| keys.open(Label::COOKIE, &[b"note"], &text, context.now));
        Ok(Desk {
            service: service.clone(),
            request: by_session,
            context,
            admin,
            token,
            asked,
            query: Fields::of_query(&head.uri),
            partial: head.headers.contains_key("hx-request"),
            note: note.and_then(|octets| String::from_utf8(octets).ok()),
        })
    }

    /// The same for a POST, with its form: it must come from a page that was shown in this session.
    pub async fn enter_with_form(
        service: &Service,
        account: &str,
        request: HttpRequest,
    ) -> Result<(Self, Fields), Away> {
        let (head, body) = request.into_parts();
        let desk = Self::enter(service, account, &head).await?;
        let comes_from_here = form::comes_from_here(&head.headers);
        let fields = Fields::of(body).await;
        if comes_from_here && form::is_genuine(&service.directory, &desk.secret(), &fields) {
            Ok((desk, fields))
        } else {
            Err(forged(&desk.asked).into())
        }
    }

    pub fn csrf(&self) -> String {
        form::token(&self.service.directory, &self.secret())
    }

    fn secret(&self) -> String {
        self.token.expose()
    }

    /// A path below the account's console.
    pub fn path(&self, rest: &str) -> String {
        format!("/admin/{}{rest}", self.token.account)
    }

    /// What stands around a page.
    pub fn frame(&self, section: &'static str) -> Frame {
        Frame {
            base: self.path(""),
            account: self.context.account.name.clone(),
            admin: self.admin.name.clone(),
            admin_path: self.path(&format!("/users/{}", self.admin.user)),
            csrf: self.csrf(),
            section,
            note: self.note.clone(),
        }
    }

    /// A page; what it had to say is said.
    pub fn page(&self, page: Page) -> Response {
        let mut response = page.into_response();
        if self.note.is_some() {
            let clear = Cookie::NOTE.clear(self.service.settings.secure_cookies);
            response.headers_mut().append(header::SET_COOKIE, clear);
        }
        response
    }

    /// Sends the browser on after a change, with a sentence for the next page.
    pub fn done(&self, path: &str, note: &str) -> Response {
        let sealed = self.service.directory.keys().seal(Label::COOKIE, &[b"note"], note.as_bytes());
        let cookie = Cookie::NOTE.set(&sealed, self.service.settings.secure_cookies);
        ([(header::SET_COOKIE, cookie)], Redirect::to(path)).into_response()
    }

    /// The page of an error that no form can explain.
    pub fn failed(&self, error: &Error) -> Away {
        match error {
            Error::Unauthorized => Redirect::to(&sign_in::path_for(self.token.account.as_str())).into(),
            Error::NotFound(_) | Error::Refused(Refusal::NotFound) => {
                let detail = "There is no such page, or what it showed is not there any more.";
                notice(&self.context.account.name, StatusCode::NOT_FOUND, detail, None).into()
            }
            _ => failed(&self.asked, error).into(),
        }
    }
}

/// What a person at a form reads when it did not work, with the status of the answer; `None` for what no form explains.
pub(super) fn sentence(error: &Error) -> Option<(StatusCode, String)> {
    let status = match error {
        Error::Refused(Refusal::NotFound) => return None,
        Error::Refused(Refusal::TooSoon { .. }) => StatusCode::TOO_MANY_REQUESTS,
        Error::Refused(_) | Error::Taken { .. } | Error::TooMany(_) => StatusCode::CONFLICT,
        Error::Invalid(_) | Error::Protocol(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::PreconditionFailed { .. } => {
            let words = "Somebody changed this at the same moment. Look at it again, and try once more.";
            return Some((StatusCode::CONFLICT, words.to_owned()));
        }
        Error::Unauthorized
        | Error::NotAccountAdmin
        | Error::MissingScope(_)
        | Error::NotFound(_)
        | Error::Paused { .. }
        | Error::Unavailable { .. }
        | Error::Internal(_) => return None,
    };
    Some((status, super::format::sentence(&error.to_string())))
}

/// Without a living session: sign in first. A script that asked for a dialog is told to load the page.
fn to_sign_in(account: &str, headers: &HeaderMap) -> Response {
    let path = sign_in::path_for(account);
    match (headers.contains_key("hx-request"), HeaderValue::from_str(&path)) {
        (true, Ok(target)) => {
            let redirect = header::HeaderName::from_static("hx-redirect");
            (StatusCode::NO_CONTENT, [(redirect, target)]).into_response()
        }
        _ => Redirect::to(&path).into_response(),
    }
}

async fn role_needed(service: &Service, token: &SessionToken) -> Page {
    let account = service.directory.account(&token.account).await.map(|account| account.name);
    let sign_in = sign_in::path_for(token.account.as_str());
    pages::notice(Words::english(), account.ok().as_deref(), Notice::RoleNeeded { sign_in: &sign_in })
}

pub(super) fn forged(asked: &Asked) -> Page {
    let detail = "This form is too old or does not come from a page of this service, so nothing was changed. Go back, \
                  reload the page and try again.";
    let reference = asked.request_id.as_deref();
    pages::notice(Words::english(), None, Notice::Failed { status: StatusCode::FORBIDDEN, detail, reference })
}

pub(super) fn failed(asked: &Asked, error: &Error) -> Page {
    let reference = asked.request_id.as_deref();
    let (status, detail) = match error {
        Error::Unavailable { reason, .. } => {
            tracing::warn!(%reason, "the store is not available");
            (StatusCode::SERVICE_UNAVAILABLE, "The service cannot answer at the moment. Please try again in a minute.")
        }
        _ => {
            tracing::error!(%error, "a request of the console failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side. Please try again.")
        }
    };
    pages::notice(Words::english(), None, Notice::Failed { status, detail, reference })
}

fn notice(account: &str, status: StatusCode, detail: &str, reference: Option<&str>) -> Page {
    pages::notice(Words::english(), Some(account), Notice::Failed { status, detail, reference })
}
