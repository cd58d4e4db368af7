//! The APIs of committed offsets.

use crate::harness::{Client, Node, Topic, code};
use bytes::{BufMut, BytesMut};
use wire::{
    ErrorCode, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics},
};

/// A commit of partition 0 by nobody in particular.
fn commit(topic: &Topic, group: &str, committed_offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_leader_epoch: 0,
        committed_metadata: Some("note".into()),
    };
    let topic = OffsetCommitRequestTopic {
        name: topic.name.clone(),
        topic_id: topic.id,
        partitions: vec![partition],
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

async fn commit_code(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> i16 {
    let response = client.call(version, request).await;
    assert_eq!(
        response.topics[0].partitions[0].partition_index,
        request.topics[0].partitions[0].partition_index
    );
    response.topics[0].partitions[0].error_code
}

/// The committed offset of a group in partition 0, by the newest version.
async fn committed(client: &mut Client, topic: &Topic, group: &str) -> i64 {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_indexes: vec![0],
    }];
    let groups =
        vec![OffsetFetchRequestGroup { group_id: group.into(), topics: Some(topics), ..Default::default() }];
    let response = client.call(9, &OffsetFetchRequest { groups, ..Default::default() }).await;
    response.groups[0].topics[0].partitions[0].committed_offset
}

pub(super) async fn offset_commit(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 1, &[]).await;
    let request = commit(&topic, "g", 5);
    let response = client.call(version, &request).await;
    assert_eq!(response.topics[0].name, if version < 10 { "t" } else { "" });
    assert_eq!(response.topics[0].topic_id == topic.id, version >= 10);
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(committed(&mut client, &topic, "g").await, 5);
    let unknown = Topic { name: "unknown".into(), id: stdx::Uuid([9; 16]) };
    let error = if version < 10 { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::UnknownTopicId };
    assert_eq!(commit_code(&mut client, version, &commit(&unknown, "g", 1)).await, code(error));
    let mut elsewhere = request.clone();
    elsewhere.topics[0].partitions[0].partition_index = 3;
    let error = code(ErrorCode::UnknownTopicOrPartition);
    assert_eq!(commit_code(&mut client, version, &elsewhere).await, error);
    let mut long = request.clone();
    long.topics[0].partitions[0].committed_metadata = Some("x".repeat(4097));
    assert_eq!(commit_code(&mut client, version, &long).await, code(ErrorCode::OffsetMetadataTooLarge));
    // Members commit with their id and generation, and nobody else does for them.
    let member = client.enter("full").await;
    let of = |member_id: &str, generation, group: &str| OffsetCommitRequest {
        member_id: member_id.into(),
        generation_id_or_member_epoch: generation,
        ..commit(&topic, group, 7)
    };
    let missing = if version >= 9 { ErrorCode::GroupIdNotFound } else { ErrorCode::IllegalGeneration };
    let cases = [
        (of(&member.id, 1, "full"), ErrorCode::None),
        (of(&member.id, 2, "full"), ErrorCode::IllegalGeneration),
        (of("unknown", 1, "full"), ErrorCode::UnknownMemberId),
        (of("", -1, "full"), ErrorCode::UnknownMemberId),
        (of("any", 3, "nowhere"), missing),
    ];
    for (request, error) in cases {
        assert_eq!(commit_code(&mut client, version, &request).await, code(error), "{request:?}");
    }
    assert_eq!(committed(&mut client, &topic, "full").await, 7);
    assert_eq!(committed(&mut client, &topic, "g").await, 5);
}

