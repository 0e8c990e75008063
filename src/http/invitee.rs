//! What an invited person does in a browser: open the link, accept, decline, ask for a new one.
//!
//! The token leaves the URL at once: `/i/{token}` puts it into a cookie and goes on to `/accept`. Opening a link changes
//! nothing, and a POST without that cookie and its form token changes nothing either, so mail scanners do no harm.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::cookie::Cookie;
use super::form::{self, Fields};
use super::pages::{self, Field, Notice, Page, Problem};
use super::service::{Asked, Service};
use crate::directory::Error;
use crate::directory::invitations::{Acceptance, OpenedLink};
use crate::directory::record::UserRecord;
use crate::domain::lifecycle::{LinkView, Refusal};
use crate::domain::names::EmailAddress;
use crate::domain::text::safe_name;
use crate::domain::token::Channel;
use crate::domain::words::Words;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/i/{token}", get(open))
        .route("/i/{token}/mute", post(mute))
        .route("/confirm/{token}", get(open_confirmation))
        .route(pages::CONFIRM, get(show_confirmation).post(confirm))
        .route(pages::ACCEPT, get(show).post(accept))
        .route(pages::DECLINE, post(decline))
        .route(pages::NEW_LINK, post(new_link))
}

/// Who is at the door, and what their browser says that they read.
struct Guest {
    asked: Asked,
    languages: Option<String>,
}

impl Guest {
    fn of(request: &Request) -> Self {
        let languages = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
        Guest { asked: Asked::of(request), languages: languages.map(str::to_owned) }
    }

    /// The words of the language in which their mails are, else of one that the browser names.
    fn words<'a>(&self, service: &'a Service, invited: Option<&UserRecord>) -> &'a Words {
        service.words.best(invited.and_then(UserRecord::language).into_iter().chain(self.languages.as_deref()))
    }
}

