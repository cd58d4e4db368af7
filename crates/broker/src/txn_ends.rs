//! Ends one prepared transaction: has its markers written by whoever leads its partitions, again and again until all are,
//! and then tells the coordinator.
//!
//! It holds nothing that a crash could lose: the coordinator names what is prepared when it has been read again.

use crate::{
    Broker,
    transaction_hosts::TransactionHost,
    txn_markers::{MarkerFor, Written},
};
use futures_util::future::join_all;
use groups::TransactionMarker;
use model::{NodeId, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};
use transactions::{Error, Markers, Producer, Request};
use wire::ErrorCode;

/// The pauses before markers are sent again: the first, and the longest.
const RETRY_MS: (i64, i64) = (20, 1000);

/// What is to be done after markers were sent.
enum Next {
    Again,
    Complete,
    /// A later coordinator has decided.
    Nothing,
}

/// Ends a transaction. Ends with the broker, or when its host does not decide any more.
pub(crate) async fn end(broker: Weak<Broker>, host: Weak<TransactionHost>, markers: Markers) {
    let mut left = markers.partitions.clone();
    let mut pause_ms = RETRY_MS.0;
    loop {
        let (Some(broker), Some(host)) = (broker.upgrade(), host.upgrade()) else { return };
        if host.is_ended() {
            return;
        }
        match send(&broker, &host, &markers, &mut left).await {
            Next::Nothing => return host.on_ended(&markers),
            Next::Complete if complete(&host, &markers).await => return host.on_ended(&markers),
            Next::Complete | Next::Again => {}
        }
        let clock = broker.world.clock.clone();
        drop((broker, host));
        clock.sleep_until(clock.after_millis(pause_ms)).await;
        pause_ms = (pause_ms * 2).min(RETRY_MS.1);
    }
}

async fn send(
    broker: &Arc<Broker>,
    host: &TransactionHost,
    markers: &Markers,
    left: &mut BTreeSet<TopicPartition>,
) -> Next {
    let marker = TransactionMarker {
        producer_id: markers.producer_id,
        producer_epoch: markers.producer_epoch,
        coordinator_epoch: host.coordinator_epoch(),
        committed: markers.committed,
        transaction_version: markers.version,
    };
    let by_leader = by_leader(broker, left);
    let asked = by_leader
        .into_iter()
        .map(|(node, partitions)| broker.txn_markers.ask(broker, node, MarkerFor { marker, partitions }));
    let written: Vec<Option<Written>> = join_all(asked).await.into_iter().flatten().collect();
    for (partition, code) in written.into_iter().flatten().flatten() {
        match code {
            ErrorCode::None
            // Nothing of a transaction can be in such a partition.
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedVersion => {
                left.remove(&partition);
            }
            ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced => {
                tracing::info!(id = %markers.id, %partition, ?code, "a later coordinator or epoch ends this transaction");
                return Next::Nothing;
            }
            code => {
                tracing::info!(id = %markers.id, %partition, ?code, "a transaction has not ended here yet");
            }
        }
    }
    if left.is_empty() { Next::Complete } else { Next::Again }
}

/// The partitions by who leads them. Of those that nobody leads for now nothing is said, and those that are deleted are
/// done.
fn by_leader(broker: &Broker, left: &mut BTreeSet<TopicPartition>) -> BTreeMap<NodeId, Vec<TopicPartition>> {
    let image = broker.image();
    let mut leaders: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
    left.retain(|partition| {
        let known = image.topic(&partition.topic).and_then(|topic| topic.partition(partition.partition));
        if let Some(leader) = known.map(|known| known.leader).filter(|leader| *leader >= 0) {
            leaders.entry(leader).or_default().push(partition.clone());
        }
        known.is_some()
    });
    leaders
}

/// Whether the coordinator need not be told again.
async fn complete(host: &TransactionHost, markers: &Markers) -> bool {
    let producer = Producer {
        id: markers.id.clone(),
        producer_id: markers.producer_id,
        producer_epoch: markers.producer_epoch,
    };
    let answer = host.ask(Request::Complete { producer }).await;
    // A coordinator that reads its log anew may have looked for open ends before this one was known to be there.
    !matches!(
        answer,
        Err(Error::CoordinatorNotAvailable | Error::CoordinatorLoadInProgress | Error::UnknownServerError)
    )
}
