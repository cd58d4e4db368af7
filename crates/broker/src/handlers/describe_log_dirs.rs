//! DescribeLogDirs (key 35): the log directories, their space, and the size of each partition in them, of those that are on
//! their way to another directory there too (KIP-113, KIP-827, KIP-1066).

use crate::{Broker, context::Context, failure_code, log_dir::LogDir, log_dirs};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, ErrorCode,
    describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};

/// Topics, and what lies of them in one directory.
type Topics = BTreeMap<String, Vec<DescribeLogDirsPartition>>;

pub(crate) async fn handle(
    broker: &Arc<Broker>,
    _context: &Context,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| (topic.topic, topic.partitions.into_iter().collect()));
        named.collect::<BTreeMap<_, BTreeSet<i32>>>()
    });
    let is_wanted = |topic: &str, index: i32| {
        wanted.as_ref().is_none_or(|wanted| wanted.get(topic).is_some_and(|indexes| indexes.contains(&index)))
    };
    let cordoned = broker.config.configs(&broker.image()).broker().list("cordoned.log.dirs");
    let mut results = Vec::with_capacity(broker.dirs.all().len());
    for dir in broker.dirs.all() {
        let topics = match dir.is_offline() {
            true => Topics::new(),
            false => topics(broker, dir, is_wanted),
        };
        let space = match dir.is_offline() {
            true => None,
            false => space(broker, dir).await,
        };
        let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
        results.push(DescribeLogDirsResult {
            error_code: match dir.is_offline() {
                true => ErrorCode::KafkaStorageError.to_i16(),
                false => failure_code::NONE,
            },
            log_dir: dir.path.to_string_lossy().into_owned(),
            topics: topics.collect(),
            total_bytes: space.map_or(-1, |(total, _)| bytes(total)),
            usable_bytes: space.map_or(-1, |(_, usable)| bytes(usable)),
            is_cordoned: !dir.is_offline() && log_dirs::is_cordoned(dir, &cordoned),
        });
    }
    DescribeLogDirsResponse { results, ..DescribeLogDirsResponse::default() }
}

fn topics(broker: &Broker, dir: &Arc<LogDir>, is_wanted: impl Fn(&str, i32) -> bool) -> Topics {
    let mut topics = Topics::new();
    let mut add = |topic: &str, partition: DescribeLogDirsPartition| {
        if is_wanted(topic, partition.partition_index) {
            topics.entry(topic.to_owned()).or_default().push(partition);
        }
    };
    for partition in broker.partitions.all().iter().filter(|partition| partition.is_in(dir)) {
        let one = DescribeLogDirsPartition {
            partition_index: partition.index(),
            partition_size: partition.size_bytes() as i64,
            offset_lag: 0,
            is_future_key: false,
        };
        add(partition.topic(), one);
    }
    let moves = broker.moves.all();
    for one in moves.iter().filter(|one| Arc::ptr_eq(&one.to, dir) && !one.partition.is_in(dir)) {
        let future = DescribeLogDirsPartition {
            partition_index: one.partition.index(),
            partition_size: one.size_bytes() as i64,
            offset_lag: one.lag(),
            is_future_key: true,
        };
        add(one.partition.topic(), future);
    }
    topics
}

async fn space(broker: &Broker, dir: &Arc<LogDir>) -> Option<(u64, u64)> {
    let dir = dir.clone();
    broker.on_lane(move || dir.world.disk.space(&dir.path).ok()).await.flatten()
}

/// What is too much for the field is as much as it can say; `u64::MAX` is no size of a file system.
fn bytes(bytes: u64) -> i64 {
    match bytes {
        u64::MAX => -1,
        bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
    }
}
