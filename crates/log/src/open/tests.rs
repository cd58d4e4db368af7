use crate::{fixture::*, testing::MemoryDisk, *};
use proptest::prelude::*;
use std::sync::atomic::Ordering;

use Durability::{Fsync, PageCache};

/// A log with `count` batches of one record each, its last segment not closed.
fn written(durability: Durability, count: usize) -> Fixture {
    let mut fixture = Fixture::new(config(durability));
    for index in 0..count {
        fixture.append(batch(NOW + index as i64, 1, 100).compression(codec(index)));
    }
    fixture
}

fn last_segment(fixture: &Fixture) -> i64 {
    fixture.log.segments.last().unwrap().base_offset
}

#[derive(Debug, Clone)]
enum Step {
    Append { records: usize, bytes: usize },
    Roll,
    Close,
    Kill,
    CutPower,
    ForgetTail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (1usize..5, 0usize..400).prop_map(|(records, bytes)| Step::Append { records, bytes }),
        1 => Just(Step::Roll),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::CutPower),
        1 => Just(Step::ForgetTail),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_was_appended_is_read_back_across_restarts(steps in steps(), bytes_max in 1usize..3000) {
        let mut fixture = Fixture::new(config(Fsync));
        let mut model = Vec::new();
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append { records, bytes } => {
                    let builder = batch(NOW + index as i64, records, bytes).compression(codec(index));
                    let body = builder.clone().build().unwrap().body().to_vec();
                    let appended = fixture.append(builder);
                    model.push((appended.base_offset, appended.last_offset, body));
                }
                Step::Roll => {
                    let mut effects = Vec::new();
                    fixture.log.roll(NOW, &mut effects);
                    fixture.perform(effects);
                }
                Step::Close => {
                    fixture = reopen(fixture.close(), config(Fsync), true, 0).unwrap();
                    prop_assert_eq!(fixture.recovery.bytes_verified, 0);
                }
                Step::Kill | Step::CutPower => {
                    let disk = match step {
                        Step::Kill => fixture.disk.after_kill(),
                        _ => fixture.disk.after_power_cut(),
                    };
                    // The checkpoint is older than what was synced.
                    let point = fixture.log.recovery_point() / 2;
                    fixture = reopen(disk, config(Fsync), false, point).unwrap();
                    prop_assert_eq!(fixture.recovery.bytes_truncated, 0);
                }
                Step::ForgetTail => fixture.forget_tail(),
            }
        }
        let read: Vec<_> = fixture.batches(bytes_max).iter()
            .map(|batch| (batch.header.base_offset, batch.header.last_offset(), batch.body().to_vec())).collect();
        prop_assert_eq!(&read, &model);
        fixture.forget_tail();
        for (base, last, body) in &model {
            for offset in *base..=*last {
                let (bytes, next) = fixture.read(offset, 1);
                prop_assert_eq!((&bytes[61..], next), (&body[..], last + 1));
            }
        }
    }
}

#[test]
fn a_file_cut_in_its_last_batch_loses_only_that_batch() {
    for durability in [Fsync, PageCache] {
        let fixture = written(durability, 25);
        let segment = last_segment(&fixture);
        let len = fixture.contents(segment, names::LOG).len();
        let before = fixture.log.segments.last().unwrap().size as usize;
        assert_eq!(len, before);
        let batches = fixture.batches(1);
        let last = batches.last().unwrap().bytes.len();
        for cut in [1, 17, 61, last / 2, last - 1] {
            let disk = fixture.disk.after_kill();
            damage(&disk, &path(segment, names::LOG), |bytes| bytes.truncate(len - cut));
            let recovered = reopen(disk, config(durability), false, 5).unwrap();
            assert_eq!(recovered.log.end_offset(), 24, "cut {cut}");
            assert_eq!(recovered.recovery.bytes_truncated, (last - cut) as u64);
            assert_eq!(recovered.batches(1), batches[..24]);
        }
    }
}

