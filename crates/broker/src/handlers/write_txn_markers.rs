//! WriteTxnMarkers (key 27): a transaction coordinator, or an operator whose transaction hangs (KIP-664), ends
//! transactions in partitions that this broker leads.

use crate::{
    Broker,
    context::Context,
    txn_markers::{self, MarkerFor},
};
use groups::TransactionMarker;
use model::{TopicName, TopicPartition};
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    ErrorCode, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
    write_txn_markers_request::WritableTxnMarker,
    write_txn_markers_response::{
        WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    },
};

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let markers: Vec<_> = request.markers.iter().map(to_marker).collect();
    let written = txn_markers::write(broker, markers).await;
    // As in Kafka there is one row for each producer.
    let mut results: BTreeMap<i64, BTreeMap<String, BTreeMap<i32, ErrorCode>>> = BTreeMap::new();
    for (marker, written) in request.markers.iter().zip(written) {
        let topics = results.entry(marker.producer_id).or_default();
        for topic in &marker.topics {
            // What is no name of a topic is in no partition.
            let partitions = topics.entry(topic.name.clone()).or_default();
            partitions.extend(
                topic.partition_indexes.iter().map(|index| (*index, ErrorCode::UnknownTopicOrPartition)),
            );
        }
        for (partition, code) in written {
            topics.entry(partition.topic.to_string()).or_default().insert(partition.partition, code);
        }
    }
    let markers = results.into_iter().map(|(producer_id, topics)| WritableTxnMarkerResult {
        producer_id,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| WritableTxnMarkerTopicResult {
                name,
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, code)| WritableTxnMarkerPartitionResult {
                        partition_index,
                        error_code: code.to_i16(),
                    })
                    .collect(),
            })
            .collect(),
    });
    WriteTxnMarkersResponse { markers: markers.collect() }
}

fn to_marker(marker: &WritableTxnMarker) -> MarkerFor {
    let partitions = marker.topics.iter().flat_map(|topic| {
        let name = TopicName::new(&topic.name).ok();
        let indexes = topic.partition_indexes.iter();
        indexes.filter_map(move |index| Some(TopicPartition::new(name.clone()?, *index)))
    });
    MarkerFor {
        marker: TransactionMarker {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            coordinator_epoch: marker.coordinator_epoch,
            committed: marker.transaction_result,
            transaction_version: marker.transaction_version.into(),
        },
        partitions: partitions.collect(),
    }
}
