//! The keys that Kafka does not have.
//!
//! A table like its neighbours; the topic key and the broker key have the same name. The catalogue puts them beside
//! Kafka's.

use super::key::{
    Default::Text,
    Importance::{High, Medium},
    Key,
    Kind::String,
    Valid::{Any, OneOf},
    key,
};

/// The key of [`AckDurability`].
pub(super) const ACK_DURABILITY: &str = "odradek.ack.durability";

pub(super) const HTTP_LISTENER: &str = "odradek.http.listener";

#[rustfmt::skip]
pub(super) const BROKER_KEYS: &[Key] = &[
    key(ACK_DURABILITY, String, Text("fsync"), OneOf(&["fsync", "page-cache"]), High,
        "When a write is acknowledged: once it is on stable storage ('fsync'), or once the operating system has it \
         ('page-cache', as Apache Kafka does), which a power cut can take back.").dynamic(),
    key(HTTP_LISTENER, String, Text("127.0.0.1:9644"), Any, Medium,
        "Where the private HTTP port listens (metrics, health); empty for none. It must not be reachable from \
         outside."),
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
