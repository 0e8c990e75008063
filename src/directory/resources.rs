//! Groups, organizations, projects, licenses and what an operator defines, as stored: one document form for all of them.
//!
//! The body is the SCIM representation ready to send, but for `members`, `seatsUsed` and `meta`, which change without
//! a write. The state is where the document stands, so that an update removes exactly that.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::{Error, readable};
use super::kind::Kind;
use super::record::Keys;
use super::request::Context;
use super::{Directory, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::names::fold;
use crate::domain::roles::{LicenseKind, LicenseSpec};
use crate::domain::time::Timestamp;
use crate::scim::{ResourceType, SchemaTable, ScimError, schemas_of};
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Page, Write};

/// One of them, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    pub kind: Kind,
    pub id: ResourceId,
    /// The SCIM attributes that a client writes. Without `id`, `schemas`, `members` and `meta`.
    pub attributes: Map<String, Value>,
    /// The change of memberships that is being carried out, of a group; the next change waits for it.
    pub pending: Option<ResourceId>,
    pub revision: u64,
    pub created: Timestamp,
    pub modified: Timestamp,
    /// In how many groups it is, of a group.
    pub memberships: u64,
    /// Where the document stands, as of its last write.
    pub keys: Keys,
    /// The index version that `keys` follows.
    pub index_version: u32,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// The index version that `keys` follows.
    v: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pending: Option<ResourceId>,
    #[serde(flatten)]
    keys: Keys,
}

/// How a license is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LicenseTerms {
    pub kind: LicenseKind,
    /// How many seats there are; `None`: as many as wanted.
    pub seats: Option<u64>,
}

impl Resource {
    /// A resource that was never written (revision 0).
    pub fn unborn(kind: Kind, id: ResourceId, attributes: Map<String, Value>, now: Timestamp) -> Self {
        Resource {
            kind,
            id,
            attributes,
            pending: None,
            revision: 0,
            created: now,
            modified: now,
            memberships: 0,
            keys: Keys::default(),
            index_version: keys::INDEX_VERSION,
        }
    }

    /// # Errors
    /// [`Error::Internal`] when the document is not one that this version wrote.
    pub fn decode(kind: Kind, id: ResourceId, document: &Document) -> Result<Self, Error> {
        let damaged = |error| Error::damaged("resource", error);
        let state: State = serde_json::from_slice(&document.state).map_err(damaged)?;
        let mut attributes: Map<String, Value> = serde_json::from_slice(&document.body).map_err(damaged)?;
        attributes.shift_remove("schemas");
        attributes.shift_remove("id");
        Ok(Resource {
            kind,
            id,
            attributes,
            pending: state.pending,
            revision: document.revision,
            created: document.created,
            modified: document.modified,
            memberships: document.memberships,
            keys: state.keys,
            index_version: state.v,
        })
    }

