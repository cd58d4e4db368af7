//! What is found in the data of a release: everything that `writer` has put there. Reading changes nothing but what shared
//! records were looked at; `go_on` does what a client of then would do next.

use super::{
    Release,
    writer::{CODECS, FOR_EVER, commit, idempotent, plain_values, read_from},
};
use crate::{
    configs::TOPIC,
    harness::{
        Client, LOG_DIR, Node, Sharing, Streaming, Topic, WALL_START_MS, batch, code, committed,
        stable_offset,
    },
    log_dirs::{self, MORE},
};
use log::testing::MemoryDisk;
use std::path::Path;
use wire::{
    ConsumerGroupHeartbeatRequest, DescribeClientQuotasRequest, DescribeConfigsRequest,
    DescribeGroupsRequest, EndTxnRequest, ErrorCode, HeartbeatRequest, ListOffsetsRequest, MetadataRequest,
    ShareGroupDescribeRequest, StreamsGroupDescribeRequest,
    describe_configs_request::DescribeConfigsResource,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
};

/// That there is enough on the disk for this to mean anything: segments, indexes, snapshots of producers and of the metadata.
pub(super) fn assert_rich(disk: &MemoryDisk, dirs: usize) {
    let paths: Vec<_> = disk.paths().iter().map(|path| path.display().to_string()).collect();
    let count =
        |of: &str, end: &str| paths.iter().filter(|path| path.contains(of) && path.ends_with(end)).count();
    assert!(count("/rolled-0/", ".log") >= 2 && count("/rolled-0/", ".snapshot") >= 1, "{paths:#?}");
    assert!(count("/plain-0/", ".snapshot") == 1 && count("/plain-0/", ".timeindex") == 1, "{paths:#?}");
    assert!(count("/__cluster_metadata-0/", ".checkpoint") == 1, "{paths:#?}");
    assert!(count("/__cluster_metadata-0/", "raft-state") == 1, "{paths:#?}");
    assert!(dirs == 1 || count(MORE, ".log") > 1, "{paths:#?}");
    assert!(disk.contents(&Path::new(LOG_DIR).join("meta.properties")).is_some());
}

async fn topics(client: &mut Client) -> Vec<Topic> {
    let told = client.call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    let mut topics = Vec::new();
    for topic in told.topics {
        assert!(
            topic.partitions.iter().all(|one| one.leader_id == crate::harness::NODE_ID),
            "{:?}",
            topic.name
        );
        let expected = match topic.name.as_deref().unwrap() {
            "plain" => 3,
            "in" | "__consumer_offsets" | "streams-re" | "streams-log" | "re" | "log" => 2,
            _ => 1,
        };
        assert_eq!(topic.partitions.len(), expected, "{:?}", topic.name);
        topics.push(Topic { name: topic.name.unwrap(), id: topic.topic_id });
    }
    topics
}

fn topic(topics: &[Topic], name: &str) -> Topic {
    topics.iter().find(|topic| topic.name == name).unwrap_or_else(|| panic!("{name} is gone")).clone()
}

/// Looks for everything.
pub(super) async fn read(node: &Node, release: &Release) {
    let mut client = node.client();
    client.find_coordinator().await;
    let topics = topics(&mut client).await;
    assert!(topics.iter().all(|topic| topic.name != "gone"), "it was deleted");
    topic(&topics, "late");
    read_records(&mut client, &topics).await;
    read_settings(&mut client, release).await;
    read_groups(&mut client, release).await;
    read_transactions(&mut client, &topic(&topics, "transactional"), false).await;
    if release.has("dirs") {
        let lying = log_dirs::lying(&log_dirs::describe(&mut client).await);
        assert!(lying.len() == 2 && lying.iter().all(|dir| !dir.is_empty()), "{lying:?}");
    }
    if release.has("share") {
        read_share_group(&mut client, &topic(&topics, "shared")).await;
    }
    if release.has("streams") {
        read_streams_group(&mut client).await;
    }
}

