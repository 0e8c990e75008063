//! Server-sent events (HTML Living Standard, "Server-sent events"): answers that go on for as long as the client stays,
//! may ask, and the daemon serves.
//!
//! A stream is a body that makes its next chunk when the connection takes it, so nothing is queued for a client that
//! does not read; [`super::transport`] cuts that one off. Before anything is told, and every few seconds in any case,
//! the rights of whoever asked are read from the store again. A stream ends without a word: a client goes on where it
//! was, by the id of the last event.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use tokio::time::{Instant, sleep_until};

use super::limits::Throttled;
use super::serve::Finishing;
use crate::directory::feeds::{Told, Watch};
use crate::directory::{Access, Directory, Error, Request};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::secrets::{Scope, TokenHash};
use crate::metrics::{LimitKind, Metrics};

pub const MEDIA_TYPE: &str = "text/event-stream";
/// Between two looks at the rights of whoever listens, and two signs of life.
const BEAT: Duration = Duration::from_secs(5);
/// How long a client waits before it comes back.
const COME_BACK: Duration = Duration::from_secs(2);
/// Streams of one token, or one session.
const PER_HOLDER: usize = 8;
/// Streams of one account through this replica.
const PER_ACCOUNT: usize = 100;

/// The streams that are open, counted so that one client does not take the connections of all.
#[derive(Debug)]
pub struct Streams {
    open: Mutex<Open>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Open {
    accounts: HashMap<AccountId, usize>,
    holders: HashMap<Holder, usize>,
}

/// Whose a stream is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Holder {
    Token(TokenId),
    Session(TokenHash),
}

/// The room of one open stream.
#[derive(Debug)]
struct Room {
    streams: Arc<Streams>,
    account: AccountId,
    holder: Option<Holder>,
}

impl Streams {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Streams { open: Mutex::default(), metrics }
    }

    fn admit(self: &Arc<Self>, request: &Request) -> Result<Room, Throttled> {
        let holder = Holder::of(&request.access);
        let mut open = self.lock();
        let of_account = open.accounts.get(&request.account).copied().unwrap_or(0);
        let of_holder = holder.as_ref().and_then(|holder| open.holders.get(holder)).copied().unwrap_or(0);
        if of_account >= PER_ACCOUNT || of_holder >= PER_HOLDER {
            self.metrics.limit_hit(LimitKind::Streams);
            return Err(Throttled { limit: LimitKind::Streams, wait: BEAT * 2 });
        }
        *open.accounts.entry(request.account.clone()).or_default() += 1;
        if let Some(holder) = &holder {
            *open.holders.entry(holder.clone()).or_default() += 1;
        }
        self.metrics.stream_opened();
        Ok(Room { streams: Arc::clone(self), account: request.account.clone(), holder })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn of(access: &Access) -> Option<Self> {
        match access {
            Access::Token { id, .. } => Some(Holder::Token(*id)),
            Access::Session { hash, .. } => Some(Holder::Session(*hash)),
            Access::Trusted { .. } => None,
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        leave(&mut open.accounts, &self.account);
        if let Some(holder) = &self.holder {
            leave(&mut open.holders, holder);
        }
        self.streams.metrics.stream_closed();
    }
}

fn leave<K: std::hash::Hash + Eq>(open: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = open.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            open.remove(key);
        }
    }
}

/// What is told of events that happened at about the same time; `None`: nothing that this client wants to know.
pub type Render = Box<dyn Fn(&[Told]) -> Option<String> + Send + Sync>;

/// How a stream is asked for.
pub struct Wanted {
    pub request: Request,
    /// What a token needs. Somebody who is signed in has to be an Active Account Admin.
    pub scope: Scope,
    pub watch: Watch,
    /// What has happened already is told in any case.
    pub ends_after: Duration,
    pub finishing: Finishing,
    pub render: Render,
}

/// Opens a stream to somebody whose rights were looked at just now.
///
/// # Errors
/// [`Throttled`] when there are too many of that token, session or account.
pub fn open(directory: &Arc<Directory>, streams: &Arc<Streams>, wanted: Wanted) -> Result<EventStream, Throttled> {
    let room = streams.admit(&wanted.request)?;
    let now = Instant::now();
    let teller = Teller {
        ends: now + wanted.ends_after,
        beat: now + BEAT,
        directory: Arc::clone(directory),
        wanted,
        waiting: Vec::new(),
        has_greeted: false,
        has_to_rest: false,
        _room: room,
    };
    Ok(EventStream { next: Box::pin(teller.next()), has_ended: false })
}

/// A chunk, and who makes the one behind it.
type Chunk = Option<(String, Teller)>;

/// The body of a stream.
pub struct EventStream {
    next: Pin<Box<dyn Future<Output = Chunk> + Send>>,
    has_ended: bool,
}

