//! Time, randomness and tasks on one tokio thread whose clock is paused: time passes only when nothing else happens.

use env::{BoxFuture, Clock, Deadline, Job, Millis, Nanos, Random, Tasks};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// Where the wall clock starts.
pub(crate) const WALL_START_MS: Millis = 1_700_000_000_000;

/// Tokio's paused clock, and where its wall clock started.
pub(crate) struct PausedClock(Instant, Millis);

impl PausedClock {
    pub(crate) fn new() -> Self {
        Self::starting(WALL_START_MS)
    }

    /// One whose wall clock starts there.
    pub(crate) fn starting(wall_ms: Millis) -> Self {
        Self(Instant::now(), wall_ms)
    }
}

impl Clock for PausedClock {
    fn wall(&self) -> Millis {
        self.1 + self.0.elapsed().as_millis() as i64
    }

    fn now(&self) -> Nanos {
        self.0.elapsed().as_nanos() as u64
    }

    fn sleep_until(&self, deadline: Deadline) -> BoxFuture<'static, ()> {
        // Beyond what tokio can count is as good as never.
        let deadline = self.0.checked_add(Duration::from_nanos(deadline));
        Box::pin(async move {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        })
    }
}

/// SplitMix64.
#[derive(Default)]
pub(crate) struct SeededRandom(AtomicU64);

impl SeededRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Random for SeededRandom {
    fn next_u64(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

/// All tasks of one start; lane jobs are tasks too, since the disk is memory. They run later, never at once.
#[derive(Default)]
pub(crate) struct LocalTasks(Mutex<JoinSet<()>>, Mutex<Lane>, Workers);

/// Computations, which can be held.
#[derive(Default)]
struct Workers {
    are_busy: AtomicBool,
    waiting: Mutex<Vec<Job>>,
}

/// A lane that can be slow with one job.
#[derive(Default)]
enum Lane {
    #[default]
    Quick,
    Waiting,
    Held(Job),
}

impl LocalTasks {
    /// Ends all tasks where they are, as a killed process does.
    pub(crate) fn kill(&self) {
        self.assert_none_panicked();
        self.0.lock().unwrap().abort_all();
    }
}

impl LocalTasks {
    /// The next job of a lane does not run before [`Self::release`]; those behind it do.
    pub(crate) fn hold_next_job(&self) {
        *self.1.lock().unwrap() = Lane::Waiting;
    }

    /// Runs the job that was held.
    pub(crate) fn release(&self) {
        self.run_held(Lane::Quick);
    }

    /// The same, and the job that comes next, maybe from this one, is held in its place.
    pub(crate) fn release_and_hold_next_job(&self) {
        self.run_held(Lane::Waiting);
    }

    /// The job that was held never runs, as in a node that stops.
    #[allow(dead_code, reason = "the tests of moves use it")]
    pub(crate) fn drop_held(&self) {
        let held = std::mem::take(&mut *self.1.lock().unwrap());
        assert!(matches!(held, Lane::Held(_)), "no job has come");
    }

    /// Computations do not run before [`Self::free_workers`].
    pub(crate) fn keep_workers_busy(&self) {
        self.2.are_busy.store(true, Ordering::Relaxed);
    }

    /// Runs the computations that have waited; says how many there were.
    pub(crate) fn free_workers(&self) -> usize {
        self.2.are_busy.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut *self.2.waiting.lock().unwrap());
        waiting.into_iter().map(|job| job()).count()
    }

    /// Runs the job that was held, if one has come; else none is held any more.
    #[allow(dead_code, reason = "the tests of replication use it")]
    pub(crate) fn release_if_held(&self) {
        let held = std::mem::replace(&mut *self.1.lock().unwrap(), Lane::Quick);
        if let Lane::Held(job) = held {
            job();
        }
    }

    fn run_held(&self, then: Lane) {
        // Unlocked before it runs: the job may hand on the next one.
        let held = std::mem::replace(&mut *self.1.lock().unwrap(), then);
        match held {
            Lane::Held(job) => job(),
            Lane::Quick | Lane::Waiting => panic!("no job has come"),
        }
    }

    /// Whatever a client sends, no task may panic: not a connection's, not a lane's.
    pub(crate) fn assert_none_panicked(&self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            assert!(!ended.is_err_and(|error| error.is_panic()), "a task of the broker has panicked");
        }
    }
}

impl Tasks for LocalTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.0.lock().unwrap().spawn(future);
    }

    fn run_on_lane(&self, job: Job) {
        let mut lane = self.1.lock().unwrap();
        match *lane {
            Lane::Waiting => *lane = Lane::Held(job),
            Lane::Quick | Lane::Held(_) => self.spawn(Box::pin(async move { job() })),
        }
    }

    fn run_on_worker(&self, job: Job) {
        match self.2.are_busy.load(Ordering::Relaxed) {
            true => self.2.waiting.lock().unwrap().push(job),
            false => self.spawn(Box::pin(async move { job() })),
        }
    }
}
