//! ShareGroupHeartbeat: a member joins, stays or leaves, and hears what it may read.
//!
//! Partitions without a share state cannot be read; the reply says which ones the share coordinators are to begin with.

use super::{
    ShareGroup,
    assignor::{self, Spec},
    records::{ShareChange, ShareCurrent},
};
use crate::{
    Config, Error, MemberId, Partitions, ShareHeartbeat, ShareHeartbeatReply, TargetEpoch,
    consumer::{heartbeat::Surroundings, topics::Topics},
    decision::Decision,
};
use model::{PartitionIndex, TopicId};
use std::collections::{BTreeMap, BTreeSet};

/// The member epoch of a member that joins.
pub(crate) const JOINING: i32 = 0;
/// The member epoch of a member that leaves.
pub(crate) const LEAVING: i32 = -1;
/// What is wrong with a request whatever the group is.
pub(crate) fn check(request: &ShareHeartbeat) -> Result<(), Error> {
    let wrong = |why: &'static str| Err(Error::InvalidRequest(why.into()));
    if request.member_id.is_empty() {
        return wrong("MemberId can't be empty.");
    }
    if request.group.is_empty() {
        return wrong("GroupId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(|id| id.is_empty()) {
        return wrong("RackId can't be empty.");
    }
    if request.epoch < LEAVING {
        return wrong("MemberEpoch is invalid.");
    }
    if request.epoch == JOINING && request.topics.as_ref().is_none_or(Vec::is_empty) {
        return wrong("SubscribedTopicNames must be set in first request.");
    }
    Ok(())
}

/// Decides on a heartbeat of a member that stays.
pub(crate) fn decide(
    changes: &mut Decision<ShareGroup>,
    around: &Surroundings<'_>,
    request: &ShareHeartbeat,
) -> Result<ShareHeartbeatReply, Error> {
    let id = &request.member_id;
    admit(&changes.group, around.config, request)?;
    let before = current(&changes.group, id);
    let changed = subscribe(changes, around, request);
    advance(changes, around, request, changed);
    let after = current(&changes.group, id);
    let is_told = request.epoch == JOINING || request.topics.is_some() || before.assigned != after.assigned;
    let initialize = super::states::begin(changes, around);
    Ok(ShareHeartbeatReply {
        member_id: id.clone(),
        epoch: after.epoch,
        interval_ms: request.interval_ms,
        assignment: is_told.then_some(after.assigned),
        initialize,
    })
}

fn current(group: &ShareGroup, id: &MemberId) -> ShareCurrent {
    group.members.get(id).map(|member| member.current.clone()).unwrap_or_default()
}

/// Whether the member may be in the group under its epoch; the one before will do if the answer that raised it was lost.
fn admit(group: &ShareGroup, config: &Config, request: &ShareHeartbeat) -> Result<(), Error> {
    let Some(member) = group.members.get(&request.member_id) else {
        return match request.epoch {
            JOINING if group.members.len() >= config.share_members_max => Err(Error::GroupMaxSizeReached),
            JOINING => Ok(()),
            _ => Err(Error::UnknownMemberId),
        };
    };
    let current = &member.current;
    match request.epoch {
        JOINING => Ok(()),
        epoch if epoch == current.epoch || epoch == current.previous_epoch => Ok(()),
        _ => Err(Error::FencedMemberEpoch),
    }
}

/// Takes over what the member says of itself, and asks for a new target assignment where that or the topics call for one.
fn subscribe(
    changes: &mut Decision<ShareGroup>,
    around: &Surroundings<'_>,
    request: &ShareHeartbeat,
) -> bool {
    let id = &request.member_id;
    let former = changes.group.members.get(id).map(|member| member.subscription.clone());
    let is_new = former.is_none();
    let former = former.unwrap_or_default();
    let mut next = former.clone();
    next.client_id = request.client_id.clone();
    next.client_host = request.client_host.clone();
    request.rack_id.iter().for_each(|rack| next.rack_id = Some(rack.clone()));
    if let Some(topics) = &request.topics {
        next.topics = topics.iter().cloned().collect();
    }
    let changed = former.topics != next.topics;
    if is_new || former != next {
        changes.set(ShareChange::Member(id.clone(), Some(next)));
    }
    let group = &changes.group;
    let is_settled = group.target_epoch.epoch >= group.epoch.epoch;
    let is_due = changed || is_settled && is_assignment_pending(group);
    if is_due || group.topics_seen != Some(around.topics_version) {
        let hash = group.metadata_hash(around.topics);
        if is_due || hash != group.epoch.metadata_hash {
            changes.bump_epoch(hash);
        }
        changes.group.topics_seen = Some(around.topics_version);
    }
    changed
}

/// Whether partitions have got their share state that nobody is to read yet, or have lost it.
fn is_assignment_pending(group: &ShareGroup) -> bool {
    let subscribed = group.subscribed();
    let mut assigned = Partitions::new();
    for (topic, partitions) in group.targets.values().flatten() {
        assigned.entry(*topic).or_default().extend(partitions);
    }
    let initialized = group.states.initialized.iter().filter(|(_, (name, _))| subscribed.contains(name));
    initialized.into_iter().any(|(topic, (_, partitions))| assigned.get(topic) != Some(partitions))
}

/// Computes the target assignment anew if that is due, and gives the member its part at once.
fn advance(
    changes: &mut Decision<ShareGroup>,
    around: &Surroundings<'_>,
    request: &ShareHeartbeat,
    subscription_changed: bool,
) {
    let group = &changes.group;
    let (last, interval) = (group.target_epoch.timestamp, request.assignment_interval_ms);
    let is_due = last == 0 || interval <= 0 || ::coordinator::has_passed(last, interval, around.now.wall);
    if is_due && group.target_epoch.epoch < group.epoch.epoch {
        compute_target(changes, around);
    }
    let (group, id) = (&changes.group, &request.member_id);
    let Some(member) = group.members.get(id) else { return };
    let epoch = group.target_epoch.epoch;
    if member.current.epoch == epoch && !subscription_changed {
        return;
    }
    let subscribed = group.topic_ids(&member.subscription, around.topics);
    let mut assigned = group.targets.get(id).cloned().unwrap_or_default();
    assigned.retain(|topic, _| subscribed.contains(topic));
    let previous_epoch = match member.current.epoch {
        same if same == epoch => member.current.previous_epoch,
        former => former,
    };
    let next = ShareCurrent { epoch, previous_epoch, assigned };
    if next != member.current {
        changes.set(ShareChange::Current(id.clone(), Some(next)));
    }
}

fn compute_target(changes: &mut Decision<ShareGroup>, around: &Surroundings<'_>) {
    let group = &changes.group;
    let spec = |(id, member): (&MemberId, &super::ShareMember)| {
        let topics = group.topic_ids(&member.subscription, around.topics);
        (id.clone(), Spec { topics, assigned: group.targets.get(id).cloned().unwrap_or_default() })
    };
    let specs: BTreeMap<MemberId, Spec> = group.members.iter().map(spec).collect();
    let partitions = |topic: &TopicId| assignable(group, around.topics, topic);
    let targets = assignor::assign(&specs, &partitions);
    // Where there was nothing to assign yet, the next assignment need not wait.
    let is_empty = targets.values().all(Partitions::is_empty);
    for (id, target) in targets {
        if changes.group.targets.get(&id) != Some(&target) {
            changes.set(ShareChange::Target(id, Some(target)));
        }
    }
    let (epoch, timestamp) = (changes.group.epoch.epoch, if is_empty { 0 } else { around.now.wall });
    changes.set(ShareChange::TargetEpoch(Some(TargetEpoch { epoch, timestamp })));
}

/// The partitions of a topic that members may read.
fn assignable(group: &ShareGroup, topics: &dyn Topics, topic: &TopicId) -> BTreeSet<PartitionIndex> {
    let count = topics.by_id(topic).map_or(0, |(_, count)| count);
    let initialized = group.states.initialized.get(topic).into_iter().flat_map(|(_, partitions)| partitions);
    initialized.copied().filter(|index| *index < count).collect()
}

/// Takes a member out of the group; the next heartbeat of another gives its partitions away.
pub(crate) fn remove(changes: &mut Decision<ShareGroup>, topics: &dyn Topics, id: &MemberId) {
    changes.set(ShareChange::Current(id.clone(), None));
    changes.set(ShareChange::Target(id.clone(), None));
    changes.set(ShareChange::Member(id.clone(), None));
    let hash = changes.group.metadata_hash(topics);
    changes.bump_epoch(hash);
    if changes.group.members.is_empty() {
        // Whoever comes next need not wait for the next assignment.
        let target = TargetEpoch { epoch: changes.group.epoch.epoch, timestamp: 0 };
        changes.set(ShareChange::TargetEpoch(Some(target)));
    }
}
