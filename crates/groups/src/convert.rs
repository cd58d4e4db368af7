//! A classic group as a consumer group, and a consumer group as a classic one (KIP-848, online migration).
//!
//! Values only: what each member has, wants and speaks goes over; timers and waiting requests are the coordinator's. When
//! a group is converted is decided in `consumers`.

use crate::{
    Error, GroupMetadata, MemberId, Record, State,
    consumer::{
        ConsumerGroup, Member as ConsumerMember,
        changes::Changes,
        named,
        records::{
            ClassicMember, ConsumerChange, Current, GroupEpoch, MemberState, Partitions, Subscription,
            TargetEpoch, with_epoch,
        },
        topics::Topics,
    },
    group::Group,
    member::Member,
    subscription::{self, CONSUMER, Said},
};
use model::{PartitionIndex, Timestamp, TopicId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The members of a classic group, as those of the new consumer group in `changes`: in the epoch of their generation, each
/// with the partitions that it may be reading.
///
/// # Errors
///
/// `GroupIdNotFound` where a member's metadata or assignment is not the consumer protocol's, or its assignor told it
/// something beside partitions, which would be lost.
pub(crate) fn to_consumer(
    changes: &mut Changes<'_>,
    classic: &Group,
    topics: &dyn Topics,
) -> Result<(), Error> {
    let generation = classic.generation;
    if !(0..i32::MAX).contains(&generation) {
        return Err(Error::GroupIdNotFound);
    }
    let mut taken = BTreeSet::new();
    let mut members = Vec::with_capacity(classic.members.len());
    let mut claims = Vec::with_capacity(classic.members.len());
    for member in classic.members.values() {
        let said = said(classic, member).ok_or(Error::GroupIdNotFound)?;
        let assigned = subscription::read_assignment(&member.assignment);
        let assigned = assigned.filter(|assigned| !assigned.has_user_data).ok_or(Error::GroupIdNotFound)?;
        let held = untaken(&mut taken, by_id(&assigned.partitions, topics));
        claims.push(by_id(&said.owned, topics));
        members.push((member.id.clone(), subscription(member, &said), held));
    }
    // What a member kept while it joined (KIP-429) it may be reading until it joins again, although its assignment takes
    // that back, or was itself taken back by a rebalance.
    let mut is_settled = classic.state == State::Stable;
    for ((_, _, held), claim) in members.iter_mut().zip(claims) {
        for (topic, indices) in untaken(&mut taken, claim) {
            is_settled = false;
            held.entry(topic).or_default().extend(indices);
        }
    }
    for (id, subscription, _) in &members {
        changes.set(ConsumerChange::Member(id.clone(), Some(subscription.clone())));
    }
    // Where the classic group was not at rest its assignments are no target: other topics than these are noticed at once,
    // and a target is computed.
    let metadata_hash = if is_settled { changes.group.metadata_hash(topics) } else { 0 };
    changes.set(ConsumerChange::Epoch(Some(GroupEpoch { epoch: generation, metadata_hash })));
    for (id, _, assigned) in &members {
        changes.set(ConsumerChange::Target(id.clone(), Some(assigned.clone())));
    }
    changes.set(ConsumerChange::TargetEpoch(Some(TargetEpoch { epoch: generation, timestamp: 0 })));
    for (id, _, assigned) in members {
        let assigned = with_epoch(&assigned, generation);
        let (epoch, previous_epoch, revoking) = (generation, generation, BTreeMap::new());
        let current = Current { epoch, previous_epoch, state: MemberState::Stable, assigned, revoking };
        changes.set(ConsumerChange::Current(id, Some(current)));
    }
    Ok(())
}

/// What a member says of itself under the protocol that the group chose; under its first before one was chosen.
fn said<'a>(classic: &Group, member: &'a Member) -> Option<Said<'a>> {
    let chosen = member.protocols.iter().find(|protocol| Some(&protocol.name) == classic.protocol.as_ref());
    subscription::read(&chosen.or(member.protocols.first())?.metadata)
}

/// Those of a member's partitions that no other has claimed before.
fn untaken(taken: &mut BTreeSet<(TopicId, PartitionIndex)>, mut partitions: Partitions) -> Partitions {
    for (topic, indices) in &mut partitions {
        indices.retain(|index| taken.insert((*topic, *index)));
    }
    partitions.retain(|_, indices| !indices.is_empty());
    partitions
}

