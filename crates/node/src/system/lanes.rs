//! Lanes: threads that run blocking jobs or long computations, started on demand and ended when idle.
//!
//! They know nothing of files, partitions or batches. Many disk lanes may wait in `fdatasync` at once on purpose: concurrent calls
//! share one commit of the file system's journal, while the same calls one behind the other each pay for their own.

#![allow(clippy::disallowed_methods, reason = "this is where env::Tasks meets threads")]

use env::Job;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::Thread,
    time::Duration,
};

/// More disk lanes would only wait for the same journal; measured, 64 files synced at once take one commit.
const DISK_LANES_MAX: usize = 64;
/// A lane without work for so long ends and gives its stack back.
const IDLE: Duration = Duration::from_secs(5);
/// Stacks are touched lazily; jobs do not recurse.
const STACK_BYTES: usize = 1024 * 1024;

#[derive(Clone)]
pub(super) struct Lanes {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    name: &'static str,
    lanes_max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Who sleeps. The one that fell asleep last is called first: its stack is warm, and the others come to their end.
    idle: Vec<Thread>,
    /// All that live.
    lanes: usize,
    /// A lane was called or started and has not looked for jobs yet. Nobody else is called meanwhile: the one that
    /// comes calls the next if it leaves jobs behind, so that a burst of short jobs costs one call and not one each.
    is_one_coming: bool,
}

/// What is to be done for jobs that nobody is coming for, once the lock is released.
enum Call {
    Nobody,
    Wake(Thread),
    Start,
}

impl Lanes {
    /// At most `lanes_max` threads of this name.
    pub(super) fn new(name: &'static str, lanes_max: usize) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), name, lanes_max }) }
    }

    /// For jobs that wait for a disk.
    pub(super) fn of_disks() -> Self {
        Self::new("disk-lane", DISK_LANES_MAX)
    }

    /// Hands a job to an idle lane, to a new one, or to the queue if there are as many as there may be.
    pub(super) fn run(&self, job: Job) {
        let call = {
            let mut state = self.shared.state.lock();
            state.jobs.push_back(job);
            state.call(self.shared.lanes_max)
        };
        self.shared.answer(call);
    }
}

impl State {
    fn call(&mut self, lanes_max: usize) -> Call {
        if self.jobs.is_empty() || self.is_one_coming {
            return Call::Nobody;
        }
        if let Some(lane) = self.idle.pop() {
            self.is_one_coming = true;
            return Call::Wake(lane);
        }
        if self.lanes == lanes_max {
            return Call::Nobody;
        }
        self.lanes += 1;
        self.is_one_coming = true;
        Call::Start
    }
}

impl Shared {
    fn answer(self: &Arc<Self>, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Wake(lane) => lane.unpark(),
            Call::Start => {
                let shared = self.clone();
                let lane = std::thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES);
                if let Err(error) = lane.spawn(move || shared.work_until_idle()) {
                    let mut state = self.state.lock();
                    (state.lanes, state.is_one_coming) = (state.lanes - 1, false);
                    tracing::error!(%error, "no thread for a lane could be started; its job waits for another one");
                }
            }
        }
    }

    /// A lane's life: it begins as one that was called.
    fn work_until_idle(self: Arc<Self>) {
        loop {
            self.state.lock().is_one_coming = false;
            while let Some(job) = self.next_job() {
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    // The job has told so itself, on its way out: a partition is offline then, a request is refused.
                    tracing::error!("a job on a lane panicked");
                }
            }
            if !self.is_called_again() {
                return;
            }
        }
    }

    /// The next job; another lane is called for those behind it, for this one may take long. Without a job the lane is
    /// among the idle.
    fn next_job(self: &Arc<Self>) -> Option<Job> {
        let (job, call) = {
            let mut state = self.state.lock();
            let Some(job) = state.jobs.pop_front() else {
                state.idle.push(std::thread::current());
                return None;
            };
            (job, state.call(self.lanes_max))
        };
        self.answer(call);
        Some(job)
    }

    /// Sleeps until it is called, or for so long that it is not needed.
    fn is_called_again(&self) -> bool {
        let own = std::thread::current().id();
        let ends_at = std::time::Instant::now() + IDLE;
        loop {
            let left = ends_at.saturating_duration_since(std::time::Instant::now());
            std::thread::park_timeout(left);
            let mut state = self.state.lock();
            // Whoever calls a lane takes it off the list first.
            let Some(place) = state.idle.iter().position(|lane| lane.id() == own) else { return true };
            if left.is_zero() {
                state.idle.remove(place);
                state.lanes -= 1;
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn jobs_that_wait_for_each_other_run_at_once() {
        let lanes = Lanes::of_disks();
        let barrier = Arc::new(std::sync::Barrier::new(8));
        let (done, all) = mpsc::channel();
        for _ in 0..8 {
            let (barrier, done) = (barrier.clone(), done.clone());
            lanes.run(Box::new(move || {
                barrier.wait();
                done.send(()).unwrap();
            }));
        }
        for _ in 0..8 {
            all.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }

    #[test]
    fn no_more_jobs_run_at_once_than_there_may_be_lanes() {
        let workers = Lanes::new("worker", 2);
        let running = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let (done, all) = mpsc::channel();
        for _ in 0..50 {
            let (running, done) = (running.clone(), done.clone());
            workers.run(Box::new(move || {
                let others = running.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                std::thread::yield_now();
                running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                done.send(others).unwrap();
            }));
        }
        for _ in 0..50 {
            assert!(all.recv_timeout(Duration::from_secs(20)).unwrap() < 2);
        }
    }

    #[test]
    fn a_job_that_panics_does_not_end_its_lane() {
        let lanes = Lanes::of_disks();
        let (done, all) = mpsc::channel();
        for n in 0..100 {
            let done = done.clone();
            lanes.run(Box::new(move || {
                assert!(n % 10 != 3, "planted");
                done.send(n).unwrap();
            }));
        }
        for _ in 0..90 {
            all.recv_timeout(Duration::from_secs(20)).unwrap();
        }
    }
}
