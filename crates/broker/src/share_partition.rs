//! The host of one share partition: the core behind one short lock, its writes to the share coordinator one after the other,
//! its timer, and who waits for records to come back.
//!
//! It decides nothing about records: [`share::SharePartition`] does. `share_fetch` reads, `handlers` translate.

use crate::{
    Broker, dead_letters,
    fetch_wait::FetchWait,
    log_config,
    partition::{Isolation, Partition, Reader, Sought},
    share_states::{self, Told},
};
use coordinator::Now;
use env::World;
use metadata::config::offset_reset::{self, OffsetReset};
use model::{LeaderEpoch, Offset};
use parking_lot::Mutex;
use share::{
    Acknowledged, Acquired, Batch, DeadLetters, Key, MemberId, Read, ReadReply, Reply, Request,
    SharePartition, Wish, Write, WriteState,
};
use slab::Slab;
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};
use tokio::sync::{Notify, oneshot};
use wire::ErrorCode;

/// How far a share partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Loading,
    Active,
    /// It has ended, and why: who asks again gets a new one.
    Ended(ErrorCode),
}

pub(crate) struct ShareHost {
    world: World,
    broker: Weak<Broker>,
    key: Key,
    partition: Arc<Partition>,
    leader_epoch: LeaderEpoch,
    state: Mutex<State>,
    wake: Notify,
    this: Weak<ShareHost>,
}

#[derive(Default)]
struct State {
    core: Option<SharePartition>,
    ended: Option<ErrorCode>,
    /// Fetches that wait for records to come back.
    waits: Slab<Arc<FetchWait>>,
    /// What is to be written, in its order, and who waits for that.
    writes: VecDeque<Queued>,
    is_writing: bool,
    /// The dead-letter topic is being told of records.
    is_telling: bool,
    /// When the timer will look next, while it runs.
    timer_at: Option<u64>,
}

/// What is told of an acknowledgement.
pub(crate) type Taken = Result<(), ErrorCode>;

/// A write, and who waits for it.
type Queued = (Write, Option<oneshot::Sender<Taken>>);

