//! `/Users`.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value};

use super::reply::{self, Failure};
use super::route::Action;
use crate::directory::provision::IfMatch;
use crate::directory::query::UserQuery;
use crate::directory::record::UserRecord;
use crate::directory::{Error, Request, version};
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::http::service::Service;
use crate::scim::list::{ListResponse, PageSizes, Paging, Query};
use crate::scim::profile::Profile;
use crate::scim::projection::Projection;
use crate::scim::sort::Sort;
use crate::scim::{Filter, ResourceType};
use crate::store::Document;

/// One request to the endpoint.
pub struct Call<'a> {
    pub service: &'a Service,
    pub caller: &'a Request,
    pub headers: &'a HeaderMap,
    /// The raw query of the URL.
    pub query: &'a str,
}

/// A user on its way out.
struct Outgoing {
    id: ResourceId,
    revision: u64,
    body: Vec<u8>,
}

impl Call<'_> {
    pub async fn answer(&self, action: Action, body: Option<Value>) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        let body = body.unwrap_or(Value::Null);
        match action {
            Action::Create => {
                let projection = self.projection()?;
                let record = directory.create_user(self.caller, body).await?;
                Ok(self.single(StatusCode::CREATED, self.outgoing(&record, &projection)))
            }
            Action::Read(id) => self.read(&id).await,
            Action::Replace(id) => {
                let projection = self.projection()?;
                let record = directory.replace_user(self.caller, &id, &self.if_match()?, body).await?;
                Ok(self.single(StatusCode::OK, self.outgoing(&record, &projection)))
            }
            Action::Patch(id) => {
                let projection = self.projection()?;
                let record = directory.patch_user(self.caller, &id, &self.if_match()?, body).await?;
                Ok(self.single(StatusCode::OK, self.outgoing(&record, &projection)))
            }
            Action::Delete(id) => {
                directory.delete_user(self.caller, &id, &self.if_match()?).await?;
                Ok(reply::empty(StatusCode::NO_CONTENT))
            }
            Action::List => {
                let parameters: Vec<(String, String)> =
                    url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect();
                let pairs = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
                self.list(&Query::from_parameters(pairs)).await
            }
            Action::Search => self.list(&Query::from_search_request(&body)?).await,
        }
    }

    async fn read(&self, id: &str) -> Result<Response, Failure> {
        let projection = self.projection()?;
        let (_, id, document) = self.service.directory.user(self.caller, id).await?;
        let etag = version(document.revision);
        if self.none_match(&etag) {
            let mut response = reply::empty(StatusCode::NOT_MODIFIED);
            set(&mut response, header::ETAG, &etag);
            return Ok(response);
        }
        let body = self.written(id, &document, &projection)?;
        Ok(self.single(StatusCode::OK, Outgoing { id, revision: document.revision, body }))
    }

    async fn list(&self, query: &Query) -> Result<Response, Failure> {
        let directory = &self.service.directory;
        let (table, kind) = (directory.schemas(), self.kind());
        let profile = Profile::LENIENT;
        let filter = query.filter.as_deref().map(|text| Filter::parse(text, &profile)).transpose()?;
        if let Some(filter) = &filter {
            filter.check(table, kind, &profile)?;
        }
        let projection = Projection::of(&query.attributes, &query.excluded_attributes, table, kind)?;
        let limits = directory.settings().queries;
        let sizes = PageSizes { default: limits.default_page, max: limits.max_page };
        let paging = Paging::parse(query.start_index.as_deref(), query.count.as_deref(), sizes)?;
        let sort = Sort::parse(query.sort_by.as_deref(), query.sort_order.as_deref(), table, kind)?;
        let wanted = UserQuery { filter, sort, start_index: paging.start_index, count: paging.count };
        let (_, found) = directory.users(self.caller, &wanted).await?;
        let mut resources = Vec::with_capacity(found.documents.len());
        for (id, document) in &found.documents {
            let written = self.written(*id, document, &projection)?;
            resources.push(serde_json::from_slice(&written).map_err(|error| Error::damaged("user body", error))?);
        }
        let response = ListResponse::page(found.total, paging.start_index, resources);
        Ok(reply::json(StatusCode::OK, &response.to_json()))
    }

    /// A stored user as it goes out. In the common case `meta` is spliced in without reading the body.
    fn written(&self, id: ResourceId, document: &Document, projection: &Projection) -> Result<Vec<u8>, Failure> {
        let meta = self.service.directory.meta("User", "Users", id, document);
        if projection.is_identity() {
            let body = document.body.strip_suffix(b"}").ok_or_else(|| Error::damaged("user body", "no object"))?;
            let mut written = Vec::with_capacity(body.len() + 256);
            written.extend_from_slice(body);
            written.extend_from_slice(b",\"meta\":");
            serde_json::to_writer(&mut written, &meta).expect("a JSON value writes to memory");
            written.push(b'}');
            return Ok(written);
        }
        let mut resource: Map<String, Value> =
            serde_json::from_slice(&document.body).map_err(|error| Error::damaged("user body", error))?;
        resource.insert("meta".to_owned(), meta);
        projection.apply(&mut resource);
        Ok(serde_json::to_vec(&resource).expect("a JSON map has only string keys"))
    }

    /// A user that was just written.
    fn outgoing(&self, record: &UserRecord, projection: &Projection) -> Outgoing {
        let mut resource = record.representation(self.kind());
        let id = record.user.id;
        let (created, modified): (Timestamp, Timestamp) = (record.created, record.modified);
        let meta = self.service.directory.meta_of("User", "Users", id, created, modified, record.revision);
        resource.insert("meta".to_owned(), meta);
        projection.apply(&mut resource);
        let body = serde_json::to_vec(&resource).expect("a JSON map has only string keys");
        Outgoing { id, revision: record.revision, body }
    }

    fn single(&self, status: StatusCode, outgoing: Outgoing) -> Response {
        let location = self.service.directory.location("Users", outgoing.id);
        let mut response = reply::bytes(status, outgoing.body);
        set(&mut response, header::LOCATION, &location);
        set(&mut response, header::CONTENT_LOCATION, &location);
        set(&mut response, header::ETAG, &version(outgoing.revision));
        response
    }

    fn projection(&self) -> Result<Projection, Failure> {
        let parameters: Vec<(String, String)> =
            url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect();
        let query = Query::from_parameters(parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let table = self.service.directory.schemas();
        Ok(Projection::of(&query.attributes, &query.excluded_attributes, table, self.kind())?)
    }

    fn kind(&self) -> &ResourceType {
        self.service.directory.schemas().resource_type("User").expect("the built-in table has User")
    }

    /// RFC 9110 §13.1.1. A tag that is none of ours matches nothing.
    fn if_match(&self) -> Result<IfMatch, Failure> {
        let tags = tags(self.headers, &header::IF_MATCH);
        Ok(if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
            IfMatch::Any
        } else {
            IfMatch::Versions(tags.iter().filter_map(|tag| opaque(tag).parse().ok()).collect())
        })
    }

    fn none_match(&self, etag: &str) -> bool {
        let tags = tags(self.headers, &header::IF_NONE_MATCH);
        tags.iter().any(|tag| tag == "*" || opaque(tag) == opaque(etag))
    }
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
