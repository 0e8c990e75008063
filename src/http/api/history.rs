//! The audit stream, and the mails that wait to go out.

use axum::Json;
use axum::extract::Query;
use axum::http::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Text, Within};
use super::operation::{Answer, Call, Operation};
use super::things::PageQuery;
use crate::directory::Error;
use crate::directory::audit::AuditEvent;
use crate::directory::history::Queued;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::EventId;

const AUDIT: &[Scope] = &[Scope::Audit];
const INVITATIONS: &[Scope] = &[Scope::Invitations];

pub fn operations() -> Vec<Operation> {
    let audit = "The audit stream, a page at a time; to export it, follow `next` with order=oldest until there is none";
    let outbox = "The mails that wait to go out, the oldest first";
    let retry = "Try a mail at once instead of when its turn comes";
    vec![
        Operation::new((Method::GET, "/audit"), "listAuditEvents", audit, AUDIT, events),
        Operation::new((Method::GET, "/outbox"), "listOutbox", outbox, INVITATIONS, outbox_page),
        Operation::new((Method::POST, "/outbox/{id}/retry"), "retryMail", retry, INVITATIONS, retry_mail),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditQuery {
    /// The `next` of the page before.
    after: Option<Text<64>>,
    #[serde(default)]
    order: Direction,
    /// How many at the most; 50 unless said.
    limit: Option<Within<1, 200>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
enum Direction {
    #[default]
    Newest,
    Oldest,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AuditEvents")]
pub struct EventsView {
    events: Vec<EventView>,
    /// For `after`; absent when there is no more for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Who changed what about whom. Attributes are named, never their values.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEvent")]
pub struct EventView {
    id: String,
    at: String,
    /// `user.invited`, `group.patched`, `token.created` …
    event: String,
    /// `scim`, `api`, `console`, `cli`, `invitee` or `system`.
    channel: String,
    /// The client of a token, the id of a user, or a job.
    actor: String,
    request_id: Option<String>,
    user: Option<String>,
    /// The provisioning client that it is about.
    client: Option<String>,
    /// The group, organization, project, license or token that it is about.
    resource: Option<String>,
    revision: Option<u64>,
    /// The status before and after.
    before: Option<String>,
    after: Option<String>,
    attributes: Vec<String>,
    alerts: Vec<String>,
    /// The code of the refusal, when the attempt was refused.
    refused: Option<String>,
    /// How often it was attempted: what repeats itself is one event in ten minutes.
    times: u64,
}

impl EventView {
    pub fn of(id: EventId, event: AuditEvent) -> Self {
        EventView {
            id: id.to_string(),
            at: event.at.to_string(),
            event: event.event,
            channel: event.actor.channel.as_str().to_owned(),
            actor: event.actor.name,
            request_id: event.actor.request_id,
            user: event.user.as_ref().map(ToString::to_string),
            client: event.client.as_ref().map(ToString::to_string),
            resource: event.resource.as_ref().map(ToString::to_string),
            revision: event.revision,
            before: event.before,
            after: event.after,
            attributes: event.attributes,
            alerts: event.alerts,
            refused: event.refused,
            times: event.times,
        }
    }
}

async fn events(call: Call<Query<AuditQuery>>) -> Result<Answer<Json<EventsView>>, Error> {
    let Query(query) = &call.query;
    let limit = query.limit.map_or(50, Within::size);
    let after = match &query.after {
        Some(text) => {
            call.require(Scope::Audit).await?;
            let wrong = |_| Error::Invalid("after: give the `next` of the page before".to_owned());
            Some(text.0.parse().map_err(wrong)?)
        }
        None => None,
    };
    let newest_first = query.order == Direction::Newest;
    let events = call.directory().audit(&call.caller, after, limit, newest_first).await?;
    let next = events.last().filter(|_| events.len() == limit).map(|(id, _)| id.to_string());
    let events = events.into_iter().map(|(id, event)| EventView::of(id, event)).collect();
    Ok(Answer::of(Json(EventsView { events, next })))
}

/// A mail that waits. It holds no link and no text: both are made when it goes out.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "QueuedMail")]
pub struct QueuedView {
    id: String,
    /// `invitation`, `reminder`, `welcome` …
    kind: String,
    user: String,
    to: String,
    queued: String,
    /// How often the relay was tried.
    attempts: u32,
    /// What the relay said last.
    last_reply: Option<String>,
    next_attempt: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Outbox")]
pub struct OutboxView {
    total: u64,
    mails: Vec<QueuedView>,
}

impl QueuedView {
    fn of(queued: Queued) -> Self {
        let Queued { letter, next_attempt } = queued;
        QueuedView {
            id: letter.id.to_string(),
            kind: letter.kind.as_str().to_owned(),
            user: letter.user.to_string(),
            to: letter.to.as_str().to_owned(),
            queued: letter.created.to_string(),
            attempts: letter.attempts,
            last_reply: letter.last_reply,
            next_attempt: next_attempt.as_ref().map(Timestamp::to_string),
        }
    }
}

async fn outbox_page(call: Call<Query<PageQuery>>) -> Result<Answer<Json<OutboxView>>, Error> {
    let (offset, limit) = call.query.bounds();
    let queue = call.directory().outbox(&call.caller, offset, limit).await?;
    let mails = queue.letters.into_iter().map(QueuedView::of).collect();
    Ok(Answer::of(Json(OutboxView { total: queue.total, mails })))
}

async fn retry_mail(call: Call) -> Result<Answer<Json<QueuedView>>, Error> {
    let queued = call.directory().retry_letter(&call.caller, call.id()?).await?;
    Ok(Answer::of(Json(QueuedView::of(queued))))
}
