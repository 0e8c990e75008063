//! Audit: what happened in the account, the newest first.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use url::form_urlencoded;

use super::csv;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::user::{Happened, happened};
use crate::directory::audit::AuditEvent;
use crate::directory::listing::{Filters, Listing, Order, Start};
use crate::directory::memberships::{MemberKind, Members};
use crate::directory::{Door, Error};
use crate::domain::ids::ResourceId;
use crate::domain::names::fold;
use crate::domain::text::{safe_line, safe_name};
use crate::http::pages::Page;
use crate::http::service::Service;
use crate::store::EventId;

const SECTION: &str = "audit";
/// Events on a page.
const SIZE: usize = 50;
/// Events that one page looks through for those of a filter.
const MAX_LOOKED: usize = 1_000;
/// Events that one file has.
const MAX_EXPORTED: usize = 10_000;
/// People whom a text may mean.
const MAX_PEOPLE: usize = 100;
/// What an event's name begins with, and its words.
const KINDS: [(&str, &str); 12] = [
    ("user.", "People"),
    ("session.", "Sign-in"),
    ("mail.", "Mail"),
    ("group.", "Groups"),
    ("organization.", "Organizations"),
    ("project.", "Projects"),
    ("license.", "Licenses"),
    ("x-", "Types of your own"),
    ("client.", "Clients"),
    ("token.", "Tokens"),
    ("account.", "Settings"),
    ("job.", "Jobs"),
];

