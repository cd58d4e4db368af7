//! One contestant in the race: a broker, or three that form a cluster, with its name, and what `/proc` says about it.
//! It sends no load. Called by `workloads`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use conformance::nodes::Nodes;
use conformance::server::{Kind, Server, Setup};

/// One or three brokers and what the tables call them.
#[derive(Debug)]
pub struct Contestant {
    /// What the tables call it.
    pub name: &'static str,
    /// The running brokers.
    pub nodes: Nodes,
    /// From its start to its first answer.
    pub started_in: Duration,
}

/// How many brokers each contestant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// One alone.
    One,
    /// A cluster.
    Three,
}

/// Name, kind, and the settings in which it differs.
type Entry = (&'static str, Kind, &'static [(&'static str, &'static str)]);

/// Kafka acknowledges from the page cache; ours does so only if told, and otherwise after a sync.
const ENTRIES: [Entry; 3] = [
    ("Apache Kafka 4.4.0", Kind::Kafka, &[]),
    ("Odradek, page-cache", Kind::Odradek, &[("odradek.ack.durability", "page-cache")]),
    ("Odradek, fsync", Kind::Odradek, &[("odradek.ack.durability", "fsync")]),
];

impl Contestant {
    /// Starts all whose name contains `filter`, below `dir`.
    pub fn start_all(dir: &Path, filter: &str, size: Size) -> Result<Vec<Contestant>> {
        let wanted = ENTRIES.iter().filter(|(name, ..)| name.to_lowercase().contains(&filter.to_lowercase()));
        wanted.map(|(name, kind, settings)| Contestant::start(dir, name, kind, (settings, size))).collect()
    }

    fn start(
        dir: &Path,
        name: &'static str,
        kind: &Kind,
        (settings, size): (&[(&str, &str)], Size),
    ) -> Result<Contestant> {
        let dir = dir.join(name.replace([' ', ','], "-"));
        if size == Size::Three {
            let began = Instant::now();
            let nodes = Nodes::start(kind, &dir.join("cluster"), settings)?;
            println!("  {name}: three nodes answer after {:.1} s", began.elapsed().as_secs_f64());
            return Ok(Contestant { name, nodes, started_in: began.elapsed() });
        }
        let mut setup = Setup::new(kind.clone(), dir)
            .set("share.coordinator.state.topic.replication.factor", 1)
            .set("share.coordinator.state.topic.min.isr", 1);
        for (key, value) in settings {
            setup = setup.set(key, value);
        }
        // Formatting and the first look into the class path are not part of a start: the second one counts.
        let mut server = Server::start(setup)?;
        server.stop()?;
        let started_in = server.start_again().with_context(|| format!("starting {name}"))?;
        println!("  {name} answers after {:.3} s", started_in.as_secs_f64());
        Ok(Contestant { name, nodes: Nodes::alone(server), started_in })
    }

    /// `host:port` of each broker.
    pub fn addresses(&self) -> Vec<&str> {
        self.nodes.servers().iter().map(Server::bootstrap).collect()
    }

    /// CPU seconds that its brokers have used so far, user and system, all threads.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.nodes.servers().iter().map(|server| cpu_seconds(&server.pid()?.to_string())).sum()
    }

    /// Resident memory in MiB, of the broker that has most.
    pub fn resident_mib(&self) -> Result<f64> {
        let each = self.nodes.servers().iter().map(|server| resident_mib(server.pid()?));
        each.collect::<Result<Vec<_>>>().map(|all| all.into_iter().fold(0.0, f64::max))
    }

    /// CPU of a broker while nothing happens, in percent of one core, on average over its brokers.
    pub fn idle_percent(&self, during: Duration) -> Result<f64> {
        let (before, started) = (self.cpu_seconds()?, Instant::now());
        std::thread::sleep(during);
        let each = (self.cpu_seconds()? - before) / self.nodes.servers().len() as f64;
        Ok(each / started.elapsed().as_secs_f64() * 100.0)
    }
}

pub(crate) fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// CPU seconds of a process so far, by its id or "self".
pub fn cpu_seconds(process: &str) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = ticks(&stat).context("no times in /proc")?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the name in field 2 may contain blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_brackets() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 100 1000 10";
        assert_eq!(ticks(stat), Some(300));
    }
}
