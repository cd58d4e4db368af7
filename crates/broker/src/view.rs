//! What an exporter of metrics, a health check or a console may see of the broker, without going through an API.

use crate::{Broker, partition::Condition};
use model::{Offset, PartitionIndex};
use quorum::Quorum;

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionView {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: PartitionIndex,
    /// Start and high watermark; `None` if it is offline.
    pub offsets: Option<(Offset, Offset)>,
    /// Bytes of its segments.
    pub size_bytes: u64,
    /// It refuses records until there is room on the disk, or descriptors.
    pub waits_for_room: bool,
    /// Its bytes are not what was written.
    pub is_damaged: bool,
}

/// Why a node should get no records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unhealthy {
    /// A write or sync has failed.
    #[error("the log directory is offline; see the log for the error, repair the disk and restart")]
    LogDirOffline,
    /// The metadata log cannot go on.
    #[error("the metadata log has failed; see the log for the error, repair the disk and restart")]
    MetadataLogFailed,
    /// Partitions take no records until there is room.
    #[error(
        "{0} partition(s) take no records because the disk is full or descriptors are used up; make room, no restart \
         is needed"
    )]
    NoRoom(usize),
}

/// One committed offset of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffsetView {
    /// The group.
    pub group: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: PartitionIndex,
    /// The committed offset.
    pub offset: Offset,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its id.
    pub group: String,
    /// Its state, as Kafka names it.
    pub state: &'static str,
    /// How many members it has.
    pub members: usize,
}

impl Broker {
    /// Whether this node is the active controller, as far as it knows.
    pub fn is_active_controller(&self) -> bool {
        self.quorum.leadership().borrow().is_active
    }

    /// All partitions.
    pub fn partition_views(&self) -> Vec<PartitionView> {
        let views = self.partitions.all().into_iter().map(|partition| PartitionView {
            topic: partition.topic().to_string(),
            partition: partition.index(),
            offsets: partition.offsets().map(|offsets| (offsets.start, offsets.high_watermark)),
            size_bytes: partition.size_bytes(),
            waits_for_room: partition.waits_for_room(),
            is_damaged: partition.condition() == Condition::Damaged,
        });
        views.collect()
    }

    /// All groups and their committed offsets.
    pub fn group_views(&self) -> (Vec<GroupView>, Vec<GroupOffsetView>) {
        let (mut groups, mut offsets) = (Vec::new(), Vec::new());
        self.groups.look(|coordinator| {
            groups.extend(coordinator.groups().map(|group| GroupView {
                group: group.group.to_string(),
                state: group.state.name(),
                members: group.members,
            }));
            offsets.extend(coordinator.offsets().map(|offset| GroupOffsetView {
                group: offset.group.to_string(),
                topic: offset.topic.to_string(),
                partition: offset.partition,
                offset: offset.offset.offset,
            }));
        });
        (groups, offsets)
    }

    /// Open connections.
    pub fn connection_count(&self) -> usize {
        self.connections.count()
    }

    /// Open fetch sessions.
    pub fn fetch_session_count(&self) -> usize {
        self.sessions.lock().count()
    }

    /// Whether this node can take records, and why not. A single partition that is offline because it is damaged is no
    /// reason: the others are served, and a restart would not help it.
    pub fn health(&self) -> Result<(), Unhealthy> {
        if self.home.is_offline() || self.dirs.are_offline() {
            return Err(Unhealthy::LogDirOffline);
        }
        if self.quorum.failed().is_some() {
            return Err(Unhealthy::MetadataLogFailed);
        }
        match self.partitions.all().iter().filter(|partition| partition.waits_for_room()).count() {
            0 => Ok(()),
            waiting => Err(Unhealthy::NoRoom(waiting)),
        }
    }
}
