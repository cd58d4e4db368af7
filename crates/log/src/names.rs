//! The names of files and directories of a log, as Kafka writes them.
//!
//! Segment files bear the base offset in twenty digits, so that they sort as they follow.

use model::{Offset, TopicName, TopicPartition};
use stdx::Uuid;

/// The batches.
pub const LOG: &str = "log";
/// The offset index.
pub const INDEX: &str = "index";
/// The time index.
pub const TIME_INDEX: &str = "timeindex";
/// The index of aborted transactions.
pub const TXN_INDEX: &str = "txnindex";
/// The key index of a segment; with a hyphen and a number behind it, of a part of one.
pub const KEYS: &str = "keys";
/// The state of the producers.
pub const SNAPSHOT: &str = "snapshot";
/// What is appended to the name of a file that is to be removed.
pub const DELETED: &str = "deleted";
/// What is appended to the name of a file of a segment that compaction is writing.
pub const CLEANED: &str = "cleaned";
/// What is appended to the name of a file of such a segment once it is complete.
pub const SWAP: &str = "swap";
/// Offsets may be missing between batches of this log: it was compacted, here or where it was copied from.
pub const COMPACTED: &str = "compacted";
/// The leader epochs of a log.
pub const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Why a log was found damaged while it was open; it is read whole before it is opened again.
pub const DAMAGE: &str = "damage";
/// The topic id of a log.
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The kinds of files that a segment may have.
pub const SEGMENT_KINDS: [&str; 5] = [LOG, INDEX, TIME_INDEX, TXN_INDEX, KEYS];

/// The name of a file that belongs to an offset.
pub fn file_name(offset: Offset, kind: &str) -> String {
    format!("{offset:020}.{kind}")
}

/// The offset and the kind (all after the first dot) of such a name.
pub fn parse_file_name(name: &str) -> Option<(Offset, &str)> {
    let (digits, kind) = name.split_once('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { Some((digits.parse().ok()?, kind)) } else { None }
}

/// The name of a log's directory: `topic-3`.
pub fn dir_name(partition: &TopicPartition) -> String {
    partition.to_string()
}

/// The partition of a directory's name; `None` for names that are no log's, among them those being deleted.
pub fn parse_dir_name(name: &str) -> Option<TopicPartition> {
    let (topic, index) = name.rsplit_once('-')?;
    let canonical =
        index == "0" || (!index.starts_with('0') && index.bytes().all(|byte| byte.is_ascii_digit()));
    if !canonical {
        return None;
    }
    Some(TopicPartition::new(TopicName::new(topic).ok()?, index.parse().ok()?))
}

/// What the directory of a deleted partition is renamed to: `topic-3.<32 digits>-delete`, cut to 255 bytes.
pub fn deleted_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    unique_dir_name(partition, unique, "-delete")
}

/// What the directory of a log is called that is being copied from another log directory, until it takes its place:
/// `topic-3.<32 digits>-future` (KIP-113). `None` if that is longer than the 255 bytes that a name may have.
pub fn future_dir_name(partition: &TopicPartition, unique: Uuid) -> Option<String> {
    let name = format!("{partition}.{:032x}{FUTURE}", u128::from_be_bytes(unique.0));
    (name.len() <= 255).then_some(name)
}

/// The partition of such a name; `None` for all others.
pub fn parse_future_dir_name(name: &str) -> Option<TopicPartition> {
    let (log, unique) = name.strip_suffix(FUTURE)?.rsplit_once('.')?;
    let is_unique = unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_hexdigit());
    parse_dir_name(log).filter(|_| is_unique)
}

const FUTURE: &str = "-future";

/// What the directory of a damaged replica is renamed to before it is copied anew: `topic-3.<32 digits>-damaged-stray`,
/// cut to 255 bytes. Apache Kafka leaves directories that end so alone.
pub fn damaged_dir_name(partition: &TopicPartition, unique: Uuid) -> String {
    unique_dir_name(partition, unique, DAMAGED)
}

/// The partition index in the name of a directory that a damaged replica was moved to; `None` for all others.
pub fn parse_damaged_dir_index(name: &str) -> Option<i32> {
    let (name, _) = name.strip_suffix(DAMAGED)?.rsplit_once('.')?;
    name.rsplit_once('-')?.1.parse().ok()
}

const DAMAGED: &str = "-damaged-stray";

fn unique_dir_name(partition: &TopicPartition, unique: Uuid, kind: &str) -> String {
    let suffix = format!("-{}.{:032x}{kind}", partition.partition, u128::from_be_bytes(unique.0));
    let topic: String = partition.topic.chars().take(255 - suffix.len()).collect();
    topic + &suffix
}

/// Whether a file of a partition is deleted and only waits for its time.
pub fn is_deleted_file(name: &str) -> bool {
    name.strip_suffix(DELETED).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether a directory is what remains of a deleted partition.
pub fn is_deleted_dir(name: &str) -> bool {
    name.ends_with("-delete")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_read_back_and_foreign_names_do_not() {
        assert_eq!(file_name(170, LOG), "00000000000000000170.log");
        assert_eq!(parse_file_name("00000000000000000170.log"), Some((170, "log")));
        assert_eq!(parse_file_name("00000000000000000170.log.deleted"), Some((170, "log.deleted")));
        for foreign in
            ["partition.metadata", "170.log", "99999999999999999999.log", "0000000000000000017x.log"]
        {
            assert_eq!(parse_file_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_of_directories_read_back_and_foreign_names_do_not() {
        let partition = TopicPartition::new(TopicName::new("a-b.c").unwrap(), 12);
        assert_eq!(dir_name(&partition), "a-b.c-12");
        assert_eq!(parse_dir_name("a-b.c-12"), Some(partition.clone()));
        let deleted = deleted_dir_name(&partition, Uuid([1; 16]));
        assert_eq!(deleted, format!("a-b.c-12.{}-delete", "01".repeat(16)));
        assert!(is_deleted_dir(&deleted));
        for foreign in [deleted.as_str(), "lost+found", "a-", "a-01", "a-+1", "-1", "a-99999999999"] {
            assert_eq!(parse_dir_name(foreign), None, "{foreign}");
        }
        let future = future_dir_name(&partition, Uuid([1; 16])).unwrap();
        assert_eq!(future, format!("a-b.c-12.{}-future", "01".repeat(16)));
        assert_eq!(parse_future_dir_name(&future), Some(partition.clone()));
        assert_eq!((parse_dir_name(&future), parse_future_dir_name("a-b.c-12.01-future")), (None, None));
        assert_eq!((parse_future_dir_name(&deleted), parse_future_dir_name("a-1-future")), (None, None));
        let long = TopicPartition::new(TopicName::new(&"x".repeat(249)).unwrap(), 7);
        assert_eq!(deleted_dir_name(&long, Uuid::ZERO).len(), 255);
        assert_eq!(future_dir_name(&long, Uuid::ZERO), None, "Apache Kafka has no name for it either");
        for partition in [&partition, &long] {
            let damaged = damaged_dir_name(partition, Uuid([1; 16]));
            assert_eq!(parse_damaged_dir_index(&damaged), Some(partition.partition), "{damaged}");
            assert_eq!(parse_dir_name(&damaged), None);
            assert!(damaged.len() <= 255 && !is_deleted_dir(&damaged));
        }
        assert_eq!(parse_damaged_dir_index(&deleted), None);
        assert_eq!(parse_damaged_dir_index("a-1-stray"), None);
    }
}
