//! A stored user: the lifecycle's [`User`] and the profile, as one document.
//!
//! The body is the SCIM representation ready to send, but for `groups` and `meta`, which change without a write. The
//! state is the lifecycle and the index entries the document stands in, so that an update removes exactly those.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::keys;
use super::kind::Kind;
use crate::domain::ids::ResourceId;
use crate::domain::names::{EmailAddress, fold};
use crate::domain::text::safe_name;
use crate::domain::time::Timestamp;
use crate::domain::user::{Invitation, InvitationState, LicenseAssignment, ProjectAssignment, Standing, User};
use crate::scim::{ResourceType, schemas_of};
use crate::store::{Batch, Check, Document, Entry, Index, Write};

pub const USHERD_SCHEMA: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";

/// A user as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRecord {
    pub user: User,
    /// The SCIM attributes that decide nothing: names, phones, enterprise and operator extensions. Without `id`,
    /// `schemas`, `userName`, `externalId`, `active` and the usherd extension, which follow from `user`.
    pub profile: Map<String, Value>,
    /// The names of the organization, licenses and projects that the user is assigned to, for display.
    pub names: BTreeMap<ResourceId, String>,
    pub revision: u64,
    pub created: Timestamp,
    pub modified: Timestamp,
    /// In how many groups the user is.
    pub memberships: u64,
    /// Where the document stands, as of its last write.
    pub keys: Keys,
    /// The index version that `keys` follows.
    pub index_version: u32,
}

/// The unique keys and index entries of a document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Keys {
    pub uniques: BTreeSet<(String, String)>,
    /// Index and key; the id is the document's.
    pub entries: BTreeSet<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct State {
    /// The index version that `keys` follows.
    v: u32,
    user: User,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    names: BTreeMap<ResourceId, String>,
    #[serde(flatten)]
    keys: Keys,
}

impl UserRecord {
    /// A record that was never written (revision 0).
    pub fn unborn(user: User, now: Timestamp) -> Self {
        UserRecord {
            user,
            profile: Map::new(),
            names: BTreeMap::new(),
            revision: 0,
            created: now,
            modified: now,
            memberships: 0,
            keys: Keys::default(),
            index_version: keys::INDEX_VERSION,
        }
    }

    /// # Errors
    /// [`Error::Internal`] when the document is not one that this version wrote.
    pub fn decode(document: &Document) -> Result<Self, Error> {
        let state: State =
            serde_json::from_slice(&document.state).map_err(|error| Error::damaged("user state", error))?;
        let mut profile: Map<String, Value> = match document.body.is_empty() {
            true => Map::new(),
            false => serde_json::from_slice(&document.body).map_err(|error| Error::damaged("user body", error))?,
        };
        for computed in ["schemas", "id", "userName", "externalId", "active", USHERD_SCHEMA] {
            profile.remove(computed);
        }
        Ok(UserRecord {
            user: state.user,
            profile,
            names: state.names,
            revision: document.revision,
            created: document.created,
            modified: document.modified,
            memberships: document.memberships,
            keys: state.keys,
            index_version: state.v,
        })
    }

    /// The SCIM attributes of the user as PATCH and filters see them: without `id`, `schemas`, `groups` and `meta`.
    pub fn attributes(&self) -> Map<String, Value> {
        let user = &self.user;
        let mut attributes = Map::new();
        attributes.insert("userName".to_owned(), user.user_name.as_str().into());
        if let Some(external_id) = &user.external_id {
            attributes.insert("externalId".to_owned(), external_id.as_str().into());
        }
        attributes.extend(self.profile.clone());
        attributes.insert("active".to_owned(), user.scim_active().into());
        attributes.insert(USHERD_SCHEMA.to_owned(), self.extension());
        attributes
    }

    /// The attributes with `schemas` and `id` in front: a reply but for `groups` and `meta`.
    pub fn representation(&self, kind: &ResourceType) -> Map<String, Value> {
        let attributes = self.attributes();
        let mut representation = Map::new();
        representation.insert("schemas".to_owned(), json!(schemas_of(kind, &attributes)));
        representation.insert("id".to_owned(), self.user.id.to_string().into());
        representation.extend(attributes);
        representation
    }

    /// What is stored as the body. That of a tombstone is empty, by which a reader knows it without reading on.
    pub fn body(&self, kind: &ResourceType) -> Vec<u8> {
        match self.exists() {
            true => serde_json::to_vec(&self.representation(kind)).expect("a body has only string keys"),
            false => Vec::new(),
        }
    }

    pub fn state(&self, keys: &Keys) -> Vec<u8> {
        let state =
            State { v: keys::INDEX_VERSION, user: self.user.clone(), names: self.names.clone(), keys: keys.clone() };
        serde_json::to_vec(&state).expect("a state has only string keys")
    }

