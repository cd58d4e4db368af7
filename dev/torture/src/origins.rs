//! Which producer wrote what: who reads is not shown it, but the batches on the nodes' disks say so.
//!
//! It reads Kafka's segment files of a partition once the nodes have stopped, and knows what a log promises about producers' epochs and
//! sequences (KIP-98, KIP-360); what clients may do beyond that is for `checks`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use records::Batch;

/// By whom a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `producerId` of its batch.
    pub producer: i64,
    /// `producerEpoch` of its batch.
    pub epoch: i16,
    /// Its own sequence number.
    pub sequence: i32,
}

impl Origin {
    /// Whether only the producer can know whether this, written later than `before`, repeats it: a broker knows a sequence within
    /// one id and epoch.
    pub fn is_foreign_to(&self, before: &Origin) -> bool {
        self.producer != before.producer || self.epoch > before.epoch
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "producer {} epoch {} sequence {}", self.producer, self.epoch, self.sequence)
    }
}

#[derive(Clone, Copy, Debug)]
struct Wrote {
    first_offset: i64,
    last_offset: i64,
    /// Of the first record.
    origin: Origin,
}

impl Wrote {
    fn sequence_at(&self, offset: i64) -> i32 {
        // They go on with 0 behind the highest.
        let delta = i32::try_from(offset - self.first_offset).unwrap_or_default();
        self.origin.sequence.wrapping_add(delta) & i32::MAX
    }
}

/// The batches of a partition, as one disk has them.
#[derive(Clone, Debug, Default)]
pub struct Written(Vec<Wrote>);

impl Written {
    /// Those of the directory that reaches furthest; `dirs` has one of each disk, whether it is there or not.
    pub fn read(dirs: &[PathBuf]) -> Result<Written> {
        let mut furthest = Written::default();
        for dir in dirs.iter().filter(|dir| dir.is_dir()) {
            let written = read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
            if written.end() > furthest.end() {
                furthest = written;
            }
        }
        Ok(furthest)
    }

    fn end(&self) -> i64 {
        self.0.last().map_or(0, |last| last.last_offset + 1)
    }

    /// Of the record at this offset.
    pub fn origin(&self, offset: i64) -> Option<Origin> {
        let behind = self.0.partition_point(|wrote| wrote.first_offset <= offset);
        let wrote = self.0.get(behind.checked_sub(1)?).filter(|wrote| offset <= wrote.last_offset)?;
        Some(Origin { sequence: wrote.sequence_at(offset), ..wrote.origin })
    }

    /// What no log may hold: the epoch of a producer goes back, or its sequences do not follow each other. The first batch of a
    /// producer may have any sequence, since nothing is known of it, and a new epoch begins with 0.
    pub fn broken_sequences(&self) -> Vec<String> {
        let mut last: HashMap<i64, Origin> = HashMap::new();
        let mut broken = Vec::new();
        for wrote in self.0.iter().filter(|wrote| wrote.origin.producer >= 0) {
            let now = wrote.origin;
            let end = Origin { sequence: wrote.sequence_at(wrote.last_offset), ..now };
            let Some(before) = last.insert(now.producer, end) else { continue };
            let expected = match now.epoch {
                epoch if epoch < before.epoch => None,
                epoch if epoch > before.epoch => Some(0),
                _ => Some(before.sequence.wrapping_add(1) & i32::MAX),
            };
            if expected != Some(now.sequence) {
                broken.push(format!("offset {} has {now} behind {before}", wrote.first_offset));
            }
        }
        broken
    }
}

