//! Share groups (KIP-932) beside their members: which records of a partition are delivered to whom, and where that is kept.
//!
//! It knows no API versions, no bytes of records, no clock and no network. Members, subscriptions and assignments are in
//! `groups`.
//!
//! Who reads on: [`SharePartition`] is what the leader of a partition remembers for one group; [`Sessions`] are the share
//! sessions of a broker; [`Coordinator`] keeps the state of share partitions, as a shard whose [`Record`]s outlive the
//! process.

mod batches;
mod coordinator;
mod error;
mod partition;
mod record;
mod request;
mod sessions;

#[cfg(test)]
mod tests;

pub use batches::{StateBatch, combine};
pub use coordinator::{Config as CoordinatorConfig, Coordinator};
pub use error::Error;
pub use partition::{
    Config, SharePartition, Write, WriteId,
    acknowledge::{Acknowledged, Kind},
    acquire::{Acquired, Batch, Mode, Wish},
    letters::{DeadLetters, Reason},
    span::DeliveryState,
};
pub use record::{Key, Record, Snapshot, Update};
pub use request::{Initialize, Read, ReadReply, Reply, Request, Summary, WriteState};
pub use sessions::{Opened, PartitionKey, SessionFailure, SessionKey, Sessions};

use std::sync::Arc;

/// The id of a member of a share group, which it chose itself.
pub type MemberId = Arc<str>;
