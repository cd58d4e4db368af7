//! OffsetCommit and OffsetFetch.
//!
//! The offsets themselves are in `offsets`; deletion and expiry are in `delete` and `expiry`.

use crate::{
    CommitPartition, CommittedOffset, Coordinator, Effects, Error, FetchTopic, FetchedOffset, FetchedTopic,
    OffsetCommit, OffsetFetch, Record, Reply, State, Token, TopicResult, appends::Waiting,
    consumer::commit::Allowed, group::Group, offsets::Offsets, step::Step,
};
use coordinator::Now;
use model::{GroupId, PartitionIndex, TopicId};

impl Coordinator {
    pub(crate) fn on_offset_commit(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetCommit,
        effects: &mut Effects,
    ) {
        let consumer = self.consumers.get(&request.group);
        let checked = consumer.map(|group| group.check_commit(&request, &*self.topics.0)).transpose();
        let assigned = match checked {
            Ok(assigned) => assigned.unwrap_or(Allowed::All),
            Err(error) => return self.split(now, effects).2.reply(token, Err(error)),
        };
        let is_consumer = consumer.is_some();
        let (groups, _, mut step) = self.split(now, effects);
        let allowed = match groups.get(&request.group) {
            _ if is_consumer => Ok(()),
            Some(group) => group.validate_commit(&mut step, &request),
            // Not a member of anything: the offsets will make a group that only holds them.
            None if request.generation < 0 => Ok(()),
            None if request.supports_group_id_not_found => Err(Error::GroupIdNotFound),
            None => Err(Error::IllegalGeneration),
        };
        if let Err(error) = allowed {
            return step.reply(token, Err(error));
        }
        let retention_ms = request.retention_ms;
        let expire_timestamp = if retention_ms == -1 { -1 } else { now.wall.saturating_add(retention_ms) };
        let mut records = Vec::new();
        let mut results = Vec::with_capacity(request.topics.len());
        for topic in request.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in topic.partitions {
                let is_too_large = chars(&partition.metadata) > step.config.offset_metadata_chars_max;
                let is_stale = !assigned.allows(&topic.topic, topic.topic_id, partition.partition);
                let error = match is_too_large {
                    true => Some(Error::OffsetMetadataTooLarge),
                    false => is_stale.then_some(Error::StaleMemberEpoch),
                };
                partitions.push((partition.partition, error.clone()));
                if error.is_none() {
                    records.push(Record::OffsetCommitted {
                        group: request.group.clone(),
                        topic: topic.topic.clone(),
                        partition: partition.partition,
                        offset: to_committed(partition, topic.topic_id, now, expire_timestamp),
                    });
                }
            }
            results.push(TopicResult { topic: topic.topic, topic_id: topic.topic_id, partitions });
        }
        step.append_then_reply(records, token, Reply::OffsetCommit(results));
    }

    pub(crate) fn on_offset_fetch(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetFetch,
        effects: &mut Effects,
    ) {
        if let Some((member, epoch)) = &request.member
            && let Some(group) = self.consumers.get(&request.group)
            && let Err(error) = group.check_member(member, *epoch)
        {
            return self.split(now, effects).2.reply(token, Err(error));
        }
        if let Some(append) = self.appends.newest().filter(|_| request.require_stable) {
            append.replies.push((token, Waiting::Fetch(request)));
        } else {
            let reply = self.fetch_offsets(request);
            self.split(now, effects).2.reply(token, Ok(reply));
        }
    }

    /// The committed offsets as they are. A group that does not exist has none, and that is no error.
    pub(crate) fn fetch_offsets(&self, request: OffsetFetch) -> Reply {
        let OffsetFetch { group, topics, .. } = request;
        let fetched = match topics {
            Some(topics) => topics.into_iter().map(|topic| fetch(&self.offsets, &group, topic)).collect(),
            None => fetch_all(&self.offsets, &group),
        };
        Reply::OffsetFetch(fetched)
    }
}

impl Group {
    /// Whether these offsets may be committed. If it comes from a member it is a sign of life.
    fn validate_commit(&self, step: &mut Step<'_>, request: &OffsetCommit) -> Result<(), Error> {
        if self.state == State::Dead {
            return Err(Error::CoordinatorNotAvailable);
        }
        if request.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if request.generation < 0 && request.member_id.is_empty() && request.instance_id.is_none() {
            return Err(Error::UnknownMemberId);
        }
        self.validate(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != self.generation {
            return Err(Error::IllegalGeneration);
        }
        match self.state {
            // It knows this generation, but nobody has been assigned anything in it.
            State::CompletingRebalance => Err(Error::RebalanceInProgress),
            _ => {
                self.refresh_session(step, &request.member_id);
                Ok(())
            }
        }
    }
}

fn to_committed(
    partition: CommitPartition,
    topic_id: TopicId,
    now: Now,
    expire_timestamp: i64,
) -> CommittedOffset {
    CommittedOffset {
        offset: partition.offset,
        leader_epoch: partition.leader_epoch,
        metadata: partition.metadata,
        commit_timestamp: now.wall,
        expire_timestamp,
        topic_id,
    }
}

fn fetch(offsets: &Offsets, group: &GroupId, topic: FetchTopic) -> FetchedTopic {
    let is_same = |offset: &&CommittedOffset| {
        offset.topic_id.is_zero() || topic.topic_id.is_zero() || offset.topic_id == topic.topic_id
    };
    let find = |&partition: &PartitionIndex| {
        fetched(partition, offsets.get(group, &topic.topic, partition).filter(is_same))
    };
    let partitions = topic.partitions.iter().map(find).collect();
    FetchedTopic { topic: topic.topic, topic_id: topic.topic_id, partitions }
}

fn fetch_all(offsets: &Offsets, group: &GroupId) -> Vec<FetchedTopic> {
    let topics = offsets.topics(group).map(|(topic, partitions)| FetchedTopic {
        topic: topic.clone(),
        topic_id: TopicId::ZERO,
        partitions: partitions.iter().map(|(&index, offset)| fetched(index, Some(offset))).collect(),
    });
    topics.collect()
}

fn fetched(partition: PartitionIndex, offset: Option<&CommittedOffset>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: offset.map_or(-1, |offset| offset.offset),
        leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: offset.map(|offset| offset.metadata.clone()).unwrap_or_default(),
    }
}

/// UTF-16 units, which is how Kafka measures metadata.
fn chars(metadata: &str) -> usize {
    metadata.encode_utf16().count()
}
