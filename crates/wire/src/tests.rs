//! Every message at every version: what is encoded is decoded again, and leaves nothing behind.

mod oracle;

use crate::{
    DECODE_BYTES_MIN, DECODE_BYTES_PER_FRAME_BYTE, Decoder, Message, every_message,
    random::{Random, Sample},
};
use std::fmt::Debug;

/// Random values of one message at one version; each seed is another shape.
const SEEDS: u64 = 24;

fn check<M: Message + Sample + PartialEq + Debug>() {
    for version in M::VERSIONS {
        for seed in 0..SEEDS {
            let message = M::sample(&mut Random::new(seed), version);
            let parts =
                message.to_parts(version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::NAME));
            let mut decoder = Decoder::with_default_budget(parts.to_bytes().unwrap());
            let read = M::decode(&mut decoder, version);
            assert_eq!(read.as_ref(), Ok(&message), "{} {version} seed {seed}", M::NAME);
            assert_eq!(decoder.remaining(), 0, "{} {version} seed {seed}", M::NAME);
            let again = read.unwrap().to_parts(version).unwrap();
            assert_eq!(again, parts, "{} {version} seed {seed}", M::NAME);
        }
        let message = M::sample(&mut Random::new(0), version);
        let bytes = message.to_parts(version).unwrap().to_bytes().unwrap();
        for end in 0..bytes.len() {
            let cut = M::decode(&mut Decoder::with_default_budget(bytes.slice(..end)), version);
            assert!(cut.is_err(), "{} {version} cut at {end} of {}", M::NAME, bytes.len());
        }
    }
    let (below, above) = (*M::VERSIONS.start() - 1, *M::VERSIONS.end() + 1);
    for version in [below, above] {
        assert!(M::from_bytes(Default::default(), version).is_err(), "{} {version}", M::NAME);
    }
}

macro_rules! check_all {
    ($($message:ty,)*) => { $(check::<$message>();)* };
}

#[test]
fn every_message_survives_every_version() {
    every_message!(check_all);
}

/// Checks that an honest message is read within the multiple of its frame, without the help of the minimum.
fn check_budget<M: Message + PartialEq + Debug>(message: M) {
    for version in M::VERSIONS {
        let Ok(parts) = message.to_parts(version) else { continue };
        let bytes = parts.to_bytes().unwrap();
        assert!(bytes.len() > DECODE_BYTES_MIN / DECODE_BYTES_PER_FRAME_BYTE, "too small to show anything");
        let mut decoder = Decoder::new(bytes.clone(), bytes.len() * DECODE_BYTES_PER_FRAME_BYTE);
        let read = M::decode(&mut decoder, version);
        assert!(read.is_ok(), "{} {version}: {:?}", M::NAME, read.err());
    }
}

#[test]
fn thousands_of_topics_with_short_names_stay_within_the_budget() {
    use crate::*;
    let name = |index: usize| format!("{index:04}");
    let topics = 3000;
    let of = |index| metadata_request::MetadataRequestTopic { name: Some(name(index)), ..Default::default() };
    check_budget(MetadataRequest { topics: Some((0..topics).map(of).collect()), ..Default::default() });
    let partition = produce_request::PartitionProduceData {
        records: Some(bytes::Bytes::from_static(&[0; 70]).into()),
        ..Default::default()
    };
    let of = |index| produce_request::TopicProduceData {
        name: name(index),
        partition_data: vec![partition.clone()],
        ..Default::default()
    };
    check_budget(ProduceRequest { topic_data: (0..topics).map(of).collect(), ..Default::default() });
    let of = |index| fetch_request::FetchTopic {
        topic: name(index),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    check_budget(FetchRequest { topics: (0..topics).map(of).collect(), ..Default::default() });
    let of = |index| offset_commit_request::OffsetCommitRequestTopic {
        name: name(index),
        partitions: vec![Default::default()],
        ..Default::default()
    };
    check_budget(OffsetCommitRequest { topics: (0..topics).map(of).collect(), ..Default::default() });
    let of = |index| list_offsets_request::ListOffsetsTopic {
        name: name(index),
        partitions: vec![Default::default()],
    };
    check_budget(ListOffsetsRequest { topics: (0..topics).map(of).collect(), ..Default::default() });
    let of = |index| offset_fetch_request::OffsetFetchRequestTopics {
        name: name(index),
        partition_indexes: vec![0],
        ..Default::default()
    };
    let group = offset_fetch_request::OffsetFetchRequestGroup {
        topics: Some((0..topics).map(of).collect()),
        ..Default::default()
    };
    check_budget(OffsetFetchRequest { groups: vec![group], ..Default::default() });
    check_budget(FindCoordinatorRequest {
        coordinator_keys: (0..topics).map(name).collect(),
        ..Default::default()
    });
}

#[test]
fn a_value_that_a_version_lacks_is_dropped_only_if_the_schema_allows_it() {
    use crate::*;
    let fetch = FetchRequest { rack_id: "here".into(), ..Default::default() };
    assert_eq!(fetch.to_parts(10), FetchRequest::default().to_parts(10));
    let metadata = MetadataRequest { allow_auto_topic_creation: false, ..Default::default() };
    let field = "MetadataRequest.AllowAutoTopicCreation";
    assert_eq!(metadata.to_parts(3), Err(EncodeError::Absent { field, version: 3 }));
    let all = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(all.to_parts(0), Err(EncodeError::Null { field: "MetadataRequest.Topics" }));
    assert!(all.to_parts(1).is_ok());
    assert_eq!(all.to_parts(14), Err(EncodeError::UnsupportedVersion { version: 14 }));
}

#[test]
fn tagged_fields_are_taken_in_any_order_and_skipped_if_unknown() {
    use crate::*;
    let read = |bytes: &'static [u8]| ApiVersionsResponse::from_bytes(bytes::Bytes::from_static(bytes), 3);
    let epoch = |epoch| Ok(ApiVersionsResponse { finalized_features_epoch: epoch, ..Default::default() });
    assert_eq!(read(b"\0\0\x01\0\0\0\0\x01\x01\x08\0\0\0\0\0\0\0\x05"), epoch(5));
    assert_eq!(read(b"\0\0\x01\0\0\0\0\x02\x63\x02hi\x01\x08\0\0\0\0\0\0\0\x05"), epoch(5));
    assert_eq!(read(b"\0\0\x01\0\0\0\0\x02\x01\x08\0\0\0\0\0\0\0\x05\x00\x01\x01"), epoch(5));
    let lying = read(b"\0\0\x01\0\0\0\0\x01\x01\x09\0\0\0\0\0\0\0\x05\0");
    assert_eq!(lying, Err(DecodeError::Tag { at: 18, tag: 1 }));
}
