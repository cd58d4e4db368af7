//! Transactions of librdkafka and of the Java client, over a `kill -9` of the broker, and Kafka's own tool for those that
//! hang. It does not look into the protocol: it watches what readers see. Called as `conformance transactions`.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::java_tools::JavaTools;
use crate::main_job::{fresh, number};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const TOOL: &str = "org.apache.kafka.tools.TransactionsCommand";
/// Who speaks transactions.
const CLIENTS: [Client; 2] = [Client::Librdkafka, Client::Java];
/// How long a program may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let setup = Setup::new(kind.clone(), dir.path())
        .set("transaction.state.log.replication.factor", 1)
        .set("transaction.state.log.min.isr", 1);
    let mut server = Server::start(setup)?;
    for client in CLIENTS {
        let name = |what: &str| format!("{}: {what}", client.name());
        report.check(name("readers see what is committed and nothing else"), || {
            isolation(&clients, client, &server)
        });
        report.check(name("a second producer fences the first"), || fencing(&clients, client, &server));
        report.check(name("consume, transform, produce: each record once"), || {
            copies(&clients, client, &mut server, false)
        });
        let killed = name("... over kill -9 of the broker");
        if server.is_ours() {
            report.check(killed, || copies(&clients, client, &mut server, true));
        } else {
            report.skip(killed, "the broker is not ours to kill");
        }
    }
    let tools = JavaTools::install()?;
    report.check("kafka-transactions: list, describe, describe-producers, find-hanging, abort", || {
        tool(&clients, &tools, &server)
    });
    Ok(())
}

fn create(clients: &Clients, server: &Server, name: &str, partitions: u64) -> Result<String> {
    let topic = fresh(name);
    let args = [topic.as_str(), &partitions.to_string()];
    clients.call(Client::Librdkafka, "create", server.bootstrap(), &args)?;
    Ok(topic)
}

