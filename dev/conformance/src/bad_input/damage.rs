//! Files damaged between a kill and the next start: a torn tail, flipped bits, missing indexes.
//! The rule: only what is damaged goes, nothing damaged is served, and the node serves everything else.
//! Called by `bad_input`; batches hold one record of known content.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::main_job::fresh;
use crate::raw::{self, Raw};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// Batches in each partition.
const BATCHES: i64 = 12;

/// Four of them fill a segment.
const VALUE_BYTES: usize = 300_000;

pub(super) fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    report.check("a segment cut in its last batch: only that batch goes", || {
        let mut case = Case::prepare(kind)?;
        let file = case.newest_segment()?;
        let length = fs::metadata(&file)?.len();
        fs::File::options().write(true).open(&file)?.set_len(length - 10)?;
        case.server.start_again()?;
        let end = case.end(0)?;
        ensure!(end == BATCHES - 1, "the log ends at {end} instead of {}", BATCHES - 1);
        case.ensure_prefix(0, end)?;
        case.ensure_neighbour()?;
        case.ensure_appends(0, end)
    });
    report.check("a bit flipped in the active segment: nothing damaged is served", || {
        let mut case = Case::prepare(kind)?;
        let file = case.newest_segment()?;
        flip(&file, VALUE_BYTES / 2)?;
        case.server.start_again()?;
        case.ensure_contained(0)
    });
    report.check("a bit flipped in a sealed segment: nothing damaged is served", || {
        let mut case = Case::prepare(kind)?;
        let file = case.segments()?.into_iter().next().context("no segment")?;
        flip(&file, VALUE_BYTES + VALUE_BYTES / 2)?;
        case.server.start_again()?;
        case.ensure_contained(0)
    });
    report.check("missing indexes are made again", || {
        let mut case = Case::prepare(kind)?;
        let mut gone = 0;
        for file in case.files()? {
            if ["index", "timeindex"].contains(&file.extension().and_then(|e| e.to_str()).unwrap_or_default())
            {
                fs::remove_file(file)?;
                gone += 1;
            }
        }
        ensure!(gone > 0, "there was no index");
        case.server.start_again()?;
        let end = case.end(0)?;
        ensure!(end == BATCHES, "the log ends at {end} instead of {BATCHES}");
        case.ensure_prefix(0, end)?;
        ensure!(
            case.files()?.iter().any(|f| f.extension().is_some_and(|e| e == "index")),
            "no index was made"
        );
        case.ensure_appends(0, end)
    });
    Ok(())
}

/// A broker with a topic of two partitions, filled and killed.
struct Case {
    server: Server,
    topic: String,
    dir: tempfile::TempDir,
}

impl Case {
    fn prepare(kind: &Kind) -> Result<Case> {
        let dir = tempfile::tempdir()?;
        let setup = Setup::new(kind.clone(), dir.path()).set("log.segment.bytes", 4 * (VALUE_BYTES + 1000));
        let mut server = Server::start(setup)?;
        let topic = fresh("damaged");
        raw::ready_topic(server.bootstrap(), &topic, 2)?;
        let mut raw = Raw::greeted(server.bootstrap())?;
        for partition in 0..2 {
            for number in 0..BATCHES {
                let (code, offset) =
                    raw::produce(&mut raw, &topic, partition, &raw::batch(&value(number), true))?;
                ensure!((code, offset) == (0, number), "Produce: error code {code}, offset {offset}");
            }
        }
        drop(raw);
        server.kill()?;
        Ok(Case { server, topic, dir })
    }

