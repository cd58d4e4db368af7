//! Moves of replicas from one log directory of this node to another (KIP-113, KIP-858): each copies its log beside it,
//! tells the controller, and puts the copy in its place.
//!
//! What to copy and how the copy takes the log's place `partition::relocate` says; what AlterReplicaLogDirs answers stands in
//! its handler. The order of a move is that of KIP-858: the copy has caught up, the controller has accepted the new
//! directory, the log is exchanged. A crash before the last leaves the log where it was and the copy to go on from; decision
//! 0018 has each step.

use crate::{
    Broker,
    log_dir::LogDir,
    partition::{Copy, Held, Next, Partition, Promoted},
    replicas::Future,
    upkeep,
};
use env::Nanos;
use log::{Effect, LogConfig, OpenError, OpenOptions};
use metadata::DirectoryAssignment;
use model::{Offset, PartitionIndex, TopicId};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};
use stdx::Uuid;
use tokio::sync::{Notify, oneshot};

/// At most so many bytes are copied at a time; of a slow move no more than a second's worth.
const SLICE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=4 << 20;
/// How long to wait where something is busy, and how often to look whether a move was called off.
const BUSY_MS: i64 = 10;
/// ... where the log has nothing new, and the copy cannot take its place yet.
const LOOK_MS: i64 = 100;
/// ... where the disk is full or the controller does not answer.
const RETRY_MS: i64 = 1000;
/// A move that copies from a log that fails again and again is given up.
const FAILURES_MAX: u32 = 8;

type Key = (TopicId, PartitionIndex);

/// All moves, under way or waiting for their turn.
pub(crate) struct Moves {
    all: Mutex<BTreeMap<Key, Arc<Move>>>,
    /// Held while requests are answered: one after the other.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// How many copy at a time.
    copying: Mutex<usize>,
    freed: Notify,
    /// When the last slice was begun, and its bytes: one rate for all.
    last: Mutex<(Nanos, u64)>,
}

/// One move.
pub(crate) struct Move {
    pub(crate) partition: Arc<Partition>,
    pub(crate) to: Arc<LogDir>,
    /// The directory of the copy.
    path: PathBuf,
    /// It was begun before the last start of the broker.
    is_resumed: bool,
    is_called_off: AtomicBool,
    /// The end of the copy, and its bytes.
    end_offset: AtomicI64,
    size_bytes: AtomicU64,
    /// Ends with the move.
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

/// How a move ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    /// The copy is removed.
    Discarded,
    /// The broker stops, or one of the two directories fails: the next start goes on.
    Kept,
}

/// What is configured; it may change at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pace {
    /// 0: nothing is copied.
    bytes_per_second: u64,
    at_a_time: usize,
}

impl Pace {
    fn of(broker: &Broker) -> Self {
        let image = broker.image();
        let configured = broker.config.configs(&image).broker();
        let rate = configured.integer("replica.alter.log.dirs.io.max.bytes.per.second");
        let threads = match configured.text("num.replica.alter.log.dirs.threads") {
            Some(_) => usize::try_from(configured.integer("num.replica.alter.log.dirs.threads")).unwrap_or(1),
            None => broker.dirs.all().len(),
        };
        Self { bytes_per_second: rate.max(0) as u64, at_a_time: threads.max(1) }
    }

    fn slice_bytes(&self) -> u64 {
        self.bytes_per_second.clamp(*SLICE_BYTES.start(), *SLICE_BYTES.end())
    }

    /// When the slice after one of so many bytes may begin.
    fn after(&self, begun: Nanos, bytes: u64) -> Nanos {
        let due = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second.max(1));
        begun.saturating_add(u64::try_from(due).unwrap_or(u64::MAX))
    }
}

impl Moves {
    pub(crate) fn new() -> Self {
        Self {
            all: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            copying: Mutex::new(0),
            freed: Notify::new(),
            last: Mutex::new((0, 0)),
        }
    }

