//! Controllers and their place in the quorum: those that join by themselves, move, lose their disks, or are cut off.

use crate::{
    clusters::{ALL, brokers, controller, create, known, quorum, until_brokers, voters},
    harness::{Cluster, code},
};
use broker::Config;
use log::testing::MemoryDisk;
use std::path::{Path, PathBuf};
use stdx::Uuid;
use wire::{
    AddRaftVoterRequest, DescribeClusterRequest, DescribeQuorumRequest, ErrorCode, RemoveRaftVoterRequest,
    UnregisterControllerRequest, UpdateRaftVoterRequest, add_raft_voter_request, update_raft_voter_request,
};

fn joins(config: &mut Config) {
    config.joins_by_itself = true;
}

fn others(node: i32) -> Vec<i32> {
    ALL.into_iter().filter(|other| *other != node).collect()
}

async fn until_voters(cluster: &Cluster, asked: i32, expected: &[i32]) {
    for _ in 0..400 {
        if voters(&quorum(cluster, asked).await) == expected {
            return;
        }
        cluster.pass(50).await;
    }
    panic!("{:?} vote, not {expected:?}", voters(&quorum(cluster, asked).await));
}

/// The id of a node's log directory.
fn directory(cluster: &Cluster, node: i32) -> Uuid {
    let meta = cluster.disk(node).contents(Path::new("/data/meta.properties")).unwrap();
    let meta = String::from_utf8(meta).unwrap();
    let id = meta.lines().find_map(|line| line.strip_prefix("directory.id=")).unwrap();
    Uuid::parse(id).unwrap()
}

/// Where a voter listens, as the leader has it.
async fn host(cluster: &Cluster, asked: i32, voter: i32) -> String {
    let partition = wire::describe_quorum_request::PartitionData { partition_index: 0 };
    let topic = wire::describe_quorum_request::TopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![partition],
    };
    let told = cluster.client(asked).call(2, &DescribeQuorumRequest { topics: vec![topic] }).await;
    let node = told.nodes.into_iter().find(|node| node.node_id == voter);
    node.map(|node| node.listeners[0].host.clone()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_was_left_half_way_into_the_quorum_votes_in_the_end() {
    let cluster = Cluster::of_three().await;
    cluster.start(4, &[1, 2, 3, 4]).await.unwrap().unwrap();
    let active = controller(&cluster, 1).await;
    let listener =
        add_raft_voter_request::Listener { name: "CONTROLLER".into(), host: "node4".into(), port: 9093 };
    let request = AddRaftVoterRequest {
        cluster_id: None,
        voter_id: 4,
        voter_directory_id: directory(&cluster, 4),
        listeners: vec![listener],
        timeout_ms: 0,
        ..Default::default()
    };
    // Whoever asks has no patience.
    let answer = cluster.client_at(active, "CONTROLLER").call(0, &request).await;
    assert_eq!(answer.error_code, code(ErrorCode::RequestTimedOut));
    cluster.pass(2000).await;
    assert_eq!(voters(&quorum(&cluster, 1).await), ALL);
    cluster.kill(4);
    cluster.start_as(4, 4, &[1, 2, 3, 4], joins).await.unwrap().unwrap();
    until_voters(&cluster, 1, &[1, 2, 3, 4]).await;
    cluster.assert_sound();
}

/// The codes of answers of one controller to changes of a voter that names no log directory, or does not listen where the
/// others look for it: add, remove, update, and update with another listener.
async fn codes_of_no_voter(cluster: &Cluster, asked: i32) -> [i16; 4] {
    let mut client = cluster.client_at(asked, "CONTROLLER");
    let voter_id = 3;
    let add = AddRaftVoterRequest { cluster_id: None, voter_id, timeout_ms: 1000, ..Default::default() };
    let remove = RemoveRaftVoterRequest { cluster_id: None, voter_id, ..Default::default() };
    let listener = |name: &str| update_raft_voter_request::Listener {
        name: name.into(),
        host: "node3".into(),
        port: 9093,
    };
    let update = UpdateRaftVoterRequest {
        cluster_id: None,
        voter_id,
        listeners: vec![listener("CONTROLLER")],
        kraft_version_feature: update_raft_voter_request::KraftVersionFeature {
            min_supported_version: 0,
            max_supported_version: 1,
        },
        ..Default::default()
    };
    let elsewhere = UpdateRaftVoterRequest {
        voter_directory_id: directory(cluster, 3),
        listeners: vec![listener("ELSEWHERE")],
        ..update.clone()
    };
    [
        client.call(0, &add).await.error_code,
        client.call(0, &remove).await.error_code,
        client.call(0, &update).await.error_code,
        client.call(0, &elsewhere).await.error_code,
    ]
}

#[tokio::test(start_paused = true)]
async fn who_leads_the_quorum_refuses_a_voter_without_a_directory_at_once() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    assert_eq!(codes_of_no_voter(&cluster, active).await, [code(ErrorCode::InvalidRequest); 4]);
    let other = others(active)[0];
    assert_eq!(codes_of_no_voter(&cluster, other).await, [code(ErrorCode::NotLeaderOrFollower); 4]);
    assert_eq!(voters(&quorum(&cluster, 1).await), ALL);
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_has_lost_its_disk_votes_again_if_it_joins_by_itself() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let lost = others(active)[0];
    let before = directory(&cluster, lost);
    cluster.kill(lost);
    cluster.set_disk(lost, MemoryDisk::new());
    cluster.start_as(lost, lost, &ALL, joins).await.unwrap().unwrap();
    let now = directory(&cluster, lost);
    assert_ne!(now, before);
    for _ in 0..400 {
        let told = quorum(&cluster, active).await;
        let ids: Vec<_> = told.current_voters.iter().map(|voter| voter.replica_directory_id).collect();
        if ids.contains(&now) {
            assert!(!ids.contains(&before) && ids.len() == 3, "{told:?}");
            break;
        }
        cluster.pass(50).await;
    }
    // Its vote counts: one of the others can go.
    cluster.kill(others(active)[1]);
    while create(&cluster, active, "after", 1).await.is_err() {
        cluster.pass(100).await;
    }
    cluster.assert_sound();
}

