//! ConsumerGroupHeartbeat: a member joins, says what it wants and has, and hears what it is to have.
//!
//! Leaving and falling silent are in `fence`; what a member gets next is decided in `reconcile`, what it is to get in the
//! end in `assignors`.

use super::{
    ConsumerGroup,
    assignors::{MemberSpec, MemberSpecs},
    changes::Changes,
    patterns,
    reconcile::Reconcile,
    records::{ConsumerChange, Current, MemberState, Partitions, Subscription, TargetEpoch, without_epochs},
    topics::Topics,
};
use crate::{Config, ConsumerHeartbeat, ConsumerHeartbeatReply, Error, MemberId};
use coordinator::{Now, has_passed};

/// The member epoch of a member that joins.
pub(crate) const JOINING: i32 = 0;
/// The member epoch of a member that leaves.
pub(crate) const LEAVING: i32 = -1;
/// The member epoch of a static member that leaves and will come back.
pub(crate) const LEAVING_FOR_A_WHILE: i32 = -2;

/// What a decision may look at.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a Config,
    pub(crate) topics: &'a dyn Topics,
    /// Rises when the topics change.
    pub(crate) topics_version: u64,
}

/// What is wrong with a request whatever the group is.
pub(crate) fn check(request: &ConsumerHeartbeat) -> Result<(), Error> {
    let wrong = |why: &'static str| Err(Error::InvalidRequest(why.into()));
    let needs_id = request.is_id_required || request.epoch > JOINING || request.epoch == LEAVING;
    if needs_id && request.member_id.is_empty() {
        return wrong("MemberId can't be empty.");
    }
    if request.group.is_empty() {
        return wrong("GroupId can't be empty.");
    }
    if request.instance_id.as_ref().is_some_and(|id| id.is_empty()) {
        return wrong("InstanceId can't be empty.");
    }
    if request.rack_id.as_ref().is_some_and(|id| id.is_empty()) {
        return wrong("RackId can't be empty.");
    }
    match request.epoch {
        JOINING if request.rebalance_timeout_ms == -1 => {
            return wrong("RebalanceTimeoutMs must be provided in first request.");
        }
        JOINING if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) => {
            return wrong("TopicPartitions must be empty when (re-)joining.");
        }
        JOINING if request.topics.is_none() && request.pattern.is_none() => {
            return wrong(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
        LEAVING_FOR_A_WHILE if request.instance_id.is_none() => return wrong("InstanceId can't be null."),
        ..LEAVING_FOR_A_WHILE => return wrong("MemberEpoch is invalid."),
        _ => {}
    }
    match &request.assignor {
        Some(name) if super::Assignor::by_name(name).is_none() => {
            Err(Error::UnsupportedAssignor(name.clone()))
        }
        _ => Ok(()),
    }
}

/// Decides on a heartbeat of a member that stays.
pub(crate) fn decide(
    changes: &mut Changes<'_>,
    around: &Surroundings<'_>,
    request: &ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatReply, Error> {
    let id = match request.member_id.is_empty() {
        true => request.fresh_id.to_string().into(),
        false => request.member_id.clone(),
    };
    let group = &*changes.group;
    if group.members.len() >= around.config.consumer_members_max && !group.members.contains_key(&id) {
        return Err(Error::GroupMaxSizeReached);
    }
    admit(changes, &id, request)?;
    let before = member(changes.group, &id).clone();
    let changed = subscribe(changes, around, &id, request)?;
    advance(changes, around, &id, changed, request.owned.as_ref());
    let after = &member(changes.group, &id);
    let is_full = request.rebalance_timeout_ms != -1
        && (request.topics.is_some() || request.pattern.is_some())
        && request.owned.is_some();
    let is_told = request.epoch == JOINING || is_full || before.assigned != after.assigned;
    Ok(ConsumerHeartbeatReply {
        member_id: Some(id.clone()),
        epoch: after.epoch,
        interval_ms: request.interval_ms,
        assignment: is_told.then(|| without_epochs(&after.assigned)),
    })
}

/// What a member has that was admitted.
fn member<'a>(group: &'a ConsumerGroup, id: &MemberId) -> &'a Current {
    static NOTHING: std::sync::LazyLock<Current> = std::sync::LazyLock::new(Current::default);
    group.members.get(id).map_or(&NOTHING, |member| &member.current)
}

