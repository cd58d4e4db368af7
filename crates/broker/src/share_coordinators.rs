//! The hosts of the share coordinators: one per partition of `__share_group_state`.
//!
//! A host orders and keeps what its coordinator decides: it appends records and lets replies go when they are durable. It
//! also lets go of the beginning of its log, which nobody needs once there is a later snapshot of everything in it.

use crate::{
    Broker,
    acks::{Settled, Undone},
    coordinators::{Host, Hosts, Loading, NoHost, RELOAD_MS, replay},
    partition::{AppendRefused, Own, Part, Partition},
    share_state_records,
};
use coordinator::{Now, Shard};
use env::World;
use model::{LeaderEpoch, Offset, TopicId};
use parking_lot::Mutex;
use quorum::{Watched, watch};
use share::{Coordinator, CoordinatorConfig, Error, Key, Record, Reply, Request};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Weak},
};
use tokio::sync::oneshot;

/// The topic that holds the state of share partitions.
pub(crate) const TOPIC: &str = "__share_group_state";

/// What became of a request.
pub(crate) type Answer = Result<Reply, Error>;

/// All hosts of this broker.
pub(crate) struct ShareCoordinators {
    hosts: Hosts<ShareCoordinatorHost>,
}

/// The coordinator of one partition with its log and its waiting requests.
pub(crate) struct ShareCoordinatorHost {
    world: World,
    partition: Arc<Partition>,
    /// In which this broker leads the partition; what comes later is another host's.
    epoch: LeaderEpoch,
    state: Mutex<State>,
    loading: Watched<Loading>,
    this: Weak<ShareCoordinatorHost>,
}

struct State {
    shard: Coordinator,
    config: CoordinatorConfig,
    /// Who waits for an append, by its slot.
    waiting: BTreeMap<usize, Vec<(Reply, oneshot::Sender<Answer>)>>,
    slot_next: usize,
    /// Where the last snapshot of each share partition lies: what is before all of them is not needed.
    snapshots: BTreeMap<Key, Offset>,
    /// Everything is in the shard that may be in the log.
    is_loaded: bool,
    is_ended: bool,
}

enum Decided {
    Now(Reply),
    Later(oneshot::Receiver<Answer>),
}

impl ShareCoordinators {
    pub(crate) fn new() -> Self {
        Self { hosts: Hosts::new() }
    }

    /// Those that lead and follow the topic.
    pub(crate) fn hosts(&self) -> &Hosts<ShareCoordinatorHost> {
        &self.hosts
    }

    /// This broker leads these partitions, each in its epoch: reads them, then serves their share partitions.
    pub(crate) fn lead(
        &self,
        broker: &Arc<Broker>,
        partitions: Vec<(Arc<Partition>, LeaderEpoch)>,
        config: CoordinatorConfig,
    ) {
        for (partition, epoch) in partitions {
            let host = || ShareCoordinatorHost::new(broker.world.clone(), partition.clone(), epoch, config);
            if let Some(host) = self.hosts.lead(partition.index(), epoch, host) {
                broker.world.tasks.spawn(Box::pin(load(host)));
            }
        }
    }

    /// Asks the coordinator of a share partition, which it is named by its text; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, text: &str, request: Request) -> Answer {
        let host = self.hosts.of(text).map_err(|why| match why {
            NoHost::Unknown => Error::CoordinatorNotAvailable,
            NoHost::Elsewhere => Error::NotCoordinator,
        })?;
        host.ask(request).await
    }

    /// Tells all coordinators their new limits.
    pub(crate) fn configure(&self, config: CoordinatorConfig) {
        for host in self.hosts.all() {
            let mut state = host.state.lock();
            state.shard.configure(config);
            state.config = config;
        }
    }

    /// Topics are gone: nothing is to be known of them.
    pub(crate) fn topics_deleted(&self, broker: &Broker, topics: &[TopicId]) {
        let topics: BTreeSet<TopicId> = topics.iter().copied().collect();
        for host in self.hosts.all() {
            let topics = topics.clone();
            broker.world.tasks.spawn(Box::pin(async move { host.forget(topics).await }));
        }
    }

    /// Forgets topics that went while nobody led the partition, or nothing could be written there. What a coordinator knows
    /// of was there when this broker began to lead it, as far as this image is concerned, or came later.
    pub(crate) async fn forget_deleted(&self, broker: &Broker) {
        for host in self.hosts.all() {
            let known = host.topics();
            let image = broker.image();
            let gone: BTreeSet<TopicId> =
                known.into_iter().filter(|topic| image.topic_by_id(*topic).is_none()).collect();
            drop(image);
            if !gone.is_empty() {
                host.forget(gone).await;
            }
        }
    }

    /// Writes anew what has not changed for long.
    pub(crate) async fn snapshot_cold(&self) {
        for host in self.hosts.all() {
            let now = host.now();
            while host.has_cold(now) && host.ask(Request::SnapshotCold).await.is_ok() {}
        }
    }

    /// Deletes what nobody needs of the logs.
    pub(crate) async fn prune(&self) {
        for host in self.hosts.all() {
            host.prune().await;
        }
    }
}

