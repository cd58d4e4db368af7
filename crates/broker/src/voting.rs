//! A controller's place in its quorum (KIP-853, KIP-919): it introduces itself, becomes a voter if it shall do so by itself,
//! and tells the leader when it listens elsewhere than the voters have it. Each is tried until it is so.
//!
//! It runs beside the heartbeats, which must not wait for any of it, and decides nothing: the leader of the quorum does.

use crate::{Broker, failure_code, link::Address};
use metadata::{ControllerRegistration, Endpoint};
use quorum::{Member, Quorum, ReplicaState};
use std::{io, sync::Weak};
use wire::{
    AddRaftVoterRequest, ControllerRegistrationRequest, DescribeQuorumRequest, ErrorCode,
    RemoveRaftVoterRequest, UpdateRaftVoterRequest, add_raft_voter_request, controller_registration_request,
    describe_quorum_request, update_raft_voter_request,
};

/// How often a controller looks whether its place is as it should be.
const LOOK_MS: i64 = 1000;
/// How long it may take until a new voter has everything; then it is asked for again.
const JOIN_MS_MAX: i32 = 4000;
/// How long one of those may take that may be the leader.
const TELL_MS_MAX: i64 = 2000;
/// A voter that the leader has not heard for so long is taken for gone.
const GONE_MS: i64 = 5000;

impl Broker {
    /// Sees to this controller's place until the broker is gone.
    pub(crate) async fn keep_place(this: Weak<Self>) {
        while let Some(broker) = this.upgrade() {
            let clock = broker.world.clock.clone();
            if !broker.is_stopping() {
                broker.keep_vote().await;
                broker.introduce_controller().await;
            }
            drop(broker);
            clock.sleep_until(clock.after_millis(LOOK_MS)).await;
        }
    }

    async fn keep_vote(&self) {
        let voters = self.quorum.describe().voters;
        match voters.iter().find(|voter| voter.replica == self.quorum.replica()) {
            Some(own) if own.member.endpoints == self.config.controller_endpoints => {}
            Some(_) => self.tell_address(&voters).await,
            None if self.config.joins_by_itself => {
                if let Err(error) = self.join_voters().await {
                    tracing::warn!(%error, "this node does not vote yet");
                }
            }
            None => {}
        }
    }

    /// Becomes a voter. One that has lost its disk first takes the vote of its former self away, as Kafka's do.
    async fn join_voters(&self) -> io::Result<()> {
        let me = self.quorum.replica();
        let cluster_id = Some(self.home.meta().cluster_id);
        if let Some((voter_directory_id, silent_ms)) = self.former_self().await? {
            if silent_ms < GONE_MS {
                let why = format!(
                    "another node with the id {} votes and is alive; give one another node.id",
                    me.node
                );
                return Err(io::Error::other(why));
            }
            let request = RemoveRaftVoterRequest {
                cluster_id: cluster_id.clone(),
                voter_id: me.node,
                voter_directory_id,
            };
            let answer = self.ask_controller(&request).await?;
            refused(answer.error_code, answer.error_message)?;
            tracing::info!(node = me.node, directory = %voter_directory_id, "the vote of a lost disk was taken away");
        }
        let listeners =
            self.config.controller_endpoints.iter().map(|endpoint| add_raft_voter_request::Listener {
                name: endpoint.name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            });
        let request = AddRaftVoterRequest {
            cluster_id,
            timeout_ms: JOIN_MS_MAX,
            voter_id: me.node,
            voter_directory_id: me.directory,
            listeners: listeners.collect(),
            ..AddRaftVoterRequest::default()
        };
        let answer = self.ask_controller(&request).await?;
        refused(answer.error_code, answer.error_message)?;
        tracing::info!("this node votes in the quorum now");
        Ok(())
    }

