//! What an invited person does in a browser: open the link, accept, decline, ask for a new one.
//!
//! The token leaves the URL at once: `/i/{token}` puts it into a cookie and goes on to `/accept`. Opening a link changes
//! nothing, and a POST without that cookie and its form token changes nothing either, so mail scanners do no harm.

use axum::Router;
use axum::extract::{Form, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::pages::{self, Field, Notice, Page, Problem};
use super::service::{Asked, Service};
use crate::directory::Error;
use crate::directory::invitations::{Acceptance, OpenedLink};
use crate::domain::lifecycle::{LinkView, Refusal};
use crate::domain::names::EmailAddress;
use crate::domain::text::safe_name;
use crate::domain::token::keyring::Label;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/i/{token}", get(open))
        .route("/i/{token}/mute", post(mute))
        .route("/confirm/{token}", get(confirm))
        .route(pages::ACCEPT, get(show).post(accept))
        .route(pages::DECLINE, post(decline))
        .route(pages::NEW_LINK, post(new_link))
}

/// `GET /i/{token}`.
async fn open(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let asked = Asked::of(&request);
    match service.directory.open_link(&token).await {
        Ok(link) => match link.view {
            LinkView::Accept | LinkView::Expired => {
                let mut response = Redirect::to(pages::ACCEPT).into_response();
                let cookie = Cookie::of(&service).set(&token);
                response.headers_mut().insert(header::SET_COOKIE, cookie);
                response
            }
            LinkView::Superseded => pages::notice(Some(&link.account_name), Notice::Superseded).into_response(),
            LinkView::AlreadyAccepted => already_accepted(&service, &link.account_name).into_response(),
            LinkView::Unknown => pages::notice(None, Notice::NotValid).into_response(),
        },
        Err(error) => stranger(&service, &asked, &error).into_response(),
    }
}

/// `POST /i/{token}/mute`: the one-click unsubscribe of a reminder (RFC 8058), sent by the mail program.
async fn mute(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let asked = Asked::of(&request);
    match service.directory.mute_reminders(&token, asked.request_id.clone()).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => stranger(&service, &asked, &error).into_response(),
    }
}

/// `GET /confirm/{token}`: confirms an Active user's new address.
async fn confirm(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let asked = Asked::of(&request);
    match service.directory.confirm_address(&token, asked.request_id.clone()).await {
        Ok(_) => pages::notice(None, Notice::Accepted { continue_to: None }).into_response(),
        Err(error) => stranger(&service, &asked, &error).into_response(),
    }
}

/// `GET /accept`: the page of the link in the cookie.
async fn show(State(service): State<Service>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let Some(token) = Cookie::of(&service).read(request.headers()) else {
        return pages::notice(None, Notice::NotValid).into_response();
    };
    match service.directory.open_link(&token).await {
        Ok(link) => page_of(&service, &token, &link, &Typed::default(), &[]).into_response(),
        Err(error) => stranger(&service, &asked, &error).into_response(),
    }
}

fn page_of(service: &Service, token: &str, link: &OpenedLink, typed: &Typed, problems: &[Problem]) -> Page {
    let account = Some(link.account_name.as_str());
    let csrf = form_token(service, token);
    match (link.view, &link.record) {
        (LinkView::Accept, Some(record)) => {
            let expires_at = record.user.invitation().and_then(|invitation| invitation.expires_at());
            let unnamed = |part: &str| record.profile.get("name").and_then(|name| name.get(part)).is_none();
            pages::accept(&pages::Invitation {
                account: &link.account_name,
                invited_by: None,
                expires_at: expires_at.unwrap_or_default(),
                given_name: unnamed("givenName").then_some(typed.given_name.as_str()),
                family_name: unnamed("familyName").then_some(typed.family_name.as_str()),
                address: &typed.address,
                csrf: &csrf,
                problems,
            })
        }
        (LinkView::Expired, _) => pages::notice(account, Notice::Expired { csrf: &csrf }),
        (LinkView::Superseded, _) => pages::notice(account, Notice::Superseded),
        (LinkView::AlreadyAccepted, _) => already_accepted(service, &link.account_name),
        (LinkView::Accept | LinkView::Unknown, _) => pages::notice(None, Notice::NotValid),
    }
}

/// What the accept form sends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Typed {
    address: String,
    given_name: String,
    family_name: String,
    csrf: String,
}

