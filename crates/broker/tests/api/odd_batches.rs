//! Batches that no client would build, judged as Apache Kafka judges them: what is framed wrongly, what cannot be read, what
//! follows a batch, and which of it fails a whole request. What a rule forbids is in `produce`.

use crate::harness::{BatchSpec, bytes_of};
use crate::harness::{Client, Node, Topic, batch, batch_of, code, produce};
use bytes::Bytes;
use records::{Batch, BatchBuilder, Codec};
use wire::{ErrorCode, ProduceRequest, produce_request::PartitionProduceData};

async fn node_and_topic() -> (Node, Client, Topic) {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 2, &[]).await;
    (node, client, topic)
}

/// The batch with these bytes at this place.
fn with(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut changed = batch.to_vec();
    changed[at..at + bytes.len()].copy_from_slice(bytes);
    changed.into()
}

/// Of this length, and saying so.
fn cut_to(batch: &Bytes, len: usize) -> Bytes {
    with(&batch.slice(..len), 8, &(len as i32 - 12).to_be_bytes())
}

/// The batch with another body and attributes, and a right checksum.
fn rewritten(bytes: &Bytes, attributes: i16, body: &[u8]) -> Bytes {
    let mut header = Batch::split_off(&mut bytes.clone()).unwrap().header;
    header.attributes.0 |= attributes;
    header.batch_len = 49 + body.len() as i32;
    header.crc = header.checksum(body);
    [&header.encode()[..], body].concat().into()
}

/// The records of a batch, numbered otherwise.
fn renumbered(codec: Codec, offsets: &[i32]) -> Bytes {
    let plain = batch_of(&BatchSpec { values: &["a", "b"], ..BatchSpec::default() });
    let mut body = Vec::new();
    for (value, offset) in ["a", "b"].iter().zip(offsets) {
        let mut record = batch(&[value])[61..].to_vec();
        // Behind the length, the attributes and the timestamp.
        record[3] = stdx::varint::zigzag_32(*offset) as u8;
        body.extend(record);
    }
    let mut compressed = Vec::new();
    records::compress(codec.into(), &body, &mut compressed).unwrap();
    rewritten(&plain, i16::from(codec.id()), &compressed)
}

/// A request with a batch for each of the partitions from 0 on.
fn request(topic: &Topic, batches: &[Bytes]) -> ProduceRequest {
    let mut request = produce(topic, 0, -1, Bytes::new());
    let data = batches.iter().zip(0..).map(|(batch, index)| PartitionProduceData {
        index,
        records: Some(stdx::Parts::from(batch.clone())),
    });
    request.topic_data[0].partition_data = data.collect();
    request
}

