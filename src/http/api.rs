//! `/api/v1`: JSON for admins' scripts and for the workspace that asks who may enter.

use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::service::{Asked, Service, Turned};
use crate::directory::assignments::Wishes;
use crate::directory::invitations::{Action, Invitee};
use crate::directory::record::UserRecord;
use crate::directory::{Door, Error};
use crate::domain::lifecycle::Refusal;
use crate::domain::names::EmailAddress;
use crate::domain::token::Channel;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/api/v1/access/{name}", get(access))
        .route("/api/v1/users", post(invite))
        .route("/api/v1/users/{id}", patch(assign))
        .route("/api/v1/users/{id}/resend", post(resend))
        .route("/api/v1/users/{id}/copy-link", post(copy_link))
        .route("/api/v1/users/{id}/revoke", post(revoke))
        .route("/api/v1/users/{id}/deactivate", post(deactivate))
        .method_not_allowed_fallback(method_not_allowed)
}

/// `GET /api/v1/access/{id or userName}`: whether the person may enter now.
async fn access(
    State(service): State<Service>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let asked = Asked::of(&request);
    let known = request.headers().clone();
    let outcome = async {
        let caller = service.caller(&asked, Door::Api).await?;
        Ok::<_, Turned>(service.directory.access(&caller, &name).await?)
    };
    let access = outcome.await.map_err(|turned| Failure::of(turned, &asked))?;
    let etag = HeaderValue::from_str(&access.version).ok();
    let mut response = if knows(&known, &access.version) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Json(&access).into_response()
    };
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
        // An application may keep the answer, and asks at every use whether it still holds.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

/// Whether `If-None-Match` names this version, compared weakly (RFC 9110 §13.1.2).
fn knows(headers: &HeaderMap, version: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == version)
}

/// What `POST /api/v1/users` takes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InviteBody {
    email: String,
    display_name: Option<String>,
    account_role: Option<String>,
    /// By id or name, as are the licenses and projects.
    organization: Option<String>,
    licenses: Option<Vec<String>>,
    projects: Option<Vec<ProjectBody>>,
    /// The flag that an Inactive person needs.
    #[serde(default)]
    reactivate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProjectBody {
    project: String,
    role: Option<String>,
}

/// `POST /api/v1/users`: invites one person.
async fn invite(State(service): State<Service>, request: Request) -> Result<Response, Failure> {
    let asked = Asked::of(&request);
    let outcome = async {
        let caller = service.caller(&asked, Door::Api).await?;
        let invitee = match invitee(request).await {
            Ok(invitee) => invitee,
            Err(error) => {
                // What is wrong with a body is told to living tokens only.
                service.directory.open(&caller, &[]).await?;
                return Err(error.into());
            }
        };
        let record = service.directory.invite(&caller, &invitee).await?;
        Ok::<_, Turned>((StatusCode::CREATED, Json(summary(&record))).into_response())
    };
    outcome.await.map_err(|turned| Failure::of(turned, &asked))
}

async fn invitee(request: Request) -> Result<Invitee, Error> {
    let bytes = to_bytes(request.into_body(), usize::MAX)
        .await
        .map_err(|_| Error::Invalid("the body did not arrive completely".to_owned()))?;
    let body: InviteBody =
        serde_json::from_slice(&bytes).map_err(|error| Error::Invalid(format!("the body: {error}")))?;
    body.invitee()
}

/// What `PATCH /api/v1/users/{id}` takes. What is absent stays as it is; the lists are whole lists.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AssignBody {
    account_role: Option<String>,
    /// `null` takes the person out of their organization.
    #[serde(default, deserialize_with = "named")]
    organization: Option<Option<String>>,
    licenses: Option<Vec<String>>,
    projects: Option<Vec<ProjectBody>>,
}

/// Tells `null` from what is absent.
fn named<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// `PATCH /api/v1/users/{id}`: changes role, organization, licenses and projects.
async fn assign(State(service): State<Service>, Path(id): Path<String>, request: Request) -> Result<Response, Failure> {
    let asked = Asked::of(&request);
    let outcome = async {
        let caller = service.caller(&asked, Door::Api).await?;
        let bytes = to_bytes(request.into_body(), usize::MAX)
            .await
            .map_err(|_| Error::Invalid("the body did not arrive completely".to_owned()))?;
        let body: AssignBody =
            serde_json::from_slice(&bytes).map_err(|error| Error::Invalid(format!("the body: {error}")))?;
        let wishes = Wishes {
            account_role: body.account_role,
            organization: body.organization,
            licenses: body.licenses,
            projects: body.projects.map(|list| list.into_iter().map(|it| (it.project, it.role)).collect()),
            start_date: None,
        };
        let record = service.directory.assign(&caller, &id, &wishes).await?;
        Ok::<_, Turned>(Json(summary(&record)).into_response())
    };
    outcome.await.map_err(|turned| Failure::of(turned, &asked))
}

