use super::*;
use crate::{
    member::{Endpoint, Member},
    type_config::log_id,
};
use std::collections::{BTreeMap, BTreeSet};
use stdx::Uuid;

fn replica(node: i32) -> Replica {
    Replica { node, directory: Uuid([node as u8; 16]) }
}

fn member(host: &str) -> Member {
    Member::new(vec![Endpoint { name: "C".into(), host: host.into(), port: 9093 }])
}

/// Voters 1 and 2, while 3 takes the place of 2; 4 observes.
fn joint() -> Membership {
    let configs = vec![BTreeSet::from([replica(1), replica(2)]), BTreeSet::from([replica(1), replica(3)])];
    let nodes = (1..=4).map(|node| (replica(node), member(&format!("h{node}")))).collect::<BTreeMap<_, _>>();
    Membership::new(configs, nodes).unwrap()
}

fn values(batch: &Batch) -> Vec<(ControlType, Vec<u8>)> {
    let records = control_records(batch).unwrap();
    records.into_iter().map(|(kind, value)| (kind.unwrap(), value.to_vec())).collect()
}

#[test]
fn a_membership_reads_back_with_both_configurations_and_observers() {
    for first in [false, true] {
        let batch = voters(5, &joint(), first).unwrap();
        assert!(batch.header.attributes.is_control());
        assert_eq!(membership_of(&batch).unwrap(), Some(joint()));
        assert_eq!(batch.header.record_count, 1 + i32::from(first));
    }
    assert_eq!(membership_of(&leader_change(5, replica(1), &[]).unwrap()).unwrap(), None);
}

#[test]
fn the_bytes_of_control_batches_are_kafkas() {
    let change = leader_change(5, replica(1), &[replica(1), replica(2)]).unwrap();
    let (head, one, two) = ([0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 2, 0]);
    let expected = [&head[..], &[3], &one, &two, &[2], &one, &[0]].concat();
    assert_eq!(values(&change), [(ControlType::LeaderChange, expected)]);

    let alone =
        Membership::new(vec![BTreeSet::from([replica(1)])], BTreeMap::from([(replica(1), member("h"))]));
    let first = voters(5, &alone.unwrap(), true).unwrap();
    let said = [&[0, 0, 0, 1][..], &[1; 16], &[2, 2, b'C', 2, b'h', 0x23, 0x85, 0, 0, 0, 0, 1, 0]].concat();
    let ours = [&[2, 2, 0, 0, 0, 1][..], &[1; 16], &[2], &said].concat();
    // The tag is 0x4f44 as a varint.
    let voters = [&[0, 0, 2][..], &said, &[0, 1, 0xc4, 0x9e, 1, ours.len() as u8], &ours].concat();
    let [version, found] = <[_; 2]>::try_from(values(&first)).unwrap();
    assert_eq!(version, (ControlType::KRaftVersion, vec![0, 0, 0, 1, 0]));
    assert_eq!(found.0, ControlType::KRaftVoters);
    assert_eq!(found.1, voters);

    let footer = snapshot_footer(5).unwrap();
    assert_eq!(values(&footer), [(ControlType::SnapshotFooter, vec![0, 0, 0])]);
    assert!(is_snapshot_footer(&footer) && !is_snapshot_footer(&change));
}

#[test]
fn the_header_of_a_snapshot_reads_back() {
    let membership = StoredMembership::new(Some(log_id(2, 3)), joint());
    let head = SnapshotHead { timestamp: 77, last: log_id(4, 9), membership };
    let batch = snapshot_header(&head).unwrap();
    assert_eq!(read_snapshot_header(&batch).unwrap(), head);
    let kinds: Vec<_> = values(&batch).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [ControlType::SnapshotHeader, ControlType::KRaftVersion, ControlType::KRaftVoters]);
    assert!(read_snapshot_header(&snapshot_footer(0).unwrap()).is_err());
}

#[test]
fn voters_that_kafka_wrote_are_told_apart() {
    let record = voters_record(&joint());
    let ours = record.len() - record.windows(3).position(|tag| tag == [0xc4, 0x9e, 1]).unwrap();
    let mut kafkas = record[..record.len() - ours - 1].to_vec();
    kafkas.push(0);
    let error = read_voters(&kafkas).unwrap_err();
    assert!(error.to_string().contains("Apache Kafka"), "{error}");
    for len in 0..record.len() {
        assert!(read_voters(&record[..len]).is_err(), "{len} bytes");
    }
}
