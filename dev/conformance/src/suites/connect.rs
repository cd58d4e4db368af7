//! Kafka Connect as one process (`connect-standalone`): lines of a file go to a topic and from there into another file. It is
//! stopped and started again, and in the last round the broker is killed under it: no line may be missing, and while
//! nothing is killed none may come twice. Called by `suites`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Bed;
use super::java_suite::{JavaSuite, into, text};
use crate::main_job::fresh;
use crate::program::Program;

const CLASS: &str = "org.apache.kafka.connect.cli.ConnectStandalone";
/// Lines of a round.
const LINES: u64 = 10_000;
const LIMIT: Duration = Duration::from_secs(120);

/// Runs it.
pub(super) fn run(bed: &mut Bed) -> Result<String> {
    let scene = Scene { suite: JavaSuite::install()?, dir: bed.dir.join("connect") };
    fs::create_dir_all(&scene.dir)?;
    scene.configure(&bed.bootstrap())?;
    for round in 1..=2 {
        let worker = scene.start()?;
        scene.feed(round)?;
        scene.arrived(round * LINES)?;
        scene.stop(worker)?;
        let seen = scene.seen()?;
        ensure!(seen.values().all(|times| *times == 1), "round {round}: lines came twice");
        println!("        round {round}: {} lines, each once", seen.len());
    }
    if !bed.nodes.servers().iter().all(crate::server::Server::is_ours) {
        return Ok("2 rounds; the broker is not ours to kill".to_owned());
    }
    let worker = scene.start()?;
    scene.feed(3)?;
    thread::sleep(Duration::from_secs(5));
    bed.nodes.kill(1)?;
    scene.feed(4)?;
    thread::sleep(Duration::from_secs(3));
    bed.nodes.start_again(1)?;
    scene.arrived(4 * LINES)?;
    scene.stop(worker)?;
    let twice = scene.seen()?.values().filter(|times| **times > 1).count();
    Ok(format!("{} lines over two restarts and a kill of the broker, {twice} of them twice", 4 * LINES))
}

struct Scene {
    suite: JavaSuite,
    dir: PathBuf,
}

impl Scene {
    fn configure(&self, bootstrap: &str) -> Result<()> {
        let (topic, dir) = (fresh("connect"), &self.dir);
        let converter = "org.apache.kafka.connect.storage.StringConverter";
        let worker = format!(
            "bootstrap.servers={bootstrap}\nkey.converter={converter}\nvalue.converter={converter}\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms=1000\nlisteners=http://127.0.0.1:0\n\
             consumer.metadata.max.age.ms=1000\n",
            text(&dir.join("offsets"))
        );
        let source = format!(
            "name=source\nconnector.class=org.apache.kafka.connect.file.FileStreamSourceConnector\n\
             file={}\ntopic={topic}\n",
            text(&dir.join("in"))
        );
        let sink = format!(
            "name={topic}-sink\nconnector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\n\
             file={}\ntopics={topic}\n",
            text(&dir.join("out"))
        );
        for (name, properties) in [("worker", worker), ("source", source), ("sink", sink)] {
            fs::write(dir.join(name), properties)?;
        }
        for name in ["in", "out"] {
            File::create(dir.join(name))?;
        }
        Ok(())
    }

    fn start(&self) -> Result<Program> {
        let args = ["worker", "source", "sink"].map(|name| text(&self.dir.join(name)));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = self.dir.join("worker.log");
        Program::start("connect-standalone", into(self.suite.java(CLASS, &args), &log))
    }

    fn stop(&self, worker: Program) -> Result<()> {
        // The sink's offsets and what it has written are flushed once a second.
        thread::sleep(Duration::from_secs(2));
        worker.terminate()?;
        // It ends with the status of its signal.
        let _ended = worker.finish(LIMIT);
        Ok(())
    }

    /// The lines of a round.
    fn feed(&self, round: u64) -> Result<()> {
        let lines: Vec<String> =
            ((round - 1) * LINES + 1..=round * LINES).map(|line| format!("{line}\n")).collect();
        let mut file = File::options().append(true).open(self.dir.join("in"))?;
        Ok(file.write_all(lines.concat().as_bytes())?)
    }

    /// How often each line has come out.
    fn seen(&self) -> Result<BTreeMap<u64, u64>> {
        numbers(&self.dir.join("out"))
    }

    fn arrived(&self, count: u64) -> Result<()> {
        let begun = Instant::now();
        loop {
            let seen = self.seen()?;
            if (1..=count).all(|line| seen.contains_key(&line)) {
                return Ok(());
            }
            ensure!(begun.elapsed() < LIMIT, "after {} s {} of {count} lines", LIMIT.as_secs(), seen.len());
            thread::sleep(Duration::from_millis(500));
        }
    }
}

fn numbers(file: &Path) -> Result<BTreeMap<u64, u64>> {
    let mut seen = BTreeMap::new();
    let text = fs::read_to_string(file)?;
    // What does not end with a line's end is still being written.
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    for line in whole.lines() {
        *seen.entry(line.parse()?).or_default() += 1;
    }
    Ok(seen)
}
