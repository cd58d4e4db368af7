//! The APIs of consumer groups (KIP-848).

use crate::harness::{Client, Node, Topic, code};
use wire::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ErrorCode,
    consumer_group_heartbeat_request::TopicPartitions,
};

async fn node_with_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 3, &[]).await;
    (node, client, topic)
}

fn joining(member: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: 0,
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    }
}

pub(super) async fn consumer_group_heartbeat(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    let joined = client.call(version, &joining(if version == 0 { "" } else { "m" })).await;
    assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 2, 5000));
    let member = joined.member_id.unwrap();
    assert!(!member.is_empty() && (version == 0 || member == "m"), "{member}");
    let assigned = &joined.assignment.unwrap().topic_partitions;
    assert_eq!((assigned[0].topic_id, &assigned[0].partitions[..]), (topic.id, &[0, 1, 2][..]));

    let owned = vec![TopicPartitions { topic_id: topic.id, partitions: vec![0, 1, 2] }];
    let beat = ConsumerGroupHeartbeatRequest {
        group_id: "g".into(),
        member_id: member.clone(),
        member_epoch: 2,
        rebalance_timeout_ms: -1,
        topic_partitions: Some(owned),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    let answer = client.call(version, &beat).await;
    assert_eq!((answer.error_code, answer.member_epoch, answer.assignment), (0, 2, None));

    let fenced = ConsumerGroupHeartbeatRequest { member_epoch: 7, ..beat.clone() };
    let answer = client.call(version, &fenced).await;
    assert_eq!(answer.error_code, code(ErrorCode::FencedMemberEpoch));
    assert!(answer.error_message.is_some());
    let nobody = ConsumerGroupHeartbeatRequest { group_id: String::new(), ..joining("m") };
    let answer = client.call(version, &nobody).await;
    assert_eq!(answer.error_code, code(ErrorCode::InvalidRequest));
    assert_eq!(answer.error_message.as_deref(), Some("GroupId can't be empty."));
    let unknown = ConsumerGroupHeartbeatRequest { server_assignor: Some("best".into()), ..joining("m") };
    assert_eq!(client.call(version, &unknown).await.error_code, code(ErrorCode::UnsupportedAssignor));
    if version >= 1 {
        let pattern =
            ConsumerGroupHeartbeatRequest { subscribed_topic_regex: Some("(".into()), ..joining("n") };
        assert_eq!(
            client.call(version, &pattern).await.error_code,
            code(ErrorCode::InvalidRegularExpression)
        );
    }

    let left =
        client.call(version, &ConsumerGroupHeartbeatRequest { member_epoch: -1, ..beat.clone() }).await;
    assert_eq!((left.error_code, left.member_epoch, left.member_id), (0, -1, Some(member)));
    assert_eq!(client.call(version, &beat).await.error_code, code(ErrorCode::UnknownMemberId));
}

pub(super) async fn consumer_group_describe(version: i16) {
    let (_node, mut client, topic) = node_with_topic().await;
    client.call(0, &joining("m")).await;
    let group_ids = ["g", "unknown", "unknown", "g"].map(str::to_owned).to_vec();
    let request = ConsumerGroupDescribeRequest { group_ids, include_authorized_operations: true };
    let response = client.call(version, &request).await;
    let [group, unknown] = &response.groups[..] else { panic!("{response:?}") };
    assert_eq!((group.error_code, group.group_id.as_str(), group.group_state.as_str()), (0, "g", "Stable"));
    assert_eq!((group.group_epoch, group.assignment_epoch, group.assignor_name.as_str()), (2, 2, "uniform"));
    assert_eq!(group.authorized_operations, 0b1101_0100_1000);
    let member = &group.members[0];
    assert_eq!((member.member_id.as_str(), member.member_epoch, group.members.len()), ("m", 2, 1));
    assert_eq!((member.client_id.as_str(), member.client_host.as_str()), ("test-client", "/127.0.0.1"));
    assert_eq!(member.subscribed_topic_names, ["t"]);
    assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
    for assignment in [&member.assignment, &member.target_assignment] {
        let [only] = &assignment.topic_partitions[..] else { panic!("{assignment:?}") };
        assert_eq!((only.topic_id, only.topic_name.as_str()), (topic.id, "t"));
        assert_eq!(only.partitions, [0, 1, 2]);
    }
    assert_eq!(unknown.error_code, code(ErrorCode::GroupIdNotFound));
    assert_eq!((unknown.group_id.as_str(), unknown.authorized_operations), ("unknown", i32::MIN));
}
