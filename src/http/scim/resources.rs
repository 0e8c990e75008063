//! The endpoints of all resource types: one way for users, groups, organizations, projects and licenses.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::lists;
use super::members::Members;
use super::reply::{self, Failure};
use super::route::Action;
use crate::directory::beside::{Beside, Names};
use crate::directory::editing::Edited;
use crate::directory::error::readable;
use crate::directory::provision::IfMatch;
use crate::directory::record::UserRecord;
use crate::directory::{Context, Error, Kind, Request, grants, version};
use crate::domain::ids::ResourceId;
use crate::http::service::Service;
use crate::scim::list::Query;
use crate::scim::projection::Projection;
use crate::scim::table::USHERD_USER_URN;
use crate::scim::{Profile, Tolerance};
use crate::store::Document;

/// One request to an endpoint.
pub struct Call<'a> {
    pub service: &'a Service,
    pub caller: &'a Request,
    pub kind: Kind,
    pub headers: &'a HeaderMap,
    /// The raw query of the URL.
    pub query: &'a str,
}

/// A resource on its way out, with what changes without a write beside its stored body.
struct Outgoing<'a> {
    body: &'a [u8],
    meta: Value,
    beside: &'a Beside,
    /// `active` as the provider asserted it, where its profile wants that echoed.
    active: Option<bool>,
}

