//! One broker on a disk in memory, which can be stopped, killed and started anew.

use super::{
    client::Client,
    pipe,
    world::{LocalTasks, PausedClock, SeededRandom},
};
use broker::{Broker, Config, StartError};
use env::{Clock, Incoming, Millis, Tasks, World};
use log::testing::MemoryDisk;
use metadata::{Endpoint, config::Statics};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// A running broker.
pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    pub(crate) disk: Arc<MemoryDisk>,
    clock: Arc<PausedClock>,
    random: Arc<SeededRandom>,
    pub(crate) tasks: Arc<LocalTasks>,
    pub(crate) config: Config,
}

pub(crate) const NODE_ID: i32 = 7;
pub(crate) const LOG_DIR: &str = "/data";

impl Node {
    /// A broker on an empty disk.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// ... with configurations beside those that keep tests small.
    pub(crate) async fn with(statics: &[(&str, &str)]) -> Self {
        Self::with_config(statics, |_| {}).await
    }

    /// ... and whose memory or limits differ.
    pub(crate) async fn with_config(statics: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Self::config(statics);
        change(&mut config);
        let (clock, random) = (Arc::new(PausedClock::new()), Arc::default());
        Self::run(Arc::new(MemoryDisk::new()), clock, random, config).await
    }

    /// ... on a disk that was written before, and whose wall clock starts there.
    pub(crate) async fn on(
        disk: MemoryDisk,
        wall_ms: Millis,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let mut config = Self::config(&[]);
        change(&mut config);
        let (clock, random) = (Arc::new(PausedClock::starting(wall_ms)), Arc::default());
        Self::try_run(Arc::new(disk), clock, random, config).await
    }

    fn config(statics: &[(&str, &str)]) -> Config {
        let small = [("offsets.topic.num.partitions", "3"), ("log.retention.check.interval.ms", "1000")];
        let all = small.iter().chain(statics).map(|(key, value)| (key.to_string(), value.to_string()));
        let statics = Arc::new(Statics::new(all));
        assert_eq!(statics.problems(), Vec::<String>::new());
        let endpoint = Endpoint { name: "PLAINTEXT".into(), host: "here".into(), port: 9092, security: 0 };
        Config::new(NODE_ID, PathBuf::from(LOG_DIR), vec![endpoint], statics)
    }

    /// Kills the process, changes what is on the disk, and tries to start again.
    pub(crate) async fn start_on(self, change: impl FnOnce(&MemoryDisk)) -> Result<Self, StartError> {
        self.tasks.kill();
        let disk = self.disk.after_kill();
        change(&disk);
        Self::try_run(Arc::new(disk), self.clock, self.random, self.config).await
    }

    /// Starts on a disk as it is, on which what a start does is seen that fails.
    pub(crate) async fn start_at(disk: Arc<MemoryDisk>, config: Config) -> Result<Self, StartError> {
        Self::try_run(disk, Arc::new(PausedClock::new()), Arc::default(), config).await
    }

    async fn run(
        disk: Arc<MemoryDisk>,
        clock: Arc<PausedClock>,
        random: Arc<SeededRandom>,
        config: Config,
    ) -> Self {
        Self::try_run(disk, clock, random, config).await.unwrap()
    }

    async fn try_run(
        disk: Arc<MemoryDisk>,
        clock: Arc<PausedClock>,
        random: Arc<SeededRandom>,
        config: Config,
    ) -> Result<Self, StartError> {
        let tasks = Arc::new(LocalTasks::default());
        let world =
            World { clock: clock.clone(), disk: disk.clone(), random: random.clone(), tasks: tasks.clone() };
        let broker =
            Broker::start(config.clone(), world, Arc::new(env::NoNetwork), &broker::Door::new()).await?;
        Ok(Self { broker, disk, clock, random, tasks, config })
    }

    /// Stops as an operator would, and starts again.
    pub(crate) async fn restart(self) -> Self {
        self.broker.stop().await;
        self.tasks.kill();
        let disk = Arc::new(self.disk.after_kill());
        Self::run(disk, self.clock, self.random, self.config).await
    }

    /// Cuts the power, and starts again on what was synced.
    pub(crate) async fn cut_power(self) -> Self {
        self.tasks.kill();
        let disk = Arc::new(self.disk.after_power_cut());
        Self::run(disk, self.clock, self.random, self.config).await
    }

    /// A client on a connection of its own.
    pub(crate) fn client(&self) -> Client {
        self.client_on(pipe::connect())
    }

    /// ... that takes answers only as it reads: one piece waits for it, no more.
    pub(crate) fn narrow_client(&self) -> Client {
        self.client_on(pipe::connect_with_room(1))
    }

    fn client_on(&self, (wire, pipe): (pipe::Wire, pipe::Pipe)) -> Client {
        let incoming = Incoming { listener: "PLAINTEXT".into(), connection: Box::new(pipe) };
        self.tasks.spawn(Box::pin(self.broker.clone().serve(incoming)));
        Client::new(wire)
    }

    /// The world of a client beside the broker: the same time, tasks of its own.
    pub(crate) fn world_beside(&self) -> World {
        World {
            clock: self.clock.clone(),
            disk: Arc::new(MemoryDisk::new()),
            random: self.random.clone(),
            tasks: Arc::new(LocalTasks::default()),
        }
    }

    /// Whatever a client sends, nothing may panic.
    pub(crate) fn assert_sound(&self) {
        self.tasks.assert_none_panicked();
    }

    /// The wall clock.
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.wall()
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