impl ShareHost {
    pub(crate) fn new(
        broker: &Arc<Broker>,
        key: Key,
        partition: Arc<Partition>,
        leader_epoch: LeaderEpoch,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            world: broker.world.clone(),
            broker: Arc::downgrade(broker),
            key,
            partition,
            leader_epoch,
            state: Mutex::default(),
            wake: Notify::new(),
            this: this.clone(),
        })
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state.lock().ended.is_some()
    }

    /// Where it stands.
    pub(crate) fn stage(&self) -> Stage {
        let state = self.state.lock();
        match (state.ended, &state.core) {
            (Some(code), _) => Stage::Ended(code),
            (None, Some(_)) => Stage::Active,
            (None, None) => Stage::Loading,
        }
    }

    /// Reads its state from the share coordinator.
    pub(crate) fn load(host: &Arc<Self>) {
        let this = host.clone();
        host.world.tasks.spawn(Box::pin(async move {
            if let Err(code) = this.read().await {
                tracing::info!(key = ?this.key, ?code, "a share partition could not be read");
                this.end_with(code);
            }
        }));
    }

    async fn read(&self) -> Result<(), ErrorCode> {
        let broker = self.broker.upgrade().ok_or(ErrorCode::NotLeaderOrFollower)?;
        let read = Read { key: self.key.clone(), leader_epoch: self.leader_epoch };
        let told = share_states::ask(&broker, Request::Read(read)).await;
        let Reply::Read(ReadReply { state_epoch, start, batches }) = told.map_err(of_state)? else {
            return Err(ErrorCode::UnknownServerError);
        };
        let start = match start {
            -1 => self.first_offset(&broker, state_epoch).await?,
            start => start,
        };
        let config = log_config::of_share_partition(&broker, &self.key.group);
        let core = SharePartition::new(config, state_epoch, start, &batches).map_err(|error| {
            tracing::error!(key = ?self.key, %error, "a share partition begins without what was stored of it");
            ErrorCode::UnknownServerError
        })?;
        let mut state = self.state.lock();
        if state.ended.is_none() {
            state.core = Some(core);
        }
        // What the leader before has not come to tell.
        self.start_telling(&mut state);
        Self::wake_all(&mut state);
        Ok(())
    }

    /// Where a group begins that has never read: written down, so that no restart moves it.
    async fn first_offset(&self, broker: &Arc<Broker>, state_epoch: i32) -> Result<Offset, ErrorCode> {
        let image = broker.image();
        let reset = broker.config.configs(&image).group(&self.key.group).text("share.auto.offset.reset");
        let sought = match offset_reset::parse(reset.as_deref().unwrap_or_default()) {
            Some(OffsetReset::Earliest) => Sought::Earliest,
            Some(OffsetReset::Before(ms)) => {
                Sought::Timestamp(self.world.clock.wall().saturating_sub(ms).max(0))
            }
            Some(OffsetReset::Latest) | None => Sought::Latest,
        };
        let reader = Reader::Consumer { isolation: Isolation::HighWatermark, leader_only: true };
        let find = async |sought| {
            let found = self.partition.find(sought, &reader, self.leader_epoch).await;
            found.map(|found| found.offset).map_err(|refused| crate::failure_code::of_partition(&refused))
        };
        let start = match find(sought).await? {
            // Nothing is that young.
            -1 => find(Sought::Latest).await?,
            start => start,
        };
        let write = WriteState {
            key: self.key.clone(),
            state_epoch,
            leader_epoch: self.leader_epoch,
            start,
            complete_count: 0,
            batches: Vec::new(),
        };
        share_states::ask(broker, Request::Write(write)).await.map_err(of_state)?;
        Ok(start)
    }

    /// It is another's from now on, or nobody's.
    pub(crate) fn end(&self) {
        self.end_with(ErrorCode::NotLeaderOrFollower);
    }

    fn end_with(&self, code: ErrorCode) {
        {
            let mut state = self.state.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some(code);
            state.core = None;
            Self::wake_all(&mut state);
        }
        self.wake.notify_one();
        if let (Some(broker), Some(this)) = (self.broker.upgrade(), self.this.upgrade()) {
            broker.shares.remove(&this);
        }
    }

    fn wake_all(state: &mut State) {
        state.waits.iter().for_each(|(_, wait)| wait.break_off());
    }

    fn now(&self) -> Now {
        Now { wall: self.world.clock.wall(), monotonic: self.world.clock.now() }
    }

    /// From where on to read for a member; `None` if nobody may have anything.
    pub(crate) fn next_offset(&self) -> Option<Offset> {
        let state = self.state.lock();
        state.core.as_ref().filter(|core| core.can_acquire()).map(SharePartition::next_offset)
    }

    /// Puts a fetch on the list of those who wait for records to come back.
    pub(crate) fn watch(&self, wait: Arc<FetchWait>) -> usize {
        self.state.lock().waits.insert(wait)
    }

    /// Takes it off.
    pub(crate) fn unwatch(&self, place: usize) {
        self.state.lock().waits.try_remove(place);
    }

    /// Gives a member what it may have of batches that were read.
    pub(crate) fn acquire(&self, wish: Wish<'_>, batches: &[Batch]) -> Result<Vec<Acquired>, ErrorCode> {
        let config =
            self.broker.upgrade().map(|broker| log_config::of_share_partition(&broker, &self.key.group));
        let now = self.now();
        let mut state = self.state.lock();
        let ended = state.ended;
        let Some(core) = state.core.as_mut() else { return ended.map_or(Ok(Vec::new()), Err) };
        config.into_iter().for_each(|config| core.configure(config));
        let taken = core.acquire(now, wish, batches);
        if !taken.is_empty() {
            self.set_timer(&mut state);
        }
        Ok(taken)
    }

    /// The log begins at `offset` now.
    pub(crate) fn on_log_start(&self, offset: Offset) {
        let mut state = self.state.lock();
        state.core.iter_mut().for_each(|core| core.on_log_start(offset));
        Self::wake_all(&mut state);
    }

    /// Takes over what a member says of records; waits until the share coordinator has it.
    pub(crate) async fn acknowledge(&self, member: &MemberId, all: &[Acknowledged]) -> Taken {
        let config =
            self.broker.upgrade().map(|broker| log_config::of_share_partition(&broker, &self.key.group));
        let written = {
            let mut state = self.state.lock();
            let ended = state.ended;
            let core = state.core.as_mut().ok_or(ended.unwrap_or(ErrorCode::UnknownTopicOrPartition))?;
            config.into_iter().for_each(|config| core.configure(config));
            let write = core.acknowledge(self.now(), member, all);
            let write = write.map_err(|error| crate::failure_code::of_share(&error))?;
            // A lock may have been prolonged.
            self.set_timer(&mut state);
            self.write(&mut state, write)
        };
        self.written(written).await
    }

    /// A member has gone: what it has comes back, from now on. What is to be waited for ([`Self::written`]) is only that it is
    /// written down.
    pub(crate) fn release(&self, member: &MemberId) -> Option<oneshot::Receiver<Taken>> {
        let mut state = self.state.lock();
        let write = state.core.as_mut()?.release(member);
        self.write(&mut state, write)
    }

    pub(crate) async fn written(&self, written: Option<oneshot::Receiver<Taken>>) -> Taken {
        match written {
            Some(written) => written.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable)),
            None => Ok(()),
        }
    }

    fn write(&self, state: &mut State, write: Option<Write>) -> Option<oneshot::Receiver<Taken>> {
        let (sender, receiver) = oneshot::channel();
        state.writes.push_back((write?, Some(sender)));
        self.start_writing(state);
        Some(receiver)
    }

    fn start_writing(&self, state: &mut State) {
        let Some(this) = self.this.upgrade().filter(|_| !std::mem::replace(&mut state.is_writing, true))
        else {
            return;
        };
        self.world.tasks.spawn(Box::pin(async move { this.write_all().await }));
    }

    /// Writes what is there until nothing is: the share coordinator hears of things in the order in which they happened.
    async fn write_all(&self) {
        loop {
            let (request, waiting) = {
                let mut state = self.state.lock();
                let waiting: Vec<_> = state.writes.drain(..).collect();
                let Some(request) = self.to_request(waiting.iter().map(|(write, _)| write)) else {
                    state.is_writing = false;
                    return;
                };
                (request, waiting)
            };
            let told: Told = match self.broker.upgrade() {
                Some(broker) => share_states::ask(&broker, request).await,
                None => Err(ErrorCode::CoordinatorNotAvailable),
            };
            self.on_written(waiting, told.map(drop));
        }
    }

    /// All writes as one; the last knows where the share partition stands.
    fn to_request<'a>(&self, writes: impl Iterator<Item = &'a Write>) -> Option<Request> {
        let mut request: Option<WriteState> = None;
        for write in writes {
            let request = request.get_or_insert_with(|| WriteState {
                key: self.key.clone(),
                state_epoch: write.state_epoch,
                leader_epoch: self.leader_epoch,
                start: write.start,
                complete_count: write.complete_count,
                batches: Vec::new(),
            });
            (request.start, request.complete_count) = (write.start, write.complete_count);
            request.batches.extend(&write.batches);
        }
        request.map(|request| {
            let batches = share::combine(&[], &request.batches, request.start);
            Request::Write(WriteState { batches, ..request })
        })
    }

    fn on_written(&self, waiting: Vec<Queued>, told: Result<(), ErrorCode>) {
        {
            let mut state = self.state.lock();
            let now = self.now();
            for id in waiting.iter().map(|(write, _)| write.id) {
                state.core.iter_mut().for_each(|core| core.on_written(now, id, told.is_ok()));
            }
            // What could not be written is held again, and its lock may be the only one.
            self.set_timer(&mut state);
            self.start_telling(&mut state);
            Self::wake_all(&mut state);
        }
        let told = told.map_err(of_state);
        if let Err(code) = told {
            tracing::info!(key = ?self.key, ?code, "the state of a share partition could not be written");
            let is_over = matches!(
                code,
                ErrorCode::NotLeaderOrFollower
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::GroupIdNotFound
            );
            if is_over {
                self.end_with(code);
            }
        }
        for (_, sender) in waiting {
            // Whoever waited may have gone.
            if let Some(sender) = sender {
                let _ = sender.send(told);
            }
        }
    }

    /// Lets the dead-letter topic be told of what it is to be told, unless that is under way.
    fn start_telling(&self, state: &mut State) {
        let Some(this) = self.this.upgrade().filter(|_| !state.is_telling) else { return };
        let letters = state.core.as_mut().map(SharePartition::take_dead_letters).unwrap_or_default();
        if !letters.is_empty() {
            state.is_telling = true;
            self.world.tasks.spawn(Box::pin(async move { this.tell_all(letters).await }));
        }
    }

    /// Tells it of these, and then of what has come meanwhile, until nothing has.
    async fn tell_all(self: &Arc<Self>, mut letters: Vec<DeadLetters>) {
        while let Some(broker) = self.broker.upgrade() {
            if !dead_letters::tell(&broker, self, &letters).await {
                return;
            }
            let is_over = self.on_told(&mut letters);
            if is_over {
                return broker.shares.on_told(self);
            }
        }
    }

    /// The dead-letter topic was told of these; whether there is nothing more.
    fn on_told(&self, letters: &mut Vec<DeadLetters>) -> bool {
        let mut state = self.state.lock();
        let Some(core) = state.core.as_mut() else { return true };
        let told = letters.iter().filter_map(|one| core.on_told(one.first, one.last));
        // Nobody waits for it.
        let writes: Vec<Queued> = told.map(|write| (write, None)).collect();
        *letters = core.take_dead_letters();
        state.is_telling = !letters.is_empty();
        if !writes.is_empty() {
            state.writes.extend(writes);
            self.start_writing(&mut state);
        }
        // The start has moved.
        Self::wake_all(&mut state);
        letters.is_empty()
    }

    /// Whether the dead-letter topic is still to be told of something.
    pub(crate) fn is_telling(&self) -> bool {
        self.state.lock().is_telling
    }

    /// The same, and nothing else is under way.
    pub(crate) fn is_only_telling(&self) -> bool {
        let state = self.state.lock();
        state.is_telling && !state.is_writing
    }

    /// Sees to it that locks run out in time.
    fn set_timer(&self, state: &mut State) {
        let Some(deadline) = state.core.as_ref().and_then(SharePartition::deadline) else { return };
        match state.timer_at.replace(deadline) {
            Some(at) if at <= deadline => state.timer_at = Some(at),
            Some(_) => self.wake.notify_one(),
            None => {
                let this = self.this.clone();
                self.world.tasks.spawn(Box::pin(async move {
                    while let Some(host) = this.upgrade() {
                        if !host.sleep_then_expire().await {
                            return;
                        }
                    }
                }));
            }
        }
    }

    /// Whether there is more to wait for.
    async fn sleep_then_expire(&self) -> bool {
        let Some(at) = self.state.lock().timer_at else { return false };
        tokio::select! {
            biased;
            () = self.wake.notified() => return !self.is_ended(),
            () = self.world.clock.sleep_until(at) => {}
        }
        let mut state = self.state.lock();
        let now = self.now();
        let expired = state.core.as_mut().and_then(|core| core.expire(now));
        if let Some(write) = expired {
            // Nobody waits for it.
            state.writes.push_back((write, None));
            self.start_writing(&mut state);
            self.start_telling(&mut state);
            Self::wake_all(&mut state);
        }
        state.timer_at = state.core.as_ref().and_then(SharePartition::deadline);
        state.timer_at.is_some()
    }
}

/// What the leader of a partition says where the share coordinator does not take something.
fn of_state(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::NetworkException => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::FencedLeaderEpoch | ErrorCode::FencedStateEpoch => ErrorCode::NotLeaderOrFollower,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::GroupIdNotFound => code,
        _ => ErrorCode::UnknownServerError,
    }
}
