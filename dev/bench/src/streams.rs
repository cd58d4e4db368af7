//! Streams of keys over HTTP, the last mile: readers that only wait, one record to many of them, appends of many producers, few keys
//! and many, streams that nobody has read for long, and readers that all come back at once.
//! Each workload has a server of its own. Called by `main`; what sends the load is `streams.c`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conformance::cache;
use conformance::program::{Program, run};
use conformance::quotas;
use conformance::server::{Kind, Server, Setup, odradek_binary};
use rustix::process::{Resource, getrlimit};
use serde_json::Value;
use tls::rustls::{ClientConfig, ClientConnection, StreamOwned};
use tls::testing::SelfSigned;

use crate::contestant::{cpu_seconds, resident_mib};
use crate::samples::Samples;

/// What is measured, by the names that `--only` takes.
pub const NAMES: [&str; 7] = [
    "streams-idle",
    "streams-idle-tls",
    "streams-fan-out",
    "streams-append",
    "streams-keys",
    "streams-cold",
    "streams-return",
];

const NAME: &str = "Odradek, fsync";
const TOPIC: &str = "streams";
const LOAD_LIMIT: Duration = Duration::from_secs(600);
const RECORD_BYTES: &str = "256";
/// Readers that wait, where the machine allows so many open files.
const IDLE_READERS: usize = 100_000;
/// The same under TLS.
const IDLE_SECURE_READERS: usize = 20_000;
const IDLE: Duration = Duration::from_secs(30);
/// Readers that come back.
const RETURNING: usize = 20_000;
const FEW_KEYS: &str = "10000";
const MANY_KEYS: &str = "1000000";
/// Connections, and what is on its way on each.
const WRITERS: [&str; 2] = ["256", "16"];
/// Kafka's clients that the node allows; the bench has a few.
const KAFKA_CONNECTIONS: usize = 64;
/// Files that the bench and the node need for themselves.
const OTHER_FILES: usize = 256;

/// The load program.
#[derive(Debug)]
pub struct Streams {
    program: PathBuf,
    dir: PathBuf,
}

/// What one run of it measured.
struct Figures {
    count: f64,
    seconds: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Streams {
    /// Compiles the load program, unless that was done; servers live below `dir`.
    pub fn build(dir: &Path) -> Result<Streams> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("streams.c");
        let built = cache::installed("streams", std::slice::from_ref(&source), |dir| {
            let mut cc = Command::new("cc");
            cc.args(["-D_GNU_SOURCE", "-O2", "-std=gnu11", "-Wall", "-o"])
                .arg(dir.join("streams"))
                .arg(&source);
            run("cc", cc, LOAD_LIMIT).map(drop)
        })?;
        Ok(Streams { program: built.join("streams"), dir: dir.join("streams") })
    }

    /// Runs one workload by its name.
    pub fn run(&self, name: &str, rounds: usize, warm: usize) -> Result<Samples> {
        let command = format!("cargo xtask bench --only {name} --rounds {rounds} --warm {warm}");
        let title = match name {
            "streams-idle" => {
                format!("{} readers that wait (SSE), each for a stream of its own", readers(IDLE_READERS))
            }
            "streams-idle-tls" => format!(
                "{} readers that wait (SSE) under TLS 1.3, each for a stream of its own",
                readers(IDLE_SECURE_READERS)
            ),
            "streams-fan-out" => "A record of 256 B to 1000 readers (SSE)".to_owned(),
            "streams-append" => {
                format!(
                    "Appends of 256 B with a producer for each of {FEW_KEYS} streams, {} connections, {} on their way on each",
                    WRITERS[0], WRITERS[1]
                )
            }
            "streams-keys" => format!("The same, {MANY_KEYS} streams beside {FEW_KEYS}"),
            "streams-cold" => {
                format!("Reading 100 records of 256 B of one of {FEW_KEYS} streams after a start")
            }
            "streams-return" => format!("{} readers come back at once, each to a record", readers(RETURNING)),
            other => bail!("there is no workload {other}, only {}", NAMES.join(", ")),
        };
        let mut samples = Samples::new(title, command);
        for round in 0..warm + rounds {
            let mut ignored = Samples::new("", "");
            let counts = if round >= warm { &mut samples } else { &mut ignored };
            match name {
                "streams-idle" => self.idle(counts)?,
                "streams-idle-tls" => self.idle_secure(counts)?,
                "streams-fan-out" => self.fan_out(counts)?,
                "streams-append" => self.append(counts)?,
                "streams-keys" => self.keys(counts)?,
                "streams-cold" => self.cold(counts)?,
                _ => self.come_back(counts)?,
            }
            println!("    round {round} of {name} is over");
        }
        Ok(samples)
    }

