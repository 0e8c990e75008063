//! The one place where the use cases draw random numbers and new ids.

use rand::RngExt;
use uuid::Builder;
use uuid::Uuid;

use crate::domain::ids::{CommitId, EndpointId, OutboxId, ResourceId, TokenId};
use crate::domain::time::Timestamp;
use crate::domain::token::Generation;

/// 256 random bits, for secrets.
pub fn secret() -> [u8; 32] {
    draw()
}

pub fn generation() -> Generation {
    Generation::from_random(u64::from_be_bytes(draw()))
}

/// A number in `0.0..1.0`, to spread retries.
pub fn jitter() -> f64 {
    f64::from(u32::from_be_bytes(draw())) / (f64::from(u32::MAX) + 1.0)
}

pub fn resource_id(now: Timestamp) -> ResourceId {
    ResourceId::from_uuid(uuid(now))
}

pub fn token_id(now: Timestamp) -> TokenId {
    TokenId::from_uuid(uuid(now))
}

pub fn commit_id(now: Timestamp) -> CommitId {
    CommitId::from_uuid(uuid(now))
}

pub fn outbox_id(now: Timestamp) -> OutboxId {
    OutboxId::from_uuid(uuid(now))
}

pub fn endpoint_id(now: Timestamp) -> EndpointId {
    EndpointId::from_uuid(uuid(now))
}

/// Version 7, by the store's clock, so that ids of all replicas sort by the time they were made.
pub fn uuid(now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &draw::<10>()).into_uuid()
}

#[expect(clippy::disallowed_methods, reason = "the named edge: everything else gets random numbers as arguments")]
fn draw<const N: usize>() -> [u8; N] {
    rand::rng().random()
}
