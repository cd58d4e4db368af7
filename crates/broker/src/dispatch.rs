//! From a frame to a handler: the header is read, the version checked, the body decoded, the answer framed.
//!
//! It knows no semantics. The list of APIs here is the list that is advertised.

use crate::{
    Broker, client_quotas,
    connection::Peer,
    context::Context,
    controller::unless_deposed,
    discovery, handlers,
    pace::{Counted, Pace},
    peer_frames::PeerFrame,
};
use bytes::Bytes;
use env::BoxFuture;
use model::limits;
use quorum::{DISCOVERY_VERSION, Quorum};
use records::Budget;
use std::sync::Arc;
use stdx::Parts;
use wire::{
    ApiKey, Decoder, EncodeError, ErrorCode, Message, catalogue,
    header::{self, HeaderError},
};

/// Every API that has a handler: what ApiVersions tells, and nothing else is answered.
pub const APIS: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::AddPartitionsToTxn,
    ApiKey::AddOffsetsToTxn,
    ApiKey::EndTxn,
    ApiKey::WriteTxnMarkers,
    ApiKey::TxnOffsetCommit,
    ApiKey::DescribeProducers,
    ApiKey::DescribeTransactions,
    ApiKey::ListTransactions,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::AlterReplicaLogDirs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::UnregisterController,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeClientQuotas,
    ApiKey::AlterClientQuotas,
    ApiKey::ConsumerGroupHeartbeat,
    ApiKey::ConsumerGroupDescribe,
    ApiKey::GetTelemetrySubscriptions,
    ApiKey::PushTelemetry,
    ApiKey::ListConfigResources,
    ApiKey::DescribeTopicPartitions,
    ApiKey::ShareGroupHeartbeat,
    ApiKey::ShareGroupDescribe,
    ApiKey::ShareFetch,
    ApiKey::ShareAcknowledge,
    ApiKey::InitializeShareGroupState,
    ApiKey::ReadShareGroupState,
    ApiKey::WriteShareGroupState,
    ApiKey::DeleteShareGroupState,
    ApiKey::ReadShareGroupStateSummary,
    ApiKey::DescribeShareGroupOffsets,
    ApiKey::AlterShareGroupOffsets,
    ApiKey::DeleteShareGroupOffsets,
    ApiKey::StreamsGroupHeartbeat,
    ApiKey::StreamsGroupDescribe,
    ApiKey::StreamsGroupTopologyDescriptionUpdate,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// Those of share groups (KIP-932).
const SHARING: &[ApiKey] = &[
    ApiKey::ShareGroupHeartbeat,
    ApiKey::ShareGroupDescribe,
    ApiKey::ShareFetch,
    ApiKey::ShareAcknowledge,
    ApiKey::InitializeShareGroupState,
    ApiKey::ReadShareGroupState,
    ApiKey::WriteShareGroupState,
    ApiKey::DeleteShareGroupState,
    ApiKey::ReadShareGroupStateSummary,
    ApiKey::DescribeShareGroupOffsets,
    ApiKey::AlterShareGroupOffsets,
    ApiKey::DeleteShareGroupOffsets,
];

/// Those of controllers and their quorum (KIP-595, KIP-853, KIP-919).
const QUORUM: &[ApiKey] = &[
    ApiKey::ControllerRegistration,
    ApiKey::FetchSnapshot,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UpdateRaftVoter,
    ApiKey::UnregisterController,
];

/// Those of streams groups (KIP-1071).
const STREAMS: &[ApiKey] = &[
    ApiKey::StreamsGroupHeartbeat,
    ApiKey::StreamsGroupDescribe,
    ApiKey::StreamsGroupTopologyDescriptionUpdate,
];