    /// A server without data that serves streams.
    fn start(&self) -> Result<Server> {
        self.start_with(|setup| setup.set("odradek.gateway.listeners", "HTTP://127.0.0.1:0"))
    }

    fn start_with(&self, set: impl FnOnce(Setup) -> Setup) -> Result<Server> {
        if self.dir.exists() {
            fs::remove_dir_all(&self.dir)?;
        }
        let setup = set(Setup::new(Kind::Odradek, &self.dir))
            .set("odradek.gateway.connections.max", 1_000_000)
            .set("max.connections", KAFKA_CONNECTIONS)
            .set("odradek.ack.durability", "fsync");
        let server = Server::start(setup)?;
        let mut create = Command::new(odradek_binary()?);
        create.args([
            "topic",
            "create",
            TOPIC,
            "--partitions",
            "6",
            "--set",
            "odradek.key.index=true",
            "--bootstrap",
        ]);
        create.arg(server.bootstrap());
        run("odradek topic create", create, LOAD_LIMIT)?;
        Ok(server)
    }

    /// One run of the load program.
    fn load(&self, server: &Server, what: &str, args: &[&str]) -> Result<Figures> {
        let mut command = Command::new(&self.program);
        command.args([what, port(server)?, TOPIC]).args(args);
        figures(&Program::start("streams", command)?.json(LOAD_LIMIT)?)
    }

    fn idle(&self, samples: &mut Samples) -> Result<()> {
        let server = self.start()?;
        let count = readers(IDLE_READERS).to_string();
        self.load(&server, "create", &[&count])?;
        waiting(&server, samples, || {
            let mut command = Command::new(&self.program);
            command.args(["follow", port(&server)?, TOPIC, &count, &count]);
            let holding = Program::start_fed("streams", command, Stdio::piped())?;
            let told = holding.line(LOAD_LIMIT).context("the readers were not served")?;
            let opened = figures(&serde_json::from_str(&told)?)?;
            Ok((holding, opened.count, opened.seconds))
        })
    }

    fn idle_secure(&self, samples: &mut Samples) -> Result<()> {
        let own = SelfSigned::new(&["127.0.0.1"]);
        let (certificate, key) = (self.dir.with_extension("certificate"), self.dir.with_extension("key"));
        fs::write(&certificate, &own.certificate)?;
        fs::write(&key, &own.key)?;
        let server = self.start_with(|setup| {
            setup
                .set("odradek.gateway.listeners", "HTTP://127.0.0.1:0,HTTPS://127.0.0.1:0")
                .set("odradek.gateway.tls.certificate.file", certificate.display())
                .set("odradek.gateway.tls.key.file", key.display())
                .set("odradek.gateway.address.connections.max", 0)
                .set("odradek.gateway.address.requests.per.second", 0)
        })?;
        let count = readers(IDLE_SECURE_READERS);
        self.load(&server, "create", &[&count.to_string()])?;
        let (client, address) = (own.client(&[b"http/1.1"]), server.secure_gateway().context("no TLS")?);
        waiting(&server, samples, || {
            let begun = Instant::now();
            let all: Vec<_> =
                (0..count).map(|number| follow(&client, &address, number)).collect::<Result<_>>()?;
            Ok((all, count as f64, begun.elapsed().as_secs_f64()))
        })
    }

