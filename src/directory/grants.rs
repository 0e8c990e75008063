//! Project roles that a group carries: whoever is in the group, or in a group within it, has them for as long as they
//! are. They are computed when somebody is read, take no seats, and are no account roles.
//!
//! They stand in the group's document, in the usherd extension of the SCIM Group, with the name of each project as it is
//! now, so that a reader needs no document of a project.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::assignments::{items, reference};
use super::audit::AuditEvent;
use super::error::Error;
use super::kind::Kind;
use super::record::{USHERD_SCHEMA, UserRecord};
use super::request::{Context, Request};
use super::resources::Resource;
use super::{Directory, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::roles::Roles;
use crate::domain::secrets::Scope;
use crate::domain::user::Status;
use crate::scim::ScimError;
use crate::scim::table::USHERD_GROUP_URN;
use crate::store::{Batch, Bounds, Check, Index, Page, Space, Write};

/// So many project roles a group may carry.
pub const MAX_GRANTS: usize = 100;
/// So many groups of one person are followed, the nearest first: those they are in, those that hold these, and so on.
pub const MAX_FOLLOWED: usize = 500;

const PROJECTS: &str = "projects";

/// A role in a project that a group gives to its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub project: ResourceId,
    pub role: String,
    /// Of the project, for display.
    pub name: String,
}

/// A project role that somebody has through a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indirect {
    pub grant: Grant,
    /// The nearest of those groups that give the strongest role.
    pub group: ResourceId,
    pub group_name: String,
}

/// A project role that a group gets, changes or loses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Regrant {
    project: ResourceId,
    before: Option<String>,
    after: Option<String>,
}

/// A group as its members see it.
pub(super) struct Above {
    pub name: String,
    pub grants: Vec<Grant>,
    /// The groups that hold it directly.
    pub groups: Vec<ResourceId>,
}

impl Resource {
    /// The project roles that a group carries; none of another kind.
    pub fn grants(&self) -> Vec<Grant> {
        let Some(extension) = self.attributes.get(USHERD_GROUP_URN).filter(|_| self.kind == Kind::Group) else {
            return Vec::new();
        };
        let text = |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let grant = |item: &Value| {
            let project = item.get("value")?.as_str()?.parse().ok()?;
            Some(Grant { project, role: text(item, "role"), name: text(item, "display") })
        };
        extension.get(PROJECTS).into_iter().flat_map(items).filter_map(grant).collect()
    }

    pub(super) fn set_grants(&mut self, grants: &[Grant]) {
        if grants.is_empty() {
            self.attributes.shift_remove(USHERD_GROUP_URN);
            return;
        }
        let grant =
            |grant: &Grant| json!({ "value": grant.project.to_string(), "display": grant.name, "role": grant.role });
        let projects: Vec<Value> = grants.iter().map(grant).collect();
        let extension = Map::from_iter([(PROJECTS.to_owned(), Value::from(projects))]);
        self.attributes.insert(USHERD_GROUP_URN.to_owned(), extension.into());
    }

    /// A request that says nothing of project roles leaves them: what an admin gave, a provider's PUT must not take.
    pub(super) fn keep_grants(&mut self, before: &Resource, named: &BTreeSet<String>) {
        if self.kind == Kind::Group && !named.contains(&format!("{USHERD_GROUP_URN}:{PROJECTS}")) {
            self.set_grants(&before.grants());
        }
    }

    /// The group without its role in a project; `None` when it has none there.
    pub(super) fn without_grant(&self, project: ResourceId) -> Option<Resource> {
        let mut grants = self.grants();
        let many = grants.len();
        grants.retain(|grant| grant.project != project);
        (grants.len() < many).then(|| {
            let mut after = self.clone();
            after.set_grants(&grants);
            after
        })
    }
}

fn differences(before: &[Grant], after: &[Grant]) -> Vec<Regrant> {
    let roles = |grants: &[Grant]| -> BTreeMap<ResourceId, String> {
        grants.iter().map(|grant| (grant.project, grant.role.clone())).collect()
    };
    let (before, after) = (roles(before), roles(after));
    let projects: BTreeSet<ResourceId> = before.keys().chain(after.keys()).copied().collect();
    let regrant = |project: ResourceId| Regrant {
        project,
        before: before.get(&project).cloned(),
        after: after.get(&project).cloned(),
    };
    projects.into_iter().map(regrant).filter(|it| it.before != it.after).collect()
}

