//! The hosts of the group coordinators: one per partition of `__consumer_offsets`.
//!
//! A host orders and keeps what its coordinator decides: it appends records, tells the coordinator when they are
//! durable, sends its replies and wakes it in time. It decides nothing about groups.

use crate::{
    acks::{Settled, Undone},
    coordinators::{Host, Hosts, Loading, NoHost, RELOAD_MS, replay},
    group_records,
    partition::{AppendRefused, Own, Part, Partition},
};
use coordinator::Now;
use env::World;
use groups::{
    AppendFailure, Config, Coordinator, Effect, Error, Event, InTransaction, Record, Reply, Request, Ticket,
    Token, TopicsView,
};
use log::{Guard, ProducerError};
use model::{GroupId, LeaderEpoch, Offset};
use parking_lot::Mutex;
use quorum::{Watched, watch};
use std::{
    io,
    sync::{Arc, Weak},
};
use tokio::sync::{Notify, oneshot};

/// The topic that holds groups and their offsets.
pub(crate) const TOPIC: &str = "__consumer_offsets";

/// All hosts of this broker.
pub(crate) struct GroupHosts {
    world: World,
    hosts: Hosts<GroupHost>,
    topics: Mutex<Option<TopicsView>>,
}

/// What became of a request.
pub(crate) type Answer = Result<Reply, Error>;

/// The coordinator of one partition with its log and its waiting requests.
pub(crate) struct GroupHost {
    world: World,
    partition: Arc<Partition>,
    /// In which this broker leads the partition; what comes later is another host's.
    epoch: LeaderEpoch,
    state: Mutex<State>,
    loading: Watched<Loading>,
    wake: Notify,
    this: Weak<GroupHost>,
}

struct State {
    coordinator: Coordinator,
    waiting: stdx::Map<Token, oneshot::Sender<Answer>>,
    token_next: u64,
    wake_at: Option<u64>,
    has_timer: bool,
    /// Another may have taken over: nobody is answered any more.
    is_ended: bool,
}

impl GroupHosts {
    pub(crate) fn new(world: World) -> Self {
        Self { world, hosts: Hosts::new(), topics: Mutex::default() }
    }

    /// This broker leads these partitions of the offsets topic, each in its epoch: reads them, then serves their groups.
    pub(crate) fn lead(&self, partitions: Vec<(Arc<Partition>, LeaderEpoch)>, config: &Config) {
        for (partition, epoch) in partitions {
            let host = || self.host(partition.clone(), epoch, config.clone());
            let Some(host) = self.hosts.lead(partition.index(), epoch, host) else { continue };
            self.world.tasks.spawn(Box::pin(load(host)));
        }
    }

    fn host(&self, partition: Arc<Partition>, epoch: LeaderEpoch, config: Config) -> Arc<GroupHost> {
        let mut coordinator = Coordinator::new(config);
        if let Some(topics) = self.topics.lock().clone() {
            let now = Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() };
            coordinator.step(now, Event::TopicsChanged(topics), &mut Vec::new());
        }
        let state = State {
            coordinator,
            waiting: stdx::Map::default(),
            token_next: 0,
            wake_at: None,
            has_timer: false,
            is_ended: false,
        };
        Arc::new_cyclic(|this| GroupHost {
            world: self.world.clone(),
            partition,
            epoch,
            state: Mutex::new(state),
            loading: watch(Loading::UnderWay).0,
            wake: Notify::new(),
            this: this.clone(),
        })
    }

    /// Those that lead and follow the offsets topic.
    pub(crate) fn hosts(&self) -> &Hosts<GroupHost> {
        &self.hosts
    }

    /// Asks the coordinator of `group`; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, group: &GroupId, request: Request) -> Answer {
        self.hosts.of(group).map_err(no_host)?.ask(request).await
    }

    /// Asks the coordinator of a partition.
    pub(crate) async fn ask_partition(&self, index: i32, request: Request) -> Answer {
        self.hosts.at(index).map_err(no_host)?.ask(request).await
    }

    /// Asks all coordinators of this broker.
    pub(crate) async fn ask_all(&self, request: Request) -> Vec<Answer> {
        let mut answers = Vec::new();
        for host in self.hosts.all() {
            answers.push(host.ask(request.clone()).await);
        }
        answers
    }

    /// Tells all coordinators that topics are gone.
    pub(crate) fn topics_deleted(&self, topics: &[groups::DeletedTopic]) {
        for host in self.hosts.all() {
            host.step(Event::TopicsDeleted(topics.to_vec()));
        }
    }

    /// Tells all coordinators that there are other topics, or other numbers of partitions.
    pub(crate) fn topics_changed(&self, topics: &TopicsView) {
        // First for those to come: none may miss it.
        *self.topics.lock() = Some(topics.clone());
        for host in self.hosts.all() {
            host.step(Event::TopicsChanged(topics.clone()));
        }
    }

    /// Tells all coordinators their new limits.
    pub(crate) fn configure(&self, config: &Config) {
        for host in self.hosts.all() {
            host.step(Event::Configured(config.clone()));
        }
    }

    /// Shows each loaded coordinator to `look`.
    pub(crate) fn look(&self, mut look: impl FnMut(&Coordinator)) {
        for host in self.hosts.all() {
            look(&host.state.lock().coordinator);
        }
    }
}

