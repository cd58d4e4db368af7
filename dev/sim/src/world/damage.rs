//! What a medium does to the segments of one log by itself: it flips a bit, loses the end of a file, or a whole file. Only
//! what must be noticed is damaged: batches that the node knows to be on stable storage, and of them what the checksum
//! covers, for neither first offsets nor leader epochs are covered. It damages nobody's metadata, and draws nothing itself.

use super::{FileSystem, file_system::Inode};
use crate::dice::Dice;
use log::names;
use records::{Batch, BatchHeader};
use std::path::{Path, PathBuf};

/// One segment.
struct Segment {
    base: i64,
    path: PathBuf,
    inode: Inode,
    /// Of the batches that may be damaged: where they begin and how long they are.
    batches: Vec<(usize, usize)>,
}

/// The length of a batch stands here, outside of the checksum, and yet a wrong one shows.
const LENGTH: std::ops::Range<usize> = 8..12;
/// From here on everything is covered.
const COVERED_FROM: usize = 16;

/// What was damaged, and where.
#[derive(Debug, Clone)]
pub struct Damage {
    /// What has happened.
    pub what: String,
    dir: PathBuf,
    dir_inode: Inode,
    base: i64,
    /// The file, if it is still there.
    file: Option<(PathBuf, Inode)>,
    is_flip: bool,
}

/// Damages something of the log; takes away whole batches only where it `may_lose` some.
pub(super) fn damage(
    files: &mut FileSystem,
    dir: &Path,
    (point, may_lose): (i64, bool),
    dice: &mut Dice,
) -> Option<Damage> {
    let dir_inode = files.find(dir).ok()?;
    let segments = segments(files, dir, point);
    let last = segments.last()?.base;
    let any: Vec<_> = segments.iter().filter(|segment| !segment.batches.is_empty()).collect();
    let segment = any.get(dice.below(any.len() as u64) as usize)?;
    let (begin, len) = *segment.batches.get(dice.below(segment.batches.len() as u64) as usize)?;
    let name = segment.path.display();
    let is_between = segment.base != last && segments.first().is_some_and(|first| first.base != segment.base);
    let mut damage = Damage {
        what: String::new(),
        dir: dir.to_owned(),
        dir_inode,
        base: segment.base,
        file: Some((segment.path.clone(), segment.inode)),
        is_flip: false,
    };
    damage.what = match dice.below(4) {
        0 if may_lose => {
            let kept = begin + dice.below(len as u64) as usize;
            files.shorten(segment.inode, kept).ok()?;
            format!("{name} ends at byte {kept}")
        }
        // That the first one is gone looks as if retention had deleted it.
        1 if is_between && may_lose => {
            files.lose(&segment.path).ok()?;
            damage.file = None;
            format!("{name} is gone")
        }
        _ => {
            let at = match dice.chance(10) {
                true => dice.range(LENGTH.start as u64..=LENGTH.end as u64 - 1) as usize,
                false => dice.range(COVERED_FROM as u64..=len as u64 - 1) as usize,
            };
            files.flip(segment.inode, begin + at, dice.below(8) as u32).ok()?;
            damage.is_flip = true;
            format!("{name} has another bit in byte {}", begin + at)
        }
    };
    Some(damage)
}

/// Whether nothing of the damage is left: the log was begun anew, or the segment deleted, or it was cut off and written
/// again.
pub(super) fn is_gone(files: &FileSystem, damage: &Damage) -> bool {
    let is_same_dir = files.find(&damage.dir).is_ok_and(|inode| inode == damage.dir_inode);
    let is_file_gone = damage
        .file
        .as_ref()
        .is_some_and(|(path, inode)| !files.find(path).is_ok_and(|found| found == *inode));
    let entries = files.list(&damage.dir).unwrap_or_default();
    let is_deleted = entries.iter().filter_map(|entry| base_of(&entry.name)).all(|base| base > damage.base);
    !is_same_dir || is_file_gone || is_deleted || damage.is_flip && is_whole(files, &damage.dir)
}

/// Whether all batches are intact and follow each other.
fn is_whole(files: &FileSystem, dir: &Path) -> bool {
    let entries = files.list(dir).unwrap_or_default();
    let logs: Vec<_> = entries.iter().filter(|entry| base_of(&entry.name).is_some()).collect();
    let mut next = None;
    for entry in logs {
        let Some(base) = base_of(&entry.name) else { continue };
        if next.is_some_and(|next| next != base) {
            return false;
        }
        let mut end = base;
        let mut rest = contents(files, &dir.join(&entry.name), entry.len).into();
        while let Some(batch) = Batch::split_off(&mut rest) {
            if batch.header.base_offset != end || !batch.is_intact() {
                return false;
            }
            end = batch.header.next_offset();
        }
        // One that is on its way is there when it is looked again; one whose length is damaged is not.
        if !rest.is_empty() {
            return false;
        }
        next = Some(end);
    }
    true
}