impl InviteBody {
    fn invitee(self) -> Result<Invitee, Error> {
        let address = EmailAddress::parse(&self.email).map_err(|error| Error::Invalid(format!("email: {error}")))?;
        let projects = self.projects.map(|list| list.into_iter().map(|it| (it.project, it.role)).collect());
        Ok(Invitee {
            address,
            display_name: self.display_name.map(|name| crate::domain::text::safe_name(&name)),
            wishes: Wishes {
                account_role: self.account_role,
                organization: self.organization.map(Some),
                licenses: self.licenses,
                projects,
                start_date: None,
            },
            reactivate: self.reactivate,
        })
    }
}

async fn resend(State(service): State<Service>, Path(id): Path<String>, request: Request) -> Result<Response, Failure> {
    act(&service, &id, Asked::of(&request), Action::Resend).await
}

async fn copy_link(
    State(service): State<Service>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    act(&service, &id, Asked::of(&request), Action::CopyLink).await
}

async fn revoke(State(service): State<Service>, Path(id): Path<String>, request: Request) -> Result<Response, Failure> {
    act(&service, &id, Asked::of(&request), Action::Revoke).await
}

async fn deactivate(
    State(service): State<Service>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    act(&service, &id, Asked::of(&request), Action::Deactivate).await
}

async fn act(service: &Service, id: &str, asked: Asked, action: Action) -> Result<Response, Failure> {
    let outcome = async {
        let caller = service.caller(&asked, Door::Api).await?;
        let record = service.directory.act(&caller, id, &action).await?;
        let mut body = summary(&record);
        if action == Action::CopyLink {
            body["link"] = service.directory.link(&caller.account, &record.user, Channel::Link)?.into();
        }
        Ok::<_, Turned>(Json(body).into_response())
    };
    outcome.await.map_err(|turned| Failure::of(turned, &asked))
}

fn summary(record: &UserRecord) -> Value {
    json!({
        "id": record.user.id,
        "userName": record.user.user_name.as_str(),
        "displayName": record.display_name(),
        "status": record.user.status(),
        "statusReason": record.user.status_reason(),
    })
}

/// An unknown path below `/api`.
pub async fn not_found(request: Request) -> Response {
    let asked = Asked::of(&request);
    let path = request.uri().path().to_owned();
    Failure::plain(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"), &asked).into_response()
}

async fn method_not_allowed(request: Request) -> Response {
    let asked = Asked::of(&request);
    let detail = "this method is not allowed here; see Allow";
    Failure::plain(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail, &asked).into_response()
}

/// An error of the API: a code for programs, a sentence for people, and the request id.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    body: Value,
    retry_after: Option<u64>,
}

impl Failure {
    pub fn plain(status: StatusCode, code: &str, message: impl Into<String>, asked: &Asked) -> Self {
        let body = json!({ "error": { "code": code, "message": message.into(), "requestId": asked.request_id } });
        Failure { status, body, retry_after: None }
    }

    fn of(turned: Turned, asked: &Asked) -> Self {
        let error = match turned {
            Turned::Throttled(throttled) => {
                let seconds = throttled.retry_after();
                let message = format!("too many requests; try again in {seconds} s");
                let failure = Failure::plain(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message, asked);
                return Failure { retry_after: Some(seconds), ..failure };
            }
            Turned::Away(error) => error,
        };
        let message = error.to_string();
        let (status, code, message, retry_after) = match error {
            Error::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", message, None),
            Error::NotAccountAdmin => (StatusCode::FORBIDDEN, "role_needed", message, None),
            Error::MissingScope(_) => (StatusCode::FORBIDDEN, "missing_scope", message, None),
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "not_found", message, None),
            Error::Protocol(error) => {
                let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
                (status, "invalid", error.detail, None)
            }
            Error::Taken { attribute } => (StatusCode::CONFLICT, "taken", format!("{attribute} is taken"), None),
            Error::PreconditionFailed { .. } => (StatusCode::PRECONDITION_FAILED, "changed", message, None),
            Error::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid", message, None),
            Error::Refused(refusal) => {
                let (status, wait) = match &refusal {
                    Refusal::NotFound => (StatusCode::NOT_FOUND, None),
                    Refusal::ManagedByOther { .. } | Refusal::AboveOwnRole | Refusal::Yourself => {
                        (StatusCode::FORBIDDEN, None)
                    }
                    Refusal::TooSoon { retry_after } => {
                        (StatusCode::TOO_MANY_REQUESTS, Some(retry_after.as_secs().max(1)))
                    }
                    Refusal::Braked { retry_after } => {
                        (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after.as_secs().max(1)))
                    }
                    _ => (StatusCode::CONFLICT, None),
                };
                (status, refusal.code(), message, wait)
            }
            Error::Paused { retry_after, .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "client_paused", message, Some(retry_after.as_secs().max(1)))
            }
            Error::Unavailable { reason, retry_after } => {
                tracing::warn!(%reason, "the store is not available");
                let message = "the store is not available at the moment; repeating the request is safe".to_owned();
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, Some(retry_after.as_secs().max(1)))
            }
            Error::Internal(detail) => {
                tracing::error!(%detail, "a request failed");
                let message = "the request failed because of a fault in this service".to_owned();
                (StatusCode::INTERNAL_SERVER_ERROR, "internal", message, None)
            }
        };
        Failure { retry_after, ..Failure::plain(status, code, message, asked) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"usherd\""));
        }
        response
    }
}
