//! Three nodes as one cluster under unmodified clients: killed leaders, killed controllers, paused nodes, rolling
//! restarts, and the whole data set through it all. It measures how long no record of a partition was acknowledged.
//! The rolling restart is in `rolling`, what Kafka's tools do to the cluster in `tools`. Called as `conformance cluster`; with
//! `--against kafka` it measures the same of Apache Kafka, which takes longer than is allowed here.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::main_job::{FLIGHTS, all_acked, fresh, number, same};
use crate::nodes::{Nodes, RACK, READ_IN_OWN_RACK};
use crate::program::{Program, run as run_program, signal};
use crate::quotas::get;
use crate::report::Report;
use crate::server::{Kind, Server, odradek_binary};

mod rolling;
mod tools;

const PARTITIONS: usize = 6;
/// How long no record of a partition may be acknowledged after something has happened to a node. What it takes is told; this
/// is where it is broken, on a machine that may be busy: the library looks for a new leader once a second.
const SILENT_MS_MAX: u64 = 5_000;
/// How long a replica may take to be in sync again.
const IN_SYNC_LIMIT: Duration = Duration::from_secs(30);
/// How long the cluster is left alone before and after something happens to it.
const CALM: Duration = Duration::from_secs(3);
/// Rows a second, so that several leaders die under one data set.
const RATE: u64 = 8_000;
/// Rows that are read in each rack.
const NEAR: u64 = 20_000;
/// How often a leader dies meanwhile, and for how long it is gone.
const KILL_EVERY: Duration = Duration::from_secs(10);
const GONE: Duration = Duration::from_secs(3);

/// Runs it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if matches!(kind, Kind::External(_)) {
        report.skip("three nodes", "a foreign cluster is not ours to kill");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let started = Instant::now();
    let mut nodes = None;
    report.check("three commands on empty directories form a cluster", || {
        nodes = Some(Nodes::start(kind, dir.path(), &[("log.retention.ms", "-1"), READ_IN_OWN_RACK])?);
        Ok(format!("{:.2} s", started.elapsed().as_secs_f64()))
    });
    let nodes = nodes.context("there is no cluster")?;
    let mut trial = Trial { clients: &clients, nodes, topic: fresh("pulse") };
    report.check("our own commands create, produce with acks=all and consume", || trial.own_commands());
    let name = "a consumer reads from the replica in its rack, whichever that is";
    if *kind == Kind::Odradek {
        report.check(name, || trial.own_rack());
    } else {
        report.skip(name, "only /metrics tells from whom it has read");
    }
    trial.strikes(report);
    report
        .check("a rolling restart under producers, groups and transactions: no error, nothing lost", || {
            trial.rolling_restart()
        });
    trial.tools(report, dir.path())?;
    trial.membership(report, dir.path())?;
    trial.flights(report)
}

struct Trial<'a> {
    clients: &'a Clients,
    nodes: Nodes,
    topic: String,
}

/// What a client knows of the cluster.
struct Seen {
    controller: u64,
    leaders: Vec<u64>,
    in_sync: Vec<usize>,
}

