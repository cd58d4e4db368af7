//! What the broker itself writes to a partition and reads back: the records of its coordinators and of the metadata.
//!
//! It knows none of these records. `group_hosts`, `controller` and `start` call it.

use super::{
    Partition, ReadOf,
    append::{Appending, Copies},
    on_lane,
};
use crate::acks::Settled;
use log::{Appended, Origin, ReadPlan};
use model::{LeaderEpoch, Offset, Timestamp};
use records::{Checked, Decompressor};
use std::{io, sync::Arc};

/// Why a batch of the broker's own was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendRefused {
    #[error("the batch is larger than the partition allows")]
    TooLarge,
    #[error("the partition is offline")]
    Unavailable,
}

/// How much a reader of the broker's own takes at once.
const OWN_READ_BYTES: usize = 1024 * 1024;
/// How large the plain contents of a batch of the broker's own can be.
const OWN_BATCH_BYTES_MAX: usize = 256 << 20;

impl Partition {
    /// Appends a batch of the broker's own, as the leader of `epoch`, to be acknowledged by all replicas in sync. While the
    /// disk is full, `settled` waits.
    pub(crate) fn append_own(
        self: &Arc<Self>,
        now: Timestamp,
        epoch: LeaderEpoch,
        batch: records::Batch,
        settled: (Arc<dyn Settled>, usize),
    ) -> Result<Appended, AppendRefused> {
        let batch = Checked::trusted(batch);
        if batch.bytes() > self.config.load().batch_bytes_max {
            return Err(AppendRefused::TooLarge);
        }
        let origin = Origin::Coordinator { transaction_version: 2 };
        let appending = Appending { origin, copies: Copies::InSync, is_patient: true, epoch: Some(epoch) };
        self.append(now, batch, appending, Some(settled)).map_err(|refused| {
            tracing::error!(partition = %self, %refused, "a batch of the broker's own was refused");
            AppendRefused::Unavailable
        })
    }

    /// Records of the broker's own from `offset` on, and the offset behind them; `None` at the end.
    pub(crate) async fn read_own(
        self: &Arc<Self>,
        offset: Offset,
    ) -> io::Result<Option<(Offset, Vec<records::Record>)>> {
        let mut of = None;
        let read = self.read_own_batches(offset, &mut of).await;
        if let (Err(error), Some(of)) = (&read, of) {
            self.on_read_error(error, of);
        }
        read
    }

    /// `of` says of which files, if they were asked.
    async fn read_own_batches(
        &self,
        offset: Offset,
        of: &mut Option<ReadOf>,
    ) -> io::Result<Option<(Offset, Vec<records::Record>)>> {
        let (plan, upto) = {
            let mut state = self.state.lock();
            let online = state.online().map_err(io::Error::other)?;
            let upto = online.high_watermark;
            if offset >= upto {
                return Ok(None);
            }
            let plan = online.log.read(offset, upto, OWN_READ_BYTES, true);
            if let ReadPlan::File(plan) = &plan {
                *of = Some(online.read_of(plan.segment()));
            }
            (plan, upto)
        };
        let slice = match plan {
            ReadPlan::Memory(slice) => slice,
            ReadPlan::File(plan) => {
                let world = self.dir.world.clone();
                let loaded = on_lane(&self.dir.world, move || plan.load(&*world.disk)).await;
                loaded.ok_or_else(|| io::Error::other("the broker stops"))??
            }
            ReadPlan::OutOfRange { start_offset, .. } => {
                return Err(io::Error::other(format!("the log now starts at offset {start_offset}")));
            }
        };
        let mut bytes = slice.parts.to_bytes().unwrap_or_default();
        let mut decompressor = Decompressor::default();
        let (mut next, mut all) = (offset, Vec::new());
        while let Some(batch) = records::Batch::split_off(&mut bytes) {
            check(&batch, next, upto)?;
            next = batch.header.next_offset();
            if batch.header.attributes.is_control() {
                continue;
            }
            let records = batch.records(OWN_BATCH_BYTES_MAX, &mut decompressor).map_err(io::Error::other)?;
            all.extend(records.into_iter().filter(|record| record.offset >= offset));
        }
        if next == offset {
            return Err(damaged(format!("no batch could be read at offset {offset}")));
        }
        Ok(Some((next, all)))
    }
}

/// Nobody else checks what the broker reads of its own: consumers check what they fetch. The offsets lie outside of the
/// checksum; a batch that claims to be another would hide those between.
fn check(batch: &records::Batch, next: Offset, upto: Offset) -> io::Result<()> {
    let (first, behind) = (batch.header.base_offset, batch.header.next_offset());
    if !batch.is_intact() {
        return Err(damaged(format!("the batch at offset {first} has a wrong checksum")));
    }
    if behind <= next || behind > upto {
        return Err(damaged(format!(
            "a batch of offsets {first} to before {behind} cannot follow at {next}"
        )));
    }
    Ok(())
}

fn damaged(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
