//! One change of the cluster's metadata, as a plain value with the fields of Kafka's metadata records.
//!
//! It has no bytes: the broker writes each variant as the record of the same name from Kafka's `kafka-metadata`
//! schemas, and reads it back. The controller makes them; [`crate::Image::apply`] consumes them.

use model::{LeaderEpoch, NodeId, PartitionIndex, ProducerId, TopicId, TopicName};
use stdx::Uuid;

use crate::{
    ControllerRegistration, Registration,
    client_quota::{QuotaEntity, QuotaValue},
    config::Resource,
    topic::Recovery,
};

/// One change of the metadata. The number in each line is the record type in Kafka's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// 0: a broker has come, or has come back with new properties.
    RegisterBroker(Registration),
    /// 1: a broker is forgotten.
    UnregisterBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of the registration that ends.
        broker_epoch: i64,
    },
    /// 2: a topic exists; its partitions follow.
    Topic {
        /// Its name.
        name: TopicName,
        /// Its id.
        id: TopicId,
    },
    /// 3: a partition exists.
    Partition(Partition),
    /// 4: a configuration of a resource is set or removed.
    Config {
        /// Whose configuration.
        resource: Resource,
        /// The key.
        name: String,
        /// The new value; `None` removes the key.
        value: Option<String>,
    },
    /// 5: some properties of a partition have changed.
    PartitionChange(PartitionChange),
    /// 7: written by old controllers: a broker no longer leads.
    FenceBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// 8: written by old controllers: a broker may lead.
    UnfenceBroker {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
    },
    /// 9: a topic is gone, with its partitions and configurations.
    RemoveTopic {
        /// Its id.
        id: TopicId,
    },
    /// 12: a feature has a new level; 0 removes it.
    FeatureLevel {
        /// The feature.
        name: String,
        /// The level.
        level: i16,
    },
    /// 14: a quota of an entity is set or removed (KIP-546).
    ClientQuota {
        /// Whose quota.
        entity: QuotaEntity,
        /// The key.
        key: String,
        /// How much is allowed; `None` removes the key.
        value: Option<QuotaValue>,
    },
    /// 15: a block of producer ids has been given away.
    ProducerIds {
        /// The broker that has got it.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
        /// The first id that is still free.
        next: ProducerId,
    },
    /// 17: a broker has changed its state.
    BrokerChange {
        /// The broker.
        broker: NodeId,
        /// The epoch of its registration.
        broker_epoch: i64,
        /// `Some(true)` fences it, `Some(false)` unfences it.
        fenced: Option<bool>,
        /// `Some(true)` when it begins a controlled shutdown. Kafka's record cannot say that it ends: a broker that
        /// comes back registers anew.
        shutting_down: Option<bool>,
        /// Its log directories, if they have changed.
        directories: Option<Vec<Uuid>>,
        /// Those of them that take no new partitions, if that has changed.
        cordoned: Option<Vec<Uuid>>,
    },
    /// 20: a sign of life.
    NoOp,
    /// 23: the records up to the next end or abort belong together. Our controller writes none.
    BeginTransaction {
        /// A description.
        name: Option<String>,
    },
    /// 24: see [`Record::BeginTransaction`].
    EndTransaction,
    /// 25: see [`Record::BeginTransaction`].
    AbortTransaction {
        /// A description.
        reason: Option<String>,
    },
    /// 27: a controller has come, or has come back with new properties (KIP-919).
    RegisterController(ControllerRegistration),
    /// 28: the eligible leader replicas of a topic, or of all topics, are forgotten (KIP-966).
    ClearElr {
        /// The topic; `None` means all.
        topic: Option<TopicName>,
    },
    /// 29: a controller is forgotten (KIP-1312).
    UnregisterController {
        /// The controller.
        controller: NodeId,
    },
}

/// A partition as it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its index.
    pub index: PartitionIndex,
    /// The id of its topic.
    pub topic: TopicId,
    /// Its replicas; the first is the preferred leader.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas that leave in a reassignment.
    pub removing: Vec<NodeId>,
    /// Replicas that come in a reassignment.
    pub adding: Vec<NodeId>,
    /// The leader; -1 means none.
    pub leader: NodeId,
    /// Whether the leader was chosen uncleanly and has not recovered yet.
    pub recovery: Recovery,
    /// How often the leader has changed.
    pub leader_epoch: LeaderEpoch,
    /// How often the partition has changed.
    pub partition_epoch: i32,
    /// The log directory of each replica, in their order.
    pub directories: Vec<Uuid>,
    /// Replicas outside the ISR that may still lead (KIP-966).
    pub elr: Vec<NodeId>,
    /// Replicas that were last eligible, when none is any more (KIP-966).
    pub elr_last_known: Vec<NodeId>,
}

/// What has changed of a partition; `None` means unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartitionChange {
    /// Its index.
    pub index: PartitionIndex,
    /// The id of its topic.
    pub topic: TopicId,
    /// The new in-sync replicas.
    pub isr: Option<Vec<NodeId>>,
    /// The new leader, -1 for none; even the same one again starts a new leader epoch.
    pub leader: Option<NodeId>,
    /// The new replicas.
    pub replicas: Option<Vec<NodeId>>,
    /// The new leaving replicas.
    pub removing: Option<Vec<NodeId>>,
    /// The new coming replicas.
    pub adding: Option<Vec<NodeId>>,
    /// The new recovery state.
    pub recovery: Option<Recovery>,
    /// The new directories.
    pub directories: Option<Vec<Uuid>>,
    /// The new eligible leader replicas.
    pub elr: Option<Vec<NodeId>>,
    /// The new last known eligible leader replicas.
    pub elr_last_known: Option<Vec<NodeId>>,
}
