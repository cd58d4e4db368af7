//! One node as a process: started in its namespace on its own disk, killed, paused, asked to stop.
//! It decides nothing. A node that ends by itself is a finding, whatever was done to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conformance::program::signal;
use rustix::process::Signal;

use crate::place::{Place, address};

/// How long a node may take to stop when asked.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A node and what it is doing.
#[derive(Debug)]
pub struct Node {
    /// Its `node.id`, and its place in the network.
    pub id: usize,
    dir: PathBuf,
    child: Option<Child>,
    is_paused: bool,
}

/// What a drawing shows of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It runs.
    Up,
    /// It does not.
    Down,
    /// It is there and does not move.
    Paused,
}

impl Node {
    /// Writes the configuration of node `id` of `nodes`, with `settings` (`key=value`) at its end; nothing is formatted.
    pub fn new(id: usize, nodes: usize, place: &Place, dir: &Path, settings: &[String]) -> Result<Node> {
        let all: Vec<String> = (1..=nodes).map(|node| format!("{}:9093", address(node))).collect();
        let own = address(id);
        let config = format!(
            "process.roles=broker,controller\nnode.id={id}\n\
             listeners=PLAINTEXT://{own}:9092,CONTROLLER://{own}:9093\ncontroller.listener.names=CONTROLLER\n\
             controller.quorum.bootstrap.servers={}\nlog.dirs={}\noffsets.topic.replication.factor=3\n\
             offsets.topic.num.partitions=4\nmin.insync.replicas=2\ngroup.initial.rebalance.delay.ms=0\n\
             log.segment.bytes=1048576\nodradek.http.listener={own}:9644\n{}\n",
            all.join(","),
            place.disk(id).join("data").display(),
            settings.join("\n"),
        );
        std::fs::write(dir.join(format!("node-{id}.properties")), config)?;
        Ok(Node { id, dir: dir.to_owned(), child: None, is_paused: false })
    }

    /// Starts it; it may still be busy opening its logs when this returns.
    pub fn start(&mut self, place: &Place, binary: &Path) -> Result<()> {
        if self.child.is_none() {
            let log = File::options().create(true).append(true).open(self.log_file())?;
            let mut command = place.command(self.id, binary);
            command.arg("serve").arg("--config").arg(self.dir.join(format!("node-{}.properties", self.id)));
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            self.child = Some(command.spawn().context("starting a node")?);
        }
        Ok(())
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        self.is_paused = false;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        signal(child.id(), Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_LIMIT {
            if let Some(status) = child.try_wait()? {
                return if status.success() {
                    Ok(())
                } else {
                    bail!("node {} ended with {status} when asked to stop: {}", self.id, self.last_words())
                };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill()?;
        child.wait()?;
        bail!("node {} did not stop within {STOP_LIMIT:?}: {}", self.id, self.last_words())
    }

    /// SIGSTOP or SIGCONT.
    pub fn pause(&mut self, is_paused: bool) -> Result<()> {
        if let Some(child) = &self.child
            && self.is_paused != is_paused
        {
            signal(child.id(), if is_paused { Signal::STOP } else { Signal::CONT })?;
            self.is_paused = is_paused;
        }
        Ok(())
    }

    /// An error with its last words if it has ended by itself.
    pub fn ensure_alive(&mut self) -> Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            self.child = None;
            bail!("node {} ended by itself ({status}): {}", self.id, self.last_words());
        }
        Ok(())
    }

    /// What it is doing.
    pub fn look(&self) -> Look {
        match &self.child {
            None => Look::Down,
            Some(_) if self.is_paused => Look::Paused,
            Some(_) => Look::Up,
        }
    }

    /// What it printed.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join(format!("node-{}.log", self.id))
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(12)).copied().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended is what we want.
        let _ = self.kill();
    }
}
