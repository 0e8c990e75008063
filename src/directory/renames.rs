//! A new name of an organization, project or license reaches the people who are assigned to it, and the groups that carry
//! a role in it: their documents have it, so that neither SCIM nor the access query looks it up at every read.

use super::error::Error;
use super::kind::Kind;
use super::request::Context;
use super::resources::Resource;
use super::tasks::{Carriers, Slice, Step, Task, USERS_AT_ONCE, Work};
use super::{Directory, entropy, keys};
use crate::directory::record::UserRecord;
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::store::{Bounds, DocumentKey, Entry, Index, Page};

impl Task {
    /// `None` when nobody carries the name of such a resource, or when it stays.
    pub(super) fn renamed(before: &Resource, after: &Resource, now: Timestamp) -> Option<Self> {
        let is_carried = match before.kind {
            Kind::Organization | Kind::Project | Kind::License => before.revision > 0,
            Kind::User | Kind::Group | Kind::Own(_) => false,
        };
        let work = Work::Renamed { kind: before.kind, resource: before.id, carriers: Carriers::Users, behind: None };
        (is_carried && before.name() != after.name()).then(|| Task { id: entropy::resource_id(now), work })
    }
}

impl Directory {
    /// Brings the name to the next users, and then to the groups. A second change of the name meanwhile has a task of its
    /// own; each writes the name that is stored when it comes by.
    pub(super) async fn resource_renamed(
        &self,
        slice: &Slice<'_>,
        (kind, resource): (Kind, ResourceId),
        (carriers, behind): (Carriers, Option<String>),
    ) -> Result<Option<Step>, Error> {
        let document = self.store.get(slice.space(), &[kind.key(resource)]).await?.pop().flatten();
        let named = document.map(|document| Resource::decode(kind, resource, &document)).transpose()?;
        let after = behind.map(|id| Entry { key: String::new(), id });
        let page = Page { after, offset: 0, limit: USERS_AT_ONCE, reverse: false };
        let last = match (&named, carriers) {
            // It was deleted meanwhile.
            (None, _) => None,
            (Some(named), Carriers::Users) => self.rename_to_users(slice, (resource, named.name()), &page).await?,
            (Some(named), Carriers::Groups) => {
                self.rename_grants(slice.context, (resource, named.name()), &page).await?
            }
        };
        let next = match (last, carriers) {
            (Some(last), carriers) => Some((carriers, Some(last))),
            (None, Carriers::Users) => Some((Carriers::Groups, None)),
            (None, Carriers::Groups) => None,
        };
        let mut batch = slice.batch();
        let Some((carriers, behind)) = next else {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        };
        slice.advance(Work::Renamed { kind, resource, carriers, behind }, &mut batch);
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    /// The last of these users, if there were any.
    async fn rename_to_users(
        &self,
        slice: &Slice<'_>,
        (resource, name): (ResourceId, &str),
        page: &Page,
    ) -> Result<Option<String>, Error> {
        let index = Index::new(keys::assigned(resource));
        let users = self.store.range(slice.space(), &index, &Bounds::All, page).await?;
        for entry in &users {
            self.take_name(slice.context, &entry.id, resource, name).await?;
        }
        Ok(users.into_iter().next_back().map(|entry| entry.id))
    }

    async fn take_name(&self, context: &Context, user: &str, resource: ResourceId, name: &str) -> Result<(), Error> {
        retrying!(self, {
            let document = self.store.get(&context.space, &[DocumentKey::new(keys::USER, user)]).await?.pop().flatten();
            let Some(document) = document else { return Ok(Some(())) };
            let before = UserRecord::decode(&document)?;
            let mut after = before.clone();
            if let Some(carried) = after.names.get_mut(&resource) {
                name.clone_into(carried);
            }
            let change = self.change(context, "user.assignment_renamed", before, after).await?;
            Ok(self.commit_change(context, change).await?.map(|_| ()))
        })
    }
}
