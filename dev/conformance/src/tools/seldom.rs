//! Kafka's tools that are seldom in anybody's hand, and seldom used options of the others: what they are for has to happen, not
//! only what they print. It stands on the topic that the subject `tools` has filled. Called by `tools`.

use std::collections::BTreeSet;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Bench, CONFIG, GROUP, OFFSETS, TOPIC};
use crate::program::Program;
use crate::report::Report;
use crate::server::Kind;

const CONSOLE: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const VERIFIABLE_PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";
/// How long a tool may take to say something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of a topic that is copied.
const COPIED: usize = 500;

/// What it is told that the broker can do.
const SUPPORTED: [&str; 5] = [
    "--offsets-for-times-supported",
    "--cluster-id-supported",
    "--create-topics-supported",
    "--describe-configs-supported",
    "--idempotent-producer-supported",
];

/// All of them.
pub(super) fn run(bench: &Bench, report: &mut Report) {
    bench.cluster(report);
    bench.filters(report);
    bench.members(report);
    bench.listings(report);
    bench.shares(report);
    bench.copier(report);
    bench.resetter(report);
    bench.compatibility(report);
}

impl Bench {
    fn cluster(&self, report: &mut Report) {
        let class = "org.apache.kafka.tools.ClusterTool";
        for (args, wanted) in [
            (&["cluster-id"][..], &["Cluster ID: "][..]),
            (&["list-endpoints"], &["ENDPOINT_TYPE", "broker"]),
            (&["list-endpoints", "--include-fenced-brokers"], &["STATE", "unfenced"]),
        ] {
            report.check(format!("tools: ClusterTool {}", args.join(" ")), || {
                let all = [args, &["--bootstrap-server", &self.bootstrap]].concat();
                self.tools.expect(class, &all, wanted).map(|_| String::new())
            });
        }
        let class = "org.apache.kafka.tools.MetadataQuorumCommand";
        let wanted = ["LeaderId:", "HighWatermark:", "CurrentVoters:"];
        self.check(report, "MetadataQuorumCommand --status", class, &["describe", "--status"], &wanted);
        let wanted = ["LogEndOffset", "Leader"];
        let args = ["describe", "--replication"];
        self.check(report, "MetadataQuorumCommand --replication", class, &args, &wanted);
        let loggers = ["--entity-type", "broker-loggers", "--entity-name", "1", "--describe"];
        self.check(report, "ConfigCommand of broker-loggers", CONFIG, &loggers, &["Dynamic configs for"]);
        let class = "org.apache.kafka.tools.FeatureCommand";
        let wanted = ["metadata.version=", "group.version=1"];
        let args = ["version-mapping", "--release-version", "4.3"];
        self.check(report, "FeatureCommand version-mapping", class, &args, &wanted);
        let class = "org.apache.kafka.tools.EndToEndLatency";
        let size = ["--num-records", "500", "--producer-acks", "all", "--record-size", "100"];
        let args = [&["--topic", "tools-latency"][..], &size].concat();
        self.check(report, "EndToEndLatency", class, &args, &["Percentiles: 50th"]);
    }

    /// What TopicCommand and GetOffsetShell can be narrowed to.
    fn filters(&self, report: &mut Report) {
        for filter in [
            "--under-replicated-partitions",
            "--unavailable-partitions",
            "--under-min-isr-partitions",
            "--at-min-isr-partitions",
        ] {
            report.check(format!("tools: TopicCommand {filter}"), || {
                let printed = self.tool(TOPIC, &["--describe", filter, "--topic", &self.topic], &[])?;
                // One replica of one that has to be in sync.
                let is_told = filter == "--at-min-isr-partitions";
                ensure!(printed.contains(self.topic.as_str()) == is_told, "{printed}");
                Ok(String::new())
            });
        }
        let overridden = ["--describe", "--topics-with-overrides"];
        self.check(report, "TopicCommand --topics-with-overrides", TOPIC, &overridden, &[&self.topic]);
        for time in ["earliest", "latest", "max-timestamp", "earliest-local", "0"] {
            let args = ["--topic-partitions", &format!("{}:0-2", self.topic), "--time", time];
            let wanted = format!("{}:0:", self.topic);
            self.check(report, &format!("GetOffsetShell --time {time}"), OFFSETS, &args, &[&wanted]);
        }
    }

