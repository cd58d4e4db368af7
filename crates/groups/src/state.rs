//! The five states of a classic group, as Kafka names them.

use std::fmt;

/// Where a classic group stands in its cycle.
///
/// ```text
///   Empty -> PreparingRebalance -> CompletingRebalance -> Stable
///     ^          |  ^   ^                |                  |
///     '----------'  |   '----------------'                  |
///                   '---------------------------------------'       any -> Dead
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Everybody joined; the leader's assignment is awaited or being stored.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
    /// Being deleted.
    Dead,
}

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