fn texts(event: &Value, field: &str) -> Result<Vec<String>> {
    let all = event.get(field).and_then(Value::as_array).with_context(|| format!("no {field} in {event}"))?;
    Ok(all.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// What a client sees at an isolation level; sorted.
pub(crate) fn read(
    clients: &Clients,
    client: Client,
    bootstrap: &str,
    topic: &str,
    isolation: &str,
) -> Result<Vec<String>> {
    let read = clients.transactions(client, "read", bootstrap, &[topic, isolation])?;
    texts(&read.json(WORK_LIMIT)?, "values")
}

fn isolation(clients: &Clients, client: Client, server: &Server) -> Result<String> {
    let topic = create(clients, server, "transact", 3)?;
    let id = format!("{topic}.id");
    let args = [topic.as_str(), id.as_str(), "60"];
    let sent = clients.transactions(client, "transact", server.bootstrap(), &args)?.json(WORK_LIMIT)?;
    let committed = texts(&sent, "committed")?;
    ensure!(committed.len() == 120, "{} records were committed", committed.len());
    for reader in CLIENTS {
        let seen = read(clients, reader, server.bootstrap(), &topic, "read_committed")?;
        ensure!(seen == committed, "{} sees {} committed records", reader.name(), seen.len());
        let all = read(clients, reader, server.bootstrap(), &topic, "read_uncommitted")?;
        ensure!(all.len() == 180, "{} sees {} records", reader.name(), all.len());
    }
    Ok("40 commits, 20 aborts".into())
}

fn fencing(clients: &Clients, client: Client, server: &Server) -> Result<String> {
    let topic = create(clients, server, "fence", 1)?;
    let id = format!("{topic}.id");
    let args = [topic.as_str(), id.as_str()];
    let told = clients.transactions(client, "fence", server.bootstrap(), &args)?.json(WORK_LIMIT)?;
    let heard = texts(&told, "heard")?.join(" ");
    let is_fenced =
        ["_FENCED", "PRODUCER_FENCED", "ProducerFencedException", "InvalidProducerEpochException"];
    ensure!(is_fenced.iter().any(|name| heard == *name), "the first producer hears {told}");
    let seen = read(clients, client, server.bootstrap(), &topic, "read_committed")?;
    ensure!(seen == ["second"], "{seen:?} are seen");
    Ok(heard)
}

/// Copies in transactions; each record must be there once, whatever happened.
fn copies(clients: &Clients, client: Client, server: &mut Server, is_killed: bool) -> Result<String> {
    let source = create(clients, server, "copy-from", 2)?;
    let target = create(clients, server, "copy-to", 2)?;
    let args = [source.as_str(), "2", "100"];
    clients.call(Client::Librdkafka, "count_up", server.bootstrap(), &args)?;
    let (group, id) = (format!("{source}.group"), format!("{source}.id"));
    let pace = if is_killed { "0.1" } else { "0" };
    let args = [source.as_str(), &target, &group, &id, "200", pace];
    let copying = clients.transactions(client, "copy", server.bootstrap(), &args)?;
    if is_killed {
        let begun = copying.line(PATIENCE).context("nothing was copied")?;
        server.kill()?;
        thread::sleep(Duration::from_secs(1));
        server.start_again()?;
        ensure!(begun.contains("copied"), "{begun}");
    }
    let done = copying.json(WORK_LIMIT)?;
    ensure!(number(&done, "copied")? == 200, "{done}");
    let copied = read(clients, client, server.bootstrap(), &target, "read_committed")?;
    ensure!(copied.len() == 200, "{} records were copied", copied.len());
    // Both partitions hold the numbers from 0 to 99.
    let distinct: BTreeSet<_> = copied.iter().collect();
    ensure!(distinct.len() == 100 && copied.iter().all(|value| value.ends_with('!')), "{distinct:?}");
    let args = [source.as_str(), group.as_str()];
    let offsets = clients.call(Client::Librdkafka, "committed", server.bootstrap(), &args)?;
    let partitions = offsets.get("partitions").and_then(Value::as_object).context("no partitions")?;
    for (partition, offsets) in partitions {
        let at = offsets.get(0).and_then(Value::as_u64);
        ensure!(at == Some(100), "partition {partition}: {offsets}");
    }
    Ok(String::new())
}

/// An open transaction, as Kafka's tool sees it, and its end by an operator.
fn tool(clients: &Clients, tools: &JavaTools, server: &Server) -> Result<String> {
    let topic = create(clients, server, "held", 1)?;
    let id = format!("{topic}.id");
    let args = [topic.as_str(), id.as_str()];
    let holder = clients.transactions(Client::Librdkafka, "hold", server.bootstrap(), &args)?;
    let held = holder.line(PATIENCE).context("no transaction was begun")?;
    ensure!(held.contains("held"), "{held}");
    let run = |args: &[&str], wanted: &[&str]| {
        let all = [&["--bootstrap-server", server.bootstrap()], args].concat();
        tools.expect(TOOL, &all, wanted)
    };
    run(&["list"], &[&id, "Ongoing"])?;
    run(&["list", "--duration-filter", "600000"], &[])?;
    run(&["describe", "--transactional-id", &id], &[&id, "Ongoing", &format!("{topic}-0"), "600000"])?;
    let producers = ["describe-producers", "--topic", &topic, "--partition", "0"];
    run(&producers, &["ProducerId", "CurrentTransactionStartOffset"])?;
    run(&["find-hanging", "--broker-id", "1"], &["ProducerId", "StartOffset"])?;
    let seen = read(clients, Client::Librdkafka, server.bootstrap(), &topic, "read_committed")?;
    ensure!(seen.is_empty(), "{seen:?} are seen although nothing is committed");
    run(&["abort", "--topic", &topic, "--partition", "0", "--start-offset", "0"], &[])?;
    let started = Instant::now();
    loop {
        let producers = run(&producers, &[])?;
        if producers.lines().skip(1).all(|line| line.split_whitespace().last() == Some("None")) {
            break;
        }
        if started.elapsed() > PATIENCE {
            bail!("the transaction is still open:\n{producers}");
        }
    }
    holder.terminate()?;
    holder.finish(PATIENCE)?;
    Ok(String::new())
}
