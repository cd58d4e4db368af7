//! Sessions of unmodified clients and of Kafka's tools that are recorded: each does a little of one thing, alone, so that
//! what it asks follows from what it was told and not from the moment.
//!
//! It judges only that the session went well with Apache Kafka. Called by `compare`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::proxy::Proxy;
use super::sweep::{Sweep, scenarios};
use crate::clients::{Client, Clients, WORK_LIMIT};
use crate::fleet::{Fleet, Start};
use crate::java_tools::JavaTools;
use crate::main_job::{CODECS, all_acked, fresh, number};
use crate::report::Report;
use crate::server::Kind;
use crate::tools;

const ROWS: &str = "500";
const RECORDS: u64 = 20;
const PARTITIONS: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: &str = "kafka.admin.ConfigCommand";

/// Groups of one member.
const MEMBERS: [(Client, &str); 8] = [
    (Client::Librdkafka, "range"),
    (Client::Librdkafka, "cooperative-sticky"),
    (Client::Librdkafka, "consumer:uniform"),
    (Client::Java, "RangeAssignor"),
    (Client::Java, "consumer:range"),
    (Client::FranzGo, "cooperative-sticky"),
    (Client::KafkaJs, "RoundRobinAssigner"),
    (Client::KafkaPython, "roundrobin"),
];

struct Bench<'a> {
    clients: Clients,
    tools: JavaTools,
    bootstrap: &'a str,
    dir: &'a Path,
}

/// All of them.
pub fn all(sweep: &mut Sweep<'_>, recorder: &Proxy, report: &mut Report, bootstrap: &str) -> Result<()> {
    // The first scenario makes the brokers' own topics.
    let first = scenarios()?;
    sweep.play(first.first().context("there is no scenario")?)?;
    let dir = tempfile::tempdir()?;
    let bench =
        Bench { clients: Clients::install()?, tools: JavaTools::install()?, bootstrap, dir: dir.path() };
    let mut session = |name: String, work: &dyn Fn() -> Result<()>| {
        recorder.begin(&name);
        report.check(format!("compare: Apache Kafka serves: {name}"), || work().map(|()| String::new()));
    };
    for codec in CODECS {
        session(format!("{codec} through five clients"), &|| bench.codec(codec));
    }
    for (client, strategy) in MEMBERS {
        session(format!("{} as a member, {strategy}", client.name()), &|| bench.member(client, strategy));
    }
    for client in [Client::Librdkafka, Client::Java] {
        session(format!("{} in transactions", client.name()), &|| bench.transactions(client));
    }
    session("a share group".into(), &|| bench.share());
    session("a streams group".into(), &|| bench.streams());
    session("quotas".into(), &|| bench.quotas());
    recorder.begin("Kafka's tools");
    tools::run(report, &Kind::External(bootstrap.to_owned()))
}

