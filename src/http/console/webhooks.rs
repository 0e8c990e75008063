//! Webhooks and streams of security events: where applications hear of people, what is on its way there, and what was
//! given up. A secret is shown once, in the answer to the form.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{get, post};

use super::dialog::{Choice, Dialog, Field};
use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer, sentence};
use super::streams;
use crate::directory::Error;
use crate::directory::deliveries::Delivery;
use crate::directory::kind::Kind;
use crate::directory::webhooks::{Endpoint, Stream, Tells};
use crate::domain::ids::EndpointId;
use crate::domain::lifecycle::Refusal;
use crate::domain::security_event::Form;
use crate::domain::text::safe_line;
use crate::domain::time::Timestamp;
use crate::domain::webhook::{HookUrl, UserEvent};
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

const SECTION: &str = "webhooks";
/// So many deliveries that were given up, and so many that wait, are shown.
const SHOWN: usize = 50;
/// Answers of endpoints are shown up to so many characters.
const REPLY: usize = 300;

type OfOne = Path<(String, String)>;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/admin/{account}/webhooks", get(show))
        .route("/admin/{account}/webhooks/new-stream", get(streams::ask).post(streams::make))
        .route("/admin/{account}/webhooks/new", get(ask_new).post(make))
        .route("/admin/{account}/webhooks/{webhook}/rotate", get(ask_rotate).post(rotate))
        .route("/admin/{account}/webhooks/{webhook}/remove", get(ask_remove).post(remove))
        .route("/admin/{account}/webhooks/{webhook}/redrive", post(redrive))
}

/// One endpoint.
struct Card {
    href: String,
    url: String,
    told: String,
    /// What is to be known of a stream.
    stream: Option<Facts>,
    pushed: bool,
    has_secret: bool,
    made: String,
    disabled: Option<String>,
    /// Its secret comes from a signing key that will be forgotten.
    retired: bool,
    waiting: u64,
    dead: usize,
}

/// How a stream of security event tokens gets to its receiver.
struct Facts {
    way: &'static str,
    audience: String,
}

/// One delivery.
struct Row {
    event: &'static str,
    /// The page of whom or what it is about, where there is one.
    about: Option<String>,
    to: String,
    since: String,
    next: Option<String>,
    attempts: u32,
    reply: Option<String>,
}

#[derive(Template)]
#[template(path = "console/webhooks.html")]
struct WebhooksTemplate {
    frame: Frame,
    cards: Vec<Card>,
    /// Waiting, and given up.
    lists: [(&'static str, Vec<Row>); 2],
}

/// `GET /admin/{account}/webhooks`.
async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_show(&service, &account, &head).await)
}

