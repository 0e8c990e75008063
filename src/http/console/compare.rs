//! Comparing the account with an identity provider's export: what differs, and making it so here. Both are shown line
//! by line as they come, without a script; whoever closes the page stops it, and the next run goes on.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use askama::Template;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame as Piece;
use tokio::sync::mpsc;

use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::proof::{Proof, Proving};
use super::sign_in::{remember_asking, remembered_asking};
use crate::directory::Error;
use crate::directory::comparison::{self, Compared, Comparison, Row};
use crate::domain::names::ClientName;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// Some ten thousand people. More are compared at the command line, which reads a file in pieces.
const MAX_BYTES: usize = 3 << 20;
/// Rows and lines that wait for the other side.
const AHEAD: usize = 100;
/// What a comparison is called in the audit.
const NAME: &str = "reconcile-against";
/// Stands in the page where the lines come.
const LINES: &str = "<!-- lines -->";

/// What was sent, as it was.
#[derive(Debug, Clone, Default)]
struct Sent {
    list: String,
    client: String,
}

impl Sent {
    /// A file comes before what is pasted.
    fn of(fields: &Fields) -> Self {
        let file = fields.get("file");
        let list = if file.is_empty() { fields.get("list") } else { file };
        Sent { list: list.to_owned(), client: fields.get("client").to_owned() }
    }

    fn check(&self) -> Result<(), String> {
        let wrong = if self.list.is_empty() {
            "Choose a file, or paste its lines."
        } else if self.list.len() > MAX_BYTES {
            "This file is larger than 3 MiB. Compare it at the command line: usherd reconcile --against FILE."
        } else if self.list.contains('\u{fffd}') {
            "This file is not UTF-8 text. Save it as “CSV UTF-8”, and choose it again."
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }
}

/// `GET /admin/{account}/compare`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    desk.compare_form(Sent::default(), None).await
}

/// `POST /admin/{account}/compare`: shows what differs, or makes it so.
pub(super) async fn compare(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_compare(&service, &account, request).await)
}

async fn try_compare(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let asking = remembered_asking(service, request.headers());
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let sent = Sent::of(&fields);
    if let Err(problem) = sent.check() {
        return desk.compare_form(sent, Some(problem)).await;
    }
    let directory = &service.directory;
    let client = (!sent.client.is_empty()).then(|| ClientName::parse(&sent.client));
    let Ok(client) = client.transpose() else {
        return desk.compare_form(sent, Some("Choose whose export it is.".to_owned())).await;
    };
    let proving = desk.prove_here(asking.as_ref(), &fields, "apply", true).await?;
    let apply = fields.get("step") == "apply" && proving.is_given();
    let prepared = async {
        let comparison = directory.comparison(&desk.context.account.id, client.as_ref(), apply).await?;
        directory.check_export(&comparison, sent.list.as_bytes()).await?;
        Ok(comparison)
    };
    let comparison = match prepared.await {
        Ok(comparison) => comparison,
        Err(Error::Invalid(problem)) => return desk.compare_form(sent, Some(format::sentence(&problem))).await,
        Err(error) => return Err(desk.failed(&error)),
    };
    if apply {
        directory.note_run(&desk.request, NAME).await.map_err(|error| desk.failed(&error))?;
    }
    let asked = proving.asked.clone();
    let response = desk.compare_rows(sent, comparison, proving);
    Ok(match asked {
        Some(asking) => remember_asking(service, asking, response),
        None => response,
    })
}

#[derive(Template)]
#[template(path = "console/compare.html")]
struct FormTemplate {
    frame: Frame,
    sent: Sent,
    clients: BTreeSet<String>,
    problem: Option<String>,
}

/// The page around the lines, in two pieces: what stands behind them is known when they are all there.
#[derive(Template)]
#[template(path = "console/compare_rows.html")]
struct RowsTemplate<'a> {
    frame: &'a Frame,
    sent: &'a Sent,
    client: &'a str,
    apply: bool,
    proof: Proof,
    problem: Option<&'static str>,
    address: &'a str,
    ended: Option<&'a Ended>,
}

/// How a comparison ended.
struct Ended {
    words: String,
    /// Whether there is something that can be made so.
    differs: bool,
    /// Why it did not come to its end.
    broken: Option<String>,
}

impl Ended {
    fn of(outcome: Result<Compared, Error>, client: &str, apply: bool) -> Self {
        match outcome {
            Ok(compared) => Ended {
                words: compared.in_words(client, apply),
                differs: compared.created + compared.changed + compared.deactivated > 0,
                broken: compared.braked.as_deref().map(format::sentence),
            },
            Err(error) => {
                tracing::warn!(%error, "a comparison with an export broke off");
                Ended { words: String::new(), differs: false, broken: Some(format::sentence(&error.to_string())) }
            }
        }
    }
}

