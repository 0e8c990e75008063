//! Changes of resources as security events (RFC 9967), put into the batch of the change for every stream of the
//! account.
//!
//! An event is stored as it was told first: what goes out a second time, or is fetched a second time, says the same
//! under the same `jti`, whatever became of the resource meanwhile. That keeps values of a person beside their record
//! while a stream of the full form waits, so that an erasure takes them out (`SecurityEvent::forget`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::change::{Change, REPLACED};
use super::deliveries::{Content, Delivery, queue};
use super::kind::Kind;
use super::record::UserRecord;
use super::request::Context;
use super::resources::Resource;
use super::webhooks::{Endpoint, Stream};
use super::{Directory, entropy, version};
use crate::domain::ids::{OutboxId, ResourceId};
use crate::domain::security_event::{Form, ProvisioningEvent, Side, events};
use crate::domain::time::Timestamp;
use crate::scim::changes::{Changed, changes, patch_op};
use crate::scim::{Projection, schemas_of};
use crate::store::Batch;

/// Values beyond this are told as a notice: each stream keeps its own copy, and a batch has bounds.
const MAX_DATA: usize = 32 * 1024;
/// So many attributes are named; more than any schema has that people made.
const MAX_NAMED: usize = 500;

/// One event, complete but for what belongs to its stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityEvent {
    pub event: ProvisioningEvent,
    pub kind: Kind,
    pub resource: ResourceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// What names the transaction: the request, or the batch of whatever was no request.
    pub txn: String,
    /// The revision that the change made, where it is known; none of what is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    /// The values, in the full form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl SecurityEvent {
    fn form(&self) -> Form {
        if self.data.is_some() { Form::Full } else { Form::Notice }
    }

    /// The URI of the event.
    pub fn uri(&self) -> &'static str {
        self.event.uri(self.form())
    }

    /// Whether it says more of a person than that there is one.
    pub(super) fn is_personal(&self) -> bool {
        self.external_id.is_some() || self.data.is_some()
    }

    /// Takes out what is personal; that something happened stays.
    pub(super) fn forget(&mut self) {
        self.external_id = None;
        self.data = None;
    }

    /// The claims of its token (RFC 8417 §2.2, RFC 9967 §2.1 and §2.2), the same however often they are made.
    pub(super) fn claims(&self, id: OutboxId, at: Timestamp, issuer: &str, audience: &str) -> Value {
        let uri = format!("/{}/{}", self.kind.endpoint(), self.resource);
        let mut subject = json!({ "format": "scim", "uri": uri, "id": self.resource });
        if let Some(external_id) = &self.external_id {
            subject["externalId"] = external_id.as_str().into();
        }
        json!({
            "iss": issuer,
            "aud": [audience],
            "iat": at.as_millis() / 1_000,
            "jti": id,
            "txn": self.txn,
            "sub_id": subject,
            "events": { self.uri(): self.payload() },
        })
    }

    /// Exactly one of `data` and `attributes` (RFC 9967 §2.4), or neither where nothing is told of attributes.
    fn payload(&self) -> Value {
        let mut payload = Map::new();
        if !self.event.tells_attributes() {
            return Value::Object(payload);
        }
        if let Some(revision) = self.revision {
            payload.insert("version".to_owned(), version(revision).into());
        }
        match &self.data {
            Some(data) => payload.insert("data".to_owned(), data.clone()),
            None => payload.insert("attributes".to_owned(), json!(self.attributes)),
        };
        Value::Object(payload)
    }
}

/// A change of a resource, as far as streams go by it.
struct Told<'a> {
    kind: Kind,
    resource: ResourceId,
    external_id: Option<&'a str>,
    was: Side,
    is: Side,
    before: Map<String, Value>,
    after: Map<String, Value>,
    /// Whether members came or went, which no document holds.
    members: bool,
    replaced: bool,
    revision: Option<u64>,
}

/// A change of what is no user.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResourceChange<'a> {
    /// `None` where there was, or is, none.
    pub before: Option<&'a Resource>,
    pub after: Option<&'a Resource>,
    /// Whether members came or went.
    pub members: bool,
    pub replaced: bool,
}