/// What controllers answer on their own listeners.
pub const CONTROLLER_APIS: &[ApiKey] = &[
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::UnregisterController,
    ApiKey::DescribeCluster,
    ApiKey::AlterClientQuotas,
    ApiKey::Envelope,
    ApiKey::BrokerRegistration,
    ApiKey::BrokerHeartbeat,
    ApiKey::AlterPartition,
    ApiKey::AssignReplicasToDirs,
    ApiKey::AllocateProducerIds,
    ApiKey::ControllerRegistration,
    ApiKey::Fetch,
    ApiKey::FetchSnapshot,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UpdateRaftVoter,
];

/// What only the active controller can answer: another broker has it answered there. But for DescribeQuorum, which has none,
/// every answer begins with its throttle time ([`Reply::held_back`]).
const FORWARDED: &[ApiKey] = &[
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::UnregisterController,
    ApiKey::AlterClientQuotas,
    ApiKey::DescribeQuorum,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
];

/// From this version of AddPartitionsToTxn on brokers ask, and clients do not (KIP-890).
const ADD_PARTITIONS_OF_BROKERS: i16 = 4;

/// Of these the broker itself answers a part, and asks for the rest.
const FORWARDED_IN_PART: &[ApiKey] = &[ApiKey::AlterConfigs, ApiKey::IncrementalAlterConfigs];

/// What is answered on such a listener.
pub(crate) fn apis(is_controller: bool) -> &'static [ApiKey] {
    if is_controller { CONTROLLER_APIS } else { APIS }
}

