//! Who may enter: what a workspace asks at every sign-in, and gets a "no" for the moment somebody is deactivated.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::Error;
use super::grants::Indirect;
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
            Some(record) => {
                let indirect = match record.user.state() {
                    State::A => Box::pin(self.indirect_projects(&context.space, &record)).await?,
                    _ => Vec::new(), // only who is Active may do anything
                };
                self.access_of(&record, &indirect)
            }
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

    fn access_of(&self, record: &UserRecord, indirect: &[Indirect]) -> Access {
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
            let own = user.projects.iter().map(|it| (named(it.project), it.role.as_str()));
            let of_groups = indirect.iter().map(|Indirect { grant, .. }| {
                (Named { id: grant.project, name: Some(grant.name.clone()) }, grant.role.as_str())
            });
            access.projects = self.strongest(own.chain(of_groups));
            if !indirect.is_empty() {
                access.version = format!("\"{}-{}-{}\"", user.id, record.revision, digest(&access.projects));
            }
        }
        access
    }

    /// Each project once, with the strongest of its roles; in the order in which they come.
    fn strongest<'r>(&self, all: impl Iterator<Item = (Named, &'r str)>) -> Vec<Project> {
        let roles = &self.settings.roles;
        let mut strongest: Vec<(Named, &str)> = Vec::new();
        for (project, role) in all {
            match strongest.iter_mut().find(|(known, _)| known.id == project.id) {
                Some((_, best)) if roles.project_rank(role) < roles.project_rank(best) => *best = role,
                Some(_) => {}
                None => strongest.push((project, role)),
            }
        }
        let project = |(project, name): (Named, &str)| {
            let role = roles.project_role(name).ok();
            let permissions = role.map(|role| roles.project_permissions(&role).to_vec()).unwrap_or_default();
            Project { project, role: Role { name: name.to_owned(), permissions } }
        };
        strongest.into_iter().map(project).collect()
    }
}

/// Enough of a digest to tell two answers of one revision of a user apart.
fn digest(projects: &[Project]) -> String {
    let text = serde_json::to_vec(projects).expect("projects have only string keys");
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
