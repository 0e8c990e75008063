//! Work that takes more than one commit: large changes of memberships, decisions on many people, and what somebody or
//! something leaves behind that was deleted.
//!
//! It is written down before it begins, and each slice of it is one batch that holds wherever the one before it
//! stopped. The request that caused it carries it out; when that request dies, the task's timer rings and the worker
//! finishes it. Both may work on one task at once: a slice checks what it relies on.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::change::Change;
use super::erasure::Erasure;
use super::error::Error;
use super::hold::Decision;
use super::kind::Kind;
use super::memberships::{Difference, MemberKind, SLICE, bump};
use super::record::UserRecord;
use super::request::Context;
use super::resources::Resource;
use super::security_events::ResourceChange;
use super::timers::{DueWork, system};
use super::{Actor, Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::lifecycle::Event;
use crate::domain::names::ClientName;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Check, Claim, Document, DocumentKey, Space, StoreError, Write};

/// What is to be done, in as many commits as it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: ResourceId,
    #[serde(flatten)]
    pub work: Work,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "work", rename_all = "lowercase")]
pub enum Work {
    /// Changes of one group's members, listed in parts.
    Members {
        group: ResourceId,
        parts: usize,
        /// The part that is being carried out, and how much of it is done.
        part: usize,
        done: usize,
    },
    /// An admin decided about everybody whom a client has held.
    Held {
        client: ClientName,
        decision: Decision,
        /// Who decided.
        actor: Actor,
        /// The user up to whom it is done, and the one that was the last when it began.
        after: Option<String>,
        last: String,
    },
    /// A license has fewer seats than are used (lifecycle: "quota lowered below use"): invitations give theirs back,
    /// the newest first, until the rest fits. Nobody who is Active loses one.
    #[serde(rename = "quota-lowered")]
    QuotaLowered {
        license: ResourceId,
        /// The user up to whom it is done.
        after: Option<String>,
    },
    /// A resource was deleted: nobody is to refer to it any more.
    Departed { kind: Kind, resource: ResourceId },
    /// A resource has a new name: whoever carries it is to carry the new one. `behind` is who was done last.
    Renamed {
        kind: Kind,
        resource: ResourceId,
        #[serde(default)]
        carriers: Carriers,
        behind: Option<String>,
    },
    /// A person was erased: what stands beside the record is to go, too. The task has the id of the person.
    Erased(Erasure),
}

/// Whose documents have the name of something else in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carriers {
    #[default]
    Users,
    Groups,
}

/// A part of a list of changes, ordered by member: who, of what kind, and whether they join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part(Vec<(ResourceId, MemberKind, bool)>);

/// So many changes of one part: some 250 kB.
const PART: usize = 5_000;
/// So many parts are stored by one batch.
const PARTS_AT_ONCE: usize = 3;
/// A part whose task was never written is garbage after this time.
const ORPHANED: Duration = Duration::from_secs(3_600);
/// So many slices are done under one claim, so that other timers of the account get their turn.
const SLICES_AT_ONCE: usize = 20;
/// So many users are changed by one slice of a resource's departure, each with a commit of its own.
pub(super) const USERS_AT_ONCE: usize = 50;

/// How a slice went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Finished,
}

impl Part {
    fn all(difference: &Difference) -> Vec<Part> {
        let joins = difference.add.iter().map(|(id, kind)| (*id, *kind, true));
        let leaves = difference.remove.iter().map(|(id, kind)| (*id, *kind, false));
        let mut changes: Vec<_> = joins.chain(leaves).collect();
        changes.sort_unstable();
        changes.chunks(PART).map(|chunk| Part(chunk.to_vec())).collect()
    }
}

impl Task {
    /// The writes that begin the task. Its timer rings after `grace`, in case that whoever begins it dies.
    pub(super) fn plan(&self, now: Timestamp, grace: Duration, batch: &mut Batch) {
        batch.writes.push(self.put(1, now));
        batch.writes.push(Write::TimerSet { owner: keys::task(self.id), due: now + grace });
    }

