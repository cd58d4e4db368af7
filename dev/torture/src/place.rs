//! Where the cluster lives: a network and mounts that nobody else sees, a namespace for each node, rules that drop
//! packets between them. It starts no node and draws no fault. All of it vanishes with the process that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use conformance::program::run;

/// Set in the process that runs inside.
const INSIDE: &str = "ODRADEK_TORTURE_INSIDE";
/// Time for a command that arranges the place.
const LIMIT: Duration = Duration::from_secs(60);
/// Of a node's disk; the image is sparse.
const DISK_BYTES: u64 = 4 << 30;
/// What the rest of the way needs, and the Debian package that brings it.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mkfs.ext4", "e2fsprogs"),
];

/// The clients' place in rules; nodes are counted from 1.
pub const CLIENTS: usize = 0;

/// Namespaces for a number of nodes, and the bridge between them.
#[derive(Debug)]
pub struct Place {
    nodes: usize,
    dir: PathBuf,
    cuts: Cuts,
}

/// What does not get through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Packets from the first to the second are dropped.
    pub dropped: BTreeSet<(usize, usize)>,
    /// Of the packets that leave a node so many in a hundred are lost.
    pub lost_percent: BTreeMap<usize, u32>,
}

/// Starts this program again in a network and with mounts of its own, unless that was done; as root of a user
/// namespace where it is not root already.
pub fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let missing = TOOLS.iter().find(|(tool, _)| !is_there(tool));
    if let Some((tool, package)) = missing {
        bail!("{tool} is missing; install it, on Debian with: apt-get install {package}");
    }
    let mut unshare = Command::new("unshare");
    // A process namespace too: whatever was started ends with this program, however that ends.
    unshare.args(["--net", "--mount", "--propagation", "private", "--pid", "--mount-proc", "--kill-child"]);
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg("--").arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    Err(unshare.exec()).context("entering a network namespace")
}

fn is_there(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(tool).is_file())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where a node listens, or the clients come from.
pub fn address(place: usize) -> String {
    match place {
        CLIENTS => "10.77.0.254".to_owned(),
        node => format!("10.77.0.{node}"),
    }
}

impl Place {
    /// Arranges everything, with files below `dir`.
    pub fn new(nodes: usize, dir: &Path) -> Result<Place> {
        // Names of namespaces are mount points; these are on a file system of our own.
        sh("mount -t tmpfs torture /run && mkdir -p /run/netns && ip link set lo up")?;
        sh("ip link add br0 type bridge && ip link set br0 up")?;
        sh(&format!("ip addr add {}/24 dev br0", address(CLIENTS)))?;
        for node in 1..=nodes {
            sh(&format!(
                "ip netns add n{node} && ip link add v{node} type veth peer name eth0 netns n{node} && \
                 ip link set v{node} master br0 up && ip -n n{node} link set lo up && \
                 ip -n n{node} addr add {}/24 dev eth0 && ip -n n{node} link set eth0 up",
                address(node)
            ))?;
        }
        let place = Place { nodes, dir: dir.to_owned(), cuts: Cuts::default() };
        for node in 1..=nodes {
            place.mount_disk(node)?;
        }
        Ok(place)
    }

    /// A file system of a node's own, that can be filled: on a file where mounting one is allowed, else in memory.
    fn mount_disk(&self, node: usize) -> Result<()> {
        let (at, image) = (self.disk(node), self.dir.join(format!("disk-{node}.img")));
        std::fs::create_dir_all(&at)?;
        let made = format!(
            "truncate -s {DISK_BYTES} {image} && mkfs.ext4 -q -F -m 0 {image} && mount -o loop {image} {at}",
            image = image.display(),
            at = at.display()
        );
        if sh(&made).is_err() {
            println!("  node {node} has its disk in memory: mounting a file is not allowed here");
            sh(&format!("mount -t tmpfs -o size=1g torture {}", at.display()))?;
        }
        Ok(())
    }

    /// The mount point of a node's disk.
    pub fn disk(&self, node: usize) -> PathBuf {
        self.dir.join(format!("disk-{node}"))
    }

    /// A command that runs as a node, on its network.
    pub fn command(&self, node: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/n{node}")).arg("--").arg(program);
        command
    }

    /// Lets through what `cuts` does not stop, and nothing else.
    pub fn cut(&mut self, cuts: Cuts) -> Result<()> {
        if cuts != self.cuts {
            for node in 1..=self.nodes {
                let rules = self.dir.join(format!("rules-{node}.nft"));
                std::fs::write(&rules, rules_of(node, &cuts))?;
                sh(&format!("ip netns exec n{node} nft -f {}", rules.display()))?;
            }
            let rules = self.dir.join("rules-clients.nft");
            std::fs::write(&rules, rules_of(CLIENTS, &cuts))?;
            sh(&format!("nft -f {}", rules.display()))?;
            self.cuts = cuts;
        }
        Ok(())
    }
}

/// What drops packets that leave `from`: silently, as a broken switch does, so that nobody is told.
fn rules_of(from: usize, cuts: &Cuts) -> String {
    let mut rules = vec![
        "add table ip torture".to_owned(),
        "delete table ip torture".to_owned(),
        "table ip torture {\nchain out {\ntype filter hook output priority 0; policy accept;".to_owned(),
    ];
    for (_, to) in cuts.dropped.iter().filter(|(source, _)| *source == from) {
        rules.push(format!("ip daddr {} drop;", address(*to)));
    }
    if let Some(percent) = cuts.lost_percent.get(&from) {
        rules.push(format!("ip daddr 10.77.0.0/24 numgen random mod 100 < {percent} drop;"));
    }
    rules.push("}\n}\n".to_owned());
    rules.join("\n")
}

fn sh(script: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("PATH=$PATH:/usr/sbin:/sbin; {script}")]);
    run(script, shell, LIMIT).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_drop_what_leaves_a_node_one_way_and_replace_those_before() {
        let cuts = Cuts { dropped: [(1, 2), (2, 3)].into(), lost_percent: [(1, 20)].into() };
        let rules = rules_of(1, &cuts);
        assert!(rules.contains("ip daddr 10.77.0.2 drop;") && !rules.contains("10.77.0.3"));
        assert!(rules.contains("numgen random mod 100 < 20 drop;"));
        assert!(rules.starts_with("add table ip torture\ndelete table ip torture\n"));
        assert!(!rules_of(3, &cuts).contains("drop"));
    }
}
