//! Where the cluster lives: a network and mounts that nobody else sees, a namespace for each node, rules that drop
//! packets between them, slow links, disks whose power can be cut. It starts no node and draws no fault. All of it vanishes
//! with the process that made it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conformance::program::run;

use crate::kernel::shut_down_file_system;
use crate::slow_link::SlowLink;

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
    /// Of each node, from the first on; of none where packet devices are not allowed.
    slow_links: Vec<SlowLink>,
    /// Nodes whose disks are files, which lose what was not synced when their power is cut.
    on_files: BTreeSet<usize>,
}

/// What does not get through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Packets from the first to the second are dropped.
    pub dropped: BTreeSet<(usize, usize)>,
    /// Of the packets that leave a node so many in a hundred are lost.
    pub lost_percent: BTreeMap<usize, u32>,
    /// What leaves a node arrives so much later, and up to half as much again.
    pub delay_ms: BTreeMap<usize, u32>,
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
        let slow_links = slow_links(nodes).unwrap_or_else(|error| {
            println!("  nothing is delayed: packet devices are not allowed here ({error:#})");
            Vec::new()
        });
        let cuts = Cuts::default();
        let mut place = Place { nodes, dir: dir.to_owned(), cuts, slow_links, on_files: BTreeSet::new() };
        for node in 1..=nodes {
            place.make_disk(node)?;
        }
        place.on_files.iter().try_for_each(|node| place.try_power_cut(*node))?;
        Ok(place)
    }

    /// A power cut that took nothing would prove nothing.
    fn try_power_cut(&self, node: usize) -> Result<()> {
        let [synced, unsynced] = ["synced", "unsynced"].map(|name| self.disk(node).join(name));
        File::create(&synced)?.sync_all()?;
        File::open(self.disk(node))?.sync_all()?;
        File::create(&unsynced)?;
        self.cut_power(node)?;
        ensure!(synced.exists(), "a power cut of node {node} took what was synced");
        ensure!(!unsynced.exists(), "a power cut of node {node} left what was not synced");
        std::fs::remove_file(&synced).context("removing what was synced")
    }

    /// A file system of a node's own, that can be filled: on a file where mounting one is allowed, else in memory.
    fn make_disk(&mut self, node: usize) -> Result<()> {
        let (at, image) = (self.disk(node), self.image(node));
        std::fs::create_dir_all(&at)?;
        let image = image.display();
        let made = sh(&format!("truncate -s {DISK_BYTES} {image} && mkfs.ext4 -q -F -m 0 {image}"))
            .and_then(|()| self.mount_disk(node));
        if made.is_ok() {
            self.on_files.insert(node);
        } else {
            println!("  node {node} has its disk in memory: mounting a file is not allowed here");
            sh(&format!("mount -t tmpfs -o size=1g torture {}", at.display()))?;
        }
        Ok(())
    }

    fn mount_disk(&self, node: usize) -> Result<()> {
        sh(&format!("mount -o loop {} {}", self.image(node).display(), self.disk(node).display()))
    }

    /// The power of a node's disk goes, and comes back: what was not synced is gone, as the journal of the file system finds it.
    /// The node must not run. Without effect on a disk in memory, which says so at the start.
    pub fn cut_power(&self, node: usize) -> Result<()> {
        if !self.on_files.contains(&node) {
            return Ok(());
        }
        shut_down_file_system(&self.disk(node))
            .with_context(|| format!("cutting the power of the disk of node {node}"))?;
        sh(&format!("umount {}", self.disk(node).display()))?;
        self.mount_disk(node)
    }

    fn image(&self, node: usize) -> PathBuf {
        self.dir.join(format!("disk-{node}.img"))
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
            for (node, link) in (1..).zip(&self.slow_links) {
                let delay = cuts.delay_ms.get(&node).copied();
                if delay.is_some() != self.cuts.delay_ms.contains_key(&node) {
                    sh(&routes_of(node, delay.is_some()))?;
                }
                link.set_delay(Duration::from_millis(delay.unwrap_or(0).into()));
            }
            self.cuts = cuts;
        }
        Ok(())
    }
}

/// Those of all nodes, and what forwards what comes out of them.
fn slow_links(nodes: usize) -> Result<Vec<SlowLink>> {
    sh("for at in ip_forward conf/all/forwarding; do echo 1 > /proc/sys/net/ipv4/$at; done && \
        for at in all default; do echo 0 > /proc/sys/net/ipv4/conf/$at/rp_filter; done")?;
    (1..=nodes).map(slow_link).collect()
}

/// A link of node `node` beside its other one. It is there always, and used while packets are to be late.
fn slow_link(node: usize) -> Result<SlowLink> {
    let link = SlowLink::new(Path::new(&format!("/run/netns/n{node}")), &format!("slow{node}"))?;
    sh(&format!("ip link set slow{node} up && ip -n n{node} link set slow{node} up"))?;
    Ok(link)
}

/// Sends what leaves a node over its slow link, by routes that are narrower than the one of the other link; or no more.
fn routes_of(node: usize, is_slow: bool) -> String {
    let verb = if is_slow { "add" } else { "del" };
    let route =
        |half| format!("ip -n n{node} route {verb} 10.77.0.{half}/25 dev slow{node} src {}", address(node));
    [0, 128].map(route).join(" && ")
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
        let cuts =
            Cuts { dropped: [(1, 2), (2, 3)].into(), lost_percent: [(1, 20)].into(), ..Cuts::default() };
        let rules = rules_of(1, &cuts);
        assert!(rules.contains("ip daddr 10.77.0.2 drop;") && !rules.contains("10.77.0.3"));
        assert!(rules.contains("numgen random mod 100 < 20 drop;"));
        assert!(rules.starts_with("add table ip torture\ndelete table ip torture\n"));
        assert!(!rules_of(3, &cuts).contains("drop"));
    }
}
