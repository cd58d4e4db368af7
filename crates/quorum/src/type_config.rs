//! What the Raft library's types are made of here, and shorter names for them.
//!
//! It decides one thing: a term has at most one leader (`leader_id_std`), so that a term is Kafka's leader epoch and a
//! log id can be read from the header of a batch.

use crate::{
    entry::{Payload, Placed, Proposal},
    member::{Member, Replica},
    runtime::EnvRuntime,
};
use model::LeaderEpoch;
use openraft::impls::leader_id_std;

openraft::declare_raft_types!(
    /// The Raft library with our nouns.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Placed,
        NodeId = Replica,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<Self::Term, Self::NodeId>,
        Payload = Payload,
        AsyncRuntime = EnvRuntime,
);

pub(crate) type CommittedLeaderId = openraft::type_config::alias::CommittedLeaderIdOf<TypeConfig>;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<Replica, Member>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<TypeConfig>;

/// A log id of its parts.
pub(crate) fn log_id(epoch: LeaderEpoch, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::from(epoch.max(0) as u64), index)
}

/// A term as Kafka's leader epoch; `None` if there is no such epoch.
pub(crate) fn epoch_of(term: u64) -> Option<LeaderEpoch> {
    LeaderEpoch::try_from(term).ok()
}
