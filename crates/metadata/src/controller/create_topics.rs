//! Topics are created, with their configurations and partitions.
//!
//! It creates no files and waits for nobody. The controller's dispatch calls it.

use std::collections::{BTreeMap, BTreeSet};

use coordinator::Outcome;
use model::{TopicId, TopicName};

use super::{Controller, Decision};
use crate::{
    CreatedTopic, Error, NewTopic, Permits, Record, Reply,
    config::{Resource, ResourceKind, check_alteration},
    image::Overrides,
    placement::Placer,
};

/// How many partitions one request may create, as in Kafka.
pub(super) const PARTITIONS_MAX: usize = 10_000;

/// What one request has decided so far.
struct Batch {
    placer: Placer,
    records: Vec<Record>,
    ids: BTreeSet<TopicId>,
    permits: Permits,
}

impl Controller {
    pub(super) fn create_topics(
        &self,
        topics: Vec<NewTopic>,
        validate_only: bool,
        seed: u64,
        permits: Permits,
    ) -> Decision {
        self.check_total(&topics)?;
        let mut batch =
            Batch { placer: self.placer(seed), records: Vec::new(), ids: BTreeSet::new(), permits };
        let mut results = Vec::new();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for topic in &topics {
            *counts.entry(topic.name.clone()).or_default() += 1;
        }
        for topic in topics {
            let result = match counts.insert(topic.name.clone(), 0) {
                Some(1) => self.create_topic(&topic, &mut batch),
                // A name that comes again was answered when it came first.
                Some(0) | None => continue,
                Some(_) => {
                    Err(Error::InvalidRequest("The topic is in this request more than once.".to_owned()))
                }
            };
            results.push((topic.name, result));
        }
        let records = if validate_only { Vec::new() } else { batch.records };
        Ok(Outcome::new(records, Reply::CreateTopics(results)))
    }

