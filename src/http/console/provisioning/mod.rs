//! Provisioning: which clients there are, with what tokens, what they asked for lately, and how to connect one.

mod guide;
mod story;
mod tokens;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::get;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::Error;
use crate::directory::story::Wanted;
use crate::directory::tokens::Token;
use crate::domain::time::Timestamp;
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "provisioning";
/// So many refused requests are shown beside the clients.
const LATELY: usize = 5;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/provisioning", get(show))
        .route("/admin/{account}/provisioning/tokens/new", get(tokens::ask_new).post(tokens::make))
        .route("/admin/{account}/provisioning/tokens/{token}/rotate", get(tokens::ask_rotate).post(tokens::rotate))
        .route("/admin/{account}/provisioning/tokens/{token}/revoke", get(tokens::ask_revoke).post(tokens::revoke))
        .route("/admin/{account}/provisioning/story", get(story::list))
        .route("/admin/{account}/provisioning/story/{line}", get(story::one))
        .route("/admin/{account}/provisioning/test", get(story::test))
        .route("/admin/{account}/provisioning/setup/{provider}", get(guide::show))
}

/// A client as its card shows it.
struct Client {
    name: String,
    last_used: Option<String>,
    refused: u64,
    /// Its refused requests.
    refused_href: String,
    tokens: Vec<TokenRow>,
}

struct TokenRow {
    href: String,
    name: String,
    made: String,
    /// Word, icon and tone of a badge.
    state: (&'static str, &'static str, &'static str),
    until: Option<String>,
    scopes: String,
    profile: String,
    test: bool,
    alive: bool,
}

#[derive(Template)]
#[template(path = "console/provisioning.html")]
struct ProvisioningTemplate {
    frame: Frame,
    base_url: String,
    clients: Vec<Client>,
    lately: Vec<story::Row>,
    guides: Vec<(String, &'static str)>,
}

/// `GET /admin/{account}/provisioning`.
async fn show(State(service): State<Service>, path: Path<String>, head: Parts) -> Response {
    answer(try_show(&service, path, &head).await)
}

async fn try_show(service: &Service, Path(account): Path<String>, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let clients = clients(&desk).await.map_err(|error| desk.failed(&error))?;
    let refused = Wanted { refused_only: true, ..Wanted::default() };
    let told = service.directory.story(&desk.context.account.id, &refused, None, LATELY).await;
    let told = told.map_err(|error| desk.failed(&error))?;
    let template = ProvisioningTemplate {
        frame: desk.frame(SECTION),
        base_url: base_url(service),
        clients,
        lately: told.lines.iter().map(|(id, line)| story::Row::of(&desk, *id, line)).collect(),
        guides: guide::all().iter().map(|guide| (desk.path(&guide.path()), guide.title)).collect(),
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

/// The address that an identity provider is given.
fn base_url(service: &Service) -> String {
    format!("{}/scim/v2", service.directory.settings().public_url)
}

async fn clients(desk: &Desk) -> Result<Vec<Client>, Error> {
    let directory = &desk.service.directory;
    let account = &desk.context.account.id;
    let tokens = directory.list_tokens(account).await?;
    let ids: Vec<_> = tokens.iter().map(|token| token.id).collect();
    let uses = directory.last_uses(account, &ids).await?;
    let mut clients: Vec<(Client, Option<Timestamp>)> = Vec::new();
    for (token, used) in tokens.iter().zip(uses) {
        let name = token.client.as_str();
        if clients.last().is_none_or(|(client, _)| client.name != name) {
            let refused = directory.refusals_of(account, name).await?;
            let query = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("client", name)
                .append_pair("refused", "yes")
                .finish();
            let refused_href = desk.path(&format!("/provisioning/story?{query}"));
            let name = name.to_owned();
            clients.push((Client { name, last_used: None, refused, refused_href, tokens: Vec::new() }, None));
        }
        if let Some((client, last)) = clients.last_mut() {
            client.tokens.push(TokenRow::of(desk, token));
            *last = (*last).max(used);
        }
    }
    Ok(clients.into_iter().map(|(client, last)| Client { last_used: last.map(format::instant), ..client }).collect())
}

impl TokenRow {
    fn of(desk: &Desk, token: &Token) -> Self {
        let now = desk.context.now;
        let ended = token.expires_at.is_some_and(|at| at <= now);
        let (state, until) = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => (("Revoked", "cross", "calm"), Some(format::instant(at))),
            (None, Some(at)) if ended => (("Expired", "alert", "waiting"), Some(format::instant(at))),
            (None, Some(at)) => (("Working", "check", "good"), Some(format!("until {}", format::instant(at)))),
            (None, None) => (("Working", "check", "good"), None),
        };
        TokenRow {
            href: desk.path(&format!("/provisioning/tokens/{}", token.id)),
            name: tokens::name_of(token),
            made: format::instant(token.created),
            state,
            until,
            scopes: token.scopes.to_string(),
            profile: token.profile.clone(),
            test: token.test,
            alive: token.is_alive(now),
        }
    }
}