/// `POST /accept`.
async fn accept(State(service): State<Service>, headers: HeaderMap, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (token, typed) = match form(&service, &headers, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    let link = match service.directory.open_link(&token).await {
        Ok(link) => link,
        Err(error) => return stranger(&service, &asked, &error).into_response(),
    };
    if link.view != LinkView::Accept {
        return page_of(&service, &token, &link, &typed, &[]).into_response();
    }
    if let Err(throttled) = service.limits.admit_sign_in(&format!("accept {}", link.claims.user)) {
        return pages::notice(Some(&link.account_name), Notice::TooManyTries { wait: throttled.wait }).into_response();
    }
    let Ok(address) = EmailAddress::parse(typed.address.trim()) else {
        let problem = match typed.address.trim() {
            "" => Problem::missing(Field::Address),
            _ => Problem::wrong_address(),
        };
        return page_of(&service, &token, &link, &typed, &[problem]).into_response();
    };
    let name = |text: &str| Some(safe_name(text)).filter(|name| !name.is_empty());
    let acceptance = Acceptance {
        address,
        given_name: name(&typed.given_name),
        family_name: name(&typed.family_name),
        request_id: asked.request_id.clone(),
    };
    match service.directory.accept(&token, &acceptance).await {
        Ok(_) => {
            let continue_to = service.settings.after_accept_url.as_deref();
            let page = pages::notice(Some(&link.account_name), Notice::Accepted { continue_to });
            forgetting(&service, page.into_response())
        }
        Err(Error::Invalid(_)) => page_of(&service, &token, &link, &typed, &[Problem::wrong_address()]).into_response(),
        Err(error) => refused(&service, &token, &asked, error).await,
    }
}

/// `POST /accept/decline`.
async fn decline(State(service): State<Service>, headers: HeaderMap, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (token, _) = match form(&service, &headers, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    match service.directory.decline(&token, asked.request_id.clone()).await {
        Ok(_) => forgetting(&service, pages::notice(None, Notice::Declined).into_response()),
        Err(error) => refused(&service, &token, &asked, error).await,
    }
}

/// `POST /accept/new-link`. The page is the same whether a mail goes out or not.
async fn new_link(State(service): State<Service>, headers: HeaderMap, request: Request) -> Response {
    let asked = Asked::of(&request);
    let (token, _) = match form(&service, &headers, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    match service.directory.ask_new_link(&token, asked.request_id.clone()).await {
        Ok(_) => pages::notice(None, Notice::NewLinkRequested).into_response(),
        Err(Error::Refused(refusal)) => {
            tracing::info!(code = refusal.code(), "no new link was sent");
            pages::notice(None, Notice::NewLinkRequested).into_response()
        }
        Err(error) => stranger(&service, &asked, &error).into_response(),
    }
}

/// The token of the cookie and the form, when both belong together and the form comes from a page of ours.
async fn form(service: &Service, headers: &HeaderMap, request: Request) -> Result<(String, Typed), Page> {
    let not_valid = || pages::notice(None, Notice::NotValid);
    let token = Cookie::of(service).read(headers).ok_or_else(not_valid)?;
    let same_site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none");
    let Form(typed) =
        <Form<Typed> as axum::extract::FromRequest<()>>::from_request(request, &()).await.map_err(|_| not_valid())?;
    let now = service.directory.store().now();
    let keys = service.directory.keys();
    let genuine = keys.open(Label::CSRF, &[token.as_bytes()], &typed.csrf, now).is_some();
    if same_site && genuine { Ok((token, typed)) } else { Err(not_valid()) }
}

fn form_token(service: &Service, token: &str) -> String {
    service.directory.keys().seal(Label::CSRF, &[token.as_bytes()], b"accept")
}

/// A refusal after the form: the page of what the link has become meanwhile.
async fn refused(service: &Service, token: &str, asked: &Asked, error: Error) -> Response {
    match (&error, service.directory.open_link(token).await) {
        (Error::Refused(_), Ok(link)) => page_of(service, token, &link, &Typed::default(), &[]).into_response(),
        _ => stranger(service, asked, &error).into_response(),
    }
}

/// The page of a link that is none of ours, or of a failure. Guessing is throttled.
fn stranger(service: &Service, asked: &Asked, error: &Error) -> Page {
    if let Error::Refused(Refusal::UnknownInvitation) = error {
        let throttled = asked.client.and_then(|client| service.limits.admit_stranger(client).err());
        return match throttled {
            Some(throttled) => pages::notice(None, Notice::Throttled { wait: throttled.wait }),
            None => pages::notice(None, Notice::NotValid),
        };
    }
    let (status, detail) = match error {
        Error::Unavailable { reason, .. } => {
            tracing::warn!(%reason, "the store is not available");
            (StatusCode::SERVICE_UNAVAILABLE, "The service cannot answer at the moment. Please try again in a minute.")
        }
        _ => {
            tracing::error!(%error, "an invitee's request failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong on our side. Please try again.")
        }
    };
    pages::notice(None, Notice::Failed { status, detail, reference: asked.request_id.as_deref() })
}

fn already_accepted(service: &Service, account: &str) -> Page {
    pages::notice(Some(account), Notice::AlreadyAccepted { sign_in: service.settings.after_accept_url.as_deref() })
}

fn forgetting(service: &Service, mut response: Response) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, Cookie::of(service).clear());
    response
}

/// The cookie that holds the invitation token between the link and the form.
struct Cookie {
    secure: bool,
}

impl Cookie {
    fn of(service: &Service) -> Self {
        Cookie { secure: service.settings.secure_cookies }
    }

    /// `__Host-` needs Secure, which a laptop on http does not have.
    const fn name(&self) -> &'static str {
        if self.secure { "__Host-usherd-invitation" } else { "usherd-invitation" }
    }

    fn set(&self, token: &str) -> HeaderValue {
        self.header(token, 3_600)
    }

    fn clear(&self) -> HeaderValue {
        self.header("", 0)
    }

    fn header(&self, value: &str, max_age: u32) -> HeaderValue {
        let secure = if self.secure { "; Secure" } else { "" };
        let name = self.name();
        let text = format!("{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::from_str(&text).expect("a verified token is base64url")
    }

    fn read(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs
            .find(|(name, _)| *name == self.name())
            .map(|(_, value)| value.to_owned())
            .filter(|value| !value.is_empty())
    }
}
