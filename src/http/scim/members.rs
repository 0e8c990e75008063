//! The reply that shows a group with very many members: page by page, as fast as the client reads, so that a hundred
//! thousand of them take no more memory than one page.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waker, Poll, ready};

use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame};
use serde_json::{Map, Value};

use crate::directory::beside::{MembersPage, Names};
use crate::directory::{Directory, Error};
use crate::domain::ids::ResourceId;
use crate::scim::Projection;
use crate::store::{Entry, Space};

/// Where the reply stands.
pub struct Members {
    pub directory: Arc<Directory>,
    pub space: Space,
    pub group: ResourceId,
    pub projection: Projection,
}

impl Members {
    /// `head` is the group without its members, as a JSON object. When the store fails half-way, the connection breaks
    /// off: the answer cannot change any more, and half a list must not pass for a whole one.
    pub fn body(self, mut head: Vec<u8>, first: MembersPage) -> Body {
        head.pop();
        head.extend_from_slice(b",\"members\":[");
        let begun = async move { self.page(head, &[], first).await };
        Body::new(Pages { next: Some(Box::pin(begun)) })
    }

    async fn page(self, mut text: Vec<u8>, comma: &[u8], page: MembersPage) -> Result<Piece, Error> {
        let names = match self.projection.asks_for("members", "display") {
            true => self.directory.names_of(&self.space, &page.members).await?,
            false => Names::new(),
        };
        let list = self.directory.members_value(&page.members, &names);
        let list = if self.projection.is_identity() { list } else { self.projected(&list)? };
        let items = list.trim_start_matches('[').trim_end_matches(']');
        // The last page is empty when those on it left a moment ago.
        if !items.is_empty() {
            text.extend_from_slice(comma);
            text.extend_from_slice(items.as_bytes());
        }
        if page.rest.is_none() {
            text.extend_from_slice(b"]}");
        }
        Ok((text.into(), page.rest.map(|after| (self, after))))
    }

    async fn behind(self, after: Entry) -> Result<Piece, Error> {
        let page = self.directory.members_page(&self.space, self.group, Some(after)).await?;
        self.page(Vec::new(), b",", page).await
    }

    /// The members with the sub-attributes that were asked for.
    fn projected(&self, members: &str) -> Result<String, Error> {
        let members: Value = serde_json::from_str(members).map_err(|error| Error::damaged("members", error))?;
        let mut resource = Map::from_iter([("members".to_owned(), members)]);
        self.projection.apply(&mut resource);
        Ok(resource.remove("members").unwrap_or_else(|| Value::Array(Vec::new())).to_string())
    }
}

/// A piece of the reply, and where the next one begins.
type Piece = (Bytes, Option<(Members, Entry)>);
type Reading = Pin<Box<dyn Future<Output = Result<Piece, Error>> + Send>>;

struct Pages {
    next: Option<Reading>,
}

impl HttpBody for Pages {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let outcome = ready!(next.as_mut().poll(waker));
        self.next = None;
        Poll::Ready(Some(outcome.map(|(bytes, rest)| {
            if let Some((members, after)) = rest {
                self.next = Some(Box::pin(members.behind(after)));
            }
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }
}
