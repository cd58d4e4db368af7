//! The one translation of our failures into Kafka's error codes.
//!
//! It decides nothing; cores and hosts give failures of their own, handlers pass them through here.

use crate::{fetch_sessions::SessionFailure, partition::Refused};
use log::{AppendError, ProducerError};
use quorum::ChangeError;
use records::{Invalid, WalkError};
use wire::ErrorCode;

/// No failure.
pub(crate) const NONE: i16 = ErrorCode::None.to_i16();

/// The code of another node's answer.
pub(crate) fn from_code(code: i16) -> ErrorCode {
    ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError)
}

/// Why a producer's batch was not taken.
pub(crate) fn of_invalid(invalid: &Invalid) -> ErrorCode {
    match invalid {
        Invalid::Corrupt(_) | Invalid::Checksum { .. } => ErrorCode::CorruptMessage,
        Invalid::TooLarge { .. } => ErrorCode::MessageTooLarge,
        Invalid::UnsupportedCodec(_) => ErrorCode::UnsupportedCompressionType,
        Invalid::UnknownCodec(_) | Invalid::Unreadable(_) => ErrorCode::UnknownServerError,
        Invalid::Records(WalkError::Decompression(_) | WalkError::Length) => ErrorCode::UnknownServerError,
        Invalid::EachRecord(_) if invalid.is_timestamp() => ErrorCode::InvalidTimestamp,
        Invalid::EachRecord(_) | Invalid::Batch(_) | Invalid::Records(_) => ErrorCode::InvalidRecord,
    }
}

/// Why the log refused a batch.
pub(crate) fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::Producer(error) => of_producer(error),
        AppendError::NoMarker | AppendError::OffsetsUsedUp => ErrorCode::InvalidRecord,
    }
}

/// Why a producer may not append.
pub(crate) fn of_producer(error: &ProducerError) -> ErrorCode {
    match error {
        ProducerError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        ProducerError::RepeatedSequence { .. } => ErrorCode::DuplicateSequenceNumber,
        ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        ProducerError::OutsideTransaction { .. } | ProducerError::NotInTransaction { .. } => {
            ErrorCode::InvalidTxnState
        }
        ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
    }
}

/// Why a partition did not do what was asked.
pub(crate) fn of_partition(refused: &Refused) -> ErrorCode {
    match refused {
        Refused::Offline(_) | Refused::Stuck(_) => ErrorCode::KafkaStorageError,
        // Clients look for the leader again, and find it once the broker is back.
        Refused::Closed => ErrorCode::NotLeaderOrFollower,
        Refused::Deleted => ErrorCode::UnknownTopicOrPartition,
        Refused::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        Refused::NotLeader | Refused::StaleReplica => ErrorCode::NotLeaderOrFollower,
        // Only hosts of mailboxes ask for that, and they answer no client of Kafka.
        Refused::Overtaken => ErrorCode::UnknownServerError,
        Refused::TooFewInSync => ErrorCode::NotEnoughReplicas,
        Refused::OffsetNotAvailable => ErrorCode::OffsetNotAvailable,
        Refused::UnknownReplica => ErrorCode::UnknownLeaderEpoch,
        Refused::Follow(_) => ErrorCode::CorruptMessage,
        Refused::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Refused::UnknownLeaderEpoch => ErrorCode::UnknownLeaderEpoch,
        Refused::Policy => ErrorCode::PolicyViolation,
        Refused::Append(error) => of_append(error),
    }
}

/// Why a fetch session cannot go on.
pub(crate) fn of_session(failure: SessionFailure) -> ErrorCode {
    match failure {
        SessionFailure::IdNotFound => ErrorCode::FetchSessionIdNotFound,
        SessionFailure::InvalidEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionFailure::TopicIdMismatch => ErrorCode::FetchSessionTopicIdError,
    }
}

