//! RemoveRaftVoter (key 81): a controller's vote is taken away (KIP-853).

use super::change_voters;
use crate::{Broker, context::Context};
use quorum::{Quorum, Replica};
use std::sync::Arc;
use wire::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

/// The request names no time limit.
const TIMEOUT_MS: i64 = 30_000;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let replica = Replica { node: request.voter_id, directory: request.voter_directory_id };
    let change = broker.quorum.remove_voter(replica);
    let (error_code, error_message) =
        change_voters(broker, request.cluster_id.as_deref(), (replica, None), change, TIMEOUT_MS).await;
    RemoveRaftVoterResponse { error_code, error_message, ..RemoveRaftVoterResponse::default() }
}
