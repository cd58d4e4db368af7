//! Kafka's messages at every version, generated from Kafka 4.4.0's own schemas; headers, frames and the catalogue of
//! APIs.
//!
//! It does not look into record batches, knows no semantics and does no I/O. Versions end where its messages are
//! handled: what decides has requests of its own. `docs/formats/wire.md` describes the bytes.

mod api;
pub mod catalogue;
mod decoder;
mod encoder;
pub mod error_code;
pub mod frame;
#[allow(missing_docs, unused_imports, unused_variables, reason = "made from schemas, one shape for all")]
#[allow(clippy::field_reassign_with_default, reason = "a field that a version lacks keeps its default")]
mod generated;
pub mod header;
mod message;
#[cfg(any(test, feature = "random"))]
pub mod random;

pub use decoder::{DECODE_BYTES_MIN, DECODE_BYTES_PER_FRAME_BYTE, DecodeError, Decoder};
pub use encoder::{EncodeError, Encoder, RECORDS_COPY_BYTES_MAX, Tag, Tags};
pub use error_code::ErrorCode;
pub use generated::{api_key::ApiKey, *};
pub use message::{Message, Request, Response};

#[cfg(test)]
mod tests;