impl Call<'_> {
    pub async fn answer(&self, action: Action, body: Option<Value>) -> Result<Response, Failure> {
        let body = body.unwrap_or(Value::Null);
        match action {
            Action::Create => self.create(body).await,
            Action::Read(id) => self.read(&id).await,
            Action::Replace(id) => self.replace(&id, body).await,
            Action::Patch(id) => self.patch(&id, body).await,
            Action::Delete(id) => self.delete(&id).await,
            Action::List => self.list(&parameters(self.query)).await,
            Action::Search => self.list(&Query::from_search_request(&body)?).await,
        }
    }

    async fn create(&self, body: Value) -> Result<Response, Failure> {
        let projection = self.projection(&parameters(self.query))?;
        let directory = &self.service.directory;
        match self.kind {
            Kind::User => {
                let (context, record) = directory.create_user(self.caller, body).await?;
                self.written_user(StatusCode::CREATED, &context, &record, &projection).await
            }
            kind => {
                let edited = directory.create_resource(self.caller, kind, body).await?;
                self.written(StatusCode::CREATED, edited, &projection).await
            }
        }
    }

    async fn replace(&self, id: &str, body: Value) -> Result<Response, Failure> {
        let projection = self.projection(&parameters(self.query))?;
        let directory = &self.service.directory;
        match self.kind {
            Kind::User => {
                let (context, record) = directory.replace_user(self.caller, id, &self.if_match(), body).await?;
                self.written_user(StatusCode::OK, &context, &record, &projection).await
            }
            kind => {
                let edited = directory.replace_resource(self.caller, kind, id, &self.if_match(), body).await?;
                self.written(StatusCode::OK, edited, &projection).await
            }
        }
    }

    async fn patch(&self, id: &str, body: Value) -> Result<Response, Failure> {
        let projection = self.projection(&parameters(self.query))?;
        let directory = &self.service.directory;
        match self.kind {
            Kind::User => {
                let (context, record) = directory.patch_user(self.caller, id, &self.if_match(), body).await?;
                self.written_user(StatusCode::OK, &context, &record, &projection).await
            }
            kind => {
                let edited = directory.patch_resource(self.caller, kind, id, &self.if_match(), body).await?;
                let profile = directory.profile_of(&edited.context)?;
                // RFC 7644 §3.5.2: with `attributes` there has to be a body.
                let terse = kind == Kind::Group && profile.tolerates(Tolerance::GroupPatchNoContent);
                if terse && !projection.is_explicit() {
                    self.caller.notes.tolerated([Tolerance::GroupPatchNoContent]);
                    return Ok(reply::empty(StatusCode::NO_CONTENT));
                }
                self.written(StatusCode::OK, edited, &projection).await
            }
        }
    }

    async fn delete(&self, id: &str) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        match self.kind {
            Kind::User => directory.delete_user(self.caller, id, &self.if_match()).await?,
            kind => directory.delete_resource(self.caller, kind, id, &self.if_match()).await?,
        }
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    async fn read(&self, id: &str) -> Result<Response, Failure> {
        let projection = self.projection(&parameters(self.query))?;
        let (context, id, document) = self.service.directory.fetch(self.caller, self.kind, id).await?;
        let etag = version(document.revision);
        if self.none_match(&etag) {
            let mut response = reply::empty(StatusCode::NOT_MODIFIED);
            set(&mut response, header::ETAG, &etag);
            return Ok(response);
        }
        self.stored(StatusCode::OK, &context, (id, document), &projection).await
    }

    async fn list(&self, query: &Query) -> Result<Response, Failure> {
        lists::list(self.service, self.caller, self.headers, &[self.kind], query).await
    }

    /// These documents as a list has them; those that cannot be read are left out.
    pub(super) async fn listed(
        &self,
        context: &Context,
        documents: &[(ResourceId, Document)],
        query: &Query,
    ) -> Result<Vec<Option<Box<RawValue>>>, Failure> {
        let projection = self.projection(query)?;
        let profile = self.service.directory.profile_of(context)?;
        let beside = self.beside(context, documents, &projection).await?;
        let mut listed = Vec::with_capacity(documents.len());
        for ((id, document), beside) in documents.iter().zip(&beside) {
            let outgoing = self.outgoing(*id, document, beside, &profile);
            let written = outgoing.and_then(|outgoing| outgoing.write(self.kind, &projection));
            listed.push(readable(self.kind, id, written.and_then(whole)));
        }
        Ok(listed)
    }

    /// The reply to a write of a group, organization, project or license.
    async fn written(&self, status: StatusCode, edited: Edited, projection: &Projection) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        let many = directory.settings().queries.group_reply_members;
        let id = edited.resource.id;
        let lists_members = self.kind == Kind::Group && status == StatusCode::OK && projection.wants("members");
        if lists_members && !projection.is_explicit() && directory.has_more_members(&edited.context, id, many).await? {
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        }
        let (context, document) = directory.reread(edited).await?;
        self.stored(status, &context, (id, document), projection).await
    }

    async fn stored(
        &self,
        status: StatusCode,
        context: &Context,
        resource: (ResourceId, Document),
        projection: &Projection,
    ) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        let profile = directory.profile_of(context)?;
        let (id, document) = resource;
        let beside = if self.kind == Kind::Group && projection.wants("members") {
            let first = directory.members_page(&context.space, id, None).await?;
            if first.rest.is_some() {
                let head = self.outgoing(id, &document, &Beside::default(), &profile)?.write(self.kind, projection)?;
                let (directory, space) = (Arc::clone(directory), context.space.clone());
                let members = Members { directory, space, group: id, projection: projection.clone() };
                return Ok(self.single(status, id, document.revision, members.body(head, first)));
            }
            let names = match projection.asks_for("members", "display") {
                true => directory.names_of(&context.space, &first.members).await?,
                false => Names::new(),
            };
            let value = (!first.members.is_empty()).then(|| directory.members_value(&first.members, &names));
            Beside { value, projects: Vec::new() }
        } else {
            self.beside(context, &[(id, document.clone())], projection).await?.pop().unwrap_or_default()
        };
        let body = self.outgoing(id, &document, &beside, &profile)?.write(self.kind, projection)?;
        Ok(self.single(status, id, document.revision, body))
    }

    /// The reply to a write of a user.
    async fn written_user(
        &self,
        status: StatusCode,
        context: &Context,
        record: &UserRecord,
        projection: &Projection,
    ) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        let profile = directory.profile_of(context)?;
        let id = record.user.id;
        let beside = match record.memberships > 0 && wants_beside(Kind::User, projection) {
            true => directory.beside_user(context, id).await?,
            false => Beside::default(),
        };
        let outgoing = Outgoing {
            body: &record.body(directory.user_type()),
            meta: directory.meta_of(self.kind, id, record.created, record.modified, record.revision),
            beside: &beside,
            active: asserted(record, &profile),
        };
        self.caller.notes.tolerated(outgoing.active.map(|_| Tolerance::AssertedActive));
        let body = outgoing.write(self.kind, projection)?;
        Ok(self.single(status, id, record.revision, body))
    }

    /// What stands beside these documents, unless nobody will read it.
    async fn beside(
        &self,
        context: &Context,
        documents: &[(ResourceId, Document)],
        projection: &Projection,
    ) -> Result<Vec<Beside>, Failure> {
        if wants_beside(self.kind, projection) {
            let with_names = projection.asks_for("members", "display");
            Ok(self.service.directory.beside(&context.space, self.kind, documents, with_names).await?)
        } else {
            Ok(vec![Beside::default(); documents.len()])
        }
    }

    fn outgoing<'d>(
        &self,
        id: ResourceId,
        document: &'d Document,
        beside: &'d Beside,
        profile: &Profile,
    ) -> Result<Outgoing<'d>, Error> {
        let active = match self.kind == Kind::User && profile.tolerates(Tolerance::AssertedActive) {
            true => asserted(&UserRecord::decode(document)?, profile),
            false => None,
        };
        let meta = self.service.directory.meta(self.kind, id, document);
        Ok(Outgoing { body: &document.body, meta, beside, active })
    }

    fn single(&self, status: StatusCode, id: ResourceId, revision: u64, body: impl Into<Body>) -> Response {
        let location = self.service.directory.location(self.kind.endpoint(), id);
        let mut response = reply::bytes(status, body);
        set(&mut response, header::LOCATION, &location);
        set(&mut response, header::CONTENT_LOCATION, &location);
        set(&mut response, header::ETAG, &version(revision));
        response
    }

    pub(super) fn projection(&self, query: &Query) -> Result<Projection, Failure> {
        let directory = &self.service.directory;
        let resource_type = directory.resource_type(self.kind);
        let (attributes, excluded) = (&query.attributes, &query.excluded_attributes);
        Ok(Projection::of(attributes, excluded, directory.schemas(), resource_type)?)
    }

    /// RFC 9110 §13.1.1. A tag that is none of ours matches nothing.
    fn if_match(&self) -> IfMatch {
        let tags = tags(self.headers, &header::IF_MATCH);
        if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            IfMatch::Any
        } else {
            IfMatch::Versions(tags.iter().filter_map(|tag| opaque(tag).parse().ok()).collect())
        }
    }

    fn none_match(&self, etag: &str) -> bool {
        let tags = tags(self.headers, &header::IF_NONE_MATCH);
        tags.iter().any(|tag| tag == "*" || opaque(tag) == opaque(etag))
    }
}