/// A request that was taken.
pub(crate) enum Begun {
    /// There is no answer (a produce request with acks 0).
    Silent,
    /// The request has taken effect in its order; the answer may wait while others are begun.
    Overlapping(BoxFuture<'static, Answer>),
    /// The request takes effect while its answer is awaited: nothing else may begin meanwhile.
    Barrier(BoxFuture<'static, Answer>),
    /// The same for a member of a group that waits for the others: if its client goes, so does the wait, and nobody is
    /// held up by it.
    Member(BoxFuture<'static, Answer>),
    /// The request is checked beside the reactor before it takes effect; nothing else may begin until this says what
    /// it has become.
    Checking(BoxFuture<'static, Result<Begun, Refused>>),
}

/// A whole frame, or nothing that could be sent.
pub(crate) type Answer = Result<Parts, Unwritable>;

/// The answer cannot be said in the client's version. Nothing it would wait for comes: the connection is closed.
#[derive(Debug, thiserror::Error)]
#[error("the answer to {api:?} version {version} cannot be written: {error}")]
pub(crate) struct Unwritable {
    api: ApiKey,
    version: i16,
    error: EncodeError,
}

/// A frame that is no request which this broker answers: the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The header or the body cannot be read.
    #[error("the request cannot be read: {0}")]
    Header(#[from] HeaderError),
    /// The body cannot be read.
    #[error("{api:?} version {version} cannot be read: {error}")]
    Body { api: ApiKey, version: i16, error: wire::DecodeError },
    /// The API is not offered, or not in this version.
    #[error("{api:?} version {version} is not offered")]
    NotOffered { api: ApiKey, version: i16 },
    /// A produce request without acknowledgement failed; closing is the only way to tell.
    #[error("a produce request with acks=0 failed: {0:?}")]
    Unacknowledged(ErrorCode),
}

/// Memory that decoding one request may take: a multiple of its frame, within bounds.
fn budget(frame: &Bytes) -> usize {
    let wanted = frame.len().saturating_mul(limits::DECODE_BYTES_PER_FRAME_BYTE);
    wanted.clamp(limits::DECODE_BYTES_MIN, limits::DECODE_BYTES_MAX)
}

/// Begins to answer a frame. `turn` is what may be read of records before others get their turn on the reactor.
pub(crate) fn begin(
    broker: &Arc<Broker>,
    peer: &mut Peer,
    frame: Bytes,
    turn: &mut Budget,
) -> Result<Begun, Refused> {
    if peer.is_controller
        && let Some(request) = PeerFrame::read(&frame)
    {
        peer.greeted = true;
        peer.is_voter |= request.version != DISCOVERY_VERSION;
        return Ok(Begun::Barrier(answer_peer(broker.clone(), request)));
    }
    if broker.client_quotas.counts_time() {
        peer.pace.begin(broker.world.clock.now());
    }
    let (budget, frame_bytes) = (budget(&frame), frame.len());
    let whole = broker.config.is_clustered().then(|| frame.clone());
    let mut decoder = Decoder::new(frame, budget);
    let (api, header) = header::decode_request(&mut decoder)?;
    let (version, correlation) = (header.request_api_version, header.correlation_id);
    if !catalogue::is_answered(apis(peer.is_controller), api, version) {
        return Err(Refused::NotOffered { api, version });
    }
    let context = Context {
        version,
        client_id: header.client_id,
        client: peer.client.clone(),
        principal: peer.principal.clone(),
        listener: peer.listener.clone(),
        address: peer.address,
        pace: peer.pace.clone(),
        connection: peer.connection,
    };
    count(broker, peer, api, version);
    let reply = Reply { api, version, correlation };
    let begun = match api {
        ApiKey::ApiVersions if !ApiKey::ApiVersions.versions().contains(&version) => {
            let answer = Reply { version: 0, ..reply }.frame(&catalogue::unsupported_version());
            Begun::Barrier(Box::pin(std::future::ready(answer)))
        }
        ApiKey::Produce => {
            let request = decode(&mut decoder, api, version)?;
            let begun = handlers::produce::begin(broker, &context, (request, frame_bytes), turn, reply)?;
            begun.counted(broker, &peer.pace)
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup => {
            Begun::Member(counted(broker, &peer.pace, barrier(broker, context, decoder, reply)?))
        }
        _ => {
            peer.has_shared |= matches!(api, ApiKey::ShareFetch | ApiKey::ShareAcknowledge);
            if api == ApiKey::BrokerHeartbeat {
                // The first field of every version.
                peer.broker = decoder.peek_i32();
            }
            let asked = whole.filter(|_| FORWARDED.contains(&api) && !peer.is_controller);
            let asked = asked.map(|frame| (frame, context.clone()));
            let here = barrier(broker, context, decoder, reply)?;
            Begun::Barrier(match asked {
                Some(asked) => answer_somewhere(broker, &peer.pace, asked, (reply, here)),
                None => counted(broker, &peer.pace, here),
            })
        }
    };
    peer.greeted = true;
    Ok(begun)
}

fn count(broker: &Broker, peer: &Peer, api: ApiKey, version: i16) {
    broker.metrics.request(api);
    // Whether a replica fetches only the whole request says.
    if api != ApiKey::Fetch && !peer.is_controller && !is_between_brokers(api, version) {
        broker.metrics.requests_of_clients.inc();
    }
}

impl Begun {
    /// What is still to be checked counts as an answer does: only while somebody works on it.
    fn counted(self, broker: &Arc<Broker>, pace: &Arc<Pace>) -> Self {
        match self {
            Self::Checking(later) => Self::Checking(counted(broker, pace, later)),
            begun => begun,
        }
    }
}

/// Counts the time that an answer takes, if it counts for anybody.
fn counted<T: 'static>(
    broker: &Arc<Broker>,
    pace: &Arc<Pace>,
    answer: BoxFuture<'static, T>,
) -> BoxFuture<'static, T> {
    if !broker.client_quotas.counts_time() {
        return answer;
    }
    Box::pin(Counted { answer, pace: pace.clone(), clock: broker.world.clock.clone() })
}

/// Answers another controller of the quorum.
fn answer_peer(broker: Arc<Broker>, request: PeerFrame) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let answer = if request.version == DISCOVERY_VERSION {
            discovery::answer_as_member(broker.introduction(), &request.body).encode()
        } else {
            broker.quorum.serve(request.body.clone()).await
        };
        Ok(request.answer(answer))
    })
}

