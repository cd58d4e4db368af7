//! A topic and its partitions as the image shows them.
//!
//! They hold no records' data and no offsets: those live with the partition's log. The image hands them out.

use std::sync::Arc;

use model::{LeaderEpoch, NodeId, PartitionIndex, TopicId, TopicName};
use stdx::Uuid;

use crate::record;

/// The log directory of a replica in a log that was written before directories had ids (KIP-858).
pub const DIRECTORY_MIGRATING: Uuid = Uuid::ZERO;
/// The log directory of a replica that has not chosen one yet (KIP-858).
pub const DIRECTORY_UNASSIGNED: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// The log directory of a replica whose directory has failed (KIP-858).
pub const DIRECTORY_LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its partitions; a partition's index is its place.
    pub partitions: Vec<Arc<Partition>>,
}

/// A partition's replicas and who leads them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
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

/// Whether a leader that was elected uncleanly has finished repairing its log (KIP-704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(i8)]
pub enum Recovery {
    /// The usual state.
    #[default]
    Recovered = 0,
    /// The leader is still repairing.
    Recovering = 1,
}

impl Topic {
    /// The partition of that index.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?).map(Arc::as_ref)
    }

    /// Indexes and partitions, in order.
    pub fn indexed(&self) -> impl Iterator<Item = (PartitionIndex, &Partition)> {
        (0..).zip(self.partitions.iter().map(Arc::as_ref))
    }
}

impl Partition {
    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.removing.is_empty() || !self.adding.is_empty()
    }

    /// The log directory of the replica on that broker; `None` if it has none there.
    pub fn directory(&self, broker: NodeId) -> Option<Uuid> {
        let place = self.replicas.iter().position(|id| *id == broker)?;
        self.directories.get(place).copied()
    }

    /// How many replicas must be in sync for anything to be committed, where `configured` is the topic's
    /// `min.insync.replicas`: never more than there are replicas apart from those that a reassignment adds.
    ///
    /// Leader and controller must reckon with the same number: below it the high watermark stands still, so that who
    /// leaves the ISR stays eligible (KIP-966).
    pub fn min_isr(&self, configured: i64) -> usize {
        let own = self.replicas.iter().filter(|id| !self.adding.contains(id)).count();
        usize::try_from(configured).unwrap_or(1).min(own).max(1)
    }

    pub(crate) fn has_elr(&self) -> bool {
        !self.elr.is_empty() || !self.elr_last_known.is_empty()
    }

    pub(crate) fn to_record(&self, topic: TopicId, index: PartitionIndex) -> record::Partition {
        let Self { partition_epoch, leader_epoch, leader, recovery, .. } = *self;
        let Self { replicas, isr, removing, adding, directories, elr, elr_last_known, .. } = self.clone();
        record::Partition {
            index,
            topic,
            replicas,
            isr,
            removing,
            adding,
            leader,
            recovery,
            leader_epoch,
            partition_epoch,
            directories,
            elr,
            elr_last_known,
        }
    }

    pub(crate) fn change(&mut self, change: record::PartitionChange) {
        let set = |field: &mut Vec<NodeId>, new: Option<Vec<NodeId>>| {
            if let Some(new) = new {
                *field = new;
            }
        };
        set(&mut self.isr, change.isr);
        set(&mut self.replicas, change.replicas);
        set(&mut self.removing, change.removing);
        set(&mut self.adding, change.adding);
        set(&mut self.elr, change.elr);
        set(&mut self.elr_last_known, change.elr_last_known);
        if let Some(directories) = change.directories {
            self.directories = directories;
        }
        if let Some(leader) = change.leader {
            self.leader = leader;
            self.leader_epoch = self.leader_epoch.wrapping_add(1);
        }
        self.recovery = change.recovery.unwrap_or(self.recovery);
        self.partition_epoch = self.partition_epoch.wrapping_add(1);
    }
}

impl From<record::Partition> for Partition {
    fn from(record: record::Partition) -> Self {
        Self {
            replicas: record.replicas,
            isr: record.isr,
            removing: record.removing,
            adding: record.adding,
            leader: record.leader,
            recovery: record.recovery,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            directories: record.directories,
            elr: record.elr,
            elr_last_known: record.elr_last_known,
        }
    }
}
