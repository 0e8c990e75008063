//! What identity providers do to users: SCIM create, replace, patch and delete.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::assignments::{self, Wishes};
use super::brake::Verdict;
use super::change::{Change, REPLACED};
use super::error::Error;
use super::kind::Kind;
use super::notes::Notes;
use super::record::{USHERD_SCHEMA, UserRecord};
use super::request::{Context, Request};
use super::{Directory, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::{Event, Refusal};
use crate::domain::names::UserName;
use crate::domain::secrets::Scope;
use crate::domain::user::{Side, State, User};
use crate::scim::patch;
use crate::scim::profile::{Applied, Profile, Tolerance};
use crate::scim::resource::{self, Purpose};
use crate::scim::{ResourceType, ScimError};
use crate::store::{Check, DocumentKey, StoreError};

/// G7: the versions that a write is meant for (RFC 7644 §3.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    Any,
    Versions(Vec<u64>),
}

impl IfMatch {
    /// # Errors
    /// [`Error::PreconditionFailed`] when `revision` is none of them.
    pub(super) fn check(&self, revision: u64) -> Result<(), Error> {
        match self {
            IfMatch::Versions(versions) if !versions.contains(&revision) => {
                Err(Error::PreconditionFailed { current: super::version(revision) })
            }
            IfMatch::Any | IfMatch::Versions(_) => Ok(()),
        }
    }
}

/// A user as a SCIM request wants it, read from the body and independent of what is stored.
struct Wanted {
    user_name: UserName,
    /// `None` leaves it; `Some(None)` removes it.
    external_id: Option<Option<String>>,
    /// `None`: the request does not say.
    active: Option<bool>,
    profile: Map<String, Value>,
    wishes: Wishes,
    /// The tolerances by which core attributes became wishes.
    mapped: Vec<Tolerance>,
    /// Qualified names of what the request named, for the audit.
    named: BTreeSet<String>,
}

