//! Quotas of clients in force (KIP-13, KIP-219, KIP-599, KIP-612): who does too much is told for how long it is held back,
//! and nothing more that its connection has sent is begun before that; others are not concerned.

use crate::{
    harness::{Client, Cluster, Node, Topic, batch, bytes_of, code, fetch, fetch_topic, produce, values},
    table::client_quotas::{Entity, alter},
};
use wire::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeQuorumRequest, ErrorCode,
    FetchRequest, ListGroupsRequest, MetadataRequest, create_partitions_request::CreatePartitionsTopic,
    create_topics_request::CreatableTopic, describe_quorum_request, metadata_request::MetadataRequestTopic,
};

const ID: Entity<'static> = &[("client-id", Some("test-client"))];

async fn set(node: &Node, entity: Entity<'_>, key: &str, value: Option<f64>) {
    let mut admin = node.client();
    admin.client_id = Some("admin");
    let response = admin.call(1, &alter(entity, &[(key, value)])).await;
    assert_eq!(response.entries[0].error_code, 0, "{:?}", response.entries[0].error_message);
}

fn other(node: &Node) -> Client {
    let mut client = node.client();
    client.client_id = Some("other");
    client
}

/// A node with a topic and a batch of some 5000 bytes.
async fn node_with_topic() -> (Node, Client, Topic, bytes::Bytes) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    (node, client, topic, batch(&[&"x".repeat(4900)]))
}

