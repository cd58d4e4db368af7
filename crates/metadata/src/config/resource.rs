//! What a configuration belongs to: a topic, a broker or all brokers, a group, a client metrics subscription.
//!
//! It does not say whether that thing exists. Requests, records and the image are keyed by it.

use std::fmt;

use model::NodeId;

/// A named thing with a configuration. The name is unchecked; all brokers together have the name `""`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

/// The kinds, with Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i8)]
pub enum ResourceKind {
    /// A topic.
    Topic = 2,
    /// A broker by its id, or all brokers as `""`.
    Broker = 4,
    /// The log levels of a broker's process; never in the metadata.
    BrokerLogger = 8,
    /// A client metrics subscription (KIP-714).
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl Resource {
    /// A resource of that kind and name.
    pub fn new(kind: ResourceKind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// A topic.
    pub fn topic(name: &str) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// A broker.
    pub fn broker(id: NodeId) -> Self {
        Self::new(ResourceKind::Broker, &id.to_string())
    }

    /// All brokers.
    pub fn all_brokers() -> Self {
        Self::new(ResourceKind::Broker, "")
    }

    /// A group.
    pub fn group(id: &str) -> Self {
        Self::new(ResourceKind::Group, id)
    }
}

impl ResourceKind {
    /// The kind with that number of Kafka's.
    pub fn from_number(number: i8) -> Option<Self> {
        [Self::Topic, Self::Broker, Self::BrokerLogger, Self::ClientMetrics, Self::Group]
            .into_iter()
            .find(|kind| *kind as i8 == number)
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::BrokerLogger => "broker logger",
            Self::ClientMetrics => "client metrics",
            Self::Group => "group",
        })
    }
}
