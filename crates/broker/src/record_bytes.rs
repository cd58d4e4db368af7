//! Keys and values of internal topics: a message of Kafka's behind two bytes that say its kind or its version.
//!
//! It knows no message; `group_records`, `consumer_records` and `transaction_records` do.

use bytes::{BufMut, Bytes, BytesMut};
use wire::{Decoder, Encoder, Message};

/// The version in front, and what is behind it.
pub(crate) fn split(bytes: &Bytes) -> Option<(i16, Bytes)> {
    let (version, _) = bytes.split_first_chunk::<2>()?;
    Some((i16::from_be_bytes(*version), bytes.slice(2..)))
}

/// A message without its version.
pub(crate) fn read<T: Message>(body: Bytes, version: i16) -> Option<T> {
    T::decode(&mut Decoder::with_default_budget(body), version).ok()
}

/// A message behind `kind`.
pub(crate) fn write<T: Message>(kind: i16, version: i16, message: &T) -> Bytes {
    let mut encoder = Encoder::new();
    let encoded = message.encode(&mut encoder, version).ok().and_then(|()| encoder.into_bytes());
    debug_assert!(encoded.is_some(), "records are built for the version they are written in");
    let encoded = encoded.unwrap_or_default();
    let mut out = BytesMut::with_capacity(2 + encoded.len());
    out.put_i16(kind);
    out.extend_from_slice(&encoded);
    out.freeze()
}
