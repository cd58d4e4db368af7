//! A transactional producer that does what it is told, and what readers see of it.

use super::{BatchSpec, Client, Topic, batch_of, bytes_of, code, fetch, produce, values};
use std::collections::{BTreeMap, BTreeSet};
use wire::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, EndTxnResponse, ErrorCode,
    FindCoordinatorRequest, InitProducerIdRequest, OffsetFetchRequest, ProduceRequest,
    TxnOffsetCommitRequest,
    add_partitions_to_txn_request::AddPartitionsToTxnTopic,
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    produce_response::PartitionProduceResponse,
    txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
};

/// A producer with its transactional id.
#[derive(Debug, Clone)]
pub(crate) struct Transactional {
    pub(crate) id: String,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    next: BTreeMap<i32, i32>,
}

impl Transactional {
    /// Takes over a transactional id; waits while what was open is ended.
    pub(crate) async fn init(client: &mut Client, id: &str) -> Self {
        Self::init_with(client, id, 60_000).await
    }

    /// ... whose transactions may be open for so long.
    pub(crate) async fn init_with(client: &mut Client, id: &str, transaction_timeout_ms: i32) -> Self {
        let find = FindCoordinatorRequest {
            key_type: 1,
            coordinator_keys: vec![id.into()],
            ..FindCoordinatorRequest::default()
        };
        assert_eq!(client.call(6, &find).await.coordinators[0].error_code, 0);
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms,
            ..InitProducerIdRequest::default()
        };
        for _ in 0..1000 {
            let answer = client.call(5, &request).await;
            match answer.error_code {
                0 => {
                    let (producer_id, epoch) = (answer.producer_id, answer.producer_epoch);
                    return Self { id: id.into(), producer_id, epoch, next: BTreeMap::new() };
                }
                error if error == code(ErrorCode::ConcurrentTransactions) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                error => panic!("InitProducerId: {error}"),
            }
        }
        panic!("the transaction before does not end");
    }

    /// The next batch for a partition.
    pub(crate) fn batch(&mut self, partition: i32, values: &[&str]) -> bytes::Bytes {
        let next = self.next.entry(partition).or_default();
        let producer = Some((self.producer_id, self.epoch, *next));
        *next += values.len() as i32;
        batch_of(&BatchSpec { values, producer, is_transactional: true, ..BatchSpec::default() })
    }

    /// A request with the next batch for a partition.
    pub(crate) fn produce(&mut self, topic: &Topic, partition: i32, values: &[&str]) -> ProduceRequest {
        let batch = self.batch(partition, values);
        let request = produce(topic, partition, -1, batch);
        ProduceRequest { transactional_id: Some(self.id.clone()), ..request }
    }

    /// Produces into partition 0, which from version 12 on adds it to the transaction.
    pub(crate) async fn send(
        &mut self,
        client: &mut Client,
        version: i16,
        topic: &Topic,
        values: &[&str],
    ) -> PartitionProduceResponse {
        let request = self.produce(topic, 0, values);
        client.call(version, &request).await.responses.remove(0).partition_responses.remove(0)
    }

    /// Adds partitions as clients before KIP-890 do.
    pub(crate) async fn add(
        &self,
        client: &mut Client,
        version: i16,
        topic: &Topic,
        partitions: &[i32],
    ) -> Vec<i16> {
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: self.producer_id,
            v3_and_below_producer_epoch: self.epoch,
            v3_and_below_topics: vec![AddPartitionsToTxnTopic {
                name: topic.name.clone(),
                partitions: partitions.to_vec(),
            }],
            ..AddPartitionsToTxnRequest::default()
        };
        let mut response = client.call(version, &request).await;
        let results = response.results_by_topic_v3_and_below.remove(0).results_by_partition;
        results.into_iter().map(|result| result.partition_error_code).collect()
    }

    /// A request that ends the transaction.
    pub(crate) fn end_request(&self, committed: bool) -> EndTxnRequest {
        EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            committed,
        }
    }

    /// Ends the transaction; the next one has the epoch that the answer gives.
    pub(crate) async fn end(&mut self, client: &mut Client, version: i16, committed: bool) -> EndTxnResponse {
        let answer = client.call(version, &self.end_request(committed)).await;
        self.on_ended(version, &answer);
        answer
    }

    /// Goes on with the epoch that the answer gives.
    pub(crate) fn on_ended(&mut self, version: i16, answer: &EndTxnResponse) {
        if answer.error_code == 0 && version >= 5 {
            (self.producer_id, self.epoch) = (answer.producer_id, answer.producer_epoch);
            self.next.clear();
        }
    }

    /// Ends the transaction, also if the one before is still being ended.
    pub(crate) async fn end_patiently(&mut self, client: &mut Client, version: i16, committed: bool) {
        for _ in 0..1000 {
            match self.end(client, version, committed).await.error_code {
                0 => return,
                error if error == code(ErrorCode::ConcurrentTransactions) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                error => panic!("EndTxn: {error}"),
            }
        }
        panic!("the transaction before does not end");
    }

    /// Adds the partition of a group's offsets, as clients before KIP-890 do.
    pub(crate) async fn add_offsets(&self, client: &mut Client, version: i16, group: &str) -> i16 {
        let request = AddOffsetsToTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer_id,
            producer_epoch: self.epoch,
            group_id: group.into(),
        };
        client.call(version, &request).await.error_code
    }
}

