//! Scanning segments after a crash: verifies what may not have been synced, finds where it ends, and builds the
//! indexes, the producers and the leader epochs anew.
//!
//! It judges by the rule in docs/formats/segment.md: cut off what a crash left half written, refuse what can only be
//! damage. Nothing is changed before a segment is judged as a whole.

use crate::{
    Damage, Durability, Effect, Epochs, LogConfig, OpenError, Producers, Recovery,
    aborted_txn::TXN_ENTRY_BYTES,
    directory::SegmentFiles,
    index::{IndexEntry, TimeEntry},
    loaded::Loader,
    names,
    scan::{Found, Scan, Step, WINDOW_BYTES_LARGE, WINDOW_BYTES_SMALL},
    segment::Segment,
    tear::{self, Trace},
};
use env::{File, Open};
use model::Offset;
use records::{Batch, EndTxnMarker, Entry, HEADER_BYTES};
use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    path::PathBuf,
    sync::Arc,
};

/// A scan over the last segments of a log.
pub(crate) struct Recoverer<'a> {
    pub(crate) loader: &'a Loader<'a>,
    pub(crate) config: &'a LogConfig,
    pub(crate) recovery_point: Offset,
    /// Whether the index of aborted transactions is believed and stays as it is.
    pub(crate) keep_txn_index: bool,
    pub(crate) producers: Producers,
    pub(crate) epochs: Epochs,
    /// The offset up to which the scan has come.
    pub(crate) next_offset: Offset,
    pub(crate) report: Recovery,
}

/// What the indexes of a segment must contain.
#[derive(Default)]
pub(crate) struct Indexes {
    pub(crate) index: Vec<u8>,
    pub(crate) time_index: Vec<u8>,
    pub(crate) txn_index: Vec<u8>,
}

/// Where a segment stops being readable, and why.
struct Bad {
    position: u64,
    why: &'static str,
}

