//! What the console shows of users, and what Account Admins assign: reads through the indexes that keep a page's cost
//! flat, and writes through the lifecycle.

use std::collections::BTreeSet;

use super::assignments::Wishes;
use super::audit::AuditEvent;
use super::error::{Error, readable};
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
use crate::domain::names::fold;
use crate::domain::secrets::Scope;
use crate::domain::user::{Side, Status, User};
use crate::store::{Bounds, DocumentKey, Index, Page};

/// How the directory is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Name,
    NameReversed,
    Newest,
    Oldest,
}

/// A page of the user directory, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `None`: of every status.
    pub status: Option<Status>,
    /// Words of which each must begin a word of the name, the mail or the id.
    pub words: Vec<String>,
    pub filters: Filters,
    pub order: Order,
    pub offset: usize,
    pub limit: usize,
}

/// What else somebody must have to be listed; `None`: anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    pub account_role: Option<String>,
    pub organization: Option<ResourceId>,
    pub project: Option<ResourceId>,
    pub license: Option<ResourceId>,
}

impl Filters {
    /// The indexes of which each holds everybody whom these filters let through.
    fn indexes(&self) -> Vec<Index> {
        let assigned = [self.organization, self.project, self.license].into_iter().flatten().map(keys::assigned);
        self.account_role.iter().map(|role| keys::users_by_role(role)).chain(assigned).map(Index::new).collect()
    }

    fn lets_through(&self, user: &User) -> bool {
        let is_in = |organization| user.organization == Some(organization);
        let has_joined = |project| user.projects.iter().any(|assigned| assigned.project == project);
        let has_license = |license| user.licenses.iter().any(|assigned| assigned.license == license);
        self.account_role.as_ref().is_none_or(|role| user.account_role == *role)
            && self.organization.is_none_or(is_in)
            && self.project.is_none_or(has_joined)
            && self.license.is_none_or(has_license)
    }
}

/// A page of the user directory, as found.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub users: Vec<UserRecord>,
    pub counts: Counts,
    /// Of those that this listing pages through.
    pub total: usize,
    /// Words and filters leave more users than one request may look at; these are the first of them.
    pub cut_short: bool,
}

/// How many users of each status match words and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub pending: usize,
    pub active: usize,
    pub inactive: usize,
}

impl Counts {
    pub fn all(self) -> usize {
        self.pending + self.active + self.inactive
    }

    pub fn of(self, status: Status) -> usize {
        match status {
            Status::Pending => self.pending,
            Status::Active => self.active,
            Status::Inactive => self.inactive,
        }
    }

    fn at(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Pending => &mut self.pending,
            Status::Active => &mut self.active,
            Status::Inactive => &mut self.inactive,
        }
    }
}

/// Everything that the page of one user shows.
#[derive(Debug, Clone)]
pub struct UserDetail {
    pub record: UserRecord,
    /// The invitation mail that waits to go out.
    pub queued: Option<Letter>,
    /// The living sessions.
    pub sessions: Vec<Session>,
    /// What happened to the user lately, the newest first.
    pub events: Vec<AuditEvent>,
}

/// A word of a search, folded. `wide-light` is looked for as it stands (it may begin an address or an id) and by its
/// parts, since names are indexed by theirs.
struct Word {
    whole: String,
    parts: Vec<String>,
}

impl Word {
    fn of(typed: &str) -> Self {
        let whole = fold(typed);
        let parts: Vec<String> =
            whole.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Word { parts: if parts.len() > 1 { parts } else { Vec::new() }, whole }
    }

    /// What begins an index entry of everybody whom this word fits.
    fn prefixes(&self) -> impl Iterator<Item = &str> {
        let longest = self.parts.iter().max_by_key(|part| part.len());
        [Some(&self.whole), longest].into_iter().flatten().map(String::as_str)
    }

    fn is_in(&self, record: &UserRecord) -> bool {
        let by_parts = !self.parts.is_empty() && self.parts.iter().all(|part| record.has_word(part));
        by_parts || record.has_word(&self.whole)
    }
}

