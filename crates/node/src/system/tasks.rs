//! Futures on tokio's reactor, blocking jobs on disk lanes.

#![allow(clippy::disallowed_methods, reason = "this is where env::Tasks meets tokio")]

use super::lanes::Lanes;
use env::{BoxFuture, Job};

pub(super) struct RealTasks {
    lanes: Lanes,
}

impl RealTasks {
    pub(super) fn new() -> Self {
        Self { lanes: Lanes::default() }
    }
}

impl env::Tasks for RealTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) {
        tokio::spawn(future);
    }

    fn run_on_lane(&self, job: Job) {
        self.lanes.run(job);
    }
}
