//! Kafka's own tools on a node with two log directories: what `kafka-log-dirs` prints of them, and a replica that
//! `kafka-reassign-partitions` moves from one to the other, slowly at first. Called by `tools`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::java_tools::JavaTools;
use crate::main_job::fresh;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const LOG_DIRS: &str = "org.apache.kafka.tools.LogDirsCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const RECORDS: &str = "3000";
/// Bytes per second at which the move takes longer than a tool.
const SLOW: &str = "50000";
const FAST: &str = "100000000";
const TRIES: usize = 20;

/// A node with two directories, and a topic of one partition.
struct Moved<'a> {
    tools: &'a JavaTools,
    bootstrap: String,
    topic: String,
    dirs: [PathBuf; 2],
    file: PathBuf,
}

/// Runs all of it. A broker that was started by somebody else has the directories that it has.
pub fn run(report: &mut Report, tools: &JavaTools, kind: &Kind, dir: &Path) -> Result<()> {
    if matches!(kind, Kind::External(_)) {
        return Ok(());
    }
    let dirs = ["one", "two"].map(|name| dir.join(name));
    let listed = dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(",");
    let server = Server::start(Setup::new(kind.clone(), dir).set("log.dirs", listed))?;
    let (bootstrap, file) = (server.bootstrap().to_owned(), dir.join("log-dirs.json"));
    let moved = Moved { tools, bootstrap, topic: fresh("log-dirs"), dirs, file };
    report.check("tools: LogDirsCommand with two directories", || moved.describe());
    report
        .check("tools: ReassignPartitionsCommand moves a replica to another directory", || moved.relocate());
    Ok(())
}

impl Moved<'_> {
    fn tool(&self, class: &str, args: &[&str], wanted: &[&str]) -> Result<String> {
        let all = [&["--bootstrap-server", self.bootstrap.as_str()], args].concat();
        self.tools.expect(class, &all, wanted)
    }

    fn describe(&self) -> Result<String> {
        let topic = ["--topic", self.topic.as_str()];
        let create = [&["--create", "--partitions", "1"], &topic[..]].concat();
        self.tool("org.apache.kafka.tools.TopicCommand", &create, &["Created topic"])?;
        let size = ["--num-records", RECORDS, "--record-size", "1000", "--throughput", "-1"];
        let class = "org.apache.kafka.tools.ProducerPerformance";
        self.tool(class, &[&topic[..], &size].concat(), &[&format!("{RECORDS} records sent")])?;
        let printed = self.tool(LOG_DIRS, &["--describe"], &["\"error\":null"])?;
        for dir in &self.dirs {
            let wanted = format!("\"logDir\":\"{}\"", dir.display());
            ensure!(printed.contains(&wanted), "{wanted} is missing in:\n{printed}");
        }
        Ok(String::new())
    }

    /// Where the partition lies, and whether a copy of it is on its way; by what the tool prints of each directory.
    fn lies(&self) -> Result<Vec<(bool, bool)>> {
        let printed = self.tool(LOG_DIRS, &["--describe", "--topic-list", &self.topic], &[])?;
        let line = printed.lines().find(|line| line.starts_with('{')).context("no JSON is printed")?;
        let of_dir = |dir: &PathBuf| {
            let name = format!("\"logDir\":\"{}\"", dir.display());
            // The objects of the directories follow one another, the name before or behind what lies there.
            let object = line.split("{\"partitions\":").find(|part| part.contains(&name));
            let object = object.unwrap_or_default();
            (object.contains("\"isFuture\":false"), object.contains("\"isFuture\":true"))
        };
        Ok(self.dirs.iter().map(of_dir).collect())
    }

    fn reassign(&self, more: &[&str], wanted: &[&str]) -> Result<String> {
        let file = self.file.to_str().context("a directory whose name is no text")?;
        self.tool(REASSIGN, &[&["--reassignment-json-file", file], more].concat(), wanted)
    }

    fn relocate(&self) -> Result<String> {
        let before = self.lies()?;
        let from = before.iter().position(|(is_here, _)| *is_here).context("it lies nowhere")?;
        let to = self.dirs.get(1 - from).context("there are two directories")?;
        let partition = format!(
            "{{\"topic\":\"{}\",\"partition\":0,\"replicas\":[1],\"log_dirs\":[\"{}\"]}}",
            self.topic,
            to.display()
        );
        fs::write(&self.file, format!("{{\"version\":1,\"partitions\":[{partition}]}}"))?;
        let begun = format!("Successfully started moving log directory to {}", to.display());
        let slow = ["--execute", "--replica-alter-log-dirs-throttle", SLOW];
        self.reassign(&slow, &[&begun, "The replica-alter-dir throttle limit was set"])?;
        let under_way = self.lies()?;
        ensure!(under_way.get(1 - from) == Some(&(false, true)), "under way it lies {under_way:?}");
        self.reassign(&["--verify", "--preserve-throttles"], &["is still in progress"])?;
        let fast = ["--execute", "--additional", "--replica-alter-log-dirs-throttle", FAST];
        self.reassign(&fast, &[&begun])?;
        for _ in 0..TRIES {
            let printed = self.reassign(&["--verify"], &[])?;
            if printed.contains("completed successfully") {
                return self.is_whole(from);
            }
        }
        bail!("it does not come to an end: {:?}", self.lies()?)
    }

    fn is_whole(&self, from: usize) -> Result<String> {
        let after = self.lies()?;
        ensure!(after.get(1 - from) == Some(&(true, false)), "at the end it lies {after:?}");
        ensure!(after.get(from) == Some(&(false, false)), "at the end it lies {after:?}");
        let left = self.dirs.get(from).map(|dir| dir.join(format!("{}-0", self.topic)));
        ensure!(!left.is_some_and(|left| left.exists()), "what it was moved from is still there");
        let end = format!("{}:0:{RECORDS}", self.topic);
        self.tool(OFFSETS, &["--topic", &self.topic, "--time", "-1"], &[&end])?;
        let class = "org.apache.kafka.tools.ConsumerPerformance";
        let all = ["--topic", &self.topic, "--num-records", RECORDS, "--timeout", "30000"];
        self.tool(class, &all, &["fetch.nMsg.sec"])?;
        Ok(format!("{RECORDS} records moved"))
    }
}