#[tokio::test(start_paused = true)]
async fn a_producer_that_sends_too_much_is_told_and_not_read_before_its_time() {
    let (node, mut client, topic, records) = node_with_topic().await;
    // Ten whole windows at once are within the quota: 10,000 bytes.
    set(&node, ID, "producer_byte_rate", Some(1000.0)).await;
    let request = produce(&topic, 0, -1, records.clone());
    let told = client.call(13, &request).await.throttle_time_ms;
    assert_eq!(told, 0);
    let told = client.call(13, &request).await.throttle_time_ms;
    assert!((20..1000).contains(&told), "a bit more than 10,000 bytes: {told}");
    let begun = node.now_ms();
    client.send(5, &ListGroupsRequest::default()).await;
    assert!(!client.has_answer().await, "it is not begun");
    assert_eq!(other(&node).call(13, &request).await.throttle_time_ms, 0, "others have no quota");
    assert_eq!(node.now_ms(), begun, "and do not wait");
    client.receive::<ListGroupsRequest>(5).await;
    let waited = node.now_ms() - begun;
    assert!((i64::from(told) - 2..=i64::from(told) + 2).contains(&waited), "{waited} of {told} ms");
    set(&node, ID, "producer_byte_rate", None).await;
    for _ in 0..20 {
        assert_eq!(client.call(13, &request).await.throttle_time_ms, 0, "the quota is gone");
    }
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_ahead_waits_unread_and_the_rate_is_kept() {
    let (node, mut client, topic, records) = node_with_topic().await;
    set(&node, &[("user", None)], "producer_byte_rate", Some(5000.0)).await;
    let request = produce(&topic, 0, -1, records);
    let begun = node.now_ms();
    for _ in 0..100 {
        client.send(13, &request).await;
    }
    for _ in 0..100 {
        let response = client.receive::<wire::ProduceRequest>(13).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
    // 500,000 bytes, of which 50,000 are within ten windows.
    let seconds = (node.now_ms() - begun) as f64 / 1000.0;
    assert!((85.0..=105.0).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_producer_without_acknowledgements_is_held_back_all_the_same() {
    let (node, mut client, topic, records) = node_with_topic().await;
    set(&node, ID, "producer_byte_rate", Some(1000.0)).await;
    let begun = node.now_ms();
    for _ in 0..4 {
        client.send(13, &produce(&topic, 0, 0, records.clone())).await;
        client.expect_no_answer();
    }
    client.call(5, &ListGroupsRequest::default()).await;
    let waited = node.now_ms() - begun;
    assert!((10_000..17_000).contains(&waited), "{waited}: 20,000 bytes, of which 10,000 are free at first");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_reads_too_much_gets_nothing_for_a_while_and_misses_nothing() {
    let (node, mut client, topic, records) = node_with_topic().await;
    for _ in 0..4 {
        client.produce(&topic, records.clone()).await;
    }
    set(&node, ID, "consumer_byte_rate", Some(1000.0)).await;
    let ask = |session_id, session_epoch, topics| FetchRequest {
        session_id,
        session_epoch,
        topics,
        max_bytes: 6000,
        ..fetch(&topic, 0, 0)
    };
    let at = |offset| vec![fetch_topic(&topic, &[(0, offset)])];
    let opened = client.call(18, &ask(0, 0, at(0))).await;
    let (id, read) = (opened.session_id, values(bytes_of(&opened.responses[0].partitions[0])).len());
    assert_eq!((opened.throttle_time_ms, read), (0, 1));
    assert_ne!(id, 0);
    let held = client.call(18, &ask(id, 1, at(1))).await;
    assert_eq!((held.error_code, held.session_id, held.responses.len()), (0, id, 0));
    assert!((1..1000).contains(&held.throttle_time_ms), "{}", held.throttle_time_ms);
    let (mut epoch, mut offset, mut held_back) = (2, 1, 0);
    let begun = node.now_ms();
    while offset < 4 {
        let response = client.call(18, &ask(id, epoch, at(offset))).await;
        assert_eq!(response.session_id, id);
        let got = response.responses.first().map_or(0, |one| values(bytes_of(&one.partitions[0])).len());
        assert_eq!(got == 0, response.throttle_time_ms > 0);
        (epoch, offset, held_back) = (epoch + 1, offset + got as i64, held_back + i32::from(got == 0));
    }
    let waited = node.now_ms() - begun;
    assert!(held_back > 0 && (10_000..17_000).contains(&waited), "{waited}: 20,000 bytes, 10,000 are free");
    // Full fetches are held back as well, without a session.
    let full = client.call(18, &ask(0, 0, at(0))).await;
    let full = if full.throttle_time_ms > 0 { full } else { client.call(18, &ask(0, 0, at(0))).await };
    assert!(full.throttle_time_ms > 0 && full.session_id == 0 && full.responses.is_empty(), "{full:?}");
    let free = other(&node).call(18, &ask(0, -1, at(0))).await;
    assert_eq!((free.throttle_time_ms, free.responses.len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_never_gets_more_than_its_quota_can_ever_allow() {
    let (node, mut client, topic, records) = node_with_topic().await;
    for _ in 0..4 {
        client.produce(&topic, records.clone()).await;
    }
    set(&node, ID, "consumer_byte_rate", Some(600.0)).await;
    let response = client.call(18, &fetch(&topic, 0, 0)).await;
    let read = values(bytes_of(&response.responses[0].partitions[0])).len();
    assert_eq!((response.throttle_time_ms, read), (0, 1), "6000 bytes, though a megabyte was asked for");
}

fn new_topics(names: &[&str], partitions: i32) -> CreateTopicsRequest {
    let topic = |name: &&str| CreatableTopic {
        name: name.to_string(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    CreateTopicsRequest { topics: names.iter().map(topic).collect(), timeout_ms: 1000, validate_only: false }
}

#[tokio::test(start_paused = true)]
async fn partitions_beyond_the_quota_are_refused_to_those_who_know_the_error() {
    let node = Node::start().await;
    let mut client = node.client();
    // The burst is 11 seconds' worth: 22 partitions.
    set(&node, &[("user", None)], "controller_mutation_rate", Some(2.0)).await;
    let response = client.call(7, &new_topics(&["a", "b", "c", "d"], 10)).await;
    let codes: Vec<_> = response.topics.iter().map(|topic| topic.error_code).collect();
    let exceeded = code(ErrorCode::ThrottlingQuotaExceeded);
    assert_eq!(codes, [0, 0, 0, exceeded], "the last one may take more than there is");
    assert!((3900..=4000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
    let begun = node.now_ms();
    let add = CreatePartitionsTopic { name: "a".into(), count: 12, assignments: None };
    let grow = CreatePartitionsRequest { topics: vec![add], timeout_ms: 1000, validate_only: false };
    let response = client.call(3, &grow).await;
    assert!((3900..4100).contains(&(node.now_ms() - begun)));
    assert_eq!((response.results[0].error_code, response.throttle_time_ms), (0, 0));
    let delete = |names: &[&str]| DeleteTopicsRequest {
        topic_names: names.iter().map(|name| name.to_string()).collect(),
        timeout_ms: 1000,
        ..Default::default()
    };
    let response = client.call(5, &delete(&["b"])).await;
    assert_eq!(response.responses[0].error_code, exceeded);
    assert!((900..=1000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
    let response = client.call(5, &delete(&["b"])).await;
    assert_eq!((response.responses[0].error_code, response.throttle_time_ms), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn old_clients_are_only_held_back_for_partitions_beyond_the_quota() {
    let node = Node::start().await;
    let mut client = node.client();
    set(&node, &[("user", None)], "controller_mutation_rate", Some(1.0)).await;
    let response = client.call(5, &new_topics(&["a", "b"], 10)).await;
    assert!(response.topics.iter().all(|topic| topic.error_code == 0));
    assert!((8900..=9000).contains(&response.throttle_time_ms), "{}", response.throttle_time_ms);
    let begun = node.now_ms();
    let response = client.call(5, &new_topics(&["c"], 1)).await;
    assert!((8900..9100).contains(&(node.now_ms() - begun)));
    assert_eq!(response.topics[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn topics_that_come_by_themselves_count_for_whom_they_come() {
    let node = Node::with(&[("num.partitions", "12")]).await;
    let mut client = node.client();
    set(&node, ID, "controller_mutation_rate", Some(1.0)).await;
    let named = |name: &str| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { name: Some(name.into()), ..Default::default() }]),
        ..Default::default()
    };
    assert_eq!(client.call(12, &named("a")).await.topics[0].error_code, 0);
    let refused = client.call(12, &named("b")).await;
    assert_eq!(refused.topics[0].error_code, code(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(refused.throttle_time_ms, 0, "it did not ask for a new topic");
    assert_eq!(other(&node).call(12, &named("c")).await.topics[0].error_code, 0, "others have no quota");
    node.pass(2000).await;
    assert_eq!(client.call(12, &named("b")).await.topics[0].error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_holds_back_whom_the_controller_elsewhere_refuses() {
    let cluster = Cluster::of_three_with(&[]).await;
    let quorum = DescribeQuorumRequest {
        topics: vec![describe_quorum_request::TopicData {
            topic_name: "__cluster_metadata".into(),
            partitions: vec![describe_quorum_request::PartitionData::default()],
        }],
    };
    let described = cluster.client(1).call(2, &quorum).await;
    let asked = described.topics[0].partitions[0].leader_id % 3 + 1;
    let quota = alter(&[("user", None)], &[("controller_mutation_rate", Some(1.0))]);
    assert_eq!(cluster.client(asked).call(1, &quota).await.entries[0].error_code, 0);
    let mut client = cluster.client(asked);
    let response = client.call(7, &new_topics(&["a", "b"], 12)).await;
    assert_eq!(response.topics[1].error_code, code(ErrorCode::ThrottlingQuotaExceeded));
    assert!(response.throttle_time_ms > 500, "{}", response.throttle_time_ms);
    let begun = cluster.elapsed_ms();
    client.call(5, &ListGroupsRequest::default()).await;
    let waited = cluster.elapsed_ms() - begun;
    assert!(waited + 50 >= response.throttle_time_ms as u64, "{waited}");
    let named = MetadataRequestTopic { name: Some("by-itself".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    let made = client.call(12, &request).await;
    assert_eq!(made.topics[0].error_code, 0, "the controller elsewhere creates it for the client");
    let begun = cluster.elapsed_ms();
    cluster.client(asked).call(7, &new_topics(&["c"], 1)).await;
    assert!(cluster.elapsed_ms() - begun < 500, "the connection between the brokers is not held back");
}

#[tokio::test(start_paused = true)]
async fn an_address_with_too_many_new_connections_is_turned_away() {
    let node = Node::start().await;
    set(&node, &[("ip", Some("127.0.0.1"))], "connection_creation_rate", Some(1.0)).await;
    for _ in 0..10 {
        node.client().call(5, &ListGroupsRequest::default()).await;
    }
    let begun = node.now_ms();
    let mut turned_away = node.client();
    turned_away.send(5, &ListGroupsRequest::default()).await;
    turned_away.assert_closed().await;
    let waited = node.now_ms() - begun;
    assert!((1..=1000).contains(&waited), "{waited}");
    assert_eq!(node.broker.metrics().connections_throttled.get(), 1);
    node.pass(11_000).await;
    node.client().call(5, &ListGroupsRequest::default()).await;
    set(&node, &[("ip", Some("127.0.0.1"))], "connection_creation_rate", None).await;
    for _ in 0..50 {
        node.client().call(5, &ListGroupsRequest::default()).await;
    }
}
