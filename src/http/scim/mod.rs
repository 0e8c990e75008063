//! `/scim/v2`: one handler that reads the route itself, so that every answer on these paths, also to an unknown route
//! or method, is a SCIM message.

mod bulk;
mod lists;
mod me;
mod members;
mod reply;
mod resources;
mod route;
mod story;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Value, json};

use reply::Failure;
pub use reply::error;
use resources::Call;
use route::{Action, Discovery, Listing, Route};
pub use story::Teller;
use story::Witness;

use super::guard::RequestDeadline;
use super::service::{Asked, Service};
use crate::directory::{self, Door, Error, Kind};
use crate::domain::security_event::EVENT_URIS;
use crate::scim::discovery;
use crate::scim::list::{ListResponse, Query};
use crate::scim::{SchemaTable, ScimError, Tolerance};

/// Bodies are bounded before they get here, by the guard.
const WHATEVER_THE_GUARD_LETS_THROUGH: usize = usize::MAX;

/// Answers every request below `/scim/v2`.
pub async fn handle(State(service): State<Service>, request: Request) -> Response {
    let asked = Asked::of(&request);
    let mut witness = Witness::of(&service, &request, asked.request_id.clone());
    match answer(&service, &asked, request, &mut witness).await {
        Ok(response) => {
            witness.answered(&response);
            response
        }
        Err(failure) => {
            witness.refused(&failure);
            failure.respond(asked.request_id.as_deref())
        }
    }
}

async fn answer(
    service: &Service,
    asked: &Asked,
    request: Request,
    witness: &mut Witness<'_>,
) -> Result<Response, Failure> {
    let table = service.directory.schemas();
    let route = Route::parse(table, request.method(), request.uri().path());
    let caller = match &route {
        Ok(Route::Asked(route::Asked::Me)) => Some(me::caller(service, asked, request.headers()).await?),
        Ok(Route::Asked(_)) => Some(service.identified(asked, Door::Scim).await?),
        // Whoever asks here needs no token; whose token comes along is only for the story.
        Ok(Route::Discovery(_)) | Err(_) if asked.credential.is_some() => {
            service.identified(asked, Door::Scim).await.ok()
        }
        Ok(Route::Discovery(_)) | Err(_) => None,
    };
    if let Some(caller) = &caller {
        witness.called_by(caller);
    }
    let route = route?;
    acceptable(request.headers())?;
    match route {
        Route::Discovery(what) => {
            if query_has_filter(request.uri().query().unwrap_or_default()) {
                // RFC 7644 §4: a filter on these endpoints is forbidden.
                return Err(ScimError::plain(403, "filters are not supported on this endpoint").into());
            }
            let base = format!("{}/scim/v2", service.directory.settings().public_url);
            discover(table, &what, service, caller.as_ref(), &base).await
        }
        Route::Asked(what) => {
            let caller = caller.ok_or(Error::Unauthorized)?;
            service.admit(&caller)?;
            answer_to(service, &caller, what, request, witness).await
        }
    }
}

/// What needs somebody who asks.
async fn answer_to(
    service: &Service,
    caller: &directory::Request,
    what: route::Asked,
    request: Request,
    witness: &mut Witness<'_>,
) -> Result<Response, Failure> {
    if let route::Asked::Resource { action: Action::Read(_), .. } = &what {
        witness.reads_one();
    }
    // The root of everything ends in a slash.
    if what != route::Asked::Root(Listing::Url) {
        tidy(service, caller, request.uri().path()).await?;
    }
    let (parts, body) = request.into_parts();
    let body = match parts.method {
        Method::POST | Method::PUT | Method::PATCH => match json_body(&parts.headers, body, witness).await {
            Ok(body) => Some(body),
            Err(failure) => {
                // What is wrong with a body is told to living tokens only.
                service.directory.open(caller, &[]).await?;
                return Err(failure);
            }
        },
        _ => None,
    };
    let (headers, query) = (&parts.headers, parts.uri.query().unwrap_or_default());
    match what {
        route::Asked::Resource { kind, action } => {
            Call { service, caller, kind, headers, query }.answer(action, body).await
        }
        route::Asked::Root(listing) => {
            let query = match listing {
                Listing::Url => resources::parameters(query),
                Listing::Body => Query::from_search_request(&body.unwrap_or(Value::Null))?,
            };
            lists::list(service, caller, headers, &lists::all_kinds(service.directory.schemas()), &query).await
        }
        route::Asked::Bulk => {
            let deadline = parts.extensions.get::<RequestDeadline>().map(|deadline| deadline.0);
            bulk::answer(service, caller, body.unwrap_or(Value::Null), deadline).await
        }
        route::Asked::Me => me::answer(Call { service, caller, kind: Kind::User, headers, query }).await,
    }
}

