//! V15: memberships stand on both sides, and are counted. A half of one is taken away, since only a whole one was ever
//! promised to anybody.

use super::invariant::Invariant;
use super::run::{ATTEMPTS, Halt, Run, Wrong};
use crate::directory::kind::Kind;
use crate::directory::memberships::{MemberKind, bump, entry_of, member};
use crate::directory::{entropy, keys};
use crate::domain::ids::ResourceId;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Entry, Reads, Write};

impl Run<'_> {
    /// An entry on the group's side.
    pub(super) async fn half_members(&mut self, group: &str, entry: &Entry) -> Result<(), Halt> {
        match (group.parse(), member(entry)) {
            (Ok(group), Some((member, kind))) => self.half_member(group, member, kind).await,
            _ => Ok(()),
        }
    }

    async fn half_member(&mut self, group: ResourceId, member: ResourceId, kind: MemberKind) -> Result<(), Halt> {
        let (group_key, member_key) = (Kind::Group.key(group), kind.kind().key(member));
        let mirror = (keys::groups_of(member), keys::listed(group));
        let reads = Reads {
            documents: vec![group_key.clone(), member_key.clone()],
            entries: vec![mirror.clone()],
            ..Reads::default()
        };
        let found = self.directory.store.read(&self.space, &reads).await?;
        let [group_document, member_document] = found.documents.as_slice() else { return Ok(()) };
        let member_lives = member_document.as_ref().is_some_and(|document| !super::places::is_tombstone(document));
        let mirrored = found.entries == [true];
        if mirrored && member_lives && group_document.is_some() {
            return Ok(());
        }
        let (index, entry) = (keys::members(group), entry_of(member, kind));
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        batch.checks.push(as_read(&group_key, group_document.as_ref().map(|_| None)));
        batch.checks.push(as_read(&member_key, member_document.as_ref().map(|found| Some(found.revision))));
        batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
        let (other, listed) = mirror;
        batch.checks.push(Check::Indexed { index: other.clone(), entry: listed.clone(), present: mirrored });
        batch.writes.push(Write::IndexRemove { index, entry });
        batch.writes.push(Write::IndexRemove { index: other, entry: listed });
        batch.writes.push(bump(group, self.now()));
        if mirrored {
            batch.writes.push(Write::Touch { key: member_key, memberships: -1, bump: None });
        }
        let what = format!("the membership of {kind} {member} is one of a half", kind = kind.kind());
        self.repair(&group_key, &[Wrong::of(Invariant::V15, what)], batch).await.map(|_| ())
    }

    /// An entry on the member's side.
    pub(super) async fn half_groups(&mut self, member: &str, entry: &Entry) -> Result<(), Halt> {
        let (Ok(id), Ok(group)) = (member.parse::<ResourceId>(), entry.id.parse::<ResourceId>()) else { return Ok(()) };
        let mirrors = [MemberKind::User, MemberKind::Group].map(|kind| (keys::members(group), entry_of(id, kind)));
        let reads = Reads { entries: mirrors.to_vec(), ..Reads::default() };
        if self.directory.store.read(&self.space, &reads).await?.entries.contains(&true) {
            return Ok(());
        }
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        let index = keys::groups_of(id);
        batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
        for (index, entry) in mirrors {
            batch.checks.push(Check::Indexed { index, entry, present: false });
        }
        batch.writes.push(Write::IndexRemove { index, entry: entry.clone() });
        let what = format!("the membership of {member} is one of a half");
        self.repair(&Kind::Group.key(group), &[Wrong::of(Invariant::V15, what)], batch).await.map(|_| ())
    }

    /// The count in the document. It changes without a revision, so it is believed only when it and the entries are the
    /// same twice.
    pub(super) async fn count_memberships(&mut self, key: &DocumentKey) -> Result<(), Halt> {
        let Ok(id) = key.id.parse::<ResourceId>() else { return Ok(()) };
        if key.kind != Kind::User.as_str() && key.kind != Kind::Group.as_str() {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let Some((said, counted)) = self.memberships_of(key, id).await? else { return Ok(()) };
            if said.memberships == counted {
                return Ok(());
            }
            let again = self.memberships_of(key, id).await?;
            if again.is_none_or(|(document, count)| (document.memberships, count) != (said.memberships, counted)) {
                continue;
            }
            let difference = i64::try_from(counted).unwrap_or(0) - i64::try_from(said.memberships).unwrap_or(0);
            let mut batch = Batch::new(entropy::commit_id(self.now()));
            batch.checks.push(Check::Revision { key: key.clone(), revision: said.revision });
            // A new revision, so that a repair at the same moment does not count the difference twice.
            let bump = Some(said.modified);
            batch.writes.push(Write::Touch { key: key.clone(), memberships: difference, bump });
            let wrong =
                Wrong::of(Invariant::V15, format!("counts {} memberships instead of {counted}", said.memberships));
            if self.repair(key, &[wrong], batch).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn memberships_of(&self, key: &DocumentKey, id: ResourceId) -> Result<Option<(Document, u64)>, Halt> {
        let document = self.directory.store.get(&self.space, std::slice::from_ref(key)).await?.pop().flatten();
        let counted = self.directory.store.count(&self.space, &keys::groups_of(id), &Bounds::All).await?;
        Ok(document.map(|document| (document, counted)))
    }
}

/// The check that a document is still as it was read: absent, or there at this revision or at any.
fn as_read(key: &DocumentKey, found: Option<Option<u64>>) -> Check {
    let key = key.clone();
    match found {
        None => Check::Absent { key },
        Some(None) => Check::Exists { key },
        Some(Some(revision)) => Check::Revision { key, revision },
    }
}
