//! The Kafka client in Rust: connections, metadata, a producer, consumers and what an administrator asks.
//!
//! It decides nothing about the cluster, knows no transactions and no TLS, and opens no socket itself: [`Connect`]
//! does. The commands of the binary call it, and so do the simulator's clients.

mod backoff;
mod client;
mod cluster;
mod config;
mod configs;
mod connect;
mod consumer;
mod error;
mod fetched;
mod group;
mod group_consumer;
mod group_offsets;
mod link;
mod offsets;
mod partitioner;
mod producer;
mod range_assignor;
mod topics;
mod versions;

pub use client::Client;
pub use cluster::{Broker, Cluster, Partition, Topic};
pub use config::Config;
pub use configs::{ConfigChange, ConfigEntry, ConfigSource, Resource};
pub use connect::Connect;
pub use consumer::{Consumer, ConsumerConfig, Isolation, OutOfRange};
pub use error::Error;
pub use fetched::{Aborts, Fetched};
pub use group::{GroupDescription, GroupListing, GroupMember};
pub use group_consumer::GroupConsumer;
pub use group_offsets::Committed;
pub use link::{Answer, Link};
pub use offsets::{At, OffsetAt};
pub use partitioner::{Partitioner, murmur2};
pub use producer::{Acks, Delivered, Delivery, OutRecord, Producer, ProducerConfig};
pub use topics::NewTopic;
pub use wire::ErrorCode;
