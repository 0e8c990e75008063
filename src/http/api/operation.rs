//! One operation of the API: what it takes and answers, as types, and the one way in which requests get there and back.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Query, Request as HttpRequest, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bounded::Object;
use super::failure::Failure;
use crate::directory::provision::IfMatch;
use crate::directory::{Directory, Door, Error, Request};
use crate::domain::ids::ResourceId;
use crate::domain::secrets::Scope;
use crate::http::service::{Asked, Service, Turned};

/// One operation: a line of the document and a route.
#[derive(Clone)]
pub struct Operation {
    pub method: Method,
    /// Below `/api/v1`, with its parameters in braces.
    pub path: String,
    /// Unique, and stable: generated clients are named after it.
    pub id: String,
    pub summary: String,
    /// What a token needs. The directory asks for it; here it is told, and proven by a test.
    pub scopes: &'static [Scope],
    pub query: Option<Describe>,
    pub body: Option<Describe>,
    pub reply: Option<Describe>,
    /// Of success.
    pub status: StatusCode,
    /// Whether it honours `If-Match`.
    pub conditional: bool,
    serve: Serve,
}

/// Writes the schema of a type.
pub type Describe = fn(&mut SchemaGenerator) -> Schema;
type Served = Pin<Box<dyn Future<Output = Response> + Send>>;
type Serve = Arc<dyn Fn(Service, HttpRequest, StatusCode, &'static [Scope]) -> Served + Send + Sync>;

/// A request that was understood.
pub struct Call<Q = (), B = ()> {
    pub service: Service,
    pub caller: Request,
    path: BTreeMap<String, String>,
    pub query: Q,
    pub body: B,
    headers: HeaderMap,
}

/// What a handler answers.
#[derive(Debug)]
pub struct Answer<R> {
    body: R,
    etag: Option<String>,
}

impl<R> Answer<R> {
    pub fn of(body: R) -> Self {
        Answer { body, etag: None }
    }

    /// With the version by which `If-Match` and `If-None-Match` know it.
    pub fn versioned(body: R, etag: String) -> Self {
        Answer { body, etag: Some(etag) }
    }
}

/// A query, a body or a reply: nothing, or a type with a schema.
pub trait Part: Sized + Send + 'static {
    const DESCRIBE: Option<Describe>;
}

impl Part for () {
    const DESCRIBE: Option<Describe> = None;
}

impl<T: JsonSchema + Send + 'static> Part for Json<T> {
    const DESCRIBE: Option<Describe> = Some(|generator| generator.subschema_for::<T>());
}

impl<T: JsonSchema + Send + 'static> Part for Query<T> {
    // In place: each property becomes a parameter.
    const DESCRIBE: Option<Describe> = Some(|generator| T::json_schema(generator));
}

/// What is read out of a query.
pub trait Asks: Part {
    fn read(parts: &Parts) -> Result<Self, Error>;
}

impl Asks for () {
    fn read(parts: &Parts) -> Result<Self, Error> {
        match parts.uri.query() {
            None | Some("") => Ok(()),
            Some(_) => Err(Error::Invalid("this takes no query parameters".to_owned())),
        }
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Asks for Query<T> {
    fn read(parts: &Parts) -> Result<Self, Error> {
        Query::try_from_uri(&parts.uri).map_err(|rejected| {
            let cause = std::error::Error::source(&rejected).map_or_else(|| rejected.to_string(), ToString::to_string);
            Error::Invalid(format!("the query: {cause}"))
        })
    }
}

/// What is read out of a body.
pub trait Sends: Part {
    fn read(bytes: &[u8]) -> Result<Self, Error>;
}

impl Sends for () {
    /// A client that posts `{}` or nothing means the same.
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        match bytes.trim_ascii() {
            b"" | b"{}" | b"null" => Ok(()),
            _ => Err(Error::Invalid("this takes no body".to_owned())),
        }
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> Sends for Json<T> {
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let read = serde_json::from_slice::<Object<T>>(bytes);
        read.map(|Object(body)| Json(body)).map_err(|error| Error::Invalid(format!("the body: {error}")))
    }
}

/// What goes out.
pub trait Replies: Part {
    fn respond(self, status: StatusCode) -> Response;
}

impl Replies for () {
    fn respond(self, status: StatusCode) -> Response {
        status.into_response()
    }
}

impl<T: Serialize + JsonSchema + Send + 'static> Replies for Json<T> {
    fn respond(self, status: StatusCode) -> Response {
        (status, self).into_response()
    }
}

impl Operation {
    /// `route` is a method and a path below `/api/v1`. Success is 200, or 204 where nothing is answered.
    pub fn new<Q, B, R, H, F>(
        route: (Method, &str),
        id: &str,
        summary: &str,
        scopes: &'static [Scope],
        handler: H,
    ) -> Self
    where
        Q: Asks,
        B: Sends,
        R: Replies,
        H: Fn(Call<Q, B>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer<R>, Error>> + Send + 'static,
    {
        let (method, path) = route;
        let handler = Arc::new(handler);
        let serve: Serve = Arc::new(move |service, request, status, scopes| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let asked = Asked::of(&request);
                let known = request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
                let safe = request.method().is_safe();
                let outcome = async {
                    let call = Call::read(service, &asked, request, scopes).await?;
                    handler(call).await.map_err(|error| Failure::of(Turned::Away(error), &asked))
                };
                match outcome.await {
                    Ok(answer) => answer.respond(status, if safe { &known } else { &[] }),
                    Err(failure) => failure.into_response(),
                }
            })
        });
        Operation {
            method,
            path: path.to_owned(),
            id: id.to_owned(),
            summary: summary.to_owned(),
            scopes,
            query: Q::DESCRIBE,
            body: B::DESCRIBE,
            reply: R::DESCRIBE,
            status: if R::DESCRIBE.is_some() { StatusCode::OK } else { StatusCode::NO_CONTENT },
            conditional: false,
            serve,
        }
    }

    /// Success makes something: 201.
    pub fn created(self) -> Self {
        Operation { status: StatusCode::CREATED, ..self }
    }

    /// Success is a beginning: 202.
    pub fn accepted(self) -> Self {
        Operation { status: StatusCode::ACCEPTED, ..self }
    }

    /// It honours `If-Match`.
    pub fn conditional(self) -> Self {
        Operation { conditional: true, ..self }
    }

    /// The names of the parameters in its path.
    pub fn path_parameters(&self) -> impl Iterator<Item = &str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// Operations are grouped by the first segment of their path.
    pub fn tag(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// Adds the route.
    pub fn mount(self, methods: MethodRouter<Service>) -> MethodRouter<Service> {
        let filter = MethodFilter::try_from(self.method.clone()).expect("operations use the common methods");
        let (serve, status, scopes) = (self.serve, self.status, self.scopes);
        methods.on(filter, move |State(service): State<Service>, request: HttpRequest| {
            serve(service, request, status, scopes)
        })
    }
}

