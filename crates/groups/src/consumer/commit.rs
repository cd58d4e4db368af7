//! Who may commit and read offsets of a consumer group.

use super::{ConsumerGroup, Member, topics::Topics};
use crate::{Error, MemberId, OffsetCommit};
use model::{PartitionIndex, TopicId, TopicName};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Partitions by id.
type ById = BTreeSet<(TopicId, PartitionIndex)>;
/// The ids of topics.
type Names = Vec<(TopicName, TopicId)>;

/// Which partitions may be committed.
#[derive(Debug)]
pub(crate) enum Allowed {
    All,
    /// Some.
    Some {
        /// These, by id.
        partitions: ById,
        /// The ids of topics that were not asked for by id.
        names: Names,
        /// What the others are answered.
        error: Error,
    },
    /// Some, of topics by name.
    Named {
        /// These.
        partitions: BTreeMap<Arc<str>, BTreeSet<PartitionIndex>>,
        /// What the others are answered.
        error: Error,
    },
}

impl Allowed {
    /// Why this partition may not be committed, if so; a zero id is none.
    pub(crate) fn refusal(&self, topic: &TopicName, id: TopicId, partition: PartitionIndex) -> Option<Error> {
        let (partitions, names, error) = match self {
            Self::All => return None,
            Self::Some { partitions, names, error } => (partitions, names, error),
            Self::Named { partitions, error } => {
                let is_allowed = partitions.get(&**topic).is_some_and(|some| some.contains(&partition));
                return (!is_allowed).then(|| error.clone());
            }
        };
        let by_name = || names.iter().find(|(name, _)| name == topic).map(|(_, id)| *id);
        let id = if id.is_zero() { by_name() } else { Some(id) };
        let is_allowed = id.is_some_and(|id| partitions.contains(&(id, partition)));
        (!is_allowed).then(|| error.clone())
    }
}

impl ConsumerGroup {
    /// Whether a member is in its epoch, and else which of its partitions it has had since an epoch before (KIP-1251): a
    /// commit that is late must not undo what the next owner commits.
    pub(crate) fn check_commit(
        &self,
        request: &OffsetCommit,
        in_transaction: bool,
        topics: &dyn Topics,
    ) -> Result<Allowed, Error> {
        // In old versions of TxnOffsetCommit clients do not say who they are.
        let says_nothing = request.member_id.is_empty() && request.instance_id.is_none();
        if in_transaction && request.generation < 0 && says_nothing {
            return Ok(Allowed::All);
        }
        // An admin client, or a consumer that assigns by itself.
        if request.generation < 0 && self.members.is_empty() {
            return Ok(Allowed::All);
        }
        let member = self.members.get(&request.member_id).ok_or(Error::UnknownMemberId)?;
        let is_classic = member.subscription.classic.is_some();
        if !is_classic && !in_transaction && !request.supports_group_id_not_found {
            return Err(Error::UnsupportedVersion);
        }
        // TxnOffsetCommit has never learnt of STALE_MEMBER_EPOCH.
        let stale = match is_classic || in_transaction {
            true => Error::IllegalGeneration,
            false => Error::StaleMemberEpoch,
        };
        match request.generation {
            epoch if epoch == member.current.epoch => Ok(Allowed::All),
            epoch if epoch > member.current.epoch => Err(stale),
            epoch => {
                let (partitions, names) = had_since(member, epoch, request, topics);
                Ok(Allowed::Some { partitions, names, error: stale })
            }
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

/// The partitions that a member has had since `epoch`, and the ids of the topics that the request only names.
fn had_since(member: &Member, epoch: i32, request: &OffsetCommit, topics: &dyn Topics) -> (ById, Names) {
    let all = member.current.assigned.iter().chain(&member.current.revoking);
    let had = all.flat_map(|(topic, partitions)| {
        let since = partitions.iter().filter(|(_, assigned)| epoch >= **assigned);
        since.map(|(index, _)| (*topic, *index))
    });
    let by_name = request.topics.iter().filter(|topic| topic.topic_id.is_zero());
    let names = by_name.filter_map(|topic| Some((topic.topic.clone(), topics.by_name(&topic.topic)?.0)));
    (had.collect(), names.collect())
}
