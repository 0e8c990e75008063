//! The account chooser: for whoever is Account Admin in several accounts.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::Account;
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::Refusal;
use crate::domain::text::safe_name;
use crate::http::cookie::Cookie;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

struct Choice {
    id: String,
    name: String,
    is_this: bool,
}

#[derive(Template)]
#[template(path = "console/accounts.html")]
struct AccountsTemplate {
    frame: Frame,
    choices: Vec<Choice>,
}

/// The chooser of an account's console.
pub(super) fn path_for(account: &AccountId) -> String {
    format!("/admin/{account}/accounts")
}

/// `GET /admin/{account}/accounts`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let accounts = match &desk.admin.address {
        Some(address) => service.directory.accounts_of(address).await.map_err(|error| desk.failed(&error))?,
        None => Vec::new(),
    };
    let choice = |account: Account| Choice {
        is_this: account.id == desk.token.account,
        name: safe_name(&account.name),
        id: account.id.to_string(),
    };
    let choices = accounts.into_iter().map(choice).collect();
    Ok(desk.page(Page::render(StatusCode::OK, &AccountsTemplate { frame: desk.frame("accounts"), choices })))
}

/// `POST /admin/{account}/accounts`: goes to the account that was chosen.
pub(super) async fn choose(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_choose(&service, &account, request).await)
}

async fn try_choose(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let unknown = || desk.failed(&Refusal::NotFound.into());
    let to: AccountId = fields.get("to").parse().map_err(|_| unknown())?;
    if to == desk.token.account {
        return Ok(Redirect::to(&desk.path("")).into_response());
    }
    if !(desk.admin.by_code && desk.admin.is_proven(desk.context.now)) {
        return Err(desk.prove_first(&path_for(&desk.token.account), &Fields::default()));
    }
    let begun = service.directory.change_account(&desk.token, &to, desk.asked.request_id.clone()).await;
    let begun = begun.map_err(|error| desk.failed(&error))?.ok_or_else(unknown)?;
    let cookie = Cookie::SESSION.set(&begun.expose(), service.settings.secure_cookies);
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(&format!("/admin/{to}"))).into_response())
}
