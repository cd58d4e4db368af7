//! Dead letters (KIP-1191): a share group's dead-letter topic is told of records that nobody of the group is to have any more,
//! by the broker that leads the partition which they are from.
//!
//! It decides neither which records those are nor when they are archived: `share::SharePartition` does, and the only caller
//! is `share_partition`. What has failed is tried again for as long as it may pass; what cannot pass is logged and given up,
//! so that a group goes on whose dead-letter topic is set up wrongly. The topic may be told twice.

use crate::{
    Broker,
    acks::{Acks, Settled},
    failure_code, handlers,
    link::{Address, Knock},
    partition::{Copies, Isolation},
    share_fetch,
    share_partition::ShareHost,
};
use bytes::Bytes;
use metadata::NewTopic;
use model::{NodeId, Offset, PartitionIndex, TopicId};
use records::{Batch, BatchBuilder, Decompressor, Header};
use share::{DeadLetters, Reason};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};
use stdx::Parts;
use wire::{
    ErrorCode, ProduceRequest,
    produce_request::{PartitionProduceData, TopicProduceData},
};

/// The first pause before a failed write is tried again, and the longest.
const PAUSE_MS: (i64, i64) = (100, 10_000);
/// How long a write may take.
const WRITE_MS_MAX: i64 = 30_000;
/// A broker that has closed the connection over so many requests in a row, and not others, takes no frame as large.
const DROPS_MAX: u32 = 5;
/// For how long a connection must stand on which nothing is said: whoever stops closes them all.
const STANDING_MS: i64 = 500;
/// Records in one batch.
const RECORDS_MAX: usize = 500;
/// So much is read of the source at once, to see which records there are and to copy them, but one batch whatever its size.
const READ_BYTES_MAX: usize = 1 << 20;
/// A source batch whose records are larger than this is not copied from.
const PLAIN_BYTES_MAX: usize = 16 << 20;
/// More than what a record takes beside its key, its value and its headers.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// ... and a header beside its key and value.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// A record of which the topic is to be told.
#[derive(Debug, Clone, Copy)]
struct Letter {
    offset: Offset,
    count: i16,
    reason: Reason,
}

/// A dead-letter topic that is there.
struct Target {
    name: String,
    id: TopicId,
    index: PartitionIndex,
    leader: NodeId,
    bytes_max: usize,
    has_copies: bool,
}

/// What stands in the way.
#[derive(Debug)]
enum Obstacle {
    /// It may pass.
    Passing(ErrorCode),
    /// The broker that is to write, in this epoch of its, has closed the connection over the request and takes others.
    Dropped(NodeId, i64),
    /// The batch is larger than the topic allows.
    TooLarge,
    /// Some record among them will never be taken.
    Unwanted(String),
    /// None ever will.
    Lasting(String),
}

/// Requests over which one broker, without a restart, has closed the connection in a row.
#[derive(Debug, Default)]
struct Drops {
    of: Option<(NodeId, i64)>,
    count: u32,
}

impl Drops {
    /// Whether it takes no frame as large, by what now stands in the way.
    fn are_a_refusal(&mut self, obstacle: &Obstacle) -> bool {
        let of = match *obstacle {
            Obstacle::Dropped(node, epoch) => Some((node, epoch)),
            _ => None,
        };
        let before = if self.of == of { self.count } else { 0 };
        (self.of, self.count) = (of, before + u32::from(of.is_some()));
        if self.count < DROPS_MAX {
            return false;
        }
        *self = Self::default();
        true
    }
}

/// Tells the group's dead-letter topic of all of these; ends when it has what it ever will. `false`: the share partition has
/// ended before.
pub(crate) async fn tell(broker: &Arc<Broker>, host: &Arc<ShareHost>, all: &[DeadLetters]) -> bool {
    let letter =
        |letters: &DeadLetters, offset| Letter { offset, count: letters.count, reason: letters.reason };
    let letters = all.iter().flat_map(|one| (one.first..=one.last).map(move |offset| letter(one, offset)));
    let letters: Vec<Letter> = letters.collect();
    let mut rest = &letters[..];
    while let Some(first) = rest.first() {
        let Some(told) = tell_some(broker, host, rest).await else { return false };
        let told = match told {
            Ok(told) => told,
            Err((why, count)) => {
                tracing::error!(key = ?host.key(), offset = first.offset, records = count, why, "a dead-letter topic is not told of records that were given up");
                count
            }
        };
        rest = rest.get(told.max(1)..).unwrap_or_default();
    }
    true
}

