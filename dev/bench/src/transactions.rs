//! Transactions of the second protocol (KIP-890): records to some partitions, then the commit, one after the other on
//! each of a few connections. Called by `workloads`.

use std::time::{Duration, Instant};

use anyhow::Result;
use conformance::compare::schema::Schemas;
use conformance::main_job::fresh;
use conformance::raw;
use serde_json::json;

use crate::batches::{PRODUCE, batch, payload, produce_frame};
use crate::contestant::Contestant;
use crate::peer::{Peer, Times, first_error, number};
use crate::samples::Samples;

/// Producers at work at once.
const PRODUCERS: usize = 4;
const DURING: Duration = Duration::from_secs(6);
const VALUE: [u8; 100] = [b'v'; 100];
const CONCURRENT_TRANSACTIONS: i64 = 51;

/// A record of 100 bytes in one partition, and 100 of them in each of three.
pub const SIZES: [(&str, i32, i32); 2] =
    [("one record", 1, 1), ("100 records in each of 3 partitions", 3, 100)];

/// One round with one contestant.
pub fn run(
    contestant: &Contestant,
    schemas: &Schemas,
    (partitions, records): (i32, i32),
    samples: Option<&mut Samples>,
) -> Result<()> {
    let topic = fresh("transactions");
    raw::ready_topic_among(&contestant.addresses(), &topic, 3, 1)?;
    let (cpu, started) = (contestant.cpu_seconds()?, Instant::now());
    let results = std::thread::scope(|scope| {
        let work = |number: usize| {
            let topic = topic.as_str();
            scope.spawn(move || produce(contestant, schemas, (topic, number), (partitions, records)))
        };
        let all: Vec<_> = (0..PRODUCERS).map(work).collect();
        let joined =
            all.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a producer has panicked"))?);
        joined.collect::<Result<Vec<_>>>()
    })?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), contestant.cpu_seconds()? - cpu);
    let (mut times, mut count) = (Times::default(), 0);
    for (done, its_times) in results {
        count += done;
        times.extend(its_times);
    }
    println!("    {}: {:.0} transactions/s", contestant.name, count as f64 / seconds);
    if let Some(samples) = samples {
        samples.add(contestant.name, "transactions/s", count as f64 / seconds);
        samples.add(contestant.name, "broker CPU us/transaction", cpu / count as f64 * 1e6);
        samples.add(contestant.name, "commit p50 ms", times.ms(0.5)?);
        samples.add(contestant.name, "commit p99 ms", times.ms(0.99)?);
    }
    crate::workloads::delete_topic(contestant, &topic)
}

/// One producer: how many transactions it committed, and how long each commit took.
fn produce(
    contestant: &Contestant,
    schemas: &Schemas,
    (topic, number_of): (&str, usize),
    (partitions, records): (i32, i32),
) -> Result<(u64, Times)> {
    let id = format!("{topic}.{number_of}");
    let mut peer = Peer::of(schemas, contestant)?;
    // The first question for a coordinator makes it.
    peer.insist(("FindCoordinator", 4), &json!({"KeyType": 1, "CoordinatorKeys": [id]}))?;
    let init =
        json!({"TransactionalId": id, "TransactionTimeoutMs": 60000, "ProducerId": -1, "ProducerEpoch": -1});
    let made = peer.insist(("InitProducerId", 5), &init)?;
    let (mut producer, mut epoch) = (number(&made, "ProducerId")?, number(&made, "ProducerEpoch")?);
    let payload = payload(records, &VALUE, |_| None);
    let (mut times, mut count, started) = (Times::default(), 0, Instant::now());
    while started.elapsed() < DURING {
        let batch = batch(&payload, records, Some((producer, i16::try_from(epoch)?)))?;
        let frame = produce_frame(Some(&id), topic, 0..partitions, &batch)?;
        loop {
            peer.send(&frame)?;
            match first_error(&peer.receive_of(PRODUCE)?) {
                None => break,
                // The markers of the one before are still being written.
                Some(CONCURRENT_TRANSACTIONS) => std::thread::sleep(Duration::from_micros(200)),
                Some(code) => anyhow::bail!("Produce: error code {code}"),
            }
        }
        let commit =
            json!({"TransactionalId": id, "ProducerId": producer, "ProducerEpoch": epoch, "Committed": true});
        let ended = Instant::now();
        let answer = peer.insist(("EndTxn", 5), &commit)?;
        times.add_since(ended);
        (producer, epoch) = (number(&answer, "ProducerId")?, number(&answer, "ProducerEpoch")?);
        count += 1;
    }
    Ok((count, times))
}

/// What a table is called.
pub fn title(size: &str) -> String {
    format!("Transactions (KIP-890) of {size} of 100 B, {PRODUCERS} producers")
}
