//! Measures the key index on a real disk: how fast it is built, how large it is, and how long it takes to read the hundred
//! records of one key, with few keys and with many. It is no benchmark of the broker: nothing else is at work.
//!
//! `cargo run --release -p log --example key-index -- RECORDS DIR`

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a tool beside the product: it fails by a panic, and has the real disk and clock for itself"
)]

use env::{Disk, Entry, File, Lock, Open};
use log::{Durability, Files, KeyTurn, Log, LogConfig, OpenOptions, Opened, Origin, ReadPlan, Term, open};
use records::{Batch, BatchBuilder, Checked, Decompressor, TimestampType};
use std::{
    any::Any,
    fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// Records of each key that is looked for.
const COLD_RECORDS: usize = 100;
const COLD_KEYS: usize = 300;
const BATCH_RECORDS: usize = 50;
const VALUE_BYTES: usize = 80;
const NOW: i64 = 1_700_000_000_000;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let records: usize = args.next().map_or(1_000_000, |records| records.parse().unwrap());
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "key-index-data".to_owned()));
    println!("records  keys     build/s   bytes/record  postings p50/p99     100 records p50/p99");
    for keys in [10_000, 1_000_000] {
        let _ = fs::remove_dir_all(&dir);
        measure(&dir, records, keys)?;
    }
    fs::remove_dir_all(&dir)
}

fn measure(dir: &Path, records: usize, keys: usize) -> io::Result<()> {
    let disk = RealDisk;
    let path = dir.join("topic-0");
    let options = OpenOptions {
        topic_id: stdx::Uuid([7; 16]),
        is_new: true,
        config: Arc::new(config()),
        clean: true,
        recovery_point: 0,
        start_offset: 0,
        now: NOW,
    };
    let Opened { mut log, mut files, .. } = open(&disk, &path, options).map_err(io::Error::other)?;
    let mut chance = Chance(42);
    fill(&disk, (&mut log, &mut files), (records, keys), &mut chance)?;
    log.trim_tail(usize::MAX);
    let begun = Instant::now();
    let turn = KeyTurn { upto: log.end_offset(), seed: 1, may_replace: true, pairs_max: usize::MAX };
    while let Some(mut task) = log.begin_key_task(turn) {
        task.step(&disk, 256 * 1024).map_err(io::Error::other)?;
        log.end_key_task(task);
    }
    let built = begun.elapsed();
    assert_eq!(log.key_index_upto(), log.end_offset());
    let is_index = |entry: &&Entry| entry.name.contains(".keys");
    let bytes: u64 = disk.list(&path)?.iter().filter(is_index).map(|entry| entry.len).sum();
    let (mut looked, mut read) = (Vec::new(), Vec::new());
    for cold in 0..COLD_KEYS {
        let key = format!("cold-{cold}");
        let begun = Instant::now();
        let offsets = postings(&log, &disk, key.as_bytes())?;
        looked.push(begun.elapsed());
        let found = read_those(&log, &disk, key.as_bytes(), &offsets)?;
        read.push(begun.elapsed());
        assert_eq!(found, COLD_RECORDS);
    }
    println!(
        "{records:<8} {keys:<8} {:<9.0} {:<13.2} {:<20} {}",
        log.end_offset() as f64 / built.as_secs_f64(),
        bytes as f64 / log.end_offset() as f64,
        percentiles(looked),
        percentiles(read),
    );
    Ok(())
}