impl Outgoing<'_> {
    /// The whole resource. In the common case what is beside the body is put behind it without reading it.
    fn write(&self, kind: Kind, projection: &Projection) -> Result<Vec<u8>, Error> {
        let damaged = |error| Error::damaged("body", error);
        let value = self.beside.value.as_deref();
        let beside = kind.beside().zip(value);
        if projection.is_identity() && self.active.is_none() && self.beside.projects.is_empty() {
            let body = self.body.strip_suffix(b"}").ok_or_else(|| Error::damaged("body", "no object"))?;
            let mut written = Vec::with_capacity(body.len() + value.map_or(0, str::len) + 256);
            written.extend_from_slice(body);
            if let Some((name, value)) = beside {
                written.extend_from_slice(format!(",\"{name}\":").as_bytes());
                written.extend_from_slice(value.as_bytes());
            }
            written.extend_from_slice(b",\"meta\":");
            serde_json::to_writer(&mut written, &self.meta).map_err(damaged)?;
            written.push(b'}');
            return Ok(written);
        }
        let mut resource: Map<String, Value> = serde_json::from_slice(self.body).map_err(damaged)?;
        if let Some(active) = self.active {
            resource.insert("active".to_owned(), active.into());
        }
        if let Some((name, value)) = beside {
            resource.insert(name.to_owned(), serde_json::from_str(value).map_err(damaged)?);
        }
        grants::add_items(&mut resource, &self.beside.projects);
        resource.insert("meta".to_owned(), self.meta.clone());
        projection.apply(&mut resource);
        serde_json::to_vec(&resource).map_err(damaged)
    }
}

/// A body that is a JSON value from its beginning to its end: one that is damaged must not damage the list that it is in.
fn whole(body: Vec<u8>) -> Result<Box<RawValue>, Error> {
    let text = String::from_utf8(body).map_err(|error| Error::damaged("body", error))?;
    RawValue::from_string(text).map_err(|error| Error::damaged("body", error))
}

/// Whether anybody will read what stands beside resources of this kind. What comes with `groups` is read with them.
fn wants_beside(kind: Kind, projection: &Projection) -> bool {
    let wants_projects = kind == Kind::User && projection.wants_of(Some(USHERD_USER_URN), "projects");
    wants_projects || kind.beside().is_some_and(|name| projection.wants(name))
}

/// The parameters of a URL's query.
pub fn parameters(query: &str) -> Query {
    let parameters: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Query::from_parameters(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What the provider asserted last, where it differs from what is so (scim decisions: Okta would loop otherwise).
fn asserted(record: &UserRecord, profile: &Profile) -> Option<bool> {
    let said = record.user.idp_active.filter(|_| profile.tolerates(Tolerance::AssertedActive));
    said.filter(|active| *active != record.user.scim_active())
}

fn tags(headers: &HeaderMap, name: &header::HeaderName) -> Vec<String> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
}

/// Versions are compared weakly: `W/"3"`, `"3"` and, from clients that strip the quotes, `3` are one.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

fn set(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
