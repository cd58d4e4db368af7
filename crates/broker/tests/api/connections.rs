//! Bytes that are no requests: the connection is closed, a counter counts, and the broker goes on unharmed.

use crate::harness::{Client, Node, batch, code, produce};
use bytes::{BufMut, Bytes, BytesMut};
use wire::{
    ApiKey, ApiVersionsRequest, ApiVersionsResponse, Decoder, ErrorCode, Message, MetadataRequest, header,
};

/// A frame of these bytes.
fn frame(body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(body.len() as u32);
    bytes.put_slice(body);
    bytes.freeze()
}

/// A frame of a request whose body is whatever follows the header.
fn request(api: i16, version: i16, body: &[u8]) -> Bytes {
    let flexible = ApiKey::from_i16(api).is_some_and(|key| key.request_header_version(version) >= 2);
    let mut bytes = BytesMut::new();
    bytes.put_i16(api);
    bytes.put_i16(version);
    bytes.put_i32(0);
    bytes.put_i16(-1);
    if flexible {
        bytes.put_u8(0);
    }
    bytes.put_slice(body);
    frame(&bytes)
}

async fn is_well(node: &Node) {
    let mut client = node.client();
    let hello = ApiVersionsRequest {
        client_software_name: "tester".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    assert_eq!(client.call(3, &hello).await.error_code, 0);
    node.assert_sound();
}

async fn assert_refused(node: &Node, bytes: Bytes, what: &str) {
    let refused = node.broker.metrics().requests_refused.get();
    let mut client = node.client();
    client.send_bytes(bytes).await;
    assert_eq!(client.frame().await, None, "{what}: the connection stays open");
    assert_eq!(node.broker.metrics().requests_refused.get(), refused + 1, "{what}: not counted");
    is_well(node).await;
}

#[tokio::test(start_paused = true)]
async fn apis_and_versions_that_are_not_advertised_close_the_connection() {
    let node = Node::start().await;
    for (api, version) in
        [(999, 0), (-1, 0), (4, 0), (0, 2), (0, 14), (1, 3), (1, 19), (3, 14), (3, -1), (26, 6), (68, 0)]
    {
        assert_refused(&node, request(api, version, &[0; 64]), &format!("API {api} version {version}")).await;
    }
    for number in 0..128 {
        let is_offered = broker::dispatch::APIS.iter().any(|key| key.to_i16() == number);
        if !is_offered {
            assert_refused(&node, request(number, 0, &[0; 64]), &format!("API {number}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn api_versions_of_an_unknown_version_is_answered_at_version_zero() {
    let node = Node::start().await;
    let mut client = node.client();
    for version in [6, 127, i16::MAX] {
        client.send_bytes(request(18, version, b"\x05name\x02v\0")).await;
        let mut decoder = Decoder::with_default_budget(client.frame().await.unwrap());
        header::decode_response(&mut decoder, ApiKey::ApiVersions, 0).unwrap();
        let response = ApiVersionsResponse::decode(&mut decoder, 0).unwrap();
        assert_eq!((response.error_code, decoder.remaining()), (code(ErrorCode::UnsupportedVersion), 0));
        let row = &response.api_keys[0];
        assert_eq!((response.api_keys.len(), row.api_key, row.min_version, row.max_version), (1, 18, 0, 5));
    }
    client.send_bytes(request(18, 0, b"")).await;
    assert!(client.frame().await.is_some(), "the connection goes on");
}

#[tokio::test(start_paused = true)]
async fn lengths_that_are_negative_or_too_large_close_the_connection_at_once() {
    let node = Node::with(&[("socket.request.max.bytes", "200000")]).await;
    for length in [-1i32, i32::MIN, i32::MAX, 0x1603_0100, 64 * 1024 + 1] {
        let prefix = Bytes::copy_from_slice(&length.to_be_bytes());
        assert_refused(&node, prefix, &format!("length {length}")).await;
    }
    // Once it has shown that it is a client, it may send what the configuration allows, and not more.
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let large = batch(&["x".repeat(150_000).as_str()]);
    assert_eq!(client.produce(&topic, large).await.error_code, 0);
    client.send_bytes(Bytes::copy_from_slice(&200_001i32.to_be_bytes())).await;
    client.assert_closed().await;
    is_well(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_frame_may_come_in_any_pieces() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let frame = header::encode_request(1, None, 9, &produce(&topic, 0, -1, batch(&["a", "b"]))).unwrap();
    for byte in frame.to_bytes().unwrap() {
        client.send_bytes(Bytes::copy_from_slice(&[byte])).await;
        tokio::task::yield_now().await;
    }
    assert!(client.frame().await.is_some());
    assert_eq!(node.client().read_all(&topic).await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_cut_off_by_the_peer_changes_nothing() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 1, &[]).await;
    let frame = header::encode_request(1, None, 9, &produce(&topic, 0, -1, batch(&["a"]))).unwrap();
    let frame = frame.to_bytes().unwrap();
    for len in 0..frame.len() {
        let mut client = node.client();
        client.send_bytes(frame.slice(..len)).await;
        client.finish();
        client.assert_closed().await;
    }
    assert_eq!(client.read_all(&topic).await.len(), 0);
    assert_eq!(node.broker.metrics().requests_refused.get(), 0, "a peer that goes is not to blame");
    node.assert_sound();
}

#[tokio::test(start_paused = true)]
async fn arrays_that_claim_more_than_there_is_are_refused_without_memory_for_them() {
    let node = Node::start().await;
    let int = |count: i32| count.to_be_bytes().to_vec();
    let cases = [
        ("topics of Metadata v1", request(3, 1, &int(i32::MAX))),
        ("groups of DescribeGroups that are null", request(15, 0, &int(-1))),
        ("topics of Metadata v12", request(3, 12, b"\xff\xff\xff\xff\x0f")),
        ("a varint without end", request(3, 12, &[0xff; 64])),
        ("a string longer than the frame", request(3, 1, b"\0\0\0\x01\x7f\xffabc")),
        ("groups of DescribeGroups", request(15, 0, &int(1 << 24))),
        ("nested topics of Produce", request(0, 9, b"\0\xff\xff\0\0\0\0\xff\xff\xff\x7f")),
        ("no body", request(3, 1, b"")),
    ];
    for (what, bytes) in cases {
        assert_refused(&node, bytes, what).await;
    }
}

#[tokio::test(start_paused = true)]
async fn large_frames_of_empty_elements_stay_within_their_budget() {
    let node = Node::start().await;
    is_well(&node).await;
    // Millions of elements of two bytes, and of at least twenty bytes each, were they all decoded.
    let count = 7_000_000i32;
    let mut empty = BytesMut::new();
    empty.put_i32(count);
    empty.put_bytes(0, 2 * count as usize);
    let produce = [&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0][..], &empty].concat();
    for (what, api, version, body) in
        [("groups of DescribeGroups", 15, 0, &empty[..]), ("topics of Produce", 0, 3, &produce[..])]
    {
        let mut client = node.client();
        client.call(12, &MetadataRequest { topics: Some(vec![]), ..Default::default() }).await;
        let before = node.broker.metrics().requests_refused.get();
        client.send_bytes(request(api, version, body)).await;
        assert_eq!(client.frame().await, None, "{what}");
        assert_eq!(node.broker.metrics().requests_refused.get(), before + 1, "{what}");
        is_well(&node).await;
    }
}

/// A client that has greeted, announced a frame for this API, and sent a million bytes of it.
async fn beginning(node: &Node, len: i32, api: ApiKey) -> Client {
    let mut client = node.client();
    client.call(12, &MetadataRequest { topics: Some(vec![]), ..Default::default() }).await;
    let head = [&len.to_be_bytes()[..], &api.to_i16().to_be_bytes()].concat();
    client.send_bytes(head.into()).await;
    for _ in 0..10 {
        client.send_bytes(vec![0; 100_000].into()).await;
    }
    node.pass(1).await;
    client
}

#[tokio::test(start_paused = true)]
async fn large_frames_wait_until_there_is_memory_for_them_and_nobody_keeps_it_by_being_slow() {
    let node = Node::start().await;
    let large = 100 << 20;
    let mut first = beginning(&node, large, ApiKey::Produce).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(beginning(&node, large, ApiKey::Produce).await);
    }
    assert_eq!(first.unread(), 0, "the first frame is read");
    assert!(others.iter().all(|client| client.unread() >= 8), "there is no room for another one");
    // Small requests go on, on other connections and on those that have to wait their answers come.
    is_well(&node).await;
    let small = beginning(&node, 1_500_000, ApiKey::Produce).await;
    assert_eq!(small.unread(), 0);
    node.pass(60_000).await;
    first.assert_closed().await;
    assert_eq!(others.iter().map(Client::unread).filter(|unread| *unread == 0).count(), 1);
    // Whoever goes gives its room, or its place among those that wait, to the next one.
    others.remove(0).finish();
    others.remove(0).finish();
    node.pass(1).await;
    assert_eq!(others[0].unread(), 0);
    is_well(&node).await;
}

#[tokio::test(start_paused = true)]
async fn only_records_may_come_in_the_largest_frames() {
    let node = Node::start().await;
    for api in [ApiKey::Metadata, ApiKey::Fetch, ApiKey::OffsetCommit] {
        let refused = node.broker.metrics().requests_refused.get();
        let start = node.now_ms();
        beginning(&node, (16 << 20) + 1, api).await.assert_closed().await;
        assert!(node.now_ms() - start < 1000, "closed for being slow");
        assert_eq!(node.broker.metrics().requests_refused.get(), refused + 1, "{api:?}");
    }
    let mut client = beginning(&node, 16 << 20, ApiKey::Metadata).await;
    assert!(!client.has_answer().await, "not closed");
    assert_eq!(client.unread(), 0);
    is_well(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_frame_of_batches_is_taken_whole() {
    let node = Node::start().await;
    let mut client = node.client();
    let topic = client.create("t", 5, &[("max.message.bytes", "10000000")]).await;
    let value = "x".repeat(900_000);
    let mut request = produce(&topic, 0, -1, batch(&[&value]));
    for index in 1..5 {
        let more = produce(&topic, index, -1, batch(&[&value])).topic_data.remove(0).partition_data;
        request.topic_data[0].partition_data.extend(more);
    }
    client.send(9, &request).await;
    client.send(9, &produce(&topic, 0, -1, batch(&["after"]))).await;
    let answer = client.receive::<wire::ProduceRequest>(9).await;
    let codes = answer.responses[0].partition_responses.iter().map(|one| one.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [0; 5]);
    let after = client.receive::<wire::ProduceRequest>(9).await;
    assert_eq!(after.responses[0].partition_responses[0].base_offset, 1);
}

#[tokio::test(start_paused = true)]
async fn garbage_closes_connections_and_nothing_else() {
    let node = Node::start().await;
    let mut keep = node.client();
    let topic = keep.create("t", 1, &[]).await;
    keep.produce(&topic, batch(&["a"])).await;
    let mut random = Noise(7);
    for round in 0..300 {
        let len = 1 + random.next() as usize % 300;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        if round % 2 == 0 {
            // A header that makes sense, so that the noise reaches the decoders of bodies.
            let apis = broker::dispatch::APIS;
            let api = apis[random.next() as usize % apis.len()];
            let version =
                api.lowest() + (random.next() % (api.highest_stable() - api.lowest() + 1) as u64) as i16;
            bytes = request(api.to_i16(), version, &bytes).to_vec();
        }
        let mut client = node.client();
        client.send_bytes(bytes.into()).await;
        client.finish();
        while client.frame().await.is_some() {}
        node.assert_sound();
    }
    assert_eq!(keep.read_all(&topic).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn true_requests_with_flipped_bits_harm_nobody() {
    let node = Node::start().await;
    let mut keep = node.client();
    let topic = keep.create("t", 1, &[]).await;
    keep.produce(&topic, batch(&["a"])).await;
    let mut random = Noise(8);
    let requests = [
        header::encode_request(1, None, 13, &produce(&topic, 0, -1, batch(&["b"]))).unwrap(),
        header::encode_request(1, None, 18, &crate::harness::fetch(&topic, 0, 0)).unwrap(),
        header::encode_request(1, None, 9, &crate::harness::join("g", "")).unwrap(),
    ];
    for round in 0..300 {
        let mut bytes = BytesMut::from(&requests[round % 3].to_bytes().unwrap()[..]);
        let place = 4 + random.next() as usize % (bytes.len() - 4);
        bytes[place] ^= 1 << (random.next() % 8);
        let mut client = node.client();
        client.send_bytes(bytes.freeze()).await;
        tokio::task::yield_now().await;
        client.finish();
        while client.frame().await.is_some() {}
        node.assert_sound();
    }
    let data = keep.fetch(&topic, 0).await;
    let values = crate::harness::values(crate::harness::bytes_of(&data));
    assert!(values.iter().all(|(_, value)| value == "a" || value == "b"), "{values:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_and_waiting_ones_are_not() {
    let node = Node::with(&[("connections.max.idle.ms", "5000")]).await;
    let (mut idle, mut busy) = (node.client(), node.client());
    let topic = busy.create("t", 1, &[]).await;
    let patient = wire::FetchRequest { max_wait_ms: 60_000, ..crate::harness::fetch(&topic, 0, 0) };
    busy.send(18, &patient).await;
    let start = node.now_ms();
    idle.assert_closed().await;
    assert!((5000..=6500).contains(&(node.now_ms() - start)), "{}", node.now_ms() - start);
    node.pass(20_000).await;
    node.client().produce(&topic, batch(&["a"])).await;
    assert_eq!(busy.receive::<wire::FetchRequest>(18).await.error_code, 0);
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limit_are_closed_and_counted() {
    let node = Node::with(&[("max.connections", "3"), ("max.connections.per.ip", "2")]).await;
    let clients: Vec<Client> = vec![node.client(), node.client()];
    node.pass(1).await;
    let mut third = node.client();
    third.assert_closed().await;
    assert_eq!(node.broker.metrics().connections_refused.get(), 1);
    drop(clients);
    node.pass(1).await;
    is_well(&node).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_connections_also_those_that_wait() {
    let node = Node::start().await;
    let (mut idle, mut waiting) = (node.client(), node.client());
    let topic = waiting.create("t", 1, &[]).await;
    waiting
        .send(18, &wire::FetchRequest { max_wait_ms: 60_000, ..crate::harness::fetch(&topic, 0, 0) })
        .await;
    node.pass(10).await;
    node.broker.stop().await;
    idle.assert_closed().await;
    waiting.assert_closed().await;
    node.assert_sound();
}

/// SplitMix64.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27) >> 8
    }
}
