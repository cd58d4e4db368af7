//! From a log directory to a broker that serves: take the directory, replay the metadata, register, open the logs.
//!
//! It is the only place where the parts of a [`Broker`] are put together.

use crate::{
    Broker, Config, LogDirError, METADATA_DIR,
    acks::{Acks, Settled},
    backlog::Backlog,
    connections::Connections,
    controller::{ControllerHost, ControllerLoop},
    fetch_sessions::FetchSessions,
    fetchers::{Fetchers, Peers},
    frame_budget::FrameBudget,
    group_hosts::GroupHosts,
    log_config,
    log_dir::{Found, LogDir},
    metrics::Metrics,
    partition::{Partition, on_lane},
    partitions::Partitions,
    producer_ids::ProducerIds,
    replicas,
    tail_budget::TailBudget,
    upkeep,
};
use env::{Network, World};
use log::OpenOptions;
use metadata::{Controller, RegisterBroker, Request, Settings};
use model::{LeaderEpoch, TopicName, TopicPartition, limits};
use parking_lot::Mutex;
use records::{BatchBuilder, ControlType};
use std::{io, sync::Arc};
use stdx::Uuid;
use wire::{Encoder, Message, record::LeaderChangeMessage};

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log directory cannot be used.
    #[error(transparent)]
    LogDir(#[from] LogDirError),
    /// The metadata log cannot be read: without it nothing is known of any topic.
    #[error(
        "the metadata log cannot be read: {0}; restore the log directory from a copy, or start with an empty one"
    )]
    Metadata(String),
    /// The controller refuses this broker.
    #[error("the controller refused this broker: {0}")]
    Refused(#[from] metadata::Error),
    /// A disk failed.
    #[error("the log directory failed: {0}; check the disk")]
    Io(#[from] io::Error),
}

impl Broker {
    /// Starts a broker: when this returns, it serves.
    pub async fn start(
        config: Config,
        world: World,
        network: Arc<dyn Network>,
    ) -> Result<Arc<Self>, StartError> {
        let (dir, found) = open_dir(&config, &world).await?;
        let (metadata_log, controller) = open_metadata(&config, &dir, &found).await?;
        let (host, work) = ControllerHost::new(world.clone(), controller, metadata_log.clone());
        let broker = Self::assemble(config, world, network, dir, (host, metadata_log));
        let following = Arc::downgrade(&broker);
        broker.world.tasks.spawn(Box::pin(work.run(Box::new(move |before, after| {
            let following = following.clone();
            Box::pin(async move {
                if let Some(broker) = following.upgrade() {
                    replicas::follow(&broker, &before, &after).await;
                }
            })
        }))));
        // Registered first: a new incarnation raises the leader epochs under which the logs are opened.
        broker.register().await?;
        replicas::open_all(&broker, &broker.image(), &found).await?;
        upkeep::start(&broker);
        Ok(broker)
    }

    fn assemble(
        config: Config,
        world: World,
        network: Arc<dyn Network>,
        dir: Arc<LogDir>,
        (controller, metadata_log): (ControllerHost, Arc<Partition>),
    ) -> Arc<Self> {
        Arc::new(Self {
            backlog: dir.backlog.clone(),
            connections: Connections::new(config.connections_max, config.connections_per_address_max),
            frame_budget: FrameBudget::new(config.large_frames_bytes_max.max(config.request_bytes_max)),
            controller,
            metadata_log,
            partitions: Partitions::default(),
            fetchers: Fetchers::new(Arc::new(Peers(network)), config.fetchers()),
            groups: GroupHosts::new(world.clone()),
            producer_ids: ProducerIds::new(config.node_id),
            sessions: Mutex::new(FetchSessions::new(
                limits::FETCH_SESSIONS_MAX,
                limits::FETCH_SESSION_PARTITIONS_MAX,
            )),
            metrics: Metrics::new(),
            config,
            dir,
            world,
        })
    }

    /// A broker whose metadata come from a controller elsewhere, and what leads there.
    #[cfg(test)]
    pub(crate) async fn start_led(
        config: Config,
        world: World,
        network: Arc<dyn Network>,
        image: metadata::Image,
    ) -> Result<(Arc<Self>, crate::controller::Elsewhere), StartError> {
        let (dir, found) = open_dir(&config, &world).await?;
        let (metadata_log, _) = open_metadata(&config, &dir, &found).await?;
        let (host, elsewhere) = ControllerHost::elsewhere(image);
        let broker = Self::assemble(config, world, network, dir, (host, metadata_log));
        replicas::open_all(&broker, &broker.image(), &found).await?;
        upkeep::start(&broker);
        Ok((broker, elsewhere))
    }

    async fn register(self: &Arc<Self>) -> Result<(), StartError> {
        self.controller.ask(Request::Bootstrap).await?;
        let registration = RegisterBroker {
            broker: self.config.node_id,
            cluster_id: self.dir.meta.cluster_id.clone(),
            incarnation: self.world.random.uuid(),
            endpoints: self.config.endpoints.clone(),
            features: metadata::features::supported(),
            rack: self.config.rack.clone(),
            directories: self.dir.meta.directory_id.into_iter().collect(),
            fenced: false,
            previous_epoch: -1,
            synced: true,
        };
        self.controller.ask(Request::RegisterBroker(registration)).await?;
        Ok(())
    }

    /// Stops: ends connections, writes everything down, marks the directory clean.
    pub async fn stop(self: &Arc<Self>) {
        self.connections.stop();
        let closing = self.partitions.close().into_iter().chain([self.metadata_log.clone()]);
        let closing: Vec<_> = closing.collect();
        futures_util::future::join_all(closing.iter().map(|partition| partition.close())).await;
        let epoch = self.image().broker(self.config.node_id).map_or(-1, |broker| broker.epoch);
        let (broker, dir) = (self.clone(), self.dir.clone());
        let is_whole = !dir.is_offline() && !closing.iter().any(|partition| partition.is_stuck());
        let marked = self.on_lane(move || {
            dir.write_checkpoints(|| upkeep::checkpoints(&broker))?;
            if is_whole { dir.mark_clean(epoch) } else { Ok(()) }
        });
        if let Some(Err(error)) = marked.await {
            tracing::error!(%error, "the log directory could not be marked clean; the next start will check it");
        }
    }
}

async fn open_dir(config: &Config, world: &World) -> Result<(Arc<LogDir>, Found), StartError> {
    let on = world.clone();
    let (path, node, cluster) = (config.log_dir.clone(), config.node_id, config.cluster_id.clone());
    let (tail, backlog) = (config.tail_bytes_max, config.backlog_bytes_max);
    let opened = on_lane(world, move || {
        let (tail, backlog) = (TailBudget::new(tail), Arc::new(Backlog::new(backlog)));
        LogDir::open(on, &path, (node, cluster.as_deref()), tail, backlog)
    });
    let (dir, found) = opened.await.unwrap_or_else(|| Err(stopped(&config.log_dir)))?;
    Ok((Arc::new(dir), found))
}

fn stopped(path: &std::path::Path) -> LogDirError {
    LogDirError::Io { path: path.to_owned(), error: io::Error::other("the node stops") }
}

/// Opens and replays the metadata log, and begins an epoch of this start.
async fn open_metadata(
    config: &Config,
    dir: &Arc<LogDir>,
    found: &Found,
) -> Result<(Arc<Partition>, Controller), StartError> {
    let settings = Settings {
        cluster_id: dir.meta.cluster_id.clone(),
        node: config.node_id,
        statics: config.statics.clone(),
    };
    let mut controller = Controller::new(settings);
    let log_config = Arc::new(log_config::of_metadata(&controller.configs().topic("")));
    let fail = |why: String| StartError::Metadata(why);
    let topic = TopicName::new("__cluster_metadata").map_err(|error| fail(error.to_string()))?;
    let name = TopicPartition::new(topic.clone(), 0);
    debug_assert_eq!(log::names::dir_name(&name), METADATA_DIR);
    let options = OpenOptions {
        topic_id: Uuid::METADATA_TOPIC,
        is_new: false,
        config: log_config.clone(),
        clean: found.clean,
        recovery_point: found.recovery_points.get(&name).copied().unwrap_or(0),
        start_offset: found.start_offsets.get(&name).copied().unwrap_or(0),
        now: dir.world.clock.wall(),
    };
    let on = dir.clone();
    let opened = on_lane(&dir.world, move || replicas::open_log(&on, &name, options)).await;
    let opened =
        opened.ok_or_else(|| fail("the node stops".into()))?.map_err(|unopened| fail(unopened.why))?;
    let epoch = opened.0.epochs().latest().map_or(1, |latest| latest.saturating_add(1));
    let id = (topic, Uuid::METADATA_TOPIC, 0);
    let partition = Partition::new(dir.clone(), id, epoch, log_config, Ok(opened));
    ControllerLoop::load(&mut controller, &partition).await.map_err(|error| fail(error.to_string()))?;
    begin_epoch(config, &partition, epoch, dir.world.clock.wall()).await?;
    Ok((partition, controller))
}

/// Every leader of the metadata log begins its epoch with a LeaderChangeMessage (KIP-595).
async fn begin_epoch(
    config: &Config,
    partition: &Arc<Partition>,
    epoch: LeaderEpoch,
    now: i64,
) -> Result<(), StartError> {
    let voter = wire::record::leader_change_message::Voter { voter_id: config.node_id, ..Default::default() };
    let change = LeaderChangeMessage {
        version: 0,
        leader_id: config.node_id,
        voters: vec![voter.clone()],
        granting_voters: vec![voter],
    };
    let mut encoder = Encoder::new();
    change.encode(&mut encoder, 0).map_err(|error| StartError::Metadata(error.to_string()))?;
    let value = encoder.into_bytes().unwrap_or_default();
    let mut builder = BatchBuilder::new().control().leader_epoch(epoch);
    builder.push(now, Some(&ControlType::LeaderChange.to_key()), Some(&value), &[]);
    let acks = Acks::new();
    acks.open(0);
    let appended = partition.append_at_start(now, builder.build()?, acks.clone() as Arc<dyn Settled>);
    appended.map_err(io::Error::other)?;
    if acks.wait().await.is_empty() {
        Ok(())
    } else {
        Err(StartError::Io(io::Error::other("the metadata log could not be written")))
    }
}