/// Lets the member in, or refuses it.
fn admit(changes: &mut Changes<'_>, id: &MemberId, request: &ConsumerHeartbeat) -> Result<(), Error> {
    let group = &*changes.group;
    let is_joining = request.epoch == JOINING;
    let Some(instance) = &request.instance_id else {
        return match group.members.get(id) {
            Some(member) => check_epoch(&member.current, request),
            None if is_joining => Ok(()),
            None => Err(Error::UnknownMemberId),
        };
    };
    let holder = group.static_members.get(instance).cloned();
    match holder {
        None if is_joining => Ok(()),
        None => Err(Error::UnknownMemberId),
        Some(holder) if is_joining => {
            let speaks_classic =
                group.members.get(&holder).is_some_and(|member| member.subscription.classic.is_some());
            if !speaks_classic && member(group, &holder).epoch != LEAVING_FOR_A_WHILE {
                return Err(Error::UnreleasedInstanceId);
            }
            replace(changes, &holder, id);
            Ok(())
        }
        Some(holder) if holder != *id => Err(Error::FencedInstanceId),
        Some(holder) => check_epoch(member(group, &holder), request),
    }
}

/// Whether the member's epoch is its present one; the one before will do if the answer that raised it may have been lost.
fn check_epoch(current: &Current, request: &ConsumerHeartbeat) -> Result<(), Error> {
    let is_part = |owned: &Partitions| {
        owned.iter().all(|(topic, partitions)| {
            let has = current.assigned.get(topic);
            partitions.iter().all(|index| has.is_some_and(|has| has.contains_key(index)))
        })
    };
    let was_lost = || request.epoch == current.previous_epoch && request.owned.as_ref().is_some_and(is_part);
    match request.epoch {
        JOINING => Ok(()),
        epoch if epoch == current.epoch => Ok(()),
        epoch if epoch < current.epoch && was_lost() => Ok(()),
        _ => Err(Error::FencedMemberEpoch),
    }
}

/// A static member comes back under a new id and takes over what it left.
pub(super) fn replace(changes: &mut Changes<'_>, old: &MemberId, new: &MemberId) {
    let Some(left) = changes.group.members.get(old).cloned() else { return };
    let target = changes.group.targets.get(old).cloned().unwrap_or_default();
    changes.set(ConsumerChange::Current(old.clone(), None));
    changes.set(ConsumerChange::Target(old.clone(), None));
    changes.set(ConsumerChange::Member(old.clone(), None));
    changes.set(ConsumerChange::Member(new.clone(), Some(left.subscription)));
    changes.set(ConsumerChange::Target(new.clone(), Some(target)));
    let current = Current { epoch: 0, previous_epoch: 0, ..left.current };
    changes.set(ConsumerChange::Current(new.clone(), Some(current)));
}

