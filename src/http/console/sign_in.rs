//! Signing in by a mailed code, and out.

use std::time::Duration;

use askama::Template;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::gate::{self, Away, answer};
use super::{accounts, openid};
use crate::directory::entropy;
use crate::directory::sessions::SessionToken;
use crate::directory::sign_in::Asking;
use crate::domain::ids::AccountId;
use crate::domain::names::EmailAddress;
use crate::domain::token::keyring::Label;
use crate::domain::words::Words;
use crate::http::cookie::Cookie;
use crate::http::form::{self, Fields};
use crate::http::pages::{self, Notice, Page};
use crate::http::service::{Asked, Service};

/// Where somebody types their address.
pub const SIGN_IN: &str = "/admin/sign-in";
/// Where they type the code.
pub const CODE: &str = "/admin/sign-in/code";
pub const SIGN_OUT: &str = "/admin/sign-out";

/// An answer takes at least this long, whether a code is mailed or nobody has the address.
const EVEN: Duration = Duration::from_millis(250);

/// The sign-in page of an account.
pub(super) fn path_for(account: &str) -> String {
    match account.parse::<AccountId>() {
        Ok(account) => format!("{SIGN_IN}?account={account}"),
        Err(_) => SIGN_IN.to_owned(),
    }
}

/// What the browser keeps while it signs in. Sealed: it cannot be made up.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Visit {
    secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asking: Option<Asking>,
}

impl Visit {
    fn of(service: &Service, headers: &HeaderMap) -> Option<Self> {
        let sealed = Cookie::SIGN_IN.read(headers, service.settings.secure_cookies)?;
        let now = service.directory.store().now();
        let octets = service.directory.keys().open(Label::COOKIE, &[b"sign-in"], &sealed, now)?;
        serde_json::from_slice(&octets).ok()
    }

    fn begin() -> Self {
        Visit { secret: URL_SAFE_NO_PAD.encode(entropy::secret()), asking: None }
    }

    fn remember(&self, service: &Service, mut response: Response) -> Response {
        let octets = serde_json::to_vec(self).expect("a visit has only string keys");
        let sealed = service.directory.keys().seal(Label::COOKIE, &[b"sign-in"], &octets);
        let cookie = Cookie::SIGN_IN.set(&sealed, service.settings.secure_cookies);
        response.headers_mut().append(header::SET_COOKIE, cookie);
        response
    }
}

/// The code that this browser asked for.
pub(super) fn remembered_asking(service: &Service, headers: &HeaderMap) -> Option<Asking> {
    Visit::of(service, headers)?.asking
}

/// Lets the browser keep which code it asked for.
pub(super) fn remember_asking(service: &Service, asking: Asking, response: Response) -> Response {
    Visit { asking: Some(asking), ..Visit::begin() }.remember(service, response)
}

#[derive(Template)]
#[template(path = "console/sign_in.html")]
struct SignInTemplate {
    account: Option<String>,
    csrf: String,
    /// The account's id: asked for where the installation has several.
    account_id: Option<String>,
    address: String,
    /// The issuer by which people may sign in instead, and the way there.
    openid: Option<(String, String)>,
    /// The field and what is wrong with it.
    problem: Option<(&'static str, &'static str)>,
}

impl SignInTemplate {
    fn is_wrong(&self, field: &str) -> bool {
        self.problem.is_some_and(|(wrong, _)| wrong == field)
    }
}

#[derive(Template)]
#[template(path = "console/code.html")]
struct CodeTemplate {
    account: Option<String>,
    csrf: String,
    address: String,
    problem: Option<&'static str>,
    again: String,
}

/// `GET /admin`: to the console of whoever is signed in.
pub(super) async fn front_door(State(service): State<Service>, headers: HeaderMap) -> Redirect {
    let session = Cookie::SESSION.read(&headers, service.settings.secure_cookies);
    match session.and_then(|value| SessionToken::parse(&value)) {
        Some(token) => Redirect::to(&format!("/admin/{}", token.account)),
        None => Redirect::to(SIGN_IN),
    }
}

