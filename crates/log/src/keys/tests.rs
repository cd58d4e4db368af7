//! The index beside a log, against a scan of the log.

mod crashes;
mod files;

use super::*;
use crate::{fixture::*, testing::MemoryDisk, *};
use mailbox::{Producer, Sent, headers};
use model::Offset;
use records::{Batch, BatchBuilder, Decompressor, Header, Record};
use std::{collections::BTreeMap, sync::Arc};

const SEED: u64 = 0x5eed;

fn indexed(durability: Durability) -> LogConfig {
    LogConfig { key_index: true, ..config(durability) }
}

/// A record of each key, with values of so many bytes.
fn keyed(keys: &[u8], bytes: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for key in keys {
        builder.push(NOW, Some(&[*key]), Some(&vec![b'v'; bytes]), &[]);
    }
    builder
}

/// A segment of each of these, the last one active.
fn segments(config: LogConfig, all: &[&[u8]]) -> Fixture {
    let mut fixture = Fixture::new(config);
    for (at, keys) in all.iter().enumerate() {
        if at > 0 {
            roll(&mut fixture);
        }
        for key in *keys {
            fixture.append(keyed(&[*key], 10));
        }
    }
    fixture
}

fn roll(fixture: &mut Fixture) {
    let mut effects = Vec::new();
    fixture.log.roll(fixture.now, &mut effects);
    fixture.perform(effects);
}

/// One slice; whether anything was done.
fn step(fixture: &mut Fixture, bytes_max: u64, may_replace: bool) -> Result<bool, CleanError> {
    let turn = turn(fixture, may_replace);
    let Some(mut task) = fixture.log.begin_key_task(turn) else { return Ok(false) };
    let done = task.step(&fixture.disk, bytes_max);
    fixture.log.end_key_task(task);
    Ok(done?.is_some())
}

/// The seed differs from one opening of the log to the next, as far as they end differently.
fn turn(fixture: &Fixture, may_replace: bool) -> KeyTurn {
    let seed = SEED + fixture.log.keys.trusted_upto as u64;
    KeyTurn { upto: fixture.log.end_offset(), seed, may_replace, pairs_max: usize::MAX }
}

/// Until there is nothing to be done any more.
fn index(fixture: &mut Fixture) {
    for _ in 0..10_000 {
        if !step(fixture, 500, true).unwrap() {
            assert_eq!(
                fixture.log.key_index_upto(),
                fixture.log.end_offset().max(fixture.log.start_offset())
            );
            return;
        }
    }
    panic!("it comes to no end: {:?}", fixture.log);
}

/// All that the index says of a term, a few postings at a time.
fn postings(fixture: &Fixture, term: &Term) -> std::io::Result<Vec<Offset>> {
    let (mut all, mut from) = (Vec::new(), fixture.log.start_offset());
    loop {
        let found = fixture.log.key_postings(term.clone(), from).postings(&fixture.disk, 3)?;
        all.extend(found.offsets);
        if found.upto <= from || found.upto >= fixture.log.key_index_upto() {
            return Ok(all);
        }
        from = found.upto;
    }
}

fn newest(fixture: &Fixture, term: &Term, below: Offset) -> std::io::Result<Option<Offset>> {
    let mut below = below;
    loop {
        let plan = fixture.log.key_newest(term.clone(), below);
        let found = plan.newest(&fixture.disk)?;
        let (from, _) = plan.stretch();
        if found.is_some() || from <= fixture.log.start_offset() {
            return Ok(found);
        }
        below = from;
    }
}

/// The records of a log, as a reader gets them.
fn scan(fixture: &Fixture) -> Vec<Record> {
    let (mut records, mut from) = (Vec::new(), fixture.log.start_offset());
    while from < fixture.log.end_offset() {
        let (bytes, next) = fixture.read(from, 900);
        let mut bytes = bytes::Bytes::from(bytes);
        while let Some(batch) = Batch::split_off(&mut bytes) {
            if !batch.header.attributes.is_control() {
                records.extend(batch.records(1 << 20, &mut Decompressor::new()).unwrap());
            }
        }
        if next <= from {
            // Compaction has left nothing of what was there.
            break;
        }
        from = next;
    }
    records.retain(|record| record.offset >= fixture.log.start_offset());
    records
}

