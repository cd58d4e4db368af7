//! The hosts of the transaction coordinators: one per partition of `__transaction_state`.
//!
//! A host orders and keeps what its coordinator decides: it appends records, lets replies go when they are durable, and
//! has the markers written that prepared transactions need (`txn_ends`). It decides nothing about transactions.

use crate::{
    Broker,
    acks::{Settled, Undone},
    coordinators::{Host, Hosts, Loading, NoHost, RELOAD_MS, replay},
    partition::{AppendRefused, Own, Part, Partition},
    transaction_records, txn_ends,
};
use coordinator::{Now, Shard};
use env::World;
use futures_util::future::join_all;
use model::{LeaderEpoch, Offset, ProducerId};
use parking_lot::Mutex;
use quorum::{Watched, watch};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Weak},
};
use tokio::sync::oneshot;
use transactions::{
    Config, Coordinator, Error, Late, Markers, Record, Reply, Request, Timeouts, TransactionVersion,
};

/// How long one coordinator may take for what is due at all of them.
const UPKEEP_MS_MAX: i64 = 5000;

/// The topic that holds transactions.
pub(crate) const TOPIC: &str = "__transaction_state";

/// What became of a request.
pub(crate) type Answer = Result<Reply, Error>;

/// All hosts of this broker.
pub(crate) struct TransactionHosts {
    hosts: Hosts<TransactionHost>,
}

/// The coordinator of one partition with its log and its waiting requests.
pub(crate) struct TransactionHost {
    world: World,
    broker: Weak<Broker>,
    partition: Arc<Partition>,
    /// In which this broker leads the partition; what comes later is another host's.
    epoch: LeaderEpoch,
    state: Mutex<State>,
    loading: Watched<Loading>,
    this: Weak<TransactionHost>,
}

struct State {
    shard: Coordinator,
    timeouts: Timeouts,
    config: Config,
    /// Who waits for an append, by its slot.
    waiting: BTreeMap<usize, Waiting>,
    slot_next: usize,
    /// Transactions whose markers are being written.
    ending: BTreeSet<(ProducerId, i16)>,
    /// Everything is in the shard that may be in the log.
    is_loaded: bool,
    is_ended: bool,
}

#[derive(Default)]
struct Waiting {
    replies: Vec<(Reply, oneshot::Sender<Answer>)>,
    prepared: Vec<Markers>,
}

impl TransactionHosts {
    pub(crate) fn new() -> Self {
        Self { hosts: Hosts::new() }
    }

    /// Those that lead and follow the transaction topic.
    pub(crate) fn hosts(&self) -> &Hosts<TransactionHost> {
        &self.hosts
    }

    /// This broker leads these partitions, each in its epoch: reads them, then serves their transactional ids.
    pub(crate) fn lead(
        &self,
        broker: &Arc<Broker>,
        partitions: Vec<(Arc<Partition>, LeaderEpoch)>,
        config: &Config,
    ) {
        for (partition, epoch) in partitions {
            let host = || TransactionHost::new(broker, partition.clone(), epoch, config.clone());
            if let Some(host) = self.hosts.lead(partition.index(), epoch, host) {
                broker.world.tasks.spawn(Box::pin(load(host)));
            }
        }
    }

    /// Asks the coordinator of a transactional id; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, id: &str, request: Request) -> Answer {
        self.hosts.of(id).map_err(no_host)?.ask(request).await
    }

    /// The same for what may need a producer id that no other producer has.
    pub(crate) async fn ask_with_id(
        &self,
        broker: &Broker,
        id: &str,
        request: impl Fn(Option<ProducerId>) -> Request,
    ) -> Answer {
        let host = self.hosts.of(id).map_err(no_host)?;
        host.ask_with_id(broker, request).await
    }

    /// Asks all coordinators of this broker.
    pub(crate) async fn ask_all(&self, request: Request) -> Vec<Answer> {
        let mut answers = Vec::new();
        for host in self.hosts.all() {
            answers.push(host.ask(request.clone()).await);
        }
        answers
    }

    /// Tells all coordinators their new limits.
    pub(crate) fn configure(&self, config: &Config) {
        for host in self.hosts.all() {
            let mut state = host.state.lock();
            state.shard.configure(config.clone());
            state.config = config.clone();
        }
    }

    /// Aborts what has been open for too long.
    pub(crate) async fn abort_timed_out(&self, broker: &Arc<Broker>) {
        let hosts = self.hosts.all();
        let aborting = hosts.iter().filter(|host| host.is_loaded()).map(|host| {
            within(broker, async {
                for late in host.late() {
                    let id = late.producer.id.clone();
                    let abort = |fresh_id| Request::AbortLate { late: late.clone(), fresh_id };
                    match host.ask_with_id(broker, abort).await {
                        Ok(_) => tracing::info!(%id, "a transaction has run out of time and is aborted"),
                        Err(error) => {
                            tracing::info!(%id, %error, "a transaction out of time was not aborted")
                        }
                    }
                }
            })
        });
        join_all(aborting).await;
    }

    /// Forgets transactional ids that nobody has used for long.
    pub(crate) async fn expire(&self, broker: &Broker) {
        let hosts = self.hosts.all();
        let expiring = hosts.iter().map(|host| {
            within(broker, async {
                while host.is_loaded() && matches!(host.ask(Request::Expire).await, Ok(Reply::Expire(1..))) {}
            })
        });
        join_all(expiring).await;
    }
}

