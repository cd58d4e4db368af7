//! A machine that runs out: of descriptors, of disk, of rights, of directories that are still free.
//! The broker answers with an error or ends with a message, and loses nothing that it acknowledged.
//! Called by `bad_input`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::serves;
use crate::main_job::fresh;
use crate::program::run as run_program;
use crate::raw::{self, Raw};
use crate::report::Report;
use crate::server::{Kind, Server, Setup};

/// A log that found no room is tried again every second.
const TAKEN_AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// Descriptors for the broker; the clients want more.
const DESCRIPTORS: usize = 200;

pub(super) fn run(report: &mut Report, kind: &Kind) -> Result<()> {
    report.check("a second process on the same directory is refused", || second_process(kind));
    if kind == &Kind::Kafka {
        report.skip(
            "a data directory that cannot be written",
            "Kafka formats its directory in another program",
        );
        report.skip("out of file descriptors", "the JVM needs more for its own libraries");
    } else {
        report.check("a data directory that cannot be written is named", || unwritable(kind));
        report.check("out of file descriptors: others are served afterwards", || descriptors(kind));
    }
    match Small::mount() {
        Ok(small) => {
            report.check("a full disk: errors, and nothing acknowledged is lost", || full_disk(kind, &small));
        }
        Err(error) => report.skip("a full disk", format!("no small disk can be mounted here: {error:#}")),
    }
    Ok(())
}

fn second_process(kind: &Kind) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let mut first = Server::start(Setup::new(kind.clone(), dir.path()))?;
    let other = tempfile::tempdir()?;
    // The later setting wins: a directory of its own for log and configuration, but the data of the first.
    let setup = Setup::new(kind.clone(), other.path()).set("log.dirs", first.data_dir().display());
    let Err(error) = Server::start(setup) else { bail!("both run on one directory") };
    serves(&mut first)?;
    let text = format!("{error:#}");
    ensure!(text.contains("ended"), "the second process did not end by itself: {text}");
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn unwritable(kind: &Kind) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("a-file");
    fs::write(&file, "not a directory")?;
    let below = file.join("data");
    let setup = Setup::new(kind.clone(), dir.path().join("home")).set("log.dirs", below.display());
    let Err(error) = Server::start(setup) else { bail!("it runs on {}", below.display()) };
    let text = format!("{error:#}");
    ensure!(text.contains("a-file"), "the message does not name the directory: {text}");
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

fn descriptors(kind: &Kind) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let mut setup = Setup::new(kind.clone(), dir.path());
    setup.limits = Some(format!("ulimit -n {DESCRIPTORS}"));
    let mut server = Server::start(setup)?;
    let topic = fresh("descriptors");
    raw::ready_topic(server.bootstrap(), &topic, 1)?;
    let mut raw = Raw::greeted(server.bootstrap())?;
    ensure!(raw::produce(&mut raw, &topic, 0, &raw::batch(b"before", true))? == (0, 0), "not produced");
    let held: Vec<Raw> = (0..3 * DESCRIPTORS).map_while(|_| Raw::connect(server.bootstrap()).ok()).collect();
    std::thread::sleep(Duration::from_secs(1));
    server.ensure_alive()?;
    let (code, _) = raw::produce(&mut raw, &topic, 0, &raw::batch(b"meanwhile", true))?;
    let count = held.len();
    drop(held);
    std::thread::sleep(Duration::from_secs(1));
    serves(&mut server)?;
    let (after, offset) = raw::produce(&mut raw, &topic, 0, &raw::batch(b"after", true))?;
    ensure!(after == 0, "Produce afterwards: error code {after}, offset {offset}");
    server.kill()?;
    server.start_again()?;
    let mut raw = Raw::greeted(server.bootstrap())?;
    let (code_of_end, end) = raw::end_offset(&mut raw, &topic, 0)?;
    ensure!(code_of_end == 0 && end == offset + 1, "the log ends at {end}, error code {code_of_end}");
    Ok(format!("{count} connections wanted, {DESCRIPTORS} descriptors; Produce meanwhile: error code {code}"))
}

/// A disk of 24 MiB, gone when dropped.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn mount() -> Result<Small> {
        let dir = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(dir.path());
        run_program("mount", mount, Duration::from_secs(10))?;
        Ok(Small { dir })
    }

    fn grow(&self) -> Result<()> {
        let mut mount = Command::new("mount");
        mount.args(["-o", "remount,size=96m"]).arg(self.dir.path());
        run_program("mount", mount, Duration::from_secs(10)).map(drop)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("--lazy").arg(self.dir.path());
        // Nothing better can be done while dropping.
        let _ = run_program("umount", umount, Duration::from_secs(10));
    }
}

fn full_disk(kind: &Kind, small: &Small) -> Result<String> {
    let home = tempfile::tempdir()?;
    let setup = Setup::new(kind.clone(), home.path()).set("log.dirs", small.data().display());
    let mut server = Server::start(setup.set("log.index.size.max.bytes", 4096))?;
    let topic = fresh("full");
    raw::ready_topic(server.bootstrap(), &topic, 1)?;
    let mut raw = Raw::greeted(server.bootstrap())?;
    let value = vec![b'f'; 900_000];
    let mut acked = 0;
    let refused = loop {
        ensure!(acked < 64, "the disk does not fill");
        match raw::produce(&mut raw, &topic, 0, &raw::batch(&value, true)) {
            Ok((0, offset)) => {
                ensure!(offset == acked, "offset {offset} instead of {acked}");
                acked += 1;
            }
            Ok((code, _)) => break format!("error code {code}"),
            Err(error) => break format!("{error:#}"),
        }
    };
    ensure!(acked > 8, "only {acked} batches were taken: {refused}");
    let alive = server.ensure_alive().is_ok();
    let mut again = String::new();
    if kind != &Kind::Kafka {
        again = format!("; {}", without_restart(&mut server, small, &topic, &value)?);
    }
    if alive {
        server.kill()?;
    }
    small.grow()?;
    server.start_again()?;
    std::thread::sleep(Duration::from_millis(500));
    let mut raw = Raw::greeted(server.bootstrap())?;
    let (code, end) = raw::end_offset(&mut raw, &topic, 0)?;
    ensure!(code == 0 && end >= acked, "{acked} acknowledged, the log ends at {end}, error code {code}");
    let (code, offset) =
        raw::produce(&mut raw, &topic, 0, &raw::batch(&value, true)).context("producing again")?;
    ensure!(code == 0 && offset == end, "Produce with room again: error code {code}, offset {offset}");
    Ok(format!("{acked} acknowledged, then {refused}; the process lived: {alive}{again}"))
}

/// While the disk is full the records can be read; once there is room, they are taken again.
fn without_restart(server: &mut Server, small: &Small, topic: &str, value: &[u8]) -> Result<String> {
    server.ensure_alive()?;
    let mut raw = Raw::greeted(server.bootstrap())?;
    let (code, _, bytes) = raw::fetch(&mut raw, topic, 0, 0)?;
    ensure!(code == 0 && !bytes.is_empty(), "Fetch on a full disk: error code {code}");
    small.grow()?;
    let started = Instant::now();
    loop {
        let (code, _) = raw::produce(&mut raw, topic, 0, &raw::batch(value, true))?;
        if code == 0 {
            return Ok(format!("taken again {:.1} s after there was room", started.elapsed().as_secs_f64()));
        }
        ensure!(
            started.elapsed() < TAKEN_AGAIN_WITHIN,
            "with room again Produce is refused: error code {code}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