async fn read_records(client: &mut Client, topics: &[Topic]) {
    let plain = topic(topics, "plain");
    for partition in 0..3 {
        let data = client.fetch_at(18, &plain, partition, 0).await;
        let mut expected: Vec<_> = CODECS.iter().flat_map(|codec| plain_values(partition, *codec)).collect();
        expected.extend(
            (partition == 0).then(|| [0, 1].map(|at| format!("idempotent {at}"))).into_iter().flatten(),
        );
        let found = read_from(client, &plain, partition, 0).await;
        assert_eq!(found, (0..).zip(expected).collect::<Vec<_>>());
        assert_eq!((data.high_watermark, data.log_start_offset), (found.len() as i64, 0));
    }
    let rolled = topic(topics, "rolled");
    let data = client.fetch(&rolled, 3).await;
    assert_eq!((data.log_start_offset, data.high_watermark), (3, 8));
    let found = read_from(client, &rolled, 0, 3).await;
    assert_eq!(found, (3..8).map(|offset| (offset, format!("rolled {offset}"))).collect::<Vec<_>>());
    assert_eq!(client.fetch(&rolled, 2).await.error_code, code(ErrorCode::OffsetOutOfRange));
    assert_eq!(offset_of(client, WALL_START_MS + 4000).await, 4, "by its time");
    let compacted = read_from(client, &topic(topics, "compacted"), 0, 0).await;
    let of_keys = [(6, "compacted 6".to_owned()), (7, "compacted 7".to_owned())];
    assert!(compacted.ends_with(&of_keys) && compacted.len() <= 3, "{compacted:?}");
}

