//! The APIs that describe the cluster and what is in it.

use crate::harness::{LOG_DIR, NODE_ID, Node, batch, code};
use wire::{
    AlterReplicaLogDirsRequest, ApiKey, ApiVersionsRequest, DescribeClusterRequest, DescribeLogDirsRequest,
    DescribeTopicPartitionsRequest, ErrorCode, MetadataRequest, UpdateFeaturesRequest,
    alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_topic_partitions_request::{Cursor, TopicRequest},
    metadata_request::MetadataRequestTopic,
    update_features_request::FeatureUpdateKey,
};

fn named(names: &[&str]) -> MetadataRequest {
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic { name: Some(name.to_string()), ..MetadataRequestTopic::default() });
    MetadataRequest { topics: Some(topics.collect()), ..MetadataRequest::default() }
}

pub(super) async fn metadata(version: i16) {
    let node = Node::with(&[("broker.rack", "r1")]).await;
    let mut client = node.client();
    let one = client.create("one", 3, &[]).await;
    client.create("two", 1, &[]).await;
    let all = MetadataRequest { topics: (version == 0).then(Vec::new), ..MetadataRequest::default() };
    let response = client.call(version, &all).await;
    assert_eq!(response.error_code, 0);
    let broker = &response.brokers[0];
    assert_eq!(response.brokers.len(), 1);
    assert_eq!((broker.node_id, broker.host.as_str(), broker.port), (NODE_ID, "here", 9092));
    assert_eq!(broker.rack.as_deref(), (version >= 1).then_some("r1"));
    assert_eq!(response.controller_id, if version >= 1 { NODE_ID } else { -1 });
    assert_eq!(response.cluster_id.is_some(), version >= 2);
    let names: Vec<_> = response.topics.iter().map(|topic| topic.name.clone().unwrap()).collect();
    assert_eq!(names, ["one", "two"]);
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.is_internal), (0, false));
    assert_eq!(topic.topic_id == one.id, version >= 10);
    assert_eq!(topic.partitions.len(), 3);
    for (index, partition) in topic.partitions.iter().enumerate() {
        assert_eq!((partition.error_code, partition.partition_index), (0, index as i32));
        assert_eq!((partition.leader_id, &partition.replica_nodes[..]), (NODE_ID, &[NODE_ID][..]));
        assert_eq!((&partition.isr_nodes[..], partition.offline_replicas.len()), (&[NODE_ID][..], 0));
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
    }
    if version >= 1 {
        let response = client.call(version, &named(&[])).await;
        assert_eq!((response.topics.len(), response.brokers.len()), (0, 1));
    }
    operations(&mut client, version).await;
    creation(&mut client, version).await;
    by_id(&mut client, version, one.id).await;
}

/// Authorized operations are told from version 8 on, if they are asked for.
async fn operations(client: &mut crate::harness::Client, version: i16) {
    let mut request = named(&["one"]);
    let response = client.call(version, &request).await;
    assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
    if version < 8 {
        return;
    }
    request.include_topic_authorized_operations = true;
    request.include_cluster_authorized_operations = version <= 10;
    let response = client.call(version, &request).await;
    assert_eq!(response.topics[0].topic_authorized_operations, 0b1101_1111_1000);
    let cluster = if version <= 10 { 0b1_1111_1010_0000 } else { i32::MIN };
    assert_eq!(response.cluster_authorized_operations, cluster);
}

/// A topic that is asked for by name is created, unless (from version 4 on) the request says no.
async fn creation(client: &mut crate::harness::Client, version: i16) {
    if version >= 4 {
        let request = MetadataRequest { allow_auto_topic_creation: false, ..named(&["three", "a b"]) };
        let response = client.call(version, &request).await;
        let codes: Vec<_> = response.topics.iter().map(|t| (t.name.as_deref(), t.error_code)).collect();
        let (unknown, invalid) = (ErrorCode::UnknownTopicOrPartition, ErrorCode::InvalidTopicException);
        assert_eq!(codes, [(Some("a b"), code(invalid)), (Some("three"), code(unknown))]);
    }
    let response = client.call(version, &named(&["three", "one"])).await;
    let found: Vec<_> =
        response.topics.iter().map(|t| (t.name.as_deref(), t.error_code, t.partitions.len())).collect();
    assert_eq!(found, [(Some("one"), 0, 3), (Some("three"), 0, 1)]);
}

