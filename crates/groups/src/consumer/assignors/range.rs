//! `range`: of each topic, every subscriber gets one stretch of neighbours; members in the same order for all topics, so
//! that topics with as many partitions are assigned alike (joins depend on it).

use super::{Counts, MemberSpecs, Targets};
use crate::MemberId;
use model::{PartitionIndex, TopicId};
use std::collections::BTreeMap;

/// How a topic is cut.
struct Cut {
    count: PartitionIndex,
    members: PartitionIndex,
    /// How many members had their stretch.
    served: PartitionIndex,
    next: PartitionIndex,
}

impl Cut {
    /// The next stretch; the first `count % members` are longer by one.
    fn stretch(&mut self) -> std::ops::Range<PartitionIndex> {
        let longer = self.served < self.count % self.members;
        let start = self.next;
        self.served += 1;
        self.next = start + self.count / self.members + PartitionIndex::from(longer);
        start..self.next
    }
}

/// Static members come first, by their instance ids: they keep their place over restarts.
pub(super) fn assign(members: &MemberSpecs, counts: Counts<'_>) -> Targets {
    let mut order: Vec<(bool, &str, &MemberId)> = members
        .iter()
        .map(|(id, member)| match &member.instance_id {
            Some(instance) => (false, &**instance, id),
            None => (true, &**id, id),
        })
        .collect();
    order.sort_unstable();
    let mut cuts = BTreeMap::<TopicId, Cut>::new();
    for topic in members.values().flat_map(|member| &member.topics) {
        let cut = cuts.entry(*topic).or_insert_with(|| Cut {
            count: counts(topic),
            members: 0,
            served: 0,
            next: 0,
        });
        cut.members += 1;
    }
    let mut targets = Targets::new();
    for (_, _, id) in order {
        let target = targets.entry(id.clone()).or_default();
        for topic in members.get(id).into_iter().flat_map(|member| &member.topics) {
            let stretch = cuts.get_mut(topic).map_or(0..0, Cut::stretch);
            if !stretch.is_empty() {
                target.insert(*topic, stretch.collect());
            }
        }
    }
    targets
}