impl<Q: Asks, B: Sends> Call<Q, B> {
    /// Whose request it is comes first; what is wrong with it is told to living tokens with the scope only.
    async fn read(service: Service, asked: &Asked, request: HttpRequest, scopes: &[Scope]) -> Result<Self, Failure> {
        let caller = service.caller(asked, Door::Api).await.map_err(|turned| Failure::of(turned, asked))?;
        match Self::understand(request, asked).await {
            Ok((path, query, body, headers)) => Ok(Call { service, caller, path, query, body, headers }),
            Err(failure) => {
                let allowed = may(&service.directory, &caller, scopes).await;
                allowed.map_err(|error| Failure::of(Turned::Away(error), asked))?;
                Err(failure)
            }
        }
    }

    async fn understand(
        request: HttpRequest,
        asked: &Asked,
    ) -> Result<(BTreeMap<String, String>, Q, B, HeaderMap), Failure> {
        let (mut parts, body) = request.into_parts();
        let wrong = |error| Failure::of(Turned::Away(error), asked);
        let path = Path::<BTreeMap<String, String>>::from_request_parts(&mut parts, &()).await;
        let Path(path) = path.map_err(|_| wrong(Error::NotFound("the path is not UTF-8".to_owned())))?;
        if let Some(id) = path.get("id").filter(|id| id.parse::<ResourceId>().is_err()) {
            return Err(wrong(Error::NotFound(format!("there is nothing with the id {id}"))));
        }
        let query = Q::read(&parts).map_err(wrong)?;
        if B::DESCRIBE.is_some() && !is_json(&parts.headers) {
            let detail = "send the body as application/json in Content-Type";
            return Err(Failure::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail, asked));
        }
        let body = received(body).await.and_then(|bytes| B::read(&bytes)).map_err(wrong)?;
        Ok((path, query, body, parts.headers))
    }
}

impl<Q, B> Call<Q, B> {
    /// The body apart from the rest.
    pub fn split(self) -> (Call<Q>, B) {
        let Call { service, caller, path, query, body, headers } = self;
        (Call { service, caller, path, query, body: (), headers }, body)
    }

    pub fn directory(&self) -> &Directory {
        &self.service.directory
    }

    /// Asks for a scope before a handler says what is wrong with what it was sent.
    pub async fn require(&self, scope: Scope) -> Result<(), Error> {
        may(self.directory(), &self.caller, &[scope]).await
    }

    /// The `{id}` of the path.
    pub fn id<T: FromStr>(&self) -> Result<T, Error> {
        let id = self.path("id");
        id.parse().map_err(|_| Error::NotFound(format!("there is nothing with the id {id}")))
    }

    /// A parameter of the path.
    pub fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    /// The versions that a write is meant for (RFC 9110 §13.1.1). A tag that is none of ours matches nothing.
    pub fn if_match(&self) -> IfMatch {
        let tags: Vec<&str> = tags(self.headers.get_all(header::IF_MATCH)).collect();
        if tags.is_empty() || tags.contains(&"*") {
            IfMatch::Any
        } else {
            IfMatch::Versions(tags.into_iter().filter_map(|tag| opaque(tag).parse().ok()).collect())
        }
    }
}

async fn may(directory: &Directory, caller: &Request, scopes: &[Scope]) -> Result<(), Error> {
    let (context, _) = directory.open(caller, &[]).await?;
    scopes.iter().try_for_each(|scope| context.require(*scope))
}

impl<R: Replies> Answer<R> {
    /// `known` is what the client has already, of a GET.
    fn respond(self, status: StatusCode, known: &[HeaderValue]) -> Response {
        let Some(etag) = self.etag else { return self.body.respond(status) };
        let mut same = tags(known);
        let mut response = if same.any(|tag| tag == "*" || opaque(tag) == opaque(&etag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.body.respond(status)
        };
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        // A client may keep the answer, and asks at every use whether it still holds.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        response
    }
}

fn tags<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a str> {
    let values = values.into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|tag| !tag.is_empty())
}

/// Tags are compared weakly (RFC 9110 §8.8.3.2).
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    ["application/json", "application/scim+json"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Bodies are bounded before they get here, by the guard.
async fn received(body: Body) -> Result<axum::body::Bytes, Error> {
    to_bytes(body, usize::MAX).await.map_err(|_| Error::Invalid("the body did not arrive completely".to_owned()))
}
