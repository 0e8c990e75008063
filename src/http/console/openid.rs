//! Signing in with OpenID Connect, and proving once more who one is: to the issuer and back.
//!
//! The way there is a link, not a form: the content security policy lets no form lead elsewhere, and a link changes
//! nothing. What the browser has to bring back is sealed in a cookie of ten minutes, which one answer uses up.

use std::time::Duration;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};

use super::gate::{self, Away, Desk, answer};
use super::sign_in::{SIGN_IN, path_for, start_session};
use crate::directory::sessions::SessionToken;
use crate::directory::{Error, entropy};
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::Refusal;
use crate::domain::names::EmailAddress;
use crate::domain::time::Timestamp;
use crate::domain::token::keyring::Label;
use crate::domain::words::Words;
use crate::http::cookie::Cookie;
use crate::http::form::Fields;
use crate::http::issuers::IssuerError;
use crate::http::issuers::relying_party::{Flow, Identity, RelyingParty};
use crate::http::pages::{self, Notice, Page};
use crate::http::service::{Asked, Service};

/// Where the way to the issuer begins.
pub const BEGIN: &str = "/admin/sign-in/openid";
/// Where the issuer sends the browser back to.
pub const CALLBACK: &str = "/admin/sign-in/openid/callback";

/// How long somebody may take at the issuer.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How far the clocks of the issuer and the store may lie apart.
const LEEWAY: Duration = Duration::from_secs(60);

/// What a browser keeps while it is at the issuer.
#[derive(Serialize, Deserialize)]
struct Journey {
    flow: Flow,
    began: Timestamp,
    #[serde(flatten)]
    purpose: Purpose,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
enum Purpose {
    /// To the console of this account, where one was named.
    SignIn { account: Option<AccountId> },
    /// For something that takes more trust than an open session.
    Prove { account: AccountId, next: String },
}

impl Purpose {
    fn account(&self) -> Option<&AccountId> {
        match self {
            Purpose::SignIn { account } => account.as_ref(),
            Purpose::Prove { account, .. } => Some(account),
        }
    }
}

impl Journey {
    fn of(service: &Service, headers: &HeaderMap) -> Option<Self> {
        let sealed = Cookie::OPENID.read(headers, service.settings.secure_cookies)?;
        let now = service.directory.store().now();
        let octets = service.directory.keys().open(Label::COOKIE, &[b"openid"], &sealed, now)?;
        let journey: Journey = serde_json::from_slice(&octets).ok()?;
        (now.since(journey.began) < PATIENCE).then_some(journey)
    }

    /// Sends the browser to the issuer.
    async fn begin(
        service: &Service,
        issuer: &RelyingParty,
        asked: &Asked,
        purpose: Purpose,
    ) -> Result<Response, Away> {
        admit(service, asked)?;
        let began = service.directory.store().now();
        let flow = Flow::from_random([entropy::secret(), entropy::secret(), entropy::secret()]);
        let anew = matches!(purpose, Purpose::Prove { .. });
        let to = issuer.begin(&flow, &back(service), anew, began).await;
        let to = to.map_err(|error| unanswered(issuer, asked, purpose.account(), &error))?;
        let journey = Journey { flow, began, purpose };
        let octets = serde_json::to_vec(&journey).expect("a journey has only string keys");
        let sealed = service.directory.keys().seal(Label::COOKIE, &[b"openid"], &octets);
        let cookie = Cookie::OPENID.set(&sealed, service.settings.secure_cookies);
        Ok(([(header::SET_COOKIE, cookie)], Redirect::to(to.as_str())).into_response())
    }
}

/// `GET /admin/sign-in/openid`.
pub(super) async fn begin(State(service): State<Service>, head: Parts) -> Response {
    answer(try_begin(&service, &head).await)
}

async fn try_begin(service: &Service, head: &Parts) -> Result<Response, Away> {
    let asked = Asked::of_head(&head.headers, &head.extensions);
    let Some(issuer) = &service.openid else { return Ok(Redirect::to(SIGN_IN).into_response()) };
    let named = Fields::of_query(&head.uri).get("account").to_lowercase();
    let accounts = service.directory.accounts().await.map_err(|error| gate::failed(&asked, &error))?;
    let account = match accounts.as_slice() {
        [only] => Some(only.clone()),
        _ => named.parse().ok(),
    };
    Journey::begin(service, issuer, &asked, Purpose::SignIn { account }).await
}

/// `GET /admin/{account}/prove/openid`.
pub(super) async fn prove(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_prove(&service, &account, &head).await)
}

