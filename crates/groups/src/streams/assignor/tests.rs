use super::*;

fn parts(all: &[(&str, PartitionIndex, bool)]) -> BTreeMap<Arc<str>, ConfiguredSubtopology> {
    let part = |tasks, is_stateful| ConfiguredSubtopology { tasks, is_stateful, sources: BTreeSet::new() };
    all.iter().map(|(id, tasks, is_stateful)| ((*id).into(), part(*tasks, *is_stateful))).collect()
}

/// Members by name, each in a process.
fn members(all: &[(&str, &str)]) -> BTreeMap<MemberId, Spec> {
    let spec = |process: &str| Spec { process: process.into(), ..Spec::default() };
    all.iter().map(|(id, process)| ((*id).into(), spec(process))).collect()
}

/// The members once more, with what they are to have.
fn again(
    members: &BTreeMap<MemberId, Spec>,
    targets: &BTreeMap<MemberId, Tasks>,
) -> BTreeMap<MemberId, Spec> {
    let mut members = members.clone();
    for (id, member) in &mut members {
        member.former = targets.get(id).cloned().unwrap_or_default();
    }
    members
}

fn count(tasks: &TaskSet) -> usize {
    tasks.values().map(BTreeSet::len).sum()
}

/// Each task runs once; its copies lie in other processes, as many as there are to be.
fn check(
    members: &BTreeMap<MemberId, Spec>,
    parts: &BTreeMap<Arc<str>, ConfiguredSubtopology>,
    replicas: usize,
    targets: &BTreeMap<MemberId, Tasks>,
) {
    let mut runs = BTreeMap::new();
    let mut copies = BTreeMap::<Task, BTreeSet<Arc<str>>>::new();
    for (id, tasks) in targets {
        let process = &members[id].process;
        for (subtopology, index) in each(&tasks.active) {
            let task = (subtopology.clone(), index);
            assert!(runs.insert(task.clone(), process.clone()).is_none(), "{task:?} runs twice");
        }
        for (subtopology, index) in each(&tasks.standby) {
            let task = (subtopology.clone(), index);
            assert!(parts[subtopology].is_stateful, "{task:?} has no state");
            assert!(
                copies.entry(task.clone()).or_default().insert(process.clone()),
                "{task:?} twice in a process"
            );
        }
        assert!(tasks.warmup.is_empty());
    }
    let processes = members.values().map(|spec| &spec.process).collect::<BTreeSet<_>>().len();
    for (id, part) in parts {
        for index in 0..part.tasks {
            let task = (id.clone(), index);
            let process = runs.remove(&task).unwrap_or_else(|| panic!("{task:?} does not run"));
            let copies = copies.get(&task).cloned().unwrap_or_default();
            assert!(!copies.contains(&process), "{task:?} has a copy beside it");
            let wanted = if part.is_stateful { replicas.min(processes - 1) } else { 0 };
            assert_eq!(copies.len(), wanted, "copies of {task:?}");
        }
    }
    assert!(runs.is_empty(), "{runs:?} are no tasks");
}

fn moved(from: &BTreeMap<MemberId, Tasks>, to: &BTreeMap<MemberId, Tasks>) -> usize {
    let nothing = TaskSet::new();
    let stayed = to.iter().map(|(id, tasks)| {
        let former = from.get(id).map_or(&nothing, |tasks| &tasks.active);
        each(&tasks.active).filter(|(subtopology, index)| has(former, subtopology, *index)).count()
    });
    to.values().map(|tasks| count(&tasks.active)).sum::<usize>() - stayed.sum::<usize>()
}

fn sizes(targets: &BTreeMap<MemberId, Tasks>) -> Vec<usize> {
    targets.values().map(|tasks| count(&tasks.active)).collect()
}

#[test]
fn tasks_are_shared_evenly_and_nothing_moves_without_a_reason() {
    let parts = parts(&[("0", 4, false), ("1", 5, true)]);
    let three = members(&[("a", "p"), ("b", "q"), ("c", "r")]);
    let first = assign(&three, &parts, 0);
    check(&three, &parts, 0, &first);
    assert_eq!(sizes(&first), [3, 3, 3]);
    let second = assign(&again(&three, &first), &parts, 0);
    assert_eq!(second, first);
    let four = members(&[("a", "p"), ("b", "q"), ("c", "r"), ("d", "s")]);
    let grown = assign(&again(&four, &first), &parts, 0);
    check(&four, &parts, 0, &grown);
    assert_eq!(sizes(&grown).iter().max(), Some(&3));
    assert_eq!(moved(&first, &grown), count(&grown["d"].active), "only what the newcomer gets has moved");
    let two = members(&[("a", "p"), ("c", "r")]);
    let shrunk = assign(&again(&two, &first), &parts, 0);
    check(&two, &parts, 0, &shrunk);
    assert_eq!(moved(&first, &shrunk), 3, "only what the lost one had");
}