    fn create_topic(&self, topic: &NewTopic, batch: &mut Batch) -> Result<CreatedTopic, Error> {
        let name = self.check_name(&topic.name)?;
        if !batch.ids.insert(topic.id) || topic.id.is_zero() || self.image.topic_by_id(topic.id).is_some() {
            return Err(Error::UnknownServerError(format!("The id {} is taken; try again.", topic.id)));
        }
        let configs = self.new_topic_configs(topic)?;
        let partitions = if topic.assignments.is_empty() {
            self.placed(topic, &mut batch.placer)?
        } else {
            self.assigned(topic)?
        };
        batch.permits.take(partitions.len())?;
        let replication_factor = match partitions.first() {
            Some(Record::Partition(first)) => first.replicas.len(),
            _ => 0,
        };
        let created = CreatedTopic {
            name: name.clone(),
            id: topic.id,
            partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replication_factor).unwrap_or(i16::MAX),
            configs: self.configs().describe_own(ResourceKind::Topic, Some(&configs)),
        };
        batch.records.push(Record::Topic { name, id: topic.id });
        batch.records.extend(configs.into_iter().map(|(name, value)| Record::Config {
            resource: Resource::topic(&topic.name),
            name,
            value: Some(value),
        }));
        batch.records.extend(partitions);
        Ok(created)
    }

    /// Kafka refuses what a single request cannot do in one piece, before it looks at anything else.
    fn check_total(&self, topics: &[NewTopic]) -> Result<(), Error> {
        let default = self.configs().broker().integer("num.partitions");
        let count = |topic: &NewTopic| match topic.partitions {
            _ if !topic.assignments.is_empty() => topic.assignments.len(),
            -1 => usize::try_from(default).unwrap_or(1),
            count => usize::try_from(count).unwrap_or(0),
        };
        if topics.iter().map(count).fold(0, usize::saturating_add) > PARTITIONS_MAX {
            return Err(Error::PolicyViolation(format!(
                "At most {PARTITIONS_MAX} partitions can be created by one request; use several."
            )));
        }
        Ok(())
    }

    /// As in Kafka only topics that exist count, not those of the same request.
    fn check_name(&self, name: &str) -> Result<TopicName, Error> {
        if name == "__cluster_metadata" {
            return Err(Error::InvalidRequest(format!(
                "The topic {name} is the cluster's own and cannot be created."
            )));
        }
        let name = TopicName::new(name).map_err(|error| Error::InvalidTopicException(error.to_string()))?;
        if self.image.topic(&name).is_some() {
            return Err(Error::TopicAlreadyExists(format!("Topic '{name}' already exists.")));
        }
        if let Some(other) = self.image.colliding(&name) {
            return Err(Error::InvalidTopicException(format!(
                "Topic '{name}' would have the same metric names as '{other}', because '.' and '_' count as one there; \
                 choose another name."
            )));
        }
        Ok(name)
    }

    fn new_topic_configs(&self, topic: &NewTopic) -> Result<Overrides, Error> {
        let nulls: Vec<_> = topic
            .configs
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !nulls.is_empty() {
            return Err(Error::InvalidConfig(format!(
                "These topic configurations need a value: {}; leave them out for the default.",
                nulls.join(", ")
            )));
        }
        let configs: Overrides =
            topic.configs.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let changed: Vec<_> = configs.keys().cloned().collect();
        check_alteration(self.configs(), &Resource::topic(&topic.name), &configs, &changed)?;
        Ok(configs)
    }

    fn placed(&self, topic: &NewTopic, placer: &mut Placer) -> Result<Vec<Record>, Error> {
        let broker = self.configs().broker();
        let replication_factor = match i64::from(topic.replication_factor) {
            -1 => broker.integer("default.replication.factor"),
            given if given > 0 => given,
            given => {
                return Err(Error::InvalidReplicationFactor(format!(
                    "A replication factor of {given} is not possible: take 1 or more, or -1 for the default."
                )));
            }
        };
        let count = match i64::from(topic.partitions) {
            -1 => broker.integer("num.partitions"),
            given if given > 0 => given,
            given => {
                return Err(Error::InvalidPartitions(format!(
                    "{given} partitions are not possible: take 1 or more, or -1 for the default."
                )));
            }
        };
        let replication_factor = usize::try_from(replication_factor).unwrap_or(0);
        let indexes = 0..i32::try_from(count).unwrap_or(0);
        let place = |index| self.placed_partition(topic.id, index, placer.place(replication_factor)?);
        indexes.map(place).map(|partition| partition.map(Record::Partition)).collect()
    }

    fn assigned(&self, topic: &NewTopic) -> Result<Vec<Record>, Error> {
        if topic.replication_factor != -1 || topic.partitions != -1 {
            return Err(Error::InvalidRequest(
                "Where the replicas are chosen by hand, the partition count and the replication factor must be -1."
                    .to_owned(),
            ));
        }
        let mut assignments: Vec<_> = topic.assignments.iter().collect();
        assignments.sort_by_key(|(index, _)| *index);
        if let Some(((twice, _), _)) =
            assignments.iter().zip(assignments.iter().skip(1)).find(|(left, right)| left.0 == right.0)
        {
            return Err(Error::InvalidReplicaAssignment(format!(
                "Replicas were chosen for partition {twice} twice."
            )));
        }
        if let Some((expected, _)) = (0..).zip(&assignments).find(|(expected, (index, _))| expected != index)
        {
            return Err(Error::InvalidReplicaAssignment(format!(
                "Partitions are numbered from 0 without gaps, but {expected} is missing."
            )));
        }
        let replication_factor = topic.assignments.first().map(|(_, replicas)| replicas.len());
        let assign = |(index, replicas): &(i32, Vec<_>)| {
            let partition = self.assigned_partition(topic.id, *index, replicas.clone(), replication_factor);
            partition.map(Record::Partition)
        };
        assignments.into_iter().map(assign).collect()
    }
}