    fn extension(&self) -> Value {
        let user = &self.user;
        let mut extension = Map::new();
        if let Some(status) = user.status() {
            extension.insert("status".to_owned(), status.as_str().into());
        }
        if let Some(reason) = user.status_reason() {
            extension.insert("statusReason".to_owned(), reason.into());
        }
        if let Some(invitation) = user.invitation() {
            extension.insert("invitation".to_owned(), invitation_view(invitation));
        }
        extension.insert("accountRole".to_owned(), user.account_role.as_str().into());
        if let Some(organization) = user.organization {
            extension.insert("organization".to_owned(), self.reference(organization));
        }
        if !user.licenses.is_empty() {
            let licenses = user.licenses.iter().map(|assigned| self.reference(assigned.license));
            extension.insert("licenses".to_owned(), licenses.collect());
        }
        if !user.projects.is_empty() {
            let projects = user.projects.iter().map(|assigned| {
                let mut project = self.reference(assigned.project);
                project["role"] = assigned.role.as_str().into();
                project
            });
            extension.insert("projects".to_owned(), projects.collect());
        }
        if let Some(day) = user.employment_start_date {
            extension.insert("employmentStartDate".to_owned(), day.to_string().into());
        }
        Value::Object(extension)
    }

    fn reference(&self, id: ResourceId) -> Value {
        let mut reference = json!({ "value": id.to_string() });
        if let Some(name) = self.names.get(&id) {
            reference["display"] = name.as_str().into();
        }
        reference
    }

    /// Where the document is to stand once written. A tombstone stands nowhere.
    pub fn keys_now(&self, modified: Timestamp) -> Keys {
        let user = &self.user;
        let Some(status) = user.status() else { return Keys::default() };
        let mut keys = Keys::default();
        let mut unique = |name: &str, key: String| keys.uniques.insert((name.to_owned(), key));
        unique(keys::USER_NAME, user.user_name.folded().to_owned());
        if let Some(external_id) = &user.external_id {
            let client = user.provisioned_by.as_ref().map_or("", |client| client.as_str());
            unique(keys::EXTERNAL_ID, keys::external_id(client, external_id));
        }
        if let Some(address) = &user.sign_in_address {
            unique(keys::ADDRESS, address.folded().to_owned());
        }

        let mut entry = |index: &str, key: &str| keys.entries.insert((index.to_owned(), key.to_owned()));
        entry(keys::USERS, "");
        entry(&keys::users_by_status(status), "");
        entry(&keys::users_by_role(&user.account_role), "");
        entry(keys::USERS_BY_NAME, user.user_name.folded());
        let shown = self.shown_key();
        entry(keys::USERS_BY_SHOWN_NAME, &shown);
        entry(&keys::users_by_status_and_shown_name(status), &shown);
        entry(keys::USERS_BY_MODIFIED, &modified.sortable());
        if let Some(external_id) = &user.external_id {
            entry(keys::USERS_BY_EXTERNAL_ID, &external_id.replace('\0', ""));
        }
        if let Some(client) = &user.provisioned_by {
            entry(&keys::managed(client.as_str()), "");
            if user.waits_for_decision() {
                entry(&keys::held(client.as_str()), "");
            }
        }
        for email in self.emails() {
            entry(keys::USERS_BY_EMAIL, &email);
        }
        if user.is_effective_admin() {
            entry(keys::ADMINS, "");
        }
        if user.provider_says_active() {
            entry(keys::USERS_KEPT_OUT, "");
        }
        for word in self.words() {
            entry(keys::USERS_BY_WORD, &word);
        }
        for id in self.assigned_ids() {
            entry(&keys::assigned(id), "");
        }
        keys
    }

    pub(super) fn emails(&self) -> BTreeSet<String> {
        let listed = self.profile.get("emails").and_then(Value::as_array).into_iter().flatten();
        let mut emails: BTreeSet<String> =
            listed.filter_map(|email| email["value"].as_str()).take(MAX_WORDS).map(fold).collect();
        emails.extend(self.user.sign_in_address.as_ref().map(|address| fold(address.as_str())));
        emails.remove("");
        emails
    }

    fn words(&self) -> BTreeSet<String> {
        let name = self.profile.get("name");
        let named = ["givenName", "familyName", "formatted"].into_iter().filter_map(|part| name?.get(part)?.as_str());
        let shown = self.profile.get("displayName").and_then(Value::as_str);
        let emails = self.emails();
        let texts = named.chain(shown).chain([self.user.user_name.as_str()]).chain(emails.iter().map(String::as_str));
        let mut words: BTreeSet<String> = texts
            .flat_map(|text| text.split(|c: char| !c.is_alphanumeric()).chain([text]))
            .map(fold)
            .filter(|word| (1..=64).contains(&word.len()))
            .take(MAX_WORDS)
            .collect();
        words.insert(self.user.id.to_string());
        words
    }

