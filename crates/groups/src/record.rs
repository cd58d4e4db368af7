//! What outlives the process: the records of `__consumer_offsets`, as plain values.
//!
//! It knows no bytes: the broker translates each to and from Kafka's OffsetCommitKey/Value and GroupMetadataKey/Value.

use crate::{ConsumerChange, InstanceId, MemberId, ShareChange, StreamsChange};
use bytes::Bytes;
use model::{GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId, TopicName};
use std::sync::Arc;

/// One change of the persistent state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An offset of a group (OffsetCommitKey with a value).
    OffsetCommitted {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionIndex,
        /// The offset and what belongs to it.
        offset: CommittedOffset,
    },
    /// The same in a transaction: it counts once that is committed.
    OffsetPending {
        /// The producer of the transaction.
        producer_id: ProducerId,
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionIndex,
        /// The offset and what belongs to it.
        offset: CommittedOffset,
    },
    /// A transaction has ended (a control record).
    TransactionEnded {
        /// Its producer.
        producer_id: ProducerId,
        /// Whether it was committed.
        committed: bool,
    },
    /// The offset is deleted or expired (OffsetCommitKey without a value).
    OffsetRemoved {
        /// The group.
        group: GroupId,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionIndex,
    },
    /// A generation of a group with its assignment, or the group without members (GroupMetadataKey with a value).
    GroupMetadata(GroupMetadata),
    /// A value of a consumer group (KIP-848).
    Consumer {
        /// The group.
        group: GroupId,
        /// Which value, and what it is.
        change: ConsumerChange,
    },
    /// A value of a share group (KIP-932).
    Share {
        /// The group.
        group: GroupId,
        /// Which value, and what it is.
        change: ShareChange,
    },
    /// A value of a streams group (KIP-1071).
    Streams {
        /// The group.
        group: GroupId,
        /// Which value, and what it is.
        change: StreamsChange,
    },
    /// The group is deleted or expired (GroupMetadataKey without a value).
    GroupRemoved {
        /// The group.
        group: GroupId,
    },
}

/// A committed offset (OffsetCommitValue).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group reads.
    pub offset: Offset,
    /// The leader epoch of the last record read (KIP-320); -1: unknown.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the client noted beside it.
    pub metadata: Arc<str>,
    /// When it was committed.
    pub commit_timestamp: Timestamp,
    /// When it expires, where the client said so (OffsetCommit v2 to v4); it then outranks the retention. -1: unset.
    pub expire_timestamp: Timestamp,
    /// The topic's id, zero if the client did not give it.
    pub topic_id: TopicId,
}

/// A generation of a group (GroupMetadataValue).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMetadata {
    /// The group.
    pub group: GroupId,
    /// What kind of protocol the members speak, `consumer` for consumers; empty: none.
    pub protocol_type: Arc<str>,
    /// The generation.
    pub generation: i32,
    /// The protocol (assignor) that the members agreed on.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: Option<MemberId>,
    /// When the group entered its state; -1: unknown (old records).
    pub state_timestamp: Timestamp,
    /// The members, by id.
    pub members: Vec<MemberMetadata>,
}

/// A member of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberMetadata {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id`, if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// How long it may take to join again; -1 (old records): as long as its session.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader assigned to it.
    pub assignment: Bytes,
}

impl Record {
    /// The group that it belongs to, if it is only one.
    pub fn group(&self) -> Option<&GroupId> {
        match self {
            Self::OffsetCommitted { group, .. }
            | Self::OffsetPending { group, .. }
            | Self::OffsetRemoved { group, .. }
            | Self::Consumer { group, .. }
            | Self::Share { group, .. }
            | Self::Streams { group, .. }
            | Self::GroupRemoved { group } => Some(group),
            Self::GroupMetadata(metadata) => Some(&metadata.group),
            Self::TransactionEnded { .. } => None,
        }
    }
}