/// Does what is due at one coordinator, for a while: one whose log waits for replicas must not keep it from the others.
async fn within(broker: &Broker, work: impl Future<Output = ()>) {
    let clock = &broker.world.clock;
    tokio::select! {
        biased;
        () = work => {}
        () = clock.sleep_until(clock.after_millis(UPKEEP_MS_MAX)) => {}
    }
}

fn no_host(why: NoHost) -> Error {
    match why {
        NoHost::Unknown => Error::CoordinatorNotAvailable,
        NoHost::Elsewhere => Error::NotCoordinator,
    }
}

/// Reads a host's partition to its end. What cannot be read is tried again as long as the host leads.
async fn load(host: Arc<TransactionHost>) {
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
            tracing::error!(partition = %host.partition, %error, "transactions could not be read and are not served");
        }
        drop(host);
        clock.sleep_until(clock.after_millis(RELOAD_MS)).await;
    }
}

impl TransactionHost {
    fn new(broker: &Arc<Broker>, partition: Arc<Partition>, epoch: LeaderEpoch, config: Config) -> Arc<Self> {
        let state = State {
            shard: Coordinator::new(config.clone()),
            timeouts: Timeouts::new(),
            config,
            waiting: BTreeMap::new(),
            slot_next: 0,
            ending: BTreeSet::new(),
            is_loaded: false,
            is_ended: false,
        };
        Arc::new_cyclic(|this| Self {
            world: broker.world.clone(),
            broker: Arc::downgrade(broker),
            partition,
            epoch,
            state: Mutex::new(state),
            loading: watch(Loading::UnderWay).0,
            this: this.clone(),
        })
    }

    /// What has been open here for longer than it may.
    fn late(&self) -> Vec<Late> {
        let State { shard, timeouts, .. } = &mut *self.state.lock();
        timeouts.late(shard, self.now())
    }

    fn is_loaded(&self) -> bool {
        self.state.lock().is_loaded
    }

    /// Reads what is not read yet, to the end of the log: also what this host has appended itself and does not know the
    /// fate of.
    async fn replay_from(&self, offset: &mut Offset) -> io::Result<()> {
        loop {
            let loaded = replay(&self.partition, self.epoch, offset, |read| {
                let shard = &mut self.state.lock().shard;
                read.iter().filter_map(to_record).for_each(|record| shard.replay(record));
            });
            loaded.await?;
            let end = self.partition.offsets().map_or(*offset, |offsets| offsets.end);
            if *offset >= end {
                tracing::debug!(partition = %self.partition, upto = *offset, "transactions are loaded");
                return Ok(());
            }
            let clock = &self.world.clock;
            clock.sleep_until(clock.after_millis(AWAIT_MS)).await;
        }
    }

    fn loaded(&self) {
        let prepared = {
            let mut state = self.state.lock();
            if state.is_ended {
                return;
            }
            state.is_loaded = true;
            self.loading.send(Loading::Done);
            state.shard.prepared().collect()
        };
        self.end_all(prepared);
    }

    /// Asks the coordinator; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, request: Request) -> Answer {
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

    async fn ask_with_id(&self, broker: &Broker, request: impl Fn(Option<ProducerId>) -> Request) -> Answer {
        match self.ask(request(None)).await {
            Err(Error::ProducerIdNeeded) => {}
            answer => return answer,
        }
        let id = broker.producer_ids.next(broker).await.map_err(|error| {
            tracing::warn!(%error, "no producer id could be allocated");
            Error::CoordinatorLoadInProgress
        });
        self.ask(request(Some(id?))).await
    }

