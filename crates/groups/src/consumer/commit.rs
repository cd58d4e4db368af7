//! Who may commit and read offsets of a consumer group.

use super::{ConsumerGroup, Member, topics::Topics};
use crate::{Error, MemberId, OffsetCommit};
use model::{PartitionIndex, TopicId, TopicName};
use std::collections::BTreeSet;

/// Which partitions may be committed.
#[derive(Debug)]
pub(crate) enum Allowed {
    All,
    /// These, by id, with the names of topics that were not asked for by id.
    Some(BTreeSet<(TopicId, PartitionIndex)>, Vec<(TopicName, TopicId)>),
}

impl Allowed {
    /// Whether this partition may be committed; a zero id is none.
    pub(crate) fn allows(&self, topic: &TopicName, id: TopicId, partition: PartitionIndex) -> bool {
        let Self::Some(partitions, names) = self else { return true };
        let by_name = || names.iter().find(|(name, _)| name == topic).map(|(_, id)| *id);
        let id = if id.is_zero() { by_name() } else { Some(id) };
        id.is_some_and(|id| partitions.contains(&(id, partition)))
    }
}

impl ConsumerGroup {
    /// Whether a member is in its epoch, and else which of its partitions it has had since an epoch before (KIP-1251): a
    /// commit that is late must not undo what the next owner commits.
    pub(crate) fn check_commit(&self, request: &OffsetCommit, topics: &dyn Topics) -> Result<Allowed, Error> {
        // An admin client, or a consumer that assigns by itself.
        if request.generation < 0 && self.members.is_empty() {
            return Ok(Allowed::All);
        }
        let member = self.members.get(&request.member_id).ok_or(Error::UnknownMemberId)?;
        let is_classic = member.subscription.classic.is_some();
        if !is_classic && !request.supports_group_id_not_found {
            return Err(Error::UnsupportedVersion);
        }
        let stale = if is_classic { Error::IllegalGeneration } else { Error::StaleMemberEpoch };
        match request.generation {
            epoch if epoch == member.current.epoch => Ok(Allowed::All),
            epoch if epoch > member.current.epoch => Err(stale),
            epoch => Ok(had_since(member, epoch, request, topics)),
        }
    }

    /// Whether a member is in its epoch.
    pub(crate) fn check_member(&self, id: &MemberId, epoch: i32) -> Result<(), Error> {
        let member = self.members.get(id).ok_or(Error::UnknownMemberId)?;
        match &member.subscription.classic {
            _ if epoch == member.current.epoch => Ok(()),
            Some(_) => Err(Error::IllegalGeneration),
            None => Err(Error::StaleMemberEpoch),
        }
    }
}

fn had_since(member: &Member, epoch: i32, request: &OffsetCommit, topics: &dyn Topics) -> Allowed {
    let all = member.current.assigned.iter().chain(&member.current.revoking);
    let had = all.flat_map(|(topic, partitions)| {
        let since = partitions.iter().filter(|(_, assigned)| epoch >= **assigned);
        since.map(|(index, _)| (*topic, *index))
    });
    let by_name = request.topics.iter().filter(|topic| topic.topic_id.is_zero());
    let names = by_name.filter_map(|topic| Some((topic.topic.clone(), topics.by_name(&topic.topic)?.0)));
    Allowed::Some(had.collect(), names.collect())
}