/// By id from version 12 on; versions 10 and 11 have the field, but Kafka refuses it.
async fn by_id(client: &mut crate::harness::Client, version: i16, id: stdx::Uuid) {
    if version < 10 {
        return;
    }
    let unknown = stdx::Uuid([9; 16]);
    let of_id = |topic_id| MetadataRequestTopic { topic_id, name: (version < 12).then(String::new) };
    let topics = Some(vec![of_id(id), of_id(unknown)]);
    let response = client.call(version, &MetadataRequest { topics, ..Default::default() }).await;
    let answers: Vec<_> = response
        .topics
        .iter()
        .map(|topic| (topic.name.as_deref(), topic.topic_id, topic.error_code, topic.partitions.len()))
        .collect();
    let (invalid, gone) = (code(ErrorCode::InvalidRequest), code(ErrorCode::UnknownTopicId));
    if version < 12 {
        assert_eq!(answers, [(Some(""), id, invalid, 0), (Some(""), unknown, invalid, 0)]);
    } else {
        assert_eq!(answers, [(Some("one"), id, 0, 3), (None, unknown, gone, 0)]);
    }
}

pub(super) async fn api_versions(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let request = ApiVersionsRequest {
        client_software_name: "tester".into(),
        client_software_version: "1.0".into(),
        ..Default::default()
    };
    let response = client.call(version, &request).await;
    assert_eq!((response.error_code, response.throttle_time_ms), (0, 0));
    let rows: Vec<_> = response.api_keys.iter().map(|row| row.api_key).collect();
    assert_eq!(rows, broker::dispatch::APIS.iter().map(|key| key.to_i16()).collect::<Vec<_>>());
    for row in &response.api_keys {
        let key = ApiKey::from_i16(row.api_key).unwrap();
        let lowest = if key == ApiKey::Produce { 0 } else { key.lowest() };
        assert_eq!((row.min_version, row.max_version), (lowest, key.highest_stable()), "{key:?}");
    }
    let supported: Vec<_> = response.supported_features.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(supported.contains(&"metadata.version"), version >= 3);
    assert_eq!(supported.contains(&"group.version"), version >= 4, "its lowest level is 0");
    let finalized = response.finalized_features.iter().find(|one| one.name == "metadata.version");
    assert_eq!(finalized.map(|one| one.max_version_level), (version >= 3).then_some(33));
    assert_eq!(response.finalized_features_epoch >= 0, version >= 3);
    if version >= 5 {
        let cluster_id = Some(node.broker.image().cluster_id().to_owned());
        let cases = [
            (cluster_id.clone(), NODE_ID, ErrorCode::None),
            (cluster_id.clone(), -1, ErrorCode::None),
            (cluster_id, NODE_ID + 1, ErrorCode::RebootstrapRequired),
            (Some("another".into()), NODE_ID, ErrorCode::RebootstrapRequired),
        ];
        for (cluster_id, node_id, error) in cases {
            let request = ApiVersionsRequest { cluster_id, node_id, ..request.clone() };
            assert_eq!(client.call(version, &request).await.error_code, code(error), "{request:?}");
        }
    }
    let nameless = ApiVersionsRequest { client_software_name: "a b".into(), ..request };
    let response = client.call(version, &nameless).await;
    assert_eq!(response.error_code, if version >= 3 { code(ErrorCode::InvalidRequest) } else { 0 });
}

