//! Dead-letter topics of share groups (KIP-1191): what they are told, and that nothing is passed over before they are.

use crate::clusters::ALL;
use crate::harness::{BatchSpec, Client, Cluster, Node, Sharing, Topic, batch, batch_of, bytes_of};
use crate::replication::{create, move_to, until_in_sync};
use crate::share_groups::{configure, coordinator_of, joined, leader, offsets};
use std::collections::BTreeMap;
use wire::{
    DescribeConfigsRequest, DescribeShareGroupOffsetsRequest,
    describe_configs_request::DescribeConfigsResource, describe_share_group_offsets_request as describe,
};

const SMALL: [(&str, &str); 1] = [("share.coordinator.state.topic.num.partitions", "3")];
const ENABLED: &[(&str, &str)] = &[("errors.deadletterqueue.group.enable", "true")];

/// A node with a topic, and a group that has this dead-letter topic.
async fn node_with(statics: &[(&str, &str)], name: &str) -> (Node, Client, Topic) {
    let node = Node::with(&[&SMALL, statics].concat()).await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    let configs = [("share.auto.offset.reset", "earliest"), ("errors.deadletterqueue.topic.name", name)];
    configure(&mut client, &configs).await;
    (node, client, topic)
}

/// A dead letter: key, value, and headers.
type Letter = (Option<String>, Option<String>, BTreeMap<String, String>);

async fn letters(client: &mut Client, topic: &Topic) -> Vec<Letter> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut bytes = bytes_of(&client.fetch(topic, 0).await);
    let mut all = Vec::new();
    while let Some(batch) = records::Batch::split_off(&mut bytes) {
        for record in batch.records(1 << 20, &mut records::Decompressor::new()).unwrap() {
            let headers = record.headers.into_iter();
            let headers = headers.map(|header| (text(header.key), text(header.value.unwrap())));
            all.push((record.key.map(text), record.value.map(text), headers.collect()));
        }
    }
    all
}

fn headers(offset: &str, count: &str, why: &str) -> BTreeMap<String, String> {
    let all = [
        ("topic", "t"),
        ("partition", "0"),
        ("offset", offset),
        ("group", "g"),
        ("delivery.count", count),
        ("message", why),
    ];
    all.map(|(name, value)| (format!("__dlq.errors.{name}"), value.to_owned())).into()
}

/// How many records of partition 0 the group is not done with, as far as that is stored.
async fn lag(client: &mut Client) -> i64 {
    let group = describe::DescribeShareGroupOffsetsRequestGroup { group_id: "g".into(), topics: None };
    let request = DescribeShareGroupOffsetsRequest { groups: vec![group] };
    let described = client.call(1, &request).await;
    described.groups[0].topics[0].partitions[0].lag
}

