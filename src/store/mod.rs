//! Where state lives: documents under keys, ordered indexes, unique keys, timers, counters and an event stream, all
//! changed by one conditional [`Batch`] in one round trip. Two real backends, Redis and the embedded redb, do exactly
//! what a batch says; deciding what it says is the work of `directory`.
//!
//! Everything lives in a [`Space`]. A batch touches one space, because a space is one slot of a Redis Cluster.
//!
//! [`Store`] is what the other layers call; [`Settings`] say which backend it is. The two backends share the bytes of
//! index members (`span`) and the clock (`clock`); each describes its keys in its own module.

mod batch;
mod clock;
mod dispatch;
mod embedded;
mod error;
mod model;
mod names;
mod redis;
mod settings;
mod span;
mod walk;
mod wipe;

pub use batch::{Batch, Check, Committed, Write};
pub use dispatch::Store;
pub use error::{OpenError, StoreError, Violation};
pub use model::{
    Bounds, Claim, ClaimToken, Document, DocumentKey, Dump, Entry, Event, EventId, Found, Index, Owner, Page, Reads,
    Space, Timer,
};
pub use names::interned;
pub use settings::{InvalidStoreUrl, Settings, StoreUrl};
pub use walk::Item;
