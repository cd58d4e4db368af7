//! Partitions are moved to other brokers (KIP-455, KIP-860): reassignments are started, replaced, cancelled and listed.
//!
//! It copies nothing and does not wait: followers fetch, and the ISR change that brings the last of them in completes
//! the reassignment ([`super::election`]). The controller's dispatch calls it.

use coordinator::Outcome;
use model::{NodeId, PartitionIndex};

use super::{Controller, election::Election, election::Outlook};
use crate::{Error, OngoingReassignment, Partition, PartitionChange, Reassignment, Record, Reply, Topic};

impl Controller {
    pub(super) fn alter_reassignments(
        &self,
        reassignments: Vec<Reassignment>,
        factor_may_change: bool,
    ) -> Outcome<Record, Reply> {
        let mut records = Vec::new();
        let mut results = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for Reassignment { topic, index, replicas } in reassignments {
            let result = if seen.insert((topic.clone(), index)) {
                self.reassign(&topic, index, replicas, factor_may_change)
            } else {
                Err(Error::InvalidRequest("The partition is in this request more than once.".to_owned()))
            };
            let result = result.map(|change| records.extend(change.map(Record::PartitionChange)));
            results.push((topic, index, result));
        }
        Outcome::new(records, Reply::AlterPartitionReassignments(results))
    }

    pub(super) fn list_reassignments(
        &self,
        partitions: Option<Vec<(String, Vec<PartitionIndex>)>>,
    ) -> Vec<OngoingReassignment> {
        let Some(wanted) = partitions else {
            let every = self.image.topics().flat_map(|topic| {
                topic.indexed().filter_map(|(index, partition)| ongoing(topic, index, partition))
            });
            return every.collect();
        };
        let named = wanted.iter().flat_map(|(name, indexes)| {
            let topic = self.image.topic(name).map(|topic| &**topic);
            indexes.iter().filter_map(move |index| ongoing(topic?, *index, topic?.partition(*index)?))
        });
        named.collect()
    }

    fn reassign(
        &self,
        name: &str,
        index: PartitionIndex,
        replicas: Option<Vec<NodeId>>,
        factor_may_change: bool,
    ) -> Result<Option<PartitionChange>, Error> {
        let topic = self.image.topic(name);
        let Some((topic, partition)) = topic.and_then(|topic| Some((topic, topic.partition(index)?))) else {
            return Err(Error::UnknownTopicOrPartition(format!(
                "There is no partition {index} of '{name}'."
            )));
        };
        let fits = |id, directory| self.fits(id, directory);
        let outlook = Outlook::of(self, name, &fits);
        let Some(target) = replicas else {
            return cancel(&outlook, topic, index, partition);
        };
        self.check_replicas(index, &target)?;
        let now = partition.replicas.iter().filter(|id| !partition.removing.contains(id)).count();
        if !factor_may_change && target.len() != now {
            return Err(Error::InvalidReplicationFactor(format!(
                "Partition {index} of '{name}' has {now} replica(s) and would get {}, but their number shall not change.",
                target.len()
            )));
        }
        Ok(start(&outlook, topic, index, partition, target))
    }
}

/// Those that were there before come first in what is compared: a replica that an earlier reassignment added and this
/// one does not want both comes and leaves. It is waited for no more, and gone however this ends.
fn start(
    outlook: &Outlook<'_>,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
    target: Vec<NodeId>,
) -> Option<PartitionChange> {
    let leaves = |id: &NodeId| !target.contains(id);
    let mut removing: Vec<_> = partition.replicas.iter().copied().filter(leaves).collect();
    removing.sort_unstable();
    let replicas = [&*target, &*removing].concat();
    let is_new = |id: &NodeId| !partition.replicas.contains(id) || partition.adding.contains(id);
    let mut adding: Vec<_> = replicas.iter().copied().filter(is_new).collect();
    adding.sort_unstable();
    let mut draft = outlook.draft(partition);
    draft.election = Election::Online;
    outlook.set_replicas(&mut draft.after, replicas);
    draft.after.removing = removing;
    draft.after.adding = adding;
    outlook.finish(topic.id, index, draft)
}

/// Back to the replicas of before. As in Kafka, this is refused where only replicas that came hold everything, unless
/// the topic would rather lose records; and here also where it would take a copy of what was acknowledged with just as many as
/// `min.insync.replicas` asks for.
fn cancel(
    outlook: &Outlook<'_>,
    topic: &Topic,
    index: PartitionIndex,
    partition: &Partition,
) -> Result<Option<PartitionChange>, Error> {
    if !partition.is_reassigning() {
        return Err(Error::NoReassignmentInProgress(format!(
            "Partition {index} of '{}' is not being reassigned.",
            topic.name
        )));
    }
    let stays = |id: &NodeId| !partition.adding.contains(id);
    let replicas: Vec<_> = partition.replicas.iter().copied().filter(stays).collect();
    let isr: Vec<_> = partition.isr.iter().copied().filter(stays).collect();
    let eligible = partition.isr.is_empty() && partition.elr.iter().any(stays);
    if replicas.is_empty() || isr.is_empty() && !eligible && !outlook.allows_loss() {
        return Err(Error::InvalidReplicaAssignment(format!(
            "Only replicas that the reassignment of partition {index} of '{}' adds hold everything: going back would \
             lose records; wait until another one is in sync.",
            topic.name
        )));
    }
    let mut draft = outlook.draft(partition);
    outlook.set_replicas(&mut draft.after, replicas);
    draft.after.isr = isr;
    if let Some(min) = outlook.lacks_in_sync(partition, &draft.after) {
        return Err(Error::InvalidReplicaAssignment(format!(
            "Without the replicas that the reassignment of partition {index} of '{}' adds, {} would be in sync, and \
             min.insync.replicas is {min}: wait until more of the others are.",
            topic.name,
            draft.after.isr.len()
        )));
    }
    draft.after.removing.clear();
    draft.after.adding.clear();
    Ok(outlook.finish(topic.id, index, draft))
}

fn ongoing(topic: &Topic, index: PartitionIndex, partition: &Partition) -> Option<OngoingReassignment> {
    partition.is_reassigning().then(|| OngoingReassignment {
        topic: topic.name.clone(),
        index,
        replicas: partition.replicas.clone(),
        adding: partition.adding.clone(),
        removing: partition.removing.clone(),
    })
}
