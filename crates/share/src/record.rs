//! What outlives the process: the records of `__share_group_state`, as plain values.
//!
//! It knows no bytes: the broker translates each to and from Kafka's ShareSnapshot and ShareUpdate.

use crate::StateBatch;
use model::{GroupId, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};

/// A share partition: a partition as one share group sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The group.
    pub group: GroupId,
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

/// One change of the persistent state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// All that is known of a share partition from now on.
    Snapshot(Key, Snapshot),
    /// What has changed since.
    Update(Key, Update),
    /// Nothing is known of it any more.
    Removed(Key),
}

/// All of a share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Rises with each snapshot.
    pub snapshot_epoch: i32,
    /// Rises when the state is initialised anew.
    pub state_epoch: i32,
    /// Of the leader that spoke last.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not done; -1: nobody has read yet.
    pub start: Offset,
    /// How many records from there on are done; -1: unknown.
    pub complete_count: i32,
    /// When this state was made.
    pub created: Timestamp,
    /// When it was last written.
    pub written: Timestamp,
    /// The states of records.
    pub batches: Vec<StateBatch>,
}

/// A part of a share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Of the snapshot that it follows.
    pub snapshot_epoch: i32,
    /// Of the leader that spoke; -1: as before.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not done; -1: as before.
    pub start: Offset,
    /// How many records from there on are done; -1: unknown.
    pub complete_count: i32,
    /// The states of records.
    pub batches: Vec<StateBatch>,
}

impl Record {
    /// Of which share partition it speaks.
    pub fn key(&self) -> &Key {
        match self {
            Self::Snapshot(key, _) | Self::Update(key, _) | Self::Removed(key) => key,
        }
    }
}
