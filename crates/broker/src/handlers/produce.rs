//! Produce (key 0): batches into partitions (KIP-98, KIP-467 for errors of single records, KIP-516 for topic ids).
//!
//! The batches are appended before this returns, in the order of the requests; only the wait for their durability
//! overlaps with later requests of the connection.

mod transactional;

use crate::{
    Broker,
    acks::{Acks, Undone},
    client_quotas,
    context::Context,
    dispatch::{Begun, Refused, Reply},
    failure_code,
    partition::{Copies, Partition},
    partitions::TopicPartitions,
    txn_verification::Verified,
};
use log::Guard;
use model::{Offset, Timestamp, limits};
use records::{Budget, Checked, Decompressor, Glance, Invalid, Rules, Unchecked};
use std::{cell::RefCell, sync::Arc};
use stdx::Part;
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
/// The acks that all replicas in sync give.
const ALL_IN_SYNC: i16 = -1;
/// The client id under which Kafka's admin client may write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

thread_local! {
    /// Decompression contexts are large and reusable; one for each thread of the reactor and each worker is enough.
    static DECOMPRESSOR: RefCell<Decompressor> = RefCell::new(Decompressor::default());
}

/// Begins a produce request that came in a frame of `frame_bytes`: appends, and gives the wait for the answer. Batches
/// that take more than the budget to check are checked by workers first.
///
/// Where a transaction begins in a partition, its coordinator is asked first.
pub(crate) fn begin(
    broker: &Arc<Broker>,
    context: &Context,
    (mut request, frame_bytes): (ProduceRequest, usize),
    budget: &mut Budget,
    reply: Reply,
) -> Result<Begun, Refused> {
    let mut refused = refused_as_a_whole(broker, context, &request);
    keep_last_of_each(&mut request.topic_data);
    let mut verified = Verified::default();
    if refused.is_none() {
        match transactional::find(broker, context, &request) {
            Err(failed) => refused = Some(failed),
            Ok(None) => {}
            Ok(Some((txn, partitions))) => {
                let asked = verified.begin(broker, &txn, partitions);
                if !asked.is_empty() {
                    let (broker, context) = (broker.clone(), context.clone());
                    return Ok(Begun::Checking(Box::pin(async move {
                        verified.ask(&broker, &txn, asked, true).await;
                        let mut budget = Budget::new(limits::CHECKED_BYTES_PER_TURN);
                        let request = (request, frame_bytes);
                        match append(&broker, &context, request, &mut budget, (reply, refused, verified))? {
                            Begun::Checking(later) => later.await,
                            begun => Ok(begun),
                        }
                    })));
                }
            }
        }
    }
    append(broker, context, (request, frame_bytes), budget, (reply, refused, verified))
}

fn append(
    broker: &Arc<Broker>,
    context: &Context,
    (request, frame_bytes): (ProduceRequest, usize),
    budget: &mut Budget,
    (reply, refused, verified): (Reply, Option<Failed>, Verified),
) -> Result<Begun, Refused> {
    let mut promise = Promise {
        acks: Acks::new(),
        required: request.acks,
        timeout_ms: i64::from(request.timeout_ms.max(TIMEOUT_MS_MIN)),
        frame_bytes,
        reply,
        failed: None,
    };
    let mut appending = Appending {
        broker,
        context,
        promise: &mut promise,
        refused,
        verified,
        frame_bytes,
        now: broker.world.clock.wall(),
        slots: 0,
        budget,
        postponed: Vec::new(),
    };
    let topics = request.topic_data.into_iter().enumerate();
    let responses = topics.map(|(place, topic)| appending.topic(place, topic)).collect();
    let postponed = appending.postponed;
    let mut response = ProduceResponse { responses, ..ProduceResponse::default() };
    if postponed.is_empty() {
        return promise.keep(broker, context, response);
    }
    let (broker, context) = (broker.clone(), context.clone());
    Ok(Begun::Checking(Box::pin(async move {
        for postponed in postponed {
            let (topic, place) = postponed.place;
            let row = postponed.append(&broker, &mut promise).await;
            let topic = response.responses.get_mut(topic);
            if let Some(slot) = topic.and_then(|topic| topic.partition_responses.get_mut(place)) {
                *slot = row;
            }
        }
        promise.keep(&broker, &context, response)
    })))
}

/// What the client is to be told, and when.
struct Promise {
    acks: Arc<Acks>,
    required: i16,
    timeout_ms: i64,
    /// Of the whole request.
    frame_bytes: usize,
    reply: Reply,
    failed: Option<ErrorCode>,
}