async fn try_show(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let failed = |error: Error| desk.failed(&error);
    let waiting = service.directory.waiting_deliveries(&desk.request).await.map_err(failed)?;
    let mut in_streams = BTreeMap::new();
    for (id, _) in desk.context.account.webhooks.iter().filter(|(_, endpoint)| endpoint.stream().is_some()) {
        let count = service.directory.count_waiting(&desk.context.space, *id).await.map_err(failed)?;
        in_streams.insert(*id, count);
    }
    let dead = service.directory.dead_deliveries(&desk.request, usize::from(u16::MAX)).await.map_err(failed)?;
    let endpoints = &desk.context.account.webhooks;
    let card = |(id, endpoint): (&EndpointId, &Endpoint)| Card {
        href: desk.path(&format!("/webhooks/{id}")),
        url: endpoint.url.as_ref().map_or_else(|| poll_address(service, *id), HookUrl::to_string),
        told: told(endpoint),
        stream: endpoint.stream().map(|stream| Facts {
            way: if endpoint.url.is_some() { "Pushed to this address" } else { "Fetched from this address" },
            audience: stream
                .audience
                .as_ref()
                .map_or_else(|| service.directory.stream_address(*id), |audience| audience.as_str().to_owned()),
        }),
        pushed: endpoint.url.is_some(),
        has_secret: endpoint.has_secret(),
        made: format::instant(endpoint.made),
        disabled: endpoint.disabled.map(format::instant),
        retired: endpoint.has_secret() && endpoint.secret.kid != *service.directory.keys().current(),
        waiting: in_streams
            .get(id)
            .copied()
            .unwrap_or_else(|| waiting.iter().filter(|(_, delivery)| delivery.endpoint == *id).count() as u64),
        dead: dead.iter().filter(|delivery| delivery.endpoint == *id).count(),
    };
    let template = WebhooksTemplate {
        frame: desk.frame(SECTION),
        cards: endpoints.iter().map(card).collect(),
        lists: [
            ("Waiting", waiting.iter().take(SHOWN).map(|(next, delivery)| row(&desk, delivery, Some(*next))).collect()),
            ("Given up", dead.iter().take(SHOWN).map(|delivery| row(&desk, delivery, None)).collect()),
        ],
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn row(desk: &Desk, delivery: &Delivery, next: Option<Timestamp>) -> Row {
    let endpoint = desk.context.account.webhooks.get(&delivery.endpoint);
    let is_fetched = endpoint.is_some_and(|endpoint| endpoint.url.is_none());
    Row {
        event: short(delivery.event()),
        about: match delivery.about() {
            (Kind::User, user) => Some(desk.path(&format!("/users/{user}"))),
            (Kind::Group, group) => Some(desk.path(&format!("/groups/{group}"))),
            (Kind::Organization | Kind::Project | Kind::License | Kind::Own(_), _) => None,
        },
        to: endpoint.map_or_else(|| "a webhook that was removed".to_owned(), named),
        since: format::instant(delivery.at),
        next: match next.filter(|next| *next > desk.context.now) {
            Some(_) if is_fetched => Some("when it is fetched".to_owned()),
            next => next.map(format::instant),
        },
        attempts: delivery.attempts,
        reply: delivery.last_reply.as_deref().map(|reply| safe_line(reply, REPLY)),
    }
}

/// The end of an event's URI: what comes before is the same of all.
fn short(event: &'static str) -> &'static str {
    event.strip_prefix("urn:ietf:params:scim:event:").unwrap_or(event)
}

fn told(endpoint: &Endpoint) -> String {
    match &endpoint.tells {
        Tells::Webhooks(events) => events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", "),
        Tells::Tokens(Stream { form: Form::Notice, .. }) => "every change, by the names of what changed".to_owned(),
        Tells::Tokens(Stream { form: Form::Full, .. }) => "every change, with the values".to_owned(),
    }
}

pub(super) fn poll_address(service: &Service, id: EndpointId) -> String {
    format!("{}/poll", service.directory.stream_address(id))
}

/// By what people know an endpoint.
fn named(endpoint: &Endpoint) -> String {
    let host = endpoint.url.as_ref().and_then(|url| url.as_url().host_str());
    host.unwrap_or("the receiver that fetches").to_owned()
}

/// What is typed into the form of a new webhook.
struct Typed {
    url: String,
    events: Vec<String>,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        Typed { url: fields.get("url").to_owned(), events: fields.all("event") }
    }

    fn parse(&self, allow_private: bool) -> Result<(HookUrl, BTreeSet<UserEvent>), Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        let url: HookUrl = self.url.parse().map_err(|error| invalid(&error))?;
        url.check_scheme(allow_private).map_err(|error| invalid(&error))?;
        let events = self.events.iter().map(|event| event.parse()).collect::<Result<BTreeSet<UserEvent>, _>>();
        let events = events.map_err(|error| invalid(&error))?;
        if events.is_empty() {
            return Err(Error::Invalid("choose what the application is told".to_owned()));
        }
        Ok((url, events))
    }
}

fn new_dialog(desk: &Desk, typed: &Typed) -> Dialog {
    let event = |event: UserEvent| Choice {
        value: event.as_str().to_owned(),
        text: format!("{event}: {}", event.meaning()),
        hint: String::new(),
        chosen: typed.events.iter().any(|chosen| chosen == event.as_str()),
    };
    Dialog {
        title: "Add Webhook",
        lead: vec![
            "An application hears of people by it. Every message is signed with a secret, which is shown once, on the \
             next page."
                .to_owned(),
        ],
        fields: vec![
            Field::Long {
                name: "url",
                label: "Address",
                hint: "Where the application listens, such as https://app.example.com/hooks.",
                value: typed.url.clone(),
            },
            Field::Boxes { name: "event", legend: "It is told", options: UserEvent::ALL.map(event).into() },
        ],
        submit: Some("Add"),
        destructive: false,
        action: desk.path("/webhooks/new"),
        back: desk.path("/webhooks"),
    }
}

/// `GET …/webhooks/new`.
async fn ask_new(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    let asked = Desk::enter(&service, &account, &head).await;
    answer(asked.map(|desk| {
        // After a proof, what was chosen before it.
        let mut typed = Typed::of(&desk.query);
        if typed.url.is_empty() {
            typed.events = UserEvent::ALL.map(|event| event.as_str().to_owned()).into();
        }
        new_dialog(&desk, &typed).show(&desk)
    }))
}

/// `POST …/webhooks/new`.
async fn make(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_make(&service, &account, request).await)
}

