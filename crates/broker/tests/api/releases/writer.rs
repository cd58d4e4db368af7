//! What a release leaves behind: of everything that lies in a data directory a little. `reader` knows the same by heart.
//!
//! It speaks to whatever answers, of this version or an older one, and asks first what that can do.

use super::Release;
use crate::{
    configs::{self, TOPIC},
    harness::{
        BatchSpec, Client, Sharing, Streaming, Topic, Transactional, WALL_START_MS, batch_of, bytes_of,
        offsets_in_transaction, values,
    },
    share_groups::configure_group,
    table::client_quotas,
};
use records::Codec;
use std::time::Duration;
use wire::{
    ApiKey, ApiVersionsRequest, ConsumerGroupHeartbeatRequest, DeleteTopicsRequest, InitProducerIdRequest,
    OffsetCommitRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};

/// Nothing of it is deleted, whatever the time is.
pub(super) const FOR_EVER: (&str, &str) = ("retention.ms", "-1");
/// A record that is so much younger than the one before begins a segment where `segment.ms` is less.
const ROLLS_MS: i64 = 2000;
const SMALL_SEGMENTS: (&str, &str) = ("segment.ms", "1000");

pub(super) const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// The records of one batch of topic `plain`.
pub(super) fn plain_values(partition: i32, codec: Codec) -> [String; 2] {
    [0, 1].map(|number| format!("plain {partition} {codec:?} {number}"))
}

/// A batch of the idempotent producer, by its first sequence number.
pub(super) fn idempotent(producer: (i64, i16), sequence: i32) -> bytes::Bytes {
    let (first, second) = (format!("idempotent {sequence}"), format!("idempotent {}", sequence + 1));
    let producer = Some((producer.0, producer.1, sequence));
    batch_of(&BatchSpec { values: &[&first, &second], producer, ..BatchSpec::default() })
}

/// Writes all of it; `dirs`: the node has several log directories.
pub(super) async fn write(client: &mut Client, dirs: bool) -> Release {
    client.find_coordinator().await;
    let mut release = Release::default();
    let versions = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let known = client.call(4, &versions).await.api_keys;
    let parts = [
        ("quotas", ApiKey::AlterClientQuotas),
        ("consumer", ApiKey::ConsumerGroupHeartbeat),
        ("share", ApiKey::ShareGroupHeartbeat),
        ("streams", ApiKey::StreamsGroupHeartbeat),
    ];
    let has = |key: ApiKey| known.iter().any(|one| one.api_key == key.to_i16());
    let parts = parts.iter().filter(|(_, key)| has(*key)).map(|(name, _)| *name);
    release.set("parts", &[&parts.chain(dirs.then_some("dirs")).collect::<Vec<_>>().join(" ")]);
    write_records(client, &mut release).await;
    write_compacted(client).await;
    write_settings(client, &release).await;
    if release.has("share") {
        write_share_group(client).await;
    }
    if release.has("streams") {
        write_streams_group(client).await;
    }
    write_transactions(client, &mut release).await;
    // Last, for its members are not heard any more.
    write_groups(client, &mut release).await;
    // Behind the snapshot of the metadata.
    client.create("late", 1, &[FOR_EVER]).await;
    release
}

/// Offsets and values of a partition, from that offset on, of all its segments.
pub(super) async fn read_from(
    client: &mut Client,
    topic: &Topic,
    partition: i32,
    mut from: i64,
) -> Vec<(i64, String)> {
    let mut all = Vec::new();
    loop {
        let data = client.fetch_at(18, topic, partition, from).await;
        assert_eq!(data.error_code, 0, "{} at {from}", topic.name);
        let found: Vec<_> =
            values(bytes_of(&data)).into_iter().filter(|(offset, _)| *offset >= from).collect();
        let Some((last, _)) = found.last() else { return all };
        from = last + 1;
        all.extend(found);
    }
}

async fn put(client: &mut Client, topic: &Topic, partition: i32, spec: &BatchSpec<'_>) {
    let answer = client.produce_at(13, topic, partition, batch_of(spec)).await;
    assert_eq!(answer.error_code, 0);
}

async fn write_records(client: &mut Client, release: &mut Release) {
    let plain = client.create("plain", 3, &[FOR_EVER]).await;
    for partition in 0..3 {
        for codec in CODECS {
            let values = plain_values(partition, codec);
            let values = values.each_ref().map(String::as_str);
            put(client, &plain, partition, &BatchSpec { values: &values, codec, ..BatchSpec::default() })
                .await;
        }
    }
    let init = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..Default::default()
    };
    let producer = client.call(5, &init).await;
    assert_eq!(producer.error_code, 0);
    let of_producer = (producer.producer_id, producer.producer_epoch);
    release.set("producer", &[&of_producer.0, &of_producer.1]);
    let answer = client.produce_at(13, &plain, 0, idempotent(of_producer, 0)).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 10));
    let rolled = client.create("rolled", 1, &[FOR_EVER, SMALL_SEGMENTS]).await;
    for number in 0..4 {
        let values = [format!("rolled {}", 2 * number), format!("rolled {}", 2 * number + 1)];
        let values = values.each_ref().map(String::as_str);
        let timestamp = WALL_START_MS + number * ROLLS_MS;
        put(client, &rolled, 0, &BatchSpec { values: &values, timestamp, ..BatchSpec::default() }).await;
    }
    client.delete_before(&rolled, 3).await;
    client.create("gone", 1, &[]).await;
    let delete =
        DeleteTopicsRequest { topic_names: vec!["gone".into()], timeout_ms: 5000, ..Default::default() };
    assert_eq!(client.call(5, &delete).await.responses[0].error_code, 0);
}