fn no_host(why: NoHost) -> Error {
    match why {
        NoHost::Unknown => Error::CoordinatorNotAvailable,
        NoHost::Elsewhere => Error::NotCoordinator,
    }
}

/// Reads a host's partition to its end. What cannot be read is tried again as long as the host leads.
async fn load(host: Arc<GroupHost>) {
    let (clock, this, mut offset) = (host.world.clock.clone(), host.this.clone(), 0);
    drop(host);
    while let Some(host) = this.upgrade() {
        let Err(error) = host.replay_from(&mut offset).await else {
            host.step(Event::Loaded);
            host.loading.send(Loading::Done);
            return;
        };
        let is_news = host
            .loading
            .send_if_modified(|loading| std::mem::replace(loading, Loading::Failed) != Loading::Failed);
        if is_news {
            tracing::error!(partition = %host.partition, %error, "groups could not be read and are not served");
        }
        drop(host);
        clock.sleep_until(clock.after_millis(RELOAD_MS)).await;
    }
}

/// The record that was read; `None` for what this broker does not know.
fn to_record(read: Own) -> Option<Record> {
    match read {
        Own::Record(record, producer) => group_records::decode(&record, producer.map(|(id, _)| id)),
        Own::Marker((producer_id, _), marker) => {
            Some(Record::TransactionEnded { producer_id, committed: marker.committed })
        }
    }
}

/// The batch of an append, and its part in a transaction.
fn to_batch(
    now: Now,
    records: &[Record],
    in_transaction: Option<InTransaction>,
) -> io::Result<(records::Batch, Part)> {
    let mut builder = records::BatchBuilder::new();
    let mut part = Part::NONE;
    match in_transaction {
        None => {}
        Some(InTransaction::Offsets { producer_id, producer_epoch, guard }) => {
            builder = builder.producer(producer_id, producer_epoch, -1).transactional();
            part.guard = guard.map(Guard);
        }
        Some(InTransaction::Marker(marker)) => {
            part.transaction_version = marker.transaction_version;
            let end = records::EndTxnMarker {
                committed: marker.committed,
                coordinator_epoch: marker.coordinator_epoch,
            };
            return Ok((end.to_batch(marker.producer_id, marker.producer_epoch, now.wall)?, part));
        }
    }
    for (key, value) in records.iter().filter_map(group_records::encode) {
        builder.push(now.wall, Some(&key), value.as_deref(), &[]);
    }
    Ok((builder.build()?, part))
}

impl Host for GroupHost {
    fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    fn end(&self) {
        self.loading.send(Loading::Failed);
        let mut state = self.state.lock();
        state.is_ended = true;
        for (_, waiting) in state.waiting.drain() {
            // Whoever asked may have gone.
            let _ = waiting.send(Err(Error::NotCoordinator));
        }
        drop(state);
        self.wake.notify_one();
    }
}

