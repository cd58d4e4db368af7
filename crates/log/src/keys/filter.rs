//! A filter in front of the postings of a file: a page says at once of most terms that the file has nothing of them.
//!
//! It is a Bloom filter in pages; which page is asked the term says. Pages rise with terms, so that they are written in the
//! order of the postings, one at a time.

/// A page: its checksum, then its bits.
pub(super) const PAGE_BYTES: usize = 4096;
const CHECKSUM_BYTES: usize = 4;
const BITS: u64 = ((PAGE_BYTES - CHECKSUM_BYTES) * 8) as u64;
/// How many terms a page is for: ten bits a term, of which one in a hundred lies.
const TERMS: u64 = 3200;
/// How many bits a term sets.
const PROBES: u64 = 7;
/// With fewer terms the postings themselves are as near as a page would be. Tests have few terms and want pages of them.
const TERMS_MIN: u64 = if cfg!(test) { 6 } else { 256 };

/// A page that is being filled.
pub(super) struct Page {
    bytes: Vec<u8>,
}

/// How many pages are for so many terms.
pub(super) fn pages_for(terms: u64) -> u32 {
    if terms < TERMS_MIN { 0 } else { u32::try_from(terms.div_ceil(TERMS)).unwrap_or(u32::MAX) }
}

/// The page of a term, of so many; below their number, and no smaller for a larger term.
pub(super) fn page_of(term: u64, pages: u32) -> u32 {
    ((u128::from(term) * u128::from(pages)) >> super::pair::TERM_BITS) as u32
}

impl Page {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; PAGE_BYTES] }
    }

    pub(super) fn add(&mut self, term: u64) {
        for (at, bit) in probes(term) {
            if let Some(byte) = self.bytes.get_mut(at) {
                *byte |= bit;
            }
        }
    }

    /// Its bytes, as the how many-th page of a file with this seed.
    pub(super) fn finish(mut self, seed: u64, number: u32) -> Vec<u8> {
        let sum = checksum(&self.bytes, seed, number).to_be_bytes();
        if let Some(to) = self.bytes.get_mut(..CHECKSUM_BYTES) {
            to.copy_from_slice(&sum);
        }
        self.bytes
    }
}

/// Whether the file may have postings of a term, as its page says; `None` if it is no such page.
pub(super) fn may_have(page: &[u8], seed: u64, number: u32, term: u64) -> Option<bool> {
    let stored = u32::from_be_bytes(page.get(..CHECKSUM_BYTES)?.try_into().ok()?);
    if page.len() != PAGE_BYTES || stored != checksum(page, seed, number) {
        return None;
    }
    Some(probes(term).all(|(at, bit)| page.get(at).is_some_and(|byte| byte & bit != 0)))
}

fn checksum(page: &[u8], seed: u64, number: u32) -> u32 {
    let bits = page.get(CHECKSUM_BYTES..).unwrap_or_default();
    stdx::crc32c_of(&[&seed.to_be_bytes(), &number.to_be_bytes(), bits])
}

/// Which bytes of a page, and which bit of each.
fn probes(term: u64) -> impl Iterator<Item = (usize, u8)> {
    // Terms of one page have their upper bits in common.
    let mixed = term.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (start, step) = (mixed & 0xffff_ffff, mixed >> 32 | 1);
    (0..PROBES).map(move |probe| {
        let bit = (start + probe * step) % BITS;
        (CHECKSUM_BYTES + (bit / 8) as usize, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_its_terms_and_few_others() {
        let term = |number: u64| number.wrapping_mul(0x0000_2545_f491_4f6d) & ((1 << 48) - 1);
        let mut page = Page::new();
        (0..TERMS).for_each(|number| page.add(term(number)));
        let bytes = page.finish(3, 5);
        let has = |number| may_have(&bytes, 3, 5, term(number)).unwrap();
        assert!((0..TERMS).all(has));
        let lies = (TERMS..TERMS + 10_000).filter(|number| has(*number)).count();
        assert!(lies < 200, "{lies} of 10000");
        assert_eq!(
            (may_have(&bytes, 3, 6, 0), may_have(&bytes, 4, 5, 0), may_have(&bytes[1..], 3, 5, 0)),
            (None, None, None)
        );
    }

    #[test]
    fn the_bytes_of_a_page_are_kept() {
        let mut page = Page::new();
        page.add(0x1234_5678_9abc);
        let bytes = page.finish(0x5eed, 3);
        let set: Vec<_> =
            bytes.iter().enumerate().skip(CHECKSUM_BYTES).filter(|(_, byte)| **byte != 0).collect();
        let set: Vec<_> = set.into_iter().map(|(at, byte)| (at, *byte)).collect();
        assert_eq!((bytes.len(), &bytes[..CHECKSUM_BYTES]), (PAGE_BYTES, &[172, 152, 40, 21][..]));
        assert_eq!(set, [(206, 1), (447, 64), (689, 16), (2131, 2), (2372, 128), (2614, 32), (4056, 4)]);
    }

    #[test]
    fn pages_rise_with_terms_and_none_is_behind_the_last() {
        assert_eq!((pages_for(0), pages_for(TERMS_MIN - 1), pages_for(256), pages_for(3201)), (0, 0, 1, 2));
        for pages in [1, 2, 3, 1000] {
            let all: Vec<_> =
                (0..=1000u64).map(|part| page_of(((1 << 48) - 1) / 1000 * part, pages)).collect();
            assert!(all.is_sorted() && all[0] == 0 && all[1000] == pages - 1, "{pages}");
        }
    }
}