/// What the index says is what a scan says, as far as it goes.
fn check(fixture: &Fixture) {
    try_check(fixture).unwrap();
}

/// The same; an error where a file is damaged.
fn try_check(fixture: &Fixture) -> std::io::Result<()> {
    let upto = fixture.log.key_index_upto();
    let mut wanted: BTreeMap<Vec<u8>, Vec<Offset>> = (0..12u8).map(|key| (vec![key], Vec::new())).collect();
    for record in scan(fixture).iter().filter(|record| record.offset < upto) {
        wanted.entry(record.key.clone().unwrap().to_vec()).or_default().push(record.offset);
    }
    for (key, offsets) in wanted {
        let term = Term::key(&key);
        let mut found = postings(fixture, &term)?;
        // Behind a damaged index there may be a sound one, which a look-up that begins there uses.
        found.retain(|offset| *offset < upto);
        assert_eq!(found, offsets, "of {key:?} before {upto}");
        for below in [upto, (upto + fixture.log.start_offset()) / 2] {
            let last = offsets.iter().rev().find(|offset| **offset < below).copied();
            assert_eq!(newest(fixture, &term, below)?, last, "of {key:?} before {below}");
        }
    }
    Ok(())
}

fn key_files(disk: &MemoryDisk) -> Vec<String> {
    let paths = disk.paths();
    let all = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    all.filter(|name| name.contains(names::KEYS)).collect()
}

#[test]
fn each_sealed_segment_gets_one_file_and_the_active_one_stays_in_memory() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 1], &[2, 2], &[3]]);
    assert_eq!(fixture.log.key_index_upto(), 0);
    assert_eq!(postings(&fixture, &Term::key(&[1])).unwrap(), Vec::<Offset>::new());
    index(&mut fixture);
    check(&fixture);
    assert_eq!(key_files(&fixture.disk), ["00000000000000000000.keys", "00000000000000000003.keys"]);
    fixture.append(keyed(&[1], 10));
    assert_eq!(fixture.log.key_index_upto(), 6, "the rest has to be read");
    check(&fixture);
    index(&mut fixture);
    check(&fixture);
}

#[test]
fn without_the_configuration_there_is_none_and_what_there_was_goes() {
    let mut fixture = segments(config(Durability::Fsync), &[&[1], &[2]]);
    assert!(!step(&mut fixture, 500, true).unwrap());
    fixture.log.configure(Arc::new(indexed(Durability::Fsync)));
    index(&mut fixture);
    assert_eq!(key_files(&fixture.disk).len(), 1);
    fixture.log.configure(Arc::new(config(Durability::Fsync)));
    assert!(step(&mut fixture, 500, true).unwrap());
    assert_eq!((fixture.log.key_index_upto(), key_files(&fixture.disk).len()), (0, 0));
    assert!(!step(&mut fixture, 500, true).unwrap());
}

#[test]
fn what_a_run_has_left_is_taken_over_without_reading_the_segments() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 3], &[4, 5], &[6]]);
    index(&mut fixture);
    let disk = fixture.close();
    let mut fixture = reopen(disk, indexed(Durability::Fsync), true, 6).unwrap();
    assert!(step(&mut fixture, 500, true).unwrap(), "it is looked for");
    assert_eq!(fixture.log.key_index_upto(), 5);
    check(&fixture);
    index(&mut fixture);
    check(&fixture);
}

#[test]
fn the_active_segment_spills_into_files_that_a_later_run_goes_on_from() {
    let mut fixture = Fixture::new(LogConfig { segment_bytes: 1 << 20, ..indexed(Durability::Fsync) });
    for round in 0..200u32 {
        fixture.append(keyed(&[(round % 11) as u8, (round % 7) as u8], 3));
        if round % 5 == 0 {
            index(&mut fixture);
        }
    }
    index(&mut fixture);
    check(&fixture);
    let files = key_files(&fixture.disk);
    assert!((2..12).contains(&files.len()) && files.iter().all(|name| name.contains(".keys-")), "{files:?}");
    let disk = fixture.close();
    let mut fixture = reopen(disk, indexed(Durability::Fsync), true, 400).unwrap();
    assert!(step(&mut fixture, 500, true).unwrap());
    assert!(fixture.log.key_index_upto() > 300, "{}", fixture.log.key_index_upto());
    check(&fixture);
    index(&mut fixture);
    roll(&mut fixture);
    index(&mut fixture);
    check(&fixture);
    assert_eq!(key_files(&fixture.disk), ["00000000000000000000.keys"]);
}

