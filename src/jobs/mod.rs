//! What happens by itself: schedules, due timers, mails.

pub mod mail;
mod post;
pub mod schedule;
pub mod ticker;
pub mod worker;