    /// The move of a partition, if there is one.
    pub(crate) fn get(&self, key: Key) -> Option<Arc<Move>> {
        self.all.lock().get(&key).cloned()
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Move>> {
        self.all.lock().values().cloned().collect()
    }

    /// How many copies lie in a directory, or will.
    pub(crate) fn count_into(&self, dir: &Arc<LogDir>) -> usize {
        self.all.lock().values().filter(|one| Arc::ptr_eq(&one.to, dir)).count()
    }

    /// Calls the move of a partition off, if there is one; ends when it has ended. Its log may be in its new place by then.
    pub(crate) async fn call_off(&self, key: Key) {
        let Some(one) = self.get(key) else { return };
        one.is_called_off.store(true, Ordering::Release);
        let ended = one.ended.lock().take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }

    /// A slice of so many bytes may be copied when this ends; `false` if the move is over before.
    async fn wait_for_turn(&self, moving: &Moving<'_>, bytes: u64) -> bool {
        let clock = &moving.broker.world.clock;
        loop {
            let (now, pace) = (clock.now(), Pace::of(moving.broker));
            let due = {
                let mut last = self.last.lock();
                let due = if pace.bytes_per_second == 0 { Nanos::MAX } else { pace.after(last.0, last.1) };
                if due <= now {
                    *last = (now, bytes);
                    return true;
                }
                due
            };
            if moving.is_over().is_some() {
                return false;
            }
            // The rate may change meanwhile.
            clock.sleep_until(due.min(clock.after_millis(LOOK_MS))).await;
        }
    }
}

impl Move {
    /// By how much the copy is behind the log, in offsets.
    pub(crate) fn lag(&self) -> i64 {
        let end = self.partition.offsets().map(|offsets| offsets.end);
        end.map_or(-1, |end| end - self.end_offset.load(Ordering::Acquire))
    }

    /// Bytes of the copy.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    fn key(&self) -> Key {
        self.partition.key()
    }

    fn note(&self, copy: &Copy) {
        self.end_offset.store(copy.log.end_offset(), Ordering::Release);
        self.size_bytes.store(copy.log.size_bytes(), Ordering::Release);
    }
}

/// Begins to move a partition's log; when this returns, a restart goes on with it.
pub(crate) async fn begin(
    broker: &Arc<Broker>,
    partition: &Arc<Partition>,
    to: &Arc<LogDir>,
    dir_name: String,
) -> io::Result<()> {
    let (disk, path, topic) = (broker.world.disk.clone(), to.path.join(dir_name), partition.topic_id());
    // A log without records has no directory yet. Where a crash leaves a copy and no log, the log is taken for lost.
    let from = partition.dir().path.clone();
    let own = from.join(log::names::dir_name(&partition.name()));
    let on = disk.clone();
    let made = broker.on_lane(move || match on.exists(&own) {
        true => Ok(()),
        false => make_dir(&*on, &from, &own, topic),
    });
    made.await.unwrap_or_else(|| Err(stopped()))?;
    let (at, parent) = (path.clone(), to.path.clone());
    let created =
        broker.on_lane(move || make_dir(&*disk, &parent, &at, topic).inspect_err(|_| discard(&*disk, &at)));
    let created = created.await.unwrap_or_else(|| Err(stopped()));
    created.inspect_err(|error| {
        if !log::is_scarcity(error) {
            to.fail();
        }
    })?;
    tracing::info!(partition = %partition, to = %to.path.display(), "the log is being moved to another log directory");
    start(broker, partition.clone(), (to.clone(), path), false);
    Ok(())
}

/// Makes a directory for a log, durably.
fn make_dir(disk: &dyn env::Disk, parent: &Path, dir: &Path, topic: TopicId) -> io::Result<()> {
    disk.create_dir_all(dir)?;
    log::write_topic_id(disk, dir, topic)?;
    disk.sync_dir(dir)?;
    disk.sync_dir(parent)
}

/// Goes on with the moves that the last end of the broker has broken off.
pub(crate) async fn resume(broker: &Arc<Broker>, futures: Vec<Future>) {
    let mut gone = Vec::new();
    for future in futures {
        let Some(to) = broker.dirs.get(future.place) else { continue };
        let path = to.path.join(&future.dir_name);
        let topic = broker.partitions.topic_by_id(future.topic);
        let own = topic.and_then(|topic| topic.partition(future.replica.partition));
        match own {
            Some(own) if own.is_in(to) || broker.moves.get(own.key()).is_some() => {
                // Of one that was begun anew after the directory that it was moved from had gone it may be all there is.
                if own.offsets().is_some() {
                    gone.push(path);
                }
            }
            Some(own) if own.offsets().is_some() && !own.dir().is_offline() => {
                tracing::info!(partition = %own, to = %to.path.display(), "the move of the log goes on");
                start(broker, own, (to.clone(), path), true);
            }
            // Its log may be in a directory that is offline.
            Some(_) => {}
            None => gone.push(path),
        }
    }
    let disk = broker.world.disk.clone();
    broker.on_lane(move || gone.iter().for_each(|path| discard(&*disk, path))).await;
}