/// Has the active controller answer, wherever it is.
fn answer_somewhere(
    broker: &Arc<Broker>,
    pace: &Arc<Pace>,
    (frame, context): (Bytes, Context),
    (reply, here): (Reply, BoxFuture<'static, Answer>),
) -> BoxFuture<'static, Answer> {
    let is_here = broker.controller.is_active() || FORWARDED_IN_PART.contains(&reply.api);
    if !is_here {
        return forward(broker.clone(), context, frame, (reply, here));
    }
    let here = counted(broker, pace, here);
    answer_here(broker.clone(), context, frame, (reply, here))
}

/// Has this node's controller answer, and another one if it turns out not to decide any more.
fn answer_here(
    broker: Arc<Broker>,
    context: Context,
    frame: Bytes,
    (reply, here): (Reply, BoxFuture<'static, Answer>),
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        let (answer, is_deposed) = unless_deposed(here).await;
        if !is_deposed {
            return answer;
        }
        if FORWARDED_IN_PART.contains(&reply.api) {
            let mut decoder = Decoder::new(frame.clone(), budget(&frame));
            let again = header::decode_request(&mut decoder).map_err(Refused::from);
            return match again.and_then(|_| barrier(&broker, context, decoder, reply)) {
                Ok(again) => again.await,
                // It was read before.
                Err(_) => answer,
            };
        }
        let refused = Box::pin(std::future::ready(answer));
        forward(broker, context, frame, (reply, refused)).await
    })
}

/// Has the active controller answer; if it cannot, `here` says so in the request's own form.
fn forward(
    broker: Arc<Broker>,
    context: Context,
    frame: Bytes,
    (reply, here): (Reply, BoxFuture<'static, Answer>),
) -> BoxFuture<'static, Answer> {
    Box::pin(async move {
        match broker.forward(frame, context.address.ip()).await {
            Ok(answer) => {
                let answer = reply.held_back(&broker, &context, answer);
                let mut parts = Parts::from(Bytes::copy_from_slice(&(answer.len() as u32).to_be_bytes()));
                parts.append(answer.into());
                Ok(parts)
            }
            Err(error) => {
                tracing::warn!(%error, "a request could not be forwarded to the active controller");
                here.await
            }
        }
    })
}

/// Answers a request that a broker has forwarded: the whole frame.
pub(crate) fn answer_forwarded(
    broker: &Arc<Broker>,
    context: &Context,
    request: Bytes,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    let budget = budget(&request);
    let mut decoder = Decoder::new(request, budget);
    let (api, header) = header::decode_request(&mut decoder)?;
    let (version, correlation) = (header.request_api_version, header.correlation_id);
    if !catalogue::is_answered(FORWARDED, api, version) {
        return Err(Refused::NotOffered { api, version });
    }
    // Whoever forwards holds its client back; its own connection goes on.
    let (client_id, pace) = (header.client_id, Arc::default());
    let context = Context { version, client_id, pace, ..context.clone() };
    barrier(broker, context, decoder, Reply { api, version, correlation })
}

/// How to frame the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    api: ApiKey,
    version: i16,
    correlation: i32,
}

impl Reply {
    /// The whole frame of a response, which tells for how long its client is held back.
    fn settle<M: Message>(&self, broker: &Broker, context: &Context, mut response: M) -> Answer {
        let ms = match is_exempt(self.api, broker, context) {
            true => client_quotas::told(context.pace.take_told()),
            false => client_quotas::settle(broker, context),
        };
        if ms > 0 {
            response.set_throttle_time_ms(ms);
        }
        self.frame(&response)
    }

    /// The answer of another controller: its client is held back for as long as that says, or its own broker.
    fn held_back(&self, broker: &Broker, context: &Context, answer: Bytes) -> Bytes {
        let header_bytes = if self.api.response_header_version(self.version) == 0 { 4 } else { 5 };
        let told = answer.get(header_bytes..).and_then(|body| body.first_chunk());
        let Some(told) = told.filter(|_| self.api != ApiKey::DescribeQuorum) else { return answer };
        let there = i32::from_be_bytes(*told);
        if there > 0 {
            client_quotas::hold(broker, context, there as u64);
        }
        let ms = client_quotas::settle(broker, context);
        if ms <= there {
            return answer;
        }
        let mut bytes = answer.to_vec();
        if let Some(place) = bytes.get_mut(header_bytes..header_bytes + 4) {
            place.copy_from_slice(&ms.to_be_bytes());
        }
        bytes.into()
    }