pub(super) async fn describe_cluster(version: i16) {
    let node = Node::with(&[("broker.rack", "r1")]).await;
    let mut client = node.client();
    let request = DescribeClusterRequest {
        include_cluster_authorized_operations: true,
        endpoint_type: 1,
        ..DescribeClusterRequest::default()
    };
    let response = client.call(version, &request).await;
    assert_eq!((response.error_code, response.controller_id), (0, NODE_ID));
    assert_eq!(response.cluster_id, node.broker.image().cluster_id());
    assert_eq!(response.cluster_authorized_operations, 0b1_1111_1010_0000);
    assert_eq!(response.brokers.len(), 1);
    let broker = &response.brokers[0];
    assert_eq!((broker.broker_id, broker.host.as_str(), broker.port), (NODE_ID, "here", 9092));
    assert_eq!((broker.rack.as_deref(), broker.is_fenced), (Some("r1"), false));
    let response = client.call(version, &DescribeClusterRequest::default()).await;
    assert_eq!(response.cluster_authorized_operations, i32::MIN);
    if version >= 1 {
        let response = client.call(version, &DescribeClusterRequest { endpoint_type: 2, ..request }).await;
        assert_eq!(response.error_code, code(ErrorCode::MismatchedEndpointType));
    }
}

pub(super) async fn describe_topic_partitions(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let one = client.create("one", 3, &[]).await;
    client.create("two", 2, &[]).await;
    let request = |names: &[&str], limit, cursor: Option<(&str, i32)>| DescribeTopicPartitionsRequest {
        topics: names.iter().map(|name| TopicRequest { name: name.to_string() }).collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, partition_index)| Cursor { topic_name: name.into(), partition_index }),
    };
    let response = client.call(version, &request(&[], 2, None)).await;
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.name.as_deref(), topic.topic_id), (0, Some("one"), one.id));
    let partition = &topic.partitions[1];
    assert_eq!((partition.partition_index, partition.leader_id, partition.leader_epoch), (1, NODE_ID, 0));
    assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[NODE_ID][..], &[NODE_ID][..]));
    assert_eq!(topic.partitions.len(), 2);
    let next = response.next_cursor.unwrap();
    assert_eq!((next.topic_name.as_str(), next.partition_index), ("one", 2));
    let response = client.call(version, &request(&[], 100, Some(("one", 2)))).await;
    let pages: Vec<_> = response.topics.iter().map(|t| (t.name.as_deref(), t.partitions.len())).collect();
    assert_eq!((pages, response.next_cursor), (vec![(Some("one"), 1), (Some("two"), 2)], None));
    let response = client.call(version, &request(&["two", "none", "a b"], 100, None)).await;
    let codes: Vec<_> = response.topics.iter().map(|t| (t.name.as_deref(), t.error_code)).collect();
    let (unknown, invalid) = (ErrorCode::UnknownTopicOrPartition, ErrorCode::InvalidTopicException);
    assert_eq!(codes, [(Some("a b"), code(invalid)), (Some("none"), code(unknown)), (Some("two"), 0)]);
}

pub(super) async fn alter_replica_log_dirs(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    client.create("one", 2, &[]).await;
    let dir = |path: &str, name: &str, partitions: &[i32]| AlterReplicaLogDir {
        path: path.into(),
        topics: vec![AlterReplicaLogDirTopic { name: name.into(), partitions: partitions.to_vec() }],
    };
    let dirs = vec![
        dir("/elsewhere", "one", &[0, 1]),
        dir(LOG_DIR, "one", &[1, 2]),
        dir(LOG_DIR, "unknown", &[0]),
        dir("/elsewhere", "unknown", &[1]),
    ];
    let response = client.call(version, &AlterReplicaLogDirsRequest { dirs }).await;
    let told: Vec<_> = response
        .results
        .iter()
        .flat_map(|topic| {
            let partitions = topic.partitions.iter();
            partitions.map(|one| (topic.topic_name.as_str(), one.partition_index, one.error_code))
        })
        .collect();
    let (absent, unknown) = (code(ErrorCode::LogDirNotFound), code(ErrorCode::UnknownTopicOrPartition));
    let expected = [
        ("one", 0, absent),
        ("one", 1, 0),
        ("one", 2, unknown),
        ("unknown", 0, unknown),
        ("unknown", 1, absent),
    ];
    assert_eq!(told, expected, "of a replica that is named twice the last directory counts");
}

