//! Futures on tokio's reactor, blocking jobs on disk lanes, computations on workers.

#![allow(clippy::disallowed_methods, reason = "this is where env::Tasks meets tokio")]

use super::lanes::Lanes;
use env::{BoxFuture, Job};

pub(super) struct RealTasks {
    lanes: Lanes,
    workers: Lanes,
}

impl RealTasks {
    pub(super) fn new() -> Self {
        // The reactor has as many threads: it keeps its share of the cores whatever workers do.
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        Self { lanes: Lanes::of_disks(), workers: Lanes::new("worker", cores) }
    }
}

impl env::Tasks for RealTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        tokio::spawn(future);
    }

    fn run_on_lane(&self, job: Job) {
        self.lanes.run(job);
    }

    fn run_on_worker(&self, job: Job) {
        self.workers.run(job);
    }
}
