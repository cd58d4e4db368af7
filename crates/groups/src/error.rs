//! Why a request, a member or a partition of a request was refused, in Kafka's own names.
//!
//! It knows no error codes: `broker` maps each variant to the code of the same name.

use crate::MemberId;

/// A refusal. The name of each variant is Kafka's name of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The group is being deleted, or its records could not be replicated: try again.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// This node does not lead the group's partition any more: find the coordinator again.
    #[error("this node is not the coordinator of the group")]
    NotCoordinator,
    /// The group id is empty where that is not allowed.
    #[error("the group id is invalid")]
    InvalidGroupId,
    /// The group does not exist.
    #[error("the group does not exist")]
    GroupIdNotFound,
    /// The member is not, or no longer, in the group: join as a new one.
    #[error("the member is not in the group")]
    UnknownMemberId,
    /// Join again with this id (KIP-394).
    #[error("join again with member id {0}")]
    MemberIdRequired(MemberId),
    /// Another member has taken over this `group.instance.id` (KIP-345).
    #[error("another member took over the group instance id")]
    FencedInstanceId,
    /// The generation is not the group's present one.
    #[error("the generation is not the present one")]
    IllegalGeneration,
    /// The protocol type or all protocols differ from what the group uses.
    #[error("the protocol does not match the group's")]
    InconsistentGroupProtocol,
    /// The session timeout is outside the configured bounds.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The group rebalances: join again.
    #[error("the group rebalances")]
    RebalanceInProgress,
    /// `group.max.size` is reached.
    #[error("the group is full")]
    GroupMaxSizeReached,
    /// The group has members.
    #[error("the group is not empty")]
    NonEmptyGroup,
    /// Members of the group are subscribed to the topic.
    #[error("the group is subscribed to the topic")]
    GroupSubscribedToTopic,
    /// The metadata of an offset is longer than `offset.metadata.max.bytes`.
    #[error("the metadata of the offset is too large")]
    OffsetMetadataTooLarge,
    /// The member epoch is not the member's: it must give up all its partitions and join anew (KIP-848).
    #[error("the member epoch is not the member's; give up all partitions and join anew")]
    FencedMemberEpoch,
    /// The member epoch of an offset commit is not the member's (KIP-848).
    #[error("the member epoch is not the member's present one")]
    StaleMemberEpoch,
    /// A member that is there has this `group.instance.id` (KIP-848).
    #[error("the group instance id belongs to a member that has not left")]
    UnreleasedInstanceId,
    /// There is no such server-side assignor.
    #[error("there is no assignor {0}; there are uniform and range")]
    UnsupportedAssignor(std::sync::Arc<str>),
    /// The pattern cannot be understood.
    #[error("the pattern is invalid: {0}")]
    InvalidRegularExpression(String),
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(std::borrow::Cow<'static, str>),
    /// The topology of an application cannot be run (KIP-1071).
    #[error("{0}")]
    StreamsInvalidTopology(String),
    /// The description of a topology is not kept (KIP-1331).
    #[error("{0}")]
    StreamsTopologyDescriptionUpdateFailed(String),
    /// Members of consumer groups commit with version 9 of OffsetCommit or later.
    #[error("members of consumer groups commit with version 9 or later")]
    UnsupportedVersion,
    /// An open transaction may change the offset: ask again once it has ended (KIP-447).
    #[error("an open transaction may change the offset")]
    UnstableOffsetCommit,
    /// A producer of a later epoch has written here.
    #[error("the producer has a later epoch")]
    InvalidProducerEpoch,
    /// A coordinator of a later epoch has ended transactions here.
    #[error("the transaction coordinator has a later epoch")]
    TransactionCoordinatorFenced,
    /// The transaction is not open.
    #[error("the transaction is not open")]
    InvalidTxnState,
    /// The records were larger than the partition's `max.message.bytes`.
    #[error("the group's records cannot be stored")]
    UnknownServerError,
}