    pub(super) fn departed(kind: Kind, resource: ResourceId, now: Timestamp) -> Self {
        Task { id: entropy::resource_id(now), work: Work::Departed { kind, resource } }
    }

    pub(super) fn put(&self, revision: u64, now: Timestamp) -> Write {
        Write::Put {
            key: keys::task(self.id),
            revision,
            created: now,
            modified: now,
            body: serde_json::to_vec(self).expect("a task has only string keys").into(),
            state: bytes::Bytes::new(),
        }
    }
}

/// A loaded task with what its slices need.
pub(super) struct Slice<'a> {
    pub context: &'a Context,
    pub task: Task,
    document: Document,
}

impl Slice<'_> {
    /// Not by the rights of a request: whoever ordered the task had them then.
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::new(entropy::commit_id(self.context.now));
        let (key, revision) = (keys::task(self.task.id), self.document.revision);
        batch.checks.push(Check::Revision { key, revision });
        batch
    }

    pub fn end(&self, batch: &mut Batch) {
        batch.writes.push(Write::Delete { key: keys::task(self.task.id) });
        batch.writes.push(Write::TimerClear { owner: keys::task(self.task.id) });
    }

    /// Notes how far the task is.
    pub fn advance(&self, work: Work, batch: &mut Batch) {
        let task = Task { id: self.task.id, work };
        batch.writes.push(task.put(self.document.revision + 1, self.context.now));
    }

    pub fn space(&self) -> &Space {
        &self.context.space
    }
}

impl Directory {
    /// Stores the parts of a large difference; the task that is returned is the caller's to write, with the rest of
    /// its batch.
    pub(super) async fn prepare_members(
        &self,
        context: &Context,
        group: ResourceId,
        difference: &Difference,
    ) -> Result<Task, Error> {
        let now = context.now;
        let id = entropy::resource_id(now);
        let parts = Part::all(difference);
        for (i, chunk) in parts.chunks(PARTS_AT_ONCE).enumerate() {
            let mut batch = Batch::new(entropy::commit_id(now));
            for (j, part) in chunk.iter().enumerate() {
                let key = keys::task_part(id, i * PARTS_AT_ONCE + j);
                batch.writes.push(Write::Put {
                    key: key.clone(),
                    revision: 1,
                    created: now,
                    modified: now,
                    body: serde_json::to_vec(part).expect("a part is a list").into(),
                    state: bytes::Bytes::new(),
                });
                batch.writes.push(Write::TimerSet { owner: key, due: now + ORPHANED });
            }
            self.committed(&context.space, &batch).await?;
        }
        Ok(Task { id, work: Work::Members { group, parts: parts.len(), part: 0, done: 0 } })
    }

    /// Carries out a task for the request that waits for it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it takes longer than a request may: it goes on by itself, and the same request
    /// repeated waits for the rest.
    pub(super) async fn carry_out(&self, account: &AccountId, id: ResourceId) -> Result<(), Error> {
        let work = async {
            while !self.advance(account, id, SLICES_AT_ONCE).await? {}
            Ok(())
        };
        // The answer has to be written, too.
        match tokio::time::timeout(self.settings.deadline.mul_f64(0.6), work).await {
            Ok(done) => done,
            Err(_) => {
                let now = self.store.now();
                let mut batch = Batch::new(entropy::commit_id(now));
                batch.checks.push(Check::Exists { key: keys::task(id) });
                batch.writes.push(Write::TimerSet { owner: keys::task(id), due: now });
                self.committed(&Space::Account(account.clone()), &batch).await?;
                let reason = "a large change goes on in the background".to_owned();
                Err(Error::Unavailable { reason, retry_after: Duration::from_secs(2) })
            }
        }
    }

