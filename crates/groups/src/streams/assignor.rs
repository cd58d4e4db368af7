//! The `sticky` assignor of streams groups: which member runs which task, and who keeps copies of state.
//!
//! Pure. It moves as little as it can: tasks stay where they are, then go where a copy of their state is (members report how
//! far their copies are), then to whoever has least to do, as long as nobody has more than his share. Copies never lie in the
//! process that runs the task. Client tags and racks have no part in it, and warmup tasks are not given, as in Kafka 4.4.

use super::{
    configured::ConfiguredSubtopology,
    records::{TaskOffsets, TaskSet, Tasks, each, has},
};
use crate::MemberId;
use model::PartitionIndex;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[cfg(test)]
mod tests;

/// What is known of a member.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spec {
    /// Members of one process share its state on disk.
    pub(crate) process: Arc<str>,
    /// What it was to have.
    pub(crate) former: Tasks,
    /// How far the copies are that it has on disk.
    pub(crate) offsets: TaskOffsets,
}

/// A task.
type Task = (Arc<str>, PartitionIndex);

/// Gives each task of each subtopology to one member, and `standby_replicas` copies of those with state to other processes, as
/// far as there are any.
pub(crate) fn assign(
    members: &BTreeMap<MemberId, Spec>,
    subtopologies: &BTreeMap<Arc<str>, ConfiguredSubtopology>,
    standby_replicas: usize,
) -> BTreeMap<MemberId, Tasks> {
    let mut loads = Loads::of(members);
    let standby_replicas = standby_replicas.min(loads.processes.len().saturating_sub(1));
    let tasks = |wanted: fn(&ConfiguredSubtopology) -> bool| -> Vec<Task> {
        let wanted = subtopologies.iter().filter(|(_, part)| wanted(part));
        wanted.flat_map(|(id, part)| (0..part.tasks).map(move |index| (id.clone(), index))).collect()
    };
    let (active, stateful) = (tasks(|_| true), tasks(|part| part.is_stateful));
    let former = Former::of(members, &loads);
    let mut shares = Shares {
        active: Share::of(active.len(), members.len()),
        total: Share::of(active.len() + stateful.len() * standby_replicas, members.len()),
    };
    assign_active(active, &former, &mut loads, &mut shares);
    if standby_replicas > 0 {
        assign_standby(stateful, standby_replicas, &former, &mut loads, &mut shares);
    }
    members.keys().zip(loads.members).map(|(id, member)| (id.clone(), member.tasks)).collect()
}

/// How many tasks a member may have at most. Whoever reaches that is done, and what is left is shared by the others.
struct Share {
    tasks: usize,
    members: usize,
    each: usize,
}

struct Shares {
    active: Share,
    total: Share,
}

impl Share {
    fn of(tasks: usize, members: usize) -> Self {
        Self { tasks, members, each: tasks.div_ceil(members.max(1)) }
    }

    /// A member has so many now.
    fn note(&mut self, count: usize) {
        if count == self.each && self.members > 0 {
            let (tasks, members) = (self.tasks.saturating_sub(count), self.members - 1);
            let each = if members == 0 { 0 } else { tasks.div_ceil(members) };
            *self = Self { tasks, members, each };
        }
    }
}

/// Who had which tasks, by the places of members.
struct Former {
    active: BTreeMap<Task, usize>,
    /// Members with a copy: those to whom it was given, then those that only have it on disk, each the newest first.
    copies: BTreeMap<Task, Vec<usize>>,
}

impl Former {
    fn of(members: &BTreeMap<MemberId, Spec>, loads: &Loads) -> Self {
        let mut active = BTreeMap::new();
        let mut copies = BTreeMap::<Task, Vec<(bool, Reverse<i64>, usize)>>::new();
        for (place, spec) in members.values().enumerate().take(loads.members.len()) {
            for (subtopology, index) in each(&spec.former.active) {
                active.insert((subtopology.clone(), index), place);
            }
            let offset_of = |subtopology: &Arc<str>, index: PartitionIndex| {
                spec.offsets.get(subtopology).and_then(|tasks| tasks.get(&index)).copied().unwrap_or(0)
            };
            for (subtopology, index) in each(&spec.former.standby) {
                let copy = (false, Reverse(offset_of(subtopology, index)), place);
                copies.entry((subtopology.clone(), index)).or_default().push(copy);
            }
            for (subtopology, tasks) in &spec.offsets {
                for (&index, &offset) in tasks {
                    if !has(&spec.former.standby, subtopology, index) {
                        let copy = (true, Reverse(offset), place);
                        copies.entry((subtopology.clone(), index)).or_default().push(copy);
                    }
                }
            }
        }
        let ranked = |(task, mut all): (Task, Vec<_>)| {
            all.sort();
            (task, all.into_iter().map(|(_, _, place)| place).collect())
        };
        Self { active, copies: copies.into_iter().map(ranked).collect() }
    }
}

/// What everybody has so far.
struct Loads {
    members: Vec<Member>,
    processes: Vec<Process>,
    /// The processes: first that with the least loaded member, of equals the least loaded.
    by_load: BTreeSet<(usize, u64, usize)>,
}

struct Member {
    process: usize,
    tasks: Tasks,
    count: usize,
}

#[derive(Default)]
struct Process {
    /// Its members, the least loaded first.
    members: BTreeSet<(usize, usize)>,
    tasks: BTreeSet<Task>,
    count: usize,
}

impl Process {
    /// Tasks for each member, as a number that can be ordered.
    fn load(&self) -> u64 {
        ((self.count as u64) << 24) / (self.members.len() as u64).max(1)
    }