impl Bench<'_> {
    fn topic(&self, name: &str, partitions: u64) -> Result<String> {
        let topic = fresh(name);
        let args = [topic.as_str(), &partitions.to_string()];
        self.clients.call(Client::Librdkafka, "create", self.bootstrap, &args)?;
        Ok(topic)
    }

    fn codec(&self, codec: &str) -> Result<()> {
        let (topic, compression) = (self.topic("codec", 2)?, format!("compression.type={codec}"));
        let file = self.clients.flights.to_str().context("the cache has a name that is no text")?;
        let args = [&topic, file, "0", ROWS, "own", "enable.idempotence=true", &compression];
        all_acked(&self.clients.call(Client::Librdkafka, "write", self.bootstrap, &args)?, ROWS.parse()?)?;
        for client in Client::ALL {
            let read = self.clients.call(client, "read", self.bootstrap, &[&topic])?;
            ensure!(number(&read, "count")? == ROWS.parse::<u64>()?, "{}: {read}", client.name());
        }
        let args = [topic.as_str(), file, "0", ROWS, codec];
        all_acked(&self.clients.call(Client::Java, "write", self.bootstrap, &args)?, ROWS.parse()?)?;
        self.clients.call(Client::Librdkafka, "delete", self.bootstrap, &[&topic]).map(drop)
    }

    fn member(&self, client: Client, strategy: &str) -> Result<()> {
        let topic = self.topic("member", PARTITIONS)?;
        let args = [topic.as_str(), &PARTITIONS.to_string(), &RECORDS.to_string()];
        self.clients.call(Client::Librdkafka, "count_up", self.bootstrap, &args)?;
        let group = format!("{topic}.group");
        let mut fleet = Fleet::new(&self.clients, &topic, &group, PARTITIONS);
        fleet.start(self.bootstrap, Start { client, strategy, instance: None })?;
        fleet.settle(PATIENCE)?;
        fleet.consume_to(RECORDS, PATIENCE)?;
        std::thread::sleep(Duration::from_secs(1));
        fleet.dismiss_all(PATIENCE)
    }

    fn transactions(&self, client: Client) -> Result<()> {
        let topic = self.topic("transact", 2)?;
        let id = format!("{topic}.id");
        let args = [topic.as_str(), id.as_str(), "6"];
        self.clients.transactions(client, "transact", self.bootstrap, &args)?.json(WORK_LIMIT)?;
        for isolation in ["read_committed", "read_uncommitted"] {
            let read = self.clients.transactions(client, "read", self.bootstrap, &[&topic, isolation])?;
            read.json(WORK_LIMIT)?;
        }
        Ok(())
    }

    fn share(&self) -> Result<()> {
        let topic = self.topic("share", 1)?;
        let group = format!("{topic}.group");
        let configs = [group.as_str(), "share.auto.offset.reset", "earliest"];
        self.clients.share("configure", self.bootstrap, &configs)?.json(WORK_LIMIT)?;
        let produce = [topic.as_str(), "0", &RECORDS.to_string()];
        self.clients.share("produce", self.bootstrap, &produce)?.json(WORK_LIMIT)?;
        let args = [topic.as_str(), &group, "accept", &RECORDS.to_string(), "max.poll.records=5"];
        self.clients.share("member", self.bootstrap, &args)?.finish(WORK_LIMIT).map(drop)
    }

    fn streams(&self) -> Result<()> {
        let (input, output) = (self.topic("in", 2)?, self.topic("out", 2)?);
        let produce = [input.as_str(), "0", "46", "2"];
        self.clients.streams("produce", self.bootstrap, &produce)?.json(WORK_LIMIT)?;
        let app = fresh("app");
        let state = self.dir.join(&app);
        let state = state.to_str().context("a directory whose name is no text")?;
        let args = [app.as_str(), &input, &output, state, "group.protocol=streams"];
        let running = self.clients.streams("app", self.bootstrap, &args)?;
        let counts = [output.as_str(), "2", "46", "60"];
        self.clients.streams("counts", self.bootstrap, &counts)?.json(WORK_LIMIT)?;
        running.terminate()?;
        running.finish(PATIENCE).map(drop)
    }

    fn quotas(&self) -> Result<()> {
        let user = ["--entity-type", "users", "--entity-name", "u"];
        let ip = ["--entity-type", "ips", "--entity-name", "10.1.2.3"];
        for (entity, quota) in
            [(user, "producer_byte_rate=1024,request_percentage=12.5"), (ip, "connection_creation_rate=7")]
        {
            let names: Vec<&str> = quota.split(',').filter_map(|pair| pair.split('=').next()).collect();
            self.tool(&[&["--alter", "--add-config", quota], &entity[..]].concat())?;
            self.tool(&[&["--describe"], &entity[..]].concat())?;
            self.tool(&[&["--alter", "--delete-config", &names.join(",")], &entity[..]].concat())?;
        }
        Ok(())
    }

    fn tool(&self, args: &[&str]) -> Result<String> {
        self.tools.run(CONFIG, &[&["--bootstrap-server", self.bootstrap], args].concat(), None)
    }
}