struct Line {
    happened: Happened,
    /// Name and page of whom it is about.
    person: Option<(String, String)>,
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
    text: String,
    until: String,
    is_filtered: bool,
    lines: Vec<Line>,
    newest: String,
    is_newest: bool,
    older: Option<String>,
    /// The same events as files: words and address.
    exports: [(&'static str, String); 2],
}

/// What is looked for, as the address says it.
struct Sought {
    kind: Option<&'static str>,
    /// A part of the name of who acted or whom it is about.
    text: String,
    /// The last day, `2026-11-23`.
    until: String,
    before: Option<EventId>,
    /// The people whose name, mail or id the text fits.
    people: Vec<ResourceId>,
}

impl Sought {
    async fn of(desk: &Desk) -> Result<Self, Error> {
        let query = &desk.query;
        let text = safe_line(query.get("text"), 64);
        let until = query.get("until");
        let end = end_of(until);
        let mut people = Vec::new();
        if !text.is_empty() {
            let listing = Listing {
                status: None,
                words: text.split_whitespace().map(str::to_owned).collect(),
                filters: Filters::default(),
                order: Order::Name,
                start: Start::At(0),
                limit: MAX_PEOPLE,
            };
            let found = desk.service.directory.list_users(&desk.context, &listing).await?;
            people.extend(found.users.iter().map(|record| record.user.id));
        }
        Ok(Sought {
            kind: KINDS.iter().map(|(kind, _)| *kind).find(|kind| *kind == query.get("kind")),
            before: event_id(query.get("before")).or(end),
            until: end.map(|_| until.to_owned()).unwrap_or_default(),
            text,
            people,
        })
    }

    fn is_filter(&self) -> bool {
        self.kind.is_some() || !self.text.is_empty()
    }

    fn fits(&self, event: &AuditEvent) -> bool {
        let by = &event.actor.name;
        let named = |id: &ResourceId| event.user == Some(*id) || *by == id.to_string();
        let (text, client) = (fold(&self.text), event.client.as_ref().map_or("", |client| client.as_str()));
        self.kind.is_none_or(|kind| event.event.starts_with(kind))
            && (text.is_empty()
                || [by, client].iter().any(|name| fold(name).contains(&text))
                || self.people.iter().any(named))
    }

    /// The address of the same search, from another place on.
    fn query(&self, before: Option<EventId>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let before = before.map(|id| format!("{}-{}", id.millis, id.sequence)).unwrap_or_default();
        let parts = [("kind", self.kind.unwrap_or_default()), ("text", &self.text), ("until", &self.until)];
        let parts = parts.into_iter().chain([("before", before.as_str())]);
        query.extend_pairs(parts.filter(|(_, value)| !value.is_empty()));
        query.finish()
    }
}

/// The place behind the last event of a day, in UTC; `None` for what is no day.
fn end_of(day: &str) -> Option<EventId> {
    let day: jiff::civil::Date = day.parse().ok()?;
    let end = jiff::tz::TimeZone::UTC.to_timestamp(day.tomorrow().ok()?.at(0, 0, 0, 0)).ok()?;
    Some(EventId { millis: u64::try_from(end.as_millisecond()).ok()?, sequence: 0 })
}

/// `GET /admin/{account}/audit`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let sought = Sought::of(&desk).await.map_err(|error| desk.failed(&error))?;
    // Without a filter one more than the page tells whether there is an older one.
    let limit = if sought.is_filter() { MAX_LOOKED } else { SIZE + 1 };
    let events = service.directory.audit(&desk.request, sought.before, limit, true).await;
    let events = events.map_err(|error| desk.failed(&error))?;
    let looked_at_all = events.len() < limit;
    let last_looked = events.last().map(|(id, _)| *id);
    let mut found: Vec<(EventId, AuditEvent)> = events.into_iter().filter(|(_, event)| sought.fits(event)).collect();
    let more = found.len() > SIZE;
    found.truncate(SIZE);
    let resume = match (more, looked_at_all) {
        (true, _) => found.last().map(|(id, _)| *id),
        (false, false) => last_looked,
        (false, true) => None,
    };
    let names = names(&desk, found.iter().map(|(_, event)| event)).await.map_err(|error| desk.failed(&error))?;
    let href = |before| desk.path(&format!("/audit?{}", sought.query(before)));
    let file = |form: &str| desk.path(&format!("/audit/export?form={form}&{}", sought.query(sought.before)));
    let template = AuditTemplate {
        frame: desk.frame(SECTION),
        kinds: KINDS.map(|(value, words)| KindOption { value, words, chosen: Some(value) == sought.kind }).into(),
        lines: found.iter().map(|(_, event)| line(&desk, event, &names)).collect(),
        newest: href(None),
        is_newest: desk.query.get("before").is_empty(),
        older: resume.map(|id| href(Some(id))),
        exports: [("CSV", file("csv")), ("JSON Lines", file("jsonl"))],
        is_filtered: sought.is_filter() || !sought.until.is_empty(),
        text: sought.text,
        until: sought.until,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

type Names = BTreeMap<ResourceId, String>;

/// The names that people have now, of those who acted and those whom it is about.
async fn names(desk: &Desk, events: impl Iterator<Item = &AuditEvent>) -> Result<Names, Error> {
    let ids = events.flat_map(|event| [event.user, admin_of(event)]).flatten();
    let people: Members = ids.map(|id| (id, MemberKind::User)).collect();
    desk.service.directory.names_of(&desk.context.space, &people).await
}

/// Who acted in the console.
fn admin_of(event: &AuditEvent) -> Option<ResourceId> {
    event.actor.name.parse().ok().filter(|_| event.actor.channel == Door::Console)
}

fn line(desk: &Desk, event: &AuditEvent, names: &Names) -> Line {
    let name = |id: &ResourceId| names.get(id).map(|name| safe_name(name)).filter(|name| !name.is_empty());
    let mut happened = happened(event);
    if let Some(admin) = admin_of(event).as_ref().and_then(name) {
        happened.by = format!("{admin} in the console");
    }
    if let ("account.changed", Some(before), Some(after)) = (event.event.as_str(), &event.before, &event.after) {
        happened.what = format!("Settings changed: {before} → {after}");
    }
    Line {
        happened,
        person: event
            .user
            .map(|user| (name(&user).unwrap_or_else(|| "Person".to_owned()), desk.path(&format!("/users/{user}")))),
        alerts: event.alerts.join(", "),
        request: event.actor.request_id.clone(),
    }
}

/// `GET /admin/{account}/audit/export`: the newest [`MAX_EXPORTED`] events that fit, from the place of the page on.
pub(super) async fn export(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_export(&service, &account, &head).await)
}

async fn try_export(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let failed = |error: Error| desk.failed(&error);
    let sought = Sought::of(&desk).await.map_err(failed)?;
    let as_csv = desk.query.get("form") == "csv";
    let mut out = if as_csv { csv::line(COLUMNS) } else { String::new() };
    let (mut place, mut looked) = (sought.before, 0);
    let mut goes_on = true;
    while goes_on && looked < MAX_EXPORTED {
        let events = service.directory.audit(&desk.request, place, MAX_LOOKED, true).await.map_err(failed)?;
        goes_on = events.len() == MAX_LOOKED;
        looked += events.len();
        place = events.last().map(|(id, _)| *id).or(place);
        let fitting: Vec<&AuditEvent> = events.iter().map(|(_, event)| event).filter(|it| sought.fits(it)).collect();
        let names = names(&desk, fitting.iter().copied()).await.map_err(failed)?;
        for event in fitting {
            out += &if as_csv { csv_line(event, &names) } else { json_line(event) };
        }
    }
    let (kind, ending) = if as_csv { ("text/csv; charset=utf-8", "csv") } else { ("application/jsonl", "jsonl") };
    let name = format!("attachment; filename=\"audit-{}.{ending}\"", desk.context.account.id);
    let mut response = ([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, &name)], out).into_response();
    if goes_on {
        let form = if as_csv { "csv" } else { "jsonl" };
        let next = format!("{}?form={form}&{}", desk.path("/audit/export"), sought.query(place));
        if let Ok(link) = HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

const COLUMNS: [&str; 12] = [
    "at",
    "event",
    "channel",
    "actor",
    "user",
    "name",
    "client",
    "before",
    "after",
    "attributes",
    "refused",
    "requestId",
];

fn csv_line(event: &AuditEvent, names: &Names) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let cells = [
        event.at.to_string(),
        event.event.clone(),
        event.actor.channel.as_str().to_owned(),
        event.actor.name.clone(),
        event.user.map(|user| user.to_string()).unwrap_or_default(),
        event.user.and_then(|user| names.get(&user).cloned()).unwrap_or_default(),
        event.client.as_ref().map(ToString::to_string).unwrap_or_default(),
        text(&event.before),
        text(&event.after),
        event.attributes.join(" "),
        text(&event.refused),
        text(&event.actor.request_id),
    ];
    csv::line(cells.each_ref().map(String::as_str))
}

fn json_line(event: &AuditEvent) -> String {
    let mut value = json!(event);
    value["at"] = event.at.to_string().into();
    format!("{value}\n")
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
    fn a_day_ends_where_the_next_one_begins() {
        assert_eq!(end_of("2026-11-23"), Some(EventId { millis: 1_795_478_400_000, sequence: 0 }));
        for wrong in ["", "yesterday", "2026-13-01", "1969-01-01"] {
            assert_eq!(end_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_place_in_the_stream_is_two_numbers_and_anything_else_is_the_newest() {
        assert_eq!(event_id("1795426200007-3"), Some(EventId { millis: 1_795_426_200_007, sequence: 3 }));
        for wrong in ["", "7", "-1-2", "7-", "7-x", "99999999999999999999999-1"] {
            assert_eq!(event_id(wrong), None, "{wrong}");
        }
    }
}
