//! What a reply carries that no document holds, since it changes without the document being written: the groups of a
//! user and the project roles that come with them, the members of a group, the seats of a license that are taken.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::error::{Error, readable};
use super::grants::{Above, as_items, indirect};
use super::kind::Kind;
use super::memberships::{CHUNK, MemberKind, Members};
use super::record::UserRecord;
use super::request::Context;
use super::resources::Resource;
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::scim::{ScimError, ScimType};
use crate::store::{Bounds, Document, DocumentKey, Entry, Page, Space};

/// The members of one reply, over all of its groups: some 30 MB.
const MAX_MEMBERS: usize = 250_000;
/// So many members of a group are read at once.
const FIRST_MEMBERS: usize = 1_000;

/// `members.display`: read only for those who ask for it, since each name costs a document.
pub type Names = BTreeMap<ResourceId, String>;

/// What stands beside one document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beside {
    /// The value of [`Kind::beside`], as JSON text; `None` where there is none.
    pub value: Option<String>,
    /// What a user's groups add to the `projects` of the usherd extension.
    pub projects: Vec<serde_json::Value>,
}

impl Beside {
    fn of(value: Option<String>) -> Self {
        Beside { value, projects: Vec::new() }
    }
}

/// Some members of a group, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersPage {
    pub members: Members,
    /// Behind which there are more.
    pub rest: Option<Entry>,
}

impl Kind {
    /// The attribute of this kind that stands beside the document.
    pub const fn beside(self) -> Option<&'static str> {
        match self {
            Kind::User => Some("groups"),
            Kind::Group => Some("members"),
            Kind::License => Some("seatsUsed"),
            Kind::Organization | Kind::Project | Kind::Own(_) => None,
        }
    }
}

impl Directory {
    /// What stands beside each of these documents. Members come without their names unless `with_names`.
    ///
    /// # Errors
    /// `tooMany` when one reply would carry too many members.
    pub async fn beside(
        &self,
        space: &Space,
        kind: Kind,
        documents: &[(ResourceId, Document)],
        with_names: bool,
    ) -> Result<Vec<Beside>, Error> {
        let values = match kind {
            Kind::User => return self.groups_beside(space, documents).await,
            Kind::Group => self.members_beside(space, documents, with_names).await?,
            Kind::License => self.seats_beside(space, documents).await?,
            Kind::Organization | Kind::Project | Kind::Own(_) => vec![None; documents.len()],
        };
        Ok(values.into_iter().map(Beside::of).collect())
    }

    /// What stands beside one user who is in some groups.
    ///
    /// # Errors
    /// Of the store.
    pub async fn beside_user(&self, context: &Context, user: ResourceId) -> Result<Beside, Error> {
        let direct = self.groups_of_each(&context.space, &[user]).await?.pop().unwrap_or_default();
        let known = self.groups_above(&context.space, direct.iter().copied().collect(), usize::MAX).await?;
        Ok(self.beside_direct(&direct, &known))
    }

    fn beside_direct(&self, direct: &[ResourceId], known: &BTreeMap<ResourceId, Above>) -> Beside {
        let projects = as_items(&indirect(direct, known, &self.settings.roles));
        Beside { value: self.groups_value(direct, known), projects }
    }

