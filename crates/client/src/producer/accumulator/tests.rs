use super::*;
use bytes::Bytes;
use records::{Batch, Codec, Decompressor};

const MS: u64 = 1_000_000;

/// An accumulator whose tickets are the records' numbers.
struct Case {
    accumulator: Accumulator<u32>,
    now: u64,
    records: u32,
}

impl Case {
    fn new(idempotent: bool) -> Self {
        let config = ProducerConfig {
            idempotent,
            linger_ms: 5,
            batch_bytes: 200,
            buffer_bytes: 1000,
            delivery_timeout_ms: 1000,
            compression: Codec::Zstd.into(),
            ..ProducerConfig::new()
        };
        let identity = idempotent.then_some((9, 1));
        Self { accumulator: Accumulator::new(config, identity), now: 1, records: 0 }
    }

    /// Records of 42 bytes as they are counted; four fill a batch, a fifth begins the next.
    fn push(&mut self, partition: i32, count: u32) -> &mut Self {
        for _ in 0..count {
            self.records += 1;
            let value = Some(Bytes::from(format!("{:010}", self.records)));
            let record = OutRecord { value, timestamp: Some(1), ..Default::default() };
            self.accumulator.push(self.now, ("t".into(), partition), &record, self.records);
        }
        self
    }

    /// What leaves now, all of it led by one broker, as `partition#id first-sequence values`.
    fn take(&mut self) -> Vec<String> {
        let (out, broken) = self.accumulator.take(self.now, |_| Some(1));
        assert!(broken.is_empty());
        out.into_values().flatten().map(|outgoing| shown(&outgoing)).collect()
    }

    /// Everything that may leave, request by request.
    fn take_all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let some = self.take();
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    fn answer(&mut self, id: u64, code: ErrorCode) -> (Verdict, Vec<u32>) {
        self.accumulator.on_answer(&("t".into(), 0), id, code, self.now + 100 * MS)
    }
}

fn shown(outgoing: &Outgoing) -> String {
    let batch = Batch::split_off(&mut outgoing.bytes.clone()).unwrap();
    assert!(batch.is_intact());
    let records = batch.records(10_000, &mut Decompressor::new()).unwrap();
    let number = |bytes: &Bytes| String::from_utf8_lossy(bytes).trim_start_matches('0').to_owned();
    let values: Vec<_> = records.iter().map(|record| number(record.value.as_ref().unwrap())).collect();
    format!("{}#{} {} {}", outgoing.place.1, outgoing.id, batch.header.base_sequence, values.join(","))
}

#[test]
fn a_batch_leaves_when_it_is_full_or_has_lingered() {
    let mut case = Case::new(true);
    assert_eq!(case.push(0, 2).take_all(), [""; 0]);
    assert_eq!(case.accumulator.next_due(case.now), Some(1 + 5 * MS));
    case.now += 5 * MS;
    assert_eq!(case.take_all(), ["0#1 0 1,2"]);
    assert_eq!(case.push(0, 5).take_all(), ["0#2 2 3,4,5,6"]);
    case.accumulator.seal_all();
    assert_eq!(case.take_all(), ["0#3 6 7"]);
}

#[test]
fn a_request_has_one_batch_of_each_partition_and_only_for_known_leaders() {
    let mut case = Case::new(true);
    case.push(0, 10).push(1, 5);
    assert_eq!(case.take(), ["0#1 0 1,2,3,4", "1#4 0 11,12,13,14"]);
    assert_eq!(case.take(), ["0#2 4 5,6,7,8"]);
    case.accumulator.seal_all();
    let (out, _) = case.accumulator.take(case.now, |(_, partition)| (*partition == 1).then_some(7));
    assert_eq!(out.keys().collect::<Vec<_>>(), [&7]);
    assert_eq!(case.take(), ["0#3 8 9,10"]);
}

#[test]
fn at_most_five_batches_are_in_flight_and_one_without_idempotence() {
    let mut case = Case::new(true);
    case.push(0, 30);
    assert_eq!(case.take_all().len(), 5);
    assert_eq!(case.answer(1, ErrorCode::None), (Verdict::Written, vec![1, 2, 3, 4]));
    assert_eq!(case.take_all().len(), 1);
    let mut case = Case::new(false);
    case.push(0, 30);
    assert_eq!(case.take_all(), ["0#1 -1 1,2,3,4"]);
    assert_eq!(case.take_all(), [""; 0]);
}

