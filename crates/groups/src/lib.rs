//! Consumer groups, classic and of KIP-848, share groups (KIP-932), streams groups (KIP-1071), and committed offsets: the coordinator of one `__consumer_offsets` partition, as a core.
//!
//! It knows no API versions, no bytes of records, no clock and no network. The broker's host hands it [`Event`]s,
//! appends what its [`Effect`]s order, and answers clients with their replies.
//!
//! Who reads on: [`Coordinator`] is the whole; [`Request`] and [`Reply`] are what clients say and hear; [`Record`] is
//! what outlives the process.

mod appends;
mod commit;
mod config;
mod consumer;
mod consumers;
mod convert;
mod coordinator;
mod decision;
mod delete;
mod effect;
mod error;
mod event;
mod expiry;
mod group;
mod heartbeat;
mod join;
mod leave;
mod listing;
mod member;
mod offsets;
mod rebalance;
mod record;
mod replace;
mod reply;
mod request;
mod share;
mod shares;
mod state;
mod step;
mod streams;
mod streams_groups;
mod subscription;
mod sync;
mod timers;
mod transactional;
mod view;

#[cfg(test)]
mod tests;

pub use config::{Config, Migration};
pub use consumer::{
    ConsumerState,
    records::{
        ClassicMember, ConsumerChange, Current, Epochs, GroupEpoch, MemberState, Partitions, Pattern,
        Subscription, TargetEpoch,
    },
    topics::{Topics, TopicsView},
};
pub use coordinator::Coordinator;
pub use effect::{Effect, Effects, InTransaction};
pub use error::Error;
pub use event::{AppendFailure, DeletedTopic, Event};
pub use record::{CommittedOffset, GroupMetadata, MemberMetadata, Record};
pub use reply::{
    ConsumerDescribed, ConsumerDescribedMember, ConsumerHeartbeatReply, Deleted, Described, DescribedMember,
    FetchedOffset, FetchedTopic, Joined, JoinedMember, Left, Listed, ListedState, NamedPartitions, Reply,
    ShareDescribed, ShareDescribedMember, ShareHeartbeatReply, StreamsDescribed, StreamsDescribedMember,
    StreamsHeartbeatReply, Synced, TopicResult,
};
pub use request::{
    CommitPartition, CommitTopic, ConsumerHeartbeat, FetchTopic, Heartbeat, JoinGroup, LeaveGroup,
    LeavingMember, OffsetCommit, OffsetDelete, OffsetFetch, Protocol, Request, ShareAlterOffsets,
    ShareHeartbeat, StreamsConfig, StreamsHeartbeat, SyncGroup, TransactionMarker, TxnOffsetCommit,
};
pub use share::{
    ShareState,
    records::{NamedStates, ShareChange, ShareCurrent, ShareSubscription, StatePartitions},
};
pub use state::State;
pub use streams::{
    StreamsState,
    description::{DescriptionStatus, NodeKind, TopologyDescription, TopologyNode},
    endpoints::EndpointPartitions,
    records::{
        Endpoint, OwnedTasks, StreamsChange, StreamsCurrent, StreamsEpoch, StreamsMetadata, TaskEpochs,
        TaskOffsets, TaskSet, Tasks,
    },
    status::StreamsStatus,
    task_offsets::{MemberOffsets, TaskOffset},
    topology::{CopartitionGroup, InternalTopic, Subtopology, Topology},
};
pub use view::{GroupView, OffsetView};

use std::sync::Arc;

/// The id that the coordinator gave a member; empty where a client has none yet.
pub type MemberId = Arc<str>;

/// `group.instance.id`: the name under which a static member (KIP-345) returns to its assignment.
pub type InstanceId = Arc<str>;

/// Names a request until its one reply; chosen by the host, never repeated while it waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names an append until the host says what became of it; chosen by the coordinator, rising from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
