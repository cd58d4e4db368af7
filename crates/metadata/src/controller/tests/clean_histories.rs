//! Random histories of many brokers beside a model of who holds what was committed: brokers are fenced, restart, stop
//! and lose directories, ISRs shrink and grow, partitions move, the least ISR changes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    AlterPartition, ChangeDirectories, ConfigChange, ConfigOperation, DIRECTORY_LOST, DIRECTORY_MIGRATING,
    DirectoryAssignment, ElectionKind, IsrChange, Partition, Reassignment, Recovery,
};

const BROKERS: i32 = 5;
/// Topic and partition of each that there is.
const PARTITIONS: [(&str, i32); 4] = [("t", 0), ("t", 1), ("u", 0), ("v", 0)];

#[derive(Debug, Clone)]
enum Step {
    Fence(i32),
    Unfence(i32),
    ShutDown(i32),
    /// A new incarnation; whether it had stopped cleanly, and whether it syncs before it acknowledges.
    Restart(i32, bool, bool),
    Unregister(i32),
    /// The leader of that partition takes those of its active replicas into the ISR whose bits are set.
    Isr(usize, u8),
    Reassign(usize, Vec<i32>),
    Cancel(usize),
    Elect(ElectionKind),
    Balance,
    ElectUnclean,
    /// For topic t, or for all.
    MinIsr(bool, u8),
    Fail(i32, u8),
    Assign(i32, usize, u8),
}

fn steps(clean: bool) -> impl Strategy<Value = Step> {
    let broker = || 1..=BROKERS;
    let place = || 0..PARTITIONS.len();
    let replicas = Just((1..=BROKERS).collect::<Vec<_>>()).prop_shuffle();
    let unless_clean = move |step: Step| if clean { Step::Balance } else { step };
    prop_oneof![
        5 => broker().prop_map(Step::Fence),
        8 => broker().prop_map(Step::Unfence),
        2 => broker().prop_map(Step::ShutDown),
        5 => (broker(), any::<bool>(), any::<bool>())
            .prop_map(move |(id, stopped, synced)| Step::Restart(id, stopped, synced || clean && !stopped)),
        2 => broker().prop_map(move |id| unless_clean(Step::Unregister(id))),
        12 => (place(), any::<u8>()).prop_map(|(place, bits)| Step::Isr(place, bits)),
        6 => (place(), replicas, 1..4usize).prop_map(|(place, mut replicas, count)| {
            replicas.truncate(count);
            Step::Reassign(place, replicas)
        }),
        2 => place().prop_map(Step::Cancel),
        2 => Just(Step::Elect(ElectionKind::Preferred)),
        1 => Just(unless_clean(Step::Elect(ElectionKind::Unclean))),
        1 => Just(Step::Balance),
        1 => Just(Step::ElectUnclean),
        2 => (any::<bool>(), 1..4u8).prop_map(|(one, least)| Step::MinIsr(one, least)),
        2 => (broker(), 0..2u8).prop_map(|(id, which)| Step::Fail(id, which)),
        4 => (broker(), place(), 0..4u8).prop_map(|(id, place, which)| Step::Assign(id, place, which)),
    ]
}

/// One of a broker's two; or that the replica could not be opened, or is whole after all.
fn directory(broker: i32, which: u8) -> Uuid {
    match which {
        2 => DIRECTORY_LOST,
        3 => DIRECTORY_MIGRATING,
        which => Uuid([0x10 * broker as u8 + which; 16]),
    }
}

struct Model {
    cluster: Cluster,
    clean: bool,
    /// Who holds everything that was committed.
    holders: BTreeMap<usize, BTreeSet<i32>>,
    /// What was last asked for and not cancelled.
    targets: BTreeMap<usize, Vec<i32>>,
    life: u8,
}

impl Model {
    fn new(clean: bool) -> Self {
        let mut cluster = Cluster::with(0, &[("min.insync.replicas", "2")]);
        for id in 1..=BROKERS {
            cluster.ask(Request::RegisterBroker(incarnation(id, 1))).unwrap();
        }
        let with = |name, assignments| NewTopic { assignments, ..topic(name, -1, -1) };
        let topics = vec![
            with("t", vec![(0, vec![1, 2, 3]), (1, vec![2, 3, 4])]),
            with("u", vec![(0, vec![5, 1])]),
            with("v", vec![(0, vec![4])]),
        ];
        assert!(cluster.create(topics).iter().all(Result::is_ok));
        let mut model = Self { cluster, clean, holders: BTreeMap::new(), targets: BTreeMap::new(), life: 1 };
        (0..PARTITIONS.len()).for_each(|place| model.commit(place));
        model
    }

    fn partition(&self, place: usize) -> &Partition {
        let (topic, index) = PARTITIONS[place];
        self.cluster.image().partition(topic, index).unwrap()
    }

