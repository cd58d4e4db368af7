//! librdkafka's own test-runner, from Debian's source package: its tests that speak to a broker, in quick mode. Some call
//! Kafka's scripts; a directory of scripts that start the same classes stands in for a distribution. Called by `suites`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::expected::How;
use super::watch::{Line, watch};
use super::{Bed, folder};
use crate::program::run as run_program;
use crate::server::kafka_class_path;

const LIMIT: Duration = Duration::from_secs(1800);
const INSTALL_LIMIT: Duration = Duration::from_secs(1800);
/// The broker says of itself what it can do; the runner wants to be told a version, too.
const VERSION: &str = "4.3.1";
/// Its test of administration ends where an access control list cannot be created; its other parts are called one by one.
const ADMIN: &str = "0081";
const ADMIN_PARTS: [&str; 14] = [
    "AlterConfigs",
    "IncrementalAlterConfigs",
    "DescribeConfigs",
    "DescribeConfigs_groups",
    "DeleteRecords",
    "DeleteGroups",
    "ListConsumerGroups",
    "DescribeConsumerGroups",
    "DescribeTopics",
    "DescribeCluster",
    "DeleteConsumerGroupOffsets",
    "AlterConsumerGroupOffsets",
    "ListConsumerGroupOffsets",
    "ListOffsets",
];
/// Kafka's scripts that its tests call, and the classes behind them.
const SCRIPTS: [(&str, &str); 3] = [
    ("kafka-topics.sh", "org.apache.kafka.tools.TopicCommand"),
    ("kafka-acls.sh", "org.apache.kafka.tools.AclCommand"),
    ("kafka-run-class.sh", ""),
];

/// With classic consumer groups.
pub(super) fn classic(bed: &mut Bed) -> Result<String> {
    run(bed, "default", "classic")
}

/// With the consumer groups of KIP-848.
pub(super) fn consumer_protocol(bed: &mut Bed) -> Result<String> {
    run(bed, "default", "consumer")
}

/// Its tests for a broker that creates no topics by itself.
pub(super) fn no_auto_creation(bed: &mut Bed) -> Result<String> {
    run(bed, "noautocreate", "classic")
}

/// `bed.tests` are the numbers of some tests, such as `0001,0103`.
fn run(bed: &Bed, scenario: &str, protocol: &str) -> Result<String> {
    let runner = Runner { tests: install()?.join("source/tests"), scenario, protocol };
    write_distribution(&runner.kafka(bed), &kafka_class_path("tools")?)?;
    let config =
        format!("bootstrap.servers={}\ntest.topic.random=true\ntest.timeout.multiplier=2\n", bed.bootstrap());
    fs::write(runner.config(bed), config)?;
    let mut all = vec![runner.command(bed, bed.tests)];
    if bed.tests.is_none() && scenario == "default" {
        all.extend(ADMIN_PARTS.map(|part| {
            let mut command = runner.command(bed, Some(ADMIN));
            command.env("SUBTESTS", format!("do_test_{part}:"));
            command
        }));
    }
    watch(bed, all, LIMIT, read)
}

struct Runner<'a> {
    tests: PathBuf,
    scenario: &'a str,
    protocol: &'a str,
}

impl Runner<'_> {
    /// What it takes for a distribution of Kafka.
    fn kafka(&self, bed: &Bed) -> PathBuf {
        bed.dir.join("kafka")
    }

    fn config(&self, bed: &Bed) -> PathBuf {
        bed.dir.join("test.conf")
    }

    /// Quick, without the tests that need no broker, and one at a time: of two, one that cuts its connections may take the bytes of
    /// another, whose connection got the number of a closed one.
    fn command(&self, bed: &Bed, tests: Option<&str>) -> Command {
        let mut command = Command::new(self.tests.join("test-runner"));
        command.args(["-Q", "-L", "-p1", "-s", self.scenario]).current_dir(&self.tests);
        command.env("LD_LIBRARY_PATH", format!("{0}/../src:{0}/../src-cpp", self.tests.display()));
        command.env("RDKAFKA_TEST_CONF", self.config(bed)).env("TEST_KAFKA_VERSION", VERSION);
        command.env("BROKERS", bed.bootstrap()).env("KAFKA_PATH", self.kafka(bed));
        command.env("TEST_CONSUMER_GROUP_PROTOCOL", self.protocol);
        match tests {
            Some(tests) => command.env("TESTS", tests),
            None => command.env_remove("TESTS"),
        };
        command
    }
}

/// Its sources, with the runner and the library built.
fn install() -> Result<PathBuf> {
    let pinned = ["source.txt", "install"].map(|name| folder("librdkafka").join(name));
    let [source, script] = &pinned;
    crate::cache::installed("suite-librdkafka", &pinned, |dir| {
        println!("        building librdkafka and its tests");
        let mut install = Command::new("bash");
        install.arg(script).arg(source).current_dir(dir);
        run_program("installing librdkafka's tests", install, INSTALL_LIMIT).map(drop)
    })
}