#[test]
fn a_segment_that_is_gone_from_between_others_takes_the_log_offline() {
    let fixture = written(Fsync, 80);
    let bases: Vec<_> = fixture.log.segments.iter().map(|segment| segment.base_offset).collect();
    assert!(bases.len() > 3, "{bases:?}");
    for (place, base) in bases.iter().enumerate() {
        for clean in [true, false] {
            let disk = fixture.disk.after_kill();
            env::Disk::remove_file(&disk, &path(*base, names::LOG)).unwrap();
            // It stays so however often it is tried.
            for _ in 0..2 {
                let opened = reopen(disk.after_kill(), config(Fsync), clean, fixture.log.end_offset());
                match place {
                    // Retention takes the first ones.
                    0 => drop(opened.unwrap()),
                    _ => match opened {
                        Err(OpenError::Damaged(_)) => {}
                        other => panic!("{base} of {bases:?}, {clean}: {:?}", other.map(|_| ())),
                    },
                }
            }
        }
    }
}

#[test]
fn garbage_behind_the_last_batch_is_cut_off() {
    for garbage in [vec![0; 500], vec![0xff; 500], b"x".to_vec()] {
        let fixture = written(Fsync, 5);
        damage(&fixture.disk, &path(0, names::LOG), |bytes| bytes.extend_from_slice(&garbage));
        let recovered = reopen(fixture.disk.after_kill(), config(Fsync), false, 0).unwrap();
        assert_eq!(recovered.log.end_offset(), 5);
        assert_eq!(recovered.recovery.bytes_truncated, garbage.len() as u64);
    }
}

#[test]
fn a_flipped_bit_before_intact_batches_takes_a_durable_log_offline() {
    let fixture = written(Fsync, 10);
    let at = fixture.batches(1)[..7].iter().map(|batch| batch.bytes.len()).sum::<usize>();
    for bit in [8 * 8 + 3, 16 * 8, 17 * 8, 23 * 8 + 1, 80 * 8, 8 * 11 + 7] {
        let disk = fixture.disk.after_kill();
        damage(&disk, &path(0, names::LOG), |bytes| bytes[at + bit / 8] ^= 1 << (bit % 8));
        let before = disk.contents(&path(0, names::LOG));
        let Err(OpenError::Damaged(damage)) = reopen(disk.after_kill(), config(Fsync), false, 3) else {
            panic!("bit {bit}: opened");
        };
        assert_eq!((damage.position, damage.offset), (at as u64, 7), "bit {bit}");
        assert!(damage.to_string().contains("00000000000000000000.log"), "{damage}");
        assert_eq!(disk.contents(&path(0, names::LOG)), before);
        // Without durable acknowledgements it is cut off there, as Kafka does.
        let recovered = reopen(disk, config(PageCache), false, 3).unwrap();
        assert_eq!(recovered.log.end_offset(), 7, "bit {bit}");
    }
}

#[test]
fn a_flipped_bit_in_the_last_batch_is_told_from_a_torn_write() {
    let fixture = written(Fsync, 10);
    let last = fixture.batches(1)[9].bytes.len();
    let at = fixture.log.size_bytes() as usize - last;
    // The leader epoch, bytes 12 to 15, is the only thing that nothing protects.
    for bit in (0..last * 8).filter(|bit| !(96..128).contains(bit)) {
        let disk = fixture.disk.after_kill();
        damage(&disk, &path(0, names::LOG), |bytes| bytes[at + bit / 8] ^= 1 << (bit % 8));
        let opened = reopen(disk, config(Fsync), false, 4);
        assert!(matches!(opened, Err(OpenError::Damaged(_))), "bit {bit}");
    }
}

#[test]
fn batches_behind_a_torn_one_go_with_it() {
    let mut fixture = written(Fsync, 3);
    fixture.append(batch(NOW, 1, 900));
    fixture.append(batch(NOW, 1, 100));
    let disk = fixture.disk.after_kill();
    damage(&disk, &path(0, names::LOG), |bytes| bytes[512..1024].fill(0));
    let recovered = reopen(disk, config(Fsync), false, 3).unwrap();
    assert_eq!(recovered.log.end_offset(), 3);
}

#[test]
fn space_that_was_never_written_is_cut_off_though_batches_follow() {
    let fixture = written(Fsync, 10);
    let batches = fixture.batches(1);
    let at: usize = batches[..7].iter().map(|batch| batch.bytes.len()).sum();
    damage(&fixture.disk, &path(0, names::LOG), |bytes| bytes[at..at + batches[7].bytes.len()].fill(0));
    let recovered = reopen(fixture.disk.after_kill(), config(Fsync), false, 3).unwrap();
    assert_eq!(recovered.log.end_offset(), 7);
}