async fn offset_of(client: &mut Client, timestamp: i64) -> i64 {
    let partition = ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp };
    let topics = vec![ListOffsetsTopic { name: "rolled".into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
    client.call(10, &request).await.topics[0].partitions[0].offset
}

async fn config(client: &mut Client, kind: i8, name: &str, key: &str) -> Option<String> {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(4, &request).await.results.remove(0).configs.pop()?.value
}

async fn read_settings(client: &mut Client, release: &Release) {
    for (kind, name, key, value) in [
        (TOPIC, "plain", "max.message.bytes", "123456"),
        (TOPIC, "compacted", "cleanup.policy", "compact"),
        (TOPIC, "rolled", "segment.ms", "1000"),
        (4, "", "log.cleaner.threads", "2"),
        (32, "consumer", "consumer.session.timeout.ms", "50000"),
        (16, "told", "interval.ms", "60000"),
    ] {
        assert_eq!(config(client, kind, name, key).await.as_deref(), Some(value), "{key}");
    }
    if release.has("quotas") {
        let all = DescribeClientQuotasRequest { components: Vec::new(), strict: false };
        let entries = client.call(1, &all).await.entries.unwrap();
        assert_eq!((entries.len(), entries[0].entity.len()), (1, 2), "{entries:?}");
        let value = &entries[0].values[0];
        assert_eq!((value.key.as_str(), value.value), ("producer_byte_rate", 12345.0));
    }
}

async fn read_groups(client: &mut Client, release: &Release) {
    let plain = Topic { name: "plain".into(), id: Default::default() };
    assert_eq!(stable_offset(client, "simple", &plain, true).await, (0, 1));
    assert_eq!(stable_offset(client, "classic", &plain, true).await, (0, 2));
    let request = DescribeGroupsRequest { groups: vec!["classic".into()], ..Default::default() };
    let group = client.call(5, &request).await.groups.remove(0);
    let member_id: String = release.value("classic", 0);
    assert_eq!((group.group_state.as_str(), group.members[0].member_id.as_str()), ("Stable", &*member_id));
    assert_eq!(&group.members[0].member_assignment[..], b"mine");
    let generation_id = release.value("classic", 1);
    let beat =
        HeartbeatRequest { group_id: "classic".into(), generation_id, member_id, ..Default::default() };
    assert_eq!(client.call(4, &beat).await.error_code, 0);
    if release.has("consumer") {
        assert_eq!(stable_offset(client, "consumer", &plain, true).await, (0, 3));
        let beat = ConsumerGroupHeartbeatRequest {
            group_id: "consumer".into(),
            member_id: "reader".into(),
            member_epoch: release.value("consumer", 0),
            rebalance_timeout_ms: -1,
            ..Default::default()
        };
        let answer = client.call(1, &beat).await;
        assert_eq!((answer.error_code, answer.member_epoch), (0, beat.member_epoch));
    }
}

/// What was accepted or rejected does not come again; what was released does, and what was only looked at.
async fn read_share_group(client: &mut Client, topic: &Topic) {
    let request = ShareGroupDescribeRequest { group_ids: vec!["share".into()], ..Default::default() };
    let group = client.call(1, &request).await.groups.remove(0);
    assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", 1));
    assert_eq!(group.members[0].member_id, "sharer");
    let mut member = Sharing::new("share", "sharer");
    assert_eq!(member.beat(client, group.members[0].member_epoch, None).await.error_code, 0);
    let got: Vec<_> =
        member.fetch(client, topic, 5000).await.into_iter().map(|(offset, ..)| offset).collect();
    assert_eq!(got, [3, 4, 5]);
}

async fn read_streams_group(client: &mut Client) {
    let request = StreamsGroupDescribeRequest { group_ids: vec!["streams".into()], ..Default::default() };
    let group = client.call(1, &request).await.groups.remove(0);
    assert_eq!((group.group_state.as_str(), group.members.len()), ("Stable", 1));
    let described = &group.members[0];
    let tasks = described.assignment.active_tasks.iter();
    let tasks: Vec<_> = tasks.map(|task| (task.subtopology_id.clone(), task.partitions.clone())).collect();
    assert_eq!(tasks, [("0".to_owned(), vec![0, 1]), ("1".to_owned(), vec![0, 1])]);
    let mut member = Streaming::new("streams", "app");
    (member.epoch, member.tasks) = (described.member_epoch, tasks);
    let answer = member.beat(client, 1).await;
    assert_eq!((answer.error_code, answer.member_epoch), (0, described.member_epoch));
    // How many partitions its own topics have is looked up with the first heartbeat.
    let parts = client.call(1, &request).await.groups.remove(0).topology.unwrap().subtopologies.unwrap();
    assert_eq!(parts[1].repartition_source_topics[0].partitions, 2);
    assert_eq!(parts[1].state_changelog_topics[0].name, "log");
}

async fn read_transactions(client: &mut Client, topic: &Topic, is_ended: bool) {
    let (kept, upto) = committed(client, topic).await;
    let mut expected = vec!["committed 0", "committed 1"];
    if is_ended {
        expected.extend(["open 0", "open 1"]);
        assert_eq!(stable_offset(client, "pending", topic, true).await, (0, 7));
    } else {
        let unstable = code(ErrorCode::UnstableOffsetCommit);
        assert_eq!(stable_offset(client, "pending", topic, true).await, (unstable, -1));
        assert_eq!(stable_offset(client, "pending", topic, false).await, (0, -1));
    }
    assert_eq!(kept, expected);
    // Two records and their marker, twice; then the open ones.
    assert_eq!(upto, if is_ended { 9 } else { 6 });
}

/// The producers and members of then go on, and it is as if nothing had come between.
pub(super) async fn go_on(node: Node, release: &Release) -> Node {
    let mut client = node.client();
    let topics = topics(&mut client).await;
    let (plain, transactional) = (topic(&topics, "plain"), topic(&topics, "transactional"));
    let producer = (release.value("producer", 0), release.value("producer", 1));
    let again = client.produce_at(13, &plain, 0, idempotent(producer, 0)).await;
    assert_eq!((again.error_code, again.base_offset), (0, 10), "it is there already");
    let beyond = client.produce_at(13, &plain, 0, idempotent(producer, 6)).await;
    assert_eq!(beyond.error_code, code(ErrorCode::OutOfOrderSequenceNumber));
    let next = client.produce_at(13, &plain, 0, idempotent(producer, 2)).await;
    assert_eq!((next.error_code, next.base_offset), (0, 12));
    let end = EndTxnRequest {
        transactional_id: "open".into(),
        producer_id: release.value("open", 0),
        producer_epoch: release.value("open", 1),
        committed: true,
    };
    assert_eq!(client.call(5, &end).await.error_code, 0);
    let late = topic(&topics, "late");
    assert_eq!(client.produce(&late, batch(&["new"])).await.error_code, 0);
    let new = client.create("new", 1, &[FOR_EVER]).await;
    assert_eq!(client.produce(&new, batch(&["new"])).await.error_code, 0);
    let moved = commit("classic", &release.value::<String>("classic", 0), release.value("classic", 1), 9);
    assert_eq!(client.call(9, &moved).await.topics[0].partitions[0].error_code, 0);
    node.pass(1000).await;
    let node = node.cut_power().await;
    let mut client = node.client();
    client.find_coordinator().await;
    read_transactions(&mut client, &transactional, true).await;
    let found = read_from(&mut client, &plain, 0, 10).await;
    assert_eq!(found, (10..).zip((0..4).map(|at| format!("idempotent {at}"))).collect::<Vec<_>>());
    assert_eq!(client.read_all(&late).await, ["new"]);
    assert_eq!(client.read_all(&new).await, ["new"]);
    assert_eq!(stable_offset(&mut client, "classic", &plain, true).await, (0, 9));
    node
}
