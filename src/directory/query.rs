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
use crate::scim::list::{PageSizes, Paging, Query};
use crate::scim::profile::{Applied, Tolerance};
use crate::scim::sort::Sort;
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

/// Documents are read in chunks of this many.
const CHUNK: usize = 500;

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

    /// A SCIM query, read as the profile of its token has it. With the page comes the index of its first resource.
    ///
    /// # Errors
    /// `invalidFilter` and `invalidValue` for a bad query; else as [`Directory::search`].
    pub async fn query(&self, request: &Request, kind: Kind, query: &Query) -> Result<(Context, usize, Found), Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(kind.scope())?;
        let profile = self.profile_of(&context)?;
        let resource_type = self.resource_type(kind);
        let mut applied = Applied::new();
        let filter =
            query.filter.as_deref().map(|text| Filter::parse_noting(text, &profile, &mut applied)).transpose()?;
        if let Some(filter) = &filter {
            filter.check(&self.schemas, resource_type, &profile)?;
            let stricter = profile.with(Tolerance::UnknownFilterAttributes, false);
            if filter.check(&self.schemas, resource_type, &stricter).is_err() {
                applied.insert(Tolerance::UnknownFilterAttributes);
            }
        }
        request.notes.tolerated(applied);
        let limits = self.settings.queries;
        let sizes = PageSizes { default: limits.default_page, max: limits.max_page };
        let paging = Paging::parse(query.start_index.as_deref(), query.count.as_deref(), sizes)?;
        let (by, order) = (query.sort_by.as_deref(), query.sort_order.as_deref());
        let sort = Sort::parse(by, order, &self.schemas, resource_type)?;
        let search = Search { filter, sort, start_index: paging.start_index, count: paging.count };
        let found = self.search(&context, kind, &search).await?;
        request.notes.found(found.total);
        Ok((context, paging.start_index, found))
    }

    /// The resources of a filter, in the order they were made unless sorted.
    ///
    /// # Errors
    /// `tooMany` when no index answers the filter and there are more resources than one request may read.
    pub async fn search(&self, context: &Context, kind: Kind, search: &Search) -> Result<Found, Error> {
        let planned = Planned { kind, resource_type: self.resource_type(kind), schemas: &self.schemas };
        let plan = planned.plan(search.filter.as_ref());
        if let (Plan::Exact(index), None) = (&plan, &search.sort) {
            return self.page_of_index(context, kind, &Index::new(index), search).await;
        }
        let candidates = self.candidates(context, kind, &plan).await?;
        let mut matching = Vec::new();
        for chunk in candidates.chunks(CHUNK) {
            let documents = self.documents(context, kind, chunk).await?;
            for (id, document, seen) in self.seen(context, planned, search, documents).await? {
                let filter = search.filter.as_ref();
                if filter.is_none_or(|filter| filter.matches(&self.schemas, planned.resource_type, &seen)) {
                    let key = search.sort.as_ref().map(|sort| sort.key(&seen));
                    matching.push((key, id, document));
                }
            }
        }
        if let Some(sort) = &search.sort {
            matching.sort_by(|(one, ..), (other, ..)| match (one, other) {
                (Some(one), Some(other)) => sort.compare(one, other),
                _ => std::cmp::Ordering::Equal,
            });
        }
        let total = matching.len();
        let page = matching.into_iter().skip(search.start_index.saturating_sub(1)).take(search.count);
        Ok(Found { total, documents: page.map(|(_, id, document)| (id, document)).collect() })
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

    async fn candidates(&self, context: &Context, kind: Kind, plan: &Plan) -> Result<Vec<String>, Error> {
        let bound = self.settings.queries.max_scan;
        let (index, bounds) = match plan {
            Plan::Nothing => return Ok(Vec::new()),
            Plan::Ids(ids) => return Ok(ids.clone()),
            Plan::Unique(unique, key) => {
                let found = self.store.lookup(&context.space, unique, &[key]).await?;
                return Ok(found.into_iter().flatten().collect());
            }
            Plan::Within(group) => {
                let users = self.users_within(&context.space, *group, bound).await?;
                if users.len() > bound {
                    return Err(too_many(kind, bound));
                }
                return Ok(users.iter().map(ToString::to_string).collect());
            }
            Plan::GroupsOf(member) => (keys::groups_of(*member), Bounds::All),
            Plan::Range(index, bounds) => (Index::new(index), bounds.clone()),
            Plan::Exact(index) => (Index::new(index), Bounds::All),
        };
        let entries = self.store.range(&context.space, &index, &bounds, &Page::first(bound + 1)).await?;
        if entries.len() > bound {
            return Err(too_many(kind, bound));
        }
        // Ids are ordered by the time they were made, and a resource may stand in an index several times.
        let ids: BTreeSet<String> = entries.into_iter().map(|entry| entry.id).collect();
        Ok(ids.into_iter().collect())
    }

    /// The documents of these ids, without those that went meanwhile.
    async fn documents(
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

fn too_many(kind: Kind, bound: usize) -> Error {
    let answered = match kind {
        Kind::User => "userName eq or sw, externalId eq, emails.value eq, id eq, groups.value eq, meta.lastModified gt",
        Kind::Group => "displayName eq or sw, externalId eq, id eq, members.value eq",
        Kind::Organization | Kind::Project | Kind::License => "displayName eq or sw, externalId eq, id eq",
        Kind::Own(_) => "displayName eq or sw, externalId eq, id eq, or eq on an attribute whose uniqueness is server",
    };
    let detail = format!(
        "this filter would have to look at more than {bound} resources; add a term that an index answers: {answered}"
    );
    ScimError::of(ScimType::TooMany, detail).into()
}

/// A tombstone has no body.
fn is_visible(document: &Document) -> bool {
    !document.body.is_empty()
}
