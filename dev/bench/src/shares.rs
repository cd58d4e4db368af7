//! A share group (KIP-932) empties a topic: how many records it is given and acknowledges in a second, and how long an
//! acknowledgement takes. Called by `workloads`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use conformance::raw;
use serde_json::{Value, json};

use crate::batches::{PRODUCE, batch, payload, produce_frame};
use crate::contestant::Contestant;
use crate::peer::{Peer, Times, first_error, number};
use crate::samples::Samples;

const MEMBERS: usize = 4;
const PARTITIONS: i32 = 4;
/// Records of a partition, and of a batch.
const RECORDS: i32 = 25_000;
const BATCH: i32 = 50;
const VALUE: [u8; 100] = [b'v'; 100];
const PACE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(120);
const FETCH: (&str, i16) = ("ShareFetch", 1);
const ACKNOWLEDGE: (&str, i16) = ("ShareAcknowledge", 1);

/// One round with one contestant.
pub fn run(contestant: &Contestant, schemas: &Schemas, samples: Option<&mut Samples>) -> Result<()> {
    let topic = fresh("shares");
    raw::ready_topic_among(&contestant.addresses(), &topic, PARTITIONS, 1)?;
    let (mut peer, group) = (Peer::of(schemas, contestant)?, format!("{topic}.group"));
    peer.find_coordinator(&group)?;
    peer.configure(32, &group, &[("share.auto.offset.reset", "earliest")])?;
    let topic_id = peer.topic_id(&topic)?;
    let batch = batch(&payload(BATCH, &VALUE, |_| None), BATCH, None)?;
    let frame = produce_frame(None, &topic, 0..PARTITIONS, &batch)?;
    for _ in 0..RECORDS / BATCH {
        peer.send(&frame)?;
        let answer = peer.receive_of(PRODUCE)?;
        ensure!(first_error(&answer).is_none(), "Produce: {answer}");
    }
    let mut members = (0..MEMBERS)
        .map(|place| Member::join(Peer::of(schemas, contestant)?, (&group, &topic), &topic_id, place))
        .collect::<Result<Vec<_>>>()?;
    let left = AtomicI64::new(i64::from(RECORDS) * i64::from(PARTITIONS));
    let (cpu, started) = (contestant.cpu_seconds()?, Instant::now());
    let times = std::thread::scope(|scope| {
        let left = &left;
        let all: Vec<_> = members.iter_mut().map(|member| scope.spawn(move || member.work(left))).collect();
        let joined =
            all.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a member has panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), contestant.cpu_seconds()? - cpu);
    let records = f64::from(RECORDS) * f64::from(PARTITIONS);
    println!("    {}: {:.0} deliveries/s", contestant.name, records / seconds);
    if let Some(samples) = samples {
        let mut all = Times::default();
        times.into_iter().for_each(|one| all.extend(one));
        samples.add(contestant.name, "k deliveries/s", records / seconds / 1e3);
        samples.add(contestant.name, "broker CPU us/delivery", cpu / records * 1e6);
        samples.add(contestant.name, "acknowledgement p50 ms", all.ms(0.5)?);
        samples.add(contestant.name, "acknowledgement p99 ms", all.ms(0.99)?);
    }
    crate::workloads::delete_topic(contestant, &topic)
}

/// What a table is called.
pub fn title() -> String {
    format!("A share group of {MEMBERS} members, {PARTITIONS} partitions, 100 B")
}

/// One member and its session with the broker.
struct Member<'a> {
    peer: Peer<'a>,
    group: String,
    id: String,
    topic_id: Value,
    epoch: i32,
}

