use crate::{fixture::*, *};
use std::{path::PathBuf, sync::atomic::Ordering};

fn many(fixture: &mut Fixture, count: usize) -> Vec<Effect> {
    let mut effects = Vec::new();
    for index in 0..count {
        let batch = batch(NOW + index as i64, 1, 10).build().unwrap();
        fixture.decide(Origin::Client, batch, &mut effects).unwrap();
    }
    effects
}

#[test]
fn neighbouring_batches_are_written_at_once() {
    let mut config = config(Durability::Fsync);
    config.segment_bytes = 1 << 20;
    let mut fixture = Fixture::new(config);
    let effects = many(&mut fixture, 500);
    let writes = &fixture.disk.switches().writes;
    writes.store(0, Ordering::Relaxed);
    fixture.perform(effects);
    // The batches, two indexes, the topic's id and the first leader epoch.
    assert_eq!(fixture.disk.switches().writes.load(Ordering::Relaxed), 5);
    assert_eq!(fixture.log.flushed_offset(), 500);
    fixture.forget_tail();
    assert_eq!(fixture.batches(5000).len(), 500);
}

#[test]
fn more_pieces_than_one_call_takes_are_written_in_several() {
    let mut config = config(Durability::PageCache);
    config.segment_bytes = 1 << 20;
    let mut fixture = Fixture::new(config);
    let effects = many(&mut fixture, 3000);
    fixture.perform(effects);
    fixture.forget_tail();
    assert_eq!(fixture.batches(1 << 20).len(), 3000);
}

#[test]
fn after_an_error_nothing_is_written_any_more() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    fixture.append(batch(NOW, 1, 10));
    fixture.disk.switches().fail_writes.store(true, Ordering::Relaxed);
    let effects = many(&mut fixture, 1);
    assert!(fixture.files.perform(&fixture.disk, &effects, true).is_err());
    fixture.disk.switches().fail_writes.store(false, Ordering::Relaxed);
    let effects = many(&mut fixture, 1);
    let error = fixture.files.perform(&fixture.disk, &effects, true).unwrap_err();
    assert!(fixture.files.is_poisoned() && error.to_string().contains("opened anew"), "{error}");
    assert_eq!(fixture.log.flushed_offset(), 1);
}

#[test]
fn sealed_segments_are_synced_later_where_acknowledgements_do_not_wait_for_it() {
    let mut fixture = Fixture::new(config(Durability::PageCache));
    let effects = many(&mut fixture, 40);
    let syncs = |fixture: &Fixture| fixture.disk.switches().syncs.load(Ordering::Relaxed);
    let performed = fixture.files.perform(&fixture.disk, &effects, false).unwrap();
    fixture.log.flushed(NOW, &performed);
    assert_eq!((fixture.log.flushed_offset(), fixture.log.recovery_point()), (40, 0));
    let more = many(&mut fixture, 1);
    let meanwhile = fixture.files.perform(&fixture.disk, &more, false).unwrap();
    assert!(meanwhile.sealed.is_none(), "one job for it is enough");
    fixture.log.flushed(NOW, &meanwhile);
    let before = syncs(&fixture);
    let upto = performed.sealed.unwrap().sync(&fixture.disk).unwrap();
    assert!(syncs(&fixture) > before);
    fixture.log.synced(NOW, upto);
    assert_eq!(fixture.log.recovery_point(), fixture.log.segments.last().unwrap().base_offset);
    let recovered =
        reopen(fixture.disk.after_power_cut(), config(Durability::PageCache), false, upto).unwrap();
    assert_eq!(recovered.log.end_offset(), upto);
}

#[test]
fn files_that_nobody_uses_are_closed_and_opened_again() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    fixture.append(batch(NOW, 1, 10));
    fixture.files.release();
    assert!(fixture.files.active.is_none());
    fixture.append(batch(NOW, 1, 10));
    assert_eq!(fixture.batches(1).len(), 2);
}

#[test]
fn a_segment_is_synced_before_the_next_one_is_written_to() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    let effects = many(&mut fixture, 30);
    let next = fixture.log.segments[1].base_offset;
    fixture.perform(effects);
    let journal = fixture.disk.switches().journal.lock().unwrap().clone();
    let at = |entry: String| journal.iter().position(|done| *done == entry).unwrap();
    let (synced, written) = (
        at(format!("sync {}", names::file_name(0, names::LOG))),
        at(format!("write {}", names::file_name(next, names::LOG))),
    );
    assert!(synced < written, "{journal:?}");
    let active = names::file_name(fixture.log.segments.last().unwrap().base_offset, names::LOG);
    assert_eq!(journal[journal.len() - 2..], [format!("sync {active}"), "sync dir topic-0".to_owned()]);
}

#[test]
fn where_room_is_missing_the_bytes_are_cut_back_and_the_same_effects_may_be_performed_again() {
    let mut fixture = Fixture::new(config(Durability::Fsync));
    fixture.append(batch(NOW, 1, 10));
    let before = fixture.contents(0, names::LOG);
    fixture.disk.switches().full_after.store(1, Ordering::Relaxed);
    let effects = many(&mut fixture, 3);
    let error = fixture.files.perform(&fixture.disk, &effects, true).unwrap_err();
    assert!(is_scarcity(&error) && !fixture.files.is_poisoned(), "{error}");
    assert_eq!(fixture.contents(0, names::LOG), before);
    fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
    fixture.perform(effects);
    assert_eq!(fixture.log.flushed_offset(), 4);
}

