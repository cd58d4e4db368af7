//! Replicas of a quorum in a simulated world of one thread and one seed: what is promised, seen from outside.
//!
//! It is not the project's simulator, which runs whole brokers; it has only what the consensus touches.

mod alone;
mod cluster;
mod elections;
mod judge;
mod membership;
mod net;
mod room;
mod seeds;
mod snapshots;
mod storage_suite;
mod world;

pub(crate) use cluster::{member, replica};
pub(crate) use world::run;
