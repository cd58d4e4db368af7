//! Kafka's own command line tools against the broker: topics, configurations, groups, offsets, records, measurements.
//! It does not repeat what the clients' subjects check; it wants each tool to work and to print what Kafka makes it
//! print. Called as `conformance tools`; every check stands on the ones before it.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::java_tools::JavaTools;
use crate::log_dirs;
use crate::main_job::fresh;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

mod seldom;

const TOPIC: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIG: &str = "kafka.admin.ConfigCommand";
const GROUP: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const FEATURE: &str = "org.apache.kafka.tools.FeatureCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";

/// Runs all of them.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(Setup::new(kind.clone(), dir.path()))?;
    let bench = Bench {
        tools: JavaTools::install()?,
        bootstrap: server.bootstrap().to_owned(),
        topic: fresh("tools"),
        dir: dir.path().to_owned(),
        kind: kind.clone(),
    };
    bench.versions(report);
    bench.topics(report);
    bench.configurations(report);
    bench.features(report);
    bench.console(report);
    bench.groups(report);
    bench.records(report);
    bench.measurements(report);
    bench.verifiable(report);
    seldom::run(&bench, report);
    bench.last_topic(report);
    drop(server);
    let dir = tempfile::tempdir()?;
    log_dirs::run(report, &bench.tools, kind, dir.path())
}

struct Bench {
    tools: JavaTools,
    bootstrap: String,
    topic: String,
    dir: PathBuf,
    kind: Kind,
}

impl Bench {
    /// One check: a tool with `--bootstrap-server` and `args`, and texts that its output must contain.
    fn check(&self, report: &mut Report, name: &str, class: &str, args: &[&str], wanted: &[&str]) {
        report.check(format!("tools: {name}"), || self.tool(class, args, wanted).map(|_| String::new()));
    }

    fn tool(&self, class: &str, args: &[&str], wanted: &[&str]) -> Result<String> {
        let all = [&["--bootstrap-server", self.bootstrap.as_str()], args].concat();
        self.tools.expect(class, &all, wanted)
    }

    fn versions(&self, report: &mut Report) {
        let class = "org.apache.kafka.tools.BrokerApiVersionsCommand";
        let wanted = ["(id: 1 rack: null", "Produce(0): ", "Fetch(1): ", "ListOffsets(2): ", "[usable: "];
        self.check(report, "BrokerApiVersionsCommand", class, &[], &wanted);
    }

    fn topics(&self, report: &mut Report) {
        let topic = self.topic.as_str();
        let create = ["--create", "--topic", topic, "--partitions", "3", "--config", "retention.ms=3600000"];
        self.check(report, "TopicCommand --create", TOPIC, &create, &[&format!("Created topic {topic}")]);
        let described =
            ["PartitionCount: 3", "ReplicationFactor: 1", "retention.ms=3600000", "Isr: 1", "Leader: 1"];
        self.check(report, "TopicCommand --describe", TOPIC, &["--describe", "--topic", topic], &described);
        report.check("tools: TopicCommand --create again is refused", || {
            let error = match self.tool(TOPIC, &create, &[]) {
                Ok(printed) => anyhow::bail!("it was created twice: {printed}"),
                Err(error) => error.to_string(),
            };
            ensure!(error.contains("already exists"), "{error}");
            Ok(String::new())
        });
        self.check(
            report,
            "TopicCommand --alter",
            TOPIC,
            &["--alter", "--topic", topic, "--partitions", "5"],
            &[],
        );
        let args = ["--describe", "--topic", topic];
        self.check(report, "TopicCommand --describe after --alter", TOPIC, &args, &["PartitionCount: 5"]);
        self.check(report, "TopicCommand --list", TOPIC, &["--list"], &[topic]);
    }

