//! What surrounds the brokers on a machine that has been at work for a while: memory full of cached file pages, and a
//! disk that other programs write to. It measures nothing. Called by `workloads`.
//!
//! A page that the system hands out for the first time, or again after the hypervisor took it back, costs several times
//! as much as one taken from the page cache; a freshly booted machine would measure that and not the broker.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::contestant::cpu_seconds;

/// The kernel begins to take cached pages back when little more than its reserve is free, so that much may stay free:
/// this many reserves. What is free beyond that would be handed out first, and may be with the hypervisor by then.
const RESERVES_FREE: u64 = 3;

/// The kernel's reserve of free memory, in KiB.
const RESERVE: &str = "/proc/sys/vm/min_free_kbytes";

const STEP_BYTES: usize = 1 << 20;

/// Cached pages that belong to nobody: the holes of a sparse file, read. The kernel takes them back page by page as
/// brokers write, as it does with old segments on a machine in service.
#[derive(Debug)]
pub struct Ballast {
    file: File,
    bytes: u64,
    read: u64,
    free_bytes_max: u64,
}

impl Ballast {
    /// A sparse file as large as memory, below `dir`; nothing is read yet.
    pub fn new(dir: &Path) -> Result<Ballast> {
        let path = dir.join("ballast");
        let file = File::create_new(&path).with_context(|| format!("creating {}", path.display()))?;
        let bytes = memory("MemTotal:")?;
        file.set_len(bytes)?;
        let file = File::open(&path)?;
        let reserve = fs::read_to_string(RESERVE).with_context(|| format!("reading {RESERVE}"))?;
        let reserve_kib: u64 = reserve.trim().parse().with_context(|| format!("{RESERVE}: {reserve:?}"))?;
        Ok(Ballast { file, bytes, read: 0, free_bytes_max: RESERVES_FREE * (reserve_kib << 10) })
    }

    /// Reads on until little memory is free, at most once round.
    pub fn fill(&mut self) -> Result<()> {
        let mut step = vec![0; STEP_BYTES];
        for _ in 0..self.bytes / STEP_BYTES as u64 {
            if memory("MemFree:")? < self.free_bytes_max {
                break;
            }
            self.file.read_exact_at(&mut step, self.read)?;
            self.read = (self.read + STEP_BYTES as u64) % (self.bytes - STEP_BYTES as u64);
        }
        Ok(())
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn memory(name: &str) -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let kib =
        info.lines().find_map(|line| line.strip_prefix(name)).and_then(|l| l.trim().strip_suffix(" kB"));
    Ok(kib.with_context(|| format!("no {name} in /proc/meminfo"))?.parse::<u64>()? << 10)
}

/// CPU seconds that a plain program needs to write 1 GiB into the page cache here: below it no broker can go that keeps
/// its log in files.
pub fn write_cost(dir: &Path) -> Result<f64> {
    let (path, step) = (dir.join("plain"), vec![0x5A; STEP_BYTES]);
    let mut file = File::create_new(&path).with_context(|| format!("creating {}", path.display()))?;
    let before = cpu_seconds("self")?;
    for _ in 0..1024 {
        file.write_all(&step)?;
    }
    let cost = cpu_seconds("self")? - before;
    fs::remove_file(&path)?;
    Ok(cost)
}

/// Another program on the same disk: 64 MiB written and synced, again and again, 32 MiB a second on average.
#[derive(Debug)]
pub struct BusyDisk {
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<Result<()>>>,
    path: PathBuf,
}

impl BusyDisk {
    /// Starts to write below `dir`; ends when dropped.
    pub fn start(dir: &Path) -> BusyDisk {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), dir.join("busy"));
        let (stopped, file) = (Arc::clone(&stop), path.clone());
        let writer = thread::spawn(move || write_on(&file, &stopped));
        BusyDisk { stop, writer: Some(writer), path }
    }
}

impl Drop for BusyDisk {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Ok(Err(error))) = self.writer.take().map(JoinHandle::join) {
            eprintln!("the busy disk was not busy: {error:#}");
        }
        let _ = fs::remove_file(&self.path);
    }
}

fn write_on(path: &Path, stopped: &AtomicBool) -> Result<()> {
    let step = vec![0x5A; STEP_BYTES];
    while !stopped.load(Ordering::Relaxed) {
        let started = Instant::now();
        let mut file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        for _ in 0..64 {
            file.write_all(&step)?;
        }
        file.sync_data()?;
        thread::sleep(Duration::from_secs(2).saturating_sub(started.elapsed()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_line_that_bears_the_name() {
        let (total, free) = (memory("MemTotal:").unwrap(), memory("MemFree:").unwrap());
        assert!(total > free && free > 0);
        assert!(memory("MemNone:").is_err());
    }
}
