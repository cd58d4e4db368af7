//! The broker under test as a process: started on a free port, killed, started again on the same port and directory.
//! It is not linked in: Odradek is the built binary, Apache Kafka comes from Maven, and a foreign broker is an address.
//! Called by every subject, and by `bench`, which starts both kinds side by side.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::program::{run, signal};
use crate::{cache, clients};

/// How long a broker may take from its start to its first answer. Apache Kafka needs 6 s on an idle machine, and
/// minutes after a kill with 5,000 partitions on a busy one.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long a broker may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// An ApiVersions request of version 0, without a client id: every broker answers it.
const API_VERSIONS_V0: &[u8] = b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff";

/// Which broker is under test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours: the binary that `ODRADEK_BIN` names, or that lies beside this one in the target directory.
    Odradek,
    /// Apache Kafka 4.4.0 from Maven, which proves that the checks are right.
    Kafka,
    /// Something that runs already; it can neither be killed nor configured.
    External(String),
}

/// What to start, and where.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Which broker.
    pub kind: Kind,
    /// Everything it writes goes below this directory.
    pub dir: PathBuf,
    /// Kafka's configuration keys, beside those that every test needs.
    pub settings: Vec<(String, String)>,
    /// A line of shell before the start, such as `ulimit -n 64`.
    pub limits: Option<String>,
    /// The port for clients; 0 takes a free one.
    pub port: u16,
}

impl Setup {
    /// A broker below `dir` with nothing special about it.
    pub fn new(kind: Kind, dir: impl Into<PathBuf>) -> Setup {
        Setup { kind, dir: dir.into(), settings: Vec::new(), limits: None, port: 0 }
    }

    /// The same with one more setting.
    pub fn set(mut self, key: &str, value: impl ToString) -> Setup {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }
}

/// A broker under test. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    setup: Setup,
    child: Option<Child>,
    port: u16,
    http_port: u16,
    gateway_port: u16,
    secure_port: u16,
    bootstrap: String,
}

impl Server {
    /// Starts it and waits for its first answer.
    pub fn start(setup: Setup) -> Result<Server> {
        let port = setup.port;
        let mut server = Server {
            setup,
            child: None,
            port,
            http_port: 0,
            gateway_port: 0,
            secure_port: 0,
            bootstrap: String::new(),
        };
        match &server.setup.kind {
            Kind::External(bootstrap) => server.bootstrap = bootstrap.clone(),
            Kind::Odradek | Kind::Kafka => {
                fs::create_dir_all(&server.setup.dir)?;
                server.start_again()?;
            }
        }
        Ok(server)
    }

    /// Starts it on its directory and its port; the time to its first answer.
    pub fn start_again(&mut self) -> Result<Duration> {
        ensure!(self.child.is_none(), "it runs already");
        let started = Instant::now();
        match self.setup.kind {
            Kind::Odradek => self.launch_odradek()?,
            Kind::Kafka => self.launch_kafka()?,
            Kind::External(_) => bail!("a foreign broker is not ours to start"),
        }
        self.bootstrap = format!("127.0.0.1:{}", self.port);
        while !answers(&self.bootstrap) {
            self.ensure_alive()?;
            ensure!(
                started.elapsed() < START_LIMIT,
                "no answer within {START_LIMIT:?}: {}",
                self.last_words()
            );
            thread::sleep(Duration::from_millis(2));
        }
        Ok(started.elapsed())
    }

    /// `host:port` for the clients.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The address of the private HTTP listener, where there is one.
    pub fn http(&self) -> Option<String> {
        (self.http_port != 0).then(|| format!("127.0.0.1:{}", self.http_port))
    }

    /// The address where it serves streams over HTTP, if it does.
    pub fn gateway(&self) -> Option<String> {
        (self.gateway_port != 0).then(|| format!("127.0.0.1:{}", self.gateway_port))
    }

    /// The same under TLS.
    pub fn secure_gateway(&self) -> Option<String> {
        (self.secure_port != 0).then(|| format!("127.0.0.1:{}", self.secure_port))
    }

    /// Whether it can be killed and started again.
    pub fn is_ours(&self) -> bool {
        !matches!(self.setup.kind, Kind::External(_))
    }

    /// Which broker it is.
    pub fn kind(&self) -> &Kind {
        &self.setup.kind
    }