#[test]
fn a_whole_segment_gets_its_file_only_while_nobody_exchanges_segments() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1; 40], &[2; 3], &[3]]);
    assert!(!step(&mut fixture, 500, false).unwrap(), "nor is it looked for what there is");
    assert!(step(&mut fixture, 500, true).unwrap());
    while step(&mut fixture, 500, false).unwrap() {}
    assert_eq!(fixture.log.key_index_upto(), 44, "all is indexed all the same");
    check(&fixture);
    assert!(key_files(&fixture.disk).iter().all(|name| name.contains(".keys-")));
    index(&mut fixture);
    check(&fixture);
    assert_eq!(key_files(&fixture.disk).len(), 3, "one segment was full before it was closed");
}

#[test]
fn what_is_deleted_is_not_found_and_leaves_no_file() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2], &[1, 2], &[1, 2]]);
    index(&mut fixture);
    let mut effects = Vec::new();
    fixture.log.delete_records_before(3, 6, &mut effects).unwrap();
    fixture.log.drop_deleted(NOW, 6, &mut effects);
    fixture.log.purge(i64::MAX, &mut effects);
    fixture.perform(effects);
    assert_eq!(fixture.log.start_offset(), 3);
    check(&fixture);
    index(&mut fixture);
    assert_eq!(key_files(&fixture.disk), ["00000000000000000002.keys"]);
}

#[test]
fn mailboxes_and_their_producers_are_found_by_what_their_records_bear() {
    let mut fixture = Fixture::new(indexed(Durability::Fsync));
    let sent = |id: &str, seq| Producer { sent: Sent { id: id.to_owned(), epoch: 1, seq } }.encode();
    let header = |name: &'static str, value: &[u8]| Header {
        key: name.into(),
        value: Some(bytes::Bytes::copy_from_slice(value)),
    };
    let (first, second) =
        (header(headers::PRODUCER, &sent("p", 0)), header(headers::PRODUCER, &sent("p", 1)));
    let mut batch = BatchBuilder::new();
    batch.push(NOW, Some(b"a"), Some(b"1"), &[first]);
    batch.push(NOW, Some(b"a"), Some(b"2"), &[header(headers::LIFE, b"state"), second]);
    batch.push(NOW, Some(b"b"), None, &[header(headers::PRODUCER, b"no producer")]);
    batch.push(NOW, None, Some(b"nobody's"), &[]);
    fixture.append(batch);
    // What has no record: its control record names the key.
    let mut control = BatchBuilder::new().control();
    control.push(
        NOW,
        Some(&[0, 0, 0, 9]),
        None,
        &[header(headers::KEY, b"a"), header(headers::LIFE, b"closed")],
    );
    let checked = records::Checked::trusted(control.build().unwrap());
    let mut effects = Vec::new();
    let origin = Origin::Coordinator { transaction_version: 1 };
    fixture.log.append(NOW, 0, (origin, None), checked, &mut effects).unwrap();
    fixture.perform(effects);
    index(&mut fixture);
    let found = |term| postings(&fixture, &term).unwrap();
    assert_eq!(found(Term::key(b"a")), [0, 1]);
    assert_eq!(found(Term::key(b"b")), [2]);
    assert_eq!(found(Term::life(b"a")), [1, 4]);
    assert_eq!(found(Term::life(b"b")), Vec::<Offset>::new());
    assert_eq!(found(Term::producer(b"a", "p")), [0, 1]);
    assert_eq!(found(Term::producer(b"b", "no producer")), Vec::<Offset>::new());
    assert_eq!(newest(&fixture, &Term::producer(b"a", "p"), 5).unwrap(), Some(1));
}

