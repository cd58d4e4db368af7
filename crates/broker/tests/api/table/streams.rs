//! The APIs of streams groups (KIP-1071).

use crate::harness::{Client, Node, Streaming, code};
use wire::{
    DeleteGroupsRequest, ErrorCode, ListGroupsRequest, StreamsGroupDescribeRequest,
    StreamsGroupHeartbeatRequest, StreamsGroupTopologyDescriptionUpdateRequest,
    streams_group_heartbeat_request as beat, streams_group_heartbeat_response::TaskIds,
    streams_group_topology_description_update_request as update,
};

async fn node_with_topic() -> (Node, Client) {
    let at_once =
        [("group.streams.initial.rebalance.delay.ms", "0"), ("group.streams.assignment.interval.ms", "0")];
    let node = Node::with(&at_once).await;
    let mut client = node.client();
    client.find_coordinator().await;
    client.create("in", 2, &[]).await;
    (node, client)
}

/// A member that has all tasks, once the topics of the application were created.
async fn running(node: &Node, client: &mut Client, version: i16) -> Streaming {
    let mut member = Streaming::new("g", "m");
    member.join(client, version).await;
    node.pass(500).await;
    member.beat(client, version).await;
    assert_eq!(member.tasks, [("0".to_owned(), vec![0, 1]), ("1".to_owned(), vec![0, 1])]);
    member
}

pub(super) async fn streams_group_heartbeat(version: i16) {
    let (node, mut client) = node_with_topic().await;
    let mut member = Streaming::new("g", "m");
    let joined = member.join(&mut client, version).await;
    assert_eq!((joined.error_code, joined.member_epoch, joined.heartbeat_interval_ms), (0, 2, 5000));
    let status = &joined.status.as_ref().unwrap()[0];
    assert_eq!((status.status_code, &*status.status_detail), (3, "Internal topics are missing: log, re"));
    assert_eq!(joined.active_tasks, Some(vec![]));
    assert_eq!(
        (joined.task_offset_interval_ms, joined.topology_description_required),
        (60_000, version >= 1)
    );
    if version >= 1 {
        assert_eq!(joined.acceptable_recovery_lag, 10_000);
    }
    // The topics are created beside the answer.
    node.pass(500).await;
    let answer = member.beat(&mut client, version).await;
    assert_eq!((answer.error_code, answer.member_epoch), (0, 3));
    assert_eq!(answer.status, Some(vec![]));
    let all = |id: &str| TaskIds { subtopology_id: id.into(), partitions: vec![0, 1] };
    assert_eq!(answer.active_tasks, Some(vec![all("0"), all("1")]));
    assert_eq!((answer.standby_tasks, answer.warmup_tasks), (Some(vec![]), Some(vec![])));
    let answer = member.beat(&mut client, version).await;
    assert_eq!((answer.member_epoch, answer.active_tasks), (3, None));
    let joining = member.joining();
    let internal = beat::TopicInfo { name: "__consumer_offsets".into(), ..Default::default() };
    let mut odd = joining.clone();
    odd.topology.as_mut().unwrap().subtopologies[1].state_changelog_topics.push(internal);
    let mut nameless = joining.clone();
    nameless.topology.as_mut().unwrap().subtopologies[0].source_topics = vec!["a/b".into()];
    let some = StreamsGroupHeartbeatRequest { standby_tasks: None, ..joining.clone() };
    let fenced = StreamsGroupHeartbeatRequest { member_epoch: 7, ..member.beating() };
    for (request, error) in [
        (fenced, ErrorCode::FencedMemberEpoch),
        (
            StreamsGroupHeartbeatRequest { member_id: "x".into(), ..member.beating() },
            ErrorCode::UnknownMemberId,
        ),
        (
            StreamsGroupHeartbeatRequest { group_id: "h".into(), ..member.beating() },
            ErrorCode::GroupIdNotFound,
        ),
        (StreamsGroupHeartbeatRequest { topology: None, ..joining.clone() }, ErrorCode::InvalidRequest),
        (some, ErrorCode::InvalidRequest),
        (odd, ErrorCode::StreamsInvalidTopology),
        (nameless, ErrorCode::StreamsInvalidTopology),
    ] {
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(error), "{request:?}");
        assert!(answer.error_message.is_some());
    }
    let left =
        client.call(version, &StreamsGroupHeartbeatRequest { member_epoch: -1, ..member.beating() }).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    assert_eq!(client.call(version, &member.beating()).await.error_code, code(ErrorCode::UnknownMemberId));
}

