//! Share groups (KIP-932) over what happens to brokers, members and records.

use crate::clusters::{ALL, known};
use crate::harness::{Client, Cluster, Got, Node, Sharing, Topic, Transactional, batch, bytes_of, code};
use wire::{
    AlterConfigsRequest, CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest,
    DescribeShareGroupOffsetsRequest, ErrorCode, FindCoordinatorRequest, ShareFetchRequest,
    alter_configs_request::{AlterConfigsResource, AlterableConfig},
    create_topics_request::CreatableTopic,
    delete_topics_request::DeleteTopicState,
    describe_share_group_offsets_request::DescribeShareGroupOffsetsRequestGroup,
    share_fetch_request::{FetchPartition, FetchTopic},
};

const SMALL: &[(&str, &str)] = &[
    ("share.coordinator.state.topic.num.partitions", "3"),
    ("share.coordinator.snapshot.update.records.per.snapshot", "3"),
];

async fn node_with_topic() -> (Node, Client, Topic) {
    let node = Node::with(SMALL).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    configure(&mut client, &[("share.auto.offset.reset", "earliest")]).await;
    (node, client, topic)
}

/// Sets configurations of group `g`.
pub(super) async fn configure(client: &mut Client, configs: &[(&str, &str)]) {
    configure_group(client, "g", configs).await;
}

pub(super) async fn configure_group(client: &mut Client, group: &str, configs: &[(&str, &str)]) {
    let configs = configs
        .iter()
        .map(|(name, value)| AlterableConfig { name: name.to_string(), value: Some(value.to_string()) });
    let resource =
        AlterConfigsResource { resource_type: 32, resource_name: group.into(), configs: configs.collect() };
    let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
    let response = client.call(2, &request).await;
    assert_eq!(response.responses[0].error_code, 0, "{:?}", response.responses[0].error_message);
}

pub(super) async fn joined(client: &mut Client, name: &'static str) -> Sharing {
    let member = Sharing::new("g", name);
    let reply = member.beat(client, 0, Some(&["t"])).await;
    assert_eq!(reply.error_code, 0, "{:?}", reply.error_message);
    member
}

