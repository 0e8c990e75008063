//! The SCIM protocol as pure functions over JSON documents and one [`SchemaTable`].
//!
//! What a resource looks like is data (`table/*.json`, plus the operator's own extensions and types); how it is read, changed,
//! queried and shown is one generic engine that asks the table. Nothing here knows a clock, a store or a socket.
//!
//! | file | question it answers |
//! |---|---|
//! | [`schema`], [`name`], [`table`], [`schema_file`], [`operator`] | which attributes exist, and of what kind are they? |
//! | [`profile`] | which deviations of a client are tolerated? |
//! | [`resource`], [`coerce`], [`value`] | what does this POST or PUT body say? |
//! | [`path`], [`patch`], [`members`] | what does this PATCH change? |
//! | [`changes`] | what differs between two documents? |
//! | [`filter`], [`sort`], [`list`] | which resources, in which order, on which page? |
//! | [`projection`] | which attributes go out? |
//! | [`bulk`] | what do many operations in one request say, and in which order? |
//! | [`discovery`] | what does this server offer? |
//! | [`error`] | what does the client read when it went wrong? |
//!
//! A document is a `serde_json` map with canonical attribute names; attributes of an extension stand under the URN of
//! their schema. `id`, `meta` and `schemas` are not part of it: the reply splices them in. A *detached* attribute
//! (`Group.members`, `User.groups`) is not part of it either, since memberships are index entries of the store;
//! a write to a detached attribute comes out as a list of [`members::MemberChange`].

pub mod bulk;
pub mod changes;
pub mod coerce;
pub mod discovery;
pub mod error;
pub mod filter;
pub mod list;
pub mod members;
pub mod name;
pub mod operator;
pub mod patch;
pub mod path;
pub mod profile;
pub mod projection;
pub mod resource;
mod samples;
pub mod schema;
pub mod schema_file;
pub mod sort;
pub mod table;
pub mod value;

pub use error::{ScimError, ScimType};
pub use filter::Filter;
pub use members::{Member, MemberChange};
pub use name::AttrPath;
pub use profile::{Profile, Tolerance};
pub use projection::Projection;
pub use resource::schemas_of;
pub use schema::{Attribute, ResourceType, Schema, SchemaTable};
