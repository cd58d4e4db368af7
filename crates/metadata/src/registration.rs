//! A broker as it is registered with the controller.
//!
//! It does not say whether the broker answers right now: being fenced is a decision, not a measurement.

use model::NodeId;
use stdx::Uuid;

use crate::{DIRECTORY_LOST, DIRECTORY_MIGRATING, DIRECTORY_UNASSIGNED};

/// A registered broker; also the content of its record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registration {
    /// Its `node.id`.
    pub id: NodeId,
    /// The number of this registration; grows with each incarnation.
    pub epoch: i64,
    /// Drawn by the broker's process at its start.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The feature levels that it can work with.
    pub features: Vec<FeatureRange>,
    /// Its `broker.rack`.
    pub rack: Option<String>,
    /// Whether it is kept from leading and from new partitions.
    pub fenced: bool,
    /// Whether it is on its way out.
    pub shutting_down: bool,
    /// The ids of its log directories (KIP-858).
    pub directories: Vec<Uuid>,
    /// Those of them that take no new partitions (KIP-1066).
    pub cordoned: Vec<Uuid>,
}

/// One listener of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name.
    pub name: String,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the protocol: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    pub security: i16,
}

/// The levels of one feature that a broker can work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureRange {
    /// The feature.
    pub name: String,
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}

impl Registration {
    /// The endpoint of the listener `name`.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name == name)
    }

    /// Whether it may be in an ISR and lead.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.shutting_down
    }

    /// Whether a replica in that directory can be read and written. One that has not said where it is counts as such.
    pub fn has_online(&self, directory: Uuid) -> bool {
        match directory {
            DIRECTORY_LOST => false,
            DIRECTORY_UNASSIGNED | DIRECTORY_MIGRATING => true,
            _ => self.directories.is_empty() || self.directories.contains(&directory),
        }
    }

    /// The directory that a new replica lands in, if there is no choice; see [`DIRECTORY_UNASSIGNED`].
    pub fn directory(&self) -> Uuid {
        match self.directories.as_slice() {
            [only] => *only,
            [] => DIRECTORY_MIGRATING,
            _ => DIRECTORY_UNASSIGNED,
        }
    }
}

/// A registered controller; also the content of its record (KIP-919).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControllerRegistration {
    /// Its `node.id`.
    pub id: NodeId,
    /// Drawn by the controller's process at its start.
    pub incarnation: Uuid,
    /// Where it listens.
    pub endpoints: Vec<Endpoint>,
    /// The feature levels that it can work with.
    pub features: Vec<FeatureRange>,
}
