//! DeleteGroups (key 42): removes empty groups with their committed positions (KIP-229).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Reply, Request};
use model::GroupId;
use std::{collections::BTreeSet, sync::Arc};
use wire::{
    DeleteGroupsRequest, DeleteGroupsResponse, ErrorCode, delete_groups_response::DeletableGroupResult,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = BTreeSet::new();
    for name in request.groups_names.into_iter().filter(|name| seen.insert(name.clone())) {
        let group = GroupId::new(&name);
        if let Some(code) = delete_share_states(broker, &group).await {
            let (error_code, error_message) = super::code_and_name(Some(code));
            results.push(DeletableGroupResult { group_id: name, error_code, error_message });
            continue;
        }
        let error =
            match broker.groups.ask(&group, Request::DeleteGroups { groups: vec![group.clone()] }).await {
                Ok(Reply::DeleteGroups(deleted)) => {
                    deleted.into_iter().next().and_then(|deleted| deleted.error)
                }
                Ok(_) => Some(Error::UnknownServerError),
                Err(error) => Some(error),
            };
        results.push(DeletableGroupResult {
            group_id: name,
            error_code: failure_code::of_group_result(error.as_ref()),
            error_message: error.and_then(|error| failure_code::message(&error)),
        });
    }
    DeleteGroupsResponse { results, ..DeleteGroupsResponse::default() }
}

/// A share group goes after its share states, which are elsewhere; why it cannot, if so.
async fn delete_share_states(broker: &Arc<Broker>, group: &GroupId) -> Option<ErrorCode> {
    match super::delete_share_group_offsets::delete(broker, group, None).await {
        Ok(results) => results.into_values().find(|code| *code != ErrorCode::None),
        // What is wrong with a group of any kind, or that there is none, is found with the group itself.
        Err(_) => None,
    }
}
