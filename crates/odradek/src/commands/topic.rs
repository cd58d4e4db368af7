//! `odradek topic`: create, list, describe, alter and delete topics.
//!
//! It checks nothing that the cluster checks; the errors are the cluster's.

use crate::{
    connection::{ClusterArgs, block_on},
    deletions::Deletions,
    output::{OutputArgs, list, table},
};
use anyhow::Context;
use clap::{Args, Subcommand};
use client::{At, Client, ConfigChange, ConfigEntry, ConfigSource, NewTopic, OffsetAt, Resource, Topic};
use model::PartitionIndex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Create, list, describe, alter and delete topics.
#[derive(Debug, Args)]
pub(crate) struct TopicArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a topic
    Create(Create),
    /// List the topics
    List {
        /// Also topics that Kafka keeps for itself
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions and configuration of a topic
    Describe {
        /// The topic
        topic: String,
        /// Also configuration that has its default
        #[arg(long)]
        all_configs: bool,
    },
    /// Add partitions to a topic or change its configuration
    Alter(Alter),
    /// Delete topics with all their records
    Delete {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Do not fail if a topic does not exist
        #[arg(long)]
        if_exists: bool,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// The topic
    topic: String,
    /// How many partitions [default: the cluster's num.partitions]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<PartitionIndex>,
    /// How many replicas [default: the cluster's default.replication.factor]
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i16).range(1..))]
    replicas: Option<i16>,
    /// Set a configuration key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Do not fail if the topic exists
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be created
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// How many partitions it is to have; more than now
    #[arg(short, long, value_name = "COUNT", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<PartitionIndex>,
    /// Set a configuration key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Give a configuration key its default back; may be repeated
    #[arg(long = "unset", value_name = "KEY")]
    unset: Vec<String>,
}

#[derive(Debug, Args)]
struct Alter {
    /// The topic
    topic: String,
    #[command(flatten)]
    changes: Changes,
}

pub(crate) fn run(args: TopicArgs) -> anyhow::Result<()> {
    block_on(async {
        let client = args.cluster.connect().await?;
        let output = args.output;
        match args.command {
            Command::Create(create) => run_create(&client, create, output).await,
            Command::List { internal } => run_list(&client, internal, output).await,
            Command::Describe { topic, all_configs } => describe(&client, &topic, all_configs, output).await,
            Command::Alter(alter) => run_alter(&client, alter, output).await,
            Command::Delete { topics, if_exists } => delete(&client, &topics, if_exists, output).await,
        }
    })
}

