//! DescribeCluster (key 60): the brokers and the cluster's id (KIP-700).

use crate::{Broker, context::Context};
use std::sync::Arc;
use wire::{
    DescribeClusterRequest, DescribeClusterResponse, ErrorCode,
    describe_cluster_response::DescribeClusterBroker,
};

/// The only endpoints that this listener describes: those of brokers.
const ENDPOINTS_OF_BROKERS: i8 = 1;
const ENDPOINTS_OF_CONTROLLERS: i8 = 2;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let image = broker.image();
    let refuse = |error: ErrorCode, why: &str| DescribeClusterResponse {
        error_code: error.to_i16(),
        error_message: Some(why.to_owned()),
        ..DescribeClusterResponse::default()
    };
    match request.endpoint_type {
        ENDPOINTS_OF_BROKERS => {}
        ENDPOINTS_OF_CONTROLLERS => {
            let why = "this listener describes brokers only; ask a controller for controllers";
            return refuse(ErrorCode::MismatchedEndpointType, why);
        }
        _ => return refuse(ErrorCode::UnsupportedEndpointType, "endpoints are of type 1 or 2"),
    }
    let brokers = image.brokers().filter(|broker| request.include_fenced_brokers || !broker.fenced);
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
    DescribeClusterResponse {
        endpoint_type: ENDPOINTS_OF_BROKERS,
        cluster_id: image.cluster_id().to_owned(),
        controller_id: super::controller_id(broker),
        brokers: brokers.collect(),
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            super::CLUSTER_OPERATIONS
        } else {
            super::metadata::OPERATIONS_UNKNOWN
        },
        ..DescribeClusterResponse::default()
    }
}
