//! What can go wrong for a client, with what to do about it.
//!
//! It prints nothing. Every function of this crate returns it; whether an attempt may be repeated is said here and
//! nowhere else.

use wire::{ApiKey, ErrorCode};

/// A failure.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No connection could be opened.
    #[error(
        "no broker answers at {addr} ({why}). Is it running? Give another address with --bootstrap HOST:PORT"
    )]
    Connect {
        /// Where it was tried.
        addr: String,
        /// What the operating system said.
        why: String,
    },
    /// A connection ended while an answer was awaited.
    #[error(
        "{addr} closed the connection ({why}). Its log says why; a listener for TLS or SASL does this to plain clients"
    )]
    Closed {
        /// The peer.
        addr: String,
        /// How it ended.
        why: String,
    },
    /// An answer did not come in time.
    #[error("{addr} did not answer {what} within {waited_ms} ms. It may be overloaded or stopped; try again")]
    Timeout {
        /// The peer.
        addr: String,
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        waited_ms: i64,
    },
    /// The peer sent bytes that are no answer.
    #[error("{addr} does not speak Kafka's protocol as expected: {why}. Is it the port of a Kafka listener?")]
    Protocol {
        /// The peer.
        addr: String,
        /// What was wrong.
        why: String,
    },
    /// The peer has no version of an API that this client has.
    #[error(
        "{addr} cannot do {api}: it supports versions {theirs}, this client {ours}. Use a newer broker or client"
    )]
    Unsupported {
        /// The peer.
        addr: String,
        /// The API.
        api: ApiKey,
        /// The peer's versions, or "none".
        theirs: String,
        /// The versions of this client.
        ours: String,
    },
    /// A broker refused.
    #[error("{subject}: {code}{}{}", said(.message), remedy(*.code))]
    Broker {
        /// What it was about, as "topic 'orders'".
        subject: String,
        /// Kafka's error code.
        code: ErrorCode,
        /// What the broker said about it.
        message: Option<String>,
    },
    /// The cluster has no such broker, topic or partition in its metadata.
    #[error("{what} is not in the cluster's metadata{hint}")]
    Missing {
        /// What was looked for.
        what: String,
        /// What to do, beginning with a separator; may be empty.
        hint: String,
        /// Whether it may appear by itself.
        passing: bool,
    },
    /// A partition has no leader at the moment.
    #[error("{topic}-{partition} has no leader. Start the brokers that hold its replicas")]
    NoLeader {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A record or a call that cannot be sent as it is.
    #[error("{0}")]
    Invalid(String),
    /// Fetched records that cannot be read.
    #[error(
        "{topic}-{partition} at offset {offset}: {why}. The data is damaged; read on with a later offset"
    )]
    Damaged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// Where reading stood.
        offset: i64,
        /// What is wrong with them.
        why: String,
    },
    /// A record was not acknowledged in time, or its producer failed before.
    #[error("{subject}: {why}")]
    NotDelivered {
        /// Which record or partition.
        subject: String,
        /// Why; says whether it may have been written nevertheless.
        why: String,
    },
    /// The part of the client that would do it has ended.
    #[error("the client was closed")]
    Ended,
}

impl Error {
    /// An error code about something; `None` stands for success.
    pub(crate) fn from_code(
        code: i16,
        message: Option<String>,
        subject: impl FnOnce() -> String,
    ) -> Result<(), Self> {
        match ErrorCode::from_i16(code).unwrap_or(ErrorCode::UnknownServerError) {
            ErrorCode::None => Ok(()),
            code => Err(Self::Broker { subject: subject(), code, message }),
        }
    }

    /// The broker's error code, if a broker refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Closed { .. } | Self::Timeout { .. } | Self::NoLeader { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            Self::Missing { passing, .. } => *passing,
            _ => false,
        }
    }
}

fn said(message: &Option<String>) -> String {
    match message.as_deref().filter(|message| !message.is_empty()) {
        Some(message) => format!(", \"{}\"", message.trim_end_matches('.')),
        None => String::new(),
    }
}

/// What to do about a code, with a separator before it; empty if the code says it all.
fn remedy(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
            ". Create it with `odradek topic create`, or list what there is with `odradek topic list`"
        }
        ErrorCode::TopicAlreadyExists => ". Choose another name, or change it with `odradek topic alter`",
        ErrorCode::InvalidTopicException => ". A name has 1 to 249 letters, digits, '.', '_' and '-'",
        ErrorCode::InvalidReplicationFactor => ". It can be at most the number of running brokers",
        ErrorCode::InvalidPartitions => ". Partitions can only be added",
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            ". Raise max.message.bytes of the topic, or send smaller records or batches"
        }
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            ". Start the missing brokers, or lower min.insync.replicas of the topic"
        }
        ErrorCode::OffsetOutOfRange => ". Start from `beginning` or `end`",
        ErrorCode::NonEmptyGroup => ". Stop its members first",
        ErrorCode::GroupIdNotFound => ". List the groups with `odradek group list`",
        ErrorCode::GroupSubscribedToTopic => ". Stop the members that read this topic first",
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed => ". Ask for an ACL that allows it",
        ErrorCode::TopicDeletionDisabled => ". Set delete.topic.enable=true on the brokers",
        ErrorCode::InvalidRecord => ". A compacted topic needs a key in every record",
        ErrorCode::KafkaStorageError => ". Look into the broker's log: a log directory has failed",
        ErrorCode::UnsupportedCompressionType => ". Choose another codec with -z",
        ErrorCode::UnknownServerError => ". Look into the broker's log",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_the_broker_said_and_what_to_do() {
        let refused = |code: i16, message: Option<&str>| {
            Error::from_code(code, message.map(str::to_owned), || "topic 'a'".into()).unwrap_err()
        };
        assert_eq!(
            refused(36, Some("It exists.")).to_string(),
            "topic 'a': TOPIC_ALREADY_EXISTS, \"It exists\". Choose another name, or change it with `odradek topic alter`"
        );
        assert_eq!(refused(27, None).to_string(), "topic 'a': REBALANCE_IN_PROGRESS");
        assert!(Error::from_code(0, None, String::new).is_ok());
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let of = |code: i16| Error::from_code(code, None, String::new).unwrap_err();
        assert!(of(ErrorCode::NotLeaderOrFollower.to_i16()).is_passing());
        assert!(of(ErrorCode::CoordinatorLoadInProgress.to_i16()).is_passing());
        assert!(!of(ErrorCode::TopicAlreadyExists.to_i16()).is_passing());
        assert!(!of(i16::MAX).is_passing());
        assert!(!Error::Ended.is_passing());
    }
}