/// A request that commits the offset of partition 0 in a transaction.
pub(crate) fn offsets_in_transaction(
    producer: &Transactional,
    group: &str,
    topic: &Topic,
    committed_offset: i64,
) -> TxnOffsetCommitRequest {
    let partition = TxnOffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_leader_epoch: -1,
        committed_metadata: Some("note".into()),
    };
    TxnOffsetCommitRequest {
        transactional_id: producer.id.clone(),
        group_id: group.into(),
        producer_id: producer.producer_id,
        producer_epoch: producer.epoch,
        topics: vec![TxnOffsetCommitRequestTopic {
            name: topic.name.clone(),
            topic_id: topic.id,
            partitions: vec![partition],
        }],
        ..TxnOffsetCommitRequest::default()
    }
}

/// Error and committed offset of partition 0, as a reader that wants stable offsets sees it, or any.
pub(crate) async fn stable_offset(
    client: &mut Client,
    group: &str,
    topic: &Topic,
    require_stable: bool,
) -> (i16, i64) {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.clone(),
        partition_indexes: vec![0],
        ..Default::default()
    }];
    let groups =
        vec![OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() }];
    let request = OffsetFetchRequest { groups, require_stable, ..Default::default() };
    let mut group = client.call(9, &request).await.groups.remove(0);
    assert_eq!(group.error_code, 0);
    let partition = group.topics.remove(0).partitions.remove(0);
    (partition.error_code, partition.committed_offset)
}

/// What a reader of committed records keeps of partition 0: the values outside of aborted transactions, and how far it
/// has come.
pub(crate) async fn committed(client: &mut Client, topic: &Topic) -> (Vec<String>, i64) {
    let mut at = 0;
    let mut kept = Vec::new();
    // Of each producer the first offsets of its aborted transactions, until their markers are passed.
    let mut inside: BTreeSet<(i64, i64)> = BTreeSet::new();
    loop {
        let request = wire::FetchRequest { isolation_level: 1, ..fetch(topic, 0, at) };
        let data = client.call(18, &request).await.responses.remove(0).partitions.remove(0);
        assert_eq!(data.error_code, 0);
        let mut bytes = bytes_of(&data);
        if bytes.is_empty() {
            assert_eq!(at, data.last_stable_offset);
            return (kept, at);
        }
        inside.extend(
            data.aborted_transactions
                .unwrap_or_default()
                .iter()
                .map(|one| (one.producer_id, one.first_offset)),
        );
        while let Some(batch) = records::Batch::split_off(&mut bytes) {
            let header = batch.header;
            at = header.next_offset();
            if header.attributes.is_control() {
                inside.retain(|(id, first)| *id != header.producer_id || *first > header.base_offset);
                continue;
            }
            let of_producer = (header.producer_id, 0)..=(header.producer_id, header.base_offset);
            let is_aborted =
                header.attributes.is_transactional() && inside.range(of_producer).next().is_some();
            if !is_aborted {
                kept.extend(values(batch.bytes).into_iter().map(|(_, value)| value));
            }
        }
    }
}
