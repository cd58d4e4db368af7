//! The cluster's metadata at one offset of its log: brokers, topics, configurations, feature levels.
//!
//! It decides nothing. A clone costs a few reference counts, so the broker publishes one after each batch of records;
//! a change copies only the maps that it touches, never the partitions beside it. The controller keeps the newest.

use std::{collections::BTreeMap, sync::Arc};

use model::{LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TopicId, TopicName};

use crate::{
    ControllerRegistration, Partition, Record, Registration, Topic,
    chunked::Chunked,
    client_quota::{QuotaEntity, QuotaValue, Quotas},
    config::{Resource, ResourceKind},
    record,
};

/// The configuration of one resource: only what was set for it, by key.
pub type Overrides = BTreeMap<String, String>;

/// The cluster's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    cluster_id: Arc<str>,
    position: Position,
    brokers: Arc<BTreeMap<NodeId, Arc<Registration>>>,
    controllers: Arc<BTreeMap<NodeId, ControllerRegistration>>,
    names: Chunked<TopicName, TopicId>,
    topics: Chunked<TopicId, Arc<Topic>>,
    /// The topics with '.' or '_' in their names, by what metrics call them; one each unless an older log says else.
    unified: Chunked<Arc<str>, Vec<TopicName>>,
    configs: BTreeMap<ResourceKind, Chunked<Arc<str>, Arc<Overrides>>>,
    quotas: Chunked<QuotaEntity, Arc<Quotas>>,
    features: Arc<BTreeMap<String, i16>>,
    producer_id_next: ProducerId,
}

/// A place in the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The offset of the last record applied; -1 if there is none.
    pub offset: Offset,
    /// The leader epoch of that record.
    pub epoch: LeaderEpoch,
}

