//! Several nodes that form one cluster: from empty disks, through the loss of each of them, with newcomers and strangers.
//! Data has one replica here, `replication` has more; what the quorum promises by itself is tested in `quorum`.

use crate::harness::{Client, Cluster, Topic, batch, code};
use broker::StartError;
use std::collections::BTreeSet;
use wire::{
    CreateTopicsRequest, DescribeClusterRequest, DescribeQuorumRequest, ErrorCode,
    IncrementalAlterConfigsRequest, InitProducerIdRequest, MetadataRequest, MetadataResponse,
    create_topics_request::CreatableTopic,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseTopic,
};

pub(super) const ALL: [i32; 3] = [1, 2, 3];

pub(super) async fn metadata(client: &mut Client, topic: &str) -> MetadataResponse {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]);
    client.call(12, &MetadataRequest { topics, ..Default::default() }).await
}

/// Waits until a node knows the topic with leaders for all partitions; panics after ten seconds.
pub(super) async fn known(cluster: &Cluster, node: i32, topic: &str) -> MetadataResponseTopic {
    for _ in 0..200 {
        let mut response = metadata(&mut cluster.client(node), topic).await;
        let found = response.topics.remove(0);
        if found.error_code == 0 && found.partitions.iter().all(|partition| partition.leader_id >= 0) {
            return found;
        }
        cluster.pass(50).await;
    }
    panic!("node {node} does not know {topic}");
}

