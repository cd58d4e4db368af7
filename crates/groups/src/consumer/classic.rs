//! Members of a consumer group that speak the classic protocol (KIP-848): JoinGroup, SyncGroup and Heartbeat, answered from
//! the group's target assignment.
//!
//! There is no leader: what such a member is assigned is decided as for the others. It hears RebalanceInProgress where it
//! has to join again. Its timers and the conversion of whole groups are in `consumers`.

use super::{
    ConsumerGroup, Member,
    changes::Changes,
    heartbeat::{self, Surroundings},
    records::{ClassicMember, MemberState, without_epochs},
    topics::Topics,
};
use crate::{
    Config, Error, Heartbeat, InstanceId, JoinGroup, Joined, LeavingMember, MemberId, Migration, SyncGroup,
    Synced, convert,
    subscription::{self, CONSUMER},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Whether a classic member that joins may be in the group at all.
pub(crate) fn check_join(
    group: &ConsumerGroup,
    config: &Config,
    id: &MemberId,
    request: &JoinGroup,
) -> Result<(), Error> {
    if config.migration == Migration::Disabled {
        return Err(Error::InconsistentGroupProtocol);
    }
    if group.members.len() >= config.consumer_members_max && !group.members.contains_key(id) {
        return Err(Error::GroupMaxSizeReached);
    }
    // Counted rather than compared one by one: both sides may name many.
    let (mut members, mut named_by) = (0, BTreeMap::<&str, usize>::new());
    for member in classic_members(group) {
        members += 1;
        let names: BTreeSet<&str> = member.protocols.iter().map(|protocol| &*protocol.name).collect();
        names.into_iter().for_each(|name| *named_by.entry(name).or_default() += 1);
    }
    let by_all = |protocol: &crate::Protocol| named_by.get(&*protocol.name).copied().unwrap_or(0) == members;
    match &*request.protocol_type == CONSUMER && request.protocols.iter().any(by_all) {
        true => Ok(()),
        false => Err(Error::InconsistentGroupProtocol),
    }
}

fn classic_members(group: &ConsumerGroup) -> impl Iterator<Item = &ClassicMember> {
    group.members.values().filter_map(|member| member.subscription.classic.as_ref())
}

/// Lets a member in, or takes over what it says anew. Gives whether it took the place of the only member that did not
/// speak the classic protocol: the group may become a classic one, and computes no target assignment any more.
pub(crate) fn join(
    changes: &mut Changes<'_>,
    around: &Surroundings<'_>,
    id: &MemberId,
    request: &JoinGroup,
) -> Result<bool, Error> {
    let said = request.protocols.first().and_then(|protocol| subscription::read(&protocol.metadata));
    let said = said.ok_or(Error::InconsistentGroupProtocol)?;
    let holder = holder(changes.group, request)?;
    let is_last = holder.as_ref().is_some_and(|holder| {
        let others = changes.group.members.iter().filter(|(other, _)| *other != holder);
        let speaks_classic = |member: &Member| member.subscription.classic.is_some();
        !changes.group.members.get(holder).is_some_and(speaks_classic)
            && others.map(|(_, member)| member).all(speaks_classic)
    });
    let is_downgrade = is_last && may_downgrade(changes.group, around.config, changes.group.members.len());
    if let Some(holder) = holder.filter(|holder| holder != id) {
        heartbeat::replace(changes, &holder, id);
    }
    let former = changes.group.members.get(id).map(|member| member.subscription.clone());
    let mut next = former.clone().unwrap_or_default();
    next.client_id = request.client_id.clone();
    next.client_host = request.client_host.clone();
    request.instance_id.iter().for_each(|instance| next.instance_id = Some(instance.clone()));
    said.rack_id.iter().for_each(|rack| next.rack_id = Some((*rack).into()));
    next.rebalance_timeout_ms = request.rebalance_timeout_ms;
    next.topics = said.topics.iter().map(|name| Arc::from(*name)).collect();
    next.pattern = None;
    next.classic = Some(ClassicMember {
        session_timeout_ms: request.session_timeout_ms,
        protocols: request.protocols.clone(),
    });
    let changed = heartbeat::set_subscription(changes, around, id, former, next)?;
    if !is_downgrade || changes.group.target_epoch.epoch == changes.group.epoch.epoch {
        let owned = convert::by_id(&said.owned, around.topics);
        heartbeat::advance(changes, around, id, changed, Some(&owned));
    }
    Ok(is_downgrade)
}

/// The member that has the instance id of the one that joins.
fn holder(group: &ConsumerGroup, request: &JoinGroup) -> Result<Option<MemberId>, Error> {
    let Some(instance) = &request.instance_id else { return Ok(None) };
    let holder = group.static_members.get(instance).cloned();
    match &holder {
        _ if request.member_id.is_empty() => Ok(holder),
        None => Err(Error::UnknownMemberId),
        Some(id) if *id != request.member_id => Err(Error::FencedInstanceId),
        Some(_) => Ok(holder),
    }
}

/// Whether a consumer group may go on as a classic one of so many members.
fn may_downgrade(group: &ConsumerGroup, config: &Config, members: usize) -> bool {
    let is_writable = group.downgrade_members_max.is_none_or(|max| members <= max);
    config.migration.downgrades() && members <= config.group_members_max && is_writable
}

/// Whether the group is to go on as a classic one when these members (sorted) are gone: the others all speak the classic protocol.
pub(crate) fn is_downgrade(group: &ConsumerGroup, config: &Config, leaving: &[MemberId]) -> bool {
    let staying = || group.members.iter().filter(|(id, _)| leaving.binary_search(id).is_err());
    let count = staying().count();
    count > 0
        && staying().all(|(_, member)| member.subscription.classic.is_some())
        && may_downgrade(group, config, count)
}

/// What a member that joined hears: its epoch is its generation, and nobody leads.
pub(crate) fn joined(group: &ConsumerGroup, id: &MemberId) -> Joined {
    let member = group.members.get(id);
    Joined {
        member_id: id.clone(),
        generation: member.map_or(0, |member| member.current.epoch),
        protocol_type: Some(CONSUMER.into()),
        protocol: member.and_then(first_protocol).cloned(),
        leader: MemberId::default(),
        skip_assignment: false,
        members: Vec::new(),
    }
}

fn first_protocol(member: &Member) -> Option<&Arc<str>> {
    Some(&member.subscription.classic.as_ref()?.protocols.first()?.name)
}

/// The classic member that this is, if it is the one that it says and in its generation.
pub(crate) fn validate<'a>(
    group: &'a ConsumerGroup,
    id: &MemberId,
    instance: Option<&InstanceId>,
    generation: i32,
) -> Result<(&'a Member, &'a ClassicMember), Error> {
    if let Some(instance) = instance {
        match group.static_members.get(instance) {
            None => return Err(Error::UnknownMemberId),
            Some(holder) if holder != id => return Err(Error::FencedInstanceId),
            Some(_) => {}
        }
    }
    let member = group.members.get(id).ok_or(Error::UnknownMemberId)?;
    let classic = member.subscription.classic.as_ref().ok_or(Error::UnknownMemberId)?;
    match generation == member.current.epoch {
        true => Ok((member, classic)),
        false => Err(Error::IllegalGeneration),
    }
}

