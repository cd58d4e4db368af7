//! Records in, image out; and what a published image keeps.

use super::*;
use crate::{PartitionChange, PartitionRecord, Recovery};
use stdx::Uuid;

fn name(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn topic(image: &mut Image, text: &str, id: u32, partitions: i32) {
    image.apply(Record::Topic { name: name(text), id: uuid(id) });
    for index in 0..partitions {
        image.apply(Record::Partition(partition(id, index)));
    }
}

fn uuid(id: u32) -> TopicId {
    Uuid(u128::from(id).to_be_bytes())
}

fn partition(id: u32, index: i32) -> PartitionRecord {
    PartitionRecord {
        index,
        topic: uuid(id),
        replicas: vec![1, 2],
        isr: vec![1, 2],
        removing: Vec::new(),
        adding: Vec::new(),
        leader: 1,
        recovery: Recovery::Recovered,
        leader_epoch: 0,
        partition_epoch: 0,
        directories: vec![Uuid::ZERO; 2],
        elr: Vec::new(),
        elr_last_known: Vec::new(),
    }
}

fn change(id: u32, index: i32) -> PartitionChange {
    PartitionChange { index, topic: uuid(id), ..PartitionChange::default() }
}

#[test]
fn topics_are_found_by_name_by_id_and_in_order() {
    let mut image = Image::new("c");
    for (id, text) in [(1, "b"), (2, "a"), (3, "d"), (4, "c")] {
        topic(&mut image, text, id, 1);
    }
    let names =
        |topics: Vec<&Arc<Topic>>| topics.iter().map(|topic| topic.name.to_string()).collect::<String>();
    assert_eq!(names(image.topics().collect()), "abcd");
    assert_eq!(names(image.topics_from("b").collect()), "bcd");
    assert_eq!(names(image.topics_from("bb").collect()), "cd");
    assert_eq!(image.topic("d").unwrap().id, uuid(3));
    assert_eq!(&*image.topic_by_id(uuid(4)).unwrap().name, "c");
    assert_eq!(image.position().offset, 7);
    image.apply(Record::RemoveTopic { id: uuid(4) });
    assert_eq!(names(image.topics().collect()), "abd");
    assert!(image.topic("c").is_none() && image.topic_by_id(uuid(4)).is_none());
}

#[test]
fn a_change_touches_what_it_names() {
    let mut image = Image::new("c");
    topic(&mut image, "t", 1, 2);
    image.apply(Record::PartitionChange(PartitionChange { isr: Some(vec![2]), ..change(1, 0) }));
    let seen = |image: &Image| {
        let partition = image.partition("t", 0).unwrap();
        (partition.leader, partition.isr.clone(), partition.leader_epoch, partition.partition_epoch)
    };
    assert_eq!(seen(&image), (1, vec![2], 0, 1));
    image.apply(Record::PartitionChange(PartitionChange { leader: Some(2), ..change(1, 0) }));
    assert_eq!(seen(&image), (2, vec![2], 1, 2));
    image.apply(Record::PartitionChange(PartitionChange { leader: Some(2), ..change(1, 0) }));
    assert_eq!(seen(&image), (2, vec![2], 2, 3), "the same leader again is a new leader epoch");
    assert_eq!(image.partition("t", 1), Some(&Partition::from(partition(1, 1))));
    assert_eq!(image.partition("t", 2), None);
    assert_eq!(image.partition("t", -1), None);
}

#[test]
fn eligible_replicas_are_cleared_where_there_are_some() {
    let mut image = Image::new("c");
    topic(&mut image, "t", 1, 2);
    topic(&mut image, "u", 2, 1);
    for id in [1, 2] {
        image.apply(Record::PartitionChange(PartitionChange { elr: Some(vec![2]), ..change(id, 0) }));
    }
    image.apply(Record::ClearElr { topic: Some(name("t")) });
    let seen = |image: &Image, topic: &str, index| {
        let partition = image.partition(topic, index).unwrap();
        (partition.elr.clone(), partition.partition_epoch)
    };
    assert_eq!(seen(&image, "t", 0), (vec![], 2));
    assert_eq!(seen(&image, "t", 1), (vec![], 0));
    assert_eq!(seen(&image, "u", 0), (vec![2], 1));
    image.apply(Record::ClearElr { topic: None });
    assert_eq!(seen(&image, "u", 0), (vec![], 2));
    assert_eq!(seen(&image, "t", 0), (vec![], 2));
}

#[test]
fn records_about_unknown_things_are_ignored() {
    let mut image = Image::new("c");
    topic(&mut image, "t", 1, 1);
    let mut expected = image.clone();
    let records = [
        Record::Topic { name: name("t"), id: uuid(2) },
        Record::Topic { name: name("u"), id: uuid(1) },
        Record::Partition(partition(9, 0)),
        Record::Partition(partition(1, 2)),
        Record::Partition(partition(1, -1)),
        Record::PartitionChange(change(9, 0)),
        Record::PartitionChange(change(1, 7)),
        Record::RemoveTopic { id: uuid(9) },
        Record::UnregisterBroker { broker: 9, broker_epoch: 0 },
        Record::FenceBroker { broker: 9, broker_epoch: 0 },
        Record::ClearElr { topic: Some(name("x")) },
        Record::Config { resource: Resource::topic("t"), name: "retention.ms".to_owned(), value: None },
        Record::NoOp,
        Record::EndTransaction,
    ];
    let count = records.len() as i64;
    records.into_iter().for_each(|record| image.apply(record));
    let Position { offset, epoch } = expected.position();
    expected.place(Position { offset: offset + count, epoch });
    assert_eq!(image, expected);
}

#[test]
fn brokers_change_their_state() {
    let mut image = Image::new("c");
    let broker = Registration { id: 1, directories: vec![uuid(7)], fenced: true, ..Registration::default() };
    image.apply(Record::RegisterBroker(broker));
    let set = |fenced, shutting_down, cordoned| Record::BrokerChange {
        broker: 1,
        broker_epoch: 0,
        fenced,
        shutting_down,
        directories: None,
        cordoned,
    };
    assert!(!image.is_active(1));
    image.apply(set(Some(false), None, None));
    assert!(image.is_active(1));
    image.apply(set(None, Some(true), Some(vec![uuid(7)])));
    assert!(!image.is_active(1));
    assert_eq!(image.broker(1).unwrap().cordoned, [uuid(7)]);
    assert_eq!(image.broker(1).unwrap().directories, [uuid(7)]);
    image.apply(set(None, Some(false), None));
    assert_eq!(image.brokers_active().count(), 1);
    image.apply(Record::FenceBroker { broker: 1, broker_epoch: 0 });
    assert_eq!(image.brokers_active().count(), 0);
    image.apply(Record::UnfenceBroker { broker: 1, broker_epoch: 0 });
    assert!(image.is_active(1));
}

#[test]
fn names_that_metrics_would_confuse_are_known() {
    let mut image = Image::new("c");
    topic(&mut image, "a.b", 1, 1);
    assert_eq!(image.colliding(&name("a_b")), Some(&name("a.b")));
    assert_eq!(image.colliding(&name("a.b")), None);
    assert_eq!(image.colliding(&name("ab")), None);
    image.apply(Record::RemoveTopic { id: uuid(1) });
    assert_eq!(image.colliding(&name("a_b")), None);
}

#[test]
fn a_published_image_stays_as_it_was_and_shares_what_did_not_change() {
    let mut image = Image::new("c");
    topic(&mut image, "t", 1, 5_000);
    topic(&mut image, "u", 2, 1);
    let published = image.clone();
    image.apply(Record::PartitionChange(PartitionChange { leader: Some(2), ..change(1, 4_999) }));
    image.apply(Record::RemoveTopic { id: uuid(2) });
    assert_eq!(published.partition("t", 4_999).unwrap().leader, 1);
    assert!(published.topic("u").is_some());
    let shared = |index: usize| {
        let of = |image: &Image| Arc::clone(&image.topic("t").unwrap().partitions[index]);
        Arc::ptr_eq(&of(&image), &of(&published))
    };
    assert!(shared(0) && shared(4_998) && !shared(4_999));
}
