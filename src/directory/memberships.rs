//! Changing memberships. They are index entries in both directions and never a list, so that adding one member costs
//! the same in a group of ten and of a hundred thousand, and parallel changes cannot lose each other: a batch checks
//! the entries that it writes, and no revision.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::error::Error;
use super::kind::Kind;
use super::request::Context;
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::scim::{Member, MemberChange, ScimError};
use crate::store::{Batch, Bounds, Check, DocumentKey, Entry, Index, Page, Space, Write};

/// So many memberships are written by one batch: each is two index entries and a count, and a batch has 2 000 writes.
pub(super) const SLICE: usize = 600;
/// So many entries or documents are read at once.
pub(super) const CHUNK: usize = 500;
/// Up to so many members are looked for one by one; more by a walk from the first to the last.
const FEW: usize = 32;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MemberKind {
    #[serde(rename = "U")]
    User,
    #[serde(rename = "G")]
    Group,
}

impl MemberKind {
    pub const fn kind(self) -> Kind {
        match self {
            MemberKind::User => Kind::User,
            MemberKind::Group => Kind::Group,
        }
    }

    fn of_entry(entry: &Entry) -> Self {
        if entry.id == Kind::Group.resource_type() { MemberKind::Group } else { MemberKind::User }
    }
}

/// The entry of a member in [`keys::members`].
pub(super) fn entry_of(member: ResourceId, kind: MemberKind) -> Entry {
    Entry { key: member.to_string(), id: kind.kind().resource_type().to_owned() }
}

/// Members by their id.
pub type Members = BTreeMap<ResourceId, MemberKind>;

/// The difference that a request makes to a group: nothing of it is so already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Difference {
    pub add: Members,
    pub remove: Members,
}

impl Difference {
    pub fn len(&self) -> usize {
        self.add.len() + self.remove.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The checks and writes of the difference. The group's own document is the caller's business.
    pub fn plan(&self, group: ResourceId, batch: &mut Batch) {
        let index = keys::members(group);
        for (member, kind) in &self.add {
            let entry = entry_of(*member, *kind);
            batch.checks.push(Check::Indexed {
                index: keys::all(kind.kind()),
                entry: keys::listed(*member),
                present: true,
            });
            batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: false });
            batch.writes.push(Write::IndexAdd { index: index.clone(), entry });
            batch.writes.push(Write::IndexAdd { index: keys::groups_of(*member), entry: keys::listed(group) });
            batch.writes.push(Write::Touch { key: kind.kind().key(member), memberships: 1, bump: None });
        }
        for (member, kind) in &self.remove {
            let entry = entry_of(*member, *kind);
            batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
            batch.writes.push(Write::IndexRemove { index: index.clone(), entry });
            batch.writes.push(Write::IndexRemove { index: keys::groups_of(*member), entry: keys::listed(group) });
            batch.writes.push(Write::Touch { key: kind.kind().key(member), memberships: -1, bump: None });
        }
    }
}

/// A changed group has a new version, whoever else changes it at the same moment.
pub(super) fn bump(group: ResourceId, now: Timestamp) -> Write {
    Write::Touch { key: Kind::Group.key(group), memberships: 0, bump: Some(now) }
}

/// What the steps of a request come to, whatever the group holds now.
#[derive(Debug, Default)]
struct Target {
    /// Whether those who are not named leave.
    exact: bool,
    /// By id as the client wrote it: in or out.
    named: BTreeMap<String, bool>,
}

impl Target {
    fn of(steps: &[MemberChange]) -> Self {
        let mut target = Target::default();
        let ids = |members: &[Member]| members.iter().map(|member| (member.value.clone(), true)).collect::<Vec<_>>();
        for step in steps {
            match step {
                MemberChange::Add(members) => target.named.extend(ids(members)),
                MemberChange::Remove(gone) => target.named.extend(gone.iter().map(|id| (id.clone(), false))),
                MemberChange::RemoveAll => target = Target { exact: true, named: BTreeMap::new() },
                MemberChange::ReplaceAll(members) => {
                    target = Target { exact: true, named: ids(members).into_iter().collect() };
                }
            }
        }
        target
    }
}