#[derive(Template)]
#[template(path = "console/compare_line.html")]
struct LineTemplate<'a> {
    tone: &'static str,
    verb: String,
    name: &'a str,
    why: &'a str,
}

/// A line of a comparison: what, who, why.
fn line(text: &str) -> String {
    let mut cells = text.trim_end().splitn(3, '\t');
    let (verb, name) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
    let tone = match verb {
        "create" | "created" => "good",
        "deactivate" | "deactivated" | "refused" => "bad",
        _ => "",
    };
    let verb = format::sentence(verb).trim_end_matches('.').to_owned();
    let line = LineTemplate { tone, verb, name, why: cells.next().unwrap_or_default() };
    line.render().expect("templates write to a String and their views cannot fail")
}

impl Desk {
    async fn compare_form(&self, sent: Sent, problem: Option<String>) -> Result<Response, Away> {
        let tokens = self.service.directory.list_tokens(&self.context.account.id).await;
        let tokens = tokens.map_err(|error| self.failed(&error))?;
        let alive = tokens.iter().filter(|token| token.is_alive(self.context.now));
        let clients = alive.map(|token| token.client.to_string()).collect();
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let template = FormTemplate { frame: self.frame("provisioning"), sent, clients, problem };
        Ok(self.page(Page::render(status, &template)))
    }

    fn compare_rows(&self, sent: Sent, comparison: Comparison, proving: Proving) -> Response {
        let frame = self.frame("provisioning");
        let address = self.admin.address.as_ref().map(|address| address.as_str().to_owned()).unwrap_or_default();
        let (client, apply) = (comparison.client.to_string(), comparison.apply);
        let render = move |sent: &Sent, ended: Option<&Ended>| {
            let template = RowsTemplate {
                frame: &frame,
                sent,
                client: &client,
                apply,
                proof: proving.proof,
                problem: proving.problem,
                address: &address,
                ended,
            };
            let page = template.render().expect("templates write to a String and their views cannot fail");
            let (head, tail) = page.split_once(LINES).expect("the template says where the lines come");
            (head.to_owned(), tail.to_owned())
        };
        let (head, _) = render(&sent, None);
        let (tell, told) = mpsc::channel(AHEAD);
        let directory = Arc::clone(&self.service.directory);
        let work = async move {
            let rows = rows_of(&sent.list);
            let (send, coming) = mpsc::channel(AHEAD);
            let feed = async move {
                for row in rows {
                    // Who does not read on has broken off.
                    if send.send(row).await.is_err() {
                        return;
                    }
                }
            };
            let ((), outcome) = tokio::join!(feed, directory.compare(&comparison, coming, &tell));
            let ended = Ended::of(outcome, comparison.client.as_str(), comparison.apply);
            render(&sent, Some(&ended)).1
        };
        let body = Body::new(Lines { head: Some(head.into()), told, work: Some(Box::pin(work)), tail: None });
        let content_type = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (content_type, body).into_response()
    }
}

/// The rows of a list that was checked.
fn rows_of(list: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let read = comparison::read(list.as_bytes(), &mut |row| {
        rows.push(row);
        true
    });
    debug_assert!(read.is_ok(), "it was right a moment ago");
    rows
}

/// The page as a body: it does the work while it is sent.
struct Lines {
    head: Option<Bytes>,
    told: mpsc::Receiver<String>,
    /// Ends with what stands behind the lines.
    work: Option<Pin<Box<dyn Future<Output = String> + Send>>>,
    tail: Option<Bytes>,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Piece<Bytes>, Error>>> {
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Piece::data(head))));
        }
        if let Some(work) = &mut self.work
            && let Poll::Ready(tail) = work.as_mut().poll(context)
        {
            (self.work, self.tail) = (None, Some(tail.into()));
        }
        // The work holds the sender, so that this ends behind the last line.
        match self.told.poll_recv(context) {
            Poll::Ready(Some(told)) => Poll::Ready(Some(Ok(Piece::data(line(&told).into())))),
            Poll::Ready(None) => Poll::Ready(self.tail.take().map(|tail| Ok(Piece::data(tail)))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_row_and_no_name_is_markup() {
        assert_eq!(
            line("change\t<b>ada</b>\ttitle, name\n").trim(),
            "<tr><th scope=\"row\">&#60;b&#62;ada&#60;/b&#62;</th><td><strong>Change</strong> <span class=\"hint\">title, name</span></td></tr>"
        );
        assert!(line("deactivated\tada@example.com").contains("<td class=\"bad\"><strong>Deactivated</strong>"));
    }
}