/// Tells it of as many as fit into one batch: how many those were, or why so many are given up. `None`: the share partition
/// has ended.
async fn tell_some(
    broker: &Arc<Broker>,
    host: &Arc<ShareHost>,
    letters: &[Letter],
) -> Option<Result<usize, (String, usize)>> {
    let clock = &broker.world.clock;
    let (mut pause, mut records_max, mut may_copy) = (PAUSE_MS.0, RECORDS_MAX, true);
    let mut drops = Drops::default();
    loop {
        if host.is_ended() || broker.is_stopping() {
            return None;
        }
        let obstacle = match write(broker, host, letters, (records_max, may_copy)).await {
            Ok(told) => return Some(Ok(told)),
            Err(obstacle) => obstacle,
        };
        let is_refused = drops.are_a_refusal(&obstacle);
        let obstacle = match obstacle {
            Obstacle::Dropped(..) if is_refused && (records_max > 1 || may_copy) => Obstacle::TooLarge,
            other => other,
        };
        match obstacle {
            // First fewer, then nothing but where it was.
            Obstacle::TooLarge | Obstacle::Unwanted(_) if records_max > 1 => records_max = 1,
            Obstacle::TooLarge if may_copy => may_copy = false,
            Obstacle::Unwanted(why) => return Some(Err((why, 1))),
            Obstacle::TooLarge => return Some(Err(("it is too large for the topic".to_owned(), 1))),
            // The same holds for all of them.
            Obstacle::Lasting(why) => return Some(Err((why, letters.len()))),
            Obstacle::Dropped(..) | Obstacle::Passing(_) => {
                let code = match obstacle {
                    Obstacle::Passing(code) => code,
                    _ => ErrorCode::NetworkException,
                };
                tracing::info!(key = ?host.key(), ?code, "a dead-letter topic could not be told; it is tried again");
                clock.sleep_until(clock.after_millis(pause)).await;
                pause = (pause * 2).min(PAUSE_MS.1);
            }
        }
    }
}

/// One try; of how many letters nothing is to be told any more.
async fn write(
    broker: &Arc<Broker>,
    host: &Arc<ShareHost>,
    all: &[Letter],
    (records_max, may_copy): (usize, bool),
) -> Result<usize, Obstacle> {
    let target = target(broker, host).await?;
    let found = look(broker, host, all, target.has_copies && may_copy).await?;
    let seen = all.iter().take_while(|letter| letter.offset < found.upto).count().clamp(1, records_max);
    let letters = all.iter().take(seen).filter(|letter| !found.absent.contains(&letter.offset));
    let letters: Vec<Letter> = letters.copied().collect();
    if letters.is_empty() {
        return Ok(seen);
    }
    let source = host.partition().topic().to_string();
    let (batch, count) =
        batch(broker.now_ms(), (&source, host), &letters, (&found.copies, target.bytes_max))?;
    if batch.bytes.len() > target.bytes_max {
        return Err(Obstacle::TooLarge);
    }
    match target.leader == broker.config.node_id {
        true => write_here(broker, &target, batch).await?,
        false => write_there(broker, &target, batch).await?,
    }
    Ok(match letters.get(count) {
        Some(next) => all.partition_point(|letter| letter.offset < next.offset),
        None => seen,
    })
}

