//! Bytes that nobody meant: no decoder panics on them, and none takes more memory than they have bytes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::BytesMut;
use mqtt::codec::*;
use mqtt::session::State;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::packets::packet;

/// What decoding may take beyond the bytes: the packet's struct, an error.
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

/// Decodes all that is in the bytes, keeps it, walks what is walked later, and says how much memory the dearest took.
fn peak(bytes: &[u8], version: Version) -> usize {
    let mut buffer = BytesMut::from(bytes);
    let mut dearest = 0;
    loop {
        let before = IN_USE.get();
        PEAK.set(before);
        let came = decode(&mut buffer, 1 << 20, version);
        dearest = dearest.max(PEAK.get() - before);
        match came {
            Ok(Some(packet)) => walk(&packet),
            _ => return dearest,
        }
    }
}

fn walk(packet: &Packet) {
    match packet {
        Packet::Publish(publish) => {
            publish.properties.user_properties.iter().for_each(drop);
            publish.properties.subscription_ids.iter().for_each(|id| assert!(id.get() > 0));
        }
        Packet::Subscribe(subscribe) => assert!(subscribe.filters.iter().count() > 0),
        Packet::Unsubscribe(unsubscribe) => assert!(unsubscribe.filters.iter().count() > 0),
        Packet::Suback(suback) | Packet::Unsuback(suback) => {
            assert!(suback.codes.iter().count() <= suback.codes.len())
        }
        _ => {}
    }
}

fn check(bytes: &[u8]) {
    for version in [Version::V5, Version::V311] {
        let peak = peak(bytes, version);
        assert!(peak <= bytes.len() + SLACK_BYTES, "{peak} bytes for {} bytes", bytes.len());
    }
    let _ = State::decode(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_bytes_are_refused_or_read(bytes in vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn any_body_behind_a_true_header_is_refused_or_read(
        kind in 1..16u8,
        flags in 0..16u8,
        body in vec(any::<u8>(), 0..120),
    ) {
        for flags in [flags, 0, 2] {
            let mut bytes = vec![kind << 4 | flags, body.len() as u8];
            bytes.extend_from_slice(&body);
            check(&bytes);
        }
    }

    #[test]
    fn damaged_packets_are_refused_or_read(
        packet in packet(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = BytesMut::new();
        encode(&packet, Version::V5, usize::MAX, &mut bytes).unwrap();
        check(&bytes[..cut.index(bytes.len())]);
        for (at, with) in damage {
            let at = at.index(bytes.len());
            bytes[at] = with;
            check(&bytes);
        }
    }
}

/// A PUBLISH whose properties are these bytes, again and again.
fn publish_of(properties: &[&[u8]], times: usize) -> Vec<u8> {
    let block = properties.concat().repeat(times);
    let mut body = b"\0\x01t".to_vec();
    varint(block.len(), &mut body);
    body.extend_from_slice(&block);
    let mut bytes = vec![0x30];
    varint(body.len(), &mut bytes);
    bytes.extend_from_slice(&body);
    bytes
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[test]
fn a_hundred_thousand_tiny_properties_take_their_bytes_and_no_more() {
    let (user, id): (&[u8], &[u8]) = (&[0x26, 0, 0, 0, 0], &[0x0B, 1]);
    check(&publish_of(&[user], 100_000));
    check(&publish_of(&[id], 100_000));
    let mixed = publish_of(&[user, id], 100_000);
    check(&mixed);
    let mut buffer = BytesMut::from(&*mixed);
    let Ok(Some(Packet::Publish(publish))) = decode(&mut buffer, 1 << 20, Version::V5) else {
        panic!("no PUBLISH")
    };
    assert_eq!(publish.properties.user_properties.iter().count(), 100_000);
    assert_eq!(publish.properties.subscription_ids.iter().count(), 100_000);
}

#[test]
fn a_length_reserves_nothing() {
    // The largest Remaining Length, the largest property length, the longest text, and nothing behind them.
    check(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
    check(&[0x30, 9, 0, 1, b't', 0xff, 0xff, 0xff, 0x7f, 0x26, 0xff]);
    check(&[0x82, 5, 0, 1, 0, 0xff, 0xff]);
}
