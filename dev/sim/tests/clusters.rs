//! The simulator of clusters can be trusted: one seed is one run, byte for byte; the seeds of a quick round find nothing;
//! and each bug that is planted among nodes is found within a hundred seeds by the check that docs/invariants.md names.

use sim::{Keep, Options, Plant};

/// Within so many seeds a planted bug is found; most are found by the first ones.
const SEEDS: u64 = 100;

fn options(nodes: i32, keep: Keep) -> Options {
    Options { nodes, draw: false, keep, plant: None, only: None }
}

#[track_caller]
fn check(plant: Plant, expected: &'static str) {
    let options = Options { plant: Some(plant), only: Some(expected), ..options(3, Keep::Recent) };
    let is_found = |seed| sim::run(seed, options).is_ok_and(|report| !report.violations.is_empty());
    assert!((1..=SEEDS).any(is_found), "{plant:?} was not found by {expected} in {SEEDS} seeds");
}

#[test]
fn one_seed_of_a_cluster_twice_gives_the_same_trace_byte_for_byte() {
    for nodes in [3, 5] {
        let run = || sim::run(7, options(nodes, Keep::All)).unwrap();
        let (first, second) = (run(), run());
        let parted = first.lines.iter().zip(&second.lines).position(|(a, b)| a != b);
        assert_eq!(parted.map(|index| (&first.lines[index], &second.lines[index])), None);
        assert_eq!((first.lines.len(), first.digest), (second.lines.len(), second.digest));
        assert!(first.lines.len() > 1000);
    }
}

#[test]
fn a_drawn_run_is_the_same_run() {
    let drawn = sim::run(7, Options { draw: true, ..options(3, Keep::Recent) }).unwrap();
    assert_eq!(drawn.digest, sim::run(7, options(3, Keep::Recent)).unwrap().digest);
    assert!(drawn.drawing.len() > 20);
}

#[test]
fn some_seeds_of_clusters_find_nothing_and_much_has_happened() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 1..=6 {
        let report = sim::run(seed, options(if seed % 3 == 0 { 5 } else { 3 }, Keep::Recent)).unwrap();
        assert_eq!(report.violations, [], "seed {seed}");
        report.counts.iter().for_each(|(what, count)| *counts.entry(*what).or_insert(0) += count);
    }
    let needed = [
        "batches acknowledged",
        "acknowledgements whose copies were counted",
        "reads",
        "commits",
        "assignments",
        "metadata seen",
        "replicas read",
        "power cuts",
        "kills",
        "stops",
        "damages",
    ];
    for what in needed {
        assert!(counts.get(what).is_some_and(|count| *count > 5), "{what}: {counts:?}");
    }
}

#[test]
fn an_acknowledgement_before_the_sync_is_noticed() {
    check(Plant::SyncIgnored, "copies");
}

#[test]
fn a_follower_that_cuts_its_log_at_the_high_watermark_is_noticed() {
    check(Plant::CutToHighWatermark, "copies");
}

#[test]
fn a_vote_that_is_forgotten_is_noticed() {
    // Who has lost its vote stands behind its own log, and nobody can be elected any more.
    check(Plant::VoteForgotten, "availability");
}

#[test]
fn in_sync_replicas_that_shrink_without_the_controller_are_noticed() {
    // What a leader believes of the replicas in sync and what the controller knows part for good, and are never equal again.
    check(Plant::IsrShrunkAlone, "availability");
}

#[test]
fn a_damaged_replica_of_which_the_controller_never_hears_is_noticed() {
    check(Plant::LossUntold, "repair");
}