    fn fan_out(&self, samples: &mut Samples) -> Result<()> {
        let server = self.start()?;
        self.load(&server, "create", &["1"])?;
        let paced = self.load(&server, "fan-out", &["1000", "400", "20", RECORD_BYTES])?;
        samples.add(NAME, "p50 ms", paced.p50_ms);
        samples.add(NAME, "p99 ms", paced.p99_ms);
        let cpu = cpu_seconds(&server.pid()?.to_string())?;
        let fast = self.load(&server, "fan-out", &["1000", "400", "0", RECORD_BYTES])?;
        let used = cpu_seconds(&server.pid()?.to_string())? - cpu;
        samples.add(NAME, "one after the other, k deliveries/s", fast.count / fast.seconds / 1e3);
        samples.add(NAME, "k deliveries/s for each core of the server", fast.count / used / 1e3);
        Ok(())
    }

    fn append(&self, samples: &mut Samples) -> Result<()> {
        let server = self.start()?;
        self.load(&server, "create", &[FEW_KEYS])?;
        let cpu = cpu_seconds(&server.pid()?.to_string())?;
        let taken = self.appended(&server, FEW_KEYS, "300000")?;
        let used = cpu_seconds(&server.pid()?.to_string())? - cpu;
        samples.add(NAME, "k appends/s", taken.count / taken.seconds / 1e3);
        samples.add(NAME, "server CPU us/append", used / taken.count * 1e6);
        samples.add(NAME, "p50 ms", taken.p50_ms);
        samples.add(NAME, "p99 ms", taken.p99_ms);
        Ok(())
    }

    fn appended(&self, server: &Server, keys: &str, count: &str) -> Result<Figures> {
        self.load(server, "append", &[keys, WRITERS[0], WRITERS[1], count, RECORD_BYTES])
    }

    fn keys(&self, samples: &mut Samples) -> Result<()> {
        for (keys, measure) in [(FEW_KEYS, "few, k appends/s"), (MANY_KEYS, "many, k appends/s")] {
            let server = self.start()?;
            self.load(&server, "create", &[keys])?;
            let taken = self.appended(&server, keys, "400000")?;
            samples.add(NAME, measure, taken.count / taken.seconds / 1e3);
        }
        Ok(())
    }

    fn cold(&self, samples: &mut Samples) -> Result<()> {
        let mut server = self.start()?;
        self.load(&server, "create", &[FEW_KEYS])?;
        self.appended(&server, FEW_KEYS, "1000000")?;
        until_indexed(&server)?;
        server.stop()?;
        server.start_again()?;
        until_indexed(&server)?;
        let read = self.load(&server, "read", &[FEW_KEYS, "3000"])?;
        samples.add(NAME, "p50 ms", read.p50_ms);
        samples.add(NAME, "p99 ms", read.p99_ms);
        Ok(())
    }

    fn come_back(&self, samples: &mut Samples) -> Result<()> {
        let server = self.start()?;
        let count = readers(RETURNING).to_string();
        self.load(&server, "create", &[&count])?;
        self.appended(&server, &count, &count)?;
        let cpu = cpu_seconds(&server.pid()?.to_string())?;
        let back = self.load(&server, "return", &[&count])?;
        samples.add(NAME, "all have it after s", back.seconds);
        samples.add(NAME, "CPU us each", (cpu_seconds(&server.pid()?.to_string())? - cpu) / back.count * 1e6);
        samples.add(NAME, "p99 ms", back.p99_ms);
        Ok(())
    }
}

