//! The replicas of new partitions, chosen by the placer or by the caller.
//!
//! It creates nothing. Creating topics and adding partitions both come here.

use model::{NodeId, PartitionIndex, TopicId};

use super::Controller;
use crate::{DIRECTORY_UNASSIGNED, Error, PartitionRecord, Recovery, placement::Placer};

impl Controller {
    /// A placer over all registered brokers.
    pub(super) fn placer(&self, seed: u64) -> Placer {
        Placer::new(self.image.brokers().map(|broker| &**broker), seed)
    }

    /// The record of a new partition with replicas that the placer has chosen.
    pub(super) fn placed_partition(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        replicas: Vec<NodeId>,
    ) -> Result<PartitionRecord, Error> {
        self.new_partition(topic, index, replicas).ok_or_else(|| {
            Error::InvalidReplicationFactor(
                "No broker can lead right now: all are fenced or are shutting down; wait until one has caught up."
                    .to_owned(),
            )
        })
    }

    /// The record of a new partition with replicas that the caller has chosen; `replication_factor` is that of the
    /// partitions before it.
    pub(super) fn assigned_partition(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        replicas: Vec<NodeId>,
        replication_factor: Option<usize>,
    ) -> Result<PartitionRecord, Error> {
        self.check_replicas(index, &replicas)?;
        let count = replicas.len();
        if let Some(others) = replication_factor.filter(|others| *others != count) {
            return Err(Error::InvalidReplicaAssignment(format!(
                "Partition {index} has got {count} replica(s), but the others have {others}."
            )));
        }
        let partition = self.new_partition(topic, index, replicas);
        partition.ok_or_else(|| {
            Error::InvalidReplicaAssignment(format!(
                "Every broker chosen for partition {index} is fenced or is shutting down."
            ))
        })
    }

    /// Refuses replicas that cannot be: none at all, unknown ones, the same one twice.
    pub(super) fn check_replicas(&self, index: PartitionIndex, replicas: &[NodeId]) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::InvalidReplicaAssignment(why));
        if replicas.is_empty() {
            return refuse(format!("Partition {index} has got no replicas; name at least one broker."));
        }
        for (place, broker) in replicas.iter().enumerate() {
            if self.image.broker(*broker).is_none() {
                return refuse(format!(
                    "Partition {index} shall be on broker {broker}, which is not registered."
                ));
            }
            if replicas.iter().take(place).any(|other| other == broker) {
                return refuse(format!("Partition {index} shall be on broker {broker} twice."));
            }
        }
        Ok(())
    }

    /// `None` if no replica can lead.
    fn new_partition(
        &self,
        topic: TopicId,
        index: PartitionIndex,
        replicas: Vec<NodeId>,
    ) -> Option<PartitionRecord> {
        let isr: Vec<_> = replicas.iter().copied().filter(|id| self.image.is_active(*id)).collect();
        let directory =
            |id: &NodeId| self.image.broker(*id).map_or(DIRECTORY_UNASSIGNED, |known| known.directory());
        Some(PartitionRecord {
            index,
            topic,
            leader: isr.first().copied()?,
            directories: replicas.iter().map(directory).collect(),
            replicas,
            isr,
            removing: Vec::new(),
            adding: Vec::new(),
            recovery: Recovery::Recovered,
            leader_epoch: 0,
            partition_epoch: 0,
            elr: Vec::new(),
            elr_last_known: Vec::new(),
        })
    }
}
