//! No decoder panics on bytes that nobody meant, and none takes more memory than its budget allows.
//!
//! Every message at every version is fed frames that Kafka's classes made, cut off, changed, and with every length
//! blown up; an allocator counts. What must come out is not judged: an error or some value.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use bytes::Bytes;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
};
use wire::{DECODE_BYTES_PER_FRAME_BYTE, Decoder, Message, every_message};

const GOLDEN: &str = include_str!("golden.txt");

/// What a decoder may take beyond its budget: small fixed things, such as the error.
const SLACK_BYTES: usize = 1024;

thread_local! {
    static IN_USE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread holds.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// Only a global allocator sees every allocation, and its trait is unsafe. Both methods hand their arguments to the
// system's allocator unchanged, so its contract is kept if the caller keeps it.
#[allow(unsafe_code, reason = "GlobalAlloc cannot be implemented otherwise")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.get() + layout.size();
        IN_USE.set(in_use);
        PEAK.set(PEAK.get().max(in_use));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.set(IN_USE.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Decodes and says how much memory that took at its peak. The budget is the frame's multiple alone, without the
/// minimum that hides it for small frames.
fn peak<M: Message>(frame: &[u8], version: i16) -> usize {
    let budget = frame.len() * DECODE_BYTES_PER_FRAME_BYTE;
    let frame = Bytes::copy_from_slice(frame);
    let before = IN_USE.get();
    PEAK.set(before);
    let decoded = M::decode(&mut Decoder::new(frame, budget), version);
    let peak = PEAK.get() - before;
    drop(decoded);
    assert_eq!(IN_USE.get().saturating_sub(before), 0, "{} {version} leaks", M::NAME);
    peak
}

fn feed<M: Message>(frame: &[u8], version: i16) {
    let allowed = frame.len() * DECODE_BYTES_PER_FRAME_BYTE + SLACK_BYTES;
    let peak = peak::<M>(frame, version);
    assert!(peak <= allowed, "{} {version}: {peak} bytes for {} bytes", M::NAME, frame.len());
}

/// Frames of one message by version.
type Frames = BTreeMap<i16, Vec<Vec<u8>>>;

fn frames() -> BTreeMap<&'static str, Frames> {
    let mut frames: BTreeMap<_, Frames> = BTreeMap::new();
    for line in GOLDEN.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let ["default" | "full" | "null", name, version, digits] = words[..] else { continue };
        let digits = digits.trim_start_matches('-').as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let of_message = frames.entry(name).or_default();
        of_message.entry(version.parse().unwrap()).or_default().push(digits.chunks(2).map(byte).collect());
    }
    frames
}

fn cut_and_change<M: Message>(frames: &BTreeMap<&str, Frames>) {
    for (version, of_version) in &frames[M::NAME] {
        for frame in of_version {
            let step = frame.len().div_ceil(200).max(1);
            for end in (0..frame.len()).step_by(step) {
                feed::<M>(&frame[..end], *version);
            }
            for at in (0..frame.len()).step_by(step) {
                for byte in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut changed = frame.clone();
                    changed[at] = byte;
                    feed::<M>(&changed, *version);
                }
            }
        }
    }
}

/// At each byte of a frame, a length that claims everything that follows, in both forms, and many bytes that follow.
fn blow_up<M: Message>(frames: &BTreeMap<&str, Frames>, following: usize) {
    for (version, of_version) in &frames[M::NAME] {
        let frame = of_version.iter().max_by_key(|frame| frame.len()).unwrap();
        let step = frame.len().div_ceil(64).max(1);
        for at in (0..frame.len()).step_by(step) {
            for fill in [0, 1] {
                for lengths in [&(following as i32).to_be_bytes()[..], &compact(following)] {
                    let mut blown = frame[..at].to_vec();
                    blown.extend_from_slice(lengths);
                    blown.resize(at + following, fill);
                    feed::<M>(&blown, *version);
                }
            }
        }
    }
}

fn compact(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

macro_rules! for_all {
    ($($message:ty,)*) => {
        fn cut_and_change_all(frames: &BTreeMap<&str, Frames>) { $(cut_and_change::<$message>(frames);)* }
        fn blow_up_all(frames: &BTreeMap<&str, Frames>, following: usize) {
            $(blow_up::<$message>(frames, following);)*
        }
    };
}
every_message!(for_all);

#[test]
fn frames_that_are_cut_or_changed_give_an_error_or_a_value_within_the_budget() {
    cut_and_change_all(&frames());
}

#[test]
fn frames_whose_lengths_claim_all_that_follows_stay_within_the_budget() {
    blow_up_all(&frames(), 2048);
}

#[test]
fn a_large_frame_of_the_smallest_elements_stops_at_the_budget() {
    // One array of 4 MiB of empty names: an element takes 1 byte in the frame and 24 in memory.
    let elements = 4 << 20;
    let mut frame = compact(elements + 1);
    frame.resize(frame.len() + elements, 1);
    let peak = peak::<wire::DeleteTopicsRequest>(&frame, 5);
    assert!(peak <= SLACK_BYTES, "{peak} bytes were taken before the budget was asked");
}

#[test]
fn the_allocator_counts() {
    PEAK.set(IN_USE.get());
    let before = IN_USE.get();
    drop(vec![0u8; 1 << 20]);
    assert_eq!((PEAK.get() - before, IN_USE.get()), (1 << 20, before));
}