/// A topic that was compacted.
async fn write_compacted(client: &mut Client) {
    let configs =
        [FOR_EVER, SMALL_SEGMENTS, ("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")];
    let topic = client.create("compacted", 1, &configs).await;
    for number in 0..8 {
        let (key, value) = (format!("key {}", number % 2), format!("compacted {number}"));
        let timestamp = WALL_START_MS + number * ROLLS_MS;
        let (key, values) = (Some(key.as_str()), [value.as_str()]);
        put(client, &topic, 0, &BatchSpec { values: &values, key, timestamp, ..BatchSpec::default() }).await;
    }
    for _ in 0..600 {
        let left = read_from(client, &topic, 0, 0).await;
        // The active segment stays as it is.
        if left.len() <= 3 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it is not compacted");
}

async fn write_settings(client: &mut Client, release: &Release) {
    const GROUP: i8 = 32;
    configs::alter(client, TOPIC, "plain", "max.message.bytes", Some("123456")).await;
    configs::alter(client, 4, "", "log.cleaner.threads", Some("2")).await;
    configs::alter(client, GROUP, "consumer", "consumer.session.timeout.ms", Some("50000")).await;
    configs::alter(client, 16, "told", "interval.ms", Some("60000")).await;
    if release.has("quotas") {
        let entity: client_quotas::Entity<'_> = &[("user", Some("u")), ("client-id", None)];
        let request = client_quotas::alter(entity, &[("producer_byte_rate", Some(12345.0))]);
        assert_eq!(client.call(1, &request).await.entries[0].error_code, 0);
    }
}

/// A request that commits an offset of partition 0 of topic `plain`.
pub(super) fn commit(group: &str, member: &str, epoch: i32, committed_offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: epoch,
        member_id: member.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "plain".into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn write_groups(client: &mut Client, release: &mut Release) {
    let member = client.enter("classic").await;
    release.set("classic", &[&member.id, &member.generation]);
    let mut commits = vec![commit("simple", "", -1, 1), commit("classic", &member.id, member.generation, 2)];
    if release.has("consumer") {
        let join = ConsumerGroupHeartbeatRequest {
            group_id: "consumer".into(),
            member_id: "reader".into(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec!["plain".into()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        let joined = client.call(1, &join).await;
        assert_eq!(joined.error_code, 0);
        release.set("consumer", &[&joined.member_epoch]);
        commits.push(commit("consumer", "reader", joined.member_epoch, 3));
    }
    for request in commits {
        let answer = client.call(9, &request).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 0, "{}", request.group_id);
    }
}

/// Of six records two were accepted, one rejected, and one released; two are being looked at.
async fn write_share_group(client: &mut Client) {
    let topic = client.create("shared", 1, &[FOR_EVER]).await;
    let values = [0, 1, 2, 3, 4, 5].map(|number| format!("shared {number}"));
    let values = values.each_ref().map(String::as_str);
    put(client, &topic, 0, &BatchSpec { values: &values, ..BatchSpec::default() }).await;
    configure_group(client, "share", &[("share.auto.offset.reset", "earliest")]).await;
    let mut member = Sharing::new("share", "sharer");
    assert_eq!(member.beat(client, 0, Some(&["shared"])).await.error_code, 0);
    assert_eq!(member.fetch(client, &topic, 5000).await.len(), 6);
    for (first, last, kind) in [(0, 1, 1), (2, 2, 3), (3, 3, 2)] {
        assert_eq!(member.acknowledge(client, &topic, (first, last), kind).await, (0, 0));
    }
}

async fn write_streams_group(client: &mut Client) {
    client.create("in", 2, &[FOR_EVER]).await;
    let mut member = Streaming::new("streams", "app");
    member.join(client, 1).await;
    for _ in 0..60 {
        if member.tasks.len() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(member.beat(client, 1).await.error_code, 0);
    }
    panic!("it gets no tasks");
}

async fn write_transactions(client: &mut Client, release: &mut Release) {
    let topic = client.create("transactional", 1, &[FOR_EVER]).await;
    let mut ended = Transactional::init(client, "ended").await;
    for (values, is_committed) in
        [(["committed 0", "committed 1"], true), (["aborted 0", "aborted 1"], false)]
    {
        assert_eq!(ended.send(client, 13, &topic, &values).await.error_code, 0);
        ended.end_patiently(client, 5, is_committed).await;
    }
    let mut open = Transactional::init_with(client, "open", 900_000).await;
    assert_eq!(open.send(client, 13, &topic, &["open 0", "open 1"]).await.error_code, 0);
    let offsets = offsets_in_transaction(&open, "pending", &topic, 7);
    let answer = client.call(5, &offsets).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    release.set("open", &[&open.producer_id, &open.epoch]);
}
