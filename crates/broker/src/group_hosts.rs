//! The hosts of the group coordinators: one per partition of `__consumer_offsets`.
//!
//! A host orders and keeps what its coordinator decides: it appends records, tells the coordinator when they are
//! durable, sends its replies and wakes it in time. It decides nothing about groups.

use crate::{
    acks::Settled,
    group_records,
    partition::{AppendRefused, Partition},
};
use coordinator::Now;
use env::World;
use groups::{AppendFailure, Config, Coordinator, Effect, Error, Event, Reply, Request, Ticket, Token};
use model::GroupId;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use tokio::sync::{Notify, oneshot, watch};

/// The topic that holds groups and their offsets.
pub(crate) const TOPIC: &str = "__consumer_offsets";

/// All hosts of this broker.
pub(crate) struct GroupHosts {
    world: World,
    hosts: RwLock<BTreeMap<i32, Arc<GroupHost>>>,
}

/// What became of a request.
pub(crate) type Answer = Result<Reply, Error>;

/// The coordinator of one partition with its log and its waiting requests.
pub(crate) struct GroupHost {
    world: World,
    partition: Arc<Partition>,
    state: Mutex<State>,
    loaded: watch::Receiver<bool>,
    wake: Notify,
    this: Weak<GroupHost>,
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
        Self { world, hosts: RwLock::default() }
    }

    /// This broker leads a partition of the offsets topic: reads it, then serves its groups.
    pub(crate) fn lead(&self, partition: Arc<Partition>, config: Config) {
        let index = partition.index();
        if self.hosts.read().contains_key(&index) {
            return;
        }
        let (loaded, is_loaded) = watch::channel(false);
        let state = State {
            coordinator: Coordinator::new(config),
            waiting: stdx::Map::default(),
            token_next: 0,
            wake_at: None,
            has_timer: false,
        };
        let host = Arc::new_cyclic(|this| GroupHost {
            world: self.world.clone(),
            partition,
            state: Mutex::new(state),
            loaded: is_loaded,
            wake: Notify::new(),
            this: this.clone(),
        });
        self.hosts.write().insert(index, host.clone());
        self.world.tasks.spawn(Box::pin(async move {
            host.load().await;
            loaded.send_replace(true);
        }));
    }

    /// Asks the coordinator of `group`; waits while it loads and until it answers.
    pub(crate) async fn ask(&self, group: &GroupId, request: Request) -> Answer {
        let count = self.partitions();
        let host = self.hosts.read().get(&partition_of(group, count)).cloned();
        match host {
            Some(host) => host.ask(request).await,
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

    /// The offsets topic was deleted: its coordinators end, and whoever waits for one is sent to look for the next.
    pub(crate) fn resign(&self) {
        let hosts = std::mem::take(&mut *self.hosts.write());
        for host in hosts.into_values() {
            for (_, waiting) in host.state.lock().waiting.drain() {
                // Whoever asked may have gone.
                let _ = waiting.send(Err(Error::NotCoordinator));
            }
            host.wake.notify_one();
        }
    }

    /// Tells all coordinators that topics are gone.
    pub(crate) fn topics_deleted(&self, topics: &[groups::DeletedTopic]) {
        for host in self.all() {
            host.step(Event::TopicsDeleted(topics.to_vec()));
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

    /// Partitions of the offsets topic; this node leads them all.
    fn partitions(&self) -> usize {
        self.hosts.read().len()
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
    async fn ask(&self, request: Request) -> Answer {
        let mut loaded = self.loaded.clone();
        if loaded.wait_for(|loaded| *loaded).await.is_err() {
            return Err(Error::CoordinatorNotAvailable);
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

    async fn load(&self) {
        let mut offset = self.partition.start_offset();
        let mut count = 0usize;
        loop {
            match self.partition.read_own(offset).await {
                Ok(None) => break,
                Ok(Some((next, records))) => {
                    let mut state = self.state.lock();
                    for record in records {
                        if let Some(record) = group_records::decode(&record) {
                            state.coordinator.replay(record);
                            count += 1;
                        }
                    }
                    offset = next;
                }
                Err(error) => {
                    tracing::error!(partition = %self.partition, %error, "groups could not be read; they start empty of what follows");
                    break;
                }
            }
        }
        tracing::debug!(partition = %self.partition, records = count, "groups are loaded");
        self.step(Event::Loaded);
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
        let appended = self.partition.append_own(now.wall, batch, settled, ticket.0 as usize);
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
    fn settle(&self, slot: usize, durable: bool) {
        let ticket = Ticket(slot as u64);
        self.step(if durable {
            Event::Committed { ticket }
        } else {
            Event::AppendFailed { ticket, failure: AppendFailure::Unavailable }
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
