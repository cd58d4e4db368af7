//! The promises of QoS 1 and 2 between two clients, with a server that is two session cores and one log, over links that
//! break and beside a server that crashes: whatever is lost on the way, each message of QoS 1 arrives, in order, and
//! each of QoS 2 arrives once.
//!
//! The world is `world.rs`, what a client does is `client.rs`. It is driven by a seed; a failing one is named and gives
//! the same run again.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod chance;
mod client;
mod world;

use mqtt::codec::{QoS, Version};
use world::{Faults, World};

const MESSAGES: u32 = 120;
const SEEDS: u64 = 40;

fn run(seed: u64, qos: Vec<QoS>, version: Version, faults: Faults) -> World {
    let mut world = World::new(seed, version, faults);
    world.publish((0..MESSAGES).map(|n| (qos[n as usize % qos.len()], n)));
    world.run_until_done();
    world
}

/// What of a sequence comes for the first time.
fn firsts(all: &[u32]) -> Vec<u32> {
    let mut seen = std::collections::BTreeSet::new();
    all.iter().copied().filter(|n| seen.insert(*n)).collect()
}

fn check(seed: u64, qos: QoS, version: Version, faults: Faults) {
    let world = run(seed, vec![qos], version, faults);
    let sent: Vec<u32> = (0..MESSAGES).collect();
    match qos {
        QoS::ExactlyOnce => {
            assert_eq!(world.logged(), sent, "seed {seed}: the log has each once, in order");
            assert_eq!(world.got(), sent, "seed {seed}: the subscriber has each once, in order");
        }
        _ => {
            assert_eq!(firsts(&world.logged()), sent, "seed {seed}: the log lacks some, or their order");
            assert_eq!(firsts(&world.got()), sent, "seed {seed}: the subscriber lacks some, or their order");
        }
    }
}

const QUIET: Faults = Faults { loses_link: false, crashes: false, forgets_sequences: false };
const LOSSY: Faults = Faults { loses_link: true, ..QUIET };
const CRASHING: Faults = Faults { crashes: true, ..LOSSY };

#[test]
fn without_faults_nothing_comes_twice() {
    for version in [Version::V5, Version::V311] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let world = run(1, vec![qos], version, QUIET);
            let sent: Vec<u32> = (0..MESSAGES).collect();
            assert_eq!((world.logged(), world.got()), (sent.clone(), sent));
        }
    }
}

#[test]
fn qos_1_arrives_in_order_over_links_that_break() {
    (0..SEEDS).for_each(|seed| check(seed, QoS::AtLeastOnce, Version::V5, LOSSY));
}

#[test]
fn qos_2_arrives_once_over_links_that_break() {
    (0..SEEDS).for_each(|seed| check(seed, QoS::ExactlyOnce, Version::V5, LOSSY));
}

#[test]
fn qos_1_arrives_in_order_though_the_server_crashes() {
    (0..SEEDS).for_each(|seed| check(seed, QoS::AtLeastOnce, Version::V5, CRASHING));
}

#[test]
fn qos_2_arrives_once_though_the_server_crashes() {
    (0..SEEDS).for_each(|seed| check(seed, QoS::ExactlyOnce, Version::V5, CRASHING));
}

#[test]
fn clients_of_3_1_1_have_the_same_promises() {
    for seed in 0..SEEDS / 2 {
        check(seed, QoS::AtLeastOnce, Version::V311, CRASHING);
        check(seed, QoS::ExactlyOnce, Version::V311, CRASHING);
    }
}

#[test]
fn messages_of_all_qualities_keep_the_promises_of_each() {
    for seed in 0..SEEDS {
        let all = vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
        let world = run(seed, all, Version::V5, LOSSY);
        let of = |remainder: u32, all: Vec<u32>| {
            all.into_iter().filter(|n| n % 3 == remainder).collect::<Vec<_>>()
        };
        let sent = |remainder| of(remainder, (0..MESSAGES).collect());
        let qos_0 = of(0, world.got());
        assert_eq!(firsts(&qos_0), qos_0, "seed {seed}: QoS 0 comes at most once");
        assert_eq!(firsts(&of(1, world.got())), sent(1), "seed {seed}: QoS 1");
        assert_eq!(of(2, world.got()), sent(2), "seed {seed}: QoS 2");
    }
}

#[test]
fn one_seed_twice_is_one_run() {
    let trace = |seed| run(seed, vec![QoS::ExactlyOnce], Version::V5, CRASHING).trace;
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

/// The check is worth something: where the log does not know sequences, a crash doubles messages, and it is seen.
#[test]
fn a_log_that_forgets_sequences_doubles_messages() {
    let forgetful = Faults { forgets_sequences: true, ..CRASHING };
    let doubled =
        |seed| run(seed, vec![QoS::ExactlyOnce], Version::V5, forgetful).logged().len() > MESSAGES as usize;
    assert!((0..SEEDS).any(doubled));
}