/// Where the letters go: the topic that the group names, if it may be one, and there the partition that goes with the source's.
async fn target(broker: &Arc<Broker>, host: &Arc<ShareHost>) -> Result<Target, Obstacle> {
    let lasting = |why: String| Err(Obstacle::Lasting(why));
    let image = broker.image();
    let configs = broker.config.configs(&image);
    let group = configs.group(&host.key().group);
    let name = group.text("errors.deadletterqueue.topic.name").unwrap_or_default().into_owned();
    let prefix = configs.broker().text("errors.deadletterqueue.topic.name.prefix").unwrap_or_default();
    if name.is_empty() {
        return lasting("the group has no dead-letter topic any more".to_owned());
    }
    if name.starts_with("__") {
        return lasting(format!("{name} cannot be a dead-letter topic: names of internal topics begin so"));
    }
    if !name.starts_with(&*prefix) {
        return lasting(format!(
            "{name} cannot be a dead-letter topic: errors.deadletterqueue.topic.name.prefix is {prefix}"
        ));
    }
    let Some(topic) = image.topic(&name) else {
        if !configs.broker().flag("errors.deadletterqueue.auto.create.topics.enable") {
            return lasting(format!(
                "{name} does not exist, and errors.deadletterqueue.auto.create.topics.enable is false"
            ));
        }
        drop(prefix);
        return Err(create(broker, name).await);
    };
    if topic.id == host.key().topic {
        return lasting(format!(
            "{name} is the topic that the records are from, and the group would get them again"
        ));
    }
    let own = configs.topic(&name);
    if !own.flag("errors.deadletterqueue.group.enable") {
        return lasting(format!(
            "{name} may not be a dead-letter topic; set its errors.deadletterqueue.group.enable to true"
        ));
    }
    let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    let index = host.key().partition.checked_rem(count).unwrap_or(0);
    let leader = topic.partition(index).map(|partition| partition.leader).filter(|leader| *leader >= 0);
    Ok(Target {
        id: topic.id,
        index,
        leader: leader.ok_or(Obstacle::Passing(ErrorCode::LeaderNotAvailable))?,
        // A batch does not fit into less than a segment either.
        bytes_max: usize::try_from(own.integer("max.message.bytes").min(own.integer("segment.bytes")))
            .unwrap_or(0),
        has_copies: group.flag("errors.deadletterqueue.copy.record.enable"),
        name,
    })
}

/// Creates the topic; what follows from that.
async fn create(broker: &Arc<Broker>, name: String) -> Obstacle {
    let config = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    let topic = NewTopic {
        id: broker.world.random.uuid(),
        partitions: -1,
        replication_factor: -1,
        configs: vec![
            config("errors.deadletterqueue.group.enable", "true"),
            // Each record says when it was written there, whatever the brokers' default is.
            config("message.timestamp.type", "CreateTime"),
        ],
        name: name.clone(),
        ..NewTopic::default()
    };
    match handlers::create_topic(broker, topic).await {
        // It is known soon.
        Ok(()) | Err(ErrorCode::TopicAlreadyExists) => Obstacle::Passing(ErrorCode::LeaderNotAvailable),
        Err(code) if is_lasting(code) => Obstacle::Lasting(format!("{name} cannot be created: {code:?}")),
        Err(code) => Obstacle::Passing(code),
    }
}

/// What is copied of a record: its key and its value.
type Copy = (Option<Bytes>, Option<Bytes>);

/// What a look at the source finds of what letters are about.
#[derive(Debug, Default)]
struct Found {
    copies: BTreeMap<Offset, Copy>,
    /// There is no record: it was compacted away, or it is a marker of a transaction.
    absent: BTreeSet<Offset>,
    /// It has looked at everything before this offset.
    upto: Offset,
}

impl Found {
    /// Everything before this offset counts as records of which nothing more is known.
    fn nothing(upto: Offset) -> Self {
        Self { upto, ..Self::default() }
    }
}

