//! The broker's life in a cluster: it registers with the active controller, beats so that it is not fenced, and takes its
//! leave (KIP-631).
//!
//! A node that is alone does none of this: its controller is in the same process. What a controller does to be known and to
//! vote stands in `voting`: nothing that may take long comes between two heartbeats. `start` calls it.

use crate::{Broker, failure_code, log_dirs, start::StartError};
use env::Nanos;
use metadata::config::AckDurability;
use std::sync::{Arc, Weak};
use stdx::Uuid;
use wire::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRegistrationRequest, ErrorCode,
    broker_registration_request,
};

/// How long after a failed attempt to register the next one is made.
const RETRY_MS: i64 = 100;
/// How long a broker waits for the one that has its id to be gone. A process of its own that was killed is held for alive for one
/// session, whose length the controllers know, and for one more by a controller that has just been elected.
const TAKEN_MS_MAX: u64 = 60_000;
/// The same in sessions, as long as this node takes them to be.
const TAKEN_SESSIONS: u64 = 5;
/// How long a refused broker waits until the metadata say why.
const FOLLOW_MS_MAX: i64 = 10_000;
/// How long a controlled shutdown may take.
const SHUTDOWN_MS_MAX: i64 = 5000;
/// The `metadata.version` from which controllers know of directories that take no new replicas (4.3-IV0).
const CORDONS_FROM: i16 = 30;
/// How often a broker that stops asks whether it may.
const SHUTDOWN_ASK_MS: i64 = 50;

impl Broker {
    /// Registers; when this returns, the image has the registration. Its epoch is given. It tries for as long as it
    /// takes, unless the controller refuses this very broker, or another one lives with its id.
    pub(crate) async fn register_there(&self, previous_epoch: i64) -> Result<i64, StartError> {
        let (mut told, mut is_taken_since) = (false, None);
        let epoch = loop {
            let answer = self.ask_controller(&self.registration(previous_epoch)).await;
            let why = match answer {
                Ok(answer) if answer.error_code == failure_code::NONE => break answer.broker_epoch,
                Ok(answer) => match failure_code::from_code(answer.error_code) {
                    ErrorCode::InconsistentClusterId => {
                        return Err(StartError::Discovery(format!(
                            "the controllers belong to another cluster than {}; correct \
                             controller.quorum.bootstrap.servers, or start with an empty directory",
                            self.home.meta().cluster_id
                        )));
                    }
                    ErrorCode::UnsupportedVersion => return Err(self.unsupported_there().await),
                    error @ ErrorCode::InvalidRegistration => {
                        return Err(StartError::Discovery(format!(
                            "the controller refuses this broker: {error:?}; its log says why"
                        )));
                    }
                    ErrorCode::DuplicateBrokerRegistration => {
                        let now = self.world.clock.now();
                        self.another_lives(now.saturating_sub(*is_taken_since.get_or_insert(now)))?
                    }
                    error => {
                        is_taken_since = None;
                        format!("the controller answers {error:?}")
                    }
                },
                Err(error) => {
                    is_taken_since = None;
                    error.to_string()
                }
            };
            if !told {
                tracing::info!(%why, "not registered yet; trying again");
                told = true;
            }
            self.world.clock.sleep_until(self.world.clock.after_millis(RETRY_MS)).await;
        };
        let node = self.config.node_id;
        self.images.until(|image| image.broker(node).is_some_and(|broker| broker.epoch >= epoch)).await;
        Ok(epoch)
    }

    /// What there is to say while another broker has this one's id, for so long already; an error once it will not pass.
    fn another_lives(&self, waited: Nanos) -> Result<String, StartError> {
        let node = self.config.node_id;
        let sessions_ms = TAKEN_SESSIONS * u64::from(self.config.broker_session_ms);
        if waited / 1_000_000 <= TAKEN_MS_MAX.max(sessions_ms) {
            return Ok(format!(
                "a broker with the node.id {node} is alive; if it was just killed this passes"
            ));
        }
        Err(StartError::Discovery(format!(
            "another broker with the node.id {node} is alive; give one of the two another node.id"
        )))
    }

    /// The controller does not say which feature is beyond this broker; the metadata do, once they are here.
    async fn unsupported_there(&self) -> StartError {
        tokio::select! {
            biased;
            why = self.until_unsupported() => why.into(),
            () = self.world.clock.sleep_until(self.world.clock.after_millis(FOLLOW_MS_MAX)) => {
                StartError::Discovery(
                    "the controller refuses this broker, which cannot work with a feature level of the cluster; its log says \
                     which one: start a program on this data that can".into(),
                )
            }
        }
    }

