//! What operators do to a cluster with Kafka's own tools: the quorum and its members, elections, reassignments, brokers that
//! are taken out. Called by `cluster`.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{IN_SYNC_LIMIT, Trial};
use crate::java_tools::JavaTools;
use crate::main_job::fresh;
use crate::report::Report;
use crate::server::Kind;

const QUORUM: &str = "MetadataQuorumCommand";
const ELECTION: &str = "LeaderElectionCommand";
const REASSIGNMENT: &str = "reassign.ReassignPartitionsCommand";

/// The tools, and whom they talk to.
struct Operator {
    tools: JavaTools,
    bootstrap: String,
}

impl Operator {
    fn run(&self, class: &str, args: &[&str], wanted: &[&str]) -> Result<String> {
        let all = [&["--bootstrap-server", self.bootstrap.as_str()], args].concat();
        self.tools.expect(&format!("org.apache.kafka.tools.{class}"), &all, wanted)
    }

    /// Runs a tool again and again until it says what is wanted.
    fn until(&self, class: &str, args: &[&str], is_wanted: impl Fn(&str) -> bool) -> Result<String> {
        let begun = Instant::now();
        loop {
            let printed = self.run(class, args, &[])?;
            if is_wanted(&printed) {
                return Ok(printed);
            }
            ensure!(begun.elapsed() < IN_SYNC_LIMIT, "it stays so:\n{printed}");
        }
    }
}

