//! Lists, of one resource type or over several.

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::value::RawValue;

use super::reply::{self, Failure};
use super::resources::Call;
use crate::directory::paging::Answered;
use crate::directory::{Kind, Request};
use crate::http::service::Service;
use crate::scim::SchemaTable;
use crate::scim::list::{ListResponse, Query};

/// The resource types that a query at the root is about (RFC 7644 §3.4.2.1): all of them.
pub fn all_kinds(table: &SchemaTable) -> Vec<Kind> {
    table.resource_types().iter().map(Kind::of).collect()
}

/// Answers a query over these kinds.
pub async fn list(
    service: &Service,
    caller: &Request,
    headers: &HeaderMap,
    kinds: &[Kind],
    query: &Query,
) -> Result<Response, Failure> {
    let call = |kind: Kind| Call { service, caller, kind, headers, query: "" };
    // Before anything is looked for: what is wrong with the attributes needs no search.
    for kind in kinds {
        call(*kind).projection(query)?;
    }
    let Answered { context, total, start_index, next_cursor, resources } =
        service.directory.query(caller, kinds, query).await?;
    let mut rows: Vec<Option<Box<RawValue>>> = vec![None; resources.len()];
    let mut left: Vec<_> = resources.into_iter().enumerate().collect();
    // What stands beside the documents is read at once for all of one kind, wherever they are on the page.
    for kind in kinds {
        let of_kind: Vec<_> = left.extract_if(.., |(_, (found, ..))| found == kind).collect();
        let (places, documents): (Vec<usize>, Vec<_>) =
            of_kind.into_iter().map(|(place, (_, id, document))| (place, (id, document))).unzip();
        for (place, row) in places.into_iter().zip(call(*kind).listed(&context, &documents, query).await?) {
            rows[place] = row;
        }
    }
    let resources = rows.into_iter().flatten().collect();
    let page = ListResponse { total_results: total, start_index, next_cursor, previous_cursor: None, resources };
    Ok(reply::json(StatusCode::OK, &page))
}
