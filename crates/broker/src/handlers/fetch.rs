//! Fetch (key 1): records of many partitions in one answer; waits until there is enough (KIP-74 for the sizes, KIP-227
//! for sessions, KIP-98 for isolation, KIP-516 for topic ids, KIP-392 for reading in one's own rack). Replicas that follow
//! fetch here too: what they ask for tells how far they have come.

use crate::{
    Broker, client_quotas,
    context::Context,
    failure_code,
    fetch_sessions::{Key, Opened, Told, Wanted},
    fetch_wait::FetchWait,
    partition::{Cold, Isolation, Partition, READ_TRIES, Read, Reader, Records, Refused, Watch},
};
use metadata::Image;
use model::NodeId;
use std::sync::Arc;
use stdx::{Map, Parts};
use wire::{
    ErrorCode, FetchRequest, FetchResponse, Message,
    fetch_response::{AbortedTransaction, FetchableTopicResponse, NodeEndpoint, PartitionData},
};

/// From this version on topics are named by their ids.
const VERSION_WITH_TOPIC_IDS: i16 = 13;
/// From this version on consumers may read from followers (KIP-392).
const VERSION_WITH_FOLLOWERS: i16 = 11;
/// From this version on followers say who they are with their broker epoch (KIP-903).
const VERSION_WITH_REPLICA_STATE: i16 = 15;
/// From this version on the answer says who leads a partition that another broker leads.
const VERSION_WITH_LEADERS: i16 = 16;
/// The client is to go on reading where it is.
const NO_REPLICA: NodeId = -1;
/// Up to this version clients do not know KAFKA_STORAGE_ERROR and must hear something that makes them try again.
const VERSION_WITHOUT_STORAGE_ERROR: i16 = 5;

pub(crate) async fn handle(broker: &Arc<Broker>, context: &Context, request: FetchRequest) -> FetchResponse {
    if replica(context, &request).0 < 0 {
        broker.metrics.requests_of_clients.inc();
    }
    let by_id = context.version >= VERSION_WITH_TOPIC_IDS;
    let session = (request.session_id, request.session_epoch);
    let (wanted, forgotten) = (wanted(&request), forgotten(&request));
    let now_ms = broker.now_ms();
    let opened = match broker.sessions.lock().open(now_ms, session, by_id, wanted, &forgotten) {
        Ok(opened) => opened,
        Err(failure) => return refusal(failure_code::of_session(failure)),
    };
    let found: Vec<_> = opened.partitions.iter().map(|(key, _)| resolve(broker, key, by_id)).collect();
    let Some(limits) = Limits::new(broker, context, &request) else {
        return match found.iter().any(Result::is_ok) {
            true => refusal_of_all(context, request),
            // Nothing is read: what is said of what does not exist does not depend on it.
            false => {
                respond(broker, context, opened, found.into_iter().filter_map(Result::err).map(Err).collect())
            }
        };
    };
    let answers = read_enough(broker, &opened, &found, &limits).await;
    if matches!(limits.reader, Asking::Consumer { .. })
        && client_quotas::is_fetch_held_back(broker, context, || bytes_of(&answers))
    {
        return held_back(broker, opened);
    }
    let response = respond(broker, context, opened, answers);
    count_throttled(broker, context, &limits.reader, &response);
    response
}

/// Bytes that a partition with records takes in an answer beside them, more or less.
const PARTITION_BYTES: usize = 64;

/// How large an answer is.
fn bytes_of(answers: &[Answer]) -> usize {
    let sizes = answers.iter().flatten().map(Read::bytes).filter(|bytes| *bytes > 0);
    sizes.map(|bytes| bytes + PARTITION_BYTES).sum()
}

/// What is told instead of an answer that is too much for now: nothing, so that the client asks for the same again. Its
/// session has taken note of the request and of no answer; one that was to begin does not.
fn held_back(broker: &Broker, opened: Opened) -> FetchResponse {
    match broker.sessions.lock().id_of(&opened) {
        Ok(session_id) => FetchResponse { session_id, ..FetchResponse::default() },
        Err(failure) => refusal(failure_code::of_session(failure)),
    }
}

struct Limits {
    bytes_max: usize,
    bytes_min: usize,
    deadline: env::Deadline,
    waits: bool,
    reader: Asking,
    near: Option<Near>,
}

