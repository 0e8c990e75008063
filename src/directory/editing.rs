//! What clients do to groups, organizations, projects, licenses and what an operator defines: SCIM create, replace, patch and delete, in one way
//! for all of them.

use std::time::Duration;

use serde_json::{Map, Value};

use super::audit::AuditEvent;
use super::error::Error;
use super::kind::Kind;
use super::memberships::{SLICE, bump};
use super::provision::IfMatch;
use super::request::{Context, Request};
use super::resources::Resource;
use super::security_events::ResourceChange;
use super::tasks::{Task, Work};
use super::{Directory, entropy};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Alert;
use crate::scim::resource::{self, Purpose};
use crate::scim::{MemberChange, patch};
use crate::store::{Batch, Check, Document, StoreError, Write};

/// What the audit calls a SCIM PUT, after the kind.
const REPLACED: &str = "replaced";

/// A resource after a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Edited {
    pub context: Context,
    /// As the request made it; the store may know a newer version, since members come and go beside the document.
    pub resource: Resource,
    /// The task that brings a new name to those who carry it.
    renaming: Option<ResourceId>,
}

/// One change on its way.
struct Edit<'a> {
    what: &'static str,
    before: Resource,
    after: Resource,
    members: Vec<MemberChange>,
    if_match: &'a IfMatch,
    /// Attributes that the request named.
    named: Vec<String>,
}

