//! Which replicas are throttled and whether they were copied too fast (KIP-73), on the leader's side and on the follower's.
//!
//! It holds nobody back: the handler of Fetch leaves out what a leader may not send for now, fetchers what a follower may not
//! ask for. Replicas in sync are never held back, but what they copy counts. The rate is measured by [`replica::Throttle`].

use arc_swap::ArcSwap;
use metadata::{
    Image,
    config::{Resolved, ResourceKind},
};
use model::{NodeId, PartitionIndex, TopicName};
use parking_lot::Mutex;
use replica::Throttle;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Both sides of one broker.
pub(crate) struct Throttles {
    node: NodeId,
    /// Of what this broker's leaders send.
    pub(crate) leader: Side,
    /// Of what this broker's followers ask for.
    pub(crate) follower: Side,
}

/// One side.
pub(crate) struct Side {
    throttle: Mutex<Throttle>,
    replicas: ArcSwap<BTreeMap<String, Replicas>>,
}

/// The throttled replicas of one topic on this broker.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Replicas {
    All,
    These(BTreeSet<PartitionIndex>),
}

impl Throttles {
    /// Nothing is throttled yet.
    pub(crate) fn new(node: NodeId, broker: &Resolved<'_>) -> Self {
        let windows = usize::try_from(broker.integer("replication.quota.window.num")).unwrap_or(1);
        let seconds = broker.integer("replication.quota.window.size.seconds").max(1) as u64;
        let side = || Side {
            throttle: Mutex::new(Throttle::new(windows, Duration::from_secs(seconds))),
            replicas: ArcSwap::default(),
        };
        Self { node, leader: side(), follower: side() }
    }

    /// Takes over what the image says. As in Apache Kafka only what was set while brokers run counts.
    pub(crate) fn configure(&self, image: &Image) {
        for (side, name) in [(&self.leader, "leader"), (&self.follower, "follower")] {
            let key = format!("{name}.replication.throttled.rate");
            let set = |broker: &str| image.overrides(ResourceKind::Broker, broker)?.get(&key)?.parse().ok();
            let limit = set(&self.node.to_string()).or_else(|| set(""));
            side.throttle.lock().set_limit(limit.unwrap_or(u64::MAX));
            let key = format!("{name}.replication.throttled.replicas");
            let topics = image.overridden(ResourceKind::Topic).filter_map(|(topic, overrides)| {
                Some((topic.to_owned(), Replicas::parse(overrides.get(&key)?, self.node)?))
            });
            side.replicas.store(Arc::new(topics.collect()));
        }
    }
}

impl Replicas {
    /// Of `partition:broker` pairs those of this node; `None` if none are.
    fn parse(text: &str, node: NodeId) -> Option<Self> {
        if text.trim() == "*" {
            return Some(Self::All);
        }
        let pair = |pair: &str| {
            let (partition, broker) = pair.trim().split_once(':')?;
            let is_here = broker.parse::<NodeId>().ok()? == node;
            is_here.then(|| partition.parse().ok()).flatten()
        };
        let these: BTreeSet<_> = text.split(',').filter_map(pair).collect();
        (!these.is_empty()).then_some(Self::These(these))
    }
}

impl Side {
    /// Whether any replica is throttled.
    pub(crate) fn is_used(&self) -> bool {
        !self.replicas.load().is_empty()
    }

    /// Whether this broker's replica is throttled.
    pub(crate) fn is_throttled(&self, topic: &TopicName, partition: PartitionIndex) -> bool {
        match self.replicas.load().get(&**topic) {
            None => false,
            Some(Replicas::All) => true,
            Some(Replicas::These(these)) => these.contains(&partition),
        }
    }

    /// Whether throttled replicas that are not in sync have to wait. `now_ns` is monotonic.
    pub(crate) fn is_exceeded(&self, now_ns: u64) -> bool {
        self.throttle.lock().is_exceeded(Duration::from_nanos(now_ns))
    }

    /// So many bytes of throttled replicas were copied.
    pub(crate) fn record(&self, now_ns: u64, bytes: usize) {
        self.throttle.lock().record(Duration::from_nanos(now_ns), bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metadata::{
        Record,
        config::{Configs, Resource, Statics},
    };

    #[test]
    fn what_is_set_for_this_broker_counts_and_what_is_deleted_counts_no_more() {
        let (mut image, statics) = (Image::new("c"), Statics::default());
        let throttles =
            Throttles::new(1, &Configs { image: &Image::new(""), statics: &statics, node: 1 }.broker());
        let topic = |name| TopicName::new(name).unwrap();
        let mut set = |resource: Resource, name: &str, value: Option<&str>| {
            image.apply(Record::Config { resource, name: name.into(), value: value.map(str::to_owned) });
            throttles.configure(&image);
        };
        assert!(!throttles.leader.is_used());
        set(Resource::topic("t"), "leader.replication.throttled.replicas", Some("0:1,1:2,2:1"));
        set(Resource::topic("u"), "leader.replication.throttled.replicas", Some("*"));
        let throttled: Vec<_> =
            (0..4).map(|index| throttles.leader.is_throttled(&topic("t"), index)).collect();
        assert_eq!(throttled, [true, false, true, false]);
        assert!(
            throttles.leader.is_throttled(&topic("u"), 77) && !throttles.leader.is_throttled(&topic("v"), 0)
        );
        assert!(!throttles.follower.is_used(), "the other side is not concerned");
        throttles.leader.record(0, 10_000);
        assert!(!throttles.leader.is_exceeded(0), "there is no limit");
        set(Resource::all_brokers(), "leader.replication.throttled.rate", Some("9999"));
        assert!(throttles.leader.is_exceeded(0));
        set(Resource::broker(1), "leader.replication.throttled.rate", Some("10000"));
        assert!(!throttles.leader.is_exceeded(0));
        set(Resource::broker(1), "leader.replication.throttled.rate", None);
        assert!(throttles.leader.is_exceeded(0));
        set(Resource::topic("t"), "leader.replication.throttled.replicas", None);
        assert!(!throttles.leader.is_throttled(&topic("t"), 0) && throttles.leader.is_used());
    }
}