impl<'a> Member<'a> {
    /// Joins, and waits until there is something to share.
    fn join(
        mut peer: Peer<'a>,
        (group, topic): (&str, &str),
        topic_id: &Value,
        place: usize,
    ) -> Result<Member<'a>> {
        let seed = (place as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (id, started) = (stdx::Uuid::from_random(seed.to_be_bytes()).to_string(), Instant::now());
        let mut epoch = 0;
        loop {
            let said = (epoch == 0).then(|| json!([topic]));
            let heartbeat =
                json!({"GroupId": group, "MemberId": id, "MemberEpoch": epoch, "SubscribedTopicNames": said});
            let answer = peer.insist(("ShareGroupHeartbeat", 1), &heartbeat)?;
            epoch = number(&answer, "MemberEpoch")?;
            let assigned = answer.pointer("/Assignment/TopicPartitions").and_then(Value::as_array);
            if assigned.is_some_and(|topics| !topics.is_empty()) {
                return Ok(Member { peer, group: group.into(), id, topic_id: topic_id.clone(), epoch: 0 });
            }
            ensure!(started.elapsed() < LIMIT, "nothing is shared within {LIMIT:?}: {answer}");
            std::thread::sleep(PACE);
        }
    }

    /// Fetches and acknowledges until nothing is left.
    fn work(&mut self, left: &AtomicI64) -> Result<Times> {
        let (mut times, started) = (Times::default(), Instant::now());
        while left.load(Ordering::SeqCst) > 0 {
            ensure!(
                started.elapsed() < LIMIT,
                "{} records are left after {LIMIT:?}",
                left.load(Ordering::SeqCst)
            );
            let partitions: Vec<Value> = match self.epoch {
                0 => (0..PARTITIONS).map(|index| json!({"PartitionIndex": index})).collect(),
                _ => Vec::new(),
            };
            let topics = match partitions.is_empty() {
                true => json!([]),
                false => json!([{"TopicId": self.topic_id, "Partitions": partitions}]),
            };
            let fetch = json!({
                "GroupId": self.group, "MemberId": self.id, "ShareSessionEpoch": self.epoch, "MaxWaitMs": 100,
                "MinBytes": 1, "MaxBytes": 52_428_800, "MaxRecords": 500, "BatchSize": 500, "Topics": topics,
            });
            let answer = self.peer.call(FETCH, &fetch)?;
            ensure!(first_error(&answer).is_none(), "ShareFetch: {:?}", first_error(&answer));
            self.epoch += 1;
            let (acquired, count) = acquired(&answer)?;
            if count == 0 {
                continue;
            }
            let acknowledge = json!({
                "GroupId": self.group, "MemberId": self.id, "ShareSessionEpoch": self.epoch,
                "Topics": [{"TopicId": self.topic_id, "Partitions": acquired}],
            });
            let sent = Instant::now();
            let answer = self.peer.call(ACKNOWLEDGE, &acknowledge)?;
            times.add_since(sent);
            ensure!(first_error(&answer).is_none(), "ShareAcknowledge: {answer}");
            self.epoch += 1;
            left.fetch_sub(count, Ordering::SeqCst);
        }
        Ok(times)
    }
}

/// What a fetch has acquired, as it is acknowledged, and how many records that are.
fn acquired(answer: &Value) -> Result<(Vec<Value>, i64)> {
    let (mut partitions, mut count) = (Vec::new(), 0);
    let topics = answer.get("Responses").and_then(Value::as_array).context("no topics")?;
    for partition in topics.iter().filter_map(|topic| topic.get("Partitions")?.as_array()).flatten() {
        let ranges = partition.get("AcquiredRecords").and_then(Value::as_array).context("no ranges")?;
        let mut batches = Vec::new();
        for range in ranges {
            let (first, last) = (number(range, "FirstOffset")?, number(range, "LastOffset")?);
            batches.push(json!({"FirstOffset": first, "LastOffset": last, "AcknowledgeTypes": [1]}));
            count += last - first + 1;
        }
        if !batches.is_empty() {
            let index = number(partition, "PartitionIndex")?;
            partitions.push(json!({"PartitionIndex": index, "AcknowledgementBatches": batches}));
        }
    }
    Ok((partitions, count))
}
