//! Bulk requests (RFC 7644 §3.7): each operation goes the way of a single request, with its own line in the story, its
//! own place in the token's rate, its own deadline and its own answer. What was applied stays applied.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method as HttpMethod, StatusCode, header};
use axum::response::Response;
use serde_json::Value;
use tokio::time::Instant;

use super::reply::{self, Failure};
use super::resources::Call;
use super::route::{Action, Asked, Route};
use super::story::Witness;
use super::tidy;
use crate::directory::Request;
use crate::directory::notes::Notes;
use crate::http::service::{Service, Turned};
use crate::scim::ScimError;
use crate::scim::bulk::{BulkRequest, Method, Outcome, Run, Task};

/// Nobody reads what an operation would answer, so that little of it is made.
const TERSE: &str = "attributes=id";

/// Answers a bulk request within `deadline`, after which the whole answer would be cut off.
pub async fn answer(
    service: &Service,
    caller: &Request,
    body: Value,
    deadline: Option<Duration>,
) -> Result<Response, Failure> {
    // What is wrong with a body is told to living tokens only.
    service.directory.open(caller, &[]).await?;
    let single = service.settings.request_deadline;
    let deadline = deadline.unwrap_or(single);
    // The rest is for the answer.
    let until = Instant::now() + deadline.saturating_sub(single.min(deadline / 5));
    let most = service.settings.scim.bulk.map_or(0, |limits| limits.max_operations);
    let base = format!("{}/scim/v2", service.directory.settings().public_url);
    let mut run = Run::of(BulkRequest::read(body, most)?, &base);
    while let Some(task) = run.next_task() {
        let outcome = match admitted(service, caller, until).await {
            Ok(()) => {
                let time = single.min(until.saturating_duration_since(Instant::now()));
                perform(service, caller, task, time).await
            }
            Err(turned) => Outcome::Failed(Failure::from(turned).of_operation(caller.id.as_deref())),
        };
        run.report(outcome);
        if Instant::now() >= until {
            let detail = "not begun: the time of this bulk request was over; send this operation again";
            run.abandon(&ScimError::plain(503, detail));
        }
    }
    Ok(reply::json(StatusCode::OK, &run.response()))
}

/// Waits until the token may ask once more, so that a bulk request is no faster than single ones.
async fn admitted(service: &Service, caller: &Request, until: Instant) -> Result<(), Turned> {
    loop {
        match service.admit(caller) {
            Err(Turned::Throttled(throttled)) if Instant::now() + throttled.wait < until => {
                tokio::time::sleep(throttled.wait).await;
            }
            outcome => return outcome,
        }
    }
}

async fn perform(service: &Service, caller: &Request, task: Task, time: Duration) -> Outcome {
    let caller = Request { notes: Notes::default(), ..caller.clone() };
    let method = match task.method {
        Method::Post => HttpMethod::POST,
        Method::Put => HttpMethod::PUT,
        Method::Patch => HttpMethod::PATCH,
        Method::Delete => HttpMethod::DELETE,
    };
    let target = format!("/scim/v2{}", task.path);
    let mut witness = Witness::of_operation(service, method.clone(), target.clone(), caller.id.clone());
    witness.called_by(&caller);
    if let Some(data) = &task.data {
        witness.body_came(&Bytes::from(data.to_string()));
    }
    match tokio::time::timeout(time, single(service, &caller, &method, &target, task)).await {
        Ok(Ok(response)) => {
            witness.answered(&response);
            let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
            Outcome::Done {
                status: response.status().as_u16(),
                location: text(header::LOCATION),
                version: text(header::ETAG),
            }
        }
        Ok(Err(failure)) => {
            witness.refused(&failure);
            Outcome::Failed(failure.of_operation(caller.id.as_deref()))
        }
        Err(_) => {
            let detail =
                "this operation could not be finished in time, and may have been done; sending it again is safe";
            Outcome::Failed(ScimError::plain(503, detail))
        }
    }
}

/// As if the operation had come by itself.
async fn single(
    service: &Service,
    caller: &Request,
    method: &HttpMethod,
    target: &str,
    task: Task,
) -> Result<Response, Failure> {
    let (path, query) = target.split_once('?').unwrap_or((target, TERSE));
    let route = Route::parse(service.directory.schemas(), method, path)?;
    let Route::Asked(Asked::Resource { kind, action }) = route else { return Err(no_operation()) };
    if action == Action::Search {
        return Err(no_operation());
    }
    tidy(service, caller, path).await?;
    let mut headers = HeaderMap::new();
    if let Some(version) = &task.version {
        // A version that no header can carry is none of ours, and matches nothing.
        let version = HeaderValue::from_str(version).unwrap_or(HeaderValue::from_static("none"));
        headers.insert(header::IF_MATCH, version);
    }
    Call { service, caller, kind, headers: &headers, query }.answer(action, task.data).await
}

fn no_operation() -> Failure {
    ScimError::invalid_syntax("`path` is the endpoint of a resource type, or a resource: /Users, /Users/{id}").into()
}
