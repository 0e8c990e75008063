//! What a cursor says (RFC 9865 §2): behind which resource the next page begins.
//!
//! It is signed with the keys of the installation, under a label of its own, together with the account, the client and
//! its scopes, the resource types and the parameters of the query. So a forged cursor, one of another query, of another
//! client, or of this client before its rights changed is noticed without a trip, and all of them are answered alike.
//! It gives no right: what may be seen is read from the store on every page. Nothing of it is stored, so there is no
//! number of open cursors to bound, and any replica goes on where another has begun.
//!
//! `GET /api/v1/users` pages along indexes by name, and its `next` says where it stands in one of them
//! ([`crate::directory::listing::Start`]); here the id of a resource is enough, and no name gets into a URL.

use serde::{Deserialize, Serialize};

use crate::directory::Directory;
use crate::directory::error::Error;
use crate::directory::kind::Kind;
use crate::directory::request::Context;
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::domain::token::keyring::Label;
use crate::scim::list::Query;
use crate::scim::{ScimError, ScimType};

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub given: Timestamp,
    /// The length of a page, which stays the same throughout a list.
    pub count: usize,
    /// As the first page had it.
    pub total: Option<usize>,
    pub place: Place,
}

/// Behind this resource, whether it is still there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub kind: Kind,
    pub id: ResourceId,
    /// How many there are up to it, in a sorted list.
    pub rank: usize,
}

/// A cursor as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    given: Timestamp,
    count: usize,
    total: Option<usize>,
    /// The word of the kind.
    kind: String,
    id: ResourceId,
    rank: usize,
}

impl Written {
    fn of(cursor: &Cursor) -> Self {
        let Cursor { given, count, total, place: Place { kind, id, rank } } = cursor;
        Written { given: *given, count: *count, total: *total, kind: kind.to_string(), id: *id, rank: *rank }
    }

    /// `None` when the list is over other kinds.
    fn among(self, kinds: &[Kind]) -> Option<Cursor> {
        let Written { given, count, total, kind, id, rank } = self;
        let kind = kinds.iter().copied().find(|known| known.as_str() == kind)?;
        Some(Cursor { given, count, total, place: Place { kind, id, rank } })
    }
}

impl Directory {
    pub(super) fn seal_cursor(&self, context: &Context, kinds: &[Kind], query: &Query, cursor: &Cursor) -> String {
        let bound_to = self.bound_to(context, kinds, query);
        let bound_to: Vec<&[u8]> = bound_to.iter().map(String::as_bytes).collect();
        let text = serde_json::to_vec(&Written::of(cursor)).expect("a cursor has only string keys");
        self.keys.seal(Label::CURSOR, &bound_to, &text)
    }

    /// # Errors
    /// `invalidCursor` for whatever was not given for this very query; `expiredCursor`.
    pub(super) fn open_cursor(
        &self,
        context: &Context,
        kinds: &[Kind],
        query: &Query,
        text: &str,
    ) -> Result<Cursor, Error> {
        let bound_to = self.bound_to(context, kinds, query);
        let bound_to: Vec<&[u8]> = bound_to.iter().map(String::as_bytes).collect();
        let opened = self.keys.open(Label::CURSOR, &bound_to, text, context.now);
        let read = opened.and_then(|text| serde_json::from_slice::<Written>(&text).ok());
        let cursor = read.and_then(|written| written.among(kinds)).ok_or_else(|| {
            let detail = "this cursor was not given for this query: repeat all other parameters as they were, or begin \
                          again with an empty `cursor`";
            ScimError::of(ScimType::InvalidCursor, detail)
        })?;
        let timeout = self.settings.queries.cursor_timeout;
        if context.now.since(cursor.given) > timeout {
            let detail = format!(
                "this cursor is older than {} s, the cursorTimeout of this service; begin again with an empty `cursor`",
                timeout.as_secs()
            );
            return Err(ScimError::of(ScimType::ExpiredCursor, detail).into());
        }
        Ok(cursor)
    }

    /// All that must be the same on every page of a list (RFC 9865 §2, §5.2).
    fn bound_to(&self, context: &Context, kinds: &[Kind], query: &Query) -> Vec<String> {
        let token = context.token.as_ref();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.installation.clone(),
            context.account.id.to_string(),
            token.map(|token| token.client.to_string()).unwrap_or_default(),
            token.map(|token| token.scopes.to_string()).unwrap_or_default(),
            kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(","),
            text(&query.filter),
            text(&query.sort_by),
            text(&query.sort_order),
            query.attributes.join(","),
            query.excluded_attributes.join(","),
        ]
    }
}
