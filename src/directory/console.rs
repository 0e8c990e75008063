//! What the console shows of users, and what Account Admins assign: reads through the indexes that keep a page's cost
//! flat, and writes through the lifecycle.

use super::assignments::Wishes;
use super::audit::AuditEvent;
use super::error::{Error, readable};
use super::grants::Indirect;
use super::kind::Kind;
use super::outbox::Letter;
use super::provision::IfMatch;
use super::record::UserRecord;
use super::request::{Context, Request, SignedIn};
use super::resources::Resource;
use super::sessions::{Session, Sessions};
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::{Event, Refusal};
use crate::domain::secrets::Scope;
use crate::domain::user::Side;
use crate::store::{Bounds, DocumentKey, Index, Page};

/// Everything that the page of one user shows.
#[derive(Debug, Clone)]
pub struct UserDetail {
    pub record: UserRecord,
    /// The project roles that come through groups.
    pub indirect: Vec<Indirect>,
    /// The invitation mail that waits to go out.
    pub queued: Option<Letter>,
    /// The living sessions.
    pub sessions: Vec<Session>,
    /// What happened to the user lately, the newest first.
    pub events: Vec<AuditEvent>,
}

/// Events that are looked through for those of one user.
const MAX_EVENTS: usize = 1_000;
/// Events that the page of a user shows.
const SHOWN_EVENTS: usize = 20;
/// Organizations, projects or licenses that are listed.
const MAX_RESOURCES: usize = 1_000;

impl Directory {
    /// Lets an Account Admin in: their session, status and role hold at this moment.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] without a living session of an Active user, [`Error::NotAccountAdmin`].
    pub async fn enter(&self, request: &Request) -> Result<(Context, SignedIn), Error> {
        let (context, _) = self.open(request, &[]).await?;
        let admin = context.admin.clone().ok_or(Error::Unauthorized)?;
        Ok((context, admin))
    }

    pub(super) async fn records(
        &self,
        context: &Context,
        ids: impl IntoIterator<Item = String>,
    ) -> Result<Vec<UserRecord>, Error> {
        let wanted: Vec<DocumentKey> = ids.into_iter().map(|id| DocumentKey::new(keys::USER, id)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let documents = self.store.get(&context.space, &wanted).await?;
        let found = wanted.iter().zip(documents).filter_map(|(key, document)| Some((key, document?)));
        let records = found.filter_map(|(key, document)| readable(key.kind, &key.id, UserRecord::decode(&document)));
        Ok(records.filter(UserRecord::exists).collect())
    }

    /// One user as the lifecycle sees them.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`].
    pub async fn user_record(&self, context: &Context, id: &str) -> Result<UserRecord, Error> {
        context.require(Scope::Users)?;
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let id: ResourceId = id.parse().map_err(|_| unknown())?;
        let document = self.store.get(&context.space, &[keys::user(id)]).await?.pop().flatten();
        let record = document.as_ref().map(UserRecord::decode).transpose()?;
        record.filter(UserRecord::exists).ok_or_else(unknown)
    }

    /// Those of these users who are there, in the order of their ids as asked for.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn user_records(&self, context: &Context, ids: &[String]) -> Result<Vec<UserRecord>, Error> {
        context.require(Scope::Users)?;
        self.records(context, ids.iter().cloned()).await
    }

    /// One user with invitation mail, sessions and history.
    ///
    /// # Errors
    /// As [`Directory::user_record`].
    pub async fn user_detail(&self, context: &Context, id: &str) -> Result<UserDetail, Error> {
        let record = self.user_record(context, id).await?;
        let mut wanted = vec![keys::sessions(record.user.id)];
        wanted.extend(record.user.invitation().and_then(|invitation| invitation.queued).map(keys::outbox));
        let mut documents = self.store.get(&context.space, &wanted).await?.into_iter();
        let sessions = documents.next().flatten().as_ref().map(Sessions::read).transpose()?.unwrap_or_default();
        let queued = documents.next().flatten().map(|document| serde_json::from_slice(&document.body));
        let queued = queued.transpose().map_err(|error| Error::damaged("outbox entry", error))?;
        let events = self.store.events(&context.space, None, MAX_EVENTS, true).await?;
        let events = events
            .iter()
            .filter_map(|event| serde_json::from_slice::<AuditEvent>(&event.body).ok())
            .filter(|event| event.user == Some(record.user.id))
            .take(SHOWN_EVENTS)
            .collect();
        let sessions = sessions.living_ones(context.now).cloned().collect();
        let indirect = self.indirect_projects(&context.space, &record).await?;
        Ok(UserDetail { record, indirect, queued, sessions, events })
    }

