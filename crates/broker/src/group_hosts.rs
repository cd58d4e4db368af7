//! The hosts of the group coordinators: one per partition of `__consumer_offsets`.
//!
//! A host orders and keeps what its coordinator decides: it appends records, tells the coordinator when they are
//! durable, sends its replies and wakes it in time. It decides nothing about groups.

use crate::{
    acks::{Settled, Undone},
    group_records,
    partition::{AppendRefused, Partition},
};
use coordinator::Now;
use env::World;
use groups::{
    AppendFailure, Config, Coordinator, Effect, Error, Event, Reply, Request, Ticket, Token, TopicsView,
};
use model::{GroupId, LeaderEpoch, Offset};
use parking_lot::{Mutex, RwLock};
use quorum::{Watched, watch};
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, oneshot};

/// The topic that holds groups and their offsets.
pub(crate) const TOPIC: &str = "__consumer_offsets";
/// How long after a failure groups are read again.
const RELOAD_MS: i64 = 1000;

/// All hosts of this broker.
pub(crate) struct GroupHosts {
    world: World,
    hosts: RwLock<BTreeMap<i32, Arc<GroupHost>>>,
    /// Partitions of the offsets topic, led here or elsewhere.
    partitions: AtomicUsize,
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

/// How far the reading of a host's partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loading {
    UnderWay,
    Done,
    /// The rest could not be read. What was replayed is old: nobody may be served from it.
    Failed,
}

struct State {
    coordinator: Coordinator,
    waiting: stdx::Map<Token, oneshot::Sender<Answer>>,
    token_next: u64,
    wake_at: Option<u64>,
    has_timer: bool,
}

impl GroupHosts {
    pub(crate) fn new(world: World) -> Self {
        Self { world, hosts: RwLock::default(), partitions: AtomicUsize::new(0), topics: Mutex::default() }
    }

    /// This broker leads these partitions of the offsets topic, each in its epoch: reads them, then serves their groups.
    pub(crate) fn lead(&self, partitions: Vec<(Arc<Partition>, LeaderEpoch)>, config: &Config) {
        for (partition, epoch) in partitions {
            let index = partition.index();
            if self.hosts.read().get(&index).is_some_and(|host| host.epoch == epoch) {
                continue;
            }
            self.resign(index);
            let host = self.host(partition, epoch, config.clone());
            self.hosts.write().insert(index, host.clone());
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

    /// Asks the coordinator of `group`; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, group: &GroupId, request: Request) -> Answer {
        let count = self.partitions.load(Ordering::Relaxed);
        let host = self.hosts.read().get(&partition_of(group, count)).cloned();
        match host {
            Some(host) => host.ask(request).await,
            // Before it is known how many there are, nobody knows where a group lives.
            _ if count == 0 => Err(Error::CoordinatorNotAvailable),
            None => Err(if count == 0 { Error::CoordinatorNotAvailable } else { Error::NotCoordinator }),
        }
    }

    /// Asks all coordinators of this broker.
    pub(crate) async fn ask_all(&self, request: Request) -> Vec<Answer> {
        let mut answers = Vec::new();
        for host in self.all() {
            answers.push(host.ask(request.clone()).await);
        }
        answers
    }

    /// The offsets topic was deleted: its coordinators end.
    pub(crate) fn resign_all(&self) {
        let hosts = std::mem::take(&mut *self.hosts.write());
        hosts.into_values().for_each(|host| host.end());
    }

    /// This broker leads a partition of the offsets topic no more: its coordinator ends.
    pub(crate) fn resign(&self, index: i32) {
        let host = self.hosts.write().remove(&index);
        if let Some(host) = host {
            host.end();
        }
    }

    /// How many partitions the offsets topic has in the cluster.
    pub(crate) fn set_partitions(&self, count: usize) {
        self.partitions.store(count, Ordering::Relaxed);
    }

    /// Tells all coordinators that topics are gone.
    pub(crate) fn topics_deleted(&self, topics: &[groups::DeletedTopic]) {
        for host in self.all() {
            host.step(Event::TopicsDeleted(topics.to_vec()));
        }
    }

    /// Tells all coordinators that there are other topics, or other numbers of partitions.
    pub(crate) fn topics_changed(&self, topics: &TopicsView) {
        // First for those to come: none may miss it.
        *self.topics.lock() = Some(topics.clone());
        for host in self.all() {
            host.step(Event::TopicsChanged(topics.clone()));
        }
    }

    /// Tells all coordinators their new limits.
    pub(crate) fn configure(&self, config: &Config) {
        for host in self.all() {
            host.step(Event::Configured(config.clone()));
        }
    }

    /// Shows each loaded coordinator to `look`.
    pub(crate) fn look(&self, mut look: impl FnMut(&Coordinator)) {
        for host in self.all() {
            look(&host.state.lock().coordinator);
        }
    }

    fn all(&self) -> Vec<Arc<GroupHost>> {
        self.hosts.read().values().cloned().collect()
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

/// Which partition of the offsets topic keeps a group: Java's string hash, its sign dropped as Kafka drops it.
pub(crate) fn partition_of(group: &str, partitions: usize) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    i32::try_from(partitions).ok().and_then(|count| positive.checked_rem(count)).unwrap_or(0)
}

impl GroupHost {
    /// Whoever waits is sent to look for the next coordinator.
    fn end(&self) {
        self.loading.send(Loading::Failed);
        for (_, waiting) in self.state.lock().waiting.drain() {
            // Whoever asked may have gone.
            let _ = waiting.send(Err(Error::NotCoordinator));
        }
        self.wake.notify_one();
    }

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
        // What is not known to be safe yet may have been told to clients by the last leader.
        self.partition.caught_up(self.epoch).await.map_err(io::Error::other)?;
        *offset = self.partition.start_offset().max(*offset);
        while let Some((next, records)) = self.partition.read_own(*offset).await? {
            let coordinator = &mut self.state.lock().coordinator;
            records.iter().filter_map(group_records::decode).for_each(|record| coordinator.replay(record));
            *offset = next;
        }
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
                        if let Err(failure) = self.append(now, ticket, &records) {
                            events.push(Event::AppendFailed { ticket, failure });
                        }
                    }
                    Effect::WakeAt(at) => self.wake_at(&mut state, at),
                }
            }
        }
    }

    fn append(&self, now: Now, ticket: Ticket, records: &[groups::Record]) -> Result<(), AppendFailure> {
        let mut builder = records::BatchBuilder::new();
        for record in records {
            let (key, value) = group_records::encode(record);
            builder.push(now.wall, Some(&key), value.as_deref(), &[]);
        }
        let batch = builder.build().map_err(|_| AppendFailure::Unavailable)?;
        let settled = self.this.upgrade().ok_or(AppendFailure::Unavailable)?;
        let settled = (settled as Arc<dyn Settled>, ticket.0 as usize);
        let appended = self.partition.append_own(now.wall, self.epoch, batch, settled);
        appended.map(drop).map_err(|refused| match refused {
            AppendRefused::TooLarge => AppendFailure::TooLarge,
            AppendRefused::Unavailable => AppendFailure::Unavailable,
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
            Ok(()) => Event::Committed { ticket },
            Err(_) => Event::AppendFailed { ticket, failure: AppendFailure::Unavailable },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_live_where_kafka_keeps_them() {
        // Java: "my-group".hashCode() is 2016613448; "".hashCode() is 0.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(
            partition_of("polygenelubricants", 50),
            0,
            "its hash is i32::MIN, whose sign cannot be dropped"
        );
    }
}
