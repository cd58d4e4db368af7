//! Random lives of a log against a list of batches: appends, rolls, retention, full disks, kills, and power cuts that
//! tear sectors, between any two writes.

use crate::{fixture::*, *};
use proptest::prelude::*;
use std::sync::atomic::Ordering;

#[derive(Debug, Clone)]
enum Step {
    /// So many batches in one job.
    Append {
        batches: usize,
        bytes: usize,
    },
    Roll,
    /// Keeps about so many bytes.
    Retain {
        bytes: i64,
    },
    /// Deletes the records of the first part of the log.
    DeleteRecords {
        percent: i64,
    },
    /// Cuts the log off, as a follower does.
    Truncate {
        percent: i64,
    },
    /// The disk is full from the how many-th write of a job on; there is room again for its next try.
    Full {
        writes: usize,
    },
    Close,
    Kill,
    /// The power fails at the how many-th write of a job.
    CutPower {
        writes: usize,
        chance: u64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1usize..5, 0usize..500).prop_map(|(batches, bytes)| Step::Append { batches, bytes }),
        1 => Just(Step::Roll),
        1 => (0i64..9000).prop_map(|bytes| Step::Retain { bytes }),
        1 => (0i64..=100).prop_map(|percent| Step::DeleteRecords { percent }),
        2 => (0i64..=100).prop_map(|percent| Step::Truncate { percent }),
        2 => (1usize..12).prop_map(|writes| Step::Full { writes }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        4 => (1usize..12, any::<u64>()).prop_map(|(writes, chance)| Step::CutPower { writes, chance }),
    ];
    proptest::collection::vec(step, 1..50)
}

/// A log and what must be in it.
struct Life {
    fixture: Fixture,
    durability: Durability,
    /// Base offset and records of each batch that was appended, acknowledged or not.
    model: Vec<(i64, Vec<u8>)>,
    appended: usize,
}

impl Life {
    /// Appends and gives what is to be performed.
    fn decide(&mut self, batches: usize, bytes: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..batches {
            self.appended += 1;
            let batch = batch(NOW + self.appended as i64, 1 + self.appended % 3, bytes)
                .compression(codec(self.appended));
            let batch = batch.build().unwrap();
            let body = batch.body().to_vec();
            let appended = self.fixture.decide(Origin::Client, batch, &mut effects).unwrap();
            self.model.push((appended.base_offset, body));
        }
        effects
    }

    fn full_after(&self, writes: usize) {
        self.fixture.disk.switches().full_after.store(writes, Ordering::Relaxed);
    }

    /// Opens what a crash has left; what was safe must be there, and nothing but what was appended.
    fn reopen(&mut self, disk: testing::MemoryDisk, clean: bool, safe: i64) {
        let log = &self.fixture.log;
        let options = OpenOptions {
            start_offset: log.start_offset(),
            ..options(config(self.durability), clean, log.recovery_point())
        };
        let (point, start) = (log.recovery_point(), log.start_offset());
        let Opened { log, files, recovery } = open(&disk, &dir(), options).unwrap();
        self.fixture = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
        let end = self.fixture.log.end_offset();
        assert!(end >= safe.max(point), "the log ends at {end}, {safe} was safe, {point} synced");
        assert_eq!(self.fixture.log.start_offset(), start);
        self.model.retain(|(base, _)| *base < end);
        self.check();
    }

    fn check(&self) {
        let start = self.fixture.log.start_offset();
        let read: Vec<_> = self.fixture.batches(900).into_iter().collect();
        let read: Vec<_> =
            read.iter().map(|batch| (batch.header.base_offset, batch.body().to_vec())).collect();
        // The first batch may begin before the start.
        let from = self.model.iter().rposition(|(base, _)| *base <= start).unwrap_or(0);
        let expected = if start < self.fixture.log.end_offset() { &self.model[from..] } else { &[] };
        assert_eq!(read, expected);
    }

