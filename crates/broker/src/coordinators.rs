//! What the hosts of coordinators have in common: which partition a key belongs to, and how a partition is read before it
//! is served.
//!
//! It knows no coordinator; `group_hosts` and `transaction_hosts` do.

use crate::partition::{Own, Partition};
use model::{LeaderEpoch, Offset};
use parking_lot::RwLock;
use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How long after a failure a partition is read again.
pub(crate) const RELOAD_MS: i64 = 1000;

/// How far the reading of a host's partition has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loading {
    UnderWay,
    Done,
    /// The rest could not be read. What was replayed is old: nobody may be served from it.
    Failed,
}

/// The coordinator of one partition, while this broker leads that.
pub(crate) trait Host {
    /// In which epoch.
    fn epoch(&self) -> LeaderEpoch;
    /// It does no longer: whoever waits is sent to look for the next coordinator.
    fn end(&self);
}

/// The hosts of one internal topic on this broker.
pub(crate) struct Hosts<H> {
    hosts: RwLock<BTreeMap<i32, Arc<H>>>,
    /// Partitions of the topic, led here or elsewhere.
    partitions: AtomicUsize,
}

/// Why there is no host for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHost {
    /// Before it is known how many partitions there are, nobody knows where a key lives.
    Unknown,
    /// Another broker leads the partition.
    Elsewhere,
}

impl<H: Host> Hosts<H> {
    pub(crate) fn new() -> Self {
        Self { hosts: RwLock::default(), partitions: AtomicUsize::new(0) }
    }

    /// Puts a host in the place of the one of an earlier epoch; nothing if there is one of this epoch.
    pub(crate) fn lead(
        &self,
        index: i32,
        epoch: LeaderEpoch,
        host: impl FnOnce() -> Arc<H>,
    ) -> Option<Arc<H>> {
        if self.hosts.read().get(&index).is_some_and(|host| host.epoch() == epoch) {
            return None;
        }
        self.resign(index);
        let host = host();
        self.hosts.write().insert(index, host.clone());
        Some(host)
    }

    /// This broker leads the partition no more: its coordinator ends.
    pub(crate) fn resign(&self, index: i32) {
        let host = self.hosts.write().remove(&index);
        if let Some(host) = host {
            host.end();
        }
    }

    /// The topic was deleted: its coordinators end.
    pub(crate) fn resign_all(&self) {
        let hosts = std::mem::take(&mut *self.hosts.write());
        hosts.into_values().for_each(|host| host.end());
    }

    /// How many partitions the topic has in the cluster.
    pub(crate) fn set_partitions(&self, count: usize) {
        self.partitions.store(count, Ordering::Relaxed);
    }

    /// The host of a key.
    pub(crate) fn of(&self, key: &str) -> Result<Arc<H>, NoHost> {
        match self.partitions.load(Ordering::Relaxed) {
            0 => Err(NoHost::Unknown),
            count => self.at(partition_of(key, count)),
        }
    }

    /// The host of a partition.
    pub(crate) fn at(&self, index: i32) -> Result<Arc<H>, NoHost> {
        self.hosts.read().get(&index).cloned().ok_or(NoHost::Elsewhere)
    }

    /// All hosts.
    pub(crate) fn all(&self) -> Vec<Arc<H>> {
        self.hosts.read().values().cloned().collect()
    }
}

/// Which partition keeps a group or a transactional id: Java's string hash, its sign dropped as Kafka drops it.
pub(crate) fn partition_of(key: &str, partitions: usize) -> i32 {
    let hash =
        key.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let positive = hash.checked_abs().unwrap_or(0);
    i32::try_from(partitions).ok().and_then(|count| positive.checked_rem(count)).unwrap_or(0)
}

/// Hands what is in the log from `offset` on to `take`, as the leader of `epoch`, and moves `offset` along.
pub(crate) async fn replay(
    partition: &Arc<Partition>,
    epoch: LeaderEpoch,
    offset: &mut Offset,
    mut take: impl FnMut(Vec<Own>),
) -> io::Result<()> {
    // What is not known to be safe yet may have been told to clients by the last leader.
    partition.caught_up(epoch).await.map_err(io::Error::other)?;
    *offset = partition.start_offset().max(*offset);
    while let Some((next, read)) = partition.read_own(*offset).await? {
        take(read);
        *offset = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_live_where_kafka_keeps_them() {
        // Java: "my-group".hashCode() is 2016613448; "".hashCode() is 0.
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        assert_eq!(
            partition_of("polygenelubricants", 50),
            0,
            "its hash is i32::MIN, whose sign cannot be dropped"
        );
    }
}
