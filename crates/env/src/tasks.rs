//! Who runs what: futures on the reactor, blocking jobs on disk lanes, long computations on workers.
//!
//! A node's tasks end together when the node stops or (in the simulator) crashes.

use crate::BoxFuture;

/// A blocking piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs futures and blocking jobs.
pub trait Tasks: Send + Sync {
    /// Runs a future to its end on the reactor.
    fn spawn(&self, future: BoxFuture<'static, ()>);
    /// Runs a blocking job on a thread of its own kind. Jobs may run at the same time and in any order; whoever needs
    /// an order submits the next job when the one before has ended (as a partition's writer does). The number of
    /// threads is bounded; jobs beyond it wait. A job that panics or, since the node stops, is dropped before it ran has
    /// to tell so itself, when it is dropped.
    fn run_on_lane(&self, job: Job);
    /// Runs a long computation that touches no disk beside the reactor: those who wait for the reactor or for a lane
    /// do not wait for it. Jobs begin in their order, about as many at a time as there are cores; the others wait.
    fn run_on_worker(&self, job: Job);
}
