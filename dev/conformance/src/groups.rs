//! Consumer groups of five clients: members join, leave, are killed, and the broker is killed under them.
//! It does not look into the protocol: it watches what members say they hold, consumed and committed.
//! Called as `conformance groups`; the fleet of members is in `fleet`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::clients::{Client, Clients};
use crate::fleet::{Fleet, Start};
use crate::main_job::{fresh, number};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// Divides by 1, 2 and 3 members.
const PARTITIONS: u64 = 6;

/// A member that joins or leaves in good order: some heartbeats of 0.5 s and the start of a JVM.
const SETTLE: Duration = Duration::from_secs(45);

/// The times that a broker sets for consumer groups (KIP-848), as short as members set theirs for classic ones.
const BROKER_TIMES: [(&str, u32); 4] = [
    ("group.consumer.min.session.timeout.ms", 6000),
    ("group.consumer.session.timeout.ms", 6000),
    ("group.consumer.min.heartbeat.interval.ms", 500),
    ("group.consumer.heartbeat.interval.ms", 500),
];

/// The members of one group, in the order in which they start; they come round again after the last.
struct Cast {
    name: &'static str,
    members: &'static [(Client, &'static str)],
}

const CASTS: [Cast; 12] = [
    Cast { name: "librdkafka range", members: &[(Client::Librdkafka, "range")] },
    Cast { name: "librdkafka roundrobin", members: &[(Client::Librdkafka, "roundrobin")] },
    Cast { name: "librdkafka cooperative", members: &[(Client::Librdkafka, "cooperative-sticky")] },
    Cast { name: "java range", members: &[(Client::Java, "RangeAssignor")] },
    Cast { name: "java cooperative", members: &[(Client::Java, "CooperativeStickyAssignor")] },
    Cast { name: "franz-go cooperative", members: &[(Client::FranzGo, "cooperative-sticky")] },
    Cast { name: "kafkajs", members: &[(Client::KafkaJs, "RoundRobinAssigner")] },
    Cast { name: "kafka-python roundrobin", members: &[(Client::KafkaPython, "roundrobin")] },
    Cast { name: "librdkafka consumer protocol", members: &[(Client::Librdkafka, "consumer:uniform")] },
    Cast { name: "java consumer protocol", members: &[(Client::Java, "consumer:range")] },
    Cast {
        name: "two clients in one consumer group",
        members: &[(Client::Librdkafka, "consumer:uniform"), (Client::Java, "consumer:uniform")],
    },
    Cast {
        name: "four clients in one group",
        members: &[
            (Client::Librdkafka, "range"),
            (Client::FranzGo, "range"),
            (Client::Java, "RangeAssignor"),
            (Client::KafkaPython, "range"),
        ],
    },
];

/// Two members who are replaced one by one by two of the other protocol, and those by two of the first again.
const ROLLS: [Cast; 3] = [
    Cast {
        name: "java range to the consumer protocol",
        members: &[
            (Client::Java, "RangeAssignor"),
            (Client::Java, "RangeAssignor"),
            (Client::Java, "consumer:uniform"),
            (Client::Java, "consumer:uniform"),
        ],
    },
    Cast {
        name: "java cooperative to the consumer protocol",
        members: &[
            (Client::Java, "CooperativeStickyAssignor"),
            (Client::Java, "CooperativeStickyAssignor"),
            (Client::Java, "consumer:range"),
            (Client::Java, "consumer:range"),
        ],
    },
    Cast {
        name: "two clients to the consumer protocol",
        members: &[
            (Client::Librdkafka, "range"),
            (Client::Java, "RangeAssignor"),
            (Client::Librdkafka, "consumer:uniform"),
            (Client::Java, "consumer:uniform"),
        ],
    },
];

/// Runs every cast through the same life, and static members through theirs.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let setup = BROKER_TIMES
        .iter()
        .fold(Setup::new(kind.clone(), dir.path()), |setup, (key, value)| setup.set(key, value));
    let mut server = Server::start(setup)?;
    for cast in &CASTS {
        let mut life = Life::new(&clients, cast)?;
        life.run(report, &mut server);
    }
    for cast in &ROLLS {
        let mut life = Life::new(&clients, cast)?;
        life.roll(report, &mut server);
    }
    report.check("static members: a restart moves nothing", || static_members(&clients, &server));
    Ok(())
}

struct Life<'a> {
    clients: &'a Clients,
    cast: &'a Cast,
    topic: String,
    group: String,
    fleet: Fleet<'a>,
    produced: u64,
}

type Step<'a> = fn(&mut Life<'a>, &mut Server) -> Result<String>;

