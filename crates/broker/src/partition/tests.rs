use super::{
    Condition, Cut, Refused,
    kit::{Kit, NOW, append, config},
};
use crate::{
    acks::{Acks, Undone},
    failure_code,
};
use futures_util::FutureExt;
use std::sync::atomic::Ordering;

/// One slot that is open.
fn ack() -> std::sync::Arc<Acks> {
    let acks = Acks::new();
    acks.open(0);
    acks
}

#[test]
fn a_job_that_panics_or_never_runs_takes_its_partition_offline_and_whoever_waits_is_told() {
    for is_run in [true, false] {
        let kit = Kit::new(1 << 20);
        let partition = kit.partition(0);
        let acks = ack();
        append(&partition, 100, Some((&acks, 0))).unwrap();
        let mut written = Box::pin(partition.written());
        assert_eq!((&mut written).now_or_never(), None);
        assert!(kit.dir.shared.backlog.is_full());
        let job = kit.lane.next().unwrap();
        if is_run {
            kit.clock.is_broken.store(true, Ordering::Relaxed);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).unwrap_err();
            kit.clock.is_broken.store(false, Ordering::Relaxed);
        } else {
            drop(job);
        }
        assert_eq!(acks.wait().now_or_never(), Some(vec![(0, Undone::Failed)]));
        assert_eq!(written.now_or_never(), Some(()));
        assert!(matches!(append(&partition, 1, None), Err(Refused::Offline(_))));
        assert!(!kit.dir.shared.backlog.is_full() && kit.dir.is_offline());
    }
}

#[test]
fn a_node_that_takes_no_more_jobs_holds_nobody_up() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    kit.lane.is_gone.store(true, Ordering::Relaxed);
    let acks = ack();
    append(&partition, 100, Some((&acks, 0))).unwrap();
    assert_eq!(acks.wait().now_or_never(), Some(vec![(0, Undone::Failed)]));
}

#[test]
fn what_is_closed_takes_nothing_more_and_changes_no_more() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    let acks = ack();
    append(&partition, 100, Some((&acks, 0))).unwrap();
    let mut closing = Box::pin(partition.close());
    assert_eq!((&mut closing).now_or_never(), None);
    let refused = append(&partition, 100, None).unwrap_err();
    assert!(matches!(refused, Refused::Closed), "{refused}");
    assert_eq!(failure_code::of_partition(&refused), wire::ErrorCode::NotLeaderOrFollower);
    assert!(matches!(partition.delete_records(-1).now_or_never(), Some(Err(Refused::Closed))));
    kit.lane.work();
    assert_eq!(closing.now_or_never(), Some(()));
    assert_eq!(acks.wait().now_or_never(), Some(vec![]), "what was taken before is durable");
    let marks = partition.offsets().unwrap();
    assert_eq!((marks.end, marks.recovery_point), (1, 1));
    partition.tick(NOW + i64::from(i32::MAX));
    partition.close().now_or_never().unwrap();
    assert!(kit.lane.next().is_none());
    assert_eq!(partition.offsets(), Some(marks));
}

#[test]
fn who_waits_for_what_is_pending_does_not_wait_for_what_comes_after() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    append(&partition, 1, None).unwrap();
    let mut first = Box::pin(partition.written());
    assert_eq!((&mut first).now_or_never(), None);
    append(&partition, 1, None).unwrap();
    let mut second = Box::pin(partition.written());
    assert_eq!((&mut second).now_or_never(), None);
    kit.lane.next().unwrap()();
    assert_eq!((first.now_or_never(), (&mut second).now_or_never()), (Some(()), None));
    append(&partition, 1, None).unwrap();
    kit.lane.next().unwrap()();
    assert_eq!(second.now_or_never(), Some(()));
}

#[test]
fn a_directory_that_cannot_be_opened_for_now_is_no_failed_disk() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    *kit.disk.switches().closed_below.lock().unwrap() = Some("/data".into());
    append(&partition, 100, None).unwrap();
    kit.lane.work();
    assert!(matches!(append(&partition, 1, None), Err(Refused::Stuck(_))));
    assert!(!kit.dir.is_offline());
    *kit.disk.switches().closed_below.lock().unwrap() = None;
    partition.sweep(NOW);
    kit.lane.work();
    assert_eq!(append(&partition, 1, None).unwrap(), 1);
}

/// The role of a follower of node 2 in this epoch.
async fn follow(partition: &std::sync::Arc<super::Partition>, leader_epoch: i32) {
    let term = replica::Term {
        leader_epoch,
        partition_epoch: leader_epoch,
        replicas: vec![1, 2],
        isr: [1, 2].into(),
    };
    let lag_max = std::time::Duration::from_secs(30);
    partition.assign(&super::Assignment { leader: 2, term, isr_min: 1, lag_max }).await;
}