#[test]
fn a_log_that_ends_before_its_recovery_point_is_damaged() {
    for clean in [true, false] {
        let fixture = written(Fsync, 10);
        let disk = if clean { fixture.close() } else { fixture.disk.after_kill() };
        damage(&disk, &path(0, names::LOG), |bytes| bytes.truncate(bytes.len() / 2));
        let opened = reopen(disk, config(Fsync), clean, 10);
        assert!(matches!(opened, Err(OpenError::Damaged(_))), "clean: {clean}");
    }
}

#[test]
fn damage_in_a_sealed_segment_above_the_recovery_point_is_refused_or_cut_off() {
    let fixture = written(Fsync, 40);
    assert!(fixture.log.segment_count() > 2);
    let disk = fixture.disk.after_kill();
    damage(&disk, &path(0, names::LOG), |bytes| *bytes.last_mut().unwrap() ^= 1);
    assert!(matches!(reopen(disk.after_kill(), config(Fsync), false, 2), Err(OpenError::Damaged(_))));
    let recovered = reopen(disk, config(PageCache), false, 2).unwrap();
    assert_eq!(recovered.recovery.segments_dropped, fixture.log.segment_count() - 1);
    assert_eq!(recovered.log.segment_count(), 1);
    assert_eq!(recovered.batches(1), fixture.batches(1)[..recovered.log.end_offset() as usize]);
}

#[test]
fn missing_cut_and_lying_indexes_are_built_anew_and_are_the_same() {
    let mut fixture = written(Fsync, 60);
    let mut effects = Vec::new();
    fixture.log.roll(NOW, &mut effects);
    fixture.perform(effects);
    let segments: Vec<_> = fixture.log.segments.iter().map(|segment| segment.base_offset).collect();
    let indexes = |disk: &MemoryDisk| -> Vec<_> {
        let kinds = [names::INDEX, names::TIME_INDEX];
        segments.iter().flat_map(|s| kinds.map(|kind| disk.contents(&path(*s, kind)).unwrap())).collect()
    };
    let (closed, batches) = (fixture.log.end_offset(), fixture.batches(1));
    let disk = fixture.close();
    let right = indexes(&disk);
    assert!(right.iter().filter(|bytes| !bytes.is_empty()).count() >= 6);
    type Change = fn(&MemoryDisk, &std::path::Path);
    let changes: [Change; 4] = [
        |disk, path| env::Disk::remove_file(disk, path).unwrap(),
        |disk, path| damage(disk, path, |bytes| bytes.truncate(bytes.len() - 1)),
        |disk, path| damage(disk, path, |bytes| bytes.resize(bytes.len() + 24, 0)),
        |disk, path| damage(disk, path, |bytes| *bytes = vec![0; 24]),
    ];
    for change in changes {
        for (kind, clean) in [(names::INDEX, true), (names::TIME_INDEX, true), (names::INDEX, false)] {
            let disk = disk.after_kill();
            change(&disk, &path(segments[1], kind));
            let recovered = reopen(disk, config(Fsync), clean, closed).unwrap();
            assert_eq!(indexes(&recovered.disk), right, "{kind} {clean}");
            assert_eq!(recovered.recovery.indexes_rebuilt, 1);
            assert_eq!(recovered.batches(700), batches);
        }
    }
}

#[test]
fn the_indexes_of_the_active_segment_survive_a_kill_unchanged() {
    let fixture = written(PageCache, 13);
    let (index, times) = (fixture.contents(0, names::INDEX), fixture.contents(0, names::TIME_INDEX));
    assert!(index.len() >= 16 && times.len() >= 24);
    for lost in [names::INDEX, names::TIME_INDEX] {
        let disk = fixture.disk.after_kill();
        env::Disk::remove_file(&disk, &path(0, lost)).unwrap();
        let recovered = reopen(disk, config(PageCache), false, 0).unwrap();
        assert_eq!(
            (recovered.contents(0, names::INDEX), recovered.contents(0, names::TIME_INDEX)),
            (index.clone(), times.clone())
        );
        assert_eq!(recovered.log.segments, fixture.log.segments);
    }
}