/// Candidates that a search may load: some hundred kilobytes, well within a request's deadline.
const MAX_CANDIDATES: usize = 2_000;
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

    /// A page of the user directory. Its cost does not depend on how many users there are: without words and filters it
    /// is read off an index, else at most so many candidates are looked at.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn list_users(&self, context: &Context, listing: &Listing) -> Result<Listed, Error> {
        context.require(Scope::Users)?;
        if !listing.words.is_empty() || listing.filters != Filters::default() {
            return self.search_users(context, listing).await;
        }
        let mut counts = Counts::default();
        for status in Status::ALL {
            let index = Index::new(keys::users_by_status(status));
            let count = self.store.count(&context.space, &index, &Bounds::All).await?;
            *counts.at(status) = usize::try_from(count).unwrap_or(usize::MAX);
        }
        let by_name = matches!(listing.order, Order::Name | Order::NameReversed);
        let index = match (listing.status, by_name) {
            (None, true) => keys::USERS_BY_SHOWN_NAME.to_owned(),
            (None, false) => keys::USERS.to_owned(),
            (Some(status), true) => keys::users_by_status_and_shown_name(status),
            (Some(status), false) => keys::users_by_status(status),
        };
        let reverse = matches!(listing.order, Order::NameReversed | Order::Newest);
        let page = Page { after: None, offset: listing.offset, limit: listing.limit, reverse };
        let entries = self.store.range(&context.space, &Index::new(index), &Bounds::All, &page).await?;
        let users = self.records(context, entries.into_iter().map(|entry| entry.id)).await?;
        let total = listing.status.map_or(counts.all(), |status| counts.of(status));
        Ok(Listed { users, counts, total, cut_short: false })
    }

    /// The smallest index of a filter picks the candidates, or the longest word where that is too large; whatever else
    /// was asked for is looked for in them.
    async fn search_users(&self, context: &Context, listing: &Listing) -> Result<Listed, Error> {
        let words: Vec<Word> = listing.words.iter().map(|word| Word::of(word)).collect();
        let longest = words.iter().max_by_key(|word| word.whole.len());
        let mut smallest = None;
        for index in listing.filters.indexes() {
            let count = self.store.count(&context.space, &index, &Bounds::All).await?;
            if smallest.as_ref().is_none_or(|(least, _)| count < *least) {
                smallest = Some((count, index));
            }
        }
        let walks = match (smallest, longest) {
            (Some((count, index)), longest) if count <= MAX_CANDIDATES as u64 || longest.is_none() => {
                vec![(index, Bounds::All)]
            }
            (_, longest) => {
                let prefixes = longest.into_iter().flat_map(Word::prefixes);
                prefixes.map(|prefix| (Index::new(keys::USERS_BY_WORD), Bounds::Prefix(prefix.to_owned()))).collect()
            }
        };
        let mut ids = BTreeSet::new();
        let mut cut_short = false;
        for (index, bounds) in walks {
            let newest_first = listing.order == Order::Newest && bounds == Bounds::All;
            let page = Page { reverse: newest_first, ..Page::first(MAX_CANDIDATES + 1) };
            let entries = self.store.range(&context.space, &index, &bounds, &page).await?;
            cut_short |= entries.len() > MAX_CANDIDATES;
            ids.extend(entries.into_iter().take(MAX_CANDIDATES).map(|entry| entry.id));
        }
        let mut found = self.records(context, ids).await?;
        found
            .retain(|record| listing.filters.lets_through(&record.user) && words.iter().all(|word| word.is_in(record)));
        let mut counts = Counts::default();
        for status in found.iter().filter_map(|record| record.user.status()) {
            *counts.at(status) += 1;
        }
        found.retain(|record| listing.status.is_none_or(|status| record.user.status() == Some(status)));
        match listing.order {
            Order::Name | Order::NameReversed => found.sort_by_cached_key(UserRecord::shown_key),
            Order::Newest | Order::Oldest => found.sort_by_key(|record| record.user.id),
        }
        if matches!(listing.order, Order::NameReversed | Order::Newest) {
            found.reverse();
        }
        let total = found.len();
        let users = found.into_iter().skip(listing.offset).take(listing.limit).collect();
        Ok(Listed { users, counts, total, cut_short })
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
        Ok(UserDetail { record, queued, sessions, events })
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
