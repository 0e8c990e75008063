//! Webhooks on their way: JSON over HTTP, signed as in Standard Webhooks.
//!
//! Where they go is typed by people; [`crate::outgoing`] says where nothing is sent to. `poster` makes one request of a
//! delivery, and `couriers` decides who sends when.

mod couriers;
mod poster;

pub(super) use couriers::Couriers;
pub use poster::Poster;