fn start(
    broker: &Arc<Broker>,
    partition: Arc<Partition>,
    (to, path): (Arc<LogDir>, PathBuf),
    is_resumed: bool,
) {
    let (ended, ending) = oneshot::channel();
    let one = Arc::new(Move {
        partition,
        to,
        path,
        is_resumed,
        is_called_off: AtomicBool::new(false),
        end_offset: AtomicI64::new(0),
        size_bytes: AtomicU64::new(0),
        ended: Mutex::new(Some(ending)),
    });
    broker.moves.all.lock().insert(one.key(), one.clone());
    let this = Arc::downgrade(broker);
    broker.world.tasks.spawn(Box::pin(async move {
        let _ended: oneshot::Sender<()> = ended;
        run(&this, &one).await;
        if let Some(broker) = this.upgrade() {
            broker.moves.all.lock().remove(&one.key());
        }
    }));
}

fn discard(disk: &dyn env::Disk, path: &Path) {
    if let Err(error) = disk.remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(dir = %path.display(), %error, "the copy of a log that is not moved could not be removed");
    }
}

/// A place among those that copy.
struct Turn(Arc<Broker>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.moves.copying.lock() -= 1;
        self.0.moves.freed.notify_one();
    }
}

async fn run(this: &Weak<Broker>, one: &Arc<Move>) {
    let Some(turn) = take_turn(this, one).await else { return };
    let broker = turn.0.clone();
    // What compacts the log at this moment comes to its end first.
    {
        let _turn = one.partition.maintenance.lock().await;
        one.partition.set_copied(true);
    }
    let (end, is_told) = Moving { broker: &broker, one, is_told: false, failures: 0 }.run().await;
    one.partition.set_copied(false);
    one.partition.set_moving_into(None);
    match end {
        End::Done => {
            tracing::info!(partition = %one.partition, to = %one.to.path.display(), "the log was moved");
        }
        End::Discarded => {
            tracing::info!(partition = %one.partition, to = %one.to.path.display(), "the log is not moved");
            let (disk, path) = (broker.world.disk.clone(), one.path.clone());
            broker.on_lane(move || discard(&*disk, &path)).await;
        }
        End::Kept => {}
    }
    if is_told && !broker.is_stopping() {
        // The controller was told before the log was there; it is told where it is now, if that is not so.
        let condition = match one.partition.offsets() {
            Some(_) => crate::dir_assignments::Condition::Whole,
            None => crate::dir_assignments::Condition::Lost,
        };
        one.partition.note(condition);
    }
}

/// Waits until fewer copy than may; `None` if that is not wanted any more.
async fn take_turn(this: &Weak<Broker>, one: &Move) -> Option<Turn> {
    loop {
        let broker = this.upgrade()?;
        if broker.is_stopping() {
            return None;
        }
        if one.is_called_off.load(Ordering::Acquire) {
            let (disk, path) = (broker.world.disk.clone(), one.path.clone());
            broker.on_lane(move || discard(&*disk, &path)).await;
            return None;
        }
        let at_a_time = Pace::of(&broker).at_a_time;
        {
            let mut copying = broker.moves.copying.lock();
            if *copying < at_a_time {
                *copying += 1;
                drop(copying);
                return Some(Turn(broker));
            }
        }
        let clock = broker.world.clock.clone();
        tokio::select! {
            biased;
            () = broker.moves.freed.notified() => {}
            () = clock.sleep_until(clock.after_millis(LOOK_MS)) => {}
        }
    }
}

/// A move that has its turn.
struct Moving<'a> {
    broker: &'a Arc<Broker>,
    one: &'a Arc<Move>,
    /// The controller has it, or may have it, in the new directory.
    is_told: bool,
    failures: u32,
}

/// What became of a step.
enum Step {
    GoOn(Copy),
    Pause(Copy, i64),
    End(End),
}