/// Refuses a path with doubled or trailing slashes, unless the client's profile tolerates that.
async fn tidy(service: &Service, caller: &directory::Request, path: &str) -> Result<(), Failure> {
    if route::is_sloppy(path) {
        let (context, _) = service.directory.open(caller, &[]).await?;
        if !service.directory.profile_of(&context)?.tolerates(Tolerance::SloppyUrls) {
            return Err(route::unknown(path));
        }
        caller.notes.tolerated([Tolerance::SloppyUrls]);
    }
    Ok(())
}

/// The security events of whoever asks: none unless the account has a stream, and none when that cannot be read, or for a
/// caller without rights, who are told the rest all the same.
async fn events_told(service: &Service, caller: Option<&directory::Request>) -> &'static [&'static str] {
    let Some(caller) = caller else { return &[] };
    match service.directory.open(caller, &[]).await {
        Ok((context, _)) if context.account.tells_security_events() => &EVENT_URIS,
        Ok(_) | Err(_) => &[],
    }
}

async fn discover(
    table: &SchemaTable,
    what: &Discovery,
    service: &Service,
    caller: Option<&directory::Request>,
    base: &str,
) -> Result<Response, Failure> {
    let unknown = |kind: &str, name: &str| ScimError::plain(404, format!("there is no {kind} {name}"));
    let found = match what {
        Discovery::ServiceProviderConfig => {
            discovery::service_provider_config(&service.settings.scim, events_told(service, caller).await, base)
        }
        Discovery::Schemas => json!(ListResponse::all(discovery::schemas(table, base))),
        Discovery::Schema(urn) => discovery::schema(table, urn, base).ok_or_else(|| unknown("schema", urn))?,
        Discovery::ResourceTypes => json!(ListResponse::all(discovery::resource_types(table, base))),
        Discovery::ResourceType(name) => {
            discovery::resource_type(table, name, base).ok_or_else(|| unknown("resource type", name))?
        }
    };
    Ok(reply::json(StatusCode::OK, &found))
}

fn query_has_filter(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case("filter"))
}

/// RFC 7644 §3.8: JSON under either name goes out; a client that takes neither gets 406.
fn acceptable(headers: &HeaderMap) -> Result<(), Failure> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(()) };
    let accept = accept.to_str().unwrap_or("*/*").to_ascii_lowercase();
    let takes = |kind: &str| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        matches!(kind, "" | "*/*" | "application/*" | "application/scim+json" | "application/json" | "application/scim")
    };
    if accept.split(',').any(takes) {
        Ok(())
    } else {
        Err(ScimError::plain(406, "this service answers in application/scim+json; put that into Accept").into())
    }
}

async fn json_body(headers: &HeaderMap, body: Body, witness: &mut Witness<'_>) -> Result<Value, Failure> {
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("?").to_ascii_lowercase());
    let essence = kind.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim().to_owned());
    if !matches!(essence.as_deref(), None | Some("application/scim+json" | "application/json" | "application/scim")) {
        let detail = "send the body as application/scim+json (or application/json) in Content-Type";
        return Err(ScimError::plain(415, detail).into());
    }
    let bytes = to_bytes(body, WHATEVER_THE_GUARD_LETS_THROUGH)
        .await
        .map_err(|_| ScimError::plain(400, "the body did not arrive completely"))?;
    witness.body_came(&bytes);
    serde_json::from_slice(&bytes)
        .map_err(|error| ScimError::invalid_syntax(format!("the body is not JSON: {error}")).into())
}
