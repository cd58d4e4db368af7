//! A world for one replica: a paused clock, dice, tasks that end together, and a disk that loses what was not synced.

use env::{BoxFuture, Clock, Deadline, Disk, Job, Millis, Nanos, Random, Tasks, World};
use log::testing::MemoryDisk;
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Dice of a seed (splitmix64).
#[derive(Clone)]
pub(super) struct Dice(u64);

pub(super) struct TestClock(Instant);

struct TestRandom(Mutex<Dice>);

/// The tasks of one start of a replica.
pub(super) struct TestTasks {
    clock: Arc<TestClock>,
    dice: Mutex<Dice>,
    set: Mutex<JoinSet<()>>,
    ended: AtomicBool,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.bits() % end.max(1)
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn fork(&mut self) -> Self {
        Self(self.bits())
    }
}

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Instant::now()))
    }

    pub(super) async fn sleep_ms(&self, millis: u64) {
        self.sleep_until(self.now() + millis * 1_000_000).await;
    }

    pub(super) fn elapsed_ms(&self) -> u64 {
        self.now() / 1_000_000
    }
}

impl Clock for TestClock {
    fn wall(&self) -> Millis {
        1_767_225_600_000 + self.elapsed_ms() as i64
    }

    fn now(&self) -> Nanos {
        self.0.elapsed().as_nanos() as u64
    }

    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(self.0 + Duration::from_nanos(deadline)))
    }
}

impl Random for TestRandom {
    fn next_u64(&self) -> u64 {
        self.0.lock().bits()
    }
}

impl TestTasks {
    pub(super) async fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut set = std::mem::take(&mut *self.set.lock());
        set.shutdown().await;
    }
}

impl Tasks for TestTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let mut set = self.set.lock();
        while let Some(done) = set.try_join_next() {
            if let Err(error) = done {
                assert!(!error.is_panic(), "a task has panicked");
            }
        }
        set.spawn(future);
    }

    fn run_on_lane(&self, job: Job) {
        let (clock, delay_us) = (self.clock.clone(), self.dice.lock().below(3000));
        self.spawn(Box::pin(async move {
            clock.sleep_until(clock.now() + delay_us * 1000).await;
            job();
        }));
    }

    fn run_on_worker(&self, job: Job) {
        self.run_on_lane(job);
    }
}

/// A world on `disk`, and what ends it.
pub(super) fn world(
    clock: &Arc<TestClock>,
    disk: &Arc<MemoryDisk>,
    dice: &mut Dice,
) -> (World, Arc<TestTasks>) {
    let tasks = Arc::new(TestTasks {
        clock: clock.clone(),
        dice: Mutex::new(dice.fork()),
        set: Mutex::new(JoinSet::new()),
        ended: AtomicBool::new(false),
    });
    let world = World {
        clock: clock.clone(),
        disk: disk.clone() as Arc<dyn Disk>,
        random: Arc::new(TestRandom(Mutex::new(dice.fork()))),
        tasks: tasks.clone(),
    };
    (world, tasks)
}

/// What is on the medium after a power cut: each unsynced sector is there or not, lengths are old, new or between.
pub(super) fn cut_power(disk: &MemoryDisk, dice: &mut Dice) -> MemoryDisk {
    let (after, synced) = (MemoryDisk::new(), disk.after_power_cut());
    for path in disk.paths() {
        let (new, old) = (disk.contents(&path).unwrap(), synced.contents(&path).unwrap_or_default());
        let (short, long) = (new.len().min(old.len()), new.len().max(old.len()));
        let len = short + dice.below((long - short) as u64 + 1) as usize;
        let mut bytes = vec![0; len];
        for start in (0..len).step_by(512) {
            let end = len.min(start + 512);
            let from = if dice.chance(50) { &new } else { &old };
            if let Some(there) = from.get(start..end.min(from.len())) {
                bytes[start..start + there.len()].copy_from_slice(there);
            }
        }
        after.put(&path, bytes);
    }
    after
}

/// Runs `work` in a runtime of one thread whose clock moves only when everybody waits.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}
