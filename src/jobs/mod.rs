//! What happens by itself: schedules, due timers, mails.

pub mod mail;
pub mod schedule;
