//! A compacted log and all that was ever appended to it.

use crate::{fixture::*, names, testing::MemoryDisk, *};
use mailbox::headers;
use model::{Offset, Timestamp};
use records::{Batch, BatchBuilder, Checked, Decompressor, Header, Record};
use std::{collections::BTreeMap, sync::Arc};

/// `delete.retention.ms` of these logs.
pub(super) const RETENTION_MS: i64 = 10_000;
pub(super) const LIMITS: CleaningLimits = CleaningLimits { key_bytes_max: 1 << 20, window_bytes: 4096 };

/// A record that was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    offset: Offset,
    timestamp: Timestamp,
    key: u8,
    value: Option<Vec<u8>>,
    /// The how many-th transaction it is part of.
    txn: Option<usize>,
}

pub(super) struct Life {
    pub(super) fixture: Fixture,
    pub(super) clean_upto: Option<Offset>,
    sent: Vec<Sent>,
    /// How each transaction ended.
    txns: Vec<Option<bool>>,
    open: BTreeMap<i64, usize>,
    sequences: BTreeMap<i64, i32>,
    /// When a pass first came to each offset.
    first_cleaned: BTreeMap<Offset, Timestamp>,
    pub(super) last_pass: Timestamp,
    /// No pass has come to what is behind it, whether it was finished or not.
    touched_upto: Offset,
    appended: usize,
}

pub(super) fn compacted() -> LogConfig {
    LogConfig {
        cleanup_compact: true,
        cleanup_delete: false,
        min_cleanable_dirty_ppm: 0,
        delete_retention_ms: RETENTION_MS,
        ..config(Durability::Fsync)
    }
}

impl Life {
    pub(super) fn new() -> Self {
        Self {
            fixture: Fixture::new(compacted()),
            clean_upto: None,
            sent: Vec::new(),
            txns: Vec::new(),
            open: BTreeMap::new(),
            sequences: BTreeMap::new(),
            first_cleaned: BTreeMap::new(),
            last_pass: NOW,
            touched_upto: 0,
            appended: 0,
        }
    }

    pub(super) fn configure(&mut self, change: impl FnOnce(&mut LogConfig)) {
        let mut config = self.fixture.log.config().clone();
        change(&mut config);
        self.fixture.log.configure(Arc::new(config));
    }

    /// Appends a batch of keys with values of so many bytes, or tombstones.
    pub(super) fn append(&mut self, records: &[(u8, Option<usize>)]) {
        self.append_batch(None, records);
    }

    /// The same of an idempotent producer, in its transaction if one is open.
    pub(super) fn append_as(&mut self, producer: i64, records: &[(u8, Option<usize>)]) {
        self.append_batch(Some(producer), records);
    }

    fn append_batch(&mut self, producer: Option<i64>, records: &[(u8, Option<usize>)]) {
        self.appended += 1;
        let txn = producer.and_then(|producer| self.open.get(&producer).copied());
        let mut builder = BatchBuilder::new().compression(codec(self.appended));
        if let Some(producer) = producer {
            let sequence = self.sequences.entry(producer).or_default();
            builder = builder.producer(producer, 0, *sequence);
            *sequence += records.len() as i32;
        }
        if txn.is_some() {
            builder = builder.transactional();
        }
        let mut sent = Vec::new();
        for (key, value) in records {
            let value = value.map(|bytes| vec![self.appended as u8; bytes]);
            builder.push(self.fixture.now, Some(&[*key]), value.as_deref(), &[]);
            sent.push(Sent { offset: 0, timestamp: self.fixture.now, key: *key, value, txn });
        }
        let base = self.fixture.append(builder).base_offset;
        for (index, record) in sent.into_iter().enumerate() {
            self.sent.push(Sent { offset: base + index as i64, ..record });
        }
    }

    /// A control record about the mailbox of a key.
    pub(super) fn say_of(&mut self, key: u8) {
        let header = Header { key: headers::KEY.into(), value: Some(vec![key].into()) };
        let mut builder = BatchBuilder::new().control();
        builder.push(self.fixture.now, Some(&headers::CONTROL_KEY), Some(&[]), &[header]);
        let checked = Checked::trusted(builder.build().unwrap());
        let (mut effects, epoch) = (Vec::new(), self.fixture.epoch);
        let log = &mut self.fixture.log;
        log.append(self.fixture.now, epoch, (Origin::Client, None), checked, &mut effects).unwrap();
        self.fixture.perform(effects);
    }

    pub(super) fn begin(&mut self, producer: i64) {
        self.open.entry(producer).or_insert_with(|| {
            self.txns.push(None);
            self.txns.len() - 1
        });
    }

    pub(super) fn end(&mut self, producer: i64, committed: bool) {
        if let Some(txn) = self.open.remove(&producer) {
            self.fixture.end_txn(producer, 0, committed).unwrap();
            self.txns[txn] = Some(committed);
        }
    }

    pub(super) fn roll(&mut self) {
        let mut effects = Vec::new();
        self.fixture.log.roll(self.fixture.now, &mut effects);
        self.fixture.perform(effects);
    }