impl Directory {
    /// The difference between what a request wants of a group and what the group holds. A group that is made now
    /// (`exists` is false) holds nothing.
    ///
    /// # Errors
    /// `invalidValue` for a member that is not known here, unless those are passed over, and for a circle.
    pub(super) async fn difference(
        &self,
        context: &Context,
        group: ResourceId,
        exists: bool,
        steps: &[MemberChange],
    ) -> Result<Difference, Error> {
        let target = Target::of(steps);
        if !target.exact && target.named.is_empty() {
            return Ok(Difference::default());
        }
        let mut unknown = BTreeSet::new();
        let mut wanted = BTreeSet::new();
        let mut unwanted = BTreeSet::new();
        for (text, stays) in &target.named {
            match (text.parse::<ResourceId>(), stays) {
                (Ok(id), true) => drop(wanted.insert(id)),
                (Ok(id), false) => drop(unwanted.insert(id)),
                (Err(_), true) => drop(unknown.insert(text.clone())),
                // Nobody of that name can be a member.
                (Err(_), false) => {}
            }
        }
        let present = match (exists, target.exact) {
            (false, _) => Members::new(),
            (true, true) => self.members_within(&context.space, group, None).await?,
            (true, false) => {
                let named: Vec<ResourceId> = wanted.union(&unwanted).copied().collect();
                self.members_among(&context.space, group, &named).await?
            }
        };
        let missing: Vec<ResourceId> = wanted.iter().filter(|id| !present.contains_key(*id)).copied().collect();
        let add = self.kinds_of(&context.space, &missing).await?;
        unknown.extend(missing.iter().filter(|id| !add.contains_key(*id)).map(ToString::to_string));
        if let Some(first) = unknown.first().filter(|_| self.settings.provisioning.refuse_unknown_members) {
            let others = match unknown.len() - 1 {
                0 => String::new(),
                more => format!(", nor of {more} others"),
            };
            let detail = format!("members: there is no user or group of the id {first}{others}");
            return Err(ScimError::invalid_value(detail).into());
        }
        self.refuse_circle(&context.space, group, &add).await?;
        let leaves = |id: &ResourceId| if target.exact { !wanted.contains(id) } else { unwanted.contains(id) };
        let remove = present.into_iter().filter(|(id, _)| leaves(id)).collect();
        Ok(Difference { add, remove })
    }

    /// What these ids are; those that are neither users nor groups are left out.
    async fn kinds_of(&self, space: &Space, ids: &[ResourceId]) -> Result<Members, Error> {
        let mut kinds = Members::new();
        for chunk in ids.chunks(CHUNK) {
            let mut rest = chunk.to_vec();
            for kind in [MemberKind::User, MemberKind::Group] {
                if rest.is_empty() {
                    break;
                }
                let wanted: Vec<DocumentKey> = rest.iter().map(|id| kind.kind().key(id)).collect();
                let found = self.store.get(space, &wanted).await?;
                // A tombstone has no body.
                let there = found.iter().map(|document| document.as_ref().is_some_and(|it| !it.body.is_empty()));
                let (known, unknown): (Vec<_>, Vec<_>) = rest.into_iter().zip(there).partition(|(_, there)| *there);
                kinds.extend(known.into_iter().map(|(id, _)| (id, kind)));
                rest = unknown.into_iter().map(|(id, _)| id).collect();
            }
        }
        Ok(kinds)
    }

    /// A group that holds itself, however far down, is refused. Two requests at the same moment can still close a
    /// circle, so whoever walks groups remembers where they were.
    async fn refuse_circle(&self, space: &Space, group: ResourceId, add: &Members) -> Result<(), Error> {
        let nested: Vec<&ResourceId> =
            add.iter().filter(|(_, kind)| **kind == MemberKind::Group).map(|(id, _)| id).collect();
        if nested.is_empty() {
            return Ok(());
        }
        let mut above = BTreeSet::from([group]);
        let mut level = vec![group];
        while !level.is_empty() {
            let next = self.groups_of_each(space, &level).await?;
            level = next.into_iter().flatten().filter(|id| above.insert(*id)).collect();
        }
        match nested.into_iter().find(|id| above.contains(id)) {
            None => Ok(()),
            Some(id) => {
                let detail = format!("members: the group {id} cannot be in {group}, which is in it or is the same");
                Err(ScimError::invalid_value(detail).into())
            }
        }
    }

