//! Why the controller refuses something: one variant per Kafka error code, with the text that the client shows.
//!
//! It knows no numbers: `broker` maps the variants to Kafka's codes. Texts name what was wrong and what would be right.

/// A refusal; the variant bears the name of Kafka's error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub enum Error {
    /// BROKER_ID_NOT_REGISTERED
    BrokerIdNotRegistered(String),
    /// CONTROLLER_ID_NOT_REGISTERED
    ControllerIdNotRegistered(String),
    /// DUPLICATE_BROKER_REGISTRATION
    DuplicateBrokerRegistration(String),
    /// ELECTION_NOT_NEEDED
    ElectionNotNeeded(String),
    /// ELIGIBLE_LEADERS_NOT_AVAILABLE
    EligibleLeadersNotAvailable(String),
    /// FEATURE_UPDATE_FAILED
    FeatureUpdateFailed(String),
    /// FENCED_LEADER_EPOCH
    FencedLeaderEpoch(String),
    /// INCONSISTENT_CLUSTER_ID
    InconsistentClusterId(String),
    /// INELIGIBLE_REPLICA
    IneligibleReplica(String),
    /// INVALID_CONFIG
    InvalidConfig(String),
    /// INVALID_PARTITIONS
    InvalidPartitions(String),
    /// INVALID_REGISTRATION
    InvalidRegistration(String),
    /// INVALID_REPLICATION_FACTOR
    InvalidReplicationFactor(String),
    /// INVALID_REPLICA_ASSIGNMENT
    InvalidReplicaAssignment(String),
    /// INVALID_REQUEST
    InvalidRequest(String),
    /// INVALID_TOPIC_EXCEPTION
    InvalidTopicException(String),
    /// INVALID_UPDATE_VERSION
    InvalidUpdateVersion(String),
    /// NEW_LEADER_ELECTED
    NewLeaderElected(String),
    /// NO_REASSIGNMENT_IN_PROGRESS
    NoReassignmentInProgress(String),
    /// NOT_CONTROLLER
    NotController(String),
    /// NOT_LEADER_OR_FOLLOWER
    NotLeaderOrFollower(String),
    /// POLICY_VIOLATION
    PolicyViolation(String),
    /// PREFERRED_LEADER_NOT_AVAILABLE
    PreferredLeaderNotAvailable(String),
    /// STALE_BROKER_EPOCH
    StaleBrokerEpoch(String),
    /// THROTTLING_QUOTA_EXCEEDED
    ThrottlingQuotaExceeded(String),
    /// TOPIC_ALREADY_EXISTS
    TopicAlreadyExists(String),
    /// TOPIC_DELETION_DISABLED
    TopicDeletionDisabled(String),
    /// UNKNOWN_SERVER_ERROR
    UnknownServerError(String),
    /// UNKNOWN_TOPIC_ID
    UnknownTopicId(String),
    /// UNKNOWN_TOPIC_OR_PARTITION
    UnknownTopicOrPartition(String),
    /// UNSUPPORTED_VERSION
    UnsupportedVersion(String),
}