pub(super) async fn create(cluster: &Cluster, node: i32, name: &str, num_partitions: i32) -> Result<(), i16> {
    let topic =
        CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    match cluster.client(node).call(7, &request).await.topics[0].error_code {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Brokers that a node lists, and the cluster's id.
pub(super) async fn brokers(cluster: &Cluster, node: i32) -> (Vec<i32>, String) {
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    let response = cluster.client(node).call(1, &request).await;
    (response.brokers.iter().map(|broker| broker.broker_id).collect(), response.cluster_id)
}

pub(super) async fn until_brokers(cluster: &Cluster, node: i32, expected: &[i32]) {
    for _ in 0..200 {
        if brokers(cluster, node).await.0 == expected {
            return;
        }
        cluster.pass(50).await;
    }
    panic!("node {node} lists {:?}, not {expected:?}", brokers(cluster, node).await.0);
}

/// The broker that leads the quorum.
pub(super) async fn controller(cluster: &Cluster, asked: i32) -> i32 {
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    cluster.client(asked).call(1, &request).await.controller_id
}

pub(super) fn refusal(started: Result<std::sync::Arc<broker::Broker>, StartError>) -> String {
    match started {
        Err(error) => error.to_string(),
        Ok(_) => panic!("it has started"),
    }
}

#[tokio::test(start_paused = true)]
async fn three_empty_nodes_form_one_cluster_and_serve_topics_that_are_spread_over_them() {
    let cluster = Cluster::of_three().await;
    for node in ALL {
        until_brokers(&cluster, node, &ALL).await;
    }
    let ids: BTreeSet<_> =
        [brokers(&cluster, 1).await.1, brokers(&cluster, 2).await.1, brokers(&cluster, 3).await.1].into();
    assert_eq!(ids.len(), 1, "one cluster");
    let mut leaders = BTreeSet::new();
    for node in ALL {
        let name = format!("t{node}");
        create(&cluster, node, &name, 3).await.unwrap();
        for asked in ALL {
            let found = known(&cluster, asked, &name).await;
            let topic = Topic { name: name.clone(), id: found.topic_id };
            for partition in &found.partitions {
                leaders.insert(partition.leader_id);
                let mut client = cluster.client(partition.leader_id);
                let index = partition.partition_index;
                let value = format!("{asked}");
                let answer = client.produce_at(13, &topic, index, batch(&[&value])).await;
                assert_eq!(answer.error_code, 0);
                let data = client.fetch_at(18, &topic, index, answer.base_offset).await;
                assert_eq!(data.error_code, 0);
            }
        }
    }
    assert_eq!(leaders, BTreeSet::from(ALL), "every broker leads something");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_client_at_the_wrong_broker_is_told_the_leader_and_where_it_listens() {
    let cluster = Cluster::of_three().await;
    create(&cluster, 1, "t", 1).await.unwrap();
    let found = known(&cluster, 1, "t").await;
    let leader = found.partitions[0].leader_id;
    let topic = Topic { name: "t".into(), id: found.topic_id };
    let other = ALL.into_iter().find(|node| *node != leader).unwrap();
    known(&cluster, other, "t").await;
    let mut client = cluster.client(other);
    let elsewhere = code(ErrorCode::NotLeaderOrFollower);
    for version in [9, 10, 12, 13] {
        let request = crate::harness::produce(&topic, 0, -1, batch(&["a"]));
        let response = client.call(version, &request).await;
        let one = &response.responses[0].partition_responses[0];
        let told = if version >= 10 { leader } else { -1 };
        assert_eq!((one.error_code, one.current_leader.leader_id), (elsewhere, told), "Produce {version}");
        let endpoints: Vec<_> =
            response.node_endpoints.iter().map(|node| (node.node_id, &*node.host)).collect();
        let host = format!("node{leader}");
        assert_eq!(endpoints, [(leader, &*host)][..usize::from(version >= 10)]);
    }
    for version in [11, 15, 16, 18] {
        let response = client.call(version, &crate::harness::fetch(&topic, 0, 0)).await;
        let one = &response.responses[0].partitions[0];
        let told = if version >= 16 { leader } else { -1 };
        assert_eq!((one.error_code, one.current_leader.leader_id), (elsewhere, told), "Fetch {version}");
        assert_eq!(response.node_endpoints.len(), usize::from(version >= 16));
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn metadata_change_again_within_a_second_and_a_half_after_the_active_controller_is_killed() {
    let cluster = Cluster::of_three().await;
    create(&cluster, 1, "before", 3).await.unwrap();
    let active = controller(&cluster, 1).await;
    let other = ALL.into_iter().find(|node| *node != active).unwrap();
    let killed_at = cluster.elapsed_ms();
    cluster.kill(active);
    while create(&cluster, other, "after", 1).await.is_err() {
        cluster.pass(20).await;
    }
    let took = cluster.elapsed_ms() - killed_at;
    assert!(took < 1500, "{took} ms");
    let rest: Vec<_> = ALL.into_iter().filter(|node| *node != active).collect();
    until_brokers(&cluster, other, &rest).await;
    let back = cluster.start(active, &ALL);
    back.await.unwrap().unwrap();
    for node in ALL {
        until_brokers(&cluster, node, &ALL).await;
        known(&cluster, node, "before").await;
        known(&cluster, node, "after").await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_stopped_comes_back_from_its_disk_with_its_records() {
    let cluster = Cluster::of_three().await;
    create(&cluster, 1, "t", 3).await.unwrap();
    let found = known(&cluster, 1, "t").await;
    let topic = Topic { name: "t".into(), id: found.topic_id };
    for partition in &found.partitions {
        let mut client = cluster.client(partition.leader_id);
        let answer = client.produce_at(13, &topic, partition.partition_index, batch(&["a"])).await;
        assert_eq!(answer.error_code, 0);
    }
    for node in ALL {
        cluster.kill(node);
        cluster.pass(2000).await;
        cluster.start(node, &ALL).await.unwrap().unwrap();
    }
    for asked in ALL {
        known(&cluster, asked, "t").await;
    }
    for partition in &found.partitions {
        let mut client = cluster.client(partition.leader_id);
        let data = client.fetch_at(18, &topic, partition.partition_index, 0).await;
        assert_eq!((data.error_code, data.high_watermark), (0, 1));
        let answer = client.produce_at(13, &topic, partition.partition_index, batch(&["b"])).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn producer_ids_of_all_brokers_are_different() {
    let cluster = Cluster::of_three().await;
    let mut ids = BTreeSet::new();
    for node in ALL {
        for _ in 0..3 {
            let request = InitProducerIdRequest {
                transactional_id: None,
                producer_id: -1,
                producer_epoch: -1,
                ..Default::default()
            };
            let response = cluster.client(node).call(4, &request).await;
            assert_eq!(response.error_code, 0);
            ids.insert(response.producer_id);
        }
    }
    assert_eq!(ids.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn nobody_founds_a_cluster_before_all_that_are_listed_are_there() {
    let cluster = Cluster::new(&[]);
    let (first, second) = (cluster.start(1, &ALL), cluster.start(2, &ALL));
    cluster.pass(30_000).await;
    assert!(!first.is_finished() && !second.is_finished());
    let third = cluster.start(3, &ALL);
    for start in [first, second, third] {
        start.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_refused_with_the_remedy() {
    let cluster = Cluster::of_three().await;
    cluster.start(9, &[9]).await.unwrap().unwrap();
    cluster.kill(9);
    let told = refusal(cluster.start(9, &[1, 2, 3]).await.unwrap());
    assert!(told.contains("cluster") && told.contains("controller.quorum.bootstrap.servers"), "{told}");
    until_brokers(&cluster, 1, &ALL).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_vote_does_not_take_its_logs_to_another_cluster() {
    let cluster = Cluster::of_three().await;
    let only_broker = |config: &mut broker::Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    until_brokers(&cluster, 1, &[1, 2, 3, 4]).await;
    create(&cluster, 1, "t", 8).await.unwrap();
    let found = known(&cluster, 4, "t").await;
    let led = found.partitions.iter().find(|partition| partition.leader_id == 4).unwrap();
    let topic = Topic { name: "t".into(), id: found.topic_id };
    let answer = cluster.client(4).produce_at(13, &topic, led.partition_index, batch(&["a"])).await;
    assert_eq!(answer.error_code, 0);
    cluster.kill(4);
    let before = cluster.disk(4).paths();
    cluster.start(9, &[9]).await.unwrap().unwrap();
    let told = refusal(cluster.start_as(4, 4, &[9], only_broker).await.unwrap());
    assert!(told.contains("logs of cluster") && told.contains("bootstrap.servers"), "{told}");
    assert!(before.iter().all(|path| cluster.disk(4).paths().contains(path)), "nothing was set aside");
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_node_of_the_same_id_and_a_copy_of_a_directory_are_refused() {
    let cluster = Cluster::of_three().await;
    let told = refusal(cluster.start_as(8, 3, &ALL, |_| {}).await.unwrap());
    assert!(told.contains("another node.id"), "{told}");
    cluster.set_disk(8, cluster.disk(3).after_kill());
    let told = refusal(cluster.start_as(8, 3, &ALL, |_| {}).await.unwrap());
    assert!(told.contains("copy of this log directory"), "{told}");
    until_brokers(&cluster, 1, &ALL).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_broker_of_an_id_that_lives_is_refused_and_the_first_goes_on() {
    let cluster = Cluster::of_three().await;
    let only_broker = |config: &mut broker::Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    until_brokers(&cluster, 1, &[1, 2, 3, 4]).await;
    create(&cluster, 1, "t", 8).await.unwrap();
    let found = known(&cluster, 4, "t").await;
    let led = found.partitions.iter().find(|partition| partition.leader_id == 4).unwrap().partition_index;
    let topic = Topic { name: "t".into(), id: found.topic_id };
    let epoch = cluster.broker_epoch(4);
    // Another process at another place, with an empty directory of its own.
    let second = cluster.start_as(8, 4, &ALL, only_broker);
    for offset in 0..20 {
        let answer = cluster.client(4).produce_at(13, &topic, led, batch(&["a"])).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, offset));
        cluster.pass(3500).await;
    }
    assert!(second.is_finished(), "it still tries");
    let told = refusal(second.await.unwrap());
    assert!(told.contains("node.id") && told.contains('4'), "{told}");
    assert_eq!(known(&cluster, 1, "t").await.partitions[led as usize].leader_id, 4);
    assert_eq!(cluster.broker_epoch(4), epoch, "it has not even registered again");
    until_brokers(&cluster, 1, &[1, 2, 3, 4]).await;
    cluster.assert_sound();
}

/// What the leader of the quorum says of it, asked at any broker.
pub(super) async fn quorum(cluster: &Cluster, asked: i32) -> wire::describe_quorum_response::PartitionData {
    let partition = wire::describe_quorum_request::PartitionData { partition_index: 0 };
    let topic = wire::describe_quorum_request::TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![partition],
    };
    let mut response = cluster.client(asked).call(2, &DescribeQuorumRequest { topics: vec![topic] }).await;
    assert_eq!(response.error_code, 0);
    response.topics.remove(0).partitions.remove(0)
}

pub(super) fn voters(described: &wire::describe_quorum_response::PartitionData) -> Vec<i32> {
    described.current_voters.iter().map(|voter| voter.replica_id).collect()
}

#[tokio::test(start_paused = true)]
async fn every_broker_tells_of_the_quorum_what_its_leader_knows() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    cluster.pass(1000).await;
    for node in ALL {
        let described = quorum(&cluster, node).await;
        assert_eq!((described.leader_id, voters(&described)), (active, ALL.to_vec()));
        for voter in &described.current_voters {
            assert!(voter.log_end_offset > 0 && voter.last_caught_up_timestamp > 0, "{voter:?}");
        }
    }
}

/// Three nodes whose metadata log begins with a snapshot by now.
async fn with_snapshots() -> Cluster {
    let cluster = Cluster::new(&[]);
    let small = |config: &mut broker::Config| {
        (config.snapshot_bytes, config.snapshot_batches_kept) = (3000, 3);
    };
    let starting: Vec<_> = ALL.into_iter().map(|node| cluster.start_as(node, node, &ALL, small)).collect();
    for start in starting {
        start.await.unwrap().unwrap();
    }
    for round in 0..30 {
        create(&cluster, 1, &format!("early{round}"), 2).await.unwrap();
    }
    cluster
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_only_a_broker_joins_and_leads_partitions() {
    let cluster = with_snapshots().await;
    let only_broker = |config: &mut broker::Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    for node in [1, 2, 3, 4] {
        until_brokers(&cluster, node, &[1, 2, 3, 4]).await;
    }
    known(&cluster, 4, "early0").await;
    known(&cluster, 4, "early29").await;
    create(&cluster, 4, "t", 8).await.unwrap();
    let found = known(&cluster, 4, "t").await;
    let topic = Topic { name: "t".into(), id: found.topic_id };
    let led = found.partitions.iter().find(|partition| partition.leader_id == 4).unwrap();
    let answer = cluster.client(4).produce_at(13, &topic, led.partition_index, batch(&["a"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0));
    let described = quorum(&cluster, 4).await;
    assert_eq!(voters(&described), ALL, "it has no vote");
    let [observer] = described.observers.as_slice() else { panic!("{:?}", described.observers) };
    assert_eq!(observer.replica_id, 4);
    assert!(observer.log_end_offset > 0 && observer.last_caught_up_timestamp > 0, "{observer:?}");
    let active = controller(&cluster, 1).await;
    cluster.kill(active);
    let other = ALL.into_iter().find(|node| *node != active).unwrap();
    let mut rest: Vec<_> = [1, 2, 3, 4].into_iter().filter(|node| *node != active).collect();
    rest.sort_unstable();
    until_brokers(&cluster, other, &rest).await;
    until_brokers(&cluster, 4, &rest).await;
    cluster.kill(4);
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    known(&cluster, 4, "early0").await;
    let data = cluster.client(4).fetch_at(18, &topic, led.partition_index, 0).await;
    assert_eq!((data.error_code, data.high_watermark), (0, 1));
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_only_controllers_decide_for_brokers_elsewhere_and_keep_no_partition() {
    let cluster = Cluster::new(&[]);
    let only_controller = |config: &mut broker::Config| config.is_broker = false;
    let controllers = ALL.into_iter().map(|node| cluster.start_as(node, node, &ALL, only_controller));
    let mut starting: Vec<_> = controllers.collect();
    let only_broker = |config: &mut broker::Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    starting.extend([4, 5].into_iter().map(|node| cluster.start_as(node, node, &ALL, only_broker)));
    for start in starting {
        start.await.unwrap().unwrap();
    }
    for node in [4, 5] {
        until_brokers(&cluster, node, &[4, 5]).await;
    }
    create(&cluster, 4, "t", 8).await.unwrap();
    let found = known(&cluster, 5, "t").await;
    assert!(found.partitions.iter().all(|partition| [4, 5].contains(&partition.leader_id)));
    let active = quorum(&cluster, 4).await.leader_id;
    assert!(ALL.contains(&active) && [4, 5].contains(&controller(&cluster, 4).await));
    cluster.stop(active).await;
    create(&cluster, 5, "u", 2).await.unwrap();
    known(&cluster, 4, "u").await;
    cluster.start_as(active, active, &ALL, only_controller).await.unwrap().unwrap();
    assert_eq!(voters(&quorum(&cluster, 4).await), ALL);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_controller_joins_the_voters_by_itself_if_it_is_told_to() {
    let cluster = Cluster::of_three().await;
    cluster.start(4, &[1, 2, 3, 4]).await.unwrap().unwrap();
    cluster.pass(2000).await;
    assert_eq!(voters(&quorum(&cluster, 4).await), ALL, "nobody has asked for it");
    cluster.kill(4);
    let joins = |config: &mut broker::Config| config.joins_by_itself = true;
    cluster.start_as(4, 4, &[1, 2, 3, 4], joins).await.unwrap().unwrap();
    for _ in 0..100 {
        cluster.pass(50).await;
        if voters(&quorum(&cluster, 4).await).len() == 4 {
            break;
        }
    }
    assert_eq!(voters(&quorum(&cluster, 4).await), [1, 2, 3, 4]);
    create(&cluster, 4, "t", 4).await.unwrap();
    for node in [1, 2, 3, 4] {
        known(&cluster, node, "t").await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_cut_off_is_fenced_and_comes_back_with_its_partitions() {
    let cluster = Cluster::of_three().await;
    create(&cluster, 1, "t", 3).await.unwrap();
    let active = controller(&cluster, 1).await;
    let (cut, other) = match active {
        1 => (2, 3),
        2 => (1, 3),
        _ => (1, 2),
    };
    let found = known(&cluster, other, "t").await;
    cluster.set_cut(cut, true);
    let rest: Vec<_> = ALL.into_iter().filter(|node| *node != cut).collect();
    until_brokers(&cluster, other, &rest).await;
    let orphan = |found: &MetadataResponseTopic, index: i32| {
        found.partitions.iter().find(|one| one.partition_index == index).unwrap().clone()
    };
    let led = found.partitions.iter().find(|one| one.leader_id == cut).unwrap().partition_index;
    let seen = metadata(&mut cluster.client(other), "t").await.topics.remove(0);
    assert_eq!(orphan(&seen, led).leader_id, -1);
    cluster.set_cut(cut, false);
    until_brokers(&cluster, other, &ALL).await;
    let again = known(&cluster, cut, "t").await;
    assert_eq!(orphan(&again, led).leader_id, cut);
    assert!(orphan(&again, led).leader_epoch > orphan(&found, led).leader_epoch);
    let topic = Topic { name: "t".into(), id: found.topic_id };
    let answer = cluster.client(cut).produce_at(13, &topic, led, batch(&["a"])).await;
    assert_eq!(answer.error_code, 0);
    cluster.assert_sound();
}

/// What a broker asks for that has no metadata yet.
fn fetch_of_metadata(cluster_id: &str) -> wire::FetchRequest {
    let partition =
        wire::fetch_request::FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = wire::fetch_request::FetchTopic {
        topic: "__cluster_metadata".into(),
        topic_id: stdx::Uuid::METADATA_TOPIC,
        partitions: vec![partition],
    };
    wire::FetchRequest { cluster_id: Some(cluster_id.into()), topics: vec![topic], ..Default::default() }
}

/// A request that changes where a voter listens that there is none of.
fn update_of_a_stranger() -> wire::UpdateRaftVoterRequest {
    let listener = wire::update_raft_voter_request::Listener {
        name: "CONTROLLER".into(),
        host: "node9".into(),
        port: 9093,
    };
    wire::UpdateRaftVoterRequest {
        cluster_id: None,
        voter_id: 9,
        voter_directory_id: stdx::Uuid([9; 16]),
        listeners: vec![listener],
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_late_gets_the_snapshot_and_then_the_rest_of_the_log() {
    let cluster = with_snapshots().await;
    let active = controller(&cluster, 1).await;
    let cluster_id = brokers(&cluster, 1).await.1;
    // The last snapshot is written.
    cluster.pass(1000).await;
    let mut client = cluster.client_at(active, "CONTROLLER");
    let told =
        client.call(17, &fetch_of_metadata(&cluster_id)).await.responses.remove(0).partitions.remove(0);
    let id = told.snapshot_id.clone();
    assert_eq!((told.error_code, crate::harness::bytes_of(&told).len()), (0, 0), "the log begins later");
    assert!(id.end_offset > 0, "{id:?}");
    let ask = |position: usize| {
        let mut wanted = wire::fetch_snapshot_request::PartitionSnapshot {
            position: position as i64,
            ..Default::default()
        };
        (wanted.snapshot_id.end_offset, wanted.snapshot_id.epoch) = (id.end_offset, id.epoch);
        let topic = wire::fetch_snapshot_request::TopicSnapshot {
            name: "__cluster_metadata".into(),
            partitions: vec![wanted],
        };
        let cluster_id = Some(cluster_id.clone());
        wire::FetchSnapshotRequest { cluster_id, max_bytes: 700, topics: vec![topic], ..Default::default() }
    };
    let (mut whole, mut size) = (Vec::new(), 1);
    while whole.len() < size {
        let mut answer = client.call(1, &ask(whole.len())).await;
        let part = answer.topics.remove(0).partitions.remove(0);
        assert_eq!((answer.error_code, part.error_code, part.position), (0, 0, whole.len() as i64));
        assert_eq!((part.snapshot_id.end_offset, part.snapshot_id.epoch), (id.end_offset, id.epoch));
        assert_eq!(part.current_leader.leader_id, active);
        let bytes = part.unaligned_records.to_bytes().unwrap();
        assert!((1..=700).contains(&bytes.len()));
        whole.extend_from_slice(&bytes);
        size = part.size as usize;
    }
    assert!(whole.len() == size && size > 1400, "{size} bytes in several pieces");
    let name = format!("/data/__cluster_metadata-0/{:020}-{:010}.checkpoint", id.end_offset, id.epoch);
    assert_eq!(cluster.disk(active).contents(std::path::Path::new(&name)), Some(whole));
    let beyond = client.call(1, &ask(size)).await.topics.remove(0).partitions.remove(0);
    assert_eq!(beyond.error_code, code(ErrorCode::PositionOutOfRange));
    let only_broker = |config: &mut broker::Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    create(&cluster, 1, "late", 2).await.unwrap();
    known(&cluster, 4, "late").await;
    let all = cluster.client(4).call(12, &MetadataRequest { topics: None, ..Default::default() }).await;
    assert_eq!(all.topics.len(), 31, "what only the snapshot has, and what came after it");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_controllers_listener_answers_what_it_advertises_at_every_version() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let mut client = cluster.client_at(active, "CONTROLLER");
    let hello = wire::ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let rows = client.call(3, &hello).await;
    let told: Vec<_> = rows.api_keys.iter().map(|row| row.api_key).collect();
    let listed: Vec<_> = broker::dispatch::CONTROLLER_APIS.iter().map(|key| key.to_i16()).collect();
    assert_eq!(told, listed);
    let id = brokers(&cluster, 1).await.1;
    for version in 0..=wire::ApiKey::BrokerRegistration.highest_stable() {
        let request = wire::BrokerRegistrationRequest {
            broker_id: 9,
            cluster_id: "other".into(),
            ..Default::default()
        };
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(ErrorCode::InconsistentClusterId), "version {version}");
    }
    for version in 0..=wire::ApiKey::BrokerHeartbeat.highest_stable() {
        let request = wire::BrokerHeartbeatRequest { broker_id: 9, broker_epoch: 1, ..Default::default() };
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(ErrorCode::StaleBrokerEpoch), "version {version}");
    }
    for version in 2..=wire::ApiKey::AlterPartition.highest_stable() {
        let request = wire::AlterPartitionRequest { broker_id: 9, broker_epoch: 1, topics: Vec::new() };
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(ErrorCode::StaleBrokerEpoch), "version {version}");
    }
    let dirs = wire::AssignReplicasToDirsRequest { broker_id: 9, broker_epoch: 1, directories: Vec::new() };
    assert_eq!(client.call(0, &dirs).await.error_code, code(ErrorCode::StaleBrokerEpoch));
    let ids = wire::AllocateProducerIdsRequest { broker_id: 9, broker_epoch: 1 };
    assert_eq!(client.call(0, &ids).await.error_code, code(ErrorCode::StaleBrokerEpoch));
    let controller = wire::ControllerRegistrationRequest { controller_id: 9, ..Default::default() };
    assert_eq!(client.call(0, &controller).await.error_code, 0);
    let envelope =
        wire::EnvelopeRequest { request_data: bytes::Bytes::from_static(b"nonsense"), ..Default::default() };
    assert_eq!(client.call(0, &envelope).await.error_code, code(ErrorCode::InvalidRequest));
    let fetch = fetch_of_metadata(&id);
    for version in wire::ApiKey::Fetch.lowest()..=wire::ApiKey::Fetch.highest_stable() {
        let mut answer = client.call(version, &fetch).await;
        let data = answer.responses.remove(0).partitions.remove(0);
        assert_eq!((answer.error_code, data.error_code), (0, 0), "version {version}");
        assert!(!crate::harness::bytes_of(&data).is_empty());
    }
    let snapshot = wire::fetch_snapshot_request::TopicSnapshot {
        name: "__cluster_metadata".into(),
        partitions: vec![Default::default()],
    };
    let request =
        wire::FetchSnapshotRequest { cluster_id: None, topics: vec![snapshot], ..Default::default() };
    for version in 0..=wire::ApiKey::FetchSnapshot.highest_stable() {
        let answer = client.call(version, &request).await;
        let error = answer.topics[0].partitions[0].error_code;
        assert_eq!(error, code(ErrorCode::SnapshotNotFound), "version {version}");
    }
    let update = update_of_a_stranger();
    assert_eq!(client.call(0, &update).await.error_code, code(ErrorCode::VoterNotFound));
    let other = ALL.into_iter().find(|node| *node != active).unwrap();
    let mut elsewhere = cluster.client_at(other, "CONTROLLER");
    let answer = elsewhere.call(17, &fetch).await;
    let data = &answer.responses[0].partitions[0];
    assert_eq!(data.error_code, code(ErrorCode::NotLeaderOrFollower));
    assert_eq!((data.current_leader.leader_id, answer.node_endpoints[0].node_id), (active, active));
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_controller_describes_the_controllers_to_tools_that_begin_there() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let (_, id) = brokers(&cluster, 1).await;
    cluster.pass(2000).await;
    let of = |endpoint_type| DescribeClusterRequest { endpoint_type, ..Default::default() };
    for asked in ALL {
        let mut client = cluster.client_at(asked, "CONTROLLER");
        for version in 1..=wire::ApiKey::DescribeCluster.highest_stable() {
            let told = client.call(version, &of(2)).await;
            assert_eq!((told.error_code, told.endpoint_type), (0, 2), "{asked}, version {version}");
            assert_eq!((told.cluster_id.as_str(), told.controller_id), (id.as_str(), active));
            let nodes: Vec<_> = told.brokers.iter().map(|node| (node.broker_id, node.port)).collect();
            assert_eq!(nodes, ALL.map(|node| (node, 9093)), "{asked}, version {version}");
            let refused = client.call(version, &of(1)).await.error_code;
            assert_eq!(refused, code(ErrorCode::MismatchedEndpointType));
            let refused = client.call(version, &of(3)).await.error_code;
            assert_eq!(refused, code(ErrorCode::UnsupportedEndpointType));
        }
        // This version can only ask for brokers.
        assert_eq!(client.call(0, &of(1)).await.error_code, code(ErrorCode::InvalidRequest));
    }
    let mut client = cluster.client_at(active, "CONTROLLER");
    let resource = wire::describe_configs_request::DescribeConfigsResource {
        resource_type: 4,
        resource_name: active.to_string(),
        configuration_keys: Some(vec!["log.segment.bytes".into()]),
    };
    let request = wire::DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    for version in wire::ApiKey::DescribeConfigs.lowest()..=wire::ApiKey::DescribeConfigs.highest_stable() {
        let told = client.call(version, &request).await.results.remove(0);
        let names: Vec<_> = told.configs.into_iter().map(|config| config.name).collect();
        assert_eq!((told.error_code, names), (0, vec!["log.segment.bytes".to_owned()]), "version {version}");
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_a_controller_that_does_not_decide_any_more_is_answered_by_the_next_one() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    cluster.set_cut(active, true);
    let back = async {
        cluster.pass(1500).await;
        cluster.set_cut(active, false);
    };
    let setting =
        AlterableConfig { name: "log.retention.ms".into(), value: Some("1000".into()), ..Default::default() };
    let resource =
        AlterConfigsResource { resource_type: 4, resource_name: String::new(), configs: vec![setting] };
    let alter = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let mut client = cluster.client(active);
    let (created, altered, ()) =
        tokio::join!(create(&cluster, active, "late", 1), client.call(1, &alter), back);
    created.unwrap();
    assert_eq!(altered.responses[0].error_code, 0, "{altered:?}");
    assert_ne!(controller(&cluster, active).await, active);
    known(&cluster, active, "late").await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn an_active_controller_that_stops_hands_over_without_an_election() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let stopped_at = cluster.elapsed_ms();
    cluster.stop(active).await;
    let other = ALL.into_iter().find(|node| *node != active).unwrap();
    while create(&cluster, other, "after", 1).await.is_err() {
        cluster.pass(10).await;
    }
    let took = cluster.elapsed_ms() - stopped_at;
    assert!(took < 400, "{took} ms");
    cluster.start(active, &ALL).await.unwrap().unwrap();
    known(&cluster, active, "after").await;
    cluster.assert_sound();
}
