//! DescribeCluster (key 60): the brokers, or on a listener of controllers these (KIP-919), and the cluster's id (KIP-700).

use crate::{Broker, context::Context};
use metadata::Image;
use std::sync::Arc;
use wire::{
    DescribeClusterRequest, DescribeClusterResponse, ErrorCode,
    describe_cluster_response::DescribeClusterBroker,
};

const ENDPOINTS_OF_BROKERS: i8 = 1;
const ENDPOINTS_OF_CONTROLLERS: i8 = 2;
/// There is no active controller, or it has not said where it listens.
const NOBODY: i32 = -1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = broker.image();
    let is_controller = super::is_for_controller(broker, context);
    let endpoint_type = if is_controller { ENDPOINTS_OF_CONTROLLERS } else { ENDPOINTS_OF_BROKERS };
    if let Some(refusal) = refusal(context.version, request.endpoint_type, endpoint_type) {
        return refusal;
    }
    let (brokers, controller_id) = if is_controller {
        let nodes = controllers(&image, context);
        let leader = broker.active_controller().map(|(node, _)| node);
        let known = leader.filter(|leader| nodes.iter().any(|node| node.broker_id == *leader));
        (nodes, known.unwrap_or(NOBODY))
    } else {
        (brokers(&image, context, request.include_fenced_brokers), super::controller_id(broker))
    };
    DescribeClusterResponse {
        endpoint_type,
        cluster_id: image.cluster_id().to_owned(),
        controller_id,
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            super::CLUSTER_OPERATIONS
        } else {
            super::metadata::OPERATIONS_UNKNOWN
        },
        ..DescribeClusterResponse::default()
    }
}

/// What a client is told that asks for other endpoints than this listener has.
fn refusal(version: i16, asked: i8, own: i8) -> Option<DescribeClusterResponse> {
    let (error, why) = match asked {
        _ if asked == own => return None,
        ENDPOINTS_OF_CONTROLLERS => (
            ErrorCode::MismatchedEndpointType,
            "this listener describes brokers only; ask a controller for controllers",
        ),
        ENDPOINTS_OF_BROKERS => (
            ErrorCode::MismatchedEndpointType,
            "this listener describes controllers only; ask a broker for brokers",
        ),
        _ => (ErrorCode::UnsupportedEndpointType, "endpoints are of type 1 or 2"),
    };
    // Clients of version 0 know neither the types nor these errors.
    let error = if version == 0 { ErrorCode::InvalidRequest } else { error };
    Some(DescribeClusterResponse {
        error_code: error.to_i16(),
        error_message: Some(why.to_owned()),
        ..DescribeClusterResponse::default()
    })
}

fn brokers(image: &Image, context: &Context, with_fenced: bool) -> Vec<DescribeClusterBroker> {
    let brokers = image.brokers().filter(|broker| with_fenced || !broker.fenced);
    let brokers = brokers.filter_map(|registration| {
        let endpoint = registration.endpoint(&context.listener)?;
        Some(DescribeClusterBroker {
            broker_id: registration.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            rack: registration.rack.clone(),
            is_fenced: registration.fenced,
        })
    });
    brokers.collect()
}

/// The controllers that have introduced themselves and listen under this listener's name.
fn controllers(image: &Image, context: &Context) -> Vec<DescribeClusterBroker> {
    let controllers = image.controllers().filter_map(|registration| {
        let endpoint = registration.endpoints.iter().find(|endpoint| endpoint.name == *context.listener)?;
        Some(DescribeClusterBroker {
            broker_id: registration.id,
            host: endpoint.host.clone(),
            port: i32::from(endpoint.port),
            ..DescribeClusterBroker::default()
        })
    });
    controllers.collect()
}
