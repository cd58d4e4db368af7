//! What the coordinator knows of the cluster's topics: enough to assign partitions and to match patterns.
//!
//! It holds nothing: `broker` lends its image of the cluster.

use model::{PartitionIndex, TopicId};
use std::{fmt, sync::Arc};

/// The topics of the cluster at one moment.
pub trait Topics: Send + Sync {
    /// The offset in the metadata log that it shows; rises.
    fn version(&self) -> i64;
    /// The topic of this name, with the count of its partitions.
    fn by_name(&self, name: &str) -> Option<(TopicId, PartitionIndex)>;
    /// The name of a topic, with the count of its partitions.
    fn by_id(&self, id: &TopicId) -> Option<(Arc<str>, PartitionIndex)>;
    /// Shows every topic's name, in some order.
    fn each_name(&self, see: &mut dyn FnMut(&str));
}

/// The topics, as an event carries them. Two are equal if they are the same view.
#[derive(Clone)]
pub struct TopicsView(pub Arc<dyn Topics>);

impl PartialEq for TopicsView {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for TopicsView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TopicsView")
    }
}

/// Before the coordinator has heard of any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoTopics;

impl Topics for NoTopics {
    fn version(&self) -> i64 {
        -1
    }

    fn by_name(&self, _: &str) -> Option<(TopicId, PartitionIndex)> {
        None
    }

    fn by_id(&self, _: &TopicId) -> Option<(Arc<str>, PartitionIndex)> {
        None
    }

    fn each_name(&self, _: &mut dyn FnMut(&str)) {}
}
