//! From a log directory to a broker that serves: take the directory, replay the metadata, register, open the logs.
//!
//! It is the only place where the parts of a [`Broker`] are put together.

use crate::{
    Broker, Config, Door, LogDirError, METADATA_DIR,
    backlog::Backlog,
    client_metrics::ClientMetrics,
    client_quotas::ClientQuotas,
    connections::Connections,
    controller::ControllerHost,
    discovery::{self, Discovery, Settled, Voters},
    doorbell::Doorbell,
    fetch_sessions::FetchSessions,
    fetchers::Fetchers,
    follower::{FollowError, Follower},
    frame_budget::FrameBudget,
    gathering::Gathering,
    group_hosts::GroupHosts,
    images::Images,
    link::Links,
    log_config,
    log_dir::{Found, LogDir, Shared, holds_metadata},
    log_dirs::{self, AllFound, LogDirs},
    mailboxes::Desks,
    metrics::Metrics,
    moves::Moves,
    observers::Observers,
    partition::{Partition, on_lane},
    partitions::Partitions,
    producer_ids::ProducerIds,
    remote_log::RemoteLog,
    replicas,
    share_coordinators::ShareCoordinators,
    share_partitions::SharePartitions,
    share_states,
    tail_budget::TailBudget,
    throttles::Throttles,
    transaction_hosts::TransactionHosts,
    txn_markers, txn_verification,
    unsupported::Unsupported,
    upkeep,
};
use env::{Network, World};
use metadata::{Image, RegisterBroker, Request, Settings};
use model::{LeaderEpoch, Offset, TopicName, TopicPartition, limits};
use parking_lot::Mutex;
use quorum::{Introduction, Member, Quorum, RaftQuorum, Replica, StreamTransport};
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use stdx::Uuid;