/// Error and start of the log for each partition.
async fn rows(client: &mut Client, version: i16, request: &ProduceRequest) -> Vec<(i16, i64)> {
    let response = client.call(version, request).await;
    let rows = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    rows.map(|row| (row.error_code, row.log_start_offset)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_framed_wrongly_fails_the_whole_request() {
    let (node, mut client, topic) = node_and_topic().await;
    let good = batch(&["a"]);
    let (corrupt, unknown) = (ErrorCode::CorruptMessage, ErrorCode::UnknownServerError);
    let cases = [
        ("format 3", with(&good, 16, &[3]), corrupt),
        ("format -1", with(&good, 16, &[255]), corrupt),
        ("a length of no record", with(&good, 8, &13i32.to_be_bytes()), corrupt),
        ("a negative length", with(&good, 8, &(-1i32).to_be_bytes()), corrupt),
        ("a length that overflows", with(&good, 8, &i32::MAX.to_be_bytes()), unknown),
        ("hardly a header", cut_to(&good, 26), unknown),
        ("no producer id", cut_to(&good, 50), unknown),
        (
            "a length that overflows behind a batch",
            [&good[..], &with(&good, 8, &i32::MAX.to_be_bytes())].concat().into(),
            unknown,
        ),
    ];
    for (what, bytes, error) in cases {
        let request = request(&topic, &[good.clone(), bytes]);
        assert_eq!(rows(&mut client, 13, &request).await, [(code(error), -1); 2], "{what}");
        let mut silent = node.client();
        silent.send(13, &ProduceRequest { acks: 0, ..request }).await;
        silent.assert_closed().await;
    }
    let no_header = request(&topic, &[good.clone(), cut_to(&good, 60)]);
    assert_eq!(rows(&mut client, 13, &no_header).await, [(0, 0), (code(corrupt), -1)], "only of itself");
    assert_eq!(client.read_all(&topic).await, ["a"]);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_breaks_off_fails_the_whole_request_only_where_its_partition_exists() {
    let (_node, mut client, topic) = node_and_topic().await;
    let good = batch(&["a"]);
    let unknown = |version| match version {
        13 => code(ErrorCode::UnknownTopicId),
        _ => code(ErrorCode::UnknownTopicOrPartition),
    };
    let nowhere = Topic { name: "nowhere".into(), id: stdx::Uuid([9; 16]) };
    for (version, bytes) in [(13, cut_to(&good, 50)), (9, cut_to(&good, 50)), (6, rewritten(&good, 5, b"x"))]
    {
        let asked = request(&nowhere, std::slice::from_ref(&bytes));
        assert_eq!(rows(&mut client, version, &asked).await[0].0, unknown(version), "v{version}");
        let asked = request(&topic, &[bytes.clone(), good.clone()]);
        let told = rows(&mut client, version, &asked).await;
        assert_eq!(told.iter().map(|row| row.0).collect::<Vec<_>>(), [-1, -1], "v{version}");
    }
    let framed_wrongly = request(&nowhere, &[with(&good, 16, &[3])]);
    assert_eq!(rows(&mut client, 13, &framed_wrongly).await, [(code(ErrorCode::CorruptMessage), -1)]);
    assert_eq!(client.read_all(&topic).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn stray_bytes_behind_a_batch_are_dropped_unless_they_are_no_beginning_of_one() {
    let (_node, mut client, topic) = node_and_topic().await;
    let good = batch(&["a"]);
    let behind = |stray: &[u8]| Bytes::from([&good[..], stray].concat());
    let dropped = [&b"x"[..], &[0; 11], &good[..17], &good[..good.len() - 1], &with(&good, 16, &[1])[..30]];
    for (offset, stray) in (0..).zip(dropped) {
        let answer = client.produce(&topic, behind(stray)).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, offset), "{stray:?}");
    }
    assert_eq!(bytes_of(&client.fetch(&topic, 0).await).len(), dropped.len() * good.len());
    assert_eq!(client.read_all(&topic).await, ["a"; 5]);
    let refused = [
        (behind(&[0; 12]), ErrorCode::CorruptMessage),
        (behind(&[0xff; 40]), ErrorCode::CorruptMessage),
        (behind(&with(&good, 16, &[3])[..17]), ErrorCode::CorruptMessage),
        (behind(&good), ErrorCode::InvalidRecord),
        (behind(&with(&good, 16, &[1])), ErrorCode::InvalidRecord),
        (behind(&cut_to(&good, 26)), ErrorCode::InvalidRecord),
    ];
    for (bytes, error) in refused {
        let asked = request(&topic, &[bytes.clone(), good.clone()]);
        assert_eq!(rows(&mut client, 13, &asked).await, [(code(error), -1), (0, 0)], "{bytes:?}");
    }
    assert_eq!(client.read_all(&topic).await, ["a"; 5]);
}

#[tokio::test(start_paused = true)]
async fn stray_bytes_do_not_keep_the_frame_in_memory() {
    let (_node, mut client, topic) = node_and_topic().await;
    let good = batch(&[&"x".repeat(5000)]);
    let mut stray = with(&good, 8, &(2i32 << 20).to_be_bytes()).to_vec();
    stray.resize(1 << 20, 0);
    let answer = client.produce(&topic, [&good[..], &stray].concat().into()).await;
    assert_eq!(answer.error_code, 0);
    assert_eq!(bytes_of(&client.fetch(&topic, 0).await).len(), good.len());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_an_unknown_server_error() {
    let (node, mut client, topic) = node_and_topic().await;
    let good = batch(&["a"]);
    let mut gzip = Vec::new();
    records::compress(Codec::Gzip.into(), &good[61..], &mut gzip).unwrap();
    let long_length = [&[0xff; 5][..], &good[62..]].concat();
    let cases = [
        ("codec 5", rewritten(&good, 5, &good[61..])),
        ("gzip that is none", rewritten(&good, 1, &good[61..])),
        ("snappy that is none", rewritten(&good, 2, &good[61..])),
        ("lz4 that is none", rewritten(&good, 3, &good[61..])),
        ("zstd that is none", rewritten(&good, 4, &good[61..])),
        ("half a gzip stream", rewritten(&good, 1, &gzip[..gzip.len() - 3])),
        ("a record's length of more than 32 bits", rewritten(&good, 0, &long_length)),
    ];
    for (what, bytes) in cases {
        let asked = request(&topic, &[bytes, good.clone()]);
        assert_eq!(rows(&mut client, 13, &asked).await, [(-1, 0), (0, 0)], "{what}");
    }
    assert_eq!(client.read_all(&topic).await.len(), 0);
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn compressed_records_must_be_numbered_unless_they_are_compressed_anew() {
    let (_node, mut client, topic) = node_and_topic().await;
    let zstd = client.create("zstd", 1, &[("compression.type", "zstd")]).await;
    for offsets in [[0, 0], [1, 0], [0, 5], [1, 2], [-1, 0]] {
        let bytes = renumbered(Codec::Gzip, &offsets);
        let answer = client.produce(&topic, bytes.clone()).await;
        assert_eq!((answer.error_code, answer.log_start_offset), (-1, 0), "{offsets:?}");
        assert_eq!(client.produce(&zstd, bytes).await.error_code, 0, "{offsets:?}");
    }
    assert_eq!(client.produce(&topic, renumbered(Codec::Gzip, &[0, 1])).await.error_code, 0);
    assert_eq!(client.read_all(&topic).await, ["a", "b"]);
    assert_eq!(client.read_all(&zstd).await, ["a", "b"].repeat(5));
}

#[tokio::test(start_paused = true)]
async fn a_topic_without_partitions_is_not_in_the_answer() {
    let (_node, mut client, topic) = node_and_topic().await;
    let none = request(&topic, &[]);
    assert_eq!(client.call(9, &none).await.responses.len(), 0);
    let mut transactional = BatchBuilder::new().producer(77, 0, 0).transactional();
    transactional.push(0, Some(b"key"), Some(b"a"), &[]);
    let bytes = transactional.build().unwrap().bytes;
    // Kafka looks no further than the first batch of a transaction.
    let mut asked = request(&topic, &[bytes, with(&batch(&["a"]), 16, &[3])]);
    asked.transactional_id = Some("tx".into());
    let told = rows(&mut client, 9, &asked).await;
    assert_eq!(told[1].0, code(ErrorCode::CorruptMessage));
    asked.transactional_id = None;
    let told = rows(&mut client, 9, &asked).await;
    assert_eq!(told, [(code(ErrorCode::TransactionalIdAuthorizationFailed), -1); 2]);
}