#[test]
fn what_is_flushed_survives_a_power_cut_and_the_rest_may_not() {
    let mut fixture = written(Fsync, 30);
    assert_eq!(fixture.log.flushed_offset(), 30);
    let mut effects = Vec::new();
    fixture.decide(Origin::Client, batch(NOW, 1, 10).build().unwrap(), &mut effects).unwrap();
    let performed = fixture.files.perform(&fixture.disk, &effects, false).unwrap();
    fixture.log.flushed(NOW, &performed);
    assert_eq!((fixture.log.flushed_offset(), fixture.log.end_offset()), (30, 31));
    let recovered = reopen(fixture.disk.after_power_cut(), config(Fsync), false, 10).unwrap();
    assert_eq!(recovered.log.end_offset(), 30);
    let killed = reopen(fixture.disk.after_kill(), config(Fsync), false, 10).unwrap();
    assert_eq!((killed.log.end_offset(), killed.log.flushed_offset()), (31, 31));
    let later = reopen(killed.disk.after_power_cut(), config(Fsync), false, 31).unwrap();
    assert_eq!(later.log.end_offset(), 31, "recovery syncs what it shows to readers");
}

#[test]
fn opening_after_a_clean_end_reads_no_batches() {
    let mut fixture = Fixture::new(config(Fsync));
    for index in 0..20 {
        fixture.append(batch(NOW + index, 1, 1500));
    }
    let disk = fixture.close();
    disk.switches().bytes_read.store(0, Ordering::Relaxed);
    let reopened = reopen(disk, config(Fsync), true, 20).unwrap();
    assert_eq!((reopened.log.end_offset(), reopened.recovery), (20, Recovery::default()));
    let read = reopened.disk.switches().bytes_read.load(Ordering::Relaxed);
    assert!(read < 4000, "{read} bytes of 32,000 were read");
    let effects = &mut Vec::new();
    let mut log = reopened.log;
    log.close(effects);
    assert_eq!(effects, &[], "nothing happened, so there is nothing to write");
}

#[test]
fn producers_and_transactions_survive_kills_and_clean_ends() {
    for clean in [true, false] {
        let mut fixture = Fixture::new(config(Fsync));
        for sequence in 0..30 {
            fixture.append(batch(NOW, 1, 90).producer(7, 0, sequence));
            fixture.append(batch(NOW, 1, 90).producer(8, 2, sequence).transactional());
            if sequence % 10 == 4 {
                fixture.end_txn(8, 2, sequence == 4).unwrap();
            }
        }
        let aborted = fixture.log.aborted_transactions(0, 99);
        assert_eq!(aborted.len(), 2);
        let (end, stable) = (fixture.log.end_offset(), fixture.log.last_stable_offset(99));
        let disk = if clean { fixture.close() } else { fixture.disk.after_kill() };
        let mut reopened = reopen(disk, config(Fsync), clean, end / 2).unwrap();
        assert_eq!(reopened.log.aborted_transactions(0, 99), aborted);
        assert_eq!(reopened.log.last_stable_offset(99), stable);
        assert!(reopened.log.producers().has_open_transaction(8, 2));
        assert!(reopened.append(batch(NOW, 1, 90).producer(7, 0, 29)).duplicate, "clean: {clean}");
        assert!(!reopened.append(batch(NOW, 1, 90).producer(7, 0, 30)).duplicate);
        assert!(reopened.try_append(batch(NOW, 1, 90).producer(7, 0, 35)).is_err());
    }
}

#[test]
fn how_a_producer_began_is_known_though_its_first_records_were_deleted() {
    let mut fixture = Fixture::new(config(Fsync));
    for sequence in 0..90 {
        fixture.append(batch(NOW, 1, 90).producer(7, 0, sequence));
    }
    let before = last_segment(&fixture) / 2;
    let mut effects = Vec::new();
    fixture.log.delete_records_before(before, 90, &mut effects).unwrap();
    assert!(fixture.log.retain(NOW, 90, &mut effects) > 0);
    fixture.perform(effects);
    let start_offset = fixture.log.start_offset();
    let begun = OpenOptions { start_offset, ..options(config(Fsync), false, 0) };
    let disk = fixture.disk.after_kill();
    let Opened { log, files, recovery } = open(&disk, &dir(), begun).unwrap();
    let mut reopened = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
    let repeated = reopened.try_append(batch(NOW, 1, 90).producer(7, 0, 80));
    assert!(
        matches!(repeated, Err(AppendError::Producer(ProducerError::RepeatedSequence { .. }))),
        "{repeated:?}"
    );
}

