//! Which brokers get the replicas of new partitions: dealt out in stripes over racks and brokers.
//!
//! It knows nothing of load or disks. The first replica, the preferred leader, is always on an unfenced broker; the
//! others take fenced brokers only when the rack's unfenced ones are used up. The controller asks it.

use std::collections::BTreeMap;

use model::NodeId;

use crate::{Error, Registration};

/// Deals out replicas, one partition after the other.
#[derive(Debug)]
pub(crate) struct Placer {
    racks: Vec<Rack>,
    /// The rack from which the next partition takes its leader first.
    offset: usize,
    /// Counts partitions, so that each begins one broker further; starts again with the brokers shuffled.
    round: usize,
    chance: Chance,
}

#[derive(Debug, Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

/// Brokers in a circle. Each round begins one broker further and goes round once.
#[derive(Debug, Default)]
struct Ring {
    brokers: Vec<NodeId>,
    start: usize,
    taken: usize,
    round: usize,
}

/// SplitMix64: enough for spreading, and the same for the same seed everywhere.
#[derive(Debug)]
struct Chance(u64);

impl Placer {
    /// Prepares to place replicas on these brokers; `seed` decides where it begins.
    pub(crate) fn new<'a>(brokers: impl Iterator<Item = &'a Registration>, seed: u64) -> Self {
        let mut chance = Chance(seed);
        let mut racks: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        // As in Kafka, neither a broker on its way out takes new partitions, nor one whose directories are all cordoned
        // (KIP-1066).
        let usable = brokers.filter(|broker| {
            let cordoned = broker.directories.iter().all(|dir| broker.cordoned.contains(dir));
            !broker.shutting_down && (broker.directories.is_empty() || !cordoned)
        });
        for broker in usable {
            let rack = racks.entry(broker.rack.as_deref()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
        }
        let mut racks: Vec<_> = racks.into_values().collect();
        for ring in racks.iter_mut().flat_map(Rack::rings) {
            ring.start = chance.below(ring.brokers.len());
        }
        let offset = chance.below(racks.len());
        Self { racks, offset, round: 0, chance }
    }

    /// The replicas of the next partition; the first is its preferred leader.
    pub(crate) fn place(&mut self, replication_factor: usize) -> Result<Vec<NodeId>, Error> {
        let unfenced: usize = self.racks.iter().map(|rack| rack.unfenced.brokers.len()).sum();
        let total = unfenced + self.racks.iter().map(|rack| rack.fenced.brokers.len()).sum::<usize>();
        let refuse = |why: String| Err(Error::InvalidReplicationFactor(why));
        if replication_factor == 0 {
            return refuse("A partition needs at least one replica.".to_owned());
        }
        if replication_factor > total {
            return refuse(format!(
                "{replication_factor} replica(s) need as many brokers, but only {total} can take new ones; ask for \
                 fewer replicas or start more brokers."
            ));
        }
        if unfenced == 0 {
            return refuse(
                "No broker can lead right now: all are fenced; wait until one has caught up.".to_owned(),
            );
        }
        if self.round == unfenced && unfenced > 1 {
            self.shuffle();
            self.round = 0;
        }
        let replicas = self.deal(replication_factor);
        self.round += 1;
        self.offset = (self.offset + 1) % self.racks.len().max(1);
        Ok(replicas)
    }

    /// Takes the leader from the first rack that has an unfenced broker, then replicas from the racks in turn.
    fn deal(&mut self, count: usize) -> Vec<NodeId> {
        let racks = self.racks.len();
        let round = self.round;
        let mut replicas = Vec::with_capacity(count);
        let mut leader_rack = None;
        for step in 0..racks {
            let place = (self.offset + step) % racks;
            if let Some(broker) = self.racks.get_mut(place).and_then(|rack| rack.unfenced.next(round)) {
                replicas.push(broker);
                leader_rack = Some(place);
                break;
            }
        }
        let mut place = self.offset;
        let mut idle = 0;
        while replicas.len() < count && idle <= racks {
            // The leader's rack has given one already, so it is left out the first time.
            let skipped = leader_rack.take_if(|rack| *rack == place).is_some();
            let next = self.racks.get_mut(place).filter(|_| !skipped).and_then(|rack| rack.next(round));
            idle = if next.is_some() { 0 } else { idle + 1 };
            replicas.extend(next);
            place = (place + 1) % racks;
        }
        replicas
    }

    fn shuffle(&mut self) {
        self.chance.shuffle(&mut self.racks);
        for ring in self.racks.iter_mut().flat_map(Rack::rings) {
            self.chance.shuffle(&mut ring.brokers);
        }
    }
}

