//! Record batches: the unit in which records are produced, stored, replicated and fetched.
//!
//! It reads, judges, walks, builds, compresses and decompresses batches in memory; it knows no files, no partitions
//! and no requests. `log` stores batches, `broker` lets producers' batches be checked, `client` builds them.

mod batch;
mod batch_header;
mod builder;
mod check;
mod codec;
mod compress;
mod control;
mod decompress;
mod filter;
mod lz4;
mod message_set;
mod record;
mod snappy;
mod walk;

pub use batch::Batch;
pub use batch_header::{
    Attributes, BatchHeader, CRC_COVERS_FROM, ENTRY_BYTES, Entry, HEADER_BYTES, LOG_OVERHEAD, MAGIC_V2,
    TimestampType, sequence_after, sequence_before,
};
pub use builder::BatchBuilder;
pub use check::{Budget, Checked, Fault, FaultKind, Glance, Invalid, Rules, Stamped, Unchecked, check};
pub use codec::{Codec, Compression};
pub use compress::compress;
pub use control::{ControlType, EndTxnMarker};
pub use decompress::Decompressor;
pub use filter::{Filter, RecordView};
pub use message_set::{Message, MessageSetError};
pub use record::{Header, Record, RecordError};
pub use walk::{RecordHead, WalkError, walk};
