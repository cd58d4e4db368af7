//! Events for the tests of checks, in few words.

use crate::{
    checks::Check,
    history::{Event, Place, SeenImage},
    plan::Durability,
    value::ValueId,
};

pub(super) fn place() -> Place {
    Place { topic: "t".into(), partition: 0, durability: Durability::Fsync, is_compacted: false }
}

pub(super) fn compacted() -> Place {
    Place { is_compacted: true, ..place() }
}

pub(super) fn lossy() -> Place {
    Place { topic: "l".into(), partition: 0, durability: Durability::PageCache, is_compacted: false }
}

pub(super) fn value(number: u32) -> ValueId {
    ValueId { producer: 1, number, partition: 0 }
}

pub(super) fn sent(place: Place, numbers: &[u32]) -> Event {
    Event::ProduceSent { place, idempotent: true, values: numbers.iter().map(|n| value(*n)).collect() }
}

pub(super) fn acked(place: Place, base_offset: i64, numbers: &[u32]) -> Event {
    let values = numbers.iter().map(|n| value(*n)).collect();
    Event::ProduceAcked { place, idempotent: true, request: 1, base_offset, values }
}

pub(super) fn known(place: Place, request: u64, numbers: &[u32]) -> Event {
    Event::ProduceKnown { place, request, values: numbers.iter().map(|n| value(*n)).collect() }
}

pub(super) fn read_all(place: Place, log_start: i64, records: &[(i64, u32)]) -> Event {
    let high_watermark = records.last().map_or(log_start, |(offset, _)| offset + 1);
    let records = records.iter().map(|(offset, number)| (*offset, Some(value(*number)))).collect();
    Event::ReadAll { place, log_start, high_watermark, records }
}

pub(super) fn read(place: Place, request: u64, high_watermark: i64, records: &[(i64, u32)]) -> Event {
    let fetch_offset = records.first().map_or(0, |(offset, _)| *offset);
    let records = records.iter().map(|(offset, number)| (*offset, Some(value(*number)))).collect();
    Event::Read {
        reader: 0,
        request,
        place,
        fetch_offset,
        high_watermark,
        log_start: 0,
        records,
        leader_epoch: -1,
        is_current: true,
    }
}

/// All events but the last one are fine; the last one is as `fine` says.
pub(super) fn check(mut subject: impl Check, events: &[Event], fine: bool) {
    let (last, first) = events.split_last().unwrap();
    for event in first {
        subject.on(event).unwrap();
    }
    let judged = subject.on(last);
    assert_eq!(judged.is_ok(), fine, "{judged:?}");
}

/// A node has metadata up to an offset in which a partition is led in an epoch.
pub(super) fn image_seen(node: i32, offset: i64, (leader, leader_epoch): (i32, i32)) -> Event {
    let mut image = metadata::Image::new("cluster");
    let id = stdx::Uuid([7; 16]);
    let name = model::TopicName::new("t").unwrap();
    image.apply(metadata::Record::Topic { name, id });
    let partition = metadata::PartitionRecord {
        index: 0,
        topic: id,
        replicas: vec![1, 2, 3],
        isr: vec![1, 2, 3],
        removing: Vec::new(),
        adding: Vec::new(),
        leader,
        recovery: metadata::Recovery::Recovered,
        leader_epoch,
        partition_epoch: leader_epoch,
        directories: Vec::new(),
        elr: Vec::new(),
        elr_last_known: Vec::new(),
    };
    image.apply(metadata::Record::Partition(partition));
    image.place(metadata::Position { offset, epoch: 1 });
    Event::ImageSeen { node, image: SeenImage(std::sync::Arc::new(image)) }
}
