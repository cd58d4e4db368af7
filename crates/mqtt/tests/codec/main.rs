//! The codec from outside: every packet there and back in both versions, bytes that nobody meant, and how much memory
//! decoding takes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod hostile;
mod packets;
mod round_trip;