impl<'a> Life<'a> {
    fn new(clients: &'a Clients, cast: &'a Cast) -> Result<Life<'a>> {
        let topic = fresh(&format!("group-{}", cast.name.replace(' ', "-")));
        let group = format!("{topic}.members");
        let fleet = Fleet::new(clients, &topic, &group, PARTITIONS);
        Ok(Life { clients, cast, topic, group, fleet, produced: 0 })
    }

    /// A group (KIP-848) whose members change their protocol one by one while they read, and change it back.
    fn roll(&mut self, report: &mut Report, server: &mut Server) {
        let steps: [(&str, Step<'a>); 4] = [
            ("two members share the partitions", Life::pair),
            ("and are replaced one by one while they read", Life::replace_both),
            ("and so are those, by the first protocol again", Life::replace_both),
            ("all leave, offsets are committed", Life::all_leave),
        ];
        for (name, step) in steps {
            if !report.check(format!("{}: {name}", self.cast.name), || step(self, server)) {
                break;
            }
        }
        self.fleet.end();
    }

    fn pair(&mut self, server: &mut Server) -> Result<String> {
        let args = [self.topic.as_str(), &PARTITIONS.to_string()];
        self.clients.call(Client::Librdkafka, "create", server.bootstrap(), &args)?;
        self.produce(server, 200)?;
        self.join(server)?;
        self.join(server)?;
        let took = self.fleet.settle(SETTLE)?;
        self.fleet.consume_to(self.produced, SETTLE)?;
        Ok(format!("{:.1} s", took.as_secs_f64()))
    }

    /// Nothing is read before what was committed, and nothing is passed over.
    fn replace_both(&mut self, server: &mut Server) -> Result<String> {
        let mut took = Vec::new();
        for _ in 0..2 {
            self.wait_for_commits(server)?;
            let committed = self.produced;
            self.fleet.forget_firsts();
            self.join(server)?;
            self.produce(server, 100)?;
            took.push(format!("{:.1} s", self.fleet.settle(SETTLE)?.as_secs_f64()));
            self.fleet.dismiss_oldest()?;
            self.produce(server, 100)?;
            took.push(format!("{:.1} s", self.fleet.settle(SETTLE)?.as_secs_f64()));
            self.fleet.consume_to(self.produced, SETTLE)?;
            for (partition, first) in self.fleet.firsts() {
                ensure!(*first >= committed, "partition {partition} went on at {first}, not at {committed}");
            }
        }
        Ok(took.join(", "))
    }

    /// Each step stands on the one before: the first that fails ends this life.
    fn run(&mut self, report: &mut Report, server: &mut Server) {
        let name = |step: &str| format!("{}: {step}", self.cast.name);
        let names = [
            name("one, two, three members share the partitions"),
            name("a killed member's partitions move"),
            name("two join while one leaves"),
            name("kill -9 of the broker: members go on"),
            name("all leave, offsets are committed"),
            name("a new member resumes where they stopped"),
        ];
        let steps: [Step<'a>; 6] = [
            Life::grow,
            Life::lose_a_member,
            Life::join_and_leave_at_once,
            Life::restart_broker,
            Life::all_leave,
            Life::resume,
        ];
        for (name, step) in names.into_iter().zip(steps) {
            if name.contains("kill -9") && !server.is_ours() {
                report.skip(name, "the broker is not ours to kill");
            } else if !report.check(name, || step(self, server)) {
                break;
            }
        }
        self.fleet.end();
    }

    fn grow(&mut self, server: &mut Server) -> Result<String> {
        let args = [self.topic.as_str(), &PARTITIONS.to_string()];
        self.clients.call(Client::Librdkafka, "create", server.bootstrap(), &args)?;
        self.produce(server, 500)?;
        let mut took = Vec::new();
        for _ in 0..3 {
            self.join(server)?;
            took.push(format!("{:.1} s", self.fleet.settle(SETTLE)?.as_secs_f64()));
        }
        self.produce(server, 200)?;
        self.fleet.consume_to(self.produced, SETTLE)?;
        Ok(took.join(", "))
    }

    fn lose_a_member(&mut self, server: &mut Server) -> Result<String> {
        self.fleet.kill_oldest()?;
        let took = self.fleet.settle(SETTLE)?;
        self.produce(server, 200)?;
        self.fleet.consume_to(self.produced, SETTLE)?;
        Ok(format!("after {:.1} s, session timeout 6 s", took.as_secs_f64()))
    }

    fn join_and_leave_at_once(&mut self, server: &mut Server) -> Result<String> {
        self.join(server)?;
        self.join(server)?;
        std::thread::sleep(Duration::from_millis(300));
        self.fleet.dismiss_oldest()?;
        let took = self.fleet.settle(SETTLE)?;
        self.produce(server, 200)?;
        self.fleet.consume_to(self.produced, SETTLE)?;
        Ok(format!("{:.1} s", took.as_secs_f64()))
    }

    fn restart_broker(&mut self, server: &mut Server) -> Result<String> {
        server.kill()?;
        std::thread::sleep(Duration::from_secs(1));
        server.start_again()?;
        self.produce(server, 300)?;
        let took = self.fleet.consume_to(self.produced, SETTLE)?;
        self.fleet.settle(SETTLE)?;
        Ok(format!("everything consumed {:.1} s after", took.as_secs_f64()))
    }

    fn all_leave(&mut self, server: &mut Server) -> Result<String> {
        self.wait_for_commits(server)?;
        self.fleet.dismiss_all(SETTLE)?;
        self.everything_committed(server)
    }

    fn resume(&mut self, server: &mut Server) -> Result<String> {
        let stopped_at = self.produced;
        self.fleet.forget_firsts();
        self.produce(server, 100)?;
        self.join(server)?;
        self.fleet.settle(SETTLE)?;
        self.fleet.consume_to(self.produced, SETTLE)?;
        for (partition, first) in self.fleet.firsts() {
            ensure!(*first == stopped_at, "partition {partition} went on at {first}, not at {stopped_at}");
        }
        self.wait_for_commits(server)?;
        self.fleet.dismiss_all(SETTLE)?;
        self.everything_committed(server)
    }

    /// Members say what they read before they commit it, and a signal ends a commit that still waits for its
    /// coordinator (the Java client's `wakeup`): nobody is dismissed before all is committed.
    fn wait_for_commits(&self, server: &Server) -> Result<()> {
        let started = Instant::now();
        while let Err(missing) = self.everything_committed(server) {
            ensure!(started.elapsed() < SETTLE, "after {} s: {missing:#}", SETTLE.as_secs());
        }
        Ok(())
    }

    /// The committed offset of every partition is its end.
    fn everything_committed(&self, server: &Server) -> Result<String> {
        let args = [self.topic.as_str(), self.group.as_str()];
        let answer = self.clients.call(Client::Librdkafka, "committed", server.bootstrap(), &args)?;
        let partitions = answer.get("partitions").and_then(Value::as_object).context("no partitions")?;
        ensure!(partitions.len() as u64 == PARTITIONS, "{answer}");
        for (partition, offsets) in partitions {
            let at = |index: usize| offsets.get(index).and_then(Value::as_u64);
            ensure!(at(0) == Some(self.produced), "partition {partition}: [committed, low, high] {offsets}");
            ensure!(at(2) == Some(self.produced), "partition {partition}: [committed, low, high] {offsets}");
        }
        Ok(format!("{} in each partition", self.produced))
    }

    fn produce(&mut self, server: &Server, count: u64) -> Result<()> {
        let args = [self.topic.as_str(), &PARTITIONS.to_string(), &count.to_string()];
        let sent = self.clients.call(Client::Librdkafka, "count_up", server.bootstrap(), &args)?;
        ensure!(number(&sent, "acked")? == count * PARTITIONS, "{sent}");
        self.produced += count;
        Ok(())
    }

    fn join(&mut self, server: &Server) -> Result<()> {
        let turn = self.fleet.started() % self.cast.members.len();
        let (client, strategy) = self.cast.members.get(turn).context("an empty cast")?;
        self.fleet.start(server.bootstrap(), Start { client: *client, strategy, instance: None })
    }
}