    /// Where it stands among all.
    fn place(&self, number: usize) -> (usize, u64, usize) {
        (self.members.first().map_or(0, |(count, _)| *count), self.load(), number)
    }
}

impl Loads {
    fn of(members: &BTreeMap<MemberId, Spec>) -> Self {
        let mut places = BTreeMap::<&Arc<str>, usize>::new();
        let mut loads = Self { members: Vec::new(), processes: Vec::new(), by_load: BTreeSet::new() };
        for (place, spec) in members.values().enumerate() {
            let process = *places.entry(&spec.process).or_insert(loads.processes.len());
            if process == loads.processes.len() {
                loads.processes.push(Process::default());
            }
            loads.members.push(Member { process, tasks: Tasks::default(), count: 0 });
            if let Some(process) = loads.processes.get_mut(process) {
                process.members.insert((0, place));
            }
        }
        loads.by_load = (0..loads.processes.len()).map(|process| (0, 0, process)).collect();
        loads
    }

    fn count(&self, member: usize) -> usize {
        self.members.get(member).map_or(usize::MAX, |member| member.count)
    }

    fn load(&self, member: usize) -> u64 {
        let process = self.members.get(member).and_then(|member| self.processes.get(member.process));
        process.map_or(u64::MAX, Process::load)
    }

    /// Whether the process of a member has a task.
    fn is_there(&self, member: usize, task: &Task) -> bool {
        let process = self.members.get(member).and_then(|member| self.processes.get(member.process));
        process.is_some_and(|process| process.tasks.contains(task))
    }

    /// Gives a task to a member, to be run or as a copy.
    fn give(&mut self, place: usize, task: &Task, is_active: bool, shares: &mut Shares) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(process) = self.processes.get_mut(member.process) else { return };
        self.by_load.remove(&process.place(member.process));
        process.members.remove(&(member.count, place));
        member.count += 1;
        process.count += 1;
        process.members.insert((member.count, place));
        process.tasks.insert(task.clone());
        self.by_load.insert(process.place(member.process));
        let kind = if is_active { &mut member.tasks.active } else { &mut member.tasks.standby };
        add(kind, task);
        if is_active {
            shares.active.note(member.count);
        }
        shares.total.note(member.count);
    }

    /// The least loaded member of the least loaded process that has not got the task.
    fn least_loaded(&self, without: Option<&Task>) -> Option<usize> {
        let mut processes = self.by_load.iter().filter_map(|(_, _, process)| self.processes.get(*process));
        let process = processes.find(|process| without.is_none_or(|task| !process.tasks.contains(task)))?;
        process.members.first().map(|(_, member)| *member)
    }

    /// Of members that have a copy of a task the one with the least to do; a later one must be better in every way.
    fn least_loaded_of(&self, members: &[usize], without: Option<&Task>) -> Option<usize> {
        let free = members.iter().filter(|member| without.is_none_or(|task| !self.is_there(**member, task)));
        free.copied().reduce(|best, next| {
            let is_better = self.load(next) < self.load(best) && self.count(next) < self.count(best);
            if is_better { next } else { best }
        })
    }
}

fn add(tasks: &mut TaskSet, (subtopology, index): &Task) {
    tasks.entry(subtopology.clone()).or_default().insert(*index);
}

/// Tasks of one number belong together: what joins them reads them beside each other.
fn by_partition((subtopology, index): &Task) -> (PartitionIndex, Arc<str>) {
    (*index, subtopology.clone())
}

fn assign_active(mut tasks: Vec<Task>, former: &Former, loads: &mut Loads, shares: &mut Shares) {
    tasks.sort_by_cached_key(by_partition);
    // To whoever had it.
    tasks.retain(|task| {
        let place = former.active.get(task).filter(|place| loads.count(**place) < shares.active.each);
        place.inspect(|place| loads.give(**place, task, true, shares)).is_none()
    });
    // To whoever has a copy.
    tasks.retain(|task| {
        let copies = former.copies.get(task).map(Vec::as_slice).unwrap_or_default();
        let place =
            loads.least_loaded_of(copies, None).filter(|place| loads.count(*place) < shares.active.each);
        place.inspect(|place| loads.give(*place, task, true, shares)).is_none()
    });
    tasks.sort();
    for task in tasks {
        if let Some(place) = loads.least_loaded(None) {
            loads.give(place, &task, true, shares);
        }
    }
}

fn assign_standby(
    mut tasks: Vec<Task>,
    replicas: usize,
    former: &Former,
    loads: &mut Loads,
    shares: &mut Shares,
) {
    tasks.sort_by_cached_key(|task| Reverse(by_partition(task)));
    let mut open = Vec::new();
    for task in tasks {
        let copies = former.copies.get(&task).map(Vec::as_slice).unwrap_or_default();
        for given in 0..replicas {
            let fits = |loads: &Loads, place: &usize| loads.count(*place) < shares.total.each;
            // Whoever ran it, then whoever has a copy.
            let ran = former.active.get(&task).copied().filter(|place| !loads.is_there(*place, &task));
            let place = ran
                .filter(|place| fits(loads, place))
                .or_else(|| loads.least_loaded_of(copies, Some(&task)).filter(|place| fits(loads, place)));
            match place {
                Some(place) => loads.give(place, &task, false, shares),
                None => {
                    open.push((task, replicas - given));
                    break;
                }
            }
        }
    }
    open.sort_by(|one, other| other.cmp(one));
    for (task, replicas) in open {
        for _ in 0..replicas {
            match loads.least_loaded(Some(&task)) {
                Some(place) => loads.give(place, &task, false, shares),
                // All processes have it.
                None => break,
            }
        }
    }
}
