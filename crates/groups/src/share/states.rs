//! Which partitions the share coordinators keep a state of for a share group, and the steps by which they begin and end to.
//!
//! The group coordinator writes down what it is about to ask for, the broker asks the share coordinators, and then it is
//! written down what came of it: a crash between leaves a trace of what may have to be asked again.

use super::{
    ShareGroup,
    records::{NamedStates, ShareChange},
};
use crate::{
    Partitions,
    consumer::{heartbeat::Surroundings, topics::Topics},
    decision::Decision,
};
use model::{Timestamp, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Partitions that members are subscribed to and that have no share state: in which epoch the share coordinators are to begin
/// with which of them.
pub(super) fn begin(
    changes: &mut Decision<ShareGroup>,
    around: &Surroundings<'_>,
) -> Option<(i32, Partitions)> {
    let group = &changes.group;
    let now = around.now.wall;
    let is_under_way = |topic: &TopicId| {
        let since = group.initializing_since.get(topic);
        let retry_ms = around.config.share_initialize_retry_ms;
        since.is_some_and(|since| !::coordinator::has_passed(*since, retry_ms, now))
    };
    let mut missing = NamedStates::new();
    for name in group.subscribed() {
        let Some((id, count)) = around.topics.by_name(name) else { continue };
        let initialized = group.states.initialized.get(&id).map(|(_, partitions)| partitions);
        let initializing = group.states.initializing.get(&id).filter(|_| is_under_way(&id));
        let initializing = initializing.map(|(_, partitions)| partitions);
        let has = |index: &i32| [initialized, initializing].iter().flatten().any(|all| all.contains(index));
        let partitions: BTreeSet<i32> = (0..count).filter(|index| !has(index)).collect();
        if !partitions.is_empty() {
            missing.insert(id, (name.clone(), partitions));
        }
    }
    if missing.is_empty() {
        return None;
    }
    let partitions = missing.iter().map(|(id, (_, partitions))| (*id, partitions.clone())).collect();
    initialize(changes, missing, now);
    Some((changes.group.epoch.epoch, partitions))
}

/// Notes that share coordinators are being asked to begin with partitions, perhaps anew.
pub(crate) fn initialize(changes: &mut Decision<ShareGroup>, partitions: NamedStates, now: Timestamp) {
    let mut states = changes.group.states.clone();
    for (id, (name, partitions)) in partitions {
        states.deleting.remove(&id);
        changes.group.initializing_since.insert(id, now);
        add(&mut states.initializing, id, name, partitions);
    }
    if states != changes.group.states {
        changes.set(ShareChange::States(Some(states)));
    }
}

/// Notes what came of it.
pub(crate) fn initialized(
    changes: &mut Decision<ShareGroup>,
    topics: &dyn Topics,
    partitions: &Partitions,
    is_done: bool,
) {
    let mut states = changes.group.states.clone();
    for (id, partitions) in partitions {
        // What is gone needs none.
        let name = topics.by_id(id).map(|(name, _)| name);
        if let Some((_, left)) = states.initializing.get_mut(id) {
            left.retain(|index| !partitions.contains(index));
            if left.is_empty() {
                states.initializing.remove(id);
                changes.group.initializing_since.remove(id);
            }
        }
        if let Some(name) = name.filter(|_| is_done) {
            add(&mut states.initialized, *id, name, partitions.clone());
        }
    }
    if states != changes.group.states {
        changes.set(ShareChange::States(Some(states)));
    }
}

/// Notes that share coordinators are being asked to forget topics; gives the partitions of each.
pub(crate) fn delete(
    changes: &mut Decision<ShareGroup>,
    topics: &dyn Topics,
    of: &BTreeSet<TopicId>,
) -> Partitions {
    let mut states = changes.group.states.clone();
    let mut partitions = Partitions::new();
    for id in of {
        for known in [states.initialized.remove(id), states.initializing.remove(id)] {
            let Some((name, known)) = known else { continue };
            partitions.entry(*id).or_default().extend(known);
            states.deleting.insert(*id, name);
        }
        // What was asked for before and may not have been heard.
        if let Some((_, count)) = topics.by_id(id).filter(|_| states.deleting.contains_key(id)) {
            partitions.entry(*id).or_default().extend(0..count);
        }
    }
    if states != changes.group.states {
        changes.set(ShareChange::States(Some(states)));
    }
    partitions
}

/// Notes that topics are forgotten, by share coordinators or because they are gone.
pub(crate) fn forget(changes: &mut Decision<ShareGroup>, of: &BTreeSet<TopicId>, is_gone: bool) {
    let mut states = changes.group.states.clone();
    states.deleting.retain(|id, _| !of.contains(id));
    if is_gone {
        states.initializing.retain(|id, _| !of.contains(id));
        states.initialized.retain(|id, _| !of.contains(id));
    }
    if states != changes.group.states {
        changes.set(ShareChange::States(Some(states)));
    }
}

impl ShareGroup {
    /// All topics that share coordinators may know of.
    pub(crate) fn state_topics(&self) -> BTreeSet<TopicId> {
        let states = &self.states;
        states
            .initialized
            .keys()
            .chain(states.initializing.keys())
            .chain(states.deleting.keys())
            .copied()
            .collect()
    }

    /// The partitions that have a share state.
    pub(crate) fn initialized(&self) -> Partitions {
        let all = self.states.initialized.iter();
        all.map(|(id, (_, partitions))| (*id, partitions.clone())).collect::<BTreeMap<_, _>>()
    }
}

fn add(to: &mut NamedStates, id: TopicId, name: Arc<str>, partitions: BTreeSet<i32>) {
    to.entry(id).or_insert_with(|| (name, BTreeSet::new())).1.extend(partitions);
}