pub(super) fn offsets(got: &Got) -> Vec<(i64, i16)> {
    got.iter().map(|(offset, _, count)| (*offset, *count)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_record_is_one_members_and_another_one_waits_until_it_comes_back() {
    let (node, mut client, topic) = node_with_topic().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let (mut one, mut other) = (joined(&mut client, "one").await, joined(&mut client, "other").await);
    let mut second = node.client();
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(0, 1), (1, 1)]);
    let request = other.fetch_request(&topic, 60_000);
    second.send(2, &request).await;
    assert!(!second.has_answer().await);
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 0), 1).await, (0, 0));
    assert!(!second.has_answer().await, "what is accepted is nobody's");
    assert_eq!(one.acknowledge(&mut client, &topic, (1, 1), 2).await, (0, 0));
    let response = second.receive::<ShareFetchRequest>(2).await;
    assert_eq!(offsets(&crate::harness::got(&response)), [(1, 2)]);
    other.session_epoch = 1;
    assert_eq!(other.acknowledge(&mut second, &topic, (1, 1), 1).await, (0, 0));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_runs_out_wakes_whoever_waits_and_too_many_deliveries_end_it() {
    let (node, mut client, topic) = node_with_topic().await;
    configure(&mut client, &[("share.auto.offset.reset", "earliest"), ("share.delivery.count.limit", "2")])
        .await;
    client.produce(&topic, batch(&["a"])).await;
    let mut one = joined(&mut client, "one").await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(0, 1)]);
    let before = node.now_ms();
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 60_000).await), [(0, 2)]);
    assert!((29_000..31_000).contains(&(node.now_ms() - before)), "{} ms", node.now_ms() - before);
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 40_000).await), [], "it was delivered often enough");
    client.produce(&topic, batch(&["b"])).await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(1, 1)]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_connection_ends_gives_its_records_back() {
    let (node, mut client, topic) = node_with_topic().await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let (mut one, mut other) = (joined(&mut client, "one").await, joined(&mut client, "other").await);
    let mut killed = node.client();
    assert_eq!(one.fetch(&mut killed, &topic, 1000).await.len(), 2);
    assert_eq!(offsets(&other.fetch(&mut client, &topic, 0).await), []);
    drop(killed);
    assert_eq!(offsets(&other.fetch(&mut client, &topic, 5000).await), [(0, 2), (1, 2)]);
    // One that ends its session in good order as well.
    let last =
        ShareFetchRequest { share_session_epoch: -1, topics: vec![], ..other.fetch_request(&topic, 0) };
    assert_eq!(client.call(2, &last).await.error_code, 0);
    let mut third = joined(&mut client, "third").await;
    assert_eq!(offsets(&third.fetch(&mut client, &topic, 5000).await), [(0, 3), (1, 3)]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_session_that_outgrows_its_room_ends_and_gives_its_records_back() {
    let (node, mut client, topic) = node_with_topic().await;
    client.produce(&topic, batch(&["a"])).await;
    let mut one = joined(&mut client, "one").await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(0, 1)]);
    let partition = |index| FetchPartition { partition_index: index, ..Default::default() };
    let many = FetchTopic { topic_id: topic.id, partitions: (0..=16 * 1024).map(partition).collect() };
    let too_many = ShareFetchRequest { topics: vec![many], ..one.fetch_request(&topic, 0) };
    let response = one.call(&mut client, &too_many).await;
    assert_eq!(response.error_code, code(ErrorCode::ShareSessionLimitReached));
    let mut two = Sharing::new("g", "two");
    // Long before the lock runs out.
    assert_eq!(offsets(&two.fetch(&mut client, &topic, 1000).await), [(0, 2)]);
    let response = one.call(&mut client, &one.fetch_request(&topic, 0)).await;
    assert_eq!(response.error_code, code(ErrorCode::ShareSessionNotFound));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn who_fetches_for_a_group_without_state_is_told_so_at_once() {
    let (node, mut client, topic) = node_with_topic().await;
    joined(&mut client, "one").await;
    let mut stranger = Sharing::new("h", "one");
    let response = stranger.call(&mut client, &stranger.fetch_request(&topic, 10_000)).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!((response.error_code, data.error_code), (0, code(ErrorCode::UnknownServerError)));
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn after_a_kill_the_group_goes_on_where_it_was() {
    let (node, mut client, topic) = node_with_topic().await;
    for value in ["a", "b", "c", "d", "e"] {
        client.produce(&topic, batch(&[value])).await;
    }
    let mut one = joined(&mut client, "one").await;
    assert_eq!(one.fetch(&mut client, &topic, 1000).await.len(), 5);
    for offset in [0, 1, 3] {
        assert_eq!(one.acknowledge(&mut client, &topic, (offset, offset), 1).await, (0, 0));
    }
    assert_eq!(one.acknowledge(&mut client, &topic, (4, 4), 2).await, (0, 0));
    let node = node.start_on(|_| {}).await.unwrap();
    let mut client = node.client();
    let lost = one.acknowledge(&mut client, &topic, (2, 2), 1).await;
    assert_eq!(lost.0, code(ErrorCode::ShareSessionNotFound));
    let mut one = Sharing::new("g", "one");
    assert_eq!(one.beat(&mut client, 3, None).await.error_code, 0, "it is still a member");
    let got = one.fetch(&mut client, &topic, 5000).await;
    assert_eq!(offsets(&got), [(2, 1), (4, 2)], "c was in flight, which nobody wrote down; e was released");
    assert_eq!(one.acknowledge(&mut client, &topic, (2, 2), 1).await, (0, 0));
    // Several updates lie behind the last snapshot by now.
    let node = node.start_on(|_| {}).await.unwrap();
    let mut client = node.client();
    let mut one = Sharing::new("g", "one");
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 5000).await), [(4, 2)]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_group_that_begins_at_the_end_stays_there_over_a_restart() {
    let node = Node::with(SMALL).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    client.produce(&topic, batch(&["old"])).await;
    let mut one = joined(&mut client, "one").await;
    assert_eq!(one.fetch(&mut client, &topic, 100).await, []);
    client.produce(&topic, batch(&["new"])).await;
    let node = node.start_on(|_| {}).await.unwrap();
    let mut client = node.client();
    let mut one = Sharing::new("g", "one");
    let got = one.fetch(&mut client, &topic, 5000).await;
    assert_eq!(got, [(1, "new".into(), 1)], "what came while the broker was away is not passed over");
}

#[tokio::test(start_paused = true)]
async fn a_group_may_read_only_what_is_committed() {
    let (node, mut client, topic) = node_with_topic().await;
    configure(
        &mut client,
        &[("share.auto.offset.reset", "earliest"), ("share.isolation.level", "read_committed")],
    )
    .await;
    let mut producer = Transactional::init(&mut client, "id").await;
    producer.send(&mut client, 13, &topic, &["aborted"]).await;
    let mut one = joined(&mut client, "one").await;
    assert_eq!(one.fetch(&mut client, &topic, 100).await, [], "the transaction is open");
    producer.end_patiently(&mut client, 5, false).await;
    producer.send(&mut client, 13, &topic, &["committed"]).await;
    producer.end_patiently(&mut client, 5, true).await;
    client.produce(&topic, batch(&["plain"])).await;
    let mut values = Vec::new();
    for _ in 0..3 {
        values.extend(one.fetch(&mut client, &topic, 200).await.into_iter().map(|(_, value, _)| value));
    }
    // A member acknowledges the ends of transactions as gaps.
    let is_marker = |value: &&String| value.starts_with('\0');
    let values: Vec<_> = values.iter().filter(|value| !is_marker(value)).map(String::as_str).collect();
    assert_eq!(values, ["committed", "plain"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_retention_takes_away_is_passed_over() {
    let (node, mut client, topic) = node_with_topic().await;
    for value in ["a", "b", "c", "d"] {
        client.produce(&topic, batch(&[value])).await;
    }
    let mut one = joined(&mut client, "one").await;
    let request =
        ShareFetchRequest { max_records: 1, share_acquire_mode: 1, ..one.fetch_request(&topic, 1000) };
    assert_eq!(offsets(&crate::harness::got(&one.call(&mut client, &request).await)), [(0, 1)]);
    client.delete_before(&topic, 3).await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(3, 1)]);
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 0), 1).await, (0, 0), "what is gone is done");
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_begins_anew_and_a_deleted_topic_is_forgotten() {
    let (node, mut client, topic) = node_with_topic().await;
    client.produce(&topic, batch(&["a"])).await;
    let mut one = joined(&mut client, "one").await;
    one.fetch(&mut client, &topic, 1000).await;
    one.acknowledge(&mut client, &topic, (0, 0), 1).await;
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()] };
    assert_eq!(client.call(2, &delete).await.results[0].error_code, code(ErrorCode::NonEmptyGroup));
    one.beat(&mut client, -1, None).await;
    let last = ShareFetchRequest { share_session_epoch: -1, topics: vec![], ..one.fetch_request(&topic, 0) };
    client.call(2, &last).await;
    assert_eq!(client.call(2, &delete).await.results[0].error_code, 0);
    let mut again = joined(&mut client, "one").await;
    assert_eq!(offsets(&again.fetch(&mut client, &topic, 1000).await), [(0, 1)]);
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: topic.id }],
        timeout_ms: 1000,
        ..Default::default()
    };
    assert_eq!(client.call(6, &request).await.responses[0].error_code, 0);
    node.pass(1000).await;
    let response = again.call(&mut client, &again.fetch_request(&topic, 0)).await;
    assert_eq!(response.responses[0].partitions[0].error_code, code(ErrorCode::UnknownTopicId));
    let group = DescribeShareGroupOffsetsRequestGroup { group_id: "g".into(), topics: None };
    let described = client.call(1, &DescribeShareGroupOffsetsRequest { groups: vec![group] }).await;
    assert_eq!(described.groups[0].topics, []);
    node.assert_sound();
}

