//! The Raft library's network: its requests to the other controllers, over a [`Transport`].
//!
//! It opens no connection. Who is asked and cannot answer in time counts as unreachable, and the library comes again.

use crate::{
    checkpoint::Checkpoint,
    member::{Member, Replica},
    peer_message::{Answer, Chunk, Envelope, Request},
    runtime::{EnvRuntime, on_lane},
    state_machine::Snapshot,
    store::MESSAGE_BYTES_MAX,
    type_config::{LogId, TypeConfig, Vote},
};
use bytes::Bytes;
use env::{BoxFuture, World};
use openraft::{
    AsyncRuntime, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    entry::RaftEntry,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, future::Future, io, sync::Arc, time::Duration};

/// The pause before a controller that could not be reached is sent entries again. Heartbeats show much sooner that it is
/// back, but the library does not go by them.
const AGAIN: Duration = Duration::from_millis(100);

/// Carries a message to another controller and brings back its answer: what it gave to
/// [`crate::Quorum::serve`]. The caller sets the time limit and drops the future when it is over.
pub trait Transport: Send + Sync {
    /// Sends `request` to a replica, which listens as `member` says.
    fn call(&self, to: Replica, member: &Member, request: Bytes) -> BoxFuture<'static, io::Result<Bytes>>;
}

/// The way to all other controllers.
#[derive(Clone)]
pub(crate) struct Peers(pub(crate) Arc<Way>);

pub(crate) struct Way {
    pub(crate) world: World,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) cluster_id: String,
    pub(crate) replica: Replica,
    /// Where they listen, as the newest membership says.
    pub(crate) members: Mutex<BTreeMap<Replica, Member>>,
}

/// The way to one of them.
pub(crate) struct Peer {
    way: Arc<Way>,
    to: Replica,
    /// As it was known first.
    member: Member,
    /// The last entry that it has acknowledged to this replica as leader of the vote, on this way.
    acknowledged: Option<(Vote, LogId)>,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, to: Replica, member: &Member) -> Peer {
        Peer { way: self.0.clone(), to, member: member.clone(), acknowledged: None }
    }
}

impl Peer {
    async fn ask(&self, request: Request, option: &RPCOption) -> Result<Answer, RPCError<TypeConfig>> {
        let (cluster_id, from) = (self.way.cluster_id.clone(), self.way.replica);
        let bytes = request.encode(&Envelope { cluster_id, from, to: self.to });
        let member = self.way.members.lock().get(&self.to).cloned();
        let call = self.way.transport.call(self.to, member.as_ref().unwrap_or(&self.member), bytes);
        let answer = EnvRuntime::timeout(option.soft_ttl(), call).await;
        let unreachable = |why: String| RPCError::Unreachable(Unreachable::from_string(why));
        let answer = answer
            .map_err(|_| unreachable(format!("{} does not answer in time", self.to)))?
            .map_err(|error| unreachable(format!("{} cannot be reached: {error}", self.to)))?;
        match Answer::decode(&answer) {
            Ok(Answer::Refused(why)) => Err(unreachable(format!("{} refuses: {why}", self.to))),
            Ok(answer) => Ok(answer),
            Err(error) => Err(unreachable(format!("{} answers nonsense: {error}", self.to))),
        }
    }

    fn on_acknowledged(&mut self, vote: Vote, upto: Option<LogId>) {
        let known = self.acknowledged.filter(|(under, _)| *under == vote).map(|(_, upto)| upto);
        self.acknowledged = upto.max(known).map(|upto| (vote, upto));
    }

    /// It lacks what stands before the entries that it was sent.
    fn on_conflict(&mut self, vote: Vote, lacking: Option<LogId>) {
        let told = self.acknowledged.filter(|(under, upto)| *under == vote && lacking <= Some(*upto));
        if let (Some((_, acknowledged)), Some(lacking)) = (told, lacking) {
            tracing::error!(
                replica = %self.to, %acknowledged, %lacking,
                "a voter lacks metadata that it has acknowledged: was an older copy of its directory put back? It is sent them \
                 again and counts for nothing until it has them, but what it has voted before it may have forgotten, too"
            );
            self.acknowledged = None;
        }
    }

    /// An answer to another question.
    fn nonsense(&self) -> RPCError<TypeConfig> {
        RPCError::Network(NetworkError::from_string(format!("{} answers another question", self.to)))
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        checkpoint: Arc<Checkpoint>,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let (id, size) = (checkpoint.id(), checkpoint.size_bytes());
        let unreachable = |why: String| StreamingError::Unreachable(Unreachable::from_string(why));
        let mut position = 0;
        loop {
            let source = checkpoint.clone();
            let read = on_lane(&self.way.world, move || source.read(position, MESSAGE_BYTES_MAX)).await;
            let bytes = read.and_then(|read| read).map_err(|error| unreachable(error.to_string()))?;
            let end = position + bytes.len() as u64;
            let chunk = Chunk { vote, id, size, position, bytes };
            let answer = self.ask(Request::Snapshot(chunk), &option).await;
            match answer.map_err(|error| unreachable(error.to_string()))? {
                Answer::Snapshot { vote: theirs, .. }
                    if end >= size || theirs.leader_id != vote.leader_id =>
                {
                    return Ok(SnapshotResponse::new(theirs));
                }
                Answer::Snapshot { next_position, .. } if next_position == end => position = end,
                Answer::Snapshot { .. } => {
                    return Err(unreachable(format!("{} has lost a part of the snapshot", self.to)));
                }
                _ => return Err(unreachable(self.nonsense().to_string())),
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Arc<Checkpoint>;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (vote, before) = (request.vote, request.prev_log_id);
        let last = request.entries.last().map(RaftEntry::log_id).or(before);
        match self.ask(Request::Append(request), &option).await? {
            Answer::Append(response) => {
                match &response {
                    AppendEntriesResponse::Success => self.on_acknowledged(vote, last),
                    AppendEntriesResponse::PartialSuccess(upto) => self.on_acknowledged(vote, *upto),
                    AppendEntriesResponse::Conflict => self.on_conflict(vote, before),
                    AppendEntriesResponse::HigherVote(_) => {}
                }
                Ok(response)
            }
            _ => Err(self.nonsense()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::Vote(request), &option).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.nonsense()),
        }
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::PreVote(request), &option).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.nonsense()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sent = self.send_snapshot(vote, snapshot.snapshot, option);
        match EnvRuntime::select2(cancel, sent).await {
            openraft::async_runtime::Select2::First(closed) => Err(StreamingError::Closed(closed)),
            openraft::async_runtime::Select2::Second(sent) => sent,
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(AGAIN)))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(Request::Transfer(request), &option).await? {
            Answer::Transfer(response) => Ok(response),
            _ => Err(self.nonsense()),
        }
    }
}
