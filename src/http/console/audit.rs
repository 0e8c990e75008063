//! Audit: what happened in the account, the newest first.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use url::form_urlencoded;

use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::user::{Happened, happened};
use crate::directory::audit::AuditEvent;
use crate::http::pages::Page;
use crate::http::service::Service;
use crate::store::EventId;

const SECTION: &str = "audit";
/// Events on a page.
const SIZE: usize = 50;
/// Events that one page looks through for those of a filter.
const MAX_LOOKED: usize = 1_000;
/// What an event's name begins with, and its words.
const KINDS: [(&str, &str); 7] = [
    ("user.", "People"),
    ("session.", "Sign-in"),
    ("mail.", "Mail"),
    ("group.", "Groups"),
    ("organization.", "Organizations"),
    ("project.", "Projects"),
    ("license.", "Licenses"),
];

struct Line {
    happened: Happened,
    person: Option<String>,
    alerts: String,
    request: Option<String>,
}

struct KindOption {
    value: &'static str,
    words: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditTemplate {
    frame: Frame,
    kinds: Vec<KindOption>,
    lines: Vec<Line>,
    newest: String,
    is_newest: bool,
    older: Option<String>,
}

/// `GET /admin/{account}/audit`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let kind = KINDS.iter().map(|(kind, _)| *kind).find(|kind| *kind == desk.query.get("kind"));
    let before = event_id(desk.query.get("before"));
    // Without a filter one more than the page tells whether there is an older one.
    let limit = if kind.is_some() { MAX_LOOKED } else { SIZE + 1 };
    let events = service.directory.audit(&desk.request, before, limit, true).await;
    let events = events.map_err(|error| desk.failed(&error))?;
    let looked_at_all = events.len() < limit;
    let last_looked = events.last().map(|(id, _)| *id);
    let fits = |event: &AuditEvent| kind.is_none_or(|kind| event.event.starts_with(kind));
    let mut found: Vec<(EventId, AuditEvent)> = events.into_iter().filter(|(_, event)| fits(event)).collect();
    let more = found.len() > SIZE;
    found.truncate(SIZE);
    let resume = match (more, looked_at_all) {
        (true, _) => found.last().map(|(id, _)| *id),
        (false, false) => last_looked,
        (false, true) => None,
    };
    let href = |before: Option<EventId>| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        kind.map(|kind| query.append_pair("kind", kind));
        before.map(|id| query.append_pair("before", &format!("{}-{}", id.millis, id.sequence)));
        desk.path(&format!("/audit?{}", query.finish()))
    };
    let template = AuditTemplate {
        frame: desk.frame(SECTION),
        kinds: KINDS.map(|(value, words)| KindOption { value, words, chosen: Some(value) == kind }).into(),
        lines: found.iter().map(|(_, event)| line(&desk, event)).collect(),
        newest: href(None),
        is_newest: before.is_none(),
        older: resume.map(|id| href(Some(id))),
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn line(desk: &Desk, event: &AuditEvent) -> Line {
    Line {
        happened: happened(event),
        person: event.user.map(|user| desk.path(&format!("/users/{user}"))),
        alerts: event.alerts.join(", "),
        request: event.actor.request_id.clone(),
    }
}

/// `<millis>-<sequence>`, the place in the stream that an address names.
fn event_id(text: &str) -> Option<EventId> {
    let (millis, sequence) = text.split_once('-')?;
    Some(EventId { millis: millis.parse().ok()?, sequence: sequence.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_stream_is_two_numbers_and_anything_else_is_the_newest() {
        assert_eq!(event_id("1795426200007-3"), Some(EventId { millis: 1_795_426_200_007, sequence: 3 }));
        for wrong in ["", "7", "-1-2", "7-", "7-x", "99999999999999999999999-1"] {
            assert_eq!(event_id(wrong), None, "{wrong}");
        }
    }
}
