//! Applications of unmodified Kafka Streams, as streams groups (KIP-1071) and by the classic protocol: they grow, shrink and are
//! killed, the broker is killed under them, and their counts must come out right. With Kafka's own tool for streams groups. It
//! does not look into the protocol: it watches what the applications say and write. Called as `conformance streams`.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::java_tools::JavaTools;
use crate::main_job::{fresh, number};
use crate::program::Program;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const TOOL: &str = "org.apache.kafka.tools.streams.StreamsGroupCommand";
/// How long an application may take to get tasks, or to come through a fault.
const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: u64 = 4;
/// Tasks of the application: one for each partition of its two subtopologies.
const TASKS: u64 = 2 * PARTITIONS;
/// Times short enough to wait for.
const BROKER_TIMES: [(&str, u32); 9] = [
    ("group.streams.min.session.timeout.ms", 3000),
    ("group.streams.session.timeout.ms", 4000),
    ("group.streams.min.heartbeat.interval.ms", 300),
    ("group.streams.heartbeat.interval.ms", 300),
    ("group.streams.initial.rebalance.delay.ms", 300),
    ("group.initial.rebalance.delay.ms", 300),
    ("transaction.state.log.replication.factor", 1),
    ("transaction.state.log.min.isr", 1),
    ("transaction.abort.timed.out.transaction.cleanup.interval.ms", 500),
];

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let setup = BROKER_TIMES
        .iter()
        .fold(Setup::new(kind.clone(), dir.path()), |setup, (key, value)| setup.set(key, value));
    let mut server = Server::start(setup)?;
    let killed = "streams: exactly once over kill -9 of an application and of the broker";
    if server.is_ours() {
        report.check(killed, || exactly_once(&clients, &mut server, dir.path()));
    } else {
        report.skip(killed, "the broker is not ours to kill");
    }
    report.check("streams: at least once, with standby tasks: an application grows and shrinks", || {
        at_least_once(&clients, &server, dir.path())
    });
    report.check("streams: the classic protocol: an application grows and shrinks", || {
        classic(&clients, &server, dir.path())
    });
    let tools = JavaTools::install()?;
    report.check("streams: kafka-streams-groups: list, describe, reset-offsets, delete", || {
        tool(&clients, &tools, &server, dir.path())
    });
    Ok(())
}

/// One application with its topics.
struct Scene<'a> {
    clients: &'a Clients,
    dir: &'a Path,
    app: String,
    input: String,
    output: String,
    configs: Vec<String>,
    produced: u64,
    started: u64,
}

/// What an instance last said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    state: String,
    tasks: u64,
    standby: u64,
}

/// A running instance.
struct Instance {
    program: Program,
    said: Said,
}

impl<'a> Scene<'a> {
    fn new(
        clients: &'a Clients,
        server: &Server,
        dir: &'a Path,
        (name, configs): (&str, &[&str]),
    ) -> Result<Scene<'a>> {
        let app = fresh(&format!("app-{name}"));
        let (input, output) = (format!("{app}.in"), format!("{app}.out"));
        for topic in [&input, &output] {
            clients.call(
                Client::Librdkafka,
                "create",
                server.bootstrap(),
                &[topic, &PARTITIONS.to_string()],
            )?;
        }
        let configs = configs.iter().map(|pair| (*pair).to_owned()).collect();
        Ok(Scene { clients, dir, app, input, output, configs, produced: 0, started: 0 })
    }

    fn produce(&mut self, server: &Server, count: u64) -> Result<()> {
        let numbers = [self.produced, count, PARTITIONS].map(|number| number.to_string());
        let args = [self.input.as_str(), &numbers[0], &numbers[1], &numbers[2]];
        let sent = self.clients.streams("produce", server.bootstrap(), &args)?.json(WORK_LIMIT)?;
        ensure!(number(&sent, "acked")? == count, "{sent}");
        self.produced += count;
        Ok(())
    }

    fn start(&mut self, server: &Server) -> Result<Instance> {
        self.started += 1;
        let state = self.dir.join(format!("{}-{}", self.app, self.started));
        let state = state.to_str().context("a directory whose name is no text")?;
        let mut args = vec![self.app.as_str(), &self.input, &self.output, state];
        args.extend(self.configs.iter().map(String::as_str));
        let program = self.clients.streams("app", server.bootstrap(), &args)?;
        Ok(Instance { program, said: Said::default() })
    }

    /// The counts add up to what was produced, and to no more.
    fn counts(&self, server: &Server) -> Result<String> {
        let numbers = [PARTITIONS, self.produced, PATIENCE.as_secs()].map(|number| number.to_string());
        let args = [self.output.as_str(), &numbers[0], &numbers[1], &numbers[2]];
        let read = self.clients.streams("counts", server.bootstrap(), &args)?.json(WORK_LIMIT)?;
        ensure!(number(&read, "sum")? == self.produced, "{} were produced: {read}", self.produced);
        ensure!(number(&read, "keys")? == 23, "{read}");
        Ok(format!("{} records, {} results", self.produced, number(&read, "records")?))
    }
}