/// Why the group coordinator refused.
pub(crate) fn of_groups(error: &groups::Error) -> ErrorCode {
    use groups::Error;
    match error {
        Error::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::InvalidGroupId => ErrorCode::InvalidGroupId,
        Error::GroupIdNotFound => ErrorCode::GroupIdNotFound,
        Error::UnknownMemberId => ErrorCode::UnknownMemberId,
        Error::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
        Error::FencedInstanceId => ErrorCode::FencedInstanceId,
        Error::IllegalGeneration => ErrorCode::IllegalGeneration,
        Error::InconsistentGroupProtocol => ErrorCode::InconsistentGroupProtocol,
        Error::InvalidSessionTimeout => ErrorCode::InvalidSessionTimeout,
        Error::RebalanceInProgress => ErrorCode::RebalanceInProgress,
        Error::GroupMaxSizeReached => ErrorCode::GroupMaxSizeReached,
        Error::NonEmptyGroup => ErrorCode::NonEmptyGroup,
        Error::GroupSubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        Error::OffsetMetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
        Error::FencedMemberEpoch => ErrorCode::FencedMemberEpoch,
        Error::StaleMemberEpoch => ErrorCode::StaleMemberEpoch,
        Error::UnreleasedInstanceId => ErrorCode::UnreleasedInstanceId,
        Error::UnsupportedAssignor(_) => ErrorCode::UnsupportedAssignor,
        Error::InvalidRegularExpression(_) => ErrorCode::InvalidRegularExpression,
        Error::InvalidRequest(_) => ErrorCode::InvalidRequest,
        Error::StreamsInvalidTopology(_) => ErrorCode::StreamsInvalidTopology,
        Error::StreamsTopologyDescriptionUpdateFailed(_) => ErrorCode::StreamsTopologyDescriptionUpdateFailed,
        Error::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        Error::UnstableOffsetCommit => ErrorCode::UnstableOffsetCommit,
        Error::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        Error::TransactionCoordinatorFenced => ErrorCode::TransactionCoordinatorFenced,
        Error::InvalidTxnState => ErrorCode::InvalidTxnState,
        Error::UnknownServerError => ErrorCode::UnknownServerError,
    }
}

/// Why the transaction coordinator refused.
pub(crate) fn of_transactions(error: transactions::Error) -> ErrorCode {
    use transactions::Error;
    match error {
        Error::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        Error::InvalidRequest => ErrorCode::InvalidRequest,
        Error::TransactionalIdAuthorizationFailed => ErrorCode::TransactionalIdAuthorizationFailed,
        Error::UnsupportedVersion => ErrorCode::UnsupportedVersion,
        Error::InvalidTransactionTimeout => ErrorCode::InvalidTransactionTimeout,
        Error::ConcurrentTransactions => ErrorCode::ConcurrentTransactions,
        Error::ProducerFenced => ErrorCode::ProducerFenced,
        Error::InvalidProducerIdMapping => ErrorCode::InvalidProducerIdMapping,
        Error::InvalidTxnState => ErrorCode::InvalidTxnState,
        Error::TransactionalIdNotFound => ErrorCode::TransactionalIdNotFound,
        Error::UnknownServerError | Error::ProducerIdNeeded => ErrorCode::UnknownServerError,
    }
}

/// What became of a part of a request to the group coordinator.
pub(crate) fn of_group_result(error: Option<&groups::Error>) -> i16 {
    error.map_or(NONE, |error| of_groups(error).to_i16())
}

/// Why something of a share partition was refused.
pub(crate) fn of_share(error: &share::Error) -> ErrorCode {
    use share::Error;
    match error {
        Error::CoordinatorNotAvailable => ErrorCode::CoordinatorNotAvailable,
        Error::NotCoordinator => ErrorCode::NotCoordinator,
        Error::CoordinatorLoadInProgress => ErrorCode::CoordinatorLoadInProgress,
        Error::InvalidRequest(_) => ErrorCode::InvalidRequest,
        Error::InvalidRecordState(_) => ErrorCode::InvalidRecordState,
        Error::FencedLeaderEpoch => ErrorCode::FencedLeaderEpoch,
        Error::FencedStateEpoch => ErrorCode::FencedStateEpoch,
        Error::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        Error::UnknownServerError(_) => ErrorCode::UnknownServerError,
    }
}

/// Why a share session cannot go on.
pub(crate) fn of_share_session(failure: share::SessionFailure) -> ErrorCode {
    use share::SessionFailure;
    match failure {
        SessionFailure::ShareSessionNotFound => ErrorCode::ShareSessionNotFound,
        SessionFailure::InvalidShareSessionEpoch => ErrorCode::InvalidShareSessionEpoch,
        SessionFailure::ShareSessionLimitReached => ErrorCode::ShareSessionLimitReached,
        SessionFailure::InvalidRequest => ErrorCode::InvalidRequest,
    }
}

