//! Share groups (KIP-932) of the Java client: who gets which record, over released, rejected and renewed records, members and
//! a broker that are killed, and Kafka's own tools. It does not look into the protocol: it watches what members are given.
//! Called as `conformance share`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::java_tools::JavaTools;
use crate::main_job::{fresh, number};
use crate::program::Program;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const TOOL: &str = "org.apache.kafka.tools.consumer.group.ShareGroupCommand";
const CONSOLE: &str = "org.apache.kafka.tools.consumer.ConsoleShareConsumer";
/// How long a member may take to be given something.
const PATIENCE: Duration = Duration::from_secs(60);
/// The times that a broker sets for share groups, short enough to wait for.
const BROKER_TIMES: [(&str, u32); 6] = [
    ("group.share.min.record.lock.duration.ms", 1000),
    ("group.share.record.lock.duration.ms", 2000),
    ("group.share.min.heartbeat.interval.ms", 500),
    ("group.share.heartbeat.interval.ms", 500),
    ("share.coordinator.state.topic.replication.factor", 1),
    ("share.coordinator.state.topic.min.isr", 1),
];

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let setup = BROKER_TIMES
        .iter()
        .fold(Setup::new(kind.clone(), dir.path()), |setup, (key, value)| setup.set(key, value))
        .set("errors.deadletterqueue.auto.create.topics.enable", true);
    let mut server = Server::start(setup)?;
    report
        .check("share: two members of one partition get each record once", || two_members(&clients, &server));
    report.check("share: what is released comes again, what is rejected does not", || {
        released_and_rejected(&clients, &server)
    });
    report.check("share: a lock that runs out gives the record to another", || {
        lock_runs_out(&clients, &server)
    });
    report.check("share: a lock that is renewed does not", || renewed(&clients, &server));
    report.check("share: a killed member's records go to another", || killed_member(&clients, &server));
    report.check("share: a record that is released too often is given up", || given_up(&clients, &server));
    let dead = "share: what is rejected or given up goes to the dead-letter topic";
    if server.is_ours() {
        report.check(dead, || dead_letters(&clients, &server));
    } else {
        report.skip(dead, "Apache Kafka has dead-letter topics from 4.4 on");
    }
    report.check("share: read_committed sees what is committed", || committed(&clients, &server));
    let killed = "share: kill -9 of the broker: the group goes on where it was";
    if server.is_ours() {
        report.check(killed, || killed_broker(&clients, &mut server));
    } else {
        report.skip(killed, "the broker is not ours to kill");
    }
    let tools = JavaTools::install()?;
    report.check("share: kafka-share-groups: list, describe, reset, delete-offsets, delete", || {
        tool(&clients, &tools, &server)
    });
    report.check("share: kafka-console-share-consumer", || console(&clients, &tools, &server));
    Ok(())
}

/// A topic of one partition and a group that begins at its start.
struct Scene<'a> {
    clients: &'a Clients,
    topic: String,
    group: String,
}

/// What a member says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Given {
    offset: u64,
    count: u64,
}