impl Rack {
    fn next(&mut self, round: usize) -> Option<NodeId> {
        self.unfenced.next(round).or_else(|| self.fenced.next(round))
    }

    fn rings(&mut self) -> [&mut Ring; 2] {
        [&mut self.unfenced, &mut self.fenced]
    }
}

impl Ring {
    fn next(&mut self, round: usize) -> Option<NodeId> {
        let count = self.brokers.len();
        if self.round != round && count > 0 {
            self.round = round;
            self.taken = 0;
            self.start = (self.start + 1) % count;
        }
        if self.taken >= count {
            return None;
        }
        let broker = self.brokers.get((self.start + self.taken) % count).copied();
        self.taken += 1;
        broker
    }
}

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Brokers as `rack` letters in the order of their ids from 0; a capital letter is a fenced one, '-' has no rack.
    fn brokers(racks: &str) -> Vec<Registration> {
        let broker = |(id, rack): (i32, char)| Registration {
            id,
            rack: Some(rack.to_ascii_lowercase().to_string()).filter(|_| rack != '-'),
            fenced: rack.is_ascii_uppercase(),
            ..Registration::default()
        };
        (0..).zip(racks.chars()).map(broker).collect()
    }

    fn place(
        racks: &str,
        seed: u64,
        partitions: usize,
        replication_factor: usize,
    ) -> Result<Vec<Vec<NodeId>>, Error> {
        let brokers = brokers(racks);
        let mut placer = Placer::new(brokers.iter(), seed);
        (0..partitions).map(|_| placer.place(replication_factor)).collect()
    }

    proptest! {
        #[test]
        fn replicas_are_distinct_spread_over_racks_and_led_by_the_unfenced(
            racks in "[abcC-]{1,9}", seed: u64, partitions in 1..20usize, wanted in 1..9usize,
        ) {
            let placed = place(&racks, seed, partitions, wanted);
            let all_fenced = racks.chars().all(|rack| rack == 'C');
            prop_assert_eq!(placed.is_ok(), wanted <= racks.len() && !all_fenced);
            let rack_of = |id: &NodeId| racks.to_ascii_lowercase().chars().nth(*id as usize).unwrap();
            let is_fenced = |id: &NodeId| racks.chars().nth(*id as usize) == Some('C');
            let mut all: Vec<_> = racks.to_ascii_lowercase().chars().collect();
            all.sort_unstable();
            all.dedup();
            for replicas in placed.unwrap_or_default() {
                prop_assert_eq!(replicas.len(), wanted);
                prop_assert!(!is_fenced(&replicas[0]));
                let mut distinct = replicas.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), wanted);
                let mut used: Vec<_> = replicas.iter().map(rack_of).collect();
                used.sort_unstable();
                used.dedup();
                prop_assert_eq!(used.len(), wanted.min(all.len()), "{:?}", replicas);
            }
        }

        #[test]
        fn leaders_are_spread_evenly(seed: u64, rounds in 1..5usize) {
            let mut led = [0; 4];
            for replicas in place("----", seed, 4 * rounds, 2).unwrap() {
                led[replicas[0] as usize] += 1;
            }
            prop_assert_eq!(led, [rounds; 4]);
        }
    }

    #[test]
    fn the_seed_decides_where_it_begins() {
        let leaders: std::collections::BTreeSet<_> =
            (0..50).map(|seed| place("----", seed, 1, 1).unwrap()[0][0]).collect();
        assert_eq!(leaders.len(), 4);
        assert_eq!(place("abcab", 7, 9, 3), place("abcab", 7, 9, 3));
    }

    #[test]
    fn a_broker_with_all_its_directories_cordoned_gets_nothing() {
        let mut brokers = brokers("---");
        let directory = stdx::Uuid([7; 16]);
        brokers[1].directories = vec![directory];
        brokers[1].cordoned = vec![directory];
        let mut placer = Placer::new(brokers.iter(), 1);
        let mut replicas = placer.place(2).unwrap();
        replicas.sort_unstable();
        assert_eq!(replicas, [0, 2]);
        assert!(matches!(placer.place(3), Err(Error::InvalidReplicationFactor(_))));
    }
}