    /// The address to invite, as the profile has it: the primary e-mail, else one of type work, else the first, else
    /// the userName when that is an address (lifecycle: `sign_in_address`).
    pub fn address_of_profile(&self) -> Option<EmailAddress> {
        let emails: Vec<&Value> =
            self.profile.get("emails").and_then(Value::as_array).map(|list| list.iter().collect()).unwrap_or_default();
        let primary = emails.iter().find(|email| email["primary"] == true);
        let work =
            emails.iter().find(|email| email["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("work")));
        let listed = primary.or(work).or(emails.first()).and_then(|email| email["value"].as_str());
        let address = listed.and_then(|text| EmailAddress::parse(text).ok());
        address.or_else(|| EmailAddress::parse(self.user.user_name.as_str()).ok())
    }

    /// Whether a word of the search begins with this (folded) text.
    pub(super) fn has_word(&self, prefix: &str) -> bool {
        self.words().iter().any(|word| word.starts_with(prefix))
    }

    /// By which people are sorted.
    pub(super) fn shown_key(&self) -> String {
        fold(&safe_name(&self.display_name()))
    }

    /// The ids of everything the user is assigned to.
    pub fn assigned_ids(&self) -> BTreeSet<ResourceId> {
        let licenses = self.user.licenses.iter().map(|LicenseAssignment { license, .. }| *license);
        let projects = self.user.projects.iter().map(|ProjectAssignment { project, .. }| *project);
        self.user.organization.into_iter().chain(licenses).chain(projects).collect()
    }

    /// Of which kind something is that the user is assigned to.
    pub fn kind_of_assigned(&self, id: ResourceId) -> Option<Kind> {
        let user = &self.user;
        if user.organization == Some(id) {
            return Some(Kind::Organization);
        }
        if user.licenses.iter().any(|assigned| assigned.license == id) {
            return Some(Kind::License);
        }
        user.projects.iter().any(|assigned| assigned.project == id).then_some(Kind::Project)
    }

    /// The id, of whoever has ever been stored: one who is not there yet has another at each attempt.
    pub fn known_id(&self) -> Option<ResourceId> {
        (self.revision > 0).then_some(self.user.id)
    }

    pub fn exists(&self) -> bool {
        !matches!(self.user.standing, Standing::Unborn | Standing::Deleted { .. })
    }

    /// The language that they read: SCIM's `preferredLanguage`, else `locale`, as it was sent (`de-AT, fr;q=0.5`).
    pub fn language(&self) -> Option<&str> {
        ["preferredLanguage", "locale"].into_iter().find_map(|name| self.profile.get(name).and_then(Value::as_str))
    }

    /// A name for people: display name, given and family name, or the userName.
    pub fn display_name(&self) -> String {
        let part = |name: &str| self.profile.get("name").and_then(|parts| parts.get(name)).and_then(Value::as_str);
        let shown = self.profile.get("displayName").and_then(Value::as_str).or(part("formatted")).map(str::to_owned);
        shown
            .filter(|name| !name.trim().is_empty())
            .or_else(|| {
                let both = [part("givenName"), part("familyName")].into_iter().flatten().collect::<Vec<_>>().join(" ");
                (!both.is_empty()).then_some(both)
            })
            .unwrap_or_else(|| self.user.user_name.as_str().to_owned())
    }
}

/// So many words or addresses of one user are indexed at the most.
const MAX_WORDS: usize = 32;

impl Keys {
    /// The checks and writes that take a document from where it stands to `then`.
    pub fn plan_move(&self, then: &Keys, id: ResourceId, batch: &mut Batch) {
        for (unique, owned) in self.uniques.difference(&then.uniques) {
            batch.writes.push(Write::UniqueClear { unique: keys::unique_name(unique), key: owned.clone() });
        }
        for (unique, wanted) in then.uniques.difference(&self.uniques) {
            let (unique, key) = (keys::unique_name(unique), wanted.clone());
            batch.checks.push(Check::Free { unique, key: key.clone() });
            batch.writes.push(Write::UniqueSet { unique, key, id: id.to_string() });
        }
        let place =
            |(index, key): &(String, String)| (Index::new(index), Entry { key: key.clone(), id: id.to_string() });
        for (index, entry) in self.entries.difference(&then.entries).map(place) {
            batch.writes.push(Write::IndexRemove { index, entry });
        }
        for (index, entry) in then.entries.difference(&self.entries).map(place) {
            batch.writes.push(Write::IndexAdd { index, entry });
        }
    }
}

fn invitation_view(invitation: &Invitation) -> Value {
    let mut view = Map::new();
    let state = match invitation.state {
        InvitationState::Live { .. } => "live",
        InvitationState::Lapsed { .. } => "lapsed",
    };
    view.insert("state".to_owned(), state.into());
    if let Some(at) = invitation.sent_at {
        view.insert("sentAt".to_owned(), at.to_string().into());
    }
    if let Some(at) = invitation.expires_at() {
        view.insert("expiresAt".to_owned(), at.to_string().into());
    }
    view.insert("sends".to_owned(), invitation.sends.into());
    view.insert("renewals".to_owned(), invitation.renewals.into());
    Value::Object(view)
}