/// What a leader sends: one record at this offset.
fn sent(offset: i64, leader_epoch: i32) -> super::Fetched {
    let mut builder = records::BatchBuilder::new().base_offset(offset).leader_epoch(leader_epoch);
    builder.push(NOW, None, Some(b"v"), &[]);
    super::Fetched { records: builder.build().unwrap().bytes, high_watermark: offset, start_offset: 0 }
}

#[tokio::test]
async fn a_follower_asks_for_more_only_when_what_it_has_is_on_stable_storage() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    follow(&partition, 3).await;
    assert_eq!(partition.place(3).unwrap().offset, 0);
    let acks = ack();
    partition.follow(NOW, 3, sent(0, 3), (acks.clone(), 0)).unwrap();
    assert!(partition.place(3).is_err(), "to ask from its end on would acknowledge it");
    let mut wait = acks.wait();
    assert_eq!((&mut wait).now_or_never(), None);
    kit.lane.work();
    assert_eq!(wait.now_or_never(), Some(vec![]));
    let place = partition.place(3).unwrap();
    assert_eq!((place.offset, place.last_epoch), (1, 3));
}

#[tokio::test]
async fn what_a_former_leader_sends_is_not_taken() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    follow(&partition, 3).await;
    follow(&partition, 4).await;
    let acks = ack();
    assert!(matches!(partition.follow(NOW, 3, sent(0, 3), (acks.clone(), 0)), Err(Refused::NotLeader)));
    assert_eq!(acks.wait().now_or_never(), Some(vec![(0, Undone::Failed)]));
    assert!(partition.place(3).is_err());
    // Nor what a leader sends of which this broker has not heard.
    partition.follow(NOW, 4, sent(0, 5), (ack(), 0)).unwrap();
    assert_eq!(partition.offsets().unwrap().end, 0);
    assert!(append(&partition, 1, None).is_err(), "a follower takes nothing from producers");
}

#[test]
fn what_was_acknowledged_before_acks_became_durable_is_synced_at_once() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    let page_cache = log::LogConfig { durability: log::Durability::PageCache, ..(*config()).clone() };
    partition.configure(std::sync::Arc::new(page_cache));
    append(&partition, 100, None).unwrap();
    kit.lane.work();
    let marks = partition.offsets().unwrap();
    assert_eq!((marks.high_watermark, marks.recovery_point), (1, 0), "the page cache has it");
    partition.configure(config());
    kit.lane.work();
    assert_eq!(partition.offsets().unwrap().recovery_point, 1);
    partition.configure(config());
    assert!(kit.lane.next().is_none(), "nothing is left to sync");
}

/// A follower with three records, all synced.
async fn follower(kit: &Kit) -> std::sync::Arc<super::Partition> {
    let partition = kit.partition(0);
    follow(&partition, 3).await;
    for offset in 0..3 {
        partition.follow(NOW, 3, sent(offset, 3), (ack(), 0)).unwrap();
        kit.lane.work();
    }
    partition
}

#[tokio::test]
async fn a_cut_that_lacks_descriptors_waits_for_them_and_takes_no_other_partition_along() {
    let kit = Kit::new(1 << 20);
    let partition = follower(&kit).await;
    for cut in [Cut::At(1), Cut::StartOver(7)] {
        partition.announce_cut(cut);
        let mut cutting = Box::pin(partition.cut(3, cut));
        assert!((&mut cutting).now_or_never().is_none());
        *kit.disk.switches().closed_below.lock().unwrap() = Some("/data/t-0".into());
        kit.lane.work();
        assert!(matches!(cutting.now_or_never(), Some(Err(Refused::Offline(_)))));
        assert!(!kit.dir.is_offline() && partition.waits_for_room());
        partition.sweep(NOW);
        kit.lane.work();
        assert!(partition.waits_for_room(), "there are none yet");
        *kit.disk.switches().closed_below.lock().unwrap() = None;
        partition.sweep(NOW);
        kit.lane.work();
        let place = partition.place(3).unwrap();
        assert!(place.offset >= 1, "what is there is a part of what was");
    }
}

#[tokio::test]
async fn a_read_that_finds_damage_takes_only_this_partition_offline_and_leaves_a_mark() {
    let kit = Kit::new(1 << 20);
    let (partition, other) = (follower(&kit).await, kit.partition(1));
    let (scrub, of) = partition.scrub(0).unwrap();
    let gone = super::ReadOf { segment: Some(1000), ..of };
    let damage = std::io::Error::new(std::io::ErrorKind::InvalidData, "damaged");
    partition.on_read_error(&damage, gone);
    partition.on_read_error(&std::io::Error::other("a disk that is away"), of);
    assert_eq!(partition.condition(), Condition::Sound, "it says nothing of this log");
    partition.on_read_error(&damage, of);
    assert_eq!((partition.condition(), other.condition()), (Condition::Damaged, Condition::Sound));
    assert!(!kit.dir.is_offline());
    kit.lane.work();
    let mark = kit.disk.contents(std::path::Path::new("/data/t-0/damage")).unwrap();
    assert!(String::from_utf8(mark).unwrap().contains("damaged"));
    // Begun anew it is another log: what was read of the old one says nothing of it.
    assert!(partition.marks().is_some_and(|marks| marks.recovery_point == 3));
    partition.at_rest().await;
    assert!(partition.forget_marks() && partition.marks().is_none());
    partition.begin_anew();
    assert_eq!(partition.place(3).unwrap().offset, 0);
    assert!(!partition.on_damage(&scrub.missing(), of));
    assert_eq!(partition.condition(), Condition::Sound);
}