#[test]
fn lost_snapshots_and_transaction_indexes_are_rebuilt_from_the_batches() {
    let mut fixture = Fixture::new(config(Fsync));
    for sequence in 0..30 {
        fixture.append(batch(NOW, 1, 90).producer(8, 2, sequence).transactional());
        fixture.end_txn(8, 2, sequence % 2 == 0).unwrap();
    }
    let aborted = fixture.log.aborted_transactions(0, 99);
    let producers = fixture.log.producers().get(8).unwrap().last_sequence();
    let end = fixture.log.end_offset();
    let disk = fixture.close();
    for file in disk.paths() {
        let name = file.to_str().unwrap();
        if name.ends_with(".snapshot") {
            damage(&disk, &file, |bytes| bytes[3] ^= 1);
        } else if name.ends_with(".txnindex") {
            damage(&disk, &file, |bytes| bytes.truncate(bytes.len() - 3));
        }
    }
    let reopened = reopen(disk, config(Fsync), true, end).unwrap();
    assert_eq!(reopened.log.aborted_transactions(0, 99), aborted);
    assert_eq!(reopened.log.producers().get(8).unwrap().last_sequence(), producers);
}

#[test]
fn leftovers_of_interrupted_work_are_removed() {
    let fixture = written(Fsync, 3);
    let disk = fixture.disk.after_kill();
    for name in
        ["00000000000000000000.log.deleted", "00000000000000000009.index", "00000000000000000004.log.cleaned"]
    {
        disk.put(&dir().join(name), vec![1, 2, 3]);
    }
    let reopened = reopen(disk, config(Fsync), false, 0).unwrap();
    let names: Vec<_> = reopened.disk.paths().iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
}

#[test]
fn nothing_is_cut_off_before_the_recovery_point() {
    for durability in [Fsync, PageCache] {
        let fixture = written(durability, 10);
        let at: usize = fixture.batches(1)[..5].iter().map(|batch| batch.bytes.len()).sum();
        for kind in 0..3 {
            let disk = fixture.disk.after_kill();
            damage(&disk, &path(0, names::LOG), |bytes| match kind {
                0 => bytes.truncate(at + 70),
                1 => bytes[at..at + 70].fill(0),
                _ => bytes[at..].fill(0xff),
            });
            let before = disk.contents(&path(0, names::LOG));
            let opened = open(&disk, &dir(), options(config(durability), false, 10));
            assert!(matches!(opened, Err(OpenError::Damaged(_))));
            assert_eq!(disk.contents(&path(0, names::LOG)), before);
        }
    }
}

#[test]
fn an_index_that_was_not_synced_when_its_segment_was_is_built_anew() {
    let fixture = written(Fsync, 40);
    let [_, second, ..] = fixture.log.segments.as_slice() else { panic!("one segment") };
    let (base, right) = (second.base_offset, fixture.contents(0, names::INDEX));
    assert!(right.len() >= 24);
    let disk = fixture.disk.after_kill();
    damage(&disk, &path(0, names::INDEX), |bytes| bytes[8..16].fill(0));
    let recovered = reopen(disk, config(Fsync), false, base).unwrap();
    assert_eq!(recovered.contents(0, names::INDEX), right);
    assert_eq!(recovered.recovery.indexes_rebuilt, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_damage_gives_a_first_part_of_the_log_or_a_refusal(
        durable: bool, clean: bool, file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(),
        len in 1usize..600, kind in 0..4, byte: u8,
    ) {
        let durability = if durable { Fsync } else { PageCache };
        let mut fixture = Fixture::new(config(durability));
        for index in 0..25i32 {
            let builder = batch(NOW + i64::from(index), 2, 120).compression(codec(index as usize));
            fixture.append(builder.producer(5, 0, index * 2).transactional());
            if index % 8 == 7 {
                fixture.end_txn(5, 0, index == 7).unwrap();
            }
        }
        let model: Vec<_> = fixture.batches(1).iter().map(|batch| batch.body().to_vec()).collect();
        let disk = if clean { fixture.close() } else { fixture.disk.after_kill() };
        let paths = disk.paths();
        damage(&disk, &paths[file.index(paths.len())], |bytes| {
            let at = if bytes.is_empty() { 0 } else { at.index(bytes.len()) };
            let end = (at + len).min(bytes.len());
            match kind {
                0 => bytes.truncate(at),
                1 => bytes[at..end].fill(byte),
                2 => bytes[at..end.min(at + 1)].iter_mut().for_each(|b| *b ^= byte),
                _ => bytes.extend(std::iter::repeat_n(byte, len)),
            }
        });
        // Nothing is known to be synced, so that after a crash everything is verified.
        match reopen(disk, config(durability), clean, 0) {
            Err(_) => {}
            Ok(reopened) if !clean => {
                let read: Vec<_> = reopened.batches(1).iter().map(|batch| batch.body().to_vec()).collect();
                prop_assert!(model.starts_with(&read));
            }
            Ok(mut reopened) => {
                let end = reopened.log.end_offset();
                let appended = reopened.append(batch(NOW, 1, 10));
                prop_assert_eq!(appended.base_offset, end);
            }
        }
    }
}

#[test]
fn messages_of_old_formats_are_kept_and_read() {
    let message = |offset: i64, time: i64| {
        let mut content = vec![1, 0];
        content.extend_from_slice(&time.to_be_bytes());
        content.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, b'v']);
        let len = content.len() as i32 + 4;
        [&offset.to_be_bytes()[..], &len.to_be_bytes(), &stdx::crc32(&content).to_be_bytes(), &content]
            .concat()
    };
    let old: Vec<_> = (0..50).map(|offset| message(offset, NOW + offset)).collect();
    let disk = MemoryDisk::new();
    disk.put(&path(0, names::LOG), old.concat());
    let mut opened = reopen(disk, config(Fsync), false, 0).unwrap();
    assert_eq!((opened.log.end_offset(), opened.recovery.bytes_truncated), (50, 0));
    assert_eq!(opened.read(20, 1), (old[20].clone(), 21));
    let OffsetAnswer::Plan(plan) = opened.log.offset_for(OffsetQuery::At(NOW + 33), 50) else {
        panic!("known")
    };
    assert_eq!(plan.find(&opened.disk).unwrap().unwrap().offset, 33);
    assert_eq!(opened.append(batch(NOW, 1, 1)).base_offset, 50);
    let disk = opened.disk.after_kill();
    damage(&disk, &path(0, names::LOG), |bytes| bytes[40] ^= 1);
    assert!(matches!(reopen(disk, config(Fsync), false, 0), Err(OpenError::Damaged(_))));
}

