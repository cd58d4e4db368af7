//! Records on several nodes of a real quorum: leaders die, stop, hang and come back, replicas move, leaders are elected.
//! What the protocol between leader and follower promises in detail is tested beside `fetchers`.

use crate::{
    clusters::{ALL, brokers, controller, known, metadata, until_brokers},
    harness::{Cluster, Topic, batch, bytes_of, code, fetch, values},
};
use wire::{
    AlterPartitionReassignmentsRequest, AlterPartitionRequest, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteTopicsRequest, DescribeClusterRequest, ElectLeadersRequest, ErrorCode,
    IncrementalAlterConfigsRequest, ListPartitionReassignmentsRequest, UnregisterBrokerRequest,
    alter_partition_reassignments_request, alter_partition_request,
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    metadata_response::MetadataResponsePartition,
};

/// Creates a topic whose partitions have these replicas; the first of each leads.
pub(crate) async fn create(
    cluster: &Cluster,
    name: &str,
    replicas: &[&[i32]],
    configs: &[(&str, &str)],
) -> Topic {
    let assignments = replicas.iter().enumerate().map(|(index, ids)| CreatableReplicaAssignment {
        partition_index: index as i32,
        broker_ids: ids.to_vec(),
    });
    let configs = configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig { name: name.to_string(), value: Some(value.to_string()) });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: assignments.collect(),
        configs: configs.collect(),
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let answer = cluster.client(1).call(7, &request).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    for node in ALL {
        known(cluster, node, name).await;
    }
    Topic { name: name.into(), id: answer.topics[0].topic_id }
}

pub(crate) async fn partitions(
    cluster: &Cluster,
    asked: i32,
    topic: &Topic,
) -> Vec<MetadataResponsePartition> {
    metadata(&mut cluster.client(asked), &topic.name).await.topics.remove(0).partitions
}

/// Waits until a node sees all partitions as they should be.
pub(crate) async fn until(
    cluster: &Cluster,
    asked: i32,
    topic: &Topic,
    is_right: impl Fn(&MetadataResponsePartition) -> bool,
) -> Vec<MetadataResponsePartition> {
    for _ in 0..400 {
        let seen = partitions(cluster, asked, topic).await;
        if seen.iter().all(&is_right) {
            return seen;
        }
        cluster.pass(50).await;
    }
    panic!("node {asked} sees {:?}", partitions(cluster, asked, topic).await);
}

pub(crate) fn sorted(nodes: &[i32]) -> Vec<i32> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable();
    nodes
}

pub(crate) async fn until_in_sync(cluster: &Cluster, asked: i32, topic: &Topic, expected: &[i32]) {
    until(cluster, asked, topic, |one| sorted(&one.isr_nodes) == expected).await;
}

/// Produces with acks=all as a client does: looks for the leader until it is taken.
pub(crate) async fn produce_somewhere(cluster: &Cluster, asked: i32, topic: &Topic, index: i32, value: &str) {
    for _ in 0..500 {
        let leader = partitions(cluster, asked, topic).await[index as usize].leader_id;
        if leader >= 0 && cluster.is_running(leader) {
            let answer = cluster.client(leader).produce_at(13, topic, index, batch(&[value])).await;
            if answer.error_code == 0 {
                return;
            }
        }
        cluster.pass(20).await;
    }
    panic!("nobody takes {value}");
}

