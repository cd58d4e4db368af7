//! Streams of keys over HTTP: the suite that the Durable Streams project ships for servers, unmodified; and the Java client, which must
//! read what was posted and be read by who follows, over a `kill -9` of the broker. Under TLS the suite is the same, and Node's client of
//! HTTP/2 follows on one connection.
//! It knows no details of the protocol. Called as `conformance durable-streams`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tls::testing::SelfSigned;

use crate::clients::{Client, Clients, install_durable_streams};
use crate::main_job::fresh;
use crate::program::Program;
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// The suite takes half a minute; the machine may be slow and busy.
const SUITE_LIMIT: Duration = Duration::from_secs(600);
/// A request is answered sooner than a long poll ends.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Runs all of it.
pub fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    if kind != &Kind::Odradek {
        report.skip("durable streams", "Apache Kafka serves none");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let clients = Clients::install()?;
    let own = SelfSigned::new(&["127.0.0.1"]);
    let (certificate, key) = (dir.path().join("certificate.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, &own.certificate)?;
    std::fs::write(&key, &own.key)?;
    let setup = Setup::new(kind.clone(), dir.path().join("data"))
        .set("odradek.gateway.listeners", "HTTP://127.0.0.1:0,HTTPS://127.0.0.1:0")
        .set("odradek.gateway.tls.certificate.file", certificate.display())
        .set("odradek.gateway.tls.key.file", key.display())
        // The suite gives a poll that finds nothing five seconds.
        .set("odradek.gateway.long.poll.ms", 2000)
        .set("auto.create.topics.enable", "false");
    let mut server = Server::start(setup)?;
    report.check("durable streams: their project's suite", || {
        suite(&clients, &server, &gateway(&server)?, &certificate)
    });
    report.check("durable streams: their project's suite under TLS", || {
        suite(&clients, &server, &secure_gateway(&server)?, &certificate)
    });
    report.check("durable streams: readers that share a connection of HTTP/2", || {
        share(&clients, &server, &certificate)
    });
    let topic = fresh("mailboxes");
    let args = [topic.as_str(), "3", "odradek.stream.content.type=text/plain"];
    clients.call(Client::Librdkafka, "create", server.bootstrap(), &args)?;
    report.check("durable streams: Java's records and those that are posted are one stream", || {
        meet(&clients, &server, &topic)
    });
    server.kill()?;
    server.start_again()?;
    report.check("durable streams: over kill -9 an append is taken once", || come_again(&server, &topic));
    report.check("durable streams: what is deleted is a tombstone", || {
        let gone = ask(&server, "DELETE", &format!("/s/{topic}/u42"), &[], "")?;
        ensure!(gone.status == 204, "{gone:?}");
        let read = clients.mailbox("read", server.bootstrap(), &[&topic, "u42"])?.json(ANSWER_LIMIT)?;
        let last = read.get("values").and_then(Value::as_array).and_then(|all| all.last());
        ensure!(last == Some(&Value::Null), "{read}");
        let read = ask(&server, "GET", &format!("/s/{topic}/u42"), &[], "")?;
        ensure!(read.status == 404, "{read:?}");
        Ok("404".to_owned())
    });
    server.stop()?;
    Ok(())
}

/// All that it has must pass, but for what it skips itself.
fn suite(clients: &Clients, server: &Server, gateway: &str, trusted: &Path) -> Result<String> {
    let installed = install_durable_streams()?;
    let topic = fresh("suite");
    clients.call(
        Client::Librdkafka,
        "create",
        server.bootstrap(),
        &[&topic, "1", "odradek.key.index=true"],
    )?;
    let results = installed.join(format!("{topic}.json"));
    let mut vitest = Command::new("npx");
    vitest.args(["--no-install", "vitest", "run", "suite.test.js", "--reporter=json"]);
    vitest.arg(format!("--outputFile={}", results.display())).current_dir(&installed);
    vitest.env("STREAMS_URL", format!("{gateway}/s/{topic}")).env("NODE_EXTRA_CA_CERTS", trusted);
    let ended = Program::start("vitest", vitest)?.finish(SUITE_LIMIT);
    let told = std::fs::read_to_string(&results).with_context(|| format!("{ended:?}"))?;
    let _ = std::fs::remove_file(&results);
    let told: Value = serde_json::from_str(&told)?;
    let count = |name: &str| told.get(name).and_then(Value::as_u64).unwrap_or(0);
    let failed = failures(&told);
    ensure!(
        failed.is_empty(),
        "{} failed, the first:\n{}",
        failed.len(),
        failed.first().cloned().unwrap_or_default()
    );
    ended?;
    let (passed, skipped) = (count("numPassedTests"), count("numPendingTests"));
    ensure!(passed >= TESTS_MIN, "only {passed} tests were run");
    Ok(format!("{passed} passed, {skipped} skipped"))
}

/// Node's own client, and a crowd of readers in it.
fn share(clients: &Clients, server: &Server, trusted: &Path) -> Result<String> {
    const READERS: u64 = 50;
    let topic = fresh("shared");
    clients.call(Client::Librdkafka, "create", server.bootstrap(), &[&topic, "1"])?;
    let url = format!("{}/s/{topic}/u42", secure_gateway(server)?);
    let mut node = Command::new("node");
    node.arg(install_durable_streams()?.join("http2.js")).args([&url, &READERS.to_string()]);
    node.env("NODE_EXTRA_CA_CERTS", trusted);
    let told = Program::start("node", node)?.json(ANSWER_LIMIT)?;
    let wanted = json!({"created": 201, "location": url, "posted": 204, "whole": READERS, "read": "onetwo"});
    ensure!(told == wanted, "{told}");
    Ok(format!("{READERS} readers"))
}

/// The suite has so many; six more, of subscriptions, it skips itself.
const TESTS_MIN: u64 = 332;

fn failures(told: &Value) -> Vec<String> {
    let list =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let files = list(told, "testResults");
    let tests = files.iter().flat_map(|file| list(file, "assertionResults"));
    let failed = tests.filter(|test| test.get("status").and_then(Value::as_str) == Some("failed"));
    failed
        .map(|test| {
            let text = |name: &str| test.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let why = list(&test, "failureMessages");
            format!("{}: {}", text("fullName"), why.first().and_then(Value::as_str).unwrap_or_default())
        })
        .collect()
}

/// The Java client writes first; the stream is there without having been created.
fn meet(clients: &Clients, server: &Server, topic: &str) -> Result<String> {
    let path = format!("/s/{topic}/u42");
    let send = |values: &[&str]| {
        let args = [&[topic, "u42"], values].concat();
        clients.mailbox("send", server.bootstrap(), &args)?.json(ANSWER_LIMIT)
    };
    send(&["one", "two"])?;
    let read = ask(server, "GET", &path, &[], "")?;
    ensure!(read.status == 200 && read.body == "onetwo", "{read:?}");
    let posted = ask(server, "POST", &path, &[("content-type", "text/plain")], "three")?;
    ensure!(posted.status == 204, "{posted:?}");
    // Who waits at the end is woken by Java.
    let next = posted.header("stream-next-offset").context("no offset")?.to_owned();
    let waiting = format!("{path}?offset={next}&live=long-poll");
    let woken = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(server, "GET", &waiting, &[], ""));
        send(&["four"])?;
        waiting.join().map_err(|_| anyhow::anyhow!("it panicked"))?
    })?;
    ensure!(woken.status == 200 && woken.body == "four", "{woken:?}");
    let sent = append(server, topic, "0", "five")?;
    ensure!(sent.status == 200, "{sent:?}");
    let read = clients.mailbox("read", server.bootstrap(), &[topic, "u42"])?.json(ANSWER_LIMIT)?;
    let values = json!(["one", "two", "three", "four", "five"]);
    ensure!(read.get("values") == Some(&values), "{read}");
    let partitions: Vec<_> = read.get("partitions").and_then(Value::as_array).into_iter().flatten().collect();
    ensure!(partitions.windows(2).all(|pair| matches!(pair, [one, other] if one == other)), "{read}");
    Ok("in one partition, in one order".to_owned())
}