impl Image {
    /// The metadata of a cluster in which nothing has happened.
    pub fn new(cluster_id: &str) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            position: Position { offset: -1, epoch: 0 },
            brokers: Arc::default(),
            controllers: Arc::default(),
            names: Chunked::default(),
            topics: Chunked::default(),
            unified: Chunked::default(),
            configs: BTreeMap::new(),
            quotas: Chunked::default(),
            features: Arc::default(),
            producer_id_next: 0,
        }
    }

    /// The cluster's id, 22 characters in most clusters.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// Where in the log this image stands.
    pub fn position(&self) -> Position {
        self.position
    }

    /// All registered brokers by id, fenced ones too.
    pub fn brokers(&self) -> impl DoubleEndedIterator<Item = &Arc<Registration>> + ExactSizeIterator {
        self.brokers.values()
    }

    /// The brokers that may lead.
    pub fn brokers_active(&self) -> impl DoubleEndedIterator<Item = &Arc<Registration>> {
        self.brokers.values().filter(|broker| broker.is_active())
    }

    /// The brokers that are not fenced: those that Metadata and DescribeCluster list. One that shuts down is still
    /// among them, so that clients can reach it until it is gone.
    pub fn brokers_unfenced(&self) -> impl DoubleEndedIterator<Item = &Arc<Registration>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// The registered controllers by id (KIP-919).
    pub fn controllers(&self) -> impl DoubleEndedIterator<Item = &ControllerRegistration> {
        self.controllers.values()
    }

    /// A controller by its id.
    pub fn controller(&self, id: NodeId) -> Option<&ControllerRegistration> {
        self.controllers.get(&id)
    }

    /// A broker by its id.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<Registration>> {
        self.brokers.get(&id)
    }

    /// Whether replicas of that broker may join an ISR and lead.
    pub fn is_active(&self, broker: NodeId) -> bool {
        self.broker(broker).is_some_and(|broker| broker.is_active())
    }

    /// All topics, in the order of their names.
    pub fn topics(&self) -> impl DoubleEndedIterator<Item = &Arc<Topic>> {
        self.names.iter().filter_map(|(_, id)| self.topics.get(id))
    }

    /// The topics whose names are `first` or come after it, in the order of their names.
    pub fn topics_from(&self, first: &str) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.iter_from(first).filter_map(|(_, id)| self.topics.get(id))
    }

    /// How many topics there are.
    pub fn topics_count(&self) -> usize {
        self.topics.len()
    }

    /// A topic by its name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    /// A topic by its id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// A partition by its topic's name.
    pub fn partition(&self, topic: &str, index: PartitionIndex) -> Option<&Partition> {
        self.topic(topic)?.partition(index)
    }

    /// A topic other than `name` whose metrics would be written like those of `name`: '.' and '_' count as one.
    pub fn colliding(&self, name: &TopicName) -> Option<&TopicName> {
        self.unified.get(unify(name)?.as_str())?.iter().find(|other| *other != name)
    }

    /// What was set for a resource, if anything was.
    pub fn overrides(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Overrides>> {
        self.configs.get(&kind)?.get(name)
    }

    /// The resources of a kind for which something was set, by name; the default broker resource is `""`.
    pub fn overridden(&self, kind: ResourceKind) -> impl Iterator<Item = (&str, &Arc<Overrides>)> {
        let resources = self.configs.get(&kind).into_iter().flat_map(Chunked::iter);
        resources.map(|(name, overrides)| (&**name, overrides))
    }

    /// The quotas of an entity, if it has any (KIP-546).
    pub fn quotas(&self, entity: &QuotaEntity) -> Option<&Quotas> {
        self.quotas.get(entity).map(Arc::as_ref)
    }

    /// All entities that have quotas.
    pub fn all_quotas(&self) -> impl Iterator<Item = (&QuotaEntity, &Quotas)> {
        self.quotas.iter().map(|(entity, quotas)| (entity, &**quotas))
    }

    /// Whether another image has the same quotas; a moment's work where one was made of the other without a change of them.
    pub fn has_same_quotas(&self, other: &Self) -> bool {
        self.quotas == other.quotas
    }

    /// The finalized features with their levels; a feature at level 0 is not among them.
    pub fn features(&self) -> impl Iterator<Item = (&str, i16)> {
        self.features.iter().map(|(name, level)| (name.as_str(), *level))
    }

    /// The finalized level of a feature; 0 if it has none.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// The first producer id that no broker has got.
    pub fn producer_id_next(&self) -> ProducerId {
        self.producer_id_next
    }

    /// Says where the last applied record stands in the log, where the log holds more than these records.
    pub fn place(&mut self, position: Position) {
        self.position = position;
    }

    /// Applies one record. What refers to something unknown is ignored.
    pub fn apply(&mut self, record: Record) {
        self.position.offset += 1;
        match record {
            Record::RegisterBroker(broker) => {
                Arc::make_mut(&mut self.brokers).insert(broker.id, Arc::new(broker));
            }
            Record::UnregisterBroker { broker, .. } => {
                Arc::make_mut(&mut self.brokers).remove(&broker);
            }
            Record::Topic { name, id } => self.add_topic(name, id),
            Record::Partition(partition) => self.put_partition(partition),
            Record::PartitionChange(change) => self.change_partition(change),
            Record::RemoveTopic { id } => self.remove_topic(id),
            Record::Config { resource, name, value } => self.set_config(resource, name, value),
            Record::FenceBroker { broker, .. } => self.change_broker(broker, |broker| broker.fenced = true),
            Record::UnfenceBroker { broker, .. } => {
                self.change_broker(broker, |broker| broker.fenced = false)
            }
            Record::BrokerChange { broker, fenced, shutting_down, directories, cordoned, .. } => {
                self.change_broker(broker, |broker| {
                    broker.fenced = fenced.unwrap_or(broker.fenced);
                    broker.shutting_down = shutting_down.unwrap_or(broker.shutting_down);
                    broker.directories =
                        directories.unwrap_or_else(|| std::mem::take(&mut broker.directories));
                    broker.cordoned = cordoned.unwrap_or_else(|| std::mem::take(&mut broker.cordoned));
                });
            }
            Record::FeatureLevel { name, level: 0 } => {
                Arc::make_mut(&mut self.features).remove(&name);
            }
            Record::FeatureLevel { name, level } => {
                Arc::make_mut(&mut self.features).insert(name, level);
            }
            Record::ClientQuota { entity, key, value } => self.set_quota(entity, key, value),
            Record::ProducerIds { next, .. } => self.producer_id_next = self.producer_id_next.max(next),
            Record::RegisterController(controller) => {
                Arc::make_mut(&mut self.controllers).insert(controller.id, controller);
            }
            Record::UnregisterController { controller } => {
                Arc::make_mut(&mut self.controllers).remove(&controller);
            }
            Record::ClearElr { topic } => self.clear_elr(topic),
            Record::NoOp
            | Record::BeginTransaction { .. }
            | Record::EndTransaction
            | Record::AbortTransaction { .. } => {}
        }
    }

    /// The records that make this image from an empty one: the content of a snapshot. The position is not among them.
    pub fn to_records(&self) -> impl Iterator<Item = Record> {
        let features =
            self.features().map(|(name, level)| Record::FeatureLevel { name: name.to_owned(), level });
        let brokers = self.brokers().map(|broker| Record::RegisterBroker(Registration::clone(broker)));
        let controllers = self.controllers().cloned().map(Record::RegisterController);
        let topics = self.topics().flat_map(|topic| {
            let head = Record::Topic { name: topic.name.clone(), id: topic.id };
            let partitions = topic.indexed();
            let partitions =
                partitions.map(|(index, part)| Record::Partition(part.to_record(topic.id, index)));
            std::iter::once(head).chain(partitions)
        });
        let configs = self.configs.iter().flat_map(|(kind, resources)| {
            resources.iter().flat_map(|(resource, overrides)| {
                overrides.iter().map(|(name, value)| Record::Config {
                    resource: Resource::new(*kind, resource),
                    name: name.clone(),
                    value: Some(value.clone()),
                })
            })
        });
        let quotas = self.all_quotas().flat_map(|(entity, quotas)| {
            quotas.iter().map(|(key, value)| Record::ClientQuota {
                entity: entity.clone(),
                key: key.clone(),
                value: Some(*value),
            })
        });
        let producers = (self.producer_id_next > 0).then_some(Record::ProducerIds {
            broker: -1,
            broker_epoch: -1,
            next: self.producer_id_next,
        });
        let named = features.chain(brokers).chain(controllers).chain(topics);
        named.chain(configs).chain(quotas).chain(producers)
    }

    fn add_topic(&mut self, name: TopicName, id: TopicId) {
        if self.topic(&name).is_some() || self.topics.get(&id).is_some() {
            return;
        }
        if let Some(unified) = unify(&name) {
            let mut names = self.unified.get(unified.as_str()).cloned().unwrap_or_default();
            names.push(name.clone());
            names.sort();
            self.unified.insert(unified.into(), names);
        }
        self.names.insert(name.clone(), id);
        let topic = Topic { id, name, partitions: Vec::new() };
        self.topics.insert(id, Arc::new(topic));
    }

    fn remove_topic(&mut self, id: TopicId) {
        let Some(topic) = self.topics.remove(&id) else { return };
        self.names.remove(&*topic.name);
        if let Some(unified) = unify(&topic.name) {
            let names = self.unified.get_mut(unified.as_str());
            let emptied = names.is_some_and(|names| {
                names.retain(|name| *name != topic.name);
                names.is_empty()
            });
            if emptied {
                self.unified.remove(unified.as_str());
            }
        }
        if let Some(topics) = self.configs.get_mut(&ResourceKind::Topic) {
            topics.remove(&*topic.name);
            if topics.len() == 0 {
                self.configs.remove(&ResourceKind::Topic);
            }
        }
    }

    /// Sets a partition. Its index must be the next one or exist already; indexes have no gaps.
    fn put_partition(&mut self, partition: record::Partition) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return };
        let Ok(index) = usize::try_from(partition.index) else { return };
        let topic = Arc::make_mut(topic);
        let partition = Arc::new(Partition::from(partition));
        let next = topic.partitions.len();
        match topic.partitions.get_mut(index) {
            Some(known) => *known = partition,
            None if index == next => topic.partitions.push(partition),
            None => {}
        }
    }

    fn change_partition(&mut self, change: record::PartitionChange) {
        let Some(topic) = self.topics.get_mut(&change.topic) else { return };
        let Ok(index) = usize::try_from(change.index) else { return };
        if let Some(partition) = Arc::make_mut(topic).partitions.get_mut(index) {
            Arc::make_mut(partition).change(change);
        }
    }

    fn clear_elr(&mut self, name: Option<TopicName>) {
        let ids: Vec<_> = match name {
            Some(name) => self.names.get(&name).copied().into_iter().collect(),
            None => self.topics.iter().map(|(id, _)| *id).collect(),
        };
        for id in ids {
            let held = |topic: &Topic| topic.partitions.iter().any(|part| part.has_elr());
            if !self.topics.get(&id).is_some_and(|topic| held(topic)) {
                continue;
            }
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            for partition in Arc::make_mut(topic).partitions.iter_mut().filter(|part| part.has_elr()) {
                let none = Some(Vec::new());
                let change =
                    record::PartitionChange { elr: none.clone(), elr_last_known: none, ..Default::default() };
                Arc::make_mut(partition).change(change);
            }
        }
    }

    fn change_broker(&mut self, id: NodeId, change: impl FnOnce(&mut Registration)) {
        if let Some(broker) = Arc::make_mut(&mut self.brokers).get_mut(&id) {
            change(Arc::make_mut(broker));
        }
    }

    fn set_quota(&mut self, entity: QuotaEntity, key: String, value: Option<QuotaValue>) {
        let mut quotas = self.quotas.get(&entity).cloned().unwrap_or_default();
        match value {
            Some(value) => Arc::make_mut(&mut quotas).insert(key, value),
            None => Arc::make_mut(&mut quotas).remove(&key),
        };
        if quotas.is_empty() {
            self.quotas.remove(&entity);
        } else {
            self.quotas.insert(entity, quotas);
        }
    }

    fn set_config(&mut self, resource: Resource, name: String, value: Option<String>) {
        let resources = self.configs.entry(resource.kind).or_default();
        let mut overrides = resources.get(resource.name.as_str()).cloned().unwrap_or_default();
        match value {
            Some(value) => Arc::make_mut(&mut overrides).insert(name, value),
            None => Arc::make_mut(&mut overrides).remove(&name),
        };
        if overrides.is_empty() {
            resources.remove(resource.name.as_str());
        } else {
            resources.insert(resource.name.into(), overrides);
        }
        if resources.len() == 0 {
            self.configs.remove(&resource.kind);
        }
    }
}

/// The name with every '.' as '_', if it has one of them.
pub(crate) fn unify(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests;