fn read_dir(dir: &Path) -> Result<Written> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "log") {
            continue;
        }
        let mut bytes = Bytes::from(std::fs::read(&path)?);
        while let Some(Batch { header, .. }) = Batch::split_off(&mut bytes) {
            let origin = Origin {
                producer: header.producer_id,
                epoch: header.producer_epoch,
                sequence: header.base_sequence,
            };
            let last_offset = header.last_offset();
            all.push(Wrote { first_offset: header.base_offset, last_offset, origin });
        }
        ensure!(bytes.is_empty(), "{} ends with {} bytes that are no batch", path.display(), bytes.len());
    }
    all.sort_unstable_by_key(|wrote| wrote.first_offset);
    Ok(Written(all))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Batches of one record each, from offset 0 on.
    pub(crate) fn written(origins: &[(i64, i16, i32)]) -> Written {
        let wrote = |(offset, &(producer, epoch, sequence)): (usize, &(i64, i16, i32))| Wrote {
            first_offset: offset as i64,
            last_offset: offset as i64,
            origin: Origin { producer, epoch, sequence },
        };
        Written(origins.iter().enumerate().map(wrote).collect())
    }

    fn batch(base: i64, epoch: i16, sequence: i32) -> Vec<u8> {
        let mut builder = records::BatchBuilder::new().producer(7, epoch, sequence);
        builder.push(5, None, Some(b"a"), &[]);
        builder.push(5, None, Some(b"b"), &[]);
        let stamped = records::Checked::trusted(builder.build().unwrap()).stamp(base, 0);
        [&stamped.header.encode()[..], &stamped.body].concat()
    }

    #[test]
    fn the_disk_that_reaches_furthest_says_who_wrote_what() {
        let temporary = tempfile::tempdir().unwrap();
        let dirs = ["empty", "part", "all", "none"].map(|name| temporary.path().join(name));
        dirs.iter().take(3).for_each(|dir| std::fs::create_dir(dir).unwrap());
        let (first, second) = (batch(0, 0, 0), batch(2, 1, i32::MAX));
        std::fs::write(dirs[1].join("00.log"), &first).unwrap();
        std::fs::write(dirs[2].join("02.log"), &second).unwrap();
        std::fs::write(dirs[2].join("00.log"), &first).unwrap();
        std::fs::write(dirs[2].join("02.index"), b"not a batch").unwrap();
        let found = Written::read(&dirs).unwrap();
        assert_eq!(found.origin(1), Some(Origin { producer: 7, epoch: 0, sequence: 1 }));
        assert_eq!(found.origin(3), Some(Origin { producer: 7, epoch: 1, sequence: 0 }));
        assert_eq!((found.origin(4), found.origin(-1)), (None, None));
        std::fs::write(dirs[2].join("02.log"), &second[1..]).unwrap();
        assert!(Written::read(&dirs).is_err());
    }

    #[test]
    fn sequences_follow_each_other_within_an_epoch_and_epochs_do_not_go_back() {
        let count = |origins: &[(i64, i16, i32)]| written(origins).broken_sequences().len();
        let two = [(1, 0, 5), (2, 0, 0), (1, 0, 6), (2, 0, 1), (1, 1, 0), (-1, -1, -1), (1, 1, 1)];
        assert_eq!(count(&two), 0, "each producer by itself");
        assert_eq!(count(&[(1, 0, i32::MAX), (1, 0, 0)]), 0, "behind the highest comes 0");
        assert_eq!(count(&[(1, 0, 0), (1, 0, 0)]), 1, "twice");
        assert_eq!(count(&[(1, 0, 0), (1, 0, 2)]), 1, "one left out");
        assert_eq!(count(&[(1, 1, 0), (1, 0, 1)]), 1, "an epoch that was over");
        assert_eq!(count(&[(1, 0, 0), (1, 1, 1)]), 1, "a new epoch begins with 0");
    }

    #[test]
    fn a_later_epoch_and_another_producer_are_foreign() {
        let origin = |producer, epoch| Origin { producer, epoch, sequence: 3 };
        assert!(origin(1, 1).is_foreign_to(&origin(1, 0)) && origin(2, 0).is_foreign_to(&origin(1, 0)));
        assert!(!origin(1, 0).is_foreign_to(&origin(1, 0)) && !origin(1, 0).is_foreign_to(&origin(1, 1)));
    }
}
