//! Members do whatever they like, writes fail, locks run out, leaders change. A model that looks at each offset by itself
//! says what must hold all the same.

use super::desk::{CONFIG, log, member};
use crate::*;
use ::coordinator::Now;
use model::Offset;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const END: Offset = 60;
const MEMBERS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Acquire {
        member: usize,
        max: i64,
        strict: bool,
    },
    /// Of what the member has: from the how many-th on, how many, and what became of them.
    Acknowledge {
        member: usize,
        skip: usize,
        count: usize,
        kind: i8,
        is_written: bool,
    },
    Sleep {
        ms: u32,
        is_written: bool,
    },
    Leave {
        member: usize,
        is_written: bool,
    },
    /// The dead-letter topic is told of so many stretches.
    Tell {
        count: usize,
        is_written: bool,
    },
    /// Another leader reads what was written.
    Lead,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let who = 0..MEMBERS.len();
    let step = prop_oneof![
        4 => (who.clone(), 1..12i64, any::<bool>())
            .prop_map(|(member, max, strict)| Step::Acquire { member, max, strict }),
        5 => (who.clone(), 0..6usize, 1..8usize, 0..5i8, prop::bool::weighted(0.85)).prop_map(
            |(member, skip, count, kind, is_written)| {
                Step::Acknowledge { member, skip, count, kind, is_written }
            }
        ),
        1 => (1..1500u32, any::<bool>()).prop_map(|(ms, is_written)| Step::Sleep { ms, is_written }),
        1 => (who, any::<bool>()).prop_map(|(member, is_written)| Step::Leave { member, is_written }),
        2 => (1..4usize, any::<bool>()).prop_map(|(count, is_written)| Step::Tell { count, is_written }),
        1 => Just(Step::Lead),
    ];
    prop::collection::vec(step, 0..80)
}

/// What is known of each offset beside the share partition.
#[derive(Default)]
struct Model {
    /// Who has what, until when.
    held: BTreeMap<Offset, (usize, u64)>,
    /// What is over for good: it was written so.
    done: BTreeMap<Offset, DeliveryState>,
    deliveries: BTreeMap<Offset, i16>,
    /// Of what the dead-letter topic was told, and what needs no telling.
    told: BTreeSet<Offset>,
    /// What the share coordinator has.
    stored: Vec<StateBatch>,
    start: Offset,
}

struct World {
    config: Config,
    partition: SharePartition,
    letters: Vec<DeadLetters>,
    model: Model,
    now: Now,
}

impl World {
    fn new(has_dead_letters: bool) -> Self {
        let config = Config { has_dead_letters, ..CONFIG };
        let partition = SharePartition::new(config, 1, 0, &[]).unwrap();
        let (model, letters) = (Model::default(), Vec::new());
        Self { config, partition, letters, model, now: Now { wall: 0, monotonic: 0 } }
    }

    fn tell(&mut self, count: usize, is_written: bool) {
        for letters in self.partition.take_dead_letters() {
            for offset in letters.first..=letters.last {
                let is_stored = |batch: &StateBatch| {
                    batch.state == DeliveryState::Archiving.number()
                        && (batch.first..=batch.last).contains(&offset)
                };
                assert!(self.model.stored.iter().any(is_stored), "{offset} is told of before it is written");
            }
            self.letters.push(letters);
        }
        for letters in self.letters.drain(..count.min(self.letters.len())).collect::<Vec<_>>() {
            self.model.told.extend(letters.first..=letters.last);
            let write = self.partition.on_told(letters.first, letters.last);
            self.settle(write, is_written);
        }
    }

    fn store(&mut self, write: &Write) {
        self.model.start = write.start;
        self.model.stored = combine(&self.model.stored, &write.batches, write.start);
        for batch in &write.batches {
            let state = DeliveryState::from_number(batch.state).unwrap();
            for offset in batch.first..=batch.last {
                let was = self.model.done.get(&offset);
                assert!(was.is_none_or(|was| *was == state), "{offset} was {was:?} and is now {state:?}");
                if state.is_terminal() {
                    self.model.done.insert(offset, state);
                }
            }
        }
    }

    fn settle(&mut self, write: Option<Write>, is_written: bool) {
        let Some(write) = write else { return };
        if is_written {
            self.store(&write);
            for batch in &write.batches {
                self.model.held.retain(|offset, _| !(batch.first..=batch.last).contains(offset));
            }
        }
        self.partition.on_written(self.now, write.id, is_written);
    }

    fn acquire(&mut self, of: usize, max: i64, strict: bool) {
        let name = member(MEMBERS[of]);
        let mode = if strict { Mode::RecordLimit } else { Mode::BatchOptimized };
        let from = self.partition.next_offset();
        let read: Vec<Batch> = log(0, END, 4).into_iter().filter(|batch| batch.last >= from).collect();
        let wish = Wish { member: &name, records_max: max, batch_size: 6, mode, from };
        let taken = self.partition.acquire(self.now, wish, &read);
        let count: i64 = taken.iter().map(|one| one.last - one.first + 1).sum();
        assert!(count <= max + if strict { 0 } else { 3 }, "{count} for {max}: {taken:?}");
        for one in taken {
            for offset in one.first..=one.last {
                assert!(!self.model.done.contains_key(&offset), "{offset} is done and delivered again");
                let before = self.model.held.insert(offset, (of, self.now.deadline_ms(CONFIG.lock_ms)));
                assert_eq!(before, None, "{offset} is another's");
                let deliveries = self.model.deliveries.entry(offset).or_default();
                *deliveries += 1;
                assert!(one.count <= CONFIG.delivery_count_max, "{offset} is delivered {} times", one.count);
                assert!(
                    one.count <= *deliveries,
                    "{offset} was delivered {deliveries} times, not {}",
                    one.count
                );
            }
        }
    }