    /// What a key was set to last.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.setup.settings.iter().rfind(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("it does not run")?.id())
    }

    /// Its `log.dirs`.
    pub fn data_dir(&self) -> PathBuf {
        self.setup.dir.join("data")
    }

    /// What it printed.
    pub fn log_file(&self) -> PathBuf {
        self.setup.dir.join("server.log")
    }

    /// SIGKILL: what the process had not handed to the kernel is gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let mut child = self.child.take().context("it does not run")?;
        signal(child.id(), rustix::process::Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("it did not stop within {STOP_LIMIT:?}: {}", self.last_words())
    }

    /// An error with its last words if it has ended by itself.
    pub fn ensure_alive(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.child = None;
            bail!("the broker ended ({status}): {}", self.last_words());
        }
        Ok(())
    }

    /// The end of its log.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
    }

    /// `odradek serve --config FILE`, which says on its standard output where it listens.
    fn launch_odradek(&mut self) -> Result<()> {
        let mut settings = BTreeMap::from([
            ("node.id".to_owned(), "1".to_owned()),
            ("listeners".to_owned(), format!("PLAINTEXT://127.0.0.1:{}", self.port)),
            ("odradek.http.listener".to_owned(), format!("127.0.0.1:{}", self.http_port)),
        ]);
        self.add_settings(&mut settings);
        let config = self.write_config(&settings)?;
        let mut command = self.limited(odradek_binary()?.as_os_str());
        // Its last words are to be the message, not the way it came.
        command.arg("serve").arg("--config").arg(config).env_remove("RUST_BACKTRACE");
        command.stdout(Stdio::piped()).stderr(self.open_log()?);
        let mut child = command.stdin(Stdio::null()).spawn().context("starting odradek")?;
        let said = follow(child.stdout.take().context("no standard output")?, self.open_log()?);
        self.child = Some(child);
        let started = Instant::now();
        let (mut kafka, mut http, mut gateway, mut secure) = (None, None, None, None);
        while kafka.is_none() || http.is_none() {
            match said.recv_timeout(Duration::from_millis(100)) {
                Ok(line) if line.starts_with("listening PLAINTEXT ") => kafka = port_of(&line),
                Ok(line) if line.starts_with("listening gateway HTTP ") => gateway = port_of(&line),
                Ok(line) if line.starts_with("listening gateway HTTPS ") => secure = port_of(&line),
                Ok(line) if line.starts_with("listening HTTP ") => http = port_of(&line),
                Ok(_) => {}
                Err(_) => {
                    self.ensure_alive()?;
                    let words = self.last_words();
                    ensure!(started.elapsed() < START_LIMIT, "it does not say where it listens: {words}");
                }
            }
        }
        (self.port, self.http_port) = (kafka.unwrap_or_default(), http.unwrap_or_default());
        // They are told before the private port.
        (self.gateway_port, self.secure_port) = (gateway.unwrap_or_default(), secure.unwrap_or_default());
        Ok(())
    }

    /// Apache Kafka: one combined broker and controller, its directory formatted on the first start.
    fn launch_kafka(&mut self) -> Result<()> {
        let path = kafka_class_path("server")?;
        if !self.setup.dir.join("server.properties").exists() {
            self.http_port = 0;
            let port = if self.port == 0 { free_port()? } else { self.port };
            let controller = free_port()?;
            let node = self.setting("node.id").unwrap_or("1").to_owned();
            let mut settings = BTreeMap::from(
                [
                    ("process.roles", "broker,controller".to_owned()),
                    ("controller.quorum.voters", format!("{node}@127.0.0.1:{controller}")),
                    ("node.id", node),
                    ("controller.listener.names", "CONTROLLER".to_owned()),
                    ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()),
                    (
                        "listeners",
                        format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}"),
                    ),
                    ("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
                ]
                .map(|(key, value)| (key.to_owned(), value)),
            );
            self.add_settings(&mut settings);
            let listening = settings.get("listeners").and_then(|all| port_of(all.split(',').next()?));
            self.port = listening.context("there is no listener")?;
            let config = self.write_config(&settings)?;
            let mut format = java(&path, "kafka.tools.StorageTool", "-Xmx256m");
            format.args(["format", "--ignore-formatted", "-t", "b2RyYWRlay1jb25mb3JtYQ", "-c"]).arg(config);
            run("formatting Kafka's directory", format, START_LIMIT)?;
        }
        let mut command = self.limited("java".as_ref());
        command.args(["-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
        command.args(["-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true"]);
        command.args(["-Dorg.apache.logging.log4j.level=WARN", "-cp", &path, "kafka.Kafka"]);
        command.arg(self.setup.dir.join("server.properties"));
        command.stdin(Stdio::null()).stdout(self.open_log()?).stderr(self.open_log()?);
        self.child = Some(command.spawn().context("starting Apache Kafka")?);
        Ok(())
    }

    fn add_settings(&self, settings: &mut BTreeMap<String, String>) {
        let fixed = [
            ("offsets.topic.replication.factor", "1"),
            ("transaction.state.log.replication.factor", "1"),
            ("transaction.state.log.min.isr", "1"),
            ("group.initial.rebalance.delay.ms", "0"),
        ];
        settings.extend(fixed.map(|(key, value)| (key.to_owned(), value.to_owned())));
        settings.insert("log.dirs".to_owned(), self.data_dir().display().to_string());
        settings.extend(self.setup.settings.iter().cloned());
    }

    fn write_config(&self, settings: &BTreeMap<String, String>) -> Result<PathBuf> {
        let file = self.setup.dir.join("server.properties");
        let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        fs::write(&file, lines.concat()).with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    fn limited(&self, program: &std::ffi::OsStr) -> Command {
        let Some(limits) = &self.setup.limits else {
            return Command::new(program);
        };
        let mut command = Command::new("bash");
        command.arg("-c").arg(format!("{limits}; exec \"$@\"")).arg("bash").arg(program);
        command
    }

    fn open_log(&self) -> Result<File> {
        let file = self.log_file();
        File::options().create(true).append(true).open(&file).with_context(|| format!("{}", file.display()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A broker that has already ended is what we want.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether the broker at `address` answers ApiVersions.
pub fn answers(address: &str) -> bool {
    let ask = || -> std::io::Result<[u8; 4]> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(API_VERSIONS_V0)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        Ok(length)
    };
    ask().is_ok()
}

/// The class path of Apache Kafka's `server` (4.4.0) or `tools` (4.3.1), fetched once.
pub fn kafka_class_path(profile: &str) -> Result<String> {
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("kafka/pom.xml");
    let dir = cache::installed(&format!("kafka-{profile}"), std::slice::from_ref(&pom), |dir| {
        println!("        fetching Apache Kafka's {profile} with Maven");
        clients::class_path(&pom, Some(profile), &dir.join("classpath")).map(drop)
    })?;
    Ok(fs::read_to_string(dir.join("classpath"))?.trim().to_owned())
}

/// A Java main class on a class path.
pub fn java(class_path: &str, class: &str, heap: &str) -> Command {
    let mut command = Command::new("java");
    command.args([
        heap,
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.apache.logging.log4j.level=ERROR",
    ]);
    command.args(["-cp", class_path, class]);
    command
}

/// The binary under test: `ODRADEK_BIN`, or the shipped build if this program is one, or the ci-release build.
pub fn odradek_binary() -> Result<PathBuf> {
    if let Some(file) = std::env::var_os("ODRADEK_BIN") {
        return Ok(PathBuf::from(file));
    }
    let this = std::env::current_exe()?;
    let target = this.ancestors().find(|dir| dir.join("CACHEDIR.TAG").exists());
    let target = target.context("set ODRADEK_BIN, there is no target directory around")?;
    let is_release = this.starts_with(target.join("release"));
    let binary = target.join(if is_release { "release" } else { "ci-release" }).join("odradek");
    ensure!(binary.exists(), "build {} first, or set ODRADEK_BIN", binary.display());
    Ok(binary)
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(free_ports(1)?.remove(0))
}

/// So many different ports on which nobody listens.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held = (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<Vec<_>>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn port_of(line: &str) -> Option<u16> {
    line.rsplit_once(':')?.1.trim().parse().ok()
}

/// Copies what the broker prints into its log and hands over the lines that say where it listens.
fn follow(stdout: impl Read + Send + 'static, mut log: File) -> Receiver<String> {
    let (send, receive) = sync_channel(16);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Neither a full disk nor a harness that no longer asks may stop the broker.
            let _ = writeln!(log, "{line}");
            if line.starts_with("listening ") {
                let _ = send.try_send(line);
            }
        }
    });
    receive
}
