//! Unmodified Kafka clients and Kafka's own tools against the real binary, over real sockets and real files.
//! Not a client library and not a simulator: it starts programs, lets them work, and compares what they report.
//! Called by the `conformance` binary, by `cargo xtask verify` and, for the launcher of Apache Kafka, by `bench`.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a harness lives outside the simulated world: it may use files, threads and the clock of the machine"
)]

pub mod bad_input;
pub mod browsers;
pub mod cache;
pub mod clients;
pub mod cluster;
pub mod compaction;
pub mod compare;
pub mod dump_log;
pub mod durable_streams;
pub mod fleet;
pub mod groups;
pub mod java_tools;
pub mod log_dirs;
pub mod main_job;
pub mod mqtt;
pub mod nodes;
pub mod program;
pub mod quick_start;
pub mod quotas;
pub mod raw;
pub mod report;
pub mod server;
pub mod share;
pub mod streams;
pub mod suites;
pub mod tools;
pub mod transactions;
