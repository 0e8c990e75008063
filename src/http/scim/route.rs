//! Which resource a SCIM path and method mean.

use axum::http::Method;

use super::reply::Failure;
use crate::directory::Kind;
use crate::scim::{SchemaTable, ScimError};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// For everybody.
    Discovery(Discovery),
    /// For those who say who they are.
    Asked(Asked),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Resource {
        kind: Kind,
        action: Action,
    },
    /// All resource types at once (RFC 7644 §3.4.2.1).
    Root(Listing),
    /// Many operations in one request (RFC 7644 §3.7).
    Bulk,
    /// Whoever asks (RFC 7644 §3.11), to be read.
    Me,
}

/// Where the parameters of a query stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    Url,
    /// In the body of a POST to `/.search` (RFC 7644 §3.4.3).
    Body,
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
            [] => asked(method, &[Method::GET], Asked::Root(Listing::Url)),
            [".search"] => asked(method, &[Method::POST], Asked::Root(Listing::Body)),
            ["Bulk"] => asked(method, &[Method::POST], Asked::Bulk),
            ["Me"] => asked(method, &[Method::GET], Asked::Me),
            [endpoint, rest @ ..] => {
                let kind = table.resource_type_at(endpoint).map(Kind::of);
                let kind = kind.ok_or_else(|| unknown(path))?;
                let action = Action::parse(method, rest).ok_or_else(|| unknown(path))??;
                Ok(Route::Asked(Asked::Resource { kind, action }))
            }
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

/// What takes these methods alone; HEAD goes with GET.
fn asked(method: &Method, allowed: &[Method], asked: Asked) -> Result<Route, Failure> {
    let meant = if *method == Method::HEAD { &Method::GET } else { method };
    if allowed.contains(meant) { Ok(Route::Asked(asked)) } else { Err(Failure::method(allowed)) }
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