/// What is read of one partition, or why nothing is.
type Answer = Result<Read, ErrorCode>;
type Resolved = Result<Arc<Partition>, ErrorCode>;

impl Limits {
    /// `None` if there is no isolation level as the request says.
    fn new(broker: &Broker, context: &Context, request: &FetchRequest) -> Option<Self> {
        let isolation = Isolation::from_id(request.isolation_level)?;
        let reader = Asking::new(context, request, isolation);
        let quota = match reader {
            Asking::Consumer { .. } => client_quotas::fetch_bytes_max(broker, context),
            Asking::Follower { .. } => usize::MAX,
        };
        let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0);
        let bytes_max = bytes_max.min(broker.config.fetch_bytes_max).min(quota);
        Some(Self {
            bytes_max,
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0).min(bytes_max),
            deadline: broker.world.clock.after_millis(i64::from(request.max_wait_ms)),
            waits: request.max_wait_ms > 0,
            near: Near::new(broker, context, request),
            reader,
        })
    }
}

/// The broker that follows, and its epoch; negative if a consumer asks.
fn replica(context: &Context, request: &FetchRequest) -> (NodeId, i64) {
    match context.version {
        VERSION_WITH_REPLICA_STATE.. => {
            (request.replica_state.replica_id, request.replica_state.replica_epoch)
        }
        _ => (request.replica_id, -1),
    }
}

/// Who asks, as the request says.
enum Asking {
    Consumer { isolation: Isolation, leader_only: bool },
    Follower { node: NodeId, broker_epoch: i64 },
}

impl Asking {
    fn new(context: &Context, request: &FetchRequest, isolation: Isolation) -> Self {
        let (node, broker_epoch) = replica(context, request);
        if node >= 0 {
            return Self::Follower { node, broker_epoch };
        }
        Self::Consumer { isolation, leader_only: context.version < VERSION_WITH_FOLLOWERS }
    }

    /// What it may do by the newest metadata: they may change while it waits.
    fn reader(&self, broker: &Broker) -> Reader {
        let (node, broker_epoch) = match *self {
            Self::Consumer { isolation, leader_only } => return Reader::Consumer { isolation, leader_only },
            Self::Follower { node, broker_epoch } => (node, broker_epoch),
        };
        let image = broker.image();
        let known = image.broker(node);
        let epoch = known.map_or(-1, |known| known.epoch);
        let is_eligible =
            known.is_some_and(|known| known.is_active()) && (broker_epoch == -1 || broker_epoch == epoch);
        let is_stale = broker_epoch != -1 && broker_epoch < epoch;
        Reader::Follower { node, broker_epoch, is_eligible, is_stale, behind_max: usize::MAX }
    }
}

/// A client that is to read in its own rack, at a broker that sees to it (KIP-392).
struct Near {
    rack: String,
    /// Brokers without an endpoint of this name are not reached by it.
    listener: Arc<str>,
}

impl Near {
    fn new(broker: &Broker, context: &Context, request: &FetchRequest) -> Option<Self> {
        let is_known = context.version >= VERSION_WITH_FOLLOWERS && !request.rack_id.is_empty();
        (broker.config.is_rack_aware && is_known)
            .then(|| Self { rack: request.rack_id.clone(), listener: context.listener.clone() })
    }

    /// The rack of a broker that the client reaches.
    fn rack_of<'a>(&self, image: &'a Image, node: NodeId) -> Option<&'a str> {
        let broker = image.broker(node).filter(|broker| !broker.fenced)?;
        broker.endpoint(&self.listener)?;
        broker.rack.as_deref()
    }
}

/// What is asked for. Of a partition that is named twice the last counts, in the place of the first, as in Kafka.
fn wanted(request: &FetchRequest) -> Vec<(Key, Wanted)> {
    let mut all = Vec::new();
    let mut places = Map::default();
    let topics = request.topics.iter().flat_map(|topic| {
        let name: Arc<str> = topic.topic.as_str().into();
        topic.partitions.iter().map(move |partition| {
            let wanted = Wanted {
                offset: partition.fetch_offset,
                bytes_max: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                start_offset: partition.log_start_offset,
            };
            (Key { topic_id: topic.topic_id, topic: name.clone(), partition: partition.partition }, wanted)
        })
    });
    for (key, wanted) in topics {
        let place = *places.entry(key.clone()).or_insert(all.len());
        match all.get_mut(place) {
            Some((_, before)) => *before = wanted,
            None => all.push((key, wanted)),
        }
    }
    all
}

