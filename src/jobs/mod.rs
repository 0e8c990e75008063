//! Work that happens by itself: on a schedule, at a deadline, or because something must go out.

pub mod schedule;
