//! Jobs: when each runs, what came of its last run, and a button that runs one now.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::domain::lifecycle::Refusal;
use crate::domain::text::safe_line;
use crate::http::office::{Asked, JobStatus, job_statuses};
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "jobs";
/// What a run has to say is shown up to so many characters.
const RESULT: usize = 300;

struct Row {
    name: String,
    about: &'static str,
    schedule: String,
    next: String,
    /// When and what; of those that are no timers.
    last: Option<String>,
    result: Option<String>,
    run: Option<String>,
    busy: bool,
}

#[derive(Template)]
#[template(path = "console/jobs.html")]
struct JobsTemplate {
    frame: Frame,
    zone: String,
    rows: Vec<Row>,
}

/// `GET /admin/{account}/jobs`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let statuses = job_statuses(&*service.office, &service.directory, &desk.request).await;
    let statuses = statuses.map_err(|error| desk.failed(&error))?;
    let rows = statuses.into_iter().map(|status| row(&desk, status)).collect();
    let template = JobsTemplate { frame: desk.frame(SECTION), zone: service.office.time_zone(), rows };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn row(desk: &Desk, status: JobStatus) -> Row {
    let JobStatus { job, last, is_running } = status;
    let ended = last.as_ref().and_then(|last| last.ended);
    Row {
        name: format::sentence(job.name).trim_end_matches('.').to_owned(),
        about: job.about,
        schedule: job.schedule,
        next: job.next_run.map_or_else(|| "never".to_owned(), format::instant),
        last: job.by_the_clock.then(|| ended.map_or_else(|| "not yet".to_owned(), format::instant)),
        busy: is_running,
        result: last.and_then(|last| last.result).map(|result| safe_line(&result, RESULT)),
        run: job.by_the_clock.then(|| desk.path(&format!("/jobs/{}", job.name))),
    }
}

/// `POST /admin/{account}/jobs/{job}`.
pub(super) async fn run(
    State(service): State<Service>,
    Path((account, job)): Path<(String, String)>,
    request: Request,
) -> Response {
    answer(try_run(&service, &account, &job, request).await)
}

async fn try_run(service: &Service, account: &str, job: &str, request: Request) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, account, request).await?;
    let asked = service.office.run_job(&desk.request, job).await.map_err(|error| desk.failed(&error))?;
    let note = match asked {
        Asked::Started => "The job runs now. Reload this page to see what came of it.",
        Asked::RunsAlready => "The job is running already.",
        Asked::Unknown => return Err(desk.failed(&Refusal::NotFound.into())),
    };
    Ok(desk.done(&desk.path("/jobs"), note))
}
