//! Replication of one partition, decided without I/O: who is in sync, how far records are safe (the high watermark),
//! and where a follower's log must be cut before it can go on.
//!
//! It holds no records and knows no files, connections or metadata records: `log` has the records, `broker` hosts both
//! and carries out what is decided here. Sources: KIP-101 and KIP-279 (leader epochs), KIP-320 (diverging epochs),
//! KIP-73 (throttles), KIP-497 (AlterPartition), KIP-841 (who may join the ISR), KIP-392 (from whom
//! clients read), KIP-903 (broker epochs), KIP-966 (no progress below
//! `min.insync.replicas`).

mod catch_up;
mod follower;
mod isr;
mod leader;
mod remote;
mod term;
mod throttle;

pub use catch_up::CatchUp;
pub use follower::{Answer, FollowerStep, LocalLog, after_fetch};
pub use isr::{AlterIsr, IsrRefused};
pub use leader::{Effect, Event, Leader};
pub use remote::Remote;
pub use term::Term;
pub use throttle::Throttle;
