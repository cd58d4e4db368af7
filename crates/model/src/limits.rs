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
/// are not copied. A hundred thousand partitions of a fetch take half of it.
pub const DECODE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A frame of a request without records. `socket.request.max.bytes` is there for produced batches; what only names
/// topics, partitions and members gets along with this, and the handlers' answers stay in proportion to it.
pub const FRAME_BYTES_MAX_WITHOUT_RECORDS: usize = 16 * 1024 * 1024;

/// A frame above this size is read only with a share of the node's budget for such frames.
pub const LARGE_FRAME_BYTES: usize = 2 * 1024 * 1024;

/// The node's budget for large frames that are being read, where `queued.max.request.bytes` gives none: all of them together take no more memory than this, or than
/// one frame of `socket.request.max.bytes` if that is more.
pub const LARGE_FRAMES_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How long a connection may take to send a large frame: nobody keeps a share of the budget from others by sending
/// slowly. Clients give a request up after 30 to 60 seconds.
pub const LARGE_FRAME_MS_MAX: i64 = 60_000;

/// Bytes of records, compressed or plain, that a connection may have read in checking them before others get their turn
/// on the same thread: a few milliseconds. A request that takes more is checked by workers.
pub const CHECKED_BYTES_PER_TURN: u64 = 4 * 1024 * 1024;

/// How long the check of one request may take. A frame of batches that each stand for a thousand times their bytes would
/// keep workers, and its share of the memory for large frames, for minutes.
pub const CHECK_MS_MAX: i64 = 60_000;

/// How long a peer that has ended its side of a connection, or has sent nonsense, may wait for the answers that it is
/// owed. Most have gone and wait for nothing, which cannot be seen.
pub const ANSWER_AFTER_END_MS_MAX: i64 = 10_000;

/// An answer is written in runs of so many bytes. A connection whose peer does not take one of them within
/// `connections.max.idle.ms` is closed; a run is large enough that cutting costs nothing.
pub const WRITE_BYTES_AT_ONCE: usize = 1024 * 1024;

/// A batch that is smaller than its frame by this factor or more is copied out of it when it is kept: what a tail holds
/// pins at most this multiple of its bytes.
pub const FRAME_BYTES_PER_BATCH_BYTE_MAX: usize = 8;

/// Requests of one connection that wait for their answers at the same time.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 4096;

/// A batch below this size is copied out of its frame, so that no small record pins a large buffer.
pub const TAIL_COPY_BYTES_MAX: usize = 8 * 1024;

/// Sessions of incremental fetches (KIP-227) kept at once.
pub const FETCH_SESSIONS_MAX: usize = 1000;

/// ... and partitions in all of them together, where a name of more than 255 bytes counts for several. A partition takes
/// about 250 bytes, so all take some 64 MiB. A reader whose session has no room is served without one.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 256 * 1024;

/// Partitions in one share session (KIP-932): more than a broker leads in any cluster that is run well. A session that asks
/// for more ends, and its member is told SHARE_SESSION_LIMIT_REACHED.
pub const SHARE_SESSION_PARTITIONS_MAX: usize = 16 * 1024;

/// Batches of one idempotent producer that are remembered per partition to recognise a repetition (KIP-98).
pub const PRODUCER_BATCHES_REMEMBERED: usize = 5;

/// Clients that are measured by themselves for one kind of quota. Each takes some 400 bytes and its name; those that come
/// when there are so many, none of them idle, are measured together.
pub const QUOTA_SENSORS_MAX: usize = 16 * 1024;

/// ... and bytes of their names, all together: a client chooses its id.
pub const QUOTA_NAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Client instances whose telemetry is kept (KIP-714), as many as in Kafka. Each takes up to 2 KiB beside its values.
pub const TELEMETRY_INSTANCES_MAX: usize = 16 * 1024;

/// ... values of each of them; Kafka's own clients have some hundred.
pub const TELEMETRY_SERIES_MAX: usize = 1024;

/// ... and bytes that all values take, with their names and labels.
pub const TELEMETRY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Tasks of one streams group: an assignment looks at all of them, and a small request can name many subtopologies of wide
/// topics. Large applications have some ten thousand. With two standbys of each their assignment to one member still fits
/// into a batch of a megabyte.
pub const STREAMS_TASKS_MAX: usize = 30_000;

/// Subtopologies of one streams group: how many partitions their topics have follows from each other's.
pub const STREAMS_SUBTOPOLOGIES_MAX: usize = 1_000;

/// Topics that the subtopologies of one streams group name, with their copartition groups, each as often as it is named.
pub const STREAMS_TOPICS_MAX: usize = 10_000;

/// The description of a topology that is kept of a streams group; a node takes some 200 bytes.
pub const STREAMS_DESCRIPTION_BYTES_MAX: usize = 256 * 1024;

/// Replicas that are not made yet and of which a directory was named (AlterReplicaLogDirs); some 300 bytes each.
pub const WISHED_LOG_DIRS_MAX: usize = 10_000;

/// Postings of key indexes that are not in files yet, in the whole node: above it those partitions that have the most of them write
/// theirs to the disk.
pub const KEY_INDEX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What is known of streams of keys and of their producers without a look into the log, for the whole broker.
pub const MAILBOX_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Reads of a mebibyte in which a partition is looked through for one key where its index does not help: more would keep a lane from
/// others for minutes.
pub const MAILBOX_SCAN_READS_MAX: usize = 1024;

/// Reads for streams of keys at the same time, for the whole broker: each holds a mebibyte, or one batch, until it is looked into.
pub const MAILBOX_READS_MAX: usize = 32;

/// Records that came since the desk of a partition looked last: where there are more, it forgets what it knows instead.
pub const MAILBOX_CATCH_UP_RECORDS_MAX: i64 = 100_000;

/// Keys of one partition whose newest records were seen and are not visible yet, for those that wait for them. Where there are more,
/// all are woken.
pub const MAILBOX_TOUCHED_MAX: usize = 16 * 1024;

/// Records in one answer, however small they are.
pub const MAILBOX_RECORDS_MAX: usize = 8 * 1024;

/// Length of a group id, member id or similar text in a request that is kept in memory or written down.
pub const TEXT_BYTES_MAX: usize = i16::MAX as usize;

const _: () = assert!(DECODE_BYTES_MIN >= FRAME_BYTES_MAX_BEFORE_HELLO * DECODE_BYTES_PER_FRAME_BYTE);
const _: () = assert!(DECODE_BYTES_MAX > DECODE_BYTES_MIN);
const _: () = assert!(FRAME_BYTES_MAX_BEFORE_HELLO < FRAME_BYTES_MAX_WITHOUT_RECORDS);
const _: () = assert!(FRAME_BYTES_MAX_WITHOUT_RECORDS <= LARGE_FRAMES_BYTES_MAX);
const _: () = assert!(SHARE_SESSION_PARTITIONS_MAX < FETCH_SESSION_PARTITIONS_MAX);
const _: () = assert!(QUOTA_NAME_BYTES_MAX / TEXT_BYTES_MAX >= 100);
const _: () = assert!(LARGE_FRAME_BYTES < FRAME_BYTES_MAX_WITHOUT_RECORDS);