/// What one read finds. What cannot be read was a record, as far as anybody knows.
async fn look(
    broker: &Arc<Broker>,
    host: &Arc<ShareHost>,
    letters: &[Letter],
    is_copied: bool,
) -> Result<Found, Obstacle> {
    let Some(first) = letters.first() else { return Ok(Found::nothing(Offset::MAX)) };
    let alone = first.offset.saturating_add(1);
    let limits = (READ_BYTES_MAX, true);
    let read = share_fetch::read(broker, Isolation::HighWatermark, host, first.offset, limits).await;
    let bytes = match read {
        Ok(Some((bytes, ..))) => bytes,
        // The log begins later: nothing is left of these.
        Ok(None) => return Ok(Found::nothing(host.partition().start_offset().max(alone))),
        // Another leads, and tells of it, or the topic is gone: so is the share partition soon.
        Err(
            code @ (ErrorCode::NotLeaderOrFollower
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownTopicOrPartition),
        ) => return Err(Obstacle::Passing(code)),
        Err(code) => {
            tracing::warn!(key = ?host.key(), offset = first.offset, ?code, "a record could not be read; its dead letter only says where it was");
            return Ok(Found::nothing(alone));
        }
    };
    let wanted: Vec<Offset> = letters.iter().map(|letter| letter.offset).collect();
    let found = broker.on_worker(move || look_into(bytes, &wanted, (alone, is_copied))).await;
    found.ok_or(Obstacle::Passing(ErrorCode::NotLeaderOrFollower))
}

/// Looks for what is wanted in batches, and copies it, for what is only referred to would keep all of a batch in memory;
/// stops behind the batch with which it has enough.
fn look_into(mut bytes: Bytes, wanted: &[Offset], (alone, is_copied): (Offset, bool)) -> Found {
    let (mut found, mut copied, mut decompressor) = (Found::nothing(alone), 0, Decompressor::new());
    // From here on nothing is known.
    let mut next = wanted.first().copied().unwrap_or(0);
    let between = |from: Offset, upto: Offset| {
        let at = |offset: Offset| wanted.partition_point(|known| *known < offset);
        wanted.get(at(from)..at(upto).max(at(from))).unwrap_or_default()
    };
    while copied < READ_BYTES_MAX
        && let Some(batch) = Batch::split_off(&mut bytes)
    {
        let (first, behind) = (batch.header.base_offset, batch.header.next_offset());
        found.absent.extend(between(next, first));
        let inside = between(first.max(next), behind);
        (next, found.upto) = (next.max(behind), found.upto.max(behind));
        if inside.is_empty() {
            continue;
        }
        if batch.header.attributes.is_control() {
            found.absent.extend(inside);
            continue;
        }
        let copy = |field: Option<Bytes>| field.map(|bytes| Bytes::copy_from_slice(&bytes));
        let (mut of_batch, mut absent) = (BTreeMap::new(), BTreeSet::from_iter(inside.iter().copied()));
        let read = batch.each_record(PLAIN_BYTES_MAX, &mut decompressor, |record| {
            if absent.remove(&record.offset) && is_copied {
                let (key, value) = (copy(record.key), copy(record.value));
                copied += key.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len);
                of_batch.insert(record.offset, (key, value));
            }
        });
        if read.is_ok() {
            found.copies.append(&mut of_batch);
            found.absent.append(&mut absent);
        }
    }
    found
}

/// As many letters as fit, but at least one.
fn batch(
    now: i64,
    (source, host): (&str, &ShareHost),
    letters: &[Letter],
    (copies, bytes_max): (&BTreeMap<Offset, Copy>, usize),
) -> Result<(Batch, usize), Obstacle> {
    let mut builder = BatchBuilder::new();
    for letter in letters {
        let copy = copies.get(&letter.offset);
        let (key, value) = copy.map_or((None, None), |(key, value)| (key.as_deref(), value.as_deref()));
        let headers = headers(source, host, letter);
        let of_headers = headers.iter().map(|header| {
            header.key.len() + header.value.as_ref().map_or(0, Bytes::len) + HEADER_OVERHEAD_BYTES
        });
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        let bytes = bytes + of_headers.sum::<usize>() + RECORD_OVERHEAD_BYTES;
        let would_be = records::HEADER_BYTES + builder.plain_bytes() + bytes;
        if builder.record_count() > 0 && would_be > bytes_max {
            break;
        }
        builder.push(now, key, value, &headers);
    }
    let count = builder.record_count();
    let batch = builder.build().map_err(|_| Obstacle::TooLarge)?;
    Ok((batch, count))
}