impl Regrant {
    /// The check that the project is still there, and the audit event.
    pub fn plan(&self, context: &Context, group: &Resource, batch: &mut Batch) {
        if self.before.is_none() {
            batch.checks.push(Check::Exists { key: Kind::Project.key(self.project) });
        }
        let event = AuditEvent {
            resource: Some(group.id),
            revision: Some(group.revision),
            before: self.before.clone(),
            after: self.after.clone(),
            attributes: vec![format!("{PROJECTS}.{}", self.project)],
            ..AuditEvent::new(context.now, context.actor.clone(), "group.project_role")
        };
        batch.writes.push(event.write());
    }
}

/// The strongest role of each project that comes from these groups and the groups that hold them, as `known` has them.
pub(super) fn indirect(direct: &[ResourceId], known: &BTreeMap<ResourceId, Above>, roles: &Roles) -> Vec<Indirect> {
    let mut level: BTreeSet<ResourceId> = direct.iter().copied().collect();
    let mut seen = level.clone();
    let mut left = MAX_FOLLOWED;
    let mut strongest: BTreeMap<ResourceId, (usize, Indirect)> = BTreeMap::new();
    while !level.is_empty() && left > 0 {
        let mut next = BTreeSet::new();
        let followed = level.iter().take(left).filter_map(|id| Some((*id, known.get(id)?)));
        for (id, above) in followed {
            for grant in &above.grants {
                let rank = roles.project_rank(&grant.role);
                if strongest.get(&grant.project).is_none_or(|(best, _)| rank < *best) {
                    let found = Indirect { grant: grant.clone(), group: id, group_name: above.name.clone() };
                    strongest.insert(grant.project, (rank, found));
                }
            }
            next.extend(above.groups.iter().copied().filter(|group| seen.insert(*group)));
        }
        left = left.saturating_sub(level.len());
        level = next;
    }
    strongest.into_values().map(|(_, indirect)| indirect).collect()
}

/// Items of `projects` of the SCIM User's usherd extension.
pub(super) fn as_items(indirect: &[Indirect]) -> Vec<Value> {
    let item = |Indirect { grant, .. }: &Indirect| json!({ "value": grant.project.to_string(), "display": grant.name, "role": grant.role, "type": "indirect" });
    indirect.iter().map(item).collect()
}

/// Adds these to a representation of a user. Whoever is Inactive has nothing of their groups.
pub fn add_items(user: &mut Map<String, Value>, indirect: &[Value]) {
    let extension = user.get_mut(USHERD_SCHEMA).filter(|extension| extension["status"] != Status::Inactive.as_str());
    let Some(extension) = extension.and_then(Value::as_object_mut).filter(|_| !indirect.is_empty()) else { return };
    let projects = extension.entry(PROJECTS).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(projects) = projects {
        projects.extend(indirect.iter().cloned());
    }
}

impl Directory {
    /// What comes to somebody through groups. No trip for who is in none, and nothing for who is Inactive.
    ///
    /// # Errors
    /// Of the store.
    pub async fn indirect_projects(&self, space: &Space, record: &UserRecord) -> Result<Vec<Indirect>, Error> {
        if record.memberships == 0 || record.user.status() == Some(Status::Inactive) {
            return Ok(Vec::new());
        }
        let page = Page::first(MAX_FOLLOWED);
        let groups = self.store.range(space, &keys::groups_of(record.user.id), &Bounds::All, &page).await?;
        let direct: Vec<ResourceId> = groups.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        let known = self.groups_above(space, direct.iter().copied().collect(), MAX_FOLLOWED).await?;
        Ok(indirect(&direct, &known, &self.settings.roles))
    }

