//! The simulator can be trusted: one seed is one run, byte for byte, and the seeds of a quick round find nothing.

use sim::{Keep, Options};

#[test]
fn one_seed_twice_gives_the_same_trace_byte_for_byte() {
    let run =
        || sim::run(7, Options { nodes: 1, draw: false, keep: Keep::All, plant: None, only: None }).unwrap();
    let (first, second) = (run(), run());
    let parted = first.lines.iter().zip(&second.lines).position(|(a, b)| a != b);
    assert_eq!(parted.map(|index| (&first.lines[index], &second.lines[index])), None);
    assert_eq!((first.lines.len(), first.digest), (second.lines.len(), second.digest));
    assert!(first.lines.len() > 1000);
}

#[test]
fn two_seeds_give_two_traces() {
    let run = |seed| {
        sim::run(seed, Options { nodes: 1, draw: false, keep: Keep::Recent, plant: None, only: None })
            .unwrap()
    };
    assert_ne!(run(1).digest, run(2).digest);
}

#[test]
fn ten_seeds_find_nothing_and_much_has_happened() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 1..=10 {
        let report =
            sim::run(seed, Options { nodes: 1, draw: false, keep: Keep::Recent, plant: None, only: None })
                .unwrap();
        assert_eq!(report.violations, [], "seed {seed}");
        report.counts.iter().for_each(|(what, count)| *counts.entry(*what).or_insert(0) += count);
    }
    let needed = [
        "batches acknowledged",
        "reads",
        "commits",
        "assignments",
        "topic changes",
        "power cuts",
        "kills",
        "stops",
        "share deliveries",
        "share acknowledgements",
        "share partitions drained",
    ];
    for what in needed {
        assert!(counts.get(what).is_some_and(|count| *count > 5), "{what}: {counts:?}");
    }
}
