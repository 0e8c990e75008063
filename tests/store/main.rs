//! The contract of the store, proved on both backends with real files and real redis-server processes.

mod contract;
mod differential;
mod embedded;
mod fixture;
mod ranges;
mod redis;
mod timers;
mod topologies;
