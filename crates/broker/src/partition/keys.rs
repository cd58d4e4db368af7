//! The key index of a partition: what is next to be done for it, and what is looked up in it.
//!
//! [`log::Log`] knows what is indexed and plans both; `key_index` has it built. A posting only says where a record may be: whoever
//! looks one up (`mailboxes`) reads the record, and the end of the log, which is not indexed yet.

use super::{Online, Partition, READ_TRIES, ReadOf, Refused, State, on_lane};
use log::{KeyPostings, KeyTask, KeyTurn, Term};
use model::Offset;
use std::{
    io,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::oneshot;

/// Files of the index that one look-up finds worthless. What is beyond the next look-up finds.
const DISCARDS_MAX: usize = 64;

impl Partition {
    /// Whether it is to have a key index, or still has one, as far as that is known without its lock.
    pub(crate) fn has_key_index(&self) -> bool {
        self.config.load().key_index || self.has_keys.load(Ordering::Relaxed)
    }

    /// Notes whether it has one; what a start has left is seen within seconds.
    pub(super) fn note_keys(&self, online: &Online) {
        self.has_keys.store(online.log.has_keys(), Ordering::Relaxed);
    }

    /// How many records that readers may see are not indexed, and how many bytes of the index are in memory.
    pub(crate) fn key_index_load(&self) -> (u64, usize) {
        match &*self.state.lock() {
            State::Online(online) => {
                let behind = online.high_watermark - online.log.key_index_upto();
                (u64::try_from(behind).unwrap_or(0), online.log.key_index_bytes())
            }
            State::Offline(_) | State::Deleted => (0, 0),
        }
    }

    /// What is next to be done for the index, if anything is; what this gives beside is to be dropped when it was done, and
    /// neither a cut nor a removal begins before. Whoever says `may_replace` holds `maintenance` until it was told.
    pub(crate) fn begin_key_task(
        &self,
        seed: u64,
        (may_replace, pairs_max): (bool, usize),
    ) -> Option<(KeyTask, ReadOf, oneshot::Sender<()>)> {
        let mut state = self.state.lock();
        let State::Online(online) = &mut *state else { return None };
        let is_cut_soon = online.is_cutting || online.recovery_point_max.is_some();
        if is_cut_soon || online.is_closed || online.is_held || online.is_renamed || online.stuck.is_some() {
            return None;
        }
        let upto = online.high_watermark;
        let task = online.log.begin_key_task(KeyTurn { upto, seed, may_replace, pairs_max })?;
        let of = online.read_of(task.segment());
        let (ended, step) = oneshot::channel();
        online.upkeep.key_step = Some(step);
        Some((task, of, ended))
    }

    /// It has come so far.
    pub(crate) fn end_key_task(&self, task: KeyTask, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            online.log.end_key_task(task);
            self.note_keys(online);
        }
    }

    /// The index of this segment is not what was written: it is built anew.
    pub(crate) fn discard_keys(&self, segment: Offset, of: ReadOf) {
        if let State::Online(online) = &mut *self.state.lock()
            && online.cuts == of.cuts
        {
            online.log.discard_keys(segment);
        }
    }

    /// The offsets of records that may bear this term, from `from` on, as far as the index goes.
    pub(crate) async fn key_postings(
        self: &Arc<Self>,
        term: Term,
        from: Offset,
        max: usize,
    ) -> Result<KeyPostings, Refused> {
        let look = |online: &Online| online.log.key_postings(term.clone(), from);
        self.look_up(look, move |plan, disk| plan.postings(disk, max)).await
    }

    /// The last offset before `below` of a record that may bear this term, and of which stretch that is known.
    pub(crate) async fn newest_posting(
        self: &Arc<Self>,
        term: Term,
        below: Offset,
    ) -> Result<(Option<Offset>, (Offset, Offset)), Refused> {
        let look = |online: &Online| online.log.key_newest(term.clone(), below);
        self.look_up(look, |plan, disk| Ok((plan.newest(disk)?, plan.stretch()))).await
    }

    async fn look_up<T: Send + 'static>(
        self: &Arc<Self>,
        plan: impl Fn(&Online) -> log::KeyPlan,
        work: impl Fn(&log::KeyPlan, &dyn env::Disk) -> io::Result<T> + Clone + Send + 'static,
    ) -> Result<T, Refused> {
        let (mut tried, mut discarded) = (0, 0);
        while tried < READ_TRIES && discarded < DISCARDS_MAX {
            let (plan, of) = {
                let mut state = self.state.lock();
                let online = state.online()?;
                online.looked_up_at = self.shared.world.clock.wall();
                (plan(online), online.read_of(None))
            };
            let (disk, work) = (self.shared.world.disk.clone(), work.clone());
            let found = on_lane(&self.shared.world, move || work(&plan, &*disk)).await;
            match found.ok_or_else(stops)? {
                Ok(found) => return Ok(found),
                Err(error) => {
                    let is_missing = error.kind() == io::ErrorKind::NotFound;
                    // What is missing was replaced since it was planned, as a rule; not if it stays so.
                    let is_lasting = !is_missing || tried + 2 >= READ_TRIES;
                    tried += 1;
                    if let Some(segment) = log::worthless_keys(&error).filter(|_| is_lasting) {
                        tracing::warn!(partition = %self, %error, "it is built anew");
                        self.discard_keys(segment, of);
                        // The next one may be worthless, too.
                        (tried, discarded) = (0, discarded + 1);
                    } else if !log::is_moved(&error) && !is_missing {
                        return Err(self.unreadable(&error));
                    }
                    self.written().await;
                }
            }
        }
        Err(Refused::Offline(format!("the key index of {self} changes all the time").into()))
    }

    fn unreadable(&self, error: &io::Error) -> Refused {
        Refused::Offline(format!("{self} could not be read: {error}").into())
    }

    pub(crate) fn key_indexed_upto(&self) -> Result<Offset, Refused> {
        Ok(self.state.lock().online()?.log.key_index_upto())
    }
}

fn stops() -> Refused {
    Refused::Offline("the broker stops".into())
}
