//! Which resource a SCIM path and method mean.

use axum::http::Method;

use super::reply::Failure;
use crate::directory::Kind;
use crate::scim::{SchemaTable, ScimError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    Discovery(Discovery),
    Resource { kind: Kind, action: Action },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    ServiceProviderConfig,
    Schemas,
    Schema(String),
    ResourceTypes,
    ResourceType(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    List,
    Create,
    /// POST `/.search` (RFC 7644 §3.4.3).
    Search,
    Read(String),
    Replace(String),
    Patch(String),
    Delete(String),
}

impl Route {
    /// Reads a path below `/scim/v2`. Doubled and trailing slashes are passed over, since clients glue base URL and
    /// path in every way.
    ///
    /// # Errors
    /// 404 for an unknown path, 405 with the allowed methods for a known one.
    pub fn parse(table: &SchemaTable, method: &Method, path: &str) -> Result<Self, Failure> {
        let segments = segments(path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let only_get = |found: Discovery| match *method {
            Method::GET | Method::HEAD => Ok(Route::Discovery(found)),
            _ => Err(Failure::method(&[Method::GET])),
        };
        match segments.as_slice() {
            ["ServiceProviderConfig" | "ServiceProviderConfigs"] => only_get(Discovery::ServiceProviderConfig),
            ["Schemas"] => only_get(Discovery::Schemas),
            ["Schemas", urn] => only_get(Discovery::Schema((*urn).to_owned())),
            ["ResourceTypes"] => only_get(Discovery::ResourceTypes),
            ["ResourceTypes", name] => only_get(Discovery::ResourceType((*name).to_owned())),
            // RFC 7644 §3.11, §3.4.3 and §3.7: known, and not offered.
            ["Me", ..] => Err(not_offered("/Me; address the user by id")),
            [".search"] => Err(not_offered("queries over all resource types; search each of them")),
            ["Bulk"] => Err(not_offered("bulk requests; send each operation by itself")),
            [endpoint, rest @ ..] => {
                let kind = table.resource_type_at(endpoint).map(Kind::of);
                let kind = kind.ok_or_else(|| unknown(path))?;
                Ok(Route::Resource { kind, action: Action::parse(method, rest).ok_or_else(|| unknown(path))?? })
            }
            [] => Err(unknown(path)),
        }
    }
}

impl Action {
    /// `None` for a path below an endpoint that means nothing.
    fn parse(method: &Method, rest: &[&str]) -> Option<Result<Self, Failure>> {
        let action = match rest {
            [] => match *method {
                Method::GET | Method::HEAD => Ok(Action::List),
                Method::POST => Ok(Action::Create),
                _ => Err(Failure::method(&[Method::GET, Method::POST])),
            },
            [".search"] => match *method {
                Method::POST => Ok(Action::Search),
                _ => Err(Failure::method(&[Method::POST])),
            },
            [id] => {
                let id = (*id).to_owned();
                match *method {
                    Method::GET | Method::HEAD => Ok(Action::Read(id)),
                    Method::PUT => Ok(Action::Replace(id)),
                    Method::PATCH => Ok(Action::Patch(id)),
                    Method::DELETE => Ok(Action::Delete(id)),
                    _ => Err(Failure::method(&[Method::GET, Method::PUT, Method::PATCH, Method::DELETE])),
                }
            }
            _ => return None,
        };
        Some(action)
    }
}

fn not_offered(what: &str) -> Failure {
    ScimError::plain(501, format!("this service does not offer {what}")).into()
}

/// Whether the path has a doubled or trailing slash (tolerance `sloppy-urls`).
pub fn is_sloppy(path: &str) -> bool {
    path.contains("//") || path.trim_end_matches('/') != path
}

/// The decoded segments behind `/scim/v2`.
fn segments(path: &str) -> Result<Vec<String>, Failure> {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .skip(2)
        .map(|segment| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8()
                .map(|decoded| decoded.into_owned())
                .map_err(|_| unknown(path))
        })
        .collect()
}

pub fn unknown(path: &str) -> Failure {
    ScimError::plain(404, format!("there is nothing at {path}; the endpoints are listed at /scim/v2/ResourceTypes"))
        .into()
}