    /// A group with a member, as ConsumerGroupCommand sees it, of either protocol.
    fn members(&self, report: &mut Report) {
        for (protocol, columns) in [
            ("classic", &["#PARTITIONS", "ASSIGNMENT"][..]),
            ("consumer", &["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT"]),
        ] {
            report.check(format!("tools: ConsumerGroupCommand on a {protocol} group with a member"), || {
                let group = format!("tools-{protocol}");
                let property = format!("group.protocol={protocol}");
                let args = ["--bootstrap-server", &self.bootstrap, "--topic", &self.topic, "--group", &group];
                let args = [&args[..], &["--from-beginning", "--command-property", &property]].concat();
                let member = self.tools.start(CONSOLE, &args)?;
                member.line(PATIENCE).context("the member reads nothing")?;
                let of = ["--describe", "--group", &group];
                let describe = |more: &[&str], wanted: &[&str]| {
                    self.tool(GROUP, &[&of[..], more].concat(), &[&[group.as_str()], wanted].concat())
                };
                describe(&["--members", "--verbose"], &[&["CONSUMER-ID"], columns].concat())?;
                describe(&["--state", "--verbose"], &["Stable"])?;
                describe(&["--offsets", "--verbose"], &["LOG-END-OFFSET", &self.topic])?;
                self.tool(GROUP, &["--list", "--type", protocol], &[&group])?;
                let delete = self.tool(GROUP, &["--delete", "--group", &group], &[]);
                let said = delete.unwrap_or_else(|error| error.to_string());
                ensure!(said.contains("not empty"), "a group with a member is deleted: {said}");
                ends(member)?;
                let by = ["--reset-offsets", "--group", &group, "--topic", &self.topic, "--shift-by", "-1"];
                self.tool(GROUP, &[&by[..], &["--dry-run"]].concat(), &["NEW-OFFSET", &self.topic])?;
                self.tool(GROUP, &[&by[..], &["--execute"]].concat(), &["NEW-OFFSET", &self.topic])?;
                self.tool(GROUP, &["--delete", "--group", &group], &["was successful"])?;
                Ok(String::new())
            });
        }
    }

    fn listings(&self, report: &mut Report) {
        let class = "org.apache.kafka.tools.GroupsCommand";
        let wanted = ["PROTOCOL", "tools-verifiable", "Classic", "consumer"];
        self.check(report, "GroupsCommand --list", class, &["--list"], &wanted);
        self.check(
            report,
            "GroupsCommand --consumer",
            class,
            &["--list", "--consumer"],
            &["tools-verifiable"],
        );
    }

    /// The tools of share groups that measure and verify.
    fn shares(&self, report: &mut Report) {
        report.check("tools: ShareConsumerPerformance", || {
            let of_group = ["--entity-type", "groups", "--entity-name", "tools-share-perf"];
            let early = ["--alter", "--add-config", "share.auto.offset.reset=earliest"];
            self.tool(CONFIG, &[&of_group[..], &early].concat(), &["Completed updating"])?;
            let class = "org.apache.kafka.tools.ShareConsumerPerformance";
            let group = ["--group", "tools-share-perf", "--num-records", "10000", "--timeout", "30000"];
            let args = [&["--topic", self.topic.as_str()], &group[..]].concat();
            let printed = self.tool(class, &args, &["nMsg.sec"])?;
            let row = printed.lines().rfind(|line| line.contains(", ")).context("no figures")?;
            let read: f64 = row.split(", ").nth(5).context("too few figures")?.trim().parse()?;
            ensure!(read >= 10_000.0, "{printed}");
            Ok(format!("{read} records"))
        });
        report.check("tools: VerifiableShareConsumer", || {
            let class = "org.apache.kafka.tools.VerifiableShareConsumer";
            let group = ["--group-id", "tools-share-verifiable", "--offset-reset-strategy", "earliest"];
            let more = ["--acknowledgement-mode", "sync", "--max-messages", "2000"];
            let args = [&["--topic", self.topic.as_str()], &group[..], &more].concat();
            let wanted =
                ["\"name\":\"records_consumed\"", "\"name\":\"offsets_acknowledged\"", "\"success\":true"];
            self.tool(class, &args, &wanted).map(|_| String::new())
        });
        let class = "org.apache.kafka.tools.GroupsCommand";
        let wanted = ["tools-share-perf", "tools-share-verifiable", "Share"];
        self.check(report, "GroupsCommand --share", class, &["--list", "--share"], &wanted);
    }

