//! Taking batches: offsets are assigned under the lock, bytes go to a lane, whoever waits is noted.
//!
//! It decides neither offsets nor order; [`log::Log`] does. When an ack is settled, `flush` says.

use super::{Partition, Refused};
use crate::acks::Settled;
use log::{Appended, Origin};
use model::{Offset, Timestamp};
use records::Checked;
use std::sync::Arc;

pub(super) struct Ack {
    pub(super) upto: Offset,
    /// Whether to wait while the disk is full. A coordinator must: it cannot take back what will be written later.
    pub(super) is_patient: bool,
    pub(super) settled: Arc<dyn Settled>,
    pub(super) slot: usize,
}

impl Partition {
    /// Appends a client's batch. `settled` is told when it is durable, unless this fails.
    pub(crate) fn produce(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        settled: Option<(Arc<dyn Settled>, usize)>,
    ) -> Result<Appended, Refused> {
        self.append(now, batch, Origin::Client, settled, false)
    }

    pub(super) fn append(
        self: &Arc<Self>,
        now: Timestamp,
        batch: Checked,
        origin: Origin,
        settled: Option<(Arc<dyn Settled>, usize)>,
        is_patient: bool,
    ) -> Result<Appended, Refused> {
        let bytes = batch.bytes();
        let mut state = self.state.lock();
        let online = state.online()?;
        online.check_not_closed()?;
        if let Some(why) = &online.stuck {
            return Err(Refused::Stuck(why.clone()));
        }
        let before = online.log.tail_bytes();
        let leader_epoch = self.leader_epoch()?;
        let appended = online.log.append(now, leader_epoch, origin, batch, &mut online.pending)?;
        let upto = appended.last_offset + 1;
        let is_durable = upto <= online.high_watermark;
        if let (Some((settled, slot)), false) = (&settled, is_durable) {
            online.acks.push_back(Ack { upto, is_patient, settled: settled.clone(), slot: *slot });
        }
        let tail = online.log.tail_bytes().saturating_sub(before);
        if !appended.duplicate {
            online.pending_bytes += bytes;
            online.invisible.push_back((upto, bytes));
            self.dir.backlog.add(bytes);
        }
        let job = self.flush_soon(online, now);
        drop(state);
        self.hand_over(job);
        if let (Some((settled, slot)), true) = (settled, is_durable) {
            settled.settle(slot, true);
        }
        if tail > 0 {
            self.dir.tail.on_append(self, tail);
        }
        Ok(appended)
    }
}