#[test]
fn what_comes_back_is_sent_again_in_order_with_its_numbers() {
    let mut case = Case::new(true);
    case.push(0, 14);
    assert_eq!(case.take_all(), ["0#1 0 1,2,3,4", "0#2 4 5,6,7,8", "0#3 8 9,10,11,12"]);
    assert_eq!(case.answer(1, ErrorCode::NotLeaderOrFollower).0, Verdict::Again);
    case.now += 200 * MS;
    // The others are still out: whether they were written is not known yet.
    assert_eq!(case.take_all(), [""; 0]);
    assert_eq!(case.answer(3, ErrorCode::OutOfOrderSequenceNumber).0, Verdict::Again);
    assert_eq!(case.answer(2, ErrorCode::OutOfOrderSequenceNumber).0, Verdict::Again);
    assert_eq!(case.take_all(), [""; 0], "before its time");
    case.now += 200 * MS;
    assert_eq!(case.take_all(), ["0#1 0 1,2,3,4", "0#2 4 5,6,7,8", "0#3 8 9,10,11,12", "0#4 12 13,14"]);
}

#[test]
fn a_repetition_that_the_broker_recognises_is_written() {
    let mut case = Case::new(true);
    case.push(0, 5).take_all();
    assert_eq!(case.answer(1, ErrorCode::NetworkException).0, Verdict::Again);
    case.now += 200 * MS;
    assert_eq!(case.take_all()[0], "0#1 0 1,2,3,4");
    assert_eq!(case.answer(1, ErrorCode::DuplicateSequenceNumber), (Verdict::Written, vec![1, 2, 3, 4]));
}

#[test]
fn behind_a_refused_batch_the_others_take_over_its_numbers() {
    let mut case = Case::new(true);
    case.push(0, 14).take_all();
    assert_eq!(case.answer(1, ErrorCode::MessageTooLarge), (Verdict::Refused, vec![1, 2, 3, 4]));
    assert_eq!(case.take_all(), [""; 0]);
    assert_eq!(case.answer(2, ErrorCode::OutOfOrderSequenceNumber).0, Verdict::Again);
    assert_eq!(case.answer(3, ErrorCode::OutOfOrderSequenceNumber).0, Verdict::Again);
    case.now += 200 * MS;
    assert_eq!(case.take_all(), ["0#2 0 5,6,7,8", "0#3 4 9,10,11,12", "0#4 8 13,14"]);
}

#[test]
fn a_partition_that_takes_what_is_behind_a_refused_batch_goes_on_from_there() {
    let mut case = Case::new(true);
    case.push(0, 14).take_all();
    assert_eq!(case.answer(1, ErrorCode::MessageTooLarge).0, Verdict::Refused);
    assert_eq!(case.answer(2, ErrorCode::None).0, Verdict::Written);
    assert_eq!(case.answer(3, ErrorCode::NetworkException).0, Verdict::Again);
    case.now += 200 * MS;
    assert_eq!(case.take_all(), ["0#3 8 9,10,11,12", "0#4 12 13,14"]);
}

#[test]
fn numbers_out_of_order_at_the_front_mean_that_the_producer_is_lost() {
    let mut case = Case::new(true);
    case.push(0, 5).take_all();
    assert_eq!(case.answer(1, ErrorCode::OutOfOrderSequenceNumber), (Verdict::Lost, vec![1, 2, 3, 4]));
    assert_eq!(judge(ErrorCode::InvalidProducerEpoch, false), Verdict::Lost);
    assert_eq!(judge(ErrorCode::TopicAuthorizationFailed, true), Verdict::Refused);
    assert_eq!(judge(ErrorCode::NotEnoughReplicas, true), Verdict::Again);
}

#[test]
fn what_waits_too_long_is_given_up_and_says_whether_it_was_sent() {
    let mut case = Case::new(false);
    case.push(0, 9).take_all();
    assert_eq!(case.answer(1, ErrorCode::NetworkException).0, Verdict::Again);
    case.now += 2000 * MS;
    case.accumulator.seal_all();
    let given_up = case.accumulator.expire(case.now);
    let shown: Vec<_> = given_up.iter().map(|one| (one.tickets.clone(), one.was_sent)).collect();
    assert_eq!(shown, [(vec![1, 2, 3, 4], true), (vec![5, 6, 7, 8], false), (vec![9], false)]);
    assert!(case.accumulator.is_empty() && case.accumulator.has_room());
}

#[test]
fn the_buffer_is_bounded_and_freed_by_answers() {
    let mut case = Case::new(true);
    case.push(0, 24);
    assert!(!case.accumulator.has_room());
    case.take_all();
    case.answer(1, ErrorCode::None);
    assert!(case.accumulator.has_room());
    assert_eq!(case.accumulator.clear().iter().map(|one| one.tickets.len()).sum::<usize>(), 20);
    assert!(case.accumulator.is_empty());
}
