//! Who may enter: what a workspace asks at every sign-in, and gets a "no" for the moment somebody is deactivated.

use serde::Serialize;

use super::error::Error;
use super::record::UserRecord;
use super::request::Request;
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::names::UserName;
use crate::domain::secrets::Scope;
use crate::domain::user::{State, Status};

/// The answer. Unknown people get the same as deleted ones: not allowed, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    pub allowed: bool,
    pub status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<Named>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<Project>,
    /// Changes with everything that is said here.
    #[serde(skip)]
    pub version: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    pub id: ResourceId,
    pub user_name: String,
    pub display_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Role {
    pub name: String,
    pub permissions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    pub id: ResourceId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Project {
    #[serde(flatten)]
    pub project: Named,
    pub role: Role,
}

impl Directory {
    /// Whether the person of this id or userName may enter, and as what.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `access:read`; of the store. Unknown people are an answer, not an error.
    pub async fn access(&self, request: &Request, name: &str) -> Result<Access, Error> {
        let id = name.parse().ok();
        let (context, documents) = self.open(request, id.map(keys::user).as_slice()).await?;
        context.require(Scope::AccessRead)?;
        let by_id = documents.first().and_then(Option::as_ref).map(UserRecord::decode).transpose()?;
        let record = match (by_id, UserName::parse(name)) {
            (Some(record), _) => Some(record),
            (None, Ok(user_name)) => self.find_by_user_name(&context, user_name.folded()).await?,
            (None, Err(_)) => None,
        };
        Ok(match record.filter(UserRecord::exists) {
            Some(record) => self.access_of(&record),
            None => Access {
                allowed: false,
                status: None,
                user: None,
                account_role: None,
                organization: None,
                licenses: Vec::new(),
                projects: Vec::new(),
                version: "\"0\"".to_owned(),
            },
        })
    }

    fn access_of(&self, record: &UserRecord) -> Access {
        let user = &record.user;
        let allowed = user.state() == State::A;
        let named = |id: ResourceId| Named { id, name: record.names.get(&id).cloned() };
        let roles = &self.settings.roles;
        let account_role = roles.account_role(&user.account_role).map(|role| Role {
            permissions: roles.account_permissions(&role).to_vec(),
            name: role.as_str().to_owned(),
        });
        let mut access = Access {
            allowed,
            status: user.status(),
            user: Some(Person {
                id: user.id,
                user_name: user.user_name.as_str().to_owned(),
                display_name: record.display_name(),
            }),
            account_role: None,
            organization: None,
            licenses: Vec::new(),
            projects: Vec::new(),
            version: format!("\"{}-{}\"", user.id, record.revision),
        };
        if allowed {
            // A role that is configured no more, or one that a copied link has not proven, gives nothing.
            access.account_role = account_role.ok().filter(|_| !user.link_only);
            access.organization = user.organization.map(named);
            access.licenses =
                user.licenses.iter().filter(|assigned| assigned.seat).map(|assigned| named(assigned.license)).collect();
            access.projects = user
                .projects
                .iter()
                .map(|assigned| {
                    let role = roles.project_role(&assigned.role).ok();
                    let permissions = role.map(|role| roles.project_permissions(&role).to_vec()).unwrap_or_default();
                    let role = Role { name: assigned.role.clone(), permissions };
                    Project { project: named(assigned.project), role }
                })
                .collect();
        }
        access
    }
}