impl Directory {
    /// What streams are to hear of a change of a user, in the batch of the change.
    pub(super) fn plan_user_events(&self, context: &Context, batch: &mut Batch, change: &Change) {
        if !has_streams(context) {
            return;
        }
        let (before, after) = (&change.before, &change.after);
        let attributes = |record: &UserRecord| if record.exists() { record.attributes() } else { Map::new() };
        let side = |record: &UserRecord| record.exists().then(|| record.user.status());
        let told = Told {
            kind: Kind::User,
            resource: after.user.id,
            external_id: after.user.external_id.as_deref().or(before.user.external_id.as_deref()),
            was: side(before),
            is: side(after),
            before: attributes(before),
            after: attributes(after),
            members: false,
            replaced: change.is_named(REPLACED),
            revision: after.exists().then_some(after.revision),
        };
        self.plan_events(context, batch, &told);
    }

    /// The same of any other resource.
    pub(super) fn plan_resource_events(&self, context: &Context, batch: &mut Batch, change: &ResourceChange<'_>) {
        let ResourceChange { before, after, members, replaced } = *change;
        let Some(resource) = after.or(before).filter(|_| has_streams(context)) else { return };
        let attributes = |resource: Option<&Resource>| resource.map(|it| it.attributes.clone()).unwrap_or_default();
        let told = Told {
            kind: resource.kind,
            resource: resource.id,
            external_id: resource.external_id(),
            was: before.map(|_| None),
            is: after.map(|_| None),
            before: attributes(before),
            after: attributes(after),
            members,
            replaced,
            // Members alone come and go beside the document: which version that made, the store knows.
            revision: after.map(|it| it.revision).filter(|is| before.is_none_or(|was| was.revision < *is)),
        };
        self.plan_events(context, batch, &told);
    }

    fn plan_events(&self, context: &Context, batch: &mut Batch, told: &Told<'_>) {
        let mut changed = changes(&told.before, &told.after);
        if told.members {
            changed.push(Changed { path: "members".to_owned(), value: None });
        }
        let txn = context.actor.request_id.clone().unwrap_or_else(|| batch.commit.to_string());
        let events = events(told.was, told.is, !changed.is_empty(), told.replaced);
        for (endpoint, stream) in streams(context) {
            // Ids of one moment are in no order by themselves; who fetches is to hear of a birth first.
            let mut ids: Vec<OutboxId> = events.iter().map(|_| entropy::outbox_id(context.now)).collect();
            ids.sort_unstable();
            for (event, id) in events.iter().copied().zip(ids) {
                let security_event = Box::new(SecurityEvent {
                    event,
                    kind: told.kind,
                    resource: told.resource,
                    external_id: told.external_id.map(str::to_owned),
                    txn: txn.clone(),
                    revision: told.revision,
                    // The names stay beside the values, for when the values have to go.
                    attributes: if event.tells_attributes() { names(event, &changed) } else { Vec::new() },
                    data: if stream.form == Form::Full { self.data(event, told) } else { None },
                });
                let content = Content::Token { security_event };
                let delivery =
                    Delivery { id, endpoint, content, at: context.now, attempts: 0, last_reply: None, dead: None };
                queue(batch, &delivery, 1, &context.account.webhooks[&endpoint], context.now);
            }
        }
    }

    /// The values of the full form: of what was made or replaced the representation as it is now, of what was patched a
    /// PATCH that has this result, without what no reply carries by default. `None` where they are told as a notice:
    /// too large, or members, whose list may be long (RFC 9967 §5 advises so).
    fn data(&self, event: ProvisioningEvent, told: &Told<'_>) -> Option<Value> {
        let kind = self.resource_type(told.kind);
        let projection = Projection::of(&[], &[], &self.schemas, kind).ok().filter(|_| !told.members)?;
        let shown = |attributes: &Map<String, Value>| {
            let mut shown = attributes.clone();
            projection.apply(&mut shown);
            shown
        };
        let data = match event {
            ProvisioningEvent::Delete | ProvisioningEvent::Activate | ProvisioningEvent::Deactivate => return None,
            ProvisioningEvent::Patch => patch_op(&changes(&shown(&told.before), &shown(&told.after))),
            ProvisioningEvent::Create | ProvisioningEvent::Put => {
                let after = shown(&told.after);
                let mut whole = Map::new();
                whole.insert("schemas".to_owned(), json!(schemas_of(kind, &after)));
                whole.insert("id".to_owned(), told.resource.to_string().into());
                whole.extend(after);
                Value::Object(whole)
            }
        };
        (data.to_string().len() <= MAX_DATA).then_some(data)
    }
}