/// The smaller of the recovery points that are shown and that are on the medium; 0 if there is none.
pub(super) fn recovery_point(files: &FileSystem, path: &Path, partition: &str) -> i64 {
    let Ok(inode) = files.find(path) else { return 0 };
    let len = files.len(inode).unwrap_or(0);
    let shown = contents(files, path, len);
    let durable = files.durable(inode).unwrap_or_default();
    let point = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.lines().find_map(|line| {
            let mut words = line.rsplitn(2, ' ');
            let offset = words.next()?.parse::<i64>().ok()?;
            (words.next()?.replace(' ', "-") == partition).then_some(offset)
        })
    };
    point(&shown).unwrap_or(0).min(point(durable).unwrap_or(0))
}

fn segments(files: &FileSystem, dir: &Path, point: i64) -> Vec<Segment> {
    let entries = files.list(dir).unwrap_or_default();
    let found = entries.iter().filter_map(|entry| {
        let (base, path) = (base_of(&entry.name)?, dir.join(&entry.name));
        let inode = files.find(&path).ok()?;
        let batches = batches(files.durable(inode).ok()?, point);
        Some(Segment { base, path, inode, batches })
    });
    found.collect()
}

/// The batches that end at `point` or before it.
fn batches(bytes: &[u8], point: i64) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..).and_then(BatchHeader::parse) {
        let len = header.bytes();
        if header.next_offset() > point || header.batch_len <= 0 || at + len > bytes.len() {
            break;
        }
        found.push((at, len));
        at += len;
    }
    found
}

fn base_of(name: &str) -> Option<i64> {
    names::parse_file_name(name).filter(|(_, kind)| *kind == names::LOG).map(|(base, _)| base)
}

fn contents(files: &FileSystem, path: &Path, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    let read = files.find(path).and_then(|inode| files.read(inode, &mut bytes, 0)).unwrap_or(0);
    bytes.truncate(read);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use records::BatchBuilder;
    use std::collections::BTreeSet;

    const DIR: &str = "/d/t-0";

    /// Three segments of three batches each.
    fn written() -> FileSystem {
        let mut files = FileSystem::new(512);
        files.create_dir_all(Path::new(DIR)).unwrap();
        for base in [0, 3, 6] {
            let path = Path::new(DIR).join(names::file_name(base, names::LOG));
            let inode = files.create(&path).unwrap();
            let mut position = 0;
            for offset in base..base + 3 {
                let mut builder = BatchBuilder::new().base_offset(offset);
                builder.push(1, None, Some(b"value"), &[]);
                let bytes = builder.build().unwrap().bytes;
                files.write(inode, &bytes, position).unwrap();
                position += bytes.len() as u64;
            }
            files.sync(inode).unwrap();
        }
        files
    }

    #[test]
    fn whatever_is_damaged_shows_and_nothing_behind_the_point_is_touched() {
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let mut files = written();
            assert!(is_whole(&files, Path::new(DIR)));
            let tail = contents(&files, &Path::new(DIR).join(names::file_name(6, names::LOG)), 1 << 10);
            let damage = damage(&mut files, Path::new(DIR), (6, true), &mut Dice::new(seed)).unwrap();
            let Damage { what, is_flip, .. } = damage.clone();
            seen.insert(what.split(' ').nth(1).unwrap().to_owned());
            assert!(!is_gone(&files, &damage), "{what}");
            assert!(!is_flip || !is_whole(&files, Path::new(DIR)), "{what}");
            let after = contents(&files, &Path::new(DIR).join(names::file_name(6, names::LOG)), 1 << 10);
            assert_eq!(after, tail, "{what}");
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["ends", "has", "is"]);
        assert!(damage(&mut written(), Path::new(DIR), (0, true), &mut Dice::new(1)).is_none());
    }

    #[test]
    fn what_is_set_aside_or_deleted_is_damaged_no_more() {
        for seed in 0..50 {
            let mut files = written();
            let damage = damage(&mut files, Path::new(DIR), (6, true), &mut Dice::new(seed)).unwrap();
            files.rename(Path::new(DIR), Path::new("/d/aside")).unwrap();
            assert!(is_gone(&files, &damage));
            files.create_dir_all(Path::new(DIR)).unwrap();
            assert!(is_gone(&files, &damage));
        }
    }

    #[test]
    fn the_recovery_point_is_found_by_the_name_of_the_partition() {
        let mut files = FileSystem::new(512);
        files.create_dir_all(Path::new("/d")).unwrap();
        let path = Path::new("/d/points");
        let inode = files.create(path).unwrap();
        files.write(inode, b"0\n2\nt 0 17\nt-1 3 9\n", 0).unwrap();
        assert_eq!(recovery_point(&files, path, "t-0"), 0, "nothing of it is on the medium");
        files.sync(inode).unwrap();
        assert_eq!(recovery_point(&files, path, "t-0"), 17);
        assert_eq!(recovery_point(&files, path, "t-1-3"), 9);
        assert_eq!(recovery_point(&files, path, "u-0"), 0);
    }
}