impl GroupHost {
    async fn ask(&self, request: Request) -> Answer {
        let mut loading = self.loading.subscribe();
        match loading.wait_for(|loading| *loading != Loading::UnderWay).await {
            Ok(Loading::Done) => {}
            Ok(_) => return Err(Error::NotCoordinator),
            Err(_) => return Err(Error::CoordinatorNotAvailable),
        }
        let (sender, receiver) = oneshot::channel();
        let token = {
            let mut state = self.state.lock();
            if state.is_ended {
                return Err(Error::NotCoordinator);
            }
            let token = Token(state.token_next);
            state.token_next += 1;
            state.waiting.insert(token, sender);
            token
        };
        self.step(Event::Request { token, request });
        receiver.await.unwrap_or(Err(Error::CoordinatorNotAvailable))
    }

    /// Replays what is in the log from `offset` on, and moves it along.
    async fn replay_from(&self, offset: &mut Offset) -> io::Result<()> {
        let loaded = replay(&self.partition, self.epoch, offset, |read| {
            let coordinator = &mut self.state.lock().coordinator;
            read.into_iter().filter_map(to_record).for_each(|record| coordinator.replay(record));
        });
        loaded.await?;
        tracing::debug!(partition = %self.partition, upto = *offset, "groups are loaded");
        Ok(())
    }

    /// Hands an event to the coordinator and carries out what it orders.
    fn step(&self, event: Event) {
        let mut state = self.state.lock();
        let mut events = vec![event];
        let mut effects = Vec::new();
        while let Some(event) = events.pop() {
            let now = self.now();
            state.coordinator.step(now, event, &mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Reply { token, reply } => {
                        if let Some(waiting) = state.waiting.remove(&token) {
                            // Whoever asked may have gone.
                            let _ = waiting.send(reply);
                        }
                    }
                    Effect::Append { ticket, records } => {
                        if let Err(failure) = self.append(now, ticket, &records, None) {
                            events.push(Event::AppendFailed { ticket, failure });
                        }
                    }
                    Effect::AppendInTransaction { ticket, records, part } => {
                        if let Err(failure) = self.append(now, ticket, &records, Some(part)) {
                            events.push(Event::AppendFailed { ticket, failure });
                        }
                    }
                    Effect::WakeAt(at) => self.wake_at(&mut state, at),
                }
            }
        }
    }

    fn append(
        &self,
        now: Now,
        ticket: Ticket,
        records: &[Record],
        in_transaction: Option<InTransaction>,
    ) -> Result<(), AppendFailure> {
        let batch = to_batch(now, records, in_transaction).map_err(|_| AppendFailure::Unavailable)?;
        let settled = self.this.upgrade().ok_or(AppendFailure::Unavailable)?;
        let settled = (settled as Arc<dyn Settled>, ticket.0 as usize);
        let appended = self.partition.append_own(now.wall, self.epoch, batch, settled);
        appended.map(drop).map_err(|refused| match refused {
            AppendRefused::TooLarge => AppendFailure::TooLarge,
            AppendRefused::Unavailable => AppendFailure::Unavailable,
            AppendRefused::Producer(ProducerError::CoordinatorFenced { .. }) => {
                AppendFailure::CoordinatorFenced
            }
            AppendRefused::Producer(ProducerError::InvalidEpoch { .. }) => AppendFailure::ProducerFenced,
            AppendRefused::Producer(_) => AppendFailure::NotInTransaction,
        })
    }

    fn wake_at(&self, state: &mut State, at: u64) {
        state.wake_at = Some(at);
        if state.has_timer {
            self.wake.notify_one();
            return;
        }
        state.has_timer = true;
        let this = self.this.clone();
        self.world.tasks.spawn(Box::pin(async move {
            while let Some(host) = this.upgrade() {
                host.sleep_then_tick().await;
            }
        }));
    }

    async fn sleep_then_tick(&self) {
        let at = self.state.lock().wake_at;
        tokio::select! {
            biased;
            () = self.wake.notified() => return,
            () = self.world.clock.sleep_until(at.unwrap_or(u64::MAX)) => {}
        }
        self.state.lock().wake_at = None;
        self.step(Event::Tick);
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() }
    }
}

impl Settled for GroupHost {
    fn settle(&self, slot: usize, result: Result<(), Undone>) {
        let ticket = Ticket(slot as u64);
        self.step(match result {
            // With fewer copies than wanted it is still in the log for good, and what was decided cannot be taken back.
            Ok(()) | Err(Undone::TooFewInSync) => Event::Committed { ticket },
            Err(_) => Event::AppendFailed { ticket, failure: AppendFailure::Unavailable },
        });
    }
}
