//! Reading users: by id, and by filter through whichever index answers most of it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::error::Error;
use super::record::USHERD_SCHEMA;
use super::request::{Context, Request};
use super::{Directory, keys, version};
use crate::domain::ids::ResourceId;
use crate::domain::names::{UserName, fold};
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::user::Status;
use crate::scim::filter::Operator;
use crate::scim::sort::Sort;
use crate::scim::{AttrPath, Filter, ResourceType, ScimError, ScimType};
use crate::store::{Bounds, Document, DocumentKey, Index, Page};

/// A page of users, as asked for.
#[derive(Debug, Clone, Default)]
pub struct UserQuery {
    pub filter: Option<Filter>,
    pub sort: Option<Sort>,
    /// From 1.
    pub start_index: usize,
    pub count: usize,
}

/// A page of users, as found.
#[derive(Debug, Clone, Default)]
pub struct FoundUsers {
    pub total: usize,
    pub documents: Vec<(ResourceId, Document)>,
}

/// Documents are read in chunks of this many.
const CHUNK: usize = 500;

/// How candidates are found. Everything but [`Plan::Exact`] is filtered again on the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Plan {
    /// The index holds exactly what was asked for: paged by rank, whatever its size.
    Exact(String),
    Nothing,
    Ids(Vec<String>),
    Unique(&'static str, String),
    Range(String, Bounds),
}

