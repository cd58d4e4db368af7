//! What clients hear, without API versions.

use crate::{
    ConsumerState, DescriptionStatus, EndpointPartitions, Error, InstanceId, InternalTopic, MemberId,
    MemberOffsets, Partitions, ShareState, ShareSubscription, State, StreamsHeartbeat, StreamsMetadata,
    StreamsState, StreamsStatus, Subscription, Tasks, Topology,
};
use bytes::Bytes;
use model::{GroupId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};
use std::sync::Arc;

/// A reply; each variant answers the request of its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The member is in the generation.
    JoinGroup(Joined),
    /// The member's assignment.
    SyncGroup(Synced),
    /// The member is alive and nothing changed.
    Heartbeat,
    /// What became of each member, in the order of the request.
    LeaveGroup(Vec<Left>),
    /// What became of each partition, in the order of the request.
    OffsetCommit(Vec<TopicResult>),
    /// What became of each partition, in the order of the request.
    TxnOffsetCommit(Vec<TopicResult>),
    /// The marker is written.
    TransactionMarker,
    /// The offsets.
    OffsetFetch(Vec<FetchedTopic>),
    /// What became of each partition, in the order of the request.
    OffsetDelete(Vec<TopicResult>),
    /// The groups.
    ListGroups(Vec<Listed>),
    /// One description per group asked for.
    DescribeGroups(Vec<Described>),
    /// The member is in the consumer group, or has left it.
    ConsumerHeartbeat(ConsumerHeartbeatReply),
    /// One description per consumer group asked for.
    ConsumerDescribe(Vec<ConsumerDescribed>),
    /// The member is in the share group, or has left it.
    ShareHeartbeat(ShareHeartbeatReply),
    /// One description per share group asked for.
    ShareDescribe(Vec<ShareDescribed>),
    /// Partitions with a share state, or of which it is to be forgotten.
    SharePartitions(Partitions),
    /// It is noted which offsets of a share group are set.
    ShareAlterOffsets {
        /// The epoch of the group, in which share coordinators are to begin with them.
        epoch: i32,
    },
    /// What came of a request to share coordinators is noted.
    ShareDone,
    /// The member is in the streams group, or has left it.
    StreamsHeartbeat(Box<StreamsHeartbeatReply>),
    /// One description per streams group asked for.
    StreamsDescribe(Vec<StreamsDescribed>),
    /// The description of the topology is kept.
    StreamsTopologyDescribed,
    /// What became of each group, in the order of the request.
    DeleteGroups(Vec<Deleted>),
}

/// A member's place in a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The member's id.
    pub member_id: MemberId,
    /// The generation.
    pub generation: i32,
    /// The kind of protocol of the group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol (assignor) chosen. Below v7 the response has an empty text for none.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: MemberId,
    /// The leader has nothing to assign (KIP-814).
    pub skip_assignment: bool,
    /// For the leader: all members; for others empty.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// A member's assignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The kind of protocol of the group.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol (assignor) chosen.
    pub protocol: Option<Arc<str>>,
    /// What the leader assigned; empty if nothing.
    pub assignment: Bytes,
}

/// What became of a member that was to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The id in the request.
    pub member_id: MemberId,
    /// The `group.instance.id` in the request.
    pub instance_id: Option<InstanceId>,
    /// Why it did not leave. Below v3 it is the error of the whole response.
    pub error: Option<Error>,
}

/// What became of each partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicResult {
    /// The topic.
    pub topic: TopicName,
    /// The id in the request.
    pub topic_id: TopicId,
    /// The partitions, each with the error if it was refused.
    pub partitions: Vec<(PartitionIndex, Option<Error>)>,
}

/// The offsets of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTopic {
    /// The topic.
    pub topic: TopicName,
    /// The id in the request; zero where all offsets were asked for.
    pub topic_id: TopicId,
    /// The partitions.
    pub partitions: Vec<FetchedOffset>,
}

/// The offset of a partition; -1 with an empty text if there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedOffset {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read; -1: none.
    pub offset: Offset,
    /// The leader epoch of the last record read; -1: unknown.
    pub leader_epoch: LeaderEpoch,
    /// What the client noted beside it.
    pub metadata: Arc<str>,
    /// Why it is not told.
    pub error: Option<Error>,
}

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The group.
    pub group: GroupId,
    /// The kind of protocol; empty for a group that only holds offsets.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: ListedState,
    /// Kafka's name of its type.
    pub group_type: &'static str,
}

/// The state of a group of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// Of a classic group.
    Classic(State),
    /// Of a consumer group.
    Consumer(ConsumerState),
    /// Of a share group.
    Share(ShareState),
    /// Of a streams group.
    Streams(StreamsState),
}

impl ListedState {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classic(state) => state.name(),
            Self::Consumer(state) => state.name(),
            Self::Share(state) => state.name(),
            Self::Streams(state) => state.name(),
        }
    }
}

/// What a member of a consumer group hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHeartbeatReply {
    /// Its id.
    pub member_id: Option<MemberId>,
    /// Its epoch from now on.
    pub epoch: i32,
    /// How often it is to report.
    pub interval_ms: i32,
    /// All that it may have, if that changed or it asked anew.
    pub assignment: Option<Partitions>,
}

