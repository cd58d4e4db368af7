//! What an operator may set about transactions.
//!
//! It reads nothing: the broker fills it from Kafka's configuration keys, which each field names.

use crate::TransactionVersion;

/// The limits of one coordinator; Kafka's defaults in parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `transaction.max.timeout.ms` (900000): a producer that asks for more is refused.
    pub timeout_ms_max: i32,
    /// `transactional.id.expiration.ms` (604800000): how long an id that nobody uses is remembered.
    pub id_expiration_ms: i64,
    /// `transaction.two.phase.commit.enable` (false): whether transactions may stay open without a limit (KIP-939).
    pub two_phase_commit: bool,
    /// The level of the feature `transaction.version` that the cluster has agreed on: how the coordinator itself aborts.
    pub version: TransactionVersion,
}
