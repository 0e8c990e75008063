//! A new name of an organization, project or license reaches the people who are assigned to it: their documents carry
//! it, so that neither SCIM nor the access query looks it up at every read.

use super::error::Error;
use super::kind::Kind;
use super::request::Context;
use super::resources::Resource;
use super::tasks::{Slice, Step, Task, USERS_AT_ONCE, Work};
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
            Kind::User | Kind::Group => false,
        };
        let work = Work::Renamed { kind: before.kind, resource: before.id, behind: None };
        (is_carried && before.name() != after.name()).then(|| Task { id: entropy::resource_id(now), work })
    }
}

impl Directory {
    /// Brings the name to the next users. A second change of the name meanwhile has a task of its own; each writes the
    /// name that is stored when it comes by.
    pub(super) async fn resource_renamed(
        &self,
        slice: &Slice<'_>,
        kind: Kind,
        resource: ResourceId,
        behind: Option<String>,
    ) -> Result<Option<Step>, Error> {
        let space = slice.space();
        let document = self.store.get(space, &[kind.key(resource)]).await?.pop().flatten();
        let name = document.map(|document| Resource::decode(kind, resource, &document)).transpose()?;
        let after = behind.map(|id| Entry { key: String::new(), id });
        let page = Page { after, offset: 0, limit: USERS_AT_ONCE, reverse: false };
        let users = match name {
            Some(_) => self.store.range(space, &Index::new(keys::assigned(resource)), &Bounds::All, &page).await?,
            None => Vec::new(),
        };
        for entry in &users {
            let name = name.as_ref().map_or("", Resource::name);
            self.take_name(slice.context, &entry.id, resource, name).await?;
        }
        let mut batch = slice.batch();
        let Some(last) = users.into_iter().next_back() else {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        };
        let work = Work::Renamed { kind, resource, behind: Some(last.id) };
        slice.advance(work, &mut batch);
        Ok(self.committed(space, &batch).await?.then_some(Step::More))
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