    fn truncate(&mut self, percent: i64) {
        let fixture = &mut self.fixture;
        let performed = fixture.files.perform(&fixture.disk, &[], true).unwrap();
        fixture.log.flushed(NOW, &performed);
        let (start, end) = (fixture.log.start_offset(), fixture.log.end_offset());
        let offset = start + (end - start) * percent / 100;
        let options =
            OpenOptions { start_offset: start, ..options(fixture.log.config().clone(), false, end) };
        let before = std::mem::replace(fixture, Fixture::new(config(self.durability)));
        let Fixture { disk, files, .. } = before;
        let Opened { log, files, recovery } = files.truncate(&disk, offset, options).unwrap();
        self.fixture = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
        let end = self.fixture.log.end_offset();
        assert!((offset - 2..=offset).contains(&end), "cut at {end} and not at {offset}");
        self.model.retain(|(base, _)| *base < end);
        self.check();
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Append { batches, bytes } => {
                let effects = self.decide(batches, bytes);
                self.fixture.perform(effects);
            }
            Step::Roll => {
                let mut effects = Vec::new();
                self.fixture.log.roll(NOW, &mut effects);
                self.fixture.perform(effects);
            }
            Step::Retain { bytes } => {
                let mut config = self.fixture.log.config().clone();
                config.retention_bytes = bytes;
                self.fixture.log.configure(config.into());
                let (end, mut effects) = (self.fixture.log.flushed_offset(), Vec::new());
                self.fixture.log.retain(NOW, end, &mut effects);
                self.fixture.log.purge(i64::MAX, &mut effects);
                self.fixture.perform(effects);
            }
            Step::DeleteRecords { percent } => {
                let (end, mut effects) = (self.fixture.log.flushed_offset(), Vec::new());
                self.fixture.log.delete_records_before(end * percent / 100, end, &mut effects).unwrap();
                self.fixture.perform(effects);
            }
            Step::Truncate { percent } => self.truncate(percent),
            Step::Full { writes } => {
                let effects = self.decide(4, 500);
                self.full_after(writes);
                let sync = self.fixture.log.must_sync(NOW);
                // It may have been room enough.
                let _ = self.fixture.files.perform(&self.fixture.disk, &effects, sync);
                self.full_after(0);
                self.fixture.perform(effects);
            }
            Step::Close => {
                let mut effects = Vec::new();
                self.fixture.log.close(&mut effects);
                let performed = self.fixture.files.perform(&self.fixture.disk, &effects, true).unwrap();
                self.fixture.log.flushed(NOW, &performed);
                let end = self.fixture.log.end_offset();
                self.reopen(self.fixture.disk.after_power_cut(), true, end);
            }
            Step::Kill => {
                let end = self.fixture.log.end_offset();
                self.reopen(self.fixture.disk.after_kill(), false, end);
            }
            Step::CutPower { writes, mut chance } => {
                let safe = match self.durability {
                    Durability::Fsync => self.fixture.log.flushed_offset(),
                    Durability::PageCache => 0,
                };
                let effects = self.decide(4, 500);
                self.full_after(writes);
                let sync = self.fixture.log.must_sync(NOW);
                let _ = self.fixture.files.perform(&self.fixture.disk, &effects, sync);
                let disk = self.fixture.disk.after_torn_power_cut(|below| {
                    chance = chance
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (chance >> 33) as usize % below
                });
                self.reopen(disk, false, safe);
            }
        }
    }
}

fn live(durability: Durability, steps: &[Step]) {
    let fixture = Fixture::new(config(durability));
    let mut life = Life { fixture, durability, model: Vec::new(), appended: 0 };
    steps.iter().for_each(|step| life.take(step));
    life.check();
    life.fixture.forget_tail();
    life.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn a_durable_log_comes_back_from_every_crash_with_all_that_was_acknowledged(steps in steps()) {
        live(Durability::Fsync, &steps);
    }

    #[test]
    fn a_page_cache_log_comes_back_from_every_crash_with_a_first_part_that_was_synced(steps in steps()) {
        live(Durability::PageCache, &steps);
    }
}
