//! A partition on a disk in memory, for this crate's tests: its lane works only when it is told to.

use super::{Partition, Refused};
use crate::{
    acks::Acks,
    backlog::Backlog,
    log_config,
    log_dir::{LogDir, Shared},
    tail_budget::TailBudget,
};
use env::{BoxFuture, Clock, Deadline, Job, Millis, Nanos, Random, Tasks, World};
use log::{LogConfig, OpenOptions, testing::MemoryDisk};
use metadata::{Controller, Settings, config::Statics};
use model::{TopicName, TopicPartition};
use parking_lot::Mutex;
use records::{BatchBuilder, Decompressor};
use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// The wall clock, which stands still.
pub(crate) const NOW: Millis = 1_700_000_000_000;

/// The backlog is full at so many bytes.
pub(crate) const BACKLOG_BYTES_MAX: usize = 100;

/// A log directory whose lane has a handle.
pub(crate) struct Kit {
    pub(crate) clock: Arc<Standing>,
    pub(crate) disk: Arc<MemoryDisk>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) dir: Arc<LogDir>,
}

/// The jobs that were handed over.
#[derive(Default)]
pub(crate) struct Lane {
    jobs: Mutex<VecDeque<Job>>,
    /// Jobs are dropped at once: the node stops.
    pub(crate) is_gone: AtomicBool,
}

/// Time that does not pass, and numbers in their order.
#[derive(Default)]
pub(crate) struct Standing {
    /// Whoever asks for the time panics; the end of a job does.
    pub(crate) is_broken: AtomicBool,
    drawn: AtomicU64,
}

impl Kit {
    /// An empty directory; the tails of its logs may take `tail_bytes` together.
    pub(crate) fn new(tail_bytes: usize) -> Self {
        let (disk, lane) = (Arc::new(MemoryDisk::new()), Arc::new(Lane::default()));
        let clock = Arc::new(Standing::default());
        let world =
            World { clock: clock.clone(), disk: disk.clone(), random: clock.clone(), tasks: lane.clone() };
        let (tail, backlog) = (TailBudget::new(tail_bytes), Arc::new(Backlog::new(BACKLOG_BYTES_MAX)));
        let (dir, _) = LogDir::open(Shared::new(world, 1, tail, backlog), Path::new("/data"), None).unwrap();
        Self { clock, disk, lane, dir: Arc::new(dir) }
    }

    /// Partition `index` of the topic "t".
    pub(crate) fn partition(&self, index: i32) -> Arc<Partition> {
        let (topic, topic_id) = (TopicName::new("t").unwrap(), stdx::Uuid([9; 16]));
        let name = TopicPartition::new(topic.clone(), index);
        let options = OpenOptions {
            topic_id,
            is_new: true,
            config: config(),
            clean: true,
            recovery_point: 0,
            start_offset: 0,
            now: NOW,
        };
        let opened = crate::replicas::open_log(&self.dir, &name, options);
        Partition::new(self.dir.clone(), (topic, topic_id, index), 0, config(), opened)
    }
}

/// Durable acknowledgements and everything else as it is by default.
pub(crate) fn config() -> Arc<LogConfig> {
    let statics = Arc::new(Statics::new(std::iter::empty::<(String, String)>()));
    let controller = Controller::new(Settings { cluster_id: "c".into(), node: 1, statics });
    Arc::new(log_config::of_topic(&controller.configs().topic("t")))
}

impl Partition {
    pub(crate) fn tail_bytes(&self) -> usize {
        match &*self.state.lock() {
            super::State::Online(online) => online.log.tail_bytes(),
            _ => 0,
        }
    }
}

/// Appends one record of `bytes` bytes.
pub(crate) fn append(
    partition: &Arc<Partition>,
    bytes: usize,
    acks: Option<(&Arc<Acks>, usize)>,
) -> Result<i64, Refused> {
    let mut builder = BatchBuilder::new();
    builder.push(NOW, None, Some(&vec![b'v'; bytes]), &[]);
    let rules = partition.rules(NOW, true);
    let batch = builder.build().unwrap();
    let checked = records::check(batch.bytes, &rules, &mut Decompressor::new()).unwrap();
    let settled = acks.map(|(acks, slot)| (acks.clone() as Arc<dyn crate::acks::Settled>, slot));
    let copies = (super::Copies::InSync, None);
    partition.produce(NOW, checked, copies, settled).map(|appended| appended.base_offset)
}

impl Lane {
    /// The job that waits longest.
    pub(crate) fn next(&self) -> Option<Job> {
        self.jobs.lock().pop_front()
    }

    /// Runs jobs until there are none.
    pub(crate) fn work(&self) {
        while let Some(job) = self.next() {
            job();
        }
    }
}

impl Tasks for Lane {
    fn spawn(&self, _: BoxFuture<'static, ()>) {}

    fn run_on_worker(&self, job: Job) {
        job();
    }

    fn run_on_lane(&self, job: Job) {
        if !self.is_gone.load(Ordering::Relaxed) {
            self.jobs.lock().push_back(job);
        }
    }
}

impl Clock for Standing {
    fn wall(&self) -> Millis {
        assert!(!self.is_broken.load(Ordering::Relaxed), "planted");
        NOW
    }

    fn now(&self) -> Nanos {
        0
    }

    fn sleep_until(&self, _: Deadline) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Random for Standing {
    fn next_u64(&self) -> u64 {
        7 + self.drawn.fetch_add(1, Ordering::Relaxed)
    }
}