    /// The files of partition 0, by name.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let dir = self.server.data_dir().join(format!("{}-0", self.topic));
        let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        Ok(files)
    }

    fn segments(&self) -> Result<Vec<PathBuf>> {
        let segments: Vec<PathBuf> =
            self.files()?.into_iter().filter(|file| file.extension().is_some_and(|e| e == "log")).collect();
        ensure!(segments.len() >= 3, "only {} segments in {}", segments.len(), self.dir.path().display());
        Ok(segments)
    }

    /// The last that holds anything.
    fn newest_segment(&self) -> Result<PathBuf> {
        let filled = |file: &PathBuf| fs::metadata(file).is_ok_and(|meta| meta.len() > 0);
        self.segments()?.into_iter().rfind(filled).context("no segment")
    }

    /// The end offset, as soon as the partition has a leader.
    fn end(&self, partition: i32) -> Result<i64> {
        let (code, offset) = self.until_led(|raw| raw::end_offset(raw, &self.topic, partition))?;
        ensure!(code == 0, "ListOffsets: error code {code}; the log says:\n{}", self.server.last_words());
        Ok(offset)
    }

    /// Asks again while the broker is still taking up its partitions; an error that lasts is an answer.
    fn until_led<T>(&self, ask: impl Fn(&mut Raw) -> Result<(i16, T)>) -> Result<(i16, T)> {
        let started = Instant::now();
        loop {
            let (code, found) = ask(&mut Raw::greeted(self.server.bootstrap())?)?;
            if code == 0 || started.elapsed() > Duration::from_secs(10) {
                return Ok((code, found));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Offsets `0..end` hold what was written there.
    fn ensure_prefix(&self, partition: i32, end: i64) -> Result<()> {
        let mut offset = 0;
        while offset < end {
            let fetched = |raw: &mut Raw| {
                raw::fetch(raw, &self.topic, partition, offset).map(|(code, _, batches)| (code, batches))
            };
            let (code, batches) = self.until_led(fetched)?;
            ensure!(code == 0, "Fetch at {offset}: error code {code}");
            let found = raw::values(&batches)?;
            ensure!(!found.is_empty(), "nothing at offset {offset}, although the log ends at {end}");
            for record in found {
                let wanted = value(offset);
                let same = record.windows(wanted.len()).any(|window| window == wanted);
                ensure!(same, "offset {offset} holds something else");
                offset += 1;
            }
        }
        Ok(())
    }

    /// The other partition has lost nothing.
    fn ensure_neighbour(&self) -> Result<()> {
        let end = self.end(1)?;
        ensure!(end == BATCHES, "the undamaged partition ends at {end}");
        self.ensure_prefix(1, end)
    }

    /// The log goes on where it ends.
    fn ensure_appends(&self, partition: i32, end: i64) -> Result<String> {
        let batch = raw::batch(&value(end), true);
        let (code, offset) = self.until_led(|raw| raw::produce(raw, &self.topic, partition, &batch))?;
        ensure!(
            (code, offset) == (0, end),
            "the next batch: error code {code}, offset {offset} instead of {end}"
        );
        Ok(format!("{end} of {BATCHES} batches are there"))
    }

    /// Either the partition serves a true prefix, or it answers with an error; its neighbour serves everything.
    fn ensure_contained(&self, partition: i32) -> Result<String> {
        self.ensure_neighbour()?;
        let (code, end) = self.until_led(|raw| raw::end_offset(raw, &self.topic, partition))?;
        if self.server.kind() == &Kind::Odradek {
            let log = fs::read_to_string(self.server.log_file())?;
            ensure!(log.contains(&self.topic), "the log does not speak of the damaged partition");
        }
        if code != 0 {
            return Ok(format!("offline, error code {code}"));
        }
        if end == BATCHES {
            // It did not notice at the start: then it must notice when it reads, or the client's check must.
            let fetched = raw::fetch(&mut Raw::greeted(self.server.bootstrap())?, &self.topic, partition, 0)?;
            ensure!(raw::values(&fetched.2).is_ok(), "a damaged batch was served");
            return Ok("noticed when read".to_owned());
        }
        self.ensure_prefix(partition, end)?;
        self.ensure_appends(partition, end)
    }
}

/// Content that tells where it belongs.
fn value(number: i64) -> Vec<u8> {
    format!("batch {number:08} ").into_bytes().into_iter().cycle().take(VALUE_BYTES).collect()
}

fn flip(file: &Path, at: usize) -> Result<()> {
    let mut bytes = fs::read(file)?;
    *bytes.get_mut(at).context("the file is shorter than expected")? ^= 0x10;
    Ok(fs::write(file, bytes)?)
}
