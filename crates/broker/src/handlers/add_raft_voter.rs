//! AddRaftVoter (key 80): a controller that has joined as an observer becomes a voter (KIP-853).

use super::change_voters;
use crate::{Broker, context::Context};
use quorum::{Endpoint, Member, Quorum, Replica};
use std::sync::Arc;
use wire::{AddRaftVoterRequest, AddRaftVoterResponse};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let endpoints = request.listeners.into_iter().map(|listener| Endpoint {
        name: listener.name,
        host: listener.host,
        port: listener.port,
    });
    let replica = Replica { node: request.voter_id, directory: request.voter_directory_id };
    let member = Member::new(endpoints.collect());
    let change = broker.quorum.add_voter(replica, member.clone());
    let timeout_ms = i64::from(request.timeout_ms);
    let (error_code, error_message) =
        change_voters(broker, request.cluster_id.as_deref(), (replica, Some(&member)), change, timeout_ms)
            .await;
    AddRaftVoterResponse { error_code, error_message, ..AddRaftVoterResponse::default() }
}