pub(super) async fn streams_group_describe(version: i16) {
    let (node, mut client) = node_with_topic().await;
    let member = running(&node, &mut client, 1).await;
    assert_eq!(push(&mut client, 0).await, 0);
    let request = StreamsGroupDescribeRequest {
        group_ids: vec!["g".into(), "unknown".into()],
        include_authorized_operations: true,
        include_topology_description: version >= 1,
    };
    let response = client.call(version, &request).await;
    let group = &response.groups[0];
    assert_eq!((group.error_code, &*group.group_state, group.group_epoch), (0, "Stable", 3));
    assert_eq!(group.assignment_epoch, 3);
    assert!(group.authorized_operations >= 0);
    let topology = group.topology.as_ref().unwrap();
    let parts = topology.subtopologies.as_ref().unwrap();
    assert_eq!((topology.epoch, parts.len()), (0, 2));
    assert_eq!(
        (&*parts[1].repartition_source_topics[0].name, parts[1].repartition_source_topics[0].partitions),
        ("re", 2)
    );
    let described = &group.members[0];
    assert_eq!((&*described.member_id, described.member_epoch, &*described.process_id), ("m", 3, "p"));
    assert_eq!(described.assignment.active_tasks.len(), 2);
    assert_eq!(described.target_assignment, described.assignment);
    if version >= 1 {
        assert_eq!((group.topology_description_status, group.assignor_name.as_deref()), (3, Some("sticky")));
        let description = group.topology_description.as_ref().unwrap();
        let node = &description.subtopologies[0].nodes[0];
        assert_eq!((node.node_type, &node.source_topics[..]), (1, &["in".to_owned()][..]));
        assert_eq!(description.global_stores[0].processor.stores, ["store"]);
    }
    assert_eq!(response.groups[1].error_code, code(ErrorCode::GroupIdNotFound));
    // The group among others.
    let listed = client
        .call(5, &ListGroupsRequest { types_filter: vec!["streams".into()], ..Default::default() })
        .await;
    assert_eq!((listed.groups.len(), &*listed.groups[0].protocol_type), (1, "streams"));
    let delete = DeleteGroupsRequest { groups_names: vec!["g".into()] };
    assert_eq!(client.call(2, &delete).await.results[0].error_code, code(ErrorCode::NonEmptyGroup));
    client.call(1, &StreamsGroupHeartbeatRequest { member_epoch: -1, ..member.beating() }).await;
    assert_eq!(client.call(2, &delete).await.results[0].error_code, 0);
    node.assert_sound();
}

fn node_of(name: &str, node_type: i8) -> update::TopologyDescriptionNode {
    update::TopologyDescriptionNode {
        name: name.into(),
        node_type,
        source_topics: if node_type == 1 { vec!["in".into()] } else { vec![] },
        stores: if node_type == 2 { vec!["store".into()] } else { vec![] },
        ..Default::default()
    }
}

/// Pushes a description and gives the error.
async fn push(client: &mut Client, version: i16) -> i16 {
    let store =
        update::TopologyDescriptionGlobalStore { source: node_of("s", 1), processor: node_of("p", 2) };
    let part = update::TopologyDescriptionSubtopology {
        subtopology_id: "0".into(),
        nodes: vec![node_of("source", 1), node_of("sink", 3)],
    };
    let request = StreamsGroupTopologyDescriptionUpdateRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        topology_epoch: 0,
        topology_description: update::TopologyDescription {
            subtopologies: vec![part],
            global_stores: vec![store],
        },
    };
    client.call(version, &request).await.error_code
}

pub(super) async fn streams_group_topology_description_update(version: i16) {
    let (node, mut client) = node_with_topic().await;
    running(&node, &mut client, 1).await;
    assert_eq!(push(&mut client, version).await, 0);
    let request = StreamsGroupTopologyDescriptionUpdateRequest {
        group_id: "g".into(),
        member_id: "m".into(),
        ..StreamsGroupTopologyDescriptionUpdateRequest::default()
    };
    let with = |nodes: Vec<update::TopologyDescriptionNode>| update::TopologyDescription {
        subtopologies: vec![update::TopologyDescriptionSubtopology { subtopology_id: "0".into(), nodes }],
        ..Default::default()
    };
    let store =
        update::TopologyDescriptionGlobalStore { source: node_of("s", 2), processor: node_of("p", 2) };
    let stores = update::TopologyDescription { global_stores: vec![store], ..Default::default() };
    let large = with(vec![node_of("n", 1); 3000]);
    for (request, error) in [
        (
            StreamsGroupTopologyDescriptionUpdateRequest { group_id: "h".into(), ..request.clone() },
            ErrorCode::GroupIdNotFound,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { group_id: "".into(), ..request.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { member_id: "".into(), ..request.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { member_id: "x".into(), ..request.clone() },
            ErrorCode::UnknownMemberId,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { topology_epoch: 4, ..request.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest {
                topology_description: with(vec![node_of("n", 9)]),
                ..request.clone()
            },
            ErrorCode::InvalidRequest,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { topology_description: stores, ..request.clone() },
            ErrorCode::InvalidRequest,
        ),
        (
            StreamsGroupTopologyDescriptionUpdateRequest { topology_description: large, ..request.clone() },
            ErrorCode::StreamsTopologyDescriptionUpdateFailed,
        ),
    ] {
        let answer = client.call(version, &request).await;
        assert_eq!(answer.error_code, code(error));
        assert!(answer.error_message.is_some());
    }
}