impl Promise {
    /// Everything is appended that ever will be: waits until it is durable.
    fn keep(
        self,
        broker: &Broker,
        context: &Context,
        mut response: ProduceResponse,
    ) -> Result<Begun, Refused> {
        let throttle_ms = client_quotas::on_produced(broker, context, self.frame_bytes, self.required != 0);
        if self.required == 0 {
            return match self.failed {
                Some(error) => Err(Refused::Unacknowledged(error)),
                None => Ok(Begun::Silent),
            };
        }
        if self.failed.is_some() && context.version >= VERSION_WITH_LEADERS {
            tell_leaders(broker, context, &mut response);
        }
        let (reply, mut settled) = (self.reply, self.acks.wait());
        let clock = broker.world.clock.clone();
        let waiting = broker.catching_up.begin(clock.now(), self.frame_bytes);
        let deadline = clock.after_millis(self.timeout_ms);
        let held_until = clock.now().saturating_add(throttle_ms.saturating_mul(1_000_000));
        Ok(Begun::Overlapping(Box::pin(async move {
            let undone = tokio::select! {
                biased;
                undone = &mut settled => undone,
                () = clock.sleep_until(deadline) => settled.undone(),
            };
            if undone.is_empty() {
                waiting.acknowledged(clock.now());
            }
            drop(waiting);
            fail(&mut response, undone);
            if throttle_ms > 0 {
                // What has passed while it was written down counts.
                let left_ms = held_until.saturating_sub(clock.now()).div_ceil(1_000_000);
                response.throttle_time_ms = client_quotas::told(left_ms);
            }
            reply.frame(&response)
        })))
    }

    /// Appends a batch; gives its row of the answer.
    fn append(
        &mut self,
        broker: &Broker,
        to: &Destination,
        checked: Result<Checked, Invalid>,
    ) -> PartitionProduceResponse {
        let result = checked.map_err(refusal).and_then(|checked| self.try_append(broker, to, checked));
        result.unwrap_or_else(|failed| {
            // In Kafka's order: a partition that is offline or led elsewhere is not asked what it thinks of the batch.
            let failed = match to.partition.offsets() {
                Some(_) if failed.is_of_batch && !to.partition.is_led_here() => {
                    ErrorCode::NotLeaderOrFollower.into()
                }
                Some(offsets) if is_told_start_offset(failed.code) => {
                    Failed { log_start_offset: offsets.start, ..failed }
                }
                Some(_) => failed,
                None if failed.is_of_batch => ErrorCode::KafkaStorageError.into(),
                None => failed,
            };
            self.row_of_failed(to.partition.index(), failed)
        })
    }

    fn try_append(
        &self,
        broker: &Broker,
        to: &Destination,
        checked: Checked,
    ) -> Result<PartitionProduceResponse, Failed> {
        let (bytes, slot) = (checked.bytes(), to.slot);
        let is_wait_wanted = self.required != 0;
        if is_wait_wanted {
            self.acks.open(slot);
        }
        let settled = is_wait_wanted.then(|| (self.acks.clone() as Arc<dyn crate::acks::Settled>, slot));
        let copies = if self.required == ALL_IN_SYNC { Copies::InSync } else { Copies::Own };
        match to.partition.produce(to.now, checked, (copies, to.guard), settled) {
            Ok(appended) => {
                broker.metrics.batches_in.inc();
                broker.metrics.bytes_in.add(bytes as u64);
                Ok(PartitionProduceResponse {
                    index: to.partition.index(),
                    base_offset: appended.base_offset,
                    log_append_time_ms: appended.log_append_time,
                    log_start_offset: appended.log_start_offset,
                    ..PartitionProduceResponse::default()
                })
            }
            Err(refused) => {
                if is_wait_wanted {
                    crate::acks::Settled::settle(&*self.acks, slot, Ok(()));
                }
                let message = Some(refused.to_string());
                Err(Failed { message, ..failure_code::of_partition(&refused).into() })
            }
        }
    }

    fn row_of_failed(&mut self, index: i32, failed: Failed) -> PartitionProduceResponse {
        self.failed = Some(failed.code);
        PartitionProduceResponse {
            index,
            error_code: failed.code.to_i16(),
            base_offset: -1,
            log_start_offset: failed.log_start_offset,
            record_errors: failed.records,
            error_message: failed.message,
            ..PartitionProduceResponse::default()
        }
    }
}

/// Where a batch goes, and when it came.
struct Destination {
    partition: Arc<Partition>,
    slot: usize,
    now: Timestamp,
    /// What a batch of a transaction is to show.
    guard: Option<Guard>,
}

/// A batch that takes too long to check on the reactor.
struct Postponed {
    /// Of its row: the topic's place in the answer, and the partition's place in the topic.
    place: (usize, usize),
    to: Destination,
    unchecked: Unchecked,
    rules: Rules,
}

