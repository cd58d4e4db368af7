//! Telling a write that a crash tore from a bit that flipped, by the bytes of a batch that is not right.
//!
//! A torn write leaves the file short, or leaves zeros where nothing was written: sectors of a file that grew have no
//! older contents, and what is missing of one is missing up to its end. A flipped bit leaves everything else as it was, so flipping it back makes the checksum right; the
//! checksum itself shows whether there is such a bit. It does not say what follows from that; `recover` does.

use crate::scan::{Scan, WINDOW_BYTES_LARGE};
use env::File;
use model::Offset;
use records::{BatchHeader, CRC_COVERS_FROM, Entry, HEADER_BYTES, LOG_OVERHEAD, MAGIC_V2};
use std::io;

/// Disks write whole sectors of this size, or of a multiple; what they were writing when the power failed may be cut
/// inside of one.
const SECTOR_BYTES: u64 = 512;
/// Fewer zeros at the end of a sector are no evidence: batches have as many.
const TORN_BYTES_MIN: u64 = 8;
/// Where the magic number stands.
const MAGIC_AT: u64 = 16;
/// CRC-32C's polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What the bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trace {
    /// Some of it was never written.
    Torn,
    /// All of it was written, and a bit flipped after.
    Flipped,
    /// Neither can be shown.
    None,
}

/// What happened to the batch that should be at `position` of a file that ends at `end`, and begin with `offset`.
pub(crate) fn trace(file: &dyn File, position: u64, end: u64, offset: Offset) -> io::Result<Trace> {
    let mut scan = Scan::new(file, 0, end, WINDOW_BYTES_LARGE);
    let bytes = scan.view(position, HEADER_BYTES)?;
    if bytes.len() < HEADER_BYTES || bytes.iter().all(|byte| *byte == 0) {
        return Ok(Trace::Torn);
    }
    if is_header_torn(bytes, position, offset) {
        return Ok(Trace::Torn);
    }
    // Nobody writes old formats any more: what is there was written long ago.
    let old = Entry::peek(bytes)
        .is_some_and(|entry| entry.magic < MAGIC_V2 && position + entry.bytes as u64 <= end);
    let otherwise = if old { Trace::Flipped } else { Trace::None };
    let mut bytes = bytes.to_vec();
    let magic = bytes.get(16).copied().unwrap_or(0);
    // The magic number has one right value, so a flipped bit in it shows.
    if let Some(magic) = bytes.get_mut(16) {
        *magic = MAGIC_V2 as u8;
    }
    let Some(header) = BatchHeader::parse(&bytes) else { return Ok(otherwise) };
    let one_bit = (magic ^ MAGIC_V2 as u8).count_ones();
    if one_bit > 1 {
        return Ok(otherwise);
    }
    if let Some(at) = flipped(&mut scan, position, end, &header, one_bit == 1)? {
        // That bit may be all that the part of a sector that was not written should have held.
        let is_torn = has_torn_sector(&mut scan, at, at, end)?;
        return Ok(if is_torn { Trace::Torn } else { Trace::Flipped });
    }
    let Ok(len) = u64::try_from(header.batch_len) else { return Ok(otherwise) };
    let batch_end = position + LOG_OVERHEAD as u64 + len;
    if batch_end > end {
        return Ok(Trace::Torn);
    }
    // In an old message zeros prove something only if they begin before the magic number ends.
    let latest = if old { position + MAGIC_AT } else { batch_end };
    if has_torn_sector(&mut scan, position, latest, end)? { Ok(Trace::Torn) } else { Ok(otherwise) }
}

