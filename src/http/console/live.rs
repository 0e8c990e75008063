//! What changes while a page is looked at: its script is told that something did, and looks at the page again.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::gate::{Away, Desk, answer};
use crate::directory::feeds::Told;
use crate::domain::secrets::Scope;
use crate::http::serve::Finishing;
use crate::http::service::Service;
use crate::http::streams::{self, Wanted};

/// What a page's script sends when it looks at the page by itself.
const BY_ITSELF: &str = "usherd-live";
/// A browser comes back by itself.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Whether a page is asked for by its script, so that nobody is at work for that.
pub(super) fn is_by_itself(headers: &HeaderMap) -> bool {
    headers.contains_key(BY_ITSELF)
}

impl Desk {
    /// Where the stream of a page begins that is made now.
    pub(super) async fn as_of_now(&self) -> Result<String, Away> {
        let last = self.service.directory.last_event(&self.context).await.map_err(|error| self.failed(&error))?;
        Ok(last.map_or_else(|| "0-0".to_owned(), |id| id.to_string()))
    }
}

/// `GET /admin/{account}/live`: one event whenever something changed, with how much.
pub(super) async fn stream(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_stream(&service, &account, &head).await)
}

async fn try_stream(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::look_in(service, account, head).await?;
    let heard = head.headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let after = heard.unwrap_or_else(|| desk.query.get("after")).parse().ok();
    let watch = service.directory.watch(&desk.request.account, after).await.map_err(|error| desk.failed(&error))?;
    let wanted = Wanted {
        request: desk.request.clone(),
        scope: Scope::Users,
        watch,
        ends_after: LONGEST,
        finishing: head.extensions.get::<Finishing>().cloned().unwrap_or_default(),
        render: Box::new(render),
    };
    match streams::open(&service.directory, &service.streams, wanted) {
        Ok(stream) => Ok(stream.into_response()),
        Err(throttled) => {
            let wait = HeaderValue::from(throttled.retry_after());
            Ok((StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, wait)]).into_response())
        }
    }
}

/// Says how much changed, not what: the page says that.
fn render(told: &[Told]) -> Option<String> {
    let is_change = |told: &&Told| told.event.as_ref().is_some_and(|event| event.refused.is_none());
    let changes = told.iter().filter(is_change).count();
    let last = told.last().filter(|_| changes > 0)?.id;
    Some(format!("id: {last}\nevent: changed\ndata: {changes}\n\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::audit::AuditEvent;
    use crate::directory::{Actor, Door};
    use crate::domain::time::Timestamp;
    use crate::store::EventId;

    fn told(sequence: u64, refused: Option<&str>) -> Told {
        let event = AuditEvent::new(Timestamp::EPOCH, Actor::new(Door::Scim, "okta"), "user.provisioned");
        let event = AuditEvent { refused: refused.map(str::to_owned), ..event };
        Told { id: EventId { millis: 7, sequence }, event: Some(Arc::new(event)) }
    }

    #[test]
    fn a_page_is_told_how_much_changed_and_nothing_else() {
        let both = [told(0, None), told(1, Some("taken")), told(2, None)];
        assert_eq!(render(&both).unwrap(), "id: 7-2\nevent: changed\ndata: 2\n\n");
        assert_eq!(render(&both[1..2]), None, "what was refused changed nothing");
        assert_eq!(render(&[]), None);
    }
}
