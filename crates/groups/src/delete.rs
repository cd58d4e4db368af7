//! OffsetDelete, DeleteGroups, and the offsets of deleted topics.
//!
//! A group that is being deleted is `Dead` until its tombstones are committed: who comes meanwhile is told to try again.

use crate::{
    CommittedOffset, Coordinator, Deleted, DeletedTopic, Effects, Error, FetchTopic, OffsetDelete, Record,
    Reply, State, Token, TopicResult,
    appends::{Appends, Then},
    coordinator::find,
    group::Group,
    offsets::Offsets,
    step::Step,
    timers::Timer,
};
use coordinator::Now;
use model::{GroupId, PartitionIndex, TopicName};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of tombstones, roughly, that go into one append where nobody asked for all of them to fall together. A batch
/// must fit into the partition's `max.message.bytes`, 1 MiB by default.
const APPEND_BYTES_MAX: usize = 256 * 1024;

impl Coordinator {
    pub(crate) fn on_offset_delete(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetDelete,
        effects: &mut Effects,
    ) {
        let asked = request.topics.iter().map(|topic| topic.topic.clone());
        let consumer = if let Some(group) = self.consumers.get(&request.group) {
            Some(asked.filter(|topic| group.is_subscribed(topic)).collect::<BTreeSet<TopicName>>())
        } else {
            let streams = self.streams.get(&request.group);
            streams.map(|group| asked.filter(|topic| group.is_subscribed(topic)).collect())
        };
        let (groups, offsets, mut step) = self.split(now, effects);
        let group = match (&consumer, find(groups, &request.group, Error::GroupIdNotFound)) {
            (Some(_), _) => None,
            (None, found) => match found.and_then(|group| group.validate_offset_delete().map(|()| group)) {
                Ok(group) => Some(group),
                Err(error) => return step.reply(token, Err(error)),
            },
        };
        let id = &request.group;
        let under_way = under_way(step.appends, id);
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(request.topics.len());
        for FetchTopic { topic, topic_id, partitions } in request.topics {
            let by_consumer = consumer.as_ref().is_some_and(|subscribed| subscribed.contains(&topic));
            let is_subscribed =
                by_consumer || group.as_ref().is_some_and(|group| group.is_subscribed(&topic));
            if !is_subscribed {
                let known = |partition: &&PartitionIndex| {
                    offsets.get(id, &topic, **partition).is_some()
                        || offsets.is_pending(id, &topic, **partition)
                        || under_way.contains(&(topic.clone(), **partition))
                };
                let tombstone = |&partition: &PartitionIndex| removed(id, &topic, partition);
                records.extend(partitions.iter().filter(known).map(tombstone));
            }
            let error = is_subscribed.then_some(Error::GroupSubscribedToTopic);
            let partitions = partitions.into_iter().map(|partition| (partition, error.clone())).collect();
            results.push(TopicResult { topic, topic_id, partitions });
        }
        step.append_then_reply(records, token, Reply::OffsetDelete(results));
    }

    pub(crate) fn on_delete_groups(
        &mut self,
        now: Now,
        token: Token,
        ids: Vec<GroupId>,
        effects: &mut Effects,
    ) {
        let issued = self.appends.issued();
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(ids.len());
        for id in ids {
            if self.consumers.contains_key(&id) {
                let error = self.delete_consumer(now, &id, effects).err();
                results.push(Deleted { group: id, error });
                continue;
            }
            if self.shares.contains_key(&id) {
                let error = self.delete_share(now, &id, effects).err();
                results.push(Deleted { group: id, error });
                continue;
            }
            if self.streams.contains_key(&id) {
                let error = self.delete_streams(now, &id, effects).err();
                results.push(Deleted { group: id, error });
                continue;
            }
            let (groups, offsets, mut step) = self.split(now, effects);
            let error = match groups.get_mut(&id) {
                Some(group) => delete(&mut step, group, offsets, &mut records).err(),
                None => Some(Error::GroupIdNotFound),
            };
            results.push(Deleted { group: id, error });
        }
        let (_, _, mut step) = self.split(now, effects);
        if !records.is_empty() {
            step.append(records, Then::Nothing);
        }
        step.reply_after(issued, token, Reply::DeleteGroups(results));
    }

    /// Deletes a consumer group without members, with its offsets and those under way.
    fn delete_consumer(&mut self, now: Now, id: &GroupId, effects: &mut Effects) -> Result<(), Error> {
        let (tombstones, undo) = self.bury_consumer(id)?;
        self.bury_offsets(now, id, tombstones, Then::ConsumerChanged(undo), effects);
        Ok(())
    }

    /// The same for a streams group.
    fn delete_streams(&mut self, now: Now, id: &GroupId, effects: &mut Effects) -> Result<(), Error> {
        let (tombstones, undo) = self.bury_streams(id)?;
        self.bury_offsets(now, id, tombstones, Then::StreamsChanged(undo), effects);
        Ok(())
    }

    /// Orders the tombstones of all offsets of a group, then those of the group itself.
    fn bury_offsets(
        &mut self,
        now: Now,
        id: &GroupId,
        tombstones: Vec<Record>,
        then: Then,
        effects: &mut Effects,
    ) {
        let (_, offsets, mut step) = self.split(now, effects);
        let committed = offsets.of_group(id).map(|view| (view.topic.clone(), view.partition));
        let pending = offsets.pending_of(id).map(|(topic, partition)| (topic.clone(), partition));
        let all = committed.chain(pending).chain(under_way(step.appends, id)).collect::<BTreeSet<_>>();
        let offsets = all.into_iter().map(|(topic, partition)| removed(id, &topic, partition));
        step.append(offsets.chain(tombstones).collect(), then);
    }

