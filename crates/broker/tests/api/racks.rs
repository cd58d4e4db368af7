//! Nodes in racks: replicas are spread over them, and consumers read in their own (KIP-392), as
//! `org.apache.kafka.common.replica.RackAwareReplicaSelector` chooses. The choice itself is tested in `replica`.

use crate::{
    clusters::{ALL, controller, until_brokers},
    harness::{Cluster, Topic, batch, bytes_of, code, fetch, fetch_topic, produce, values},
    replication::{create, partitions, produce_somewhere, until, until_in_sync},
};
use broker::Config;
use wire::{
    CreateTopicsRequest, ErrorCode, FetchRequest, MetadataRequest, create_topics_request::CreatableTopic,
    fetch_response::PartitionData,
};

const SELECTOR: (&str, &str) =
    ("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");
const RACKS: [&str; 3] = ["a", "b", "c"];

/// Where a node is: 1 in `a`, 2 in `b`, 3 in `c`, 4 in `a` ...
fn rack_of(node: i32) -> &'static str {
    RACKS[(node as usize - 1) % RACKS.len()]
}

fn in_rack(node: i32) -> impl FnOnce(&mut Config) {
    move |config| config.rack = Some(rack_of(node).to_owned())
}

async fn of_three_racks(statics: &[(&str, &str)]) -> Cluster {
    let cluster = Cluster::new(statics);
    let starting = ALL.map(|node| cluster.start_as(node, node, &ALL, in_rack(node)));
    for start in starting {
        start.await.unwrap().unwrap();
    }
    cluster
}

/// What a consumer in a rack asks for that waits for records.
fn near(topic: &Topic, offset: i64, rack: &str) -> FetchRequest {
    FetchRequest { max_wait_ms: 5000, rack_id: rack.into(), ..fetch(topic, 0, offset) }
}

async fn ask(cluster: &Cluster, node: i32, version: i16, request: &FetchRequest) -> PartitionData {
    let mut answer = cluster.client(node).call(version, request).await;
    assert_eq!(answer.error_code, 0);
    answer.responses.remove(0).partitions.remove(0)
}

/// Values, once each: what is not acknowledged in time is sent again.
fn texts(data: &PartitionData) -> Vec<String> {
    let mut texts: Vec<_> = values(bytes_of(data)).into_iter().map(|(_, value)| value).collect();
    texts.dedup();
    texts
}

/// A topic of one partition with a record, which node 1 leads and all have.
async fn topic_of_three(cluster: &Cluster) -> Topic {
    let topic = create(cluster, "t", &[&[1, 2, 3]], &[]).await;
    until_in_sync(cluster, 1, &topic, &ALL).await;
    produce_somewhere(cluster, 1, &topic, 0, "x").await;
    // The followers hear of the high watermark, and the leader of their last fetch.
    cluster.pass(1000).await;
    topic
}

