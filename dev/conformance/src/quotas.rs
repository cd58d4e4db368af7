//! Quotas and telemetry with Kafka's own tools and the Java client: a producer and a consumer that are held back to their
//! rate and say so, topics that are refused, and metrics that are pushed and shown. It knows no formulas: the rates are
//! measured loosely, after the burst that every quota allows. Called as `conformance quotas`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::java_tools::JavaTools;
use crate::main_job::fresh;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

const CONFIG: &str = "kafka.admin.ConfigCommand";
const TOPIC: &str = "org.apache.kafka.tools.TopicCommand";
const CLIENT_METRICS: &str = "org.apache.kafka.tools.ClientMetricsCommand";
const PRODUCER: &str = "org.apache.kafka.tools.ProducerPerformance";
const CONSUMER: &str = "org.apache.kafka.tools.ConsumerPerformance";
/// Bytes in a second that producers and consumers may do.
const RATE: u64 = 1_000_000;
const RECORD_BYTES: u64 = 1000;
/// Records that are within the ten seconds' worth that may come at once, nearly all of them.
const AT_ONCE_RECORDS: u64 = 19 * RATE / RECORD_BYTES / 2;
/// Records after them of which the rate is measured. What has come at once is forgotten after eleven seconds, and then so much may
/// come again: two such turns are measured.
const MEASURED_RECORDS: u64 = 20 * RATE / RECORD_BYTES;

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(Setup::new(kind.clone(), dir.path()))?;
    let bench = Bench {
        tools: JavaTools::install()?,
        bootstrap: server.bootstrap().to_owned(),
        topic: fresh("quotas"),
    };
    bench.create(&bench.topic)?;
    report.check("quotas: kafka-configs sets, shows and removes quotas", || bench.configurations());
    report.check("quotas: a producer keeps to producer_byte_rate and is told", || bench.producer());
    report.check("quotas: a consumer keeps to consumer_byte_rate and is told", || bench.consumer());
    report.check("quotas: a client that takes too much time is told", || bench.request_time());
    report.check("quotas: partitions beyond controller_mutation_rate are refused", || bench.mutations());
    report.check("quotas: kafka-client-metrics sets, lists, shows and deletes", || bench.client_metrics());
    let name = "telemetry: /metrics shows what a producer pushes";
    match server.http() {
        Some(http) => {
            report.check(name, || bench.telemetry(&http));
        }
        None => report.skip(name, "it is no Odradek of ours"),
    }
    Ok(())
}

struct Bench {
    tools: JavaTools,
    bootstrap: String,
    topic: String,
}

impl Bench {
    fn tool(&self, class: &str, args: &[&str], wanted: &[&str]) -> Result<String> {
        let all = [&["--bootstrap-server", self.bootstrap.as_str()], args].concat();
        self.tools.expect(class, &all, wanted)
    }

    fn create(&self, topic: &str) -> Result<String> {
        self.tool(TOPIC, &["--create", "--topic", topic, "--partitions", "1"], &["Created topic"])
    }

    fn add(&self, entity: &[&str], quota: &str) -> Result<String> {
        let args = [&["--alter", "--add-config", quota], entity].concat();
        self.tool(CONFIG, &args, &["Completed updating"])
    }

    fn delete(&self, entity: &[&str], key: &str) -> Result<String> {
        let args = [&["--alter", "--delete-config", key], entity].concat();
        self.tool(CONFIG, &args, &["Completed updating"])
    }

    fn configurations(&self) -> Result<String> {
        let both =
            ["--entity-type", "users", "--entity-name", "u", "--entity-type", "clients", "--entity-default"];
        let ip = ["--entity-type", "ips", "--entity-name", "10.1.2.3"];
        let group = ["--entity-type", "groups", "--entity-name", "g"];
        self.add(&both, "producer_byte_rate=1024,request_percentage=12.5")?;
        self.add(&ip, "connection_creation_rate=7")?;
        self.add(&group, "consumer.session.timeout.ms=50000")?;
        let describe =
            |entity: &[&str], wanted: &[&str]| self.tool(CONFIG, &[&["--describe"], entity].concat(), wanted);
        describe(
            &both,
            &[
                "user-principal 'u', the default client-id",
                "producer_byte_rate=1024.0",
                "request_percentage=12.5",
            ],
        )?;
        describe(&ip, &["ip '10.1.2.3'", "connection_creation_rate=7.0"])?;
        describe(&group, &["consumer.session.timeout.ms=50000"])?;
        describe(&["--entity-type", "groups"], &["g are:"])?;
        self.delete(&both, "producer_byte_rate,request_percentage")?;
        self.delete(&ip, "connection_creation_rate")?;
        let left = describe(&both, &[])?;
        ensure!(!left.contains("producer_byte_rate"), "{left}");
        Ok(String::new())
    }

