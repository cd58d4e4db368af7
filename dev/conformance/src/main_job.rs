//! The main job: 336,776 real departures go in through librdkafka and come out of five clients, byte for byte.
//! With every codec, from every client as a writer, and with the broker killed while it takes records.
//! Called as `conformance main-job`; what "the same" means is one digest, described in `clients/python/digest.py`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// Records in the data set.
pub const FLIGHTS: u64 = 336_776;

/// The codecs of Kafka's record batches.
pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Rows that each of the other clients writes.
const SLICE: u64 = 50_000;

/// How many acknowledgements the producer has seen when the broker is killed, once and once more.
const KILL_AT: [u64; 2] = [80_000, 200_000];

/// Runs it with the given codecs.
pub fn run(report: &mut Report, kind: &Kind, codecs: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let mut server = Server::start(Setup::new(kind.clone(), dir.path()).set("log.retention.ms", -1))?;
    let job = Job { clients: &clients, all: clients.expected(FLIGHTS, None)? };
    let count = job.all.get("count").and_then(Value::as_u64);
    ensure!(count == Some(FLIGHTS), "the data set has {count:?} records, not {FLIGHTS}");
    for codec in codecs {
        job.round_trip(report, &server, codec);
    }
    let slice = clients.expected(SLICE, None)?;
    for (writer, codec) in WRITERS {
        job.other_writer(report, &server, writer, codec, &slice);
    }
    if server.is_ours() {
        job.killed(report, &mut server, Producer::Idempotent)?;
        job.killed(report, &mut server, Producer::Plain)?;
        if kind == &Kind::Kafka {
            let why =
                "Kafka drops producers at each start whose records are older than a day; these are of 2013";
            report.skip("kill -9 twice under an idempotent producer of old events", why);
        } else {
            job.killed(report, &mut server, Producer::IdempotentOfOldEvents)?;
        }
        report.check("stops on SIGTERM", || {
            let status = server.stop()?;
            ensure!(status.success() || kind == &Kind::Kafka, "exit {status}: {}", server.last_words());
            Ok(status.to_string())
        });
    } else {
        report.skip("kill -9 while producing", "the broker is not ours to kill");
    }
    Ok(())
}

/// Who else writes, and with which codec, so that each codec has a second author.
const WRITERS: [(Client, &str); 5] = [
    (Client::Java, "zstd"),
    (Client::FranzGo, "snappy"),
    (Client::KafkaJs, "gzip"),
    (Client::KafkaPython, "lz4"),
    (Client::FranzGo, "none"),
];

/// Who writes while the broker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Producer {
    /// Must leave exactly the data set behind.
    Idempotent,
    /// May leave duplicates, but every acknowledged row.
    Plain,
    /// Must leave exactly the data set behind, although its records are older than any producer is remembered.
    IdempotentOfOldEvents,
}

impl Producer {
    fn name(self) -> &'static str {
        match self {
            Producer::Idempotent => "an idempotent producer",
            Producer::Plain => "a plain producer",
            Producer::IdempotentOfOldEvents => "an idempotent producer of old events",
        }
    }
}

struct Job<'a> {
    clients: &'a Clients,
    all: Value,
}

