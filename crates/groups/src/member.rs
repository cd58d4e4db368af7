//! A member of a classic group.
//!
//! It decides nothing; its group does.

use crate::{DescribedMember, InstanceId, JoinedMember, MemberId, MemberMetadata, Protocol, Token};
use bytes::Bytes;
use std::sync::Arc;

/// A member, with its requests that wait for others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) instance_id: Option<InstanceId>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// No two of one name; never empty.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// Its JoinGroup that waits for the others. Only the group changes it, because it counts them.
    pub(crate) joining: Option<Token>,
    /// Its SyncGroup that waits for the leader.
    pub(crate) syncing: Option<Token>,
    /// It has not heard of its id yet, so it cannot heartbeat even while it waits.
    pub(crate) is_new: bool,
}

impl Member {
    /// Its metadata for `protocol`; empty if it does not support it.
    pub(crate) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let found = self.protocols.iter().find(|p| Some(&*p.name) == protocol);
        found.map(|p| p.metadata.clone()).unwrap_or_default()
    }

    /// Whether silence is no sign of death: it waits for an answer from us.
    pub(crate) fn is_excused(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    /// What the leader sees of it.
    pub(crate) fn to_joined(&self, protocol: Option<&str>) -> JoinedMember {
        JoinedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            metadata: self.metadata(protocol),
        }
    }

    /// What DescribeGroups shows of it.
    pub(crate) fn to_described(&self, protocol: Option<&str>) -> DescribedMember {
        DescribedMember {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            metadata: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// What is written down of it.
    pub(crate) fn to_record(&self, protocol: Option<&str>, assignment: Bytes) -> MemberMetadata {
        MemberMetadata {
            member_id: self.id.clone(),
            instance_id: self.instance_id.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment,
        }
    }

    /// The member that was written down: of its protocols it remembers the chosen one.
    pub(crate) fn from_record(record: MemberMetadata, protocol: Option<&Arc<str>>) -> Self {
        let name = protocol.cloned().unwrap_or_default();
        let timeout = record.rebalance_timeout_ms;
        Self {
            id: record.member_id,
            instance_id: record.instance_id,
            client_id: record.client_id,
            client_host: record.client_host,
            rebalance_timeout_ms: if timeout == -1 { record.session_timeout_ms } else { timeout },
            session_timeout_ms: record.session_timeout_ms,
            protocols: vec![Protocol { name, metadata: record.subscription }],
            assignment: record.assignment,
            joining: None,
            syncing: None,
            is_new: false,
        }
    }
}
