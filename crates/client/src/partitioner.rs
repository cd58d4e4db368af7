//! Which partition a record goes to, as Kafka's Java producer decides: by murmur2 of its key, else by turns that
//! stick to one partition for a batch (KIP-480).
//!
//! It knows no leaders; a record for a partition without one waits.

use model::PartitionIndex;

/// Chooses partitions of one topic.
#[derive(Debug, Clone)]
pub struct Partitioner {
    sticky: PartitionIndex,
    bytes: usize,
}

impl Partitioner {
    /// Begins with a partition chosen by `random`, so that producers do not all begin with the first.
    pub fn new(random: u64, partitions: usize) -> Self {
        Self { sticky: pick(random, partitions), bytes: 0 }
    }

    /// The partition of a record of `bytes` bytes. After `batch_bytes` bytes without key the next `random` partition
    /// has its turn.
    pub fn partition(
        &mut self,
        key: Option<&[u8]>,
        bytes: usize,
        partitions: usize,
        batch_bytes: usize,
        random: u64,
    ) -> PartitionIndex {
        if let Some(key) = key {
            let positive = murmur2(key) & 0x7fff_ffff;
            return (positive as usize % partitions.max(1)) as PartitionIndex;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > batch_bytes {
            let step = if partitions > 1 { 1 + random as usize % (partitions - 1) } else { 0 };
            self.sticky = ((self.sticky as usize + step) % partitions.max(1)) as PartitionIndex;
            self.bytes = bytes;
        }
        self.sticky
    }
}

fn pick(random: u64, partitions: usize) -> PartitionIndex {
    (random % partitions.max(1) as u64) as PartitionIndex
}

/// MurmurHash2, 32 bits, with the seed of Kafka's Java client.
pub fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, tail) = key.as_chunks::<4>();
    for word in words {
        let mut word = u32::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| rest << 8 | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_java() {
        // Printed by org.apache.kafka.common.utils.Utils.murmur2 of kafka-clients 4.3.1.
        let golden: [(&[u8], i32); 11] = [
            (b"", 275_646_681),
            (b"a", -1_563_381_124),
            (b"ab", 316_155_434),
            (b"abc", 479_470_107),
            (b"abcd", -1_323_649_548),
            (b"N14228", -1_499_626_080),
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (&[0xff, 0x80, 0x00, 0xfe, 0x90], 1_778_554_066),
        ];
        for (key, hash) in golden {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
        }
    }

    #[test]
    fn records_with_a_key_stay_together() {
        let mut partitioner = Partitioner::new(5, 12);
        let first = partitioner.partition(Some(b"N14228"), 10, 12, 100, 1);
        for random in 0..50 {
            assert_eq!(partitioner.partition(Some(b"N14228"), 1000, 12, 100, random), first);
        }
    }

    #[test]
    fn records_without_key_stick_to_a_partition_for_a_batch() {
        let mut partitioner = Partitioner::new(2, 3);
        let turns: Vec<_> = (0..9).map(|n| partitioner.partition(None, 40, 3, 100, n)).collect();
        assert_eq!(turns, [2, 2, 0, 0, 1, 1, 2, 2, 0]);
    }

    #[test]
    fn a_topic_of_one_partition_has_no_choice() {
        let mut partitioner = Partitioner::new(u64::MAX, 1);
        assert!((0..10).all(|n| partitioner.partition(None, 1000, 1, 100, n) == 0));
    }
}