async fn run_create(client: &Client, create: Create, output: OutputArgs) -> anyhow::Result<()> {
    let topic = NewTopic {
        name: create.topic,
        partitions: create.partitions,
        replication_factor: create.replicas,
        configs: pairs(&create.set)?,
    };
    let name = &topic.name;
    match client.create_topic(&topic, create.dry_run).await {
        Ok((partitions, replicas)) => {
            let json = json!({ "topic": name, "partitions": partitions, "replicas": replicas });
            let done = if create.dry_run { "could be created" } else { "created" };
            output.show(&json, || {
                format!("topic '{name}' {done}: {partitions} partitions, {replicas} replicas")
            })
        }
        Err(error) if create.if_not_exists && is_code(&error, "TOPIC_ALREADY_EXISTS") => {
            output.show(&json!({ "topic": name, "existed": true }), || format!("topic '{name}' exists"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn run_list(client: &Client, internal: bool, output: OutputArgs) -> anyhow::Result<()> {
    let topics = client.topics_anew().await?;
    let shown: Vec<_> = topics.iter().filter(|topic| internal || !topic.is_internal).collect();
    let replicas = |topic: &Topic| topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let json = shown.iter().map(|topic| {
        json!({
            "topic": topic.name,
            "id": topic.id.to_string(),
            "partitions": topic.partitions.len(),
            "replicas": replicas(topic),
            "internal": topic.is_internal,
        })
    });
    output.show(&Value::Array(json.collect()), || {
        let rows = shown.iter().map(|topic| {
            vec![topic.name.clone(), topic.partitions.len().to_string(), replicas(topic).to_string()]
        });
        table(&["TOPIC", "PARTITIONS", "REPLICAS"], rows)
    })
}

async fn describe(client: &Client, name: &str, all: bool, output: OutputArgs) -> anyhow::Result<()> {
    let topic = client.topic_anew(name, false).await?;
    let mut configs = client.describe_configs(&Resource::Topic(name.into()), false).await?;
    configs.retain(|config| all || config.source == ConfigSource::Topic);
    let begins = client.topic_offsets_at(name, At::Beginning).await;
    let ends = client.topic_offsets_at(name, At::End).await;
    // A partition without a leader has no offsets to tell, and the rest is worth seeing.
    let (begins, ends) = (begins.unwrap_or_default(), ends.unwrap_or_default());
    output.show(&description(&topic, &configs, &begins, &ends), || {
        let offset = |map: &BTreeMap<_, OffsetAt>, index| match map.get(&index).and_then(|at| at.offset) {
            Some(offset) => offset.to_string(),
            None => String::new(),
        };
        let rows = topic.partitions.iter().map(|partition| {
            vec![
                partition.index.to_string(),
                partition.leader.map_or("none".into(), |leader| leader.to_string()),
                list(&partition.replicas),
                list(&partition.isr),
                list(&partition.offline),
                offset(&begins, partition.index),
                offset(&ends, partition.index),
            ]
        });
        let columns = ["PARTITION", "LEADER", "REPLICAS", "IN SYNC", "OFFLINE", "BEGIN", "END"];
        let mut text = format!("topic '{}', id {}\n\n{}\n", topic.name, topic.id, table(&columns, rows));
        if !configs.is_empty() {
            let rows = configs.iter().map(|config| {
                let value = config.value.clone().unwrap_or_default();
                vec![config.name.clone(), value, config.source.name().into()]
            });
            text.push_str(&format!("\n{}", table(&["KEY", "VALUE", "SOURCE"], rows)));
        }
        text
    })
}

fn description(
    topic: &Topic,
    configs: &[ConfigEntry],
    begins: &BTreeMap<PartitionIndex, OffsetAt>,
    ends: &BTreeMap<PartitionIndex, OffsetAt>,
) -> Value {
    let offset = |map: &BTreeMap<_, OffsetAt>, index| map.get(&index).and_then(|at| at.offset);
    let partitions = topic.partitions.iter().map(|partition| {
        json!({
            "partition": partition.index,
            "leader": partition.leader,
            "leader_epoch": partition.leader_epoch,
            "replicas": partition.replicas,
            "in_sync": partition.isr,
            "offline": partition.offline,
            "begin": offset(begins, partition.index),
            "end": offset(ends, partition.index),
        })
    });
    let configs = configs
        .iter()
        .map(|config| json!({ "key": config.name, "value": config.value, "source": config.source.name() }));
    json!({
        "topic": topic.name,
        "id": topic.id.to_string(),
        "internal": topic.is_internal,
        "partitions": partitions.collect::<Vec<_>>(),
        "configs": configs.collect::<Vec<_>>(),
    })
}

async fn run_alter(client: &Client, alter: Alter, output: OutputArgs) -> anyhow::Result<()> {
    let (name, changes) = (alter.topic, alter.changes);
    let set = pairs(&changes.set)?.into_iter().map(|(key, value)| ConfigChange::Set(key, value));
    let configs: Vec<_> = set.chain(changes.unset.into_iter().map(ConfigChange::Delete)).collect();
    if !configs.is_empty() {
        client.alter_configs(&Resource::Topic(name.clone()), &configs).await?;
    }
    if let Some(count) = changes.partitions {
        client.add_partitions(&name, count).await?;
    }
    output.show(&json!({ "topic": name, "altered": true }), || format!("topic '{name}' altered"))
}

async fn delete(
    client: &Client,
    topics: &[String],
    if_exists: bool,
    output: OutputArgs,
) -> anyhow::Result<()> {
    let mut deletions = Deletions::new("topic");
    for name in topics {
        if !deletions.go_on() {
            deletions.skip(name);
            continue;
        }
        match client.delete_topic(name).await {
            Err(error) if if_exists && is_code(&error, "UNKNOWN_TOPIC_OR_PARTITION") => {}
            result => deletions.note(name, result),
        }
    }
    deletions.report(output)
}

fn is_code(error: &client::Error, name: &str) -> bool {
    error.code().is_some_and(|code| code.name() == name)
}

/// `key=value`, one or several; the last value of a key holds.
fn pairs(texts: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let pair = |text: &String| {
        let (key, value) = text.split_once('=').with_context(|| format!("--set {text} must be KEY=VALUE"))?;
        Ok((key.trim().to_owned(), value.trim().to_owned()))
    };
    texts.iter().map(pair).collect()
}
