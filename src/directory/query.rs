//! Reading resources: by id, and by filter through whichever index answers most of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::error::{Error, readable};
use super::kind::Kind;
use super::plan::{Plan, Planned};
use super::request::{Context, Request};
use super::{Directory, grants, keys, version};
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::scim::sort::{Sort, SortKey};
use crate::scim::{Filter, ScimError, ScimType};
use crate::store::{Bounds, Document, DocumentKey, Index, Page};

/// A page of resources, as asked for.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub filter: Option<Filter>,
    pub sort: Option<Sort>,
    /// From 1.
    pub start_index: usize,
    pub count: usize,
}

/// A page of resources, as found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub total: usize,
    pub documents: Vec<(ResourceId, Document)>,
}

/// A resource that satisfies a filter, with what it is sorted by.
pub(super) struct Match {
    pub key: Option<SortKey>,
    pub id: ResourceId,
    pub document: Document,
}

/// Documents are read in chunks of this many.
pub(super) const CHUNK: usize = 500;

impl Directory {
    /// One resource, as stored.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without the scope of its kind.
    pub async fn fetch(
        &self,
        request: &Request,
        kind: Kind,
        id: &str,
    ) -> Result<(Context, ResourceId, Document), Error> {
        let unknown = || Error::NotFound(format!("there is no {kind} {id}"));
        let id: ResourceId = id.parse().map_err(|_| unknown())?;
        let (context, documents) = self.open(request, &[kind.key(id)]).await?;
        context.require(kind.scope())?;
        let document = documents.into_iter().next().flatten().filter(is_visible).ok_or_else(unknown)?;
        Ok((context, id, document))
    }

    /// The resources of a filter, in the order they were made.
    ///
    /// # Errors
    /// `tooMany` when no index answers the filter and there are more resources than one request may read.
    pub async fn search(&self, context: &Context, kind: Kind, search: &Search) -> Result<Found, Error> {
        let mut left = self.settings.queries.max_scan;
        self.page_of(context, kind, search, &mut left).await?.ok_or_else(|| self.too_many(kind))
    }

    /// As [`Directory::search`]; `None` when that would look at more than the `left` resources that this request may
    /// still look at.
    pub(super) async fn page_of(
        &self,
        context: &Context,
        kind: Kind,
        search: &Search,
        left: &mut usize,
    ) -> Result<Option<Found>, Error> {
        let planned = self.planned(kind);
        if let Plan::Exact(index) = planned.plan(search.filter.as_ref()) {
            return self.page_of_index(context, kind, &Index::new(index), search).await.map(Some);
        }
        let Some(matching) = self.matching(context, kind, search, left).await? else { return Ok(None) };
        let total = matching.len();
        let page = matching.into_iter().skip(search.start_index.saturating_sub(1)).take(search.count);
        Ok(Some(Found { total, documents: page.map(|found| (found.id, found.document)).collect() }))
    }

    /// Everything of one kind that satisfies the filter, in the order it was made; `None` as in
    /// [`Directory::page_of`].
    pub(super) async fn matching(
        &self,
        context: &Context,
        kind: Kind,
        search: &Search,
        left: &mut usize,
    ) -> Result<Option<Vec<Match>>, Error> {
        let planned = self.planned(kind);
        let plan = planned.plan(search.filter.as_ref());
        let Some(candidates) = self.candidates(context, &plan, *left).await? else { return Ok(None) };
        *left = left.saturating_sub(candidates.len());
        let mut matching = Vec::new();
        for chunk in candidates.chunks(CHUNK) {
            let documents = self.documents(context, kind, chunk).await?;
            matching.extend(self.satisfying(context, planned, search, documents).await?);
        }
        Ok(Some(matching))
    }

