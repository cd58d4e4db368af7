//! What the host tells the coordinator: past facts.

use crate::{Config, Request, Ticket, Token, TopicsView};
use model::{TopicId, TopicName};

/// Something that has happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The log was replayed to its end and this node leads it: timers start. Before it only `replay` is allowed.
    Loaded,
    /// A client asks. It gets exactly one [`crate::Effect::Reply`] with this token, perhaps much later.
    Request {
        /// Names the request.
        token: Token,
        /// What it asks.
        request: Request,
    },
    /// The records of an append are committed. The host reports the outcome of appends in the order of their tickets.
    Committed {
        /// Which append.
        ticket: Ticket,
    },
    /// The records of an append are not in the log and never will be.
    AppendFailed {
        /// Which append.
        ticket: Ticket,
        /// Why, as far as clients are concerned.
        failure: AppendFailure,
    },
    /// The moment of the last [`crate::Effect::WakeAt`] has come. Harmless at any other time.
    Tick,
    /// The cluster's topics or their partitions are others now.
    TopicsChanged(TopicsView),
    /// Topics are gone from the cluster: their offsets go too.
    TopicsDeleted(Vec<DeletedTopic>),
    /// The configuration was changed; holds from the next decision on.
    Configured(Config),
    /// This node leads the partition no more: whoever waits is sent away. The coordinator is to be dropped after it.
    Unloaded,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTopic {
    /// Its name; a new topic may bear it already.
    pub name: TopicName,
    /// Its id; offsets that were committed with another id stay.
    pub id: TopicId,
}

/// Why records could not be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFailure {
    /// Too few replicas, no such partition, or nobody answered in time.
    Unavailable,
    /// This node does not lead the partition, or its disk failed.
    NotLeader,
    /// The records are larger than the partition takes.
    TooLarge,
    /// The log has seen a later epoch of the producer.
    ProducerFenced,
    /// The log has seen a later epoch of the transaction coordinator.
    CoordinatorFenced,
    /// The transaction is not open.
    NotInTransaction,
}