    pub(super) fn clean_all(&mut self) -> Option<CleaningReport> {
        self.clean(LIMITS)
    }

    /// Makes one pass, if anything is dirty.
    pub(super) fn clean(&mut self, limits: CleaningLimits) -> Option<CleaningReport> {
        self.clean_beside(limits, |_| {})
    }

    pub(super) fn begin_cleaning(&mut self, limits: CleaningLimits) -> Option<Cleaning> {
        let (now, end) = (self.fixture.now, self.fixture.log.end_offset());
        let cleanable = self.fixture.log.cleanable(now, end, self.clean_upto)?;
        self.touched_upto = self.touched_upto.max(cleanable.upto);
        Some(self.fixture.log.cleaning(now, &cleanable, limits))
    }

    /// The same while others go on with the log.
    pub(super) fn clean_beside(
        &mut self,
        limits: CleaningLimits,
        mut meanwhile: impl FnMut(&mut Self),
    ) -> Option<CleaningReport> {
        let now = self.fixture.now;
        let mut cleaning = self.begin_cleaning(limits)?;
        loop {
            match cleaning.step(&self.fixture.disk, 700).unwrap() {
                CleaningStep::More(_) => {}
                CleaningStep::Cleaned(cleaned) => {
                    let mut effects = Vec::new();
                    assert!(self.fixture.log.swap(&cleaned, &mut effects));
                    self.fixture.perform(effects);
                }
                CleaningStep::Done(report) => {
                    self.note_pass(now, report.clean_upto);
                    return Some(report);
                }
            }
            meanwhile(self);
        }
    }

    pub(super) fn note_pass(&mut self, now: Timestamp, upto: Offset) {
        self.clean_upto = Some(upto);
        self.last_pass = now;
        for sent in self.sent.iter().filter(|sent| sent.offset < upto) {
            self.first_cleaned.entry(sent.offset).or_insert(now);
        }
    }

    /// The first group of a pass, not in its place yet.
    pub(super) fn first_cleaned(&mut self) -> Cleaned {
        let mut cleaning = self.begin_cleaning(LIMITS).unwrap();
        loop {
            match cleaning.step(&self.fixture.disk, 700).unwrap() {
                CleaningStep::More(_) => {}
                CleaningStep::Cleaned(cleaned) => return cleaned,
                CleaningStep::Done(report) => panic!("{report:?}"),
            }
        }
    }

    /// Opens what is on a disk after a crash.
    pub(super) fn reopen(&mut self, disk: MemoryDisk) {
        let (point, now) = (self.fixture.log.recovery_point(), self.fixture.now);
        let (producers, end) = (self.producers(), self.fixture.log.end_offset());
        let options = OpenOptions {
            start_offset: self.fixture.log.start_offset(),
            ..options(self.fixture.log.config().clone(), false, point)
        };
        let Opened { log, files, recovery } = open(&disk, &dir(), options).unwrap();
        self.fixture = Fixture { disk, log, files, recovery, now, epoch: 0 };
        assert_eq!(self.fixture.log.end_offset(), end);
        assert_eq!(self.producers(), producers);
        let left = |path: &std::path::PathBuf| {
            let name = path.to_string_lossy();
            [names::CLEANED, names::SWAP, names::DELETED].iter().any(|suffix| name.ends_with(suffix))
        };
        assert!(!self.fixture.disk.paths().iter().any(left), "{:?}", self.fixture.disk.paths());
    }

    pub(super) fn reopen_after_kill(&mut self) {
        self.reopen(self.fixture.disk.after_kill());
    }

    /// The same where no checkpoint says that anything was synced.
    pub(super) fn reopen_forgetting_recovery_point(&mut self) {
        let disk = self.fixture.disk.after_kill();
        let config = self.fixture.log.config().clone();
        self.fixture = crate::fixture::reopen(disk, config, false, 0).unwrap();
    }

    /// Without them everything about producers must come from the batches.
    pub(super) fn forget_snapshots(&mut self) {
        use env::Disk;
        for path in self.fixture.disk.paths() {
            if path.to_string_lossy().ends_with(names::SNAPSHOT) {
                self.fixture.disk.remove_file(&path).unwrap();
            }
        }
    }

    /// Epoch, last sequence number and whether a transaction is open, of each that has written something.
    fn producers(&self) -> BTreeMap<i64, (i16, i32, bool)> {
        let producers = self.fixture.log.producers().iter();
        let known =
            producers.map(|(id, one)| (id, (one.epoch, one.last_sequence(), one.txn_first_offset.is_some())));
        known.collect()
    }

    /// Producers of which it is known that they began with sequence number 0. Snapshots cannot say it of open transactions.
    pub(super) fn beginners(&self) -> Vec<i64> {
        let producers = self.fixture.log.producers().iter();
        let known = producers.filter(|(_, one)| {
            one.began_at_zero && one.txn_first_offset.is_none() && !one.batches.is_empty()
        });
        let mut known: Vec<_> = known.map(|(id, _)| id).collect();
        known.sort_unstable();
        known
    }

