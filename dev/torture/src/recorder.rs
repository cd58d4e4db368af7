//! Running clients and what they say: a thread for each takes its lines, counts what is acknowledged, keeps the history.
//! It neither judges nor draws.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::program::{Program, signal};

use crate::history::{Event, History, Role, What};

/// Looked at while the clients are at work.
#[derive(Debug)]
pub struct Gauges {
    began: Instant,
    /// Acknowledgements of each partition so far.
    acks: Vec<AtomicU64>,
    /// When the last one came, and the longest time without one; microseconds since the beginning.
    last_us: Vec<AtomicU64>,
    longest_us: Vec<AtomicU64>,
}

impl Gauges {
    /// For so many partitions.
    pub fn new(partitions: usize) -> Arc<Gauges> {
        let zeros = || (0..partitions).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Gauges { began: Instant::now(), acks: zeros(), last_us: zeros(), longest_us: zeros() })
    }

    fn on(&self, what: &What) {
        let What::Ack(value, _) = what else { return };
        let place = value.partition as usize;
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if let (Some(acks), Some(last), Some(longest)) =
            (self.acks.get(place), self.last_us.get(place), self.longest_us.get(place))
        {
            acks.fetch_add(1, Ordering::Relaxed);
            let before = last.swap(now, Ordering::Relaxed);
            if before != 0 {
                longest.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
            }
        }
    }

    /// Acknowledgements of each partition.
    pub fn acks(&self) -> Vec<u64> {
        self.acks.iter().map(|acks| acks.load(Ordering::Relaxed)).collect()
    }

    /// The longest time without an acknowledgement, by partition, since this was asked the last time.
    pub fn take_longest(&self) -> Vec<Duration> {
        self.longest_us
            .iter()
            .map(|longest| Duration::from_micros(longest.swap(0, Ordering::Relaxed)))
            .collect()
    }
}

/// How long a client may take to leave once it has said its last word.
const LEAVING_LIMIT: Duration = Duration::from_secs(30);

/// A client at work.
#[derive(Debug)]
pub struct Recorder {
    name: String,
    role: Role,
    pid: u32,
    is_killed: Arc<AtomicBool>,
    taking: JoinHandle<Result<Vec<Event>>>,
}

impl Recorder {
    /// Takes the lines of a client that was started; `writer` is its number if it writes. They are kept below `dir`, too, for
    /// who looks into an anomaly.
    pub fn new(
        (name, role): (&str, Role),
        program: Program,
        writer: u32,
        gauges: Arc<Gauges>,
        dir: &Path,
    ) -> Result<Recorder> {
        let file = dir.join(format!("history-{name}.jsonl"));
        let file = File::create(&file).with_context(|| format!("creating {}", file.display()))?;
        let pid = program.pid();
        let is_killed = Arc::new(AtomicBool::new(false));
        let told = is_killed.clone();
        let taking = std::thread::spawn(move || take(program, writer, &gauges, &told, BufWriter::new(file)));
        Ok(Recorder { name: name.to_owned(), role, pid, is_killed, taking })
    }

    /// Whether it has ended, asked or not.
    pub fn has_ended(&self) -> bool {
        self.taking.is_finished()
    }

    /// Asks for the end.
    pub fn ask_to_end(&self) -> Result<()> {
        if self.has_ended() { Ok(()) } else { signal(self.pid, rustix::process::Signal::TERM) }
    }

    /// Waits for the end, and kills what does not come to it: its history so far is judged all the same.
    pub fn finish(self, limit: Duration) -> Result<History> {
        let asked = Instant::now();
        while !self.taking.is_finished() {
            if asked.elapsed() > limit && !self.is_killed.swap(true, Ordering::Relaxed) {
                signal(self.pid, rustix::process::Signal::KILL)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let events =
            self.taking.join().map_err(|_| anyhow::anyhow!("the recorder of {} panicked", self.name))?;
        let events = events.with_context(|| self.name.clone())?;
        Ok(History { name: self.name, role: self.role, events })
    }
}

fn take(
    program: Program,
    writer: u32,
    gauges: &Gauges,
    is_killed: &AtomicBool,
    mut file: BufWriter<File>,
) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        match program.next_line(Duration::from_secs(3600)) {
            Ok(line) => {
                writeln!(file, "{line}")?;
                let event = match Event::parse(&line, writer) {
                    // Killed in the middle of a line.
                    Err(_) if is_killed.load(Ordering::Relaxed) => continue,
                    event => event?,
                };
                gauges.on(&event.what);
                if event.what == What::End {
                    events.push(event);
                    file.flush()?;
                    let limit = program.age() + LEAVING_LIMIT;
                    program.finish(limit)?;
                    return Ok(events);
                }
                events.push(event);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if is_killed.load(Ordering::Relaxed) => {
                file.flush()?;
                let at_us = events.last().map_or(0, |event| event.at_us);
                events.push(Event { at_us, what: What::Killed });
                return Ok(events);
            }
            Err(RecvTimeoutError::Disconnected) => {
                let limit = program.age() + LEAVING_LIMIT;
                program.finish(limit)?;
                bail!("it ended without saying so");
            }
        }
    }
}
