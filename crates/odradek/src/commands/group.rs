//! `odradek group`: list, describe and delete consumer groups, and move what they have committed.
//!
//! It joins no group; `consume -G` does.

use crate::{
    connection::{ClusterArgs, block_on},
    deletions::Deletions,
    output::{OutputArgs, table},
    place::Place,
};
use anyhow::bail;
use clap::{Args, Subcommand};
use client::{At, Client, Committed, GroupDescription};
use model::{Offset, PartitionIndex, TopicName, TopicPartition};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// List, describe and delete consumer groups, and move their offsets.
#[derive(Debug, Args)]
pub(crate) struct GroupArgs {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the groups
    List,
    /// Show offsets, lag and members of a group
    Describe {
        /// The group
        group: String,
    },
    /// Delete groups with their offsets; they must have no members
    Delete {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Move the offsets of a group, which must have no members
    ResetOffsets(Reset),
}

#[derive(Debug, Args)]
struct Reset {
    /// The group
    group: String,
    /// A topic; may be repeated [default: all for which the group has offsets]
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// A partition; may be repeated [default: all]
    #[arg(short, long = "partition", value_name = "PARTITION")]
    partitions: Vec<PartitionIndex>,
    /// Where to: beginning, end, OFFSET, -COUNT (before the end) or s@MILLISECONDS
    #[arg(long, value_name = "PLACE", allow_hyphen_values = true)]
    to: Place,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(args: GroupArgs) -> anyhow::Result<()> {
    block_on(async {
        let client = args.cluster.connect().await?;
        match args.command {
            Command::List => list(&client, args.output).await,
            Command::Describe { group } => describe(&client, &group, args.output).await,
            Command::Delete { groups } => delete(&client, &groups, args.output).await,
            Command::ResetOffsets(reset) => reset_offsets(&client, &reset, args.output).await,
        }
    })
}

async fn list(client: &Client, output: OutputArgs) -> anyhow::Result<()> {
    let groups = client.list_groups().await?;
    let json = groups.iter().map(|group| {
        json!({
            "group": group.id,
            "kind": group.kind,
            "protocol_type": group.protocol_type,
            "state": group.state,
        })
    });
    output.show(&Value::Array(json.collect()), || {
        let rows = groups.iter().map(|group| vec![group.id.clone(), group.kind.clone(), group.state.clone()]);
        table(&["GROUP", "KIND", "STATE"], rows)
    })
}

/// A partition of a group: what is committed, where it ends, and who reads it.
struct Row {
    place: TopicPartition,
    committed: Option<Offset>,
    end: Option<Offset>,
    member: Option<usize>,
}

impl Row {
    fn lag(&self) -> Option<Offset> {
        Some(self.end?.saturating_sub(self.committed?).max(0))
    }
}

async fn describe(client: &Client, name: &str, output: OutputArgs) -> anyhow::Result<()> {
    let group = client.describe_group(name).await?;
    let committed = client.committed_offsets(name).await?;
    let rows = rows(client, &group, &committed).await;
    output.show(&description(&group, &rows), || {
        let show = |offset: Option<Offset>| offset.map_or(String::new(), |offset| offset.to_string());
        let shown = rows.iter().map(|row| {
            let member = row.member.and_then(|index| group.members.get(index));
            vec![
                row.place.topic.to_string(),
                row.place.partition.to_string(),
                show(row.committed),
                show(row.end),
                show(row.lag()),
                member.map_or(String::new(), |member| member.id.clone()),
                member.map_or(String::new(), |member| member.host.clone()),
            ]
        });
        let columns = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"];
        let GroupDescription { id, kind, state, assignor, coordinator, members } = &group;
        let assignor = if assignor.is_empty() { "none" } else { assignor };
        format!(
            "group '{id}', {kind}, {state}, {} members, assignor {assignor}, coordinator {coordinator}\n\n{}",
            members.len(),
            table(&columns, shown)
        )
    })
}

async fn rows(
    client: &Client,
    group: &GroupDescription,
    committed: &BTreeMap<TopicPartition, Committed>,
) -> Vec<Row> {
    let mut readers = BTreeMap::new();
    for (index, member) in group.members.iter().enumerate() {
        for (topic, partitions) in &member.partitions {
            let Ok(topic) = TopicName::new(topic) else { continue };
            readers.extend(partitions.iter().map(|one| (TopicPartition::new(topic.clone(), *one), index)));
        }
    }
    let places: BTreeSet<_> = committed.keys().chain(readers.keys()).cloned().collect();
    let mut ends = BTreeMap::new();
    let topics: BTreeSet<_> = places.iter().map(|place| place.topic.clone()).collect();
    for topic in topics {
        // A topic may be gone while its offsets are still there.
        if let Ok(found) = client.topic_offsets_at(&topic, At::End).await {
            let found = found.into_iter().filter_map(|(index, at)| Some((index, at.offset?)));
            ends.extend(found.map(|(index, end)| (TopicPartition::new(topic.clone(), index), end)));
        }
    }
    let row = |place: TopicPartition| Row {
        committed: committed.get(&place).map(|committed| committed.offset),
        end: ends.get(&place).copied(),
        member: readers.get(&place).copied(),
        place,
    };
    places.into_iter().map(row).collect()
}

fn description(group: &GroupDescription, rows: &[Row]) -> Value {
    let members = group.members.iter().map(|member| {
        json!({
            "id": member.id,
            "instance_id": member.instance_id,
            "client_id": member.client_id,
            "host": member.host,
            "partitions": member.partitions,
        })
    });
    let partitions = rows.iter().map(|row| {
        json!({
            "topic": row.place.topic.to_string(),
            "partition": row.place.partition,
            "committed": row.committed,
            "end": row.end,
            "lag": row.lag(),
            "member": row.member.and_then(|index| group.members.get(index)).map(|member| &member.id),
        })
    });
    json!({
        "group": group.id,
        "kind": group.kind,
        "state": group.state,
        "assignor": group.assignor,
        "coordinator": group.coordinator,
        "members": members.collect::<Vec<_>>(),
        "partitions": partitions.collect::<Vec<_>>(),
    })
}

async fn delete(client: &Client, groups: &[String], output: OutputArgs) -> anyhow::Result<()> {
    let mut deletions = Deletions::new("group");
    for group in groups {
        if deletions.go_on() {
            deletions.note(group, client.delete_group(group).await);
        } else {
            deletions.skip(group);
        }
    }
    deletions.report(output)
}

async fn reset_offsets(client: &Client, reset: &Reset, output: OutputArgs) -> anyhow::Result<()> {
    let committed = client.committed_offsets(&reset.group).await?;
    let topics: BTreeSet<String> = match reset.topics.is_empty() {
        true => committed.keys().map(|place| place.topic.to_string()).collect(),
        false => reset.topics.iter().cloned().collect(),
    };
    if topics.is_empty() {
        bail!("group '{}' has no offsets; name a topic with --topic", reset.group);
    }
    let mut places = Vec::new();
    for topic in &topics {
        let topic = client.topic(topic, false).await?;
        let name = TopicName::new(&topic.name)?;
        let wanted = |index: &PartitionIndex| reset.partitions.is_empty() || reset.partitions.contains(index);
        let indexes = topic.partitions.iter().map(|partition| partition.index).filter(wanted);
        places.extend(indexes.map(|index| TopicPartition::new(name.clone(), index)));
    }
    let offsets = reset.to.resolve(client, &places).await?;
    if !reset.dry_run {
        client.reset_offsets(&reset.group, &offsets).await?;
    }
    let before = |place: &TopicPartition| committed.get(place).map(|committed| committed.offset);
    let json = offsets.iter().map(|(place, after)| {
        let (topic, partition) = (place.topic.to_string(), place.partition);
        json!({ "topic": topic, "partition": partition, "before": before(place), "after": after })
    });
    output.show(&Value::Array(json.collect()), || {
        let rows = offsets.iter().map(|(place, after)| {
            let before = before(place).map_or(String::new(), |offset| offset.to_string());
            vec![place.topic.to_string(), place.partition.to_string(), before, after.to_string()]
        });
        let shown = table(&["TOPIC", "PARTITION", "BEFORE", "AFTER"], rows);
        if reset.dry_run { format!("{shown}\nnothing was changed (--dry-run)") } else { shown }
    })
}