    /// Which of these are members of the group.
    pub(super) async fn members_among(
        &self,
        space: &Space,
        group: ResourceId,
        ids: &[ResourceId],
    ) -> Result<Members, Error> {
        if ids.len() <= FEW {
            let index = keys::members(group);
            let ranges = ids.iter().map(|id| (index.clone(), Bounds::Key(id.to_string()), 1)).collect();
            let found = self.ranges(space, ranges).await?;
            return Ok(found.into_iter().flatten().filter_map(|entry| member(&entry)).collect());
        }
        let wanted: BTreeSet<&ResourceId> = ids.iter().collect();
        let span = wanted.first().zip(wanted.last()).map(|(first, last)| (first.to_string(), last.to_string()));
        let mut found = self.members_within(space, group, span).await?;
        found.retain(|id, _| wanted.contains(id));
        Ok(found)
    }

    /// The members of a group, from the first to the last id of a span.
    pub(super) async fn members_within(
        &self,
        space: &Space,
        group: ResourceId,
        span: Option<(String, String)>,
    ) -> Result<Members, Error> {
        let bounds = match span {
            Some((from, to)) => Bounds::Between { from: Some(from), to: Some(to) },
            None => Bounds::All,
        };
        let mut members = Members::new();
        let mut page = Page::first(PAGE);
        loop {
            let entries = self.store.range(space, &keys::members(group), &bounds, &page).await?;
            members.extend(entries.iter().filter_map(member));
            let full = entries.len() == PAGE;
            match entries.into_iter().next_back() {
                Some(last) if full => page.after = Some(last),
                _ => return Ok(members),
            }
        }
    }

    /// The groups that each of these is a direct member of.
    pub(super) async fn groups_of_each(
        &self,
        space: &Space,
        ids: &[ResourceId],
    ) -> Result<Vec<Vec<ResourceId>>, Error> {
        let ranges = ids.iter().map(|id| (keys::groups_of(*id), Bounds::All, MAX_GROUPS)).collect();
        let found = self.ranges(space, ranges).await?;
        let ids = |entries: Vec<Entry>| entries.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        Ok(found.into_iter().map(ids).collect())
    }

    /// The first entries of several ranges at once: the calls share connections, so that they go out together.
    pub(super) async fn ranges(
        &self,
        space: &Space,
        ranges: Vec<(Index, Bounds, usize)>,
    ) -> Result<Vec<Vec<Entry>>, Error> {
        if let [(index, bounds, limit)] = ranges.as_slice() {
            return Ok(vec![self.store.range(space, index, bounds, &Page::first(*limit)).await?]);
        }
        let mut found = vec![Vec::new(); ranges.len()];
        let mut running = JoinSet::new();
        for (i, (index, bounds, limit)) in ranges.into_iter().enumerate() {
            let (store, space) = (self.store.clone(), space.clone());
            running.spawn(async move { (i, store.range(&space, &index, &bounds, &Page::first(limit)).await) });
        }
        while let Some(done) = running.join_next().await {
            let (i, entries) = done.map_err(|error| Error::Internal(format!("a read was not finished: {error}")))?;
            found[i] = entries?;
        }
        Ok(found)
    }
}

/// Entries of one trip of a walk.
const PAGE: usize = 5_000;
/// So many direct groups of one member are shown.
const MAX_GROUPS: usize = 10_000;

pub(super) fn member(entry: &Entry) -> Option<(ResourceId, MemberKind)> {
    Some((entry.key.parse().ok()?, MemberKind::of_entry(entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[&str]) -> Vec<Member> {
        ids.iter().map(|id| Member::of(*id)).collect()
    }

    fn target(steps: &[MemberChange]) -> (bool, Vec<(String, bool)>) {
        let target = Target::of(steps);
        (target.exact, target.named.into_iter().collect())
    }

    #[test]
    fn the_last_step_about_a_member_counts() {
        let steps = [
            MemberChange::Add(members(&["a", "b"])),
            MemberChange::Remove(vec!["b".into(), "c".into()]),
            MemberChange::Add(members(&["c"])),
        ];
        assert_eq!(target(&steps), (false, vec![("a".into(), true), ("b".into(), false), ("c".into(), true)]));
    }

    #[test]
    fn a_replacement_forgets_what_was_named_before() {
        let steps = [
            MemberChange::Add(members(&["a"])),
            MemberChange::ReplaceAll(members(&["b"])),
            MemberChange::Remove(vec!["b".into()]),
        ];
        assert_eq!(target(&steps), (true, vec![("b".into(), false)]));
        assert_eq!(target(&[MemberChange::RemoveAll]), (true, vec![]));
    }
}
