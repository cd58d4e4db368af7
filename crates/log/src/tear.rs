//! Telling a write that a crash tore from a bit that flipped, by the bytes of a batch that is not right.
//!
//! A torn write leaves the file short, or leaves zeros where nothing was written: sectors of a file that grew have no
//! older contents. A flipped bit leaves everything else as it was, so flipping it back makes the checksum right; the
//! checksum itself shows whether there is such a bit. It does not say what follows from that; `recover` does.

use crate::scan::{Scan, WINDOW_BYTES_LARGE};
use env::File;
use records::{BatchHeader, CRC_COVERS_FROM, Entry, HEADER_BYTES, LOG_OVERHEAD, MAGIC_V2};
use std::io;

/// Disks write whole sectors.
const SECTOR_BYTES: u64 = 512;
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

/// What happened to the batch that should be at `position` of a file that ends at `end`.
pub(crate) fn trace(file: &dyn File, position: u64, end: u64) -> io::Result<Trace> {
    let mut scan = Scan::new(file, 0, end, WINDOW_BYTES_LARGE);
    let bytes = scan.view(position, HEADER_BYTES)?;
    if bytes.len() < HEADER_BYTES || bytes.iter().all(|byte| *byte == 0) {
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
    if is_flipped(&mut scan, position, end, &header, one_bit == 1)? {
        return Ok(Trace::Flipped);
    }
    let Ok(len) = u64::try_from(header.batch_len) else { return Ok(otherwise) };
    let batch_end = position + LOG_OVERHEAD as u64 + len;
    if batch_end > end || has_empty_sector(&mut scan, position, batch_end)? {
        return Ok(Trace::Torn);
    }
    Ok(otherwise)
}

/// Whether the checksum is right once one bit is flipped, of the length or of what the checksum covers; or is right as
/// it is, and something that it does not cover is wrong.
fn is_flipped(
    scan: &mut Scan<'_>,
    position: u64,
    end: u64,
    header: &BatchHeader,
    magic_flipped: bool,
) -> io::Result<bool> {
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
                return Ok(false);
            }
            digest.update(bytes);
            at += bytes.len() as u64;
        }
        let difference = digest.finish() ^ header.crc;
        let covered = batch_end - position - CRC_COVERS_FROM as u64;
        let one_bit = len == as_it_is && !magic_flipped && is_one_bit(difference, covered);
        if difference == 0 || one_bit {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one flipped bit, of the checksum or of the `covered` bytes under it, makes this difference of checksums.
fn is_one_bit(difference: u32, covered: u64) -> bool {
    if difference.count_ones() == 1 {
        return true;
    }
    // What a flipped last bit does to the checksum, then the one before it, and so on.
    let mut effect = POLYNOMIAL;
    for _ in 0..covered * 8 {
        if effect == difference {
            return true;
        }
        effect = effect >> 1 ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    false
}

/// Whether a whole sector between the two positions holds only zeros.
fn has_empty_sector(scan: &mut Scan<'_>, position: u64, end: u64) -> io::Result<bool> {
    let mut at = position.next_multiple_of(SECTOR_BYTES);
    while at + SECTOR_BYTES <= end {
        let sector = scan.view(at, SECTOR_BYTES as usize)?;
        if sector.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at += SECTOR_BYTES;
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
        trace(&*file, first.len() as u64, end).unwrap()
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