#[test]
fn a_process_with_more_threads_gets_more() {
    let parts = parts(&[("0", 8, true)]);
    let members = members(&[("a1", "p"), ("a2", "p"), ("a3", "p"), ("b", "q")]);
    let targets = assign(&members, &parts, 1);
    check(&members, &parts, 1, &targets);
    assert_eq!(sizes(&targets), [2, 2, 2, 2]);
}

#[test]
fn who_has_a_copy_takes_over_the_one_that_is_ahead_first() {
    let parts = parts(&[("0", 1, true)]);
    let three = members(&[("a", "p"), ("b", "q"), ("c", "r")]);
    let first = assign(&three, &parts, 1);
    let runs = first.iter().find(|(_, tasks)| count(&tasks.active) == 1).map(|(id, _)| id.clone()).unwrap();
    let copy = first.iter().find(|(_, tasks)| count(&tasks.standby) == 1).map(|(id, _)| id.clone()).unwrap();
    let mut left = again(&three, &first);
    left.remove(&runs);
    let second = assign(&left, &parts, 1);
    assert_eq!(count(&second[&copy].active), 1, "the standby runs it now");
    // Nobody was given a copy, but two have one on their disks.
    let mut all = members(&[("a", "p"), ("b", "q"), ("c", "r")]);
    for (id, offset) in [("b", 5), ("c", 9)] {
        let offsets = TaskOffsets::from([("0".into(), BTreeMap::from([(0, offset)]))]);
        all.get_mut(id).unwrap().offsets = offsets;
    }
    assert_eq!(count(&assign(&all, &parts, 0)["c"].active), 1);
}

#[test]
fn more_copies_than_processes_are_not_given() {
    let parts = parts(&[("0", 3, true)]);
    let one = members(&[("a", "p"), ("b", "p")]);
    check(&one, &parts, 2, &assign(&one, &parts, 2));
    let two = members(&[("a", "p"), ("b", "q")]);
    check(&two, &parts, usize::MAX, &assign(&two, &parts, usize::MAX));
    assert!(assign(&BTreeMap::new(), &parts, 1).is_empty());
}

/// A small deterministic generator (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ z >> 27) % n
    }
}

#[test]
fn whatever_came_before_the_invariants_hold_and_a_second_look_changes_nothing() {
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let parts: Vec<(String, PartitionIndex, bool)> = (0..1 + chance.below(4))
            .map(|n| (n.to_string(), 1 + chance.below(9) as PartitionIndex, chance.below(2) == 0))
            .collect();
        let parts = parts.iter().map(|(id, tasks, state)| (id.as_str(), *tasks, *state)).collect::<Vec<_>>();
        let parts = super::tests::parts(&parts);
        let replicas = chance.below(3) as usize;
        let mut targets = BTreeMap::new();
        for _ in 0..6 {
            let names: Vec<(String, String)> = (0..8)
                .filter(|_| chance.below(2) == 0)
                .map(|n| (format!("m{n}"), format!("p{}", n / (1 + seed % 3))))
                .collect();
            let names = names.iter().map(|(id, process)| (id.as_str(), process.as_str())).collect::<Vec<_>>();
            let mut members = again(&members(&names), &targets);
            for spec in members.values_mut() {
                // It may report of anything.
                let at = chance.below(4).to_string();
                if chance.below(3) == 0 {
                    spec.offsets =
                        TaskOffsets::from([(at.as_str().into(), BTreeMap::from([(0, 7), (1, 3)]))]);
                }
            }
            targets = assign(&members, &parts, replicas);
            if members.is_empty() {
                continue;
            }
            check(&members, &parts, replicas, &targets);
            let tasks: usize = parts.values().map(|part| part.tasks as usize).sum();
            let fair = tasks.div_ceil(members.len());
            let spread = sizes(&targets);
            assert!(spread.iter().all(|size| *size <= fair), "seed {seed}: {spread:?} of {tasks}");
            let second = assign(&again(&members, &targets), &parts, replicas);
            assert_eq!(moved(&targets, &second), 0, "seed {seed}");
            targets = second;
        }
    }
}
