//! What is encoded is decoded again, at once or byte by byte, and stays within what its receiver takes.

use bytes::BytesMut;
use mqtt::codec::*;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::packets::{in_v311, packet};

const MAX: usize = usize::MAX;

fn encoded(packet: &Packet, version: Version) -> BytesMut {
    let mut out = BytesMut::new();
    encode(packet, version, MAX, &mut out).unwrap();
    out
}

/// What a decoder gives for bytes that come in these pieces, up to the first error.
fn fed(bytes: &[u8], piece: usize, max: usize, version: Version) -> Vec<Result<Packet, Error>> {
    let (mut buffer, mut given) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer, max, version) {
                Ok(Some(packet)) => given.push(Ok(packet)),
                Ok(None) => break,
                Err(error) => {
                    given.push(Err(error));
                    return given;
                }
            }
        }
    }
    given
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_packet_of_5_0_comes_back_as_it_was(packet in packet()) {
        let mut bytes = encoded(&packet, Version::V5);
        prop_assert_eq!(bytes.len(), encoded_len(&packet, Version::V5));
        let came = decode(&mut bytes, MAX, Version::V5);
        prop_assert_eq!(came, Ok(Some(packet)));
        prop_assert!(bytes.is_empty());
    }

    #[test]
    fn a_packet_of_3_1_1_comes_back_with_what_that_version_says(packet in packet()) {
        let mut out = BytesMut::new();
        match in_v311(packet.clone()) {
            None if packet.packet_type() != PacketType::Publish => {
                let refused = encode(&packet, Version::V311, MAX, &mut out);
                prop_assert_eq!(refused, Err(Unencodable::NotInVersion(packet.packet_type())));
                prop_assert!(out.is_empty());
            }
            None => {}
            Some(expected) => {
                // A CONNECT says its own version.
                let packet = if packet.packet_type() == PacketType::Connect { expected.clone() } else { packet };
                encode(&packet, Version::V311, MAX, &mut out).unwrap();
                prop_assert_eq!(decode(&mut out, MAX, Version::V311), Ok(Some(expected)));
            }
        }
    }

    #[test]
    fn what_comes_byte_by_byte_is_what_comes_at_once(
        packets in vec(packet(), 1..4),
        (at, with) in (any::<prop::sample::Index>(), any::<u8>()),
        is_damaged in any::<bool>(),
        max in prop_oneof![Just(MAX), 1..200usize],
        version in prop_oneof![Just(Version::V5), Just(Version::V311)],
    ) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| bytes.unsplit(encoded(packet, Version::V5)));
        if is_damaged {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let whole = fed(&bytes, bytes.len(), max, version);
        prop_assert_eq!(fed(&bytes, 1, max, version), whole.clone());
        prop_assert_eq!(fed(&bytes, 3, max, version), whole);
    }

    #[test]
    fn no_packet_is_larger_than_its_receiver_takes(packet in packet(), max in 2..120usize) {
        let mut out = BytesMut::from(&b"before"[..]);
        match encode(&packet, Version::V5, max, &mut out) {
            Ok(()) => {
                let mut bytes = out.split_off(6);
                prop_assert!(bytes.len() <= max);
                let came = decode(&mut bytes, max, Version::V5).unwrap().unwrap();
                if came != packet {
                    prop_assert!(encoded_len(&packet, Version::V5) > max, "nothing is left out without need");
                    prop_assert_eq!(Some(came), trim(&packet, Version::V5, max));
                }
            }
            Err(Unencodable::TooLarge { bytes, max: limit, .. }) => {
                prop_assert!(bytes > limit && limit == max);
                prop_assert_eq!(trim(&packet, Version::V5, max), None);
            }
            Err(error) => panic!("{error}"),
        }
        prop_assert_eq!(&out[..6], b"before", "what was there stays");
    }
}
