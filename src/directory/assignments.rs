//! What a request wants of roles, organization, licenses and projects, and what that means in this account.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::Directory;
use super::error::Error;
use super::kind::Kind;
use super::record::{USHERD_SCHEMA, UserRecord};
use super::request::Context;
use super::settings::Provisioning;
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Assignments;
use crate::domain::time::Timestamp;
use crate::domain::user::{LicenseAssignment, ProjectAssignment, User};
use crate::scim::table::ENTERPRISE_USER_URN;
use crate::scim::{Profile, ScimError, Tolerance};

/// Assignments as a request spells them: ids or names. `None` leaves a part as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wishes {
    pub account_role: Option<String>,
    pub organization: Option<Option<String>>,
    pub licenses: Option<Vec<String>>,
    /// Licenses on top of those they have.
    pub further_licenses: Vec<String>,
    /// Project and role; no role is the default one.
    pub projects: Option<Vec<(String, Option<String>)>>,
    pub start_date: Option<Option<Timestamp>>,
}

/// Assignments as this account understands them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Assigned {
    pub changes: Assignments,
    pub start_date: Option<Option<Timestamp>>,
    pub names: BTreeMap<ResourceId, String>,
}

impl Wishes {
    /// Reads the usherd extension of a document. Only what the request named counts; what it merely echoes is left out.
    pub fn of(after: Option<&Value>, before: Option<&Value>, named: &BTreeSet<String>) -> Result<Self, ScimError> {
        let empty = Map::new();
        let after = after.and_then(Value::as_object).unwrap_or(&empty);
        let before = before.and_then(Value::as_object).unwrap_or(&empty);
        let wanted = |name: &str| {
            let named = named.contains(&format!("{USHERD_SCHEMA}:{name}"));
            (named && after.get(name) != before.get(name)).then(|| after.get(name).cloned().unwrap_or(Value::Null))
        };
        let start_date = match wanted("employmentStartDate") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(value) => Some(Some(value.as_str().and_then(Timestamp::parse).ok_or_else(|| {
                ScimError::invalid_value("employmentStartDate: give a date (2026-03-01) or an RFC 3339 dateTime")
            })?)),
        };
        Ok(Wishes {
            account_role: wanted("accountRole").and_then(|value| value.as_str().map(str::to_owned)),
            organization: wanted("organization").map(|value| reference(&value)),
            licenses: wanted("licenses").map(|value| items(&value).filter_map(reference).collect()),
            further_licenses: Vec::new(),
            projects: wanted("projects").map(|value| {
                // What comes from a group, a client can only have read: to write it back does not make it one's own.
                let own = |item: &&Value| !item["type"].as_str().is_some_and(|it| it.eq_ignore_ascii_case("indirect"));
                items(&value)
                    .filter(own)
                    .filter_map(|item| Some((reference(item)?, item["role"].as_str().map(str::to_owned))))
                    .collect()
            }),
            start_date,
        })
    }

    pub fn is_empty(&self) -> bool {
        *self == Wishes::default()
    }

    /// Adds what the profile reads out of core and enterprise attributes: `roles` as the account role, `entitlements`
    /// as licenses, the enterprise `organization` as the organization of that name. Only a change of them counts, so
    /// that an echo undoes nothing that an admin set; what the usherd extension says comes first. Tells which it used.
    pub fn map_core(
        &mut self,
        after: &Map<String, Value>,
        before: &Map<String, Value>,
        profile: &Profile,
    ) -> Vec<Tolerance> {
        let mut used = Vec::new();
        let changed = |tolerance, place: &[&str]| {
            let value = |document: &Map<String, Value>| {
                let (first, rest) = place.split_first()?;
                rest.iter().try_fold(document.get(*first)?, |value, name| value.get(name)).cloned()
            };
            let after = value(after);
            (profile.tolerates(tolerance) && after != value(before)).then(|| after.unwrap_or(Value::Null))
        };
        if let Some(roles) = changed(Tolerance::RolesAsAccountRole, &["roles"])
            && self.account_role.is_none()
        {
            // No role at all says nothing: Entra ID sends an empty list with every user it creates.
            let primary = items(&roles).find(|role| role["primary"] == true).or(items(&roles).next());
            self.account_role = primary.and_then(reference);
            used.extend(self.account_role.is_some().then_some(Tolerance::RolesAsAccountRole));
        }
        if let Some(entitlements) = changed(Tolerance::EntitlementsAsLicenses, &["entitlements"])
            && self.licenses.is_none()
        {
            self.licenses = Some(items(&entitlements).filter_map(reference).collect());
            used.push(Tolerance::EntitlementsAsLicenses);
        }
        if let Some(organization) = changed(Tolerance::OrganizationByName, &[ENTERPRISE_USER_URN, "organization"])
            && self.organization.is_none()
        {
            self.organization = Some(reference(&organization));
            used.push(Tolerance::OrganizationByName);
        }
        used
    }

    /// Fills in what the configuration gives to a new user whose provider says nothing.
    pub fn default_to(&mut self, defaults: &Provisioning) {
        self.account_role.get_or_insert_with(|| defaults.account_role.clone());
        if let Some(organization) = &defaults.organization {
            self.organization.get_or_insert_with(|| Some(organization.clone()));
        }
        if !defaults.licenses.is_empty() {
            self.licenses.get_or_insert_with(|| defaults.licenses.clone());
        }
        if !defaults.projects.is_empty() {
            self.projects.get_or_insert_with(|| defaults.projects.clone());
        }
    }
}

