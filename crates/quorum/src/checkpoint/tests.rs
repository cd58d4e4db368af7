use super::*;
use crate::type_config::{StoredMembership, log_id};
use log::testing::MemoryDisk;
use records::BatchBuilder;
use std::path::PathBuf;

const ID: SnapshotId = SnapshotId { end_offset: 12, epoch: 3 };

fn dir() -> PathBuf {
    PathBuf::from("/log")
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(1000).leader_epoch(9);
    values.iter().for_each(|value| builder.push(1, None, Some(value.as_bytes()), &[]));
    builder.build().unwrap().bytes
}

fn written(disk: &MemoryDisk) -> Checkpoint {
    let head = SnapshotHead { timestamp: 5, last: log_id(3, 4), membership: StoredMembership::default() };
    let two = [&batch(&["c"])[..], &batch(&["d"])].concat();
    Checkpoint::write(disk, &dir(), ID, &head, &[batch(&["a", "b"]), two.into()]).unwrap()
}

#[test]
fn names_are_kafkas_and_read_back() {
    assert_eq!(ID.file_name(), "00000000000000000012-0000000003.checkpoint");
    assert_eq!(SnapshotId::from_file_name(&ID.file_name()), Some(ID));
    for foreign in [
        "leader-epoch-checkpoint",
        "12-3.checkpoint",
        "00000000000000000012-0000000003.checkpoint.part",
        "00000000000000000012-00000000+3.checkpoint",
        "99999999999999999999-0000000003.checkpoint",
        "00000000000000000012-9999999999.checkpoint",
    ] {
        assert_eq!(SnapshotId::from_file_name(foreign), None, "{foreign}");
    }
}

#[test]
fn a_snapshot_survives_a_power_cut_and_its_offsets_count_from_zero() {
    let disk = MemoryDisk::new();
    let size = written(&disk).size_bytes();
    let disk = disk.after_power_cut();
    assert_eq!(Checkpoint::list(&disk, &dir()).unwrap(), [ID]);
    let found = Checkpoint::open(&disk, &dir(), ID).unwrap();
    assert_eq!((found.id(), found.size_bytes(), found.head().last), (ID, size, log_id(3, 4)));
    let batches = found.batches().unwrap();
    let places: Vec<_> = batches.iter().map(|b| (b.header.base_offset, b.header.leader_epoch)).collect();
    // The header holds three control records.
    assert_eq!(places, [(3, 3), (5, 3), (6, 3)]);
    let whole = disk.contents(&dir().join(ID.file_name())).unwrap();
    assert_eq!(found.read(10, 20).unwrap(), whole[10..30]);
    assert_eq!(found.read(size - 1, 20).unwrap(), whole[whole.len() - 1..]);
    assert_eq!(found.read(size + 1, 20).unwrap().len(), 0);
}

#[test]
fn every_damaged_byte_and_every_cut_is_found() {
    let disk = MemoryDisk::new();
    written(&disk);
    let path = dir().join(ID.file_name());
    let whole = disk.contents(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        disk.put(&path, damaged);
        assert!(Checkpoint::open(&disk, &dir(), ID).is_err(), "byte {at}");
        disk.put(&path, whole[..at].to_vec());
        assert!(Checkpoint::open(&disk, &dir(), ID).is_err(), "cut at {at}");
    }
    disk.put(&path, [&whole[..], &whole].concat());
    assert!(Checkpoint::open(&disk, &dir(), ID).is_err(), "twice");
    let other = SnapshotId { epoch: 4, ..ID };
    disk.put(&dir().join(other.file_name()), whole);
    assert!(Checkpoint::open(&disk, &dir(), other).is_err(), "another name");
}

#[test]
fn what_was_not_finished_is_removed_and_the_older_go() {
    let disk = MemoryDisk::new();
    written(&disk);
    let (older, newer) = (SnapshotId { end_offset: 3, epoch: 9 }, SnapshotId { end_offset: 50, epoch: 3 });
    disk.put(&dir().join(older.file_name()), vec![]);
    disk.put(&dir().join(newer.part_name()), vec![1]);
    assert_eq!(Checkpoint::list(&disk, &dir()).unwrap(), [ID, older]);
    assert_eq!(disk.contents(&dir().join(newer.part_name())), None);
    Checkpoint::remove_before(&disk, &dir(), ID).unwrap();
    assert_eq!(Checkpoint::list(&disk, &dir()).unwrap(), [ID]);
}