impl Moving<'_> {
    async fn run(mut self) -> (End, bool) {
        let mut copy = match self.open(0).await {
            Ok(copy) => copy,
            Err(error) => {
                self.on_error(&error);
                return (End::Discarded, false);
            }
        };
        // The log was compacted meanwhile: what it has given up the copy would bring back.
        if self.one.is_resumed && self.one.partition.is_sparse() {
            copy = match self.begin_anew(copy, 0).await {
                Step::GoOn(copy) => copy,
                Step::Pause(..) => return (End::Discarded, false),
                Step::End(end) => return (end, false),
            };
        }
        loop {
            if let Some(end) = self.is_over() {
                return (end, self.is_told);
            }
            self.one.note(&copy);
            copy = match self.step(copy).await {
                Step::GoOn(copy) => copy,
                Step::Pause(copy, ms) => {
                    self.pause(ms).await;
                    copy
                }
                Step::End(end) => return (end, self.is_told),
            };
        }
    }

    fn is_over(&self) -> Option<End> {
        if self.broker.is_stopping() {
            return Some(End::Kept);
        }
        if self.one.to.is_offline() {
            return Some(End::Kept);
        }
        self.one.is_called_off.load(Ordering::Acquire).then_some(End::Discarded)
    }

    async fn pause(&self, ms: i64) {
        let clock = &self.broker.world.clock;
        clock.sleep_until(clock.after_millis(ms)).await;
    }

    async fn step(&mut self, copy: Copy) -> Step {
        let pace = Pace::of(self.broker);
        if pace.bytes_per_second == 0 {
            return Step::Pause(copy, RETRY_MS);
        }
        if self.broker.backlog.is_full() {
            return Step::Pause(copy, BUSY_MS);
        }
        let next = self.one.partition.next_to_copy(&copy.log, pace.slice_bytes() as usize).await;
        match next {
            Ok(Next::Batches { bytes, start_offset, high_watermark }) => {
                if !self.broker.moves.wait_for_turn(self, bytes.len() as u64).await {
                    return Step::Pause(copy, 0);
                }
                self.write(copy, bytes, (start_offset, high_watermark), &mut None).await
            }
            Ok(Next::Nothing { start_offset, high_watermark }) => {
                match self.write(copy, bytes::Bytes::new(), (start_offset, high_watermark), &mut None).await {
                    Step::GoOn(copy) => self.finish(copy).await,
                    other => other,
                }
            }
            Ok(Next::Cut(offset)) => self.cut(copy, offset).await,
            Ok(Next::Anew(offset)) => self.begin_anew(copy, offset).await,
            Ok(Next::Later) => Step::Pause(copy, BUSY_MS),
            Ok(Next::Over) => Step::End(self.over()),
            Err(error) => self.on_failure(copy, &error.to_string()),
        }
    }

    /// The log is gone, or closed, or cannot be used.
    fn over(&self) -> End {
        let topic = self.broker.partitions.topic_by_id(self.one.partition.topic_id());
        let own = topic.and_then(|topic| topic.partition(self.one.partition.index()));
        match own.is_some_and(|own| Arc::ptr_eq(&own, &self.one.partition)) {
            true => End::Kept,
            false => End::Discarded,
        }
    }

    fn on_failure(&mut self, copy: Copy, why: &str) -> Step {
        self.failures += 1;
        let (partition, to) = (&self.one.partition, self.one.to.path.display());
        if self.failures >= FAILURES_MAX {
            tracing::error!(%partition, %to, why, "the log is not moved: it cannot be copied");
            return Step::End(End::Discarded);
        }
        tracing::warn!(%partition, %to, why, "the log cannot be copied for now");
        Step::Pause(copy, LOOK_MS)
    }

    /// The disk of the new directory has refused.
    fn on_error(&self, error: &OpenError) {
        let (partition, to) = (&self.one.partition, self.one.to.path.display());
        tracing::error!(%partition, %to, %error, "the log is not moved: its copy cannot be written");
        if let OpenError::Io(error) = error
            && !log::is_scarcity(error)
            && !crate::partition::is_damage(error)
        {
            self.one.to.fail();
        }
    }

    fn options(&self, start_offset: Offset, recovery_point: Offset) -> OpenOptions {
        OpenOptions {
            topic_id: self.one.partition.topic_id(),
            is_new: false,
            config: self.config(),
            clean: false,
            recovery_point,
            start_offset,
            now: self.broker.now_ms(),
        }
    }

    fn config(&self) -> Arc<LogConfig> {
        self.one.partition.config()
    }

    async fn open(&self, start_offset: Offset) -> Result<Copy, OpenError> {
        let (disk, path) = (self.broker.world.disk.clone(), self.one.path.clone());
        let options = self.options(start_offset, 0);
        let opened = self.broker.on_lane(move || log::open(&*disk, &path, options));
        let opened = opened.await.unwrap_or_else(|| Err(stopped().into()))?;
        Ok(Copy { log: opened.log, files: opened.files })
    }

    async fn cut(&self, copy: Copy, offset: Offset) -> Step {
        let options = self.options(copy.log.start_offset(), copy.log.end_offset());
        let (disk, files) = (self.broker.world.disk.clone(), copy.files);
        let cut = self.broker.on_lane(move || files.truncate(&*disk, offset, options));
        self.reopened(cut.await)
    }

    async fn begin_anew(&self, copy: Copy, offset: Offset) -> Step {
        let options = self.options(offset, 0);
        let (disk, files) = (self.broker.world.disk.clone(), copy.files);
        let begun = self.broker.on_lane(move || files.start_over(&*disk, options));
        self.reopened(begun.await)
    }

    fn reopened(&self, opened: Option<Result<log::Opened, OpenError>>) -> Step {
        match opened {
            Some(Ok(opened)) => Step::GoOn(Copy { log: opened.log, files: opened.files }),
            Some(Err(error)) => {
                self.on_error(&error);
                Step::End(End::Discarded)
            }
            None => Step::End(End::Kept),
        }
    }

    /// Writes what was copied, durably.
    async fn write(
        &mut self,
        mut copy: Copy,
        bytes: bytes::Bytes,
        (start_offset, high_watermark): (Offset, Offset),
        held: &mut Option<Held>,
    ) -> Step {
        let now = self.broker.now_ms();
        let is_more = !bytes.is_empty();
        copy.log.configure(self.config());
        let mut effects = match copy.append(now, bytes) {
            Ok(effects) => effects,
            // What was taken of it before the bad batch is in the core and not in the files: all of it is copied anew.
            Err(error) => {
                return match self.on_failure(copy, &error.to_string()) {
                    Step::Pause(copy, _) => self.begin_anew(copy, start_offset).await,
                    other => other,
                };
            }
        };
        let safe = high_watermark.min(copy.log.end_offset());
        if start_offset <= copy.log.end_offset() {
            copy.log.follow_start_offset(start_offset, start_offset.max(safe), &mut effects);
            copy.log.drop_deleted(now, start_offset.max(safe), &mut effects);
            copy.log.purge(now, &mut effects);
        }
        if is_more {
            self.failures = 0;
        } else if effects.is_empty() {
            return Step::GoOn(copy);
        }
        self.perform(copy, effects, held).await
    }

    /// Does that to the files, durably. Where there is no room it is tried again, and nobody is held up any more.
    async fn perform(&self, mut copy: Copy, mut effects: Vec<Effect>, held: &mut Option<Held>) -> Step {
        let now = self.broker.now_ms();
        loop {
            let (disk, result);
            (copy, effects, result) = {
                disk = self.broker.world.disk.clone();
                let performing = self.broker.on_lane(move || {
                    let result = copy.files.perform(&*disk, &effects, true);
                    (copy, effects, result)
                });
                match performing.await {
                    Some(performed) => performed,
                    None => return Step::End(End::Kept),
                }
            };
            match result {
                Ok(performed) => {
                    copy.log.flushed(now, &performed);
                    copy.log.trim_tail(usize::MAX);
                    return Step::GoOn(copy);
                }
                Err(error) if log::is_scarcity(&error) => {
                    *held = None;
                    let (partition, to) = (&self.one.partition, self.one.to.path.display());
                    tracing::warn!(%partition, %to, %error, "the log cannot be copied for now");
                    self.pause(RETRY_MS).await;
                    if let Some(end) = self.is_over() {
                        return Step::End(end);
                    }
                }
                Err(error) => {
                    self.on_error(&error.into());
                    self.one.to.fail();
                    return Step::End(End::Kept);
                }
            }
        }
    }

    /// The copy has all that is on stable storage: the controller is told, and it takes the log's place.
    async fn finish(&mut self, copy: Copy) -> Step {
        if !self.is_told {
            return self.tell(copy).await;
        }
        let partition = &self.one.partition;
        // Nobody replaces files meanwhile.
        let _turn = partition.maintenance.lock().await;
        partition.set_moving_into(Some(self.one.to.clone()));
        // Before the log counts there: what was deleted of it must not be there again after a crash.
        if let Err(error) = upkeep::write_checkpoints(self.broker, &self.one.to).await {
            tracing::warn!(%partition, to = %self.one.to.path.display(), %error, "the log cannot take its new place for now");
            return Step::Pause(copy, RETRY_MS);
        }
        // One without records has no files yet, and they alone tell where it begins.
        let epochs = Effect::Epochs(copy.log.epochs().entries().to_vec());
        let copy = match self.perform(copy, vec![epochs], &mut None).await {
            Step::GoOn(copy) => copy,
            other => return other,
        };
        let mut held = Some(partition.hold().await);
        // What the last job has written; it is little.
        let copy = match self.last(copy, &mut held).await {
            Step::GoOn(copy) => copy,
            other => return other,
        };
        if let Some(end) = self.is_over() {
            return Step::End(end);
        }
        if held.is_none() {
            return Step::Pause(copy, BUSY_MS);
        }
        let promoted = partition.promote(copy, &self.one.to, self.broker);
        drop(held);
        match promoted {
            Promoted::Done(done) => {
                let _ = done.await;
                match partition.is_in(&self.one.to) {
                    true => Step::End(End::Done),
                    false => Step::End(End::Kept),
                }
            }
            Promoted::Later(copy) => Step::Pause(*copy, LOOK_MS),
            Promoted::Over => Step::End(self.over()),
        }
    }

    /// Copies what was written since, while nothing more is written.
    async fn last(&mut self, copy: Copy, held: &mut Option<Held>) -> Step {
        match self.one.partition.next_to_copy(&copy.log, *SLICE_BYTES.end() as usize).await {
            Ok(Next::Batches { bytes, start_offset, high_watermark }) => {
                self.write(copy, bytes, (start_offset, high_watermark), held).await
            }
            Ok(Next::Nothing { .. } | Next::Cut(_) | Next::Anew(_) | Next::Later) => Step::GoOn(copy),
            Ok(Next::Over) => Step::End(self.over()),
            Err(error) => self.on_failure(copy, &error.to_string()),
        }
    }

    /// Tells the controller in which directory the replica will be (KIP-858), before it is there: were it told later, nobody
    /// would lead in its place if that directory failed first.
    async fn tell(&mut self, copy: Copy) -> Step {
        let (topic, index) = self.one.key();
        let Some(directory) = self.one.to.id() else { return Step::End(End::Discarded) };
        self.broker.shared.dir_assignments.withdraw((topic, index));
        self.is_told = true;
        let assignment = DirectoryAssignment { directory, topic, index };
        match self.broker.assign_directories(vec![assignment]).await {
            Ok(results) if results.iter().all(|(_, result)| result.is_ok()) => Step::GoOn(copy),
            answer => {
                let partition = &self.one.partition;
                tracing::warn!(%partition, ?answer, "the controller has not taken note of the log's new place; it is told again");
                self.is_told = false;
                Step::Pause(copy, RETRY_MS)
            }
        }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the broker stops")
}

/// What the directory of the copy of a partition's log is called; `None` if the topic's name is too long for that.
pub(crate) fn dir_name(broker: &Broker, partition: &model::TopicPartition) -> Option<String> {
    let unique: Uuid = broker.world.random.uuid();
    log::names::future_dir_name(partition, unique)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_move_copies_no_more_at_once_than_it_may_in_a_second() {
        let pace = |bytes_per_second| Pace { bytes_per_second, at_a_time: 1 };
        assert_eq!(pace(1 << 20).slice_bytes(), 1 << 20);
        assert_eq!(pace(1).slice_bytes(), 64 * 1024, "a batch is copied whole all the same");
        assert_eq!(pace(i64::MAX as u64).slice_bytes(), 4 << 20);
        assert_eq!(pace(1 << 20).after(5, 1 << 19), 500_000_005);
        assert_eq!(pace(i64::MAX as u64).after(5, 4 << 20), 5, "no limit");
    }
}