/// `GET /admin/sign-in`.
pub(super) async fn show(State(service): State<Service>, head: Parts) -> Response {
    let query = Fields::of_query(&head.uri);
    let visit = Visit::of(&service, &head.headers).unwrap_or_else(Visit::begin);
    let asked = Asked::of_head(&head.headers, &head.extensions);
    let page = sign_in_page(&service, &visit, query.get("account"), "", None).await;
    answer(
        page.map(|page| visit.remember(&service, page.into_response()))
            .map_err(|error| gate::failed(&asked, &error).into()),
    )
}

async fn sign_in_page(
    service: &Service,
    visit: &Visit,
    account: &str,
    address: &str,
    problem: Option<(&'static str, &'static str)>,
) -> Result<Page, crate::directory::Error> {
    let accounts = service.directory.accounts().await?;
    let account_id = match accounts.as_slice() {
        [_] => None,
        _ => Some(account.to_owned()),
    };
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let csrf = form::token(&service.directory, &visit.secret);
    let openid = service.openid.as_ref().map(|issuer| {
        let way = match account.parse::<AccountId>() {
            Ok(account) => format!("{}?account={account}", openid::BEGIN),
            Err(_) => openid::BEGIN.to_owned(),
        };
        (issuer.name().to_owned(), way)
    });
    let template = SignInTemplate { account: None, csrf, account_id, address: address.to_owned(), openid, problem };
    Ok(Page::render(status, &template))
}

/// `POST /admin/sign-in`: mails a code to whoever may have one, and says the same to everybody.
pub(super) async fn ask(State(service): State<Service>, request: Request) -> Response {
    answer(try_ask(&service, request).await)
}

async fn try_ask(service: &Service, request: Request) -> Result<Response, Away> {
    let asked = Asked::of(&request);
    let (visit, fields) = visit_and_form(service, request).await?;
    let failed = |error| Away::from(gate::failed(&asked, &error));
    let typed = fields.get("address");
    let accounts = service.directory.accounts().await.map_err(failed)?;
    let named = fields.get("account").to_lowercase();
    let account = match accounts.as_slice() {
        [only] => Ok(only.clone()),
        _ => named.parse::<AccountId>(),
    };
    let (account, address) = match (account, EmailAddress::parse(typed)) {
        (Ok(account), Ok(address)) => (account, address),
        (Err(_), _) => {
            let problem = ("account", "Type the short name of your account, as it stands in the console's address.");
            let page = sign_in_page(service, &visit, &named, typed, Some(problem)).await.map_err(failed)?;
            return Ok(page.into_response());
        }
        (Ok(_), Err(_)) => {
            let problem = ("address", "Type your e-mail address, such as ada@example.com.");
            let page = sign_in_page(service, &visit, &named, typed, Some(problem)).await.map_err(failed)?;
            return Ok(page.into_response());
        }
    };
    admit(service, &asked, &address)?;
    let even = tokio::time::Instant::now() + EVEN;
    let asking = service.directory.ask_code(&account, &address, asked.request_id.as_deref()).await.map_err(failed)?;
    tokio::time::sleep_until(even).await;
    let visit = Visit { asking: Some(asking), ..visit };
    Ok(visit.remember(service, Redirect::to(CODE).into_response()))
}

/// `GET /admin/sign-in/code`.
pub(super) async fn show_code(State(service): State<Service>, headers: HeaderMap) -> Response {
    match Visit::of(&service, &headers) {
        Some(Visit { secret, asking: Some(asking) }) => code_page(&service, &secret, &asking, None).into_response(),
        _ => Redirect::to(SIGN_IN).into_response(),
    }
}

fn code_page(service: &Service, secret: &str, asking: &Asking, problem: Option<&'static str>) -> Page {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    let template = CodeTemplate {
        account: None,
        csrf: form::token(&service.directory, secret),
        address: asking.address.as_str().to_owned(),
        problem,
        again: path_for(asking.account.as_str()),
    };
    Page::render(status, &template)
}

/// `POST /admin/sign-in/code`.
pub(super) async fn enter(State(service): State<Service>, request: Request) -> Response {
    answer(try_enter(&service, request).await)
}

