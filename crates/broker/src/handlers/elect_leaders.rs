//! ElectLeaders (key 43): leaders by wish, the preferred ones or, where there is none, any (KIP-183, KIP-460).

use super::{by_topic, controller_error};
use crate::{Broker, context::Context, failure_code};
use metadata::{ElectionKind, Error, PartitionResults, Reply, Request};
use std::{collections::BTreeSet, sync::Arc};
use wire::{
    ElectLeadersRequest, ElectLeadersResponse,
    elect_leaders_response::{PartitionResult, ReplicaElectionResult},
};

/// From this version on there is an error of the whole request.
const VERSION_WITH_ERROR: i16 = 1;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    context: &Context,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let partitions: Option<Vec<_>> = request.topic_partitions.map(|topics| {
        let named = topics
            .into_iter()
            .flat_map(|topic| topic.partitions.into_iter().map(move |index| (topic.topic.clone(), index)));
        named.collect()
    });
    let (asked, is_of_all) = (partitions.clone().unwrap_or_default(), partitions.is_none());
    let (error_code, results) = match elect((broker, context), request.election_type, partitions).await {
        Ok(results) => (failure_code::NONE, results),
        Err(error) => {
            let code = failure_code::of_controller(&error).to_i16();
            let each = asked.into_iter().map(|(topic, index)| (topic, index, Err(error.clone())));
            (code, each.collect())
        }
    };
    let mut topics = by_topic(results);
    if is_of_all && error_code == failure_code::NONE {
        // Every topic is named, also where no partition needs another leader.
        let known: BTreeSet<String> = topics.iter().map(|(topic, _)| topic.clone()).collect();
        let image = broker.image();
        let others = image.topics().map(|topic| topic.name.to_string());
        topics.extend(others.filter(|name| !known.contains(name)).map(|name| (name, Vec::new())));
    }
    let topics = topics.into_iter().map(|(topic, partitions)| ReplicaElectionResult {
        topic,
        partition_result: partitions.into_iter().map(result).collect(),
    });
    ElectLeadersResponse {
        error_code: if context.version >= VERSION_WITH_ERROR { error_code } else { failure_code::NONE },
        replica_election_results: topics.collect(),
        ..ElectLeadersResponse::default()
    }
}

async fn elect(
    asked: (&Broker, &Context),
    kind: i8,
    partitions: Option<Vec<(String, i32)>>,
) -> Result<PartitionResults, Error> {
    let kind = match kind {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        other => {
            let why = format!("there is no kind of election {other}; 0 is preferred, 1 is unclean");
            return Err(Error::InvalidRequest(why));
        }
    };
    match super::decide(asked, Request::ElectLeaders { kind, partitions }).await {
        Ok(Reply::ElectLeaders(results)) => Ok(results),
        other => Err(controller_error(other)),
    }
}

fn result((partition_id, result): (i32, Result<(), Error>)) -> PartitionResult {
    let (error_code, error_message) = failure_code::with_message(result);
    PartitionResult { partition_id, error_code, error_message }
}