    /// Sends so many records as fast as it may; what the tool prints.
    fn produce(&self, records: u64) -> Result<String> {
        let (records, size) = (records.to_string(), RECORD_BYTES.to_string());
        let args =
            ["--topic", &self.topic, "--num-records", &records, "--record-size", &size, "--throughput", "-1"];
        let own = ["--print-metrics", "--command-property", "client.id=held-back", "acks=all"];
        self.tool(PRODUCER, &[&args[..], &own].concat(), &["records sent"])
    }

    fn producer(&self) -> Result<String> {
        let client = ["--entity-type", "clients", "--entity-name", "held-back"];
        self.add(&client, &format!("producer_byte_rate={RATE}"))?;
        self.produce(AT_ONCE_RECORDS)?;
        let begun = Instant::now();
        let printed = self.produce(MEASURED_RECORDS)?;
        let seconds = begun.elapsed().as_secs_f64();
        let throttled = metric(&printed, "produce-throttle-time-max")?;
        self.delete(&client, "producer_byte_rate")?;
        // The consumer reads a little more at once than it wants.
        self.produce(AT_ONCE_RECORDS / 4)?;
        ensure!(throttled > 0.0, "the producer was never told to wait:\n{printed}");
        rate_is_kept(
            MEASURED_RECORDS * RECORD_BYTES,
            seconds,
            &format!("told to wait {throttled} ms at most"),
        )
    }

    fn consumer(&self) -> Result<String> {
        let client = ["--entity-type", "clients", "--entity-name", "held-back-too"];
        self.add(&client, &format!("consumer_byte_rate={RATE}"))?;
        let consume = |records: u64| {
            let (records, property) = (records.to_string(), "client.id=held-back-too");
            let args = ["--topic", &self.topic, "--num-records", &records, "--group", "quotas-group"];
            let own = [
                "--timeout",
                "120000",
                "--print-metrics",
                "--command-property",
                property,
                "--command-property",
                "auto.offset.reset=earliest",
                "--command-property",
                "max.partition.fetch.bytes=500000",
                "--command-property",
                "fetch.max.bytes=500000",
            ];
            self.tool(CONSUMER, &[&args[..], &own].concat(), &[])
        };
        consume(AT_ONCE_RECORDS)?;
        let begun = Instant::now();
        let printed = consume(MEASURED_RECORDS)?;
        let seconds = begun.elapsed().as_secs_f64();
        let throttled = metric(&printed, "fetch-throttle-time-max")?;
        self.delete(&client, "consumer_byte_rate")?;
        ensure!(throttled > 0.0, "the consumer was never told to wait:\n{printed}");
        rate_is_kept(
            MEASURED_RECORDS * RECORD_BYTES,
            seconds,
            &format!("told to wait {throttled} ms at most"),
        )
    }

    /// A thousandth of a thread is soon used up.
    fn request_time(&self) -> Result<String> {
        let client = ["--entity-type", "clients", "--entity-name", "takes-time"];
        self.add(&client, "request_percentage=0.1")?;
        let args =
            ["--topic", &self.topic, "--num-records", "2000", "--record-size", "100", "--throughput", "400"];
        let own =
            ["--print-metrics", "--command-property", "client.id=takes-time", "linger.ms=0", "acks=all"];
        let printed = self.tool(PRODUCER, &[&args[..], &own].concat(), &["2000 records sent"])?;
        self.delete(&client, "request_percentage")?;
        let throttled = metric(&printed, "produce-throttle-time-max")?;
        ensure!(throttled > 0.0, "the producer was never told to wait:\n{printed}");
        // Not for longer than a window.
        ensure!(throttled <= 1000.0, "it was told to wait {throttled} ms");
        Ok(format!("told to wait {throttled} ms at most"))
    }

