//! Where state lives: documents under keys, ordered indexes, unique keys, timers, counters and an event stream, all
//! changed by one conditional [`Batch`] in one round trip. Two real backends, Redis and the embedded redb, do exactly
//! what a batch says; deciding what it says is the work of `directory`.
//!
//! Everything lives in a [`Space`]. A batch touches one space, because a space is one slot of a Redis Cluster.

mod batch;
mod error;
mod model;

pub use batch::{Batch, Check, Committed, Write};
pub use error::{StoreError, Violation};
pub use model::{Bounds, Claim, ClaimToken, Document, DocumentKey, Entry, Event, EventId, Index, Owner, Page, Space};
