//! This node as a member of its quorum: who it is, who leads, and how the active controller is asked from here.
//!
//! It decides nothing; `quorum` does. Handlers, `lifecycle` and `start` call it.

use crate::{Broker, context::Context, failure_code, link::Address};
use coordinator::Now;
use metadata::{Error, NewTopic};
use model::{NodeId, ProducerId};
use quorum::{Introduction, Quorum};
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};
use wire::{
    AllocateProducerIdsRequest, CreateTopicsRequest, Decoder, EnvelopeRequest, ErrorCode, Message, Request,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    header,
};

/// How long the active controller may take to answer a request of a broker.
const ANSWER_MS_MAX: i64 = 5000;
/// How long a request waits for a controller to become active.
const ACTIVE_MS_MAX: i64 = 10_000;
/// How often it is looked for.
const LOOK_MS: i64 = 50;
/// How long a leader that stops waits for the next one.
const HAND_OVER_MS_MAX: i64 = 1000;

impl Broker {
    /// What this node answers to controllers that ask who it is.
    pub(crate) fn introduction(&self) -> Introduction {
        let described = self.quorum.describe();
        let voters = described.voters.into_iter().map(|voter| (voter.replica, voter.member)).collect();
        Introduction {
            replica: self.quorum.replica(),
            incarnation: self.incarnation,
            cluster_id: self.home.meta().cluster_id,
            member: quorum::Member::new(self.config.controller_endpoints.clone()),
            is_founded: self.quorum.is_founded(),
            voters,
        }
    }

    /// The active controller and where it listens, as far as this node knows.
    pub(crate) fn active_controller(&self) -> Option<(NodeId, Address)> {
        if !self.quorum.is_founded() {
            return self.remote.leader();
        }
        let leader = self.quorum.leadership().borrow().leader?;
        let described = self.quorum.describe();
        let known = described.voters.into_iter().find(|voter| voter.replica == leader)?;
        let endpoint = known.member.endpoints.into_iter().next()?;
        Some((leader.node, Address { host: endpoint.host, port: endpoint.port }))
    }

    /// Whether this node's own controller is the one to ask.
    pub(crate) fn is_decided_here(&self) -> bool {
        self.controller.is_active() || !self.config.is_clustered()
    }

    /// Asks the active controller, by Kafka's own API; waits for one to become active. Who is asked while another takes
    /// over answers nobody any more.
    pub(crate) async fn ask_controller<R: Request>(&self, request: &R) -> io::Result<R::Response> {
        let controller = self.until_controller().await?;
        tokio::select! {
            biased;
            answer = self.links.call(&controller, request, ANSWER_MS_MAX) => answer,
            () = self.until_another(&controller) => Err(io::Error::other("another controller has become active")),
        }
    }

    /// The same; asks again while who is asked has just ceased to be the active one. `codes` are those of an answer.
    pub(crate) async fn ask_active<R: Request>(
        &self,
        request: &R,
        codes: impl Fn(&R::Response) -> Vec<i16>,
    ) -> io::Result<R::Response> {
        let deadline = self.world.clock.after_millis(ACTIVE_MS_MAX);
        loop {
            let answer = self.ask_controller(request).await?;
            let is_active = !codes(&answer).contains(&ErrorCode::NotController.to_i16());
            if is_active || self.world.clock.now() >= deadline {
                return Ok(answer);
            }
            self.pause().await;
        }
    }

    async fn until_another(&self, asked: &Address) {
        while self.active_controller().is_none_or(|(_, address)| address == *asked) {
            self.pause().await;
        }
    }

    /// Has the active controller answer a client's request: the whole frame of its answer (KIP-590).
    pub(crate) async fn forward(
        &self,
        request: bytes::Bytes,
        client: std::net::IpAddr,
    ) -> Result<bytes::Bytes, io::Error> {
        let deadline = self.world.clock.after_millis(ACTIVE_MS_MAX);
        let address = match client {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        let envelope = EnvelopeRequest {
            request_data: request,
            request_principal: None,
            client_host_address: address.into(),
        };
        loop {
            let answer = self.ask_controller(&envelope).await?;
            match answer.response_data {
                Some(data) if answer.error_code == failure_code::NONE => return Ok(data),
                // Another has been elected meanwhile.
                _ if answer.error_code == ErrorCode::NotController.to_i16()
                    && self.world.clock.now() < deadline =>
                {
                    self.pause().await;
                }
                _ => return Err(io::Error::other(format!("the controller refuses: {}", answer.error_code))),
            }
        }
    }

    /// Has the active controller answer a request as if a client had sent it, whose quotas count then.
    async fn forward_for<R: Request>(&self, client: &Context, request: &R) -> io::Result<R::Response> {
        let version = R::KEY.highest_stable();
        let frame = header::encode_request(0, client.client_id.as_deref(), version, request);
        let frame = frame.map_err(io::Error::other)?.to_bytes().unwrap_or_default();
        // The forwarder frames it anew.
        let answer = self.forward(frame.slice(4.min(frame.len())..), client.address.ip()).await?;
        let mut decoder = Decoder::with_default_budget(answer);
        header::decode_response(&mut decoder, R::KEY, version).map_err(io::Error::other)?;
        R::Response::decode(&mut decoder, version).map_err(io::Error::other)
    }

    /// The connection on which a broker sent its heartbeats has ended.
    pub(crate) fn on_broker_disconnected(&self, silent: NodeId) {
        let now = Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() };
        self.images.hasten_sessions(|sessions| sessions.on_disconnected(now, silent));
        if self.controller.is_active() {
            self.doorbell.ring(silent);
        }
    }

