//! How far the tasks of a member are, as it reports it from time to time: the sums of the offsets of their changelogs.
//!
//! They are not in the log: after a failover members report again. Of tasks that do not exist nothing is kept.

use super::{configured::Configured, records::TaskOffsets};
use crate::Error;
use model::PartitionIndex;
use std::sync::Arc;

/// A task and an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOffset {
    /// The task's subtopology.
    pub subtopology: Arc<str>,
    /// The task's number.
    pub partition: PartitionIndex,
    /// The sum.
    pub offset: i64,
}

/// What one member has reported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberOffsets {
    /// Up to where its copies are.
    pub offsets: TaskOffsets,
    /// Where the changelogs end.
    pub end_offsets: TaskOffsets,
}

impl MemberOffsets {
    /// Takes over what a member reports; a list that is not there leaves the former.
    pub(crate) fn update(
        &mut self,
        (offsets, end_offsets): (Option<&[TaskOffset]>, Option<&[TaskOffset]>),
        configured: &Configured,
    ) {
        if let Some(offsets) = offsets {
            self.offsets = known(offsets, configured);
        }
        if let Some(offsets) = end_offsets {
            self.end_offsets = known(offsets, configured);
        }
    }
}

/// Whether a list names a task twice.
pub(crate) fn check(offsets: Option<&[TaskOffset]>) -> Result<(), Error> {
    let mut seen = std::collections::BTreeSet::new();
    let twice =
        offsets.unwrap_or_default().iter().find(|one| !seen.insert((&one.subtopology, one.partition)));
    match twice {
        None => Ok(()),
        Some(one) => Err(Error::InvalidRequest(
            format!("The offset of task {}_{} is there twice.", one.subtopology, one.partition).into(),
        )),
    }
}

fn known(offsets: &[TaskOffset], configured: &Configured) -> TaskOffsets {
    let mut known = TaskOffsets::new();
    for one in offsets.iter().filter(|one| configured.has_task(&one.subtopology, one.partition)) {
        known.entry(one.subtopology.clone()).or_default().insert(one.partition, one.offset);
    }
    known
}
