//! The keys of brokers, in one table per area.
//!
//! It resolves and checks nothing; the catalogue looks keys up in it.

mod groups;
mod log;
mod network;
mod quorum;
mod remote_log;
mod replication;
mod security;
mod share;
mod transactions;

use super::{key::Key, odradek};

/// The tables; each is sorted by name.
pub(super) const TABLES: &[&[Key]] = &[
    groups::KEYS,
    log::KEYS,
    network::KEYS,
    quorum::KEYS,
    remote_log::KEYS,
    replication::KEYS,
    security::KEYS,
    share::KEYS,
    transactions::KEYS,
    odradek::BROKER_KEYS,
];
