//! Log directories of brokers fail, are cordoned, and get replicas (KIP-112, KIP-858, KIP-1066).
//!
//! It sees no disk: the broker says so in its heartbeats and requests. The controller's dispatch calls it.

use std::collections::BTreeMap;

use coordinator::Outcome;
use model::{NodeId, PartitionIndex, TopicId};
use stdx::Uuid;

use super::{Controller, Decision, election::Outlook};
use crate::{
    ChangeDirectories, DIRECTORY_LOST, DIRECTORY_MIGRATING, DirectoryAssignment, Error, PartitionChange,
    Record, Registration, Reply,
};

impl Controller {
    /// What was led from a failed directory is led by others; a broker without any directory left is fenced.
    pub(super) fn change_directories(&self, request: ChangeDirectories) -> Decision {
        let ChangeDirectories { broker, broker_epoch, offline, cordoned } = request;
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        let failed: Vec<_> =
            registration.directories.iter().copied().filter(|dir| offline.contains(dir)).collect();
        let left: Vec<_> =
            registration.directories.iter().copied().filter(|dir| !offline.contains(dir)).collect();
        let cordoned = cordoned.filter(|cordoned| differs(cordoned, &registration.cordoned));
        let mut records = Vec::new();
        let none_left = left.is_empty() && !failed.is_empty() && !registration.fenced;
        if none_left {
            self.elect_without(broker, &|_, _| false, &mut records);
        } else if !failed.is_empty() {
            self.elect_without_directories(broker, &failed, &mut records);
        }
        let change = Record::BrokerChange {
            broker,
            broker_epoch,
            fenced: none_left.then_some(true),
            shutting_down: None,
            // The record cannot say that none is left.
            directories: (!failed.is_empty() && !left.is_empty()).then_some(left),
            cordoned,
        };
        if !matches!(change, Record::BrokerChange { fenced: None, directories: None, cordoned: None, .. }) {
            records.push(change);
        }
        Ok(Outcome::new(records, Reply::BrokerChanged))
    }

    pub(super) fn assign_directories(
        &self,
        broker: NodeId,
        broker_epoch: i64,
        assignments: Vec<DirectoryAssignment>,
    ) -> Decision {
        let registration = self.check_broker_epoch(broker, broker_epoch)?;
        // A replica that is named twice is where it was named last.
        let last: BTreeMap<(TopicId, PartitionIndex), Uuid> =
            assignments.iter().map(|one| ((one.topic, one.index), one.directory)).collect();
        let changes: BTreeMap<_, _> = last
            .into_iter()
            .map(|((topic, index), directory)| {
                ((topic, index), self.assign(registration, topic, index, directory))
            })
            .collect();
        let results = assignments.into_iter().map(|one| {
            let result = changes.get(&(one.topic, one.index)).cloned().unwrap_or(Ok(None));
            (one, result.map(|_| ()))
        });
        let reply = Reply::AssignReplicasToDirs(results.collect());
        let records = changes.into_values().filter_map(Result::ok).flatten().map(Record::PartitionChange);
        Ok(Outcome::new(records.collect(), reply))
    }

    fn assign(
        &self,
        broker: &Registration,
        id: TopicId,
        index: PartitionIndex,
        directory: Uuid,
    ) -> Result<Option<PartitionChange>, Error> {
        let Some(topic) = self.image.topic_by_id(id) else {
            return Err(Error::UnknownTopicId(format!("There is no topic with the id {id}.")));
        };
        let Some(partition) = topic.partition(index) else {
            return Err(Error::UnknownTopicOrPartition(format!(
                "'{}' has no partition {index}.",
                topic.name
            )));
        };
        let place = partition.replicas.iter().position(|replica| *replica == broker.id);
        let Some(old) = place.and_then(|place| partition.directories.get(place)) else {
            return Err(Error::NotLeaderOrFollower(format!(
                "Broker {} has no replica of partition {index} of '{}'.",
                broker.id, topic.name
            )));
        };
        let fits = |id, directory| self.fits(id, directory);
        let outlook = Outlook::of(self, &topic.name, &fits);
        let mut draft = outlook.draft(partition);
        if let Some(slot) = place.and_then(|place| draft.after.directories.get_mut(place)) {
            *slot = directory;
        }
        if !broker.has_online(directory) {
            draft.after.isr.retain(|id| *id != broker.id);
        }
        // Kafka's brokers never say so. One of ours takes back that it has lost a replica: it has found it whole.
        let is_found = *old == DIRECTORY_LOST && directory == DIRECTORY_MIGRATING;
        // What it said of its log before it was lost may still be on its way to the leader, which must not believe it any
        // more: it comes from an epoch that is over.
        draft.anew = *old == DIRECTORY_LOST && broker.has_online(directory) && partition.leader >= 0;
        // A replica that moves out of a failed directory begins with nothing.
        if !broker.has_online(*old) && *old != directory && !is_found {
            draft.doubtful = Some(broker.id);
            draft.after.elr_last_known.retain(|id| *id != broker.id);
        }
        Ok(outlook.finish(topic.id, index, draft))
    }

    /// Partition changes for when log directories of a broker have failed.
    pub(super) fn elect_without_directories(
        &self,
        broker: NodeId,
        failed: &[Uuid],
        records: &mut Vec<Record>,
    ) {
        let fits = |id, directory| (id != broker || !failed.contains(&directory)) && self.fits(id, directory);
        for topic in self.image.topics() {
            let concerned = topic.indexed().filter(|(_, partition)| {
                partition.isr.contains(&broker)
                    && partition.directory(broker).is_some_and(|directory| failed.contains(&directory))
            });
            let mut concerned = concerned.peekable();
            if concerned.peek().is_none() {
                continue;
            }
            let outlook = Outlook::of(self, &topic.name, &fits);
            for (index, partition) in concerned {
                let mut draft = outlook.draft(partition);
                draft.after.isr.retain(|id| *id != broker);
                records.extend(outlook.finish(topic.id, index, draft).map(Record::PartitionChange));
            }
        }
    }
}

/// Whether the lists hold different ids; their order does not count.
fn differs(left: &[Uuid], right: &[Uuid]) -> bool {
    !left.iter().all(|id| right.contains(id)) || !right.iter().all(|id| left.contains(id))
}
