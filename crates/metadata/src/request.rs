//! What the controller can be asked, without API versions.
//!
//! Nothing here is checked yet, and nothing is drawn inside: ids and seeds of chance come from the caller, so that a
//! history can be replayed. The broker's handlers make these from Kafka's requests, after authorization.

use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId};
use stdx::Uuid;

use crate::{
    ControllerRegistration, Endpoint, Error, FeatureRange,
    client_quota::{QuotaEntity, QuotaValue},
    config::Resource,
    topic::Recovery,
};

/// Keys with their wanted values.
pub type ConfigValues = Vec<(String, Option<String>)>;

/// A question to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Writes what a new cluster starts with; does nothing in a cluster that has started.
    Bootstrap,
    /// A broker introduces itself.
    RegisterBroker(RegisterBroker),
    /// Lets a registered broker lead; its partitions without a leader elect it.
    UnfenceBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// Takes a broker out of leadership and of every ISR that has another member.
    FenceBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// Begins the controlled shutdown of a broker: others lead what it leads.
    ShutDownBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// Says which log directories of a broker have failed, and which take no new partitions.
    ChangeDirectories(ChangeDirectories),
    /// Says in which log directory replicas are (KIP-858); each succeeds or fails by itself.
    AssignReplicasToDirs {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
        /// The replicas.
        assignments: Vec<DirectoryAssignment>,
    },
    /// A controller introduces itself (KIP-919).
    RegisterController(ControllerRegistration),
    /// Forgets a controller (KIP-1312).
    UnregisterController {
        /// The controller.
        controller: NodeId,
    },
    /// Forgets a broker.
    UnregisterBroker {
        /// The broker.
        broker: NodeId,
    },
    /// Creates topics; each succeeds or fails by itself.
    CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
        /// Only say what would happen.
        validate_only: bool,
        /// Chance for the placement of replicas.
        seed: u64,
        /// How many partitions whoever asks may create.
        permits: Permits,
    },
    /// Deletes topics; each succeeds or fails by itself.
    DeleteTopics {
        /// The topics.
        topics: Vec<DeleteTopic>,
        /// How many partitions whoever asks may delete.
        permits: Permits,
    },
    /// Adds partitions; each topic succeeds or fails by itself.
    CreatePartitions {
        /// The topics.
        topics: Vec<NewPartitions>,
        /// Only say what would happen.
        validate_only: bool,
        /// Chance for the placement of replicas.
        seed: u64,
        /// How many partitions whoever asks may create.
        permits: Permits,
    },
    /// Changes single keys (KIP-339); each resource succeeds or fails by itself.
    IncrementalAlterConfigs {
        /// The resources and what to do with their keys.
        resources: Vec<(Resource, Vec<ConfigChange>)>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Replaces all keys of resources; each resource succeeds or fails by itself.
    AlterConfigs {
        /// The resources and their whole new configuration; `None` values are refused.
        resources: Vec<(Resource, ConfigValues)>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Sets and removes client quotas (KIP-546); each entity succeeds or fails by itself.
    AlterClientQuotas {
        /// The entities and what to do with their quotas.
        alterations: Vec<QuotaAlteration>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Gives a broker a block of producer ids.
    AllocateProducerIds {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// Changes feature levels, all or none (KIP-584).
    UpdateFeatures {
        /// The features.
        updates: Vec<FeatureUpdate>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// A leader changes the ISR of its partitions; each succeeds or fails by itself.
    AlterPartition(AlterPartition),
    /// Starts, replaces and cancels reassignments (KIP-455); each succeeds or fails by itself.
    AlterPartitionReassignments {
        /// The partitions.
        reassignments: Vec<Reassignment>,
        /// Whether a partition may get more or fewer replicas than it has (KIP-860).
        allow_replication_factor_change: bool,
    },
    /// Asks which reassignments are under way.
    ListPartitionReassignments {
        /// The partitions by their topics' names; `None` means all.
        partitions: Option<Vec<(String, Vec<PartitionIndex>)>>,
    },
    /// Elects leaders (KIP-183, KIP-460); each partition succeeds or fails by itself.
    ElectLeaders {
        /// Whom to elect.
        kind: ElectionKind,
        /// The partitions; `None` means all, and then the answer leaves out where no election was needed.
        partitions: Option<Vec<(String, PartitionIndex)>>,
    },
    /// Gives partitions back to their preferred leaders, where these are in sync. The host asks for it every
    /// `leader.imbalance.check.interval.seconds` if `auto.leader.rebalance.enable`, and again at once while there is
    /// more to do.
    BalanceLeaders {
        /// The most changes at once; [`crate::ELECTIONS_MAX`] as in Kafka.
        changes_max: usize,
    },
    /// Elects leaders for partitions without one whose topics would rather lose records. The host asks for it every
    /// `unclean.leader.election.interval.ms`, when that configuration has changed, and again at once while there is
    /// more to do.
    ElectUncleanLeaders {
        /// The most changes at once; [`crate::ELECTIONS_MAX`] as in Kafka.
        changes_max: usize,
    },
}

/// See [`Request::RegisterBroker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisterBroker {
    /// Its `node.id`.
    pub broker: NodeId,
    /// The id of the cluster that it wants to join.
    pub cluster_id: String,
    /// Drawn at the start of its process.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The feature levels that it can work with; [`crate::features::supported`] for our own binary.
    pub features: Vec<FeatureRange>,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// The ids of its log directories; at least one.
    pub directories: Vec<Uuid>,
    /// Whether it still has to catch up before it may lead. `false` lets it lead at once: right only for a node that
    /// is the whole quorum itself, since it has read its log already.
    pub fenced: bool,
    /// The epoch of the registration under which it stopped cleanly (KIP-966); -1 if it did not, or never ran.
    pub previous_epoch: i64,
    /// Whether its program acknowledges records of topics with `odradek.ack.durability=fsync` only from stable storage,
    /// so that it holds them after a crash too. `false` for brokers of Apache Kafka.
    pub synced: bool,
}

/// See [`Request::ChangeDirectories`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeDirectories {
    /// The broker.
    pub broker: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// Log directories that have failed; unknown ones are ignored.
    pub offline: Vec<Uuid>,
    /// All log directories that take no new partitions (KIP-1066); `None` if the broker does not know yet.
    pub cordoned: Option<Vec<Uuid>>,
}

/// See [`Request::AssignReplicasToDirs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryAssignment {
    /// The log directory.
    pub directory: Uuid,
    /// The id of the topic.
    pub topic: TopicId,
    /// The partition.
    pub index: PartitionIndex,
}

/// See [`Request::AlterPartitionReassignments`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub index: PartitionIndex,
    /// The wanted replicas, the preferred leader first; `None` cancels what is under way.
    pub replicas: Option<Vec<NodeId>>,
}