fn headers(source: &str, host: &ShareHost, letter: &Letter) -> Vec<Header> {
    let why = match letter.reason {
        Reason::Rejected => "Offset rejected by client.",
        Reason::DeliveredTooOften => "Offset delivery count exceeded the threshold.",
    };
    let key = host.key();
    let all = [
        ("__dlq.errors.topic", source.to_owned()),
        ("__dlq.errors.partition", key.partition.to_string()),
        ("__dlq.errors.offset", letter.offset.to_string()),
        ("__dlq.errors.group", key.group.to_string()),
        ("__dlq.errors.delivery.count", letter.count.to_string()),
        ("__dlq.errors.message", why.to_owned()),
    ];
    let header = |(key, value): (&'static str, String)| Header {
        key: Bytes::from_static(key.as_bytes()),
        value: Some(value.into()),
    };
    all.into_iter().map(header).collect()
}

/// Writes to a partition that this broker leads.
async fn write_here(broker: &Arc<Broker>, target: &Target, batch: Batch) -> Result<(), Obstacle> {
    let here = broker.partitions.topic_by_id(target.id).and_then(|topic| topic.partition(target.index));
    let partition = here.ok_or(Obstacle::Passing(ErrorCode::NotLeaderOrFollower))?;
    let now = broker.now_ms();
    let checked = records::check(batch.bytes, &partition.rules(now, true), &mut Decompressor::new());
    let checked = checked.map_err(|invalid| obstacle(target, failure_code::of_invalid(&invalid)))?;
    let acks = Acks::new();
    acks.open(0);
    let settled = (acks.clone() as Arc<dyn Settled>, 0);
    let produced = partition.produce(now, checked, (Copies::InSync, None), Some(settled));
    produced.map_err(|refused| obstacle(target, failure_code::of_partition(&refused)))?;
    let clock = &broker.world.clock;
    let undone = tokio::select! {
        biased;
        undone = acks.wait() => undone,
        () = clock.sleep_until(clock.after_millis(WRITE_MS_MAX)) => return Err(Obstacle::Passing(ErrorCode::RequestTimedOut)),
    };
    match undone.is_empty() {
        true => Ok(()),
        false => Err(Obstacle::Passing(ErrorCode::NotLeaderOrFollower)),
    }
}

/// Has the broker write that leads the partition.
async fn write_there(broker: &Arc<Broker>, target: &Target, batch: Batch) -> Result<(), Obstacle> {
    let unreachable = || Obstacle::Passing(ErrorCode::NetworkException);
    let address = broker.address_of(target.leader).ok_or_else(unreachable)?;
    let partition = PartitionProduceData { index: target.index, records: Some(Parts::from(batch.bytes)) };
    let topic =
        TopicProduceData { name: target.name.clone(), topic_id: target.id, partition_data: vec![partition] };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: i32::try_from(WRITE_MS_MAX).unwrap_or(i32::MAX),
        topic_data: vec![topic],
        ..ProduceRequest::default()
    };
    let response = broker.links.call(&address, &request, WRITE_MS_MAX).await;
    let response = match response {
        Ok(response) => response,
        Err(error) => return Err(on_failed_call(broker, (target.leader, &address), &error).await),
    };
    let row = response.responses.into_iter().flat_map(|topic| topic.partition_responses).next();
    match failure_code::from_code(row.ok_or_else(unreachable)?.error_code) {
        ErrorCode::None => Ok(()),
        code => Err(obstacle(target, code)),
    }
}

/// One that stops, or only hands connections on to it, closes all of them: that passes when it is there again, or another leads.
async fn on_failed_call(
    broker: &Broker,
    (leader, address): (NodeId, &Address),
    error: &io::Error,
) -> Obstacle {
    if !is_drop(error) || broker.links.knock(address, STANDING_MS).await != Knock::Stands {
        return Obstacle::Passing(ErrorCode::NetworkException);
    }
    Obstacle::Dropped(leader, broker.image().broker(leader).map_or(-1, |known| known.epoch))
}

