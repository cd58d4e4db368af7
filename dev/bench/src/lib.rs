//! Odradek measured beside Apache Kafka: both started by us, loaded in turns by one C program, on one machine, at once.
//! Not a load generator and not a statistics package: medians and spread of a few rounds. Called as `cargo xtask bench`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

pub mod batches;
pub mod compaction;
pub mod contestant;
pub mod groups;
pub mod growth;
pub mod joins;
pub mod load;
pub mod peer;
pub mod samples;
pub mod shares;
pub mod streams;
pub mod surroundings;
pub mod transactions;
pub mod workloads;