/// What readers that wait cost, once `open` has opened them; what it gives holds them.
fn waiting<T>(
    server: &Server,
    samples: &mut Samples,
    open: impl FnOnce() -> Result<(T, f64, f64)>,
) -> Result<()> {
    let pid = server.pid()?;
    let (resident, kernel, cpu) = (resident_mib(pid)?, kernel_mib()?, cpu_seconds(&pid.to_string())?);
    let (_held, count, seconds) = open()?;
    samples.add(NAME, "open s", seconds);
    samples.add(NAME, "CPU s", cpu_seconds(&pid.to_string())? - cpu);
    let (begun, cpu) = (Instant::now(), cpu_seconds(&pid.to_string())?);
    std::thread::sleep(IDLE);
    let more = resident_mib(pid)? - resident;
    let busy = (cpu_seconds(&pid.to_string())? - cpu) / begun.elapsed().as_secs_f64();
    samples.add(NAME, "MiB more", more);
    samples.add(NAME, "KiB each", more * 1024.0 / count);
    samples.add(NAME, "kernel KiB each, both ends", (kernel_mib()? - kernel) * 1024.0 / count);
    samples.add(NAME, "idle CPU % of a core", busy * 100.0);
    Ok(())
}

/// A reader under TLS that has everything.
fn follow(
    client: &Arc<ClientConfig>,
    address: &str,
    number: usize,
) -> Result<StreamOwned<ClientConnection, TcpStream>> {
    let session = ClientConnection::new(client.clone(), "127.0.0.1".try_into()?)?;
    let mut stream = StreamOwned::new(session, TcpStream::connect(address)?);
    let request = format!("GET /s/{TOPIC}/k{number}?offset=-1&live=sse HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
    while !read.windows(9).any(|nine| nine == b"upToDate\"") {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "it ends: {}", String::from_utf8_lossy(&read));
        read.extend(buffer.iter().take(count));
    }
    Ok(stream)
}

fn port(server: &Server) -> Result<&'static str> {
    let gateway = server.gateway().context("the server serves no streams")?;
    let port = gateway.rsplit(':').next().context("an address has a port")?;
    Ok(port.to_owned().leak())
}

fn figures(said: &Value) -> Result<Figures> {
    let number =
        |field: &str| said.get(field).and_then(Value::as_f64).with_context(|| format!("no {field}: {said}"));
    Ok(Figures {
        count: number("count")?,
        seconds: number("seconds")?,
        p50_ms: number("p50_ms")?,
        p99_ms: number("p99_ms")?,
    })
}

/// As many as are wanted, or as the load program and the node may open: half of the files, 8192 at most, are for segments.
fn readers(wanted: usize) -> usize {
    let files = getrlimit(Resource::Nofile).maximum.and_then(|files| usize::try_from(files).ok());
    let files = files.unwrap_or(usize::MAX);
    let segments = (files / 2).clamp(128, 8192);
    wanted.min(files.saturating_sub(segments + KAFKA_CONNECTIONS + OTHER_FILES))
}

/// What the kernel has for its own: objects, and pages of sockets.
fn kernel_mib() -> Result<f64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let slab =
        info.lines().find_map(|line| line.strip_prefix("Slab:")).context("no Slab in /proc/meminfo")?;
    let slab_kib: f64 = slab.trim().trim_end_matches(" kB").parse()?;
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let tcp =
        sockets.lines().find(|line| line.starts_with("TCP:")).context("no TCP in /proc/net/sockstat")?;
    let pages: f64 = tcp.rsplit(' ').next().context("no pages")?.parse()?;
    Ok((slab_kib + pages * 4.0) / 1024.0)
}

fn until_indexed(server: &Server) -> Result<()> {
    let (http, begun) = (server.http().context("there is no private port")?, Instant::now());
    loop {
        let told = quotas::get(&http, "/metrics")?;
        let line = told.lines().find_map(|line| line.strip_prefix("odradek_key_index_records_behind "));
        match line.and_then(|count| count.trim().parse::<f64>().ok()) {
            Some(0.0) => return Ok(()),
            behind => ensure!(begun.elapsed() < LOAD_LIMIT, "the key index is behind: {behind:?}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
