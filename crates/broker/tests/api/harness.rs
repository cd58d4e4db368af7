//! A broker in a world of its own, and a client that speaks to it at any version.

mod batches;
mod client;
mod cluster;
mod member;
mod node;
mod pipe;
mod reach;
mod sharing;
mod streaming;
mod transactional;
mod world;

pub(crate) use batches::{BatchSpec, batch, batch_of, values};
pub(crate) use client::{Client, Topic, bytes_of, fetch, fetch_topic, produce};
pub(crate) use cluster::Cluster;
pub(crate) use member::{Member, join, sync};
pub(crate) use node::{LOG_DIR, NODE_ID, Node};
pub(crate) use pipe::Wire;
pub(crate) use reach::{Cut, Reach};
pub(crate) use sharing::{Got, Sharing, got};
pub(crate) use streaming::Streaming;
pub(crate) use transactional::{Transactional, committed, offsets_in_transaction, stable_offset};
pub(crate) use world::WALL_START_MS;

/// What the error codes of answers are compared with.
pub(crate) fn code(error: wire::ErrorCode) -> i16 {
    error.to_i16()
}
