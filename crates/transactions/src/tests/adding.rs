//! AddPartitionsToTxn.

use super::desk::*;
use crate::*;

#[test]
fn the_first_partition_begins_the_transaction() {
    let mut desk = Desk::new();
    let producer = desk.init(None).unwrap();
    desk.advance(5);
    desk.add(producer, &[partition("a", 1)], 2).unwrap();
    desk.advance(5);
    desk.add(producer, &[partition("a", 0), partition("a", 1)], 2).unwrap();
    let known = desk.known();
    assert_eq!((known.state, known.started, known.updated), (State::Ongoing, 10_005, 10_010));
    assert_eq!(known.partitions, [partition("a", 0), partition("a", 1)].into());
    desk.advance(5);
    desk.add(producer, &[partition("a", 1)], 2).unwrap();
    assert_eq!(desk.known().updated, 10_010, "what is there needs no record");
}

#[test]
fn only_the_producer_of_the_transaction_may_add() {
    let mut desk = Desk::new();
    let one = [partition("a", 0)];
    assert_eq!(desk.add((100, 0), &one, 2), Err(Error::InvalidProducerIdMapping));
    desk.init(None).unwrap();
    assert_eq!(desk.add((99, 0), &one, 2), Err(Error::InvalidProducerIdMapping));
    assert_eq!(desk.add((100, 1), &one, 2), Err(Error::ProducerFenced));
    desk.add((100, 0), &one, 0).unwrap();
    desk.end((100, 0), true, 0).unwrap();
    assert_eq!(desk.add((100, 0), &one, 0), Err(Error::ConcurrentTransactions));
    desk.complete();
    desk.add((100, 0), &one, 0).unwrap();
}

#[test]
fn verification_tells_which_partitions_belong_to_the_transaction() {
    let mut desk = Desk::new();
    let (producer_id, epoch) = desk.init(None).unwrap();
    let partitions = vec![partition("a", 0), partition("b", 0)];
    let verify =
        |producer| Request::VerifyPartitions(VerifyPartitions { producer, partitions: partitions.clone() });
    let told = |a, b| Reply::VerifyPartitions(vec![(partition("a", 0), a), (partition("b", 0), b)]);
    assert_eq!(desk.ask(verify(producer(producer_id, epoch))), Ok(told(false, false)));
    desk.add((producer_id, epoch), &partitions[..1], 0).unwrap();
    assert_eq!(desk.ask(verify(producer(producer_id, epoch))), Ok(told(true, false)));
    assert_eq!(desk.ask(verify(producer(producer_id, 5))), Err(Error::ProducerFenced));
    assert_eq!(desk.ask(verify(producer(5, epoch))), Err(Error::InvalidProducerIdMapping));
    desk.end((producer_id, epoch), false, 0).unwrap();
    assert_eq!(desk.ask(verify(producer(producer_id, epoch))), Err(Error::ConcurrentTransactions));
    desk.complete();
    assert_eq!(desk.ask(verify(producer(producer_id, epoch))), Ok(told(false, false)));
}