    /// The voter of this node's id on another disk, and for how long the leader has not heard it.
    async fn former_self(&self) -> io::Result<Option<(stdx::Uuid, i64)>> {
        let topic = describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![describe_quorum_request::PartitionData { partition_index: 0 }],
        };
        let answer = self.ask_controller(&DescribeQuorumRequest { topics: vec![topic] }).await?;
        let told = answer.topics.into_iter().flat_map(|topic| topic.partitions).next();
        let told = told.filter(|told| told.error_code == failure_code::NONE);
        let told = told.ok_or_else(|| io::Error::other("the leader does not describe its quorum"))?;
        let me = self.quorum.replica();
        // The leader has heard itself now.
        let now = told.current_voters.iter().map(|voter| voter.last_fetch_timestamp).max().unwrap_or(0);
        let other = told
            .current_voters
            .into_iter()
            .find(|voter| voter.replica_id == me.node && voter.replica_directory_id != me.directory);
        Ok(other.map(|voter| (voter.replica_directory_id, now.saturating_sub(voter.last_fetch_timestamp))))
    }

    /// Tells the leader where this voter listens. Who has moved hears from no leader, so that all are asked who may be it.
    async fn tell_address(&self, voters: &[ReplicaState]) {
        let me = self.quorum.replica();
        let listeners =
            self.config.controller_endpoints.iter().map(|endpoint| update_raft_voter_request::Listener {
                name: endpoint.name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
            });
        let own = Member::new(Vec::new());
        let request = UpdateRaftVoterRequest {
            cluster_id: Some(self.home.meta().cluster_id),
            current_leader_epoch: self.quorum.leadership().borrow().epoch,
            voter_id: me.node,
            voter_directory_id: me.directory,
            listeners: listeners.collect(),
            kraft_version_feature: update_raft_voter_request::KraftVersionFeature {
                min_supported_version: own.version_min,
                max_supported_version: own.version_max,
            },
        };
        let others =
            voters.iter().filter(|voter| voter.replica != me).flat_map(|voter| &voter.member.endpoints);
        let others = others.map(|endpoint| Address { host: endpoint.host.clone(), port: endpoint.port });
        let leader = self.active_controller().map(|(_, address)| address).into_iter();
        let mut asked = Vec::new();
        for address in leader.chain(self.config.controllers.iter().cloned()).chain(others) {
            if asked.contains(&address) {
                continue;
            }
            match self.links.call(&address, &request, TELL_MS_MAX).await.map(|answer| answer.error_code) {
                Ok(failure_code::NONE) => {
                    tracing::info!("the quorum knows where this voter listens now");
                    return;
                }
                Ok(code) => tracing::debug!(%address, code, "it does not lead the quorum"),
                Err(error) => tracing::debug!(%address, %error, "it cannot be asked who leads the quorum"),
            }
            asked.push(address);
        }
        tracing::warn!(
            "the leader of the quorum does not know yet where this voter listens; it is told again"
        );
    }

    /// Tells the others where this node's controller listens, if they do not know.
    async fn introduce_controller(&self) {
        let me = ControllerRegistration {
            id: self.config.node_id,
            incarnation: self.incarnation,
            endpoints: self.controller_listeners().collect(),
            features: metadata::features::supported(),
        };
        if self.image().controller(me.id) == Some(&me) {
            return;
        }
        let listeners = me.endpoints.into_iter().map(|endpoint| controller_registration_request::Listener {
            name: endpoint.name,
            host: endpoint.host,
            port: endpoint.port,
            security_protocol: endpoint.security,
        });
        let features = me.features.into_iter().map(|feature| controller_registration_request::Feature {
            name: feature.name,
            min_supported_version: feature.min,
            max_supported_version: feature.max,
        });
        let request = ControllerRegistrationRequest {
            controller_id: me.id,
            incarnation_id: me.incarnation,
            zk_migration_ready: false,
            listeners: listeners.collect(),
            features: features.collect(),
        };
        if let Err(error) = self.ask_controller(&request).await {
            tracing::debug!(%error, "the controller could not be introduced");
        }
    }

    fn controller_listeners(&self) -> impl Iterator<Item = Endpoint> {
        self.config.controller_endpoints.iter().map(|endpoint| Endpoint {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security: 0,
        })
    }
}

fn refused(code: i16, why: Option<String>) -> io::Result<()> {
    match failure_code::from_code(code) {
        ErrorCode::None => Ok(()),
        error => Err(io::Error::other(format!("{error}: {}", why.unwrap_or_default()))),
    }
}