/// Memory for the recent end of the metadata log.
const METADATA_TAIL_BYTES_MAX: usize = 1 << 20;
/// How long one part of a snapshot may be under way between controllers.
const SNAPSHOT_PART_MS_MAX: u64 = 5000;
/// How often a start looks whether the disk is full.
const ROOM_CHECK_MS: i64 = 100;

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
    /// The metadata are those of another version of this program. Nothing is damaged, and no other try helps.
    #[error("this program cannot serve this cluster: {0}")]
    Unsupported(#[from] Unsupported),
    /// The controller refuses this broker.
    #[error("the controller refused this broker: {0}")]
    Refused(#[from] metadata::Error),
    /// The directory is an older copy of itself, as the leader of the quorum knows.
    #[error(transparent)]
    Stale(quorum::Stale),
    /// The other nodes and this one do not fit together.
    #[error("this node cannot join its cluster: {0}")]
    Discovery(String),
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
        door: &Door,
    ) -> Result<Arc<Self>, StartError> {
        let (home, found) = open_home(&config, &world).await?;
        let links = Links::new(network, world.clone());
        let incarnation = world.random.uuid();
        let (settled, acknowledged) = discover(&config, &home, &links, incarnation, door).await?;
        let quorum = open_quorum(&config, &home, (&found, acknowledged), links.clone()).await?;
        let (dirs, found) = open_dirs(&config, &home, found).await?;
        let cluster_id = home.meta().cluster_id;
        let images = Images::new(&cluster_id);
        let settings = Settings { cluster_id, node: config.node_id, statics: config.statics.clone() };
        let doorbell = doorbell(&config, &world, &links, &images);
        let watching = (config.session_policy(), doorbell.clone());
        let (host, work) =
            ControllerHost::new(world.clone(), settings, quorum.clone(), images.clone(), watching);
        let broker =
            Self::assemble(config, (links, doorbell), (home, dirs), (host, quorum, images), incarnation);
        broker.world.tasks.spawn(Box::pin(work.run()));
        let policy = broker.config.snapshot_policy();
        let follower =
            Follower::new(broker.world.clone(), broker.quorum.clone(), broker.images.clone(), policy);
        if broker.config.is_clustered() {
            door.open(broker.clone());
            tokio::select! {
                biased;
                why = broker.until_unsupported() => return Err(why.into()),
                joined = broker.join_cluster(settled, follower, &found) => joined?,
            }
        } else {
            broker.begin_alone(follower, &found).await?;
            door.open(broker.clone());
        }
        upkeep::start(&broker);
        Ok(broker)
    }

    fn assemble(
        config: Config,
        (links, doorbell): (Arc<Links>, Arc<Doorbell>),
        (home, dirs): (Arc<LogDir>, LogDirs),
        (controller, quorum, images): (ControllerHost, Arc<RaftQuorum>, Arc<Images>),
        incarnation: Uuid,
    ) -> Arc<Self> {
        let world = home.world.clone();
        Arc::new(Self {
            backlog: home.shared.backlog.clone(),
            shared: home.shared.clone(),
            dirs: Arc::new(dirs),
            moves: Moves::new(),
            connections: Connections::new(config.connections_max, config.connections_per_address_max),
            frame_budget: FrameBudget::new(config.large_frames_bytes_max.max(config.request_bytes_max)),
            controller,
            quorum,
            images,
            is_stopping: AtomicBool::new(false),
            following: tokio::sync::Mutex::default(),
            partitions: Partitions::default(),
            fetchers: Fetchers::new(links.clone(), config.fetchers()),
            groups: GroupHosts::new(world.clone()),
            transactions: TransactionHosts::new(),
            txn_markers: Gathering::new(txn_markers::send),
            txn_questions: Gathering::new(txn_verification::send),
            share_coordinators: ShareCoordinators::new(),
            share_asking: Gathering::new(share_states::send),
            streams_topics: Default::default(),
            desks: Desks::new(),
            shares: SharePartitions::new(
                usize::try_from(
                    config.configs(&Image::new("")).broker().integer("group.share.max.share.sessions"),
                )
                .unwrap_or(limits::FETCH_SESSIONS_MAX),
                limits::FETCH_SESSION_PARTITIONS_MAX,
            ),
            producer_ids: ProducerIds::new(),
            remote: RemoteLog::new(replica(&config, &home), links.clone(), config.controllers.clone()),
            links,
            observers: Observers::default(),
            doorbell,
            incarnation,
            sessions: Mutex::new(FetchSessions::new(
                limits::FETCH_SESSIONS_MAX,
                limits::FETCH_SESSION_PARTITIONS_MAX,
            )),
            metrics: Metrics::new(),
            client_metrics: ClientMetrics::new(
                config.configs(&Image::new("")).broker().integer("telemetry.max.bytes"),
            ),
            client_quotas: ClientQuotas::new(&config.configs(&Image::new("")).broker()),
            throttles: Throttles::new(config.node_id, &config.configs(&Image::new("")).broker()),
            catching_up: Arc::default(),
            config,
            home,
            world,
        })
    }

    /// A broker whose metadata come from a controller elsewhere: it is given images, and what it asks goes there.
    #[cfg(test)]
    pub(crate) async fn start_led(
        config: Config,
        world: World,
        network: Arc<dyn Network>,
        image: Image,
    ) -> Result<(Arc<Self>, tokio::sync::mpsc::Receiver<crate::controller::Order>), StartError> {
        let (home, found) = open_home(&config, &world).await?;
        let links = Links::new(network, world.clone());
        let quorum = open_quorum(&config, &home, (&found, None), links.clone()).await?;
        let (dirs, found) = open_dirs(&config, &home, found).await?;
        let images = Images::new(&home.meta().cluster_id);
        images.publish(image, &[]);
        let (host, orders) = ControllerHost::elsewhere(images.clone(), world.clock.clone());
        let incarnation = world.random.uuid();
        let doorbell = doorbell(&config, &world, &links, &images);
        let broker =
            Self::assemble(config, (links, doorbell), (home, dirs), (host, quorum, images), incarnation);
        replicas::open_all(&broker, &found).await?;
        upkeep::start(&broker);
        Ok((broker, orders))
    }

    /// A quorum of one leads at once, and its broker needs nobody's leave.
    async fn begin_alone(
        self: &Arc<Self>,
        mut follower: Follower,
        found: &AllFound,
    ) -> Result<(), StartError> {
        if !self.quorum.is_founded() {
            let member = Member::new(self.config.controller_endpoints.clone());
            self.found(BTreeMap::from([(self.quorum.replica(), member)])).await?;
        }
        self.lead_alone().await?;
        // Before anything is decided: what cannot be read here, nobody may go on from.
        follower.catch_up().await.map_err(|error| match error {
            FollowError::Io(error) => StartError::Metadata(error.to_string()),
            FollowError::Unsupported(why) => why.into(),
        })?;
        self.follow(follower);
        self.controller.until_active().await.map_err(|_| self.stopped_quorum())?;
        // Registered first: a new incarnation raises the leader epochs under which the logs are opened.
        self.register().await?;
        replicas::open_all(self, found).await?;
        Ok(())
    }

    async fn join_cluster(
        self: &Arc<Self>,
        settled: Option<Settled>,
        follower: Follower,
        found: &AllFound,
    ) -> Result<(), StartError> {
        self.enter_quorum(settled, follower).await?;
        if self.config.is_broker { self.join(found).await } else { self.until_led().await }
    }

    /// Takes part in the quorum, or follows it.
    async fn enter_quorum(
        self: &Arc<Self>,
        settled: Option<Settled>,
        follower: Follower,
    ) -> Result<(), StartError> {
        if let Some(Settled::Found(voters)) = settled {
            self.found(voters).await?;
        }
        self.follow(follower);
        if self.config.is_controller {
            self.world.tasks.spawn(Box::pin(Self::keep_place(Arc::downgrade(self))));
        }
        Ok(())
    }

    /// From now on the node knows what is committed, and its partitions follow once they are open.
    fn follow(self: &Arc<Self>, follower: Follower) {
        self.world.tasks.spawn(Box::pin(follower.run(Arc::downgrade(self))));
        self.world.tasks.spawn(Box::pin(replicas::follow_images(Arc::downgrade(self))));
    }

    /// Is registered and unfenced by the active controller.
    async fn join(self: &Arc<Self>, found: &AllFound) -> Result<(), StartError> {
        self.register_there(log_dirs::broker_epoch(found)).await?;
        replicas::open_all(self, found).await?;
        self.shared.dir_assignments.tell_at_start(self).await;
        self.world.tasks.spawn(Box::pin(Self::beat(Arc::downgrade(self))));
        self.until_unfenced().await;
        self.images.forget_farewells();
        Ok(())
    }

    /// A controller without a broker serves once its quorum has a leader.
    async fn until_led(self: &Arc<Self>) -> Result<(), StartError> {
        let mut leadership = self.quorum.leadership();
        let led = leadership.wait_for(|known| known.leader.is_some()).await;
        led.map(drop).map_err(|_| self.stopped_quorum())
    }

    async fn found(&self, voters: Voters) -> Result<(), StartError> {
        self.quorum.found(voters).await.map_err(|error| StartError::Metadata(error.to_string()))
    }

    /// Waits until this node leads the quorum; an error if the disk has no room for that.
    async fn lead_alone(&self) -> Result<(), StartError> {
        let (mut leadership, clock) = (self.quorum.leadership(), &self.world.clock);
        loop {
            tokio::select! {
                biased;
                led = leadership.wait_for(|known| known.is_active) => {
                    return led.map(drop).map_err(|_| self.stopped_quorum());
                }
                () = clock.sleep_until(clock.after_millis(ROOM_CHECK_MS)) => {
                    if let Some(why) = self.quorum.stuck() {
                        return Err(StartError::Io(io::Error::other(why)));
                    }
                }
            }
        }
    }

    fn stopped_quorum(&self) -> StartError {
        let why = self.quorum.failed().unwrap_or_else(|| "the consensus has stopped".into());
        StartError::Io(io::Error::other(why))
    }

    async fn register(self: &Arc<Self>) -> Result<(), StartError> {
        let registration = RegisterBroker {
            broker: self.config.node_id,
            cluster_id: self.home.meta().cluster_id,
            incarnation: self.incarnation,
            endpoints: self.config.endpoints.clone(),
            features: metadata::features::supported(),
            rack: self.config.rack.clone(),
            directories: self.dirs.ids(),
            fenced: false,
            previous_epoch: -1,
            synced: true,
        };
        self.controller.ask(Request::RegisterBroker(registration)).await?;
        Ok(())
    }

    /// Stops: ends connections, writes everything down, marks the directory clean.
    pub async fn stop(self: &Arc<Self>) {
        if self.config.is_clustered() {
            self.is_stopping.store(true, Ordering::Release);
            if self.config.is_broker {
                self.take_leave().await;
            }
            self.hand_over().await;
        }
        self.connections.stop();
        let epoch = self.image().broker(self.config.node_id).map_or(-1, |broker| broker.epoch);
        let closing = self.partitions.close();
        let partitions = futures_util::future::join_all(closing.iter().map(|partition| partition.close()));
        futures_util::future::join(partitions, self.quorum.stop()).await;
        for dir in self.dirs.online() {
            let is_stuck = |partition: &Arc<Partition>| partition.is_in(dir) && partition.is_stuck();
            let is_whole = !closing.iter().any(is_stuck);
            let (broker, dir) = (self.clone(), dir.clone());
            let marked = self.on_lane(move || {
                dir.write_checkpoints(|| upkeep::checkpoints(&broker, &dir))?;
                if is_whole { dir.mark_clean(epoch) } else { Ok(()) }
            });
            if let Some(Err(error)) = marked.await {
                tracing::error!(%error, "a log directory could not be marked clean; the next start will check it");
            }
        }
    }
}