async fn try_prove(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let Some(issuer) = &service.openid else { return Ok(Redirect::to(&desk.path("/prove")).into_response()) };
    let purpose = Purpose::Prove { account: desk.token.account.clone(), next: desk.next(&desk.query) };
    Journey::begin(service, issuer, &desk.asked, purpose).await
}

/// `GET /admin/sign-in/openid/callback`.
pub(super) async fn callback(State(service): State<Service>, head: Parts) -> Response {
    let Some(issuer) = service.openid.clone() else { return Redirect::to(SIGN_IN).into_response() };
    let mut response = answer(try_callback(&service, &issuer, &head).await);
    // Whatever came of it: it is over.
    let over = Cookie::OPENID.clear(service.settings.secure_cookies);
    response.headers_mut().append(header::SET_COOKIE, over);
    response
}

async fn try_callback(service: &Service, issuer: &RelyingParty, head: &Parts) -> Result<Response, Away> {
    let asked = Asked::of_head(&head.headers, &head.extensions);
    admit(service, &asked)?;
    let query = Fields::of_query(&head.uri);
    let journey = Journey::of(service, &head.headers);
    // RFC 9207: an answer of another issuer is none.
    let is_theirs = ["", issuer.issuer()].contains(&query.get("iss"));
    let Some(journey) = journey.filter(|journey| is_theirs && journey.flow.is_state(query.get("state"))) else {
        let detail = "This sign-in was not begun in this browser, or it took longer than ten minutes.";
        return Err(refused(&asked, None, StatusCode::BAD_REQUEST, detail));
    };
    let account = journey.purpose.account().cloned();
    if query.get("code").is_empty() {
        tracing::info!(error = %word(query.get("error")), "an issuer sent somebody back without a sign-in");
        let detail = format!("You did not sign in at {}, or it did not let you.", issuer.name());
        return Err(refused(&asked, account.as_ref(), StatusCode::FORBIDDEN, &detail));
    }
    let now = service.directory.store().now();
    let identity = issuer.finish(&journey.flow, query.get("code"), &back(service), now).await;
    let identity = identity.map_err(|error| unanswered(issuer, &asked, account.as_ref(), &error))?;
    let Some(address) = identity.address.clone().filter(|_| identity.is_verified) else {
        let detail = format!("{} does not say that it has verified your mail address.", issuer.name());
        return Err(refused(&asked, account.as_ref(), StatusCode::FORBIDDEN, &detail));
    };
    match journey.purpose {
        Purpose::SignIn { account } => sign_in(service, &asked, head, account, &address, &identity).await,
        Purpose::Prove { account, next } => {
            let session = session(service, &head.headers).filter(|session| session.account == account);
            let Some(session) = session else { return Ok(Redirect::to(&path_for(account.as_str())).into_response()) };
            // An issuer that did not ask again proves nothing.
            let is_fresh = identity.authenticated.is_some_and(|at| at + LEEWAY >= journey.began);
            let request_id = asked.request_id.as_deref();
            let proven = is_fresh
                && service
                    .directory
                    .prove_by_issuer(&session, &address, request_id)
                    .await
                    .map_err(|error| gate::failed(&asked, &error))?;
            if proven {
                return Ok(Redirect::to(&next).into_response());
            }
            let detail = if is_fresh {
                format!("You signed in at {} as somebody else.", issuer.name())
            } else {
                format!("{} did not ask you to sign in again. Have a code sent to you instead.", issuer.name())
            };
            Err(refused(&asked, Some(&account), StatusCode::FORBIDDEN, &detail))
        }
    }
}