/// A cluster in which a voter that does not lead is gone, and what it had on its disk before the others decided more that it has
/// acknowledged: its node, that disk, and the active controller.
async fn with_an_old_copy() -> (Cluster, i32, MemoryDisk, i32) {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let node = others(active)[0];
    create(&cluster, active, "before", 1).await.unwrap();
    cluster.pass(1000).await;
    let copy = cluster.disk(node).after_kill();
    for name in ["one", "two", "three"] {
        create(&cluster, active, name, 1).await.unwrap();
    }
    known(&cluster, node, "three").await;
    cluster.pass(1000).await;
    cluster.kill(node);
    (cluster, node, copy, active)
}

#[tokio::test(start_paused = true)]
async fn a_voter_with_an_old_copy_of_its_directory_is_refused_before_it_votes() {
    let (cluster, node, copy, active) = with_an_old_copy().await;
    let whole = cluster.disk(node).after_kill();
    let id = directory(&cluster, node);
    cluster.set_disk(node, copy);
    let told = match cluster.start(node, &ALL).await.unwrap() {
        Err(broker::StartError::Stale(stale)) => stale,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it has started"),
    };
    assert!(told.held < told.acknowledged && told.replica.directory == id, "{told}");
    let text = told.to_string();
    assert!(text.contains(&format!("--controller-id {node} --controller-directory-id {id}")), "{text}");
    cluster.kill(node);
    assert_eq!(controller(&cluster, active).await, active, "nobody is disturbed");
    // With what it had it is welcome.
    cluster.set_disk(node, whole);
    cluster.start(node, &ALL).await.unwrap().unwrap();
    until_brokers(&cluster, active, &ALL).await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_voter_whose_metadata_log_was_removed_is_no_other_replica_and_is_refused() {
    let (cluster, node, _, active) = with_an_old_copy().await;
    let emptied = cluster.disk(node).after_kill();
    let is_metadata = |path: &PathBuf| path.ends_with("__cluster_metadata-0/partition.metadata");
    let file = emptied.paths().into_iter().find(is_metadata).unwrap();
    env::Disk::remove_dir_all(&emptied, file.parent().unwrap()).unwrap();
    cluster.set_disk(node, emptied);
    let told = match cluster.start(node, &ALL).await.unwrap() {
        Err(broker::StartError::Stale(stale)) => stale,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it has started"),
    };
    assert!(told.held == 0 && told.acknowledged > 0, "{told}");
    assert!(told.to_string().contains("without its meta.properties"), "{told}");
    cluster.kill(node);
    assert_eq!(controller(&cluster, active).await, active, "nobody is disturbed");
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_voter_with_an_old_copy_whose_start_could_ask_nobody_gets_everything_again() {
    let (cluster, node, copy, active) = with_an_old_copy().await;
    cluster.set_disk(node, copy);
    // None of those that are listed there is a controller.
    cluster.start(node, &[9]).await.unwrap().unwrap();
    known(&cluster, node, "three").await;
    assert_eq!(controller(&cluster, active).await, active, "who leads goes on");
    let end = |told: &wire::describe_quorum_response::PartitionData, voter: i32| {
        told.current_voters.iter().find(|one| one.replica_id == voter).unwrap().log_end_offset
    };
    for _ in 0..200 {
        let told = quorum(&cluster, active).await;
        if end(&told, node) == told.high_watermark {
            break;
        }
        cluster.pass(50).await;
    }
    // Its vote counts again.
    cluster.kill(others(active).into_iter().find(|other| *other != node).unwrap());
    while create(&cluster, active, "after", 1).await.is_err() {
        cluster.pass(100).await;
    }
    known(&cluster, node, "after").await;
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_voter_that_moved_tells_the_quorum_where_it_listens_now() {
    let cluster = Cluster::of_three().await;
    let active = controller(&cluster, 1).await;
    let (moved, third) = (others(active)[0], others(active)[1]);
    cluster.kill(moved);
    cluster.set_disk(5, cluster.disk(moved).after_kill());
    cluster.start_as(5, moved, &ALL, |_| {}).await.unwrap().unwrap();
    for _ in 0..200 {
        if host(&cluster, active, moved).await == "node5" {
            break;
        }
        cluster.pass(50).await;
    }
    assert_eq!(host(&cluster, active, moved).await, "node5");
    // The active controller reaches it there: without the third one, only the two are a quorum.
    cluster.kill(third);
    while create(&cluster, active, "after", 1).await.is_err() {
        cluster.pass(100).await;
    }
    cluster.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_no_quorum_hears_lets_go_of_the_brokers_that_still_reach_it() {
    let cluster = Cluster::of_three().await;
    let only_broker = |config: &mut Config| {
        config.is_controller = false;
        config.controller_endpoints.clear();
    };
    cluster.start_as(4, 4, &ALL, only_broker).await.unwrap().unwrap();
    let old = controller(&cluster, 1).await;
    let rest = others(old);
    for other in &rest {
        cluster.set_pair_cut(old, *other, true);
    }
    // The new one fences the old one, which it does not hear.
    let with_4 = [rest[0], rest[1], 4];
    until_brokers(&cluster, rest[0], &with_4).await;
    create(&cluster, rest[0], "after", 1).await.unwrap();
    known(&cluster, 4, "after").await;
    assert_eq!(brokers(&cluster, 4).await.0, with_4);
    for other in &rest {
        cluster.set_pair_cut(old, *other, false);
    }
    until_brokers(&cluster, 4, &[1, 2, 3, 4]).await;
    known(&cluster, old, "after").await;
    cluster.assert_sound();
}

/// The registered controllers, as one of them tells.
async fn registered(cluster: &Cluster, asked: i32) -> Vec<i32> {
    let request = DescribeClusterRequest { endpoint_type: 2, ..Default::default() };
    let told = cluster.client_at(asked, "CONTROLLER").call(1, &request).await;
    told.brokers.into_iter().map(|node| node.broker_id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_controller_that_is_gone_is_forgotten_and_one_that_lives_comes_back() {
    let cluster = Cluster::of_three().await;
    cluster.pass(2000).await;
    let active = controller(&cluster, 1).await;
    let [gone, lives] = others(active)[..] else { panic!() };
    cluster.kill(gone);
    assert_eq!(registered(&cluster, active).await, ALL);
    // A broker has it decided by the active controller, too.
    for controller_id in [gone, lives] {
        let told = cluster.client(lives).call(0, &UnregisterControllerRequest { controller_id }).await;
        assert_eq!(told.error_code, 0, "{:?}", told.error_message);
    }
    cluster.pass(5000).await;
    let left: Vec<_> = ALL.into_iter().filter(|node| *node != gone).collect();
    assert_eq!(registered(&cluster, active).await, left);
    let request = UnregisterControllerRequest { controller_id: gone };
    let again = cluster.client_at(active, "CONTROLLER").call(0, &request).await;
    assert_eq!(again.error_code, code(ErrorCode::ControllerIdNotRegistered));
    cluster.start(gone, &ALL).await.unwrap().unwrap();
    cluster.pass(5000).await;
    assert_eq!(registered(&cluster, active).await, ALL);
    cluster.assert_sound();
}