impl Assigned {
    /// Whether the user has all of it already.
    pub fn is_empty(&self, user: &User) -> bool {
        let mut given = user.clone();
        give(&mut given, &self.changes);
        given == *user && self.start_date.is_none_or(|day| day == user.employment_start_date)
    }
}

impl Directory {
    /// Looks up what is named.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming what is not known, and the known names where they are few.
    pub(super) async fn resolve_wishes(
        &self,
        context: &Context,
        wishes: &Wishes,
        record: &UserRecord,
    ) -> Result<Assigned, Error> {
        let mut assigned = Assigned { start_date: wishes.start_date, ..Assigned::default() };
        let roles = &self.settings.roles;
        if let Some(name) = &wishes.account_role {
            let role = roles.account_role(name).map_err(|error| Error::Invalid(error.to_string()))?;
            assigned.changes.account_role = Some(role.as_str().to_owned());
        }
        if let Some(organization) = &wishes.organization {
            let found = self.resolve(context, Kind::Organization, organization.as_slice()).await?;
            assigned.changes.organization = Some(found.first().map(|resource| resource.id));
            assigned.names.extend(found.into_iter().map(|resource| (resource.id, resource.name().to_owned())));
        }
        if wishes.licenses.is_some() || !wishes.further_licenses.is_empty() {
            let named: Vec<String> =
                wishes.licenses.iter().flatten().chain(&wishes.further_licenses).cloned().collect();
            let found = self.resolve(context, Kind::License, &named).await?;
            let seats = |id| record.user.licenses.iter().any(|assigned| assigned.license == id && assigned.seat);
            let kept = record.user.licenses.iter().filter(|_| wishes.licenses.is_none()).map(|it| it.license);
            let ids: BTreeSet<ResourceId> = found.iter().map(|resource| resource.id).chain(kept).collect();
            let licenses = ids.iter().map(|id| LicenseAssignment { license: *id, seat: seats(*id) });
            assigned.changes.licenses = Some(licenses.collect());
            assigned.names.extend(found.into_iter().map(|resource| (resource.id, resource.name().to_owned())));
        }
        if let Some(projects) = &wishes.projects {
            let (references, wanted): (Vec<String>, Vec<Option<String>>) = projects.iter().cloned().unzip();
            let found = self.resolve(context, Kind::Project, &references).await?;
            let mut given: BTreeMap<ResourceId, String> = BTreeMap::new();
            for (project, role) in found.iter().zip(wanted) {
                let role = match role {
                    Some(name) => roles.project_role(&name).map_err(|error| Error::Invalid(error.to_string()))?,
                    None => roles.default_project_role(),
                };
                given.insert(project.id, role.as_str().to_owned());
            }
            let projects = given.into_iter().map(|(project, role)| ProjectAssignment { project, role });
            assigned.changes.projects = Some(projects.collect());
            assigned.names.extend(found.into_iter().map(|resource| (resource.id, resource.name().to_owned())));
        }
        Ok(assigned)
    }
}

/// Sets assignments without a transition: for a user that does not exist yet, and to compare.
pub(super) fn give(user: &mut User, changes: &Assignments) {
    if let Some(role) = &changes.account_role {
        user.account_role.clone_from(role);
    }
    if let Some(organization) = changes.organization {
        user.organization = organization;
    }
    if let Some(licenses) = &changes.licenses {
        user.licenses.clone_from(licenses);
    }
    if let Some(projects) = &changes.projects {
        user.projects.clone_from(projects);
    }
}

pub(super) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The `value` of a reference, or its `display` when it has none.
pub(super) fn reference(value: &Value) -> Option<String> {
    let part = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    value.as_str().or(part("value")).or(part("display")).map(str::to_owned)
}
