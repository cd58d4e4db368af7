//! OffsetCommit and OffsetFetch.
//!
//! The offsets themselves are in `offsets`; deletion and expiry are in `delete` and `expiry`.

use crate::{
    CommitPartition, CommittedOffset, Coordinator, Effects, Error, FetchTopic, FetchedOffset, FetchedTopic,
    OffsetCommit, OffsetFetch, Record, Reply, State, Token, TopicResult, appends::Waiting,
    consumer::commit::Allowed, group::Group, offsets::Offsets, step::Step,
};
use coordinator::Now;
use model::{GroupId, PartitionIndex, TopicId, TopicName};

impl Coordinator {
    pub(crate) fn on_offset_commit(
        &mut self,
        now: Now,
        token: Token,
        request: OffsetCommit,
        effects: &mut Effects,
    ) {
        let (is_consumer, assigned) = match self.check_consumer_commit(&request, false) {
            Ok(checked) => checked,
            Err(error) => return self.split(now, effects).2.reply(token, Err(error)),
        };
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
        let (records, results) = commit(&step, request, &assigned, |group, topic, partition, offset| {
            Record::OffsetCommitted { group, topic, partition, offset }
        });
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
        if let Some((member, epoch)) = &request.member
            && let Some(group) = self.streams.get(&request.group)
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

    /// Whether the group is a consumer or streams group, and what may be committed if so.
    pub(crate) fn check_consumer_commit(
        &self,
        request: &OffsetCommit,
        in_transaction: bool,
    ) -> Result<(bool, Allowed), Error> {
        if self.shares.contains_key(&request.group) {
            // Share groups have no committed offsets.
            return Err(Error::GroupIdNotFound);
        }
        if let Some(group) = self.streams.get(&request.group) {
            return Ok((true, group.check_commit(request, in_transaction)?));
        }
        let Some(group) = self.consumers.get(&request.group) else { return Ok((false, Allowed::All)) };
        Ok((true, group.check_commit(request, in_transaction, &*self.topics.0)?))
    }

    /// The committed offsets as they are. A group that does not exist has none, nor has a share group, and that is no
    /// error.
    pub(crate) fn fetch_offsets(&self, request: OffsetFetch) -> Reply {
        let OffsetFetch { group, topics, require_stable, .. } = request;
        let fetched = match topics {
            Some(topics) => {
                let fetch = |topic| fetch(&self.offsets, &group, topic, require_stable);
                topics.into_iter().map(fetch).collect()
            }
            None => fetch_all(&self.offsets, &group, require_stable),
        };
        Reply::OffsetFetch(fetched)
    }
}

impl Group {
    /// Whether these offsets may be committed in a transaction (KIP-447). In old versions clients do not say who they are;
    /// the state of the group does not matter.
    pub(crate) fn validate_txn_commit(&self, request: &OffsetCommit) -> Result<(), Error> {
        if self.state == State::Dead {
            return Err(Error::CoordinatorNotAvailable);
        }
        if request.generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if request.generation >= 0 || !request.member_id.is_empty() || request.instance_id.is_some() {
            self.validate_member(request)?;
        }
        Ok(())
    }

    fn validate_member(&self, request: &OffsetCommit) -> Result<(), Error> {
        self.validate(&request.member_id, request.instance_id.as_ref())?;
        match request.generation == self.generation {
            true => Ok(()),
            false => Err(Error::IllegalGeneration),
        }
    }

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
        self.validate_member(request)?;
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

/// The records of a commit, made by `record`, and what is answered for each partition.
pub(crate) fn commit(
    step: &Step<'_>,
    request: OffsetCommit,
    assigned: &Allowed,
    record: impl Fn(GroupId, TopicName, PartitionIndex, CommittedOffset) -> Record,
) -> (Vec<Record>, Vec<TopicResult>) {
    let (now, retention_ms) = (step.now, request.retention_ms);
    let expire_timestamp = if retention_ms == -1 { -1 } else { now.wall.saturating_add(retention_ms) };
    let mut records = Vec::new();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let is_too_large = chars(&partition.metadata) > step.config.offset_metadata_chars_max;
            let error = match is_too_large {
                true => Some(Error::OffsetMetadataTooLarge),
                false => assigned.refusal(&topic.topic, topic.topic_id, partition.partition),
            };
            let is_taken = error.is_none();
            partitions.push((partition.partition, error));
            if is_taken {
                let index = partition.partition;
                let offset = to_committed(partition, topic.topic_id, now, expire_timestamp);
                records.push(record(request.group.clone(), topic.topic.clone(), index, offset));
            }
        }
        results.push(TopicResult { topic: topic.topic, topic_id: topic.topic_id, partitions });
    }
    (records, results)
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

fn fetch(offsets: &Offsets, group: &GroupId, topic: FetchTopic, require_stable: bool) -> FetchedTopic {
    let is_same = |offset: &&CommittedOffset| {
        offset.topic_id.is_zero() || topic.topic_id.is_zero() || offset.topic_id == topic.topic_id
    };
    let find = |&partition: &PartitionIndex| {
        if require_stable && offsets.is_pending(group, &topic.topic, partition) {
            return unstable(partition);
        }
        fetched(partition, offsets.get(group, &topic.topic, partition).filter(is_same))
    };
    let partitions = topic.partitions.iter().map(find).collect();
    FetchedTopic { topic: topic.topic, topic_id: topic.topic_id, partitions }
}

fn fetch_all(offsets: &Offsets, group: &GroupId, require_stable: bool) -> Vec<FetchedTopic> {
    let find = |topic: &TopicName, index: PartitionIndex, offset: &CommittedOffset| match require_stable
        && offsets.is_pending(group, topic, index)
    {
        true => unstable(index),
        false => fetched(index, Some(offset)),
    };
    let topics = offsets.topics(group).map(|(topic, partitions)| FetchedTopic {
        topic: topic.clone(),
        topic_id: TopicId::ZERO,
        partitions: partitions.iter().map(|(&index, offset)| find(topic, index, offset)).collect(),
    });
    topics.collect()
}

fn fetched(partition: PartitionIndex, offset: Option<&CommittedOffset>) -> FetchedOffset {
    FetchedOffset {
        partition,
        offset: offset.map_or(-1, |offset| offset.offset),
        leader_epoch: offset.map_or(-1, |offset| offset.leader_epoch),
        metadata: offset.map(|offset| offset.metadata.clone()).unwrap_or_default(),
        error: None,
    }
}

/// Nothing is told of an offset that an open transaction may change.
fn unstable(partition: PartitionIndex) -> FetchedOffset {
    FetchedOffset { error: Some(Error::UnstableOffsetCommit), ..fetched(partition, None) }
}

/// UTF-16 units, which is how Kafka measures metadata.
fn chars(metadata: &str) -> usize {
    metadata.encode_utf16().count()
}