fn forgotten(request: &FetchRequest) -> Vec<Key> {
    let topics = request.forgotten_topics_data.iter().flat_map(|topic| {
        let name: Arc<str> = topic.topic.as_str().into();
        let key = move |index: &i32| Key { topic_id: topic.topic_id, topic: name.clone(), partition: *index };
        topic.partitions.iter().map(key)
    });
    topics.collect()
}

fn resolve(broker: &Broker, key: &Key, by_id: bool) -> Resolved {
    let topic = match by_id {
        true => broker.partitions.topic_by_id(key.topic_id),
        false => broker.partitions.topic(&key.topic),
    };
    let partition = topic.and_then(|topic| topic.partition(key.partition));
    partition.ok_or_else(|| match by_id {
        true => broker.absent_by_id(key.topic_id, key.partition),
        false => broker.absent(&key.topic, key.partition),
    })
}

/// Reads until there are enough bytes, something failed, or the time is up.
async fn read_enough(
    broker: &Arc<Broker>,
    opened: &Opened,
    found: &[Resolved],
    limits: &Limits,
) -> Vec<Answer> {
    let mut was_woken = false;
    loop {
        let reader = limits.reader.reader(broker);
        let (answers, is_paced) = read(broker, opened, found, limits, &reader).await;
        let bytes: usize = answers.iter().flatten().map(Read::bytes).sum();
        // What wakes a follower without records is news all the same: the start of the log has moved.
        let is_told = was_woken && matches!(reader, Reader::Follower { .. });
        let is_enough = bytes >= limits.bytes_min || is_told || is_final(found, &answers);
        if is_enough || !limits.waits || broker.world.clock.now() >= limits.deadline {
            return answers;
        }
        let until = match is_paced {
            true => limits.deadline.min(broker.catching_up.ready_at(broker.world.clock.now())),
            false => limits.deadline,
        };
        let wait = FetchWait::new(limits.bytes_min.saturating_sub(bytes).max(1));
        let watched = Watched::new(broker, &wait, (found, &answers), (&reader, is_paced));
        let is_unchanged = tokio::select! {
            biased;
            () = wait.enough() => false,
            () = broker.world.clock.sleep_until(until) => !wait.is_stale(),
        };
        drop(watched);
        // Looking at thousands of idle partitions once more is what an idle cluster would mostly do.
        if is_unchanged && !is_paced {
            return answers;
        }
        was_woken = true;
    }
}

/// Whether waiting would change nothing. What does not exist at all ends no wait of the others, or whoever asks for it
/// would spin.
fn is_final(found: &[Resolved], answers: &[Answer]) -> bool {
    let existing = || found.iter().zip(answers).filter(|(found, _)| found.is_ok());
    let is_final = |answer: &Answer| {
        answer.as_ref().map_or(true, |read| read.diverging.is_some() || read.preferred.is_some())
    };
    existing().next().is_none() || existing().any(|(_, answer)| is_final(answer))
}

/// A wait's places on the wake lists of its partitions; dropping it leaves them all, however the wait ended.
struct Watched<'a> {
    places: Vec<(&'a Arc<Partition>, Watch)>,
}

