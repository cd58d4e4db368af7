//! The cluster's topics as the group coordinators see them.

use groups::{Topics, TopicsView};
use metadata::Image;
use model::{PartitionIndex, TopicId};
use std::sync::Arc;

/// An image of the cluster, of which only the topics are shown.
struct ImageTopics(Arc<Image>);

/// The topics of an image.
pub(crate) fn view(image: Arc<Image>) -> TopicsView {
    TopicsView(Arc::new(ImageTopics(image)))
}

fn count(topic: &metadata::Topic) -> PartitionIndex {
    PartitionIndex::try_from(topic.partitions.len()).unwrap_or(PartitionIndex::MAX)
}

impl Topics for ImageTopics {
    fn version(&self) -> i64 {
        self.0.position().offset
    }

    fn by_name(&self, name: &str) -> Option<(TopicId, PartitionIndex)> {
        self.0.topic(name).map(|topic| (topic.id, count(topic)))
    }

    fn by_id(&self, id: &TopicId) -> Option<(Arc<str>, PartitionIndex)> {
        self.0.topic_by_id(*id).map(|topic| (Arc::from(&*topic.name), count(topic)))
    }

    fn each_name(&self, see: &mut dyn FnMut(&str)) {
        self.0.topics().for_each(|topic| see(&topic.name));
    }
}