fn file_names(disk: &MemoryDisk) -> Vec<String> {
    disk.paths().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_log_that_nobody_writes_to_leaves_nothing_on_the_disk() {
    for clean in [true, false] {
        let fixture = reopen(MemoryDisk::new(), config(Fsync), clean, 0).unwrap();
        assert_eq!(fixture.batches(1), []);
        let disk = fixture.close();
        assert_eq!(file_names(&disk), Vec::<String>::new());
        assert!(env::Disk::list(&disk, &dir()).is_err(), "not even a directory");
    }
}

#[test]
fn the_first_append_creates_and_syncs_everything_before_it_is_acknowledged() {
    let mut fixture = Fixture::new(config(Fsync));
    fixture.append(batch(NOW, 1, 10));
    let disk = fixture.disk.after_power_cut();
    assert_eq!(
        file_names(&disk),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint",
            "partition.metadata"
        ]
    );
    let named = disk.contents(&dir().join(names::PARTITION_METADATA)).unwrap();
    assert_eq!(named, format!("version: 0\ntopic_id: {TOPIC_ID}").as_bytes());
    assert_eq!(disk.contents(&dir().join(names::LEADER_EPOCHS)).unwrap(), b"0\n1\n0 0\n");
    assert_eq!(reopen(disk, config(Fsync), false, 1).unwrap().log.end_offset(), 1);
}