/// Whether the checksum is right once one bit is flipped, of the length or of what the checksum covers; or is right as
/// it is, and something that it does not cover is wrong. Gives the byte, or an early one of the batch.
fn flipped(
    scan: &mut Scan<'_>,
    position: u64,
    end: u64,
    header: &BatchHeader,
    magic_flipped: bool,
) -> io::Result<Option<u64>> {
    let as_it_is = header.batch_len as u32;
    let mut lens: Vec<u32> = match magic_flipped {
        true => vec![as_it_is],
        false => (0..32).map(|bit| as_it_is ^ 1 << bit).chain([as_it_is]).collect(),
    };
    let fits = |len: &u32| {
        u64::from(*len) >= (HEADER_BYTES - LOG_OVERHEAD) as u64
            && position + LOG_OVERHEAD as u64 + u64::from(*len) <= end
    };
    lens.retain(fits);
    lens.sort_unstable();
    let mut digest = stdx::Crc32c::new();
    let mut at = position + CRC_COVERS_FROM as u64;
    for len in lens {
        let batch_end = position + LOG_OVERHEAD as u64 + u64::from(len);
        while at < batch_end {
            let wanted = (batch_end - at).min(WINDOW_BYTES_LARGE as u64) as usize;
            let bytes = scan.view(at, wanted)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            digest.update(bytes);
            at += bytes.len() as u64;
        }
        let difference = digest.finish() ^ header.crc;
        let covered = batch_end - position - CRC_COVERS_FROM as u64;
        let one_bit = if len == as_it_is && !magic_flipped { one_bit(difference, covered) } else { None };
        if let Some(bits) = one_bit {
            return Ok(Some(batch_end - 1 - bits / 8));
        }
        if difference == 0 {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

/// Whether one flipped bit, of the checksum or of the `covered` bytes under it, makes this difference of checksums.
/// Gives how many bits before the last one it lies, or the largest such number for the checksum.
fn one_bit(difference: u32, covered: u64) -> Option<u64> {
    if difference.count_ones() == 1 {
        return Some((covered * 8).saturating_sub(1));
    }
    // What a flipped last bit does to the checksum, then the one before it, and so on.
    let mut effect = POLYNOMIAL;
    for bits in 0..covered * 8 {
        if effect == difference {
            return Some(bits);
        }
        effect = effect >> 1 ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

/// Whether the header, which begins at the end of a sector, lacks what the sector should end with: a part of the offset,
/// or the length, which is never 0.
fn is_header_torn(bytes: &[u8], position: u64, offset: Offset) -> bool {
    let in_sector = ((position + 1).next_multiple_of(SECTOR_BYTES) - position) as usize;
    let Some(first) = bytes.get(..in_sector) else { return false };
    let written = first.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let expected = offset.to_be_bytes();
    let (offset_bytes, in_offset) = (bytes.get(..expected.len()), in_sector.min(expected.len()));
    let is_offset_torn = offset_bytes != Some(&expected)
        && bytes.get(..written) == expected.get(..written)
        && bytes.get(in_offset..expected.len()) == expected.get(in_offset..);
    is_offset_torn || (in_sector >= LOG_OVERHEAD && written <= expected.len())
}

/// Whether the end of a sector, or all of it, was not written: zeros that begin between `position` and `latest`, or
/// before, and reach to where the sector or the file ends.
fn has_torn_sector(scan: &mut Scan<'_>, position: u64, latest: u64, end: u64) -> io::Result<bool> {
    let mut at = position - position % SECTOR_BYTES;
    while at <= latest && at < end {
        let sector_end = (at + SECTOR_BYTES).min(end);
        let sector = scan.view(at, (sector_end - at) as usize)?;
        let zeros = sector.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        if zeros >= TORN_BYTES_MIN && sector_end > position && sector_end - zeros <= latest {
            return Ok(true);
        }
        at = sector_end;
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture::*, testing::MemoryDisk};
    use env::Disk;

    /// What the trace says of a batch behind another one, changed.
    fn of(value_bytes: usize, change: impl FnOnce(&mut Vec<u8>, usize)) -> Trace {
        let first = batch(NOW, 1, 100).build().unwrap().bytes;
        let second = batch(NOW, 1, value_bytes).base_offset(1).build().unwrap().bytes;
        let mut bytes = [&first[..], &second].concat();
        change(&mut bytes, first.len());
        let disk = MemoryDisk::new();
        let end = bytes.len() as u64;
        disk.put(&path(0, "log"), bytes);
        let file = disk.open(&path(0, "log"), env::Open::Read).unwrap();
        trace(&*file, first.len() as u64, end, 1).unwrap()
    }

    #[test]
    fn every_flipped_bit_is_recognised() {
        let len = batch(NOW, 1, 200).build().unwrap().bytes.len();
        for bit in 0..len * 8 {
            let flip = |bytes: &mut Vec<u8>, at: usize| bytes[at + bit / 8] ^= 1 << (bit % 8);
            assert_eq!(of(200, flip), Trace::Flipped, "bit {bit}");
        }
    }

    #[test]
    fn cut_writes_and_missing_sectors_are_recognised() {
        for cut in [1, 30, 100, 1900, 1999] {
            assert_eq!(of(2000, |bytes, _| bytes.truncate(bytes.len() - cut)), Trace::Torn, "cut {cut}");
        }
        for sector in 1..4 {
            assert_eq!(of(2000, |bytes, _| bytes[sector * 512..][..512].fill(0)), Trace::Torn, "{sector}");
        }
        assert_eq!(of(2000, |bytes, at| bytes[at..].fill(0)), Trace::Torn);
    }

    #[test]
    fn a_sector_of_which_only_the_first_part_was_written_is_recognised() {
        // The second batch begins at byte 168, its header ends in the first sector.
        for (from, upto) in [(180, 512), (184, 512), (200, 512), (480, 512), (600, 1024), (1500, 1536)] {
            assert_eq!(of(2000, |bytes, _| bytes[from..upto].fill(0)), Trace::Torn, "{from}..{upto}");
        }
        // The file may end in the sector.
        for from in [181, 184, 300] {
            assert_eq!(of(200, |bytes, _| bytes[from..].fill(0)), Trace::Torn, "{from}");
        }
        // Zeros that do not reach the end of a sector are no torn write.
        for (from, upto) in [(200, 511), (600, 700), (513, 1000)] {
            assert_eq!(of(2000, |bytes, _| bytes[from..upto].fill(0)), Trace::None, "{from}..{upto}");
        }
    }

    #[test]
    fn a_header_that_a_sector_cuts_is_recognised() {
        // Where the header begins in its sector, and how much of the sector was not written.
        for (begin, lost) in [(505, 7), (500, 10), (500, 12), (498, 14), (498, 6), (490, 16), (470, 30)] {
            let mut bytes = vec![b'v'; begin];
            bytes.extend(batch(NOW, 1, 700).base_offset(0x0102_0304_0506).build().unwrap().bytes);
            bytes[512 - lost..512].fill(0);
            let disk = MemoryDisk::new();
            let end = bytes.len() as u64;
            disk.put(&path(0, "log"), bytes);
            let file = disk.open(&path(0, "log"), env::Open::Read).unwrap();
            let traced = trace(&*file, begin as u64, end, 0x0102_0304_0506).unwrap();
            assert_eq!(traced, Trace::Torn, "{lost} bytes of a header at {begin}");
        }
    }

    #[test]
    fn an_old_message_among_zeros_was_not_torn() {
        let old = of(2000, |bytes, at| {
            bytes[at + 16] = 0;
            bytes[500..512].fill(0);
            bytes[480..500].fill(0);
        });
        assert_eq!(old, Trace::Flipped);
    }

    #[test]
    fn a_flipped_bit_among_zeros_is_no_missing_sector() {
        let mut zeros = records::BatchBuilder::new();
        zeros.push(NOW, None, Some(&[0; 4000]), &[]);
        let zeros = zeros.build().unwrap().bytes;
        for byte in [25, 100, 700, 3000] {
            let flipped = of(0, |bytes, at| {
                bytes.truncate(at);
                bytes.extend_from_slice(&zeros);
                bytes[at + byte] ^= 4;
            });
            assert_eq!(flipped, Trace::Flipped, "byte {byte}");
        }
    }

    #[test]
    fn other_damage_leaves_no_trace() {
        assert_eq!(of(200, |bytes, at| bytes[at + 100..at + 110].fill(7)), Trace::None);
        assert_eq!(of(200, |bytes, at| bytes[at..at + 61].fill(0xff)), Trace::None);
    }
}