#[tokio::test(start_paused = true)]
async fn a_consumer_is_sent_to_the_replica_in_its_rack_at_once_and_without_records() {
    let cluster = of_three_racks(&[SELECTOR]).await;
    let topic = topic_of_three(&cluster).await;
    for (version, offset) in [(11, 0), (12, 0), (13, 1), (18, 0), (18, 1)] {
        let asked_at = cluster.elapsed_ms();
        let data = ask(&cluster, 1, version, &near(&topic, offset, "b")).await;
        let told = (data.error_code, data.preferred_read_replica, bytes_of(&data).len());
        assert_eq!(told, (0, 2, 0), "version {version}, offset {offset}");
        assert_eq!((data.high_watermark, data.last_stable_offset, data.log_start_offset), (1, 1, 0));
        assert_eq!(cluster.elapsed_ms(), asked_at, "it waits for nothing");
    }
    let committed = FetchRequest { isolation_level: 1, ..near(&topic, 0, "c") };
    let data = ask(&cluster, 1, 18, &committed).await;
    assert_eq!((data.preferred_read_replica, data.aborted_transactions), (3, None));
    // A client that cannot be sent elsewhere, one beside the leader, one without a rack, and one where nobody is.
    for (version, rack) in [(10, "b"), (18, "a"), (18, ""), (18, "nowhere")] {
        let data = ask(&cluster, 1, version, &near(&topic, 0, rack)).await;
        assert_eq!((data.preferred_read_replica, texts(&data)), (-1, vec!["x".into()]), "{version} {rack}");
    }
    let data = ask(&cluster, 1, 18, &near(&topic, 2, "b")).await;
    let out_of_range = code(ErrorCode::OffsetOutOfRange);
    assert_eq!((data.error_code, data.preferred_read_replica), (out_of_range, -1), "nobody has it");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn without_the_selector_the_leader_serves_every_rack() {
    let cluster = of_three_racks(&[]).await;
    let topic = topic_of_three(&cluster).await;
    let data = ask(&cluster, 1, 18, &near(&topic, 0, "b")).await;
    assert_eq!((data.preferred_read_replica, texts(&data)), (-1, vec!["x".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_follower_serves_a_consumer_up_to_the_high_watermark_and_wakes_it() {
    let cluster = of_three_racks(&[SELECTOR]).await;
    let topic = topic_of_three(&cluster).await;
    let data = ask(&cluster, 2, 18, &near(&topic, 0, "b")).await;
    assert_eq!((data.error_code, data.preferred_read_replica, texts(&data)), (0, -1, vec!["x".into()]));
    // Node 3 is in sync and hears nothing: what comes now is on node 2 and not yet safe.
    cluster.set_cut(3, true);
    let cut_at = cluster.elapsed_ms();
    let answer = cluster.client(1).call(13, &produce(&topic, 0, 1, batch(&["y"]))).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    cluster.pass(200).await;
    let at_once = |offset| FetchRequest { max_wait_ms: 0, ..near(&topic, offset, "b") };
    let data = ask(&cluster, 2, 18, &at_once(0)).await;
    assert_eq!((texts(&data), data.high_watermark), (vec!["x".into()], 1));
    let data = ask(&cluster, 2, 18, &at_once(2)).await;
    assert_eq!((data.error_code, bytes_of(&data).len()), (0, 0), "it has the record");
    let data = ask(&cluster, 2, 18, &at_once(3)).await;
    assert_eq!(data.error_code, code(ErrorCode::OffsetOutOfRange));
    let data = ask(&cluster, 2, 18, &FetchRequest { max_wait_ms: 30_000, ..near(&topic, 1, "b") }).await;
    assert_eq!(texts(&data), ["y"]);
    let took = cluster.elapsed_ms() - cut_at;
    assert!((500..5000).contains(&took), "{took} ms, and node 3 is in sync for longer than a second");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn epochs_are_compared_before_a_consumer_is_sent_elsewhere_and_where_it_is_sent() {
    let cluster = of_three_racks(&[SELECTOR]).await;
    let topic = topic_of_three(&cluster).await;
    cluster.kill(1);
    let leader = until(&cluster, 2, &topic, |one| one.leader_id >= 2).await[0].leader_id;
    let follower = if leader == 2 { 3 } else { 2 };
    cluster.pass(1000).await;
    let epoch = partitions(&cluster, leader, &topic).await[0].leader_epoch;
    let right = ask(&cluster, leader, 18, &near(&topic, 0, rack_of(follower))).await;
    assert_eq!(right.preferred_read_replica, follower);
    for node in [leader, follower] {
        for (off, error) in [(-1, ErrorCode::FencedLeaderEpoch), (1, ErrorCode::UnknownLeaderEpoch)] {
            let mut request = near(&topic, 0, rack_of(follower));
            request.topics[0].partitions[0].current_leader_epoch = epoch + off;
            let data = ask(&cluster, node, 18, &request).await;
            assert_eq!((data.error_code, data.preferred_read_replica), (code(error), -1), "at {node}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_partition_is_answered_by_itself_and_a_session_is_told_every_time() {
    let cluster = of_three_racks(&[SELECTOR]).await;
    let topic = create(&cluster, "t", &[&[1, 2], &[1, 3]], &[]).await;
    for (index, others) in [[1, 2], [1, 3]].iter().enumerate() {
        produce_somewhere(&cluster, 1, &topic, index as i32, "x").await;
        assert_eq!(partitions(&cluster, 1, &topic).await[index].isr_nodes, others);
    }
    cluster.pass(1000).await;
    let mut client = cluster.client(1);
    let first = FetchRequest {
        session_epoch: 0,
        topics: vec![fetch_topic(&topic, &[(0, 0), (1, 0)])],
        ..near(&topic, 0, "b")
    };
    let answer = client.call(18, &first).await;
    let told = answer.responses[0].partitions.iter();
    let told: Vec<_> =
        told.map(|one| (one.partition_index, one.preferred_read_replica, texts(one))).collect();
    assert_eq!(told, [(0, 2, vec![]), (1, -1, vec!["x".to_owned()])]);
    assert_ne!(answer.session_id, 0);
    for session_epoch in [1, 2] {
        let next = FetchRequest {
            session_id: answer.session_id,
            session_epoch,
            topics: Vec::new(),
            ..near(&topic, 0, "b")
        };
        let again = client.call(18, &next).await;
        let told: Vec<_> =
            again.responses[0].partitions.iter().map(|one| one.preferred_read_replica).collect();
        // Partition 1 was read, but the session has not been told so: it gives its record again.
        assert_eq!((again.error_code, told), (0, vec![2, -1]), "epoch {session_epoch}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_leaves_the_isr_is_passed_over_until_it_is_back_and_serves_what_it_has() {
    // Nobody is fenced meanwhile: the leader finds out by itself who does not fetch.
    let statics = [SELECTOR, ("replica.lag.time.max.ms", "1000"), ("broker.session.timeout.ms", "60000")];
    let cluster = of_three_racks(&statics).await;
    let active = controller(&cluster, 1).await;
    let others: Vec<_> = ALL.into_iter().filter(|node| *node != active).collect();
    let (leader, follower) = (others[0], others[1]);
    let topic = create(&cluster, "t", &[&[leader, follower]], &[]).await;
    produce_somewhere(&cluster, active, &topic, 0, "x").await;
    cluster.pass(1000).await;
    let request = FetchRequest { max_wait_ms: 0, ..near(&topic, 0, rack_of(follower)) };
    let sent_to = async || ask(&cluster, leader, 18, &request).await.preferred_read_replica;
    assert_eq!(sent_to().await, follower);
    cluster.set_cut(follower, true);
    assert_eq!(sent_to().await, follower, "it is in sync until it lags");
    produce_somewhere(&cluster, active, &topic, 0, "y").await;
    until_in_sync(&cluster, active, &topic, &[leader]).await;
    let data = ask(&cluster, leader, 18, &request).await;
    let both = vec!["x".to_owned(), "y".to_owned()];
    assert_eq!((data.preferred_read_replica, texts(&data)), (-1, both.clone()));
    let data = ask(&cluster, follower, 18, &request).await;
    assert_eq!((data.error_code, texts(&data)), (0, vec!["x".to_owned()]), "it knows of nothing");
    cluster.set_cut(follower, false);
    // What was under way is lost for good: a follower gives it up after `replica.socket.timeout.ms`.
    cluster.pass(30_000).await;
    let mut in_sync = [leader, follower];
    in_sync.sort_unstable();
    until_in_sync(&cluster, active, &topic, &in_sync).await;
    cluster.pass(1000).await;
    assert_eq!(sent_to().await, follower);
    assert_eq!(texts(&ask(&cluster, follower, 18, &request).await), both);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_node_stops_is_passed_over_until_it_is_back() {
    let cluster = of_three_racks(&[SELECTOR]).await;
    let topic = topic_of_three(&cluster).await;
    let request = near(&topic, 0, "c");
    assert_eq!(ask(&cluster, 1, 18, &request).await.preferred_read_replica, 3);
    cluster.kill(3);
    until_in_sync(&cluster, 1, &topic, &[1, 2]).await;
    let data = ask(&cluster, 1, 18, &request).await;
    assert_eq!((data.preferred_read_replica, texts(&data)), (-1, vec!["x".into()]));
    cluster.start_as(3, 3, &ALL, in_rack(3)).await.unwrap().unwrap();
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    cluster.pass(1000).await;
    assert_eq!(ask(&cluster, 1, 18, &request).await.preferred_read_replica, 3);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn replicas_of_a_topic_are_spread_over_the_racks_of_the_brokers() {
    let cluster = of_three_racks(&[]).await;
    for node in [4, 5, 6] {
        let only_broker = move |config: &mut Config| {
            config.is_controller = false;
            config.controller_endpoints.clear();
            in_rack(node)(config);
        };
        cluster.start_as(node, node, &ALL, only_broker).await.unwrap().unwrap();
    }
    until_brokers(&cluster, 2, &[1, 2, 3, 4, 5, 6]).await;
    let told =
        cluster.client(2).call(12, &MetadataRequest { topics: Some(vec![]), ..Default::default() }).await;
    for broker in &told.brokers {
        assert_eq!(broker.rack.as_deref(), Some(rack_of(broker.node_id)));
    }
    for (name, replication_factor, expected) in [("of-three", 3, &RACKS[..]), ("of-two", 2, &RACKS[..0])] {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: 12,
            replication_factor,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
        let created = cluster.client(2).call(7, &request).await.topics.remove(0);
        assert_eq!(created.error_code, 0, "{:?}", created.error_message);
        crate::clusters::known(&cluster, 1, name).await;
        let topic = Topic { name: name.into(), id: created.topic_id };
        let mut leads = [0; 3];
        for partition in partitions(&cluster, 1, &topic).await {
            let mut racks: Vec<_> = partition.replica_nodes.iter().map(|node| rack_of(*node)).collect();
            racks.sort_unstable();
            racks.dedup();
            assert_eq!(racks.len(), replication_factor as usize, "{partition:?}");
            assert!(expected.is_empty() || racks == expected);
            leads[(partition.replica_nodes[0] as usize - 1) % RACKS.len()] += 1;
        }
        assert_eq!(leads, [4; 3], "each rack leads as many of {name}");
    }
    cluster.assert_sound();
}