async fn try_enter(service: &Service, request: Request) -> Result<Response, Away> {
    let asked = Asked::of(&request);
    let headers = request.headers().clone();
    let (visit, fields) = visit_and_form(service, request).await?;
    let Some(asking) = &visit.asking else { return Ok(Redirect::to(SIGN_IN).into_response()) };
    admit(service, &asked, &asking.address)?;
    let even = tokio::time::Instant::now() + EVEN;
    let entered = service.directory.enter_code(asking, fields.get("code"), asked.request_id.as_deref()).await;
    tokio::time::sleep_until(even).await;
    match entered {
        Ok(Some((session, _))) => start_session(service, &asked, &headers, &session, &asking.address).await,
        Ok(None) => {
            let problem = "This code is not right, or it is too old. After five wrong tries a code is worthless.";
            Ok(code_page(service, &visit.secret, asking, Some(problem)).into_response())
        }
        Err(error) => Err(gate::failed(&asked, &error).into()),
    }
}

/// Gives the browser the session that has just begun, in place of the one it had, and shows it in.
pub(super) async fn start_session(
    service: &Service,
    asked: &Asked,
    headers: &HeaderMap,
    session: &SessionToken,
    address: &EmailAddress,
) -> Result<Response, Away> {
    let secure = service.settings.secure_cookies;
    let previous = Cookie::SESSION.read(headers, secure).and_then(|value| SessionToken::parse(&value));
    if let Some(previous) = previous
        && let Err(error) = service.directory.end_session(&previous).await
    {
        tracing::warn!(%error, "the session before this sign-in was not ended");
    }
    let accounts = service.directory.accounts_of(address).await.map_err(|error| gate::failed(asked, &error))?;
    let to = match accounts.as_slice() {
        [] | [_] => format!("/admin/{}", session.account),
        [_, _, ..] => accounts::path_for(&session.account),
    };
    let mut response = Redirect::to(&to).into_response();
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, Cookie::SESSION.set(&session.expose(), secure));
    headers.append(header::SET_COOKIE, Cookie::SIGN_IN.clear(secure));
    Ok(response)
}

/// `POST /admin/sign-out`.
pub(super) async fn sign_out(State(service): State<Service>, request: Request) -> Response {
    answer(try_sign_out(&service, request).await)
}

async fn try_sign_out(service: &Service, request: Request) -> Result<Response, Away> {
    let asked = Asked::of(&request);
    let secure = service.settings.secure_cookies;
    let token = Cookie::SESSION.read(request.headers(), secure).and_then(|value| SessionToken::parse(&value));
    let Some(token) = token else { return Ok(Redirect::to(SIGN_IN).into_response()) };
    let comes_from_here = form::comes_from_here(request.headers());
    let fields = Fields::of(request.into_body()).await;
    if !comes_from_here || !form::is_genuine(&service.directory, &token.expose(), &fields) {
        return Err(gate::forged(&asked).into());
    }
    service.directory.end_session(&token).await.map_err(|error| gate::failed(&asked, &error))?;
    let cookie = Cookie::SESSION.clear(secure);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&path_for(token.account.as_str()))).into_response())
}

async fn visit_and_form(service: &Service, request: Request) -> Result<(Visit, Fields), Away> {
    let asked = Asked::of(&request);
    let visit = Visit::of(service, request.headers());
    let comes_from_here = form::comes_from_here(request.headers());
    let fields = Fields::of(request.into_body()).await;
    match visit {
        Some(visit) if comes_from_here && form::is_genuine(&service.directory, &visit.secret, &fields) => {
            Ok((visit, fields))
        }
        _ => Err(gate::forged(&asked).into()),
    }
}

/// By who asks and by whom they say they are.
pub(super) fn admit(service: &Service, asked: &Asked, address: &EmailAddress) -> Result<(), Away> {
    let by_client = asked.client.map_or(Ok(()), |client| service.limits.admit_stranger(client));
    let admitted = by_client.and_then(|()| service.limits.admit_sign_in(address.folded()));
    admitted
        .map_err(|throttled| pages::notice(Words::english(), None, Notice::Throttled { wait: throttled.wait }).into())
}