impl Postponed {
    /// Has the batch checked by a worker, and appends it.
    async fn append(self, broker: &Broker, promise: &mut Promise) -> PartitionProduceResponse {
        let Self { to, unchecked, rules, .. } = self;
        let check =
            move || DECOMPRESSOR.with_borrow_mut(|decompressor| unchecked.check(&rules, decompressor));
        match broker.on_worker(check).await {
            Some(checked) => promise.append(broker, &to, checked),
            None => promise.row_of_failed(to.partition.index(), ErrorCode::UnknownServerError.into()),
        }
    }
}

struct Appending<'a> {
    broker: &'a Arc<Broker>,
    context: &'a Context,
    promise: &'a mut Promise,
    /// Why none of the batches is taken.
    refused: Option<Failed>,
    /// What batches of transactions are to show.
    verified: Verified,
    frame_bytes: usize,
    now: Timestamp,
    slots: usize,
    budget: &'a mut Budget,
    postponed: Vec<Postponed>,
}

/// Why a partition's batch was refused.
#[derive(Clone)]
struct Failed {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<BatchIndexAndErrorMessage>,
    log_start_offset: Offset,
    /// The batch itself is at fault.
    is_of_batch: bool,
}

impl Appending<'_> {
    fn topic(&mut self, place: usize, topic: TopicProduceData) -> TopicProduceResponse {
        let by_id = self.context.version >= VERSION_WITH_TOPIC_IDS;
        let found = topic_of(self.broker, self.context, &topic);
        let absent = |index| match by_id {
            true => self.broker.absent_by_id(topic.topic_id, index),
            false => self.broker.absent(&topic.name, index),
        };
        let partitions = topic.partition_data.into_iter().enumerate();
        let partition_responses = partitions.map(|(in_topic, data)| {
            let slot = self.slots;
            self.slots += 1;
            let index = data.index;
            let partition = || found.as_ref().and_then(|found| found.partition(index));
            // Only here the image is asked: what is not at hand is with another broker, or nowhere.
            let found = match &self.refused {
                Some(refused) => Err(refused.clone()),
                None => partition().ok_or_else(|| absent(index).into()),
            };
            let to = found.map(|partition| Destination { partition, slot, now: self.now, guard: None });
            let row = to.and_then(|to| self.partition(to, data, (place, in_topic)));
            row.unwrap_or_else(|failed| self.promise.row_of_failed(index, failed))
        });
        let partition_responses = partition_responses.collect();
        drop(found);
        TopicProduceResponse { name: topic.name, topic_id: topic.topic_id, partition_responses }
    }

    /// The batch in memory of its own if it is a small part of the frame: the tail that will keep it counts the batch
    /// and not the frame.
    fn unpinned(&self, batch: Unchecked) -> Unchecked {
        let is_small =
            batch.bytes().saturating_mul(limits::FRAME_BYTES_PER_BATCH_BYTE_MAX) < self.frame_bytes;
        // The tail copies the smallest ones anyway.
        if is_small && batch.bytes() >= limits::TAIL_COPY_BYTES_MAX { batch.copied() } else { batch }
    }

    /// The row of one partition, empty if its batch is postponed. Errors are looked for in Kafka's order.
    fn partition(
        &mut self,
        mut to: Destination,
        data: PartitionProduceData,
        place: (usize, usize),
    ) -> Result<PartitionProduceResponse, Failed> {
        let zstd_allowed = self.context.version >= VERSION_WITH_ZSTD;
        let payload = data.records.and_then(|records| records.to_bytes()).unwrap_or_default();
        let unchecked = self.unpinned(Unchecked::new(payload, zstd_allowed).map_err(refusal)?);
        if unchecked.attributes().is_transactional() {
            let guard = self.verified.guard(&to.partition);
            to.guard = guard.map_err(|code| transactional::refusal(self.context.version, code))?;
        }
        if !matches!(self.promise.required, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        let is_admin = self.context.client_id.as_deref() == Some(ADMIN_CLIENT_ID);
        if to.partition.is_internal() && !is_admin {
            let topic = to.partition.topic();
            let message = Some(format!("{topic} is kept by the brokers; clients cannot write to it"));
            return Err(Failed { message, ..ErrorCode::InvalidTopicException.into() });
        }
        let rules = to.partition.rules(self.now, zstd_allowed);
        let checked = if self.postponed.is_empty() {
            DECOMPRESSOR
                .with_borrow_mut(|decompressor| unchecked.check_within(&rules, self.budget, decompressor))
        } else {
            // Behind one that waits, so that the request is appended in its order.
            Err(unchecked)
        };
        match checked {
            Ok(checked) => Ok(self.promise.append(self.broker, &to, checked)),
            Err(unchecked) => {
                let row = PartitionProduceResponse { index: data.index, ..Default::default() };
                self.postponed.push(Postponed { place, to, unchecked, rules });
                Ok(row)
            }
        }
    }
}