    fn batches(&self) -> Vec<Batch> {
        self.fixture.batches(900)
    }

    /// All records that are not control records.
    pub(super) fn records(&self) -> Vec<Record> {
        let batches = self.batches();
        let data = batches.iter().filter(|batch| !batch.header.attributes.is_control());
        data.flat_map(|batch| batch.records(1 << 20, &mut Decompressor::new()).unwrap()).collect()
    }

    pub(super) fn control_offsets(&self) -> Vec<Offset> {
        let batches = self.batches();
        let control = batches.iter().filter(|batch| batch.header.attributes.is_control());
        control.map(|batch| batch.header.base_offset).collect()
    }

    /// What a reader of committed records gets, who is told of aborted transactions as all are.
    fn committed(&self) -> Vec<Record> {
        let log = &self.fixture.log;
        let stable = log.last_stable_offset(log.end_offset());
        let mut aborted = log.aborted_transactions(log.start_offset(), stable);
        aborted.sort_by_key(|txn| txn.first_offset);
        let (mut aborted, mut skipping) = (std::collections::VecDeque::from(aborted), Vec::new());
        let mut all = Vec::new();
        for batch in self.batches() {
            let header = batch.header;
            if header.last_offset() >= stable {
                break;
            }
            while let Some(txn) = aborted.pop_front_if(|txn| txn.first_offset <= header.last_offset()) {
                skipping.push(txn.producer_id);
            }
            let producer = header.producer_id;
            if header.attributes.is_control() {
                skipping.retain(|skipped| *skipped != producer);
            } else if !(header.attributes.is_transactional() && skipping.contains(&producer)) {
                all.extend(batch.records(1 << 20, &mut Decompressor::new()).unwrap());
            }
        }
        all
    }

    /// All that must hold at any time.
    pub(super) fn check(&self) {
        let log = &self.fixture.log;
        let found: BTreeMap<Offset, Record> =
            self.records().into_iter().map(|record| (record.offset, record)).collect();
        let sent: BTreeMap<Offset, &Sent> = self.sent.iter().map(|sent| (sent.offset, sent)).collect();
        for (offset, record) in &found {
            let sent = sent[offset];
            assert_eq!(record.key.as_deref(), Some(&[sent.key][..]), "at {offset}");
            assert_eq!(record.value.as_deref(), sent.value.as_deref(), "at {offset}");
            assert_eq!(record.timestamp, sent.timestamp, "at {offset}");
        }
        let (clean_upto, stable) = (self.touched_upto, log.last_stable_offset(log.end_offset()));
        for offset in sent.keys().filter(|offset| **offset >= clean_upto.min(stable)) {
            assert!(found.contains_key(offset), "{offset} is gone, and nothing before {clean_upto} hid it");
        }
        let is_committed = |sent: &&Sent| sent.txn.is_none_or(|txn| self.txns[txn] == Some(true));
        let committed = self.committed();
        for upto in [clean_upto, (clean_upto + stable) / 2, stable] {
            let upto = upto.clamp(clean_upto.min(stable), stable);
            let wanted = state(
                self.sent
                    .iter()
                    .filter(is_committed)
                    .filter(|sent| sent.offset < upto)
                    .map(|sent| (sent.key, sent.value.as_deref())),
            );
            let got = committed.iter().filter(|record| record.offset < upto);
            let got = state(got.map(|record| (record.key.as_ref().unwrap()[0], record.value.as_deref())));
            assert_eq!(got, wanted, "before {upto}");
        }
        self.check_tombstones(&found);
    }

    /// The last record of a key, if it is a tombstone, stays for its time.
    fn check_tombstones(&self, found: &BTreeMap<Offset, Record>) {
        let mut last = BTreeMap::new();
        for sent in &self.sent {
            if sent.txn.is_none_or(|txn| self.txns[txn] == Some(true)) {
                last.insert(sent.key, sent);
            }
        }
        for sent in last.values().filter(|sent| sent.value.is_none()) {
            let since = self.first_cleaned.get(&sent.offset).copied().unwrap_or(i64::MAX - RETENTION_MS);
            if self.last_pass < since + RETENTION_MS {
                assert!(
                    found.contains_key(&sent.offset),
                    "the tombstone at {} is gone too early",
                    sent.offset
                );
            }
        }
    }

    /// What holds after a pass that saw everything.
    pub(super) fn check_clean(&self, upto: Offset) {
        let committed: Vec<_> = self.records().into_iter().filter(|record| record.offset < upto).collect();
        let mut keys: Vec<_> = committed.iter().map(|record| record.key.clone()).collect();
        keys.sort();
        let all = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), all, "a key is there twice before {upto}");
    }
}

/// What stands under each key in the end.
fn state<'a>(records: impl Iterator<Item = (u8, Option<&'a [u8]>)>) -> BTreeMap<u8, Vec<u8>> {
    let mut state = BTreeMap::new();
    for (key, value) in records {
        match value {
            Some(value) => drop(state.insert(key, value.to_vec())),
            None => drop(state.remove(&key)),
        }
    }
    state
}