    /// The displayName, which every kind of usherd's requires and an operator's may lack.
    pub fn name(&self) -> &str {
        self.attributes.get("displayName").and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn external_id(&self) -> Option<&str> {
        self.attributes.get("externalId").and_then(Value::as_str)
    }

    /// How a license is counted; nothing of another kind.
    pub fn terms(&self) -> Option<LicenseTerms> {
        if self.kind != Kind::License {
            return None;
        }
        let kind = match self.attributes.get("kind").and_then(Value::as_str) {
            Some(kind) if kind.eq_ignore_ascii_case(FLOATING) => LicenseKind::Floating,
            Some(_) | None => LicenseKind::PerUser,
        };
        Some(LicenseTerms { kind, seats: self.attributes.get("seats").and_then(Value::as_u64) })
    }

    /// What the schema cannot say about the attributes of a kind.
    ///
    /// # Errors
    /// `invalidValue`.
    pub fn check(&self) -> Result<(), ScimError> {
        if !matches!(self.kind, Kind::Own(_)) && self.name().trim().is_empty() {
            return Err(ScimError::invalid_value("`displayName` is required"));
        }
        let Some(terms) = self.terms() else { return Ok(()) };
        let kind = self.attributes.get("kind").and_then(Value::as_str);
        if kind.is_some_and(|kind| !KINDS.iter().any(|known| kind.eq_ignore_ascii_case(known))) {
            return Err(ScimError::invalid_value(format!("`kind` is one of {}", KINDS.join(", "))));
        }
        match (self.attributes.get("seats"), terms) {
            (Some(_), LicenseTerms { kind: LicenseKind::Floating, .. }) => {
                Err(ScimError::invalid_value("a floating license has no `seats`"))
            }
            (Some(_), LicenseTerms { seats: None, .. }) => {
                Err(ScimError::invalid_value("`seats` is a whole number that is not negative"))
            }
            (Some(_), LicenseTerms { seats: Some(_), .. }) | (None, _) => Ok(()),
        }
    }

    /// What is stored as the body.
    pub fn body(&self, resource_type: &ResourceType) -> Bytes {
        let mut body = Map::new();
        body.insert("schemas".to_owned(), json!(schemas_of(resource_type, &self.attributes)));
        body.insert("id".to_owned(), self.id.to_string().into());
        body.extend(self.attributes.clone());
        serde_json::to_vec(&body).expect("a body has only string keys").into()
    }

    fn state(&self, keys: &Keys) -> Bytes {
        let state = State { v: keys::INDEX_VERSION, pending: self.pending, keys: keys.clone() };
        serde_json::to_vec(&state).expect("a state has only string keys").into()
    }

    /// Where the document is to stand once written.
    pub(super) fn keys_now(&self, schemas: &SchemaTable) -> Keys {
        let mut keys = Keys::default();
        for attribute in schemas.core_attributes(self.kind.type_in(schemas)) {
            let key = self.attributes.get(&attribute.name).and_then(|value| attribute.unique_key(value));
            keys.uniques.extend(key.map(|key| (keys::unique(self.kind, &attribute.name), key)));
        }
        keys.entries.insert((self.kind.as_str().to_owned(), String::new()));
        if self.attributes.get("displayName").is_some_and(Value::is_string) {
            keys.entries.insert((keys::by_name(self.kind), fold(self.name()).replace('\0', "")));
        }
        for grant in self.grants() {
            keys.entries.insert((keys::granted(grant.project), String::new()));
        }
        if let Some(external_id) = self.external_id() {
            keys.entries.insert((keys::by_external_id(self.kind), external_id.replace('\0', "")));
        }
        keys
    }

    /// The checks and writes that store this resource as it is now in place of `before`, as its next revision.
    pub(super) fn plan(&mut self, before: &Resource, schemas: &SchemaTable, now: Timestamp, batch: &mut Batch) {
        let key = self.kind.key(self.id);
        batch.checks.push(match before.revision {
            0 => Check::Absent { key: key.clone() },
            revision => Check::Revision { key: key.clone(), revision },
        });
        let keys_now = self.keys_now(schemas);
        before.keys.plan_move(&keys_now, self.id, batch);
        self.revision = before.revision + 1;
        self.modified = now;
        let (revision, created) = (self.revision, self.created);
        let (body, state) = (self.body(self.kind.type_in(schemas)), self.state(&keys_now));
        batch.writes.push(Write::Put { key, revision, created, modified: now, body, state });
        self.keys = keys_now;
    }
}

/// So many names are listed to whoever gave a wrong one.
const MAX_NAMED: usize = 20;
const FLOATING: &str = "floating";
const KINDS: [&str; 2] = ["per-user", FLOATING];

/// The seats of the licenses that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seats {
    /// The licenses whose seats are counted, with their quota.
    pub quotas: std::collections::BTreeMap<ResourceId, Option<u64>>,
    /// Those of which a seat can be had now; floating ones always.
    pub free: Vec<ResourceId>,
}

impl Directory {
    /// What these references mean: each is an id or a name.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the first reference that means nothing here.
    pub async fn resolve(&self, context: &Context, kind: Kind, references: &[String]) -> Result<Vec<Resource>, Error> {
        let mut resolved = Vec::with_capacity(references.len());
        for reference in references {
            resolved.push(self.resolve_one(context, kind, reference).await?);
        }
        Ok(resolved)
    }

    async fn resolve_one(&self, context: &Context, kind: Kind, reference: &str) -> Result<Resource, Error> {
        let unknown = || Error::Invalid(format!("there is no {kind} \"{reference}\" in this account"));
        let id = if reference.parse::<ResourceId>().is_ok() {
            reference.to_owned()
        } else {
            let unique = match kind {
                Kind::Organization => keys::ORGANIZATION_NAME,
                Kind::Project => keys::PROJECT_NAME,
                Kind::License => keys::LICENSE_NAME,
                Kind::User | Kind::Group | Kind::Own(_) => return Err(unknown()),
            };
            let found = self.store.lookup(&context.space, unique, &[&fold(reference)]).await?;
            match found.into_iter().next().flatten() {
                Some(id) => id,
                None => return Err(self.unknown_name(context, kind, reference).await?),
            }
        };
        let document = self.store.get(&context.space, &[kind.key(&id)]).await?.pop().flatten().ok_or_else(unknown)?;
        Resource::decode(kind, id.parse().map_err(|error| Error::damaged("unique key", error))?, &document)
    }

