//! The nouns of the house and every limit.
//!
//! It decides nothing: it names things and says which values they may take. Every crate above speaks in these words;
//! `docs/glossary.md` lists them.
//!
//! Offsets, epochs and ids are plain integers here, because Kafka does arithmetic on them and gives meaning to
//! negative values; the aliases say which one is meant.

pub mod limits;
mod names;

pub use names::{GroupId, InvalidName, TopicName, TopicPartition};

/// A record's place in its partition; the first is 0. -1 means "none".
pub type Offset = i64;
/// The index of a partition within its topic; the first is 0.
pub type PartitionIndex = i32;
/// How often a partition has changed its leader (KIP-101). -1 means "unknown".
pub type LeaderEpoch = i32;
/// The `node.id` of a broker or controller. -1 means "none".
pub type NodeId = i32;
/// The id of an idempotent or transactional producer (KIP-98). -1 means "none".
pub type ProducerId = i64;
/// The epoch of a producer id. -1 means "none".
pub type ProducerEpoch = i16;
/// The number of a record of an idempotent producer within one partition; wraps from `i32::MAX` to 0. -1: "none".
pub type Sequence = i32;
/// Milliseconds since 1970-01-01 UTC. -1 means "none".
pub type Timestamp = i64;
/// The id of a topic (KIP-516).
pub type TopicId = stdx::Uuid;
