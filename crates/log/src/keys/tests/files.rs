//! Files of many postings, against a sorted list of them.

use super::super::{
    file::{KeyFile, Place},
    head::{Covers, LastBatch, WHOLE},
    merging::Merging,
    pair::Pair,
    part::Part,
    writer::Name,
};
use super::*;
use crate::handles::Handles;
use proptest::prelude::*;

const COVERS: Covers =
    Covers { base: 0, from: 0, upto: 1 << 31, end: 0, last: LastBatch { position: 0, sum: 0 } };

/// One file of parts that these postings are dealt out to.
fn write(disk: &MemoryDisk, handles: &Handles, pairs: &[Pair], parts: usize) -> KeyFile {
    let dealt = |at| pairs.iter().skip(at).step_by(parts).copied().collect();
    let parts = (0..parts).map(|at| Part::in_memory(COVERS, SEED, dealt(at))).collect();
    let name = Name { from: 0, level: WHOLE, is_cleaned: false, is_temporary: false };
    let mut merging = Merging::begin(disk, handles, parts, (name.clone(), SEED, COVERS)).unwrap();
    let written = loop {
        if let Some(file) = merging.step(disk, handles, 1000).unwrap() {
            break file;
        }
    };
    let read = KeyFile::open(disk, handles, name).unwrap().unwrap();
    assert_eq!(read.head, written.head);
    read
}

fn check(pairs: &[Pair], parts: usize) -> (usize, u64) {
    let (disk, handles) = (MemoryDisk::new(), Handles::new(dir()));
    let file = write(&disk, &handles, pairs, parts);
    let place = Place { disk: &disk, handles: &handles, layout: 0 };
    let mut all = file.all(&disk, &handles).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| all.next_pair(&file).unwrap()).collect();
    assert_eq!(read, pairs);
    for at in (0..pairs.len()).step_by(1 + pairs.len() / 50) {
        let pair = pairs[at];
        for from in [0, pair.delta, pair.delta + 1] {
            let from = Pair { delta: from, ..pair };
            let wanted = pairs.iter().filter(|known| known.term == pair.term && **known >= from);
            let wanted: Vec<_> = wanted.take(700).copied().collect();
            assert_eq!(file.postings(place, from, 700).unwrap(), wanted);
            let before = pairs.iter().rev().find(|known| known.term == pair.term && **known < from);
            assert_eq!(file.newest(place, from).unwrap(), before.copied());
        }
        let other = Pair { term: pair.term ^ 1, delta: 0 };
        let has = pairs.iter().any(|known| known.term == other.term);
        assert_eq!(!file.postings(place, other, 1).unwrap().is_empty(), has);
    }
    (pairs.len(), file.head.bytes)
}

/// Numbers that look random and are the same on every run.
fn mixed(number: u64) -> u64 {
    number
        .wrapping_add(1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn spread(count: u64, terms: u64) -> Vec<Pair> {
    let pair = |at: u64| Pair { term: mixed(mixed(at) % terms) >> 16, delta: at as u32 };
    let mut pairs: Vec<_> = (0..count).map(pair).collect();
    pairs.sort_unstable();
    pairs
}

#[test]
fn files_of_any_size_read_back_and_a_record_takes_less_than_twelve_bytes() {
    for (count, terms) in [(0, 1), (1, 1), (300, 300), (20_000, 1), (20_000, 50), (100_000, 100_000)] {
        let (pairs, bytes) = check(&spread(count, terms), 5);
        assert!(pairs < 10_000 || bytes < 12 * pairs as u64, "{bytes} for {pairs} of {terms}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_file_says_what_its_postings_say(count in 0u64..6000, terms in 1u64..4000, parts in 1usize..6) {
        check(&spread(count, terms), parts);
    }
}