/// What was appended before the end is there, and so is what its producer had said.
fn come_again(server: &Server, topic: &str) -> Result<String> {
    let again = append(server, topic, "0", "five")?;
    ensure!(again.status == 204, "{again:?}");
    let gap = append(server, topic, "2", "seven")?;
    ensure!(gap.status == 409 && gap.header("producer-expected-seq") == Some("1"), "{gap:?}");
    let read = ask(server, "GET", &format!("/s/{topic}/u42"), &[], "")?;
    ensure!(read.body == "onetwothreefourfive", "{read:?}");
    Ok("a repetition is one, a gap is one".to_owned())
}

/// An append by a producer that names itself.
fn append(server: &Server, topic: &str, seq: &str, body: &str) -> Result<Answer> {
    let named = [
        ("content-type", "text/plain"),
        ("producer-id", "phone"),
        ("producer-epoch", "3"),
        ("producer-seq", seq),
    ];
    ask(server, "POST", &format!("/s/{topic}/u42"), &named, body)
}

/// An answer over HTTP.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

fn gateway(server: &Server) -> Result<String> {
    Ok(format!("http://{}", server.gateway().context("it serves no streams")?))
}

fn secure_gateway(server: &Server) -> Result<String> {
    Ok(format!("https://{}", server.secure_gateway().context("it serves no streams under TLS")?))
}

/// One request on a connection of its own.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let address = server.gateway().context("it serves no streams")?;
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status")?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Ok(Answer { status: status.parse()?, headers, body: body.to_owned() })
}