    fn mutations(&self) -> Result<String> {
        let user = ["--entity-type", "users", "--entity-default"];
        self.add(&user, "controller_mutation_rate=1")?;
        let topic = fresh("mutations");
        // More than the burst of 11; then nothing is left for a while, and the tool does not try again.
        let create = ["--create", "--topic", &topic, "--partitions", "25"];
        self.tool(TOPIC, &create, &["Created topic"])?;
        let second = fresh("mutations");
        let refused = match self.tool(TOPIC, &["--create", "--topic", &second], &[]) {
            Ok(printed) => anyhow::bail!("it was created: {printed}"),
            Err(error) => error.to_string(),
        };
        self.delete(&user, "controller_mutation_rate")?;
        ensure!(refused.contains("quota"), "{refused}");
        Ok("refused with THROTTLING_QUOTA_EXCEEDED".to_owned())
    }

    fn client_metrics(&self) -> Result<String> {
        let of = ["--name", "conformance"];
        let alter = [
            "--alter",
            "--metrics",
            "org.apache.kafka.producer.,org.apache.kafka.consumer.",
            "--interval",
            "5000",
            "--match",
            "client_id=.*",
        ];
        self.tool(
            CLIENT_METRICS,
            &[&alter[..], &of].concat(),
            &["Altered client metrics config for conformance."],
        )?;
        self.tool(CLIENT_METRICS, &["--list"], &["conformance"])?;
        let wanted = [
            "interval.ms=5000",
            "metrics=org.apache.kafka.producer.,org.apache.kafka.consumer.",
            "match=client_id=.*",
        ];
        self.tool(CLIENT_METRICS, &[&["--describe"][..], &of].concat(), &wanted)?;
        let entity = ["--describe", "--entity-type", "client-metrics", "--entity-name", "conformance"];
        self.tool(CONFIG, &entity, &["interval.ms=5000"])?;
        self.tool(
            CLIENT_METRICS,
            &[&["--delete"][..], &of].concat(),
            &["Deleted client metrics config for conformance."],
        )?;
        let left = self.tool(CLIENT_METRICS, &["--list"], &[])?;
        ensure!(!left.contains("conformance"), "{left}");
        Ok(String::new())
    }
}

impl Bench {
    /// The Java client pushes what it is asked for; the last time when it ends.
    fn telemetry(&self, http: &str) -> Result<String> {
        let args =
            ["--alter", "--name", "pushed", "--metrics", "org.apache.kafka.producer.", "--interval", "1000"];
        self.tool(CLIENT_METRICS, &args, &["Altered client metrics config"])?;
        let args =
            ["--topic", &self.topic, "--num-records", "1000", "--record-size", "100", "--throughput", "200"];
        let own = ["--command-property", "client.id=tells-of-itself"];
        self.tool(PRODUCER, &[&args[..], &own].concat(), &["1000 records sent"])?;
        let shown = get(http, "/metrics")?;
        let of_client = |line: &&str| line.starts_with("client_org_apache_kafka_producer_");
        let lines: Vec<_> = shown.lines().filter(of_client).collect();
        let is_ours = |line: &&str| line.contains("client_id=\"tells-of-itself\"");
        ensure!(lines.iter().any(is_ours), "{} lines of clients, none of ours in:\n{shown}", lines.len());
        self.tool(CLIENT_METRICS, &["--delete", "--name", "pushed"], &["Deleted client metrics config"])?;
        Ok(format!("{} values", lines.len()))
    }
}

/// What the private HTTP listener answers.
pub fn get(http: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(http)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The value of a metric that a tool has printed as `group:name:{tags} : value`.
fn metric(printed: &str, name: &str) -> Result<f64> {
    let lines = printed.lines().filter(|line| line.contains(&format!(":{name}:")));
    let values = lines.filter_map(|line| line.rsplit(':').next()?.trim().parse::<f64>().ok());
    values.reduce(f64::max).with_context(|| format!("no {name} in:\n{printed}"))
}

/// Starting a tool takes a second or two of the time, in which nothing is sent, but the quota is not used up either.
fn rate_is_kept(bytes: u64, seconds: f64, how: &str) -> Result<String> {
    let rate = bytes as f64 / seconds;
    let (low, high) = (RATE as f64 * 0.7, RATE as f64 * 1.2);
    ensure!((low..=high).contains(&rate), "{rate:.0} bytes/s where {RATE} are allowed, {how}");
    Ok(format!("{rate:.0} of {RATE} bytes/s, {how}"))
}
