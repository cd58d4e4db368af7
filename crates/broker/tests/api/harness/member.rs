//! A member of a classic group: the dance of joining and synchronising, at newest versions.

use super::{Client, code};
use bytes::Bytes;
use wire::{
    ErrorCode, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, sync_group_request::SyncGroupRequestAssignment,
};

/// What a joined member knows of itself.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) generation: i32,
}

/// A request to join by the protocol "range".
pub(crate) fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    let range = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"meta") };
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![range],
        ..JoinGroupRequest::default()
    }
}

/// A request to synchronise that hands out these assignments.
pub(crate) fn sync(group: &str, member: &Member, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(id, assignment)| SyncGroupRequestAssignment {
        member_id: id.to_string(),
        assignment: Bytes::from_static(assignment.as_bytes()),
    });
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.collect(),
        ..SyncGroupRequest::default()
    }
}

impl Client {
    /// Learns a member id and joins with it; waits for the generation.
    pub(crate) async fn join(&mut self, version: i16, group: &str) -> JoinGroupResponse {
        let first = self.call(version, &join(group, "")).await;
        if version < 4 {
            return first;
        }
        assert_eq!(first.error_code, code(ErrorCode::MemberIdRequired));
        assert!(!first.member_id.is_empty());
        self.call(version, &join(group, &first.member_id)).await
    }

    /// Becomes the only member of a stable group.
    pub(crate) async fn enter(&mut self, group: &str) -> Member {
        let joined = self.join(9, group).await;
        assert_eq!((joined.error_code, joined.leader == joined.member_id), (0, true));
        let member = Member { id: joined.member_id, generation: joined.generation_id };
        let synced = self.call(5, &sync(group, &member, &[(&member.id, "mine")])).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"mine"[..]));
        member
    }

    /// Makes the coordinator of all groups exist.
    pub(crate) async fn find_coordinator(&mut self) {
        let request =
            wire::FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
        assert_eq!(self.call(6, &request).await.coordinators[0].error_code, 0);
    }
}