    fn decide(&self, request: Request) -> Result<Decided, Error> {
        let mut state = self.state.lock();
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
            last.replies.push((outcome.reply, sender));
            return Ok(Decided::Later(receiver));
        }
        let slot = state.slot_next;
        self.append(now, slot, &outcome.records, state.config.version)?;
        state.slot_next += 1;
        let mut waiting = Waiting { replies: vec![(outcome.reply, sender)], prepared: Vec::new() };
        for record in outcome.records {
            if let Record::Changed { id, transaction } = &record {
                waiting.prepared.extend(transaction.markers(id));
            }
            state.shard.replay(record);
        }
        state.waiting.insert(slot, waiting);
        Ok(Decided::Later(receiver))
    }

    fn append(
        &self,
        now: Now,
        slot: usize,
        records: &[Record],
        level: TransactionVersion,
    ) -> Result<(), Error> {
        let mut builder = records::BatchBuilder::new();
        for record in records {
            let (key, value) = transaction_records::encode(record, level);
            builder.push(now.wall, Some(&key), value.as_deref(), &[]);
        }
        let batch = builder.build().map_err(|_| Error::UnknownServerError)?;
        let settled = self.this.upgrade().ok_or(Error::CoordinatorNotAvailable)?;
        let settled = (settled as Arc<dyn Settled>, slot);
        let appended = self.partition.append_own(now.wall, self.epoch, (batch, Part::NONE), settled);
        appended.map(drop).map_err(|refused| match refused {
            AppendRefused::TooLarge => Error::UnknownServerError,
            AppendRefused::Unavailable | AppendRefused::Producer(_) => Error::CoordinatorNotAvailable,
        })
    }

    /// Has the markers of prepared transactions written, unless that is under way.
    fn end_all(&self, prepared: Vec<Markers>) {
        for markers in prepared {
            if self.state.lock().ending.insert((markers.producer_id, markers.producer_epoch)) {
                let (broker, this) = (self.broker.clone(), self.this.clone());
                self.world.tasks.spawn(Box::pin(txn_ends::end(broker, this, markers)));
            }
        }
    }

    /// A transaction has ended, or nobody here can end it.
    pub(crate) fn on_ended(&self, markers: &Markers) {
        self.state.lock().ending.remove(&(markers.producer_id, markers.producer_epoch));
    }

    /// Whether this host still decides.
    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().is_ended
    }

    /// In which epoch it decides: markers bear it.
    pub(crate) fn coordinator_epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Nobody knows what of the appends under way is in the log: everything is read anew, and who waits asks again.
    fn start_over(&self) {
        let waiting = {
            let mut state = self.state.lock();
            if state.is_ended {
                return;
            }
            state.shard = Coordinator::new(state.config.clone());
            state.is_loaded = false;
            self.loading.send(Loading::UnderWay);
            std::mem::take(&mut state.waiting)
        };
        tracing::warn!(partition = %self.partition, "a transaction could not be written; all are read anew");
        refuse(waiting, Error::CoordinatorNotAvailable);
        if let Some(this) = self.this.upgrade() {
            self.world.tasks.spawn(Box::pin(load(this)));
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() }
    }
}

/// How long it takes until it is looked again whether what was appended is safe.
const AWAIT_MS: i64 = 20;

enum Decided {
    Now(Reply),
    Later(oneshot::Receiver<Answer>),
}

fn to_record(read: &Own) -> Option<Record> {
    match read {
        Own::Record(record, _) => transaction_records::decode(record),
        Own::Marker(..) => None,
    }
}

fn refuse(waiting: BTreeMap<usize, Waiting>, error: Error) {
    for (_, sender) in waiting.into_values().flat_map(|waiting| waiting.replies) {
        // Whoever asked may have gone.
        let _ = sender.send(Err(error));
    }
}

impl Host for TransactionHost {
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
        refuse(waiting, Error::NotCoordinator);
    }
}

impl Settled for TransactionHost {
    fn settle(&self, slot: usize, result: Result<(), Undone>) {
        let waiting = self.state.lock().waiting.remove(&slot);
        let Some(waiting) = waiting else { return };
        if result.is_err() {
            let refused = BTreeMap::from([(slot, waiting)]);
            refuse(refused, Error::CoordinatorNotAvailable);
            return self.start_over();
        }
        for (reply, sender) in waiting.replies {
            let _ = sender.send(Ok(reply));
        }
        self.end_all(waiting.prepared);
    }
}
