//! The user directory as a CSV file: everybody who is listed, read and sent part by part, whatever their number.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde_json::Value;

use super::gate::{Away, Desk, answer};
use super::users::View;
use super::{csv, format};
use crate::directory::listing::{Listing, Start};
use crate::directory::record::UserRecord;
use crate::directory::{Error, Request};
use crate::domain::text::safe_name;
use crate::domain::time::Timestamp;
use crate::http::service::Service;

/// So many people are in memory at once.
const STEP: usize = 500;
/// Spreadsheets take a file for UTF-8 that begins with it.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// An import reads the first ten again.
const COLUMNS: [&str; 15] = [
    "email",
    "given name",
    "family name",
    "display name",
    "role",
    "organization",
    "licenses",
    "projects",
    "language",
    "status",
    "reason",
    "managed by",
    "user name",
    "added",
    "id",
];

/// `GET /admin/{account}/users/export`: with the query of the directory.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_export(&service, &account, &head).await)
}

async fn try_export(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let view = View::of(&desk.query);
    let failed = |error: Error| desk.failed(&error);
    service.directory.note_export(&desk.request, view.narrowed()).await.map_err(failed)?;
    let listing = Listing { start: Start::At(0), limit: STEP, ..view.listing() };
    let export = Export { service: service.clone(), request: desk.request.clone(), listing };
    // What can go wrong at once has a page; later, the file breaks off.
    let (first, rest) = export.step().await.map_err(failed)?;
    let first = format!("{BYTE_ORDER_MARK}{}{first}", csv::line(COLUMNS));
    let body = Body::new(Flow { ready: Some(first.into()), running: rest.map(run) });
    let name = format!("attachment; filename=\"users-{}.csv\"", desk.context.account.id);
    Ok(([(header::CONTENT_TYPE, "text/csv; charset=utf-8"), (header::CONTENT_DISPOSITION, &name)], body)
        .into_response())
}

/// What is still to be read.
struct Export {
    service: Service,
    request: Request,
    listing: Listing,
}

impl Export {
    /// The next lines, and what comes after them. The rights are asked for each time: who loses them gets no more.
    async fn step(mut self) -> Result<(String, Option<Self>), Error> {
        let directory = &self.service.directory;
        let (context, _) = directory.open(&self.request, &[]).await?;
        let listed = directory.next_users(&context, &self.listing).await?;
        let lines = listed.users.iter().map(|record| line(record, context.now)).collect();
        let rest = listed.next.map(|start| {
            self.listing.start = start;
            self
        });
        Ok((lines, rest))
    }
}

type Running = Pin<Box<dyn Future<Output = Result<(String, Option<Export>), Error>> + Send>>;

fn run(export: Export) -> Running {
    Box::pin(export.step())
}

/// The file as a body: the next part is read when the one before is sent.
struct Flow {
    ready: Option<Bytes>,
    running: Option<Running>,
}

impl HttpBody for Flow {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(running) = &mut self.running else { return Poll::Ready(None) };
        let outcome = ready!(running.as_mut().poll(context));
        self.running = None;
        Poll::Ready(Some(match outcome {
            Ok((lines, rest)) => {
                self.running = rest.map(run);
                Ok(Frame::data(lines.into()))
            }
            Err(error) => {
                tracing::warn!(%error, "an export of the user directory broke off");
                Err(error)
            }
        }))
    }
}

fn line(record: &UserRecord, now: Timestamp) -> String {
    let user = &record.user;
    let text = |place: &[&str]| {
        let (first, rest) = place.split_first().expect("a place has a name");
        let value = rest.iter().try_fold(record.profile.get(*first)?, |value, name| value.get(name));
        value.and_then(Value::as_str).map(safe_name)
    };
    let name_of = |id: &_| record.names.get(id).cloned().unwrap_or_default();
    let licenses: Vec<String> = user.licenses.iter().map(|assigned| name_of(&assigned.license)).collect();
    let projects = user.projects.iter().map(|joined| format!("{}:{}", name_of(&joined.project), joined.role));
    let projects: Vec<String> = projects.collect();
    let address = user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
    let cells = [
        address.unwrap_or_default(),
        text(&["name", "givenName"]).unwrap_or_default(),
        text(&["name", "familyName"]).unwrap_or_default(),
        text(&["displayName"]).unwrap_or_default(),
        user.account_role.clone(),
        user.organization.as_ref().map(name_of).unwrap_or_default(),
        licenses.join("; "),
        projects.join("; "),
        text(&["preferredLanguage"]).unwrap_or_default(),
        user.status().map(|status| status.as_str().to_owned()).unwrap_or_default(),
        format::badge(record, now).reason.unwrap_or_default(),
        user.provisioned_by.as_ref().map(ToString::to_string).unwrap_or_default(),
        user.user_name.as_str().to_owned(),
        record.created.to_string(),
        user.id.to_string(),
    ];
    csv::line(cells.each_ref().map(String::as_str))
}
