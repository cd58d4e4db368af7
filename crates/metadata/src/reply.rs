//! What the controller answers, without API versions.
//!
//! It carries refusals of single items; a refusal of the whole request is an [`Error`]. The broker's handlers make
//! Kafka's responses from these.

use model::{LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId, TopicName};

use crate::{
    DirectoryAssignment, Error,
    client_quota::QuotaEntity,
    config::{Entry, Resource},
    topic::Recovery,
};

/// What became of the alteration of each resource.
pub type AlterConfigsResults = Vec<(Resource, Result<(), Error>)>;

/// What became of the quotas of each entity.
pub type AlterQuotasResults = Vec<(QuotaEntity, Result<(), Error>)>;

/// The answer to the request of the same name; items come in the order of the request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Whether the cluster was new.
    Bootstrap(bool),
    /// The epoch of the registration.
    RegisterBroker(i64),
    /// The broker is in the wanted state: fenced, unfenced, shutting down, with these directories.
    BrokerChanged,
    /// The controller is registered.
    RegisterController,
    /// Per replica.
    AssignReplicasToDirs(Vec<(DirectoryAssignment, Result<(), Error>)>),
    /// The controller is forgotten.
    UnregisterController,
    /// The broker is forgotten.
    UnregisterBroker,
    /// Per topic.
    CreateTopics(Vec<(String, Result<CreatedTopic, Error>)>),
    /// Per topic.
    DeleteTopics(Vec<DeletedTopic>),
    /// Per topic, with how many partitions it has got.
    CreatePartitions(Vec<(String, Result<usize, Error>)>),
    /// Per resource.
    IncrementalAlterConfigs(AlterConfigsResults),
    /// Per resource.
    AlterConfigs(AlterConfigsResults),
    /// Per entity, each once.
    AlterClientQuotas(AlterQuotasResults),
    /// The block.
    AllocateProducerIds(ProducerIds),
    /// All levels are as wished.
    UpdateFeatures,
    /// Per partition.
    AlterPartition(Vec<(TopicId, PartitionIndex, Result<AlteredPartition, Error>)>),
    /// Per partition.
    AlterPartitionReassignments(PartitionResults),
    /// The reassignments, in the order of the topics' names, or of the request if it named some.
    ListPartitionReassignments(Vec<OngoingReassignment>),
    /// Per partition.
    ElectLeaders(PartitionResults),
    /// Whether there may be more to do.
    BalanceLeaders(bool),
    /// Whether there may be more to do.
    ElectUncleanLeaders(bool),
}

/// What became of the partitions of topics by name.
pub type PartitionResults = Vec<(String, PartitionIndex, Result<(), Error>)>;

/// A reassignment that is under way (KIP-455).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OngoingReassignment {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub index: PartitionIndex,
    /// All replicas, those that come and those that leave among them.
    pub replicas: Vec<NodeId>,
    /// Those that come.
    pub adding: Vec<NodeId>,
    /// Those that leave.
    pub removing: Vec<NodeId>,
}

/// A topic that was created, or would have been.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// How many replicas each has.
    pub replication_factor: i16,
    /// Its effective configuration, by key.
    pub configs: Vec<Entry>,
}

/// What became of a topic that was to be deleted.
#[derive(Debug, Clone, PartialEq)]
pub struct DeletedTopic {
    /// Its name, as far as the request or the cluster knew it.
    pub name: Option<String>,
    /// Its id, as far as the request or the cluster knew it; else zero.
    pub id: TopicId,
    /// How many partitions it had; 0 if it was not deleted.
    pub partitions: usize,
    /// The outcome.
    pub result: Result<(), Error>,
}

/// A block of producer ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIds {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub count: i32,
}

/// A partition after its ISR was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlteredPartition {
    /// The leader.
    pub leader: NodeId,
    /// The leader epoch.
    pub leader_epoch: LeaderEpoch,
    /// The ISR.
    pub isr: Vec<NodeId>,
    /// The recovery state.
    pub recovery: Recovery,
    /// The partition epoch.
    pub partition_epoch: i32,
}
