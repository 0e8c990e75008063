//! The audit as it grows: server-sent events.

use std::time::Duration;

use axum::extract::Query;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::{JsonSchema, json_schema};
use serde::Deserialize;

use super::bounded::{Text, Within};
use super::history::EventView;
use super::operation::{Answer, Call, Describe, Operation, Part, Replies};
use crate::directory::Error;
use crate::directory::feeds::Told;
use crate::domain::secrets::Scope;
use crate::http::service::Turned;
use crate::http::streams::{self, EventStream, Wanted};
use crate::store::EventId;

/// A stream ends after so many seconds; a client comes back then.
const LONGEST: u32 = 3_600;
/// Kinds that one stream is narrowed to.
const MAX_KINDS: usize = 20;

pub fn operations() -> Vec<Operation> {
    let events = "What happens, as it happens, as server-sent events: the `data` of each is an AuditEvent";
    let operation = Operation::new((Method::GET, "/events"), "streamEvents", events, &[Scope::Audit], stream);
    vec![operation.resumable()]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StreamQuery {
    /// Begin behind this event, such as the last one of `/audit`; otherwise with what happens next. `Last-Event-ID`
    /// goes before it.
    after: Option<Text<64>>,
    /// Only these, separated by commas: `user.invited`, or `user.` for all that begins so.
    kind: Option<Text<400>>,
    /// End after so many seconds, 3600 unless said. 0 is what has happened already.
    seconds: Option<Within<0, LONGEST>>,
}

impl Part for EventStream {
    const DESCRIBE: Option<Describe> = Some(|_| json_schema!({ "type": "string" }));
}

impl Replies for EventStream {
    const MEDIA_TYPE: &'static str = streams::MEDIA_TYPE;

    fn respond(self, status: StatusCode) -> Response {
        (status, self).into_response()
    }
}

async fn stream(call: Call<Query<StreamQuery>>) -> Result<Answer<EventStream>, Turned> {
    call.require(Scope::Audit).await?;
    let Query(query) = &call.query;
    let after = match (call.last_event()?, &query.after) {
        (Some(id), _) => Some(event_id("Last-Event-ID", id)?),
        (None, Some(id)) => Some(event_id("after", &id.0)?),
        (None, None) => None,
    };
    let kinds = Kinds::parse(query.kind.as_ref().map_or("", |kinds| &kinds.0))?;
    let seconds = query.seconds.map_or(LONGEST, |seconds| seconds.0);
    let wanted = Wanted {
        request: call.caller.clone(),
        scope: Scope::Audit,
        watch: call.directory().watch(&call.caller.account, after).await?,
        ends_after: Duration::from_secs(seconds.into()),
        finishing: call.finishing.clone(),
        render: Box::new(move |told| render(&kinds, told)),
    };
    Ok(Answer::of(streams::open(&call.service.directory, &call.service.streams, wanted)?))
}

fn event_id(place: &str, text: &str) -> Result<EventId, Error> {
    text.parse().map_err(|_| Error::Invalid(format!("{place}: give the id of an event, as events and /audit have it")))
}

/// What a stream is narrowed to; none: everything.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kinds(Vec<String>);

impl Kinds {
    fn parse(text: &str) -> Result<Self, Error> {
        let kinds: Vec<String> =
            text.split(',').map(str::trim).filter(|kind| !kind.is_empty()).map(str::to_owned).collect();
        let is_kind = |kind: &String| kind.chars().all(|c| c.is_ascii_lowercase() || "._-".contains(c));
        if kinds.len() > MAX_KINDS || !kinds.iter().all(is_kind) {
            let why = format!("kind: give up to {MAX_KINDS} events such as user.invited, or beginnings such as user.");
            return Err(Error::Invalid(why));
        }
        Ok(Kinds(kinds))
    }

    fn has(&self, event: &str) -> bool {
        let is_of = |kind: &String| event == kind || kind.ends_with('.') && event.starts_with(kind.as_str());
        self.0.is_empty() || self.0.iter().any(is_of)
    }
}

fn render(kinds: &Kinds, told: &[Told]) -> Option<String> {
    let mut text = String::new();
    for Told { id, event } in told {
        let Some(event) = event.as_deref().filter(|event| kinds.has(&event.event)) else { continue };
        let name = event.event.replace(char::is_control, "");
        let data = serde_json::to_string(&EventView::of(*id, event.clone())).expect("a view has only string keys");
        // JSON has no line feed outside of its texts, and none unescaped in them.
        text += &format!("id: {id}\nevent: {name}\ndata: {data}\n\n");
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "user.invited", true)]
    #[case("user.", "user.invited", true)]
    #[case("user.", "user", false)]
    #[case("user.invited", "user.invited_again", false)]
    #[case("group., user.invited", "user.invited", true)]
    #[case("group.,user.accepted", "user.invited", false)]
    fn a_kind_is_an_event_or_what_events_begin_with(#[case] kinds: &str, #[case] event: &str, #[case] expected: bool) {
        assert_eq!(Kinds::parse(kinds).unwrap().has(event), expected);
    }

    #[rstest]
    #[case("user invited")]
    #[case("User.invited")]
    #[case("a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a")]
    fn what_is_no_kind_is_refused(#[case] kinds: &str) {
        assert!(matches!(Kinds::parse(kinds), Err(Error::Invalid(why)) if why.starts_with("kind:")));
    }
}
