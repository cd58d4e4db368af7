//! What clients ask, without API versions: where versions differ in meaning there is a field for it.
//!
//! It checks nothing; the handlers in `broker` have authorised the request and looked its topics up.

use crate::{
    Endpoint, InstanceId, MemberId, NamedStates, Partitions, TaskOffset, Tasks, Topology, TopologyDescription,
};
use bytes::Bytes;
use model::{GroupId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use stdx::Uuid;

/// A request; each variant is the Kafka API of its name.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Enter a group, or begin or take part in a rebalance.
    JoinGroup(JoinGroup),
    /// Get the assignment; the leader brings it.
    SyncGroup(SyncGroup),
    /// Stay alive and hear of rebalances.
    Heartbeat(Heartbeat),
    /// Leave, or remove others.
    LeaveGroup(LeaveGroup),
    /// Commit offsets.
    OffsetCommit(OffsetCommit),
    /// Commit offsets as part of a transaction.
    TxnOffsetCommit(TxnOffsetCommit),
    /// End a transaction in this partition: no API of its own, but what WriteTxnMarkers says of it.
    TransactionMarker(TransactionMarker),
    /// Read committed offsets of one group.
    OffsetFetch(OffsetFetch),
    /// Delete committed offsets.
    OffsetDelete(OffsetDelete),
    /// List this coordinator's groups.
    ListGroups {
        /// Names of states, in any case; empty: all.
        states: Vec<String>,
        /// Names of group types, in any case; empty: all.
        types: Vec<String>,
    },
    /// Describe groups.
    DescribeGroups {
        /// Which.
        groups: Vec<GroupId>,
        /// v6 on: a group that does not exist is an error, not just `Dead`.
        missing_is_error: bool,
    },
    /// Be a member of a consumer group (KIP-848): join, stay, leave.
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// Describe consumer groups.
    ConsumerDescribe {
        /// Which.
        groups: Vec<GroupId>,
    },
    /// Be a member of a share group (KIP-932): join, stay, leave.
    ShareHeartbeat(ShareHeartbeat),
    /// Describe share groups.
    ShareDescribe {
        /// Which.
        groups: Vec<GroupId>,
    },
    /// Say which partitions have a share state (a part of DescribeShareGroupOffsets).
    SharePartitions {
        /// Of which group.
        group: GroupId,
    },
    /// Share coordinators were asked to begin with partitions: no API of its own, but a part of ShareGroupHeartbeat and
    /// AlterShareGroupOffsets.
    ShareInitialized {
        /// For which group.
        group: GroupId,
        /// With which.
        partitions: Partitions,
        /// Whether they have.
        is_done: bool,
    },
    /// Set offsets of a share group without members.
    ShareAlterOffsets(ShareAlterOffsets),
    /// Forget offsets of a share group without members; share coordinators are to be asked next.
    ShareDeleteOffsets {
        /// Of which group.
        group: GroupId,
        /// Of which topics; `None`: of all.
        topics: Option<Vec<Arc<str>>>,
    },
    /// Share coordinators have forgotten topics: a part of DeleteShareGroupOffsets.
    ShareOffsetsDeleted {
        /// Of which group.
        group: GroupId,
        /// Which.
        topics: BTreeSet<TopicId>,
    },
    /// Be a member of a streams group (KIP-1071): join, stay, leave.
    StreamsHeartbeat(Box<StreamsHeartbeat>),
    /// Describe streams groups.
    StreamsDescribe {
        /// Which.
        groups: Vec<GroupId>,
        /// With the descriptions of their topologies (KIP-1331).
        with_description: bool,
    },
    /// Keep the description of a topology (StreamsGroupTopologyDescriptionUpdate, KIP-1331).
    StreamsDescribeTopology {
        /// Of which group.
        group: GroupId,
        /// The member that pushes it.
        member: MemberId,
        /// Of which epoch of the topology.
        epoch: i32,
        /// The description.
        description: TopologyDescription,
    },
    /// Delete groups that have no members.
    DeleteGroups {
        /// Which.
        groups: Vec<GroupId>,
    },
}

/// Ask to be a member of the next generation.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinGroup {
    /// The group; not empty.
    pub group: GroupId,
    /// The member's id; empty for a newcomer.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static (v5 on).
    pub instance_id: Option<InstanceId>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from, as Kafka writes it (`/10.0.0.7`).
    pub client_host: Arc<str>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long it may take to join again; v0: as long as its session.
    pub rebalance_timeout_ms: i32,
    /// What kind of protocol it speaks, `consumer` for consumers.
    pub protocol_type: Arc<str>,
    /// The protocols (assignors) that it supports, the best first. Of two with the same name only the first counts.
    pub protocols: Vec<Protocol>,
    /// Why it joins, in the client's words (v8 on).
    pub reason: Option<String>,
    /// v4 on: a newcomer first gets an id and must come again with it.
    pub require_known_member_id: bool,
    /// v9 on: a leader can be told that there is nothing to assign.
    pub supports_skipping_assignment: bool,
    /// Fresh randomness, of which a new member's id is made.
    pub fresh_id: Uuid,
}

