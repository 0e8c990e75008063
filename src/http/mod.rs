//! The HTTP edge: our own accept loop, the layers every request passes, the ops listener, and the pages of invited
//! people. Handlers are thin: extract, call the directory, respond.
//!
//! One request, from the outside inwards ([`edge::dress`] puts the layers in this order):
//!
//! 1. [`serve`] accepts within the connection limit, speaks TLS when configured ([`tls`]), and cuts off clients that
//!    send their header or take their answer too slowly ([`transport`]).
//! 2. [`request_id`] names the request, opens its tracing span, measures it, and logs its end.
//! 3. [`headers`] adds the security headers to every answer.
//! 4. [`guard`] turns a panic into one 500, a late answer into 503, a slow or oversized body into 408 or 413;
//!    [`bounds`] says what is late and oversized.
//! 5. [`hosts`] refuses names that are not ours with 421.
//! 6. [`client_address`] finds out who asks, through trusted proxies only; [`limits`] is asked by the handlers.
//!
//! Layers that refuse a request know nothing of SCIM or HTML: they hand a [`refusal::Refusal`] to one renderer.

pub mod api;
pub mod authorization;
pub mod bounds;
pub mod client_address;
pub mod console;
pub mod cookie;
pub mod edge;
pub mod form;
pub mod guard;
pub mod headers;
pub mod hooks;
pub mod hosts;
pub mod invitee;
pub mod issuers;
pub mod jwks;
pub mod limits;
pub mod office;
pub mod ops;
pub mod pages;
pub mod refusal;
pub mod request_id;
pub mod scim;
pub mod serve;
pub mod service;
pub mod streams;
pub mod tls;
pub mod transport;
