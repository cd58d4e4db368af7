//! What the controller's host may ask of the consensus, in Kafka's nouns.
//!
//! It names no library. `RaftQuorum` keeps this promise; a test may have another that does.

use crate::{
    checkpoint::{Checkpoint, SnapshotId},
    entry::Placed,
    member::{Member, Replica},
    watch::Watching,
};
use bytes::Bytes;
use env::{BoxFuture, Millis};
use model::{LeaderEpoch, Offset};
use records::Batch;
use std::{io, sync::Arc};

/// Who leads, and how far the log is committed, as this replica knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, if it is known.
    pub leader: Option<Replica>,
    /// The newest epoch that this replica has heard of; it never goes back.
    pub epoch: LeaderEpoch,
    /// The offset after the last record that is known to be committed; it never goes back.
    pub high_watermark: Offset,
    /// Whether this replica leads and knows everything that earlier leaders have committed: once the host has replayed
    /// up to the high watermark, it may decide.
    pub is_active: bool,
}

/// Why records were not, or perhaps not, committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This replica does not lead in that epoch, and nothing was appended. Kafka: NOT_CONTROLLER.
    #[error("this replica does not lead in that epoch")]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<Replica>,
    },
    /// Another leader came before they were committed; they may or may not be. Kafka: NOT_CONTROLLER.
    #[error("another leader came before the records were committed; whether they are is not known")]
    Unknown {
        /// Who leads, if it is known.
        leader: Option<Replica>,
    },
    /// This replica has stopped. Kafka: NOT_CONTROLLER.
    #[error("this replica has stopped: {0}")]
    Stopped(String),
    /// What was proposed is not one intact batch of records.
    #[error("the proposal is refused: {0}")]
    Refused(String),
}

/// Why the voters were not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Kafka: NOT_LEADER_OR_FOLLOWER.
    #[error("this replica does not lead")]
    NotLeader {
        /// Who does, if it is known.
        leader: Option<Replica>,
    },
    /// Kafka: DUPLICATE_VOTER.
    #[error("node {} is a voter already", .0.node)]
    DuplicateVoter(Replica),
    /// Kafka: VOTER_NOT_FOUND.
    #[error("{0} is no voter")]
    NoVoter(Replica),
    /// Another change is under way, or the last voter would go. Kafka: REQUEST_TIMED_OUT or INVALID_REQUEST.
    #[error("the voters cannot be changed: {0}")]
    Refused(String),
    /// This replica has stopped.
    #[error("this replica has stopped: {0}")]
    Stopped(String),
}

/// What DescribeQuorum tells of one replica. Only the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaState {
    /// Who.
    pub replica: Replica,
    /// Where it listens.
    pub member: Member,
    /// The offset after its last record; -1 if the leader has not heard of it.
    pub log_end_offset: Offset,
    /// When it answered last; -1 if it never did.
    pub last_fetch_ms: Millis,
    /// When it had all of the leader's records last; -1 if it never had.
    pub last_caught_up_ms: Millis,
}

/// What DescribeQuorum tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// As [`Quorum::leadership`] says.
    pub leadership: Leadership,
    /// In the order of their ids.
    pub voters: Vec<ReplicaState>,
    /// Those who follow without a vote, as far as the quorum knows them; brokers are not among them.
    pub observers: Vec<ReplicaState>,
}

/// Committed batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Committed {
    /// Whole batches, control batches too; the first may begin before the offset that was asked for. None if nothing
    /// behind it is committed.
    Batches(Vec<Batch>),
    /// The records there are only in this snapshot.
    InSnapshot(SnapshotId),
}

/// A proposal on its way; it is in the leader's log, behind all that were made before.
pub type Pending = BoxFuture<'static, Result<Placed, ProposeError>>;

/// The metadata log and its consensus, as one replica sees it.
pub trait Quorum: Send + Sync {
    /// This replica.
    fn replica(&self) -> Replica;

    /// Who leads and how far the log is committed, now and whenever that changes.
    fn leadership(&self) -> Watching<Leadership>;

    /// Appends one batch of records as the leader of `epoch`. Proposals are appended in the order in which these
    /// futures end; the inner one ends when the records are committed.
    fn propose(&self, epoch: LeaderEpoch, batch: Bytes) -> BoxFuture<'_, Result<Pending, ProposeError>>;

    /// Committed batches from the one that holds `from`, about `bytes_max` bytes, at least one batch.
    fn read(&self, from: Offset, bytes_max: usize) -> BoxFuture<'_, io::Result<Committed>>;

    /// The newest snapshot.
    fn snapshot(&self) -> Option<Arc<Checkpoint>>;

    /// Keeps `batches` as the snapshot of everything before `end_offset`, which must be the end of a committed batch,
    /// and lets go of the log before it.
    fn write_snapshot(
        &self,
        end_offset: Offset,
        batches: Vec<Bytes>,
    ) -> BoxFuture<'_, io::Result<SnapshotId>>;

    /// Who takes part and how far they are.
    fn describe(&self) -> Description;

    /// Lets a replica catch up, then makes it a voter (AddRaftVoter, KIP-853).
    fn add_voter(&self, replica: Replica, member: Member) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Takes a replica's vote away (RemoveRaftVoter, KIP-853).
    fn remove_voter(&self, replica: Replica) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Changes where a voter listens and what it supports (UpdateRaftVoter, KIP-853).
    fn update_voter(&self, replica: Replica, member: Member) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Asks another voter to lead, if this replica does.
    fn transfer_leadership(&self, to: Replica) -> BoxFuture<'_, Result<(), ChangeError>>;

    /// Answers a message of another controller. Whatever the bytes are, there is an answer.
    fn serve(&self, request: Bytes) -> BoxFuture<'_, Bytes>;

    /// Stops: nothing is voted for or appended afterwards, and the log opens quickly next time.
    fn stop(&self) -> BoxFuture<'_, ()>;
}