#[test]
fn a_damaged_file_is_noticed_and_built_anew() {
    let keys: Vec<u8> = (0..90).map(|at| at % 9).collect();
    let mut fixture = segments(indexed(Durability::Fsync), &[&keys, &[1]]);
    index(&mut fixture);
    let path = path(0, names::KEYS);
    let sound = fixture.disk.contents(&path).unwrap();
    for at in (0..sound.len()).step_by(7) {
        damage(&fixture.disk, &path, |bytes| bytes[at] ^= 0x10);
        for key in 0..9u8 {
            match postings(&fixture, &Term::key(&[key])) {
                Ok(found) => assert_eq!(found.len(), 10 + usize::from(key == 1), "{at}"),
                Err(error) => {
                    assert_eq!(worthless_keys(&error), Some(0), "{error}");
                    fixture.log.discard_keys(0);
                    assert_eq!(fixture.log.key_index_upto(), 0);
                    index(&mut fixture);
                }
            }
        }
        check(&fixture);
        fixture.disk.put(&path, sound.clone());
        fixture.log.discard_keys(0);
        index(&mut fixture);
    }
}

#[test]
fn a_file_of_other_records_is_not_believed() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 3], &[4]]);
    index(&mut fixture);
    let of_others = fixture.disk.contents(&path(0, names::KEYS)).unwrap();
    let mut fixture = segments(indexed(Durability::Fsync), &[&[3, 2, 2], &[4]]);
    fixture.disk.put(&path(0, names::KEYS), of_others.clone());
    index(&mut fixture);
    check(&fixture);
    assert_ne!(fixture.disk.contents(&path(0, names::KEYS)).unwrap(), of_others);
}

#[test]
fn a_segment_that_is_damaged_is_told() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 3], &[4]]);
    damage(&fixture.disk, &path(0, names::LOG), |bytes| bytes[100] ^= 1);
    let failed = loop {
        match step(&mut fixture, 500, true) {
            Ok(more) => assert!(more),
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, CleanError::Damaged(_)), "{failed}");
    assert_eq!(fixture.log.key_index_upto(), 0);
}

#[test]
fn a_batch_of_the_active_segment_that_reads_wrong_is_no_damage_before_that_is_sealed() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 3]]);
    damage(&fixture.disk, &path(0, names::LOG), |bytes| *bytes.last_mut().unwrap() ^= 1);
    while step(&mut fixture, 500, true).unwrap() {}
    assert_eq!(fixture.log.key_index_upto(), 2, "it is looked at again");
    roll(&mut fixture);
    assert!(matches!(step(&mut fixture, 500, true), Err(CleanError::Damaged(_))));
}

#[test]
fn a_file_that_contradicts_the_log_is_thrown_away_and_the_log_is_not_damaged() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1; 30], &[4]]);
    while !key_files(&fixture.disk).contains(&"00000000000000000000.keys-0".to_owned()) {
        assert!(step(&mut fixture, 300, false).unwrap() || step(&mut fixture, 300, true).unwrap());
    }
    let path = path(0, "keys-0");
    let sound = fixture.disk.contents(&path).unwrap();
    let head = head::Head::parse(&sound, sound.len() as u64).unwrap();
    let disk = fixture.close();
    for (upto, end) in [(1, 0), (-1, 0), (0, 1), (0, -1)] {
        let mut wrong = head;
        wrong.covers.upto += upto;
        wrong.covers.end = wrong.covers.end.saturating_add_signed(end);
        damage(&disk, &path, |bytes| bytes[..head::HEAD_BYTES].copy_from_slice(&wrong.encode()));
        let disk = disk.after_kill();
        let mut fixture = reopen(disk, indexed(Durability::Fsync), true, 31).unwrap();
        index(&mut fixture);
        check(&fixture);
    }
}

#[test]
fn look_ups_do_not_meet_the_file_that_another_has_taken_the_place_of() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 1], &[3]]);
    index(&mut fixture);
    check(&fixture);
    let before = fixture.log.key_postings(Term::key(&[1]), 0);
    // The same seed, and other terms: it differs from the file whose handle is still open.
    fixture.log.configure(Arc::new(config(Durability::Fsync)));
    assert!(step(&mut fixture, 500, true).unwrap());
    let seed = SEED + 77;
    fixture.log.configure(Arc::new(indexed(Durability::Fsync)));
    for _ in 0..20 {
        let turn = KeyTurn { seed, ..turn(&fixture, true) };
        if let Some(mut task) = fixture.log.begin_key_task(turn) {
            task.step(&fixture.disk, 500).unwrap();
            fixture.log.end_key_task(task);
        }
    }
    check(&fixture);
    let error = before.postings(&fixture.disk, 10).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    check(&fixture);
}

