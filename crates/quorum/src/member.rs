//! Who takes part in the quorum: identity, and where to reach it.
//!
//! It knows no Raft. A replica is a node together with the disk that it votes with (KIP-853): a node that comes back
//! with an empty disk is another replica, so that it cannot vote twice in an epoch.

use model::NodeId;
use std::fmt;
use stdx::Uuid;

/// A voter or observer of the metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Replica {
    /// `node.id`.
    pub node: NodeId,
    /// `directory.id` of the directory that holds the metadata log.
    pub directory: Uuid,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.directory)
    }
}

/// A listener of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, `CONTROLLER` for example.
    pub name: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What is known of a replica beside its identity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// Where it listens, in the order of its configuration.
    pub endpoints: Vec<Endpoint>,
    /// The lowest `kraft.version` that it supports.
    pub version_min: i16,
    /// The highest `kraft.version` that it supports.
    pub version_max: i16,
}

impl Member {
    /// A member of this version of the program.
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, version_min: 0, version_max: KRAFT_VERSION }
    }
}

/// The level of `kraft.version` at which the voters stand in the log.
pub const KRAFT_VERSION: i16 = 1;

#[cfg(test)]
impl From<u64> for Replica {
    /// For the test kit of the Raft library.
    fn from(number: u64) -> Self {
        Self { node: number as NodeId, directory: Uuid::ZERO }
    }
}
