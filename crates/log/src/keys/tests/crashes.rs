//! Random lives of a log and its index, and a crash at every change of the disk while it is built.

use super::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

#[derive(Debug, Clone)]
enum Step {
    Append {
        keys: Vec<u8>,
        bytes: usize,
    },
    Roll,
    /// So many slices of so many bytes.
    Index {
        slices: usize,
        bytes: u64,
        may_replace: bool,
    },
    Retain {
        bytes: i64,
    },
    DeleteRecords {
        percent: i64,
    },
    Truncate {
        percent: i64,
    },
    /// A pass of compaction, beside which so many slices are indexed between two of its own.
    Clean {
        slices: usize,
    },
    /// A bit of some file of postings.
    Flip {
        file: usize,
        at: usize,
    },
    Remove {
        file: usize,
    },
    Close,
    Kill,
    /// The power fails, and sectors of what was not synced are torn.
    CutPower {
        chance: u64,
    },
    /// The process dies at the how many-th change while it indexes.
    Die {
        changes: usize,
        is_power_cut: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keys = proptest::collection::vec(0u8..12, 1..5);
    let step = prop_oneof![
        14 => (keys, 0usize..300).prop_map(|(keys, bytes)| Step::Append { keys, bytes }),
        2 => Just(Step::Roll),
        8 => (1usize..12, 1u64..3000, any::<bool>())
            .prop_map(|(slices, bytes, may_replace)| Step::Index { slices, bytes, may_replace }),
        1 => (0i64..9000).prop_map(|bytes| Step::Retain { bytes }),
        1 => (0i64..=100).prop_map(|percent| Step::DeleteRecords { percent }),
        2 => (0i64..=100).prop_map(|percent| Step::Truncate { percent }),
        2 => (0usize..3).prop_map(|slices| Step::Clean { slices }),
        1 => (any::<usize>(), any::<usize>()).prop_map(|(file, at)| Step::Flip { file, at }),
        1 => any::<usize>().prop_map(|file| Step::Remove { file }),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|chance| Step::CutPower { chance }),
        3 => (1usize..30, any::<bool>())
            .prop_map(|(changes, is_power_cut)| Step::Die { changes, is_power_cut }),
    ];
    proptest::collection::vec(step, 1..60)
}

struct Life {
    fixture: Fixture,
    is_compacted: bool,
}

impl Life {
    fn config(&self) -> LogConfig {
        LogConfig {
            cleanup_compact: self.is_compacted,
            min_cleanable_dirty_ppm: 0,
            ..indexed(self.fixture.log.config().durability)
        }
    }

    fn reopen(&mut self, disk: MemoryDisk, is_clean: bool) {
        let log = &self.fixture.log;
        let options = OpenOptions {
            start_offset: log.start_offset(),
            ..options(self.config(), is_clean, log.recovery_point())
        };
        let Opened { log, files, recovery } = open(&disk, &dir(), options).unwrap();
        self.fixture = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
    }

    fn truncate(&mut self, percent: i64) {
        let config = self.config();
        let fixture = &mut self.fixture;
        let performed = fixture.files.perform(&fixture.disk, &[], true).unwrap();
        fixture.log.flushed(NOW, &performed);
        let (start, end) = (fixture.log.start_offset(), fixture.log.end_offset());
        let offset = start + (end - start) * percent / 100;
        let options = OpenOptions { start_offset: start, ..options(config.clone(), false, end) };
        let Fixture { disk, files, .. } = std::mem::replace(fixture, Fixture::new(config));
        let Opened { log, files, recovery } = files.truncate(&disk, offset, options).unwrap();
        self.fixture = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
    }

    fn clean(&mut self, slices: usize) {
        let (now, end) = (self.fixture.now, self.fixture.log.end_offset());
        let Some(cleanable) = self.fixture.log.cleanable(now, end, None) else { return };
        let limits = CleaningLimits { key_bytes_max: 1 << 20, window_bytes: 4096 };
        let mut cleaning = self.fixture.log.cleaning(now, &cleanable, limits);
        loop {
            match cleaning.step(&self.fixture.disk, 700).unwrap() {
                CleaningStep::More(_) => {}
                CleaningStep::Cleaned(cleaned) => {
                    let mut effects = Vec::new();
                    assert!(self.fixture.log.swap(&cleaned, &mut effects));
                    let before = self.fixture.log.key_index_upto();
                    self.fixture.perform(effects);
                    let after = self.fixture.log.key_index_upto();
                    assert!(after >= before, "the swap has taken the index from {after} to {before} away");
                }
                CleaningStep::Done(_) => return,
            }
            for _ in 0..slices {
                self.try_step(500, false);
            }
            self.check();
        }
    }