/// Takes over what the member says of itself; whether that changed what it is subscribed to.
fn subscribe(
    changes: &mut Changes<'_>,
    around: &Surroundings<'_>,
    id: &MemberId,
    request: &ConsumerHeartbeat,
) -> Result<bool, Error> {
    let former = changes.group.members.get(id).map(|member| member.subscription.clone());
    let mut next = former.clone().unwrap_or_default();
    next.client_id = request.client_id.clone();
    next.client_host = request.client_host.clone();
    next.classic = None;
    request.instance_id.iter().for_each(|instance| next.instance_id = Some(instance.clone()));
    request.rack_id.iter().for_each(|rack| next.rack_id = Some(rack.clone()));
    request.assignor.iter().for_each(|assignor| next.assignor = Some(assignor.clone()));
    if request.rebalance_timeout_ms != -1 {
        next.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(topics) = &request.topics {
        next.topics = topics.iter().cloned().collect();
    }
    if let Some(pattern) = &request.pattern {
        next.pattern = Some(pattern.clone()).filter(|pattern| !pattern.is_empty());
    }
    set_subscription(changes, around, id, former, next)
}

/// Puts a subscription in the place of the former one, and asks for a new target assignment where that changes anything.
pub(super) fn set_subscription(
    changes: &mut Changes<'_>,
    around: &Surroundings<'_>,
    id: &MemberId,
    former: Option<Subscription>,
    next: Subscription,
) -> Result<bool, Error> {
    let is_new = former.is_none();
    let former = former.unwrap_or_default();
    let changed = former.topics != next.topics || former.pattern != next.pattern;
    if next.pattern != former.pattern
        && let Some(pattern) = &next.pattern
    {
        patterns::check(pattern)?;
    }
    if is_new || former != next {
        changes.set(ConsumerChange::Member(id.clone(), Some(next)));
    }
    note_topics(changes, around, changed);
    Ok(changed)
}

/// Asks for a new target assignment if the topics have changed, or what somebody is subscribed to.
fn note_topics(changes: &mut Changes<'_>, around: &Surroundings<'_>, changed: bool) {
    patterns::refresh(changes, around);
    // Epoch 0 is no epoch that a member could stay in, whether it is subscribed to anything or not.
    let is_first = changes.group.epoch.epoch == 0;
    if changed || is_first || changes.group.topics_seen != Some(around.topics_version) {
        let hash = changes.group.metadata_hash(around.topics);
        if changed || is_first || hash != changes.group.epoch.metadata_hash {
            changes.bump_epoch(hash);
        }
        changes.group.topics_seen = Some(around.topics_version);
    }
}

/// What a sign of life of any member brings to light: other topics, or a target assignment that has become due.
pub(crate) fn refresh(changes: &mut Changes<'_>, around: &Surroundings<'_>) {
    note_topics(changes, around, false);
    compute_target_if_due(changes, around);
}

/// Computes the target assignment anew if that is due, and lets the member go towards it.
pub(super) fn advance(
    changes: &mut Changes<'_>,
    around: &Surroundings<'_>,
    id: &MemberId,
    subscription_changed: bool,
    owned: Option<&Partitions>,
) {
    compute_target_if_due(changes, around);
    let group = &*changes.group;
    let Some(member) = group.members.get(id) else { return };
    let target_epoch = group.target_epoch.epoch;
    if !subscription_changed && member.current.is_reconciled_to(target_epoch) {
        return;
    }
    let nothing = Partitions::new();
    let subscribed = group.topic_ids(&member.subscription, around.topics);
    let next = Reconcile {
        target_epoch,
        target: group.targets.get(id).unwrap_or(&nothing),
        is_subscribed: &|topic| subscribed.contains(topic),
        is_taken: &|topic, index| group.owner(topic, index).is_some_and(|owner| owner != id),
        owned,
        subscription_changed,
    }
    .next(&member.current);
    if next != member.current {
        changes.set(ConsumerChange::Current(id.clone(), Some(next)));
    }
}

/// Whether the time since the last target assignment is over (KIP-1263).
fn is_due(group: &ConsumerGroup, around: &Surroundings<'_>) -> bool {
    let (last, interval) = (group.target_epoch.timestamp, around.config.consumer_assignment_interval_ms);
    last == 0 || interval == 0 || has_passed(last, interval, around.now.wall)
}

fn compute_target_if_due(changes: &mut Changes<'_>, around: &Surroundings<'_>) {
    if changes.group.target_epoch.epoch < changes.group.epoch.epoch && is_due(changes.group, around) {
        compute_target(changes, around);
    }
}

/// Computes what each member is to have.
fn compute_target(changes: &mut Changes<'_>, around: &Surroundings<'_>) {
    let group = &*changes.group;
    let spec = |(id, member): (&MemberId, &super::Member)| {
        let spec = MemberSpec {
            instance_id: member.subscription.instance_id.clone(),
            topics: group.topic_ids(&member.subscription, around.topics),
            assigned: group.targets.get(id).cloned().unwrap_or_default(),
        };
        (id.clone(), spec)
    };
    let specs: MemberSpecs = group.members.iter().map(spec).collect();
    let count = |topic: &model::TopicId| around.topics.by_id(topic).map_or(0, |(_, count)| count);
    let targets = group.assignor().assign(&specs, &count);
    for (id, target) in targets {
        if changes.group.targets.get(&id) != Some(&target) {
            changes.set(ConsumerChange::Target(id, Some(target)));
        }
    }
    let epoch = changes.group.epoch.epoch;
    changes.set(ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch, timestamp: around.now.wall })));
}

/// Whether the member has been told to give partitions up.
pub(crate) fn is_revoking(group: &ConsumerGroup, id: &MemberId) -> bool {
    member(group, id).state == MemberState::UnrevokedPartitions
}
