//! Why this program cannot go by the metadata of its cluster: they say what only another version of it can read or keep.
//!
//! Neither waiting nor reading again helps, and nothing is damaged: the node ends with what to do. `follower` finds it out,
//! `start` and whoever runs the node hear of it.

use metadata::features;
use model::Offset;

/// See the head of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// A level of a feature is in force that it cannot work with.
    #[error(transparent)]
    Feature(#[from] features::Unsupported),
    /// A record of a type that it does not know.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error(
        "the metadata record at offset {offset} is of type {kind}, which this program does not know; start the program that \
         wrote it, a newer version of this one or Apache Kafka, on this data"
    )]
    Type { offset: Offset, kind: u32 },
    /// A record of a version that it does not know.
    #[allow(missing_docs, reason = "the fields are the words of the message")]
    #[error(
        "the metadata record at offset {offset} has version {version} of {what}, of which this program reads {min} to {max}; \
         start the newer program that wrote it on this data"
    )]
    Version { offset: Offset, what: String, version: u32, min: i16, max: i16 },
    /// A file of the metadata log of a format that it does not know.
    #[error("{0}; start that one on this data")]
    File(String),
}