/// What a member of a share group hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareHeartbeatReply {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch from now on.
    pub epoch: i32,
    /// How often it is to report.
    pub interval_ms: i32,
    /// All that it may read, if that changed or it asked anew.
    pub assignment: Option<Partitions>,
    /// The share coordinators are to begin with these partitions, in this epoch; then ask with
    /// [`crate::Request::ShareInitialized`].
    pub initialize: Option<(i32, Partitions)>,
}

/// What a member of a streams group hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsHeartbeatReply {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch from now on.
    pub epoch: i32,
    /// How often it is to report.
    pub interval_ms: i32,
    /// How often it is to say how far its copies are.
    pub task_offset_interval_ms: i32,
    /// How far behind a copy may be and still take the task over; -1: not told.
    pub acceptable_recovery_lag: i64,
    /// What is to be known beside.
    pub statuses: Vec<(StreamsStatus, String)>,
    /// All tasks that it may work on, if that changed or it asked anew.
    pub assignment: Option<Tasks>,
    /// The epoch of what is known of endpoints.
    pub endpoint_epoch: i32,
    /// Which endpoint has which partitions, if that changed since the member last heard of it.
    pub endpoints: Option<Arc<[EndpointPartitions]>>,
    /// Topics of the application that are to be created, with the numbers of their partitions.
    pub create: Vec<InternalTopic>,
    /// It is to push the description of its topology.
    pub wants_description: bool,
}

impl StreamsHeartbeatReply {
    /// What each member of a group hears.
    pub(crate) fn of(request: &StreamsHeartbeat, epoch: i32) -> Self {
        let config = &request.config;
        Self {
            interval_ms: config.interval_ms,
            task_offset_interval_ms: config.task_offset_interval_ms,
            acceptable_recovery_lag: config.acceptable_recovery_lag,
            ..Self::left(request.member_id.clone(), epoch)
        }
    }

    /// What a member hears that has left.
    pub(crate) fn left(member_id: MemberId, epoch: i32) -> Self {
        Self {
            member_id,
            epoch,
            interval_ms: 0,
            task_offset_interval_ms: 0,
            acceptable_recovery_lag: -1,
            statuses: Vec::new(),
            assignment: None,
            endpoint_epoch: 0,
            endpoints: None,
            create: Vec::new(),
            wants_description: false,
        }
    }
}

/// A streams group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsDescribed {
    /// The group.
    pub group: GroupId,
    /// Why it could not be described.
    pub error: Option<Error>,
    /// Its state.
    pub state: StreamsState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that its target assignment was computed for.
    pub assignment_epoch: i32,
    /// The assignor.
    pub assignor: &'static str,
    /// What it runs, with the numbers of partitions that were found.
    pub topology: Option<Topology>,
    /// Its members, by id.
    pub members: Vec<StreamsDescribedMember>,
    /// The description of its topology.
    pub description: DescriptionStatus,
}

/// A member of a streams group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsDescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it said of itself.
    pub metadata: StreamsMetadata,
    /// How far its copies of tasks are.
    pub offsets: MemberOffsets,
    /// What it has.
    pub assignment: Tasks,
    /// What it is to have.
    pub target: Tasks,
}

/// A share group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareDescribed {
    /// The group.
    pub group: GroupId,
    /// Why it could not be described.
    pub error: Option<Error>,
    /// Its state.
    pub state: ShareState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that its target assignment was computed for.
    pub assignment_epoch: i32,
    /// The assignor.
    pub assignor: &'static str,
    /// Its members, by id.
    pub members: Vec<ShareDescribedMember>,
}

/// A member of a share group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareDescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it said of itself.
    pub subscription: ShareSubscription,
    /// What it has.
    pub assignment: Vec<NamedPartitions>,
}

/// A consumer group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDescribed {
    /// The group.
    pub group: GroupId,
    /// Why it could not be described.
    pub error: Option<Error>,
    /// Its state.
    pub state: ConsumerState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch that its target assignment was computed for.
    pub assignment_epoch: i32,
    /// The assignor.
    pub assignor: Arc<str>,
    /// Its members, by id.
    pub members: Vec<ConsumerDescribedMember>,
}

/// A member of a consumer group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerDescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its epoch.
    pub epoch: i32,
    /// What it said of itself.
    pub subscription: Subscription,
    /// What it has, with what it is still to give up.
    pub assignment: Vec<NamedPartitions>,
    /// What it is to have.
    pub target: Vec<NamedPartitions>,
}

/// Partitions of a topic, with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPartitions {
    /// The topic's id.
    pub topic_id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// The partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// A group described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The group.
    pub group: GroupId,
    /// Why it could not be described.
    pub error: Option<Error>,
    /// Its state; `Dead` if it does not exist.
    pub state: State,
    /// The kind of protocol.
    pub protocol_type: Arc<str>,
    /// The protocol chosen; empty unless the group is stable.
    pub protocol: Arc<str>,
    /// Its members, by id.
    pub members: Vec<DescribedMember>,
}

/// A member described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// What became of a group that was to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The group.
    pub group: GroupId,
    /// Why it still exists.
    pub error: Option<Error>,
}
