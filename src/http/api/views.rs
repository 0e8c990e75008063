//! What the API answers with: users, the things they are assigned to, and who may enter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::directory::Kind;
use crate::directory::access::{self, Access};
use crate::directory::grants::{Grant, Indirect};
use crate::directory::record::UserRecord;
use crate::directory::resources::Resource;
use crate::domain::ids::ResourceId;
use crate::domain::roles::LicenseKind;
use crate::domain::time::Timestamp;
use crate::domain::user::{Invitation, Status};

/// The status that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Status")]
pub enum StatusView {
    Pending,
    Active,
    Inactive,
}

/// Something that somebody has.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Reference")]
pub struct ReferenceView {
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A user as admins see one.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "User")]
pub struct UserView {
    /// Never changes, and is never given to somebody else.
    pub id: String,
    pub user_name: String,
    pub display_name: String,
    /// `null`: there is no such user any more.
    pub status: Option<StatusView>,
    /// Pending: `held`, `expired`, `bounced`, `send_failed`, `declined`, `no_address` or `reinvited`. Inactive: who
    /// deactivated them, `idp`, `admin` or `system`.
    pub status_reason: Option<String>,
    /// The address that is invited and signs in.
    pub email: Option<String>,
    /// A new address that waits to be confirmed.
    pub unconfirmed_email: Option<String>,
    /// Mail to the address bounced.
    pub undeliverable: bool,
    pub account_role: String,
    pub organization: Option<ReferenceView>,
    pub licenses: Vec<LicenseOfUser>,
    /// A license is assigned of which no seat was free.
    pub license_shortfall: bool,
    pub projects: Vec<ProjectOfUser>,
    /// The client that provisions them; admins change their profile there.
    pub managed_by: Option<String>,
    pub external_id: Option<String>,
    /// The identity provider says active although they are Inactive here.
    pub provider_says_active: bool,
    pub employment_start_date: Option<String>,
    pub invitation: Option<InvitationView>,
    /// The other attributes, in the form of a SCIM User (RFC 7643 §4.1).
    pub profile: Map<String, Value>,
    pub created: String,
    pub last_modified: String,
    /// For `If-Match`.
    pub version: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct LicenseOfUser {
    #[serde(flatten)]
    license: ReferenceView,
    /// Whether a seat is held.
    seat: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectOfUser {
    #[serde(flatten)]
    project: ReferenceView,
    role: String,
    /// The group that the role comes through; absent: it is their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<ReferenceView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Invitation")]
pub struct InvitationView {
    /// Whether its link works.
    live: bool,
    sent_at: Option<String>,
    expires_at: Option<String>,
    /// Mails so far, with those that the schedule sent.
    sends: u32,
    renewals: u32,
    reminders: u32,
}

/// An organization, a project, a license or a group.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Thing")]
pub struct ThingView {
    id: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// Of a license: `per-user` or `floating`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<LicenseKindView>,
    /// Of a license per user: how many there are; absent: as many as wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    seats: Option<u64>,
    /// Of a license per user: how many are reserved or claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    seats_used: Option<u64>,
    /// Of a group: the project roles that everybody in it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    projects: Option<Vec<ProjectOfUser>>,
    created: String,
    last_modified: String,
    /// For `If-Match`.
    pub version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "LicenseKind")]
pub enum LicenseKindView {
    PerUser,
    Floating,
}

/// Whether somebody may enter. Unknown people get the same as deleted ones: not allowed, and nothing else.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Access")]
pub struct AccessView {
    /// The answer. Only `true` lets anybody in.
    allowed: bool,
    status: Option<StatusView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<PersonView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account_role: Option<RoleView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    organization: Option<ReferenceView>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    licenses: Vec<ReferenceView>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    projects: Vec<ProjectAccess>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Person")]
pub struct PersonView {
    id: String,
    user_name: String,
    display_name: String,
}

/// Permissions are texts of the configuration.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Role")]
pub struct RoleView {
    name: String,
    permissions: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectAccess {
    #[serde(flatten)]
    project: ReferenceView,
    role: RoleView,
}

impl From<Status> for StatusView {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => StatusView::Pending,
            Status::Active => StatusView::Active,
            Status::Inactive => StatusView::Inactive,
        }
    }
}

impl From<StatusView> for Status {
    fn from(status: StatusView) -> Self {
        match status {
            StatusView::Pending => Status::Pending,
            StatusView::Active => Status::Active,
            StatusView::Inactive => Status::Inactive,
        }
    }
}

impl UserView {
    pub fn of(record: &UserRecord) -> Self {
        let user = &record.user;
        let reference = |id: ResourceId| ReferenceView { id: id.to_string(), name: record.names.get(&id).cloned() };
        let license = |it: &crate::domain::user::LicenseAssignment| LicenseOfUser {
            license: reference(it.license),
            seat: it.seat,
        };
        let project = |it: &crate::domain::user::ProjectAssignment| ProjectOfUser {
            project: reference(it.project),
            role: it.role.clone(),
            through: None,
        };
        UserView {
            id: user.id.to_string(),
            user_name: user.user_name.as_str().to_owned(),
            display_name: record.display_name(),
            status: user.status().map(Into::into),
            status_reason: user.status_reason().map(str::to_owned),
            email: user.sign_in_address.as_ref().map(|address| address.as_str().to_owned()),
            unconfirmed_email: user.unconfirmed_address.as_ref().map(|it| it.address.as_str().to_owned()),
            undeliverable: user.undeliverable,
            account_role: user.account_role.clone(),
            organization: user.organization.map(reference),
            licenses: user.licenses.iter().map(license).collect(),
            license_shortfall: user.license_shortfall(),
            projects: user.projects.iter().map(project).collect(),
            managed_by: user.provisioned_by.as_ref().map(ToString::to_string),
            external_id: user.external_id.clone(),
            provider_says_active: user.provider_says_active(),
            employment_start_date: user.employment_start_date.as_ref().map(Timestamp::to_string),
            invitation: user.invitation().map(InvitationView::of),
            profile: record.profile.clone(),
            created: record.created.to_string(),
            last_modified: record.modified.to_string(),
            version: crate::directory::version(record.revision),
        }
    }
}

impl UserView {
    /// With the project roles that come through groups.
    pub fn and(mut self, indirect: &[Indirect]) -> Self {
        self.projects.extend(indirect.iter().map(|it| {
            let through = ReferenceView { id: it.group.to_string(), name: Some(it.group_name.clone()) };
            ProjectOfUser { through: Some(through), ..ProjectOfUser::from(&it.grant) }
        }));
        self
    }
}

impl From<&Grant> for ProjectOfUser {
    fn from(grant: &Grant) -> Self {
        let project = ReferenceView { id: grant.project.to_string(), name: Some(grant.name.clone()) };
        ProjectOfUser { project, role: grant.role.clone(), through: None }
    }
}

impl InvitationView {
    fn of(invitation: &Invitation) -> Self {
        InvitationView {
            live: invitation.is_live(),
            sent_at: invitation.sent_at.as_ref().map(Timestamp::to_string),
            expires_at: invitation.expires_at().as_ref().map(Timestamp::to_string),
            sends: invitation.sends,
            renewals: invitation.renewals,
            reminders: invitation.reminders,
        }
    }
}

impl ThingView {
    /// `used` counts for licenses only.
    pub fn of(resource: &Resource, used: u64) -> Self {
        let terms = resource.terms();
        let per_user = terms.filter(|terms| terms.kind == LicenseKind::PerUser);
        ThingView {
            id: resource.id.to_string(),
            display_name: resource.name().to_owned(),
            external_id: resource.attributes.get("externalId").and_then(Value::as_str).map(str::to_owned),
            kind: terms.map(|terms| match terms.kind {
                LicenseKind::PerUser => LicenseKindView::PerUser,
                LicenseKind::Floating => LicenseKindView::Floating,
            }),
            seats: per_user.and_then(|terms| terms.seats),
            seats_used: per_user.map(|_| used),
            projects: (resource.kind == Kind::Group).then(|| resource.grants().iter().map(Into::into).collect()),
            created: resource.created.to_string(),
            last_modified: resource.modified.to_string(),
            version: crate::directory::version(resource.revision),
        }
    }
}

impl From<access::Named> for ReferenceView {
    fn from(named: access::Named) -> Self {
        ReferenceView { id: named.id.to_string(), name: named.name }
    }
}

impl From<access::Role> for RoleView {
    fn from(role: access::Role) -> Self {
        RoleView { name: role.name, permissions: role.permissions }
    }
}

impl From<Access> for AccessView {
    fn from(access: Access) -> Self {
        let person = |person: access::Person| PersonView {
            id: person.id.to_string(),
            user_name: person.user_name,
            display_name: person.display_name,
        };
        let project = |it: access::Project| ProjectAccess { project: it.project.into(), role: it.role.into() };
        AccessView {
            allowed: access.allowed,
            status: access.status.map(Into::into),
            user: access.user.map(person),
            account_role: access.account_role.map(Into::into),
            organization: access.organization.map(Into::into),
            licenses: access.licenses.into_iter().map(Into::into).collect(),
            projects: access.projects.into_iter().map(project).collect(),
        }
    }
}
