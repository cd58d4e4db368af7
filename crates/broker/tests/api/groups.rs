//! Classic groups over connections: rebalances that overlap, members that vanish, positions that stay.

use crate::harness::{Client, Member, Node, code, join, sync};
use wire::{
    DescribeGroupsRequest, ErrorCode, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
};

async fn node() -> Node {
    let node = Node::start().await;
    node.client().find_coordinator().await;
    node
}

fn member(joined: &JoinGroupResponse) -> Member {
    assert_eq!(joined.error_code, 0);
    Member { id: joined.member_id.clone(), generation: joined.generation_id }
}

async fn state(client: &mut Client) -> (String, usize) {
    let request = DescribeGroupsRequest { groups: vec!["g".into()], ..Default::default() };
    let group = client.call(5, &request).await.groups.remove(0);
    (group.group_state, group.members.len())
}

#[tokio::test(start_paused = true)]
async fn members_that_come_together_share_the_first_generation() {
    let node = node().await;
    let mut clients: Vec<_> = (0..20).map(|_| node.client()).collect();
    let start = node.now_ms();
    for client in &mut clients {
        client.send(3, &join("g", "")).await;
    }
    let mut members = Vec::new();
    for client in &mut clients {
        members.push(client.receive::<JoinGroupRequest>(3).await);
    }
    assert!(members.iter().all(|joined| joined.generation_id == 1 && joined.error_code == 0));
    let leaders: Vec<_> = members.iter().filter(|joined| joined.leader == joined.member_id).collect();
    assert_eq!((leaders.len(), leaders[0].members.len()), (1, 20));
    assert!(node.now_ms() - start >= 3000, "group.initial.rebalance.delay.ms");
}

#[tokio::test(start_paused = true)]
async fn a_rebalance_during_a_rebalance_ends_with_everybody_in_one_generation() {
    let node = node().await;
    let mut clients: Vec<_> = (0..5).map(|_| node.client()).collect();
    let mut members: Vec<Member> = Vec::new();
    // Each newcomer arrives while those before have not yet synchronised.
    for count in 1..=clients.len() {
        for (index, client) in clients.iter_mut().take(count).enumerate().rev() {
            let id = members.get(index).map_or("", |member| member.id.as_str());
            client.send(3, &join("g", id)).await;
            assert!(!client.has_answer().await || index == 0);
        }
        members.clear();
        for client in clients.iter_mut().take(count) {
            members.push(member(&client.receive::<JoinGroupRequest>(3).await));
        }
        let generations: Vec<_> = members.iter().map(|member| member.generation).collect();
        assert_eq!(generations, vec![count as i32; count]);
    }
    let ids: Vec<_> = members.iter().map(|member| (member.id.as_str(), "part")).collect();
    for (client, member) in clients.iter_mut().zip(&members) {
        client.send(3, &sync("g", member, &ids)).await;
    }
    for client in &mut clients {
        let synced = client.receive::<SyncGroupRequest>(3).await;
        assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"part"[..]));
    }
    assert_eq!(state(&mut clients[0]).await, ("Stable".into(), 5));
}

#[tokio::test(start_paused = true)]
async fn a_member_that_falls_silent_is_removed_and_the_group_is_empty() {
    let node = node().await;
    let mut client = node.client();
    client.enter("g").await;
    assert_eq!(state(&mut client).await, ("Stable".into(), 1));
    node.pass(10_100).await;
    assert_eq!(state(&mut client).await, ("Empty".into(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self() {
    let node = node().await;
    let (mut old, mut new) = (node.client(), node.client());
    let mut request = join("g", "");
    request.group_instance_id = Some("i1".into());
    let joined = old.call(9, &request).await;
    let first = member(&joined);
    let mut first_sync = sync("g", &first, &[(&first.id, "mine")]);
    first_sync.group_instance_id = Some("i1".into());
    assert_eq!(old.call(5, &first_sync).await.error_code, 0);
    let joined = new.call(9, &request).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1), "no new generation");
    assert_ne!(joined.member_id, first.id);
    let beat = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 1,
        member_id: first.id.clone(),
        group_instance_id: Some("i1".into()),
    };
    assert_eq!(old.call(4, &beat).await.error_code, code(ErrorCode::FencedInstanceId));
    let mut again = sync("g", &member(&joined), &[]);
    again.group_instance_id = Some("i1".into());
    assert_eq!(&new.call(5, &again).await.assignment[..], b"mine");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_while_it_joins_does_not_hold_the_others_up() {
    let node = node().await;
    let (mut first, mut gone) = (node.client(), node.client());
    let joined = first.enter("g").await;
    gone.send(3, &join("g", "")).await;
    assert!(!gone.has_answer().await);
    gone.finish();
    gone.assert_closed().await;
    let again = first.call(3, &join("g", &joined.id)).await;
    assert_eq!((again.error_code, again.generation_id), (0, 2));
    let request = sync("g", &member(&again), &[(&again.member_id, "all")]);
    assert_eq!(first.call(3, &request).await.error_code, 0);
    node.assert_sound();
}
