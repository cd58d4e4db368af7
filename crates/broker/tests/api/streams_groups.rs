//! Streams groups (KIP-1071) over what happens to brokers, topics and members.

use crate::clusters::{ALL, create, known};
use crate::harness::{Client, Cluster, Node, Streaming, code};
use wire::{
    AlterConfigsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest, ErrorCode,
    FindCoordinatorRequest, OffsetFetchRequest, OffsetFetchResponse, StreamsGroupDescribeRequest,
    alter_configs_request::{AlterConfigsResource, AlterableConfig},
    create_topics_request::CreatableTopic,
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    offset_fetch_request::OffsetFetchRequestGroup,
};

const AT_ONCE: &[(&str, &str)] =
    &[("group.streams.initial.rebalance.delay.ms", "0"), ("group.streams.assignment.interval.ms", "0")];

async fn node_with_topic() -> (Node, Client) {
    let node = Node::with(AT_ONCE).await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.create("in", 2, &[]).await;
    (node, client)
}

async fn state(client: &mut Client) -> String {
    let request = StreamsGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    client.call(1, &request).await.groups.remove(0).group_state
}

async fn configure(client: &mut Client, name: &str, value: &str) -> i16 {
    let config = AlterableConfig { name: name.into(), value: Some(value.into()) };
    let resource =
        AlterConfigsResource { resource_type: 32, resource_name: "g".into(), configs: vec![config] };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    client.call(2, &request).await.responses[0].error_code
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_the_group_and_its_tasks_are_as_they_were() {
    let (node, mut client) = node_with_topic().await;
    let mut member = Streaming::new("g", "m");
    member.join(&mut client, 1).await;
    node.pass(500).await;
    member.beat(&mut client, 1).await;
    assert_eq!((member.epoch, member.tasks.len()), (3, 2));
    let node = node.start_on(|_| {}).await.unwrap();
    let mut client = node.client();
    let answer = member.beat(&mut client, 1).await;
    assert_eq!((answer.error_code, answer.member_epoch, answer.active_tasks), (0, 3, None));
    assert_eq!(state(&mut client).await, "Stable");
    node.pass(46_000).await;
    assert_eq!(state(&mut client).await, "Empty", "its session is over");
    assert_eq!(member.beat(&mut client, 1).await.error_code, code(ErrorCode::UnknownMemberId));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn internal_topics_bear_what_the_application_asks_for_and_come_back_when_they_are_deleted() {
    let (node, mut client) = node_with_topic().await;
    let mut member = Streaming::new("g", "m");
    member.join(&mut client, 1).await;
    node.pass(500).await;
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "log".into(),
        configuration_keys: Some(vec!["cleanup.policy".into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = client.call(4, &request).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("compact"));
    member.beat(&mut client, 1).await;
    assert_eq!(state(&mut client).await, "Stable");
    let topics = vec![DeleteTopicState { name: Some("re".into()), ..Default::default() }];
    client.call(6, &DeleteTopicsRequest { topics, timeout_ms: 5000, ..Default::default() }).await;
    node.pass(500).await;
    let answer = member.beat(&mut client, 1).await;
    assert_eq!(answer.status.unwrap()[0].status_code, 3, "it is missing again");
    assert_eq!(state(&mut client).await, "NotReady");
    node.pass(2000).await;
    member.beat(&mut client, 1).await;
    node.pass(2000).await;
    let answer = member.beat(&mut client, 1).await;
    assert_eq!(answer.status, Some(vec![]));
    assert_eq!(member.tasks.len(), 2, "it runs again");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_cannot_be_created_is_named_with_the_reason() {
    let (node, mut client) = node_with_topic().await;
    let member = Streaming::new("g", "m");
    let mut joining = member.joining();
    let log = &mut joining.topology.as_mut().unwrap().subtopologies[1].state_changelog_topics[0];
    log.topic_configs[0].value = "nonsense".into();
    client.call(1, &joining).await;
    node.pass(500).await;
    let told = client.call(1, &joining).await.status.unwrap();
    let told = told.iter().find(|status| status.status_code == 3).unwrap();
    assert!(told.status_detail.contains("Creation failed: log (INVALID_CONFIG)"), "{}", told.status_detail);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_for_a_group_holds_for_it() {
    let (node, mut client) = node_with_topic().await;
    assert_eq!(configure(&mut client, "streams.heartbeat.interval.ms", "6000").await, 0);
    assert_eq!(
        configure(&mut client, "streams.num.standby.replicas", "3").await,
        code(ErrorCode::InvalidConfig)
    );
    assert_eq!(
        configure(&mut client, "streams.assignor.name", "other").await,
        code(ErrorCode::InvalidConfig)
    );
    let mut one = Streaming::new("g", "m");
    let answer = one.join(&mut client, 1).await;
    assert_eq!(answer.heartbeat_interval_ms, 6000, "what was refused has changed nothing");
    assert_eq!(configure(&mut client, "streams.initial.rebalance.delay.ms", "2000").await, 0);
    node.pass(500).await;
    one.beat(&mut client, 1).await;
    assert_eq!(one.tasks.len(), 2);
    let resource = DescribeConfigsResource {
        resource_type: 32,
        resource_name: "g".into(),
        configuration_keys: Some(vec!["streams.initial.rebalance.delay.ms".into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = client.call(4, &request).await;
    assert_eq!(described.results[0].configs[0].value.as_deref(), Some("2000"));
}

#[tokio::test(start_paused = true)]
async fn offsets_are_read_only_by_members_in_their_epoch() {
    let (node, mut client) = node_with_topic().await;
    let mut member = Streaming::new("g", "m");
    member.join(&mut client, 1).await;
    node.pass(500).await;
    member.beat(&mut client, 1).await;
    let fetch = |member_epoch| OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: "g".into(),
            member_id: Some("m".into()),
            member_epoch,
            topics: None,
        }],
        ..Default::default()
    };
    let error = |response: OffsetFetchResponse| response.groups[0].error_code;
    assert_eq!(error(client.call(9, &fetch(member.epoch)).await), 0);
    assert_eq!(error(client.call(9, &fetch(member.epoch - 1)).await), code(ErrorCode::StaleMemberEpoch));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_a_group_outlives_its_coordinator_and_its_topics_are_created_anywhere() {
    let replicated: Vec<(&str, &str)> =
        [AT_ONCE, &[("offsets.topic.replication.factor", "3"), ("offsets.topic.num.partitions", "1")]]
            .concat();
    let cluster = Cluster::of_three_with(&replicated).await;
    let topic =
        CreatableTopic { name: "in".into(), num_partitions: 2, replication_factor: 3, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    cluster.client(1).call(7, &request).await;
    create(&cluster, 1, "other", 1).await.unwrap();
    for node in ALL {
        known(&cluster, node, "in").await;
    }
    let first = coordinator(&cluster, 1).await;
    let mut member = Streaming::new("g", "m");
    member.join(&mut cluster.client(first), 1).await;
    for _ in 0..50 {
        cluster.pass(200).await;
        member.beat(&mut cluster.client(first), 1).await;
        if member.tasks.len() == 2 {
            break;
        }
    }
    assert_eq!(member.tasks.len(), 2, "its topics are there");
    cluster.kill(first);
    let asked = ALL.into_iter().find(|node| *node != first).unwrap();
    for _ in 0..400 {
        let next = coordinator(&cluster, asked).await;
        if next != first && cluster.is_running(next) {
            let answer = member.beat(&mut cluster.client(next), 1).await;
            if answer.error_code == 0 {
                assert_eq!(answer.active_tasks, None, "nothing has changed for it");
                return;
            }
        }
        cluster.pass(100).await;
    }
    panic!("nobody took over");
}

async fn coordinator(cluster: &Cluster, asked: i32) -> i32 {
    let request = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    for _ in 0..400 {
        let response = cluster.client(asked).call(4, &request).await;
        if response.coordinators[0].error_code == 0 {
            return response.coordinators[0].node_id;
        }
        cluster.pass(50).await;
    }
    panic!("node {asked} finds no coordinator");
}