/// A protocol (assignor) that a member supports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member tells the leader for this protocol: its subscription.
    pub metadata: Bytes,
}

/// Ask for the assignment.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncGroup {
    /// The group; not empty.
    pub group: GroupId,
    /// The generation that the member joined.
    pub generation: i32,
    /// The member.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static (v3 on).
    pub instance_id: Option<InstanceId>,
    /// The protocol type that it believes in (v5 on, where the handler refuses a request without it).
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that it believes in (v5 on, where the handler refuses a request without it).
    pub protocol: Option<Arc<str>>,
    /// From the leader: who gets what.
    pub assignments: Vec<(MemberId, Bytes)>,
}

/// What a member of a consumer group says.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member's id, chosen by itself (v1 on); empty: it wants one.
    pub member_id: MemberId,
    /// v1 on: the member brings its id from the start.
    pub is_id_required: bool,
    /// Its epoch; 0: it joins, -1: it leaves, -2: a static member leaves and will come back.
    pub epoch: i32,
    /// Its `group.instance.id` if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.rack`; `None`: as before.
    pub rack_id: Option<Arc<str>>,
    /// How long it may take to give partitions up; -1: as before.
    pub rebalance_timeout_ms: i32,
    /// The topics that it is subscribed to by name; `None`: as before.
    pub topics: Option<Vec<Arc<str>>>,
    /// The pattern that it is subscribed to (v1 on); `None`: as before, empty: none.
    pub pattern: Option<Arc<str>>,
    /// The assignor that it prefers; `None`: as before.
    pub assignor: Option<Arc<str>>,
    /// The partitions that it has; `None`: as before.
    pub owned: Option<Partitions>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// Fresh randomness, of which a new member's id is made.
    pub fresh_id: Uuid,
    /// How long it may be silent (`consumer.session.timeout.ms` of the group).
    pub session_timeout_ms: i32,
    /// How often it is to report (`consumer.heartbeat.interval.ms` of the group).
    pub interval_ms: i32,
}

/// What a member of a share group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member's id, chosen by itself.
    pub member_id: MemberId,
    /// Its epoch; 0: it joins, -1: it leaves.
    pub epoch: i32,
    /// Its `client.rack`; `None`: as before.
    pub rack_id: Option<Arc<str>>,
    /// The topics that it is subscribed to; `None`: as before.
    pub topics: Option<Vec<Arc<str>>>,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// How long it may be silent (`share.session.timeout.ms` of the group).
    pub session_timeout_ms: i32,
    /// How often it is to report (`share.heartbeat.interval.ms` of the group).
    pub interval_ms: i32,
    /// The shortest time between two target assignments (`share.assignment.interval.ms` of the group).
    pub assignment_interval_ms: i64,
}

/// What a member of a streams group says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsHeartbeat {
    /// The group.
    pub group: GroupId,
    /// The member's id, chosen by itself.
    pub member_id: MemberId,
    /// Its epoch; 0: it joins, -1: it leaves, -2: a static member leaves and will come back.
    pub epoch: i32,
    /// The epoch of what it last heard of endpoints.
    pub endpoint_epoch: i32,
    /// Its `group.instance.id` if it is static.
    pub instance_id: Option<InstanceId>,
    /// Its `client.rack`; `None`: as before.
    pub rack_id: Option<Arc<str>>,
    /// How long it may take to give tasks up; -1: as before.
    pub rebalance_timeout_ms: i32,
    /// What it runs; only when it joins.
    pub topology: Option<Topology>,
    /// The tasks that it has; `None`: as before.
    pub owned: Option<Tasks>,
    /// The process that it is a thread of; `None`: as before.
    pub process_id: Option<Arc<str>>,
    /// Where it answers interactive queries; `None`: as before, but for one that joins nowhere.
    pub user_endpoint: Option<Endpoint>,
    /// Its `client.tag.*`; `None`: as before.
    pub client_tags: Option<BTreeMap<Arc<str>, Arc<str>>>,
    /// How far its copies of tasks are; `None`: as before.
    pub offsets: Option<Vec<TaskOffset>>,
    /// Where their changelogs end; `None`: as before.
    pub end_offsets: Option<Vec<TaskOffset>>,
    /// It wants the whole application to end.
    pub wants_shutdown: bool,
    /// v1 on: it can be asked for the description of its topology, and knows that client tags may be missing.
    pub speaks_of_descriptions: bool,
    /// Its `client.id`.
    pub client_id: Arc<str>,
    /// The address that it connects from.
    pub client_host: Arc<str>,
    /// What is configured for its group.
    pub config: StreamsConfig,
}

