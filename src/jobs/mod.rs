//! What happens by itself: schedules, due timers, mails.

mod hands;
pub mod mail;
pub mod post;
pub mod schedule;
pub mod scribe;
pub mod ticker;
pub mod uses;
pub mod worker;
