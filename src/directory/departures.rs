//! What somebody or something leaves behind that was deleted: memberships and assignments. All of it is a task.

use std::collections::BTreeMap;

use super::error::Error;
use super::memberships::{Difference, MemberKind, Members, SLICE, bump};
use super::request::Context;
use super::tasks::{Slice, Step, USERS_AT_ONCE};
use super::{Directory, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Event;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Entry, Index, Page, Reads, Space, Write};

/// So many groups are left by one slice: each is two index entries, a count and a version.
const GROUPS_AT_ONCE: usize = 400;

impl Directory {
    pub(super) async fn user_departed(&self, slice: &Slice<'_>, user: ResourceId) -> Result<Option<Step>, Error> {
        let mut batch = slice.batch();
        let found = self.plan_leaving(slice.space(), user, MemberKind::User, slice.context.now, &mut batch).await?;
        if found == 0 {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        }
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    pub(super) async fn group_departed(&self, slice: &Slice<'_>, group: ResourceId) -> Result<Option<Step>, Error> {
        let mut batch = slice.batch();
        let members = self.store.range(slice.space(), &keys::members(group), &Bounds::All, &Page::first(SLICE)).await?;
        if members.is_empty() {
            return self.leave_as_group(slice, group, batch).await;
        }
        let remove: Members = members.iter().filter_map(super::memberships::member).collect();
        Difference { add: BTreeMap::new(), remove }.plan(group, &mut batch);
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    async fn leave_as_group(
        &self,
        slice: &Slice<'_>,
        group: ResourceId,
        mut batch: Batch,
    ) -> Result<Option<Step>, Error> {
        let found = self.plan_leaving(slice.space(), group, MemberKind::Group, slice.context.now, &mut batch).await?;
        if found == 0 {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        }
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    /// Takes a user who was just deleted out of the first groups they are in, so that the reply finds them gone. The
    /// rest, when they are in very many, is a task; and so is what was there when a crash came between.
    pub(super) async fn leave_groups(&self, context: &Context, user: ResourceId) -> Result<(), Error> {
        retrying!(self, {
            let mut batch = Batch::new(entropy::commit_id(context.now));
            let space = &context.space;
            let found = self.plan_leaving(space, user, MemberKind::User, context.now, &mut batch).await?;
            if found == 0 || self.committed(space, &batch).await? {
                return Ok(Some(()));
            }
            Ok(None)
        })
    }

    /// Plans that a member which is gone leaves the first groups it is in; how many they are.
    pub(super) async fn plan_leaving(
        &self,
        space: &Space,
        member: ResourceId,
        kind: MemberKind,
        now: Timestamp,
        batch: &mut Batch,
    ) -> Result<usize, Error> {
        let groups =
            self.store.range(space, &keys::groups_of(member), &Bounds::All, &Page::first(GROUPS_AT_ONCE)).await?;
        for group in groups.iter().filter_map(|entry| entry.id.parse::<ResourceId>().ok()) {
            let leaving = Difference { add: BTreeMap::new(), remove: BTreeMap::from([(member, kind)]) };
            leaving.plan(group, batch);
            batch.writes.push(bump(group, now));
        }
        Ok(groups.len())
    }

    /// Drops the assignment from users and groups that still have it.
    pub(super) async fn resource_departed(
        &self,
        slice: &Slice<'_>,
        resource: ResourceId,
    ) -> Result<Option<Step>, Error> {
        let index = Index::new(keys::assigned(resource));
        let users = self.store.range(slice.space(), &index, &Bounds::All, &Page::first(USERS_AT_ONCE)).await?;
        if !users.is_empty() {
            for entry in &users {
                self.drop_assignment(slice.context, &entry.id, resource).await?;
            }
            self.drop_strays(slice, &index, &users).await?;
            return Ok(Some(Step::More));
        }
        if self.drop_grants(slice.context, resource, USERS_AT_ONCE).await? {
            return Ok(Some(Step::More));
        }
        let mut batch = slice.batch();
        let name = keys::seats(resource);
        let left = self.store.counters(slice.space(), &[&name]).await?.into_iter().next().unwrap_or(0);
        if left != 0 {
            batch.writes.push(Write::CounterAdd { name, delta: -left });
        }
        slice.end(&mut batch);
        self.finished(slice, &batch).await
    }

    /// Removes those of the entries that still stand although their users have dropped the assignment, or are gone: such a
    /// task would otherwise meet them again without an end.
    async fn drop_strays(&self, slice: &Slice<'_>, index: &Index, entries: &[Entry]) -> Result<(), Error> {
        let reads =
            Reads { entries: entries.iter().map(|entry| (index.clone(), entry.clone())).collect(), ..Reads::default() };
        let stand = self.store.read(slice.space(), &reads).await?.entries;
        let strays = entries.iter().zip(stand).filter(|(_, stands)| *stands).map(|(entry, _)| entry.clone());
        let mut batch = Batch::new(entropy::commit_id(slice.context.now));
        batch.writes.extend(strays.map(|entry| Write::IndexRemove { index: index.clone(), entry }));
        if !batch.writes.is_empty() {
            tracing::warn!(index = &*index.0, strays = batch.writes.len(), "removed assignments that nobody has");
            self.committed(slice.space(), &batch).await?;
        }
        Ok(())
    }

    async fn drop_assignment(&self, context: &Context, user: &str, resource: ResourceId) -> Result<(), Error> {
        let event = Event::ResourceDeleted { id: resource };
        self.on_stored(context, user, "user.assignment_dropped", &event, |change| {
            change.after.names.remove(&resource);
        })
        .await
    }
}
