//! What compaction asks of a partition: how dirty it is, a pass over it, and the swaps that the pass wants.
//!
//! It decides nothing about records; [`log::Log`] and [`log::Cleaning`] do. When a partition is compacted `cleaner` decides.
//! Nothing works in the log's directory that [`Partition::remove`] does not wait for.

use super::{Partition, ReadOf, State};
use log::{Cleanable, Cleaned, Cleaning, CleaningLimits};
use model::{Offset, Timestamp};
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::oneshot;

/// What compaction knows of a partition.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    /// Where the last pass ended.
    pub(super) clean_upto: Option<Offset>,
    /// Why it is not compacted any more.
    pub(super) uncleanable: Option<Arc<str>>,
    /// Ends when the step that is at work in the directory has ended.
    pub(super) step: Option<oneshot::Receiver<()>>,
    /// The same of the key index, which is built beside all other steps.
    pub(super) key_step: Option<oneshot::Receiver<()>>,
}

impl Upkeep {
    /// Whether the key index is being built at this moment.
    pub(super) fn is_indexing(&mut self) -> bool {
        let ended = self.key_step.as_mut().map(oneshot::Receiver::try_recv);
        ended == Some(Err(oneshot::error::TryRecvError::Empty))
    }

    /// What ends when nothing of this is at work in the directory.
    pub(super) fn steps(&mut self) -> impl Iterator<Item = oneshot::Receiver<()>> + use<> {
        self.step.take().into_iter().chain(self.key_step.take())
    }
}

impl Partition {
    /// How much of the log waits for compaction, if any may be compacted now.
    pub(crate) fn cleanable(&self, now: Timestamp) -> Option<Cleanable> {
        match &*self.state.lock() {
            State::Online(online) if !online.is_closed && !online.is_cutting => {
                let is_held_up = online.stuck.is_some() || self.is_copied.load(Ordering::Acquire);
                if online.upkeep.uncleanable.is_some() || is_held_up {
                    return None;
                }
                online.log.cleanable(now, online.high_watermark, online.upkeep.clean_upto)
            }
            _ => None,
        }
    }

    /// Why it is not compacted any more, if that is so.
    pub(crate) fn uncleanable(&self) -> Option<Arc<str>> {
        match &*self.state.lock() {
            State::Online(online) => online.upkeep.uncleanable.clone(),
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// Plans a pass over what is dirty, whatever was read of the partition before.
    pub(crate) fn begin_cleaning(
        &self,
        now: Timestamp,
        limits: CleaningLimits,
    ) -> Option<(Cleaning, ReadOf)> {
        let cleanable = self.cleanable(now)?;
        match &*self.state.lock() {
            State::Online(online) if !online.is_closed && !online.is_cutting => {
                let cleaning = online.log.cleaning(now, &cleanable, limits);
                let of = online.read_of(cleaning.first_segment());
                Some((cleaning, of))
            }
            _ => None,
        }
    }

    /// Whether it is to be compacted, as far as its policy says.
    pub(crate) fn is_compacted(&self) -> bool {
        self.config.load().cleanup_compact
    }

    /// A step of upkeep that works by the names of files, of a pass for one, may run on a lane; it is over when what this
    /// gives is dropped, and no cut begins before. `None` if the log is not the one any more that it was planned for.
    /// Whoever calls it holds `maintenance`.
    pub(crate) fn begin_step(&self, of: ReadOf) -> Option<oneshot::Sender<()>> {
        match &mut *self.state.lock() {
            State::Online(online) => {
                let is_cut_soon = online.is_cutting || online.recovery_point_max.is_some();
                let is_this = online.cuts == of.cuts && !online.is_closed && !is_cut_soon;
                if !is_this {
                    return None;
                }
                let (ended, step) = oneshot::channel();
                online.upkeep.step = Some(step);
                Some(ended)
            }
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// A sound segment of which the index was found wrong, and a step in which to build that anew; `None` as
    /// [`Partition::begin_step`] has it, or if the log is laid out otherwise by now.
    pub(crate) fn begin_rebuild(
        &self,
        segment: Offset,
        of: ReadOf,
    ) -> Option<(log::Scrub, oneshot::Sender<()>)> {
        let ended = self.begin_step(of)?;
        let (scrub, _) = self.scrub(segment).filter(|(_, now_of)| *now_of == of)?;
        Some((scrub, ended))
    }

    /// Orders that a compacted segment is put in its place, and waits until that was tried; `false` if it is not wanted any
    /// more, or nothing can be written for now.
    pub(crate) async fn swap(self: &Arc<Self>, cleaned: &Cleaned, of: ReadOf) -> bool {
        let job = {
            let mut state = self.state.lock();
            let State::Online(online) = &mut *state else { return false };
            // Where a cut is announced its checkpoints speak of the segments as they are.
            let is_cut_soon = online.is_cutting || online.recovery_point_max.is_some();
            let is_this = online.cuts == of.cuts && !online.is_closed && !is_cut_soon;
            if !is_this || online.stuck.is_some() || !online.log.swap(cleaned, &mut online.pending) {
                return false;
            }
            self.flush_soon(online, self.shared.world.clock.wall())
        };
        self.hand_over(job);
        self.written().await;
        true
    }

    /// Whether a compacted segment is still to be put in its place: where room or descriptors are missing that may take long.
    pub(crate) fn is_swapping(&self) -> bool {
        matches!(&*self.state.lock(), State::Online(online) if online.log.is_swapping() && !online.is_closed)
    }

    /// How many swaps were performed.
    pub(crate) fn swap_count(&self) -> u64 {
        match &*self.state.lock() {
            State::Online(online) => online.log.swap_count(),
            State::Offline(_) | State::Deleted => 0,
        }
    }

    /// What the pass has read since the last swap.
    pub(crate) fn read_of_cleaning(&self, of: ReadOf) -> ReadOf {
        match &*self.state.lock() {
            State::Online(online) => ReadOf { layout: online.log.layout(), ..of },
            State::Offline(_) | State::Deleted => of,
        }
    }

    /// A pass has ended here. The next one begins there.
    pub(crate) fn set_clean_upto(&self, upto: Offset, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            online.upkeep.clean_upto = Some(upto);
        }
    }

    /// What the last run has left: where its last pass ended.
    pub(crate) fn restore_clean_upto(&self, upto: Option<Offset>) {
        if let State::Online(online) = &mut *self.state.lock() {
            online.upkeep.clean_upto = upto;
        }
    }

    /// Where the last pass ended; of an offline partition nothing is known, and its next pass begins anew.
    pub(crate) fn clean_upto(&self) -> Option<Offset> {
        match &*self.state.lock() {
            State::Online(online) => online.upkeep.clean_upto,
            State::Offline(_) | State::Deleted => None,
        }
    }

    /// It is not compacted any more until it is opened anew: the next pass would come to the same end.
    pub(crate) fn give_up_cleaning(&self, why: &str, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            tracing::error!(partition = %self, why, "the partition is not compacted any more; the others are");
            online.upkeep.uncleanable = Some(why.into());
        }
    }
}
