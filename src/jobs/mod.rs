//! Work that nobody waits for: mails, and later timers and schedules.

pub mod mail;
