//! `odradek produce`: records from standard input, one per line.
//!
//! It decides nothing about batches or retries; the client's producer does. The first record that is refused ends it.

use crate::{
    commands::consume::format,
    connection::{ClusterArgs, block_on},
    json_record,
};
use anyhow::{Context, anyhow};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use client::{Acks, Delivery, OutRecord, Producer, ProducerConfig};
use indicatif::ProgressBar;
use model::PartitionIndex;
use records::{Codec, Header};
use std::{
    io::{self, BufRead, IsTerminal},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// Records that are sent and not yet known to be written; more wait for the first of them.
const DELIVERIES_MAX: usize = 65_536;
/// No record is longer; a broker takes 1 MiB by default.
const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Write records from standard input, one per line.
#[derive(Debug, Args)]
pub(crate) struct Produce {
    /// The topic
    topic: String,
    /// What separates key and value; without it records have no key
    #[arg(short = 'K', long, value_name = "DELIMITER")]
    key_delimiter: Option<String>,
    /// What ends a record
    #[arg(short = 'D', long, value_name = "DELIMITER", default_value = r"\n")]
    delimiter: String,
    /// The key of all records
    #[arg(short, long, conflicts_with_all = ["key_delimiter", "json"])]
    key: Option<String>,
    /// Add a header to every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "KEY=VALUE")]
    headers: Vec<String>,
    /// Compress batches
    #[arg(short = 'z', long, value_enum, default_value_t = CodecName::None)]
    codec: CodecName,
    /// The partition of all records; without it the key decides
    #[arg(short, long)]
    partition: Option<PartitionIndex>,
    /// Lines are JSON objects as `odradek consume -J` writes them
    #[arg(short = 'J', long, conflicts_with = "key_delimiter")]
    json: bool,
    /// Send empty keys and values as null
    #[arg(short = 'Z', long)]
    null: bool,
    /// Whom to wait for
    #[arg(long, value_enum, default_value_t = AcksName::All)]
    acks: AcksName,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CodecName {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AcksName {
    #[value(name = "0")]
    None,
    #[value(name = "1")]
    Leader,
    All,
}

/// How lines become records.
#[derive(Debug)]
struct Reader {
    topic: String,
    partition: Option<PartitionIndex>,
    key: Option<Bytes>,
    key_delimiter: Option<Vec<u8>>,
    delimiter: Vec<u8>,
    headers: Vec<Header>,
    is_json: bool,
    empty_is_null: bool,
}

pub(crate) fn run(produce: Produce) -> anyhow::Result<()> {
    let reader = Reader::new(&produce)?;
    block_on(async {
        let client = produce.cluster.connect().await?;
        let config = ProducerConfig {
            acks: match produce.acks {
                AcksName::None => Acks::None,
                AcksName::Leader => Acks::Leader,
                AcksName::All => Acks::All,
            },
            idempotent: produce.acks == AcksName::All,
            compression: produce.codec.to_codec().into(),
            ..ProducerConfig::new()
        };
        // A topic that cannot be written to is told before somebody has typed a line.
        client.topic(&produce.topic, true).await?;
        let producer = Producer::open(&client, config).await?;
        send_all(&producer, &reader).await
    })
}

async fn send_all(producer: &Producer, reader: &Reader) -> anyhow::Result<()> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() && io::stderr().is_terminal() {
        eprintln!("one record per line; end with Ctrl-D");
    }
    let progress = progress(stdin.is_terminal());
    let watch = Watch::start(progress.clone());
    let mut stdin = io::BufReader::with_capacity(256 * 1024, stdin);
    let mut number = 0u64;
    while let Some(line) = reader.next(&mut stdin)? {
        number += 1;
        let record = reader.record(&line).map_err(|why| anyhow!("record {number}: {why}"))?;
        let delivery = producer.send(record).await.with_context(|| format!("record {number}"))?;
        if watch.deliveries.send(delivery).await.is_err() || watch.failed.load(Ordering::Acquire) {
            break;
        }
    }
    producer.flush().await?;
    let written = watch.finish().await?;
    progress.finish_and_clear();
    if io::stderr().is_terminal() {
        eprintln!("{written} records written to {}", reader.topic);
    }
    Ok(())
}

/// Shows how far it is, if somebody looks and does not type.
fn progress(typed: bool) -> ProgressBar {
    if typed || !io::stderr().is_terminal() { ProgressBar::hidden() } else { ProgressBar::new_spinner() }
}

/// Waits for acknowledgements beside the reading of lines, in their order.
struct Watch {
    deliveries: mpsc::Sender<Delivery>,
    failed: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    outcome: tokio::sync::oneshot::Receiver<Result<(), client::Error>>,
}

impl Watch {
    fn start(progress: ProgressBar) -> Self {
        let (deliveries, mut queue) = mpsc::channel::<Delivery>(DELIVERIES_MAX);
        let (ended, outcome) = tokio::sync::oneshot::channel();
        let (failed, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (fails, count) = (failed.clone(), written.clone());
        node::system::world().tasks.spawn(Box::pin(async move {
            while let Some(delivery) = queue.recv().await {
                if let Err(error) = delivery.wait().await {
                    fails.store(true, Ordering::Release);
                    // The reading side may be waiting for a line that never comes.
                    if io::stdin().is_terminal() {
                        eprintln!("{error}");
                    }
                    let _ = ended.send(Err(error));
                    return;
                }
                let written = count.fetch_add(1, Ordering::Relaxed) + 1;
                if written.is_multiple_of(10_000) {
                    progress.set_message(format!("{written} records written"));
                    progress.tick();
                }
            }
            let _ = ended.send(Ok(()));
        }));
        Self { deliveries, failed, written, outcome }
    }

    /// How many were written, or why one was not.
    async fn finish(self) -> anyhow::Result<u64> {
        drop(self.deliveries);
        let outcome = self.outcome.await.unwrap_or(Err(client::Error::Ended));
        let written = self.written.load(Ordering::Relaxed);
        match outcome {
            Ok(()) => Ok(written),
            Err(error) => {
                Err(anyhow!("record {} was not written: {error}; those before it were", written + 1))
            }
        }
    }
}

impl CodecName {
    fn to_codec(self) -> Codec {
        match self {
            Self::None => Codec::None,
            Self::Gzip => Codec::Gzip,
            Self::Snappy => Codec::Snappy,
            Self::Lz4 => Codec::Lz4,
            Self::Zstd => Codec::Zstd,
        }
    }
}

impl Reader {
    fn new(produce: &Produce) -> anyhow::Result<Self> {
        let delimiter = |text: &str| format::delimiter(text).map_err(|why| anyhow!("'{text}': {why}"));
        let headers = produce.headers.iter().map(|header| {
            let (key, value) = header
                .split_once('=')
                .with_context(|| format!("the header '{header}' has no '='; write KEY=VALUE"))?;
            Ok(Header { key: key.to_owned().into(), value: Some(value.to_owned().into()) })
        });
        Ok(Self {
            topic: produce.topic.clone(),
            partition: produce.partition,
            key: produce.key.clone().map(Bytes::from),
            key_delimiter: produce.key_delimiter.as_deref().map(delimiter).transpose()?,
            delimiter: delimiter(&produce.delimiter)?,
            headers: headers.collect::<anyhow::Result<_>>()?,
            is_json: produce.json,
            empty_is_null: produce.null,
        })
    }

    /// The next record's bytes, without its delimiter; the last one may have none.
    fn next(&self, input: &mut impl BufRead) -> anyhow::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let last = self.delimiter.last().copied().unwrap_or(b'\n');
        loop {
            if input.read_until(last, &mut line)? == 0 {
                return Ok(if line.is_empty() { None } else { Some(line) });
            }
            if line.ends_with(&self.delimiter) {
                line.truncate(line.len() - self.delimiter.len());
                return Ok(Some(line));
            }
            if line.len() > RECORD_BYTES_MAX {
                anyhow::bail!("a record has more than {RECORD_BYTES_MAX} bytes; is the delimiter right?");
            }
        }
    }

    fn record(&self, line: &[u8]) -> Result<OutRecord, String> {
        let mut record = if self.is_json {
            json_record::from_json(line, &self.topic)?
        } else {
            let (key, value) = self.split(line)?;
            OutRecord { topic: self.topic.clone(), key, value: Some(value), ..Default::default() }
        };
        record.partition = self.partition.or(record.partition);
        record.headers.extend_from_slice(&self.headers);
        if self.empty_is_null {
            record.key = record.key.filter(|key| !key.is_empty());
            record.value = record.value.filter(|value| !value.is_empty());
        }
        Ok(record)
    }

    fn split(&self, line: &[u8]) -> Result<(Option<Bytes>, Bytes), String> {
        let Some(delimiter) = &self.key_delimiter else {
            return Ok((self.key.clone(), Bytes::copy_from_slice(line)));
        };
        let at = line
            .windows(delimiter.len())
            .position(|window| window == delimiter)
            .ok_or_else(|| format!("it has no key: '{}' is not in it", String::from_utf8_lossy(delimiter)))?;
        let key = line.get(..at).unwrap_or_default();
        let value = line.get(at + delimiter.len()..).unwrap_or_default();
        Ok((Some(Bytes::copy_from_slice(key)), Bytes::copy_from_slice(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        produce: Produce,
    }

    fn records(args: &[&str], input: &str) -> Result<Vec<OutRecord>, String> {
        let line = Line::parse_from(["produce", "t"].iter().chain(args));
        let reader = Reader::new(&line.produce).map_err(|error| error.to_string())?;
        let mut input = input.as_bytes();
        std::iter::from_fn(|| reader.next(&mut input).unwrap()).map(|line| reader.record(&line)).collect()
    }

    fn shown(args: &[&str], input: &str) -> Vec<String> {
        let field = |bytes: &Option<Bytes>| match bytes {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => "null".into(),
        };
        let records = records(args, input).unwrap();
        records.iter().map(|record| format!("{}={}", field(&record.key), field(&record.value))).collect()
    }

    #[test]
    fn lines_become_records_and_the_last_needs_no_end() {
        assert_eq!(shown(&[], "a\n\nb"), ["null=a", "null=", "null=b"]);
        assert_eq!(shown(&["-D", "::"], "a-b::c\n::"), ["null=a-b", "null=c\n"]);
        assert_eq!(shown(&[], ""), [""; 0]);
    }

    #[test]
    fn the_first_delimiter_separates_key_and_value() {
        assert_eq!(shown(&["-K", ":"], "a:b:c\n:d\ne:\n"), ["a=b:c", "=d", "e="]);
        assert_eq!(shown(&["-Z", "-K", r"\t"], "a\t\n\tb\n"), ["a=null", "null=b"]);
        assert!(records(&["-K", ":"], "abc\n").unwrap_err().contains("no key"));
    }

    #[test]
    fn keys_headers_and_partitions_are_those_of_the_command_line() {
        let all = records(&["-k", "x", "-H", "a=b=c", "-p", "3"], "v\n").unwrap();
        assert_eq!((all[0].key.as_deref(), all[0].partition), (Some(&b"x"[..]), Some(3)));
        assert_eq!(all[0].headers, [Header { key: "a".into(), value: Some("b=c".into()) }]);
        assert!(records(&["-H", "ab"], "").unwrap_err().contains("KEY=VALUE"));
    }
}