/// The directory of the metadata log, without which nothing can be done.
async fn open_home(config: &Config, world: &World) -> Result<(Arc<LogDir>, Found), StartError> {
    let (path, cluster) = (config.metadata_log_dir.clone(), config.cluster_id.clone());
    let tail = TailBudget::new(config.tail_bytes_max);
    let backlog = Arc::new(Backlog::new(config.backlog_bytes_max));
    let shared = Shared::new(world.clone(), config.node_id, tail, backlog);
    let others: Vec<_> = config.log_dirs.iter().filter(|dir| **dir != path).cloned().collect();
    let opened = on_lane(world, move || {
        // Looked for before anything is made: metadata that are begun anew in a wrong directory would be in the way when the
        // mistake is corrected. A directory that cannot be read is dealt with later.
        let has_them = |dir: &&PathBuf| holds_metadata(&*shared.world.disk, dir).unwrap_or(false);
        match others.iter().find(has_them) {
            Some(other) => Err(LogDirError::OtherMetadata { path: other.clone(), home: path }),
            None => LogDir::open(shared, &path, cluster.as_deref()),
        }
    });
    let (dir, found) = opened.await.unwrap_or_else(|| Err(stopped(&config.metadata_log_dir)))?;
    Ok((Arc::new(dir), found))
}

