//! Bulk requests (RFC 7644 §3.7) as a plan: what is done in which order, what each operation refers to, and what the
//! answer says. Whoever carries it out asks for the next [`Task`] and reports what became of it; nothing here does.
//!
//! Operations are done in the order in which they came, but a POST that an earlier operation refers to by its `bulkId`
//! goes before that one. Of POSTs that refer to each other in a circle, the first is made without what is not there yet,
//! and a PATCH adds that as soon as it is (§3.7.1).
//!
//! - `request`: the message that came
//! - `references`: `bulkId:x` in bodies and paths
//! - `run`: the order, and the answer

mod references;
mod request;
mod run;

pub use request::{BulkRequest, Method, Operation};
pub use run::{Outcome, Run, Task};

pub const BULK_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
pub const BULK_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

#[cfg(test)]
mod tests;