    fn registration(&self, previous_broker_epoch: i64) -> BrokerRegistrationRequest {
        let listeners = self.config.endpoints.iter().map(|endpoint| broker_registration_request::Listener {
            name: endpoint.name.clone(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            security_protocol: endpoint.security,
        });
        let features =
            metadata::features::supported().into_iter().map(|feature| broker_registration_request::Feature {
                name: feature.name,
                min_supported_version: feature.min,
                max_supported_version: feature.max,
            });
        // Only who acknowledges nothing that a loss of power would take may say so.
        let image = self.image();
        let durability = self.config.configs(&image).topic("").ack_durability();
        let synced = (durability == AckDurability::Fsync).then(|| broker_registration_request::Feature {
            name: metadata::features::SYNCED.into(),
            min_supported_version: 0,
            max_supported_version: 1,
        });
        BrokerRegistrationRequest {
            broker_id: self.config.node_id,
            cluster_id: self.home.meta().cluster_id,
            incarnation_id: self.incarnation,
            listeners: listeners.collect(),
            features: features.chain(synced).collect(),
            rack: self.config.rack.clone(),
            log_dirs: self.dirs.ids(),
            previous_broker_epoch,
            ..BrokerRegistrationRequest::default()
        }
    }

    /// Beats until the broker is gone.
    pub(crate) async fn beat(this: Weak<Self>) {
        while let Some(broker) = this.upgrade() {
            let clock = broker.world.clock.clone();
            let next = clock.after_millis(broker.config.broker_heartbeat_ms.max(1));
            if !broker.is_stopping() {
                broker.beat_once().await;
            }
            let shared = broker.shared.clone();
            drop(broker);
            // Others are to lead what lies in a directory that has failed.
            tokio::select! {
                biased;
                () = clock.sleep_until(next) => {}
                () = shared.failure_untold.notified() => {}
            }
        }
    }

    async fn beat_once(&self) {
        let Some(answer) = self.heartbeat(false).await else { return };
        match failure_code::from_code(answer.error_code) {
            ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered => {
                tracing::warn!("the controller does not know this broker any more; registering again");
                if let Err(error) = self.register_there(-1).await {
                    tracing::error!(%error, "the broker cannot register again");
                }
            }
            _ => {}
        }
    }

    /// One heartbeat; `None` if nobody has answered in time.
    async fn heartbeat(&self, want_shut_down: bool) -> Option<BrokerHeartbeatResponse> {
        let image = self.image();
        let node = self.config.node_id;
        let request = BrokerHeartbeatRequest {
            broker_id: node,
            broker_epoch: image.broker(node).map_or(-1, |broker| broker.epoch),
            current_metadata_offset: self.images.followed(),
            want_shut_down,
            // Others are to lead what cannot be written here any more.
            offline_log_dirs: self.dirs.failed_ids(),
            cordoned_log_dirs: self.cordoned_ids(),
            ..BrokerHeartbeatRequest::default()
        };
        let (_, address) = self.active_controller()?;
        let within_ms = self.config.broker_heartbeat_ms.saturating_mul(5);
        match self.links.call(&address, &request, within_ms).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, %address, "a heartbeat was not answered");
                None
            }
        }
    }

    /// The directories that take no new replicas, if there are any, or the controller takes some for such (KIP-1066).
    fn cordoned_ids(&self) -> Option<Vec<Uuid>> {
        let image = self.image();
        let cordoned = self.config.configs(&image).broker().list("cordoned.log.dirs");
        let dirs = self.dirs.all().iter().filter(|dir| log_dirs::is_cordoned(dir, &cordoned));
        let ids: Vec<_> = dirs.filter_map(|dir| dir.id()).collect();
        let known = image.broker(self.config.node_id);
        let level = |(name, level): (&str, i16)| (name == "metadata.version").then_some(level);
        if image.features().find_map(level).is_none_or(|level| level < CORDONS_FROM) {
            return None;
        }
        (!ids.is_empty() || known.is_some_and(|known| !known.cordoned.is_empty())).then_some(ids)
    }

    /// Waits until this broker may lead.
    pub(crate) async fn until_unfenced(&self) {
        let node = self.config.node_id;
        self.images.until(|image| image.broker(node).is_some_and(|broker| broker.is_active())).await;
    }

    /// Lets others lead what this broker leads, as far as there are any (KIP-143).
    pub(crate) async fn take_leave(self: &Arc<Self>) {
        let clock = &self.world.clock;
        let deadline = clock.after_millis(SHUTDOWN_MS_MAX);
        while clock.now() < deadline {
            match self.heartbeat(true).await {
                Some(answer) if answer.should_shut_down => return,
                Some(answer) => match failure_code::from_code(answer.error_code) {
                    // Nobody knows this broker: there is nobody to take leave of.
                    ErrorCode::StaleBrokerEpoch | ErrorCode::BrokerIdNotRegistered => return,
                    _ => {}
                },
                // Another controller is about to become active.
                None => {}
            }
            clock.sleep_until(clock.after_millis(SHUTDOWN_ASK_MS)).await;
        }
    }
}