/// The others, once it is known to which cluster they must belong.
async fn open_dirs(
    config: &Config,
    home: &Arc<LogDir>,
    found: Found,
) -> Result<(LogDirs, AllFound), StartError> {
    let (on, paths) = (home.clone(), config.log_dirs.clone());
    let opened = on_lane(&home.world, move || LogDirs::open((&on, found), &paths));
    Ok(opened.await.unwrap_or_else(|| Err(stopped(&home.path)))?)
}

fn stopped(path: &std::path::Path) -> LogDirError {
    LogDirError::Io { path: path.to_owned(), error: io::Error::other("the node stops") }
}

fn doorbell(config: &Config, world: &World, links: &Arc<Links>, images: &Arc<Images>) -> Arc<Doorbell> {
    let listener = config.fetchers().listener;
    Doorbell::new(links.clone(), images.clone(), world.clone(), (config.node_id, listener))
}

fn replica(config: &Config, dir: &LogDir) -> Replica {
    Replica { node: config.node_id, directory: dir.meta().directory_id.unwrap_or_default() }
}

/// Up to where a voter has acknowledged the metadata log to the leader of that epoch.
type Acknowledged = (LeaderEpoch, Offset);

/// Finds out how this node comes to its quorum; `None` if its directory has one already, or if it is alone. Of one that has, the
/// leader says up to where it has acknowledged the log.
async fn discover(
    config: &Config,
    dir: &Arc<LogDir>,
    links: &Links,
    incarnation: Uuid,
    door: &Door,
) -> Result<(Option<Settled>, Option<Acknowledged>), StartError> {
    if !config.is_clustered() {
        return Ok((None, None));
    }
    let on = dir.clone();
    let is_founded =
        on_lane(&dir.world, move || holds_metadata(&*on.world.disk, &on.path)).await.unwrap_or(Ok(false))?;
    let me = Introduction {
        replica: replica(config, dir),
        incarnation,
        cluster_id: dir.meta().cluster_id,
        member: Member::new(config.controller_endpoints.clone()),
        is_founded,
        voters: Voters::new(),
    };
    if is_founded {
        let (answers, acknowledged) = futures_util::future::join(
            discovery::ask_all(links, &config.controllers),
            discovery::acknowledged(links, &config.controllers, me.replica),
        )
        .await;
        return match discovery::conflict(&me, &answers) {
            None => Ok((None, acknowledged)),
            Some(why) => Err(StartError::Discovery(why)),
        };
    }
    let on = dir.clone();
    let has_logs = on_lane(&dir.world, move || holds_logs(&on)).await.unwrap_or(Ok(false))?;
    let replica = me.replica;
    let discovery = Discovery::new(dir.clone(), me, has_logs);
    door.set_discovering(discovery.clone());
    let settled = discovery.settle(links, &config.controllers).await.map_err(StartError::Discovery)?;
    // Whoever removed its log but left its directory.id made no other replica of it.
    let acknowledged = match &settled {
        Settled::Join if config.is_controller => {
            discovery::acknowledged(links, &config.controllers, replica).await
        }
        _ => None,
    };
    Ok((Some(settled), acknowledged))
}