impl<'a> Watched<'a> {
    fn new(
        broker: &Broker,
        wait: &Arc<FetchWait>,
        (found, answers): (&'a [Resolved], &[Answer]),
        (reader, is_paced): (&Reader, bool),
    ) -> Self {
        let pairs = found.iter().zip(answers);
        let places = pairs.filter_map(|(partition, answer)| {
            let (partition, read) = (partition.as_ref().ok()?, answer.as_ref().ok()?);
            // What comes for it would not be sent.
            if is_paced && read.is_behind || is_held_back(broker, partition, reader) {
                return None;
            }
            Some((partition, partition.watch(wait.clone(), reader, read.upto)))
        });
        Self { places: places.collect() }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        for (partition, place) in &self.places {
            partition.unwatch(*place);
        }
    }
}

/// Reads all partitions once, the first ones first, within the limit of the whole answer; and whether a replica that is not in
/// sync gets nothing more for now.
async fn read(
    broker: &Arc<Broker>,
    opened: &Opened,
    found: &[Resolved],
    limits: &Limits,
    reader: &Reader,
) -> (Vec<Answer>, bool) {
    let mut left = limits.bytes_max;
    let mut at_least_one = true;
    let mut paced = reader.with_credit(|| broker.catching_up.credit(broker.world.clock.now()));
    let mut answers = Vec::with_capacity(found.len());
    let mut cold = Vec::new();
    for ((_, wanted), partition) in opened.partitions.iter().zip(found) {
        let bytes_max = usize::try_from(wanted.bytes_max).unwrap_or(0).min(left);
        let answer = match partition {
            Err(error) => Err(*error),
            Ok(partition) => read_one(broker, partition, wanted, (limits, &paced), (bytes_max, at_least_one))
                .map_err(|refused: Refused| failure_code::of_partition(&refused)),
        };
        if let Ok(read) = &answer {
            let bytes = match &read.records {
                Records::Memory(parts) => parts.len(),
                // How much a cold read gives is known when the disk was asked; until then it counts as all it may.
                Records::File(_) => {
                    cold.push(Planned { place: answers.len(), bytes_max, at_least_one });
                    bytes_max.max(1)
                }
            };
            at_least_one &= bytes == 0;
            left = left.saturating_sub(bytes);
            if read.is_behind {
                paced.spend(bytes);
            }
        }
        answers.push(answer);
    }
    for _ in 0..READ_TRIES {
        if cold.is_empty() {
            break;
        }
        cold = locate(broker, found, &mut answers, &cold).await;
        plan_again(opened, found, reader, &mut answers, &mut cold).await;
    }
    let behind = || answers.iter().flatten().filter(|read| read.is_behind);
    let sent: usize = behind().map(Read::bytes).sum();
    if sent > 0 {
        broker.catching_up.sent(broker.world.clock.now(), sent);
        broker.metrics.catch_up_bytes.add(sent as u64);
    }
    let is_paced = paced.is_broke() && behind().next().is_some();
    (answers, is_paced)
}

fn read_one(
    broker: &Broker,
    partition: &Partition,
    wanted: &Wanted,
    (limits, reader): (&Limits, &Reader),
    (bytes_max, at_least_one): (usize, bool),
) -> Result<Read, Refused> {
    if let (Some(near), Reader::Consumer { isolation, .. }) = (&limits.near, reader) {
        let image = broker.image();
        let rack_of = |node| near.rack_of(&image, node);
        if let Some(read) = partition.read_elsewhere(wanted, (&near.rack, *isolation), rack_of)? {
            return Ok(read);
        }
    }
    // One that is held back tells how far it has come all the same.
    match is_held_back(broker, partition, reader) {
        true => partition.read(wanted, reader, 0, false),
        false => partition.read(wanted, reader, bytes_max, at_least_one),
    }
}

/// Compaction has overtaken these reads: they are planned anew once it has put its segment in place.
async fn plan_again(
    opened: &Opened,
    found: &[Resolved],
    reader: &Reader,
    answers: &mut [Answer],
    moved: &mut Vec<Planned>,
) {
    for Planned { place: index, bytes_max, at_least_one } in moved.iter() {
        let (Some((_, wanted)), Some(Ok(partition)), Some(answer)) =
            (opened.partitions.get(*index), found.get(*index), answers.get_mut(*index))
        else {
            continue;
        };
        partition.written().await;
        let read = partition.read(wanted, reader, *bytes_max, *at_least_one);
        *answer = read.map_err(|refused: Refused| failure_code::of_partition(&refused));
    }
    moved.retain(|planned| {
        matches!(answers.get(planned.place), Some(Ok(read)) if matches!(read.records, Records::File(_)))
    });
}

/// Whether a replica that is not in sync must wait because too much was sent to such already (KIP-73).
fn is_held_back(broker: &Broker, partition: &Partition, reader: &Reader) -> bool {
    let Reader::Follower { node, .. } = *reader else { return false };
    let throttle = &broker.throttles.leader;
    throttle.is_used()
        && throttle.is_throttled(partition.topic(), partition.index())
        && !partition.has_in_sync(node)
        && throttle.is_exceeded(broker.world.clock.now())
}

/// Counts what is sent of throttled partitions, whoever of them is in sync.
fn count_throttled(broker: &Broker, context: &Context, asking: &Asking, response: &FetchResponse) {
    let throttle = &broker.throttles.leader;
    if !matches!(asking, Asking::Follower { .. }) || !throttle.is_used() {
        return;
    }
    let mut throttled = FetchResponse::default();
    for topic in &response.responses {
        let known = broker.partitions.topic_by_id(topic.topic_id);
        let Some(known) = known.or_else(|| broker.partitions.topic(&topic.topic)) else { continue };
        let is_throttled = |data: &&PartitionData| {
            let partition = known.partition(data.partition_index);
            partition.is_some_and(|one| throttle.is_throttled(one.topic(), one.index()))
        };
        let partitions: Vec<_> = topic.partitions.iter().filter(is_throttled).cloned().collect();
        if !partitions.is_empty() {
            throttled.responses.push(FetchableTopicResponse { partitions, ..topic.clone() });
        }
    }
    if throttled.responses.is_empty() {
        return;
    }
    if let Ok(parts) = throttled.to_parts(context.version) {
        throttle.record(broker.world.clock.now(), parts.len());
    }
}

/// A read that must ask the disk.
#[derive(Clone, Copy)]
struct Planned {
    /// Which answer it is for.
    place: usize,
    bytes_max: usize,
    at_least_one: bool,
}

/// Lets a disk lane find the regions of cold reads; gives those that are to be planned anew.
async fn locate(
    broker: &Arc<Broker>,
    found: &[Resolved],
    answers: &mut [Answer],
    cold: &[Planned],
) -> Vec<Planned> {
    let mut moved = Vec::new();
    let mut plans = Vec::with_capacity(cold.len());
    for planned in cold {
        if let Some(Ok(read)) = answers.get_mut(planned.place)
            && let Records::File(plan) = std::mem::replace(&mut read.records, Records::Memory(Parts::new()))
        {
            plans.push((*planned, plan));
        }
    }
    let locate = |(planned, plan): (Planned, Cold)| (planned, plan.of, plan.locate());
    let located = broker.on_lane(move || plans.into_iter().map(locate).collect::<Vec<_>>());
    for (planned, of, result) in located.await.unwrap_or_default() {
        let index = planned.place;
        if let (Err(error), Some(Ok(partition))) = (&result, found.get(index)) {
            partition.on_read_error(error, of);
        }
        let Some(answer) = answers.get_mut(index) else { continue };
        match (result, &mut *answer) {
            (Ok(parts), Ok(read)) => read.records = Records::Memory(parts),
            (Ok(_), Err(_)) => {}
            (Err(error), _) if log::is_moved(&error) => moved.push(planned),
            // The segment was deleted meanwhile: the next fetch finds the new start.
            (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => {}
            (Err(error), _) => {
                tracing::error!(%error, "a segment could not be read");
                *answer = Err(ErrorCode::KafkaStorageError);
            }
        }
    }
    moved
}

fn respond(broker: &Arc<Broker>, context: &Context, opened: Opened, answers: Vec<Answer>) -> FetchResponse {
    let told: Vec<Told> = answers.iter().map(told).collect();
    let mut draw = || broker.world.random.next_u64() as i32;
    let closed = broker.sessions.lock().close(broker.now_ms(), &opened, &told, &mut draw);
    let (session_id, news) = match closed {
        Ok(closed) => closed,
        Err(failure) => return refusal(failure_code::of_session(failure)),
    };
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    let mut node_endpoints = Vec::new();
    for (((key, _), answer), _) in
        opened.partitions.into_iter().zip(answers).zip(news).filter(|(_, news)| *news)
    {
        let mut data = partition_data(broker, context, key.partition, answer);
        let elsewhere = [ErrorCode::FencedLeaderEpoch, ErrorCode::NotLeaderOrFollower];
        let is_elsewhere = elsewhere.iter().any(|error| error.to_i16() == data.error_code);
        if is_elsewhere && context.version >= VERSION_WITH_LEADERS {
            tell_leader(broker, context, &key, &mut data, &mut node_endpoints);
        }
        match responses.last_mut() {
            Some(last) if last.topic_id == key.topic_id && *last.topic == *key.topic => {
                last.partitions.push(data)
            }
            _ => responses.push(FetchableTopicResponse {
                topic: key.topic.to_string(),
                topic_id: key.topic_id,
                partitions: vec![data],
            }),
        }
    }
    FetchResponse { session_id, responses, node_endpoints, ..FetchResponse::default() }
}

/// Who leads the partition, so that the client need not ask for metadata (KIP-951).
fn tell_leader(
    broker: &Broker,
    context: &Context,
    key: &Key,
    data: &mut PartitionData,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let Some(leader) = super::leader_of(broker, context, (key.topic_id, &key.topic), key.partition) else {
        return;
    };
    data.current_leader.leader_id = leader.node;
    data.current_leader.leader_epoch = leader.epoch;
    let is_told = endpoints.iter().any(|endpoint| endpoint.node_id == leader.node);
    if let Some((host, port, rack)) = leader.endpoint.filter(|_| !is_told) {
        endpoints.push(NodeEndpoint { node_id: leader.node, host, port, rack });
    }
}

fn told(answer: &Answer) -> Told {
    match answer {
        Ok(read) => Told {
            high_watermark: read.high_watermark,
            start_offset: read.start_offset,
            has_records: read.bytes() > 0,
            failed: read.diverging.is_some(),
            is_elsewhere: read.preferred.is_some(),
        },
        Err(_) => Told {
            high_watermark: -1,
            start_offset: -1,
            has_records: false,
            failed: true,
            is_elsewhere: false,
        },
    }
}

fn partition_data(broker: &Broker, context: &Context, partition_index: i32, answer: Answer) -> PartitionData {
    match answer {
        Ok(read) => {
            let aborted = |(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
            let mut data = PartitionData {
                partition_index,
                error_code: failure_code::NONE,
                high_watermark: read.high_watermark,
                last_stable_offset: read.last_stable_offset,
                log_start_offset: read.start_offset,
                aborted_transactions: read.aborted.map(|all| all.into_iter().map(aborted).collect()),
                preferred_read_replica: read.preferred.unwrap_or(NO_REPLICA),
                ..PartitionData::default()
            };
            if let Some((epoch, end_offset)) = read.diverging {
                data.diverging_epoch.epoch = epoch;
                data.diverging_epoch.end_offset = end_offset;
            }
            let parts = match read.records {
                Records::Memory(parts) => parts,
                Records::File(_) => Parts::new(),
            };
            broker.metrics.bytes_out.add(parts.len() as u64);
            data.records = Some(parts);
            data
        }
        Err(error) => {
            let is_old = context.version <= VERSION_WITHOUT_STORAGE_ERROR;
            let error = match error {
                ErrorCode::KafkaStorageError if is_old => ErrorCode::NotLeaderOrFollower,
                error => error,
            };
            let data = failed(partition_index, error.to_i16());
            // Of what does not exist Kafka says that nothing was aborted, of what fails nothing.
            let aborted_transactions = data.aborted_transactions.filter(|_| does_not_exist(error));
            PartitionData { aborted_transactions, ..data }
        }
    }
}

fn does_not_exist(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::InconsistentTopicId
    )
}

/// Kafka stumbles over an isolation level that does not exist; clients that know no error of a whole answer hear it for
/// each partition.
fn refusal_of_all(context: &Context, request: FetchRequest) -> FetchResponse {
    let error_code = ErrorCode::UnknownServerError.to_i16();
    let is_old = context.version < VERSION_WITH_TOPIC_IDS;
    let topics = request.topics.into_iter().filter(|_| is_old).map(|topic| FetchableTopicResponse {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic.partitions.iter().map(|one| failed(one.partition, error_code)).collect(),
    });
    FetchResponse {
        error_code,
        session_id: request.session_id,
        responses: topics.collect(),
        ..FetchResponse::default()
    }
}

fn failed(partition_index: i32, error_code: i16) -> PartitionData {
    PartitionData {
        partition_index,
        error_code,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        aborted_transactions: Some(Vec::new()),
        records: Some(Parts::new()),
        ..PartitionData::default()
    }
}

fn refusal(error: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: error.to_i16(), ..FetchResponse::default() }
}
