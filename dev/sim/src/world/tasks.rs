//! The tasks of one start of a node, all of which end when it crashes, and its disk lanes: jobs that run after a delay
//! that the seed draws, so that jobs of different partitions overtake each other. It does not interrupt a job; the disk
//! can crash between two operations of one. A panic in any of them is caught and told.

use crate::{dice::Dice, note, trace::Trace, world::SimClock};
use env::{BoxFuture, Job, Tasks};
use futures_util::FutureExt;
use parking_lot::Mutex;
use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::task::JoinSet;

/// How long jobs wait for their lane; shared by all starts of a node.
pub struct LaneSpeed {
    delay_ms_max: AtomicU64,
}

/// Runs what one start of a node spawns.
pub struct SimTasks {
    clock: Arc<SimClock>,
    trace: Arc<Trace>,
    speed: Arc<LaneSpeed>,
    dice: Mutex<Dice>,
    set: Mutex<JoinSet<()>>,
    ended: AtomicBool,
    panics: Arc<Mutex<Vec<String>>>,
}

impl LaneSpeed {
    /// Jobs wait up to `delay_ms_max`.
    pub fn new(delay_ms_max: u64) -> Arc<Self> {
        Arc::new(Self { delay_ms_max: AtomicU64::new(delay_ms_max) })
    }

    /// Makes the disk slower or faster.
    pub fn set(&self, delay_ms_max: u64) {
        self.delay_ms_max.store(delay_ms_max, Ordering::Relaxed);
    }
}

impl SimTasks {
    /// No tasks yet. What panics is noted in `panics`.
    pub fn new(
        clock: Arc<SimClock>,
        trace: Arc<Trace>,
        speed: Arc<LaneSpeed>,
        dice: Dice,
        panics: Arc<Mutex<Vec<String>>>,
    ) -> Arc<Self> {
        let (dice, set) = (Mutex::new(dice), Mutex::new(JoinSet::new()));
        Arc::new(Self { clock, trace, speed, dice, set, ended: AtomicBool::new(false), panics })
    }

    /// Ends all tasks where they are, and waits until they are gone. Nothing can be spawned any more.
    pub async fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut set = std::mem::take(&mut *self.set.lock());
        set.shutdown().await;
    }

    fn add(&self, future: impl Future<Output = ()> + Send + 'static) {
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        let (panics, trace) = (self.panics.clone(), self.trace.clone());
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(future).catch_unwind().await {
                let text = panic_text(&*panic);
                note!(trace, "PANIC {text}");
                panics.lock().push(text);
            }
        });
    }
}

impl Tasks for SimTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.add(future);
    }

    fn run_on_lane(&self, job: Job) {
        let max = self.speed.delay_ms_max.load(Ordering::Relaxed);
        let delay = self.dice.lock().range(0..=max);
        let clock = self.clock.clone();
        self.add(async move {
            clock.sleep_ms(delay).await;
            job();
        });
    }

    fn run_on_worker(&self, job: Job) {
        // What overtakes what is drawn too: a computation may take as long as a slow disk.
        self.run_on_lane(job);
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}
