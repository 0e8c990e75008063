//! `/hooks/mail`: a mail service reports what became of mails that it had taken: bounces that come hours later.
//!
//! Requests are signed as in Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, in the headers `webhook-id`,
//! `webhook-timestamp` and `webhook-signature`. A signature is believed for five minutes; within that time the store
//! remembers the ids, so that a report counts once however often it is sent.

use std::fmt;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;

use super::service::{Asked, Service};
use crate::directory::Error;
use crate::directory::reports::{REPORT_TOLERANCE, Report, Reported};
use crate::domain::time::Timestamp;

/// A report is small; what is larger is none.
const MAX_BODY: usize = 64 * 1024;
const MAX_ID: usize = 128;

/// The secret that usherd and the mail service share. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HookSecret(Vec<u8>);

/// Why a text is no secret for reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a secret of 24 to 64 octets: write whsec_ and its base64, as `echo whsec_$(openssl rand -base64 32)` does"
)]
pub struct InvalidHookSecret;

impl HookSecret {
    /// # Errors
    /// When it does not begin with `whsec_`, is no base64, or is too short or long.
    pub fn parse(text: &str) -> Result<Self, InvalidHookSecret> {
        let encoded = text.strip_prefix("whsec_").ok_or(InvalidHookSecret)?;
        let octets = STANDARD.decode(encoded).map_err(|_| InvalidHookSecret)?;
        if (24..=64).contains(&octets.len()) { Ok(HookSecret(octets)) } else { Err(InvalidHookSecret) }
    }

    /// The id of a request that whoever knows the secret has signed, at about `now`.
    fn verify<'a>(&self, headers: &'a HeaderMap, body: &[u8], now: Timestamp) -> Result<&'a str, &'static str> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let missing = "webhook-id, webhook-timestamp and webhook-signature are needed";
        let id = header("webhook-id").ok_or(missing)?;
        let timestamp = header("webhook-timestamp").ok_or(missing)?;
        let signatures = header("webhook-signature").ok_or(missing)?;
        if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("webhook-id is 1 to 128 visible ASCII characters");
        }
        let is_right = |signature: &str| {
            let tag = signature.strip_prefix("v1,").and_then(|encoded| STANDARD.decode(encoded).ok());
            let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            tag.is_some_and(|tag| mac.verify_slice(&tag).is_ok())
        };
        if !signatures.split(' ').any(is_right) {
            return Err("no signature of this request is right");
        }
        let seconds: i64 = timestamp.parse().map_err(|_| "webhook-timestamp is no number of seconds")?;
        let at = Timestamp::from_millis(seconds.saturating_mul(1_000));
        if at.since(now).max(now.since(at)) > REPORT_TOLERANCE {
            return Err("webhook-timestamp is more than five minutes off");
        }
        Ok(id)
    }
}

impl fmt::Debug for HookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookSecret(…)")
    }
}

/// What a report says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    event: Outcome,
    /// The Message-ID of the mail.
    message_id: String,
    /// Whether it is for good. A mailbox that is full today is no reason to give somebody up.
    #[serde(default)]
    permanent: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Bounced,
    #[serde(other)]
    Other,
}

pub fn router() -> Router<Service> {
    Router::new().route("/hooks/mail", post(mail))
}

async fn mail(State(service): State<Service>, request: Request) -> Response {
    let Some(secret) = &service.settings.hook_secret else {
        return answer(StatusCode::NOT_FOUND, "off", "mail.hook_secret is not set");
    };
    let asked = Asked::of(&request);
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "a report has 64 KiB at the most");
    };
    let id = match secret.verify(&head.headers, &body, service.directory.store().now()) {
        Ok(id) => id,
        Err(why) => {
            let throttled = asked.client.map(|client| service.limits.admit_stranger(client));
            return match throttled {
                Some(Err(_)) => {
                    answer(StatusCode::TOO_MANY_REQUESTS, "throttled", "too many requests; try again later")
                }
                Some(Ok(())) | None => answer(StatusCode::UNAUTHORIZED, "unauthorized", why),
            };
        }
    };
    let Ok(body) = serde_json::from_slice::<Body>(&body) else {
        let message = "a report is {\"event\": \"bounced\", \"messageId\": \"<…>\", \"permanent\": true}";
        return answer(StatusCode::BAD_REQUEST, "malformed", message);
    };
    let (Outcome::Bounced, Ok(mail)) = (body.event, body.message_id.parse()) else {
        // Said as a success: a mail service repeats what was not, and this will never be of use.
        return answer(StatusCode::OK, "ignored", "not a bounce of a mail to a user");
    };
    let report = Report { id: id.to_owned(), mail, permanent: body.permanent };
    match service.directory.mail_reported(&report).await {
        Ok(Reported::Acted) => answer(StatusCode::OK, "recorded", "the bounce is recorded"),
        Ok(Reported::Repeated) => answer(StatusCode::OK, "repeated", "this report was recorded before"),
        Ok(Reported::Noted) => answer(StatusCode::OK, "ignored", "the bounce changes nothing"),
        Ok(Reported::Unknown) => answer(StatusCode::OK, "ignored", "there is no such mail"),
        Err(Error::Unavailable { reason, .. }) => {
            tracing::warn!(reason, "a bounce could not be recorded");
            answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "try again later")
        }
        Err(error) => {
            tracing::error!(%error, "a bounce could not be recorded");
            answer(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault in this service; see its log")
        }
    }
}

fn answer(status: StatusCode, result: &str, message: &str) -> Response {
    (status, Json(json!({ "result": result, "message": message }))).into_response()
}
