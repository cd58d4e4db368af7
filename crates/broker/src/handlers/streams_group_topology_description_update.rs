//! StreamsGroupTopologyDescriptionUpdate (key 93): a member of a streams group says what its topology is made of (KIP-1331), for
//! StreamsGroupDescribe.

use crate::{Broker, context::Context, failure_code};
use groups::{Error, NodeKind, Reply, Request, TopologyDescription, TopologyNode};
use model::GroupId;
use std::sync::Arc;
use wire::{
    ErrorCode, StreamsGroupTopologyDescriptionUpdateRequest, StreamsGroupTopologyDescriptionUpdateResponse,
    streams_group_topology_description_update_request as asked,
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: StreamsGroupTopologyDescriptionUpdateRequest,
) -> StreamsGroupTopologyDescriptionUpdateResponse {
    if !super::has_streams_groups(broker) {
        return answer(ErrorCode::UnsupportedVersion, None);
    }
    match update(broker, request).await {
        Ok(()) => StreamsGroupTopologyDescriptionUpdateResponse::default(),
        Err(error) => answer(failure_code::of_groups(&error), failure_code::message(&error)),
    }
}

async fn update(
    broker: &Arc<Broker>,
    request: StreamsGroupTopologyDescriptionUpdateRequest,
) -> Result<(), Error> {
    let wrong = |why: &'static str| Err(Error::InvalidRequest(why.into()));
    if request.member_id.is_empty() {
        return wrong("MemberId can't be empty.");
    }
    if request.group_id.is_empty() {
        return wrong("GroupId can't be empty.");
    }
    let group = GroupId::new(&request.group_id);
    let order = Request::StreamsDescribeTopology {
        group: group.clone(),
        member: request.member_id.into(),
        epoch: request.topology_epoch,
        description: description(request.topology_description)?,
    };
    match broker.groups.ask(&group, order).await? {
        Reply::StreamsTopologyDescribed => Ok(()),
        _ => Err(Error::UnknownServerError),
    }
}

fn answer(error: ErrorCode, error_message: Option<String>) -> StreamsGroupTopologyDescriptionUpdateResponse {
    let error_code = error.to_i16();
    StreamsGroupTopologyDescriptionUpdateResponse {
        error_code,
        error_message,
        ..StreamsGroupTopologyDescriptionUpdateResponse::default()
    }
}

fn description(said: asked::TopologyDescription) -> Result<TopologyDescription, Error> {
    let mut subtopologies = Vec::with_capacity(said.subtopologies.len());
    for part in said.subtopologies {
        let nodes = part.nodes.into_iter().map(node).collect::<Result<Vec<_>, _>>()?;
        subtopologies.push((part.subtopology_id.into(), nodes));
    }
    let mut global_stores = Vec::with_capacity(said.global_stores.len());
    for store in said.global_stores {
        let (source, processor) = (node(store.source)?, node(store.processor)?);
        if !matches!((&source.kind, &processor.kind), (NodeKind::Source(_), NodeKind::Processor(_))) {
            let why = "Global store must be composed of a source and a processor node.";
            return Err(Error::InvalidRequest(why.into()));
        }
        global_stores.push((source, processor));
    }
    Ok(TopologyDescription { subtopologies, global_stores })
}

fn node(node: asked::TopologyDescriptionNode) -> Result<TopologyNode, Error> {
    let texts = |all: Vec<String>| -> Vec<Arc<str>> { all.into_iter().map(Into::into).collect() };
    let kind = match node.node_type {
        1 => NodeKind::Source(texts(node.source_topics)),
        2 => NodeKind::Processor(texts(node.stores)),
        3 => NodeKind::Sink(node.sink_topic.map(Into::into)),
        other => return Err(Error::InvalidRequest(format!("Unknown topology node type: {other}").into())),
    };
    Ok(TopologyNode { name: node.name.into(), kind, successors: texts(node.successors) })
}
