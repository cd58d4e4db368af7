//! Sessions of brokers under a clock that the test moves.

use super::*;
use crate::{Partition, PartitionRecord, Recovery};
use model::TopicName;

const MS: u64 = 1_000_000;
const SESSION_MS: u32 = 1_500;

fn at(ms: u64) -> Now {
    Now { wall: 0, monotonic: ms * MS }
}

/// An image with brokers 1 to 3, registered at the offsets 1 to 3, fenced or not; and the sessions since time 0.
struct World {
    image: Image,
    heartbeats: Heartbeats,
}

impl World {
    fn new(fenced: [bool; 3]) -> Self {
        let mut image = Image::new("c");
        image.apply(Record::NoOp);
        for (id, fenced) in (1..).zip(fenced) {
            let directories = vec![Uuid([id as u8; 16])];
            let epoch = id.into();
            image.apply(Record::RegisterBroker(Registration {
                id,
                epoch,
                fenced,
                directories,
                ..Registration::default()
            }));
        }
        let heartbeats = Heartbeats::new(SESSION_MS, at(0), &image);
        Self { image, heartbeats }
    }

    fn apply(&mut self, record: Record) {
        self.image.apply(record.clone());
        self.heartbeats.replay(&record, self.image.position().offset);
    }

    fn change(&mut self, broker: NodeId, fenced: Option<bool>, shutting_down: Option<bool>) {
        let broker_epoch = self.image.broker(broker).unwrap().epoch;
        let (directories, cordoned) = (None, None);
        self.apply(Record::BrokerChange {
            broker,
            broker_epoch,
            fenced,
            shutting_down,
            directories,
            cordoned,
        });
    }

    fn lead(&mut self, broker: NodeId) {
        let topic = Uuid([7; 16]);
        if self.image.topics_count() == 0 {
            self.apply(Record::Topic { name: TopicName::new("t").unwrap(), id: topic });
        }
        let partition = Partition {
            replicas: vec![1, 2, 3],
            isr: vec![1, 2, 3],
            removing: Vec::new(),
            adding: Vec::new(),
            leader: broker,
            recovery: Recovery::Recovered,
            leader_epoch: 0,
            partition_epoch: 0,
            directories: vec![Uuid::ZERO; 3],
            elr: Vec::new(),
            elr_last_known: Vec::new(),
        };
        let record: PartitionRecord = partition.to_record(topic, 0);
        self.apply(Record::Partition(record));
    }

    fn beat(&mut self, ms: u64, heartbeat: Heartbeat) -> Pulse {
        self.heartbeats.on_heartbeat(at(ms), &self.image, heartbeat).unwrap()
    }

    /// The broker that is silent too long at that time.
    fn silent(&mut self, ms: u64) -> Option<NodeId> {
        match self.heartbeats.next_silent(at(ms), &self.image)? {
            Request::FenceBroker { broker, .. } => Some(broker),
            other => panic!("{other:?}"),
        }
    }

    /// As `silent`, with a look every check interval between.
    fn silent_between(&mut self, from_ms: u64, to_ms: u64) -> Option<(u64, NodeId)> {
        let interval = (SESSION_MS / 8) as usize;
        (from_ms..=to_ms).step_by(interval).find_map(|ms| Some((ms, self.silent(ms)?)))
    }
}

fn alive(broker: NodeId) -> Heartbeat {
    Heartbeat { broker, broker_epoch: broker.into(), metadata_offset: 100, ..Heartbeat::default() }
}

#[test]
fn the_broker_that_was_silent_longest_is_fenced_first_and_one_at_a_time() {
    let mut world = World::new([false, false, false]);
    for (ms, broker) in [(0, 1), (100, 2), (200, 3)] {
        world.beat(ms, alive(broker));
    }
    assert_eq!(world.silent_between(200, 1_500), None, "the session lasts to its end");
    assert_eq!(world.silent(1_501), Some(1));
    assert_eq!(world.silent(1_502), Some(1), "until it is fenced");
    world.change(1, Some(true), None);
    assert_eq!(world.silent(1_600), None);
    world.beat(1_650, alive(2));
    assert_eq!(world.silent(1_701), Some(3));
    world.change(3, Some(true), None);
    assert_eq!(world.silent_between(1_701, 3_150), None);
    assert_eq!(world.silent(3_151), Some(2));
}

#[test]
fn a_lost_connection_shortens_the_session() {
    let mut world = World::new([false, true, true]);
    for ms in [0, 100, 200] {
        world.beat(ms, alive(1));
    }
    world.heartbeats.on_disconnected(at(250), 1);
    world.heartbeats.on_disconnected(at(500), 1);
    assert_eq!(world.silent(550), None, "a fifth of the session, from the first time");
    assert_eq!(world.silent(551), Some(1));
    world.beat(552, alive(1));
    assert_eq!(world.silent_between(552, 2_052), None, "it is back");
}