    /// Copies a partition in transactions of which some are aborted: each record must arrive once.
    fn copier(&self, report: &mut Report) {
        report.check("tools: TransactionalMessageCopier", || {
            let (from, to) = (format!("{}-from", self.topic), format!("{}-to", self.topic));
            for topic in [&from, &to] {
                self.tool(TOPIC, &["--create", "--topic", topic, "--partitions", "1"], &["Created topic"])?;
            }
            let count = COPIED.to_string();
            let args = ["--topic", &from, "--max-messages", &count, "--throughput", "-1"];
            self.tool(VERIFIABLE_PRODUCER, &args, &["\"acked\":500"])?;
            let class = "org.apache.kafka.tools.TransactionalMessageCopier";
            let topics = ["--input-topic", &from, "--input-partition", "0", "--output-topic", &to];
            let how =
                ["--broker-list", &self.bootstrap, "--transaction-size", "50", "--max-messages", &count];
            let who = ["--consumer-group", "tools-copier", "--transactional-id", "tools-copier"];
            let aborts = ["--enable-random-aborts", "--use-group-metadata"];
            let args = [&topics[..], &how, &who, &aborts].concat();
            self.tools.expect(class, &args, &["\"remaining\":0"])?;
            let bounds = ["--from-beginning", "--max-messages", &count, "--timeout-ms", "30000"];
            let committed = ["--command-property", "isolation.level=read_committed"];
            let printed = self.tool(CONSOLE, &[&["--topic", &to], &bounds[..], &committed].concat(), &[])?;
            let seen: Vec<usize> = printed.lines().filter_map(|line| line.trim().parse().ok()).collect();
            let distinct: BTreeSet<usize> = seen.iter().copied().collect();
            ensure!(
                seen.len() == COPIED && distinct.len() == COPIED,
                "{} records, {}",
                seen.len(),
                distinct.len()
            );
            Ok(format!("{COPIED} records"))
        });
    }

    fn resetter(&self, report: &mut Report) {
        report.check("tools: StreamsResetter", || {
            let class = "org.apache.kafka.tools.StreamsResetter";
            let of = ["--application-id", "tools-verifiable", "--input-topics", &self.topic];
            self.tool(class, &[&of[..], &["--dry-run", "--to-earliest"]].concat(), &["Dry run", "Done."])?;
            self.tool(
                class,
                &[&of[..], &["--to-latest"]].concat(),
                &["Reset-offsets for input topics", "Done."],
            )?;
            let printed = self.tool(GROUP, &["--describe", "--group", "tools-verifiable"], &[&self.topic])?;
            let lags = printed.lines().filter(|line| line.contains(self.topic.as_str()));
            let behind = lags.filter(|line| line.split_whitespace().nth(5) != Some("0")).count();
            ensure!(behind == 0, "not at the end:\n{printed}");
            Ok(String::new())
        });
    }

    /// Kafka's own test of what a broker supports.
    fn compatibility(&self, report: &mut Report) {
        let class = "org.apache.kafka.tools.ClientCompatibilityTest";
        let topic = format!("{}-compatible", self.topic);
        // There is no authorizer yet, hence no API for its lists.
        let acls = if self.kind == Kind::Odradek { "false" } else { "true" };
        let mut args = vec!["--topic", topic.as_str(), "--expect-record-too-large-exception", "false"];
        args.extend(["--num-cluster-nodes", "1", "--describe-acls-supported", acls]);
        for supported in SUPPORTED {
            args.extend([supported, "true"]);
        }
        report.check("tools: ClientCompatibilityTest", || {
            let create = ["--create", "--topic", &topic, "--partitions", "1"];
            self.tool(TOPIC, &create, &["Created topic"])?;
            self.tool(class, &args, &["SUCCESS."]).map(|_| String::new())
        });
    }
}

/// Asks a tool to end, and waits until it has.
fn ends(tool: Program) -> Result<()> {
    tool.terminate()?;
    let asked = Instant::now();
    loop {
        match tool.next_line(Duration::from_secs(1)) {
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {
                ensure!(asked.elapsed() < PATIENCE, "a tool does not end within {PATIENCE:?}");
            }
        }
    }
}
