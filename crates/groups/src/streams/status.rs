//! What a member of a streams group is told beside its assignment.

/// A state of affairs, as Kafka numbers them in StreamsGroupHeartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamsStatus {
    /// The member has an older topology than the group.
    StaleTopology,
    /// Topics that the application reads are not there.
    MissingSourceTopics,
    /// Topics that belong together have different numbers of partitions.
    IncorrectlyPartitionedTopics,
    /// Topics of the application are not there yet.
    MissingInternalTopics,
    /// A member wants the whole application to end.
    ShutdownApplication,
    /// A new assignment is to come, but not yet.
    AssignmentDelayed,
    /// The member has not all client tags by which standby tasks are to be spread.
    MissingClientTags,
}

impl StreamsStatus {
    /// Kafka's number.
    pub fn code(self) -> i8 {
        match self {
            Self::StaleTopology => 0,
            Self::MissingSourceTopics => 1,
            Self::IncorrectlyPartitionedTopics => 2,
            Self::MissingInternalTopics => 3,
            Self::ShutdownApplication => 4,
            Self::AssignmentDelayed => 5,
            Self::MissingClientTags => 6,
        }
    }
}