    /// Says which names there are, where they are few enough to read.
    async fn unknown_name(&self, context: &Context, kind: Kind, name: &str) -> Result<Error, Error> {
        let page = Page::first(MAX_NAMED + 1);
        let entries = self.store.range(&context.space, &keys::all(kind), &Bounds::All, &page).await?;
        let mut detail = format!("there is no {kind} \"{name}\" in this account");
        if entries.len() <= MAX_NAMED {
            let wanted: Vec<DocumentKey> = entries.iter().map(|entry| kind.key(&entry.id)).collect();
            let documents = self.store.get(&context.space, &wanted).await?;
            let mut names = Vec::with_capacity(documents.len());
            for (entry, document) in entries.iter().zip(documents) {
                let (Some(document), Ok(id)) = (document, entry.id.parse()) else { continue };
                let known = readable(kind, id, Resource::decode(kind, id, &document));
                names.extend(known.map(|known| format!("\"{}\"", known.name())));
            }
            detail += &match names.as_slice() {
                [] => "; there is none yet".to_owned(),
                names => format!("; there are {}", names.join(", ")),
            };
        }
        Ok(Error::Invalid(detail))
    }

    /// The seats of these licenses, and which of them are free. No trip when there are none.
    pub(super) async fn seats(&self, context: &Context, licenses: &BTreeSet<ResourceId>) -> Result<Seats, Error> {
        let mut seats = Seats::default();
        if licenses.is_empty() {
            return Ok(seats);
        }
        let wanted: Vec<DocumentKey> = licenses.iter().map(|id| Kind::License.key(id)).collect();
        let counters: Vec<String> = licenses.iter().map(|id| keys::seats(*id)).collect();
        let counters: Vec<&str> = counters.iter().map(String::as_str).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let used = self.store.counters(&context.space, &counters).await?;
        for ((id, document), used) in licenses.iter().zip(documents).zip(used) {
            let Some(document) = document else { continue };
            let Some(terms) = Resource::decode(Kind::License, *id, &document)?.terms() else { continue };
            let quota = match terms.kind {
                LicenseKind::PerUser => {
                    seats.quotas.insert(*id, terms.seats);
                    terms.seats
                }
                LicenseKind::Floating => None,
            };
            if quota.is_none_or(|quota| u64::try_from(used).unwrap_or(0) < quota) {
                seats.free.push(*id);
            }
        }
        Ok(seats)
    }

    /// Adds the writes that make a license of a new account.
    pub(super) fn seed_license(&self, batch: &mut Batch, spec: &LicenseSpec, now: Timestamp) {
        let mut attributes = Map::new();
        attributes.insert("displayName".to_owned(), spec.name.as_str().into());
        attributes.insert("kind".to_owned(), spec.kind.to_string().into());
        if let Some(seats) = spec.seats {
            attributes.insert("seats".to_owned(), seats.into());
        }
        let unborn = Resource::unborn(Kind::License, entropy::resource_id(now), attributes, now);
        unborn.clone().plan(&unborn, &self.schemas, now, batch);
    }

    pub fn resource_type(&self, kind: Kind) -> &ResourceType {
        kind.type_in(&self.schemas)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!({"displayName": "TestOps", "seats": 5}), Ok(()))]
    #[case(json!({"displayName": "TestOps", "kind": "per-user"}), Ok(()))]
    #[case(json!({"displayName": "Guest", "kind": "floating"}), Ok(()))]
    #[case(json!({"displayName": " "}), Err("`displayName` is required"))]
    #[case(json!({"displayName": "Guest", "kind": "floating", "seats": 5}), Err("a floating license has no `seats`"))]
    #[case(json!({"displayName": "TestOps", "seats": -1}), Err("`seats` is a whole number that is not negative"))]
    #[case(json!({"displayName": "TestOps", "kind": "leased"}), Err("`kind` is one of per-user, floating"))]
    fn a_license_has_seats_or_floats(#[case] attributes: Value, #[case] verdict: Result<(), &str>) {
        let now = Timestamp::from_millis(0);
        let Value::Object(attributes) = attributes else { panic!("an object") };
        let license = Resource::unborn(Kind::License, entropy::resource_id(now), attributes, now);
        assert_eq!(license.check().map_err(|error| error.detail), verdict.map_err(str::to_owned));
    }
}