#[test]
fn what_is_discarded_during_a_task_does_not_come_back_with_it() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 1], &[3]]);
    while !key_files(&fixture.disk).contains(&"00000000000000000000.keys".to_owned()) {
        assert!(step(&mut fixture, 500, true).unwrap());
    }
    let mut task = fixture.log.begin_key_task(turn(&fixture, true)).unwrap();
    task.step(&fixture.disk, 500).unwrap();
    fixture.log.discard_keys(0);
    fixture.log.end_key_task(task);
    assert_eq!(fixture.log.key_index_upto(), 0);
    index(&mut fixture);
    check(&fixture);
    // The same of a task that is about that segment.
    fixture.log.discard_keys(0);
    let mut task = fixture.log.begin_key_task(turn(&fixture, true)).unwrap();
    task.step(&fixture.disk, 500).unwrap();
    fixture.log.discard_keys(0);
    fixture.log.end_key_task(task);
    assert_eq!(fixture.log.key_index_upto(), 0);
    index(&mut fixture);
    check(&fixture);
}

#[test]
fn a_load_that_found_no_descriptor_is_done_again() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1, 2, 3], &[4]]);
    index(&mut fixture);
    let disk = fixture.close();
    let mut fixture = reopen(disk, indexed(Durability::Fsync), true, 4).unwrap();
    *fixture.disk.switches().closed_below.lock().unwrap() = Some(dir());
    assert!(step(&mut fixture, 500, true).is_err());
    assert!(!fixture.log.keys.is_loaded);
    *fixture.disk.switches().closed_below.lock().unwrap() = None;
    assert!(step(&mut fixture, 500, true).unwrap());
    assert_eq!(fixture.log.key_index_upto(), 3);
}

#[test]
fn what_is_left_of_an_index_that_is_not_wanted_any_more_goes_after_a_start() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1; 40], &[4]]);
    index(&mut fixture);
    let disk = fixture.close();
    for kind in ["keys-3", "keys-tmp.tmp", "keys-tmp.cleaned", "keys.cleaned"] {
        disk.put(&path(0, kind), b"left".to_vec());
    }
    disk.put(&path(7, names::KEYS), b"of no segment".to_vec());
    let mut fixture = reopen(disk, config(Durability::Fsync), true, 41).unwrap();
    assert!(fixture.log.has_keys());
    assert!(step(&mut fixture, 500, true).unwrap());
    assert_eq!(key_files(&fixture.disk), Vec::<String>::new());
    assert!(!fixture.log.has_keys() && !step(&mut fixture, 500, true).unwrap());
}

#[test]
fn a_file_of_no_segment_that_cannot_be_removed_is_no_reason_not_to_start() {
    let fixture = segments(indexed(Durability::Fsync), &[&[1; 3]]);
    let disk = fixture.close();
    let stray = path(70, names::KEYS);
    disk.put(&stray, b"of no segment".to_vec());
    *disk.switches().broken_below.lock().unwrap() = Some(stray);
    reopen(disk, indexed(Durability::Fsync), true, 3).unwrap();
}

#[test]
fn no_more_stays_in_memory_than_is_allowed_and_nothing_of_what_is_sealed() {
    let mut fixture = segments(indexed(Durability::Fsync), &[&[1; 10], &[2; 10]]);
    assert!(step(&mut fixture, 500, true).unwrap());
    while step(&mut fixture, 500, false).unwrap() {}
    assert_eq!(fixture.log.key_index_bytes(), 10 * 16, "of the active segment");
    let turn = KeyTurn { pairs_max: 10, ..turn(&fixture, false) };
    let mut task = fixture.log.begin_key_task(turn).unwrap();
    while fixture.log.key_index_bytes() > 0 {
        task.step(&fixture.disk, 500).unwrap();
        fixture.log.end_key_task(task);
        let Some(next) = fixture.log.begin_key_task(turn) else { break };
        task = next;
    }
    assert_eq!(fixture.log.key_index_bytes(), 0);
    check(&fixture);
    index(&mut fixture);
    check(&fixture);
}
