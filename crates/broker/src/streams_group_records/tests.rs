use super::*;
use crate::group_records;

fn check(change: StreamsChange) {
    let record = Record::Streams { group: GroupId::new("g"), change };
    let (key, value) = group_records::encode(&record).unwrap();
    let stored = records::Record { offset: 0, timestamp: 0, key: Some(key), value, headers: Vec::new() };
    assert_eq!(group_records::decode(&stored, None), Some(record));
}

fn metadata() -> StreamsMetadata {
    StreamsMetadata {
        instance_id: Some("i".into()),
        rack_id: Some("r".into()),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: 7,
        topology_epoch: 2,
        process_id: "p".into(),
        user_endpoint: Some(Endpoint { host: "h".into(), port: 65_535 }),
        client_tags: BTreeMap::from([("zone".into(), "a".into())]),
    }
}

fn topology() -> Topology {
    let topic = |name: &str, partitions| InternalTopic {
        name: name.into(),
        partitions,
        replication_factor: 3,
        configs: vec![("cleanup.policy".into(), "compact".into())],
    };
    let part = Subtopology {
        id: "0".into(),
        source_topics: vec!["in".into()],
        source_topic_regex: vec!["x.*".into()],
        state_changelog_topics: vec![topic("log", 0)],
        repartition_sink_topics: vec!["re".into()],
        repartition_source_topics: vec![topic("re", 4)],
        copartition_groups: vec![CopartitionGroup {
            source_topics: vec![0],
            source_topic_regex: vec![],
            repartition_source_topics: vec![0],
        }],
    };
    Topology { epoch: 3, subtopologies: vec![part] }
}

#[test]
fn values_and_tombstones_read_back_as_they_were_written() {
    let set = TaskSet::from([("0".into(), BTreeSet::from([1, 2]))]);
    let tasks = Tasks { active: set.clone(), standby: set.clone(), warmup: set.clone() };
    let active = TaskEpochs::from([("1".into(), BTreeMap::from([(0, 3), (2, 5)]))]);
    let owned = OwnedTasks { active, standby: set.clone(), warmup: set };
    let epoch = StreamsEpoch {
        epoch: 4,
        metadata_hash: -9,
        validated_topology_epoch: 3,
        assignment_configs: BTreeMap::from([("num.standby.replicas".into(), "1".into())]),
        stored_description_epoch: -2,
        failed_description_epoch: 1,
    };
    check(StreamsChange::Epoch(Some(epoch)));
    check(StreamsChange::Epoch(Some(StreamsEpoch::default())));
    check(StreamsChange::Epoch(None));
    check(StreamsChange::Member("m".into(), Some(metadata())));
    check(StreamsChange::Member("m".into(), Some(StreamsMetadata::default())));
    check(StreamsChange::Member("m".into(), None));
    check(StreamsChange::Topology(Some(topology())));
    check(StreamsChange::Topology(None));
    check(StreamsChange::TargetEpoch(Some(TargetEpoch { epoch: 4, timestamp: 11 })));
    check(StreamsChange::TargetEpoch(None));
    check(StreamsChange::Target("m".into(), Some(tasks)));
    check(StreamsChange::Target("m".into(), None));
    for state in [MemberState::Stable, MemberState::UnrevokedPartitions, MemberState::UnreleasedPartitions] {
        let (assigned, revoking) = (owned.clone(), owned.clone());
        let current = StreamsCurrent { epoch: 5, previous_epoch: 4, state, assigned, revoking };
        check(StreamsChange::Current("m".into(), Some(current)));
    }
    check(StreamsChange::Current("m".into(), None));
}

#[test]
fn the_bytes_are_kafkas() {
    let group = GroupId::new("g");
    let (key, _) = encode(&group, &StreamsChange::Topology(None));
    assert_eq!(key.as_ref(), b"\0\x17\0\x01g");
    let epoch = StreamsEpoch { epoch: 7, metadata_hash: 1, ..StreamsEpoch::default() };
    let (key, value) = encode(&group, &StreamsChange::Epoch(Some(epoch)));
    assert_eq!(key.as_ref(), b"\0\x11\0\x01g");
    // The tagged fields bear what is not their default.
    assert_eq!(value.unwrap().as_ref()[..14], *b"\0\0\0\0\0\x07\0\0\0\0\0\0\0\x01");
    let stable = StreamsCurrent { epoch: 2, previous_epoch: 1, ..StreamsCurrent::default() };
    let (_, value) = encode(&group, &StreamsChange::Current("m".into(), Some(stable)));
    assert_eq!(value.unwrap().as_ref(), b"\0\0\0\0\0\x02\0\0\0\x01\x01\x01\x01\x01\x01\x01\x01\0");
}

#[test]
fn an_older_record_lends_its_tasks_the_members_epoch() {
    let value = StreamsGroupCurrentMemberAssignmentValue {
        member_epoch: 8,
        active_tasks: vec![current::TaskIds {
            subtopology_id: "0".into(),
            partitions: vec![3],
            assignment_epochs: None,
        }],
        ..Default::default()
    };
    let expected = TaskEpochs::from([("0".into(), BTreeMap::from([(3, 8)]))]);
    assert_eq!(to_current(value).assigned.active, expected);
}
