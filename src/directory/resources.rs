//! Organizations, projects and licenses: what users are assigned to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::request::Context;
use super::{Directory, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::names::fold;
use crate::domain::roles::{LicenseKind, LicenseSpec};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, DocumentKey, Entry, Index, Page, Write};

/// The kinds of things a user is assigned to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Organization,
    Project,
    License,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Organization => "organization",
            Kind::Project => "project",
            Kind::License => "license",
        }
    }

    pub fn key(self, id: impl std::fmt::Display) -> DocumentKey {
        DocumentKey::new(self.as_str(), id)
    }
}

/// One of them, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    pub id: ResourceId,
    pub name: String,
    /// Licenses only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<LicenseTerms>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseTerms {
    pub kind: LicenseKind,
    /// How many seats there are; `None`: as many as wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u64>,
}

/// The seats of the licenses that a change is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seats {
    /// The licenses whose seats are counted, with their quota.
    pub quotas: BTreeMap<ResourceId, Option<u64>>,
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
        let unknown = || Error::Invalid(format!("there is no {} \"{reference}\" in this account", kind.as_str()));
        let id = if reference.parse::<ResourceId>().is_ok() {
            reference.to_owned()
        } else {
            let index = Index::new(keys::resources_by_name(kind.as_str()));
            let bounds = Bounds::Key(fold(reference));
            let found = self.store.range(&context.space, &index, &bounds, &Page::first(1)).await?;
            found.into_iter().next().ok_or_else(unknown)?.id
        };
        let document = self.store.get(&context.space, &[kind.key(id)]).await?.pop().flatten().ok_or_else(unknown)?;
        read_resource(&document.body)
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
            let Some(terms) = read_resource(&document.body)?.license else { continue };
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
}

/// The writes that make a license of a new account.
pub(super) fn seed_license(batch: &mut Batch, spec: &LicenseSpec, now: Timestamp) {
    let terms = LicenseTerms { kind: spec.kind, seats: spec.seats };
    let resource = Resource { id: entropy::resource_id(now), name: spec.name.clone(), license: Some(terms) };
    put_resource(batch, Kind::License, &resource, now);
}

fn put_resource(batch: &mut Batch, kind: Kind, resource: &Resource, now: Timestamp) {
    batch.writes.push(Write::Put {
        key: kind.key(resource.id),
        revision: 1,
        created: now,
        modified: now,
        body: serde_json::to_vec(resource).expect("a resource has only string keys").into(),
        state: bytes::Bytes::new(),
    });
    batch.writes.push(Write::IndexAdd {
        index: Index::new(keys::resources_by_name(kind.as_str())),
        entry: Entry { key: fold(&resource.name), id: resource.id.to_string() },
    });
}

pub(super) fn read_resource(body: &[u8]) -> Result<Resource, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("resource", error))
}
