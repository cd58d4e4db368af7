//! Who may commit and read offsets of a streams group.

use super::{StreamsGroup, StreamsMember};
use crate::{Error, MemberId, OffsetCommit, consumer::commit::Allowed};
use model::PartitionIndex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

impl StreamsGroup {
    /// Whether a member is in its epoch, and else which partitions it reads since an epoch before (KIP-1251): a commit that is
    /// late must not undo what the next owner commits.
    pub(crate) fn check_commit(
        &self,
        request: &OffsetCommit,
        in_transaction: bool,
    ) -> Result<Allowed, Error> {
        // In old versions of TxnOffsetCommit clients do not say who they are.
        let says_nothing = request.member_id.is_empty() && request.instance_id.is_none();
        if request.generation < 0 && (self.members.is_empty() || in_transaction && says_nothing) {
            return Ok(Allowed::All);
        }
        let member = self.members.get(&request.member_id).ok_or(Error::UnknownMemberId)?;
        if !in_transaction && !request.supports_group_id_not_found {
            return Err(Error::UnsupportedVersion);
        }
        // TxnOffsetCommit has never learnt of STALE_MEMBER_EPOCH.
        let stale = if in_transaction { Error::IllegalGeneration } else { Error::StaleMemberEpoch };
        match request.generation {
            epoch if epoch == member.current.epoch => Ok(Allowed::All),
            epoch if epoch > member.current.epoch => Err(stale),
            epoch => Ok(Allowed::Named { partitions: self.read_since(member, epoch), error: stale }),
        }
    }

    /// Whether a member is in its epoch.
    pub(crate) fn check_member(&self, id: &MemberId, epoch: i32) -> Result<(), Error> {
        let member = self.members.get(id).ok_or(Error::UnknownMemberId)?;
        (epoch == member.current.epoch).then_some(()).ok_or(Error::StaleMemberEpoch)
    }

    /// The partitions that a member has read since `epoch`.
    fn read_since(&self, member: &StreamsMember, epoch: i32) -> BTreeMap<Arc<str>, BTreeSet<PartitionIndex>> {
        let tasks = member.current.assigned.active.iter().chain(&member.current.revoking.active);
        let parts = self.topology.iter().flat_map(|topology| &topology.subtopologies);
        let parts: BTreeMap<_, _> = parts.map(|part| (&part.id, part)).collect();
        let mut read = BTreeMap::<Arc<str>, BTreeSet<PartitionIndex>>::new();
        for (subtopology, indices) in tasks {
            for topic in parts.get(subtopology).into_iter().flat_map(|part| part.source_names()) {
                let since = indices.iter().filter(|(_, assigned)| epoch >= **assigned);
                read.entry(topic.clone()).or_default().extend(since.map(|(index, _)| *index));
            }
        }
        read
    }
}
