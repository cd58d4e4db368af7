//! A leader changes the ISR of its partitions (KIP-497, KIP-841, KIP-903).
//!
//! It does not decide who is in sync: the leader does. The controller's dispatch calls it.

use coordinator::Outcome;
use model::NodeId;

use super::{Controller, Decision, election::Outlook};
use crate::{
    AlterPartition, AlteredPartition, Error, IsrChange, Partition, PartitionChange, Record, Recovery, Reply,
};

impl Controller {
    pub(super) fn alter_partition(&self, request: AlterPartition) -> Decision {
        self.check_broker_epoch(request.broker, request.broker_epoch)?;
        let mut records = Vec::new();
        let mut results = Vec::new();
        for change in request.partitions {
            let result = self.alter_isr(request.broker, &change).map(|(record, altered)| {
                records.extend(record.map(Record::PartitionChange));
                altered
            });
            results.push((change.topic, change.index, result));
        }
        Ok(Outcome::new(records, Reply::AlterPartition(results)))
    }

    fn alter_isr(
        &self,
        broker: NodeId,
        wanted: &IsrChange,
    ) -> Result<(Option<PartitionChange>, AlteredPartition), Error> {
        let Some(topic) = self.image.topic_by_id(wanted.topic) else {
            return Err(Error::UnknownTopicId(format!("There is no topic with the id {}.", wanted.topic)));
        };
        let Some(partition) = topic.partition(wanted.index) else {
            return Err(Error::UnknownTopicOrPartition(format!(
                "Topic '{}' has no partition {}.",
                topic.name, wanted.index
            )));
        };
        self.check_isr(broker, partition, wanted)?;
        let active = |id| self.image.is_active(id);
        let outlook = Outlook::of(self, &topic.name, &active);
        let isr = wanted.isr.iter().map(|(id, _)| *id).collect();
        let mut change = outlook.change(wanted.topic, wanted.index, partition, isr);
        if partition.recovery != wanted.recovery {
            let change = change.get_or_insert(PartitionChange {
                index: wanted.index,
                topic: wanted.topic,
                ..PartitionChange::default()
            });
            change.recovery = Some(wanted.recovery);
        }
        let mut after = partition.clone();
        if let Some(change) = &change {
            after.change(change.clone());
        }
        let altered = AlteredPartition {
            leader: after.leader,
            leader_epoch: after.leader_epoch,
            isr: after.isr,
            recovery: after.recovery,
            partition_epoch: after.partition_epoch,
        };
        Ok((change, altered))
    }

    fn check_isr(&self, broker: NodeId, partition: &Partition, wanted: &IsrChange) -> Result<(), Error> {
        let Partition { leader_epoch, partition_epoch, leader, .. } = *partition;
        if wanted.leader_epoch > leader_epoch || wanted.partition_epoch > partition_epoch {
            return Err(Error::NotController(
                "The leader knows more than this controller; ask the current one.".to_owned(),
            ));
        }
        if wanted.leader_epoch < leader_epoch {
            return Err(Error::FencedLeaderEpoch(format!(
                "The leader epoch is {leader_epoch}, not {}.",
                wanted.leader_epoch
            )));
        }
        if broker != leader {
            return Err(Error::InvalidRequest(format!("The leader is broker {leader}, not {broker}.")));
        }
        if wanted.partition_epoch < partition_epoch {
            return Err(Error::InvalidUpdateVersion(format!(
                "The partition epoch is {partition_epoch}, not {}.",
                wanted.partition_epoch
            )));
        }
        let ids: Vec<_> = wanted.isr.iter().map(|(id, _)| *id).collect();
        let twice =
            ids.iter().enumerate().any(|(place, id)| ids.iter().skip(place + 1).any(|other| other == id));
        if twice || !ids.iter().all(|id| partition.replicas.contains(id)) || !ids.contains(&leader) {
            return Err(Error::InvalidRequest(format!(
                "The ISR {ids:?} must hold the leader {leader} and only replicas out of {:?}.",
                partition.replicas
            )));
        }
        if wanted.recovery == Recovery::Recovering && ids.len() > 1 {
            return Err(Error::InvalidRequest(
                "A leader that still recovers must be alone in its ISR.".to_owned(),
            ));
        }
        if wanted.recovery == Recovery::Recovering && partition.recovery == Recovery::Recovered {
            return Err(Error::InvalidRequest(
                "A leader that has recovered cannot be recovering again.".to_owned(),
            ));
        }
        for (id, epoch) in &wanted.isr {
            let fits = self
                .image
                .broker(*id)
                .is_some_and(|known| known.is_active() && (*epoch == -1 || *epoch == known.epoch));
            if !fits {
                return Err(Error::IneligibleReplica(format!(
                    "Broker {id} is fenced, is shutting down, or has registered anew."
                )));
            }
        }
        Ok(())
    }
}
