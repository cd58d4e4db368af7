//! Moves of replicas from one log directory of this node to another (KIP-113, KIP-858): each copies its log beside it,
//! tells the controller, and puts the copy in its place.
//!
//! One move, from its turn to its end, is `moves::moving`; what to copy and how the copy takes the log's place
//! `partition::relocate` says; what AlterReplicaLogDirs answers stands in its handler. The order of a move is that of KIP-858:
//! the copy has caught up, the controller has accepted the new directory, the log is exchanged. A crash before the last
//! leaves the log where it was and the copy to go on from; decision 0018 has each step.

mod moving;
#[cfg(test)]
mod tests;

use crate::{
    Broker, dir_assignments,
    log_dir::LogDir,
    partition::{Copy, Partition},
    replicas::Future,
};
use env::Nanos;
use model::{PartitionIndex, TopicId};
use moving::{End, Moving};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};
use stdx::Uuid;
use tokio::sync::{Notify, watch};

/// At most so many bytes are copied at a time; of a slow move no more than a second's worth.
const SLICE_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=4 << 20;
/// How often it is looked whether the rate has changed.
const LOOK_MS: i64 = 100;

type Key = (TopicId, PartitionIndex);

/// All moves, under way or waiting for their turn.
pub(crate) struct Moves {
    all: Mutex<BTreeMap<Key, Arc<Move>>>,
    /// Held while requests are answered: one after the other.
    pub(crate) turn: tokio::sync::Mutex<()>,
    /// How many copy at a time.
    copying: Mutex<usize>,
    /// One of them has come to its end.
    freed: Arc<Notify>,
    /// When the last slice was begun, and its bytes: one rate for all.
    last: Mutex<(Nanos, u64)>,
}

/// One move.
pub(crate) struct Move {
    pub(crate) partition: Arc<Partition>,
    pub(crate) to: Arc<LogDir>,
    /// The directory of the copy.
    path: PathBuf,
    is_called_off: AtomicBool,
    /// ... which its task is told.
    called_off: Notify,
    /// The end of the copy, and its bytes.
    end_offset: AtomicI64,
    size_bytes: AtomicU64,
    /// Its sender goes with the move.
    ended: watch::Receiver<()>,
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
            freed: Arc::default(),
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

    /// Calls the move of a partition off, if there is one; ends when it has ended, for everybody who waits. Its log may be in
    /// its new place by then.
    pub(crate) async fn call_off(&self, key: Key) {
        let Some(one) = self.get(key) else { return };
        one.is_called_off.store(true, Ordering::Release);
        one.called_off.notify_one();
        let mut ended = one.ended.clone();
        while ended.changed().await.is_ok() {}
    }