    /// The whole frame of a response.
    pub(crate) fn frame<M: Message>(&self, response: &M) -> Answer {
        let (api, version) = (self.api, self.version);
        header::encode_response(self.correlation, api, version, response).map_err(|error| Unwritable {
            api,
            version,
            error,
        })
    }
}

/// Whether the time that the request takes counts for nobody: a fetch counts it itself, unless a replica fetches, and what
/// brokers ask of each other must be done.
fn is_exempt(api: ApiKey, broker: &Broker, context: &Context) -> bool {
    api == ApiKey::Fetch
        || is_between_brokers(api, context.version)
        || !broker.client_quotas.counts_time()
        || handlers::is_for_controller(broker, context)
}

/// Whether that is what brokers ask of each other, and clients do not.
fn is_between_brokers(api: ApiKey, version: i16) -> bool {
    match api {
        ApiKey::WriteTxnMarkers
        | ApiKey::InitializeShareGroupState
        | ApiKey::ReadShareGroupState
        | ApiKey::WriteShareGroupState
        | ApiKey::DeleteShareGroupState
        | ApiKey::ReadShareGroupStateSummary => true,
        ApiKey::AddPartitionsToTxn => version >= ADD_PARTITIONS_OF_BROKERS,
        _ => false,
    }
}

fn decode<M: Message>(decoder: &mut Decoder, api: ApiKey, version: i16) -> Result<M, Refused> {
    M::decode(decoder, version).map_err(|error| Refused::Body { api, version, error })
}

fn barrier(
    broker: &Arc<Broker>,
    context: Context,
    mut decoder: Decoder,
    reply: Reply,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    let broker = broker.clone();
    if reply.api == ApiKey::Fetch && handlers::is_for_controller(&broker, &context) {
        let request = decode(&mut decoder, reply.api, reply.version)?;
        return Ok(Box::pin(async move {
            reply.frame(&handlers::fetch_metadata::handle(&broker, &context, request).await)
        }));
    }
    match reply.api {
        api if SHARING.contains(&api) => handle_sharing(broker, context, decoder, reply),
        api if QUORUM.contains(&api) => handle_quorum(broker, context, decoder, reply),
        api if STREAMS.contains(&api) => handle_streams(broker, context, decoder, reply),
        _ => handle(broker, context, decoder, reply),
    }
}

/// The handler of an API, asked with the decoded request; what is not in the list is not offered.
macro_rules! handler {
    (($broker:expr, $context:expr, $decoder:expr, $reply:expr), $($key:ident => $module:ident),* $(,)?) => {
        match $reply.api {
            $(ApiKey::$key => {
                let request = decode(&mut $decoder, $reply.api, $reply.version)?;
                Box::pin(async move {
                    let response = handlers::$module::handle(&$broker, &$context, request).await;
                    $reply.settle(&$broker, &$context, response)
                })
            })*
            api => return Err(Refused::NotOffered { api, version: $reply.version }),
        }
    };
}

