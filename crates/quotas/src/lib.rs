//! How fast clients may go (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612): which quota counts for a client, how fast it has
//! been, and how long it is to be held back.
//!
//! It holds nobody back and keeps no time: the broker tells the milliseconds of a monotonic clock, and mutes connections.
//! What a quota is worth comes from the metadata, which this crate does not know.

mod addresses;
mod limits;
mod mutations;
mod rate;
mod sensors;
mod throughput;
mod tokens;

pub use addresses::Addresses;
pub use limits::{Client, Entity, Limits};
pub use mutations::Mutations;
pub use rate::{Rate, Windows};
pub use sensors::Capacity;
pub use throughput::Throughput;
pub use tokens::Tokens;
