//! Bounds around a handler: how long it may take, how slowly and how much a client may send, and what a panic costs.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Sleep;

use super::refusal::{Refusal, Refused, RenderRefusal};
use super::request_id::RequestId;
use crate::metrics::Metrics;

/// How much of a body that is too large is read away at the least, in bytes, and for how long.
const SURPLUS: u64 = 4 << 20;
const TAKE_IN: Duration = Duration::from_secs(2);

/// What a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From the end of the body to the header of the answer.
    pub deadline: Duration,
    /// From the header to the end of the body, however steadily it trickles.
    pub body_deadline: Duration,
    pub body_bytes: u64,
}

/// Chooses the bounds by method and path, so that a bulk request may take longer and a group may be larger.
pub type ChooseBounds = Arc<dyn Fn(&Method, &Uri) -> Bounds + Send + Sync>;

/// The time a handler has, as a request extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestDeadline(pub Duration);

/// The state of this module's layer.
#[derive(Clone)]
pub struct Guard {
    pub bounds: ChooseBounds,
    pub render: RenderRefusal,
    pub metrics: Arc<Metrics>,
}

/// The layer: one answer for every request, whatever its handler or its client does.
pub async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let bounds = (guard.bounds)(request.method(), request.uri());
    let witness = Witness::of(&request);
    request.extensions_mut().insert(RequestDeadline(bounds.deadline));
    if declared_length(&request).is_some_and(|length| length > bounds.body_bytes) {
        take_in(request, bounds.body_bytes).await;
        return witness.refuse(guard.render, Refusal::BodyTooLarge { limit: bounds.body_bytes });
    }
    let progress = Arc::new(Progress::default());
    let request = if request.body().is_end_stream() {
        progress.end(BodyState::Whole);
        request
    } else {
        request.map(|body| Body::new(GuardedBody::new(body, bounds, Arc::clone(&progress))))
    };
    let outcome = tokio::select! {
        biased;
        outcome = CatchPanic(Box::pin(next.run(request))) => outcome,
        () = overdue(&progress, bounds) => return witness.refuse(guard.render, progress.why_overdue(bounds)),
    };
    match (outcome, progress.state()) {
        // Whatever the handler made of a broken body, the reason is this.
        (Ok(_), BodyState::TooSlow) => witness.refuse(guard.render, Refusal::BodyTooSlow),
        (Ok(_), BodyState::TooLarge) => {
            witness.refuse(guard.render, Refusal::BodyTooLarge { limit: bounds.body_bytes })
        }
        (Ok(response), BodyState::Arriving | BodyState::Whole) => response,
        (Err(Panicked(message)), _) => {
            guard.metrics.panicked();
            tracing::error!(message, "a handler panicked");
            witness.refuse(guard.render, Refusal::Panicked)
        }
    }
}