#[tokio::test(start_paused = true)]
async fn a_rejected_record_is_told_of_and_then_passed() {
    let (node, mut client, topic) = node_with(&[], "dlq.t").await;
    let dead = client.create("dlq.t", 1, ENABLED).await;
    client.produce(&topic, batch(&["a", "b", "c"])).await;
    let mut one = joined(&mut client, "one").await;
    one.fetch(&mut client, &topic, 1000).await;
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 1), 3).await, (0, 0));
    assert_eq!(one.acknowledge(&mut client, &topic, (2, 2), 1).await, (0, 0));
    node.pass(1000).await;
    let why = "Offset rejected by client.";
    let expected = [(None, None, headers("0", "1", why)), (None, None, headers("1", "1", why))];
    assert_eq!(letters(&mut client, &dead).await, expected, "but not of what was in them");
    assert_eq!(lag(&mut client).await, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_was_delivered_too_often_is_copied_where_that_is_wanted() {
    let (node, mut client, topic) = node_with(&[], "dlq.t").await;
    let dead = client.create("dlq.t", 1, ENABLED).await;
    let copying = [
        ("share.auto.offset.reset", "earliest"),
        ("share.delivery.count.limit", "2"),
        ("errors.deadletterqueue.topic.name", "dlq.t"),
        ("errors.deadletterqueue.copy.record.enable", "true"),
    ];
    configure(&mut client, &copying).await;
    let spec = BatchSpec { values: &["a", "b"], key: Some("k"), ..BatchSpec::default() };
    client.produce(&topic, batch_of(&spec)).await;
    let mut one = joined(&mut client, "one").await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(0, 1), (1, 1)]);
    one.acknowledge(&mut client, &topic, (0, 0), 1).await;
    one.acknowledge(&mut client, &topic, (1, 1), 2).await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 1000).await), [(1, 2)]);
    // Nobody says anything: the lock runs out.
    node.pass(40_000).await;
    let expected = headers("1", "2", "Offset delivery count exceeded the threshold.");
    assert_eq!(letters(&mut client, &dead).await, [(Some("k".into()), Some("b".into()), expected)]);
    assert_eq!(lag(&mut client).await, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_topic_is_created_where_that_is_allowed() {
    let statics = [
        ("errors.deadletterqueue.auto.create.topics.enable", "true"),
        ("errors.deadletterqueue.topic.name.prefix", "dead-"),
        ("log.message.timestamp.type", "LogAppendTime"),
    ];
    let (node, mut client, topic) = node_with(&statics, "dead-letters").await;
    client.produce(&topic, batch(&["a"])).await;
    let mut one = joined(&mut client, "one").await;
    one.fetch(&mut client, &topic, 1000).await;
    one.acknowledge(&mut client, &topic, (0, 0), 3).await;
    node.pass(2000).await;
    let metadata = crate::clusters::metadata(&mut client, "dead-letters").await;
    let dead = Topic { name: "dead-letters".into(), id: metadata.topics[0].topic_id };
    assert_eq!(letters(&mut client, &dead).await.len(), 1);
    let keys = ["errors.deadletterqueue.group.enable", "message.timestamp.type"];
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: "dead-letters".into(),
        configuration_keys: Some(keys.map(str::to_owned).to_vec()),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let described = client.call(4, &request).await.results.remove(0).configs;
    let values: Vec<_> = described.into_iter().map(|config| config.value.unwrap()).collect();
    assert_eq!(values, ["true", "CreateTime"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_group_whose_dead_letter_topic_is_set_up_wrongly_goes_on_without_it() {
    for (name, configs) in [
        ("dlq.absent", None),
        ("__dlq", None),
        ("wrong-prefix", Some(ENABLED)),
        ("dlq.not-enabled", Some(&[][..])),
        // It does not take records without keys.
        ("dlq.compacted", Some(&[ENABLED[0], ("cleanup.policy", "compact")][..])),
    ] {
        let (node, mut client, topic) = node_with(&[], name).await;
        let dead = match configs {
            Some(configs) => Some(client.create(name, 1, configs).await),
            None => None,
        };
        client.produce(&topic, batch(&["a", "b"])).await;
        let mut one = joined(&mut client, "one").await;
        one.fetch(&mut client, &topic, 1000).await;
        assert_eq!(one.acknowledge(&mut client, &topic, (0, 1), 3).await, (0, 0));
        node.pass(1000).await;
        assert_eq!(lag(&mut client).await, 0, "{name}");
        if let Some(dead) = dead {
            assert_eq!(letters(&mut client, &dead).await, [], "{name}");
        }
        node.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_passed_before_the_dead_letter_topic_has_it_on_stable_storage_not_even_by_a_restart() {
    let (node, mut client, topic) = node_with(&[], "dlq.t").await;
    let dead = client.create("dlq.t", 1, ENABLED).await;
    client.produce(&topic, batch(&["a", "b"])).await;
    let mut one = joined(&mut client, "one").await;
    one.fetch(&mut client, &topic, 1000).await;
    *node.disk.switches().closed_below.lock().unwrap() = Some("/data/dlq.t-0".into());
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 0), 3).await, (0, 0));
    assert_eq!(one.acknowledge(&mut client, &topic, (1, 1), 1).await, (0, 0));
    node.pass(30_000).await;
    assert_eq!(lag(&mut client).await, 1);
    *node.disk.switches().closed_below.lock().unwrap() = None;
    let node = node.cut_power().await;
    let mut client = node.client();
    assert_eq!(lag(&mut client).await, 1);
    // Whoever fetches first has its state read.
    let mut one = joined(&mut client, "two").await;
    assert_eq!(offsets(&one.fetch(&mut client, &topic, 3000).await), []);
    assert_eq!(letters(&mut client, &dead).await.len(), 1);
    assert_eq!(lag(&mut client).await, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_too_large_for_the_topic_is_left_out() {
    let (node, mut client, topic) = node_with(&[], "dlq.t").await;
    let dead = client.create("dlq.t", 1, &[ENABLED[0], ("max.message.bytes", "1000")]).await;
    let copying = [
        ("share.auto.offset.reset", "earliest"),
        ("errors.deadletterqueue.topic.name", "dlq.t"),
        ("errors.deadletterqueue.copy.record.enable", "true"),
    ];
    configure(&mut client, &copying).await;
    let large = "x".repeat(2000);
    client.produce(&topic, batch(&["a", &large, "b", "c", "d", "e"])).await;
    let mut one = joined(&mut client, "one").await;
    one.fetch(&mut client, &topic, 1000).await;
    one.acknowledge(&mut client, &topic, (0, 5), 3).await;
    node.pass(2000).await;
    let values = letters(&mut client, &dead)
        .await
        .into_iter()
        .map(|(_, value, headers)| (headers["__dlq.errors.offset"].clone(), value));
    let values: Vec<_> = values.collect();
    let expected = [
        ("0", Some("a")),
        ("1", None),
        ("2", Some("b")),
        ("3", Some("c")),
        ("4", Some("d")),
        ("5", Some("e")),
    ];
    assert_eq!(values, expected.map(|(offset, value)| (offset.to_owned(), value.map(str::to_owned))));
    assert_eq!(lag(&mut client).await, 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_another_broker_may_lead_the_dead_letter_topic() {
    let cluster = Cluster::of_three_with(&SMALL).await;
    let (topic, dead) = rejected_while(&cluster, "a", || cluster.set_pair_cut(1, 2, true)).await;
    cluster.pass(3000).await;
    cluster.set_pair_cut(1, 2, false);
    let told = until_told(&cluster, &topic, &dead).await;
    let offsets = told.iter().map(|(.., headers)| &*headers["__dlq.errors.offset"]);
    assert!(offsets.clone().all(|offset| offset == "0"), "{told:?}");
    cluster.assert_sound();
}

/// In a cluster, with node 2 at the head of the dead-letter topic: a record of that value is rejected after `change`.
async fn rejected_while(cluster: &Cluster, value: &str, change: impl FnOnce()) -> (Topic, Topic) {
    let topic = create(cluster, "t", &[&[1]], &[]).await;
    let dead = create(cluster, "dlq.t", &[&[2]], ENABLED).await;
    let configs = [
        ("share.auto.offset.reset", "earliest"),
        ("errors.deadletterqueue.topic.name", "dlq.t"),
        ("errors.deadletterqueue.copy.record.enable", "true"),
    ];
    configure(&mut cluster.client(1), &configs).await;
    assert_eq!((leader(cluster, 1, &topic).await, leader(cluster, 1, &dead).await), (1, 2));
    let mut client = cluster.client(1);
    // Before its first request that makes sense no large frame is taken from a connection.
    client.fetch(&topic, 0).await;
    client.produce(&topic, batch(&[value])).await;
    let at = coordinator_of(cluster, 1, "g").await;
    let mut one = Sharing::new("g", "one");
    one.beat(&mut cluster.client(at), 0, Some(&["t"])).await;
    while one.fetch(&mut client, &topic, 500).await.is_empty() {}
    change();
    assert_eq!(one.acknowledge(&mut client, &topic, (0, 0), 3).await, (0, 0));
    (topic, dead)
}

/// The letters, once there are some.
async fn until_told(cluster: &Cluster, topic: &Topic, dead: &Topic) -> Vec<Letter> {
    for _ in 0..60 {
        // Who was cut off from the controller may have to lead anew, and has the state read when somebody asks for records.
        let asking = Sharing::new("g", "two");
        let at = leader(cluster, 3, topic).await;
        asking.send_fetch(&mut cluster.client(at), topic).await;
        cluster.pass(1000).await;
        let told = letters(&mut cluster.client(leader(cluster, 3, dead).await), dead).await;
        if !told.is_empty() {
            return told;
        }
    }
    panic!("nobody is told");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_closes_all_connections_is_waited_for_and_gets_the_whole_letter() {
    let cluster = Cluster::of_three_with(&SMALL).await;
    let (_, dead) = rejected_while(&cluster, "a", || cluster.set_closing(2, true)).await;
    // For ten tries and more. Nobody else may ask for records: that would begin all of it anew.
    cluster.pass(28_000).await;
    cluster.set_closing(2, false);
    cluster.pass(15_000).await;
    let told = letters(&mut cluster.client(2), &dead).await;
    assert_eq!((told.len(), told[0].1.as_deref()), (1, Some("a")), "its content was not given up");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn whoever_has_the_records_no_more_leaves_telling_to_the_one_that_has() {
    let cluster = Cluster::of_three_with(&SMALL).await;
    let (topic, dead) = rejected_while(&cluster, "a", || cluster.set_closing(2, true)).await;
    let moved = cluster.client(3).call(1, &move_to(&topic, &[3])).await;
    assert_eq!(moved.error_code, 0);
    until_in_sync(&cluster, 3, &topic, &[3]).await;
    cluster.pass(3000).await;
    cluster.set_closing(2, false);
    cluster.pass(15_000).await;
    let told = until_told(&cluster, &topic, &dead).await;
    assert!(told.iter().all(|letter| letter.1.as_deref() == Some("a")), "{told:?}");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_no_frame_as_large_is_told_where_the_record_is() {
    let cluster = Cluster::new(&SMALL);
    let small = |config: &mut broker::Config| config.request_bytes_max = 50_000;
    let starting = ALL.map(|node| match node {
        2 => cluster.start_as(2, 2, &ALL, small),
        other => cluster.start(other, &ALL),
    });
    for start in starting {
        start.await.unwrap().unwrap();
    }
    let large = "x".repeat(80_000);
    let (_, dead) = rejected_while(&cluster, &large, || ()).await;
    cluster.pass(90_000).await;
    let told = letters(&mut cluster.client(2), &dead).await;
    assert_eq!((told.len(), told[0].1.as_deref()), (1, None));
    assert_eq!(told[0].2["__dlq.errors.offset"], "0");
    cluster.assert_sound();
}
