//! The consensus of the metadata log: a quorum of controllers that agree on one order of Kafka's metadata records.
//!
//! Entries are record batches in `__cluster_metadata-0`, snapshots are Kafka's checkpoint files; votes and messages are
//! openraft's, behind the trait [`Quorum`]. It does not know what the records mean and opens no sockets: `broker` keeps
//! the image and carries messages. docs/formats/metadata-log.md and docs/formats/quorum-rpc.md list the bytes.

mod checkpoint;
mod compact;
mod config;
mod control_records;
mod discovery_message;
mod entry;
mod member;
mod membership_bytes;
mod metadata_log;
mod peer_message;
mod peers;
mod quorum;
mod raft_quorum;
mod raft_state;
mod runtime;
mod stale;
mod state_machine;
mod store;
mod stream_transport;
#[cfg(test)]
mod tests;
mod type_config;
mod watch;
mod writer;

pub use checkpoint::{Checkpoint, SnapshotId};
pub use config::Config;
pub use discovery_message::{DISCOVERY_VERSION, Inquiry, Introduction, Reply as DiscoveryReply};
pub use entry::{Placed, Proposal};
pub use member::{Endpoint, KRAFT_VERSION, Member, Replica};
pub use peers::Transport;
pub use quorum::{
    ChangeError, Committed, Description, Leadership, Pending, ProposeError, Quorum, ReplicaState,
};
pub use raft_quorum::RaftQuorum;
pub use raft_state::NewerFormat;
pub use stale::Stale;
pub use stream_transport::{Dial, PEER_API, PEER_API_VERSION, StreamTransport};
pub use watch::{Closed, Watched, Watching, watch};