impl HttpBody for EventStream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.next.as_mut().poll(context)) {
            Some((text, teller)) => {
                self.next = Box::pin(teller.next());
                Some(Ok(Frame::data(text.into())))
            }
            None => {
                // Gives its room back now, not when the connection is closed.
                (self.has_ended, self.next) = (true, Box::pin(std::future::ready(None)));
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

impl IntoResponse for EventStream {
    fn into_response(self) -> Response {
        let mut response = Body::new(self).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        // nginx collects an answer before it passes it on, unless it is told otherwise.
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        response
    }
}

/// Makes the chunks of a stream.
struct Teller {
    directory: Arc<Directory>,
    wanted: Wanted,
    /// What happened and could not be told yet, as the store did not say whether it may be.
    waiting: Vec<Told>,
    ends: Instant,
    /// When the rights are looked at next, whatever happens.
    beat: Instant,
    has_greeted: bool,
    /// Nothing is read before the next beat, since the store did not answer.
    has_to_rest: bool,
    _room: Room,
}

/// What ends a wait.
enum Woken {
    Told(Result<Vec<Told>, Error>),
    Beat,
    End,
}

impl Teller {
    async fn next(mut self) -> Chunk {
        if !self.has_greeted {
            self.has_greeted = true;
            return Some((format!("retry: {}\n\n", COME_BACK.as_millis()), self));
        }
        loop {
            let is_beat = match self.woken().await {
                Woken::End => return None,
                Woken::Beat => true,
                Woken::Told(Ok(told)) if told.is_empty() => continue,
                Woken::Told(Ok(told)) => {
                    self.waiting = told;
                    false
                }
                Woken::Told(Err(error)) => {
                    tracing::debug!(%error, "events could not be read; trying again");
                    self.has_to_rest = true;
                    continue;
                }
            };
            self.beat = Instant::now() + BEAT;
            self.has_to_rest = false;
            match self.may_go_on().await {
                Ok(()) => {}
                Err(Error::Unavailable { reason, .. }) => {
                    tracing::debug!(%reason, "whoever listens may or may not; nothing is told meanwhile");
                    self.has_to_rest = true;
                    return Some((": the store does not answer\n\n".to_owned(), self));
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream of events ended");
                    return None;
                }
            }
            let told = (self.wanted.render)(&std::mem::take(&mut self.waiting));
            match told {
                Some(text) => return Some((text, self)),
                None if is_beat => return Some((self.sign_of_life(), self)),
                None => {}
            }
        }
    }

    async fn woken(&mut self) -> Woken {
        let Wanted { watch, finishing, .. } = &mut self.wanted;
        let (is_behind, may_read) = (watch.is_behind(), !self.has_to_rest);
        tokio::select! {
            biased;
            () = finishing.0.cancelled() => Woken::End,
            () = sleep_until(self.ends), if !is_behind || !may_read => Woken::End,
            () = sleep_until(self.beat) => Woken::Beat,
            told = watch.next(&self.directory), if may_read => Woken::Told(told),
        }
    }

    async fn may_go_on(&self) -> Result<(), Error> {
        let (context, _) = self.directory.open(&self.wanted.request, &[]).await?;
        context.require(self.wanted.scope)
    }

    /// A comment, with the id up to which all was told or left out, so that nothing of that is looked through again.
    fn sign_of_life(&self) -> String {
        match self.wanted.watch.after() {
            Some(id) => format!(": here\nid: {id}\n\n"),
            None => ": here\n\n".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Door;

    fn by_token(account: &str, number: u128) -> Request {
        let token = TokenId::from_uuid(uuid::Uuid::from_u128(number));
        Request::by_token(account.parse().unwrap(), token, Door::Api, None)
    }

    #[test]
    fn one_token_and_one_account_have_so_many_streams_and_room_that_is_left_is_free_again() {
        let streams = Arc::new(Streams::new(Arc::new(Metrics::new())));
        let mut rooms: Vec<Room> = (0..8).map(|_| streams.admit(&by_token("acme", 1)).unwrap()).collect();
        let refused = streams.admit(&by_token("acme", 1)).unwrap_err();
        assert_eq!((refused.limit, refused.retry_after()), (LimitKind::Streams, 10));
        rooms.pop();
        rooms.push(streams.admit(&by_token("acme", 1)).unwrap());
        rooms.extend((8..100).map(|number| streams.admit(&by_token("acme", number)).unwrap()));
        assert!(streams.admit(&by_token("acme", 1_000)).is_err(), "the account has a hundred");
        assert!(streams.admit(&by_token("other", 1_000)).is_ok(), "which is nothing to another");
        rooms.clear();
        assert!(streams.lock().accounts.is_empty() && streams.lock().holders.is_empty());
    }
}
