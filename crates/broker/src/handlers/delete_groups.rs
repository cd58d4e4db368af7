//! DeleteGroups (key 42): removes empty groups with their committed positions (KIP-229).

use crate::{Broker, context::Context, failure_code};
use groups::{Error, Reply, Request};
use model::GroupId;
use std::{collections::BTreeSet, sync::Arc};
use wire::{DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = BTreeSet::new();
    for name in request.groups_names.into_iter().filter(|name| seen.insert(name.clone())) {
        let group = GroupId::new(&name);
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
