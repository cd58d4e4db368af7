use super::*;
use crate::consumer::records::Partitions;

fn topic(n: u8) -> TopicId {
    let mut bytes = [0; 16];
    bytes[15] = n;
    stdx::Uuid(bytes)
}

fn members(all: &[(&str, &[u8])]) -> MemberSpecs {
    let spec = |topics: &[u8]| MemberSpec {
        topics: topics.iter().map(|n| topic(*n)).collect(),
        ..MemberSpec::default()
    };
    all.iter().map(|(id, topics)| ((*id).into(), spec(topics))).collect()
}

fn counts(id: &TopicId) -> PartitionIndex {
    // Topic n has n partitions.
    id.0[15].into()
}

fn sizes(targets: &Targets) -> Vec<usize> {
    targets.values().map(|target| target.values().map(BTreeSet::len).sum()).collect()
}

/// The members once more, with what they are to have.
fn again(members: &MemberSpecs, targets: &Targets) -> MemberSpecs {
    let mut members = members.clone();
    for (id, member) in &mut members {
        member.assigned = targets.get(id).cloned().unwrap_or_default();
    }
    members
}

/// Every partition that somebody wants has one owner, who is subscribed to it.
fn check(members: &MemberSpecs, targets: &Targets) {
    let mut seen = BTreeSet::new();
    for (id, target) in targets {
        for (topic, partitions) in target {
            assert!(members[id].topics.contains(topic), "{id} is not subscribed to {topic:?}");
            for index in partitions {
                assert!((0..counts(topic)).contains(index));
                assert!(seen.insert((*topic, *index)), "{topic:?}-{index} has two owners");
            }
        }
    }
    let wanted: BTreeSet<TopicId> = members.values().flat_map(|member| member.topics.clone()).collect();
    let all: usize = wanted.iter().map(|topic| counts(topic) as usize).sum();
    assert_eq!(seen.len(), all, "partitions without an owner");
}

fn moves(from: &Targets, to: &Targets) -> usize {
    let partitions = |targets: &Targets| -> BTreeSet<(MemberId, TopicId, PartitionIndex)> {
        let of = |(id, target): (&MemberId, &Partitions)| {
            let id = id.clone();
            let pairs: Vec<_> =
                target.iter().flat_map(|(topic, all)| all.iter().map(|index| (*topic, *index))).collect();
            pairs.into_iter().map(move |(topic, index)| (id.clone(), topic, index))
        };
        targets.iter().flat_map(of).collect()
    };
    partitions(to).difference(&partitions(from)).count()
}

#[test]
fn range_gives_stretches_in_the_order_of_the_members() {
    let members = members(&[("a", &[7, 3]), ("b", &[7, 3]), ("c", &[7])]);
    let targets = Assignor::Range.assign(&members, &counts);
    check(&members, &targets);
    let of = |id: &str, n: u8| {
        targets[id].get(&topic(n)).cloned().unwrap_or_default().into_iter().collect::<Vec<_>>()
    };
    assert_eq!((of("a", 7), of("b", 7), of("c", 7)), (vec![0, 1, 2], vec![3, 4], vec![5, 6]));
    assert_eq!((of("a", 3), of("b", 3)), (vec![0, 1], vec![2]));
}

#[test]
fn range_begins_with_static_members() {
    let mut members = members(&[("a", &[2]), ("b", &[2])]);
    members.get_mut("b").unwrap().instance_id = Some("z".into());
    let targets = Assignor::Range.assign(&members, &counts);
    assert_eq!(targets["b"][&topic(2)], BTreeSet::from([0]));
}

#[test]
fn uniform_is_balanced_over_all_topics() {
    let members = members(&[("a", &[7, 4]), ("b", &[7, 4]), ("c", &[7, 4])]);
    let targets = Assignor::Uniform.assign(&members, &counts);
    check(&members, &targets);
    let mut sizes = sizes(&targets);
    sizes.sort_unstable();
    assert_eq!(sizes, [3, 4, 4]);
}

#[test]
fn uniform_keeps_what_it_can_when_a_member_comes_and_goes() {
    let two = members(&[("a", &[9]), ("c", &[9])]);
    let first = Assignor::Uniform.assign(&two, &counts);
    assert_eq!(moves(&first, &Assignor::Uniform.assign(&again(&two, &first), &counts)), 0);
    let three = again(&members(&[("a", &[9]), ("b", &[9]), ("c", &[9])]), &first);
    let second = Assignor::Uniform.assign(&three, &counts);
    check(&three, &second);
    assert_eq!(sizes(&second), [3, 3, 3]);
    assert_eq!(moves(&first, &second), 3, "only what the newcomer gets is moved");
    let gone = again(&two, &second);
    let third = Assignor::Uniform.assign(&gone, &counts);
    check(&gone, &third);
    assert_eq!(moves(&second, &third), 3, "only what the lost one had is moved");
}

#[test]
fn uniform_with_uneven_subscriptions_fills_the_emptiest_subscriber() {
    let members = members(&[("a", &[8]), ("b", &[8, 4]), ("c", &[4])]);
    let targets = Assignor::Uniform.assign(&members, &counts);
    check(&members, &targets);
    assert_eq!(sizes(&targets), [4, 4, 4]);
    assert_eq!(moves(&targets, &Assignor::Uniform.assign(&again(&members, &targets), &counts)), 0);
}

#[test]
fn any_history_of_members_ends_balanced_and_whole() {
    for seed in 0..300u64 {
        let mut state = seed;
        let mut chance = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        let mut group = MemberSpecs::new();
        let mut targets = Targets::new();
        for _ in 0..12 {
            let id: MemberId = format!("m{}", chance(6)).into();
            if chance(3) == 0 {
                group.remove(&id);
            } else {
                let uneven = seed % 2 == 1;
                let topics: BTreeSet<TopicId> =
                    [3u8, 5, 8].into_iter().filter(|_| !uneven || chance(3) > 0).map(topic).collect();
                group.insert(id, MemberSpec { topics, ..MemberSpec::default() });
            }
            group = again(&group, &targets);
            for assignor in Assignor::ALL {
                let given = assignor.assign(&group, &counts);
                check(&group, &given);
                if assignor == Assignor::Uniform {
                    let sizes = sizes(&given);
                    let spread = sizes.iter().max().unwrap_or(&0) - sizes.iter().min().unwrap_or(&0);
                    assert!(seed % 2 == 1 || spread <= 1, "{sizes:?}");
                    targets = given;
                }
            }
        }
    }
}
