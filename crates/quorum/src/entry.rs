//! What an entry of the Raft log carries: one record batch, as it stands in `__cluster_metadata`.
//!
//! It is a proposal, a membership or the mark of a new leader until the leader's log has given it offsets; from then on
//! it is bytes, and every replica stores the same ones. It knows no files.

use crate::{
    member::{Member, Replica},
    type_config::Membership,
};
use bytes::Bytes;
use model::{LeaderEpoch, Offset};
use openraft::entry::RaftPayload;
use std::{fmt, sync::Arc};

/// A batch of metadata records that has no place in the log yet: its offsets and its leader epoch do not count.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Exactly one batch of format v2.
    pub batch: Bytes,
}

/// Where a proposal went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The epoch of the leader that appended it.
    pub epoch: LeaderEpoch,
}

/// The payload of an entry.
#[derive(Clone, PartialEq)]
pub(crate) enum Payload {
    /// A leader begins its epoch.
    Blank,
    /// Records to be placed.
    Records(Proposal),
    /// Voters and observers to be placed.
    Membership(Arc<Membership>),
    /// A batch with its place in the log.
    Stored {
        /// The batch.
        batch: Bytes,
        /// What it says if it is about voters.
        membership: Option<Arc<Membership>>,
    },
}

impl RaftPayload for Payload {
    type D = Proposal;
    type NodeId = Replica;
    type Node = Member;

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Proposal) -> Self {
        Self::Records(data)
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self::Membership(Arc::new(membership))
    }

    fn get_membership(&self) -> Option<Membership> {
        match self {
            Self::Membership(membership) | Self::Stored { membership: Some(membership), .. } => {
                Some(Membership::clone(membership))
            }
            Self::Blank | Self::Records(_) | Self::Stored { membership: None, .. } => None,
        }
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("new leader"),
            Self::Records(proposal) => write!(f, "{proposal}"),
            Self::Membership(membership) => write!(f, "{membership}"),
            Self::Stored { batch, .. } => write!(f, "batch of {} bytes", batch.len()),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proposal of {} bytes", self.batch.len())
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offsets {} to {} of epoch {}", self.base_offset, self.last_offset, self.epoch)
    }
}