    fn acknowledge(&mut self, of: usize, skip: usize, count: usize, kind: i8, is_written: bool) {
        let own = self.model.held.iter().filter(|(_, (member, _))| *member == of).map(|(offset, _)| *offset);
        let own: Vec<Offset> = own.skip(skip).take(count).collect();
        let kind = Kind::from_number(kind).unwrap();
        if kind == Kind::Gap {
            self.model.told.extend(&own);
        }
        let all: Vec<_> = own
            .iter()
            .map(|offset| Acknowledged { first: *offset, last: *offset, kinds: vec![kind] })
            .collect();
        let write = self.partition.acknowledge(self.now, &member(MEMBERS[of]), &all).unwrap();
        if kind == Kind::Renew {
            assert_eq!(write, None);
            let deadline = self.now.deadline_ms(CONFIG.lock_ms);
            self.model.held.extend(own.iter().map(|offset| (*offset, (of, deadline))));
        }
        self.settle(write, is_written);
    }

    fn sleep(&mut self, ms: u32, is_written: bool) {
        self.now = self.now.plus_ms(ms);
        let write = self.partition.expire(self.now);
        let late = self.model.held.extract_if(.., |_, (_, deadline)| *deadline <= self.now.monotonic);
        let late: BTreeMap<Offset, usize> = late.map(|(offset, (member, _))| (offset, member)).collect();
        let batches = write.iter().flat_map(|write| &write.batches);
        let told = batches.clone().flat_map(|batch| batch.first..=batch.last);
        assert_eq!(told.collect::<Vec<_>>(), late.keys().copied().collect::<Vec<_>>());
        let given_up = [DeliveryState::Archiving, DeliveryState::Archived].map(DeliveryState::number);
        let given_up = batches.filter(|batch| given_up.contains(&batch.state));
        let given_up: Vec<Offset> = given_up.flat_map(|batch| batch.first..=batch.last).collect();
        self.settle(write, is_written);
        if !is_written {
            // The member has it until the giving up is written.
            let until = self.now.deadline_ms(1000);
            self.model.held.extend(given_up.iter().map(|offset| (*offset, (late[offset], until))));
        }
    }

    fn lead(&mut self) {
        self.model.held.clear();
        let stored = combine(&self.model.stored, &[], self.model.start);
        self.partition = SharePartition::new(self.config, 1, self.model.start, &stored).unwrap();
        self.letters.clear();
    }

    fn check(&self) {
        self.partition.check();
        for offset in 0..END {
            let state = self.partition.state_of(offset).map(|(state, _)| state);
            if self.model.held.contains_key(&offset) {
                assert_eq!(state, Some(DeliveryState::Acquired), "{offset} is held");
            } else {
                assert_ne!(state, Some(DeliveryState::Acquired), "{offset} is held by nobody");
            }
            if offset < self.partition.start() && self.config.has_dead_letters {
                let is_accepted = self.model.done.get(&offset) == Some(&DeliveryState::Acknowledged);
                assert!(is_accepted || self.model.told.contains(&offset), "nobody was told of {offset}");
            } else if offset < self.partition.start() {
                assert!(self.model.done.contains_key(&offset), "{offset} is lost");
            }
        }
    }
}

proptest! {
    #[test]
    fn each_record_is_one_members_nothing_is_lost_and_what_is_done_stays_done(
        steps in steps(),
        has_dead_letters in any::<bool>(),
    ) {
        let mut world = World::new(has_dead_letters);
        for step in steps {
            match step {
                Step::Acquire { member, max, strict } => world.acquire(member, max, strict),
                Step::Acknowledge { member, skip, count, kind, is_written } => {
                    world.acknowledge(member, skip, count, kind, is_written);
                }
                Step::Sleep { ms, is_written } => world.sleep(ms, is_written),
                Step::Leave { member: of, is_written } => {
                    let write = world.partition.release(&member(MEMBERS[of]));
                    world.settle(write, is_written);
                }
                Step::Tell { count, is_written } => world.tell(count, is_written),
                Step::Lead => world.lead(),
            }
            world.check();
        }
        // In the end everybody gets everything.
        world.lead();
        while world.partition.start() < END {
            world.acquire(0, 50, false);
            world.acknowledge(0, 0, 100, 1, true);
            world.tell(100, true);
            world.check();
        }
        // What the start has passed needs not be written itself.
        let is_over = |offset: &Offset| {
            world.model.done.contains_key(offset) || has_dead_letters && world.model.told.contains(offset)
        };
        let missing: Vec<_> = (0..END).filter(|offset| !is_over(offset)).collect();
        prop_assert_eq!(missing, Vec::<Offset>::new());
    }
}
