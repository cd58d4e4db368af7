//! What a partition lets go of: segments by retention or DeleteRecords, idle files, the memory of its tail.
//!
//! [`log::Log`] decides what goes. `upkeep`, `tail_budget` and the handler of DeleteRecords call it.

use super::{Partition, Refused, State};
use crate::tail_budget::Trimmed;
use model::{Offset, Timestamp};
use std::sync::Arc;

/// Descriptors are scarcer than reopening is dear.
const IDLE_FILES_MS: i64 = 10_000;

impl Partition {
    /// Moves the start of the log up to `before` (-1: the high watermark); gives the new start.
    pub(crate) async fn delete_records(self: &Arc<Self>, before: Offset) -> Result<Offset, Refused> {
        let (start, job) = {
            let mut state = self.state.lock();
            let config = self.config.load();
            if config.cleanup_compact && !config.cleanup_delete {
                return Err(Refused::Policy);
            }
            let online = state.online()?;
            online.check_not_closed()?;
            if !online.role.leads() {
                return Err(Refused::NotLeader);
            }
            let (start_offset, end_offset) = (online.log.start_offset(), online.high_watermark);
            let before = if before == -1 { end_offset } else { before };
            if before < 0 {
                return Err(Refused::OffsetOutOfRange { start_offset, end_offset });
            }
            let high_watermark = online.high_watermark;
            let moved = online.log.delete_records_before(before, high_watermark, &mut online.pending);
            let start = moved.map_err(|_| Refused::OffsetOutOfRange { start_offset, end_offset })?;
            // Followers hear of it at once; the request waits for them.
            online.break_off_reads();
            let now = self.shared.world.clock.wall();
            online.log.drop_deleted(now, high_watermark, &mut online.pending);
            (start, self.flush_soon(online, now))
        };
        self.hand_over(job);
        self.written().await;
        Ok(start)
    }

    /// Forgets producers that are gone.
    pub(crate) fn expire_producers(&self, now: Timestamp) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.log.expire_producers(now);
        }
    }

    /// Deletes what retention does not keep, syncs what `flush.ms` says.
    pub(crate) fn tick(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return };
        if online.is_closed || online.is_cutting {
            return;
        }
        let high_watermark = online.high_watermark;
        let deleted = online.log.retain(now, high_watermark, &mut online.pending);
        if deleted > 0 {
            tracing::info!(partition = %self, segments = deleted, start = online.log.start_offset(), "retention deleted segments");
        }
        let job = self.flush_soon(online, now);
        drop(state);
        self.hand_over(job);
    }

    /// Syncs if `flush.ms` has passed, and tries again what could not be written or opened for want of room; removes the
    /// files of segments whose `file.delete.delay.ms` is over; closes those of a partition that nobody writes.
    pub(crate) fn sweep(self: &Arc<Self>, now: Timestamp) {
        let mut state = self.state.lock();
        let online = match &mut *state {
            State::Online(online) => online,
            State::Offline(offline) => {
                let job = self.open_again(offline);
                drop(state);
                return self.hand_over(job);
            }
            State::Deleted => return,
        };
        if online.files.is_none() {
            return;
        }
        if !online.is_closed {
            online.log.purge(now, &mut online.pending);
        }
        let job = self.flush_soon(online, now);
        if now.saturating_sub(online.written_at) > IDLE_FILES_MS
            && let Some(files) = &mut online.files
        {
            files.release();
            // Not again before the next write.
            online.written_at = Timestamp::MAX;
        }
        if now.saturating_sub(online.looked_up_at) > IDLE_FILES_MS {
            online.log.close_key_files();
            online.looked_up_at = Timestamp::MAX;
        }
        self.note_keys(online);
        drop(state);
        self.hand_over(job);
    }

    /// Lets go of `bytes` of the tail, or more, as far as they are written.
    pub(crate) fn trim_tail(&self, bytes: usize) -> Trimmed {
        match &mut *self.state.lock() {
            State::Online(online) => {
                Trimmed { freed: online.log.trim_tail(bytes), left: online.log.tail_bytes() }
            }
            State::Offline(_) | State::Deleted => Trimmed { freed: 0, left: 0 },
        }
    }
}