/// Reads a host's partition to its end. What cannot be read is tried again as long as the host leads.
async fn load(host: Arc<ShareCoordinatorHost>) {
    let (clock, this, mut offset) = (host.world.clock.clone(), host.this.clone(), 0);
    drop(host);
    while let Some(host) = this.upgrade() {
        let Err(error) = host.replay_from(&mut offset).await else { return host.loaded() };
        if host.state.lock().is_ended {
            return;
        }
        let is_news = host
            .loading
            .send_if_modified(|loading| std::mem::replace(loading, Loading::Failed) != Loading::Failed);
        if is_news {
            tracing::error!(partition = %host.partition, %error, "share states could not be read and are not served");
        }
        drop(host);
        clock.sleep_until(clock.after_millis(RELOAD_MS)).await;
    }
}

/// How long it takes until it is looked again whether what was appended is safe.
const AWAIT_MS: i64 = 20;

impl ShareCoordinatorHost {
    fn new(
        world: World,
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        config: CoordinatorConfig,
    ) -> Arc<Self> {
        let state = State {
            shard: Coordinator::new(config),
            config,
            waiting: BTreeMap::new(),
            slot_next: 0,
            snapshots: BTreeMap::new(),
            is_loaded: false,
            is_ended: false,
        };
        Arc::new_cyclic(|this| Self {
            world,
            partition,
            epoch,
            state: Mutex::new(state),
            loading: watch(Loading::UnderWay).0,
            this: this.clone(),
        })
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() }
    }

    /// Whether something had not been written for too long at that moment.
    fn has_cold(&self, now: Now) -> bool {
        let state = self.state.lock();
        state.is_loaded && state.shard.has_cold(now)
    }

    /// Of which topics it knows share partitions; of none while it loads.
    fn topics(&self) -> BTreeSet<TopicId> {
        let state = self.state.lock();
        if state.is_loaded { state.shard.topics() } else { BTreeSet::new() }
    }

    async fn forget(&self, topics: BTreeSet<TopicId>) {
        let mut before = usize::MAX;
        // As many at a time as one batch takes.
        while self.ask(Request::TopicsDeleted(topics.clone())).await.is_ok() && self.len() < before {
            before = self.len();
        }
    }

    /// How many share partitions it knows.
    fn len(&self) -> usize {
        self.state.lock().shard.len()
    }

    /// Reads what is not read yet, to the end of the log: also what this host has appended itself and does not know the
    /// fate of.
    async fn replay_from(&self, offset: &mut Offset) -> io::Result<()> {
        loop {
            let loaded = replay(&self.partition, self.epoch, offset, |read| {
                let state = &mut *self.state.lock();
                for own in &read {
                    let Own::Record(stored, _) = own else { continue };
                    let Some(record) = share_state_records::decode(stored) else { continue };
                    state.note(&record, stored.offset);
                    state.shard.replay(record);
                }
            });
            loaded.await?;
            let end = self.partition.offsets().map_or(*offset, |offsets| offsets.end);
            if *offset >= end {
                tracing::debug!(partition = %self.partition, upto = *offset, "share states are loaded");
                return Ok(());
            }
            let clock = &self.world.clock;
            clock.sleep_until(clock.after_millis(AWAIT_MS)).await;
        }
    }

    fn loaded(&self) {
        let mut state = self.state.lock();
        if !state.is_ended {
            state.is_loaded = true;
            self.loading.send(Loading::Done);
        }
    }

    /// Asks the coordinator; waits while it loads and until it answers.
    async fn ask(&self, request: Request) -> Answer {
        let mut loading = self.loading.subscribe();
        match loading.wait_for(|loading| *loading != Loading::UnderWay).await {
            Ok(Loading::Done) => {}
            Ok(_) => return Err(Error::NotCoordinator),
            Err(_) => return Err(Error::CoordinatorNotAvailable),
        }
        let receiver = match self.decide(request)? {
            Decided::Now(reply) => return Ok(reply),
            Decided::Later(receiver) => receiver,
        };
        receiver.await.unwrap_or(Err(Error::CoordinatorNotAvailable))
    }

    fn decide(&self, request: Request) -> Result<Decided, Error> {
        let state = &mut *self.state.lock();
        if state.is_ended {
            return Err(Error::NotCoordinator);
        }
        if !state.is_loaded {
            return Err(Error::CoordinatorLoadInProgress);
        }
        let now = self.now();
        let outcome = state.shard.handle(now, request)?;
        let (sender, receiver) = oneshot::channel();
        if outcome.records.is_empty() {
            // Nobody may read what a crash could take back.
            let Some((_, last)) = state.waiting.iter_mut().next_back() else {
                return Ok(Decided::Now(outcome.reply));
            };
            last.push((outcome.reply, sender));
            return Ok(Decided::Later(receiver));
        }
        let slot = state.slot_next;
        let first = self.append(now, slot, &outcome.records)?;
        state.slot_next += 1;
        for (record, offset) in outcome.records.into_iter().zip(first..) {
            state.note(&record, offset);
            state.shard.replay(record);
        }
        state.waiting.insert(slot, vec![(outcome.reply, sender)]);
        Ok(Decided::Later(receiver))
    }

    /// The offset of the first record.
    fn append(&self, now: Now, slot: usize, records: &[Record]) -> Result<Offset, Error> {
        const TOO_LARGE: Error = Error::UnknownServerError("the share state cannot be stored");
        let mut builder = records::BatchBuilder::new();
        for record in records {
            let (key, value) = share_state_records::encode(record);
            builder.push(now.wall, Some(&key), value.as_deref(), &[]);
        }
        let batch = builder.build().map_err(|_| TOO_LARGE)?;
        let settled = self.this.upgrade().ok_or(Error::CoordinatorNotAvailable)?;
        let settled = (settled as Arc<dyn Settled>, slot);
        let appended = self.partition.append_own(now.wall, self.epoch, (batch, Part::NONE), settled);
        appended.map(|appended| appended.base_offset).map_err(|refused| match refused {
            AppendRefused::TooLarge => TOO_LARGE,
            AppendRefused::Unavailable | AppendRefused::Producer(_) => Error::CoordinatorNotAvailable,
        })
    }

    /// Nobody knows what of the appends under way is in the log: everything is read anew, and who waits asks again.
    fn start_over(&self) {
        let waiting = {
            let mut state = self.state.lock();
            if state.is_ended {
                return;
            }
            state.shard = Coordinator::new(state.config);
            state.snapshots.clear();
            state.is_loaded = false;
            self.loading.send(Loading::UnderWay);
            std::mem::take(&mut state.waiting)
        };
        tracing::warn!(partition = %self.partition, "a share state could not be written; all are read anew");
        refuse(waiting.into_values().flatten(), Error::CoordinatorNotAvailable);
        if let Some(this) = self.this.upgrade() {
            self.world.tasks.spawn(Box::pin(load(this)));
        }
    }

    async fn prune(&self) {
        let first = {
            let state = self.state.lock();
            // What is not committed may be gone tomorrow.
            let is_still = state.is_loaded && state.waiting.is_empty();
            state.snapshots.values().min().copied().filter(|_| is_still)
        };
        let is_news = |first: &Offset| *first > self.partition.start_offset();
        let Some(first) = first.filter(is_news) else { return };
        if let Err(error) = self.partition.delete_records(first).await {
            tracing::warn!(partition = %self.partition, %error, "old share states could not be deleted");
        }
    }
}