/// The scripts, and the client's library, against which it compiles a program of its own.
fn write_distribution(kafka: &Path, class_path: &str) -> Result<()> {
    let (dir, libraries) = (kafka.join("bin"), kafka.join("libs"));
    fs::create_dir_all(&dir)?;
    fs::create_dir_all(&libraries)?;
    for jar in class_path.split(':').map(Path::new) {
        if let Some(name) =
            jar.file_name().filter(|name| name.to_string_lossy().starts_with("kafka-clients-"))
        {
            symlink(jar, libraries.join(name))?;
        }
    }
    let java =
        "exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dorg.apache.logging.log4j.level=ERROR";
    for (name, class) in SCRIPTS {
        let file = dir.join(name);
        fs::write(&file, format!("#!/bin/sh\n{java} -cp \"{class_path}:$CLASSPATH\" {class} \"$@\"\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Why a test of a part that is not asked for stands in the table.
const FILTERED: &str = "negative test flags";
/// A row of its table into which it said something else: how that test ended it has said before.
const INTERRUPTED: &str = "[<MAIN>";

/// A test says how it ended, where it failed, and stands in the table at the end; its parts say when they have passed.
fn read(line: &str) -> Line {
    let line = plain(line);
    let how = |word: &str| match word {
        "PASSED" => Some(How::Passed),
        "FAILED" => Some(How::Failed),
        "SKIPPED" => Some(How::Skipped),
        _ => None,
    };
    if let Some((_, rest)) = line.split_once("================= Test ")
        && let Some((name, rest)) = rest.split_once(' ')
        && name.starts_with(|first: char| first.is_ascii_digit())
        && let Some(how) = how(rest.split(' ').next().unwrap_or_default())
    {
        return Line::Ended(how, name.to_owned());
    }
    if let Some((test, rest)) = line.strip_prefix('[').and_then(|line| line.split_once('/'))
        && rest.contains(": PASS (")
        && let Some((_, rest)) = rest.split_once("] [ ")
    {
        let part = rest.split(':').next().unwrap_or_default();
        return Line::Ended(How::Passed, format!("{}/{part}", test.trim()));
    }
    if let Some((_, rest)) = line.split_once("### Test \"") {
        let name = rest.split([' ', '"']).next().unwrap_or_default();
        // What it calls so is the runner itself, which fails where any test does.
        let is_test = name.starts_with(|first: char| first.is_ascii_digit());
        return if is_test { Line::Ended(How::Failed, name.to_owned()) } else { Line::Telling };
    }
    let cells: Vec<&str> = line.split('|').map(str::trim).collect();
    if let ["", name, state, _, ..] = cells[..]
        && name.starts_with(|first: char| first.is_ascii_digit())
        && let Some(how) = how(state)
        && !line.contains(FILTERED)
        && !line.contains(INTERRUPTED)
    {
        return Line::Ended(how, name.to_owned());
    }
    if line.contains("TEST FAILURE") || line.contains("SKIPPING TEST") { Line::Telling } else { Line::Other }
}

/// The line without its colours.
fn plain(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_test_is_seen_in_every_form() {
        let ended = |how, name: &str| Line::Ended(how, name.to_owned());
        let passed = "\x1b[32m[0001_multiobj/ 1.2s] \x1b[32m================= Test 0001_multiobj PASSED =================\x1b[0m";
        assert_eq!(read(passed), ended(How::Passed, "0001_multiobj"));
        let failed = "\x1b[31m### Test \"0081_admin (do_test_CreateAcls:1)\" failed at a.c:1:f() at Mon: ###";
        assert_eq!(read(failed), ended(How::Failed, "0081_admin"));
        let part = "\x1b[36m[0081_admin                  /  0.091s] \x1b[32m[ do_test_ListOffsets:2348: by tempq: PASS (0.00s) ]";
        assert_eq!(read(part), ended(How::Passed, "0081_admin/do_test_ListOffsets"));
        let row = "|\x1b[36m 0016_client_swname                       |    SKIPPED |   0.000s \x1b[0m| \x1b[36m no JMX\x1b[0m";
        assert_eq!(read(row), ended(How::Skipped, "0016_client_swname"));
        let cut = "|\x1b[36m 0138_admin_mock  |    SKIPPED |   0.000s \x1b[0m|\x1b[36m[<MAIN>    /584.691s] 28 thread(s) in use, waiting...";
        assert_eq!(read(cut), Line::Other);
        assert_eq!(read("[<MAIN>/ 1s] ================= Running test 0001_multiobj ======"), Line::Other);
    }
}
