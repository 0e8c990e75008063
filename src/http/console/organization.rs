//! Admin Settings > Organization: what waits for an admin, and how the account is doing, in numbers and small charts.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::attention::{self, Item};
use super::charts::{self, Bar, Curve};
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::census::{Census, Day};
use crate::domain::user::Status;
use crate::http::pages::Page;
use crate::http::service::Service;

/// How many days the curves show, the usual number first.
const SPANS: [i64; 3] = [90, 30, 400];
/// More lines than this, and the table shows one day of a week.
const LINES: i64 = 100;

/// People of one status: how many, and how that went.
struct Figure {
    status: Status,
    now: u64,
    href: String,
    curve: Option<Curve>,
}

struct Span {
    words: String,
    href: String,
    current: bool,
}

#[derive(Template)]
#[template(path = "console/organization.html")]
struct OrganizationTemplate {
    frame: Frame,
    /// What waits for an admin.
    waits: Vec<Item>,
    figures: Vec<Figure>,
    spans: Vec<Span>,
    /// The first day of the curves, and the days of the table, the newest first.
    since: String,
    days: Vec<Day>,
    pending: Vec<Bar>,
    mails: Vec<Bar>,
}

/// `GET /admin/{account}`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let census = service.directory.census(&desk.context).await.map_err(|error| desk.failed(&error))?;
    let waits = attention::items(&desk).await.map_err(|error| desk.failed(&error))?;
    let wanted = desk.query.get("days").parse().ok();
    let span = wanted.filter(|days| SPANS.contains(days)).unwrap_or(SPANS[0]);
    let days = lately(&census.days, span);
    let mut spans = SPANS;
    spans.sort_unstable();
    let template = OrganizationTemplate {
        frame: desk.frame("organization"),
        waits,
        figures: [Status::Active, Status::Pending, Status::Inactive].map(|status| figure(&desk, status, days)).into(),
        spans: spans.map(|days| span_link(&desk, days, span)).into(),
        since: days.first().map(|day| day.day.to_string()).unwrap_or_default(),
        days: table(days, span),
        pending: pending(&census),
        mails: mails(&desk, &census),
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

/// Days since the beginning of the calendar that curves count in.
fn number(day: &Day) -> i64 {
    day.day.duration_since(jiff::civil::Date::ZERO).as_hours() / 24
}

/// The part of the days that lies within the span, which ends with the last of them.
fn lately(days: &[Day], span: i64) -> &[Day] {
    let Some(today) = days.last().map(number) else { return days };
    let first = days.iter().position(|day| number(day) > today - span).unwrap_or(0);
    &days[first..]
}

fn figure(desk: &Desk, status: Status, days: &[Day]) -> Figure {
    let points: Vec<(i64, u64)> = days.iter().map(|day| (number(day), day.of(status))).collect();
    Figure {
        status,
        now: days.last().map_or(0, |day| day.of(status)),
        href: desk.path(&format!("/users?status={}", status.as_str().to_lowercase())),
        curve: Curve::through(&points),
    }
}

fn span_link(desk: &Desk, days: i64, current: i64) -> Span {
    let query = if days == SPANS[0] { String::new() } else { format!("?days={days}") };
    Span { words: format!("{days} days"), href: desk.path(&format!("{query}#people")), current: days == current }
}

/// The newest first, and of a long time one day a week.
fn table(days: &[Day], span: i64) -> Vec<Day> {
    let every = if span > LINES { 7 } else { 1 };
    let Some(today) = days.last().map(number) else { return Vec::new() };
    days.iter().rev().filter(|day| (today - number(day)) % every == 0).cloned().collect()
}

fn pending(census: &Census) -> Vec<Bar> {
    let labels = ["up to 1 day", "1 to 3 days", "3 to 7 days", "7 to 30 days", "more than 30 days"];
    charts::bars(labels.into_iter().zip(census.pending).map(|(label, count)| (label, count, None)))
}

fn mails(desk: &Desk, census: &Census) -> Vec<Bar> {
    let outbox = || Some(desk.path("/outbox"));
    let mails = census.mails;
    charts::bars([
        ("waiting now", mails.waiting, outbox()),
        ("sent", mails.sent, None),
        ("bounced", mails.bounced, None),
        ("given up", mails.given_up, outbox()),
    ])
}
