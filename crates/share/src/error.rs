//! Why something of a share partition was refused, in Kafka's own names.
//!
//! It knows no error codes: `broker` maps each variant to the code of the same name.

/// A refusal. The name of each variant is Kafka's name of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The state could not be replicated: try again.
    #[error("the share coordinator is not available")]
    CoordinatorNotAvailable,
    /// This node does not lead the partition of the state any more: find the coordinator again.
    #[error("this node is not the share coordinator of the share partition")]
    NotCoordinator,
    /// The state is being read: try again.
    #[error("the share coordinator is still loading")]
    CoordinatorLoadInProgress,
    /// The request makes no sense.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// A record that is to be acknowledged is not acquired by this member.
    #[error("{0}")]
    InvalidRecordState(&'static str),
    /// A later leader of the partition has spoken with the coordinator.
    #[error("a later leader of the partition has taken over its share state")]
    FencedLeaderEpoch,
    /// The state was initialised anew.
    #[error("the share state was initialised anew; read it again")]
    FencedStateEpoch,
    /// There is no such partition.
    #[error("the topic or partition does not exist")]
    UnknownTopicOrPartition,
    /// The records were larger than the partition's `max.message.bytes`, or what was stored makes no sense.
    #[error("{0}")]
    UnknownServerError(&'static str),
}