fn declared_length(request: &Request) -> Option<u64> {
    request.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads away what a client is sending already: closing the connection on it would reset it, and most clients would
/// then see a broken connection instead of the answer. One that asks first (`Expect`) has sent nothing.
async fn take_in(request: Request, allowed: u64) {
    let patience = allowed.saturating_mul(2).saturating_add(SURPLUS);
    if request.headers().contains_key(header::EXPECT) || declared_length(&request).is_some_and(|it| it > patience) {
        return;
    }
    let mut body = request.into_body();
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever sends more slowly than this is answered in the middle.
    tokio::time::timeout(TAKE_IN, reading).await.ok();
}

/// Ends when the handler's time is over: its deadline counts from the end of the body.
async fn overdue(progress: &Progress, bounds: Bounds) {
    // A handler that never reads its body gets no more time than the body would have had.
    let _either = tokio::time::timeout(bounds.body_deadline, progress.ended()).await;
    tokio::time::sleep(bounds.deadline).await;
}

/// What is kept of a request in case it is refused after the handler has consumed it.
struct Witness {
    uri: Uri,
    request_id: Option<RequestId>,
    wants_html: bool,
}

impl Witness {
    fn of(request: &Request) -> Self {
        Witness {
            uri: request.uri().clone(),
            request_id: request.extensions().get::<RequestId>().cloned(),
            wants_html: wants_html(request),
        }
    }

    fn refuse(&self, render: RenderRefusal, refusal: Refusal) -> Response {
        let refused = Refused { uri: &self.uri, request_id: self.request_id.as_ref(), wants_html: self.wants_html };
        refuse(render, &refused, refusal)
    }
}

/// Renders `refusal` and sets the headers that belong to it.
pub(super) fn refuse(render: RenderRefusal, refused: &Refused<'_>, refusal: Refusal) -> Response {
    let mut response = render(refused, refusal);
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if refusal.closes_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether `Accept` names HTML, as every browser's does for a page and no provisioning client's does.
pub(super) fn wants_html(request: &Request) -> bool {
    let accept = request.headers().get_all(header::ACCEPT);
    accept.iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum BodyState {
    Arriving,
    Whole,
    TooSlow,
    TooLarge,
}

/// How far the body has come: written by the body, read by the layer that waits for the handler.
#[derive(Debug, Default)]
struct Progress {
    state: AtomicU8,
    ended: Notify,
}

impl Progress {
    fn state(&self) -> BodyState {
        match self.state.load(Ordering::Acquire) {
            0 => BodyState::Arriving,
            1 => BodyState::Whole,
            2 => BodyState::TooSlow,
            _ => BodyState::TooLarge,
        }
    }

    /// The first end counts.
    fn end(&self, state: BodyState) {
        let first =
            self.state.compare_exchange(BodyState::Arriving as u8, state as u8, Ordering::AcqRel, Ordering::Acquire);
        if first.is_ok() {
            self.ended.notify_one();
        }
    }

    async fn ended(&self) {
        if self.state() == BodyState::Arriving {
            self.ended.notified().await;
        }
    }

    fn why_overdue(&self, bounds: Bounds) -> Refusal {
        match self.state() {
            BodyState::TooSlow => Refusal::BodyTooSlow,
            BodyState::TooLarge => Refusal::BodyTooLarge { limit: bounds.body_bytes },
            BodyState::Arriving | BodyState::Whole => Refusal::DeadlinePassed,
        }
    }
}

/// A request body that fails when it is too slow or too long.
struct GuardedBody {
    body: Body,
    bytes_left: u64,
    deadline: Pin<Box<Sleep>>,
    progress: Arc<Progress>,
}

impl GuardedBody {
    fn new(body: Body, bounds: Bounds, progress: Arc<Progress>) -> Self {
        let deadline = Box::pin(tokio::time::sleep(bounds.body_deadline));
        GuardedBody { body, bytes_left: bounds.body_bytes, deadline, progress }
    }

    fn fail(&self, state: BodyState, why: &'static str) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.progress.end(state);
        Poll::Ready(Some(Err(axum::Error::new(why))))
    }
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            return self.fail(BodyState::TooSlow, "the body did not arrive in time");
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(frame) = frame else {
            self.progress.end(BodyState::Whole);
            return Poll::Ready(None);
        };
        let length = frame.as_ref().ok().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match self.bytes_left.checked_sub(length) {
            None => self.fail(BodyState::TooLarge, "the body is too large"),
            Some(left) => {
                self.bytes_left = left;
                Poll::Ready(Some(frame))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for GuardedBody {
    /// A handler that drops the body has read what it wanted of it.
    fn drop(&mut self) {
        self.progress.end(BodyState::Whole);
    }
}

/// A handler's panic, with its message when it is a text.
struct Panicked(String);

/// A future whose panics are values. The state a panic leaves behind is the request's own, or behind locks that know
/// of poisoning.
struct CatchPanic<F>(F);

impl<F: Future<Output = Response> + Unpin> Future for CatchPanic<F> {
    type Output = Result<Response, Panicked>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let future = Pin::new(&mut self.0);
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => {
                let message = payload
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| payload.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                Poll::Ready(Err(Panicked(message)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::response::IntoResponse;
    use axum::routing::post;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use tower::Service;

    use super::*;

    /// Frames that a test sends when it likes.
    struct Frames(mpsc::Receiver<Bytes>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    fn guarded(app: Router) -> Router {
        let bounds =
            Bounds { deadline: Duration::from_secs(5), body_deadline: Duration::from_secs(30), body_bytes: 1000 };
        let bounds: ChooseBounds = Arc::new(move |_, _| bounds);
        let render: RenderRefusal = |_, refusal| (refusal.status(), format!("{refusal:?}")).into_response();
        app.layer(from_fn_with_state(Guard { bounds, render, metrics: Arc::new(Metrics::new()) }, guard))
    }

    async fn post_frames(app: Router, frames: mpsc::Receiver<Bytes>) -> (StatusCode, Duration) {
        let started = Instant::now();
        let request = axum::http::Request::post("/").body(Body::new(Frames(frames))).unwrap();
        let response = guarded(app).call(request).await.unwrap();
        (response.status(), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_counts_from_the_end_of_the_body() {
        let (sender, frames) = mpsc::channel(1);
        let app = Router::new().route("/", post(async |_: Bytes| std::future::pending::<()>().await));
        tokio::spawn(async move {
            for _ in 0..4 {
                sender.send(Bytes::from_static(b"slow ")).await.unwrap();
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        });
        let (status, elapsed) = post_frames(app, frames).await;
        assert_eq!((status, elapsed.as_secs()), (StatusCode::SERVICE_UNAVAILABLE, 20 + 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_for_ever_is_cut_off_at_its_own_deadline() {
        let (sender, frames) = mpsc::channel(1);
        let app = Router::new().route("/", post(async |_: Bytes| "read"));
        tokio::spawn(async move {
            while sender.send(Bytes::from_static(b".")).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let (status, elapsed) = post_frames(app, frames).await;
        assert_eq!((status, elapsed.as_secs()), (StatusCode::REQUEST_TIMEOUT, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_reads_its_body_gets_no_longer_than_both_deadlines() {
        let (_sender, frames) = mpsc::channel(1);
        let app = Router::new().route("/", post(std::future::pending::<()>));
        let (status, elapsed) = post_frames(app, frames).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        // The body is dropped unread with the request, which counts as its end.
        assert!(elapsed.as_secs() <= 30 + 5, "{elapsed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_answered_with_500() {
        let (_sender, frames) = mpsc::channel(1);
        let app = Router::new().route("/", post(async || -> StatusCode { panic!("planted") }));
        let (status, _) = post_frames(app, frames).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
