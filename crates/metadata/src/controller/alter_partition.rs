//! A leader changes the ISR of its partitions (KIP-497, KIP-841, KIP-903), which can complete a reassignment (KIP-455).
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
            let result = self.alter_isr(request.broker, &change).and_then(|(record, altered)| {
                records.extend(record.map(Record::PartitionChange));
                self.check_still_leads(request.broker, altered)
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
        let fits = |id, directory| self.fits(id, directory);
        let outlook = Outlook::of(self, &topic.name, &fits);
        let mut draft = outlook.draft(partition);
        draft.after.isr = wanted.isr.iter().map(|(id, _)| *id).collect();
        draft.after.recovery = wanted.recovery;
        let change = outlook.finish(wanted.topic, wanted.index, draft);
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

    /// An ISR can complete a reassignment in which its leader leaves: this is written, and yet answered with an error,
    /// so that the old leader reads the metadata before it asks for anything else.
    fn check_still_leads(
        &self,
        broker: NodeId,
        altered: AlteredPartition,
    ) -> Result<AlteredPartition, Error> {
        if altered.leader == broker {
            return Ok(altered);
        }
        Err(Error::NewLeaderElected(format!(
            "The reassignment is complete and broker {} leads, not {broker}.",
            altered.leader
        )))
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
            if let Some(why) = self.why_unfit(*id, *epoch, partition) {
                return Err(Error::IneligibleReplica(format!("Broker {id} {why}.")));
            }
        }
        Ok(())
    }

    /// Why a broker may not be among the in-sync replicas; `epoch` is that in which it copies, -1: unknown.
    fn why_unfit(&self, id: NodeId, epoch: i64, partition: &Partition) -> Option<String> {
        let Some(known) = self.image.broker(id) else { return Some("is not registered".into()) };
        if !known.is_active() {
            return Some("is fenced or is shutting down".into());
        }
        match partition.directory(id) {
            Some(directory) if known.has_online(directory) => {}
            directory => {
                let directory = directory.map_or_else(String::new, |directory| directory.to_string());
                return Some(format!("does not have the log directory {directory}, or it has failed"));
            }
        }
        let has_registered_anew = epoch != -1 && known.epoch != epoch;
        has_registered_anew
            .then(|| format!("has registered anew: its epoch is {}, and it copied in {epoch}", known.epoch))
    }
}