/// Whether a connection that was there was closed instead of an answer.
fn is_drop(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<client::Error>());
    matches!(error, Some(client::Error::Closed { .. }))
}

fn obstacle(target: &Target, code: ErrorCode) -> Obstacle {
    match code {
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Obstacle::TooLarge,
        code if is_of_a_record(code) => {
            Obstacle::Unwanted(format!("{} does not take it: {code:?}", target.name))
        }
        code if is_lasting(code) => Obstacle::Lasting(format!("{} takes none: {code:?}", target.name)),
        code => Obstacle::Passing(code),
    }
}

/// Whether a single record may be the reason, such as one without a key for a compacted topic.
fn is_of_a_record(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp | ErrorCode::CorruptMessage)
}

/// Whether the same would be refused again and again.
fn is_lasting(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::InvalidTopicException
            | ErrorCode::InvalidConfig
            | ErrorCode::InvalidPartitions
            | ErrorCode::PolicyViolation
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::ClusterAuthorizationFailed
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::UnsupportedVersion
            | ErrorCode::UnsupportedCompressionType
            | ErrorCode::InvalidRequest
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    /// A batch from `base` on with a record for each of `values`; what is `None` was compacted away.
    fn batch(base: Offset, values: &[Option<&str>], is_control: bool) -> Batch {
        let mut builder = BatchBuilder::new().base_offset(base);
        if is_control {
            builder = builder.producer(7, 0, -1).transactional().control();
        }
        for value in values {
            builder.push(0, Some(b"k"), value.map(str::as_bytes), &[]);
        }
        let batch = builder.build().unwrap();
        let kept = records::Filter::new(&batch, PLAIN_BYTES_MAX, &mut Decompressor::new(), |record| {
            record.has_value
        });
        kept.unwrap().build(&batch, None).unwrap()
    }

    #[test]
    fn only_a_broker_that_drops_request_after_request_refuses_them() {
        let (dropped, passing) = (Obstacle::Dropped(2, 7), Obstacle::Passing(ErrorCode::NetworkException));
        for between in [passing, Obstacle::Dropped(2, 8), Obstacle::Dropped(3, 7)] {
            let mut drops = Drops::default();
            let mut are = |obstacle: &Obstacle| drops.are_a_refusal(obstacle);
            assert!((1..DROPS_MAX).all(|_| !are(&dropped)) && !are(&between));
            assert!((1..DROPS_MAX).all(|_| !are(&dropped)) && are(&dropped));
            assert!(!are(&dropped), "the count begins anew");
        }
    }

    #[test]
    fn markers_and_what_was_compacted_away_are_no_records() {
        let all = [
            batch(10, &[Some("a"), None, Some("c")], false),
            batch(13, &[Some("marker")], true),
            batch(20, &[Some("d")], false),
        ];
        let mut bytes = BytesMut::new();
        all.iter().for_each(|batch| bytes.extend_from_slice(&batch.bytes));
        let wanted: Vec<Offset> = (11..25).collect();
        for is_copied in [false, true] {
            let found = look_into(bytes.clone().freeze(), &wanted, (12, is_copied));
            let absent = [11].into_iter().chain(13..20).collect();
            assert_eq!((found.absent, found.upto), (absent, 21), "of what is behind nothing is known");
            let copied: Vec<_> = found.copies.keys().copied().collect();
            assert_eq!(copied, if is_copied { vec![12, 20] } else { Vec::new() });
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_records() {
        let good = batch(10, &[Some("a"), Some("b")], false);
        let mut bad = good.bytes.to_vec();
        let last = bad.len() - 1;
        bad[last] = 0x7f;
        let found = look_into(bad.into(), &[10, 11], (11, true));
        assert_eq!((found.absent.len(), found.copies.len(), found.upto), (0, 0, 12));
    }
}
