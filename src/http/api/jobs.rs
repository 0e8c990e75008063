//! The scheduled jobs: when each runs, what came of its last run, and running one now.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Answer, Call, Operation};
use crate::directory::Error;
use crate::domain::secrets::Scope;
use crate::http::office::{Asked, JobStatus, job_statuses};

const TOKENS: &[Scope] = &[Scope::Tokens];

pub fn operations() -> Vec<Operation> {
    let list_summary = "The scheduled jobs: when each runs next, and what came of its last run in this account";
    let run_summary = "Run a job in this account now, without waiting for its end";
    vec![
        Operation::new((Method::GET, "/jobs"), "listJobs", list_summary, TOKENS, list),
        Operation::new((Method::POST, "/jobs/{name}/run"), "runJob", run_summary, TOKENS, run).accepted(),
    ]
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Jobs")]
pub struct JobsView {
    /// In which the hours of the schedules count.
    time_zone: String,
    jobs: Vec<JobView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Job")]
pub struct JobView {
    name: &'static str,
    about: &'static str,
    /// A cron expression with seconds.
    schedule: String,
    /// Whether it runs by the clock, so that it has a last run and can be run now. The others are timers of people.
    by_the_clock: bool,
    /// Whether a replica is at it.
    running: bool,
    /// `null`: never.
    next_run: Option<String>,
    /// When the last run ended; `null`: none has.
    last_run: Option<String>,
    /// What the last run has to say.
    result: Option<String>,
}

impl JobView {
    fn of(status: JobStatus) -> Self {
        let JobStatus { job, last, is_running } = status;
        JobView {
            name: job.name,
            about: job.about,
            schedule: job.schedule,
            by_the_clock: job.by_the_clock,
            running: is_running,
            next_run: job.next_run.map(|at| at.to_string()),
            last_run: last.as_ref().and_then(|last| last.ended).map(|at| at.to_string()),
            result: last.and_then(|last| last.result),
        }
    }
}

async fn list(call: Call) -> Result<Answer<Json<JobsView>>, Error> {
    let office = &call.service.office;
    let statuses = job_statuses(&**office, call.directory(), &call.caller).await?;
    let jobs = statuses.into_iter().map(JobView::of).collect();
    Ok(Answer::of(Json(JobsView { time_zone: office.time_zone(), jobs })))
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "JobRun")]
pub struct RunView {
    /// `false`: a replica is at it already.
    started: bool,
}

async fn run(call: Call) -> Result<Answer<Json<RunView>>, Error> {
    let name = call.path("name");
    match call.service.office.run_job(&call.caller, name).await? {
        Asked::Started => Ok(Answer::of(Json(RunView { started: true }))),
        Asked::RunsAlready => Ok(Answer::of(Json(RunView { started: false }))),
        Asked::Unknown => Err(Error::NotFound(format!("no job {name} runs by the clock; GET /jobs lists all"))),
    }
}