/// A member asks for its assignment.
pub(crate) fn sync(group: &ConsumerGroup, request: &SyncGroup, topics: &dyn Topics) -> Result<Synced, Error> {
    let (id, instance) = (&request.member_id, request.instance_id.as_ref());
    let (member, classic) = validate(group, id, instance, request.generation)?;
    // One that is to give partitions up has joined already, and does so first.
    let current = &member.current;
    if group.target_epoch.epoch > current.epoch && current.state != MemberState::UnrevokedPartitions {
        return Err(Error::RebalanceInProgress);
    }
    // A member that joined the classic group was told of the protocol that was chosen there, not of its own first.
    let named = match &request.protocol {
        Some(name) => classic.protocols.iter().find(|protocol| protocol.name == *name),
        None => classic.protocols.first(),
    };
    let is_consumer = request.protocol_type.as_ref().is_none_or(|kind| **kind == *CONSUMER);
    let named = named.filter(|_| is_consumer).ok_or(Error::InconsistentGroupProtocol)?;
    let metadata = named.metadata.clone();
    Ok(Synced {
        protocol_type: request.protocol_type.clone(),
        protocol: request.protocol.clone(),
        assignment: convert::to_assignment(&metadata, &without_epochs(&current.assigned), topics),
    })
}

/// Whether a member has to join again: there is a later target assignment, it is to give partitions up, or what it waits
/// for is free.
pub(crate) fn has_to_join(group: &ConsumerGroup, id: &MemberId) -> bool {
    let Some(member) = group.members.get(id) else { return false };
    let is_waiting = || {
        let mut targets = group.targets.get(id).into_iter().flatten();
        targets.any(|(topic, indices)| {
            let has = member.current.assigned.get(topic);
            let mut missing = indices.iter().filter(|index| has.is_none_or(|has| !has.contains_key(*index)));
            missing.any(|index| group.owner(topic, *index).is_some())
        })
    };
    member.current.epoch < group.target_epoch.epoch
        || match member.current.state {
            MemberState::Stable => false,
            MemberState::UnrevokedPartitions => true,
            MemberState::UnreleasedPartitions => !is_waiting(),
        }
}

/// What a Heartbeat says, before it is known whether there is news.
pub(crate) fn validate_heartbeat(group: &ConsumerGroup, request: &Heartbeat) -> Result<i32, Error> {
    let (id, instance) = (&request.member_id, request.instance_id.as_ref());
    Ok(validate(group, id, instance, request.generation)?.1.session_timeout_ms)
}

/// Who it is that leaves or is removed.
pub(crate) fn find_leaving(group: &ConsumerGroup, leaving: &LeavingMember) -> Result<MemberId, Error> {
    let id = &leaving.member_id;
    let Some(instance) = &leaving.instance_id else {
        return group.members.contains_key(id).then(|| id.clone()).ok_or(Error::UnknownMemberId);
    };
    match group.static_members.get(instance) {
        None => Err(Error::UnknownMemberId),
        Some(holder) if !id.is_empty() && holder != id => Err(Error::FencedInstanceId),
        Some(holder) => Ok(holder.clone()),
    }
}
