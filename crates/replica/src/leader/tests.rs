//! The leader against what its followers truly have and what a controller truly committed.

use super::*;
use proptest::prelude::*;

const LAG: Duration = Duration::from_secs(30);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn set(nodes: &[NodeId]) -> BTreeSet<NodeId> {
    nodes.iter().copied().collect()
}

fn term(isr: &[NodeId]) -> Term {
    Term { leader_epoch: 5, partition_epoch: 7, replicas: vec![1, 2, 3], isr: set(isr) }
}

/// Node 1 leads 1, 2 and 3.
struct Desk {
    leader: Leader,
    now: u64,
}

impl Desk {
    fn new(isr: &[NodeId], isr_min: usize) -> Desk {
        Desk { leader: Leader::new(at(0), 1, &term(isr), (0, 0), (isr_min, LAG)), now: 0 }
    }

    fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.leader.step(at(self.now), event, &mut effects);
        effects
    }

    fn local(&mut self, end_offset: Offset, safe_offset: Offset) -> Vec<Effect> {
        self.step(Event::Local { end_offset, safe_offset })
    }

    fn fetched(&mut self, node: NodeId, end_offset: Offset) -> Vec<Effect> {
        self.step(Event::Fetched {
            node,
            broker_epoch: 70 + i64::from(node),
            start_offset: 0,
            end_offset,
            is_eligible: true,
        })
    }

    fn granted(&mut self, isr: &[NodeId]) -> Vec<Effect> {
        let built_on = self.leader.partition_epoch();
        self.step(Event::IsrAltered { built_on, answer: Ok((built_on + 1, set(isr))) })
    }

    fn refused(&mut self, why: IsrRefused) -> Vec<Effect> {
        let built_on = self.leader.partition_epoch();
        self.step(Event::IsrAltered { built_on, answer: Err(why) })
    }
}

fn asks(isr: &[(NodeId, i64)], partition_epoch: i32) -> Effect {
    Effect::AlterIsr(AlterIsr { isr: isr.to_vec(), leader_epoch: 5, partition_epoch })
}

#[test]
fn a_record_is_visible_when_the_last_in_sync_replica_has_it() {
    let mut desk = Desk::new(&[1, 2, 3], 2);
    assert_eq!(desk.local(10, 10), []);
    assert_eq!(desk.fetched(2, 10), []);
    assert_eq!(desk.fetched(3, 4), [Effect::HighWatermark(4)]);
    assert_eq!(desk.fetched(3, 10), [Effect::HighWatermark(10)]);
}

#[test]
fn what_the_leader_itself_has_not_made_safe_is_not_visible() {
    let mut desk = Desk::new(&[1, 2, 3], 1);
    desk.local(10, 0);
    desk.fetched(2, 10);
    assert_eq!(desk.fetched(3, 10), []);
    assert_eq!(desk.local(10, 6), [Effect::HighWatermark(6)]);
}

#[test]
fn a_follower_that_lags_is_sent_out_and_holds_back_until_the_controller_agrees() {
    let mut desk = Desk::new(&[1, 2, 3], 1);
    desk.local(10, 10);
    desk.fetched(2, 10);
    desk.now = 31;
    desk.fetched(2, 10);
    let out = desk.step(Event::Tick);
    assert_eq!(out, [asks(&[(1, -1), (2, 72)], 7)]);
    assert_eq!(desk.leader.high_watermark(), 0);
    assert_eq!(desk.granted(&[1, 2]), [Effect::HighWatermark(10)]);
    assert_eq!(desk.leader.isr(), &set(&[1, 2]));
}

#[test]
fn a_follower_that_is_let_in_counts_before_the_controller_has_agreed() {
    let mut desk = Desk::new(&[1, 2], 1);
    desk.local(10, 10);
    desk.fetched(2, 10);
    assert_eq!(desk.fetched(3, 10), [asks(&[(1, -1), (2, 72), (3, 73)], 7)]);
    desk.local(20, 20);
    desk.now = 100;
    assert_eq!(desk.fetched(2, 20), []);
    assert_eq!(desk.refused(IsrRefused::NotMade), [Effect::HighWatermark(20)]);
}

#[test]
fn nobody_joins_who_lacks_what_is_safe_or_what_came_before_this_epoch() {
    let mut desk = Desk::new(&[1, 2], 1);
    desk.leader = Leader::new(at(0), 1, &term(&[1, 2]), (50, 40), (1, LAG));
    assert_eq!(desk.fetched(3, 49), [], "behind the start of the epoch");
    assert_eq!(desk.fetched(3, 50), [asks(&[(1, -1), (2, -1), (3, 73)], 7)]);
}

#[test]
fn a_fenced_follower_does_not_join() {
    let mut desk = Desk::new(&[1, 2], 1);
    let fenced =
        Event::Fetched { node: 3, broker_epoch: 9, start_offset: 0, end_offset: 0, is_eligible: false };
    assert_eq!(desk.step(fenced), []);
}

