//! A member of a streams group from the client's side: the application reads `in`, writes its own topic `re`, and counts that into
//! a store whose changelog is `log`.

use super::Client;
use wire::{
    StreamsGroupHeartbeatRequest, StreamsGroupHeartbeatResponse, streams_group_heartbeat_request as beat,
};

/// A member.
pub(crate) struct Streaming {
    group: &'static str,
    member: &'static str,
    pub(crate) epoch: i32,
    /// The active tasks that it has, by subtopology.
    pub(crate) tasks: Vec<(String, Vec<i32>)>,
}

impl Streaming {
    pub(crate) fn new(group: &'static str, member: &'static str) -> Self {
        Self { group, member, epoch: 0, tasks: Vec::new() }
    }

    /// The request by which it joins.
    pub(crate) fn joining(&self) -> StreamsGroupHeartbeatRequest {
        let topic = |name: &str| beat::TopicInfo { name: name.into(), ..Default::default() };
        let mut log = topic("log");
        log.topic_configs = vec![beat::KeyValue { key: "cleanup.policy".into(), value: "compact".into() }];
        let reads = beat::Subtopology {
            subtopology_id: "0".into(),
            source_topics: vec!["in".into()],
            repartition_sink_topics: vec!["re".into()],
            ..Default::default()
        };
        let counts = beat::Subtopology {
            subtopology_id: "1".into(),
            repartition_source_topics: vec![topic("re")],
            state_changelog_topics: vec![log],
            ..Default::default()
        };
        StreamsGroupHeartbeatRequest {
            group_id: self.group.into(),
            member_id: self.member.into(),
            rebalance_timeout_ms: 60_000,
            topology: Some(beat::Topology { epoch: 0, subtopologies: vec![reads, counts] }),
            active_tasks: Some(vec![]),
            standby_tasks: Some(vec![]),
            warmup_tasks: Some(vec![]),
            process_id: Some("p".into()),
            ..Default::default()
        }
    }

    /// A request in which it says nothing but what it has.
    pub(crate) fn beating(&self) -> StreamsGroupHeartbeatRequest {
        let tasks = self.tasks.iter();
        let tasks = tasks.map(|(id, partitions)| beat::TaskIds {
            subtopology_id: id.clone(),
            partitions: partitions.clone(),
        });
        StreamsGroupHeartbeatRequest {
            member_epoch: self.epoch,
            rebalance_timeout_ms: -1,
            topology: None,
            process_id: None,
            active_tasks: Some(tasks.collect()),
            ..self.joining()
        }
    }

    pub(crate) async fn join(&mut self, client: &mut Client, version: i16) -> StreamsGroupHeartbeatResponse {
        let request = self.joining();
        self.call(client, version, &request).await
    }

    pub(crate) async fn beat(&mut self, client: &mut Client, version: i16) -> StreamsGroupHeartbeatResponse {
        let request = self.beating();
        self.call(client, version, &request).await
    }

    async fn call(
        &mut self,
        client: &mut Client,
        version: i16,
        request: &StreamsGroupHeartbeatRequest,
    ) -> StreamsGroupHeartbeatResponse {
        let response = client.call(version, request).await;
        if response.error_code == 0 {
            self.epoch = response.member_epoch;
            if let Some(tasks) = &response.active_tasks {
                let tasks = tasks.iter().map(|task| (task.subtopology_id.clone(), task.partitions.clone()));
                self.tasks = tasks.collect();
            }
        }
        response
    }
}