#[test]
fn wherever_room_ends_what_is_performed_again_is_as_if_it_had_not() {
    let files = |disk: &testing::MemoryDisk| -> Vec<_> {
        disk.paths().into_iter().map(|path| (disk.contents(&path), path)).collect()
    };
    for durability in [Durability::Fsync, Durability::PageCache] {
        let mut undisturbed = Fixture::new(config(durability));
        let effects = many(&mut undisturbed, 60);
        undisturbed.perform(effects);
        let right = files(&undisturbed.disk);
        assert!(undisturbed.log.segment_count() > 2);
        for full_after in 1..30 {
            let mut fixture = Fixture::new(config(durability));
            let effects = many(&mut fixture, 60);
            for full_after in [full_after, full_after / 2 + 1] {
                fixture.disk.switches().full_after.store(full_after, Ordering::Relaxed);
                let sync = fixture.log.must_sync(NOW);
                if let Err(error) = fixture.files.perform(&fixture.disk, &effects, sync) {
                    assert!(is_scarcity(&error), "{error}");
                }
            }
            fixture.disk.switches().full_after.store(0, Ordering::Relaxed);
            fixture.perform(effects);
            assert_eq!(files(&fixture.disk), right, "{full_after}");
            let again = reopen(fixture.disk.after_kill(), config(durability), false, 0).unwrap();
            assert_eq!((again.log.end_offset(), again.recovery.bytes_truncated), (60, 0));
        }
    }
}

#[test]
fn a_segment_that_is_sealed_again_and_again_keeps_its_files_open_once() {
    for durability in [Durability::Fsync, Durability::PageCache] {
        let mut fixture = Fixture::new(config(durability));
        let effects = many(&mut fixture, 30);
        let create = effects.iter().position(|effect| matches!(effect, Effect::Create { .. })).unwrap();
        let mut up_to_the_roll = effects;
        up_to_the_roll.truncate(create + 1);
        let is_durable = durability == Durability::Fsync;
        let full_after = &fixture.disk.switches().full_after;
        // Room for the batches and not for the segment behind them.
        let failing = (1..100).find(|after| {
            full_after.store(*after, Ordering::Relaxed);
            let result = fixture.files.perform(&fixture.disk, &up_to_the_roll, is_durable);
            assert!(result.is_ok() || result.is_err_and(|error| is_scarcity(&error)));
            !fixture.files.unsynced.is_empty()
        });
        for _ in 0..20 {
            full_after.store(failing.unwrap(), Ordering::Relaxed);
            let _ = fixture.files.perform(&fixture.disk, &up_to_the_roll, is_durable);
        }
        assert_eq!(fixture.files.unsynced.len(), 1);
    }
}

#[test]
fn a_directory_that_cannot_be_opened_is_synced_by_the_next_try() {
    let closed = |fixture: &Fixture, below: Option<PathBuf>| {
        *fixture.disk.switches().closed_below.lock().unwrap() = below;
    };
    let refused = |fixture: &mut Fixture, effects: &[Effect]| {
        let error = fixture.files.perform(&fixture.disk, effects, true).unwrap_err();
        assert!(is_scarcity(&error) && !fixture.files.is_poisoned(), "{error}");
    };
    let mut fixture = Fixture::new(config(Durability::PageCache));
    let effects = many(&mut fixture, 40);
    closed(&fixture, Some(dir().parent().unwrap().to_owned()));
    refused(&mut fixture, &effects);
    closed(&fixture, None);
    let performed = fixture.files.perform(&fixture.disk, &effects, false).unwrap();
    closed(&fixture, Some(dir()));
    let error = performed.sealed.unwrap().sync(&fixture.disk).unwrap_err();
    assert!(is_scarcity(&error), "{error}");
    refused(&mut fixture, &[]);
    closed(&fixture, None);
    let performed = fixture.files.perform(&fixture.disk, &[], true).unwrap();
    assert_eq!(performed.synced_upto, Some(40), "what was synced before the directory is told now");
    let journal = fixture.disk.switches().journal.lock().unwrap().clone();
    assert_eq!(journal.last().unwrap(), "sync dir topic-0");
}

#[test]
fn a_directory_whose_sync_fails_poisons_the_log() {
    let mut fixture = Fixture::new(config(Durability::PageCache));
    let effects = many(&mut fixture, 1);
    fixture.files.perform(&fixture.disk, &effects, false).unwrap();
    fixture.files.active = None;
    fixture.disk.switches().fail_writes.store(true, Ordering::Relaxed);
    assert!(fixture.files.perform(&fixture.disk, &[], true).is_err());
    assert!(fixture.files.is_poisoned());
}

#[test]
fn a_sync_that_finds_no_room_is_a_failed_sync() {
    let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert!(is_scarcity(&error) && !is_scarcity(&std::io::Error::other(error)));
    assert!(is_scarcity(&std::io::Error::from_raw_os_error(24)));
}