const REPLICATED: &[(&str, &str)] = &[
    ("share.coordinator.state.topic.num.partitions", "4"),
    ("offsets.topic.replication.factor", "3"),
    ("offsets.topic.num.partitions", "3"),
];

/// The coordinator of a group, by a node that runs; waits until that is known and runs.
async fn coordinator(cluster: &Cluster, asked: i32) -> i32 {
    coordinator_of(cluster, asked, "g").await
}

pub(super) async fn coordinator_of(cluster: &Cluster, asked: i32, group: &str) -> i32 {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    for _ in 0..400 {
        let found = cluster.client(asked).call(6, &request).await.coordinators.remove(0);
        if found.error_code == 0 && cluster.is_running(found.node_id) {
            return found.node_id;
        }
        cluster.pass(50).await;
    }
    panic!("node {asked} finds no coordinator");
}

pub(super) async fn leader(cluster: &Cluster, asked: i32, topic: &Topic) -> i32 {
    for _ in 0..400 {
        let leader = known(cluster, asked, &topic.name).await.partitions[0].leader_id;
        if cluster.is_running(leader) {
            return leader;
        }
        cluster.pass(50).await;
    }
    panic!("nobody leads {}", topic.name);
}

/// Fetches from whoever leads until something comes.
async fn fetched(cluster: &Cluster, asked: i32, topic: &Topic, name: &'static str) -> (Sharing, Client, Got) {
    for _ in 0..400 {
        let leader = leader(cluster, asked, topic).await;
        let mut client = cluster.client(leader);
        let mut member = Sharing::new("g", name);
        let response = member.call(&mut client, &member.fetch_request(topic, 500)).await;
        let is_well =
            response.responses.iter().flat_map(|topic| &topic.partitions).all(|data| data.error_code == 0);
        let got = if is_well { crate::harness::got(&response) } else { Got::new() };
        if !got.is_empty() {
            return (member, client, got);
        }
        cluster.pass(100).await;
    }
    panic!("nothing comes");
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_a_group_outlives_leaders_and_coordinators() {
    let cluster = Cluster::of_three_with(REPLICATED).await;
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 3, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let response = cluster.client(1).call(7, &request).await;
    let topic = Topic { name: "t".into(), id: response.topics[0].topic_id };
    for node in ALL {
        known(&cluster, node, "t").await;
    }
    configure(&mut cluster.client(1), &[("share.auto.offset.reset", "earliest")]).await;
    let led = leader(&cluster, 1, &topic).await;
    for value in ["a", "b", "c", "d"] {
        cluster.client(led).produce(&topic, batch(&[value])).await;
    }
    let at = coordinator(&cluster, 1).await;
    let member = Sharing::new("g", "one");
    let reply = member.beat(&mut cluster.client(at), 0, Some(&["t"])).await;
    assert_eq!((reply.error_code, reply.assignment.unwrap().topic_partitions.len()), (0, 1));
    let (mut one, mut client, got) = fetched(&cluster, 1, &topic, "one").await;
    assert_eq!(offsets(&got), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 0), 1).await, (0, 0));
    assert_eq!(one.acknowledge(&mut client, &topic, (2, 2), 3).await, (0, 0));
    // Whoever led the partition, and perhaps coordinated its state, is gone.
    cluster.kill(led);
    let asked = ALL.into_iter().find(|node| *node != led).unwrap();
    let (mut two, mut client, got) = fetched(&cluster, asked, &topic, "two").await;
    assert_eq!(offsets(&got), [(1, 1), (3, 1)], "what was in flight comes again, what was done does not");
    assert_eq!(two.acknowledge(&mut client, &topic, (1, 1), 1).await, (0, 0));
    assert_eq!(two.acknowledge(&mut client, &topic, (3, 3), 1).await, (0, 0));
    cluster.assert_sound();
}