impl Trial<'_> {
    fn operator(&self) -> Result<Operator> {
        Ok(Operator { tools: JavaTools::install()?, bootstrap: self.nodes.bootstrap() })
    }

    /// The quorum as it is, elections, and reassignments.
    pub(super) fn tools(&mut self, report: &mut Report, dir: &Path) -> Result<()> {
        let operator = self.operator()?;
        report.check("MetadataQuorumCommand describes the quorum", || {
            operator.run(QUORUM, &["describe", "--status"], &["LeaderId:", "CurrentVoters:"])?;
            operator.run(QUORUM, &["describe", "--replication"], &["Leader", "Follower"])?;
            Ok(String::new())
        });
        report.check("LeaderElectionCommand gives preferred leaders their partitions back", || {
            let args = ["--election-type", "preferred", "--all-topic-partitions"];
            operator.run(ELECTION, &args, &["for partitions"]).map(|_| String::new())
        });
        report.check("ReassignPartitionsCommand moves a partition", || {
            self.move_to(&operator, dir, "[3,1]", &[], ("", ""))
        });
        report.check("ReassignPartitionsCommand throttles a move and takes the throttle off", || {
            let throttled = ("The inter-broker throttle limit was set to", "Clearing broker-level throttles");
            self.move_to(&operator, dir, "[1,2,3]", &["--throttle", "1000000"], throttled)
        });
        report.check("LeaderElectionCommand lets who was not in sync lead where nobody else can", || {
            self.unclean(&operator)
        });
        Ok(())
    }

    fn move_to(
        &self,
        operator: &Operator,
        dir: &Path,
        replicas: &str,
        throttle: &[&str],
        (begins, ends): (&str, &str),
    ) -> Result<String> {
        let file = dir.join("reassignment.json");
        let partition = format!("{{\"topic\":\"{}\",\"partition\":0,\"replicas\":{replicas}}}", self.topic);
        fs::write(&file, format!("{{\"version\":1,\"partitions\":[{partition}]}}"))?;
        let file = file.to_str().context("a directory whose name is no text")?;
        let args = [&["--reassignment-json-file", file, "--execute"], throttle].concat();
        operator.run(REASSIGNMENT, &args, &["Successfully started partition reassignment", begins])?;
        let args = ["--reassignment-json-file", file, "--verify"];
        let printed = operator.until(REASSIGNMENT, &args, |printed| printed.contains("is completed"))?;
        ensure!(printed.contains(ends), "{ends:?} is missing in:\n{printed}");
        Ok(String::new())
    }

    /// Of two replicas one dies, then the other, which alone was in sync; the first comes back.
    fn unclean(&mut self, operator: &Operator) -> Result<String> {
        self.until_in_sync()?;
        let topic = fresh("unclean");
        let create = ["--create", "--topic", &topic, "--replica-assignment", "2:3"];
        operator.run("TopicCommand", &[&create[..], &["--config", "min.insync.replicas=1"]].concat(), &[])?;
        self.nodes.kill(3)?;
        self.until_seen(&topic, |leader, in_sync| (leader, in_sync) == (Some(2), 1))?;
        self.nodes.kill(2)?;
        // Two of three controllers are wanted for anything to be decided.
        self.nodes.start_again(3)?;
        self.until_seen(&topic, |leader, _| leader.is_none())?;
        let of = ["--topic", &topic, "--partition", "0"];
        let preferred = operator.run(ELECTION, &[&["--election-type", "preferred"], &of[..]].concat(), &[]);
        let said = preferred.unwrap_or_else(|error| error.to_string());
        ensure!(!said.contains("Successfully"), "a clean election found a leader:\n{said}");
        let unclean = [&["--election-type", "unclean"], &of[..]].concat();
        operator.run(ELECTION, &unclean, &["Successfully completed leader election (UNCLEAN)"])?;
        self.until_seen(&topic, |leader, _| leader == Some(3))?;
        self.nodes.start_again(2)?;
        self.until_seen(&topic, |_, in_sync| in_sync == 2)?;
        self.until_in_sync()?;
        Ok(String::new())
    }

    /// Waits until the only partition has such a leader and so many replicas in sync.
    fn until_seen(&self, topic: &str, is_wanted: impl Fn(Option<u64>, usize) -> bool) -> Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.seen(topic)?;
            let in_sync = seen.in_sync.first().copied().unwrap_or(0);
            if is_wanted(seen.leaders.first().copied(), in_sync) {
                return Ok(());
            }
            if begun.elapsed() > IN_SYNC_LIMIT {
                bail!("{topic} is led by {:?}, {in_sync} in sync", seen.leaders);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// A fourth node comes, is given a vote, loses it, and is taken out.
    pub(super) fn membership(&mut self, report: &mut Report, dir: &Path) -> Result<()> {
        const NAME: &str = "a fourth node is given a vote, loses it and is taken out";
        if *self.nodes.node(1)?.kind() == Kind::Kafka {
            report.skip(NAME, "its quorum is the fixed one of controller.quorum.voters");
            return Ok(());
        }
        let operator = self.operator()?;
        report.check(NAME, || {
            self.nodes.join_as_controller(4)?;
            let joined = self.member(4, dir)?;
            let voters = || operator.run(QUORUM, &["describe", "--status"], &["CurrentVoters:"]);
            let is_voter = |printed: &str| {
                printed.lines().any(|line| line.starts_with("CurrentVoters:") && line.contains(&joined.id))
            };
            ensure!(!is_voter(&voters()?), "it votes before it was given a vote");
            let dry = ["--command-config", &joined.config, "add-controller", "--dry-run"];
            operator.run(QUORUM, &dry, &["DRY RUN of adding controller 4", &joined.id])?;
            ensure!(!is_voter(&voters()?), "it votes after a dry run");
            let add = ["--command-config", &joined.config, "add-controller"];
            operator.run(QUORUM, &add, &["Added controller 4", &joined.id])?;
            ensure!(is_voter(&voters()?), "it has no vote: {}", voters()?);
            let remove = ["remove-controller", "--controller-id", "4", "--controller-directory-id"];
            let remove = [&remove[..], &[&joined.id]].concat();
            operator.run(QUORUM, &remove, &["KRaft controller 4 with directory id"])?;
            ensure!(!is_voter(&voters()?), "it still votes: {}", voters()?);
            self.nodes.stop(4)?;
            let unregister =
                ["unregister", "--bootstrap-server", self.nodes.node(1)?.bootstrap(), "--id", "4"];
            let class = "org.apache.kafka.tools.ClusterTool";
            operator.tools.expect(class, &unregister, &["Broker 4 is no longer registered"])?;
            Ok(String::new())
        });
        Ok(())
    }

    /// A node as `MetadataQuorumCommand` wants to be told of it.
    fn member(&mut self, id: u64, dir: &Path) -> Result<Member> {
        let node = self.nodes.node(id)?;
        let data = node.data_dir();
        let properties = fs::read_to_string(data.join("meta.properties"))?;
        let directory = properties.lines().find_map(|line| line.strip_prefix("directory.id="));
        let config = dir.join("controller.properties");
        let mut lines = format!("process.roles=broker,controller\nlog.dirs={}\n", data.display());
        for key in ["node.id", "listeners", "controller.listener.names"] {
            let value = node.setting(key).with_context(|| format!("{key} is not set"))?;
            lines.push_str(&format!("{key}={value}\n"));
        }
        fs::write(&config, lines)?;
        let config = config.to_str().context("a directory whose name is no text")?.to_owned();
        Ok(Member { id: directory.context("meta.properties without a directory.id")?.to_owned(), config })
    }
}

struct Member {
    /// Of its directory.
    id: String,
    /// A file of properties.
    config: String,
}