#[tokio::test]
async fn a_cut_waits_for_an_index_that_is_built_anew_and_none_is_begun_beside_it() {
    let kit = Kit::new(1 << 20);
    let partition = follower(&kit).await;
    let (scrub, of) = partition.scrub(0).unwrap();
    let (_, ended) = partition.begin_rebuild(scrub.segment(), of).unwrap();
    partition.announce_cut(Cut::At(1));
    assert!(partition.begin_rebuild(scrub.segment(), of).is_none());
    let mut cutting = Box::pin(partition.cut(3, Cut::At(1)));
    assert!((&mut cutting).now_or_never().is_none() && kit.lane.next().is_none());
    drop(ended);
    assert!((&mut cutting).now_or_never().is_none());
    kit.lane.work();
    assert!(matches!(cutting.now_or_never(), Some(Ok(()))));
    assert!(partition.begin_rebuild(scrub.segment(), of).is_none(), "it is another log");
}

#[tokio::test]
async fn a_log_that_is_copied_is_not_compacted_either_after_it_was_opened_again() {
    let kit = Kit::new(1 << 20);
    let partition = follower(&kit).await;
    let config = log::LogConfig {
        segment_bytes: 100,
        cleanup_compact: true,
        min_cleanable_dirty_ppm: 0,
        ..(*config()).clone()
    };
    partition.configure(std::sync::Arc::new(config));
    let limits = log::CleaningLimits { key_bytes_max: 1 << 20, window_bytes: 4096 };
    partition.set_copied(true);
    let (_, of) = partition.scrub(0).unwrap();
    partition.on_read_error(&std::io::Error::new(std::io::ErrorKind::InvalidData, "damaged"), of);
    kit.lane.work();
    partition.at_rest().await;
    env::Disk::remove_dir_all(&*kit.disk, std::path::Path::new("/data/t-0")).unwrap();
    assert!(partition.forget_marks());
    partition.begin_anew();
    for offset in 0..3 {
        partition.follow(NOW, 3, sent(offset, 3), (ack(), 0)).unwrap();
        kit.lane.work();
    }
    assert!(partition.begin_cleaning(NOW, limits).is_none());
    partition.set_copied(false);
    assert!(partition.begin_cleaning(NOW, limits).is_some());
}

#[tokio::test]
async fn on_a_full_disk_nobody_waits_for_a_segment_that_compaction_wants_to_replace() {
    let kit = Kit::new(1 << 20);
    let partition = kit.partition(0);
    let small = log::LogConfig { segment_bytes: 300, ..(*config()).clone() };
    partition.configure(std::sync::Arc::new(small.clone()));
    for _ in 0..6 {
        append(&partition, 100, None).unwrap();
        kit.lane.work();
    }
    append(&partition, 100, None).unwrap();
    let compacted = log::LogConfig { cleanup_compact: true, min_cleanable_dirty_ppm: 0, ..small };
    partition.configure(std::sync::Arc::new(compacted));
    let limits = log::CleaningLimits { key_bytes_max: 1 << 20, window_bytes: 4096 };
    let (mut cleaning, of) = partition.begin_cleaning(NOW, limits).unwrap();
    let cleaned = loop {
        match cleaning.step(&*kit.disk, 1 << 20).unwrap() {
            log::CleaningStep::More(_) => {}
            log::CleaningStep::Cleaned(cleaned) => break cleaned,
            log::CleaningStep::Done(report) => panic!("{report:?}"),
        }
    };
    let mut swapping = Box::pin(partition.swap(&cleaned, of));
    assert_eq!((&mut swapping).now_or_never(), None);
    kit.disk.switches().full_after.store(1, Ordering::Relaxed);
    kit.lane.work();
    assert_eq!(swapping.now_or_never(), Some(true));
    assert!(partition.waits_for_room() && !partition.is_swapping() && partition.swap_count() == 0);
    let mut deleting = Box::pin(partition.delete_records(4));
    assert!((&mut deleting).now_or_never().is_none());
    kit.lane.work();
    let is_deleted = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".log.deleted");
    assert!(kit.disk.paths().iter().any(is_deleted), "retention makes room");
    let again = partition.swap(&cleaned, of).now_or_never();
    assert_eq!(again, Some(false), "none is begun while nothing can be written");
}