/// Whether the directory holds a log of any partition.
fn holds_logs(dir: &LogDir) -> io::Result<bool> {
    let entries = dir.world.disk.list(&dir.path)?;
    let is_log = |name: &str| name != METADATA_DIR && log::names::parse_dir_name(name).is_some();
    Ok(entries.iter().any(|entry| entry.is_dir && is_log(&entry.name)))
}

/// Opens this node's replica of the metadata log.
async fn open_quorum(
    config: &Config,
    dir: &Arc<LogDir>,
    (found, acknowledged): (&Found, Option<Acknowledged>),
    links: Arc<Links>,
) -> Result<Arc<RaftQuorum>, StartError> {
    let image = Image::new("");
    let name = TopicPartition::new(
        TopicName::new("__cluster_metadata").map_err(|error| StartError::Metadata(error.to_string()))?,
        0,
    );
    debug_assert_eq!(log::names::dir_name(&name), METADATA_DIR);
    let quorum_config = quorum::Config {
        cluster_id: dir.meta().cluster_id,
        replica: replica(config, dir),
        member: Member::new(config.controller_endpoints.clone()),
        dir: dir.path.join(METADATA_DIR),
        plain_recovery_point: found.recovery_points.get(&name).copied().unwrap_or(0),
        acknowledged,
        log: log_config::of_metadata(&config.configs(&image).topic("")),
        tail_bytes_max: METADATA_TAIL_BYTES_MAX,
        heartbeat_interval_ms: config.quorum_heartbeat_ms,
        election_timeout_ms: config.quorum_election_ms,
        snapshot_timeout_ms: SNAPSHOT_PART_MS_MAX,
        entries_kept: config.snapshot_batches_kept,
    };
    let transport = Arc::new(StreamTransport::new(links));
    let opened = RaftQuorum::open(quorum_config, dir.world.clone(), transport).await;
    Ok(Arc::new(opened.map_err(not_opened)?))
}

fn not_opened(error: io::Error) -> StartError {
    let error = match error.downcast::<quorum::Stale>() {
        Ok(stale) => return StartError::Stale(stale),
        Err(error) => error,
    };
    match error.downcast::<quorum::NewerFormat>() {
        Ok(newer) => Unsupported::File(newer.to_string()).into(),
        Err(error) => StartError::Metadata(error.to_string()),
    }
}