impl Directory {
    /// One user, as stored.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `users`.
    pub async fn user(&self, request: &Request, id: &str) -> Result<(Context, ResourceId, Document), Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let id: ResourceId = id.parse().map_err(|_| unknown())?;
        let (context, documents) = self.open(request, &[keys::user(id)]).await?;
        context.require(Scope::Users)?;
        let document = documents.into_iter().next().flatten().filter(is_visible).ok_or_else(unknown)?;
        Ok((context, id, document))
    }

    /// The users of a filter, in the order they were made.
    ///
    /// # Errors
    /// `tooMany` when no index answers the filter and the account has more users than one request may read.
    pub async fn users(&self, request: &Request, query: &UserQuery) -> Result<(Context, FoundUsers), Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Users)?;
        let kind = self.user_type();
        let plan = plan(kind, query.filter.as_ref());
        let offset = query.start_index.saturating_sub(1);
        if let (Plan::Exact(index), None) = (&plan, &query.sort) {
            let index = Index::new(index);
            let total = self.store.count(&context.space, &index, &Bounds::All).await?;
            let page = Page { after: None, offset, limit: query.count, reverse: false };
            let entries = match query.count {
                0 => Vec::new(),
                _ => self.store.range(&context.space, &index, &Bounds::All, &page).await?,
            };
            let ids = entries.into_iter().map(|entry| entry.id).collect();
            let documents = self.documents(&context, ids).await?;
            return Ok((context, FoundUsers { total: usize::try_from(total).unwrap_or(usize::MAX), documents }));
        }
        let candidates = self.candidates(&context, &plan).await?;
        let mut matching = Vec::new();
        for chunk in candidates.chunks(CHUNK) {
            for (id, document) in self.documents(&context, chunk.to_vec()).await? {
                let seen = self.seen_by_filter(id, &document)?;
                if query.filter.as_ref().is_none_or(|filter| filter.matches(&self.schemas, kind, &seen)) {
                    let key = query.sort.as_ref().map(|sort| sort.key(&seen));
                    matching.push((key, id, document));
                }
            }
        }
        if let Some(sort) = &query.sort {
            matching.sort_by(|(one, ..), (other, ..)| match (one, other) {
                (Some(one), Some(other)) => sort.compare(one, other),
                _ => std::cmp::Ordering::Equal,
            });
        }
        let total = matching.len();
        let page = matching.into_iter().skip(offset).take(query.count);
        let documents = page.map(|(_, id, document)| (id, document)).collect();
        Ok((context, FoundUsers { total, documents }))
    }

    async fn candidates(&self, context: &Context, plan: &Plan) -> Result<Vec<String>, Error> {
        let (index, bounds) = match plan {
            Plan::Nothing => return Ok(Vec::new()),
            Plan::Ids(ids) => return Ok(ids.clone()),
            Plan::Unique(unique, key) => {
                let found = self.store.lookup(&context.space, unique, &[key]).await?;
                return Ok(found.into_iter().flatten().collect());
            }
            Plan::Range(index, bounds) => (Index::new(index), bounds.clone()),
            Plan::Exact(index) => (Index::new(index), Bounds::All),
        };
        let bound = self.settings.queries.max_scan;
        let entries = self.store.range(&context.space, &index, &bounds, &Page::first(bound + 1)).await?;
        if entries.len() > bound {
            return Err(ScimError::of(
                ScimType::TooMany,
                format!(
                    "this filter would have to look at more than {bound} users; add a term that an index answers: \
                     userName eq or sw, externalId eq, emails.value eq, id eq, meta.lastModified gt"
                ),
            )
            .into());
        }
        // Ids are ordered by the time they were made, and a user may stand in an index several times.
        let ids: BTreeSet<String> = entries.into_iter().map(|entry| entry.id).collect();
        Ok(ids.into_iter().collect())
    }

    /// The documents of these ids, without those that went meanwhile.
    async fn documents(&self, context: &Context, ids: Vec<String>) -> Result<Vec<(ResourceId, Document)>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: Vec<DocumentKey> = ids.iter().map(|id| DocumentKey::new(keys::USER, id)).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let found = ids.iter().zip(documents).filter_map(|(id, document)| Some((id.parse().ok()?, document?)));
        Ok(found.filter(|(_, document)| is_visible(document)).collect())
    }

    fn seen_by_filter(&self, id: ResourceId, document: &Document) -> Result<Map<String, Value>, Error> {
        let mut seen: Map<String, Value> =
            serde_json::from_slice(&document.body).map_err(|error| Error::damaged("user body", error))?;
        seen.insert("meta".to_owned(), self.meta("User", "Users", id, document));
        Ok(seen)
    }

    /// `meta` as a reply has it (RFC 7643 §3.1).
    pub fn meta(&self, kind: &str, endpoint: &str, id: ResourceId, document: &Document) -> Value {
        self.meta_of(kind, endpoint, id, document.created, document.modified, document.revision)
    }

    /// The same of a resource that is not at hand as a document.
    pub fn meta_of(
        &self,
        kind: &str,
        endpoint: &str,
        id: ResourceId,
        created: Timestamp,
        modified: Timestamp,
        revision: u64,
    ) -> Value {
        json!({
            "resourceType": kind,
            "created": created.to_string(),
            "lastModified": modified.to_string(),
            "location": self.location(endpoint, id),
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

/// Takes the most selective side that an index answers.
fn plan(kind: &ResourceType, filter: Option<&Filter>) -> Plan {
    let Some(filter) = filter else { return Plan::Exact(keys::USERS.to_owned()) };
    if let Some(Plan::Exact(index)) = status_of(filter) {
        return Plan::Exact(index);
    }
    let sides = filter.conjuncts();
    sides
        .iter()
        .filter_map(|side| indexed(kind, side))
        .min_by_key(selectivity)
        .unwrap_or_else(|| Plan::Range(keys::USERS.to_owned(), Bounds::All))
}

/// The lower, the fewer candidates are to be expected.
fn selectivity(plan: &Plan) -> u8 {
    match plan {
        Plan::Nothing => 0,
        Plan::Ids(_) | Plan::Unique(..) => 1,
        Plan::Range(_, Bounds::Key(_)) => 2,
        Plan::Range(_, Bounds::Prefix(_)) => 3,
        Plan::Range(_, Bounds::Between { .. }) => 4,
        Plan::Range(_, Bounds::All) | Plan::Exact(_) => 5,
    }
}

fn indexed(kind: &ResourceType, filter: &Filter) -> Option<Plan> {
    if let Some(Plan::Exact(index)) = status_of(filter) {
        return Some(Plan::Range(index, Bounds::All));
    }
    let (path, operator, value) = match filter {
        Filter::Compare(path, operator, Value::String(value)) => (path, *operator, value.as_str()),
        Filter::ValuePath(path, inner) if path.is_core(kind, "emails", None) => {
            return inner.conjuncts().iter().find_map(|side| match side {
                Filter::Compare(sub, Operator::Eq, Value::String(value)) if is_value(sub) => Some(by_email(value)),
                _ => None,
            });
        }
        _ => return None,
    };
    let is = |name: &str, sub: Option<&str>| path.is_core(kind, name, sub);
    match operator {
        Operator::Eq if is("userName", None) => Some(match UserName::parse(value) {
            Ok(name) => Plan::Unique(keys::USER_NAME, name.folded().to_owned()),
            Err(_) => Plan::Nothing,
        }),
        Operator::Eq if is("id", None) => Some(Plan::Ids(vec![value.to_owned()])),
        Operator::Eq if is("externalId", None) => {
            Some(Plan::Range(keys::USERS_BY_EXTERNAL_ID.to_owned(), Bounds::Key(value.replace('\0', ""))))
        }
        Operator::Eq if is("emails", None) || is("emails", Some("value")) => Some(by_email(value)),
        Operator::Sw if is("userName", None) => {
            let prefix = UserName::parse(value).map(|name| name.folded().to_owned()).ok()?;
            Some(Plan::Range(keys::USERS_BY_NAME.to_owned(), Bounds::Prefix(prefix)))
        }
        Operator::Gt | Operator::Ge if is("meta", Some("lastModified")) => {
            let from = Timestamp::parse(value).map(Timestamp::sortable);
            Some(Plan::Range(keys::USERS_BY_MODIFIED.to_owned(), Bounds::Between { from, to: None }))
        }
        Operator::Lt | Operator::Le if is("meta", Some("lastModified")) => {
            let to = Timestamp::parse(value).map(Timestamp::sortable);
            Some(Plan::Range(keys::USERS_BY_MODIFIED.to_owned(), Bounds::Between { from: None, to }))
        }
        _ => None,
    }
}

fn by_email(value: &str) -> Plan {
    Plan::Range(keys::USERS_BY_EMAIL.to_owned(), Bounds::Key(fold(value)))
}

fn is_value(path: &AttrPath) -> bool {
    path.to_string().eq_ignore_ascii_case("value")
}

/// `urn:…:usherd:2.0:User:status eq "Active"`, which an index answers by itself.
fn status_of(filter: &Filter) -> Option<Plan> {
    let Filter::Compare(path, Operator::Eq, Value::String(value)) = filter else { return None };
    if !path.to_string().eq_ignore_ascii_case(&format!("{USHERD_SCHEMA}:status")) {
        return None;
    }
    let status = Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(value));
    Some(match status {
        Some(status) => Plan::Exact(keys::users_by_status(status)),
        None => Plan::Nothing,
    })
}
