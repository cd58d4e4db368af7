//! What an operator may set about groups and offsets.
//!
//! It reads nothing: the broker fills it from Kafka's configuration keys, which each field names.

/// The limits and times of one coordinator; Kafka's defaults in parentheses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `group.min.session.timeout.ms` (6000): a JoinGroup that asks for less is refused.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms` (1800000): a JoinGroup that asks for more is refused.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms` (3000): how long the first member of an empty group waits for company;
    /// each newcomer extends it, up to the rebalance timeout.
    pub rebalance_delay_ms_initial: i32,
    /// `group.max.size` (2147483647): members of a group.
    pub group_members_max: usize,
    /// How long a new member may wait in its first JoinGroup before it is taken for gone (300000, fixed in Kafka): it
    /// has no id to heartbeat with, and a client that gave up and retried would fill the group with ghosts.
    pub join_timeout_ms_new_member: i32,
    /// `group.consumer.max.size` (2147483647): members of a consumer group.
    pub consumer_members_max: usize,
    /// `group.consumer.session.timeout.ms` (45000): how long a member of a consumer group may be silent.
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.migration.policy` (bidirectional): which groups with members change their kind.
    pub migration: Migration,
    /// `group.consumer.assignment.interval.ms` (1000): the shortest time between two target assignments (KIP-1263).
    pub consumer_assignment_interval_ms: i64,
    /// `group.share.max.size` (200): members of a share group.
    pub share_members_max: usize,
    /// `group.share.session.timeout.ms` (45000): how long a member of a share group may be silent after this node took over.
    pub share_session_timeout_ms: i32,
    /// `group.share.initialize.retry.interval.ms` (30000): how long share coordinators may take to begin with a partition
    /// before they are asked again.
    pub share_initialize_retry_ms: i64,
    /// `group.streams.max.size` (2147483647): members of a streams group.
    pub streams_members_max: usize,
    /// `group.streams.session.timeout.ms` (45000): how long a member of a streams group may be silent after this node took
    /// over.
    pub streams_session_timeout_ms: i32,
    /// `offset.metadata.max.bytes` (4096): characters (UTF-16 units, as Kafka counts) of an offset's metadata.
    pub offset_metadata_chars_max: usize,
    /// `offsets.retention.minutes` (10080), in milliseconds: how long offsets outlive their last use.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms` (600000): how often expired offsets are looked for.
    pub offsets_retention_check_interval_ms: i64,
}

/// Which groups with members change their kind when members of the other protocol come or go (KIP-848). Groups without
/// members always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// None; and no classic member may join a consumer group that has members.
    Disabled,
    /// Classic groups become consumer groups.
    Upgrade,
    /// Consumer groups become classic groups.
    Downgrade,
    /// Both.
    Bidirectional,
}

impl Migration {
    /// All, with Kafka's names.
    const ALL: [(&str, Self); 4] = [
        ("disabled", Self::Disabled),
        ("upgrade", Self::Upgrade),
        ("downgrade", Self::Downgrade),
        ("bidirectional", Self::Bidirectional),
    ];

    /// The policy of this name, in any case.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, policy)| policy)
    }

    /// Whether classic groups with members become consumer groups.
    pub(crate) fn upgrades(self) -> bool {
        matches!(self, Self::Upgrade | Self::Bidirectional)
    }

    /// Whether consumer groups with members become classic groups.
    pub(crate) fn downgrades(self) -> bool {
        matches!(self, Self::Downgrade | Self::Bidirectional)
    }
}
