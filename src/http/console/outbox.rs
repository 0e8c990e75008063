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
use crate::directory::mail_queue::{MailQueue, PauseCause};
use crate::directory::outbox::Letter;
use crate::domain::lifecycle::Refusal;
use crate::domain::text::safe_line;
use crate::domain::time::Timestamp;
use crate::http::office::Preview;
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
    preview: String,
}

/// Why nothing, or little, goes out at the moment.
pub(super) struct Halt {
    title: &'static str,
    /// What happened, what to do, and until when.
    sentences: Vec<String>,
    reply: Option<String>,
}

impl Halt {
    /// `None` while the queue runs as it should.
    pub fn of(queue: &MailQueue, now: Timestamp) -> Option<Self> {
        let slower = match queue.slowness() {
            1 => None,
            by => Some(format!("Mails go out {by} times slower than usual; the rate comes back by itself.")),
        };
        let reply = |reply: &str| Some(safe_line(reply, REPLY));
        match &queue.pause {
            Some(pause) if pause.cause == PauseCause::Refused => Some(Halt {
                title: "The mail server refuses this service",
                sentences: vec![
                    format!(
                        "No mail has gone out since {}. The next one tries at {}; once it is taken, all others follow.",
                        format::instant(pause.since),
                        format::instant(pause.until)
                    ),
                    "The operator of this service has to act: its access to the mail server (mail.url) and its sender \
                     (mail.from) can be tried with `usherd mail test`. No mail is lost meanwhile."
                        .to_owned(),
                ],
                reply: reply(&pause.reply),
            }),
            Some(pause) if pause.until > now => Some(Halt {
                title: "The mail server asked for less",
                sentences: std::iter::once(format!(
                    "Nothing goes out until {}. Nobody has to do anything.",
                    format::instant(pause.until)
                ))
                .chain(slower)
                .collect(),
                reply: reply(&pause.reply),
            }),
            Some(_) | None => {
                slower.map(|words| Halt { title: "Mails go out slower", sentences: vec![words], reply: None })
            }
        }
    }
}

#[derive(Template)]
#[template(path = "console/preview.html")]
struct PreviewTemplate {
    frame: Frame,
    preview: Preview,
}

#[derive(Template)]
#[template(path = "console/outbox.html")]
struct OutboxTemplate {
    frame: Frame,
    problem: Option<String>,
    halt: Option<Halt>,
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
    let state = directory.mail_queue().await.map_err(failed)?;
    let pages = usize::try_from(queue.total).unwrap_or(usize::MAX).div_ceil(SIZE).max(1);
    let turned = |page: usize| desk.path(&format!("/outbox?page={page}"));
    let template = OutboxTemplate {
        frame: desk.frame(SECTION),
        problem,
        halt: Halt::of(&state, desk.context.now),
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
        preview: desk.path(&format!("/outbox/{}", letter.id)),
    }
}

/// `GET /admin/{account}/outbox/{letter}`: the mail as it would be written now, without what it is a secret for.
pub(super) async fn preview(
    State(service): State<Service>,
    Path((account, letter)): Path<(String, String)>,
    head: Parts,
) -> Response {
    answer(try_preview(&service, &account, &letter, &head).await)
}

async fn try_preview(service: &Service, account: &str, letter: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let Ok(id) = letter.parse() else { return Err(desk.failed(&Refusal::NotFound.into())) };
    match service.office.preview(&desk.request, id).await {
        Ok(preview) => {
            let template = PreviewTemplate { frame: desk.frame(SECTION), preview };
            Ok(desk.page(Page::render(StatusCode::OK, &template)))
        }
        Err(error) => match sentence(&error) {
            Some((status, words)) => list(&desk, status, Some(words)).await,
            None => Err(desk.failed(&error)),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(cause: &str) -> MailQueue {
        serde_json::from_value(serde_json::json!({
            "pause": {
                "cause": cause, "reply": "554 5.7.1 denied", "since": 1_795_426_200_000_i64,
                "until": 1_795_426_800_000_i64, "refusals": 1
            }
        }))
        .expect("a stored queue")
    }

    #[test]
    fn a_refused_queue_says_what_to_do_also_while_a_letter_tries_and_a_throttled_one_until_when() {
        let (before, after) = ("2026-11-23T09:35:00Z", "2026-11-23T09:41:00Z");
        let at = |text| Timestamp::parse(text).expect("an instant");
        for now in [before, after] {
            let halt = Halt::of(&queue("refused"), at(now)).expect("it is paused");
            assert!(halt.sentences[1].contains("usherd mail test"));
            assert_eq!(halt.reply.as_deref(), Some("554 5.7.1 denied"));
        }
        let halt = Halt::of(&queue("throttled"), at(before)).expect("it is paused");
        assert_eq!(halt.sentences, ["Nothing goes out until 23 Nov 2026, 09:40 UTC. Nobody has to do anything."]);
        assert!(Halt::of(&queue("throttled"), at(after)).is_none());
        assert!(Halt::of(&MailQueue::default(), at(after)).is_none());
    }
}
