//! The partitions that this broker leads, found by name or id.
//!
//! It neither opens nor deletes logs; [`crate::replicas`] does and enters them here.

use crate::partition::Partition;
use model::{PartitionIndex, TopicId, TopicName};
use parking_lot::RwLock;
use std::sync::Arc;
use stdx::Map;

/// All partitions.
#[derive(Default)]
pub(crate) struct Partitions {
    topics: RwLock<Topics>,
}

#[derive(Default)]
struct Topics {
    by_name: Map<TopicName, Arc<TopicPartitions>>,
    by_id: Map<TopicId, Arc<TopicPartitions>>,
    is_closed: bool,
}

/// The partitions of one topic; a new value for each change.
#[derive(Clone)]
pub(crate) struct TopicPartitions {
    name: TopicName,
    id: TopicId,
    partitions: Vec<Option<Arc<Partition>>>,
}

impl Partitions {
    /// The topic of this name.
    pub(crate) fn topic(&self, name: &str) -> Option<Arc<TopicPartitions>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// The topic of this id.
    pub(crate) fn topic_by_id(&self, id: TopicId) -> Option<Arc<TopicPartitions>> {
        self.topics.read().by_id.get(&id).cloned()
    }

    /// One partition.
    pub(crate) fn get(&self, topic: &str, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.topic(topic)?.partition(index)
    }

    /// All partitions, in the order of their topics' names.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let mut topics: Vec<_> = self.topics.read().by_name.values().cloned().collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.iter().flat_map(|topic| topic.partitions.iter().flatten().cloned()).collect()
    }

    /// The broker stops: what is there is all that is to be closed, since nothing more is entered.
    pub(crate) fn close(&self) -> Vec<Arc<Partition>> {
        self.topics.write().is_closed = true;
        self.all()
    }

    /// Enters partitions of one topic, unless the broker stops.
    pub(crate) fn insert(&self, partitions: Vec<Arc<Partition>>) {
        let Some(first) = partitions.first() else { return };
        let (name, id) = (first.topic().clone(), first.topic_id());
        let mut topics = self.topics.write();
        if topics.is_closed {
            return;
        }
        let mut topic = match topics.by_id.get(&id) {
            Some(topic) => TopicPartitions::clone(topic),
            None => TopicPartitions { name: name.clone(), id, partitions: Vec::new() },
        };
        for partition in partitions {
            let Ok(index) = usize::try_from(partition.index()) else { continue };
            if topic.partitions.len() <= index {
                topic.partitions.resize(index + 1, None);
            }
            if let Some(place) = topic.partitions.get_mut(index) {
                *place = Some(partition);
            }
        }
        let topic = Arc::new(topic);
        topics.by_name.insert(name, topic.clone());
        topics.by_id.insert(id, topic);
    }

    /// Takes one partition out.
    pub(crate) fn take(&self, id: TopicId, index: PartitionIndex) -> Option<Arc<Partition>> {
        let mut topics = self.topics.write();
        let mut topic = TopicPartitions::clone(topics.by_id.get(&id)?);
        let taken = topic.partitions.get_mut(usize::try_from(index).ok()?)?.take();
        let topic = Arc::new(topic);
        topics.by_name.insert(topic.name.clone(), topic.clone());
        topics.by_id.insert(id, topic);
        taken
    }

    /// Takes a topic out.
    pub(crate) fn remove(&self, id: TopicId) -> Vec<Arc<Partition>> {
        let mut topics = self.topics.write();
        let Some(topic) = topics.by_id.remove(&id) else { return Vec::new() };
        if topics.by_name.get(&topic.name).is_some_and(|named| named.id == id) {
            topics.by_name.remove(&topic.name);
        }
        topic.partitions.iter().flatten().cloned().collect()
    }
}

impl TopicPartitions {
    /// The partition of this index.
    pub(crate) fn partition(&self, index: PartitionIndex) -> Option<Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::kit::Kit;

    #[test]
    fn what_comes_after_the_end_is_not_entered_and_so_not_written() {
        let (kit, partitions) = (Kit::new(0), Partitions::default());
        partitions.insert(vec![kit.partition(0)]);
        assert_eq!(partitions.close().len(), 1);
        partitions.insert(vec![kit.partition(1)]);
        assert!(partitions.get("t", 0).is_some() && partitions.get("t", 1).is_none());
    }
}