/// What is configured for a streams group; each field names Kafka's key of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamsConfig {
    /// `streams.session.timeout.ms`: how long a member may be silent.
    pub session_timeout_ms: i32,
    /// `streams.heartbeat.interval.ms`: how often a member is to report.
    pub interval_ms: i32,
    /// `streams.task.offset.interval.ms`: how often it is to say how far its copies are.
    pub task_offset_interval_ms: i32,
    /// `streams.acceptable.recovery.lag`: how far behind a copy may be and still take the task over.
    pub acceptable_recovery_lag: i64,
    /// `streams.assignment.interval.ms`: the shortest time between two target assignments (KIP-1263).
    pub assignment_interval_ms: i64,
    /// `streams.initial.rebalance.delay.ms`: how long the first member waits for more.
    pub initial_rebalance_delay_ms: i64,
    /// `streams.num.standby.replicas`: copies of each task with state.
    pub standby_replicas: i32,
    /// `streams.rack.aware.assignment.tags`: the client tags that members are to have.
    pub rack_aware_tags: Vec<Arc<str>>,
}

/// Offsets of a share group that are to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareAlterOffsets {
    /// The group.
    pub group: GroupId,
    /// The partitions; all of them exist.
    pub partitions: NamedStates,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// The group; not empty.
    pub group: GroupId,
    /// The member's generation.
    pub generation: i32,
    /// The member.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static (v3 on).
    pub instance_id: Option<InstanceId>,
}

/// Members leave.
#[derive(Debug, Clone, PartialEq)]
pub struct LeaveGroup {
    /// The group; not empty.
    pub group: GroupId,
    /// Who leaves; below v3 exactly one.
    pub members: Vec<LeavingMember>,
}

/// A member that leaves or is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its id; empty: whoever has `instance_id`.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static (v3 on).
    pub instance_id: Option<InstanceId>,
    /// Why, in the client's words (v5 on).
    pub reason: Option<String>,
}

/// Offsets to commit.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetCommit {
    /// The group; may be empty.
    pub group: GroupId,
    /// The member's generation; below 0: not a member (an admin client, or a consumer that assigns by itself).
    pub generation: i32,
    /// The member; empty: not a member.
    pub member_id: MemberId,
    /// Its `group.instance.id` if it is static (v7 on).
    pub instance_id: Option<InstanceId>,
    /// v2 to v4: how long the offsets are kept; -1 (and everywhere else): as configured.
    pub retention_ms: i64,
    /// v9 on: a group that does not exist is `GroupIdNotFound`; before it was `IllegalGeneration`.
    pub supports_group_id_not_found: bool,
    /// The offsets.
    pub topics: Vec<CommitTopic>,
}

/// Offsets to commit once a transaction is.
#[derive(Debug, Clone, PartialEq)]
pub struct TxnOffsetCommit {
    /// The producer of the transaction.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// What the log gave when the transaction began to be verified; the host hands it back.
    pub guard: Option<u64>,
    /// The offsets, and the member that reads them.
    pub commit: OffsetCommit,
}

/// The end of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionMarker {
    /// The producer of the transaction.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: ProducerEpoch,
    /// The epoch of the transaction coordinator that decided.
    pub coordinator_epoch: i32,
    /// Whether it is committed.
    pub committed: bool,
    /// By whose rules the log judges the epoch.
    pub transaction_version: i16,
}

/// Offsets of one topic to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its id; zero if unknown.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// The offset of one partition to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPartition {
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: Offset,
    /// The leader epoch of the last record read; -1: unknown.
    pub leader_epoch: LeaderEpoch,
    /// Whatever the client notes beside it; empty if it sent none.
    pub metadata: Arc<str>,
}

/// Offsets to read, of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetFetch {
    /// The group; may be empty.
    pub group: GroupId,
    /// Which; `None`: all that the group has.
    pub topics: Option<Vec<FetchTopic>>,
    /// v9 on: the member that asks, with its epoch; it must be the one it says, if the group is a consumer group.
    pub member: Option<(MemberId, i32)>,
    /// Wait for commits under way, so that a reader never starts behind them (KIP-447).
    pub require_stable: bool,
}

/// Partitions of a topic, for OffsetFetch and OffsetDelete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchTopic {
    /// The topic.
    pub topic: TopicName,
    /// Its id; zero if unknown. Offsets committed for a topic of another id are not shown.
    pub topic_id: TopicId,
    /// Its partitions.
    pub partitions: Vec<PartitionIndex>,
}

/// Offsets to delete.
#[derive(Debug, Clone, PartialEq)]
pub struct OffsetDelete {
    /// The group; not empty.
    pub group: GroupId,
    /// Which.
    pub topics: Vec<FetchTopic>,
}