async fn sign_in(
    service: &Service,
    asked: &Asked,
    head: &Parts,
    account: Option<AccountId>,
    address: &EmailAddress,
    identity: &Identity,
) -> Result<Response, Away> {
    let account = match account {
        Some(account) => account,
        None => {
            let accounts = service.directory.accounts_of(address).await.map_err(|error| gate::failed(asked, &error))?;
            let first = accounts.into_iter().next().map(|account| account.id);
            first.ok_or_else(|| {
                let detail = "Nobody administers an account with your address. If you were invited to one, begin at its \
                              own sign-in page.";
                refused(asked, None, StatusCode::FORBIDDEN, detail)
            })?
        }
    };
    let request_id = asked.request_id.as_deref();
    match service.directory.enter_by_issuer(&account, address, identity.authenticated, request_id).await {
        Ok((begun, _)) => start_session(service, asked, &head.headers, &begun, address).await,
        Err(Error::Refused(Refusal::AcceptFirst)) => {
            let detail = "You are invited, and nobody has accepted yet: open the link in your invitation first. After \
                          that you can sign in here.";
            Err(refused(asked, Some(&account), StatusCode::FORBIDDEN, detail))
        }
        Err(Error::Refused(_) | Error::NotFound(_)) => {
            let detail = "This account is not open to your address. If you think it should be, ask an Account Admin.";
            Err(refused(asked, Some(&account), StatusCode::FORBIDDEN, detail))
        }
        Err(error) => Err(gate::failed(asked, &error).into()),
    }
}

fn session(service: &Service, headers: &HeaderMap) -> Option<SessionToken> {
    SessionToken::parse(&Cookie::SESSION.read(headers, service.settings.secure_cookies)?)
}

fn back(service: &Service) -> String {
    format!("{}{CALLBACK}", service.directory.settings().public_url)
}

/// Each answer may cost requests to the issuer, whoever asks.
fn admit(service: &Service, asked: &Asked) -> Result<(), Away> {
    let admitted = asked.client.map_or(Ok(()), |client| service.limits.admit_stranger(client));
    admitted
        .map_err(|throttled| pages::notice(Words::english(), None, Notice::Throttled { wait: throttled.wait }).into())
}

/// Tells whoever is not signed in why, and the way back.
#[derive(Template)]
#[template(path = "console/not_signed_in.html")]
struct NotSignedInTemplate<'a> {
    account: Option<&'a str>,
    detail: &'a str,
    /// Whether it may work in a moment.
    is_ours: bool,
    sign_in: String,
    reference: Option<&'a str>,
}

fn refused(asked: &Asked, account: Option<&AccountId>, status: StatusCode, detail: &str) -> Away {
    let sign_in = account.map_or_else(|| SIGN_IN.to_owned(), |account| path_for(account.as_str()));
    let (is_ours, reference) = (status.is_server_error(), asked.request_id.as_deref());
    let template = NotSignedInTemplate { account: None, detail, is_ours, sign_in, reference };
    Page::render(status, &template).into()
}

fn unanswered(issuer: &RelyingParty, asked: &Asked, account: Option<&AccountId>, error: &IssuerError) -> Away {
    tracing::warn!(issuer = issuer.issuer(), reason = %error, "nobody can sign in by this issuer");
    let (status, detail) = match error {
        IssuerError::Away(_) => {
            let detail = format!("{} does not answer as it should at the moment.", issuer.name());
            (StatusCode::BAD_GATEWAY, detail)
        }
        IssuerError::Invalid(_) => {
            let detail = format!("What {} says about you could not be verified.", issuer.name());
            (StatusCode::BAD_GATEWAY, detail)
        }
    };
    refused(asked, account, status, &detail)
}

/// An error code of the issuer, as far as it is one.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect()
}