pub(super) async fn describe_log_dirs(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("one", 2, &[]).await;
    client.create("two", 1, &[]).await;
    let bytes = batch(&["a", "b"]);
    client.produce(&topic, bytes.clone()).await;
    let response = client.call(version, &DescribeLogDirsRequest { topics: None }).await;
    assert_eq!((response.error_code, response.results.len()), (0, 1));
    let dir = &response.results[0];
    assert_eq!((dir.error_code, dir.log_dir.as_str()), (0, LOG_DIR));
    assert_eq!((dir.total_bytes, dir.usable_bytes), (-1, -1), "a disk in memory has no bounds");
    let names: Vec<_> =
        dir.topics.iter().map(|topic| (topic.name.as_str(), topic.partitions.len())).collect();
    assert_eq!(names, [("one", 2), ("two", 1)]);
    let sizes: Vec<_> =
        dir.topics[0].partitions.iter().map(|p| (p.partition_index, p.partition_size)).collect();
    assert_eq!(sizes, [(0, bytes.len() as i64), (1, 0)]);
    assert!(dir.topics[0].partitions.iter().all(|p| p.offset_lag == 0 && !p.is_future_key));
    let wanted = DescribableLogDirTopic { topic: "one".into(), partitions: vec![1] };
    let request = DescribeLogDirsRequest { topics: Some(vec![wanted]) };
    let response = client.call(version, &request).await;
    let names: Vec<_> = response.results[0]
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.partitions.len()))
        .collect();
    assert_eq!(names, [("one", 1)]);
}

/// The level of a feature that is in force, as ApiVersions tells it.
async fn finalized(client: &mut crate::harness::Client, name: &str) -> i16 {
    let hello = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let told = client.call(4, &hello).await.finalized_features.into_iter();
    told.filter(|feature| feature.name == name).map(|feature| feature.max_version_level).sum()
}

pub(super) async fn update_features(version: i16) {
    let node = Node::start().await;
    let mut client = node.client();
    let update = |feature: &str, max_version_level, upgrade_type| FeatureUpdateKey {
        feature: feature.into(),
        max_version_level,
        allow_downgrade: false,
        upgrade_type,
    };
    let ask = |updates: &[FeatureUpdateKey], validate_only| UpdateFeaturesRequest {
        timeout_ms: 1000,
        feature_updates: updates.to_vec(),
        validate_only,
    };
    let refused = code(ErrorCode::InvalidUpdateVersion);
    // All or none, and up only.
    let two = [update("kraft.version", 1, 1), update("group.version", 0, 1)];
    let response = client.call(version, &ask(&two, false)).await;
    assert_eq!((response.error_code, response.results.len()), (refused, 0));
    assert!(response.error_message.unwrap().contains("group.version"));
    assert_eq!(
        (finalized(&mut client, "kraft.version").await, finalized(&mut client, "group.version").await),
        (0, 1)
    );
    if version >= 1 {
        let down = [update("group.version", 0, 2)];
        for (validate_only, after) in [(true, 1), (false, 0)] {
            let response = client.call(version, &ask(&down, validate_only)).await;
            assert_eq!((response.error_code, response.error_message), (0, None));
            assert_eq!(finalized(&mut client, "group.version").await, after);
        }
        let strange = [update("group.version", 1, 9)];
        assert_eq!(client.call(version, &ask(&strange, false)).await.error_code, refused);
    }
    let up = [update("group.version", 1, 1)];
    let response = client.call(version, &ask(&up, false)).await;
    assert_eq!(response.error_code, 0);
    let told: Vec<_> = response.results.iter().map(|one| (&*one.feature, one.error_code)).collect();
    assert_eq!(told, [("group.version", 0)][..usize::from(version <= 1)]);
    assert_eq!(finalized(&mut client, "group.version").await, 1);
}
