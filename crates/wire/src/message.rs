//! What all messages have in common.
//!
//! The implementations are generated; handlers and clients are written against these traits.

use crate::{ApiKey, DecodeError, Decoder, EncodeError, Encoder};
use bytes::Bytes;
use std::ops::RangeInclusive;
use stdx::Parts;

/// A message or record whose form depends on its version.
pub trait Message: Sized {
    /// The name in Kafka's schemas.
    const NAME: &'static str;
    /// The versions that exist, also those that Kafka does not call stable yet.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482): compact lengths and tagged fields. `i16::MAX` if there is none.
    const FLEXIBLE: i16;

    /// Reads the message. Bytes that follow it are left in the decoder.
    fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError>;

    /// Writes the message. A field that this version lacks is dropped if the schema allows it, an error otherwise.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Tells the client for how long it is held back (KIP-219), if this is a response that can.
    fn set_throttle_time_ms(&mut self, _ms: i32) {}

    /// Reads the message from bytes that hold nothing else, with the default budget; what follows is ignored.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        Self::decode(&mut Decoder::with_default_budget(bytes), version)
    }

    /// Writes the message without a header.
    fn to_parts(&self, version: i16) -> Result<Parts, EncodeError> {
        let mut encoder = Encoder::new();
        self.encode(&mut encoder, version)?;
        Ok(encoder.into_parts())
    }
}

/// The body of a request.
pub trait Request: Message {
    /// Its API.
    const KEY: ApiKey;
    /// The body of the answer.
    type Response: Response;
}

/// The body of a response.
pub trait Response: Message {
    /// Its API.
    const KEY: ApiKey;
}