    /// Removes the offsets of topics that are gone, those under way too. Nobody waits for it.
    pub(crate) fn on_topics_deleted(&mut self, now: Now, topics: &[DeletedTopic], effects: &mut Effects) {
        self.forget_share_topics(now, topics, effects);
        let topics = topics.iter().map(|topic| (&topic.name, topic.id)).collect::<BTreeMap<_, _>>();
        let is_gone = |topic: &TopicName, offset: &CommittedOffset| {
            topics.get(topic).is_some_and(|id| offset.topic_id.is_zero() || offset.topic_id == *id)
        };
        let known = self.offsets.iter().chain(self.offsets.pending());
        let committed = known.filter(|view| is_gone(view.topic, view.offset));
        let mut gone = committed
            .map(|view| (view.group.clone(), view.topic.clone(), view.partition))
            .collect::<BTreeSet<_>>();
        for record in self.appends.records() {
            if let Record::OffsetCommitted { group, topic, partition, offset }
            | Record::OffsetPending { group, topic, partition, offset, .. } = record
                && is_gone(topic, offset)
            {
                gone.insert((group.clone(), topic.clone(), *partition));
            }
        }
        let records = gone.iter().map(|(group, topic, partition)| removed(group, topic, *partition));
        append_in_pieces(&mut self.split(now, effects).2, records.collect());
    }

    /// A group could not be deleted after all.
    pub(crate) fn revive(&mut self, id: &GroupId, now: Now) {
        if let Some(group) = self.groups.get_mut(id).filter(|group| group.state == State::Dead) {
            group.previous = State::Dead;
            group.state = State::Empty;
            group.state_timestamp = now.wall;
        }
    }
}

impl Group {
    fn validate_offset_delete(&self) -> Result<(), Error> {
        match self.state {
            State::Dead => Err(Error::GroupIdNotFound),
            State::Empty => Ok(()),
            _ if self.uses_consumer_protocol() => Ok(()),
            _ => Err(Error::NonEmptyGroup),
        }
    }
}

/// Begins to delete a group, with its offsets and those under way.
fn delete(
    step: &mut Step<'_>,
    group: &mut Group,
    offsets: &Offsets,
    records: &mut Vec<Record>,
) -> Result<(), Error> {
    match group.state {
        State::Dead => return Err(Error::GroupIdNotFound),
        State::Empty => {}
        _ => return Err(Error::NonEmptyGroup),
    }
    let committed = offsets.of_group(&group.id).map(|view| (view.topic.clone(), view.partition));
    let pending = offsets.pending_of(&group.id).map(|(topic, partition)| (topic.clone(), partition));
    let under_way = under_way(step.appends, &group.id);
    let all = committed.chain(pending).chain(under_way).collect::<BTreeSet<_>>();
    records.extend(all.into_iter().map(|(topic, partition)| removed(&group.id, &topic, partition)));
    records.push(bury(step, group));
    Ok(())
}

/// Makes a group `Dead` and gives its tombstone. Clients that hold an id of it will join as new ones.
pub(crate) fn bury(step: &mut Step<'_>, group: &mut Group) -> Record {
    for id in std::mem::take(&mut group.pending_joins) {
        step.timers.cancel(Timer::Heartbeat(group.id.clone(), id));
    }
    group.transition(State::Dead, step.now.wall);
    Record::GroupRemoved { group: group.id.clone() }
}

/// Orders tombstones in pieces that fit into a batch.
pub(crate) fn append_in_pieces(step: &mut Step<'_>, records: Vec<Record>) {
    let mut piece = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = match &record {
            Record::OffsetRemoved { group, topic, .. } => group.len() + topic.len(),
            Record::GroupRemoved { group } => group.len(),
            Record::OffsetCommitted { .. }
            | Record::OffsetPending { .. }
            | Record::TransactionEnded { .. }
            | Record::Consumer { .. }
            | Record::Share { .. }
            | Record::Streams { .. }
            | Record::GroupMetadata(_) => 0,
        };
        // What a record and its key weigh beside their names.
        bytes += size + 64;
        if bytes > APPEND_BYTES_MAX && !piece.is_empty() {
            step.append(std::mem::take(&mut piece), Then::Nothing);
            bytes = size + 64;
        }
        piece.push(record);
    }
    if !piece.is_empty() {
        step.append(piece, Then::Nothing);
    }
}

/// The tombstone of an offset.
pub(crate) fn removed(group: &GroupId, topic: &TopicName, partition: PartitionIndex) -> Record {
    Record::OffsetRemoved { group: group.clone(), topic: topic.clone(), partition }
}

/// The offsets of a group whose commits are under way.
fn under_way(appends: &Appends, group: &GroupId) -> BTreeSet<(TopicName, PartitionIndex)> {
    let of_group = appends.records().filter_map(|record| match record {
        Record::OffsetCommitted { group: id, topic, partition, .. }
        | Record::OffsetPending { group: id, topic, partition, .. }
            if id == group =>
        {
            Some((topic.clone(), *partition))
        }
        _ => None,
    });
    of_group.collect()
}
