use crate::{fixture::*, testing::MemoryDisk, *};
use model::Offset;

use Durability::{Fsync, PageCache};

/// Several segments of batches that were synced; the last one is active.
fn written(config: LogConfig) -> Fixture {
    let mut fixture = Fixture::new(config);
    for index in 0..90 {
        fixture.append(batch(NOW + index as i64, 2, 100 + index).compression(codec(index)));
    }
    assert!(fixture.log.segment_count() > 3);
    fixture
}

fn bases(fixture: &Fixture) -> Vec<Offset> {
    fixture.log.segments.iter().map(|segment| segment.base_offset).collect()
}

/// Verifies all segments in slices of `bytes_max`: the damage that was found first, the bytes that were sound, and the
/// segments whose index was wrong.
fn scrub(fixture: &Fixture, bytes_max: u64) -> (Option<Damage>, u64, Vec<Offset>) {
    let (mut from, mut sound, mut wrong) = (0, 0, Vec::new());
    while let Some(mut scrub) = fixture.log.scrub(from) {
        from = scrub.segment() + 1;
        loop {
            match scrub.step(&fixture.disk, bytes_max) {
                Ok(Scrubbed::More(bytes)) => sound += bytes,
                Ok(Scrubbed::Sound { bytes, is_index_right }) => {
                    sound += bytes;
                    if !is_index_right {
                        wrong.push(scrub.segment());
                        scrub.rebuild_indexes(&fixture.disk, NOW).unwrap();
                    }
                    break;
                }
                Ok(Scrubbed::Damaged(damage)) => return (Some(damage), sound, wrong),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return (Some(scrub.missing()), sound, wrong);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    (None, sound, wrong)
}

#[test]
fn sound_segments_are_read_whole_in_slices_of_any_size() {
    for durability in [Fsync, PageCache] {
        let fixture = written(config(durability));
        let expected = match durability {
            Fsync => fixture.log.size_bytes(),
            // Of what was not synced nobody promises anything.
            PageCache => fixture.log.segments.iter().rev().skip(1).map(|segment| segment.size).sum(),
        };
        for bytes_max in [1, 700, 100_000] {
            assert_eq!(scrub(&fixture, bytes_max), (None, expected, vec![]));
        }
    }
}

#[test]
fn every_flipped_bit_is_found_where_it_is_and_nothing_else() {
    let fixture = written(config(Fsync));
    for base in bases(&fixture) {
        let sound = fixture.contents(base, "log");
        for at in (0..sound.len()).step_by(7) {
            let flipped = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
            damage(&fixture.disk, &path(base, "log"), flipped);
            let (found, ..) = scrub(&fixture, 500);
            let is_epoch = batch_place(&sound, at).is_some_and(|place| (12..16).contains(&place));
            if is_epoch {
                // The leader epoch lies outside of the checksum.
                assert_eq!(found, None);
            } else {
                let found = found.unwrap_or_else(|| panic!("bit at {at} of {base}"));
                assert_eq!(found.file, path(base, "log"));
                assert!(found.position <= at as u64, "{found}");
            }
            damage(&fixture.disk, &path(base, "log"), flipped);
        }
    }
}

/// Where in its batch a byte lies.
fn batch_place(segment: &[u8], at: usize) -> Option<usize> {
    let mut begin = 0;
    while let Some(header) = segment.get(begin..).and_then(records::BatchHeader::parse) {
        if at < begin + header.bytes() {
            return Some(at - begin);
        }
        begin += header.bytes();
    }
    None
}

#[test]
fn a_segment_cut_anywhere_or_missing_is_damaged_also_after_a_clean_start() {
    for is_reopened in [false, true] {
        let mut fixture = written(config(Fsync));
        let sealed = bases(&fixture)[1];
        let len = fixture.contents(sealed, "log").len();
        for cut in [1, 100, 300, len] {
            let sound = fixture.contents(sealed, "log");
            damage(&fixture.disk, &path(sealed, "log"), |bytes| bytes.truncate(len - cut));
            if is_reopened && cut < len {
                let opened = open(&fixture.disk, &dir(), options(config(Fsync), true, 0));
                match opened {
                    // Recovery has found it already.
                    Err(OpenError::Damaged(_)) => {}
                    Ok(opened) => fixture.log = opened.log,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(scrub(&fixture, 500).0.is_some(), "{cut} bytes cut, {is_reopened}");
            fixture.disk.put(&path(sealed, "log"), sound);
        }
        env::Disk::remove_file(&fixture.disk, &path(sealed, "log")).unwrap();
        let (found, ..) = scrub(&fixture, 500);
        assert_eq!(found.unwrap().why, "the file is missing");
    }
}

#[test]
fn holes_are_no_damage_where_compaction_makes_them() {
    // Whether the topic is compacted, and whether the log knows that it, or its leader's, was.
    for (compacted, is_known, is_damaged) in
        [(false, false, true), (true, false, false), (false, true, false)]
    {
        let config = LogConfig { cleanup_compact: compacted, ..config(Fsync) };
        let mut fixture = Fixture::new(config.clone());
        let mut effects = Vec::new();
        for offset in [0, 1, 5, 6] {
            let batch = batch(NOW, 1, 700).base_offset(offset).build().unwrap();
            fixture.log.append_as_follower(NOW, batch, &mut effects).unwrap();
        }
        fixture.perform(effects);
        let disk = fixture.close();
        if !is_known {
            env::Disk::remove_file(&disk, &dir().join(names::COMPACTED)).unwrap();
        }
        let fixture = reopen(disk, config, true, 7).unwrap();
        assert_eq!(scrub(&fixture, 500).0.is_some(), is_damaged);
    }
}

#[test]
fn what_is_synced_may_end_in_a_hole() {
    let config = LogConfig { cleanup_compact: true, ..config(PageCache) };
    let mut fixture = Fixture::new(config.clone());
    let mut effects = Vec::new();
    for offset in [0, 1, 5, 6] {
        let batch = batch(NOW, 1, 700).base_offset(offset).build().unwrap();
        fixture.log.append_as_follower(NOW, batch, &mut effects).unwrap();
    }
    fixture.perform(effects);
    let fixture = reopen(fixture.disk.after_kill(), config, false, 3).unwrap();
    assert_eq!((fixture.log.recovery_point(), fixture.log.end_offset()), (3, 7));
    let (found, sound, _) = scrub(&fixture, 500);
    assert!(found.is_none() && sound > 0, "{found:?}, {sound}");
}

#[test]
fn an_index_that_disagrees_with_sound_batches_is_no_damage_and_is_built_anew() {
    let fixture = written(config(Fsync));
    let sealed = bases(&fixture)[1];
    let index = fixture.contents(sealed, "index");
    assert!(index.len() > 8);
    let changes: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[3] ^= 4,
        |bytes| bytes[7] ^= 64,
        |bytes| bytes.truncate(5),
        |bytes| bytes.extend_from_slice(&[0, 0, 1, 0, 0, 1, 0, 0]),
    ];
    for change in changes {
        damage(&fixture.disk, &path(sealed, "index"), change);
        let (found, _, wrong) = scrub(&fixture, 500);
        assert_eq!((found, wrong), (None, vec![sealed]));
        assert_eq!(fixture.contents(sealed, "index"), index);
    }
    env::Disk::remove_file(&fixture.disk, &path(sealed, "index")).unwrap();
    assert_eq!(scrub(&fixture, 500).2, [sealed]);
    assert_eq!(fixture.contents(sealed, "index"), index);
}

#[test]
fn a_marked_log_is_opened_only_when_all_of_it_is_sound() {
    let fixture = written(config(Fsync));
    let (sealed, end) = (bases(&fixture)[1], fixture.log.end_offset());
    let disk: MemoryDisk = fixture.close();
    let flip = |bytes: &mut Vec<u8>| bytes[150] ^= 1;
    damage(&disk, &path(sealed, "log"), flip);
    let log = open(&disk, &dir(), options(config(Fsync), true, end)).unwrap().log;
    assert_eq!(log.end_offset(), end, "no start looks there");
    write_damage_mark(&disk, &dir(), "a bit").unwrap();
    for clean in [true, false, true] {
        let before = disk.contents(&path(sealed, "log"));
        let opened = open(&disk, &dir(), options(config(Fsync), clean, end));
        assert!(matches!(opened, Err(OpenError::Damaged(_))));
        assert_eq!(disk.contents(&path(sealed, "log")), before);
    }
    damage(&disk, &path(sealed, "log"), flip);
    assert_eq!(open(&disk, &dir(), options(config(Fsync), false, end)).unwrap().log.end_offset(), end);
    assert_eq!(disk.contents(&dir().join("damage")), None, "somebody has repaired it");
}