/// Creates a topic whose partitions have one replica each.
async fn unreplicated(cluster: &Cluster, partitions: i32) -> Topic {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let response = cluster.client(1).call(7, &request).await;
    for node in ALL {
        known(cluster, node, "t").await;
    }
    configure(&mut cluster.client(1), &[("share.auto.offset.reset", "earliest")]).await;
    Topic { name: "t".into(), id: response.topics[0].topic_id }
}

/// The only member of a group, which has acquired records of partition 0 from its leader.
async fn acquired(cluster: &Cluster, led: i32, group: &'static str, topic: &Topic) -> (Sharing, Client) {
    let config = [("share.auto.offset.reset", "earliest")];
    configure_group(&mut cluster.client(led), group, &config).await;
    let at = coordinator_of(cluster, led, group).await;
    let (mut member, mut client) = (Sharing::new(group, "m"), cluster.client(led));
    for _ in 0..100 {
        member.beat(&mut cluster.client(at), 0, Some(&["t"])).await;
        let response = member.call(&mut client, &member.fetch_request(topic, 500)).await;
        if response.responses.iter().any(|topic| !topic.partitions[0].acquired_records.is_empty()) {
            return (member, client);
        }
        cluster.pass(100).await;
    }
    panic!("{group} gets nothing");
}