impl Job<'_> {
    fn round_trip(&self, report: &mut Report, server: &Server, codec: &str) {
        let topic = fresh(&format!("flights-{codec}"));
        let written = report.check(format!("main job, {codec}: librdkafka writes"), || {
            self.create(server, &topic)?;
            let compression = format!("compression.type={codec}");
            let args = [
                &topic,
                &self.file()?,
                "0",
                &FLIGHTS.to_string(),
                "own",
                "enable.idempotence=true",
                &compression,
            ];
            all_acked(&self.clients.call(Client::Librdkafka, "write", server.bootstrap(), &args)?, FLIGHTS)
        });
        for reader in Client::ALL {
            let name = format!("main job, {codec}: {} reads", reader.name());
            report.check(name, || {
                ensure!(written, "nothing was written");
                same(&self.all, &self.clients.call(reader, "read", server.bootstrap(), &[&topic])?)
            });
        }
        self.delete(report, server, &topic);
    }

    fn other_writer(&self, report: &mut Report, server: &Server, writer: Client, codec: &str, slice: &Value) {
        let topic = fresh(&format!("by-{}-{codec}", writer.name()));
        let written = report.check(format!("{} writes, {codec}", writer.name()), || {
            self.create(server, &topic)?;
            let args = [&topic, &self.file()?, "0", &SLICE.to_string(), codec];
            all_acked(&self.clients.call(writer, "write", server.bootstrap(), &args)?, SLICE)
        });
        report.check(format!("{} writes, {codec}: all five read", writer.name()), || {
            ensure!(written, "nothing was written");
            for reader in Client::ALL {
                let read = self.clients.call(reader, "read", server.bootstrap(), &[&topic]);
                same(slice, &read?).with_context(|| reader.name())?;
            }
            Ok("the same from each".to_owned())
        });
        self.delete(report, server, &topic);
    }

    /// The broker dies twice while librdkafka writes.
    fn killed(&self, report: &mut Report, server: &mut Server, producer: Producer) -> Result<()> {
        let title = format!("kill -9 twice under {}", producer.name());
        let topic = fresh("killed");
        let now = since_epoch_ms();
        let start = (producer != Producer::IdempotentOfOldEvents).then_some(now);
        let expected = self.clients.expected(FLIGHTS, start)?;
        let written = report.check(format!("{title}: all acknowledged"), || {
            self.create(server, &topic)?;
            self.write_through_kills(server, &topic, producer, start)
        });
        let readers: &[Client] =
            if producer == Producer::Idempotent { &Client::ALL } else { &[Client::Librdkafka] };
        for reader in readers {
            report.check(format!("{title}: {} reads", reader.name()), || {
                ensure!(written, "not everything was written");
                let read = self.clients.call(*reader, "read", server.bootstrap(), &[&topic])?;
                if producer != Producer::Plain {
                    return same(&expected, &read);
                }
                let (count, rows) = (number(&read, "count")?, number(&read, "rows")?);
                ensure!(rows == FLIGHTS, "{} acknowledged rows are missing", FLIGHTS.saturating_sub(rows));
                Ok(format!("no row missing, {} twice", count.saturating_sub(rows)))
            });
        }
        Ok(())
    }

    fn write_through_kills(
        &self,
        server: &mut Server,
        topic: &str,
        producer: Producer,
        start: Option<u128>,
    ) -> Result<String> {
        let idempotence = format!("enable.idempotence={}", producer != Producer::Plain);
        let more =
            [idempotence.as_str(), "acks=all", "compression.type=lz4", "batch.size=65536", "linger.ms=2"];
        let start = start.map_or("own".to_owned(), |start| start.to_string());
        let (file, last) = (self.file()?, FLIGHTS.to_string());
        let args = [&[topic, &file, "0", &last, &start], &more[..]].concat();
        let writer = self.clients.start(Client::Librdkafka, "write", server.bootstrap(), &args)?;
        let mut away = Vec::new();
        for at in KILL_AT {
            loop {
                let line = writer.line(WORK_LIMIT).context("the producer ended too early")?;
                let event: Value = serde_json::from_str(&line)?;
                ensure!(event.get("acked").is_none(), "the producer was done before the kill: {line}");
                if number(&event, "progress")? >= at {
                    break;
                }
            }
            server.kill()?;
            std::thread::sleep(Duration::from_millis(300));
            away.push(format!("{:.2} s", server.start_again()?.as_secs_f64()));
        }
        all_acked(&writer.json(WORK_LIMIT)?, FLIGHTS)?;
        Ok(format!("back after {}", away.join(" and ")))
    }

    fn create(&self, server: &Server, topic: &str) -> Result<()> {
        let args = [topic, "6", "retention.ms=-1"];
        self.clients.call(Client::Librdkafka, "create", server.bootstrap(), &args).map(drop)
    }

    fn delete(&self, report: &mut Report, server: &Server, topic: &str) {
        report.check(format!("delete {}", topic.rsplit_once('.').map_or(topic, |(name, _)| name)), || {
            self.clients.call(Client::Librdkafka, "delete", server.bootstrap(), &[topic])?;
            Ok(String::new())
        });
    }

    fn file(&self) -> Result<String> {
        Ok(self.clients.flights.to_str().context("the cache has a name that is no text")?.to_owned())
    }
}

/// A topic that no earlier run on the same broker has used.
pub fn fresh(name: &str) -> String {
    format!("{name}.{}", since_epoch_ms())
}

fn since_epoch_ms() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or_default().as_millis()
}

/// A whole number from what a client printed.
pub fn number(event: &Value, field: &str) -> Result<u64> {
    event.get(field).and_then(Value::as_u64).with_context(|| format!("no number {field:?} in {event}"))
}

/// Everything was acknowledged and nothing failed.
pub fn all_acked(written: &Value, wanted: u64) -> Result<String> {
    let (acked, failed) = (number(written, "acked")?, number(written, "failed")?);
    ensure!(acked == wanted && failed == 0, "{acked} of {wanted} acknowledged: {written}");
    Ok(format!("{acked} acknowledged"))
}

/// Equal in count, keys and digest, or the fields that differ.
pub fn same(expected: &Value, read: &Value) -> Result<String> {
    let (Some(wanted), Some(got)) = (expected.as_object(), read.as_object()) else {
        bail!("not an object: {read}");
    };
    let fields: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
    let differ: Vec<String> = fields
        .into_iter()
        .filter(|field| wanted.get(*field) != got.get(*field))
        .map(|field| format!("{field}: {:?} instead of {:?}", got.get(field), wanted.get(field)))
        .collect();
    ensure!(differ.is_empty(), "{}", differ.join(", "));
    Ok(format!("{} records, the same bytes", number(read, "count")?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_different_byte_is_seen() {
        let one = json!({"count": 2, "digest": "aa"});
        assert!(same(&one, &one.clone()).is_ok());
        assert!(same(&one, &json!({"count": 2, "digest": "ab"})).is_err());
        assert!(same(&one, &json!({"count": 2})).is_err());
    }

    #[test]
    fn a_single_unacknowledged_record_fails() {
        assert!(all_acked(&json!({"acked": 9, "failed": 0}), 10).is_err());
        assert!(all_acked(&json!({"acked": 10, "failed": 1}), 10).is_err());
        assert!(all_acked(&json!({"acked": 10, "failed": 0}), 10).is_ok());
    }
}