    fn forget(&self, one: &Arc<Move>) {
        let mut all = self.all.lock();
        if all.get(&one.key()).is_some_and(|known| Arc::ptr_eq(known, one)) {
            all.remove(&one.key());
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
            tokio::select! {
                biased;
                () = moving.one.off() => {}
                () = clock.sleep_until(due.min(clock.after_millis(LOOK_MS))) => {}
            }
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

    /// Whether it comes to its end there, as far as one can know.
    pub(crate) fn is_going_to(&self, dir: &Arc<LogDir>) -> bool {
        Arc::ptr_eq(&self.to, dir) && !self.is_off()
    }

    fn is_off(&self) -> bool {
        self.is_called_off.load(Ordering::Acquire)
    }

    /// Ends once it is called off. Only its own task waits for that.
    async fn off(&self) {
        while !self.is_off() {
            self.called_off.notified().await;
        }
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
    check_free(broker, partition, to).await.ok_or_else(stopped)??;
    // A log without records has no directory yet. Where a crash leaves a copy and no log, the log is taken for lost.
    let from = partition.dir().path.clone();
    let own = from.join(log::names::dir_name(&partition.name()));
    let on = (disk.clone(), own.clone());
    if !broker.on_lane(move || on.0.exists(&on.1)).await.ok_or_else(stopped)? {
        // Nor may the first append make it at the same time.
        let _held = partition.hold().await;
        let on = disk.clone();
        let made = broker.on_lane(move || match on.exists(&own) {
            true => Ok(()),
            false => make_dir(&*on, &from, &own, topic),
        });
        made.await.unwrap_or_else(|| Err(stopped()))?;
    }
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
    start(broker, partition.clone(), (to.clone(), path));
    Ok(())
}

/// Refuses a move into a directory that has something where the log is to be: what it was before it was moved, perhaps, and
/// could not be removed then. Put in its place the copy could not be, and this is found out before anything is copied. `None`:
/// the broker stops, and nobody has looked.
async fn check_free(broker: &Arc<Broker>, partition: &Partition, to: &LogDir) -> Option<io::Result<()>> {
    let (disk, place) = (broker.world.disk.clone(), place_of(partition, to));
    let at = place.clone();
    if !broker.on_lane(move || disk.exists(&at)).await? {
        return Some(Ok(()));
    }
    let why = format!(
        "{} is there already; a restart sets it aside if it is what the log was before it was moved, else remove it",
        place.display()
    );
    Some(Err(io::Error::new(io::ErrorKind::AlreadyExists, why)))
}

/// Where its log will be.
fn place_of(partition: &Partition, to: &LogDir) -> PathBuf {
    to.path.join(log::names::dir_name(&partition.name()))
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
            // If its log is offline it waits for that.
            Some(own) => {
                tracing::info!(partition = %own, to = %to.path.display(), "the move of the log goes on");
                start(broker, own, (to.clone(), path));
            }
            None => gone.push(path),
        }
    }
    let disk = broker.world.disk.clone();
    broker.on_lane(move || gone.iter().for_each(|path| discard(&*disk, path))).await;
}

fn start(broker: &Arc<Broker>, partition: Arc<Partition>, (to, path): (Arc<LogDir>, PathBuf)) {
    let (ended, ending) = watch::channel(());
    let one = Arc::new(Move {
        partition,
        to,
        path,
        is_called_off: AtomicBool::new(false),
        called_off: Notify::new(),
        end_offset: AtomicI64::new(0),
        size_bytes: AtomicU64::new(0),
        ended: ending,
    });
    broker.moves.all.lock().insert(one.key(), one.clone());
    let this = Arc::downgrade(broker);
    broker.world.tasks.spawn(Box::pin(async move {
        let _ended: watch::Sender<()> = ended;
        let may_be_told = run(&this, &one).await;
        let Some(broker) = this.upgrade() else { return };
        // First: as long as there is a move, nobody minds that the metadata have the replica elsewhere.
        broker.moves.forget(&one);
        if may_be_told && !broker.is_stopping() {
            tell_place(&one);
        }
    }));
}

/// Has the controller told where the log is, which was told before it was there, or may have been, unless it knows. Should it
/// hear of the other place only later, the image that says so has it told again.
fn tell_place(one: &Move) {
    match one.partition.offsets().is_some() || one.partition.waits_for_room() {
        true => one.partition.note(dir_assignments::Condition::Whole),
        // Told under the directory that the metadata have it in: of the one that has failed the heartbeat tells, and that says
        // nothing of a log which nobody looks for there.
        false => one.partition.note_in(&one.to, dir_assignments::Condition::Lost),
    }
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

impl Turn {
    fn take(broker: &Arc<Broker>) -> Option<Self> {
        let at_a_time = Pace::of(broker).at_a_time;
        let mut copying = broker.moves.copying.lock();
        if *copying >= at_a_time {
            return None;
        }
        *copying += 1;
        Some(Self(broker.clone()))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0.moves.copying.lock() -= 1;
        self.0.moves.freed.notify_waiters();
    }
}

/// Whether the controller has the replica in the new directory, or may have it there.
async fn run(this: &Weak<Broker>, one: &Arc<Move>) -> bool {
    let mut may_be_told = false;
    loop {
        if wait_for_log(this, one).await.is_none() {
            return may_be_told;
        }
        // While the log is offline others have the place.
        let Some(turn) = take_turn(this, one).await else { return may_be_told };
        let (end, is_told) = attempt(&turn.0, one).await;
        may_be_told |= is_told;
        if end != End::Away {
            return may_be_told;
        }
        if is_told {
            tell_place(one);
        }
        let clock = turn.0.world.clock.clone();
        drop(turn);
        tokio::select! {
            biased;
            () = one.off() => {}
            () = clock.sleep_until(clock.after_millis(moving::RETRY_MS)) => {}
        }
    }
}

/// Ends when the log is not offline any more, or nothing will come of the move; `None` if the broker stops. It does not keep
/// the broker alive.
async fn wait_for_log(this: &Weak<Broker>, one: &Move) -> Option<()> {
    let clock = this.upgrade()?.world.clock.clone();
    let mut is_said = false;
    loop {
        let is_stopping = this.upgrade()?.is_stopping() || one.partition.is_closed();
        if is_stopping {
            return None;
        }
        let why = one.partition.why_away().filter(|_| !one.is_off() && !one.to.is_offline());
        let Some(why) = why else { return Some(()) };
        if !std::mem::replace(&mut is_said, true) {
            let to = one.to.path.display();
            tracing::warn!(partition = %one.partition, %to, %why, "the log is offline and cannot be moved for now; its move goes on once it is open again");
        }
        tokio::select! {
            biased;
            () = one.off() => {}
            () = clock.sleep_until(clock.after_millis(moving::RETRY_MS)) => {}
        }
    }
}

/// Copies, and sees to what is left of it; also tells whether the controller has the replica in the new directory, or may have
/// it there.
async fn attempt(broker: &Arc<Broker>, one: &Arc<Move>) -> (End, bool) {
    // What compacts the log at this moment comes to its end first, which may take long.
    tokio::select! {
        biased;
        _turn = one.partition.maintenance.lock() => one.partition.set_copied(true),
        () = one.off() => {
            remove(broker, one).await;
            return (End::Discarded, false);
        }
    }
    let (end, may_be_told) = Moving::new(broker, one).run().await;
    one.partition.set_copied(false);
    one.partition.set_moving_into(None);
    let (partition, to) = (&one.partition, one.to.path.display());
    match end {
        End::Done => tracing::info!(%partition, %to, "the log was moved"),
        End::Discarded => {
            tracing::info!(%partition, %to, "the log is not moved");
            remove(broker, one).await;
        }
        End::Kept if one.to.is_offline() => {
            tracing::warn!(%partition, %to, "the log cannot be moved for now; repair that log directory and restart, and its move goes on");
        }
        End::Kept | End::Away => {}
    }
    (end, may_be_told)
}

/// Removes what was copied.
async fn remove(broker: &Broker, one: &Move) {
    let (disk, path) = (broker.world.disk.clone(), one.path.clone());
    broker.on_lane(move || discard(&*disk, &path)).await;
}

/// Waits until fewer copy than may; `None` if that is not wanted any more. It does not keep the broker alive.
async fn take_turn(this: &Weak<Broker>, one: &Move) -> Option<Turn> {
    let (freed, mut images) = {
        let broker = this.upgrade()?;
        (broker.moves.freed.clone(), broker.images.replayed())
    };
    loop {
        let mut is_freed = pin!(freed.notified());
        // On the list before it looks: a place that is freed in between is not missed.
        is_freed.as_mut().enable();
        let _ = *images.borrow_and_update();
        {
            let broker = this.upgrade()?;
            if broker.is_stopping() {
                return None;
            }
            if one.is_off() {
                remove(&broker, one).await;
                return None;
            }
            if let Some(turn) = Turn::take(&broker) {
                return Some(turn);
            }
        }
        tokio::select! {
            biased;
            () = is_freed => {}
            () = one.off() => {}
            // Without a broker there are no images.
            changed = images.changed() => changed.ok()?,
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
