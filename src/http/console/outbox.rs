//! Outbox: the mails that wait to go out, what the relay said of each, and a button that tries one at once.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer, sentence};
use crate::directory::Error;
use crate::directory::history::Queued;
use crate::directory::outbox::Letter;
use crate::domain::text::safe_line;
use crate::domain::time::Timestamp;
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "outbox";
/// Mails on a page.
const SIZE: usize = 25;
/// So many mails that nobody tries any more are listed.
const DEAD: usize = 25;
/// A reply of the relay is shown up to so many characters.
const REPLY: usize = 200;

struct Row {
    id: String,
    kind: String,
    to: String,
    person: String,
    since: String,
    state: &'static str,
    next: Option<String>,
    attempts: u32,
    reply: Option<String>,
    retry: String,
}

#[derive(Template)]
#[template(path = "console/outbox.html")]
struct OutboxTemplate {
    frame: Frame,
    problem: Option<String>,
    /// Waiting, and given up.
    lists: [(&'static str, Vec<Row>); 2],
    is_empty: bool,
    total: u64,
    page: usize,
    pages: usize,
    previous: Option<String>,
    next: Option<String>,
}

/// `GET /admin/{account}/outbox`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    list(&desk, StatusCode::OK, None).await
}

async fn list(desk: &Desk, status: StatusCode, problem: Option<String>) -> Result<Response, Away> {
    let failed = |error: Error| desk.failed(&error);
    let page: usize = desk.query.get("page").parse().ok().filter(|page| (1..1_000_000).contains(page)).unwrap_or(1);
    let directory = &desk.service.directory;
    let queue = directory.outbox(&desk.request, (page - 1) * SIZE, SIZE).await.map_err(failed)?;
    let dead = directory.dead_letters(&desk.request, DEAD).await.map_err(failed)?;
    let pages = usize::try_from(queue.total).unwrap_or(usize::MAX).div_ceil(SIZE).max(1);
    let turned = |page: usize| desk.path(&format!("/outbox?page={page}"));
    let template = OutboxTemplate {
        frame: desk.frame(SECTION),
        problem,
        lists: [
            ("Waiting", queue.letters.iter().map(|queued| waiting(desk, queued)).collect()),
            ("Given up", dead.iter().map(|letter| row(desk, letter, "given up", None)).collect()),
        ],
        is_empty: queue.letters.is_empty(),
        total: queue.total,
        page,
        pages,
        previous: (page > 1).then(|| turned(page.min(pages + 1) - 1)),
        next: (page < pages).then(|| turned(page + 1)),
    };
    Ok(desk.page(Page::render(status, &template)))
}

fn waiting(desk: &Desk, queued: &Queued) -> Row {
    let later = queued.next_attempt.filter(|next| *next > desk.context.now);
    let state = match (later, queued.letter.last_reply.is_some()) {
        (Some(_), true) => "tried, waits",
        (Some(_), false) => "waits",
        (None, _) => "is being sent",
    };
    row(desk, &queued.letter, state, later)
}

fn row(desk: &Desk, letter: &Letter, state: &'static str, next: Option<Timestamp>) -> Row {
    Row {
        id: letter.id.to_string(),
        kind: format::sentence(&letter.kind.as_str().replace('_', " ")).trim_end_matches('.').to_owned(),
        to: letter.to.as_str().to_owned(),
        person: desk.path(&format!("/users/{}", letter.user)),
        since: format::instant(letter.created),
        state,
        next: next.map(format::instant),
        attempts: letter.attempts,
        reply: letter.last_reply.as_deref().map(|reply| safe_line(reply, REPLY)),
        retry: desk.path(&format!("/outbox/{}/retry", letter.id)),
    }
}

/// `POST /admin/{account}/outbox/{letter}/retry`.
pub(super) async fn retry(
    State(service): State<Service>,
    Path((account, letter)): Path<(String, String)>,
    request: Request,
) -> Response {
    answer(try_retry(&service, &account, &letter, request).await)
}

async fn try_retry(service: &Service, account: &str, letter: &str, request: Request) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, account, request).await?;
    let back = desk.path("/outbox");
    let gone = "This mail waits no more: it was sent, or its invitation is gone.";
    let Ok(id) = letter.parse() else { return Ok(desk.done(&back, gone)) };
    match service.directory.retry_letter(&desk.request, id).await {
        Ok(_) => Ok(desk.done(&back, "The mail is tried now.")),
        Err(Error::NotFound(_)) => Ok(desk.done(&back, gone)),
        Err(error) => match sentence(&error) {
            Some((status, words)) => list(&desk, status, Some(words)).await,
            None => Err(desk.failed(&error)),
        },
    }
}