impl Instance {
    /// Takes in what it has said meanwhile.
    fn listen(&mut self) -> Result<()> {
        while let Some(line) = self.program.line(Duration::from_millis(20)) {
            let Ok(said) = serde_json::from_str::<Value>(&line) else { continue };
            if let Some(state) = said.get("state").and_then(Value::as_str) {
                let (tasks, standby) = (number(&said, "tasks")?, number(&said, "standby")?);
                self.said = Said { state: state.to_owned(), tasks, standby };
            }
        }
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    fn close(self) -> Result<()> {
        self.program.terminate()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.program.next_line(Duration::from_secs(1)) {
                Ok(line) if line.contains("closed") => {
                    ensure!(line.contains("true"), "the application did not close: {line}");
                    return Ok(());
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                _ => {}
            }
        }
        anyhow::bail!("the application did not say that it has closed")
    }
}

/// Waits until all of these run all tasks between them, each some, with so many copies.
fn settled(instances: &mut [&mut Instance], standby: u64) -> Result<Vec<u64>> {
    let started = Instant::now();
    loop {
        for instance in instances.iter_mut() {
            instance.listen()?;
        }
        let said: Vec<&Said> = instances.iter().map(|instance| &instance.said).collect();
        let is_running = said.iter().all(|one| one.state == "RUNNING" && one.tasks > 0);
        let tasks: Vec<u64> = said.iter().map(|one| one.tasks).collect();
        let copies: u64 = said.iter().map(|one| one.standby).sum();
        if is_running && tasks.iter().sum::<u64>() == TASKS && copies == standby {
            return Ok(tasks);
        }
        ensure!(started.elapsed() < PATIENCE, "after {} s: {said:?}", PATIENCE.as_secs());
    }
}

fn exactly_once(clients: &Clients, server: &mut Server, dir: &Path) -> Result<String> {
    let configs = [
        "group.protocol=streams",
        "processing.guarantee=exactly_once_v2",
        "producer.transaction.timeout.ms=4000",
    ];
    let mut scene = Scene::new(clients, server, dir, ("eos", &configs))?;
    scene.produce(server, 1000)?;
    let mut first = scene.start(server)?;
    settled(&mut [&mut first], 0)?;
    let mut second = scene.start(server)?;
    let shared = settled(&mut [&mut first, &mut second], 0)?;
    scene.produce(server, 1000)?;
    first.program.kill();
    let killed = Instant::now();
    scene.produce(server, 1000)?;
    let mut third = scene.start(server)?;
    settled(&mut [&mut second, &mut third], 0)?;
    let healed = killed.elapsed();
    server.kill()?;
    std::thread::sleep(Duration::from_millis(500));
    server.start_again()?;
    scene.produce(server, 1000)?;
    let told = scene.counts(server)?;
    third.close()?;
    settled(&mut [&mut second], 0)?;
    scene.produce(server, 1000)?;
    scene.counts(server)?;
    second.close()?;
    Ok(format!("{told}; tasks {shared:?}, {:.1} s after the kill", healed.as_secs_f64()))
}

fn at_least_once(clients: &Clients, server: &Server, dir: &Path) -> Result<String> {
    let configs = ["group.protocol=streams", "processing.guarantee=at_least_once"];
    let mut scene = Scene::new(clients, server, dir, ("alos", &configs))?;
    let standby = [scene.app.as_str(), "streams.num.standby.replicas", "1"];
    clients.share("configure", server.bootstrap(), &standby)?.json(WORK_LIMIT)?;
    scene.produce(server, 1000)?;
    let mut all = [scene.start(server)?, scene.start(server)?, scene.start(server)?];
    let [one, two, three] = &mut all;
    let shared = settled(&mut [one, two, three], PARTITIONS)?;
    scene.produce(server, 1000)?;
    scene.counts(server)?;
    let [mut one, two, three] = all;
    two.close()?;
    three.close()?;
    settled(&mut [&mut one], 0)?;
    scene.produce(server, 1000)?;
    let told = scene.counts(server)?;
    one.close()?;
    Ok(format!("{told}; tasks {shared:?} with {PARTITIONS} standby tasks"))
}

fn classic(clients: &Clients, server: &Server, dir: &Path) -> Result<String> {
    let configs = ["group.protocol=classic", "session.timeout.ms=6000", "heartbeat.interval.ms=500"];
    let mut scene = Scene::new(clients, server, dir, ("classic", &configs))?;
    scene.produce(server, 1000)?;
    let mut one = scene.start(server)?;
    settled(&mut [&mut one], 0)?;
    let mut two = scene.start(server)?;
    // Tasks with state move only once their copies have caught up, which the client looks for every so often.
    let started = Instant::now();
    while two.said.tasks == 0 && started.elapsed() < PATIENCE {
        two.listen()?;
    }
    ensure!(two.said.tasks > 0, "the second instance got nothing: {:?}", two.said);
    scene.produce(server, 1000)?;
    two.close()?;
    settled(&mut [&mut one], 0)?;
    scene.produce(server, 1000)?;
    let told = scene.counts(server)?;
    one.close()?;
    Ok(told)
}

/// Kafka's own tool, on an application that runs, then on one that rests.
fn tool(clients: &Clients, tools: &JavaTools, server: &Server, dir: &Path) -> Result<String> {
    let configs = ["group.protocol=streams"];
    let mut scene = Scene::new(clients, server, dir, ("tool", &configs))?;
    scene.produce(server, 100)?;
    let mut one = scene.start(server)?;
    settled(&mut [&mut one], 0)?;
    scene.counts(server)?;
    let run = |args: &[&str], wanted: &[&str]| {
        let all = [&["--bootstrap-server", server.bootstrap()], args].concat();
        tools.expect(TOOL, &all, wanted)
    };
    let (app, input) = (scene.app.as_str(), scene.input.as_str());
    run(&["--list"], &[app])?;
    run(&["--describe", "--group", app, "--state"], &["Stable"])?;
    run(&["--describe", "--group", app, "--members", "--verbose"], &["ACTIVE:", "0:[0,1,2,3]"])?;
    run(&["--describe", "--group", app, "--offsets"], &[input, "OFFSET-LAG"])?;
    let reset = ["--reset-offsets", "--group", app, "--input-topic", input, "--to-earliest", "--execute"];
    run(&reset, &["can only be reset if the group", "is inactive"]).context("reset under a member")?;
    one.close()?;
    run(&["--list", "--state", "empty"], &[app, "Empty"])?;
    let printed = run(&reset, &["NEW-OFFSET", input])?;
    let rows: Vec<&str> = printed.lines().filter(|line| line.contains(input)).collect();
    let at_start = rows.iter().filter(|row| row.split_whitespace().last() == Some("0")).count();
    ensure!(rows.len() == PARTITIONS as usize && at_start == rows.len(), "{printed}");
    run(&["--delete-offsets", "--group", app, "--input-topic", input], &["Successful"])?;
    run(&["--delete", "--group", app], &["was successful"])?;
    let listed = run(&["--list"], &[])?;
    ensure!(!listed.contains(app), "{listed}");
    Ok(String::new())
}
