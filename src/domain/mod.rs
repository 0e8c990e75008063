//! What usherd knows about people, without any I/O: identifiers and names that cannot be invalid, the lifecycle of
//! a user as one pure transition function, invitation tokens, roles, the words of each language. `now`, random numbers and new ids are arguments.

pub mod ids;
pub mod jwt;
pub mod lifecycle;
pub mod message_id;
pub mod names;
pub mod roles;
pub mod secrets;
pub mod text;
pub mod time;
pub mod token;
pub mod user;
pub mod webhook;
pub mod words;