fn names(event: ProvisioningEvent, changed: &[Changed]) -> Vec<String> {
    let id = (event == ProvisioningEvent::Create).then(|| "id".to_owned());
    id.into_iter().chain(changed.iter().map(|changed| changed.path.clone())).take(MAX_NAMED).collect()
}

/// The streams that hear something.
fn streams(context: &Context) -> impl Iterator<Item = (crate::domain::ids::EndpointId, &Stream)> {
    let enabled = context.account.webhooks.iter().filter(|(_, endpoint)| endpoint.disabled.is_none());
    enabled.filter_map(|(id, endpoint)| Some((*id, Endpoint::stream(endpoint)?)))
}

/// Most accounts have none: then nothing is compared.
fn has_streams(context: &Context) -> bool {
    streams(context).next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn event(event: ProvisioningEvent, data: Option<Value>) -> SecurityEvent {
        SecurityEvent {
            event,
            kind: Kind::User,
            resource: ID.parse().unwrap(),
            external_id: Some("jdoe".to_owned()),
            txn: "b7b953f11cc6489bbfb87834747cc4c1".to_owned(),
            revision: Some(3),
            attributes: vec!["userName".to_owned(), "name.familyName".to_owned()],
            data,
        }
    }

    fn claims(event: &SecurityEvent) -> Value {
        let jti = "01a20a98-17a3-71e1-850f-520f67b51d83".parse().unwrap();
        let at = Timestamp::from_millis(1_458_496_404_999);
        event.claims(jti, at, "https://scim.example.com", "https://scim.example.com/Feeds/98d52461fa5bbc879593b7754")
    }

    /// Figure 9 of RFC 9967, with what of it is ours put in.
    #[test]
    fn a_notice_has_the_form_of_the_rfc() {
        let expected = json!({
            "iss": "https://scim.example.com",
            "aud": ["https://scim.example.com/Feeds/98d52461fa5bbc879593b7754"],
            "iat": 1_458_496_404,
            "jti": "01a20a98-17a3-71e1-850f-520f67b51d83",
            "txn": "b7b953f11cc6489bbfb87834747cc4c1",
            "sub_id": { "format": "scim", "uri": format!("/Users/{ID}"), "id": ID, "externalId": "jdoe" },
            "events": {
                "urn:ietf:params:scim:event:prov:put:notice": {
                    "version": "W/\"3\"",
                    "attributes": ["userName", "name.familyName"],
                },
            },
        });
        assert_eq!(claims(&event(ProvisioningEvent::Put, None)), expected);
    }

    #[test]
    fn a_full_event_has_values_and_no_names_and_a_status_neither() {
        let data = json!({ "userName": "jdoe" });
        let full = claims(&event(ProvisioningEvent::Create, Some(data.clone())));
        let uri = "urn:ietf:params:scim:event:prov:create:full";
        assert_eq!(full["events"], json!({ uri: { "version": "W/\"3\"", "data": data } }));
        for (event_of, uri) in [
            (ProvisioningEvent::Delete, "urn:ietf:params:scim:event:prov:delete"),
            (ProvisioningEvent::Activate, "urn:ietf:params:scim:event:prov:activate"),
            (ProvisioningEvent::Deactivate, "urn:ietf:params:scim:event:prov:deactivate"),
        ] {
            assert_eq!(claims(&event(event_of, None))["events"], json!({ uri: {} }));
        }
    }

    #[test]
    fn what_is_forgotten_is_told_as_a_notice_without_a_name() {
        let mut forgotten = event(ProvisioningEvent::Put, Some(json!({ "userName": "jdoe" })));
        forgotten.forget();
        let claims = claims(&forgotten);
        assert!(!forgotten.is_personal() && !claims.to_string().contains("jdoe"), "{claims}");
        assert!(claims["events"]["urn:ietf:params:scim:event:prov:put:notice"]["attributes"].is_array());
    }
}
