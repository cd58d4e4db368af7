//! `odradek consume`: records to standard output, as kcat prints them.
//!
//! It decides where to begin and when to stop; the client's consumers fetch.

pub(crate) mod format;

use crate::{
    connection::{ClusterArgs, block_on},
    json_record,
    place::Place,
};
use anyhow::{anyhow, bail};
use clap::{Args, ValueEnum};
use client::{At, Client, Consumer, ConsumerConfig, Fetched, GroupConsumer, Isolation, OutOfRange};
use format::Format;
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    str::FromStr,
};

/// Print records, as they come.
#[derive(Debug, Args)]
pub(crate) struct Consume {
    /// The topic; several with -G
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin: beginning, end, OFFSET, -COUNT (before the end) or s@MILLISECONDS [default: beginning];
    /// `-o json` is --output json
    #[arg(short, long, value_name = "PLACE", allow_hyphen_values = true)]
    offset: Vec<PlaceOrJson>,
    /// A partition; may be repeated [default: all]
    #[arg(short, long = "partition", value_name = "PARTITION", conflicts_with = "group")]
    partitions: Vec<PartitionIndex>,
    /// Read as a member of this group and commit what was printed
    #[arg(short = 'G', long)]
    group: Option<String>,
    /// Stop at the end as it is now
    #[arg(short, long)]
    exit: bool,
    /// Stop after so many records
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How a record is printed: %s value, %k key, %S %K their lengths, %t topic, %p partition, %o offset,
    /// %T timestamp, %h headers, %R value length in four bytes, \n \r \t \0 \xHH
    #[arg(short, long, value_name = "FORMAT", conflicts_with_all = ["key_delimiter", "delimiter"])]
    format: Option<Format>,
    /// Print keys, with this between key and value
    #[arg(short = 'K', long, value_name = "DELIMITER")]
    key_delimiter: Option<String>,
    /// What is printed after a record [default: \n]
    #[arg(short = 'D', long, value_name = "DELIMITER")]
    delimiter: Option<String>,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// One JSON object per line; short for --output json
    #[arg(short = 'J', conflicts_with = "format")]
    json: bool,
    /// Only records outside of transactions and of committed ones
    #[arg(long)]
    committed: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// kcat's `-o` is a place, other tools' is a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceOrJson {
    Place(Place),
    Json,
}

impl FromStr for PlaceOrJson {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "json" { Ok(Self::Json) } else { text.parse().map(Self::Place) }
    }
}

impl Consume {
    /// Where to begin; the last one that was given counts.
    fn place(&self) -> Option<Place> {
        self.offset.iter().rev().find_map(|offset| match offset {
            PlaceOrJson::Place(place) => Some(*place),
            PlaceOrJson::Json => None,
        })
    }

