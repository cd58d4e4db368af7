//! What no client can bring about at will: requests that arrive late, and what happens between two steps of a move. What
//! clients see of moves is tested from outside.

#![allow(clippy::disallowed_methods, reason = "a test is the world of the broker that it tests")]

use super::*;
use crate::{
    Config, Door,
    context::Context,
    fetchers::tests::{
        client::Client,
        pipe,
        world::{LocalTasks, PausedClock, SeededRandom},
    },
    handlers::alter_replica_log_dirs,
    partition::{Promoted, kit::append},
};
use env::{Incoming, Tasks, World};
use futures_util::FutureExt;
use log::{OpenOptions, testing::MemoryDisk};
use metadata::{DirectoryAssignment, Endpoint, config::Statics};
use std::time::Duration;
use wire::{
    AlterReplicaLogDirsRequest,
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
};

const MORE: &str = "/more";

/// A broker with two directories, and a partition in the first.
struct Started {
    broker: Arc<Broker>,
    tasks: Arc<LocalTasks>,
    disk: Arc<MemoryDisk>,
    partition: Arc<Partition>,
    more: Arc<LogDir>,
}

async fn start(statics: &[(&str, &str)]) -> Started {
    let (tasks, disk) = (Arc::new(LocalTasks::default()), Arc::new(MemoryDisk::new()));
    let random = Arc::<SeededRandom>::default();
    let world =
        World { clock: Arc::new(PausedClock::new()), disk: disk.clone(), random, tasks: tasks.clone() };
    let endpoint = Endpoint { name: "PLAINTEXT".into(), host: "here".into(), port: 9092, security: 0 };
    let statics = statics.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    let mut config = Config::new(1, PathBuf::from("/data"), vec![endpoint], Arc::new(Statics::new(statics)));
    config.log_dirs.push(MORE.into());
    let broker = Broker::start(config, world, Arc::new(env::NoNetwork), &Door::new()).await.unwrap();
    let (wire, pipe) = pipe::connect();
    let incoming = Incoming { listener: "PLAINTEXT".into(), connection: Box::new(pipe) };
    tasks.spawn(Box::pin(broker.clone().serve(incoming)));
    Client::new(wire).create("t", 1, &[]).await;
    pass(100).await;
    let partition = broker.partitions.get("t", 0).unwrap();
    let more = broker.dirs.get(1).unwrap().clone();
    Started { broker, tasks, disk, partition, more }
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

impl Started {
    /// Where the metadata have the replica.
    fn recorded(&self) -> Option<Uuid> {
        self.broker.image().topic("t").unwrap().partition(0).unwrap().directory(1)
    }

    async fn tell(&self, directory: Option<Uuid>) {
        let (topic, index) = self.partition.key();
        let assignment = DirectoryAssignment { directory: directory.unwrap(), topic, index };
        let told = self.broker.assign_directories(vec![assignment]).await.unwrap();
        assert!(told.len() == 1 && told.iter().all(|(_, result)| result.is_ok()), "it was refused");
    }

    /// A copy of the log, which has no records.
    fn copy(&self) -> Copy {
        let path = self.more.path.join("t-0.0123-future");
        make_dir(&*self.disk, &self.more.path, &path, self.partition.topic_id()).unwrap();
        let options = OpenOptions {
            topic_id: self.partition.topic_id(),
            is_new: false,
            config: self.partition.config(),
            clean: false,
            recovery_point: 0,
            start_offset: 0,
            now: self.broker.now_ms(),
        };
        let opened = log::open(&*self.disk, &path, options).unwrap();
        Copy { log: opened.log, files: opened.files }
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_late_request_has_the_replica_in_a_wrong_directory_the_controller_is_told_again() {
    let started = start(&[]).await;
    let own = started.partition.dir().id();
    assert_eq!(started.recorded(), own);
    // Of a move that was called off while the controller did not answer.
    started.tell(started.more.id()).await;
    pass(500).await;
    assert_eq!(started.recorded(), own);
    started.tasks.assert_none_panicked();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_arrives_in_a_directory_that_has_failed_meanwhile_is_offline() {
    let started = start(&[]).await;
    let (partition, more) = (&started.partition, &started.more);
    let (copy, held) = (started.copy(), partition.hold().await);
    started.tasks.hold_next_job();
    let promoted = partition.promote(copy, more, &started.broker, (partition.cuts(), 1 << 20));
    assert!(matches!(promoted, Promoted::Done(_)));
    drop(held);
    more.fail();
    pass(10).await;
    assert!(partition.offsets().is_some(), "it is neither here nor there");
    started.tasks.release();
    pass(10).await;
    assert!(partition.is_in(more) && partition.offsets().is_none());
    started.tasks.assert_none_panicked();
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_cut_after_the_checkpoints_were_written_is_not_exchanged_with_them() {
    let started = start(&[]).await;
    let (partition, more) = (&started.partition, &started.more);
    let (copy, held) = (started.copy(), partition.hold().await);
    let before = partition.cuts().map(|cuts| cuts + 1);
    let promoted = partition.promote(copy, more, &started.broker, (before, 1 << 20));
    let Promoted::Later(copy) = promoted else { panic!("it was cut") };
    assert!(partition.settled().now_or_never().is_some(), "nobody is at it");
    started.tasks.hold_next_job();
    let promoted = partition.promote(*copy, more, &started.broker, (partition.cuts(), 1 << 20));
    assert!(matches!(promoted, Promoted::Done(_)));
    drop(held);
    let mut settled = Box::pin(partition.settled());
    assert!((&mut settled).now_or_never().is_none(), "nobody knows yet which checkpoints count for a cut");
    started.tasks.release();
    settled.await;
    assert!(partition.is_in(more));
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_a_move_off_waits_for_its_end_also_if_somebody_before_has_gone_away() {
    let started = start(&[("replica.alter.log.dirs.io.max.bytes.per.second", "0")]).await;
    let (broker, partition) = (&started.broker, &started.partition);
    begin(broker, partition, &started.more, "t-0.0123-future".into()).await.unwrap();
    pass(10).await;
    let key = partition.key();
    assert!(
        broker.moves.call_off(key).now_or_never().is_none(),
        "it is not over yet, and the client is gone"
    );
    assert!(!broker.moves.get(key).unwrap().is_going_to(&started.more));
    broker.moves.call_off(key).await;
    assert!(broker.moves.get(key).is_none());
    assert!(!started.disk.paths().iter().any(|path| path.starts_with("/more/t-0.0123-future")));
}

#[tokio::test(start_paused = true)]
async fn a_move_waits_for_a_log_that_has_gone_offline_and_is_open_again_later() {
    let started = start(&[]).await;
    append(&started.partition, 10, None).unwrap();
    pass(10).await;
    let (broker, partition) = (started.broker.clone(), started.partition.clone());
    begin(&broker, &partition, &started.more, "t-0.0123-future".into()).await.unwrap();
    started.tasks.hold_next_job();
    pass(10).await;
    let (_, of) = partition.scrub(0).unwrap();
    partition.on_read_error(&io::ErrorKind::InvalidData.into(), of);
    assert!(partition.offsets().is_none());
    started.tasks.release();
    pass(5000).await;
    assert!(broker.moves.get(partition.key()).is_some(), "it waits");
    assert!(started.disk.paths().iter().any(|path| is_of_a_copy(path)));
    partition.at_rest().await;
    env::Disk::remove_dir_all(&*started.disk, Path::new("/data/t-0")).unwrap();
    assert!(partition.forget_marks());
    partition.begin_anew();
    pass(3000).await;
    assert!(partition.is_in(&started.more) && partition.offsets().is_some());
    assert!(broker.moves.get(partition.key()).is_none());
    assert!(!started.disk.paths().iter().any(|path| is_of_a_copy(path)));
    assert_eq!(started.recorded(), started.more.id());
    started.tasks.assert_none_panicked();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_at_any_moment_leaves_no_copy_without_a_move() {
    let (mut jobs, mut is_answered, mut copies) = (0, false, 0);
    while !is_answered {
        let started = start(&[("replica.alter.log.dirs.io.max.bytes.per.second", "0")]).await;
        let context = Context {
            version: 2,
            client_id: None,
            client: Arc::default(),
            principal: "somebody".into(),
            listener: "PLAINTEXT".into(),
            address: ([127, 0, 0, 1], 9092).into(),
            pace: Arc::default(),
            connection: 0,
        };
        let topic = AlterReplicaLogDirTopic { name: "t".into(), partitions: vec![0] };
        let dir = AlterReplicaLogDir { path: MORE.into(), topics: vec![topic] };
        let request = AlterReplicaLogDirsRequest { dirs: vec![dir] };
        let mut asking = Box::pin(alter_replica_log_dirs::handle(&started.broker, &context, request));
        started.tasks.hold_next_job();
        for job in 0..=jobs {
            if job > 0 {
                started.tasks.release_and_hold_next_job();
            }
            is_answered |= (&mut asking).now_or_never().is_some();
            pass(1).await;
            if is_answered {
                break;
            }
        }
        drop(asking);
        started.tasks.release_if_held();
        pass(100).await;
        let has_copy = started.disk.paths().iter().any(|path| path.starts_with(MORE) && is_of_a_copy(path));
        let is_moved = started.broker.moves.get(started.partition.key()).is_some();
        assert_eq!(has_copy, is_moved, "given up at job {jobs}");
        copies += usize::from(has_copy && !is_answered);
        started.tasks.assert_none_panicked();
        jobs += 1;
    }
    assert!(jobs > 3 && copies > 0, "it is answered after {jobs} jobs");
}

/// Whether a path is that of a file of a copy.
fn is_of_a_copy(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.to_string_lossy().ends_with("-future"))
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_it_is_looked_whether_the_place_is_free_says_nothing_of_the_place() {
    let started = start(&[]).await;
    started.tasks.hold_next_job();
    let mut looking = Box::pin(check_free(&started.broker, &started.partition, &started.more));
    assert!((&mut looking).now_or_never().is_none());
    started.tasks.drop_held();
    assert!(matches!(looking.now_or_never(), Some(None)));
}

#[test]
fn a_slow_move_copies_no_more_at_once_than_it_may_in_a_second() {
    let pace = |bytes_per_second| Pace { bytes_per_second, at_a_time: 1 };
    assert_eq!(pace(1 << 20).slice_bytes(), 1 << 20);
    assert_eq!(pace(1).slice_bytes(), 64 * 1024, "a batch is copied whole all the same");
    assert_eq!(pace(i64::MAX as u64).slice_bytes(), 4 << 20);
    assert_eq!(pace(1 << 20).after(5, 1 << 19), 500_000_005);
    assert_eq!(pace(i64::MAX as u64).after(5, 4 << 20), 5, "no limit");
}
