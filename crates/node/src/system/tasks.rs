//! Futures on tokio's reactor, blocking jobs on disk lanes, computations on workers.

#![allow(clippy::disallowed_methods, reason = "this is where env::Tasks meets tokio")]

use super::lanes::Lanes;
use env::{BoxFuture, Job};
use tokio::runtime::Handle;

pub(super) struct RealTasks {
    lanes: Lanes,
    workers: Lanes,
    /// Lanes are no threads of the reactor's, and may have something to run on it all the same.
    reactor: Option<Handle>,
}

impl RealTasks {
    pub(super) fn new() -> Self {
        // The reactor has as many threads: it keeps its share of the cores whatever workers do.
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let workers = Lanes::new("worker", cores);
        Self { lanes: Lanes::of_disks(), workers, reactor: Handle::try_current().ok() }
    }
}

impl env::Tasks for RealTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        match &self.reactor {
            Some(reactor) => reactor.spawn(future),
            None => tokio::spawn(future),
        };
    }

    fn run_on_lane(&self, job: Job) {
        self.lanes.run(job);
    }

    fn run_on_worker(&self, job: Job) {
        self.workers.run(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use env::Tasks;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_job_on_a_lane_may_spawn() {
        let tasks = Arc::new(RealTasks::new());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let spawning = tasks.clone();
        tasks.run_on_lane(Box::new(move || spawning.spawn(Box::pin(async { sender.send(()).unwrap() }))));
        receiver.await.unwrap();
    }
}
