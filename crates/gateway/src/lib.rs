//! The last mile: topics and keys over HTTP, as streams of the Durable Streams protocol (PROTOCOL.md 1.0).
//!
//! So far what concerns bytes and words alone: requests are read into what they ask for, and answers are written. What a stream
//! may do `mailbox` decides; nothing here listens, reads a log or waits.

mod cursor;
mod json;
mod problem;
mod request;
mod sse;
mod token;

pub use cursor::Cursor;
pub use json::{NotJson, join, split};
pub use problem::Problem;
pub use request::{AppendHead, CreateHead, Forked, Live, Path, Read, Start};
pub use sse::{control, data, data_base64};
pub use token::Token;