/// Records of keys that are drawn, and between them those that are looked for.
fn fill(
    disk: &RealDisk,
    (log, files): (&mut Log, &mut Files),
    (records, keys): (usize, usize),
    chance: &mut Chance,
) -> io::Result<()> {
    let mut left: Vec<usize> = (0..COLD_KEYS * COLD_RECORDS).map(|at| at % COLD_KEYS).collect();
    let every = records / left.len().max(1);
    let mut decompressor = Decompressor::new();
    let mut effects = Vec::new();
    for batch in 0..records / BATCH_RECORDS {
        let mut builder = BatchBuilder::new();
        for record in 0..BATCH_RECORDS {
            let is_cold = (batch * BATCH_RECORDS + record).is_multiple_of(every.max(1)) && !left.is_empty();
            let key = match is_cold {
                true => format!("cold-{}", left.swap_remove(chance.below(left.len()))),
                false => format!("key-{:07}", chance.below(keys)),
            };
            builder.push(NOW, Some(key.as_bytes()), Some(&[b'v'; VALUE_BYTES]), &[]);
        }
        let rules = log.config().rules(NOW, true);
        let checked: Checked = records::check(builder.build()?.bytes, &rules, &mut decompressor)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        log.append(NOW, 0, (Origin::Client, None), checked, &mut effects).map_err(io::Error::other)?;
        if effects.len() > 1000 {
            let performed = files.perform(disk, &std::mem::take(&mut effects), false)?;
            log.flushed(NOW, &performed);
            log.trim_tail(usize::MAX);
        }
    }
    assert!(left.is_empty(), "there are too few records");
    let performed = files.perform(disk, &effects, true)?;
    log.flushed(NOW, &performed);
    Ok(())
}

fn postings(log: &Log, disk: &RealDisk, key: &[u8]) -> io::Result<Vec<i64>> {
    let (mut offsets, mut from) = (Vec::new(), 0);
    while from < log.key_index_upto() {
        let found = log.key_postings(Term::key(key), from).postings(disk, COLD_RECORDS * 2)?;
        offsets.extend(found.offsets);
        from = found.upto;
    }
    Ok(offsets)
}

fn read_those(log: &Log, disk: &RealDisk, key: &[u8], offsets: &[i64]) -> io::Result<usize> {
    let (mut found, mut decompressor) = (0, Decompressor::new());
    for offset in offsets {
        let slice = match log.read(*offset, log.end_offset(), 1, true) {
            ReadPlan::File(plan) => plan.load(disk)?,
            ReadPlan::Memory(slice) => slice,
            ReadPlan::OutOfRange { .. } => return Err(io::ErrorKind::NotFound.into()),
        };
        let mut bytes = slice.parts.to_bytes().unwrap();
        while let Some(batch) = Batch::split_off(&mut bytes) {
            batch
                .each_record(1 << 20, &mut decompressor, |record| {
                    found += usize::from(record.offset == *offset && record.key.as_deref() == Some(key));
                })
                .map_err(io::Error::other)?;
        }
    }
    Ok(found)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_micros();
    format!("{}/{} us", at(50), at(99))
}

/// Numbers that look random and are the same on every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 128 << 20,
        segment_ms: i64::MAX,
        segment_jitter_ms: 0,
        index_interval_bytes: 4096,
        index_bytes_max: 10 << 20,
        retention_ms: -1,
        retention_bytes: -1,
        cleanup_delete: true,
        cleanup_compact: false,
        was_compacted: false,
        min_cleanable_dirty_ppm: 500_000,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: i64::MAX,
        delete_retention_ms: 86_400_000,
        batch_bytes_max: 1 << 20,
        plain_bytes_max: 16 << 20,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compression: None,
        flush_messages: i64::MAX,
        flush_ms: i64::MAX,
        file_delete_delay_ms: 60_000,
        durability: Durability::PageCache,
        key_index: true,
        transactions_verified: false,
        producer_id_expiration_ms: 86_400_000,
    }
}

/// The disk of this machine, without what only a broker needs.
struct RealDisk;

struct RealFile(fs::File);

struct Unlocked;

impl Lock for Unlocked {}

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(how != Open::Read).create(how == Open::Create);
        Ok(Arc::new(RealFile(options.create_new(how == Open::CreateNew).open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let (entry, name) = entry.map(|entry| (entry.metadata(), entry.file_name()))?;
            let (meta, name) = (entry?, name.to_string_lossy().into_owned());
            entries.push(Entry { name, is_dir: meta.is_dir(), len: meta.len() });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(Unlocked))
    }

    fn space(&self, _: &Path) -> io::Result<(u64, u64)> {
        Ok((u64::MAX, u64::MAX))
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], position + read as u64)? {
                0 => break,
                some => read += some,
            }
        }
        Ok(read)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        for part in parts {
            self.0.write_all_at(part, position)?;
            position += part.len() as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|meta| meta.len())
    }

    fn start_write_back(&self, _: u64, _: u64) {}

    fn as_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
