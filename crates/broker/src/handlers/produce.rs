//! Produce (key 0): batches into partitions (KIP-98, KIP-467 for errors of single records, KIP-516 for topic ids).
//!
//! The batches are appended before this returns, in the order of the requests; only the wait for their durability
//! overlaps with later requests of the connection.

use crate::{
    Broker,
    acks::{Acks, Undone},
    context::Context,
    dispatch::{Begun, Refused, Reply},
    failure_code,
    partition::Partition,
};
use bytes::Bytes;
use model::{Timestamp, TopicId, limits};
use records::{Decompressor, Invalid};
use std::{cell::RefCell, sync::Arc};
use wire::{
    ErrorCode, ProduceRequest, ProduceResponse,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::{
        BatchIndexAndErrorMessage, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
    },
};

/// From this version on topics are named by their ids.
const VERSION_WITH_TOPIC_IDS: i16 = 13;
/// From this version on the answer says who leads a partition that another broker leads.
const VERSION_WITH_LEADERS: i16 = 10;
/// Before this version zstd is not understood.
const VERSION_WITH_ZSTD: i16 = 7;
/// The least time that is waited for durability, whatever the request says: with one replica Kafka acknowledges out of
/// the page cache, so that clients which send a timeout of 0 never meet it there.
const TIMEOUT_MS_MIN: i32 = 1000;
/// The client id under which Kafka's admin client may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

thread_local! {
    /// Decompression contexts are large and reusable; one for each reactor thread is enough.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
}

/// Begins a produce request that came in a frame of `frame_bytes`: appends, and gives the wait for the answer.
pub(crate) fn begin(
    broker: &Arc<Broker>,
    context: &Context,
    (request, frame_bytes): (ProduceRequest, usize),
    reply: Reply,
) -> Result<Begun, Refused> {
    let acks = Acks::new();
    let mut appending = Appending {
        broker,
        context,
        acks: &acks,
        required: request.acks,
        frame_bytes,
        now: broker.world.clock.wall(),
        slots: 0,
        failed: None,
        endpoints: Vec::new(),
    };
    let responses: Vec<_> = request.topic_data.into_iter().map(|topic| appending.topic(topic)).collect();
    let (failed, node_endpoints) = (appending.failed, appending.endpoints);
    if request.acks == 0 {
        return match failed {
            Some(error) => Err(Refused::Unacknowledged(error)),
            None => Ok(Begun::Silent),
        };
    }
    let mut response = ProduceResponse { responses, node_endpoints, ..ProduceResponse::default() };
    let mut settled = acks.wait();
    let timeout_ms = i64::from(request.timeout_ms.max(TIMEOUT_MS_MIN));
    let clock = broker.world.clock.clone();
    let deadline = clock.after_millis(timeout_ms);
    Ok(Begun::Overlapping(Box::pin(async move {
        let undone = tokio::select! {
            biased;
            undone = &mut settled => undone,
            () = clock.sleep_until(deadline) => settled.undone(),
        };
        fail(&mut response, undone);
        reply.frame(&response)
    })))
}

struct Appending<'a> {
    broker: &'a Arc<Broker>,
    context: &'a Context,
    acks: &'a Arc<Acks>,
    required: i16,
    frame_bytes: usize,
    now: Timestamp,
    slots: usize,
    failed: Option<ErrorCode>,
    /// Of the leaders of partitions that are not led here.
    endpoints: Vec<NodeEndpoint>,
}

/// Why a partition's batch was refused.
struct Failed {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
}