/// Why the controller refused.
pub(crate) fn of_controller(error: &metadata::Error) -> ErrorCode {
    use metadata::Error;
    match error {
        Error::BrokerIdNotRegistered(_) => ErrorCode::BrokerIdNotRegistered,
        Error::ControllerIdNotRegistered(_) => ErrorCode::ControllerIdNotRegistered,
        Error::DuplicateBrokerRegistration(_) => ErrorCode::DuplicateBrokerRegistration,
        Error::ElectionNotNeeded(_) => ErrorCode::ElectionNotNeeded,
        Error::EligibleLeadersNotAvailable(_) => ErrorCode::EligibleLeadersNotAvailable,
        Error::FeatureUpdateFailed(_) => ErrorCode::FeatureUpdateFailed,
        Error::FencedLeaderEpoch(_) => ErrorCode::FencedLeaderEpoch,
        Error::InconsistentClusterId(_) => ErrorCode::InconsistentClusterId,
        Error::IneligibleReplica(_) => ErrorCode::IneligibleReplica,
        Error::InvalidConfig(_) => ErrorCode::InvalidConfig,
        Error::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        Error::InvalidRegistration(_) => ErrorCode::InvalidRegistration,
        Error::InvalidReplicationFactor(_) => ErrorCode::InvalidReplicationFactor,
        Error::InvalidReplicaAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        Error::InvalidRequest(_) => ErrorCode::InvalidRequest,
        Error::InvalidTopicException(_) => ErrorCode::InvalidTopicException,
        Error::InvalidUpdateVersion(_) => ErrorCode::InvalidUpdateVersion,
        Error::NewLeaderElected(_) => ErrorCode::NewLeaderElected,
        Error::NoReassignmentInProgress(_) => ErrorCode::NoReassignmentInProgress,
        Error::NotController(_) => ErrorCode::NotController,
        Error::NotLeaderOrFollower(_) => ErrorCode::NotLeaderOrFollower,
        Error::PolicyViolation(_) => ErrorCode::PolicyViolation,
        Error::PreferredLeaderNotAvailable(_) => ErrorCode::PreferredLeaderNotAvailable,
        Error::StaleBrokerEpoch(_) => ErrorCode::StaleBrokerEpoch,
        Error::ThrottlingQuotaExceeded(_) => ErrorCode::ThrottlingQuotaExceeded,
        Error::TopicAlreadyExists(_) => ErrorCode::TopicAlreadyExists,
        Error::TopicDeletionDisabled(_) => ErrorCode::TopicDeletionDisabled,
        Error::UnknownServerError(_) => ErrorCode::UnknownServerError,
        Error::UnknownTopicId(_) => ErrorCode::UnknownTopicId,
        Error::UnknownTopicOrPartition(_) => ErrorCode::UnknownTopicOrPartition,
        Error::UnsupportedVersion(_) => ErrorCode::UnsupportedVersion,
    }
}

/// What the code of an active controller elsewhere means. Those of which nobody here makes a difference become one.
pub(crate) fn to_controller(code: i16) -> metadata::Error {
    use metadata::Error;
    let error = from_code(code);
    let why = format!("the controller answers {error}");
    match error {
        ErrorCode::FencedLeaderEpoch => Error::FencedLeaderEpoch(why),
        ErrorCode::IneligibleReplica => Error::IneligibleReplica(why),
        ErrorCode::InvalidRequest => Error::InvalidRequest(why),
        ErrorCode::InvalidUpdateVersion => Error::InvalidUpdateVersion(why),
        ErrorCode::NewLeaderElected => Error::NewLeaderElected(why),
        ErrorCode::NotController => Error::NotController(why),
        ErrorCode::StaleBrokerEpoch => Error::StaleBrokerEpoch(why),
        ErrorCode::UnknownTopicId => Error::UnknownTopicId(why),
        ErrorCode::UnknownTopicOrPartition => Error::UnknownTopicOrPartition(why),
        _ => Error::UnknownServerError(why),
    }
}

/// Why a client's telemetry was refused.
pub(crate) fn of_telemetry(refused: telemetry::Refused) -> ErrorCode {
    use telemetry::Refused;
    match refused {
        Refused::InvalidRequest => ErrorCode::InvalidRequest,
        Refused::ThrottlingQuotaExceeded => ErrorCode::ThrottlingQuotaExceeded,
        Refused::UnknownSubscriptionId => ErrorCode::UnknownSubscriptionId,
        Refused::UnsupportedCompressionType => ErrorCode::UnsupportedCompressionType,
        Refused::TelemetryTooLarge => ErrorCode::TelemetryTooLarge,
        Refused::InvalidRecord => ErrorCode::InvalidRecord,
    }
}

/// Why the voters were not changed.
pub(crate) fn of_change(error: &ChangeError) -> ErrorCode {
    match error {
        ChangeError::NotLeader { .. } | ChangeError::Stopped(_) => ErrorCode::NotLeaderOrFollower,
        ChangeError::DuplicateVoter(_) => ErrorCode::DuplicateVoter,
        ChangeError::NoVoter(_) => ErrorCode::VoterNotFound,
        ChangeError::Refused(_) => ErrorCode::InvalidRequest,
    }
}

/// The code and the text of a controller's result.
pub(crate) fn with_message(result: Result<(), metadata::Error>) -> (i16, Option<String>) {
    match result {
        Ok(()) => (NONE, None),
        Err(error) => (of_controller(&error).to_i16(), message(&error)),
    }
}

/// Bytes of a message: an error may repeat what the client has sent, and strings of answers end at 32767.
const MESSAGE_BYTES_MAX: usize = 4096;

/// What a client is told of a failure beside its code.
pub(crate) fn message(failure: &impl std::fmt::Display) -> Option<String> {
    let mut text = failure.to_string();
    text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
    Some(text)
}