/// What a replica has below its high watermark.
pub(crate) async fn read_at(cluster: &Cluster, node: i32, topic: &Topic, index: i32) -> Vec<String> {
    let mut answer = cluster.client(node).call(18, &fetch(topic, index, 0)).await;
    let data = answer.responses.remove(0).partitions.remove(0);
    assert_eq!(data.error_code, 0);
    values(bytes_of(&data)).into_iter().map(|(_, value)| value).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_is_killed_the_next_record_is_acknowledged_within_a_second_and_none_is_lost() {
    let cluster = Cluster::of_three().await;
    let replicas: [&[i32]; 3] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];
    let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
    let mut expected = vec![Vec::new(); 3];
    for (round, victim) in [1, 2, 3, controller(&cluster, 1).await].into_iter().enumerate() {
        let other = ALL.into_iter().find(|node| *node != victim).unwrap();
        for (index, expected) in expected.iter_mut().enumerate() {
            let value = format!("{round}-before");
            produce_somewhere(&cluster, other, &topic, index as i32, &value).await;
            expected.push(value);
        }
        let killed_at = cluster.elapsed_ms();
        cluster.kill(victim);
        for (index, expected) in expected.iter_mut().enumerate() {
            let value = format!("{round}-after");
            produce_somewhere(&cluster, other, &topic, index as i32, &value).await;
            expected.push(value);
        }
        let took = cluster.elapsed_ms() - killed_at;
        assert!(took < 1000, "{took} ms after {victim} was killed");
        cluster.start(victim, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, other, &topic, &ALL).await;
    }
    // The last high watermark comes with the next fetch.
    cluster.pass(1000).await;
    for node in ALL {
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(&read_at(&cluster, node, &topic, index as i32).await, expected, "on node {node}");
        }
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn clients_are_still_told_for_a_moment_of_a_broker_that_has_just_died() {
    let cluster = Cluster::of_three().await;
    let topic = create(&cluster, "t", &[&[3, 1, 2]], &[]).await;
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    cluster.kill(3);
    let others = until(&cluster, 1, &topic, |one| one.leader_id != 3).await;
    assert_eq!((others[0].offline_replicas.as_slice(), others[0].isr_nodes.len()), ([3].as_slice(), 2));
    let told = async || {
        let response = metadata(&mut cluster.client(1), "t").await;
        response.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>()
    };
    assert_eq!(told().await, ALL);
    assert_eq!(brokers(&cluster, 1).await.0, [1, 2], "who asks for what lives is not told");
    cluster.pass(3000).await;
    assert_eq!(told().await, [1, 2]);
    cluster.start(3, &ALL).await.unwrap().unwrap();
    until_brokers(&cluster, 1, &ALL).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_after_a_leader_has_died_is_told_of_its_successor() {
    let cluster = Cluster::of_three().await;
    let topic = create(&cluster, "t", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]], &[]).await;
    until_in_sync(&cluster, 1, &topic, &ALL).await;
    for (victim, other) in [(1, 2), (2, 3), (3, 1)] {
        let mut client = cluster.client(other);
        cluster.kill(victim);
        // The others have lost it, too, but nobody has been elected yet.
        cluster.pass(1).await;
        let asked_at = cluster.elapsed_ms();
        let response = metadata(&mut client, "t").await;
        let leaders: Vec<_> = response.topics[0].partitions.iter().map(|one| one.leader_id).collect();
        assert!(!leaders.contains(&victim) && !leaders.contains(&-1), "{victim} was killed: {leaders:?}");
        let took = cluster.elapsed_ms() - asked_at;
        assert!(took < 500, "{took} ms");
        cluster.start(victim, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, other, &topic, &ALL).await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_nobody_succeeds_is_named_after_a_moment() {
    let cluster = Cluster::of_three().await;
    let topic = create(&cluster, "t", &[&[3]], &[]).await;
    // Node 1 copies something of it.
    let copied = create(&cluster, "copied", &[&[3, 1]], &[]).await;
    until_in_sync(&cluster, 1, &copied, &[1, 3]).await;
    let mut client = cluster.client(1);
    cluster.kill(3);
    cluster.pass(1).await;
    let asked_at = cluster.elapsed_ms();
    let response = metadata(&mut client, &topic.name).await;
    assert_ne!(response.topics[0].partitions[0].leader_id, 1);
    let took = cluster.elapsed_ms() - asked_at;
    assert!(took < 600, "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn records_are_deleted_everywhere_without_waiting_for_the_followers_next_look() {
    let cluster = Cluster::of_three().await;
    let topic = create(&cluster, "t", &[&[1, 2, 3]], &[]).await;
    produce_somewhere(&cluster, 1, &topic, 0, "a").await;
    produce_somewhere(&cluster, 1, &topic, 0, "b").await;
    // High watermarks are known, and the followers wait at the leader again.
    cluster.pass(1100).await;
    let asked_at = cluster.elapsed_ms();
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 1 }];
    let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
    let answer = cluster.client(1).call(2, &DeleteRecordsRequest { topics, timeout_ms: 5000 }).await;
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.error_code, partition.low_watermark), (0, 1));
    let took = cluster.elapsed_ms() - asked_at;
    assert!(took < 100, "{took} ms");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_brokers_configuration_is_changed_at_that_broker_whoever_decides() {
    let cluster = Cluster::of_three().await;
    for node in ALL {
        for (name, expected) in [(node, 0), (node % 3 + 1, code(ErrorCode::InvalidRequest))] {
            let config = AlterableConfig {
                name: "log.retention.ms".into(),
                config_operation: 0,
                value: Some("86400000".into()),
            };
            let resource = AlterConfigsResource {
                resource_type: 4,
                resource_name: name.to_string(),
                configs: vec![config],
            };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            let answer = cluster.client(node).call(1, &request).await.responses.remove(0);
            assert_eq!(answer.error_code, expected, "of {name} at {node}: {:?}", answer.error_message);
        }
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_broker_answers_for_its_own_loggers_and_asks_the_controller_for_the_rest() {
    let cluster = Cluster::of_three().await;
    create(&cluster, "t", &[&[1]], &[]).await;
    let active = controller(&cluster, 1).await;
    for node in ALL {
        let other = node % 3 + 1;
        let set = |resource_type, name: String, key: &str, value: &str| AlterConfigsResource {
            resource_type,
            resource_name: name,
            configs: vec![AlterableConfig {
                name: key.into(),
                config_operation: 0,
                value: Some(value.into()),
            }],
        };
        let resources = vec![
            set(2, "t".into(), "retention.ms", "86400000"),
            set(8, node.to_string(), "none", "INFO"),
            set(8, other.to_string(), "none", "INFO"),
            set(4, other.to_string(), "log.retention.ms", "86400000"),
            set(2, "none".into(), "retention.ms", "86400000"),
        ];
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        let answer = cluster.client(node).call(1, &request).await;
        let told: Vec<_> = answer.responses.iter().map(|one| (one.resource_type, one.error_code)).collect();
        let invalid = code(ErrorCode::InvalidRequest);
        let unknown = code(ErrorCode::UnknownTopicOrPartition);
        // The broker that is asked knows of its own loggers that this is none.
        let no_logger = code(ErrorCode::InvalidConfig);
        let expected = [(2, 0), (8, no_logger), (8, invalid), (4, invalid), (2, unknown)];
        assert_eq!(told, expected, "at {node}, while {active} decides: {answer:?}");
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_anew_while_a_node_was_away_does_not_meet_the_old_ones_files_there() {
    let cluster = Cluster::of_three().await;
    let old = create(&cluster, "t", &[&[1, 2, 3]], &[]).await;
    produce_somewhere(&cluster, 1, &old, 0, "old").await;
    until_in_sync(&cluster, 1, &old, &ALL).await;
    cluster.pass(1000).await;
    cluster.kill(3);
    until_brokers(&cluster, 1, &[1, 2]).await;
    let deletion = DeleteTopicsRequest {
        topics: vec![DeleteTopicState { name: Some("t".into()), ..Default::default() }],
        timeout_ms: 5000,
        ..Default::default()
    };
    assert_eq!(cluster.client(1).call(6, &deletion).await.responses[0].error_code, 0);
    let assignment = CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![1, 2, 3] };
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![assignment],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() };
    let answer = cluster.client(1).call(7, &request).await;
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    let new = Topic { name: "t".into(), id: answer.topics[0].topic_id };
    produce_somewhere(&cluster, 1, &new, 0, "new").await;
    cluster.start(3, &ALL).await.unwrap().unwrap();
    until_in_sync(&cluster, 1, &new, &ALL).await;
    cluster.pass(1000).await;
    assert_eq!(read_at(&cluster, 3, &new, 0).await, ["new"]);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_loses_its_power_comes_back_with_all_that_was_acknowledged() {
    let cluster = Cluster::of_three().await;
    let replicas: [&[i32]; 3] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];
    let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        for value in 0..5 {
            expected.push(format!("{round}-{value}"));
            for index in 0..3 {
                produce_somewhere(&cluster, 1, &topic, index, &format!("{round}-{value}")).await;
            }
        }
        ALL.into_iter().for_each(|node| cluster.cut_power(node));
        let starting: Vec<_> = ALL.into_iter().map(|node| cluster.start(node, &ALL)).collect();
        for start in starting {
            start.await.unwrap().unwrap();
        }
        until_in_sync(&cluster, 1, &topic, &ALL).await;
    }
    cluster.pass(1000).await;
    for (node, index) in ALL.into_iter().flat_map(|node| (0..3).map(move |index| (node, index))) {
        assert_eq!(read_at(&cluster, node, &topic, index).await, expected, "{index} on node {node}");
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_leaves_the_isr_and_comes_back_by_the_active_controller_wherever_it_is() {
    // Nobody is fenced meanwhile: the leaders find out by themselves who does not fetch.
    let statics = [("replica.lag.time.max.ms", "1000"), ("broker.session.timeout.ms", "60000")];
    let cluster = Cluster::of_three_with(&statics).await;
    let active = controller(&cluster, 1).await;
    // One leader beside the active controller, one elsewhere.
    let others: Vec<_> = ALL.into_iter().filter(|node| *node != active).collect();
    let (leader, follower) = (others[0], others[1]);
    let replicas: [&[i32]; 2] = [&[active, follower], &[leader, follower]];
    let topic = create(&cluster, "t", &replicas, &[]).await;
    cluster.set_cut(follower, true);
    for (index, at) in [active, leader].into_iter().enumerate() {
        // It waits for the one that is gone, until that is in sync no more.
        cluster.client(at).produce_at(13, &topic, index as i32, batch(&["a"])).await;
    }
    let seen = until(&cluster, active, &topic, |one| one.isr_nodes.len() == 1).await;
    assert!(seen.iter().all(|one| one.offline_replicas.is_empty()), "it is not fenced: {seen:?}");
    for (index, at) in [active, leader].into_iter().enumerate() {
        let answer = cluster.client(at).produce_at(13, &topic, index as i32, batch(&["b"])).await;
        assert_eq!(answer.error_code, 0);
    }
    cluster.set_cut(follower, false);
    cluster.pass(30_000).await;
    until(&cluster, active, &topic, |one| one.isr_nodes.len() == 2).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn others_lead_what_a_node_led_whose_disk_fails() {
    for is_controller in [false, true] {
        let cluster = Cluster::of_three().await;
        let active = controller(&cluster, 1).await;
        let victim =
            if is_controller { active } else { ALL.into_iter().find(|node| *node != active).unwrap() };
        let other = ALL.into_iter().find(|node| *node != victim).unwrap();
        let mut replicas = ALL.to_vec();
        replicas.retain(|node| *node != victim);
        replicas.insert(0, victim);
        let topic = create(&cluster, "t", &[&replicas], &[("min.insync.replicas", "2")]).await;
        produce_somewhere(&cluster, other, &topic, 0, "before").await;
        let failed_at = cluster.elapsed_ms();
        cluster.disk(victim).switches().fail_writes.store(true, std::sync::atomic::Ordering::Relaxed);
        produce_somewhere(&cluster, other, &topic, 0, "after").await;
        let took = cluster.elapsed_ms() - failed_at;
        assert!(took < 3000, "{took} ms, of the controller: {is_controller}");
        let seen = partitions(&cluster, other, &topic).await;
        assert_ne!(seen[0].leader_id, victim);
        assert_eq!(seen[0].offline_replicas, [victim]);
        cluster.pass(1000).await;
        // What was answered with an error may be there, too.
        let mut read = read_at(&cluster, other, &topic, 0).await;
        read.dedup();
        assert_eq!(read, ["before", "after"]);
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn leaders_move_before_a_node_stops() {
    let cluster = Cluster::of_three().await;
    let replicas: [&[i32]; 3] = [&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];
    let topic = create(&cluster, "t", &replicas, &[("min.insync.replicas", "2")]).await;
    for node in ALL {
        let other = if node == 1 { 2 } else { 1 };
        cluster.stop(node).await;
        let seen = partitions(&cluster, other, &topic).await;
        assert!(seen.iter().all(|one| one.leader_id >= 0 && one.leader_id != node), "{seen:?}");
        let offline: Vec<_> = seen.iter().map(|one| one.offline_replicas.clone()).collect();
        assert_eq!(offline, vec![vec![node]; 3]);
        for (index, partition) in seen.iter().enumerate() {
            let mut client = cluster.client(partition.leader_id);
            let answer = client.produce_at(13, &topic, index as i32, batch(&["a"])).await;
            assert_eq!(answer.error_code, 0, "at once");
        }
        cluster.start(node, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, other, &topic, &ALL).await;
    }
    cluster.assert_sound();
}

pub(crate) fn move_to(topic: &Topic, replicas: &[i32]) -> AlterPartitionReassignmentsRequest {
    let partition = alter_partition_reassignments_request::ReassignablePartition {
        partition_index: 0,
        replicas: Some(replicas.to_vec()),
    };
    let topic = alter_partition_reassignments_request::ReassignableTopic {
        name: topic.name.clone(),
        partitions: vec![partition],
    };
    AlterPartitionReassignmentsRequest { topics: vec![topic], timeout_ms: 5000, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_partition_moves_to_other_brokers_whoever_is_asked() {
    let cluster = Cluster::of_three().await;
    let topic = create(&cluster, "t", &[&[1, 2]], &[]).await;
    for (asked, target) in [(1, [3, 2]), (2, [1, 3]), (3, [2, 1])] {
        produce_somewhere(&cluster, asked, &topic, 0, &format!("{asked}")).await;
        let comes = *target.iter().find(|id| cluster.is_running(**id)).unwrap();
        let answer = cluster.client(asked).call(1, &move_to(&topic, &target)).await;
        assert_eq!((answer.error_code, answer.responses[0].partitions[0].error_code), (0, 0));
        assert!(target.contains(&comes));
        until(&cluster, asked, &topic, |one| {
            one.replica_nodes == target && sorted(&one.isr_nodes) == sorted(&target)
        })
        .await;
        let all = ListPartitionReassignmentsRequest { topics: None, timeout_ms: 1000 };
        let answer = cluster.client(asked).call(0, &all).await;
        assert_eq!((answer.error_code, answer.topics.len()), (0, 0), "it is complete");
    }
    cluster.pass(1000).await;
    assert_eq!(read_at(&cluster, 2, &topic, 0).await, ["1", "2", "3"]);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn what_moves_to_a_broker_that_is_away_is_listed_until_it_is_cancelled() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let others: Vec<_> = ALL.into_iter().filter(|node| *node != active).collect();
    let (away, other) = (others[0], others[1]);
    let topic = create(&cluster, "t", &[&[active]], &[]).await;
    cluster.kill(away);
    until_brokers(&cluster, other, &sorted(&[active, other])).await;
    let answer = cluster.client(other).call(1, &move_to(&topic, &[away])).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    let all = ListPartitionReassignmentsRequest { topics: None, timeout_ms: 1000 };
    let listed = cluster.client(other).call(0, &all).await;
    let one = &listed.topics[0].partitions[0];
    assert_eq!((one.adding_replicas.clone(), one.removing_replicas.clone()), (vec![away], vec![active]));
    let mut cancel = move_to(&topic, &[]);
    cancel.topics[0].partitions[0].replicas = None;
    let answer = cluster.client(other).call(1, &cancel).await;
    assert_eq!(answer.responses[0].partitions[0].error_code, 0);
    assert!(cluster.client(other).call(0, &all).await.topics.is_empty());
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn preferred_leaders_get_their_partitions_back_by_wish_and_by_themselves() {
    for by_itself in [false, true] {
        let interval = if by_itself { "1" } else { "300" };
        let statics = [("leader.imbalance.check.interval.seconds", interval)];
        let cluster = Cluster::of_three_with(&statics).await;
        let topic = create(&cluster, "t", &[&[1, 2, 3]], &[]).await;
        cluster.kill(1);
        until(&cluster, 2, &topic, |one| one.leader_id >= 2).await;
        cluster.start(1, &ALL).await.unwrap().unwrap();
        until_in_sync(&cluster, 2, &topic, &ALL).await;
        if !by_itself {
            assert_ne!(partitions(&cluster, 2, &topic).await[0].leader_id, 1);
            let request = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
            let answer = cluster.client(2).call(2, &request).await;
            assert_eq!(answer.replica_election_results[0].partition_result[0].error_code, 0);
        }
        until(&cluster, 2, &topic, |one| one.leader_id == 1).await;
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_waits_for_who_has_everything_unless_its_topic_would_rather_lose_records() {
    for loses in [false, true] {
        let cluster = Cluster::of_three().await;
        let active = controller(&cluster, 1).await;
        let others: Vec<_> = ALL.into_iter().filter(|node| *node != active).collect();
        let (whole, behind) = (others[0], others[1]);
        let topic = create(&cluster, "t", &[&[whole, behind]], &[]).await;
        cluster.kill(behind);
        until_in_sync(&cluster, active, &topic, &[whole]).await;
        produce_somewhere(&cluster, active, &topic, 0, "only on one").await;
        // It comes back and cannot catch up.
        cluster.set_pair_cut(whole, behind, true);
        cluster.start(behind, &ALL).await.unwrap().unwrap();
        until_brokers(&cluster, active, &ALL).await;
        cluster.kill(whole);
        until(&cluster, active, &topic, |one| one.leader_id != whole).await;
        cluster.pass(3000).await;
        let seen = partitions(&cluster, active, &topic).await;
        assert_eq!((seen[0].leader_id, seen[0].error_code), (-1, code(ErrorCode::LeaderNotAvailable)));
        cluster.set_pair_cut(whole, behind, false);
        let (leader, expected): (_, Vec<String>) =
            if loses { (behind, vec![]) } else { (whole, vec!["only on one".into()]) };
        if loses {
            let config = AlterableConfig {
                name: "unclean.leader.election.enable".into(),
                config_operation: 0,
                value: Some("true".into()),
            };
            let resource =
                AlterConfigsResource { resource_type: 2, resource_name: "t".into(), configs: vec![config] };
            let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            let answer = cluster.client(active).call(1, &request).await;
            assert_eq!(answer.responses[0].error_code, 0);
        } else {
            cluster.start(whole, &ALL).await.unwrap().unwrap();
        }
        until(&cluster, active, &topic, |one| one.leader_id == leader).await;
        cluster.pass(1000).await;
        assert_eq!(read_at(&cluster, leader, &topic, 0).await, expected);
        cluster.assert_sound();
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_will_not_come_back_is_forgotten() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let gone = ALL.into_iter().find(|node| *node != active).unwrap();
    let other = ALL.into_iter().find(|node| *node != active && *node != gone).unwrap();
    cluster.kill(gone);
    until_brokers(&cluster, other, &sorted(&[active, other])).await;
    let all = DescribeClusterRequest { endpoint_type: 1, include_fenced_brokers: true, ..Default::default() };
    assert_eq!(cluster.client(other).call(2, &all).await.brokers.len(), 3);
    let answer = cluster.client(other).call(0, &UnregisterBrokerRequest { broker_id: gone }).await;
    assert_eq!(answer.error_code, 0);
    cluster.pass(500).await;
    assert_eq!(cluster.client(other).call(2, &all).await.brokers.len(), 2);
    // It was a mistake.
    cluster.start(gone, &ALL).await.unwrap().unwrap();
    until_brokers(&cluster, other, &ALL).await;
    assert_eq!(brokers(&cluster, gone).await.0, ALL);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn the_active_controller_refuses_an_isr_as_kafka_does() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let topic = create(&cluster, "t", &[&[1, 2]], &[]).await;
    let epoch = cluster.broker_epoch(1);
    let known = partitions(&cluster, 1, &topic).await.remove(0);
    let ask = |broker_epoch: i64, leader_epoch: i32, isr: &[i32], state: i8, version: i16| {
        let members =
            isr.iter().map(|id| alter_partition_request::BrokerState { broker_id: *id, broker_epoch: -1 });
        let partition = alter_partition_request::PartitionData {
            partition_index: 0,
            leader_epoch,
            new_isr: if version < 3 { isr.to_vec() } else { Vec::new() },
            new_isr_with_epochs: if version < 3 { Vec::new() } else { members.collect() },
            leader_recovery_state: state,
            partition_epoch: 0,
        };
        let data = alter_partition_request::TopicData { topic_id: topic.id, partitions: vec![partition] };
        let request = AlterPartitionRequest { broker_id: 1, broker_epoch, topics: vec![data] };
        let mut client = cluster.client_at(active, "CONTROLLER");
        async move {
            let answer = client.call(version, &request).await;
            let one = answer.topics.first().map(|topic| topic.partitions[0].clone());
            (answer.error_code, one.map(|one| (one.error_code, one.isr, one.partition_epoch)))
        }
    };
    let leader_epoch = known.leader_epoch;
    for version in [2, 3] {
        let refused = |error: ErrorCode| (0, Some((code(error), Vec::new(), 0)));
        assert_eq!(
            ask(epoch + 1, leader_epoch, &[1], 0, version).await,
            (code(ErrorCode::StaleBrokerEpoch), None)
        );
        let fenced = ask(epoch, leader_epoch - 1, &[1], 0, version).await;
        assert_eq!(fenced, refused(ErrorCode::FencedLeaderEpoch));
        let newer = ask(epoch, leader_epoch + 1, &[1], 0, version).await;
        assert_eq!(newer, refused(ErrorCode::NotController));
        assert_eq!(ask(epoch, leader_epoch, &[1, 3], 0, version).await, refused(ErrorCode::InvalidRequest));
        assert_eq!(ask(epoch, leader_epoch, &[1], 9, version).await, refused(ErrorCode::InvalidRequest));
    }
    let granted = ask(epoch, leader_epoch, &[1], 0, 3).await;
    assert_eq!(granted, (0, Some((0, vec![1], 1))));
    cluster.assert_sound();
}
