//! UpdateRaftVoter (key 82): a voter listens elsewhere, or supports other versions (KIP-853).

use super::change_voters;
use crate::{Broker, context::Context};
use quorum::{Endpoint, Member, Quorum, Replica};
use std::sync::Arc;
use wire::{UpdateRaftVoterRequest, UpdateRaftVoterResponse, update_raft_voter_response::CurrentLeader};

/// The request names no time limit.
const TIMEOUT_MS: i64 = 30_000;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: UpdateRaftVoterRequest,
) -> UpdateRaftVoterResponse {
    let endpoints = request.listeners.into_iter().map(|listener| Endpoint {
        name: listener.name,
        host: listener.host,
        port: listener.port,
    });
    let replica = Replica { node: request.voter_id, directory: request.voter_directory_id };
    let member = Member {
        version_min: request.kraft_version_feature.min_supported_version,
        version_max: request.kraft_version_feature.max_supported_version,
        ..Member::new(endpoints.collect())
    };
    let change = broker.quorum.update_voter(replica, member.clone());
    let (error_code, _) =
        change_voters(broker, request.cluster_id.as_deref(), (replica, Some(&member)), change, TIMEOUT_MS)
            .await;
    let leadership = *broker.quorum.leadership().borrow();
    let mut current_leader = CurrentLeader {
        leader_id: leadership.leader.map_or(-1, |leader| leader.node),
        leader_epoch: leadership.epoch,
        ..CurrentLeader::default()
    };
    if let Some((_, address)) = broker.active_controller() {
        (current_leader.host, current_leader.port) = (address.host, i32::from(address.port));
    }
    UpdateRaftVoterResponse { error_code, current_leader, ..UpdateRaftVoterResponse::default() }
}
