//! What the disk does wrong: the faults that a run injects, and the bugs that are planted to see a check fail. It holds
//! switches only; `file_system` and `disk` obey them.

/// Switches of a disk; everything off by default.
#[derive(Debug, Clone, Default)]
pub struct DiskFaults {
    /// The next so many syncs fail with EIO.
    pub sync_errors: u32,
    /// Writes and new files fail with ENOSPC.
    pub full: bool,
    /// The power is cut after so many more operations.
    pub power_cut_after: Option<u64>,
    /// The bug that is planted.
    pub plant: Option<Plant>,
}

/// A bug put in on purpose: each must be found by the check that docs/invariants.md names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Disk: a sync of a topic's segment does nothing and says that it did: acknowledged before it is durable.
    SyncIgnored,
    /// Disk: a sync of a directory does nothing.
    DirSyncIgnored,
    /// Disk: a failed sync is tried again on the same file, as if the broker did so.
    SyncRetried,
    /// Disk: now and then a write to a segment of a topic is zeros.
    WriteDropped,
    /// Disk: reads of segments of topics give another byte now and then.
    ReadCorrupted,
    /// Disk: the segments of the metadata log are never synced.
    MetadataUnsynced,
    /// Disk: the segments of the offsets topic are never synced.
    OffsetsUnsynced,
    /// Answer: a producer hears of a later offset than its records have.
    AckShifted,
    /// Answer: the last record of a log is there twice.
    BatchRepeated,
    /// Answer: a batch that was refused, and is not there, is said to be a repetition of one that is.
    RefusalHidden,
    /// Answer: a read has a hole.
    OffsetSkipped,
    /// Answer: the high watermark is older than one told before.
    HighWatermarkOld,
    /// Answer: a member also gets what the member before it got.
    AssignmentDoubled,
    /// Answer: a member of a group that the coordinator shares things out in is given what another one was given before.
    OwnerDoubled,
    /// Answer: a record's value is one that nobody has sent.
    ValueInvented,
    /// Answer: an offset shows another record's value.
    ValueChanged,
    /// Answer: a committed offset is unknown.
    CommitForgotten,
    /// Answer: a reader of committed records is not told of aborted transactions.
    AbortHidden,
    /// Answer: the last committed record of a partition is not there.
    MarkerLost,
    /// Answer: a compacted topic lacks the last record of a key.
    CompactionForgetsLast,
    /// Answer: two committed records have changed places.
    CommitsSwapped,
    /// Answer: a producer that was fenced is obeyed.
    ZombieObeyed,
    /// Disk: what share coordinators write is not synced.
    SharesUnsynced,
    /// Answer: records that a member of a share group has are delivered to another one as well.
    ShareDoubled,
    /// Answer: a record is delivered to a share group for the first time once more.
    ShareCountForgotten,
    /// Answer: a record has never been delivered to a share group.
    SharePassedOver,
    /// Answer: the dead-letter topic of a share group lacks what it was told first.
    LetterLost,
    /// Answer: the first record of a key is not found by it.
    PostingForgotten,
    /// Start of a node of a cluster: its logs are cut at the high watermarks that it knows.
    CutToHighWatermark,
    /// Disk: whom a controller has given its vote is not written down.
    VoteForgotten,
    /// Between nodes: a leader's wish for fewer replicas in sync is granted, and the controller never hears of it.
    IsrShrunkAlone,
    /// Between nodes: the controller never hears that a replica is lost, and so a damaged one leads or stays in sync.
    LossUntold,
}

impl Plant {
    /// Every plant with its name on the command line.
    pub const ALL: &[(&str, Plant)] = &[
        ("sync-ignored", Plant::SyncIgnored),
        ("dir-sync-ignored", Plant::DirSyncIgnored),
        ("sync-retried", Plant::SyncRetried),
        ("write-dropped", Plant::WriteDropped),
        ("read-corrupted", Plant::ReadCorrupted),
        ("metadata-unsynced", Plant::MetadataUnsynced),
        ("offsets-unsynced", Plant::OffsetsUnsynced),
        ("ack-shifted", Plant::AckShifted),
        ("batch-repeated", Plant::BatchRepeated),
        ("refusal-hidden", Plant::RefusalHidden),
        ("offset-skipped", Plant::OffsetSkipped),
        ("high-watermark-old", Plant::HighWatermarkOld),
        ("assignment-doubled", Plant::AssignmentDoubled),
        ("owner-doubled", Plant::OwnerDoubled),
        ("value-invented", Plant::ValueInvented),
        ("value-changed", Plant::ValueChanged),
        ("commit-forgotten", Plant::CommitForgotten),
        ("abort-hidden", Plant::AbortHidden),
        ("marker-lost", Plant::MarkerLost),
        ("compaction-forgets-last", Plant::CompactionForgetsLast),
        ("commits-swapped", Plant::CommitsSwapped),
        ("zombie-obeyed", Plant::ZombieObeyed),
        ("shares-unsynced", Plant::SharesUnsynced),
        ("share-doubled", Plant::ShareDoubled),
        ("share-count-forgotten", Plant::ShareCountForgotten),
        ("share-passed-over", Plant::SharePassedOver),
        ("letter-lost", Plant::LetterLost),
        ("posting-forgotten", Plant::PostingForgotten),
        ("cut-to-high-watermark", Plant::CutToHighWatermark),
        ("vote-forgotten", Plant::VoteForgotten),
        ("isr-shrunk-alone", Plant::IsrShrunkAlone),
        ("loss-untold", Plant::LossUntold),
    ];

    /// The plant of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, plant)| *plant)
    }
}