/// A static member is killed and comes back within its session: same partitions, and nobody else notices.
fn static_members(clients: &Clients, server: &Server) -> Result<String> {
    let topic = fresh("group-static");
    let group = format!("{topic}.members");
    let args = [topic.as_str(), &PARTITIONS.to_string()];
    clients.call(Client::Librdkafka, "create", server.bootstrap(), &args)?;
    let mut fleet = Fleet::new(clients, &topic, &group, PARTITIONS);
    let one = |name| Start { client: Client::Java, strategy: "RangeAssignor", instance: Some(name) };
    fleet.start(server.bootstrap(), one("first"))?;
    fleet.settle(SETTLE)?;
    fleet.start(server.bootstrap(), one("second"))?;
    fleet.settle(SETTLE)?;
    let before = fleet.held_by_oldest()?;
    let others = fleet.assignments_of_youngest()?;
    fleet.kill_oldest()?;
    fleet.start(server.bootstrap(), one("first"))?;
    fleet.settle(SETTLE)?;
    ensure!(fleet.held_by_youngest()? == before, "it came back to {:?}", fleet.held_by_youngest()?);
    ensure!(fleet.assignments_of_oldest()? == others, "the other member saw a rebalance");
    fleet.end();
    Ok(format!("{} partitions stayed", before.len()))
}
