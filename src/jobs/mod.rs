//! What happens by itself: schedules, due timers, mails, webhooks.

pub mod follower;
mod hands;
pub mod mail;
mod patience;
pub mod post;
pub mod schedule;
pub mod scribe;
mod senders;
pub mod ticker;
pub mod uses;
pub mod webhook;
pub mod worker;