    fn configurations(&self, report: &mut Report) {
        let of_topic = ["--entity-type", "topics", "--entity-name", self.topic.as_str()];
        let args = |more: &[&'static str]| [&of_topic[..], more].concat();
        let add =
            args(&["--alter", "--add-config", "max.message.bytes=2000000,cleanup.policy=[compact,delete]"]);
        self.check(report, "ConfigCommand --add-config", CONFIG, &add, &["Completed updating config"]);
        let wanted = ["max.message.bytes=2000000", "cleanup.policy=compact,delete", "retention.ms=3600000"];
        self.check(report, "ConfigCommand --describe", CONFIG, &args(&["--describe"]), &wanted);
        let wanted =
            ["DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000", "DEFAULT_CONFIG:message.max.bytes=1048588"];
        self.check(
            report,
            "ConfigCommand --describe --all",
            CONFIG,
            &args(&["--describe", "--all"]),
            &wanted,
        );
        let delete = args(&["--alter", "--delete-config", "max.message.bytes,cleanup.policy"]);
        self.check(report, "ConfigCommand --delete-config", CONFIG, &delete, &["Completed updating config"]);
        let of_broker = ["--entity-type", "brokers", "--entity-name", "1"];
        let all = [&of_broker[..], &["--describe", "--all"]].concat();
        let wanted = ["log.retention.hours=168", "num.partitions=1", "message.max.bytes=1048588"];
        self.check(report, "ConfigCommand of a broker", CONFIG, &all, &wanted);
        let add = [&of_broker[..], &["--alter", "--add-config", "message.max.bytes=1048600"]].concat();
        self.check(report, "ConfigCommand changes a broker", CONFIG, &add, &["Completed updating config"]);
        let wanted = ["DYNAMIC_BROKER_CONFIG:message.max.bytes=1048600"];
        self.check(report, "ConfigCommand of the changed broker", CONFIG, &all, &wanted);
        let back = [&of_broker[..], &["--alter", "--delete-config", "message.max.bytes"]].concat();
        self.check(report, "ConfigCommand changes it back", CONFIG, &back, &["Completed updating config"]);
    }

    fn features(&self, report: &mut Report) {
        let wanted = ["group.version", "metadata.version", "FinalizedVersionLevel"];
        self.check(report, "FeatureCommand describe", FEATURE, &["describe"], &wanted);
        for (name, args, wanted) in [
            (
                "a dry run",
                &["downgrade", "--feature", "group.version=0", "--dry-run"][..],
                "can be downgraded to 0",
            ),
            ("down", &["downgrade", "--feature", "group.version=0"], "group.version was downgraded to 0"),
            ("up", &["upgrade", "--feature", "group.version=1"], "group.version was upgraded to 1"),
        ] {
            self.check(report, &format!("FeatureCommand, {name}"), FEATURE, args, &[wanted]);
        }
    }

    fn console(&self, report: &mut Report) {
        report.check("tools: ConsoleProducer", || {
            let file = self.dir.join("lines");
            fs::write(&file, "a:one\na:two\nb:three\n")?;
            let properties = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"];
            let start = ["--bootstrap-server", &self.bootstrap, "--topic", &self.topic];
            let args = [&start[..], &properties].concat();
            self.tools.run("org.apache.kafka.tools.ConsoleProducer", &args, Some(File::open(file)?))
        });
        report.check("tools: ConsoleConsumer", || {
            let class = "org.apache.kafka.tools.consumer.ConsoleConsumer";
            let key = ["--formatter-property", "print.key=true"];
            let bounds = ["--from-beginning", "--max-messages", "3", "--timeout-ms", "30000"];
            let start = ["--topic", self.topic.as_str(), "--group", "tools-console"];
            let printed = self.tool(class, &[&start[..], &bounds, &key].concat(), &[])?;
            let mut lines: Vec<&str> = printed.lines().filter(|line| line.contains('\t')).collect();
            lines.sort_unstable();
            ensure!(lines == ["a\tone", "a\ttwo", "b\tthree"], "{printed}");
            Ok("three records with their keys".to_owned())
        });
        let describe = ["--describe", "--group", "tools-console"];
        let wanted = ["CURRENT-OFFSET", "LOG-END-OFFSET", &self.topic];
        self.check(report, "ConsumerGroupCommand --describe", GROUP, &describe, &wanted);
    }

    fn groups(&self, report: &mut Report) {
        self.check(report, "ConsumerGroupCommand --list", GROUP, &["--list"], &["tools-console"]);
        let state = ["--list", "--state"];
        self.check(report, "ConsumerGroupCommand --list --state", GROUP, &state, &["tools-console", "Empty"]);
        let describe = ["--describe", "--group", "tools-console", "--state"];
        self.check(report, "ConsumerGroupCommand --describe --state", GROUP, &describe, &["Empty", "(1)"]);
        report.check("tools: ConsumerGroupCommand --reset-offsets", || {
            let of = ["--reset-offsets", "--group", "tools-console", "--topic", &self.topic];
            let to = [&of[..], &["--to-earliest", "--execute"]].concat();
            let printed = self.tool(GROUP, &to, &["NEW-OFFSET"])?;
            let rows: Vec<&str> = printed.lines().filter(|line| line.contains(self.topic.as_str())).collect();
            let at_zero = rows.iter().filter(|row| row.split_whitespace().any(|cell| cell == "0")).count();
            ensure!(!rows.is_empty() && at_zero == rows.len(), "{printed}");
            Ok(format!("{} partitions at 0", rows.len()))
        });
        let delete = ["--delete-offsets", "--group", "tools-console", "--topic", self.topic.as_str()];
        self.check(report, "ConsumerGroupCommand --delete-offsets", GROUP, &delete, &["Successful"]);
        let delete = ["--delete", "--group", "tools-console"];
        self.check(report, "ConsumerGroupCommand --delete", GROUP, &delete, &["was successful"]);
    }

    fn records(&self, report: &mut Report) {
        for (name, at) in [("latest", "-1"), ("max timestamp", "-3")] {
            let args = ["--topic", self.topic.as_str(), "--time", at];
            self.check(
                report,
                &format!("GetOffsetShell, {name}"),
                OFFSETS,
                &args,
                &[&format!("{}:", self.topic)],
            );
        }
        report.check("tools: DeleteRecordsCommand", || {
            let first = self.first_offsets("-1")?;
            let (partition, end) = first.iter().find(|(_, end)| *end > 0).copied().unwrap_or_default();
            ensure!(end > 0, "no partition has a record");
            let file = self.dir.join("delete.json");
            let topic = &self.topic;
            let json = format!(
                "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":1}}]}}"
            );
            fs::write(&file, json)?;
            let class = "org.apache.kafka.tools.DeleteRecordsCommand";
            let file = file.display().to_string();
            self.tool(class, &["--offset-json-file", &file], &["low_watermark: 1"])?;
            let now = self.first_offsets("-2")?;
            ensure!(now.contains(&(partition, 1)), "the first offsets are {now:?}");
            Ok(format!("partition {partition} begins at 1"))
        });
        let args = ["--describe", "--topic-list", self.topic.as_str()];
        let wanted = ["\"partition\":", "\"size\":", "\"isFuture\":false", &self.topic];
        self.check(report, "LogDirsCommand", "org.apache.kafka.tools.LogDirsCommand", &args, &wanted);
    }

    /// Partition and offset, as GetOffsetShell prints them for a time.
    fn first_offsets(&self, time: &str) -> Result<Vec<(u32, u64)>> {
        let printed = self.tool(OFFSETS, &["--topic", &self.topic, "--time", time], &[])?;
        let row = |line: &str| {
            let mut cells = line.rsplit(':');
            let offset = cells.next()?.parse().ok()?;
            Some((cells.next()?.parse().ok()?, offset))
        };
        Ok(printed.lines().filter_map(row).collect())
    }

    fn measurements(&self, report: &mut Report) {
        let topic = ["--topic", self.topic.as_str()];
        let size = ["--num-records", "20000", "--record-size", "200", "--throughput", "-1"];
        let args = [&topic[..], &size].concat();
        let class = "org.apache.kafka.tools.ProducerPerformance";
        self.check(report, "ProducerPerformance", class, &args, &["20000 records sent"]);
        let args = [&topic[..], &["--num-records", "20000", "--timeout", "30000"]].concat();
        let class = "org.apache.kafka.tools.ConsumerPerformance";
        self.check(report, "ConsumerPerformance", class, &args, &["fetch.nMsg.sec"]);
    }

    fn verifiable(&self, report: &mut Report) {
        let args = ["--topic", self.topic.as_str(), "--max-messages", "2000", "--throughput", "-1"];
        let class = "org.apache.kafka.tools.VerifiableProducer";
        self.check(report, "VerifiableProducer", class, &args, &["\"sent\":2000,\"acked\":2000"]);
        let group = ["--group-id", "tools-verifiable", "--reset-policy", "earliest"];
        let args = [&["--topic", self.topic.as_str(), "--max-messages", "20000"], &group[..]].concat();
        let class = "org.apache.kafka.tools.VerifiableConsumer";
        self.check(report, "VerifiableConsumer", class, &args, &["partitions_assigned", "\"success\":true"]);
    }

    fn last_topic(&self, report: &mut Report) {
        let delete = ["--delete", "--topic", self.topic.as_str()];
        self.check(report, "TopicCommand --delete", TOPIC, &delete, &[]);
        report.check("tools: TopicCommand --list after --delete", || {
            let printed = self.tool(TOPIC, &["--list"], &[])?;
            ensure!(printed.lines().all(|line| line != self.topic), "{printed}");
            Ok(String::new())
        });
    }
}