impl Directory {
    /// SCIM POST. Brings a deactivated person back under the same id, and adopts one that was invited by hand.
    ///
    /// # Errors
    /// [`ScimError`] for a bad body, [`crate::domain::lifecycle::Refusal`] by the lifecycle, [`Error::Taken`] by G8.
    pub async fn create_user(&self, request: &Request, body: Value) -> Result<(Context, UserRecord), Error> {
        let (context, _) = self.open_to_write(request, &[]).await?;
        context.require(Scope::Users)?;
        let profile = self.profile_of(&context)?;
        let received = resource::read(&self.schemas, self.user_type(), &profile, body, Purpose::Create)?;
        note(&request.notes, received.applied, &received.ignored);
        let mut wanted = Wanted::of(received.attributes, received.named, &Map::new(), &profile)?;
        request.notes.tolerated(wanted.mapped.iter().copied());
        // A person who comes back keeps the externalId that this body omits.
        wanted.external_id = wanted.external_id.filter(Option::is_some);
        let folded = wanted.user_name.folded().to_owned();

        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            context.require(Scope::Users)?;
            let by = context.provider()?;
            let before = match self.find_by_user_name(&context, &folded).await? {
                Some(existing) => existing,
                None => self.unborn(&context, &wanted),
            };
            let mut after = before.clone();
            after.profile.clone_from(&wanted.profile);
            let event = Event::Provisioned { active: wanted.active.unwrap_or(true), by };
            let written = self.write(&context, "user.provisioned", before, after, &wanted, &event).await?;
            Ok(written.map(|record| (context, record)))
        })
    }

    /// SCIM PUT.
    ///
    /// # Errors
    /// As [`Directory::create_user`]; [`Error::NotFound`] and [`Error::PreconditionFailed`].
    pub async fn replace_user(
        &self,
        request: &Request,
        id: &str,
        if_match: &IfMatch,
        body: Value,
    ) -> Result<(Context, UserRecord), Error> {
        let (context, _) = self.open_to_write(request, &[]).await?;
        context.require(Scope::Users)?;
        let profile = self.profile_of(&context)?;
        let received = resource::read(&self.schemas, self.user_type(), &profile, body, Purpose::Replace)?;
        note(&request.notes, received.applied.clone(), &received.ignored);

        retrying!(self, {
            let (context, before) = self.load_user(request, id).await?;
            if_match.check(before.revision)?;
            let (mut attributes, stayed) = replaced(&before, &received.attributes, &received.carried, &profile);
            resource::keep_immutable(&self.schemas, self.user_type(), &before.profile, &mut attributes)?;
            let wanted = Wanted::of(attributes, received.named.clone(), &before.attributes(), &profile)?;
            request.notes.tolerated(wanted.mapped.iter().copied().chain(stayed));
            let written = self.update(&context, REPLACED, before, &wanted).await?;
            Ok(written.map(|record| (context, record)))
        })
    }

    /// SCIM PATCH.
    ///
    /// # Errors
    /// As [`Directory::replace_user`].
    pub async fn patch_user(
        &self,
        request: &Request,
        id: &str,
        if_match: &IfMatch,
        body: Value,
    ) -> Result<(Context, UserRecord), Error> {
        retrying!(self, {
            let (context, before) = self.load_user(request, id).await?;
            if_match.check(before.revision)?;
            let profile = self.profile_of(&context)?;
            let current = before.attributes();
            let patched = patch::apply(&self.schemas, self.user_type(), &profile, &current, body.clone())?;
            note(&request.notes, patched.applied, &patched.ignored);
            let wanted = Wanted::of(patched.attributes, patched.named, &current, &profile)?;
            request.notes.tolerated(wanted.mapped.iter().copied());
            let written = self.update(&context, "user.patched", before, &wanted).await?;
            Ok(written.map(|record| (context, record)))
        })
    }

    /// SCIM DELETE.
    ///
    /// # Errors
    /// As [`Directory::replace_user`].
    pub async fn delete_user(&self, request: &Request, id: &str, if_match: &IfMatch) -> Result<(), Error> {
        retrying!(self, {
            let (context, before) = self.load_user(request, id).await?;
            if_match.check(before.revision)?;
            let by = context.provider()?;
            let event = Event::Deprovisioned { by };
            let change = self.change(&context, "user.deprovisioned", before.clone(), before).await?;
            let decided = self.within_bounds(&context, change, |change| change.apply(&event, context.now)).await?;
            let Some(change) = decided else { return Ok(None) };
            self.commit_change(&context, change).await.map(|done| done.map(|_| ()))
        })
    }

    /// The user of this id with the rights to write it.
    async fn load_user(&self, request: &Request, id: &str) -> Result<(Context, UserRecord), Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let id: ResourceId = id.parse().map_err(|_| unknown())?;
        let (context, documents) = self.open_to_write(request, &[keys::user(id)]).await?;
        context.require(Scope::Users)?;
        let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
        let record = UserRecord::decode(&document)?;
        request.notes.about_user(&record);
        if record.exists() { Ok((context, record)) } else { Err(unknown()) }
    }

    pub(super) async fn find_by_user_name(&self, context: &Context, folded: &str) -> Result<Option<UserRecord>, Error> {
        self.find_by_unique(context, keys::USER_NAME, folded).await
    }

    pub(super) async fn find_by_unique(
        &self,
        context: &Context,
        unique: &'static str,
        key: &str,
    ) -> Result<Option<UserRecord>, Error> {
        let found = self.store.lookup(&context.space, unique, &[key]).await?;
        let Some(id) = found.into_iter().next().flatten() else { return Ok(None) };
        let document = self.store.get(&context.space, &[DocumentKey::new(keys::USER, id)]).await?.pop().flatten();
        document.as_ref().map(UserRecord::decode).transpose()
    }

    /// A new user with the account's defaults.
    fn unborn(&self, context: &Context, wanted: &Wanted) -> UserRecord {
        let id = entropy::resource_id(context.now);
        let role = &self.settings.provisioning.account_role;
        UserRecord::unborn(User::unborn(id, wanted.user_name.clone(), role), context.now)
    }

    async fn update(
        &self,
        context: &Context,
        what: &'static str,
        before: UserRecord,
        wanted: &Wanted,
    ) -> Result<Option<UserRecord>, Error> {
        let by = context.provider()?;
        let mut after = before.clone();
        after.profile.clone_from(&wanted.profile);
        let event = match wanted.active {
            Some(active) => Event::ActiveAsserted { active, by },
            None => Event::ProfileWritten { by },
        };
        self.write(context, what, before, after, wanted, &event).await
    }

    /// Lets everything that a request wants act on the user, and commits.
    async fn write(
        &self,
        context: &Context,
        what: &'static str,
        before: UserRecord,
        mut after: UserRecord,
        wanted: &Wanted,
        lifecycle: &Event,
    ) -> Result<Option<UserRecord>, Error> {
        let now = context.now;
        let unborn = before.user.state() == State::N;
        let mut wishes = wanted.wishes.clone();
        if unborn {
            wishes.default_to(&self.settings.provisioning);
        }
        let assigned = self.resolve_wishes(context, &wishes, &after).await?;
        if !assigned.is_empty(&after.user) && !wanted.wishes.is_empty() {
            context.require(Scope::RolesWrite)?;
        }
        after.names.extend(assigned.names.clone());
        if let Some(external_id) = &wanted.external_id {
            after.user.external_id.clone_from(external_id);
        }
        if let Some(day) = assigned.start_date {
            after.user.employment_start_date = day;
        }
        let address_before = before.address_of_profile();
        let address = {
            let mut named = after.clone();
            named.user.user_name = wanted.user_name.clone();
            named.address_of_profile()
        };
        if unborn {
            assignments::give(&mut after.user, &assigned.changes);
            after.user.sign_in_address.clone_from(&address);
        }
        let mut licensed = after.clone();
        assignments::give(&mut licensed.user, &assigned.changes);

        let mut change = self.change(context, what, before, licensed).await?;
        change.after = after;
        change.attributes(wanted.named.iter().cloned());
        let moves = address.filter(|address| !unborn && Some(address) != address_before.as_ref());
        let leaves = wanted.active == Some(false);
        let act = |change: &mut Change| {
            if !unborn && wanted.user_name != change.before.user.user_name {
                change.apply(&Event::UserNameChanged { to: wanted.user_name.clone() }, now)?;
            }
            // A leaver must not get a new link at the new address first; a returning one must get it there.
            if leaves {
                change.apply(lifecycle, now)?;
            }
            if let Some(to) = &moves {
                change.apply(&Event::AddressChanged { to: to.clone() }, now)?;
            }
            if !unborn && !assigned.is_empty(&change.after.user) {
                let event = Event::Assigned { changes: assigned.changes.clone(), side: Side::Idp };
                change.apply(&event, now)?;
            }
            if leaves { Ok(()) } else { change.apply(lifecycle, now) }
        };
        let Some(mut change) = self.within_bounds(context, change, act).await? else { return Ok(None) };
        let assigned_ids = change.after.assigned_ids();
        change.after.names.retain(|id, _| assigned_ids.contains(id));
        self.commit_change(context, change).await
    }

    /// Lets a client's request act on the user, and once more where it takes access away or mails somebody: then by
    /// what the client may do at once (G9, first sync hold). `None` when the brake was put on, so that the request is
    /// decided again.
    async fn within_bounds(
        &self,
        context: &Context,
        mut change: Change,
        act: impl Fn(&mut Change) -> Result<(), Refusal> + Sync,
    ) -> Result<Option<Change>, Error> {
        let before = change.clone();
        let refused = |refusal| self.refuse_change(context, &before, refusal);
        act(&mut change).map_err(refused)?;
        let Some(client) = context.token.as_ref().map(|token| &token.client) else { return Ok(Some(change)) };
        let mut bounded = before.clone();
        if change.loses_access() {
            match self.brake(context, client, &mut bounded.bounds).await? {
                Verdict::Brake(brake) => bounded.policy.braked = brake.against(bounded.policy.is_last_admin),
                Verdict::Engage { lost } => {
                    self.engage_brake(context, client, lost).await?;
                    return Ok(None);
                }
            }
        } else if change.invites() {
            self.hold_or_count(context, client, &mut bounded).await?;
        } else {
            return Ok(Some(change));
        }
        act(&mut bounded).map_err(refused)?;
        Ok(Some(bounded))
    }

    /// Commits a change; `None` when somebody else wrote first. What changes nothing is not written.
    ///
    /// # Errors
    /// [`Error::Taken`] when an externalId, an address or a new userName belongs to somebody else.
    pub(super) async fn commit_change(
        &self,
        context: &Context,
        mut change: Change,
    ) -> Result<Option<UserRecord>, Error> {
        if change.is_empty() {
            return Ok(Some(change.after));
        }
        let renames = change.before.revision > 0;
        let batch = self.plan(context, &mut change, None);
        match self.commit(&context.space, &batch).await {
            Ok(()) => {
                change.tell_alerts(context);
                if change.departs() {
                    self.leave_groups(context, change.after.user.id).await?;
                }
                Ok(Some(change.after))
            }
            Err(StoreError::Conflict(violation)) => match &violation.check {
                Check::Free { unique, .. } => match *unique {
                    keys::EXTERNAL_ID => Err(Error::Taken { attribute: "externalId" }),
                    keys::ADDRESS => Err(Error::Taken { attribute: "emails" }),
                    // A create meets a namesake: the next attempt finds it, and the lifecycle decides.
                    _ if renames => Err(Error::Taken { attribute: "userName" }),
                    _ => Ok(None),
                },
                _ => Ok(None),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The resource type `User`.
    pub fn user_type(&self) -> &ResourceType {
        self.resource_type(Kind::User)
    }

    /// The dialect that a request is read and answered in.
    ///
    /// # Errors
    /// [`Error::Internal`] for a token whose profile this version does not have.
    pub fn profile_of(&self, context: &Context) -> Result<Profile, Error> {
        let name = context.token.as_ref().map_or("lenient", |token| token.profile.as_str());
        let profile = Profile::named(name).ok_or_else(|| Error::damaged("token", format!("no profile {name}")))?;
        Ok(profile.with_filters(self.settings.queries.filter))
    }
}

impl Wanted {
    /// Reads what a document asks for. `current` is the stored representation that a PATCH started from.
    fn of(
        mut attributes: Map<String, Value>,
        named: BTreeSet<String>,
        current: &Map<String, Value>,
        profile: &Profile,
    ) -> Result<Self, Error> {
        let user_name = attributes.remove("userName");
        let user_name = user_name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let user_name =
            UserName::parse(user_name).map_err(|error| ScimError::invalid_value(format!("userName: {error}")))?;
        let external_id = attributes.remove("externalId").and_then(|id| id.as_str().map(str::to_owned));
        let active = attributes.remove("active").and_then(|active| active.as_bool());
        let extension = attributes.remove(USHERD_SCHEMA);
        let mut wishes = Wishes::of(extension.as_ref(), current.get(USHERD_SCHEMA), &named)?;
        let mapped = wishes.map_core(&attributes, current, profile);
        Ok(Wanted {
            user_name,
            external_id: Some(external_id),
            active: active.filter(|_| named.contains("active")),
            profile: attributes,
            wishes,
            mapped,
            named,
        })
    }
}

/// PUT: what the request does not carry of a schema stays; of a schema it carries, what it leaves out goes. Outside
/// `rfc-strict`, `externalId` and the last address stay (scim decisions: Okta custom apps, JumpCloud); with the result
/// comes whether that was needed.
fn replaced(
    before: &UserRecord,
    received: &Map<String, Value>,
    carried: &BTreeSet<String>,
    profile: &Profile,
) -> (Map<String, Value>, Option<Tolerance>) {
    let mut attributes = received.clone();
    let mut stayed = None;
    let current = before.attributes();
    for (name, value) in &current {
        let is_extension = name.contains(':');
        let not_carried = is_extension && !carried.contains(name);
        let sticky = profile.tolerates(Tolerance::OmittedStays) && matches!(name.as_str(), "externalId" | "emails");
        if !attributes.contains_key(name) && (not_carried || sticky) {
            attributes.insert(name.clone(), value.clone());
            stayed = stayed.or(sticky.then_some(Tolerance::OmittedStays));
        }
    }
    (attributes, stayed)
}

/// Notes what reading a body took.
fn note(notes: &Notes, applied: Applied, ignored: &[String]) {
    notes.tolerated(applied);
    notes.ignored(ignored);
}