    /// Those of these documents that satisfy the filter.
    pub(super) async fn satisfying(
        &self,
        context: &Context,
        planned: Planned<'_>,
        search: &Search,
        documents: Vec<(ResourceId, Document)>,
    ) -> Result<Vec<Match>, Error> {
        let mut satisfying = Vec::new();
        for (id, document, seen) in self.seen(context, planned, search, documents).await? {
            let filter = search.filter.as_ref();
            if filter.is_none_or(|filter| filter.matches(&self.schemas, planned.resource_type, &seen)) {
                let key = search.sort.as_ref().map(|sort| sort.key(&seen));
                satisfying.push(Match { key, id, document });
            }
        }
        Ok(satisfying)
    }

    pub(super) fn planned(&self, kind: Kind) -> Planned<'_> {
        Planned { kind, resource_type: self.resource_type(kind), schemas: &self.schemas }
    }

    /// What an index holds exactly is paged by rank.
    async fn page_of_index(
        &self,
        context: &Context,
        kind: Kind,
        index: &Index,
        search: &Search,
    ) -> Result<Found, Error> {
        let total = self.store.count(&context.space, index, &Bounds::All).await?;
        let offset = search.start_index.saturating_sub(1);
        let page = Page { after: None, offset, limit: search.count, reverse: false };
        let entries = match search.count {
            0 => Vec::new(),
            _ => self.store.range(&context.space, index, &Bounds::All, &page).await?,
        };
        let ids: Vec<String> = entries.into_iter().map(|entry| entry.id).collect();
        let documents = self.documents(context, kind, &ids).await?;
        Ok(Found { total: usize::try_from(total).unwrap_or(usize::MAX), documents })
    }

    /// The ids of what may satisfy a filter, in the order it was made; `None` when they are more than `bound`.
    pub(super) async fn candidates(
        &self,
        context: &Context,
        plan: &Plan,
        bound: usize,
    ) -> Result<Option<Vec<String>>, Error> {
        let (index, bounds) = match plan {
            Plan::Nothing => return Ok(Some(Vec::new())),
            Plan::Ids(ids) => return Ok(Some(ids.clone())),
            Plan::Unique(unique, key) => {
                let found = self.store.lookup(&context.space, unique, &[key]).await?;
                return Ok(Some(found.into_iter().flatten().collect()));
            }
            Plan::Within(group) => {
                let users = self.users_within(&context.space, *group, bound).await?;
                let are_few = users.len() <= bound;
                return Ok(are_few.then(|| users.iter().map(ToString::to_string).collect()));
            }
            Plan::GroupsOf(member) => (keys::groups_of(*member), Bounds::All),
            Plan::Range(index, bounds) => (Index::new(index), bounds.clone()),
            Plan::Exact(index) => (Index::new(index), Bounds::All),
        };
        let entries = self.store.range(&context.space, &index, &bounds, &Page::first(bound + 1)).await?;
        if entries.len() > bound {
            return Ok(None);
        }
        // Ids are ordered by the time they were made, and a resource may stand in an index several times.
        let ids: BTreeSet<String> = entries.into_iter().map(|entry| entry.id).collect();
        Ok(Some(ids.into_iter().collect()))
    }

    /// The documents of these ids, without those that went meanwhile.
    pub(super) async fn documents(
        &self,
        context: &Context,
        kind: Kind,
        ids: &[String],
    ) -> Result<Vec<(ResourceId, Document)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<DocumentKey> = ids.iter().map(|id| kind.key(id)).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let found = ids.iter().zip(documents).filter_map(|(id, document)| Some((id.parse().ok()?, document?)));
        Ok(found.filter(|(_, document)| is_visible(document)).collect())
    }

    /// The documents as filter and sort see them: with `meta`, and with what stands beside them where it is asked for.
    async fn seen(
        &self,
        context: &Context,
        planned: Planned<'_>,
        search: &Search,
        documents: Vec<(ResourceId, Document)>,
    ) -> Result<Vec<(ResourceId, Document, Map<String, Value>)>, Error> {
        let kind = planned.kind;
        let damaged = |error| Error::damaged("body", error);
        let (mut whole, mut seen) = (Vec::with_capacity(documents.len()), Vec::with_capacity(documents.len()));
        for (id, document) in documents {
            let body = serde_json::from_slice::<Map<String, Value>>(&document.body).map_err(damaged);
            let Some(mut body) = readable(kind, id, body) else { continue };
            body.insert("meta".to_owned(), self.meta(kind, id, &document));
            whole.push((id, document));
            seen.push(body);
        }
        self.see_beside(context, planned, search, &whole, &mut seen).await?;
        Ok(whole.into_iter().zip(seen).map(|((id, document), seen)| (id, document, seen)).collect())
    }

    async fn see_beside(
        &self,
        context: &Context,
        planned: Planned<'_>,
        search: &Search,
        documents: &[(ResourceId, Document)],
        seen: &mut [Map<String, Value>],
    ) -> Result<(), Error> {
        let kind = planned.kind;
        let Some(name) = kind.beside() else { return Ok(()) };
        let reads = |filter: &&Filter| planned.mentions(filter, name) || planned.mentions_projects(filter);
        let in_filter = search.filter.as_ref().filter(reads);
        let in_sort = search.sort.as_ref().is_some_and(|sort| sort.name().eq_ignore_ascii_case(name));
        let asked_for = in_filter.filter(|_| kind == Kind::Group).and_then(|it| planned.members_asked_for(it));
        let values = match (in_filter, asked_for) {
            (_, Some(members)) => {
                let mut values = Vec::with_capacity(documents.len());
                for (id, _) in documents {
                    let present = self.members_among(&context.space, *id, &members).await?;
                    let value = || self.members_value(&present, &super::beside::Names::new());
                    let value = (!present.is_empty()).then(value);
                    values.push(super::beside::Beside { value, projects: Vec::new() });
                }
                values
            }
            (Some(_), None) => self.beside(&context.space, kind, documents, false).await?,
            (None, None) if in_sort => self.beside(&context.space, kind, documents, false).await?,
            (None, None) => return Ok(()),
        };
        for (body, value) in seen.iter_mut().zip(values) {
            grants::add_items(body, &value.projects);
            if let Some(value) = value.value {
                let value =
                    serde_json::from_str(&value).map_err(|error| Error::damaged("what stands beside", error))?;
                body.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Why a query is not answered, and what helps.
    pub(super) fn too_many(&self, kind: Kind) -> Error {
        let answered = match kind {
            Kind::User => {
                "userName eq or sw, externalId eq, emails.value eq, id eq, groups.value eq, meta.lastModified gt"
            }
            Kind::Group => "displayName eq or sw, externalId eq, id eq, members.value eq",
            Kind::Organization | Kind::Project | Kind::License => "displayName eq or sw, externalId eq, id eq",
            Kind::Own(_) => {
                "displayName eq or sw, externalId eq, id eq, or eq on an attribute whose uniqueness is server"
            }
        };
        let detail = format!(
            "this query would have to look at more than {} resources; add a term that an index answers ({answered}), \
             or leave out `sortBy` and page with `cursor` and a `count` above 0",
            self.settings.queries.max_scan
        );
        ScimError::of(ScimType::TooMany, detail).into()
    }

    /// `meta` as a reply has it (RFC 7643 §3.1).
    pub fn meta(&self, kind: Kind, id: ResourceId, document: &Document) -> Value {
        self.meta_of(kind, id, document.created, document.modified, document.revision)
    }

    /// The same of a resource that is not at hand as a document.
    pub fn meta_of(&self, kind: Kind, id: ResourceId, created: Timestamp, modified: Timestamp, revision: u64) -> Value {
        json!({
            "resourceType": kind.resource_type(),
            "created": created.to_string(),
            "lastModified": modified.to_string(),
            "location": self.location(kind.endpoint(), id),
            "version": version(revision),
        })
    }

    /// The permanent URI of a resource.
    pub fn location(&self, endpoint: &str, id: ResourceId) -> String {
        format!("{}/scim/v2/{endpoint}/{id}", self.settings.public_url)
    }
}

/// A tombstone has no body.
fn is_visible(document: &Document) -> bool {
    !document.body.is_empty()
}
