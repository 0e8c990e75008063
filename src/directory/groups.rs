//! Groups as the console pages through them: by index, so that one of a hundred thousand members costs a page.

use super::error::{Error, readable};
use super::kind::Kind;
use super::memberships::{MemberKind, Members, member};
use super::request::Context;
use super::resources::Resource;
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Refusal;
use crate::domain::names::fold;
use crate::store::{Bounds, DocumentKey, Index, Page};

/// A page of the groups.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListedGroups {
    /// With how many direct members each has.
    pub groups: Vec<(Resource, u64)>,
    /// Of those whose name begins as asked for.
    pub total: u64,
}

/// A page of one group's direct members, in the order of their ids.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPage {
    pub group: Resource,
    pub members: Vec<(ResourceId, MemberKind, String)>,
    pub total: u64,
}

/// What somebody at a form means by a name: a user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub id: ResourceId,
    pub name: String,
}

impl Directory {
    /// The groups whose name begins with `name`, a page of them.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `groups`; of the store.
    pub async fn list_groups(
        &self,
        context: &Context,
        name: &str,
        offset: usize,
        limit: usize,
    ) -> Result<ListedGroups, Error> {
        context.require(Kind::Group.scope())?;
        let index = Index::new(keys::by_name(Kind::Group));
        let bounds = match fold(name) {
            name if name.is_empty() => Bounds::All,
            name => Bounds::Prefix(name),
        };
        let total = self.store.count(&context.space, &index, &bounds).await?;
        let page = Page { after: None, offset, limit, reverse: false };
        let entries = self.store.range(&context.space, &index, &bounds, &page).await?;
        let ids: Vec<ResourceId> = entries.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        if ids.is_empty() {
            return Ok(ListedGroups { groups: Vec::new(), total });
        }
        let wanted: Vec<DocumentKey> = ids.iter().map(|id| Kind::Group.key(*id)).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let mut groups = Vec::with_capacity(ids.len());
        for (id, document) in ids.into_iter().zip(documents) {
            let group = document.map(|document| Resource::decode(Kind::Group, id, &document));
            let Some(group) = group.and_then(|group| readable(Kind::Group, id, group)) else { continue };
            let members = self.store.count(&context.space, &keys::members(id), &Bounds::All).await?;
            groups.push((group, members));
        }
        Ok(ListedGroups { groups, total })
    }

    /// One group with a page of its direct members.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Error::MissingScope`] without `groups`; of the store.
    pub async fn group_page(
        &self,
        context: &Context,
        id: &str,
        offset: usize,
        limit: usize,
    ) -> Result<GroupPage, Error> {
        context.require(Kind::Group.scope())?;
        let id: ResourceId = id.parse().map_err(|_| Refusal::NotFound)?;
        let document = self.store.get(&context.space, &[Kind::Group.key(id)]).await?.pop().flatten();
        let group = Resource::decode(Kind::Group, id, &document.ok_or(Refusal::NotFound)?)?;
        let index = keys::members(id);
        let total = self.store.count(&context.space, &index, &Bounds::All).await?;
        let page = Page { after: None, offset, limit, reverse: false };
        let entries = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
        let members: Members = entries.iter().filter_map(member).collect();
        let names = self.names_of(&context.space, &members).await?;
        let named = |(id, kind)| (id, kind, names.get(&id).cloned().unwrap_or_default());
        Ok(GroupPage { group, members: members.into_iter().map(named).collect(), total })
    }

    /// The user (by id, userName or address) or else the group (by id or name) that a person means.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that means nothing here, or several groups.
    pub async fn find_member(&self, context: &Context, name: &str) -> Result<Named, Error> {
        context.require(Kind::Group.scope())?;
        if let Some(found) = self.find_user(&context.account.id, name).await?.filter(|record| record.exists()) {
            return Ok(Named { id: found.user.id, name: found.display_name() });
        }
        if let Ok(id) = name.parse::<ResourceId>() {
            let document = self.store.get(&context.space, &[Kind::Group.key(id)]).await?.pop().flatten();
            if let Some(document) = document {
                let group = Resource::decode(Kind::Group, id, &document)?;
                return Ok(Named { id, name: group.name().to_owned() });
            }
        }
        let index = Index::new(keys::by_name(Kind::Group));
        let entries = self.store.range(&context.space, &index, &Bounds::Key(fold(name)), &Page::first(2)).await?;
        match entries.as_slice() {
            [one] => {
                let id = one.id.parse().map_err(|error| Error::damaged("index of groups", error))?;
                Ok(Named { id, name: name.to_owned() })
            }
            [] => Err(Error::Invalid(format!("there is no user or group \"{name}\" in this account"))),
            _ => Err(Error::Invalid(format!("several groups are called \"{name}\": give the id of one"))),
        }
    }
}
