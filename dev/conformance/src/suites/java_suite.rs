//! The Java suites' class path, and their programs: Kafka Connect, Kafka Streams with its own system test, and one program of
//! ours that is compiled against them. It runs nothing by itself. Called by `connect`, `smoke` and `results`.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::folder;
use crate::program::run as run_program;

const INSTALL_LIMIT: Duration = Duration::from_secs(900);
const SOURCE: &str = "Results.java";

/// What Maven fetched and javac compiled.
pub(super) struct JavaSuite {
    class_path: String,
}

impl JavaSuite {
    pub(super) fn install() -> Result<JavaSuite> {
        let pinned = ["pom.xml", SOURCE].map(|name| folder("java").join(name));
        let dir = crate::cache::installed("suite-java", &pinned, |dir| {
            println!("        fetching Kafka Connect and Kafka Streams with Maven");
            for (file, name) in pinned.iter().zip(["pom.xml", SOURCE]) {
                fs::copy(file, dir.join(name))?;
            }
            let path = crate::clients::class_path(&dir.join("pom.xml"), None, &dir.join("classpath"))?;
            let mut javac = Command::new("javac");
            javac.args(["-d", ".", "-cp", &path, SOURCE]).current_dir(dir);
            run_program("javac", javac, INSTALL_LIMIT).map(drop)
        })?;
        let path = fs::read_to_string(dir.join("classpath"))?;
        Ok(JavaSuite { class_path: format!("{}:{}", dir.display(), path.trim()) })
    }

    /// One of its programs.
    pub(super) fn java(&self, class: &str, args: &[&str]) -> Command {
        let mut command = crate::server::java(&self.class_path, class, "-Xmx512m");
        command.args(args);
        command
    }
}

/// A directory or a file for a program that wants it as text.
pub(super) fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The same command with all that it prints in a file, where it need not wait for a reader.
pub(super) fn into(command: Command, log: &Path) -> Command {
    let mut into = Command::new("bash");
    into.args(["-c", "exec \"$@\" >\"$0\" 2>&1"]).arg(log);
    into.arg(command.get_program()).args(command.get_args());
    into
}