impl Directory {
    /// SCIM POST.
    ///
    /// # Errors
    /// [`crate::scim::ScimError`] for a bad body, [`Error::Taken`] for a name that another has.
    pub async fn create_resource(&self, request: &Request, kind: Kind, body: Value) -> Result<Edited, Error> {
        let (context, _) = self.open_to_write(request, &[]).await?;
        context.require(kind.scope())?;
        let profile = self.profile_of(&context)?;
        let resource_type = self.resource_type(kind);
        let received = resource::read(&self.schemas, resource_type, &profile, body, Purpose::Create)?;
        request.notes.tolerated(received.applied.iter().copied());
        request.notes.ignored(&received.ignored);
        let edited = retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            context.require(kind.scope())?;
            let id = entropy::resource_id(context.now);
            let before = Resource::unborn(kind, id, Map::new(), context.now);
            let edit = Edit {
                what: "created",
                after: with_attributes(&before, received.attributes.clone()),
                before,
                members: received.members.clone(),
                if_match: &IfMatch::Any,
                named: received.named.iter().cloned().collect(),
            };
            self.edit(context, edit).await
        });
        self.follow_up(request, edited?).await
    }

    /// SCIM PUT.
    ///
    /// # Errors
    /// As [`Directory::create_resource`]; [`Error::NotFound`] and [`Error::PreconditionFailed`].
    pub async fn replace_resource(
        &self,
        request: &Request,
        kind: Kind,
        id: &str,
        if_match: &IfMatch,
        body: Value,
    ) -> Result<Edited, Error> {
        let (context, _) = self.open_to_write(request, &[]).await?;
        context.require(kind.scope())?;
        let profile = self.profile_of(&context)?;
        let received = resource::read(&self.schemas, self.resource_type(kind), &profile, body, Purpose::Replace)?;
        request.notes.tolerated(received.applied.iter().copied());
        request.notes.ignored(&received.ignored);
        let mut settled = None;
        let edited = retrying!(self, {
            let Some((context, before)) = self.load_settled(request, kind, id, if_match, &mut settled).await? else {
                return Ok(None);
            };
            let mut attributes = received.attributes.clone();
            // A client that leaves out its own id of the resource does not mean to forget it (Okta, JumpCloud).
            if let Some(external_id) = before.attributes.get("externalId")
                && !received.named.contains("externalId")
            {
                attributes.insert("externalId".to_owned(), external_id.clone());
            }
            let resource_type = self.resource_type(kind);
            resource::keep_immutable(&self.schemas, resource_type, &before.attributes, &mut attributes)?;
            let mut after = with_attributes(&before, attributes);
            after.keep_grants(&before, &received.named);
            let edit = Edit {
                what: REPLACED,
                after,
                before,
                members: received.members.clone(),
                if_match,
                named: received.named.iter().cloned().collect(),
            };
            self.edit(context, edit).await
        });
        self.follow_up(request, edited?).await
    }

    /// SCIM PATCH.
    ///
    /// # Errors
    /// As [`Directory::replace_resource`].
    pub async fn patch_resource(
        &self,
        request: &Request,
        kind: Kind,
        id: &str,
        if_match: &IfMatch,
        body: Value,
    ) -> Result<Edited, Error> {
        let mut settled = None;
        let edited = retrying!(self, {
            let Some((context, before)) = self.load_settled(request, kind, id, if_match, &mut settled).await? else {
                return Ok(None);
            };
            let profile = self.profile_of(&context)?;
            let resource_type = self.resource_type(kind);
            let patched = patch::apply(&self.schemas, resource_type, &profile, &before.attributes, body.clone())?;
            request.notes.tolerated(patched.applied.iter().copied());
            request.notes.ignored(&patched.ignored);
            let edit = Edit {
                what: "patched",
                after: with_attributes(&before, patched.attributes),
                before,
                members: patched.members,
                if_match,
                named: patched.named.into_iter().collect(),
            };
            self.edit(context, edit).await
        });
        self.follow_up(request, edited?).await
    }

    /// A change of a group that is no request of the protocol.
    ///
    /// # Errors
    /// Those of `change`; else as [`Directory::replace_resource`].
    pub(super) async fn edit_group(
        &self,
        request: &Request,
        id: &str,
        if_match: &IfMatch,
        change: impl Fn(&Resource) -> Result<Resource, Error> + Send + Sync,
    ) -> Result<Edited, Error> {
        let mut settled = None;
        let edited = retrying!(self, {
            let found = self.load_settled(request, Kind::Group, id, if_match, &mut settled).await?;
            let Some((context, before)) = found else { return Ok(None) };
            let after = change(&before)?;
            let edit = Edit { what: "changed", after, before, members: Vec::new(), if_match, named: Vec::new() };
            self.edit(context, edit).await
        });
        self.follow_up(request, edited?).await
    }

    /// SCIM DELETE. Whatever refers to the resource is taken away at once where it is little, else soon.
    ///
    /// # Errors
    /// As [`Directory::replace_resource`].
    pub async fn delete_resource(
        &self,
        request: &Request,
        kind: Kind,
        id: &str,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        let task = retrying!(self, {
            let (context, before) = self.load_resource(request, kind, id).await?;
            if_match.check(before.revision)?;
            let now = context.now;
            let mut batch = context.batch(entropy::commit_id(now));
            let key = kind.key(before.id);
            batch.checks.push(Check::Revision { key: key.clone(), revision: before.revision });
            before.keys.plan_move(&super::record::Keys::default(), before.id, &mut batch);
            batch.writes.push(Write::Delete { key });
            let gone = ResourceChange { before: Some(&before), after: None, members: false, replaced: false };
            self.plan_resource_events(&context, &mut batch, &gone);
            let task = kind.is_referred_to().then(|| Task::departed(kind, before.id, now));
            if let Some(task) = &task {
                task.plan(now, self.settings.deadline, &mut batch);
            }
            batch.writes.push(audit(&context, "deleted", &before, Vec::new(), &[]));
            Ok(self.committed(&context.space, &batch).await?.then_some(task.map(|task| task.id)))
        });
        if let Some(task) = task?
            && let Err(error) = self.carry_out(&request.account, task).await
        {
            tracing::info!(%error, %kind, id, "what referred to the deleted resource goes in the background");
        }
        Ok(())
    }

    /// A changed resource as stored now.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it was deleted meanwhile.
    pub async fn reread(&self, edited: Edited) -> Result<(Context, Document), Error> {
        let Edited { context, resource, renaming: _ } = edited;
        let unknown = || Error::NotFound(format!("there is no {} {}", resource.kind, resource.id));
        let found = self.store.get(&context.space, &[resource.kind.key(resource.id)]).await?.pop().flatten();
        Ok((context, found.ok_or_else(unknown)?))
    }

    async fn load_resource(&self, request: &Request, kind: Kind, id: &str) -> Result<(Context, Resource), Error> {
        let unknown = || Error::NotFound(format!("there is no {kind} {id}"));
        let parsed: ResourceId = id.parse().map_err(|_| unknown())?;
        let (context, documents) = self.open_to_write(request, &[kind.key(parsed)]).await?;
        context.require(kind.scope())?;
        let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
        let resource = Resource::decode(kind, parsed, &document)?;
        request.notes.about(resource.name());
        Ok((context, resource))
    }

    /// The resource to change, with no earlier change of its members under way; `None` when one had to be finished
    /// first, so that it must be loaded again. `settled` remembers which.
    async fn load_settled(
        &self,
        request: &Request,
        kind: Kind,
        id: &str,
        if_match: &IfMatch,
        settled: &mut Option<ResourceId>,
    ) -> Result<Option<(Context, Resource)>, Error> {
        let (context, before) = self.load_resource(request, kind, id).await?;
        if_match.check(before.revision)?;
        match before.pending.filter(|task| Some(*task) != *settled) {
            None => Ok(Some((context, before))),
            Some(task) => {
                self.carry_out(&request.account, task).await?;
                *settled = Some(task);
                Ok(None)
            }
        }
    }

    /// Commits an edit; `None` when somebody else came between. What changes nothing is not written.
    async fn edit(&self, context: Context, edit: Edit<'_>) -> Result<Option<Edited>, Error> {
        let Edit { what, before, mut after, members, if_match, named } = edit;
        after.check()?;
        // On the heap: few changes need so large a future.
        let regranted = Box::pin(self.settle_grants(&context, &before, &mut after)).await?;
        let (id, now) = (before.id, context.now);
        let difference = self.difference(&context, id, before.revision > 0, &members).await?;
        let rewritten = before.revision == 0 || after.attributes != before.attributes;
        if !rewritten && difference.is_empty() {
            return Ok(Some(Edited { context, resource: before, renaming: None }));
        }
        let mut batch = context.batch(entropy::commit_id(now));
        let large = difference.len() > SLICE;
        if large {
            let task = self.prepare_members(&context, id, &difference).await?;
            after.pending = Some(task.id);
            task.plan(now, self.settings.deadline, &mut batch);
        }
        let renamed = Task::renamed(&before, &after, now);
        if let Some(task) = &renamed {
            task.plan(now, self.settings.deadline, &mut batch);
        }
        if rewritten || large {
            after.plan(&before, &self.schemas, now, &mut batch);
        } else {
            plan_in_place(&before, if_match, &context, &mut batch);
        }
        if !large {
            difference.plan(id, &mut batch);
        }
        let was = Some(&before).filter(|before| before.revision > 0);
        // What is large is told when it is done.
        let members = !large && !difference.is_empty();
        let change = ResourceChange { before: was, after: Some(&after), members, replaced: what == REPLACED };
        self.plan_resource_events(&context, &mut batch, &change);
        let over = self.seats_over(&context, &before, &after).await?;
        if over > 0 {
            let work = Work::QuotaLowered { license: id, after: None };
            Task { id: entropy::resource_id(now), work }.plan(now, Duration::ZERO, &mut batch);
            tracing::warn!(account = %context.account.id, license = %id, over, "more seats are used than there are now");
        }
        let alerts = if over > 0 { vec![Alert::OverQuota] } else { Vec::new() };
        regranted.iter().for_each(|it| it.plan(&context, &after, &mut batch));
        batch.writes.push(audit(&context, what, &after, named, &alerts));
        match self.commit(&context.space, &batch).await {
            Ok(()) => {
                let renaming = renamed.map(|task| task.id);
                Ok(Some(Edited { context, resource: after, renaming }))
            }
            Err(StoreError::Conflict(violation)) => match violation.check {
                Check::Free { unique, .. } => Err(Error::Taken { attribute: attribute_of(unique) }),
                _ => Ok(None),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Carries out what was too large for the commit, and brings a new name to those who carry it.
    async fn follow_up(&self, request: &Request, edited: Edited) -> Result<Edited, Error> {
        if let Some(task) = edited.resource.pending {
            self.carry_out(&request.account, task).await?;
        }
        if let Some(task) = edited.renaming
            && let Err(error) = self.carry_out(&request.account, task).await
        {
            let Resource { kind, id, .. } = edited.resource;
            tracing::info!(%error, %kind, %id, "the new name reaches those who carry it in the background");
        }
        Ok(edited)
    }
}

/// Of [`super::keys::unique`].
fn attribute_of(unique: &'static str) -> &'static str {
    unique.split_once('.').map_or(unique, |(_, attribute)| attribute)
}

/// Members come and go beside the document, so that only a precondition makes writers wait for each other.
fn plan_in_place(before: &Resource, if_match: &IfMatch, context: &Context, batch: &mut Batch) {
    let key = before.kind.key(before.id);
    batch.checks.push(match if_match {
        IfMatch::Any => Check::Exists { key },
        IfMatch::Versions(_) => Check::Revision { key, revision: before.revision },
    });
    batch.writes.push(bump(before.id, context.now));
}

fn with_attributes(before: &Resource, attributes: Map<String, Value>) -> Resource {
    let mut after = before.clone();
    after.attributes = attributes;
    if after.kind == Kind::License {
        after.attributes.entry("kind").or_insert_with(|| "per-user".into());
    }
    after
}

fn audit(context: &Context, what: &str, resource: &Resource, attributes: Vec<String>, alerts: &[Alert]) -> Write {
    let what = format!("{}.{what}", resource.kind.as_str());
    let event = AuditEvent {
        resource: Some(resource.id),
        revision: Some(resource.revision),
        attributes,
        alerts: alerts.iter().map(|alert| format!("{alert:?}")).collect(),
        ..AuditEvent::new(context.now, context.actor.clone(), &what)
    };
    event.write()
}
