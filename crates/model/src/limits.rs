//! Every limit of the house, with the reasons and what must hold between them.
//!
//! Limits that an operator may change are configuration with these as bounds or defaults; the others are fixed.

/// A topic name's bytes: a partition's directory name (topic, '-', index, suffix) must fit into 255.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// A frame before the connection has shown by an ApiVersions request that a Kafka client is behind it. Clients send
/// ApiVersions, SaslHandshake or a small Metadata request first.
pub const FRAME_BYTES_MAX_BEFORE_HELLO: usize = 64 * 1024;

/// Memory that decoding one request may take beyond the frame itself, as a multiple of the frame.
pub const DECODE_BYTES_PER_FRAME_BYTE: usize = 8;

/// What every request may take while it is decoded, however small its frame.
pub const DECODE_BYTES_MIN: usize = 1024 * 1024;

/// ... and what no request may exceed, however large its frame: the largest requests are produced batches, whose bytes
/// are not copied.
pub const DECODE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Requests of one connection that wait for their answers at the same time.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4096;

/// A batch below this size is copied out of its frame, so that no small record pins a large buffer.
pub const TAIL_COPY_BYTES_MAX: usize = 8 * 1024;

/// Sessions of incremental fetches (KIP-227) kept at once.
pub const FETCH_SESSIONS_MAX: usize = 1000;

/// Batches of one idempotent producer that are remembered per partition to recognise a repetition (KIP-98).
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// Length of a group id, member id or similar text in a request that is kept in memory or written down.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

const _: () = assert!(DECODE_BYTES_MIN >= FRAME_BYTES_MAX_BEFORE_HELLO * DECODE_BYTES_PER_FRAME_BYTE);
const _: () = assert!(DECODE_BYTES_MAX > DECODE_BYTES_MIN);
