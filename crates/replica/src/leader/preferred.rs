//! From which replica a client should read (KIP-392): one in its own rack, as Kafka's `RackAwareReplicaSelector` chooses.
//!
//! It reads nothing and knows no racks; whoever asks does. Called by the broker for each fetch of a client with a rack.

use super::Leader;
use model::{NodeId, Offset};

impl Leader {
    /// The replica from which a client in `rack` should read from `offset` on; `None` if that is this leader: it is in
    /// that rack itself, the client has none (""), or nobody there is in sync and has that offset.
    ///
    /// Of several the one with the most records, then the one that was caught up last, then the one with the highest
    /// id. A replica that is not in sync is no choice: it would lag more and more, and be chosen again and again.
    /// `rack_of` gives the rack of a broker that clients reach; `None` for others.
    pub fn preferred_replica<'a>(
        &self,
        offset: Offset,
        rack: &str,
        rack_of: impl Fn(NodeId) -> Option<&'a str>,
    ) -> Option<NodeId> {
        let is_near = |node: NodeId| rack_of(node) == Some(rack);
        if rack.is_empty() || is_near(self.local) {
            return None;
        }
        let near = self.remotes.iter().filter(|(node, remote)| {
            self.isr.committed().contains(*node)
                && (remote.start_offset..=remote.end_offset).contains(&offset)
                && is_near(**node)
        });
        let first = near.max_by_key(|(node, remote)| (remote.end_offset, remote.caught_up_at, **node));
        first.map(|(node, _)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, Term};
    use std::time::Duration;

    /// Node 1 leads 2 to 5 in rack `a`; the others are in `b`, but for 5, in `c`.
    fn rack_of(node: NodeId) -> Option<&'static str> {
        Some(["a", "b", "b", "b", "c"][node as usize - 1])
    }

    /// Followers with where their logs start and end, in the order in which they fetch, a second after each other.
    fn leader(isr: &[NodeId], end_offset: Offset, fetched: &[(NodeId, Offset, Offset)]) -> Leader {
        let term = Term {
            leader_epoch: 3,
            partition_epoch: 7,
            replicas: vec![1, 2, 3, 4, 5],
            isr: isr.iter().copied().collect(),
        };
        let config = (1, Duration::from_secs(30));
        let mut leader = Leader::new(Duration::ZERO, 1, &term, (0, 0), config);
        leader.step(Duration::ZERO, Event::Local { end_offset, safe_offset: end_offset }, &mut Vec::new());
        for (second, (node, start_offset, end_offset)) in (1..).zip(fetched) {
            let event = Event::Fetched {
                node: *node,
                broker_epoch: 1,
                start_offset: *start_offset,
                end_offset: *end_offset,
                is_eligible: true,
            };
            leader.step(Duration::from_secs(second), event, &mut Vec::new());
        }
        leader
    }

    fn check(isr: &[NodeId], fetched: &[(NodeId, Offset, Offset)], (offset, rack): (Offset, &str)) -> NodeId {
        leader(isr, 10, fetched).preferred_replica(offset, rack, rack_of).unwrap_or(1)
    }

    const ALL: [NodeId; 5] = [1, 2, 3, 4, 5];

    #[test]
    fn a_client_reads_from_the_replica_in_its_rack_and_without_one_from_the_leader() {
        let fetched = [(2, 0, 10), (5, 0, 10)];
        assert_eq!(check(&ALL, &fetched, (3, "b")), 2);
        assert_eq!(check(&ALL, &fetched, (3, "c")), 5);
        assert_eq!(check(&ALL, &fetched, (3, "a")), 1, "the leader's own");
        assert_eq!(check(&ALL, &fetched, (3, "z")), 1, "nobody's");
        assert_eq!(check(&ALL, &fetched, (3, "")), 1, "a client that has none");
    }

    #[test]
    fn a_leader_in_the_rack_is_asked_though_another_replica_is_there() {
        let leader = leader(&ALL, 10, &[(2, 0, 10)]);
        assert_eq!(leader.preferred_replica(3, "b", |_| Some("b")), None);
    }

    #[test]
    fn only_a_replica_in_sync_that_has_the_offset_is_chosen() {
        assert_eq!(check(&[1, 3, 5], &[(2, 0, 10)], (3, "b")), 1, "2 is not in sync, 3 has not fetched yet");
        let fetched = [(2, 2, 6)];
        for (offset, expected) in [(1, 1), (2, 2), (6, 2), (7, 1)] {
            assert_eq!(check(&ALL, &fetched, (offset, "b")), expected, "offset {offset}");
        }
    }

    #[test]
    fn of_several_the_one_with_most_is_chosen_then_the_newest_then_the_highest() {
        assert_eq!(check(&ALL, &[(3, 0, 8), (2, 0, 9), (4, 0, 7)], (3, "b")), 2);
        assert_eq!(check(&ALL, &[(4, 0, 10), (3, 0, 10), (2, 0, 10)], (3, "b")), 2, "it was caught up last");
        // Neither was ever caught up to the leader's end since it took office.
        assert_eq!(check(&ALL, &[(4, 0, 8), (3, 0, 8), (2, 0, 8)], (3, "b")), 4);
    }

    #[test]
    fn a_replica_that_clients_do_not_reach_is_not_chosen() {
        let leader = leader(&ALL, 10, &[(2, 0, 10), (3, 0, 9)]);
        let without_2 = |node| rack_of(node).filter(|_| node != 2);
        assert_eq!(leader.preferred_replica(3, "b", without_2), Some(3));
        assert_eq!(leader.preferred_replica(3, "b", |_| None), None);
    }
}
