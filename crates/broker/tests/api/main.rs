//! The broker from outside: requests of every API at every version over an in-memory connection, on an in-memory disk
//! and a paused clock, against what Kafka answers. It looks into no core and opens no socket; the cores' own tests and
//! the simulator do the rest. `table` shows that what is advertised is tested.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by a panic, and is the world of the broker that it tests"
)]

mod answers;
mod checking;
mod client_quotas;
mod clusters;
mod compaction;
mod configs;
mod connections;
mod consumer_groups;
mod damage;
mod dead_letters;
mod disk;
mod edge_cases;
mod fetch;
mod group_loading;
mod groups;
mod harness;
mod idempotence;
mod key_index;
mod latest;
mod log_dirs;
mod log_levels;
mod long_poll;
mod mailboxes;
mod metadata_log;
mod migration;
mod moves;
mod odd_batches;
mod odd_moves;
mod offsets;
mod one_way;
mod own_client;
mod pipelines;
mod produce;
mod racks;
mod releases;
mod repair;
mod replaced_disks;
mod replication;
mod restart;
mod sessions;
mod share_groups;
mod strangers;
mod streams_groups;
mod table;
mod throttles;
mod topics;
mod transactional_offsets;
mod transactions;
mod transactions_in_clusters;
mod twice_or_late;
mod unsupported;
mod voting;
mod whole_topics;