impl State {
    fn note(&mut self, record: &Record, offset: Offset) {
        match record {
            Record::Snapshot(key, _) => drop(self.snapshots.insert(key.clone(), offset)),
            Record::Removed(key) => drop(self.snapshots.remove(key)),
            // Without a snapshot nothing before it is needed either.
            Record::Update(key, _) => drop(self.snapshots.entry(key.clone()).or_insert(offset)),
        }
    }
}

fn refuse(waiting: impl Iterator<Item = (Reply, oneshot::Sender<Answer>)>, error: Error) {
    for (_, sender) in waiting {
        // Whoever asked may have gone.
        let _ = sender.send(Err(error));
    }
}

impl Host for ShareCoordinatorHost {
    fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    fn end(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.is_ended = true;
            state.is_loaded = false;
            self.loading.send(Loading::Failed);
            std::mem::take(&mut state.waiting)
        };
        refuse(waiting.into_values().flatten(), Error::NotCoordinator);
    }
}

impl Settled for ShareCoordinatorHost {
    fn settle(&self, slot: usize, result: Result<(), Undone>) {
        let waiting = self.state.lock().waiting.remove(&slot);
        let Some(waiting) = waiting else { return };
        if result.is_err() {
            refuse(waiting.into_iter(), Error::CoordinatorNotAvailable);
            return self.start_over();
        }
        for (reply, sender) in waiting {
            let _ = sender.send(Ok(reply));
        }
    }
}
