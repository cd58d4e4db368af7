//! Lanes: threads that run blocking jobs or long computations, started on demand and ended when idle.
//!
//! They know nothing of files, partitions or batches. Many disk lanes may wait in `fdatasync` at once on purpose: concurrent calls
//! share one commit of the file system's journal, while the same calls one behind the other each pay for their own.

#![allow(clippy::disallowed_methods, reason = "this is where env::Tasks meets threads")]

use env::Job;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
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
    name: &'static str,
    lanes_max: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    lanes: usize,
}

impl Lanes {
    /// At most `lanes_max` threads of this name.
    pub(super) fn new(name: &'static str, lanes_max: usize) -> Self {
        Self { shared: Arc::default(), name, lanes_max }
    }

    /// For jobs that wait for a disk.
    pub(super) fn of_disks() -> Self {
        Self::new("disk-lane", DISK_LANES_MAX)
    }

    /// Hands a job to an idle lane, to a new one, or to the queue if there are as many as there may be.
    pub(super) fn run(&self, job: Job) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            drop(state);
            self.shared.work.notify_one();
        } else if state.lanes < self.lanes_max {
            state.lanes += 1;
            drop(state);
            self.start_lane();
        }
    }

    fn start_lane(&self) {
        let shared = self.shared.clone();
        let lane = std::thread::Builder::new().name(self.name.into()).stack_size(STACK_BYTES);
        if let Err(error) = lane.spawn(move || shared.work_until_idle()) {
            self.shared.state.lock().lanes -= 1;
            tracing::error!(%error, "no thread for a lane could be started; its job waits for another one");
        }
    }
}

impl Shared {
    fn work_until_idle(&self) {
        let mut state = self.state.lock();
        loop {
            while let Some(job) = state.jobs.pop_front() {
                drop(state);
                if catch_unwind(AssertUnwindSafe(job)).is_err() {
                    // The job has told so itself, on its way out: a partition is offline then, a request is refused.
                    tracing::error!("a job on a lane panicked");
                }
                state = self.state.lock();
            }
            state.idle += 1;
            let timed_out = self.work.wait_for(&mut state, IDLE).timed_out();
            state.idle -= 1;
            if timed_out && state.jobs.is_empty() {
                state.lanes -= 1;
                return;
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
