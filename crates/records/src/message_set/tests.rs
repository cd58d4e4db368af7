use super::*;
use crate::{Compression, compress};

fn message(
    offset: i64,
    magic: i8,
    attributes: u8,
    timestamp: i64,
    key: Option<&[u8]>,
    value: &[u8],
) -> Vec<u8> {
    let mut content = vec![magic as u8, attributes];
    if magic == 1 {
        content.extend_from_slice(&timestamp.to_be_bytes());
    }
    match key {
        None => content.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(key) => {
            content.extend_from_slice(&(key.len() as i32).to_be_bytes());
            content.extend_from_slice(key);
        }
    }
    content.extend_from_slice(&(value.len() as i32).to_be_bytes());
    content.extend_from_slice(value);
    let len = content.len() as i32 + 4;
    [&offset.to_be_bytes()[..], &len.to_be_bytes(), &stdx::crc32(&content).to_be_bytes(), &content].concat()
}

fn records(bytes: Vec<u8>) -> Result<Vec<(i64, i64, Vec<u8>)>, MessageSetError> {
    let mut bytes = Bytes::from(bytes);
    let mut all = Vec::new();
    while !bytes.is_empty() {
        for record in Message::split_off(&mut bytes)?.records(1 << 20, &mut Decompressor::new())? {
            all.push((record.offset, record.timestamp, record.value.unwrap_or_default().to_vec()));
        }
    }
    Ok(all)
}

fn wrapped(magic: i8, codec: Codec, attributes: u8, inner_from: i64) -> Vec<u8> {
    let inner = [
        message(inner_from, magic, 0, 100, None, b"a"),
        message(inner_from + 1, magic, 0, 101, Some(b"k"), b"b"),
    ]
    .concat();
    let mut small = Vec::new();
    compress(Compression::from(codec), &inner, &mut small).unwrap();
    message(21, magic, codec.id() | attributes, 500, None, &small)
}

#[test]
fn plain_messages_of_both_formats_are_read() {
    let bytes = [message(4, 0, 0, 0, None, b"old"), message(5, 1, 0, 77, Some(b"k"), b"new")].concat();
    assert_eq!(records(bytes).unwrap(), [(4, -1, b"old".to_vec()), (5, 77, b"new".to_vec())]);
}

#[test]
fn wrapped_messages_have_absolute_offsets_in_v0_and_relative_ones_in_v1() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
        let v1 = records(wrapped(1, codec, 0, 0)).unwrap();
        assert_eq!(v1, [(20, 100, b"a".to_vec()), (21, 101, b"b".to_vec())], "{codec}");
        let v0 = records(wrapped(0, codec, 0, 20)).unwrap();
        assert_eq!(v0, [(20, -1, b"a".to_vec()), (21, -1, b"b".to_vec())], "{codec}");
    }
}

#[test]
fn the_brokers_time_of_a_wrapper_goes_for_all_that_it_wraps() {
    let times: Vec<_> = records(wrapped(1, Codec::Gzip, 8, 0)).unwrap().iter().map(|r| r.1).collect();
    assert_eq!(times, [500, 500]);
}

#[test]
fn a_flipped_bit_is_found() {
    for bit in 16 * 8..40 * 8 {
        let mut bytes = message(4, 1, 0, 0, None, b"some value");
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(records(bytes).is_err(), "bit {bit}");
    }
}
