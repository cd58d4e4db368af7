//! Where an application can be asked for the state of its tasks (interactive queries): the partitions of each endpoint.

use super::{StreamsGroup, StreamsMember, configured::Configured, records::TaskSet};
use crate::{Endpoint, Topics};
use model::PartitionIndex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a member that bears an endpoint reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPartitions {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The partitions of its active tasks, by topic.
    pub active: BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>,
    /// Those of its standby and warmup tasks.
    pub standby: BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>,
}

impl StreamsGroup {
    /// The partitions of all endpoints of the group: found once for all who ask, until something changes.
    pub(crate) fn endpoints(&mut self, topics: &dyn Topics) -> Arc<[EndpointPartitions]> {
        if let Some(known) = &self.soft.endpoints {
            return known.clone();
        }
        let Some(configured) = &self.soft.configured else { return Arc::default() };
        let all = self.members.values().filter_map(|member| partitions(member, configured, topics));
        let all: Arc<[EndpointPartitions]> = all.collect();
        self.soft.endpoints = Some(all.clone());
        all
    }
}

fn partitions(
    member: &StreamsMember,
    configured: &Configured,
    topics: &dyn Topics,
) -> Option<EndpointPartitions> {
    let endpoint = member.metadata.user_endpoint.clone()?;
    let tasks = member.current.assigned.to_tasks();
    let mut copies = tasks.standby;
    for (subtopology, indices) in tasks.warmup {
        copies.entry(subtopology).or_default().extend(indices);
    }
    let read = |tasks: &TaskSet| read(tasks, configured, topics);
    Some(EndpointPartitions { endpoint, active: read(&tasks.active), standby: read(&copies) })
}

/// The partitions that tasks read: of each source of their subtopology those of the same number, as far as it has them.
fn read(
    tasks: &TaskSet,
    configured: &Configured,
    topics: &dyn Topics,
) -> BTreeMap<Arc<str>, BTreeSet<PartitionIndex>> {
    let mut all = BTreeMap::<Arc<str>, BTreeSet<PartitionIndex>>::new();
    for (subtopology, indices) in tasks {
        let sources = configured.subtopologies.get(subtopology).into_iter().flat_map(|found| &found.sources);
        for topic in sources {
            let count = topics.by_name(topic).map_or(0, |(_, count)| count);
            let there: BTreeSet<PartitionIndex> = indices.range(..count).copied().collect();
            if !there.is_empty() {
                all.entry(topic.clone()).or_default().extend(there);
            }
        }
    }
    all
}
