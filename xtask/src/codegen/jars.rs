//! Fetches the jars of Apache Kafka through Maven and takes the schemas out of them.
//!
//! It does not look into the schemas. Jars are kept in the target directory, so only the first run needs a network.

use anyhow::{Context, Result, bail};
use std::{fs, path::Path, process::Command};

/// The version of Apache Kafka whose messages the house speaks.
const VERSION: &str = "4.4.0";

/// The jars with schemas, and where in them they are.
const JARS: [(&str, &str); 6] = [
    ("kafka-clients", "common/message"),
    ("kafka-group-coordinator", "common/message"),
    ("kafka-metadata", "common/metadata"),
    ("kafka-raft", "common/message"),
    ("kafka-share-coordinator", "common/message"),
    ("kafka-transaction-coordinator", "common/message"),
];

/// All schemas: jar and file name, and the text without its comments. In the order of the names.
pub(super) fn schemas(work: &Path) -> Result<Vec<(String, String)>> {
    let mut schemas = Vec::new();
    for (artifact, inside) in JARS {
        let dir = work.join(format!("{artifact}-{VERSION}"));
        if !dir.join(inside).exists() {
            unpack(artifact, inside, &fetch(artifact, work)?, &dir)?;
        }
        for entry in fs::read_dir(dir.join(inside))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let name = path.file_name().context("a file has a name")?.to_string_lossy();
                let text = fs::read_to_string(&path)?;
                schemas.push((format!("{artifact} {name}"), without_comments(&text)));
            }
        }
    }
    schemas.sort();
    Ok(schemas)
}

fn fetch(artifact: &str, work: &Path) -> Result<std::path::PathBuf> {
    let jar = work.join(format!("{artifact}-{VERSION}.jar"));
    if !jar.exists() {
        fs::create_dir_all(work)?;
        run(Command::new("mvn")
            .args(["--quiet", "--batch-mode", "dependency:copy"])
            .arg(format!("-Dartifact=org.apache.kafka:{artifact}:{VERSION}"))
            .arg(format!("-DoutputDirectory={}", work.display()))
            .current_dir(work))?;
    }
    Ok(jar)
}

/// Unpacks beside and renames, so that a directory that is there is whole.
#[allow(clippy::disallowed_methods, reason = "a chore, not a part of the product")]
fn unpack(artifact: &str, inside: &str, jar: &Path, dir: &Path) -> Result<()> {
    let beside = dir.with_file_name(format!("{artifact}.unpacking"));
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    fs::create_dir_all(&beside)?;
    run(Command::new("jar").arg("xf").arg(jar).arg(inside).current_dir(&beside))?;
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(fs::rename(beside, dir)?)
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{name} is needed: a JDK and Maven"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// The schemas are JSON with `//` comments on lines of their own.
fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