async fn try_make(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let typed = Typed::of(&fields);
    let made = match typed.parse(service.settings.private_webhooks) {
        Ok((url, events)) => {
            desk.require_proof(&desk.path("/webhooks/new"), &fields)?;
            service.directory.add_webhook(&desk.request, &url, &events).await.map(|(_, secret)| secret)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(secret) => Ok(once(&desk, secret.expose())),
        Err(error) => refused(&desk, &new_dialog(&desk, &typed), &error),
    }
}

/// The page with the secret.
fn once(desk: &Desk, secret: String) -> Response {
    let dialog = Dialog {
        title: "Copy the Secret",
        lead: vec![
            "This is the new secret of the webhook. Copy it now: it is not kept here and cannot be shown again."
                .to_owned(),
            "The application checks with it that a message comes from here.".to_owned(),
        ],
        fields: vec![Field::Link { label: "Secret", value: secret }],
        submit: None,
        destructive: false,
        action: desk.path("/webhooks"),
        back: desk.path("/webhooks"),
    };
    dialog.show(desk)
}

pub(super) fn refused(desk: &Desk, dialog: &Dialog, error: &Error) -> Result<Response, Away> {
    match sentence(error) {
        Some((status, words)) => Ok(dialog.refuse(desk, status, &words)),
        None => Err(desk.failed(error)),
    }
}

/// The webhook of a path.
fn one<'a>(desk: &'a Desk, id: &str) -> Result<(EndpointId, &'a Endpoint), Away> {
    let gone = || desk.failed(&Refusal::NotFound.into());
    let id: EndpointId = id.parse().map_err(|_| gone())?;
    Ok((id, desk.context.account.webhooks.get(&id).ok_or_else(gone)?))
}

fn rotate_dialog(desk: &Desk, id: EndpointId, endpoint: &Endpoint) -> Dialog {
    let to = named(endpoint);
    let lead = match endpoint.stream() {
        None => vec![
            format!("Messages to {to} are signed with a new secret, and for a day with the old one as well."),
            "Give the application the new one before that day is over.".to_owned(),
        ],
        Some(_) => vec![
            format!("What is pushed to {to} carries a new bearer token at once."),
            "Give the receiver the new one now: what it does not take meanwhile is tried again.".to_owned(),
        ],
    };
    Dialog {
        title: "Rotate Secret",
        lead,
        fields: Vec::new(),
        submit: Some("Rotate"),
        destructive: false,
        action: desk.path(&format!("/webhooks/{id}/rotate")),
        back: desk.path("/webhooks"),
    }
}

/// `GET …/webhooks/{webhook}/rotate`.
async fn ask_rotate(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask(&service, path, &head, rotate_dialog).await)
}

async fn try_ask(
    service: &Service,
    Path((account, id)): OfOne,
    head: &Parts,
    dialog: fn(&Desk, EndpointId, &Endpoint) -> Dialog,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let (id, endpoint) = one(&desk, &id)?;
    Ok(dialog(&desk, id, endpoint).show(&desk))
}

/// `POST …/webhooks/{webhook}/rotate`.
async fn rotate(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_rotate(&service, path, request).await)
}

async fn try_rotate(service: &Service, Path((account, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, &account, request).await?;
    let (id, endpoint) = one(&desk, &id)?;
    desk.require_proof(&desk.path(&format!("/webhooks/{id}/rotate")), &fields)?;
    match service.directory.rotate_webhook(&desk.request, id).await {
        Ok(secret) => Ok(once(&desk, secret)),
        Err(error) => refused(&desk, &rotate_dialog(&desk, id, endpoint), &error),
    }
}

fn remove_dialog(desk: &Desk, id: EndpointId, endpoint: &Endpoint) -> Dialog {
    Dialog {
        title: if endpoint.stream().is_some() { "Remove Stream" } else { "Remove Webhook" },
        lead: vec![format!(
            "{} is told nothing any more, and what waits to go there is dropped. An application that ends sessions when \
             somebody leaves will not hear of it.",
            named(endpoint)
        )],
        submit: Some("Remove"),
        destructive: true,
        action: desk.path(&format!("/webhooks/{id}/remove")),
        ..rotate_dialog(desk, id, endpoint)
    }
}

/// `GET …/webhooks/{webhook}/remove`.
async fn ask_remove(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask(&service, path, &head, remove_dialog).await)
}

/// `POST …/webhooks/{webhook}/remove`.
async fn remove(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_remove(&service, path, request).await)
}

async fn try_remove(service: &Service, Path((account, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let (id, endpoint) = one(&desk, &id)?;
    match service.directory.remove_webhook(&desk.request, id).await {
        Ok(()) => Ok(desk.done(&desk.path("/webhooks"), "The webhook is removed.")),
        Err(error) => refused(&desk, &remove_dialog(&desk, id, endpoint), &error),
    }
}

/// `POST …/webhooks/{webhook}/redrive`: sends again what was given up, and enables what answered 410.
async fn redrive(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_redrive(&service, path, request).await)
}

async fn try_redrive(service: &Service, Path((account, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let (id, _) = one(&desk, &id)?;
    let sent = service.directory.redrive_webhook(&desk.request, id).await.map_err(|error| desk.failed(&error))?;
    let note = match sent {
        0 => "The webhook is enabled. Nothing that was given up waits for it.".to_owned(),
        1 => "The webhook is enabled, and 1 message is sent again.".to_owned(),
        sent => format!("The webhook is enabled, and {sent} messages are sent again."),
    };
    Ok(desk.done(&desk.path("/webhooks"), &note))
}