pub(super) async fn offset_fetch(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let topic = client.create("t", 2, &[]).await;
    client.call(8, &commit(&topic, "g", 5)).await;
    let (epoch, note) = (if version >= 5 { 0 } else { -1 }, Some("note"));
    let expected = [(0, 5, epoch, note, 0), (1, -1, -1, Some(""), 0)];
    if version < 8 {
        let named = OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![0, 1] };
        let request = |group: &str, topics| OffsetFetchRequest {
            group_id: group.into(),
            topics,
            require_stable: version >= 7,
            ..OffsetFetchRequest::default()
        };
        let response = client.call(version, &request("g", Some(vec![named.clone()]))).await;
        assert_eq!((response.error_code, response.topics[0].name.as_str()), (0, "t"));
        let fields = |p: &wire::offset_fetch_response::OffsetFetchResponsePartition| {
            (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.error_code)
        };
        let found: Vec<_> = response.topics[0].partitions.iter().map(fields).collect();
        assert_eq!(found, expected.map(|(index, offset, epoch, _, error)| (index, offset, epoch, error)));
        assert_eq!(response.topics[0].partitions[0].metadata.as_deref(), note);
        let response = client.call(version, &request("unknown", Some(vec![named]))).await;
        assert_eq!(fields(&response.topics[0].partitions[0]), (0, -1, -1, 0));
        if version >= 2 {
            let response = client.call(version, &request("g", None)).await;
            assert_eq!((response.topics.len(), response.topics[0].partitions.len()), (1, 1), "all there are");
        }
        return;
    }
    let named = |topic: &Topic| OffsetFetchRequestTopics {
        name: topic.name.clone(),
        topic_id: topic.id,
        partition_indexes: vec![0, 1],
    };
    let group = |group: &str, topics: Option<Vec<OffsetFetchRequestTopics>>| OffsetFetchRequestGroup {
        group_id: group.into(),
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    let missing = Topic { name: "missing".into(), id: stdx::Uuid([9; 16]) };
    let groups = vec![
        group("g", Some(vec![named(&topic)])),
        group("g", None),
        group("unknown", Some(vec![named(&missing)])),
    ];
    let request = OffsetFetchRequest { groups, require_stable: true, ..OffsetFetchRequest::default() };
    let response = client.call(version, &request).await;
    let [found, all, unknown] = &response.groups[..] else { panic!("{response:?}") };
    assert_eq!((found.group_id.as_str(), found.error_code), ("g", 0));
    assert_eq!(found.topics[0].name, if version < 10 { "t" } else { "" });
    assert_eq!(found.topics[0].topic_id == topic.id, version >= 10);
    let fields = |p: &wire::offset_fetch_response::OffsetFetchResponsePartitions| {
        (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.error_code)
    };
    let partitions: Vec<_> = found.topics[0].partitions.iter().map(fields).collect();
    assert_eq!(partitions, expected.map(|(index, offset, epoch, _, error)| (index, offset, epoch, error)));
    assert_eq!(found.topics[0].partitions[0].metadata.as_deref(), note);
    assert_eq!((all.topics.len(), all.topics[0].partitions.len()), (1, 1), "all there are");
    assert_eq!(all.topics[0].topic_id == topic.id, version >= 10);
    let error = if version < 10 { 0 } else { code(ErrorCode::UnknownTopicId) };
    assert_eq!((unknown.error_code, unknown.topics.len()), (0, 1));
    assert_eq!(fields(&unknown.topics[0].partitions[1]), (1, -1, -1, error));
}

/// What a consumer that subscribes to one topic says of itself when it joins.
fn subscription(topic: &str) -> bytes::Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(topic.len() as i16);
    bytes.put_slice(topic.as_bytes());
    bytes.put_i32(-1);
    bytes.freeze()
}

pub(super) async fn offset_delete(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.find_coordinator().await;
    let (read, left) = (client.create("read", 1, &[]).await, client.create("left", 1, &[]).await);
    for topic in [&read, &left] {
        assert_eq!(commit_code(&mut client, 8, &commit(topic, "g", 5)).await, 0);
    }
    let mut join = crate::harness::join("g", "");
    join.protocols[0].metadata = subscription("read");
    let joined = client.call(3, &join).await;
    let member = crate::harness::Member { id: joined.member_id, generation: joined.generation_id };
    assert_eq!(client.call(5, &crate::harness::sync("g", &member, &[])).await.error_code, 0);
    let topics = [("read", 0), ("left", 0), ("left", 6), ("unknown", 0)];
    let topics = topics.iter().map(|(name, partition_index)| OffsetDeleteRequestTopic {
        name: name.to_string(),
        partitions: vec![OffsetDeleteRequestPartition { partition_index: *partition_index }],
    });
    let request = OffsetDeleteRequest { group_id: "g".into(), topics: topics.collect() };
    let response = client.call(version, &request).await;
    assert_eq!(response.error_code, 0);
    let mut codes: Vec<_> = response
        .topics
        .iter()
        .flat_map(|t| t.partitions.iter().map(|p| (t.name.as_str(), p.partition_index, p.error_code)))
        .collect();
    codes.sort();
    let (unknown, subscribed) =
        (code(ErrorCode::UnknownTopicOrPartition), code(ErrorCode::GroupSubscribedToTopic));
    let expected = [("left", 0, 0), ("left", 6, unknown), ("read", 0, subscribed), ("unknown", 0, unknown)];
    assert_eq!(codes, expected);
    assert_eq!(committed(&mut client, &left, "g").await, -1);
    assert_eq!(committed(&mut client, &read, "g").await, 5);
    let response = client.call(version, &OffsetDeleteRequest { group_id: "nowhere".into(), ..request }).await;
    assert_eq!(response.error_code, code(ErrorCode::GroupIdNotFound));
}
