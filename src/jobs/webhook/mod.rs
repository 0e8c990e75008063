//! Webhooks on their way: JSON over HTTP, signed as in Standard Webhooks; and security event tokens (`tokens`).
//!
//! Where they go is typed by people, so an endpoint must not become a way into the network that usherd stands in.
//! `addresses` says where nothing is sent to; `poster` resolves a name once, checks every address and connects to one
//! that it has checked, so that a name which changes its mind in between (DNS rebinding) gains nothing. Redirects are
//! not followed. `couriers` decides who sends when.

mod addresses;
mod couriers;
mod poster;
mod tokens;

pub(super) use couriers::Couriers;
pub use poster::{Poster, UnusableAuthority};
