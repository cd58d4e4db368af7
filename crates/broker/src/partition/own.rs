//! What the broker itself writes to a partition and reads back: the records of its coordinators and of the metadata.
//!
//! It knows none of these records. `group_hosts`, `controller` and `start` call it.

use super::{
    AppendError, Partition, READ_TRIES, ReadOf, Refused,
    append::{Appending, Copies},
    on_lane,
};
use crate::acks::Settled;
use log::{Appended, Guard, Origin, ProducerError, ReadPlan};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use records::{Checked, Decompressor, EndTxnMarker};
use std::{io, sync::Arc};

/// Why a batch of the broker's own was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AppendRefused {
    #[error("the batch is larger than the partition allows")]
    TooLarge,
    #[error("the partition is offline")]
    Unavailable,
    #[error(transparent)]
    Producer(#[from] ProducerError),
}

/// How a batch of the broker's own takes part in transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// What was given when the transaction began to be verified.
    pub(crate) guard: Option<Guard>,
    /// By whose rules the epoch of a marker is judged.
    pub(crate) transaction_version: i16,
}

impl Part {
    /// It does not.
    pub(crate) const NONE: Self = Self { guard: None, transaction_version: 2 };
}

/// What the broker reads of its own.
#[derive(Debug)]
pub(crate) enum Own {
    /// A record, and whose transaction it is part of.
    Record(records::Record, Option<(ProducerId, ProducerEpoch)>),
    /// The end of a transaction.
    Marker((ProducerId, ProducerEpoch), EndTxnMarker),
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
        (batch, part): (records::Batch, Part),
        settled: (Arc<dyn Settled>, usize),
    ) -> Result<Appended, AppendRefused> {
        let batch = Checked::trusted(batch);
        if batch.bytes() > self.config.load().batch_bytes_max {
            return Err(AppendRefused::TooLarge);
        }
        let origin = Origin::Coordinator { transaction_version: part.transaction_version };
        let (copies, guard) = (Copies::InSync, part.guard);
        let appending = Appending { origin, guard, copies, is_patient: true, epoch: Some(epoch), at: None };
        self.append(now, batch, appending, Some(settled)).map_err(|refused| {
            if let Refused::Append(AppendError::Producer(error)) = refused {
                return AppendRefused::Producer(error);
            }
            tracing::error!(partition = %self, %refused, "a batch of the broker's own was refused");
            AppendRefused::Unavailable
        })
    }

    /// Records of the broker's own from `offset` on, and the offset behind them; `None` at the end.
    pub(crate) async fn read_own(self: &Arc<Self>, offset: Offset) -> io::Result<Option<(Offset, Vec<Own>)>> {
        let mut tries = READ_TRIES;
        loop {
            let mut of = None;
            let read = self.read_own_batches(offset, &mut of).await;
            let Err(error) = &read else { return read };
            tries -= 1;
            if tries > 0 && log::is_moved(error) {
                self.written().await;
                continue;
            }
            if let Some(of) = of {
                self.on_read_error(error, of);
            }
            return read;
        }
    }

    /// `of` says of which files, if they were asked.
    async fn read_own_batches(
        &self,
        offset: Offset,
        of: &mut Option<ReadOf>,
    ) -> io::Result<Option<(Offset, Vec<Own>)>> {
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
                let world = self.shared.world.clone();
                let loaded = on_lane(&self.shared.world, move || plan.load(&*world.disk)).await;
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
            let producer = (batch.header.producer_id, batch.header.producer_epoch);
            if batch.header.attributes.is_control() {
                all.extend(EndTxnMarker::from_batch(&batch).map(|marker| Own::Marker(producer, marker)));
                continue;
            }
            let producer = batch.header.attributes.is_transactional().then_some(producer);
            let records = batch.records(OWN_BATCH_BYTES_MAX, &mut decompressor).map_err(io::Error::other)?;
            let records = records.into_iter().filter(|record| record.offset >= offset);
            all.extend(records.map(|record| Own::Record(record, producer)));
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
