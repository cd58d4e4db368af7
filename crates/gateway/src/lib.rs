//! The last mile: topics and keys over HTTP, as streams of the Durable Streams protocol (PROTOCOL.md 1.0).
//!
//! Whole requests are answered here. What a stream may do `mailbox` decides where the stream lies, which [`Mailboxes`] reaches;
//! whoever listens hands requests over. Nothing here opens a socket or a log.

mod addresses;
mod base64;
mod bearer;
mod bell;
mod caller;
mod cloud_event;
mod cors;
mod cursor;
mod form;
mod hosts;
mod json;
mod mailboxes;
mod many;
mod origins;
mod positions;
mod problem;
mod rates;
mod request;
mod screen;
mod serve;
mod sse;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod token;
mod topics;

pub use addresses::{Place, Proxies};
pub use bearer::Bearer;
pub use bell::{Bell, Bells, Hook};
pub use caller::{Allowed, Author, Caller, Verb};
pub use hosts::Hosts;
pub use json::{NotJson, split};
pub use mailboxes::{
    Address, Chunk, Denied, From, Latest, Mailboxes, NewRecords, NewStream, Reach, Standing, Taken,
};
pub use many::{Asked, Many, Peers, Rest};
pub use origins::{Origins, Page};
pub use problem::Problem;
pub use rates::{Quota, Rate, Rates};
pub use screen::Screen;
pub use serve::{Answer, EventShape, FORWARDED, FORWARDED_PROTO, Follow, Sent, Service, refusal};
pub use token::Token;
pub use topics::{NewRecord, Records, Shape, Topics};