/// Hands the request to the file of its API.
fn handle(
    broker: Arc<Broker>,
    context: Context,
    mut decoder: Decoder,
    reply: Reply,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    Ok(handler! {
        (broker, context, decoder, reply),
        Fetch => fetch,
        ListOffsets => list_offsets,
        Metadata => metadata,
        OffsetCommit => offset_commit,
        OffsetFetch => offset_fetch,
        FindCoordinator => find_coordinator,
        JoinGroup => join_group,
        Heartbeat => heartbeat,
        LeaveGroup => leave_group,
        SyncGroup => sync_group,
        DescribeGroups => describe_groups,
        ListGroups => list_groups,
        ApiVersions => api_versions,
        CreateTopics => create_topics,
        DeleteTopics => delete_topics,
        DeleteRecords => delete_records,
        InitProducerId => init_producer_id,
        AddPartitionsToTxn => add_partitions_to_txn,
        AddOffsetsToTxn => add_offsets_to_txn,
        EndTxn => end_txn,
        WriteTxnMarkers => write_txn_markers,
        TxnOffsetCommit => txn_offset_commit,
        DescribeProducers => describe_producers,
        DescribeTransactions => describe_transactions,
        ListTransactions => list_transactions,
        OffsetForLeaderEpoch => offset_for_leader_epoch,
        DescribeConfigs => describe_configs,
        AlterConfigs => alter_configs,
        AlterReplicaLogDirs => alter_replica_log_dirs,
        DescribeLogDirs => describe_log_dirs,
        CreatePartitions => create_partitions,
        DeleteGroups => delete_groups,
        IncrementalAlterConfigs => incremental_alter_configs,
        OffsetDelete => offset_delete,
        DescribeCluster => describe_cluster,
        DescribeClientQuotas => describe_client_quotas,
        AlterClientQuotas => alter_client_quotas,
        ListConfigResources => list_config_resources,
        GetTelemetrySubscriptions => get_telemetry_subscriptions,
        PushTelemetry => push_telemetry,
        DescribeTopicPartitions => describe_topic_partitions,
        Envelope => envelope,
        BrokerRegistration => broker_registration,
        BrokerHeartbeat => broker_heartbeat,
        AllocateProducerIds => allocate_producer_ids,
        AlterPartition => alter_partition,
        AssignReplicasToDirs => assign_replicas_to_dirs,
        ElectLeaders => elect_leaders,
        AlterPartitionReassignments => alter_partition_reassignments,
        ListPartitionReassignments => list_partition_reassignments,
        UnregisterBroker => unregister_broker,
        UpdateFeatures => update_features,
        ConsumerGroupHeartbeat => consumer_group_heartbeat,
        ConsumerGroupDescribe => consumer_group_describe,
    })
}

/// The same for controllers and their quorum.
fn handle_quorum(
    broker: Arc<Broker>,
    context: Context,
    mut decoder: Decoder,
    reply: Reply,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    Ok(handler! {
        (broker, context, decoder, reply),
        ControllerRegistration => controller_registration,
        FetchSnapshot => fetch_snapshot,
        DescribeQuorum => describe_quorum,
        AddRaftVoter => add_raft_voter,
        RemoveRaftVoter => remove_raft_voter,
        UpdateRaftVoter => update_raft_voter,
        UnregisterController => unregister_controller,
    })
}

/// The same for what share groups ask.
fn handle_sharing(
    broker: Arc<Broker>,
    context: Context,
    mut decoder: Decoder,
    reply: Reply,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    Ok(handler! {
        (broker, context, decoder, reply),
        ShareGroupHeartbeat => share_group_heartbeat,
        ShareGroupDescribe => share_group_describe,
        ShareFetch => share_fetch,
        ShareAcknowledge => share_acknowledge,
        InitializeShareGroupState => initialize_share_group_state,
        ReadShareGroupState => read_share_group_state,
        WriteShareGroupState => write_share_group_state,
        DeleteShareGroupState => delete_share_group_state,
        ReadShareGroupStateSummary => read_share_group_state_summary,
        DescribeShareGroupOffsets => describe_share_group_offsets,
        AlterShareGroupOffsets => alter_share_group_offsets,
        DeleteShareGroupOffsets => delete_share_group_offsets,
    })
}

/// The same for what streams groups ask.
fn handle_streams(
    broker: Arc<Broker>,
    context: Context,
    mut decoder: Decoder,
    reply: Reply,
) -> Result<BoxFuture<'static, Answer>, Refused> {
    Ok(handler! {
        (broker, context, decoder, reply),
        StreamsGroupHeartbeat => streams_group_heartbeat,
        StreamsGroupDescribe => streams_group_describe,
        StreamsGroupTopologyDescriptionUpdate => streams_group_topology_description_update,
    })
}
