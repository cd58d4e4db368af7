//! Several nodes that form one cluster: from empty disks, through the loss of each of them, with newcomers and strangers.
//! Data has one replica here; what the quorum promises by itself is tested in `quorum`.

use crate::harness::{Client, Cluster, Topic, batch, code};
use broker::StartError;
use std::collections::BTreeSet;
use wire::{
    CreateTopicsRequest, DescribeClusterRequest, ErrorCode, InitProducerIdRequest, MetadataRequest,
    MetadataResponse, create_topics_request::CreatableTopic, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseTopic,
};

const ALL: [i32; 3] = [1, 2, 3];

async fn metadata(client: &mut Client, topic: &str) -> MetadataResponse {
    let topics = Some(vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]);
    client.call(12, &MetadataRequest { topics, ..Default::default() }).await
}

/// Waits until a node knows the topic with leaders for all partitions; panics after ten seconds.
async fn known(cluster: &Cluster, node: i32, topic: &str) -> MetadataResponseTopic {
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

async fn create(cluster: &Cluster, node: i32, name: &str, num_partitions: i32) -> Result<(), i16> {
    let topic =
        CreatableTopic { name: name.into(), num_partitions, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    match cluster.client(node).call(7, &request).await.topics[0].error_code {
        0 => Ok(()),
        error => Err(error),
    }
}

/// Brokers that a node lists, and the cluster's id.
async fn brokers(cluster: &Cluster, node: i32) -> (Vec<i32>, String) {
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    let response = cluster.client(node).call(1, &request).await;
    (response.brokers.iter().map(|broker| broker.broker_id).collect(), response.cluster_id)
}

async fn until_brokers(cluster: &Cluster, node: i32, expected: &[i32]) {
    for _ in 0..200 {
        if brokers(cluster, node).await.0 == expected {
            return;
        }
        cluster.pass(50).await;
    }
    panic!("node {node} lists {:?}, not {expected:?}", brokers(cluster, node).await.0);
}

/// The broker that leads the quorum.
async fn controller(cluster: &Cluster, asked: i32) -> i32 {
    let request = DescribeClusterRequest { endpoint_type: 1, ..Default::default() };
    cluster.client(asked).call(1, &request).await.controller_id
}

fn refusal(started: Result<std::sync::Arc<broker::Broker>, StartError>) -> String {
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
async fn a_second_node_of_the_same_id_and_a_copy_of_a_directory_are_refused() {
    let cluster = Cluster::of_three().await;
    let told = refusal(cluster.start_as(8, 3, &ALL, |_| {}).await.unwrap());
    assert!(told.contains("another node.id"), "{told}");
    cluster.set_disk(8, cluster.disk(3).after_kill());
    let told = refusal(cluster.start_as(8, 3, &ALL, |_| {}).await.unwrap());
    assert!(told.contains("copy of this log directory"), "{told}");
    until_brokers(&cluster, 1, &ALL).await;
}