/// Whom [`Request::ElectLeaders`] elects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred = 0,
    /// For partitions without a leader: any replica, although records may be lost.
    Unclean = 1,
}

/// A topic to create.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// An id drawn by the caller.
    pub id: TopicId,
    /// How many partitions; -1 for `num.partitions`.
    pub partitions: i32,
    /// How many replicas; -1 for `default.replication.factor`.
    pub replication_factor: i16,
    /// The replicas of each partition, if the caller chooses them; the numbers above are then -1.
    pub assignments: Vec<(PartitionIndex, Vec<NodeId>)>,
    /// Its configuration; `None` values are refused.
    pub configs: ConfigValues,
}

/// A topic to delete: by name or by id, not both.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteTopic {
    /// Its name.
    pub name: Option<String>,
    /// Its id; all zero means "not given".
    pub id: TopicId,
}

/// Partitions to add to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPartitions {
    /// The topic's name.
    pub topic: String,
    /// How many partitions it shall have in the end.
    pub count: i32,
    /// The replicas of each new partition, if the caller chooses them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// Changes of the quotas of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaAlteration {
    /// The entity, unchecked.
    pub entity: QuotaEntity,
    /// The keys with their new values; `None` removes a key.
    pub changes: Vec<(String, Option<QuotaValue>)>,
}

/// How many partitions may be created or deleted by a request (KIP-599). As in Kafka, a topic is refused once nothing is
/// left, and the last one before that may take more than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permits {
    /// As many as it asks for.
    #[default]
    Unbounded,
    /// A quota that counts strictly: so much is left of it, in thousandths of a partition.
    Strict {
        /// Below 0, nothing is allowed.
        thousandths: i64,
    },
}

impl Permits {
    /// Takes `count` partitions, unless nothing is left.
    pub(crate) fn take(&mut self, count: usize) -> Result<(), Error> {
        match self {
            Self::Unbounded => Ok(()),
            Self::Strict { thousandths: ..0 } => Err(Error::ThrottlingQuotaExceeded(
                "The quota of partitions that may be created and deleted is used up; try again later."
                    .to_owned(),
            )),
            Self::Strict { thousandths } => {
                let taken = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1000);
                *thousandths = thousandths.saturating_sub(taken);
                Ok(())
            }
        }
    }
}

/// What to do with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// The key.
    pub name: String,
    /// The operation.
    pub operation: ConfigOperation,
    /// Its operand; ignored when deleting, else `None` is refused.
    pub value: Option<String>,
}

/// See KIP-339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigOperation {
    /// Set the value.
    Set = 0,
    /// Go back to the default.
    Delete = 1,
    /// Add to a list what it does not hold yet.
    Append = 2,
    /// Take from a list.
    Subtract = 3,
}

/// A wanted change of a feature's level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureUpdate {
    /// The feature.
    pub name: String,
    /// The wanted level; 0 removes it.
    pub level: i16,
    /// Which way the change may go.
    pub upgrade: FeatureUpgrade,
}

/// Which way a feature's level may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum FeatureUpgrade {
    /// Up.
    Upgrade = 1,
    /// Down, if nothing is lost.
    SafeDowngrade = 2,
    /// Down.
    UnsafeDowngrade = 3,
}

/// See [`Request::AlterPartition`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterPartition {
    /// The leader.
    pub broker: NodeId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    /// The partitions.
    pub partitions: Vec<IsrChange>,
}

/// A wanted ISR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// The id of the topic.
    pub topic: TopicId,
    /// The partition.
    pub index: PartitionIndex,
    /// The leader epoch that the leader knows.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that the leader knows.
    pub partition_epoch: i32,
    /// The wanted ISR, with the registration epoch of each member; -1 is not checked.
    pub isr: Vec<(NodeId, i64)>,
    /// The wanted recovery state.
    pub recovery: Recovery,
}