#[test]
fn a_log_whose_beginning_was_interrupted_begins_again() {
    let log = "00000000000000000000.log";
    let left: [&[(&str, &[u8])]; 5] = [
        &[("partition.metadata.tmp", b"version")],
        &[("partition.metadata", b"")],
        &[("partition.metadata", b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ"), (log, b"")],
        &[("leader-epoch-checkpoint", b"0\n1\n9 0\n"), ("00000000000000000000.index", b"")],
        &[("leader-epoch-checkpoint", b"0\n1\n9 0\n"), (log, b"")],
    ];
    for files in left {
        let disk = MemoryDisk::new();
        files.iter().for_each(|(name, bytes)| disk.put(&dir().join(name), bytes.to_vec()));
        let mut fixture = reopen(disk, config(Fsync), false, 0).unwrap();
        assert_eq!(fixture.append(batch(NOW, 1, 10)).base_offset, 0, "{files:?}");
        let again = reopen(fixture.disk.after_power_cut(), config(Fsync), false, 1).unwrap();
        assert_eq!((again.log.end_offset(), again.log.epochs().latest()), (1, Some(0)), "{files:?}");
    }
}

#[test]
fn records_of_another_topic_are_neither_served_nor_touched() {
    let fixture = written(Fsync, 5);
    let disk = fixture.disk.after_kill();
    let named = dir().join(names::PARTITION_METADATA);
    for other in ["version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ", "garbage"] {
        disk.put(&named, other.into());
        assert!(reopen(disk.after_kill(), config(Fsync), false, 0).is_err(), "{other}");
        // There is only one metadata topic, and a node without it is none.
        let metadata =
            OpenOptions { topic_id: stdx::Uuid::METADATA_TOPIC, ..options(config(Fsync), false, 0) };
        assert_eq!(open(&disk, &dir(), metadata).unwrap().log.end_offset(), 5);
    }
    env::Disk::remove_file(&disk, &named).unwrap();
    let adopted = reopen(disk, config(Fsync), false, 0).unwrap();
    assert!(adopted.disk.contents(&named).is_some(), "a directory without a name gets one");
}

#[test]
fn a_start_offset_above_an_empty_log_does_not_get_lost() {
    let disk = MemoryDisk::new();
    let begun = OpenOptions { is_new: true, start_offset: 7, ..options(config(Fsync), false, 0) };
    assert_eq!(open(&disk, &dir(), begun).unwrap().log.end_offset(), 7);
    let again = reopen(disk.after_power_cut(), config(Fsync), false, 7).unwrap();
    assert_eq!((again.log.start_offset(), again.log.end_offset()), (7, 7));
}

#[test]
fn a_directory_that_is_gone_although_it_was_synced_is_damage() {
    let lost = OpenOptions { is_new: true, ..options(config(Fsync), false, 3) };
    assert!(matches!(open(&MemoryDisk::new(), &dir(), lost), Err(OpenError::Damaged(_))));
}

#[test]
fn leader_epochs_whose_file_is_damaged_are_taken_from_the_batches() {
    for clean in [true, false] {
        let mut fixture = Fixture::new(config(Fsync));
        for index in 0..60 {
            let checked = records::Checked::trusted(batch(NOW, 1, 100).build().unwrap());
            let mut effects = Vec::new();
            fixture.log.append(NOW, 2 + index / 9, (Origin::Client, None), checked, &mut effects).unwrap();
            fixture.perform(effects);
        }
        assert!(fixture.log.segment_count() > 3);
        let (right, synced) = (fixture.log.epochs().clone(), fixture.log.recovery_point());
        let disk = if clean { fixture.close() } else { fixture.disk.after_kill() };
        let file = dir().join(names::LEADER_EPOCHS);
        let bytes = disk.contents(&file).unwrap();
        for point in [0, synced / 2, synced] {
            for damaged in [None, Some(&b""[..]), Some(b"garbage\xff"), Some(&bytes[..bytes.len() / 2])] {
                let disk = disk.after_kill();
                env::Disk::remove_file(&disk, &file).unwrap();
                damaged.into_iter().for_each(|bytes| disk.put(&file, bytes.to_vec()));
                let reopened = reopen(disk, config(Fsync), clean, point).unwrap();
                assert_eq!(reopened.log.epochs(), &right, "{clean} {point} {damaged:?}");
                assert_eq!(reopened.disk.contents(&file).unwrap(), bytes);
            }
        }
    }
}

#[test]
fn a_segment_that_a_power_cut_took_leaves_no_hole() {
    let fixture = written(PageCache, 40);
    let bases: Vec<_> = fixture.log.segments.iter().map(|segment| segment.base_offset).collect();
    let [first, second, third, ..] = bases.as_slice() else { panic!("{bases:?}") };
    let batches = fixture.batches(1);
    let bytes_of = |from: i64, upto: i64| -> usize {
        batches[from as usize..upto as usize].iter().map(|batch| batch.bytes.len()).sum()
    };
    let log = path(*second, names::LOG);
    for (left, end) in [(None, *second), (Some(0), *second), (Some(bytes_of(*second, third - 1)), third - 1)]
    {
        let lose = |disk: MemoryDisk| {
            match left {
                None => env::Disk::remove_file(&disk, &log).unwrap(),
                Some(len) => damage(&disk, &log, |bytes| bytes.truncate(len)),
            }
            disk
        };
        for point in [*first, *second] {
            let recovered = reopen(lose(fixture.disk.after_kill()), config(PageCache), false, point).unwrap();
            assert_eq!(recovered.log.end_offset(), end, "{left:?} {point}");
            assert_eq!(recovered.batches(1), batches[..end as usize]);
            assert!(recovered.recovery.bytes_truncated > 0);
            let mut recovered = recovered;
            assert_eq!(recovered.append(batch(NOW, 1, 10)).base_offset, end);
        }
        for (durability, point) in [(Fsync, *second), (PageCache, *third)] {
            let refused = reopen(lose(fixture.disk.after_kill()), config(durability), false, point);
            assert!(matches!(refused, Err(OpenError::Damaged(_))), "{left:?} {durability:?} {point}");
        }
    }
}

#[test]
fn a_start_offset_inside_of_the_first_segment_is_kept_over_a_kill() {
    let fixture = written(Fsync, 5);
    for point in [0, 3, 5] {
        let begun = OpenOptions { start_offset: 3, ..options(config(Fsync), false, point) };
        let opened = open(&fixture.disk.after_kill(), &dir(), begun).unwrap();
        assert_eq!((opened.log.start_offset(), opened.log.end_offset()), (3, 5));
    }
}

#[test]
fn gaps_that_compaction_left_between_segments_stay() {
    let fixture = written(PageCache, 40);
    let second = fixture.log.segments[1].base_offset;
    let disk = fixture.disk.after_kill();
    env::Disk::remove_file(&disk, &path(second, names::LOG)).unwrap();
    let compacted = LogConfig { cleanup_compact: true, ..config(PageCache) };
    assert_eq!(reopen(disk, compacted, false, 0).unwrap().log.end_offset(), 40);
}

#[test]
fn names_that_a_killed_process_left_unsynced_are_synced_before_their_records_are_shown() {
    let mut fixture = written(Fsync, 3);
    fixture.disk.switches().journal.lock().unwrap().clear();
    fixture = reopen(fixture.disk.after_kill(), config(Fsync), false, 0).unwrap();
    let journal = fixture.disk.switches().journal.lock().unwrap().clone();
    assert_eq!(journal, ["sync 00000000000000000000.log", "sync dir topic-0"]);
    let again = reopen(fixture.disk.after_kill(), config(Fsync), false, 3).unwrap();
    assert_eq!(
        again.disk.switches().journal.lock().unwrap().as_slice(),
        [] as [&str; 0],
        "nothing is unsynced"
    );
}

#[test]
fn a_page_cache_log_syncs_the_names_that_a_killed_process_left_unsynced_with_the_next_sync() {
    let fixture = written(PageCache, 30);
    let mut reopened = reopen(fixture.disk.after_kill(), config(PageCache), false, 0).unwrap();
    reopened.disk.switches().journal.lock().unwrap().clear();
    reopened.files.perform(&reopened.disk, &[], true).unwrap();
    let journal = reopened.disk.switches().journal.lock().unwrap().clone();
    assert!(journal.contains(&"sync dir topic-0".to_owned()), "{journal:?}");
}

#[test]
fn a_log_that_was_lost_between_others_is_damage_also_where_there_may_be_holes() {
    for (durability, cleanup_compact) in [(Fsync, false), (Fsync, true), (PageCache, false)] {
        for clean in [true, false] {
            let config = LogConfig { cleanup_compact, ..config(durability) };
            let mut fixture = Fixture::new(config.clone());
            for index in 0..40 {
                fixture.append(batch(NOW + index, 1, 200));
            }
            let (end, middle) = (fixture.log.end_offset(), fixture.log.segments[1].base_offset);
            let disk = fixture.close();
            env::Disk::remove_file(&disk, &path(middle, names::LOG)).unwrap();
            let before = disk.paths();
            let opened = open(&disk, &dir(), options(config.clone(), clean, end));
            let Err(OpenError::Damaged(damage)) = opened else { panic!("{durability:?} {clean}") };
            assert_eq!((damage.offset, disk.paths()), (middle, before));
            // A deletion that a crash has interrupted is no loss.
            disk.put(&path(middle, "log.deleted"), Vec::new());
            if cleanup_compact {
                open(&disk, &dir(), options(config, clean, end)).unwrap();
                assert!(
                    disk.paths()
                        .iter()
                        .all(|path| !path.to_string_lossy().contains(&format!("{middle:020}.")))
                );
            }
        }
    }
}