#[test]
fn a_broker_whose_listener_refuses_connections_is_gone_unless_it_is_heard_again() {
    let mut world = World::new([false, true, true]);
    world.beat(200, alive(1));
    world.heartbeats.on_disconnected(at(250), 1);
    world.heartbeats.on_refused(at(260), 1, 9);
    assert_eq!(world.silent(262), None, "that was another incarnation");
    world.heartbeats.on_refused(at(262), 1, 1);
    world.beat(263, alive(1));
    assert_eq!(world.silent(264), None);
    world.heartbeats.on_refused(at(265), 1, 1);
    assert_eq!(world.heartbeats.check_at(&world.image), 265 * MS + 1);
    assert_eq!(world.silent(266), Some(1));
}

#[test]
fn the_next_look_is_when_the_first_session_ends() {
    let mut world = World::new([false, false, true]);
    let check_at = |world: &World| world.heartbeats.check_at(&world.image);
    assert_eq!(check_at(&world), 187_500_000, "an eighth of the session");
    world.beat(100, alive(1));
    assert_eq!(world.silent_between(0, 1_496), None);
    assert_eq!(check_at(&world), 1_500 * MS + 1);
    assert_eq!(world.silent(1_501), Some(2));
    world.change(2, Some(true), None);
    assert_eq!(check_at(&world), 1_600 * MS + 1);
    world.change(1, Some(true), None);
    assert_eq!(check_at(&world), 1_501 * MS + 187_500_000);
}

#[test]
fn a_broker_of_a_slow_rhythm_gets_the_time_of_two_beats() {
    let mut world = World::new([false, true, true]);
    for ms in [0, 600, 1_200] {
        world.beat(ms, alive(1));
        world.silent(ms);
    }
    world.heartbeats.on_disconnected(at(1_201), 1);
    assert_eq!(world.silent_between(1_201, 2_401), None);
    assert_eq!(world.silent(2_402), Some(1));
}

#[test]
fn nobody_is_blamed_for_a_pause_of_the_host() {
    let mut world = World::new([false, true, true]);
    world.beat(100, alive(1));
    assert_eq!(world.silent(200), None);
    assert_eq!(world.silent(9_000), None);
    assert_eq!(world.silent_between(9_000, 10_400), None);
    assert_eq!(world.silent_between(10_400, 10_600).map(|(_, broker)| broker), Some(1));
}

#[test]
fn fenced_brokers_have_nothing_to_lose() {
    let mut world = World::new([true, true, true]);
    assert_eq!(world.silent_between(0, 20_000), None);
}

#[test]
fn a_broker_is_unfenced_once_it_has_read_its_own_registration() {
    let mut world = World::new([false, false, true]);
    world.apply(Record::NoOp);
    let broker = world.image.broker(3).unwrap();
    world.apply(Record::RegisterBroker(Registration { epoch: 9, ..Registration::clone(broker) }));
    assert_eq!(world.image.position().offset, 5);
    let old = world.heartbeats.on_heartbeat(at(0), &world.image, alive(3));
    assert!(matches!(old, Err(Error::StaleBrokerEpoch(_))));
    for (metadata_offset, wants_fence, unfenced) in [(4, false, false), (5, true, false), (5, false, true)] {
        let pulse = world.beat(1, Heartbeat { broker_epoch: 9, metadata_offset, wants_fence, ..alive(3) });
        assert_eq!(pulse.is_caught_up, metadata_offset == 5);
        assert_eq!(pulse.is_fenced, !unfenced);
        let expected = Request::UnfenceBroker { broker: 3, broker_epoch: 9 };
        assert_eq!(pulse.requests, Vec::from_iter(unfenced.then_some(expected)));
    }
}

#[test]
fn a_broker_stops_when_it_leads_nothing_and_the_others_know() {
    let mut world = World::new([false, false, false]);
    world.lead(1);
    let stop = |offset| Heartbeat { wants_shutdown: true, metadata_offset: offset, ..alive(1) };
    let pulse = world.beat(0, stop(5));
    assert_eq!(pulse.requests, [Request::ShutDownBroker { broker: 1, broker_epoch: 1 }]);
    assert!(!pulse.is_fenced && !pulse.should_shut_down);
    assert!(!world.beat(1, stop(5)).should_shut_down);
    world.change(1, None, Some(true));
    let told = world.image.position().offset;
    for other in [2, 3] {
        world.beat(2, Heartbeat { metadata_offset: told, ..alive(other) });
    }
    assert!(!world.beat(2, stop(5)).should_shut_down, "it leads still");
    world.lead(2);
    for (offset, knows) in [(told - 1, false), (told, true)] {
        world.beat(3, Heartbeat { metadata_offset: told, ..alive(2) });
        world.beat(3, Heartbeat { metadata_offset: offset, ..alive(3) });
        let pulse = world.beat(4, stop(5));
        assert_eq!((pulse.should_shut_down, pulse.is_fenced), (knows, knows));
        let expected = Request::FenceBroker { broker: 1, broker_epoch: 1 };
        assert_eq!(pulse.requests, Vec::from_iter(knows.then_some(expected)));
    }
}