    /// Whether a group has more members than `many`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn has_more_members(&self, context: &Context, group: ResourceId, many: usize) -> Result<bool, Error> {
        let first = Page { after: None, offset: many, limit: 1, reverse: false };
        Ok(!self.store.range(&context.space, &keys::members(group), &Bounds::All, &first).await?.is_empty())
    }

    async fn members_beside(
        &self,
        space: &Space,
        documents: &[(ResourceId, Document)],
        with_names: bool,
    ) -> Result<Vec<Option<String>>, Error> {
        let first =
            documents.iter().map(|(id, _)| (keys::members(*id), Bounds::All, FIRST_MEMBERS)).collect::<Vec<_>>();
        let first = self.ranges(space, first).await?;
        let mut total = 0;
        let mut found = Vec::with_capacity(documents.len());
        for ((id, _), entries) in documents.iter().zip(first) {
            let members = if entries.len() == FIRST_MEMBERS {
                self.members_within(space, *id, None).await?
            } else {
                entries.iter().filter_map(super::memberships::member).collect()
            };
            total += members.len();
            if total > MAX_MEMBERS {
                let detail = "these groups have too many members for one reply; ask for fewer groups at once, or add \
                              excludedAttributes=members";
                return Err(ScimError::of(ScimType::TooMany, detail).into());
            }
            found.push(members);
        }
        let all: Members = found.iter().filter(|_| with_names).flatten().map(owned).collect();
        let names = self.names_of(space, &all).await?;
        let value = |members: Members| (!members.is_empty()).then(|| self.members_value(&members, &names));
        Ok(found.into_iter().map(value).collect())
    }

    /// The members behind this one, a page of them.
    ///
    /// # Errors
    /// Of the store.
    pub async fn members_page(
        &self,
        space: &Space,
        group: ResourceId,
        after: Option<Entry>,
    ) -> Result<MembersPage, Error> {
        let page = Page { after, offset: 0, limit: FIRST_MEMBERS, reverse: false };
        let entries = self.store.range(space, &keys::members(group), &Bounds::All, &page).await?;
        let members = entries.iter().filter_map(super::memberships::member).collect();
        let is_full = entries.len() == FIRST_MEMBERS;
        Ok(MembersPage { members, rest: entries.into_iter().next_back().filter(|_| is_full) })
    }

    /// The names of these members; those that went meanwhile have none.
    ///
    /// # Errors
    /// Of the store.
    pub async fn names_of(&self, space: &Space, members: &Members) -> Result<Names, Error> {
        let members: Vec<(ResourceId, MemberKind)> = members.iter().map(owned).collect();
        let mut names = Names::new();
        for chunk in members.chunks(CHUNK) {
            let wanted: Vec<DocumentKey> = chunk.iter().map(|(id, kind)| kind.kind().key(id)).collect();
            for ((id, kind), document) in chunk.iter().zip(self.store.get(space, &wanted).await?) {
                // A tombstone has no body.
                let Some(document) = document.filter(|document| !document.body.is_empty()) else { continue };
                let name = match kind {
                    MemberKind::User => UserRecord::decode(&document).map(|user| user.display_name()),
                    MemberKind::Group => {
                        Resource::decode(Kind::Group, *id, &document).map(|group| group.name().to_owned())
                    }
                };
                names.extend(readable(kind.kind(), id, name).map(|name| (*id, name)));
            }
        }
        Ok(names)
    }

    /// `members` as a reply has it.
    pub fn members_value(&self, members: &Members, names: &Names) -> String {
        let mut out = String::with_capacity(members.len() * 160);
        for (id, kind) in members {
            let kind = kind.kind();
            let location = serde_json::Value::from(self.location(kind.endpoint(), *id));
            out.push(if out.is_empty() { '[' } else { ',' });
            write!(out, r#"{{"value":"{id}","$ref":{location},"#).expect("writing to memory");
            if let Some(name) = names.get(id) {
                write!(out, r#""display":{},"#, serde_json::Value::from(name.as_str())).expect("writing to memory");
            }
            write!(out, r#""type":"{}"}}"#, kind.resource_type()).expect("writing to memory");
        }
        out.push_str(if out.is_empty() { "[]" } else { "]" });
        out
    }

    async fn seats_beside(
        &self,
        space: &Space,
        documents: &[(ResourceId, Document)],
    ) -> Result<Vec<Option<String>>, Error> {
        let names: Vec<String> = documents.iter().map(|(id, _)| keys::seats(*id)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let used = self.store.counters(space, &names).await?;
        let counted = |(id, document): &(ResourceId, Document), used: i64| {
            let terms = readable(Kind::License, id, Resource::decode(Kind::License, *id, document));
            let counted = terms
                .and_then(|license| license.terms())
                .is_some_and(|terms| terms.kind == crate::domain::roles::LicenseKind::PerUser);
            counted.then(|| used.max(0).to_string())
        };
        Ok(documents.iter().zip(used).map(|(document, used)| counted(document, used)).collect())
    }

    /// `groups`, direct and indirect, and what they give. No trip when nobody of them is in a group.
    async fn groups_beside(&self, space: &Space, documents: &[(ResourceId, Document)]) -> Result<Vec<Beside>, Error> {
        let users: Vec<ResourceId> =
            documents.iter().filter(|(_, document)| document.memberships > 0).map(|(id, _)| *id).collect();
        if users.is_empty() {
            return Ok(vec![Beside::default(); documents.len()]);
        }
        let direct = self.groups_of_each(space, &users).await?;
        let known = self.groups_above(space, direct.iter().flatten().copied().collect(), usize::MAX).await?;
        let mut values: BTreeMap<ResourceId, Beside> =
            users.into_iter().zip(direct).map(|(user, direct)| (user, self.beside_direct(&direct, &known))).collect();
        Ok(documents.iter().map(|(id, _)| values.remove(id).unwrap_or_default()).collect())
    }

    fn groups_value(&self, direct: &[ResourceId], known: &BTreeMap<ResourceId, Above>) -> Option<String> {
        let direct: BTreeSet<ResourceId> = direct.iter().copied().filter(|id| known.contains_key(id)).collect();
        let mut seen = direct.clone();
        let mut level: Vec<ResourceId> = direct.iter().copied().collect();
        while let Some(id) = level.pop() {
            let above = known.get(&id).into_iter().flat_map(|group| &group.groups);
            level.extend(above.copied().filter(|id| known.contains_key(id) && seen.insert(*id)));
        }
        if seen.is_empty() {
            return None;
        }
        let groups: Vec<serde_json::Value> = direct
            .iter()
            .chain(seen.difference(&direct))
            .map(|id| {
                serde_json::json!({
                    "value": id.to_string(),
                    "$ref": self.location(Kind::Group.endpoint(), *id),
                    "display": known[id].name,
                    "type": if direct.contains(id) { "direct" } else { "indirect" },
                })
            })
            .collect();
        Some(serde_json::Value::from(groups).to_string())
    }

    /// These groups and all that hold them, the nearest first and up to `bound`: a trip or two for each level of nesting.
    pub(super) async fn groups_above(
        &self,
        space: &Space,
        mut level: BTreeSet<ResourceId>,
        bound: usize,
    ) -> Result<BTreeMap<ResourceId, Above>, Error> {
        let mut known: BTreeMap<ResourceId, Above> = BTreeMap::new();
        while !level.is_empty() && known.len() < bound {
            let left = bound - known.len();
            let ids: Vec<ResourceId> = std::mem::take(&mut level).into_iter().take(left).collect();
            let wanted: Vec<DocumentKey> = ids.iter().map(|id| Kind::Group.key(id)).collect();
            let documents = self.store.get(space, &wanted).await?;
            let mut nested = Vec::new();
            for (id, document) in ids.iter().zip(documents) {
                let Some(document) = document else { continue };
                let group = readable(Kind::Group, id, Resource::decode(Kind::Group, *id, &document));
                let grants = group.as_ref().map(Resource::grants).unwrap_or_default();
                // Who is in it stands beside it and is true, whatever became of its name.
                let name = group.map_or_else(|| id.to_string(), |group| group.name().to_owned());
                if document.memberships > 0 {
                    nested.push(*id);
                }
                known.insert(*id, Above { name, grants, groups: Vec::new() });
            }
            let above = match nested.is_empty() {
                true => Vec::new(),
                false => self.groups_of_each(space, &nested).await?,
            };
            for (id, groups) in nested.into_iter().zip(above) {
                level.extend(groups.iter().copied().filter(|group| !known.contains_key(group)));
                if let Some(group) = known.get_mut(&id) {
                    group.groups = groups;
                }
            }
        }
        Ok(known)
    }

    /// The users in a group and in the groups within it, up to `bound` and one more.
    pub(super) async fn users_within(
        &self,
        space: &Space,
        group: ResourceId,
        bound: usize,
    ) -> Result<BTreeSet<ResourceId>, Error> {
        let mut users = BTreeSet::new();
        let mut seen = BTreeSet::from([group]);
        let mut left = vec![group];
        while let Some(group) = left.pop() {
            for (id, kind) in self.members_within(space, group, None).await? {
                match kind {
                    MemberKind::User => drop(users.insert(id)),
                    MemberKind::Group => left.extend(Some(id).filter(|id| seen.insert(*id))),
                }
            }
            if users.len() > bound {
                break;
            }
        }
        Ok(users)
    }
}

fn owned((id, kind): (&ResourceId, &MemberKind)) -> (ResourceId, MemberKind) {
    (*id, *kind)
}