fn subscription(member: &Member, said: &Said<'_>) -> Subscription {
    Subscription {
        instance_id: member.instance_id.clone(),
        rack_id: said.rack_id.map(Arc::from),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        topics: said.topics.iter().map(|name| Arc::from(*name)).collect(),
        pattern: None,
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        assignor: None,
        classic: Some(ClassicMember {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
    }
}

/// Partitions by the ids of their topics; those that do not exist are left out.
pub(crate) fn by_id(partitions: &[(&str, Vec<PartitionIndex>)], topics: &dyn Topics) -> Partitions {
    let mut all = BTreeMap::<TopicId, BTreeSet<PartitionIndex>>::new();
    for (name, indices) in partitions {
        let Some((id, count)) = topics.by_name(name) else { continue };
        let existing = indices.iter().copied().filter(|index| (0..count).contains(index));
        all.entry(id).or_default().extend(existing);
    }
    all.retain(|_, indices| !indices.is_empty());
    all
}

/// The bytes of an assignment for a member that speaks the classic protocol.
pub(crate) fn to_assignment(metadata: &[u8], partitions: &Partitions, topics: &dyn Topics) -> bytes::Bytes {
    let named = named(partitions, topics).into_iter().map(|topic| (topic.name, topic.partitions));
    subscription::to_assignment(metadata, &named.collect::<Vec<_>>())
}

/// The members of a consumer group but for those who leave (sorted), all of them classic, as a classic group: in the generation
/// that is given, stable, each assigned what it may be reading.
///
/// Kafka assigns what each was to have. In a group on its way there, one that was upgraded again before its members joined
/// would then give away what they still read.
pub(crate) fn to_classic(
    group: &ConsumerGroup,
    leaving: &[MemberId],
    generation: i32,
    topics: &dyn Topics,
    now: Timestamp,
) -> Group {
    let mut classic = Group::new(group.id.clone(), now);
    classic.state = State::Stable;
    classic.generation = generation;
    classic.protocol_type = Some(CONSUMER.into());
    let staying = group.members.iter().filter(|(id, _)| leaving.binary_search(id).is_err());
    for (id, member) in staying {
        classic.members_from(id, member);
    }
    classic.protocol = classic.select_protocol();
    let protocol = classic.protocol.clone();
    for (id, member) in &mut classic.members {
        let held = group.members.get(id).map(|member| member.current.held()).unwrap_or_default();
        member.assignment = to_assignment(&member.metadata(protocol.as_deref()), &held, topics);
    }
    classic.refresh_subscribed();
    classic
}

impl Group {
    /// Puts a classic member of a consumer group in.
    fn members_from(&mut self, id: &MemberId, member: &ConsumerMember) {
        let said = &member.subscription;
        let Some(classic) = &said.classic else { return };
        self.insert(Member {
            id: id.clone(),
            instance_id: said.instance_id.clone(),
            client_id: said.client_id.clone(),
            client_host: said.client_host.clone(),
            rebalance_timeout_ms: said.rebalance_timeout_ms,
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.protocols.clone(),
            assignment: bytes::Bytes::new(),
            joining: None,
            syncing: None,
            is_new: false,
        });
    }
}

/// What is written down of a classic group that a consumer group has become. Without a leader if it is to rebalance: whoever
/// loads it then begins that rebalance, of which nothing else is in the log.
pub(crate) fn to_record(classic: &Group, is_to_rebalance: bool) -> Record {
    match classic.to_record(|member| member.assignment.clone()) {
        Record::GroupMetadata(metadata) if is_to_rebalance => {
            Record::GroupMetadata(GroupMetadata { leader: None, ..metadata })
        }
        record => record,
    }
}

/// All values of a consumer group removed, in the order in which Kafka removes them.
pub(crate) fn tombstones(group: &ConsumerGroup) -> Vec<Record> {
    let ids = || group.members.keys().cloned();
    let current = ids().map(|id| ConsumerChange::Current(id, None));
    let targets = ids().map(|id| ConsumerChange::Target(id, None));
    let members = ids().map(|id| ConsumerChange::Member(id, None));
    let patterns = group.patterns.keys().map(|pattern| ConsumerChange::Pattern(pattern.clone(), None));
    let all = current.chain(targets).chain([ConsumerChange::TargetEpoch(None)]).chain(members);
    let all = all.chain(patterns).chain([ConsumerChange::Epoch(None)]);
    all.map(|change| Record::Consumer { group: group.id.clone(), change }).collect()
}