/// Of a partition that is named more than once only the last batch counts, as in Kafka; mostly there is none.
fn keep_last_of_each(topics: &mut Vec<TopicProduceData>) {
    topics.retain(|topic| !topic.partition_data.is_empty());
    let names = topics.iter().enumerate().flat_map(|(place, topic)| {
        let named =
            move |data: &PartitionProduceData| (topic.topic_id, topic.name.as_str(), data.index, place);
        topic.partition_data.iter().map(named)
    });
    if names.clone().nth(1).is_none() {
        return;
    }
    let mut sorted: Vec<_> = names.map(|(id, name, index, _)| (id, name, index)).collect();
    sorted.sort_unstable();
    let is_twice = |pair: &[_]| matches!(pair, [one, other] if one == other);
    if !sorted.windows(2).any(is_twice) {
        return;
    }
    let mut seen = stdx::Set::default();
    for topic in topics.iter_mut().rev() {
        let (id, name) = (topic.topic_id, topic.name.clone());
        topic.partition_data.reverse();
        topic.partition_data.retain(|data| seen.insert((id, name.clone(), data.index)));
        topic.partition_data.reverse();
    }
    topics.retain(|topic| !topic.partition_data.is_empty());
}

fn topic_of(broker: &Broker, context: &Context, topic: &TopicProduceData) -> Option<Arc<TopicPartitions>> {
    match context.version >= VERSION_WITH_TOPIC_IDS {
        true => broker.partitions.topic_by_id(topic.topic_id),
        false => broker.partitions.topic(&topic.name),
    }
}

/// Why nothing of the request is taken, whatever its other batches are. Kafka looks for transactions in all batches
/// before anything else, up to the first one it finds, and fails over what it meets on the way.
fn refused_as_a_whole(broker: &Broker, context: &Context, request: &ProduceRequest) -> Option<Failed> {
    let zstd_allowed = context.version >= VERSION_WITH_ZSTD;
    let (mut is_transactional, mut is_breaking) = (false, false);
    for topic in &request.topic_data {
        for data in &topic.partition_data {
            let Some(Part::Memory(payload)) = data.records.as_ref().and_then(|records| records.iter().next())
            else {
                continue;
            };
            match Unchecked::glance(payload, zstd_allowed) {
                Ok(Glance::Usual) => {}
                Ok(Glance::Transactional) => is_transactional = true,
                Ok(Glance::Breaking) => {
                    let topic = topic_of(broker, context, topic);
                    is_breaking |= topic.is_some_and(|topic| topic.partition(data.index).is_some());
                }
                Err(invalid) if !is_transactional => return Some(refusal(invalid)),
                Err(_) => {}
            }
        }
    }
    if is_transactional && request.transactional_id.is_none() {
        return Some(without_transactional_id());
    }
    is_breaking.then(|| ErrorCode::UnknownServerError.into())
}

fn without_transactional_id() -> Failed {
    let message = Some("batches of a transaction need its transactional id".into());
    Failed { message, ..ErrorCode::TransactionalIdAuthorizationFailed.into() }
}

/// Whether the row of an error tells where the log starts: where Kafka has come to know it before it refuses.
fn is_told_start_offset(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::KafkaStorageError
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::UnknownTopicOrPartition
    )
}

impl From<ErrorCode> for Failed {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new(), log_start_offset: -1, is_of_batch: false }
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
        log_start_offset: -1,
        is_of_batch: true,
    }
}

/// Who leads the partitions that are not led here, so that the client need not ask for metadata (KIP-951).
fn tell_leaders(broker: &Broker, context: &Context, response: &mut ProduceResponse) {
    for topic in &mut response.responses {
        let named = (topic.topic_id, topic.name.as_str());
        let elsewhere =
            |row: &&mut PartitionProduceResponse| row.error_code == ErrorCode::NotLeaderOrFollower.to_i16();
        for row in topic.partition_responses.iter_mut().filter(elsewhere) {
            let Some(leader) = super::leader_of(broker, context, named, row.index) else { continue };
            row.current_leader.leader_id = leader.node;
            row.current_leader.leader_epoch = leader.epoch;
            let is_told = response.node_endpoints.iter().any(|endpoint| endpoint.node_id == leader.node);
            if let Some((host, port, rack)) = leader.endpoint.filter(|_| !is_told) {
                response.node_endpoints.push(NodeEndpoint { node_id: leader.node, host, port, rack });
            }
        }
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
            Undone::NotLeader => {
                partition.base_offset = -1;
                (ErrorCode::NotLeaderOrFollower, None)
            }
            Undone::TooFewInSync => {
                partition.base_offset = -1;
                (ErrorCode::NotEnoughReplicasAfterAppend, None)
            }
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
