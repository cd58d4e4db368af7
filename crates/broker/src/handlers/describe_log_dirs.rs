//! DescribeLogDirs (key 35): the log directory, its space, and the size of each partition in it (KIP-113, KIP-827).

use crate::{Broker, context::Context, failure_code};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use wire::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, ErrorCode,
    describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic},
};

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
    let mut topics: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in broker.partitions.all() {
        if is_wanted(partition.topic(), partition.index()) {
            topics.entry(partition.topic().to_string()).or_default().push(DescribeLogDirsPartition {
                partition_index: partition.index(),
                partition_size: partition.size_bytes() as i64,
                offset_lag: 0,
                is_future_key: false,
            });
        }
    }
    let space = broker.disk_space().await;
    let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic { name, partitions });
    let result = DescribeLogDirsResult {
        error_code: if broker.is_log_dir_offline() {
            ErrorCode::KafkaStorageError.to_i16()
        } else {
            failure_code::NONE
        },
        log_dir: broker.config.log_dir.to_string_lossy().into_owned(),
        topics: topics.collect(),
        total_bytes: space.map_or(-1, |(total, _)| total as i64),
        usable_bytes: space.map_or(-1, |(_, usable)| usable as i64),
        is_cordoned: false,
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}
