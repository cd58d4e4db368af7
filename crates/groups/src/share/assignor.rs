//! The assignor of share groups, which Kafka calls `simple`: every partition has a member, every member has a partition, and
//! members keep what they had as far as that allows.
//!
//! Where there are more members than partitions, several share one. Pure: members, what they are subscribed to and were to
//! have go in; what they are to have comes out.

use crate::{MemberId, Partitions};
use model::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// Kafka's name of it.
pub(crate) const NAME: &str = "simple";

/// What the assignor knows of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    /// The topics that it is subscribed to.
    pub(crate) topics: BTreeSet<TopicId>,
    /// What it was to have.
    pub(crate) assigned: Partitions,
}

type One = (TopicId, PartitionIndex);

/// What each member is to have of the partitions that can be assigned.
pub(crate) fn assign(
    members: &BTreeMap<MemberId, Spec>,
    partitions_of: &dyn Fn(&TopicId) -> BTreeSet<PartitionIndex>,
) -> BTreeMap<MemberId, Partitions> {
    let topics: BTreeSet<TopicId> = members.values().flat_map(|member| &member.topics).copied().collect();
    let of_topic = |topic: TopicId| partitions_of(&topic).into_iter().map(move |index| (topic, index));
    let mut targets: BTreeMap<MemberId, BTreeSet<One>> =
        members.keys().map(|id| (id.clone(), BTreeSet::new())).collect();
    if members.values().all(|member| member.topics == topics) {
        share_out(members, |_| true, &topics.iter().copied().flat_map(of_topic).collect(), &mut targets);
    } else {
        for topic in topics {
            let is_subscribed = |member: &Spec| member.topics.contains(&topic);
            share_out(members, is_subscribed, &of_topic(topic).collect(), &mut targets);
        }
    }
    let collect = |all: BTreeSet<One>| {
        let mut collected = Partitions::new();
        for (topic, index) in all {
            collected.entry(topic).or_default().insert(index);
        }
        collected
    };
    targets.into_iter().map(|(id, all)| (id, collect(all))).collect()
}

/// Gives each of these partitions to as many of the members as any other, and each member as many as any other.
fn share_out(
    members: &BTreeMap<MemberId, Spec>,
    takes_part: impl Fn(&Spec) -> bool,
    all: &BTreeSet<One>,
    targets: &mut BTreeMap<MemberId, BTreeSet<One>>,
) {
    let members: Vec<(&MemberId, &Spec)> = members.iter().filter(|(_, member)| takes_part(member)).collect();
    if all.is_empty() || members.is_empty() {
        return;
    }
    let sharing = members.len().div_ceil(all.len());
    let total = sharing * all.len();
    let upto = |place: usize| (total * place).div_ceil(members.len());
    let mut counts: BTreeMap<One, usize> = all.iter().map(|one| (*one, 0)).collect();
    let mut own: Vec<BTreeSet<One>> = Vec::with_capacity(members.len());
    for (place, (_, member)) in members.iter().enumerate() {
        let had = member.assigned.iter().flat_map(|(topic, all)| all.iter().map(|index| (*topic, *index)));
        let mut kept = BTreeSet::new();
        for one in had {
            let Some(count) = counts.get_mut(&one).filter(|count| **count < sharing) else { continue };
            if kept.len() < upto(place + 1) - upto(place) {
                *count += 1;
                kept.insert(one);
            }
        }
        own.push(kept);
    }
    let mut by_count: BTreeSet<(usize, One)> = counts.into_iter().map(|(one, count)| (count, one)).collect();
    for (place, own) in own.iter_mut().enumerate() {
        while own.len() < upto(place + 1) - upto(place) {
            let least = by_count.iter().find(|(_, one)| !own.contains(one)).copied();
            let Some((count, one)) = least else { break };
            by_count.remove(&(count, one));
            by_count.insert((count + 1, one));
            own.insert(one);
        }
    }
    for ((id, _), own) in members.into_iter().zip(own) {
        targets.entry(id.clone()).or_default().extend(own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use stdx::Uuid;

    fn topic(n: u8) -> TopicId {
        Uuid([n; 16])
    }

    fn check(
        subscriptions: &[Vec<u8>],
        counts: &[i32],
        before: &BTreeMap<MemberId, Partitions>,
    ) -> BTreeMap<MemberId, Partitions> {
        let spec = |(place, topics): (usize, &Vec<u8>)| {
            let id: MemberId = format!("m-{place:03}").as_str().into();
            let assigned = before.get(&id).cloned().unwrap_or_default();
            (id, Spec { topics: topics.iter().map(|n| topic(*n)).collect(), assigned })
        };
        let members: BTreeMap<MemberId, Spec> = subscriptions.iter().enumerate().map(spec).collect();
        let count = |id: &TopicId| counts.iter().enumerate().find(|(n, _)| topic(*n as u8) == *id);
        let partitions = |id: &TopicId| (0..count(id).map_or(0, |(_, count)| *count)).collect();
        let targets = assign(&members, &partitions);
        for (id, target) in &targets {
            let spec = &members[id];
            assert!(
                target.keys().all(|topic| spec.topics.contains(topic)),
                "{id} has what it did not ask for"
            );
            let can_have = spec.topics.iter().any(|id| !partitions(id).is_empty());
            assert_eq!(!target.is_empty(), can_have, "{id} of {targets:?}");
        }
        for id in members.values().flat_map(|member| &member.topics) {
            for index in partitions(id) {
                let has = |target: &Partitions| target.get(id).is_some_and(|all| all.contains(&index));
                assert!(targets.values().any(has), "nobody has {index} of {id:?}: {targets:?}");
            }
        }
        targets
    }

    proptest! {
        #[test]
        fn every_partition_has_a_member_and_every_member_a_partition(
            subscriptions in prop::collection::vec(prop::collection::vec(0..3u8, 1..3), 1..9),
            counts in prop::collection::vec(0..6i32, 3),
            later in prop::collection::vec(prop::collection::vec(0..3u8, 1..3), 1..9),
        ) {
            let before = check(&subscriptions, &counts, &BTreeMap::new());
            let same = check(&subscriptions, &counts, &before);
            prop_assert_eq!(&before, &same, "nothing moves without a reason");
            check(&later, &counts, &before);
        }
    }

    #[test]
    fn loads_differ_by_one_at_most() {
        let size = |target: &Partitions| target.values().map(BTreeSet::len).sum::<usize>();
        for (members, partitions) in [(1, 5), (2, 5), (5, 2), (7, 7), (9, 4)] {
            let targets = check(&vec![vec![0]; members], &[partitions], &BTreeMap::new());
            let sizes: BTreeSet<usize> = targets.values().map(size).collect();
            assert!(sizes.last().unwrap() - sizes.first().unwrap() <= 1, "{targets:?}");
        }
    }
}