impl<'a> Scene<'a> {
    fn new(clients: &'a Clients, server: &Server, name: &str, configs: &[&str]) -> Result<Scene<'a>> {
        let topic = fresh(&format!("share-{name}"));
        let group = format!("{topic}.group");
        clients.call(Client::Librdkafka, "create", server.bootstrap(), &[&topic, "1"])?;
        let configs = [&[group.as_str(), "share.auto.offset.reset", "earliest"], configs].concat();
        clients.share("configure", server.bootstrap(), &configs)?.json(WORK_LIMIT)?;
        Ok(Scene { clients, topic, group })
    }

    fn produce(&self, server: &Server, first: u64, count: u64) -> Result<()> {
        let args = [self.topic.as_str(), &first.to_string(), &count.to_string()];
        let sent = self.clients.share("produce", server.bootstrap(), &args)?.json(WORK_LIMIT)?;
        ensure!(number(&sent, "acked")? == count, "{sent}");
        Ok(())
    }

    /// A member that ends once it was given `count` records.
    fn member(&self, server: &Server, plan: &str, count: u64) -> Result<Program> {
        let args = [self.topic.as_str(), &self.group, plan, &count.to_string(), "max.poll.records=5"];
        let member = self.clients.share("member", server.bootstrap(), &args)?;
        let joined = member.line(PATIENCE).context("the member did not start")?;
        ensure!(joined.contains("joined"), "{joined}");
        Ok(member)
    }

    /// What a member that ends by itself was given.
    fn all_of(&self, member: Program) -> Result<Vec<Given>> {
        let lines = member.finish(WORK_LIMIT)?;
        lines.iter().filter(|line| line.contains("offset")).map(|line| given(line)).collect()
    }
}

fn given(line: &str) -> Result<Given> {
    let said: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let (offset, count) = (number(&said, "offset")?, number(&said, "count")?);
    ensure!(number(&said, "value")? == offset, "{line}");
    Ok(Given { offset, count })
}

/// The next record that a member is given.
fn next(member: &Program) -> Result<Given> {
    let line = member.line(PATIENCE).context("the member is given nothing")?;
    given(&line)
}

fn once(offsets: std::ops::Range<u64>) -> BTreeSet<Given> {
    offsets.map(|offset| Given { offset, count: 1 }).collect()
}

fn two_members(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "two", &[])?;
    let members = [scene.member(server, "accept", 1_000_000)?, scene.member(server, "accept", 1_000_000)?];
    // Both have a session before there is anything to get.
    std::thread::sleep(Duration::from_secs(3));
    scene.produce(server, 0, 200)?;
    let (mut seen, mut shares) = (Vec::new(), BTreeMap::new());
    let started = Instant::now();
    while seen.len() < 200 {
        ensure!(started.elapsed() < PATIENCE, "{} of 200 records came", seen.len());
        for (place, member) in members.iter().enumerate() {
            while let Some(line) = member.line(Duration::from_millis(20)) {
                seen.push(given(&line)?);
                *shares.entry(place).or_insert(0) += 1;
            }
        }
    }
    let distinct: BTreeSet<Given> = seen.iter().copied().collect();
    ensure!(distinct == once(0..200), "{} records came, {} different", seen.len(), distinct.len());
    ensure!(shares.len() == 2, "only one of the two members was given anything");
    for member in members {
        member.terminate()?;
        let more = scene.all_of(member)?;
        ensure!(more.is_empty(), "{more:?} came twice");
    }
    Ok(format!("{shares:?}"))
}

fn released_and_rejected(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "again", &[])?;
    scene.produce(server, 0, 10)?;
    let all = scene.all_of(scene.member(server, "release-first", 20)?)?;
    for count in [1, 2] {
        let offsets: BTreeSet<u64> =
            all.iter().filter(|given| given.count == count).map(|given| given.offset).collect();
        ensure!(offsets == (0..10).collect(), "delivery {count}: {offsets:?}");
    }
    scene.produce(server, 10, 10)?;
    let all = scene.all_of(scene.member(server, "reject-odd", 10)?)?;
    ensure!(all.iter().copied().collect::<BTreeSet<_>>() == once(10..20), "{all:?}");
    scene.produce(server, 20, 1)?;
    let after = scene.all_of(scene.member(server, "accept", 1)?)?;
    ensure!(after == [Given { offset: 20, count: 1 }], "{after:?}");
    Ok(String::new())
}

fn lock_runs_out(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "lock", &[])?;
    scene.produce(server, 0, 3)?;
    let holder = scene.member(server, "hold", 3)?;
    for offset in 0..3 {
        ensure!(next(&holder)? == Given { offset, count: 1 }, "another record");
    }
    let held = Instant::now();
    let all = scene.all_of(scene.member(server, "accept", 3)?)?;
    let offsets: Vec<u64> = all.iter().map(|given| given.offset).collect();
    ensure!(offsets == [0, 1, 2] && all.iter().all(|given| given.count == 2), "{all:?}");
    Ok(format!("{:.1} s, the lock is 2 s", held.elapsed().as_secs_f64()))
}

fn renewed(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "renew", &[])?;
    scene.produce(server, 0, 1)?;
    let other = scene.member(server, "accept", 1_000_000)?;
    ensure!(next(&other)? == Given { offset: 0, count: 1 }, "another record");
    other.terminate()?;
    scene.all_of(other)?;
    scene.produce(server, 1, 1)?;
    let renewing = scene.member(server, "renew", 1)?;
    // It works on the record for longer than a lock lasts, while another one waits for it.
    std::thread::sleep(Duration::from_secs(1));
    let waiting = scene.member(server, "accept", 1_000_000)?;
    let all = scene.all_of(renewing)?;
    ensure!(all == [Given { offset: 1, count: 1 }], "{all:?}");
    let stolen = waiting.line(Duration::from_secs(4));
    ensure!(stolen.is_none(), "the other member was given {stolen:?}");
    Ok(String::new())
}