    /// Sets roles, organization, licenses or projects of a user (lifecycle row "change role/project/organization/
    /// license").
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is not known here; G1 as [`Refusal::LastAccountAdmin`], G6 as
    /// [`Refusal::AboveOwnRole`]; G7 as [`Error::PreconditionFailed`]; [`Error::MissingScope`] without `users` and `roles:write`, as over SCIM.
    pub async fn assign(
        &self,
        request: &Request,
        id: &str,
        if_match: &IfMatch,
        wishes: &Wishes,
    ) -> Result<UserRecord, Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let key = keys::user(id.parse().map_err(|_| unknown())?);
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, std::slice::from_ref(&key)).await?;
            context.require(Scope::Users)?;
            context.require(Scope::RolesWrite)?;
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let before = UserRecord::decode(&document)?;
            if_match.check(before.revision)?;
            let assigned = self.resolve_wishes(&context, wishes, &before).await?;
            if let Some(role) = &assigned.changes.account_role {
                self.may_change_role(&context, &before, role)?;
            }
            let mut after = before.clone();
            after.names.extend(assigned.names);
            // Seats are reserved for the licenses as they become; so the change has to know them before it decides.
            let mut wanted = after.clone();
            super::assignments::give(&mut wanted.user, &assigned.changes);
            let mut change = self.change(&context, "user.assigned", before, wanted).await?;
            change.after = after;
            let changes = assigned.changes;
            change.attributes(named(&changes));
            self.decide(&context, &mut change, &Event::Assigned { changes, side: Side::Admin })?;
            let assigned_ids = change.after.assigned_ids();
            change.after.names.retain(|id, _| assigned_ids.contains(id));
            self.commit_change(&context, change).await
        })
    }

    /// G6, for the role that somebody gets and the one they had: nobody reaches above their own.
    pub(super) fn may_change_role(&self, context: &Context, before: &UserRecord, to: &str) -> Result<(), Error> {
        let from = before.user.account_role.as_str();
        if from == to {
            return Ok(());
        }
        let Some(admin) = &context.admin else { return Ok(()) };
        let roles = &self.settings.roles;
        let reaches = |role: &str| match (roles.account_role(&admin.role), roles.account_role(role)) {
            (Ok(own), Ok(other)) => roles.may_grant(&own, &other),
            // A role that is configured no more grants nothing, so anybody may take it away.
            (_, Err(_)) => true,
            (Err(_), Ok(_)) => false,
        };
        if reaches(from) && reaches(to) {
            Ok(())
        } else {
            Err(self.refuse(context, "user.assigned", before.known_id(), Refusal::AboveOwnRole))
        }
    }

    /// All resources of a kind by name, at most a thousand.
    ///
    /// # Errors
    /// Of the store.
    pub async fn resources_by_name(&self, context: &Context, kind: Kind) -> Result<Vec<Resource>, Error> {
        let index = Index::new(keys::by_name(kind));
        let entries = self.store.range(&context.space, &index, &Bounds::All, &Page::first(MAX_RESOURCES)).await?;
        let ids: Vec<ResourceId> = entries.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<DocumentKey> = ids.iter().map(|id| kind.key(*id)).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let found = ids.into_iter().zip(documents).filter_map(|(id, document)| Some((id, document?)));
        Ok(found.filter_map(|(id, document)| readable(kind, id, Resource::decode(kind, id, &document))).collect())
    }
}

impl Directory {
    /// The seats of these licenses that are reserved or claimed, in their order; 0 for what is none.
    ///
    /// # Errors
    /// Of the store.
    pub async fn seats_used(&self, context: &Context, resources: &[Resource]) -> Result<Vec<u64>, Error> {
        let names: Vec<String> = resources.iter().map(|resource| keys::seats(resource.id)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let counters = self.store.counters(&context.space, &names).await?;
        Ok(counters.into_iter().map(|used| u64::try_from(used).unwrap_or(0)).collect())
    }
}

fn named(changes: &crate::domain::lifecycle::Assignments) -> Vec<String> {
    let parts = [
        ("accountRole", changes.account_role.is_some()),
        ("organization", changes.organization.is_some()),
        ("licenses", changes.licenses.is_some()),
        ("projects", changes.projects.is_some()),
    ];
    parts.into_iter().filter(|(_, named)| *named).map(|(name, _)| name.to_owned()).collect()
}
