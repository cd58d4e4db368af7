//! The markers that end transactions in partitions: written here, or by the brokers that lead the partitions.
//!
//! It decides nothing: whether a marker is taken, the partition's log does; what follows from a refusal, `txn_ends` knows.

use crate::{
    Broker,
    acks::{Acks, Settled, Undone},
    failure_code, group_hosts,
};
use env::BoxFuture;
use futures_util::future::join_all;
use groups::TransactionMarker;
use model::{NodeId, TopicName, TopicPartition};
use records::EndTxnMarker;
use std::{collections::BTreeMap, sync::Arc};
use wire::{
    ErrorCode, WriteTxnMarkersRequest,
    write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic},
};

/// How long a broker may take to write markers, as Kafka's `request.timeout.ms`.
const WRITE_MS_MAX: i64 = 30_000;

/// The end of a transaction in partitions of one broker.
#[derive(Debug, Clone)]
pub(crate) struct MarkerFor {
    pub(crate) marker: TransactionMarker,
    pub(crate) partitions: Vec<TopicPartition>,
}

/// What became of a marker in each partition.
pub(crate) type Written = Vec<(TopicPartition, ErrorCode)>;

/// Has a node write markers; `None` if it could not be asked.
pub(crate) fn send(
    broker: Arc<Broker>,
    node: NodeId,
    markers: Vec<MarkerFor>,
) -> BoxFuture<'static, Vec<Option<Written>>> {
    Box::pin(async move {
        if node == broker.config.node_id {
            return write(&broker, markers).await.into_iter().map(Some).collect();
        }
        let Some(address) = broker.address_of(node) else { return markers.iter().map(|_| None).collect() };
        let request = WriteTxnMarkersRequest { markers: markers.iter().map(to_wire).collect() };
        match broker.links.call(&address, &request, WRITE_MS_MAX).await {
            Ok(response) => {
                let mut told: BTreeMap<(i64, TopicPartition), ErrorCode> = BTreeMap::new();
                for result in response.markers {
                    for topic in result.topics {
                        let Ok(name) = TopicName::new(&topic.name) else { continue };
                        for one in topic.partitions {
                            let key = TopicPartition::new(name.clone(), one.partition_index);
                            told.insert((result.producer_id, key), failure_code::from_code(one.error_code));
                        }
                    }
                }
                let of = |marker: MarkerFor| {
                    let id = marker.marker.producer_id;
                    let written = marker.partitions.into_iter().filter_map(|partition| {
                        let code = told.get(&(id, partition.clone()))?;
                        Some((partition, *code))
                    });
                    Some(written.collect())
                };
                markers.into_iter().map(of).collect()
            }
            Err(error) => {
                tracing::info!(node, %error, "a broker could not be asked to end transactions; it is asked again");
                markers.iter().map(|_| None).collect()
            }
        }
    })
}

fn to_wire(marker: &MarkerFor) -> WritableTxnMarker {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in &marker.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(name, partition_indexes)| WritableTxnMarkerTopic {
        name: name.to_string(),
        partition_indexes,
    });
    WritableTxnMarker {
        producer_id: marker.marker.producer_id,
        producer_epoch: marker.marker.producer_epoch,
        transaction_result: marker.marker.committed,
        topics: topics.collect(),
        coordinator_epoch: marker.marker.coordinator_epoch,
        transaction_version: i8::try_from(marker.marker.transaction_version).unwrap_or(0),
    }
}

/// Writes markers into partitions that this broker leads, and waits until they are safe.
pub(crate) async fn write(broker: &Arc<Broker>, markers: Vec<MarkerFor>) -> Vec<Written> {
    let each = markers.into_iter().map(|MarkerFor { marker, partitions }| async move {
        let each = partitions.into_iter().map(|partition| async move {
            let code = write_one(broker, marker, &partition).await;
            (partition, code)
        });
        join_all(each).await
    });
    join_all(each).await
}

async fn write_one(broker: &Arc<Broker>, marker: TransactionMarker, partition: &TopicPartition) -> ErrorCode {
    let clock = &broker.world.clock;
    let writing = async {
        match &*partition.topic == group_hosts::TOPIC {
            true => write_to_groups(broker, marker, partition.partition).await,
            false => write_to_log(broker, marker, partition).await,
        }
    };
    tokio::select! {
        biased;
        code = writing => code,
        () = clock.sleep_until(clock.after_millis(WRITE_MS_MAX)) => ErrorCode::RequestTimedOut,
    }
}

async fn write_to_log(
    broker: &Arc<Broker>,
    marker: TransactionMarker,
    partition: &TopicPartition,
) -> ErrorCode {
    let Some(found) = broker.partitions.get(&partition.topic, partition.partition) else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    let acks = Acks::new();
    acks.open(0);
    let producer = (marker.producer_id, marker.producer_epoch);
    let end = EndTxnMarker { committed: marker.committed, coordinator_epoch: marker.coordinator_epoch };
    let settled = (acks.clone() as Arc<dyn Settled>, 0);
    if let Err(refused) =
        found.write_marker(broker.now_ms(), producer, (end, marker.transaction_version), settled)
    {
        tracing::info!(partition = %found, %refused, "a transaction could not be ended");
        return failure_code::of_partition(&refused);
    }
    match acks.wait().await.first() {
        None => ErrorCode::None,
        Some((_, Undone::Waiting)) => ErrorCode::RequestTimedOut,
        Some((_, Undone::Failed)) => ErrorCode::KafkaStorageError,
        Some((_, Undone::Deleted)) => ErrorCode::UnknownTopicOrPartition,
        Some((_, Undone::NotLeader)) => ErrorCode::NotLeaderOrFollower,
        Some((_, Undone::TooFewInSync)) => ErrorCode::NotEnoughReplicasAfterAppend,
    }
}

/// Committed offsets are in the memory of their coordinator too: it ends the transaction.
async fn write_to_groups(broker: &Arc<Broker>, marker: TransactionMarker, index: i32) -> ErrorCode {
    match broker.groups.ask_partition(index, groups::Request::TransactionMarker(marker)).await {
        Ok(_) => ErrorCode::None,
        // Who decides on transactions looks for the leader again.
        Err(groups::Error::NotCoordinator | groups::Error::CoordinatorNotAvailable) => {
            ErrorCode::NotLeaderOrFollower
        }
        Err(error) => failure_code::of_groups(&error),
    }
}