fn killed_member(clients: &Clients, server: &Server) -> Result<String> {
    let lock = ["share.record.lock.duration.ms", "30000"];
    let scene = Scene::new(clients, server, "killed", &lock)?;
    scene.produce(server, 0, 3)?;
    let mut holder = scene.member(server, "hold", 3)?;
    for offset in 0..3 {
        ensure!(next(&holder)? == Given { offset, count: 1 }, "another record");
    }
    holder.kill();
    let killed = Instant::now();
    let all = scene.all_of(scene.member(server, "accept", 3)?)?;
    ensure!(all.iter().all(|given| given.count == 2) && all.len() == 3, "{all:?}");
    let took = killed.elapsed();
    ensure!(took < Duration::from_secs(25), "only after {} s, when the locks ran out", took.as_secs());
    Ok(format!("{:.1} s, the lock is 30 s", took.as_secs_f64()))
}

fn given_up(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "often", &["share.delivery.count.limit", "3"])?;
    scene.produce(server, 0, 1)?;
    let all = scene.all_of(scene.member(server, "release", 3)?)?;
    let counts: Vec<u64> = all.iter().map(|given| given.count).collect();
    ensure!(counts == [1, 2, 3], "{all:?}");
    scene.produce(server, 1, 1)?;
    let after = scene.all_of(scene.member(server, "accept", 1)?)?;
    ensure!(after == [Given { offset: 1, count: 1 }], "{after:?}");
    Ok(String::new())
}

/// Of four records 1 and 3 are rejected; then one is given back until it is given up.
fn dead_letters(clients: &Clients, server: &Server) -> Result<String> {
    let dead = format!("dlq.{}", fresh("letters"));
    let configs = [
        "share.delivery.count.limit",
        "3",
        "errors.deadletterqueue.topic.name",
        &dead,
        "errors.deadletterqueue.copy.record.enable",
        "true",
    ];
    let scene = Scene::new(clients, server, "dead", &configs)?;
    scene.produce(server, 0, 4)?;
    scene.all_of(scene.member(server, "reject-odd", 4)?)?;
    scene.produce(server, 4, 1)?;
    scene.all_of(scene.member(server, "release", 3)?)?;
    let lines = clients.share("letters", server.bootstrap(), &[&dead, "3"])?.finish(WORK_LIMIT)?;
    let rejected = "Offset rejected by client.";
    let expected =
        [(1, 1, rejected), (3, 1, rejected), (4, 3, "Offset delivery count exceeded the threshold.")];
    ensure!(lines.len() == expected.len(), "{lines:?}");
    for (line, (offset, count, why)) in lines.iter().zip(expected) {
        let letter: Value = serde_json::from_str(line).with_context(|| line.clone())?;
        ensure!(number(&letter, "value")? == offset, "{line}");
        for (name, value) in [
            ("topic", scene.topic.clone()),
            ("partition", "0".to_owned()),
            ("offset", offset.to_string()),
            ("group", scene.group.clone()),
            ("delivery.count", count.to_string()),
            ("message", why.to_owned()),
        ] {
            let found = letter.get(format!("__dlq.errors.{name}")).and_then(Value::as_str);
            ensure!(found == Some(&value), "{name} is {found:?} and not {value:?}");
        }
    }
    scene.produce(server, 5, 1)?;
    let after = scene.all_of(scene.member(server, "accept", 1)?)?;
    ensure!(after == [Given { offset: 5, count: 1 }], "{after:?}");
    Ok(String::new())
}

fn committed(clients: &Clients, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "committed", &["share.isolation.level", "read_committed"])?;
    clients.share("transact", server.bootstrap(), &[&scene.topic, "10"])?.json(WORK_LIMIT)?;
    let member = scene.member(server, "accept", 5)?;
    let lines = member.finish(WORK_LIMIT)?;
    let mut values = Vec::new();
    for line in lines.iter().filter(|line| line.contains("offset")) {
        values.push(number(&serde_json::from_str(line)?, "value")?);
    }
    ensure!(values == [1, 3, 5, 7, 9], "{values:?}");
    Ok(String::new())
}