impl Appending<'_> {
    fn topic(&mut self, topic: TopicProduceData) -> TopicProduceResponse {
        let by_id = self.context.version >= VERSION_WITH_TOPIC_IDS;
        let found = if by_id {
            self.broker.partitions.topic_by_id(topic.topic_id)
        } else {
            self.broker.partitions.topic(&topic.name)
        };
        let unknown = if by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let named = (topic.topic_id, topic.name.as_str());
        let partition_responses = topic.partition_data.into_iter().map(|data| {
            let slot = self.slots;
            self.slots += 1;
            let index = data.index;
            let result = match found.as_ref().and_then(|found| found.partition(index)) {
                Some(partition) => self.partition(&partition, data, slot),
                // Only here the image is asked: what is not at hand is with another broker, or nowhere.
                None => Err(match super::leader_of(self.broker, self.context, named, index) {
                    Some(_) => ErrorCode::NotLeaderOrFollower,
                    None if found.is_some() => ErrorCode::UnknownTopicOrPartition,
                    None => unknown,
                }
                .into()),
            };
            result.unwrap_or_else(|failed| {
                self.failed = Some(failed.code);
                let mut response = PartitionProduceResponse {
                    index,
                    error_code: failed.code.to_i16(),
                    base_offset: -1,
                    record_errors: failed.records,
                    error_message: failed.message,
                    ..PartitionProduceResponse::default()
                };
                if failed.code == ErrorCode::NotLeaderOrFollower {
                    self.tell_leader(named, &mut response);
                }
                response
            })
        });
        let partition_responses = partition_responses.collect();
        drop(found);
        TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, partition_responses }
    }

    /// Who leads the partition, so that the client need not ask for metadata (KIP-951).
    fn tell_leader(&mut self, topic: (TopicId, &str), response: &mut PartitionProduceResponse) {
        let leader = super::leader_of(self.broker, self.context, topic, response.index);
        let Some(leader) = leader.filter(|_| self.context.version >= VERSION_WITH_LEADERS) else { return };
        response.current_leader.leader_id = leader.node;
        response.current_leader.leader_epoch = leader.epoch;
        let is_told = self.endpoints.iter().any(|endpoint| endpoint.node_id == leader.node);
        if let Some((host, port, rack)) = leader.endpoint.filter(|_| !is_told) {
            self.endpoints.push(NodeEndpoint { node_id: leader.node, host, port, rack });
        }
    }

    /// The batch in memory of its own if it is a small part of the frame: the tail that will keep it counts the batch
    /// and not the frame.
    fn unpinned(&self, payload: Bytes) -> Bytes {
        let is_small =
            payload.len().saturating_mul(limits::FRAME_BYTES_PER_BATCH_BYTE_MAX) < self.frame_bytes;
        // The tail copies the smallest ones anyway.
        if is_small && payload.len() >= limits::TAIL_COPY_BYTES_MAX {
            Bytes::copy_from_slice(&payload)
        } else {
            payload
        }
    }

    fn partition(
        &self,
        partition: &Arc<Partition>,
        data: PartitionProduceData,
        slot: usize,
    ) -> Result<PartitionProduceResponse, Failed> {
        if !matches!(self.required, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        let is_admin = self.context.client_id.as_deref() == Some(ADMIN_CLIENT_ID);
        if partition.is_internal() && !is_admin {
            let message =
                Some(format!("{} is kept by the brokers; clients cannot write to it", partition.topic()));
            return Err(Failed { message, ..ErrorCode::InvalidTopicException.into() });
        }
        let payload = self.unpinned(data.records.and_then(|records| records.to_bytes()).unwrap_or_default());
        let rules = partition.rules(self.now, self.context.version >= VERSION_WITH_ZSTD);
        let checked =
            DECOMPRESSOR.with_borrow_mut(|decompressor| records::check(payload, &rules, decompressor));
        let checked = checked.map_err(refusal)?;
        if checked.header().attributes.is_transactional() {
            // Nobody would ever end it, and readers of committed records would wait behind it for good.
            let message =
                Some("there are no transactions on this broker: InitProducerId refuses them".into());
            return Err(Failed { message, ..ErrorCode::InvalidTxnState.into() });
        }
        let bytes = checked.bytes();
        let is_wait_wanted = self.required != 0;
        if is_wait_wanted {
            self.acks.open(slot);
        }
        let settled = is_wait_wanted.then(|| (self.acks.clone() as Arc<dyn crate::acks::Settled>, slot));
        match partition.produce(self.now, checked, settled) {
            Ok(appended) => {
                self.broker.metrics.batches_in.inc();
                self.broker.metrics.bytes_in.add(bytes as u64);
                Ok(PartitionProduceResponse {
                    index: data.index,
                    base_offset: appended.base_offset,
                    log_append_time_ms: appended.log_append_time,
                    log_start_offset: appended.log_start_offset,
                    ..PartitionProduceResponse::default()
                })
            }
            Err(refused) => {
                if is_wait_wanted {
                    crate::acks::Settled::settle(&**self.acks, slot, true);
                }
                let message = Some(refused.to_string());
                Err(Failed { message, ..failure_code::of_partition(&refused).into() })
            }
        }
    }
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

fn refusal(invalid: Invalid) -> Failed {
    let faults = match &invalid {
        Invalid::EachRecord(faults) => faults.as_slice(),
        _ => &[],
    };
    let records = faults.iter().map(|fault| BatchIndexAndErrorMessage {
        batch_index: fault.batch_index,
        batch_index_error_message: Some(fault.why.to_string()),
    });
    Failed {
        code: failure_code::of_invalid(&invalid),
        message: Some(invalid.to_string()),
        records: records.collect(),
    }
}

/// The batches of these slots are not durable. As Kafka does, the answer keeps what else is known of them.
fn fail(response: &mut ProduceResponse, undone: Vec<(usize, Undone)>) {
    let mut undone = undone.into_iter().peekable();
    let partitions = response.responses.iter_mut().flat_map(|topic| topic.partition_responses.iter_mut());
    for (slot, partition) in partitions.enumerate() {
        let Some((_, why)) = undone.next_if(|(undone, _)| *undone == slot) else { continue };
        let (error, message) = match why {
            Undone::Waiting => (ErrorCode::RequestTimedOut, None),
            Undone::Deleted => (ErrorCode::UnknownTopicOrPartition, None),
            Undone::Failed => {
                partition.base_offset = -1;
                let why = "the records could not be made durable; see the broker's log";
                (ErrorCode::KafkaStorageError, Some(why))
            }
        };
        partition.error_code = error.to_i16();
        partition.error_message = message.map(str::to_owned);
    }
}