    /// Reads what a request says of a group's project roles, and writes it into `after` as it is stored.
    ///
    /// # Errors
    /// [`Error::MissingScope`] for a change without `roles:write`; [`Error::Invalid`] for a project or role that is
    /// none; `invalidValue` for too many.
    pub(super) async fn settle_grants(
        &self,
        context: &Context,
        before: &Resource,
        after: &mut Resource,
    ) -> Result<Vec<Regrant>, Error> {
        let wanted = after.attributes.get(USHERD_GROUP_URN).cloned();
        if after.kind != Kind::Group || wanted.as_ref() == before.attributes.get(USHERD_GROUP_URN) {
            return Ok(Vec::new());
        }
        let wanted: Vec<(String, Option<String>)> = wanted
            .iter()
            .filter_map(|extension| extension.get(PROJECTS))
            .flat_map(items)
            .filter_map(|item| Some((reference(item)?, item["role"].as_str().map(str::to_owned))))
            .collect();
        if wanted.len() > MAX_GRANTS {
            let detail = format!("a group carries at most {MAX_GRANTS} project roles");
            return Err(ScimError::invalid_value(detail).into());
        }
        let held: BTreeMap<ResourceId, Grant> =
            before.grants().into_iter().map(|grant| (grant.project, grant)).collect();
        let mut grants: BTreeMap<ResourceId, Grant> = BTreeMap::new();
        for (named, role) in wanted {
            let known = named.parse().ok().and_then(|id: ResourceId| held.get(&id));
            let role = match role {
                Some(role) if known.is_some_and(|known| known.role == role) => role,
                Some(role) => {
                    let role = self.settings.roles.project_role(&role);
                    role.map_err(|error| Error::Invalid(error.to_string()))?.as_str().to_owned()
                }
                None => self.settings.roles.default_project_role().as_str().to_owned(),
            };
            let (project, name) = match known {
                Some(known) => (known.project, known.name.clone()),
                None => {
                    // Whoever may not give roles is not told which projects there are.
                    context.require(Scope::RolesWrite)?;
                    let found = self.resolve(context, Kind::Project, &[named]).await?.pop();
                    let found = found.ok_or_else(|| Error::Internal("a reference was lost".to_owned()))?;
                    (found.id, found.name().to_owned())
                }
            };
            grants.insert(project, Grant { project, role, name });
        }
        let grants: Vec<Grant> = grants.into_values().collect();
        after.set_grants(&grants);
        let regranted = differences(&before.grants(), &grants);
        if !regranted.is_empty() {
            context.require(Scope::RolesWrite)?;
        }
        Ok(regranted)
    }

