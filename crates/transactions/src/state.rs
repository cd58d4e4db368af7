//! The states of a transactional id, as Kafka names and numbers them.

/// Where a transactional id stands.
///
/// ```text
///   Empty -> Ongoing -> PrepareCommit -> CompleteCommit -.
///     ^       ^    '--> PrepareAbort --> CompleteAbort --+--> Ongoing, Empty, or PrepareAbort without partitions
///     '-------'-------------------------------------------'
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// A producer has its epoch and has added nothing.
    Empty,
    /// Partitions were added.
    Ongoing,
    /// It will be committed: the markers are on their way.
    PrepareCommit,
    /// It will be aborted: the markers are on their way.
    PrepareAbort,
    /// All markers of the commit are written.
    CompleteCommit,
    /// All markers of the abort are written.
    CompleteAbort,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
    ];

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    /// Kafka's number, which stands in the log.
    pub fn number(self) -> i8 {
        match self {
            Self::Empty => 0,
            Self::Ongoing => 1,
            Self::PrepareCommit => 2,
            Self::PrepareAbort => 3,
            Self::CompleteCommit => 4,
            Self::CompleteAbort => 5,
        }
    }

    /// The state of a number; `None` for one that never stands in a log.
    pub fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// Whether markers are on their way.
    pub fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    /// Whether an id that stands here may be forgotten.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }
}
