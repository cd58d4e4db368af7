//! `uniform`: as equal as can be, and as few moves as that allows.
//!
//! Where all members are subscribed alike, everybody gets the same number of partitions, more or less one, and keeps what
//! he had up to that. Where they differ, partitions go to the subscriber with the fewest, the scarcest topics first, and
//! are then moved from the fullest to the emptiest subscriber of each topic until that helps no more.

use super::{Counts, MemberSpec, MemberSpecs, Targets};
use model::{PartitionIndex, TopicId};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// How often all topics are looked at for a better balance. With subscriptions that overlap, each round about halves what
/// is left; equal ones need one round.
const ROUNDS_MAX: usize = 16;

pub(super) fn assign(members: &MemberSpecs, counts: Counts<'_>) -> Targets {
    let mut all = members.values();
    let Some(first) = all.next() else { return Targets::new() };
    if all.all(|member| member.topics == first.topics) {
        alike(members, &first.topics, counts)
    } else {
        Uneven::new(members, counts).assign()
    }
}

/// All members are subscribed to `topics`.
fn alike(members: &MemberSpecs, topics: &BTreeSet<TopicId>, counts: Counts<'_>) -> Targets {
    let kept = |member: &MemberSpec| -> Vec<(TopicId, PartitionIndex)> {
        let of_topics = member.assigned.iter().filter(|(topic, _)| topics.contains(topic));
        of_topics
            .flat_map(|(topic, partitions)| partitions.iter().map(|index| (*topic, *index)))
            .filter(|(topic, index)| *index < counts(topic))
            .collect()
    };
    let total: usize = topics.iter().map(|topic| counts(topic).max(0) as usize).sum();
    let (quota, mut extra) = (total / members.len().max(1), total % members.len().max(1));
    let mut taken = BTreeSet::new();
    let mut given = BTreeMap::new();
    let mut short = Vec::new();
    for (place, (id, member)) in members.iter().enumerate() {
        // One partition belongs to one member, whatever was written.
        let mut own: Vec<_> = kept(member).into_iter().filter(|one| !taken.contains(one)).collect();
        // Who had one more than the rest keeps it while there are such places; at the end everybody takes one.
        let wants_extra = own.len() > quota || members.len() - place <= extra;
        let allowed = quota + usize::from(extra > 0 && wants_extra);
        extra -= usize::from(extra > 0 && wants_extra);
        own.truncate(allowed);
        taken.extend(own.iter().copied());
        if own.len() < allowed {
            short.push((id, allowed - own.len()));
        }
        given.insert(id.clone(), own);
    }
    let all = topics.iter().flat_map(|topic| (0..counts(topic)).map(|index| (*topic, index)));
    let mut free = all.filter(|one| !taken.contains(one));
    for (id, missing) in short {
        if let Some(own) = given.get_mut(id) {
            own.extend(free.by_ref().take(missing));
        }
    }
    given.into_iter().map(|(id, own)| (id, collect(own))).collect()
}

fn collect(partitions: Vec<(TopicId, PartitionIndex)>) -> super::Partitions {
    let mut collected = super::Partitions::new();
    for (topic, index) in partitions {
        collected.entry(topic).or_default().insert(index);
    }
    collected
}

/// Members by their place among the ids, topics with their owners.
struct Uneven<'a> {
    members: &'a MemberSpecs,
    loads: Vec<usize>,
    topics: BTreeMap<TopicId, Topic>,
}

struct Topic {
    /// Places of its subscribers, in order.
    subscribers: Vec<usize>,
    /// The owner of each partition.
    owners: Vec<Option<usize>>,
}

impl<'a> Uneven<'a> {
    /// Everybody has what he had and is still subscribed to.
    fn new(members: &'a MemberSpecs, counts: Counts<'_>) -> Self {
        let mut topics = BTreeMap::<TopicId, Topic>::new();
        for (place, member) in members.values().enumerate() {
            for topic in &member.topics {
                let entry = topics.entry(*topic).or_insert_with(|| Topic {
                    subscribers: Vec::new(),
                    owners: vec![None; counts(topic).max(0) as usize],
                });
                entry.subscribers.push(place);
            }
        }
        let mut loads = vec![0; members.len()];
        for (place, (member, load)) in members.values().zip(&mut loads).enumerate() {
            for (topic, partitions) in &member.assigned {
                let Some(entry) = topics.get_mut(topic).filter(|_| member.topics.contains(topic)) else {
                    continue;
                };
                for index in partitions {
                    if let Some(owner @ None) = entry.owners.get_mut(*index as usize) {
                        *owner = Some(place);
                        *load += 1;
                    }
                }
            }
        }
        Self { members, loads, topics }
    }