    pub(super) async fn due_task(&self, account: &AccountId, claim: &Claim) -> Result<DueWork, Error> {
        let id = claim.owner.id.parse().map_err(|error| Error::damaged("timer of a task", error))?;
        let finished = self.advance(account, id, SLICES_AT_ONCE).await?;
        // The last slice has ended the timer and this claim with it; a timer without a task ends here.
        self.end_claim(account, claim, (!finished).then(|| self.store.now())).await?;
        Ok(DueWork::Settled)
    }

    /// A part outlives its task only when the task was never written.
    pub(super) async fn due_task_part(&self, account: &AccountId, claim: &Claim) -> Result<DueWork, Error> {
        let owner = &claim.owner;
        let task = owner.id.split_once('.').map_or(&*owner.id, |(task, _)| task);
        let (context, found) = self.open(&system(account, "task"), &[DocumentKey::new(keys::TASK, task)]).await?;
        if found.into_iter().flatten().next().is_some() {
            self.end_claim(account, claim, Some(context.now + ORPHANED)).await?;
        } else {
            let mut batch = self.of_claim(claim);
            batch.writes.push(Write::Delete { key: owner.clone() });
            batch.writes.push(Write::TimerClear { owner: owner.clone() });
            self.committed(&context.space, &batch).await?;
        }
        Ok(DueWork::Settled)
    }