#[test]
fn below_the_minimum_nothing_becomes_visible_and_acks_all_is_refused() {
    let mut desk = Desk::new(&[1], 2);
    assert!(!desk.leader.has_enough_in_sync());
    assert_eq!(desk.local(10, 10), []);
    assert_eq!(desk.fetched(2, 10).len(), 1, "it asks to let it in");
    assert!(desk.leader.has_enough_counted());
    assert_eq!(desk.granted(&[1, 2]), [Effect::HighWatermark(10)]);
    assert!(desk.leader.has_enough_in_sync());
}

#[test]
fn a_minimum_above_the_number_of_replicas_is_the_number_of_replicas() {
    let mut desk = Desk::new(&[1, 2, 3], 9);
    desk.local(1, 1);
    desk.fetched(2, 1);
    assert_eq!(desk.fetched(3, 1), [Effect::HighWatermark(1)]);
}

#[test]
fn a_request_of_a_leader_epoch_that_ended_with_the_last_answer_is_made_anew() {
    let mut desk = Desk::new(&[1, 2, 3], 1);
    desk.fetched(2, 0);
    desk.now = 31;
    desk.fetched(2, 0);
    desk.step(Event::Tick);
    // The metadata will say that this began another leader epoch, as when a reassignment ends.
    desk.granted(&[1, 2]);
    assert_eq!(desk.fetched(3, 0), [asks(&[(1, -1), (2, 72), (3, 73)], 8)]);
    assert_eq!(desk.refused(IsrRefused::Stale), []);
    let renewed = Term { leader_epoch: 6, partition_epoch: 8, ..term(&[1, 2]) };
    desk.step(Event::Renewed(renewed.clone()));
    let anew = AlterIsr { isr: vec![(1, -1), (2, 72), (3, 73)], leader_epoch: 6, partition_epoch: 8 };
    assert_eq!(desk.fetched(3, 0), [Effect::AlterIsr(anew)]);
    // Told twice it does not forget what it has asked for.
    desk.step(Event::Renewed(renewed));
    assert_eq!(desk.fetched(3, 0), []);
    assert_eq!(desk.refused(IsrRefused::Stale), [], "the first is answered only now");
}

#[test]
fn a_request_of_unknown_fate_is_made_again_and_a_stale_one_waits_for_the_metadata() {
    let mut desk = Desk::new(&[1, 2], 1);
    let asked = desk.fetched(3, 0);
    assert_eq!(desk.refused(IsrRefused::Unknown), asked);
    assert_eq!(desk.refused(IsrRefused::Stale), []);
    desk.local(10, 10);
    assert_eq!(desk.fetched(2, 10), [], "node 3 counts, for it may be in");
    let mut newer = term(&[1, 2]);
    newer.partition_epoch = 9;
    desk.now = 100;
    desk.fetched(2, 10);
    assert_eq!(desk.step(Event::Renewed(newer)), [Effect::HighWatermark(10)]);
}

#[test]
fn an_answer_to_a_request_of_before_is_not_taken_for_one_to_the_newest() {
    let mut desk = Desk::new(&[1, 2], 1);
    desk.fetched(3, 0);
    let old = Event::IsrAltered { built_on: 6, answer: Ok((8, set(&[1]))) };
    assert_eq!(desk.step(old), []);
    assert_eq!(desk.leader.isr(), &set(&[1, 2]));
}

#[test]
fn a_replica_that_is_reassigned_away_no_longer_holds_back() {
    let mut desk = Desk::new(&[1, 2, 3], 1);
    desk.local(10, 10);
    desk.fetched(2, 10);
    let moved = Term { leader_epoch: 5, partition_epoch: 8, replicas: vec![1, 2], isr: set(&[1, 2]) };
    assert_eq!(desk.step(Event::Renewed(moved)), [Effect::HighWatermark(10)]);
    assert_eq!(desk.leader.remote(3), None);
}

#[test]
fn records_are_deleted_as_far_as_the_slowest_living_replica_has_deleted_them() {
    let mut desk = Desk::new(&[1, 2, 3], 1);
    for (node, start_offset) in [(2, 30), (3, 10)] {
        desk.step(Event::Fetched { node, broker_epoch: -1, start_offset, end_offset: 50, is_eligible: true });
    }
    assert_eq!(desk.leader.low_watermark(40, |_| true), 10);
    assert_eq!(desk.leader.low_watermark(40, |node| node != 3), 30);
    assert_eq!(desk.leader.low_watermark(20, |node| node != 3), 20);
}

