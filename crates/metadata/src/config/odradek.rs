//! The keys that Kafka does not have.
//!
//! A table like its neighbours; the topic key and the broker key have the same name. The catalogue puts them beside
//! Kafka's.

use super::key::{Default::Text, Importance::High, Key, Kind::String, Valid::OneOf, key};

/// The key of [`AckDurability`].
pub(super) const ACK_DURABILITY: &str = "odradek.ack.durability";

#[rustfmt::skip]
pub(super) const BROKER_KEYS: &[Key] = &[
    key(ACK_DURABILITY, String, Text("fsync"), OneOf(&["fsync", "page-cache"]), High,
        "When a write is acknowledged: once it is on stable storage ('fsync'), or once the operating system has it \
         ('page-cache', as Apache Kafka does), which a power cut can take back.").dynamic(),
];

#[rustfmt::skip]
pub(super) const TOPIC_KEYS: &[Key] = &[
    key(ACK_DURABILITY, String, Text("fsync"), OneOf(&["fsync", "page-cache"]), High,
        "When a write to this topic is acknowledged: once it is on stable storage ('fsync'), or once the operating \
         system has it ('page-cache').").from(&[ACK_DURABILITY]),
];

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AckDurability {
    /// The records are on stable storage.
    #[default]
    Fsync,
    /// The operating system has the records.
    PageCache,
}
