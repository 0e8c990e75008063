//! Provisioning: which clients there are, with what tokens, what they asked for lately, and how to connect one.

mod clients;
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

use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::Error;
use crate::directory::story::Wanted;
use crate::http::pages::Page;
use crate::http::service::Service;

use clients::Client;

const SECTION: &str = "provisioning";
/// So many refused requests are shown beside the clients.
const LATELY: usize = 5;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/provisioning", get(show))
        .route("/admin/{account}/provisioning/tokens/new", get(tokens::ask_new).post(tokens::make))
        .route("/admin/{account}/provisioning/tokens/{token}/rotate", get(tokens::ask_rotate).post(tokens::rotate))
        .route("/admin/{account}/provisioning/tokens/{token}/revoke", get(tokens::ask_revoke).post(tokens::revoke))
        .route("/admin/{account}/provisioning/clients/{client}/{act}", get(clients::ask).post(clients::decide))
        .route("/admin/{account}/provisioning/story", get(story::list))
        .route("/admin/{account}/provisioning/story/{line}", get(story::one))
        .route("/admin/{account}/provisioning/test", get(story::test))
        .route("/admin/{account}/provisioning/setup/{provider}", get(guide::show))
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
    let summaries = directory.clients(&desk.context).await?;
    let mut clients = Vec::with_capacity(summaries.len());
    for summary in &summaries {
        let refused = directory.refusals_of(&desk.context.account.id, summary.name.as_str()).await?;
        clients.push(Client::of(desk, summary, refused));
    }
    Ok(clients)
}
