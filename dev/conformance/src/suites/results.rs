//! Kafka Streams with results that are known: a word count, a windowed join and windows that are told once they are over. What
//! they come to is pinned; Apache Kafka gives the same. Exactly once, so a kill of the broker changes nothing.
//! Called by `suites`.

use std::fs;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::java_suite::{JavaSuite, into, text};
use super::{Bed, folder};
use crate::main_job::fresh;
use crate::program::Program;

const CLASS: &str = "Results";
const LIMIT: Duration = Duration::from_secs(240);
/// The first timestamp lies so far back, at the beginning of a window of any length in whole minutes.
const AGO_MS: u128 = 30 * 60_000;
const WINDOW_MS: u128 = 60_000;

/// Runs it with either kind of group.
pub(super) fn run(bed: &mut Bed) -> Result<String> {
    let suite = JavaSuite::install()?;
    let pinned: Value = serde_json::from_str(&fs::read_to_string(folder("java/results.json"))?)?;
    let mut told = Vec::new();
    for protocol in ["classic", "streams"] {
        let seen = results(bed, &suite, protocol)?;
        println!("        {protocol}: {seen}");
        ensure!(seen == pinned, "as a group of the {protocol} protocol it gives {seen}, pinned is {pinned}");
        told.push(protocol);
    }
    Ok(format!(
        "the pinned results as groups of the protocols {}, the broker killed meanwhile",
        told.join(" and ")
    ))
}

fn results(bed: &mut Bed, suite: &JavaSuite, protocol: &str) -> Result<Value> {
    let (bootstrap, name) = (bed.bootstrap(), fresh(protocol));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let base = ((now - AGO_MS) / WINDOW_MS * WINDOW_MS).to_string();
    let call = |verb: &str, args: &[&str]| {
        Program::start(verb, suite.java(CLASS, &[&[verb, bootstrap.as_str()], args].concat()))
    };
    let topics =
        ["lines", "left", "right", "counts", "joined", "windows"].map(|topic| format!("{name}-{topic}"));
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    call("create", &[&["4"], &topics[..]].concat())?.json(LIMIT)?;
    call("produce", &[&name, &base, "0"])?.json(LIMIT)?;
    let state = text(&bed.dir.join(&name));
    let protocol = format!("group.protocol={protocol}");
    let app = ["app", &bootstrap, &name, &state, &protocol, "processing.guarantee=exactly_once_v2"];
    let log = bed.dir.join(format!("{name}.log"));
    let app = Program::start("app", into(suite.java(CLASS, &app), &log))?;
    // It is at work when the second half comes, and has not done with it when the broker dies.
    thread::sleep(Duration::from_secs(8));
    call("produce", &[&name, &base, "1"])?.json(LIMIT)?;
    if bed.nodes.servers().iter().all(crate::server::Server::is_ours) {
        bed.nodes.kill(1)?;
        thread::sleep(Duration::from_secs(1));
        bed.nodes.start_again(1)?;
    }
    let seen = call("read", &[&name, &base, &LIMIT.as_secs().to_string()])?.json(LIMIT * 2)?;
    app.terminate()?;
    // It ends with the status of its signal.
    let _ended = app.finish(LIMIT);
    Ok(seen)
}
