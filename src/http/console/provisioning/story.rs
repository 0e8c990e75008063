//! The story in the console: search, one request, and the test of a connection.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::Value;

use super::super::frame::Frame;
use super::super::gate::{Away, Desk, answer};
use super::SECTION;
use crate::directory::story::hints::{Hint, hint_for};
use crate::directory::story::{Line, LineId, Wanted};
use crate::domain::time::Timestamp;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;
use crate::scim::Tolerance;

/// So many requests stand on one page.
const PAGE: usize = 50;
/// So many are shown while a connection is tested.
const ARRIVED: usize = 10;

/// A request as a row.
pub struct Row {
    pub href: String,
    pub at: String,
    pub client: String,
    pub request: String,
    pub about: Option<String>,
    pub status: u16,
    /// The tone and the icon of its badge.
    pub tone: (&'static str, &'static str),
    pub detail: Option<String>,
    pub times: u32,
    pub found: Option<usize>,
}

impl Row {
    pub fn of(desk: &Desk, id: LineId, line: &Line) -> Self {
        Row {
            href: desk.path(&format!("/provisioning/story/{id}")),
            at: moment(line.at),
            client: line.client.clone(),
            request: format!("{} {}", line.method, line.target.trim_start_matches("/scim/v2")),
            about: line.about.clone(),
            status: line.status,
            tone: if line.is_refused() { ("waiting", "alert") } else { ("good", "check") },
            detail: line.refused.as_ref().map(|refused| refused.detail.clone()),
            times: line.times,
            found: line.found,
        }
    }
}

/// To the second, by which it is found in a provider's log.
fn moment(at: Timestamp) -> String {
    at.to_jiff().strftime("%-d %b %Y, %H:%M:%S UTC").to_string()
}

#[derive(Template)]
#[template(path = "console/story.html")]
struct StoryTemplate {
    frame: Frame,
    q: String,
    clients: Vec<(String, bool)>,
    refused_only: bool,
    rows: Vec<Row>,
    /// Whether this is the beginning.
    newest: bool,
    newest_href: String,
    older: Option<String>,
}

/// `GET …/provisioning/story`.
pub(super) async fn list(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_list(&service, &account, &head).await)
}

async fn try_list(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let wanted = Wanted {
        text: desk.query.get("q").chars().take(200).collect(),
        client: Some(desk.query.get("client").to_owned()).filter(|client| !client.is_empty()),
        refused_only: desk.query.get("refused") == "yes",
        since: None,
    };
    let after: Option<LineId> = desk.query.get("after").parse().ok();
    let id = &desk.context.account.id;
    let told = service.directory.story(id, &wanted, after, PAGE).await.map_err(|error| desk.failed(&error))?;
    let tokens = service.directory.list_tokens(id).await.map_err(|error| desk.failed(&error))?;
    let mut names: Vec<String> = tokens.iter().map(|token| token.client.to_string()).collect();
    names.dedup();
    let here = |after: Option<LineId>| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for name in ["q", "client", "refused"] {
            let value = desk.query.get(name);
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        if let Some(after) = after {
            query.append_pair("after", &after.to_string());
        }
        desk.path(&format!("/provisioning/story?{}", query.finish()))
    };
    let template = StoryTemplate {
        frame: desk.frame(SECTION),
        clients: names.into_iter().map(|name| (name.clone(), wanted.client.as_ref() == Some(&name))).collect(),
        refused_only: wanted.refused_only,
        rows: told.lines.iter().map(|(id, line)| Row::of(&desk, *id, line)).collect(),
        newest: after.is_none(),
        newest_href: here(None),
        older: told.lines.last().filter(|_| told.more).map(|(last, _)| here(Some(*last))),
        q: wanted.text,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

#[derive(Template)]
#[template(path = "console/story_line.html")]
struct LineTemplate {
    frame: Frame,
    row: Row,
    line: Line,
    hint: Option<&'static Hint>,
    tolerances: Vec<(String, String)>,
    ignored: String,
    body: Option<String>,
    /// The story of the same person.
    same: Option<String>,
}

/// `GET …/provisioning/story/{line}`.
pub(super) async fn one(State(service): State<Service>, path: Path<(String, String)>, head: Parts) -> Response {
    answer(try_one(&service, path, &head).await)
}

async fn try_one(
    service: &Service,
    Path((account, id)): Path<(String, String)>,
    head: &Parts,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let found = service.directory.story_line(&desk.context.account.id, &id).await;
    let (line, body) = found.map_err(|error| desk.failed(&error))?;
    let id: LineId = id.parse().map_err(|_| desk.failed(&crate::domain::lifecycle::Refusal::NotFound.into()))?;
    let same = line.about.as_ref().map(|about| {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("q", about).finish();
        desk.path(&format!("/provisioning/story?{query}"))
    });
    let template = LineTemplate {
        frame: desk.frame(SECTION),
        row: Row::of(&desk, id, &line),
        hint: hint_for(&line),
        tolerances: line.tolerances.iter().map(|name| (name.clone(), meaning(name))).collect(),
        ignored: line.ignored.iter().cloned().collect::<Vec<_>>().join(", "),
        body: body.map(pretty),
        same,
        line,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

/// A tolerance in words. One that a newer version knows has none.
fn meaning(name: &str) -> String {
    Tolerance::named(name).map_or("", Tolerance::meaning).trim().replace('`', "")
}

fn pretty(body: String) -> String {
    let parsed = serde_json::from_str::<Value>(&body).ok();
    parsed.and_then(|value| serde_json::to_string_pretty(&value).ok()).unwrap_or(body)
}

#[derive(Template)]
#[template(path = "console/test_connection.html")]
struct TestTemplate {
    frame: Frame,
    base_url: String,
    since: String,
    rows: Vec<Row>,
    /// Where the same question is asked again.
    again: String,
}

#[derive(Template)]
#[template(path = "console/arrived.html")]
struct ArrivedTemplate {
    since: String,
    rows: Vec<Row>,
    again: String,
}

/// `GET …/provisioning/test`: what has arrived since the page was opened.
pub(super) async fn test(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_test(&service, &account, &head).await)
}

async fn try_test(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let since = since(&desk.query, desk.context.now);
    let wanted = Wanted { since: Some(since), ..Wanted::default() };
    let told = service.directory.story(&desk.context.account.id, &wanted, None, ARRIVED).await;
    let told = told.map_err(|error| desk.failed(&error))?;
    let rows = told.lines.iter().map(|(id, line)| Row::of(&desk, *id, line)).collect();
    let again = desk.path(&format!("/provisioning/test?since={}", since.as_millis()));
    let since = moment(since);
    Ok(if desk.partial {
        desk.page(Page::render(StatusCode::OK, &ArrivedTemplate { since, rows, again }))
    } else {
        let frame = desk.frame(SECTION);
        let base_url = super::base_url(service);
        desk.page(Page::render(StatusCode::OK, &TestTemplate { frame, base_url, since, rows, again }))
    })
}

/// When the test began: as the address says, else now.
fn since(query: &Fields, now: Timestamp) -> Timestamp {
    query.get("since").parse().map_or(now, Timestamp::from_millis).min(now)
}