    /// Does up to so many slices of a task; whether nothing of it is left.
    async fn advance(&self, account: &AccountId, id: ResourceId, slices: usize) -> Result<bool, Error> {
        for _ in 0..slices {
            if self.slice(account, id).await? == Step::Finished {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn slice(&self, account: &AccountId, id: ResourceId) -> Result<Step, Error> {
        // Members that went while the task waited.
        let mut gone = BTreeSet::new();
        retrying!(self, {
            let (context, found) = self.open(&system(account, "task"), &[keys::task(id)]).await?;
            let Some(document) = found.into_iter().next().flatten() else { return Ok(Some(Step::Finished)) };
            let task: Task = serde_json::from_slice(&document.body).map_err(|error| Error::damaged("task", error))?;
            let slice = Slice { context: &context, task, document };
            match slice.task.work.clone() {
                Work::Members { group, parts, part, done } if part < parts => {
                    self.members_slice(&slice, group, (part, done), &mut gone).await
                }
                Work::Members { group, .. } => self.members_done(&slice, group).await,
                Work::Held { .. } => self.held_slice(&slice).await,
                Work::QuotaLowered { license, after } => self.quota_slice(&slice, license, after).await,
                Work::Erased(erasure) => self.erased_slice(&slice, erasure).await,
                Work::Renamed { kind, resource, carriers, behind } => {
                    Box::pin(self.resource_renamed(&slice, (kind, resource), (carriers, behind))).await
                }
                Work::Departed { kind: Kind::User, resource } => self.user_departed(&slice, resource).await,
                Work::Departed { kind: Kind::Group, resource } => self.group_departed(&slice, resource).await,
                Work::Departed {
                    kind: Kind::Organization | Kind::Project | Kind::License | Kind::Own(_),
                    resource,
                } => Box::pin(self.resource_departed(&slice, resource)).await,
            }
        })
    }

    async fn members_slice(
        &self,
        slice: &Slice<'_>,
        group: ResourceId,
        (number, done): (usize, usize),
        gone: &mut BTreeSet<ResourceId>,
    ) -> Result<Option<Step>, Error> {
        let (space, now) = (slice.space(), slice.context.now);
        let key = keys::task_part(slice.task.id, number);
        let found = self.store.get(space, &[key.clone(), Kind::Group.key(group)]).await?;
        let [part, group_document] = found.as_slice() else { return Ok(None) };
        let part: Part = match part {
            Some(document) => {
                serde_json::from_slice(&document.body).map_err(|error| Error::damaged("part of a task", error))?
            }
            None => Part::default(),
        };
        let changes = part.0.get(done..).unwrap_or_default();
        let changes = &changes[..changes.len().min(SLICE)];
        let difference = if group_document.is_some() {
            self.still_to_do(space, group, changes, gone).await?
        } else {
            Difference::default()
        };
        let mut batch = slice.batch();
        if !difference.is_empty() {
            batch.checks.push(Check::Exists { key: Kind::Group.key(group) });
            difference.plan(group, &mut batch);
            batch.writes.push(bump(group, now));
        }
        let Work::Members { parts, .. } = slice.task.work else { return Ok(None) };
        let ended = done + changes.len() >= part.0.len() || group_document.is_none();
        let (part, done) = if ended { (number + 1, 0) } else { (number, done + changes.len()) };
        if ended {
            batch.writes.push(Write::Delete { key: key.clone() });
            batch.writes.push(Write::TimerClear { owner: key });
        }
        slice.advance(Work::Members { group, parts, part, done }, &mut batch);
        match self.commit(space, &batch).await {
            Ok(()) => Ok(Some(Step::More)),
            Err(StoreError::Conflict(violation)) => {
                if let Check::Indexed { index, entry, present: true } = &violation.check
                    && [Kind::User, Kind::Group].into_iter().any(|kind| keys::all(kind) == *index)
                {
                    gone.extend(entry.id.parse::<ResourceId>());
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What of these changes is not so already. After a crash, or beside another writer, a part of them may be.
    async fn still_to_do(
        &self,
        space: &Space,
        group: ResourceId,
        changes: &[(ResourceId, MemberKind, bool)],
        gone: &BTreeSet<ResourceId>,
    ) -> Result<Difference, Error> {
        let ids: Vec<ResourceId> = changes.iter().map(|(id, ..)| *id).collect();
        let present = self.members_among(space, group, &ids).await?;
        let is_open = |(id, _, joins): &&(ResourceId, MemberKind, bool)| *joins != present.contains_key(id);
        let mut difference = Difference::default();
        for (id, kind, joins) in changes.iter().filter(is_open) {
            if !joins {
                difference.remove.insert(*id, *kind);
            } else if !gone.contains(id) {
                difference.add.insert(*id, *kind);
            }
        }
        Ok(difference)
    }

    /// Lets the next change of the group's members begin.
    async fn members_done(&self, slice: &Slice<'_>, group: ResourceId) -> Result<Option<Step>, Error> {
        let document = self.store.get(slice.space(), &[Kind::Group.key(group)]).await?.pop().flatten();
        let mut batch = slice.batch();
        if let Some(document) = document {
            let before = Resource::decode(Kind::Group, group, &document)?;
            if before.pending == Some(slice.task.id) {
                let mut after = before.clone();
                after.pending = None;
                after.plan(&before, &self.schemas, slice.context.now, &mut batch);
                let (before, after) = (Some(&before), Some(&after));
                let done = ResourceChange { before, after, members: true, replaced: false };
                self.plan_resource_events(slice.context, &mut batch, &done);
            }
        }
        slice.end(&mut batch);
        self.finished(slice, &batch).await
    }

    pub(super) async fn finished(&self, slice: &Slice<'_>, batch: &Batch) -> Result<Option<Step>, Error> {
        Ok(self.committed(slice.space(), batch).await?.then_some(Step::Finished))
    }

    /// Lets an event act on a user, if there still is one.
    pub(super) async fn on_stored(
        &self,
        context: &Context,
        user: &str,
        what: &'static str,
        event: &Event,
        then: impl Fn(&mut Change) + Sync,
    ) -> Result<(), Error> {
        retrying!(self, {
            let document = self.store.get(&context.space, &[DocumentKey::new(keys::USER, user)]).await?.pop().flatten();
            let Some(document) = document else { return Ok(Some(())) };
            let before = UserRecord::decode(&document)?;
            let mut change: Change = self.change(context, what, before.clone(), before).await?;
            change.apply(event, context.now)?;
            then(&mut change);
            Ok(self.commit_change(context, change).await?.map(|_| ()))
        })
    }
}
