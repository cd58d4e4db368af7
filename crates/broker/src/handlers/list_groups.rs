//! ListGroups (key 16): the groups that this broker coordinates, by state (KIP-518) and type (KIP-848).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Reply, Request};
use std::sync::Arc;
use wire::{ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let order = Request::ListGroups { states: request.states_filter, types: request.types_filter };
    let mut response = ListGroupsResponse::default();
    for reply in broker.groups.ask_all(order).await {
        let error = match reply {
            Ok(Reply::ListGroups(groups)) => {
                response.groups.extend(groups.into_iter().map(|listed| ListedGroup {
                    group_id: listed.group.to_string(),
                    protocol_type: listed.protocol_type.to_string(),
                    group_state: listed.state.name().to_owned(),
                    group_type: listed.group_type.to_owned(),
                }));
                continue;
            }
            // Who looks for these groups asks for their coordinator; it is not here.
            Err(Error::NotCoordinator) => continue,
            Ok(_) => Error::UnknownServerError,
            Err(error) => error,
        };
        // As in Kafka, all of the groups or none.
        let error_code = failure_code::of_groups(&error).to_i16();
        return ListGroupsResponse { error_code, ..ListGroupsResponse::default() };
    }
    response
}