    fn assign(mut self) -> Targets {
        let mut order: Vec<TopicId> = self.topics.keys().copied().collect();
        order.sort_by_cached_key(|id| self.topics.get(id).map(|topic| (Reverse(scarcity(topic)), *id)));
        for id in &order {
            self.place_free(id);
        }
        for _ in 0..ROUNDS_MAX {
            let moved: usize = order.iter().map(|id| self.balance(id)).sum();
            if moved == 0 {
                break;
            }
        }
        let mut targets: Vec<super::Partitions> = vec![super::Partitions::new(); self.members.len()];
        for (id, topic) in &self.topics {
            for (index, owner) in topic.owners.iter().enumerate() {
                if let Some(target) = owner.and_then(|place| targets.get_mut(place)) {
                    target.entry(*id).or_default().insert(index as PartitionIndex);
                }
            }
        }
        self.members.keys().cloned().zip(targets).collect()
    }

    /// The subscribers of a topic by load, then place.
    fn by_load(&self, topic: &Topic) -> BTreeSet<(usize, usize)> {
        topic.subscribers.iter().map(|&place| (self.loads.get(place).copied().unwrap_or(0), place)).collect()
    }

    /// Gives every partition without an owner to the subscriber with the fewest.
    fn place_free(&mut self, id: &TopicId) {
        let Some(mut topic) = self.topics.remove(id) else { return };
        let mut by_load = self.by_load(&topic);
        for owner in topic.owners.iter_mut().filter(|owner| owner.is_none()) {
            let Some((load, place)) = by_load.pop_first() else { break };
            *owner = Some(place);
            by_load.insert((load + 1, place));
            self.loads.get_mut(place).into_iter().for_each(|of_place| *of_place += 1);
        }
        self.topics.insert(*id, topic);
    }

    /// Moves partitions of a topic from its fullest subscribers to its emptiest; how many were moved.
    fn balance(&mut self, id: &TopicId) -> usize {
        let Some(mut topic) = self.topics.remove(id) else { return 0 };
        let mut owned = BTreeMap::<usize, Vec<usize>>::new();
        for (index, owner) in topic.owners.iter().enumerate() {
            owner.iter().for_each(|&place| owned.entry(place).or_default().push(index));
        }
        let mut by_load = self.by_load(&topic);
        // Who has nothing of this topic has nothing to give.
        let mut givers: BTreeSet<(usize, usize)> =
            by_load.iter().filter(|(_, place)| owned.contains_key(place)).copied().collect();
        let mut moved = 0;
        while let (Some(&(least, to)), Some(&(most, from))) = (by_load.first(), givers.last()) {
            if most.saturating_sub(least) <= 1 {
                break;
            }
            givers.remove(&(most, from));
            let Some(index) = owned.get_mut(&from).and_then(Vec::pop) else { continue };
            topic.owners.get_mut(index).into_iter().for_each(|owner| *owner = Some(to));
            moved += 1;
            by_load.remove(&(most, from));
            by_load.remove(&(least, to));
            by_load.extend([(most - 1, from), (least + 1, to)]);
            givers.insert((most - 1, from));
            self.loads.get_mut(from).into_iter().for_each(|load| *load -= 1);
            self.loads.get_mut(to).into_iter().for_each(|load| *load += 1);
        }
        self.topics.insert(*id, topic);
        moved
    }
}

/// Partitions for each subscriber, in thousandths; the fewer subscribers, the scarcer.
fn scarcity(topic: &Topic) -> (usize, Reverse<usize>) {
    let subscribers = topic.subscribers.len().max(1);
    (topic.owners.len() * 1000 / subscribers, Reverse(subscribers))
}
