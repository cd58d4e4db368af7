//! What leaders of partitions and group coordinators ask of a share coordinator, and what they hear.
//!
//! Each request is about one share partition; that it exists, the handlers in `broker` have looked up.

use crate::{Key, StateBatch};
use model::{LeaderEpoch, Offset, TopicId};
use std::collections::BTreeSet;

/// A request; each variant but the last two is the Kafka API of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Begin a state, or begin it anew.
    Initialize(Initialize),
    /// Read all; the leader that reads is the one from then on.
    Read(Read),
    /// Read where it stands.
    ReadSummary(Key),
    /// Change it.
    Write(WriteState),
    /// Forget it.
    Delete(Key),
    /// Topics are gone: forget what is known of them.
    TopicsDeleted(BTreeSet<TopicId>),
    /// Write anew what has not changed for long, so that the log need not be kept for it.
    SnapshotCold,
}

/// See [`Request::Initialize`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialize {
    /// Which.
    pub key: Key,
    /// Its new epoch; -1: whatever it is.
    pub state_epoch: i32,
    /// The first offset to deliver; -1: as `share.auto.offset.reset` of the group says when it is first read.
    pub start: Offset,
}

/// See [`Request::Read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub key: Key,
    /// Of the leader that reads; -1: nobody who leads.
    pub leader_epoch: LeaderEpoch,
}

/// See [`Request::Write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteState {
    /// Which.
    pub key: Key,
    /// In which the writer has read it; -1: it does not say.
    pub state_epoch: i32,
    /// Of the leader that writes; -1: it does not say.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not done; -1: as before.
    pub start: Offset,
    /// How many records from there on are done; -1: unknown.
    pub complete_count: i32,
    /// The states of records.
    pub batches: Vec<StateBatch>,
}

/// A reply; each variant answers the request of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It has begun.
    Initialize,
    /// All of it.
    Read(ReadReply),
    /// Where it stands.
    ReadSummary(Summary),
    /// It is changed.
    Write,
    /// It is forgotten, now or before.
    Delete,
    /// They are forgotten.
    TopicsDeleted,
    /// They are written anew.
    SnapshotCold,
}

/// The state of a share partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadReply {
    /// Its epoch.
    pub state_epoch: i32,
    /// The first offset that is not done; -1: nobody has read yet.
    pub start: Offset,
    /// The states of records, in the order of their offsets.
    pub batches: Vec<StateBatch>,
}

/// Where a share partition stands; all but the epochs -1 if nothing is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its epoch.
    pub state_epoch: i32,
    /// Of the leader that spoke last.
    pub leader_epoch: LeaderEpoch,
    /// The first offset that is not done.
    pub start: Offset,
    /// How many records from there on are done.
    pub complete_count: i32,
}

impl Summary {
    /// Of what nobody knows.
    pub const UNKNOWN: Self = Self { state_epoch: 0, leader_epoch: 0, start: -1, complete_count: -1 };
}