fn killed_broker(clients: &Clients, server: &mut Server) -> Result<String> {
    let scene = Scene::new(clients, server, "restart", &[])?;
    scene.produce(server, 0, 10)?;
    let first = scene.all_of(scene.member(server, "accept", 5)?)?;
    let done: BTreeSet<u64> = first.iter().map(|given| given.offset).collect();
    ensure!(done.len() == 5, "{first:?}");
    server.kill()?;
    std::thread::sleep(Duration::from_secs(1));
    server.start_again()?;
    let rest = scene.all_of(scene.member(server, "accept", 5)?)?;
    let after: BTreeSet<u64> = rest.iter().map(|given| given.offset).collect();
    ensure!(done.is_disjoint(&after), "{:?} came again", done.intersection(&after));
    ensure!(done.union(&after).count() == 10, "{done:?} and {after:?}");
    // A member that is there while the broker dies goes on by itself.
    let member = scene.member(server, "accept", 1_000_000)?;
    scene.produce(server, 10, 1)?;
    ensure!(next(&member)?.offset == 10, "another record");
    std::thread::sleep(Duration::from_secs(1));
    server.kill()?;
    std::thread::sleep(Duration::from_secs(1));
    server.start_again()?;
    scene.produce(server, 11, 5)?;
    let mut went_on = BTreeSet::new();
    while went_on.len() < 5 {
        let line = member.line(PATIENCE).with_context(|| format!("after the kill only {went_on:?} came"))?;
        if line.contains("offset") {
            let offset = given(&line)?.offset;
            ensure!(offset > 10, "{offset} came again");
            went_on.insert(offset);
        }
    }
    member.terminate()?;
    Ok(String::new())
}

/// Kafka's own tool, on a group that has read half of its topic.
fn tool(clients: &Clients, tools: &JavaTools, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "tool", &[])?;
    scene.produce(server, 0, 10)?;
    scene.all_of(scene.member(server, "accept", 10)?)?;
    scene.produce(server, 10, 4)?;
    let run = |args: &[&str], wanted: &[&str]| {
        let all = [&["--bootstrap-server", server.bootstrap()], args].concat();
        tools.expect(TOOL, &all, wanted)
    };
    let (group, topic) = (scene.group.as_str(), scene.topic.as_str());
    run(&["--list"], &[group])?;
    run(&["--list", "--state", "empty"], &[group, "Empty"])?;
    let offsets = ["--describe", "--group", group, "--offsets"];
    // The start offset that is stored may be the one before the last acknowledgement.
    ends_with(&run(&offsets, &[topic])?, topic, &["4"])?;
    run(&["--describe", "--group", group, "--state"], &["Empty"])?;
    let member = scene.member(server, "accept", 1_000_000)?;
    next(&member)?;
    run(&["--describe", "--group", group, "--members"], &["CONSUMER-ID", topic])?;
    run(&["--describe", "--group", group, "--state"], &["Stable"])?;
    let reset = ["--reset-offsets", "--group", group, "--topic", topic, "--to-earliest", "--execute"];
    let refused = run(&reset, &[]).map_err(|error| error.to_string());
    let said = refused.unwrap_or_else(|error| error);
    ensure!(!said.contains("NEW-OFFSET"), "offsets were reset under a member:\n{said}");
    member.terminate()?;
    scene.all_of(member)?;
    run(&reset, &["NEW-OFFSET", topic])?;
    ends_with(&run(&offsets, &[topic])?, topic, &["0", "0", "14"])?;
    let again = scene.all_of(scene.member(server, "accept", 14)?)?;
    ensure!(again.iter().copied().collect::<BTreeSet<_>>() == once(0..14), "{again:?}");
    run(&["--delete-offsets", "--group", group, "--topic", topic], &["Successful"])?;
    run(&["--delete", "--group", group], &["successful"])?;
    let listed = run(&["--list"], &[])?;
    ensure!(!listed.contains(group), "{listed}");
    Ok(String::new())
}

/// A line about the topic that ends so.
fn ends_with(printed: &str, topic: &str, wanted: &[&str]) -> Result<()> {
    let is_so = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.contains(&topic) && words.ends_with(wanted)
    };
    ensure!(printed.lines().any(is_so), "no line of {topic} ends with {wanted:?}:\n{printed}");
    Ok(())
}

fn console(clients: &Clients, tools: &JavaTools, server: &Server) -> Result<String> {
    let scene = Scene::new(clients, server, "console", &[])?;
    scene.produce(server, 0, 3)?;
    let args = [
        "--bootstrap-server",
        server.bootstrap(),
        "--topic",
        &scene.topic,
        "--group",
        &scene.group,
        "--max-messages",
        "3",
        "--timeout-ms",
        "30000",
    ];
    let printed = tools.run(CONSOLE, &args, None)?;
    let lines: Vec<&str> = printed.lines().filter(|line| line.parse::<u64>().is_ok()).collect();
    ensure!(lines == ["0", "1", "2"], "{printed}");
    Ok(String::new())
}