impl Recoverer<'_> {
    /// Recovers one segment; `later` are those behind it. Says whether its end was cut off: the later ones must go.
    pub(crate) fn recover(
        &mut self,
        base_offset: Offset,
        files: &SegmentFiles,
        later: &BTreeMap<Offset, SegmentFiles>,
    ) -> Result<(Segment, bool), OpenError> {
        let file = self.loader.disk.open(&self.path(base_offset, names::LOG), Open::ReadWrite)?;
        if base_offset < self.next_offset {
            let why = "the segment before it reaches into it".to_owned();
            return Err(self.damage(base_offset, 0, why));
        }
        self.next_offset = base_offset;
        let mut segment = Segment::new(base_offset, self.loader.now);
        let mut indexes = Indexes::default();
        let bad = self.scan(&*file, files.log, &mut segment, &mut indexes)?;
        let cut = match &bad {
            Some(bad) => {
                self.judge(base_offset, &file, files.log, bad, later)?;
                file.set_len(bad.position)?;
                self.report.bytes_truncated += files.log - bad.position;
                true
            }
            None => false,
        };
        let sealed = !cut && !later.is_empty();
        if sealed {
            let mut effects = Vec::new();
            segment.index_time(&mut effects);
            indexes.add(&effects);
        }
        let rewritten = self.write_indexes(base_offset, &indexes)?;
        self.report.indexes_rebuilt += usize::from(rewritten);
        let is_unsynced = self.next_offset > self.recovery_point;
        if cut || sealed || (is_unsynced && self.config.durability == Durability::Fsync) {
            file.sync_data()?;
        }
        Ok((segment, cut))
    }

    /// Walks over the batches; stops at the first that is not right.
    fn scan(
        &mut self,
        file: &dyn File,
        end: u64,
        segment: &mut Segment,
        indexes: &mut Indexes,
    ) -> io::Result<Option<Bad>> {
        let mut scan = Scan::new(file, 0, end, WINDOW_BYTES_LARGE);
        let mut effects = Vec::new();
        loop {
            let found = match scan.step()? {
                Step::End => return Ok(None),
                Step::Broken(why) => return Ok(Some(Bad { position: scan.position, why })),
                Step::Found(found) => found,
            };
            let bad = |why| Ok(Some(Bad { position: found.position, why }));
            if !self.follows(&found, segment) {
                return bad("its offsets do not follow those before it");
            }
            if found.next_offset() > self.recovery_point {
                self.report.bytes_verified += found.bytes;
            }
            // Also what was on stable storage: producers are built of its headers.
            if !scan.is_intact(&found)? {
                return bad("its checksum is wrong");
            }
            effects.clear();
            if !self.note(&mut scan, &found, segment, &mut effects)? {
                return bad("its control record cannot be read");
            }
            indexes.add(&effects);
            self.next_offset = found.next_offset();
        }
    }

    /// Whether a batch may stand behind those before it. Compaction and Kafka's followers leave gaps, but what we wrote
    /// last has none.
    fn follows(&self, found: &Found, segment: &Segment) -> bool {
        let dense = self.config.durability == Durability::Fsync
            && !self.config.is_sparse()
            && self.next_offset >= self.recovery_point
            && found.header.is_some();
        let right = found.base_offset == self.next_offset || (!dense && found.base_offset > self.next_offset);
        right && found.last_offset - segment.base_offset <= i64::from(i32::MAX)
    }

    /// Takes note of a batch in the segment, the producers and the epochs; `false` if its marker is unreadable.
    fn note(
        &mut self,
        scan: &mut Scan<'_>,
        found: &Found,
        segment: &mut Segment,
        effects: &mut Vec<Effect>,
    ) -> io::Result<bool> {
        segment.push_found(found, self.config, self.loader.now, effects);
        let Some(header) = found.header else { return Ok(true) };
        self.note_epoch(found);
        if !header.has_producer() {
            return Ok(true);
        }
        if !header.attributes.is_control() {
            self.producers.on_data(&header);
            return Ok(true);
        }
        // Compaction leaves control batches without records.
        if header.record_count == 0 {
            self.producers.on_emptied_marker(&header);
            return Ok(true);
        }
        let batch = Batch { header, bytes: scan.read(found)? };
        let Some(marker) = EndTxnMarker::from_batch(&batch) else { return Ok(false) };
        if let Some(aborted) = self.producers.on_marker(&header, &marker) {
            let ordinal = segment.aborted.len() as u32;
            effects.push(Effect::TxnIndex { segment: segment.base_offset, ordinal, aborted });
            segment.aborted.push(aborted);
        }
        Ok(true)
    }

    /// Brings the producers from where they are up to `upto`, by the headers of segments that are believed.
    pub(crate) fn catch_up(
        &mut self,
        base_offset: Offset,
        len: u64,
        from: Offset,
        upto: Offset,
    ) -> Result<(), OpenError> {
        let file = self.loader.disk.open(&self.path(base_offset, names::LOG), Open::Read)?;
        let position = crate::index::position_of(self.loader.disk, self.loader.handles, base_offset, from)?;
        let mut scan = Scan::new(&*file, position, len, WINDOW_BYTES_SMALL);
        let mut ignored = Segment::new(base_offset, self.loader.now);
        let mut effects = Vec::new();
        loop {
            let at = scan.position;
            match scan.step()? {
                Step::Found(found) if found.base_offset >= upto => return Ok(()),
                Step::Found(found) if found.last_offset < from => {}
                Step::Found(found) => {
                    self.next_offset = found.base_offset;
                    if !scan.is_intact(&found)? {
                        return Err(self.damage(base_offset, at, "its checksum is wrong".into()));
                    }
                    if !self.note(&mut scan, &found, &mut ignored, &mut effects)? {
                        return Err(self.damage(base_offset, at, "its control record cannot be read".into()));
                    }
                    effects.clear();
                    self.next_offset = found.next_offset();
                }
                Step::End => return Ok(()),
                Step::Broken(why) => return Err(self.damage(base_offset, at, why.to_owned())),
            }
        }
    }

    /// Whether the segment does not follow the one before it, whose end or successor a power cut took. Compaction leaves
    /// such gaps too.
    pub(crate) fn is_hole_before(
        &self,
        base_offset: Offset,
        files: &SegmentFiles,
        later: &BTreeMap<Offset, SegmentFiles>,
    ) -> Result<bool, OpenError> {
        if base_offset <= self.next_offset || self.config.is_sparse() {
            return Ok(false);
        }
        let is_empty = files.log == 0 && later.values().all(|files| files.log == 0);
        let may_go = self.config.durability == Durability::PageCache || is_empty;
        if may_go && self.next_offset >= self.recovery_point {
            return Ok(true);
        }
        let why = format!("it should begin at {}, where the segment before it ends", self.next_offset);
        Err(self.damage(base_offset, 0, why))
    }

    /// Takes the leader epochs from the batches of a segment that is believed.
    pub(crate) fn gather_epochs(&mut self, segment: &Segment) -> Result<(), OpenError> {
        let base_offset = segment.base_offset;
        let file = self.loader.disk.open(&self.path(base_offset, names::LOG), Open::Read)?;
        let mut scan = Scan::new(&*file, 0, segment.size, WINDOW_BYTES_SMALL);
        loop {
            let at = scan.position;
            match scan.step()? {
                Step::Found(found) => self.note_epoch(&found),
                Step::End => return Ok(()),
                Step::Broken(why) => {
                    self.next_offset = base_offset;
                    return Err(self.damage(base_offset, at, why.to_owned()));
                }
            }
        }
    }

    fn note_epoch(&mut self, found: &Found) {
        if found.leader_epoch > self.epochs.latest().unwrap_or(-1) {
            self.epochs.assign(found.leader_epoch, found.base_offset);
        }
    }

    /// Whether what is bad may be cut off; an error if that could lose what was acknowledged.
    fn judge(
        &self,
        base_offset: Offset,
        file: &Arc<dyn File>,
        end: u64,
        bad: &Bad,
        later: &BTreeMap<Offset, SegmentFiles>,
    ) -> Result<(), OpenError> {
        if self.next_offset < self.recovery_point {
            let synced = self.recovery_point;
            let why = format!("{}, and everything before offset {synced} was on stable storage", bad.why);
            return Err(self.damage(base_offset, bad.position, why));
        }
        if self.config.durability == Durability::PageCache {
            return Ok(());
        }
        if let Some((next, _)) = later.iter().find(|(_, files)| files.log > 0) {
            let why = format!("{}, but segment {next} follows", bad.why);
            return Err(self.damage(base_offset, bad.position, why));
        }
        match tear::trace(&**file, bad.position, end, self.next_offset)? {
            Trace::Torn => Ok(()),
            Trace::Flipped => {
                let why = format!("{}: a bit has flipped", bad.why);
                Err(self.damage(base_offset, bad.position, why))
            }
            Trace::None => match self.intact_after(&**file, bad.position, end)? {
                None => Ok(()),
                Some(position) => {
                    let why = format!("{}, but an intact batch follows at byte {position}", bad.why);
                    Err(self.damage(base_offset, bad.position, why))
                }
            },
        }
    }

    /// The first place behind `position` where an intact batch with a later offset begins.
    fn intact_after(&self, file: &dyn File, position: u64, end: u64) -> io::Result<Option<u64>> {
        let mut search = Scan::new(file, 0, end, WINDOW_BYTES_LARGE);
        let mut verify = Scan::new(file, 0, end, WINDOW_BYTES_LARGE);
        // No batch gives more offsets than it has bytes, so later ones cannot be further away than the file is long.
        let offsets = self.next_offset..=self.next_offset.saturating_add((end - position) as i64);
        let mut at = position + 1;
        while at + HEADER_BYTES as u64 <= end {
            let window = search.view(at, WINDOW_BYTES_LARGE)?;
            let Some(steps) = window.len().checked_sub(HEADER_BYTES - 1) else { break };
            for (step, candidate) in window.windows(HEADER_BYTES).enumerate() {
                let plausible = candidate.get(16) == Some(&2)
                    && Entry::peek(candidate).is_some_and(|entry| offsets.contains(&entry.offset));
                if plausible {
                    verify.position = at + step as u64;
                    if let Step::Found(found) = verify.step()?
                        && verify.is_intact(&found)?
                    {
                        return Ok(Some(found.position));
                    }
                }
            }
            at += steps as u64;
        }
        Ok(None)
    }

    /// Writes the indexes that differ from what there is; whether any did.
    fn write_indexes(&self, base_offset: Offset, indexes: &Indexes) -> io::Result<bool> {
        let mut any = false;
        for (kind, bytes) in [
            (names::INDEX, &indexes.index),
            (names::TIME_INDEX, &indexes.time_index),
            (names::TXN_INDEX, &indexes.txn_index),
        ] {
            if kind == names::TXN_INDEX && self.keep_txn_index {
                continue;
            }
            let path = self.path(base_offset, kind);
            let there = self.loader.disk.open(&path, Open::Read).is_ok();
            let needed = kind != names::TXN_INDEX || !bytes.is_empty();
            if (!there && !needed) || (there && self.loader.read(base_offset, kind)? == *bytes) {
                continue;
            }
            let file = self.loader.disk.open(&path, Open::Create)?;
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(bytes)], 0)?;
            file.sync_data()?;
            any = true;
        }
        Ok(any)
    }

    pub(crate) fn damage(&self, base_offset: Offset, position: u64, why: String) -> OpenError {
        let file = self.path(base_offset, names::LOG);
        Damage { file, position, offset: self.next_offset, why }.into()
    }

    fn path(&self, offset: Offset, kind: &str) -> PathBuf {
        self.loader.handles.path(offset, kind)
    }
}

impl Indexes {
    /// Adds the entries among these effects.
    pub(crate) fn add(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Index { offset_delta, position, .. } => {
                    let entry = IndexEntry { offset_delta: *offset_delta, position: *position };
                    self.index.extend_from_slice(&entry.encode());
                }
                Effect::TimeIndex { timestamp, offset_delta, .. } => {
                    let entry = TimeEntry { timestamp: *timestamp, offset_delta: *offset_delta };
                    self.time_index.extend_from_slice(&entry.encode());
                }
                Effect::TxnIndex { aborted, .. } => {
                    self.txn_index.reserve(TXN_ENTRY_BYTES);
                    self.txn_index.extend_from_slice(&aborted.encode());
                }
                _ => {}
            }
        }
    }
}