impl Trial<'_> {
    fn own_commands(&mut self) -> Result<String> {
        let partitions = PARTITIONS.to_string();
        let topic = self.topic.clone();
        self.odradek(&["topic", "create", &topic, "-p", &partitions, "-r", "3"])?;
        let flights = self.clients.flights.to_str().context("the cache has a name that is no text")?;
        let head = run_program("head", command("head", &["-n", "1000", flights]), WORK_LIMIT)?;
        let script = format!(
            "head -n 1000 '{flights}' | '{}' produce {topic} -b {}",
            odradek_binary()?.display(),
            self.nodes.bootstrap()
        );
        run_program("odradek produce", command("bash", &["-c", &script]), WORK_LIMIT)?;
        let read =
            self.clients.call(Client::Librdkafka, "committed", &self.nodes.bootstrap(), &[&topic, "g"])?;
        let bounds = read.get("partitions").and_then(Value::as_object).context("no partitions")?;
        let high = |one: &Value| one.get(2).and_then(Value::as_u64).unwrap_or(0);
        let there: u64 = bounds.values().map(high).sum();
        ensure!(there == head.lines().count() as u64, "{there} records are there");
        Ok(format!("{there} records on {PARTITIONS} partitions with 3 replicas"))
    }

    /// Who sends the records of one partition, whether it leads or follows.
    fn own_rack(&self) -> Result<String> {
        let topic = fresh("near");
        self.odradek(&["topic", "create", &topic, "-p", "1", "-r", "3"])?;
        let file = self.clients.flights.to_str().context("the cache has a name that is no text")?;
        let last = NEAR.to_string();
        let args = [topic.as_str(), file, "0", &last, "own", "acks=all"];
        let written = self.clients.call(Client::Librdkafka, "write", &self.nodes.bootstrap(), &args)?;
        all_acked(&written, NEAR)?;
        // The followers have everything, and hear of the high watermark with their next fetch.
        thread::sleep(CALM);
        let expected = self.clients.expected(NEAR, None)?;
        for near in 1..=3 {
            let before = self.bytes_sent()?;
            let rack = format!("client.rack={RACK}{near}");
            let read =
                self.clients.call(Client::Librdkafka, "read", &self.nodes.bootstrap(), &[&topic, &rack])?;
            same(&expected, &read)?;
            let after = self.bytes_sent()?;
            let sent: Vec<_> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
            let is_right = |(node, bytes): (u64, &u64)| (*bytes > 0) == (node == near);
            ensure!((1..).zip(&sent).all(is_right), "in {RACK}{near} the nodes have sent {sent:?} bytes");
        }
        Ok(format!("{NEAR} records from each node"))
    }

    /// Bytes of records that each node has sent so far.
    fn bytes_sent(&self) -> Result<Vec<u64>> {
        let of = |server: &Server| -> Result<u64> {
            let shown = get(&server.http().context("no private listener")?, "/metrics")?;
            let line = shown.lines().find_map(|line| line.strip_prefix("odradek_record_bytes_out_total "));
            line.context("no odradek_record_bytes_out_total")?
                .trim()
                .parse()
                .context("its value is no number")
        };
        self.nodes.servers().iter().map(of).collect()
    }

    /// Leaders and controllers that die or hang.
    fn strikes(&mut self, report: &mut Report) {
        let name = "kill -9 of a leader that is not the controller";
        report.check(format!("{name}: acknowledged again"), || {
            self.strike(|nodes, seen| {
                let victim = *seen.leaders.iter().find(|id| **id != seen.controller).context("none")?;
                nodes.kill(victim)?;
                Ok(victim)
            })
        });
        report.check("kill -9 of the active controller: acknowledged again", || {
            self.strike(|nodes, seen| {
                nodes.kill(seen.controller)?;
                Ok(seen.controller)
            })
        });
        report.check("SIGSTOP of a leader: acknowledged again", || {
            self.pause(|seen| seen.leaders.iter().copied().find(|id| *id != seen.controller))
        });
        report.check("SIGSTOP of the active controller: acknowledged again", || {
            self.pause(|seen| Some(seen.controller))
        });
    }

    /// Lets something happen under load, sees how long each partition was silent, and lets the node come back.
    fn strike(&mut self, hit: impl FnOnce(&mut Nodes, &Seen) -> Result<u64>) -> Result<String> {
        let seen = self.until_in_sync()?;
        let pulse = self.pulse(&[])?;
        thread::sleep(CALM);
        let victim = hit(&mut self.nodes, &seen)?;
        thread::sleep(CALM * 2);
        let silence = silence(pulse)?;
        let back = self.nodes.start_again(victim)?;
        let rejoining = Instant::now();
        self.until_in_sync()?;
        let gap = within(&silence)?;
        Ok(format!(
            "{gap} ms; back after {:.2} s, in sync {:.2} s later",
            back.as_secs_f64(),
            rejoining.elapsed().as_secs_f64()
        ))
    }

    /// The same with a node that hangs and goes on.
    fn pause(&mut self, whom: impl FnOnce(&Seen) -> Option<u64>) -> Result<String> {
        let seen = self.until_in_sync()?;
        let victim = whom(&seen).context("nobody leads")?;
        // Nothing tells a client that a node hangs: by default it looks again after five minutes.
        let pulse = self.pulse(&["topic.metadata.refresh.interval.ms=300"])?;
        thread::sleep(CALM);
        let pid = self.nodes.node(victim)?.pid()?;
        signal(pid, rustix::process::Signal::STOP)?;
        thread::sleep(CALM * 3);
        signal(pid, rustix::process::Signal::CONT)?;
        let silence = silence(pulse)?;
        self.until_in_sync()?;
        Ok(format!("{} ms", within(&silence)?))
    }

    /// The whole data set while a leader dies every ten seconds.
    fn flights(&mut self, report: &mut Report) -> Result<()> {
        let expected = self.clients.expected(FLIGHTS, None)?;
        for (producer, idempotence) in [("an idempotent producer", "true"), ("a plain producer", "false")] {
            let title = format!("a leader dies every {} s under {producer}", KILL_EVERY.as_secs());
            let topic = fresh("flights");
            let written = report.check(format!("{title}: all acknowledged"), || {
                self.odradek(&["topic", "create", &topic, "-p", "6", "-r", "3"])?;
                self.write_through_kills(&topic, idempotence)
            });
            for reader in [Client::Librdkafka, Client::Java] {
                report.check(format!("{title}: {} reads", reader.name()), || {
                    ensure!(written, "not everything was written");
                    let read = self.clients.call(reader, "read", &self.nodes.bootstrap(), &[&topic])?;
                    if idempotence == "true" {
                        return same(&expected, &read);
                    }
                    let (count, rows) = (number(&read, "count")?, number(&read, "rows")?);
                    ensure!(
                        rows == FLIGHTS,
                        "{} acknowledged rows are missing",
                        FLIGHTS.saturating_sub(rows)
                    );
                    Ok(format!("no row missing, {} twice", count.saturating_sub(rows)))
                });
            }
        }
        Ok(())
    }

    fn write_through_kills(&mut self, topic: &str, idempotence: &str) -> Result<String> {
        let file = self.clients.flights.to_str().context("the cache has a name that is no text")?;
        let (last, rate) = (FLIGHTS.to_string(), format!("rate={RATE}"));
        let idempotence = format!("enable.idempotence={idempotence}");
        let args = [topic, file, "0", &last, "own", &idempotence, "acks=all", "compression.type=lz4", &rate];
        let bootstrap = self.nodes.bootstrap();
        let writer = self.clients.start(Client::Librdkafka, "write", &bootstrap, &args)?;
        let mut kills = 0;
        let mut next = Instant::now() + KILL_EVERY;
        loop {
            let line = writer.line(WORK_LIMIT).context("the producer ended too early")?;
            let event: Value = serde_json::from_str(&line)?;
            if event.get("acked").is_some() {
                all_acked(&event, FLIGHTS)?;
                break;
            }
            if Instant::now() >= next {
                next += KILL_EVERY;
                self.kill_leader(topic)?;
                kills += 1;
            }
        }
        ensure!(kills >= 2, "the producer was done after {kills} kills");
        Ok(format!("{kills} leaders died"))
    }

    fn kill_leader(&mut self, topic: &str) -> Result<()> {
        let leader = *self.seen(topic)?.leaders.first().context("there is no partition")?;
        self.nodes.kill(leader)?;
        thread::sleep(GONE);
        self.nodes.start_again(leader)?;
        Ok(())
    }

    fn pulse(&self, settings: &[&str]) -> Result<Program> {
        let args = [&[self.topic.as_str()], settings].concat();
        let pulse = self.clients.start(Client::Librdkafka, "pulse", &self.nodes.bootstrap(), &args)?;
        let line = pulse.line(WORK_LIMIT).context("the producer does not begin")?;
        ensure!(line.contains("pulsing"), "the producer says {line}");
        Ok(pulse)
    }

    fn seen(&self, topic: &str) -> Result<Seen> {
        let seen = self.clients.call(Client::Librdkafka, "describe", &self.nodes.bootstrap(), &[topic])?;
        let list = |field: &str| seen.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(Seen {
            controller: number(&seen, "controller")?,
            leaders: list("leaders").iter().filter_map(Value::as_u64).collect(),
            in_sync: list("in_sync").iter().map(|isr| isr.as_array().map_or(0, Vec::len)).collect(),
        })
    }

    /// Waits until every partition has all its replicas in sync.
    fn until_in_sync(&self) -> Result<Seen> {
        let begun = Instant::now();
        loop {
            let seen = self.seen(&self.topic)?;
            if seen.in_sync.len() == PARTITIONS && seen.in_sync.iter().all(|count| *count == 3) {
                return Ok(seen);
            }
            if begun.elapsed() > IN_SYNC_LIMIT {
                bail!("in sync are {:?} of 3 replicas after {IN_SYNC_LIMIT:?}", seen.in_sync);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn odradek(&self, args: &[&str]) -> Result<String> {
        let bootstrap = self.nodes.bootstrap();
        let mut command = Command::new(odradek_binary()?);
        command.args(args).args(["-b", &bootstrap]);
        run_program(&format!("odradek {}", args.join(" ")), command, WORK_LIMIT)
    }
}

fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// Ends the pulse; what it has seen.
fn silence(pulse: Program) -> Result<Value> {
    pulse.terminate()?;
    pulse.json(WORK_LIMIT)
}

/// The longest silence of any partition; an error if it was too long, or if anything failed.
fn within(pulse: &Value) -> Result<u64> {
    ensure!(number(pulse, "failed")? == 0, "a client would have shown an error: {pulse}");
    let gaps = pulse.get("gaps_ms").and_then(Value::as_array).context("no gaps")?;
    let longest = gaps.iter().filter_map(Value::as_u64).max().context("no gaps")?;
    ensure!(
        longest <= SILENT_MS_MAX,
        "nothing was acknowledged for {longest} ms, {SILENT_MS_MAX} are allowed: {pulse}"
    );
    Ok(longest)
}