    /// The leader commits something new, if it may: only the ISR holds it then.
    fn commit(&mut self, place: usize) {
        let partition = self.partition(place);
        let least = self.cluster.controller.configs().topic(PARTITIONS[place].0);
        if partition.leader >= 0
            && partition.isr.len() >= partition.min_isr(least.integer("min.insync.replicas"))
        {
            let isr = partition.isr.iter().copied().collect();
            self.holders.insert(place, isr);
        }
    }

    /// Asks, and compares before with after. `vouched` are replicas that their leader has just called in sync.
    fn ask(&mut self, request: Request, vouched: Option<(usize, &[i32])>) -> Option<Reply> {
        let before: Vec<_> = (0..PARTITIONS.len()).map(|place| self.partition(place).clone()).collect();
        let reply = self.cluster.ask(request.clone()).ok();
        for (place, old) in before.iter().enumerate() {
            let new = self.partition(place).clone();
            let vouched = vouched.filter(|(at, _)| *at == place).map_or(&[][..], |(_, isr)| isr);
            assert!(new.leader_epoch >= old.leader_epoch, "{request:?}\n{old:?}\n{new:?}");
            assert_eq!(
                new.partition_epoch > old.partition_epoch,
                new != *old,
                "{request:?}\n{old:?}\n{new:?}"
            );
            if new.leader != old.leader {
                assert!(new.leader_epoch > old.leader_epoch, "{request:?}\n{old:?}\n{new:?}");
            }
            if new.isr != old.isr && old.isr != vouched {
                self.holders
                    .entry(place)
                    .or_default()
                    .extend(vouched.iter().filter(|id| new.isr.contains(id)));
            }
            let known = [&old.isr[..], &old.elr, vouched].concat();
            let elected = new.leader >= 0 && new.leader != old.leader;
            let outside = elected && !known.contains(&new.leader);
            let unclean =
                elected && new.recovery == Recovery::Recovering && (outside || old.recovery != new.recovery);
            assert!(!outside || unclean, "{request:?}\n{old:?}\n{new:?}");
            let nobody = new.isr.is_empty() && new.elr.is_empty();
            assert!(!(self.clean && nobody), "{request:?}\n{old:?}\n{new:?}");
            assert!(!(self.clean && unclean), "{request:?}\n{old:?}\n{new:?}");
            if unclean {
                self.holders.insert(place, new.isr.iter().copied().collect());
            }
            let holders = &self.holders[&place];
            let whole = new.isr.iter().chain(&new.elr).all(|id| holders.contains(id));
            assert!(whole, "{request:?}\n{old:?}\n{new:?}\nheld by {holders:?}");
            self.commit(place);
        }
        reply
    }

    fn step(&mut self, step: Step) {
        let broker_epoch = |id| self.cluster.epoch(id);
        match step {
            Step::Fence(broker) => {
                self.ask(Request::FenceBroker { broker, broker_epoch: broker_epoch(broker) }, None);
            }
            Step::Unfence(broker) => {
                self.ask(Request::UnfenceBroker { broker, broker_epoch: broker_epoch(broker) }, None);
            }
            Step::ShutDown(broker) => {
                self.ask(Request::ShutDownBroker { broker, broker_epoch: broker_epoch(broker) }, None);
            }
            Step::Restart(broker, stopped, synced) => self.restart(broker, stopped, synced),
            Step::Unregister(broker) => {
                self.ask(Request::UnregisterBroker { broker }, None);
            }
            Step::Isr(place, bits) => self.set_isr(place, bits),
            Step::Reassign(place, replicas) => self.reassign(place, Some(replicas)),
            Step::Cancel(place) => self.reassign(place, None),
            Step::Elect(kind) => {
                self.ask(Request::ElectLeaders { kind, partitions: None }, None);
            }
            Step::Balance => {
                self.ask(Request::BalanceLeaders { changes_max: 2 }, None);
            }
            Step::ElectUnclean => {
                self.ask(Request::ElectUncleanLeaders { changes_max: 2 }, None);
            }
            Step::MinIsr(one, least) => {
                let resource = if one { Resource::topic("t") } else { Resource::all_brokers() };
                let change = ConfigChange {
                    name: "min.insync.replicas".to_owned(),
                    operation: ConfigOperation::Set,
                    value: Some(least.to_string()),
                };
                let resources = vec![(resource, vec![change])];
                self.ask(Request::IncrementalAlterConfigs { resources, validate_only: false }, None);
            }
            Step::Fail(broker, which) => {
                let offline = vec![directory(broker, which)];
                let broker_epoch = broker_epoch(broker);
                let change = ChangeDirectories { broker, broker_epoch, offline, cordoned: None };
                self.ask(Request::ChangeDirectories(change), None);
            }
            Step::Assign(broker, place, which) => self.assign(broker, place, directory(broker, which)),
        }
    }

    fn restart(&mut self, broker: i32, stopped: bool, synced: bool) {
        self.life += 1;
        let epoch = self.cluster.epoch(broker);
        let previous_epoch = if stopped { epoch } else { -1 };
        if !stopped && !synced {
            self.holders.values_mut().for_each(|holders| _ = holders.remove(&broker));
        }
        let request =
            RegisterBroker { fenced: true, previous_epoch, synced, ..incarnation(broker, self.life) };
        self.ask(Request::RegisterBroker(request), None);
    }

