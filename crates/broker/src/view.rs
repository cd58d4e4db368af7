//! What an exporter of metrics, a health check or a console may see of the broker, without going through an API.

use crate::{Broker, log_dir::LogDir};
use model::{Offset, PartitionIndex};
use quorum::Quorum;
use std::sync::Arc;

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

    /// Whether the log directory can be written, the metadata log among it.
    pub fn is_healthy(&self) -> bool {
        let dir: &Arc<LogDir> = &self.dir;
        !dir.is_offline() && self.quorum.failed().is_none()
    }
}
