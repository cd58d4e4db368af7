//! From a frame to a handler: the header is read, the version checked, the body decoded, the answer framed.
//!
//! It knows no semantics. The list of APIs here is the list that is advertised.

use crate::{Broker, connection::Peer, context::Context, handlers};
use bytes::Bytes;
use env::BoxFuture;
use model::limits;
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
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::DescribeLogDirs,
    ApiKey::CreatePartitions,
    ApiKey::DeleteGroups,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
    ApiKey::DescribeTopicPartitions,
];

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
    let (budget, frame_bytes) = (budget(&frame), frame.len());
    let mut decoder = Decoder::new(frame, budget);
    let (api, header) = header::decode_request(&mut decoder)?;
    let (version, correlation) = (header.request_api_version, header.correlation_id);
    if !catalogue::is_answered(APIS, api, version) {
        return Err(Refused::NotOffered { api, version });
    }
    let context = Context {
        version,
        client_id: header.client_id,
        listener: peer.listener.clone(),
        address: peer.address,
    };
    broker.metrics.request(api);
    let reply = Reply { api, version, correlation };
    let begun = match api {
        ApiKey::ApiVersions if !ApiKey::ApiVersions.versions().contains(&version) => {
            let answer = Reply { version: 0, ..reply }.frame(&catalogue::unsupported_version());
            Begun::Barrier(Box::pin(std::future::ready(answer)))
        }
        ApiKey::Produce => {
            let request = decode(&mut decoder, api, version)?;
            handlers::produce::begin(broker, &context, (request, frame_bytes), turn, reply)?
        }
        ApiKey::JoinGroup | ApiKey::SyncGroup => Begun::Member(barrier(broker, context, decoder, reply)?),
        _ => Begun::Barrier(barrier(broker, context, decoder, reply)?),
    };
    peer.greeted = true;
    Ok(begun)
}

/// How to frame the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply {
    api: ApiKey,
    version: i16,
    correlation: i32,
}

impl Reply {
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
    macro_rules! handle {
        ($($key:ident => $module:ident),* $(,)?) => {
            match reply.api {
                $(ApiKey::$key => {
                    let request = decode(&mut decoder, reply.api, reply.version)?;
                    Box::pin(async move {
                        reply.frame(&handlers::$module::handle(&broker, &context, request).await)
                    })
                })*
                api => return Err(Refused::NotOffered { api, version: reply.version }),
            }
        };
    }
    Ok(handle! {
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
        OffsetForLeaderEpoch => offset_for_leader_epoch,
        DescribeConfigs => describe_configs,
        AlterConfigs => alter_configs,
        DescribeLogDirs => describe_log_dirs,
        CreatePartitions => create_partitions,
        DeleteGroups => delete_groups,
        IncrementalAlterConfigs => incremental_alter_configs,
        OffsetDelete => offset_delete,
        DescribeCluster => describe_cluster,
        DescribeTopicPartitions => describe_topic_partitions,
    })
}