    fn is_json(&self) -> bool {
        self.json || self.output == Output::Json || self.offset.contains(&PlaceOrJson::Json)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// Prints records until there were enough.
struct Printer {
    format: Option<Format>,
    left: u64,
    out: Vec<u8>,
}

pub(crate) fn run(consume: Consume) -> anyhow::Result<()> {
    let mut printer = Printer::new(&consume)?;
    block_on(async {
        let client = consume.cluster.connect().await?;
        let config = ConsumerConfig {
            isolation: if consume.committed { Isolation::Committed } else { Isolation::Uncommitted },
            ..ConsumerConfig::new()
        };
        let read = async {
            match &consume.group {
                Some(group) => read_group(&client, &consume, group, config, &mut printer).await,
                None => read_partitions(&client, &consume, config, &mut printer).await,
            }
        };
        match read.await {
            // Whoever read from the pipe has seen enough.
            Err(error) if is_broken_pipe(&error) => Ok(()),
            outcome => outcome,
        }
    })
}

async fn read_partitions(
    client: &Client,
    consume: &Consume,
    config: ConsumerConfig,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let [topic] = consume.topics.as_slice() else { bail!("several topics need a group; add -G GROUP") };
    let topic = client.topic(topic, false).await?;
    let name = TopicName::new(&topic.name)?;
    let mut places = Vec::new();
    let all: Vec<_> = topic.partitions.iter().map(|partition| partition.index).collect();
    for index in if consume.partitions.is_empty() { &all } else { &consume.partitions } {
        client.cluster().partition(&topic.name, *index)?;
        places.push(TopicPartition::new(name.clone(), *index));
    }
    let begin = consume.place().unwrap_or(Place::Beginning).resolve(client, &places).await?;
    let ends = match consume.exit {
        true => ends(client, &places, consume.committed).await?,
        false => BTreeMap::new(),
    };
    let is_read = |place: &TopicPartition, next| ends.get(place).is_some_and(|end| next >= *end);
    let mut consumer = Consumer::new(client, config);
    consumer.assign(begin.into_iter().filter(|(place, offset)| !is_read(place, *offset)).collect());
    while consumer.positions().next().is_some() && !printer.is_done() {
        for mut fetched in consumer.poll().await? {
            let place = TopicPartition::new(TopicName::new(&fetched.topic)?, fetched.partition);
            if let Some(end) = ends.get(&place) {
                fetched.records.retain(|record| record.offset < *end);
            }
            printer.print(&fetched)?;
            if is_read(&place, fetched.next_offset) {
                consumer.unassign(&place);
            }
        }
    }
    Ok(())
}

async fn ends(
    client: &Client,
    places: &[TopicPartition],
    committed: bool,
) -> Result<BTreeMap<TopicPartition, Offset>, client::Error> {
    let wanted = places.iter().map(|place| (place.clone(), At::End)).collect();
    let found = client.offsets_at(&wanted, committed).await?;
    Ok(found.into_iter().map(|(place, at)| (place, at.offset.unwrap_or(0))).collect())
}

async fn read_group(
    client: &Client,
    consume: &Consume,
    group: &str,
    mut config: ConsumerConfig,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let begin = match consume.place() {
        None | Some(Place::Beginning) => At::Beginning,
        Some(Place::End) => At::End,
        Some(_) => bail!(
            "a group begins where it has committed, else at beginning or end; \
             move it with `odradek group reset-offsets`"
        ),
    };
    config.out_of_range = OutOfRange::Reset(begin);
    let topics: BTreeSet<String> = consume.topics.iter().cloned().collect();
    for topic in &topics {
        client.topic(topic, false).await?;
    }
    let mut member = GroupConsumer::new(client, group, topics, begin, config);
    let outcome = print_group(&mut member, consume.exit, printer).await;
    // What was printed is committed also when the printing ended in an error.
    let closed = member.close().await;
    outcome.and(closed.map_err(anyhow::Error::from))
}

async fn print_group(member: &mut GroupConsumer, exit: bool, printer: &mut Printer) -> anyhow::Result<()> {
    loop {
        let fetched = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            fetched = member.poll() => fetched?,
        };
        for part in fetched {
            let next = match printer.print(&part) {
                Ok(next) => next,
                Err(error) => {
                    member.set_seen(
                        &part.topic,
                        part.partition,
                        part.records.first().map_or(0, |first| first.offset),
                    );
                    return Err(error);
                }
            };
            member.set_seen(&part.topic, part.partition, next);
        }
        if printer.is_done() || (exit && member.is_at_end()) {
            return Ok(());
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl Printer {
    fn new(consume: &Consume) -> anyhow::Result<Self> {
        let delimiter = |text: &str| format::delimiter(text).map_err(|why| anyhow!("'{text}': {why}"));
        let is_json = consume.is_json();
        if is_json && consume.format.is_some() {
            bail!("JSON has a format of its own; leave out -f or --output json");
        }
        let key_delimiter = consume.key_delimiter.as_deref().map(delimiter).transpose()?;
        let end = delimiter(consume.delimiter.as_deref().unwrap_or(r"\n"))?;
        let plain = || Format::of_delimiters(key_delimiter.as_deref(), &end);
        let format = (!is_json).then(|| consume.format.clone().unwrap_or_else(plain));
        Ok(Self { format, left: consume.count.unwrap_or(u64::MAX), out: Vec::new() })
    }

    fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Prints as many as are wanted; says where to read on behind them.
    fn print(&mut self, fetched: &Fetched) -> anyhow::Result<Offset> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX);
        for record in fetched.records.iter().take(count) {
            match &self.format {
                Some(format) => format.write(&mut self.out, &fetched.topic, fetched.partition, record),
                None => {
                    let json = json_record::to_json(&fetched.topic, fetched.partition, record);
                    serde_json::to_writer(&mut self.out, &json)?;
                    self.out.push(b'\n');
                }
            }
        }
        self.left -= count.min(fetched.records.len()) as u64;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&self.out)?;
        stdout.flush()?;
        self.out.clear();
        // Behind the last record that was printed, or behind everything if nothing was left over.
        Ok(match fetched.records.get(count) {
            Some(left_over) => left_over.offset,
            None => fetched.next_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        consume: Consume,
    }

    fn parse(line: &str) -> Consume {
        Line::try_parse_from(line.split(' ')).unwrap().consume
    }

    #[test]
    fn an_offset_may_be_a_place_or_the_format_json_or_both() {
        let both = parse("consume t -o -5 -o json");
        assert_eq!((both.place(), both.is_json()), (Some(Place::Last(5)), true));
        let place = parse("consume t -o end");
        assert_eq!((place.place(), place.is_json()), (Some(Place::End), false));
        let json = parse("consume t --output json");
        assert_eq!((json.place(), json.is_json()), (None, true));
        assert!(Line::try_parse_from(["consume", "t", "-o", "yaml"]).is_err());
    }
}
