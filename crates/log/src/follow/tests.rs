use crate::{fixture::*, *};
use records::Batch;

use Durability::Fsync;

/// A leader's log with batches of three epochs, and all of them.
fn leader() -> (Fixture, Vec<Batch>) {
    let mut leader = Fixture::new(config(Fsync));
    for index in 0..12 {
        leader.epoch = 2 + index / 4;
        leader.append(batch(NOW + i64::from(index), 3, 300).compression(codec(index as usize)).producer(
            77,
            0,
            index * 3,
        ));
    }
    let batches = leader.batches(usize::MAX);
    (leader, batches)
}

fn follow(follower: &mut Fixture, batches: &[Batch]) -> Result<(), FollowError> {
    let mut effects = Vec::new();
    let result = batches
        .iter()
        .try_for_each(|batch| follower.log.append_as_follower(NOW, batch.clone(), &mut effects));
    follower.perform(effects);
    result
}

#[test]
fn a_followers_files_are_its_leaders_byte_for_byte() {
    let (leader, batches) = leader();
    let mut follower = Fixture::new(config(Fsync));
    // As many at once as come.
    for some in batches.chunks(5) {
        follow(&mut follower, some).unwrap();
    }
    assert_eq!(follower.log.end_offset(), 36);
    assert_eq!(follower.log.flushed_offset(), 36);
    assert_eq!(follower.log.epochs(), leader.log.epochs());
    assert_eq!(follower.log.epochs().entries().len(), 3);
    assert_eq!(follower.log.producers(), leader.log.producers());
    let (theirs, ours) = (leader.close(), follower.close());
    assert_eq!(ours.paths(), theirs.paths());
    for path in theirs.paths() {
        assert_eq!(ours.contents(&path), theirs.contents(&path), "{}", path.display());
    }
}

#[test]
fn a_batch_that_was_damaged_is_refused_and_those_before_it_stay() {
    let (_, batches) = leader();
    let mut follower = Fixture::new(config(Fsync));
    let mut damaged = batches[1].bytes.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let damaged = Batch { header: batches[1].header, bytes: damaged.into() };
    let refused = follow(&mut follower, &[batches[0].clone(), damaged, batches[2].clone()]);
    assert_eq!(refused, Err(FollowError::Corrupt(3)));
    assert_eq!(follower.log.end_offset(), 3);
    follow(&mut follower, &batches[1..]).unwrap();
    assert_eq!(follower.batches(900), batches);
}

#[test]
fn a_batch_that_the_log_has_is_refused_and_a_gap_is_taken() {
    let (_, batches) = leader();
    let mut follower = Fixture::new(config(Fsync));
    follow(&mut follower, &batches[..2]).unwrap();
    let overlapping = FollowError::Overlapping { base_offset: 3, end_offset: 6 };
    assert_eq!(follow(&mut follower, &batches[1..2]), Err(overlapping));
    follow(&mut follower, &batches[4..5]).unwrap();
    assert_eq!(follower.log.end_offset(), 15);
    let read: Vec<_> = follower.batches(900).iter().map(|batch| batch.header.base_offset).collect();
    assert_eq!(read, [0, 3, 12]);
}

#[test]
fn a_log_that_begins_within_a_batch_takes_all_of_it_and_its_start_stays() {
    let (_, batches) = leader();
    let start = |start_offset| OpenOptions { start_offset, ..options(config(Fsync), false, 0) };
    let disk = testing::MemoryDisk::new();
    let Opened { log, files, recovery } = open(&disk, &dir(), start(4)).unwrap();
    let mut follower = Fixture { disk, log, files, recovery, now: NOW, epoch: 0 };
    let overlapping = FollowError::Overlapping { base_offset: 0, end_offset: 4 };
    assert_eq!(follow(&mut follower, &batches[..1]), Err(overlapping), "it ends before the log begins");
    follow(&mut follower, &batches[1..3]).unwrap();
    assert_eq!((follower.log.start_offset(), follower.log.end_offset()), (4, 9));
    assert_eq!(follower.log.flushed_offset(), 9);
    follower.forget_tail();
    assert_eq!(follower.batches(900), batches[1..3]);
    let point = follower.log.recovery_point();
    let again =
        open(&follower.disk.after_power_cut(), &dir(), OpenOptions { recovery_point: point, ..start(4) });
    let again = again.unwrap().log;
    assert_eq!((again.start_offset(), again.end_offset(), again.segment_count()), (4, 9, 1));
}

#[test]
fn a_gap_that_no_index_could_count_begins_a_segment() {
    let mut follower = Fixture::new(config(Fsync));
    let far = i64::from(i32::MAX) * 2;
    let at = |offset: i64| batch(NOW, 1, 10).base_offset(offset).build().unwrap();
    follow(&mut follower, &[at(0), at(far)]).unwrap();
    let segments: Vec<_> = follower.log.segments.iter().map(|segment| segment.base_offset).collect();
    assert_eq!(segments, [0, far]);
    assert_eq!(follower.log.end_offset(), far + 1);
    follower.forget_tail();
    let read: Vec<_> = [0, far].map(|from| follower.read(from, usize::MAX).1).into();
    assert_eq!(read, [1, far + 1]);
}

#[test]
fn the_epoch_of_a_leader_that_has_appended_nothing_ends_those_before_and_is_written_with_its_first_batch() {
    let mut fixture = Fixture::new(config(Fsync));
    fixture.epoch = 1;
    fixture.append(batch(NOW, 5, 10));
    fixture.log.begin_epoch(4);
    assert_eq!(fixture.log.epochs().end_offset_for(2, 5), (1, 5));
    assert_eq!(fixture.log.epochs().end_offset_for(4, 5), (4, 5));
    let epochs = |fixture: &Fixture| {
        String::from_utf8(fixture.disk.contents(&dir().join("leader-epoch-checkpoint")).unwrap())
    };
    assert_eq!(epochs(&fixture).unwrap(), "0\n1\n1 0\n");
    fixture.epoch = 4;
    fixture.append(batch(NOW, 1, 10));
    assert_eq!(epochs(&fixture).unwrap(), "0\n2\n1 0\n4 5\n");
}