/// The partition of the state in which that of partition 0 is, for a group.
fn place_of_state(group: &str, topic: &Topic, partitions: usize) -> usize {
    let text = format!("{group}:{}:0", topic.id);
    let hash = text.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    usize::try_from(hash.unsigned_abs()).unwrap() % partitions
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_nobody_led_its_state_is_forgotten_later() {
    let statics = [
        ("share.coordinator.state.topic.num.partitions", "1"),
        ("share.coordinator.state.topic.replication.factor", "1"),
        ("share.coordinator.state.topic.min.isr", "1"),
        ("share.coordinator.state.topic.prune.interval.ms", "5000"),
    ];
    let cluster = Cluster::of_three_with(&statics).await;
    let topic = unreplicated(&cluster, 1).await;
    let led = leader(&cluster, 1, &topic).await;
    cluster.client(led).produce(&topic, batch(&["a"])).await;
    let at = coordinator(&cluster, 1).await;
    Sharing::new("g", "one").beat(&mut cluster.client(at), 0, Some(&["t"])).await;
    fetched(&cluster, 1, &topic, "one").await;
    let state = known(&cluster, 1, "__share_group_state").await;
    let (state_led, state) =
        (state.partitions[0].leader_id, Topic { name: "__share_group_state".into(), id: state.topic_id });
    cluster.kill(state_led);
    let asked = ALL.into_iter().find(|node| *node != state_led).unwrap();
    let request = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: None, topic_id: topic.id }],
        timeout_ms: 5000,
        ..Default::default()
    };
    let mut tries = 0;
    while cluster.client(asked).call(6, &request).await.responses[0].error_code != 0 {
        tries += 1;
        assert!(tries < 100);
        cluster.pass(100).await;
    }
    cluster.start(state_led, &ALL).await.unwrap().unwrap();
    for _ in 0..40 {
        cluster.pass(1000).await;
        let data = cluster.client(state_led).fetch(&topic_of(&state), 0).await;
        let mut bytes = bytes_of(&data);
        while let Some(batch) = records::Batch::split_off(&mut bytes) {
            let all = batch.records(1 << 20, &mut records::Decompressor::new()).unwrap();
            if all.iter().any(|record| record.value.is_none()) {
                return cluster.assert_sound();
            }
        }
    }
    panic!("the state of a topic that is gone is still there");
}

fn topic_of(topic: &Topic) -> Topic {
    Topic { name: topic.name.clone(), id: topic.id }
}

#[tokio::test(start_paused = true)]
async fn a_partition_of_the_state_that_is_slow_does_not_hold_up_the_others() {
    let statics = [
        ("share.coordinator.state.topic.num.partitions", "12"),
        ("share.coordinator.state.topic.replication.factor", "2"),
        ("share.coordinator.state.topic.min.isr", "2"),
        ("group.share.record.lock.duration.ms", "60000"),
        ("replica.lag.time.max.ms", "60000"),
    ];
    let cluster = Cluster::of_three_with(&statics).await;
    let topic = unreplicated(&cluster, 1).await;
    let led = leader(&cluster, 1, &topic).await;
    for value in ["a", "b", "c"] {
        cluster.client(led).produce(&topic, batch(&[value])).await;
    }
    // The first group has the topic of the state created.
    acquired(&cluster, led, "g", &topic).await;
    let state = known(&cluster, led, "__share_group_state").await;
    let others: Vec<i32> = ALL.into_iter().filter(|node| *node != led).collect();
    let place = |group: &str| {
        let index = place_of_state(group, &topic, 12);
        let partition = state.partitions.iter().find(|one| one.partition_index == index as i32).unwrap();
        let follower = partition.replica_nodes.iter().find(|node| **node != partition.leader_id).unwrap();
        (partition.leader_id, *follower)
    };
    let names: &[&'static str] = &[
        "g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "h1", "h2", "h3", "h4", "h5", "h6", "h7", "h8",
        "h9", "i1", "i2", "i3", "i4", "i5", "i6", "i7", "i8", "i9",
    ];
    let (coordinator, other) = (others[0], others[1]);
    let named = |follower| *names.iter().find(|group| place(group) == (coordinator, follower)).unwrap();
    let (slow, quick) = (named(other), named(led));
    let (waiting, mut on) = acquired(&cluster, led, slow, &topic).await;
    let (mut prompt, mut beside) = acquired(&cluster, led, quick, &topic).await;
    cluster.set_pair_cut(coordinator, other, true);
    on.send(waiting.version, &waiting.acknowledgement(&topic, 0, 0, 1)).await;
    cluster.pass(200).await;
    let begun = cluster.elapsed_ms();
    assert_eq!(prompt.acknowledge(&mut beside, &topic, (0, 0), 1).await, (0, 0));
    assert!(cluster.elapsed_ms() - begun < 1000, "{}", cluster.elapsed_ms() - begun);
    assert!(!on.has_answer().await, "the other one has nothing to wait for");
    cluster.set_pair_cut(coordinator, other, false);
    cluster.assert_sound();
}