    /// A file that is damaged, or was removed, may be one that is merged.
    fn try_step(&mut self, bytes: u64, may_replace: bool) -> bool {
        match step(&mut self.fixture, bytes, may_replace) {
            Ok(is_more) => is_more,
            Err(CleanError::Io(error)) => {
                self.on_error(&error);
                true
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn on_error(&mut self, error: &std::io::Error) {
        // As the broker does: the error names the segment. What is not complete was removed else, and is begun anew.
        let worthless = worthless_keys(error);
        assert!(worthless.is_some() || error.kind() == std::io::ErrorKind::Other, "{error}");
        worthless.into_iter().for_each(|segment| self.fixture.log.discard_keys(segment));
    }

    /// The index is right as far as it goes, or says that it is damaged.
    fn check(&mut self) {
        while let Err(error) = try_check(&self.fixture) {
            self.on_error(&error);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append { keys, bytes } => {
                self.fixture.append(keyed(keys, *bytes));
            }
            Step::Roll => roll(&mut self.fixture),
            Step::Index { slices, bytes, may_replace } => {
                for _ in 0..*slices {
                    self.try_step(*bytes, *may_replace);
                }
            }
            Step::Retain { bytes } => {
                let config = LogConfig { retention_bytes: *bytes, ..self.config() };
                self.fixture.log.configure(config.into());
                let (end, mut effects) = (self.fixture.log.flushed_offset(), Vec::new());
                self.fixture.log.retain(NOW, end, &mut effects);
                self.fixture.log.purge(i64::MAX, &mut effects);
                self.fixture.log.configure(self.config().into());
                self.fixture.perform(effects);
            }
            Step::DeleteRecords { percent } => {
                let (end, mut effects) = (self.fixture.log.flushed_offset(), Vec::new());
                self.fixture.log.delete_records_before(end * percent / 100, end, &mut effects).unwrap();
                self.fixture.log.drop_deleted(NOW, end, &mut effects);
                self.fixture.perform(effects);
            }
            Step::Truncate { percent } => self.truncate(*percent),
            Step::Clean { slices } => self.clean(*slices),
            Step::Flip { file, at } => {
                if let Some(path) = self.key_file(*file) {
                    damage(&self.fixture.disk, &path, |bytes| {
                        let at = at % bytes.len().max(1);
                        bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 4);
                    });
                }
            }
            Step::Remove { file } => {
                if let Some(path) = self.key_file(*file) {
                    env::Disk::remove_file(&self.fixture.disk, &path).unwrap();
                }
            }
            Step::Close => {
                let mut effects = Vec::new();
                self.fixture.log.close(&mut effects);
                let performed = self.fixture.files.perform(&self.fixture.disk, &effects, true).unwrap();
                self.fixture.log.flushed(NOW, &performed);
                self.reopen(self.fixture.disk.after_power_cut(), true);
            }
            Step::Kill => self.reopen(self.fixture.disk.after_kill(), false),
            Step::CutPower { chance } => self.reopen(torn(&self.fixture.disk, *chance), false),
            Step::Die { changes, is_power_cut } => {
                self.fixture.disk.switches().dead_after.store(*changes, Ordering::Relaxed);
                while step_is_ok(&mut self.fixture) {}
                self.fixture.disk.switches().dead_after.store(0, Ordering::Relaxed);
                let disk = match is_power_cut {
                    true => torn(&self.fixture.disk, *changes as u64),
                    false => self.fixture.disk.after_kill(),
                };
                self.reopen(disk, false);
            }
        }
    }

    fn key_file(&self, which: usize) -> Option<std::path::PathBuf> {
        let names = key_files(&self.fixture.disk);
        Some(dir().join(names.get(which.checked_rem(names.len())?)?))
    }
}

fn step_is_ok(fixture: &mut Fixture) -> bool {
    step(fixture, 300, true).is_ok_and(|is_more| is_more)
}

fn torn(disk: &MemoryDisk, mut chance: u64) -> MemoryDisk {
    disk.after_torn_power_cut(|below| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % below
    })
}

fn live(is_compacted: bool, durability: Durability, steps: &[Step]) {
    let config = LogConfig { segment_bytes: 1500, ..indexed(durability) };
    let mut life = Life { fixture: Fixture::new(config), is_compacted };
    life.fixture.log.configure(life.config().into());
    for step in steps {
        life.take(step);
        life.check();
    }
    // Damage shows where it is looked at, and behind one damaged file there may be another.
    loop {
        while life.try_step(500, true) {}
        match try_check(&life.fixture) {
            Ok(()) => break,
            Err(error) => life.on_error(&error),
        }
    }
    index(&mut life.fixture);
    super::check(&life.fixture);
    let stray = key_files(&life.fixture.disk).iter().filter(|name| name.contains("tmp")).count();
    assert!(stray <= 1, "{:?}", key_files(&life.fixture.disk));
}

/// A log in which compaction leaves less, and a pass over it up to where its first group has all but its index.
fn half_cleaned() -> (Life, Cleaning) {
    let config = LogConfig {
        cleanup_compact: true,
        segment_bytes: 1 << 20,
        min_cleanable_dirty_ppm: 0,
        ..indexed(Durability::Fsync)
    };
    let keys: Vec<u8> = (0..90).map(|at| at % 9).collect();
    let mut life = Life { fixture: segments(config, &[&keys, &[1; 30], &[1]]), is_compacted: true };
    index(&mut life.fixture);
    let end = life.fixture.log.end_offset();
    let cleanable = life.fixture.log.cleanable(NOW, end, None).unwrap();
    let limits = CleaningLimits { key_bytes_max: 1 << 20, window_bytes: 4096 };
    let mut cleaning = life.fixture.log.cleaning(NOW, &cleanable, limits);
    while !cleaning.is_indexing() {
        assert!(matches!(cleaning.step(&life.fixture.disk, 700).unwrap(), CleaningStep::More(_)));
    }
    (life, cleaning)
}

#[test]
fn a_segment_is_compacted_where_its_index_finds_no_room_and_gets_it_later() {
    let (mut life, mut cleaning) = half_cleaned();
    life.fixture.disk.switches().full_after.store(2, Ordering::Relaxed);
    let cleaned = loop {
        match cleaning.step(&life.fixture.disk, 700).unwrap() {
            CleaningStep::More(_) => {}
            CleaningStep::Cleaned(cleaned) => break cleaned,
            CleaningStep::Done(_) => panic!("it was compacted"),
        }
    };
    life.fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
    let of_it = |names: Vec<String>| names.iter().filter(|name| name.ends_with(names::CLEANED)).count();
    assert_eq!(of_it(key_files(&life.fixture.disk)), 0, "nothing half written is left");
    // Another pass has left its own.
    life.fixture.disk.put(&path(0, &format!("{}.{}", names::KEYS, names::CLEANED)), b"stale".to_vec());
    let mut effects = Vec::new();
    assert!(life.fixture.log.swap(&cleaned, &mut effects));
    life.fixture.perform(effects);
    assert!(!key_files(&life.fixture.disk).contains(&names::file_name(0, names::KEYS)));
    life.check();
    index(&mut life.fixture);
    life.check();
}

#[test]
fn damage_of_what_compaction_writes_is_none_of_the_log() {
    let (life, mut cleaning) = half_cleaned();
    let log = path(0, &format!("{}.{}", names::LOG, names::CLEANED));
    damage(&life.fixture.disk, &log, |bytes| bytes[100] ^= 1);
    let failed = cleaning.step(&life.fixture.disk, 700).unwrap_err();
    assert!(
        matches!(&failed, CleanError::Io(io) if io.kind() == std::io::ErrorKind::InvalidData),
        "{failed}"
    );
    cleaning.discard(&life.fixture.disk);
    assert!(!life.fixture.disk.paths().iter().any(|path| path.to_string_lossy().ends_with(names::CLEANED)));
}

#[test]
fn what_finds_no_room_leaves_nothing_half_written() {
    for full_after in 1..6 {
        let keys: Vec<u8> = (0..90).map(|at| at % 9).collect();
        let mut fixture = segments(indexed(Durability::Fsync), &[&keys, &[1]]);
        fixture.disk.switches().full_after.store(full_after, Ordering::Relaxed);
        let failed = loop {
            let mut task = fixture.log.begin_key_task(turn(&fixture, true)).unwrap();
            let result = task.step(&fixture.disk, 500);
            fixture.log.end_key_task(task);
            if let Err(error) = result {
                break error;
            }
        };
        assert!(matches!(&failed, CleanError::Io(io) if is_scarcity(io)), "{failed}");
        let left = key_files(&fixture.disk);
        assert!(!left.iter().any(|name| name.contains("tmp")), "{full_after}: {left:?}");
        fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
        index(&mut fixture);
        super::check(&fixture);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_index_says_what_the_log_says_whatever_happens(steps in steps()) {
        live(false, Durability::Fsync, &steps);
    }

    #[test]
    fn so_it_does_beside_compaction(steps in steps()) {
        live(true, Durability::Fsync, &steps);
    }

    #[test]
    fn so_it_does_where_records_are_only_in_the_page_cache(steps in steps()) {
        live(false, Durability::PageCache, &steps);
    }
}

#[test]
fn a_crash_at_any_change_leaves_an_index_that_is_right_and_goes_on() {
    for how in 0..3u64 {
        for at in 1.. {
            let keys: Vec<u8> = (0..80).map(|at| at % 9).collect();
            let mut fixture = segments(indexed(Durability::Fsync), &[&keys, &keys, &[1; 30]]);
            fixture.disk.switches().dead_after.store(at, Ordering::Relaxed);
            while step_is_ok(&mut fixture) {}
            let is_past = fixture.disk.switches().dead_after.swap(0, Ordering::Relaxed) > 1;
            let disk = match how {
                0 => fixture.disk.after_kill(),
                1 => fixture.disk.after_power_cut(),
                _ => torn(&fixture.disk, at as u64),
            };
            let point = fixture.log.recovery_point();
            let mut fixture = reopen(disk, indexed(Durability::Fsync), false, point).unwrap();
            assert!(step(&mut fixture, 500, true).unwrap());
            super::check(&fixture);
            index(&mut fixture);
            super::check(&fixture);
            assert!(!key_files(&fixture.disk).iter().any(|name| name.contains("tmp")));
            if is_past {
                break;
            }
        }
    }
}
