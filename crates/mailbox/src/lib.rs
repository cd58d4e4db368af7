//! A Kafka key as a mailbox: one stream of the Durable Streams protocol (PROTOCOL.md 1.0), whose records are those of the key.
//!
//! It is a core: the leader of the key's partition asks what a request may do and writes down, with the records and in the same
//! batch, what changes. What is known of a mailbox ([`Life`]) and of one of its producers ([`Producer`]) is small, each by itself,
//! and lies in the log beside the records, so that state and records cannot come apart and a new leader has both. It knows
//! nothing of HTTP, of partitions, and of where the log keeps which bytes.

mod bytes;
mod decide;
pub mod headers;
mod life;
mod producer;

pub use bytes::Malformed;
pub use decide::{
    Append, Appended, Create, Created, Fork, Refusal, append, create, delete, release, retain, touch,
};
pub use life::{ForkId, Life, Lifetime, Origin, Place, media_type};
pub use producer::{Producer, Sent};

/// Bounds on what a client may make a leader keep.
pub mod limits {
    /// Of a content type, in bytes.
    pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
    /// Of a `Stream-Seq`, in bytes.
    pub const SEQ_BYTES_MAX: usize = 255;
    /// Of a `Producer-Id`, in bytes.
    pub const PRODUCER_ID_BYTES_MAX: usize = 255;
    /// Of the path of a fork's source, in bytes.
    pub const PATH_BYTES_MAX: usize = 2048;
    /// Of the text of an expiry time, in bytes.
    pub const EXPIRY_BYTES_MAX: usize = 64;
    /// How many forks deep a mailbox may be: what four digits hold.
    pub const GENERATION_MAX: u16 = 9999;
    /// Forks of one mailbox.
    pub const FORKS_MAX: usize = 1024;
    /// The highest epoch and sequence of a producer: what JavaScript's numbers hold.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;
}