#[test]
fn a_shutdown_that_began_under_another_controller_goes_on() {
    let mut world = World::new([false, false, true]);
    world.change(1, None, Some(true));
    let told = world.image.position().offset;
    world.heartbeats = Heartbeats::new(SESSION_MS, at(0), &world.image);
    let stop = Heartbeat { wants_shutdown: true, ..alive(1) };
    assert!(!world.beat(0, stop.clone()).should_shut_down, "broker 2 has not said yet what it knows");
    world.beat(1, Heartbeat { metadata_offset: told, ..alive(2) });
    assert!(world.beat(2, stop).should_shut_down);
}

#[test]
fn a_broker_that_leads_nothing_or_is_fenced_may_stop_at_once() {
    let mut world = World::new([false, true, false]);
    world.lead(3);
    let fence = |broker: NodeId| Request::FenceBroker { broker, broker_epoch: broker.into() };
    for (heartbeat, requests, stops) in [
        (Heartbeat { wants_shutdown: true, ..alive(1) }, vec![fence(1)], true),
        (Heartbeat { wants_shutdown: true, ..alive(2) }, vec![], true),
        (Heartbeat { wants_shutdown: true, wants_fence: true, ..alive(3) }, vec![fence(3)], true),
        (Heartbeat { wants_fence: true, ..alive(3) }, vec![fence(3)], false),
        (alive(3), vec![], false),
    ] {
        let pulse = world.beat(0, heartbeat.clone());
        assert_eq!((pulse.requests, pulse.should_shut_down), (requests, stops), "{heartbeat:?}");
    }
}

#[test]
fn directories_come_before_leadership() {
    let mut world = World::new([true, false, false]);
    let failed = Uuid([1; 16]);
    let broker = Registration::clone(world.image.broker(1).unwrap());
    let sick = Heartbeat { offline: vec![failed, Uuid([9; 16])], ..alive(1) };
    let pulse = world.beat(0, sick.clone());
    assert!(matches!(pulse.requests[..], [Request::ChangeDirectories(_)]), "it has no other: {pulse:?}");
    let directories = vec![failed, Uuid([8; 16])];
    world.apply(Record::RegisterBroker(Registration { directories, ..broker }));
    let pulse = world.beat(0, sick);
    assert!(matches!(pulse.requests[0], Request::ChangeDirectories(_)), "{pulse:?}");
    assert!(matches!(pulse.requests[1], Request::UnfenceBroker { .. }), "{pulse:?}");
    let pulse = world.beat(0, Heartbeat { cordoned: Some(vec![failed]), ..alive(1) });
    assert_eq!(pulse.requests.len(), 2);
    let nothing = Heartbeat { offline: vec![Uuid([9; 16])], cordoned: Some(vec![]), ..alive(1) };
    assert_eq!(world.beat(0, nothing).requests.len(), 1);
}

#[test]
fn a_second_node_with_the_same_id_is_refused_while_the_first_lives() {
    let mut world = World::new([false, true, true]);
    let request = |broker, incarnation| RegisterBroker {
        broker,
        cluster_id: "c".to_owned(),
        incarnation: Uuid([incarnation; 16]),
        endpoints: Vec::new(),
        features: Vec::new(),
        rack: None,
        directories: Vec::new(),
        fenced: true,
        previous_epoch: -1,
        synced: false,
    };
    let check = |world: &World, ms, request| {
        world.heartbeats.check_registration(at(ms), &world.image, &request).is_ok()
    };
    world.beat(1_000, alive(1));
    assert!(!check(&world, 2_500, request(1, 1)));
    assert!(check(&world, 2_500, request(1, 0)), "the same incarnation");
    assert!(check(&world, 2_500, request(4, 1)), "a new broker");
    assert!(check(&world, 2_501, request(1, 1)), "its session is over");
    assert!(check(&world, 0, request(2, 1)), "fenced, and not heard");
    world.beat(1_000, alive(2));
    assert!(!check(&world, 1_001, request(2, 1)), "fenced, but alive");
    world.heartbeats.on_disconnected(at(1_000), 2);
    assert!(check(&world, 1_301, request(2, 1)), "killed");
    assert!(world.beat(2_000, Heartbeat { wants_shutdown: true, ..alive(1) }).should_shut_down);
    assert!(check(&world, 2_001, request(1, 1)), "it has taken its leave");
}

#[test]
fn one_that_leads_at_once_has_a_session_before_it_is_heard() {
    let mut world = World::new([true, true, true]);
    assert_eq!(world.silent_between(0, 5_000), None);
    world.apply(Record::RegisterBroker(Registration { id: 4, epoch: 4, ..Registration::default() }));
    assert_eq!(world.silent_between(5_000, 6_400), None);
    assert_eq!(world.silent_between(6_400, 6_700).map(|(_, broker)| broker), Some(4));
}