    /// A connection of another voter has ended. If it was the leader's and nobody listens there any more, this node need not
    /// wait until its lease is over.
    pub(crate) fn on_voter_disconnected(self: &Arc<Self>) {
        let leader = self.quorum.leadership().borrow().leader;
        let leader = leader.filter(|leader| *leader != self.quorum.replica());
        let (Some(leader), Some((_, address))) = (leader, self.active_controller()) else { return };
        let broker = self.clone();
        self.world.tasks.spawn(Box::pin(async move {
            if broker.doorbell.is_refused(&address).await {
                tracing::warn!(%leader, %address, "nobody listens any more where the leader of the quorum did");
                broker.quorum.on_leader_gone(leader).await;
            }
        }));
    }

    /// Whether the node is about to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// If this node leads the quorum, has the voter lead that is nearest to it, so that nobody has to wait for an
    /// election.
    pub(crate) async fn hand_over(&self) {
        let (me, described) = (self.quorum.replica(), self.quorum.describe());
        if described.leadership.leader != Some(me) {
            return;
        }
        let others = described.voters.iter().filter(|voter| voter.replica != me);
        let Some(next) = others.max_by_key(|voter| voter.log_end_offset) else { return };
        if self.quorum.transfer_leadership(next.replica).await.is_err() {
            return;
        }
        let mut leadership = self.quorum.leadership();
        let clock = &self.world.clock;
        tokio::select! {
            biased;
            _ = leadership.wait_for(|known| known.leader.is_some_and(|leader| leader != me)) => {}
            () = clock.sleep_until(clock.after_millis(HAND_OVER_MS_MAX)) => {}
        }
    }

    async fn pause(&self) {
        self.world.clock.sleep_until(self.world.clock.after_millis(LOOK_MS)).await;
    }

    async fn until_controller(&self) -> io::Result<Address> {
        let deadline = self.world.clock.after_millis(ACTIVE_MS_MAX);
        loop {
            if let Some((_, address)) = self.active_controller() {
                return Ok(address);
            }
            if self.world.clock.now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no controller is active"));
            }
            self.pause().await;
        }
    }

    /// Creates topics as a broker wants them: those that a client has named or groups need. Gives each one's failure.
    pub(crate) async fn create_topics_there(
        &self,
        topics: Vec<NewTopic>,
        asked_by: Option<&Context>,
    ) -> Vec<Result<(), ErrorCode>> {
        let count = topics.len();
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let creatable = topics.into_iter().map(|topic| CreatableTopic {
            name: topic.name,
            num_partitions: topic.partitions,
            replication_factor: topic.replication_factor,
            configs: topic
                .configs
                .into_iter()
                .map(|(name, value)| CreatableTopicConfig { name, value })
                .collect(),
            ..CreatableTopic::default()
        });
        let request =
            CreateTopicsRequest { topics: creatable.collect(), timeout_ms: 5000, ..Default::default() };
        let answer = match asked_by {
            Some(context) => self.forward_for(context, &request).await,
            None => self.ask_controller(&request).await,
        };
        match answer {
            Ok(response) => {
                let told = |name: &String| {
                    let one = response.topics.iter().find(|topic| topic.name == *name);
                    match failure_code::from_code(one.map_or(-1, |one| one.error_code)) {
                        ErrorCode::None => Ok(()),
                        error => Err(error),
                    }
                };
                names.iter().map(told).collect()
            }
            Err(error) => {
                tracing::warn!(%error, "topics could not be created");
                vec![Err(ErrorCode::NotController); count]
            }
        }
    }

    /// A block of producer ids: the first, and how many.
    pub(crate) async fn allocate_producer_ids(&self) -> Result<(ProducerId, i32), Error> {
        let node = self.config.node_id;
        let broker_epoch = self.image().broker(node).map_or(-1, |broker| broker.epoch);
        if self.is_decided_here() {
            let request = metadata::Request::AllocateProducerIds { broker: node, broker_epoch };
            return match self.controller.ask_for_another(request).await? {
                metadata::Reply::AllocateProducerIds(ids) => Ok((ids.first, ids.count)),
                other => Err(crate::handlers::controller_error(Ok(other))),
            };
        }
        let failed = |why: String| Error::NotController(format!("no producer ids were allocated: {why}"));
        let request = AllocateProducerIdsRequest { broker_id: node, broker_epoch };
        let response = self.ask_controller(&request).await.map_err(|error| failed(error.to_string()))?;
        match response.error_code {
            failure_code::NONE => Ok((response.producer_id_start, response.producer_id_len)),
            code => Err(failed(format!("error {code}"))),
        }
    }
}