    fn set_isr(&mut self, place: usize, bits: u8) {
        let partition = self.partition(place).clone();
        let image = self.cluster.image();
        let wanted = |id: &i32| {
            *id == partition.leader || bits & 1 << *id != 0 && super::can_lead(image, &partition, *id)
        };
        let isr: Vec<_> = partition.replicas.iter().copied().filter(wanted).collect();
        let (topic, index) = PARTITIONS[place];
        let change = IsrChange {
            topic: id(topic),
            index,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch,
            isr: isr.iter().map(|id| (*id, self.cluster.epoch(*id))).collect(),
            recovery: Recovery::Recovered,
        };
        let broker = partition.leader;
        let broker_epoch = self.cluster.epoch(broker);
        let request = AlterPartition { broker, broker_epoch, partitions: vec![change] };
        self.ask(Request::AlterPartition(request), Some((place, &isr)));
    }

    fn reassign(&mut self, place: usize, replicas: Option<Vec<i32>>) {
        let (topic, index) = PARTITIONS[place];
        let reassignments = vec![Reassignment { topic: topic.to_owned(), index, replicas: replicas.clone() }];
        let request =
            Request::AlterPartitionReassignments { reassignments, allow_replication_factor_change: true };
        let Some(Reply::AlterPartitionReassignments(results)) = self.ask(request, None) else { panic!() };
        match (&results[0].2, replicas) {
            (Ok(()), Some(replicas)) => _ = self.targets.insert(place, replicas),
            (Ok(()), None) => _ = self.targets.remove(&place),
            _ => {}
        }
    }

    /// What moves out of a failed directory begins with nothing.
    fn assign(&mut self, broker: i32, place: usize, directory: Uuid) {
        let (topic, index) = PARTITIONS[place];
        let old = self.partition(place).directory(broker);
        let registration = self.cluster.image().broker(broker);
        let lost = old.zip(registration).is_some_and(|(old, known)| !known.has_online(old));
        let is_found = old == Some(DIRECTORY_LOST) && directory == DIRECTORY_MIGRATING;
        if lost && old != Some(directory) && !is_found {
            if self.clean {
                return;
            }
            self.holders.entry(place).or_default().remove(&broker);
        }
        let assignments = vec![DirectoryAssignment { directory, topic: id(topic), index }];
        let broker_epoch = self.cluster.epoch(broker);
        self.ask(Request::AssignReplicasToDirs { broker, broker_epoch, assignments }, None);
    }

    /// All brokers come back and all replicas catch up.
    fn heal(&mut self) {
        for broker in 1..=BROKERS {
            self.restart(broker, true, true);
            for place in 0..PARTITIONS.len() {
                if self.partition(place).directory(broker) == Some(DIRECTORY_LOST) {
                    self.assign(broker, place, DIRECTORY_MIGRATING);
                }
            }
            self.step(Step::Unfence(broker));
        }
        self.step(Step::Elect(ElectionKind::Preferred));
        if !self.clean {
            self.step(Step::Elect(ElectionKind::Unclean));
        }
        (0..PARTITIONS.len()).for_each(|place| self.set_isr(place, 0xff));
        self.step(Step::Balance);
        self.step(Step::Balance);
    }

    fn check_healed(&self) {
        for place in 0..PARTITIONS.len() {
            let partition = self.partition(place);
            assert!(!partition.is_reassigning(), "{partition:?}");
            assert_eq!(Some(&partition.leader), partition.replicas.first(), "{partition:?}");
            assert_eq!(partition.isr.len(), partition.replicas.len(), "{partition:?}");
            if let Some(target) = self.targets.get(&place) {
                assert_eq!(partition.replicas, *target);
            }
        }
        let mut image = Image::new("c");
        self.cluster.image().to_records().for_each(|record| image.apply(record));
        image.place(self.cluster.image().position());
        assert_eq!(image, *self.cluster.image());
    }
}

fn incarnation(id: i32, life: u8) -> RegisterBroker {
    RegisterBroker { directories: vec![directory(id, 0), directory(id, 1)], ..registration(id, life) }
}

fn check(clean: bool, steps: Vec<Step>) {
    let mut model = Model::new(clean);
    steps.into_iter().for_each(|step| model.step(step));
    model.heal();
    model.check_healed();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whoever crashed holds what it acknowledged: then nobody leads who lacks anything, and all is well in the end.
    #[test]
    fn nothing_is_lost_where_crashed_brokers_keep_what_they_had(steps in prop::collection::vec(steps(true), 1..60)) {
        check(true, steps);
    }

    /// Where disks forget, whoever leads without everything is known to be recovering.
    #[test]
    fn what_is_lost_is_known_to_be(steps in prop::collection::vec(steps(false), 1..60)) {
        check(false, steps);
    }
}
