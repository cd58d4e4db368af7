//! Partitions are added to topics.
//!
//! It never removes partitions. The controller's dispatch calls it.

use std::collections::BTreeMap;

use coordinator::Outcome;

use super::{Controller, create_topics::PARTITIONS_MAX};
use crate::{Error, NewPartitions, Permits, Record, Reply, placement::Placer};

impl Controller {
    pub(super) fn create_partitions(
        &self,
        topics: Vec<NewPartitions>,
        validate_only: bool,
        seed: u64,
        mut permits: Permits,
    ) -> Outcome<Record, Reply> {
        if let Err(error) = self.check_added(&topics) {
            let refused = topics.into_iter().map(|topic| (topic.topic, Err(error.clone())));
            return Outcome::new(Vec::new(), Reply::CreatePartitions(refused.collect()));
        }
        let mut placer = self.placer(seed);
        let mut records = Vec::new();
        let mut results: Vec<(String, Result<usize, Error>)> = Vec::new();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &topics {
            *counts.entry(&topic.topic).or_default() += 1;
        }
        for topic in &topics {
            let result = match counts.insert(&topic.topic, 0) {
                Some(1) => self.add_partitions(topic, &mut placer, &mut permits).map(|new| {
                    let count = new.len();
                    records.extend(new);
                    count
                }),
                // A name that comes again was answered when it came first.
                Some(0) | None => continue,
                Some(_) => {
                    Err(Error::InvalidRequest("The topic is in this request more than once.".to_owned()))
                }
            };
            results.push((topic.topic.clone(), result));
        }
        if validate_only {
            records.clear();
        }
        Outcome::new(records, Reply::CreatePartitions(results))
    }

    /// Kafka refuses what a single request cannot do in one piece, before it looks at anything else.
    fn check_added(&self, topics: &[NewPartitions]) -> Result<(), Error> {
        let added = topics.iter().filter_map(|wanted| {
            let old = self.image.topic(&wanted.topic)?.partitions.len();
            Some(usize::try_from(wanted.count).unwrap_or(0).saturating_sub(old))
        });
        if added.fold(0, usize::saturating_add) > PARTITIONS_MAX {
            return Err(Error::PolicyViolation(format!(
                "At most {PARTITIONS_MAX} partitions can be created by one request; use several."
            )));
        }
        Ok(())
    }

    fn add_partitions(
        &self,
        wanted: &NewPartitions,
        placer: &mut Placer,
        permits: &mut Permits,
    ) -> Result<Vec<Record>, Error> {
        let name = &wanted.topic;
        let Some(topic) = self.image.topic(name) else {
            return Err(Error::UnknownTopicOrPartition(format!("There is no topic '{name}'.")));
        };
        let old = topic.partitions.len();
        let added = usize::try_from(wanted.count).unwrap_or(0).saturating_sub(old);
        if added == 0 {
            return Err(Error::InvalidPartitions(format!(
                "Topic '{name}' has {old} partition(s); it can only get more, but {} were asked for.",
                wanted.count
            )));
        }
        let assignments = wanted.assignments.as_deref();
        if let Some(given) = assignments.filter(|given| given.len() != added) {
            return Err(Error::InvalidReplicaAssignment(format!(
                "{added} partition(s) are to be added, but replicas were chosen for {}.",
                given.len()
            )));
        }
        permits.take(added)?;
        let replication_factor = topic.partitions.first().map_or(1, |first| first.replicas.len());
        let mut records = Vec::new();
        for (offset, index) in (0..added).zip(i32::try_from(old).unwrap_or(i32::MAX)..) {
            let partition = match assignments.and_then(|given| given.get(offset)) {
                Some(replicas) => {
                    self.assigned_partition(topic.id, index, replicas.clone(), Some(replication_factor))
                }
                None => self.placed_partition(topic.id, index, placer.place(replication_factor)?),
            };
            records.push(Record::Partition(partition?));
        }
        Ok(records)
    }
}