/// What can happen to a partition; the numbers choose among what is possible at that moment.
#[derive(Debug, Clone)]
enum Happening {
    Append(i64),
    Sync(i64),
    Fetch {
        node: NodeId,
        progress: i64,
        is_eligible: bool,
    },
    Wait(u64),
    /// The controller handles the request that is on its way; whether its answer arrives is another matter.
    Decide {
        grants: bool,
        answer_arrives: bool,
    },
    /// The metadata as the controller has them arrive.
    Learn,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (1..5_i64).prop_map(Happening::Append),
        (1..5_i64).prop_map(Happening::Sync),
        (2..4_i32, 0..6_i64, any::<bool>()).prop_map(|(node, progress, is_eligible)| Happening::Fetch {
            node,
            progress,
            is_eligible
        }),
        (1..20_u64).prop_map(Happening::Wait),
        (any::<bool>(), any::<bool>())
            .prop_map(|(grants, answer_arrives)| Happening::Decide { grants, answer_arrives }),
        Just(Happening::Learn),
    ]
}

/// The truth, which the leader only hears of.
struct World {
    desk: Desk,
    isr: BTreeSet<NodeId>,
    partition_epoch: i32,
    ends: BTreeMap<NodeId, Offset>,
    end: Offset,
    safe: Offset,
    asked: Option<AlterIsr>,
    high_watermark: Offset,
}

impl World {
    fn new() -> World {
        let ends = [(2, 0), (3, 0)].into();
        World {
            desk: Desk::new(&[1, 2, 3], 2),
            isr: set(&[1, 2, 3]),
            partition_epoch: 7,
            ends,
            end: 0,
            safe: 0,
            asked: None,
            high_watermark: 0,
        }
    }

    fn go_on(&mut self, happening: &Happening) {
        let effects = match *happening {
            Happening::Append(count) => {
                self.end += count;
                self.desk.local(self.end, self.safe)
            }
            Happening::Sync(count) => {
                self.safe = self.end.min(self.safe + count);
                self.desk.local(self.end, self.safe)
            }
            Happening::Fetch { node, progress, is_eligible } => {
                let end = self.ends.get_mut(&node).expect("a follower");
                *end = self.end.min(*end + progress);
                let (end_offset, broker_epoch) = (*end, 70);
                self.desk.step(Event::Fetched {
                    node,
                    broker_epoch,
                    start_offset: 0,
                    end_offset,
                    is_eligible,
                })
            }
            Happening::Wait(seconds) => {
                self.desk.now += seconds;
                self.desk.step(Event::Tick)
            }
            Happening::Decide { grants, answer_arrives } => self.decide(grants, answer_arrives),
            Happening::Learn => {
                let mut term = term(&[]);
                (term.partition_epoch, term.isr) = (self.partition_epoch, self.isr.clone());
                self.desk.step(Event::Renewed(term))
            }
        };
        self.judge(effects);
    }

    fn decide(&mut self, grants: bool, answer_arrives: bool) -> Vec<Effect> {
        let Some(asked) = self.asked.take() else { return Vec::new() };
        let answer = if asked.partition_epoch != self.partition_epoch {
            Err(IsrRefused::Stale)
        } else if !grants {
            Err(IsrRefused::NotMade)
        } else {
            self.partition_epoch += 1;
            self.isr = asked.isr.iter().map(|(node, _)| *node).collect();
            Ok((self.partition_epoch, self.isr.clone()))
        };
        let answer = if answer_arrives { answer } else { Err(IsrRefused::Unknown) };
        self.desk.step(Event::IsrAltered { built_on: asked.partition_epoch, answer })
    }

    /// Nothing is visible that a replica lacks which the controller may make the leader.
    fn judge(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::AlterIsr(asked) => {
                    assert!(asked.isr.iter().any(|(node, _)| *node == 1), "the leader is in its ISR");
                    let before = self.asked.as_ref().map(|before| before.partition_epoch);
                    assert!(before < Some(asked.partition_epoch), "two requests for the same epoch at once");
                    self.asked = Some(asked);
                }
                Effect::HighWatermark(offset) => {
                    assert!(offset > self.high_watermark, "back or on the spot");
                    assert!(offset <= self.safe, "not safe on the leader");
                    assert!(self.desk.leader.isr().len() >= 2, "below the minimum");
                    self.high_watermark = offset;
                }
            }
        }
        for node in self.isr.iter().filter(|node| **node != 1) {
            assert!(self.ends[node] >= self.high_watermark, "node {node} lacks what is visible");
        }
    }
}

proptest! {
    #[test]
    fn whoever_the_controller_counts_in_sync_has_all_that_is_visible(
        story in prop::collection::vec(happening(), 1..200),
    ) {
        let mut world = World::new();
        for happening in &story {
            world.go_on(happening);
        }
    }

    #[test]
    fn once_all_follow_again_everything_becomes_visible(story in prop::collection::vec(happening(), 1..100)) {
        let mut world = World::new();
        for happening in &story {
            world.go_on(happening);
        }
        world.go_on(&Happening::Sync(i64::MAX / 2));
        for _ in 0..4 {
            for node in [2, 3] {
                world.go_on(&Happening::Fetch { node, progress: i64::MAX / 2, is_eligible: true });
            }
            world.go_on(&Happening::Decide { grants: true, answer_arrives: true });
            world.go_on(&Happening::Learn);
        }
        prop_assert_eq!(world.high_watermark, world.end);
    }
}
