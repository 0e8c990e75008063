//! Which request may take what, by method and path alone: a body is bounded before anything is read of it.

use std::time::Duration;

use axum::http::{Method, Uri};

use super::guard::Bounds;

/// How long a request may wait for something to happen, besides the time that it takes.
pub const WAIT: Duration = Duration::from_secs(10);

/// The bounds of the public listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundsTable {
    /// Of whatever is not below.
    pub single: Bounds,
    /// POST, PUT and PATCH of a group, which may name many members.
    pub group: Bounds,
    /// POST of a bulk request (RFC 7644 §3.7).
    pub bulk: Bounds,
}

impl BoundsTable {
    /// Doubled and trailing slashes do not matter, as in the routes themselves.
    pub fn choose(&self, method: &Method, uri: &Uri) -> Bounds {
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).take(5).collect();
        match (method, segments.as_slice()) {
            (&Method::POST, ["scim", "v2", "Groups"])
            | (&Method::PUT | &Method::PATCH, ["scim", "v2", "Groups", _, ..]) => self.group,
            (&Method::POST, ["scim", "v2", "Bulk"]) => self.bulk,
            // Many people are dealt with in one request: as long as a bulk request, and no more octets than another form.
            (
                &Method::POST,
                ["admin", _, "users", "new" | "many" | "import"]
                | ["admin", _, "compare"]
                | ["api", "v1", "invitations"]
                | ["api", "v1", "bulk", _],
            ) => Bounds { body_bytes: self.single.body_bytes, ..self.bulk },
            // Whoever fetches security events may wait for some.
            (&Method::POST, ["api", "v1", "streams", _, "poll"]) => {
                Bounds { deadline: self.single.deadline + WAIT, ..self.single }
            }
            _ => self.single,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const fn bounds(body_bytes: u64) -> Bounds {
        Bounds { deadline: Duration::from_secs(5 * body_bytes), body_deadline: Duration::from_secs(30), body_bytes }
    }

    const SINGLE: Bounds = bounds(1);
    const GROUP: Bounds = bounds(2);
    const BULK: Bounds = bounds(3);
    const WAITING: Bounds = Bounds { deadline: Duration::from_secs(15), ..SINGLE };
    const MANY: Bounds = Bounds { body_bytes: SINGLE.body_bytes, ..BULK };

    #[rstest]
    #[case(Method::PATCH, "/scim/v2/Groups/42", GROUP)]
    #[case(Method::PUT, "/scim/v2/Groups/42?excludedAttributes=members", GROUP)]
    #[case(Method::PATCH, "/scim/v2//Groups/42/", GROUP)]
    #[case(Method::POST, "/scim/v2/Groups", GROUP)]
    #[case(Method::POST, "/scim/v2/Groups/.search", SINGLE)]
    #[case(Method::GET, "/scim/v2/Groups", SINGLE)]
    #[case(Method::PATCH, "/scim/v2/Groups", SINGLE)]
    #[case(Method::PATCH, "/scim/v2/Users/42", SINGLE)]
    #[case(Method::PATCH, "/Groups/42", SINGLE)]
    #[case(Method::PATCH, "/scim/v2/GroupsAndMore/42", SINGLE)]
    #[case(Method::POST, "/scim/v2/Bulk", BULK)]
    #[case(Method::GET, "/scim/v2/Bulk", SINGLE)]
    #[case(Method::POST, "/api/v1/users", SINGLE)]
    #[case(Method::POST, "/admin/default/users/new", MANY)]
    #[case(Method::POST, "/admin/default/users/many", MANY)]
    #[case(Method::POST, "/admin/default/users/import", MANY)]
    #[case(Method::POST, "/admin/default/compare", MANY)]
    #[case(Method::POST, "/api/v1/invitations", MANY)]
    #[case(Method::POST, "/api/v1/bulk/deactivate", MANY)]
    #[case(Method::POST, "/api/v1/streams/42/poll", WAITING)]
    #[case(Method::GET, "/admin/default/users/new", SINGLE)]
    #[case(Method::POST, "/admin/default/users/42", SINGLE)]
    fn only_groups_and_bulk_requests_may_be_larger(#[case] method: Method, #[case] uri: Uri, #[case] wanted: Bounds) {
        let table = BoundsTable { single: SINGLE, group: GROUP, bulk: BULK };
        assert_eq!(table.choose(&method, &uri), wanted);
    }
}