    /// Gives a group a role in a project, by id or name, or with `None` takes it away.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown group, or a role to take that it has not; else as
    /// [`Directory::patch_resource`], with the scopes `groups` and `roles:write`.
    pub async fn set_group_role(
        &self,
        request: &Request,
        group: &str,
        project: &str,
        role: Option<&str>,
        if_match: &super::provision::IfMatch,
    ) -> Result<super::editing::Edited, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Kind::Group.scope())?;
        context.require(Scope::RolesWrite)?;
        self.edit_group(request, group, if_match, |before| {
            let mut after = before.clone();
            let mut grants = before.grants();
            match role {
                Some(role) => {
                    grants.retain(|grant| grant.project.to_string() != project);
                    after.set_grants(&grants);
                    let item = json!({ "value": project, "role": role });
                    match after.attributes.get_mut(USHERD_GROUP_URN).and_then(|it| it[PROJECTS].as_array_mut()) {
                        Some(projects) => projects.push(item),
                        None => {
                            after.attributes.insert(USHERD_GROUP_URN.to_owned(), json!({ PROJECTS: [item] }));
                        }
                    }
                    Ok(after)
                }
                None => {
                    let id = project.parse().ok();
                    let unknown = || Error::NotFound(format!("the group has no role in a project {project}"));
                    id.and_then(|id| before.without_grant(id)).ok_or_else(unknown)
                }
            }
        })
        .await
    }

    /// Takes a deleted project from the groups that carry a role in it, some at a time; whether there were any.
    pub(super) async fn drop_grants(&self, context: &Context, project: ResourceId, some: usize) -> Result<bool, Error> {
        let index = Index::new(keys::granted(project));
        let groups = self.store.range(&context.space, &index, &Bounds::All, &Page::first(some)).await?;
        for entry in &groups {
            if !self.regrant(context, &entry.id, |group| group.without_grant(project)).await? {
                // An entry of a group that does not say so would be met again and again.
                let mut batch = Batch::new(entropy::commit_id(context.now));
                batch.writes.push(Write::IndexRemove { index: index.clone(), entry: entry.clone() });
                self.committed(&context.space, &batch).await?;
            }
        }
        Ok(!groups.is_empty())
    }

    /// Brings the name of a project to the next groups; the last of them, if there were any.
    pub(super) async fn rename_grants(
        &self,
        context: &Context,
        (project, name): (ResourceId, &str),
        page: &Page,
    ) -> Result<Option<String>, Error> {
        let index = Index::new(keys::granted(project));
        let groups = self.store.range(&context.space, &index, &Bounds::All, page).await?;
        for entry in &groups {
            self.regrant(context, &entry.id, |group| {
                let mut grants = group.grants();
                let mine = grants.iter_mut().find(|grant| grant.project == project && grant.name != name)?;
                name.clone_into(&mut mine.name);
                let mut after = group.clone();
                after.set_grants(&grants);
                Some(after)
            })
            .await?;
        }
        Ok(groups.into_iter().next_back().map(|entry| entry.id))
    }

    /// Changes the grants of one group; whether there was anything to change.
    async fn regrant(
        &self,
        context: &Context,
        group: &str,
        change: impl Fn(&Resource) -> Option<Resource> + Send + Sync,
    ) -> Result<bool, Error> {
        let Ok(id) = group.parse::<ResourceId>() else { return Ok(false) };
        retrying!(self, {
            let document = self.store.get(&context.space, &[Kind::Group.key(id)]).await?.pop().flatten();
            let Some(document) = document else { return Ok(Some(false)) };
            let before = Resource::decode(Kind::Group, id, &document)?;
            let Some(mut after) = change(&before) else { return Ok(Some(false)) };
            let now = context.now;
            let mut batch = Batch::new(entropy::commit_id(now));
            after.plan(&before, &self.schemas, now, &mut batch);
            let regranted = differences(&before.grants(), &after.grants());
            regranted.iter().for_each(|it| it.plan(context, &after, &mut batch));
            Ok(self.committed(&context.space, &batch).await?.then_some(true))
        })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::domain::time::Timestamp;

    fn id(number: u64) -> ResourceId {
        format!("01890000-0000-7000-8000-{number:012}").parse().unwrap()
    }

    fn above(role: &str, groups: &[u64]) -> Above {
        let grant = Grant { project: id(900), role: role.to_owned(), name: "Engine".to_owned() };
        let grants = if role.is_empty() { Vec::new() } else { vec![grant] };
        Above { name: format!("in {role}"), grants, groups: groups.iter().map(|number| id(*number)).collect() }
    }

    #[rstest]
    #[case::nobody_gives_any(&[1], vec![(1, "", vec![])], None)]
    #[case::the_only_one(&[1], vec![(1, "Viewer", vec![])], Some((1, "Viewer")))]
    #[case::the_strongest(
        &[1, 2], vec![(1, "Viewer", vec![]), (2, "Project Admin", vec![])], Some((2, "Project Admin")))]
    #[case::through_another_group(
        &[1], vec![(1, "Viewer", vec![2]), (2, "Tester", vec![1])], Some((2, "Tester")))]
    #[case::the_nearest_of_equals(
        &[1], vec![(1, "Tester", vec![2]), (2, "Tester", vec![])], Some((1, "Tester")))]
    #[case::a_role_that_is_configured_no_more_is_the_weakest(
        &[1, 2], vec![(1, "Gone", vec![]), (2, "Viewer", vec![])], Some((2, "Viewer")))]
    #[case::a_group_that_went(&[1, 2], vec![(2, "Viewer", vec![])], Some((2, "Viewer")))]
    fn the_strongest_role_of_a_project_comes_through(
        #[case] direct: &[u64],
        #[case] groups: Vec<(u64, &str, Vec<u64>)>,
        #[case] expected: Option<(u64, &str)>,
    ) {
        let direct: Vec<ResourceId> = direct.iter().map(|number| id(*number)).collect();
        let known = groups.iter().map(|(number, role, held)| (id(*number), above(role, held))).collect();
        let found = indirect(&direct, &known, &Roles::builtin());
        let found = found.first().map(|it| (it.group, it.grant.role.as_str()));
        assert_eq!(found, expected.map(|(group, role)| (id(group), role)));
    }

    #[test]
    fn the_nearest_groups_are_followed_and_no_more_than_so_many() {
        let direct: Vec<ResourceId> = (1..=500).map(id).collect();
        let mut known: BTreeMap<ResourceId, Above> = direct.iter().map(|group| (*group, above("", &[501]))).collect();
        known.insert(id(501), above("Viewer", &[]));
        assert_eq!(indirect(&direct, &known, &Roles::builtin()), []);
        assert_eq!(indirect(&direct[1..], &known, &Roles::builtin()).len(), 1);
    }

    #[test]
    fn grants_are_kept_in_the_extension_and_leave_nothing_behind() {
        let now = Timestamp::from_millis(0);
        let mut group = Resource::unborn(Kind::Group, id(1), Map::new(), now);
        let grants = [Grant { project: id(900), role: "Viewer".to_owned(), name: "Engine".to_owned() }];
        group.set_grants(&grants);
        assert_eq!(group.grants(), grants);
        assert_eq!(
            group.attributes["urn:ietf:params:scim:schemas:extension:usherd:2.0:Group"],
            json!({ "projects": [{ "value": id(900).to_string(), "display": "Engine", "role": "Viewer" }] })
        );
        let without = group.without_grant(id(900)).unwrap();
        assert_eq!((without.grants(), without.attributes.is_empty()), (Vec::new(), true));
        assert_eq!(without.without_grant(id(900)), None);
    }
}