/// `GET /i/{token}`.
async fn open(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let guest = Guest::of(&request);
    match service.directory.open_link(&token).await {
        Ok(link) => match link.view {
            LinkView::Accept | LinkView::Expired => {
                let mut response = Redirect::to(pages::ACCEPT).into_response();
                let cookie = Cookie::INVITATION.set(&token, service.settings.secure_cookies);
                response.headers_mut().insert(header::SET_COOKIE, cookie);
                response
            }
            LinkView::Superseded => {
                pages::notice(guest.words(&service, link.record.as_ref()), Some(&link.account_name), Notice::Superseded)
                    .into_response()
            }
            LinkView::AlreadyAccepted => already_accepted(&service, &guest, &link).into_response(),
            LinkView::Unknown => pages::notice(guest.words(&service, None), None, Notice::NotValid).into_response(),
        },
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// `POST /i/{token}/mute`: the one-click unsubscribe of a reminder (RFC 8058), sent by the mail program.
async fn mute(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let guest = Guest::of(&request);
    match service.directory.mute_reminders(&token, guest.asked.request_id.clone()).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// `GET /confirm/{token}`: like an invitation, a confirmation moves into a cookie and changes nothing by being opened.
async fn open_confirmation(State(service): State<Service>, Path(token): Path<String>, request: Request) -> Response {
    let guest = Guest::of(&request);
    match service.directory.open_confirmation(&token).await {
        Ok(_) => {
            let cookie = Cookie::CONFIRMATION.set(&token, service.settings.secure_cookies);
            ([(header::SET_COOKIE, cookie)], Redirect::to(pages::CONFIRM)).into_response()
        }
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// `GET /confirm`: asks for the click that no scanner makes.
async fn show_confirmation(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let Some(token) = Cookie::CONFIRMATION.read(request.headers(), service.settings.secure_cookies) else {
        return pages::notice(guest.words(&service, None), None, Notice::NotValid).into_response();
    };
    match service.directory.open_confirmation(&token).await {
        Ok(account) => {
            let csrf = form::token(&service.directory, &token);
            pages::notice(guest.words(&service, None), Some(&account), Notice::Confirm { csrf: &csrf }).into_response()
        }
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// `POST /confirm`: an Active user's new address is theirs.
async fn confirm(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let (token, _) = match form(&service, Cookie::CONFIRMATION, &guest, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    match service.directory.confirm_address(&token, guest.asked.request_id.clone()).await {
        Ok(_) => {
            let cookie = Cookie::CONFIRMATION.clear(service.settings.secure_cookies);
            ([(header::SET_COOKIE, cookie)], pages::notice(guest.words(&service, None), None, Notice::Confirmed))
                .into_response()
        }
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// `GET /accept`: the page of the link in the cookie.
async fn show(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let Some(token) = Cookie::INVITATION.read(request.headers(), service.settings.secure_cookies) else {
        return pages::notice(guest.words(&service, None), None, Notice::NotValid).into_response();
    };
    match service.directory.open_link(&token).await {
        Ok(link) => page_of(&service, &guest, &token, &link, &Typed::default(), &[]).into_response(),
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

fn page_of(
    service: &Service,
    guest: &Guest,
    token: &str,
    link: &OpenedLink,
    typed: &Typed,
    problems: &[Problem],
) -> Page {
    let words = guest.words(service, link.record.as_ref());
    let account = Some(link.account_name.as_str());
    let csrf = form::token(&service.directory, token);
    match (link.view, &link.record) {
        (LinkView::Accept, Some(record)) => {
            let expires_at = record.user.invitation().and_then(|invitation| invitation.expires_at());
            let unnamed = |part: &str| record.profile.get("name").and_then(|name| name.get(part)).is_none();
            pages::accept(&pages::Invitation {
                words,
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
        (LinkView::Expired, _) => pages::notice(words, account, Notice::Expired { csrf: &csrf }),
        (LinkView::Superseded, _) => pages::notice(words, account, Notice::Superseded),
        (LinkView::AlreadyAccepted, _) => already_accepted(service, guest, link),
        (LinkView::Accept | LinkView::Unknown, _) => pages::notice(words, None, Notice::NotValid),
    }
}

/// What the accept form sends.
#[derive(Debug, Clone, Default)]
struct Typed {
    address: String,
    given_name: String,
    family_name: String,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        let typed = |field: Field| fields.get(field.name()).to_owned();
        Typed {
            address: typed(Field::Address),
            given_name: typed(Field::GivenName),
            family_name: typed(Field::FamilyName),
        }
    }
}

/// `POST /accept`.
async fn accept(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let (token, typed) = match form(&service, Cookie::INVITATION, &guest, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    let link = match service.directory.open_link(&token).await {
        Ok(link) => link,
        Err(error) => return stranger(&service, &guest, &error).into_response(),
    };
    if link.view != LinkView::Accept {
        return too_late(&service, &guest, &token, &link, &typed).into_response();
    }
    if let Err(throttled) = service.limits.admit_sign_in(&format!("accept {}", link.claims.user)) {
        return pages::notice(
            guest.words(&service, link.record.as_ref()),
            Some(&link.account_name),
            Notice::TooManyTries { wait: throttled.wait },
        )
        .into_response();
    }
    let Ok(address) = EmailAddress::parse(typed.address.trim()) else {
        let problem = match typed.address.trim() {
            "" => Problem::MISSING_ADDRESS,
            _ => Problem::WRONG_ADDRESS,
        };
        return page_of(&service, &guest, &token, &link, &typed, &[problem]).into_response();
    };
    let name = |text: &str| Some(safe_name(text)).filter(|name| !name.is_empty());
    let acceptance = Acceptance {
        address,
        given_name: name(&typed.given_name),
        family_name: name(&typed.family_name),
        request_id: guest.asked.request_id.clone(),
    };
    match service.directory.accept(&token, &acceptance).await {
        Ok(record) => accepted(&service, &guest, &link, &record).await,
        Err(Error::Invalid(_)) => {
            page_of(&service, &guest, &token, &link, &typed, &[Problem::WRONG_ADDRESS]).into_response()
        }
        Err(error) => match (&error, service.directory.open_link(&token).await) {
            (Error::Refused(_), Ok(link)) => too_late(&service, &guest, &token, &link, &typed).into_response(),
            _ => stranger(&service, &guest, &error).into_response(),
        },
    }
}

/// The page of a link that is not to be accepted any more. An impatient second click is no mistake.
fn too_late(service: &Service, guest: &Guest, token: &str, link: &OpenedLink, typed: &Typed) -> Page {
    let page = page_of(service, guest, token, link, typed, &[]);
    let status = if link.accepted_just_now { StatusCode::OK } else { page.status };
    Page { status, ..page }
}

/// The page after acceptance. Whoever administers the account now, and has proven their mailbox, is signed in with it.
async fn accepted(service: &Service, guest: &Guest, link: &OpenedLink, record: &UserRecord) -> Response {
    let proven = match link.claims.channel {
        Channel::Mail | Channel::Console => true,
        Channel::Link => false,
    };
    let mut console = None;
    let mut session = None;
    if proven && record.user.is_effective_admin() {
        match service.directory.begin_session(&link.claims.account, record.user.id).await {
            Ok(begun) => {
                console = Some(format!("/admin/{}", link.claims.account));
                session = Some(Cookie::SESSION.set(&begun.expose(), service.settings.secure_cookies));
            }
            // The acceptance stands; a mailed code signs them in as well.
            Err(error) => tracing::warn!(%error, "no session was begun after an acceptance"),
        }
    }
    let continue_to = service.settings.after_accept_url.as_deref();
    let notice = Notice::Accepted { continue_to, console: console.as_deref() };
    let mut response = forgetting(
        service,
        pages::notice(guest.words(service, Some(record)), Some(&link.account_name), notice).into_response(),
    );
    if let Some(session) = session {
        response.headers_mut().append(header::SET_COOKIE, session);
    }
    response
}

/// `POST /accept/decline`.
async fn decline(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let (token, _) = match form(&service, Cookie::INVITATION, &guest, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    match service.directory.decline(&token, guest.asked.request_id.clone()).await {
        Ok(_) => {
            forgetting(&service, pages::notice(guest.words(&service, None), None, Notice::Declined).into_response())
        }
        Err(error) => match (&error, service.directory.open_link(&token).await) {
            (Error::Refused(_), Ok(link)) => {
                page_of(&service, &guest, &token, &link, &Typed::default(), &[]).into_response()
            }
            _ => stranger(&service, &guest, &error).into_response(),
        },
    }
}

/// `POST /accept/new-link`. The page is the same whether a mail goes out or not.
async fn new_link(State(service): State<Service>, request: Request) -> Response {
    let guest = Guest::of(&request);
    let (token, _) = match form(&service, Cookie::INVITATION, &guest, request).await {
        Ok(form) => form,
        Err(page) => return page.into_response(),
    };
    match service.directory.ask_new_link(&token, guest.asked.request_id.clone()).await {
        Ok(_) => pages::notice(guest.words(&service, None), None, Notice::NewLinkRequested).into_response(),
        Err(Error::Refused(refusal)) => {
            tracing::info!(code = refusal.code(), "no new link was sent");
            pages::notice(guest.words(&service, None), None, Notice::NewLinkRequested).into_response()
        }
        Err(error) => stranger(&service, &guest, &error).into_response(),
    }
}

/// The token of the cookie and the form, when both belong together and the form comes from a page of ours.
async fn form(service: &Service, cookie: Cookie, guest: &Guest, request: Request) -> Result<(String, Typed), Page> {
    let not_valid = || pages::notice(guest.words(service, None), None, Notice::NotValid);
    let token = cookie.read(request.headers(), service.settings.secure_cookies).ok_or_else(not_valid)?;
    let comes_from_here = form::comes_from_here(request.headers());
    let fields = Fields::of(request.into_body()).await;
    let genuine = form::is_genuine(&service.directory, &token, &fields);
    if comes_from_here && genuine { Ok((token, Typed::of(&fields))) } else { Err(not_valid()) }
}

/// The page of a link that is none of ours, or of a failure. Guessing is throttled.
fn stranger(service: &Service, guest: &Guest, error: &Error) -> Page {
    let words = guest.words(service, None);
    if let Error::Refused(Refusal::UnknownInvitation) = error {
        let throttled = guest.asked.client.and_then(|client| service.limits.admit_stranger(client).err());
        return match throttled {
            Some(throttled) => pages::notice(words, None, Notice::Throttled { wait: throttled.wait }),
            None => pages::notice(words, None, Notice::NotValid),
        };
    }
    let (status, detail) = match error {
        Error::Unavailable { reason, .. } => {
            tracing::warn!(%reason, "the store is not available");
            (StatusCode::SERVICE_UNAVAILABLE, "page_failed.unavailable")
        }
        _ => {
            tracing::error!(%error, "an invitee's request failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "page_failed.broken")
        }
    };
    let reference = guest.asked.request_id.as_deref();
    pages::notice(words, None, Notice::Failed { status, detail: words.text(detail), reference })
}

fn already_accepted(service: &Service, guest: &Guest, link: &OpenedLink) -> Page {
    let notice = Notice::AlreadyAccepted { sign_in: service.settings.after_accept_url.as_deref() };
    pages::notice(guest.words(service, link.record.as_ref()), Some(&link.account_name), notice)
}

fn forgetting(service: &Service, mut response: Response) -> Response {
    response.headers_mut().insert(header::SET_COOKIE, Cookie::INVITATION.clear(service.settings.secure_cookies));
    response
}
